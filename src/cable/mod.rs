//! A cable with faults between two interfaces: delay, jitter, a rate and its queue, loss, reordering, duplicates, flipped bits, ECN marks.
//!
//! Many kernels are built without netem; this is the same as a process of its own, for anybody who wants to see how something behaves on a
//! worse line than the one at hand, and for Ringway's own tests. What a fault means is decided as netem decides it, except where the head of
//! a file says otherwise:
//!
//! - `profile`: what a cable does to frames, as its user says it
//! - `loss`, `bottleneck`, `line`: one way of the cable, pure: a seed, a time and the length of a frame in; deliveries and their times out
//! - `ecn`, `flip`: what is done to the bytes of a frame
//! - `unfilled`: whether the sender left the checksum to an offload that never came
//! - `transit`: the frames on their way, by the time they are due
//! - `run`: both ways between devices, and the loop that sleeps while nothing is due
//!
//! Called by `ringway cable`, which has the interfaces taken (`launch::Pair`). Any frame may come: nothing here panics on one, everything is
//! bounded ([`Profile::in_transit`]), and nothing is allocated per frame.

mod bottleneck;
mod ecn;
mod flip;
mod line;
mod loss;
mod profile;
mod run;
mod transit;
mod unfilled;

pub use line::{Counts, Delivery, LOOKED_AT, Line};
pub use profile::{OneWay, Profile, QUEUE_MAX, Share};
pub use run::{Cable, Lateness};

#[cfg(test)]
mod tests;
