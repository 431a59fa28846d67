//! The scenarios: what both users do when, and what the cable loses.
//!
//! Read by [`super::stage`]. Data; decides nothing.

use std::time::Duration;

use crate::ladder::step::End;

/// A scenario.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    /// What is done, in the order of the times.
    pub(super) script: &'static [Cue],
    /// The right end sends back what it reads.
    pub(super) echo: bool,
    /// Segments with data of the left end that the cable loses, counted from 0.
    pub(super) loses: &'static [usize],
    /// The receive buffer of the right end, in bytes; `None` for the usual one.
    pub(super) receive_buffer: Option<usize>,
}

/// Something that an end does at a time, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cue(pub(super) u64, pub(super) End, pub(super) Order);

impl Cue {
    pub(super) const fn at(&self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// What an end is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// OPEN to this port of the other end.
    Open(u16),
    /// SEND so many bytes.
    Send(usize),
    /// CLOSE.
    Close,
    /// ABORT.
    Abort,
    /// Read nothing from now on.
    Pause,
    /// Read again.
    Resume,
    /// Send a datagram of so many bytes to this port of the other end.
    Say(u16, usize),
}

impl Scenario {
    /// All of them, in the order in which they are best read.
    pub const ALL: &'static [Self] = {
        use End::{Left, Right};
        use Order::*;
        const PLAIN: Scenario = Scenario { name: "", about: "", script: &[], echo: true, loses: &[], receive_buffer: None };
        &[
            Scenario {
                name: "handshake",
                about: "three segments open a connection",
                script: &[Cue(0, Left, Open(ECHO))],
                ..PLAIN
            },
            Scenario {
                name: "close-by-client",
                about: "a request and its answer, then the client closes: it waits 2 MSL",
                script: &[Cue(0, Left, Open(ECHO)), Cue(40, Left, Send(5)), Cue(100, Left, Close), Cue(150, Right, Close)],
                ..PLAIN
            },
            Scenario {
                name: "close-by-server",
                about: "the server closes first: the server waits 2 MSL",
                script: &[Cue(0, Left, Open(ECHO)), Cue(40, Left, Send(5)), Cue(100, Right, Close), Cue(150, Left, Close)],
                ..PLAIN
            },
            Scenario {
                name: "simultaneous-close",
                about: "both close at once, and both wait 2 MSL (RFC 9293 figure 13)",
                script: &[Cue(0, Left, Open(ECHO)), Cue(100, Left, Close), Cue(100, Right, Close)],
                ..PLAIN
            },
            Scenario {
                name: "half-close",
                about: "the client has sent all and still reads: FIN-WAIT-2 and CLOSE-WAIT last",
                script: &[
                    Cue(0, Left, Open(ECHO)),
                    Cue(40, Left, Send(20)),
                    Cue(100, Left, Close),
                    Cue(150, Right, Send(1000)),
                    Cue(200, Right, Send(1000)),
                    Cue(250, Right, Close),
                ],
                ..PLAIN
            },
            Scenario {
                name: "loss",
                about: "a segment is lost, duplicate ACKs with SACK tell of it, a fast retransmission mends it",
                script: &[Cue(0, Left, Open(ECHO)), Cue(40, Left, Send(10_000)), Cue(200, Left, Close), Cue(250, Right, Close)],
                echo: false,
                loses: &[2],
                ..PLAIN
            },
            Scenario {
                name: "zero-window",
                about: "the server reads nothing: its window closes, the client probes it until it opens",
                script: &[
                    Cue(0, Left, Open(ECHO)),
                    Cue(30, Right, Pause),
                    Cue(40, Left, Send(6000)),
                    Cue(900, Right, Resume),
                    Cue(1200, Left, Close),
                    Cue(1250, Right, Close),
                ],
                echo: false,
                receive_buffer: Some(4096),
                ..PLAIN
            },
            Scenario {
                name: "reset",
                about: "the client aborts: no FIN, no waiting",
                script: &[Cue(0, Left, Open(ECHO)), Cue(40, Left, Send(5)), Cue(100, Left, Abort)],
                ..PLAIN
            },
            Scenario {
                name: "closed-port",
                about: "a SYN to a port where nobody listens is answered with a reset",
                script: &[Cue(0, Left, Open(NOBODY))],
                ..PLAIN
            },
            Scenario {
                name: "udp-echo",
                about: "the same request over UDP: no handshake, no states, no close",
                script: &[Cue(0, Left, Say(ECHO, 5))],
                ..PLAIN
            },
            Scenario {
                name: "udp-closed-port",
                about: "a datagram to a port where nobody listens is answered by ICMP",
                script: &[Cue(0, Left, Say(NOBODY, 5))],
                ..PLAIN
            },
        ]
    };

    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|scenario| scenario.name == name)
    }

    /// True when it is about datagrams.
    pub fn is_udp(&self) -> bool {
        self.script.iter().any(|cue| matches!(cue.2, Order::Say(..)))
    }

    /// The port of the right end that it is about.
    pub(super) fn port(&self) -> u16 {
        let named = self.script.iter().find_map(|cue| match cue.2 {
            Order::Open(port) | Order::Say(port, _) => Some(port),
            _ => None,
        });
        named.unwrap_or(ECHO)
    }
}

/// Where the right end listens, and where it does not.
pub(super) const ECHO: u16 = 7;
const NOBODY: u16 = 9;
