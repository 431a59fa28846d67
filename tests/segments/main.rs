//! Segment scripts: what is injected, what must come back, what the application calls, and when.
//!
//! Each script (`scripts/`) runs in memory against the whole engine, and most of them against the Linux kernel over a veth pair too
//! (`over_a_veth`, as root). `CONTRIBUTING.md` says how to write one.

#[path = "../common/mod.rs"]
mod common;
mod coverage;
mod frame;
mod kernel;
mod memory;
mod player;
mod script;
mod scripts;
mod segment;
mod world;
mod wrong;
