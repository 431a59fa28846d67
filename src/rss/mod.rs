//! On which queue a packet will arrive: receive side scaling (RSS), reckoned as the NIC reckons it.
//!
//! A NIC with several receive queues hashes addresses and ports of a packet, looks the hash up in an indirection table, and so keeps a flow
//! on one queue. Who opens a connection and knows all that can choose a source port whose replies arrive where they are wanted. `xsk` reads
//! what the NIC tells ([`Told`]), the engine asks a [`Predictor`] while it chooses a port, and lets it see where the first reply came in.
//! Pure: no clock, no randomness, no system call. Nothing here panics, whatever a driver tells: what is not understood is not predicted.
//!
//! `toeplitz` (the hash), `tuple` (what is hashed), `table` (from the hash to the queue), `told` and `spread` (all of it together), `port`
//! (the choice), `predictor` (and whether it came true), `summary` (the same for people).

pub mod port;
pub mod predictor;
pub mod spread;
pub mod summary;
pub mod table;
pub mod toeplitz;
pub mod told;
pub mod tuple;

pub use predictor::{Outcome, Predictor};
pub use spread::{Spread, Unpredictable};
pub use summary::Summary;
pub use table::Table;
pub use toeplitz::Toeplitz;
pub use told::{Fields, Flow, Function, Told};
pub use tuple::{Transform, Tuple};
