//! What lies between IP and the wire: interfaces, neighbours (ARP, ND), addresses to be checked first, ICMP, routes, path MTUs,
//! redirects, groups, fragments.
//!
//! Called by the engine for everything that is neither TCP nor UDP, and to find the Ethernet address a packet goes to. State
//! here is bounded ([`crate::limits`]); time is an argument; nothing panics on what a peer sends.

pub mod arp;
pub mod dad;
pub mod groups;
pub mod icmp;
pub mod identification;
pub mod interface;
pub mod nd;
pub mod neighbor;
pub mod packet;
pub mod pmtu;
pub mod reassembly;
pub mod redirects;
pub mod route;
pub mod routers;
pub mod routes;
pub mod stable;
