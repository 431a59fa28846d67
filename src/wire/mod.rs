//! Headers: bytes in, views out; values in, bytes out.
//!
//! Called by `engine` and `link` for every frame. Nothing here keeps state, allocates, reads a clock or panics,
//! whatever the bytes are: a malformed packet is a [`crate::device::Drop`] reason. Every checksum is verified on receipt
//! and built on sending. Raw wire fields stay integers, so that a value unknown today is not an error.

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod extension;
pub mod icmpv4;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod nd;
pub mod reply;
pub mod tcp;
pub mod udp;
pub mod vlan;
