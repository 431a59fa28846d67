//! To be written: checksum.
