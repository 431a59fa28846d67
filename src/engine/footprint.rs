//! What a connection takes of a core's memory: bytes, from the sizes of the things themselves.
//!
//! Read by reports that say what a connection costs. Constants; nothing here runs.

use super::core::Timer;
use super::flow::Flow;
use super::flows::Flows;
use super::wheel::Wheel;
use crate::demux::{Directory, Slab};

/// Bytes of one connection at one end, buffers not counted: an idle connection holds none.
///
/// ```
/// use ringway::engine::Footprint;
/// let Footprint { at_rest, awake } = Footprint::CONNECTION;
/// assert!(at_rest < 300 && awake > at_rest);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// When no text has gone either way for a while, which is how most of many connections are found.
    pub at_rest: usize,
    /// While it talks: its TCB is whole.
    pub awake: usize,
}

impl Footprint {
    /// That of a TCP connection. UDP keeps nothing of a peer.
    pub const CONNECTION: Self = {
        let at_rest = Directory::FLOW_BYTES + Flows::SLOT_BYTES + Wheel::<Timer>::TIMER_BYTES;
        Self { at_rest, awake: at_rest + Slab::<Flow>::SLOT_BYTES }
    };
}
