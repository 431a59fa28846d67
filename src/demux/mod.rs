//! Which flow a packet belongs to: key, hash, directory of TCBs, listeners.
pub mod key;
