//! RTP (RFC 3550): the header of its data packets, and what a receiver reckons of them.
//!
//! Written by `service/stream` and read by `service/listen` and by the listener over kernel sockets (`load/kernel_listener.rs`). There is no
//! RTCP: nobody is told what was received. Pure: time is an argument. Any bytes may come; nothing here panics, and what senders can make grow
//! is bounded.

pub mod book;
pub mod header;
pub mod source;

pub use book::{Book, Heard, SourceReport};
pub use header::{Header, Malformed};
pub use source::Source;
