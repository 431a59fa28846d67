//! The loop of one core: receive a burst, run each packet to completion, send what there is to send.
