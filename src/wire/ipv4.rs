//! To be written: ipv4.
