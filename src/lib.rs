//! Ringway: a user-space TCP and UDP engine for Linux on AF_XDP, that shares the NIC with the kernel.
//!
//! A program implements [`service::Service`] and launches it on an interface; both transports come to the same object:
//!
//! ```no_run
//! # #[cfg(feature = "afxdp")] {
//! use ringway::launch::Launch;
//! use ringway::service::{Answer, Connection, Context, Datagram, Listen, Service};
//!
//! struct Echo;
//!
//! impl Service for Echo {
//!     type Message = ();
//!
//!     fn start(&mut self, cx: &mut impl Context) {
//!         cx.listen(7.into(), Listen::default()).expect("the port is free");
//!         cx.open_udp(7.into()).expect("the port is free");
//!     }
//!
//!     fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
//!         Answer::Reply { len: datagram.payload().len() }
//!     }
//!
//!     fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
//!         cx.send(connection, bytes)
//!     }
//! }
//!
//! Launch::new().interface("veth0").address("10.0.0.2/24".parse()?).run(Echo)?;
//! # }
//! # Ok::<(), ringway::error::SetupError>(())
//! ```
//!
//! `examples/own_service.rs` is the same as a whole program.
//!
//! The path of a packet is the table of contents:
//!
//! ```text
//! xsk (ring) -> wire (parse) -> demux (which flow) -> tcp | udp -> service -> wire (emit) -> xsk (ring)
//! ```
//!
//! - [`device`]: the seam to whatever carries frames, and a cable in memory
//! - `xsk`: the AF_XDP queue, with the feature `afxdp`
//! - [`steer`]: the XDP program that steers claimed frames into the queues
//! - [`wire`]: headers and checksums, bytes in and views out
//! - [`link`]: neighbours, ICMP, routes, fragments
//! - [`rss`]: which queue of a NIC a packet will arrive on
//! - [`demux`]: which flow a packet belongs to
//! - [`tcp`]: the machine of RFC 9293, without clock, chance or socket
//! - [`udp`]: endpoints and the in-place reply
//! - [`rtp`]: the header of RTP, and what a receiver reckons of a stream
//! - [`service`]: what an application implements, and the services that ship
//! - [`engine`]: the loop that runs each packet to completion; `engine/turn.rs` is the file to read first
//! - `control`: the thread that follows the kernel for an engine, with the feature `afxdp`
//! - `launch`: an engine on real interfaces, with the feature `afxdp`
//! - `doctor`: what of a machine stands in the way, and the commands that mend it, with the feature `afxdp`
//! - [`cable`]: a cable with faults between two interfaces
//! - [`load`]: the load generator and the kernel-socket peer
//! - `sim`: two ends over a bad network, from a seed, in tests only
//! - [`metrics`]: counters, histograms, reports, the page that Prometheus reads
//! - [`capture`]: copies of frames for whoever captures, and pcapng files
//! - [`recorder`]: the last segments and changes of state of a core
//! - [`show`]: live inspection of a running engine, and scrapes of it
//! - [`ladder`]: an exchange drawn as a sequence diagram, with the states of both ends
//! - [`settings`]: every setting, its default and its bounds
//! - [`time`], [`rng`], [`limits`], [`error`], [`words`]: an instant in nanoseconds, seeded numbers, every bound, the operator's errors, the word
//!   that was meant
//! - [`counted`]: counts that say what they count
//! - `arch`: hints to the processor and the kernel about memory
//! - [`beside`]: threads beside the workers, off their cores
//! - [`cpu`]: the CPU time of a thread, and the core it keeps to
//! - [`rights`]: the capabilities of a thread, given up when its set-up is over

pub mod device;

#[cfg(feature = "afxdp")]
pub mod xsk;

pub mod steer;

pub mod wire;

pub mod link;

pub mod rss;

pub mod demux;

pub mod tcp;
pub mod udp;

pub mod rtp;

pub mod service;

pub mod engine;

pub mod cable;
pub mod capture;
#[cfg(feature = "afxdp")]
pub mod control;
#[cfg(feature = "afxdp")]
pub mod doctor;
pub mod ladder;
#[cfg(feature = "afxdp")]
pub mod launch;
pub mod load;
pub mod metrics;
pub mod recorder;
pub mod show;
#[cfg(test)]
mod sim;

mod arch;
pub mod beside;
pub mod counted;
pub mod cpu;
pub mod error;
pub mod limits;
pub mod rights;
pub mod rng;
pub mod settings;
pub mod time;
pub mod words;
