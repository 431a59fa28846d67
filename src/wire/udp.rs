//! To be written: udp.
