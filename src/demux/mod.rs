//! Which flow a packet belongs to.
//!
//! The engine asks here with the [`key::FlowKey`] of a segment and gets the slot of its TCB, or with a port and gets the listener or
//! UDP endpoint. Everything has a fixed size, chosen at the start: a full table is an answer, not an allocation. Nothing here
//! panics on what a peer sends, and the hash is keyed, so that a peer cannot choose collisions.

pub mod admission;
pub mod chunked;
pub mod directory;
pub mod hash;
pub mod key;
pub mod ports;
pub mod slab;

pub use chunked::Chunked;
pub use directory::Directory;
pub use hash::KeyedHash;
pub use key::{Address, FlowKey, Link};
pub use ports::PortTable;
pub use slab::{Slab, SlotId};
