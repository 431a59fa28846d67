//! To be written: arp.
