//! Captured packets: pcap and pcapng files, and the connections found in them.
//!
//! [`Found::read`] goes through a file once: `file.rs` gives packets with their times, `packet.rs` reads their headers with the parsers of
//! [`crate::wire`], `found.rs` sorts them by connection, and `recorded.rs` the records of a flight recorder in the same way ([`Records`],
//! [`Found::of_records`]). What is kept is bounded ([`crate::limits`]), and what cannot be read is counted. Checksums are not looked at: where packets are captured, offloads have often not filled them in yet. Called by `ringway ladder FILE`; the
//! [`super::demo`] reads its frames in the same way. Nothing panics on what a file holds.

mod file;
mod found;
mod packet;
mod recorded;

#[cfg(test)]
mod tests;

pub use found::{Choice, Flow, Found};
pub use packet::{Link, Packet};
pub use recorded::Records;
