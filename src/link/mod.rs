//! What lies between IP and the wire: interfaces, neighbours (ARP), ICMP, routes.
//!
//! Called by the engine for everything that is neither TCP nor UDP, and to find the Ethernet address a packet goes to. State
//! here is bounded ([`crate::limits`]); time is an argument; nothing panics on what a peer sends.

pub mod arp;
pub mod icmp;
pub mod interface;
pub mod neighbor;
pub mod packet;
pub mod route;
