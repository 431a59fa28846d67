//! To be written: icmpv4.
