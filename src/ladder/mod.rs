//! An exchange drawn as a ladder: two ends, what went between them, and the state that each is in.
//!
//! The input is a plain list: an [`Exchange`] of [`Step`]s, each with its time, its sender and what it was. Whoever knows more says more: the
//! [`demo`] knows the states of both ends, a recorder those of one, a [`capture`] of packets none. [`Exchange::complete`] adds the rest: states from
//! the segments alone ([`infer`]), and what a reader would otherwise have to reckon ([`marks`]). The drawings ([`text`], [`svg`], [`page`]) only
//! draw. Called by `ringway ladder`, and by `ringway compare` and `ringway bench` for the ladders of their pages.
//!
//! ```text
//! what is drawn    step.rs a step and what it carried; exchange.rs the list and its ends
//! where from       demo/ two engines over a cable in memory; capture/ pcap and pcapng files and records of an engine, the connections in them
//! what is added    infer.rs the states of both ends; marks.rs retransmissions, duplicate ACKs, windows
//! what is left out fold.rs runs of data
//! what it took     cost.rs packets by what they are for, headers, round trips, states
//! how it is drawn  label.rs words and numbers; text.rs a terminal; svg.rs a drawing; page.rs a page of drawings; section.rs the part of a report
//! ```
//!
//! Nothing here has a clock, a socket or a right. Files of strangers are read: nothing panics on what they hold, and what is kept of them is
//! bounded.
//!
//! ```
//! use ringway::ladder::{End, Exchange, Step, Transport, text};
//! use ringway::tcp::State;
//! use ringway::tcp::seq::SeqNum;
//! use ringway::time::Instant;
//! use ringway::wire::tcp::{Flags, Options};
//! use ringway::ladder::Segment;
//!
//! let mut exchange = Exchange::new(Transport::Tcp, "10.0.0.1:40000".parse()?, "10.0.0.2:7".parse()?);
//! let syn = Segment { seq: SeqNum(100), ack: SeqNum(0), flags: Flags::SYN, len: 0, window: 65_535, options: Options::default() };
//! let reset = Segment { seq: SeqNum(0), ack: SeqNum(101), flags: Flags::RST | Flags::ACK, window: 0, ..syn };
//! exchange.steps.push(Step::segment(Instant::ZERO, End::Left, syn));
//! exchange.steps.push(Step::segment(Instant::from_ns(80_000), End::Right, reset));
//! exchange.complete();
//! assert_eq!(exchange.begin, [Some(State::Closed), Some(State::Closed)]);
//! assert_eq!(exchange.steps[0].states, [Some(State::SynSent), Some(State::Closed)]);
//! assert!(text::render(&exchange, &text::Look::default()).contains("RST ACK"));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

pub mod capture;
pub mod cost;
pub mod demo;
mod exchange;
pub mod fold;
mod infer;
pub mod label;
mod marks;
pub mod page;
pub mod section;
mod step;
pub mod svg;
pub mod text;

#[cfg(test)]
mod tests;

pub use exchange::{Exchange, Transport};
pub use step::{End, Fate, Mark, Segment, Step, What};
