//! UDP (RFC 768): endpoints, received datagrams, and those that a service keeps.
//!
//! The engine's UDP path calls [`Received::check`] for every datagram, hands it to the service in the frame it came in, and sends the
//! same frame back: no copy, no allocation. Nothing here reads a clock or does I/O, and nothing panics on what a peer sends.

pub mod dplpmtud;
pub mod kept;
pub mod received;

pub use kept::{Body, Kept, KeptDatagrams};
pub use received::Received;

use crate::demux::{Address, PortTable};

/// The UDP endpoints of a core; their position in the table is what a service calls [`crate::service::EndpointId`].
pub type Endpoints = PortTable<Endpoint>;

/// What an endpoint is, beside its address and port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The only peer that it hears; `None` for all.
    pub peer: Option<(Address, u16)>,
    /// Datagrams larger than the link's MTU leave in fragments.
    pub fragments: bool,
}

impl Endpoint {
    /// True when what comes from a peer is for this endpoint.
    #[inline]
    pub fn hears(&self, peer: (Address, u16)) -> bool {
        self.peer.is_none_or(|only| only == peer)
    }
}
