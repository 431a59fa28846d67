//! The edge to AF_XDP: sockets, rings and frames, behind an API that is safe to use and sound.
//!
//! The control thread asks about an interface ([`nic::Nic`]), checks its rights ([`capability`]) and opens queues
//! ([`open`]); each [`XskQueue`] then goes to a worker, which drives it as a [`crate::device::Device`] and knows nothing of
//! AF_XDP. Packets come once an XDP program redirects them to the sockets, which is the business of `steer`.
//!
//! This is the one place, but for `arch`, where unsafe code may stand. What keeps it sound:
//!
//! - A frame is a token ([`UmemFrame`]): private, not cloned, made here only, at most one for each chunk, none while the kernel has
//!   the chunk. Its bytes are reached only through it.
//! - Rings are shared with the kernel, so their memory is reached through atomics at offsets that were checked, and what the kernel
//!   writes into them is checked against the owner state of each frame before it becomes a token.
//! - Memory outlives whatever points into it: rings own their mapping, tokens hold their UMEM.
//!
//! Nothing here panics on what the kernel or a peer does; errors while opening are the operator's
//! ([`crate::error::SetupError`]), everything later is counted.
//!
//! In the order of the path: [`nic`] (and `rss`, how it spreads packets), [`capability`], `config` (what is chosen), `open` (in which order), `socket` (the system calls),
//! `queue` (the device), `pool` (who owns which frame), `frame`, `umem`, `ring`, `cursor` (index arithmetic), `mapping`, `abi`; beside them [`bpf`], which loads and
//! attaches programs for `steer`, `promiscuous`, `membership` and `copies`, and `loopback`, a ring without a socket.
#![allow(unsafe_code)]

// Offsets of the rings and addresses in the UMEM are 64 bits wide.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("the feature `afxdp` needs Linux on a 64-bit machine: build with --no-default-features");

mod abi;
pub mod bpf;
pub mod capability;
mod chain;
mod config;
mod copies;
mod cursor;
mod frame;
mod loopback;
mod mapping;
mod membership;
pub mod nic;
mod open;
mod pool;
mod promiscuous;
mod queue;
mod ring;
mod rss;
mod socket;
mod umem;

pub use config::{BusyPoll, Config, JUMBO_MTU, LARGEST_MTU, ZeroCopy};
pub use copies::Copies;
pub use frame::UmemFrame;
pub use loopback::Loopback;
pub use mapping::Pages;
pub use membership::Membership;
pub use open::{open, try_memory, try_socket};
pub use promiscuous::Promiscuous;
pub use queue::XskQueue;
pub use ring::Descriptor;
