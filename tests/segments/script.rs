//! A script: what is injected, expected and called, in order. Data, built by calls that read like a trace of an RFC.
//!
//! A script is a function over a [`Script`]; its doc comment says what it shows, `//= type=test` which sentence decides. Both players
//! (`memory`, `kernel`) run the same one. Where the stacks differ the script says how and why ([`Script::differs`]).

use ringway::device::Drop;
use ringway::tcp::tally::Happening;
use ringway::tcp::{self, State};

use crate::segment::{Seg, ack, syn, syn_ack};

/// Whose TCP is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stack {
    /// Ringway's, in memory.
    Ringway,
    /// The Linux kernel's, over a veth pair.
    Kernel,
}

/// One line of a script.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The peer sends this.
    Inject(Seg),
    /// A router sends this.
    Icmp(Icmp),
    /// The stack sends this, and nothing before it.
    Expect(Seg),
    /// The stack sends nothing for so many milliseconds.
    Silence(u64),
    /// The application calls.
    Call(Call),
    /// The connection is in this state.
    State(State),
    /// What the stack sends next begins anew: its ISN is learned again.
    Forget,
}

/// A call of the application, and what comes of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// OPEN, passive, with so many connections waiting at most.
    Listen { backlog: usize },
    /// OPEN, active.
    Connect,
    /// The handshake is complete and a connection is there.
    Accept,
    /// SEND of the next bytes of our stream; all of them are taken.
    Send(usize),
    /// The same with the URGENT flag.
    SendUrgent(usize),
    /// RECEIVE of exactly so many bytes, which are the next of the peer's stream.
    Receive(usize),
    /// The end of the peer's stream: nothing more will come.
    End,
    /// CLOSE of our direction; the other one stays open.
    Shutdown,
    /// CLOSE of both directions.
    Close,
    /// ABORT.
    Abort,
    /// The connection has ended for this reason.
    Failed(Failure),
    /// The application has been told this of the connection, which lives on, and nothing else before.
    Told(News),
    /// So many urgent bytes are still to come after those that it has read.
    UrgentAhead(usize),
    /// Something is set.
    Set(Setting),
}

/// What an application hears of a connection that lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// R1 was reached.
    Stalled,
    /// Urgent data are on their way.
    Urgent,
    /// An ICMP error arrived that ends nothing.
    SoftError,
}

/// Something that an application sets of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Setting {
    /// No Nagle.
    NoDelay(bool),
    /// Segments that are not full wait.
    Cork(bool),
    /// The DiffServ code point.
    CodePoint(u8),
    /// An idle connection is probed.
    Keepalive { idle_s: u64, interval_s: u64, probes: u32 },
    /// How long text may stay unacknowledged.
    UserTimeout { ms: u64 },
    /// How long a close waits for what is queued; zero aborts.
    Linger { s: u64 },
}

/// An ICMP error of type 3 about a segment of the stack (RFC 792).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Icmp {
    pub(crate) code: u8,
    /// The MTU of the next hop, in "fragmentation needed" (RFC 1191).
    pub(crate) mtu: u16,
    /// SEG.SEQ of the segment that it quotes.
    pub(crate) seq: i64,
}

/// Why a connection ended abnormally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The peer reset our SYN.
    Refused,
    /// The peer reset the connection.
    Reset,
    /// The peer was not heard any more.
    TimedOut,
    /// A router says that the peer cannot be reached.
    Unreachable,
}

/// Where else a script runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// On the kernel, and it does the same.
    Same,
    /// On the kernel, which does something else at these points: why.
    Differs(Vec<&'static str>),
    /// In memory only: why.
    Not(&'static str),
}

/// The name of a script and the function that writes it down.
pub(crate) type Entry = (&'static str, Write);
/// What writes a script down.
pub(crate) type Write = fn(&mut Script);

/// A script in the making.
pub(crate) struct Script {
    pub(crate) stack: Stack,
    pub(crate) steps: Vec<Step>,
    pub(crate) kernel: Kernel,
    /// Ringway's settings.
    pub(crate) settings: tcp::Config,
    /// Networks that may not begin with Ringway.
    pub(crate) denied: Vec<&'static str>,
    /// The kernel's, below `net.ipv4`.
    pub(crate) sysctls: Vec<(&'static str, &'static str)>,
    /// Bytes of the kernel's receive buffer, if not its default.
    pub(crate) kernel_buffer: Option<usize>,
    /// The application leaves small segments to Nagle.
    pub(crate) nagle: bool,
    /// Drops that happen, each at least once; others of TCP do not.
    pub(crate) drops: Vec<Drop>,
    /// What happens to the connection, each at least once.
    pub(crate) happenings: Vec<Happening>,
}

impl Script {
    pub(crate) fn of(write: Write, stack: Stack) -> Self {
        let mut script = Self {
            stack,
            steps: Vec::new(),
            kernel: Kernel::Same,
            settings: tcp::Config { connections: 64, ..tcp::Config::default() },
            denied: Vec::new(),
            sysctls: Vec::new(),
            kernel_buffer: None,
            nagle: false,
            drops: Vec::new(),
            happenings: Vec::new(),
        };
        write(&mut script);
        script
    }

    pub(crate) fn inject(&mut self, seg: Seg) {
        self.steps.push(Step::Inject(seg));
    }

    /// A router reports about a segment.
    pub(crate) fn icmp(&mut self, code: u8, mtu: u16, seq: i64) {
        self.steps.push(Step::Icmp(Icmp { code, mtu, seq }));
    }

    pub(crate) fn expect(&mut self, seg: Seg) {
        self.steps.push(Step::Expect(seg));
    }

    /// Nothing comes for so many milliseconds.
    pub(crate) fn silence(&mut self, ms: u64) {
        self.steps.push(Step::Silence(ms));
    }

    pub(crate) fn call(&mut self, call: Call) {
        self.steps.push(Step::Call(call));
    }

    pub(crate) fn state(&mut self, state: State) {
        self.steps.push(Step::State(state));
    }

    /// A connection of the same ports follows, with an ISN of its own.
    pub(crate) fn forget(&mut self) {
        self.steps.push(Step::Forget);
    }

    /// The application listens.
    pub(crate) fn listen(&mut self) {
        self.call(Call::Listen { backlog: 8 });
    }

    /// A passive open without any option but MSS, from CLOSED to ESTABLISHED: the next sequence number of both is 1.
    pub(crate) fn established(&mut self) {
        self.established_with(syn().mss(1000));
    }

    /// The same with a SYN of the script's own. Its options, and a window of 60,000, are the peer's.
    pub(crate) fn established_with(&mut self, first: Seg) {
        let stamp = first.stamp;
        self.listen();
        self.inject(first);
        self.expect(syn_ack().seq(0).ack(1));
        let last = ack().seq(1).ack(1);
        self.inject(match stamp {
            Some(stamp) => last.ts(stamp.value.unwrap_or(0) + 1),
            None => last,
        });
        self.call(Call::Accept);
    }

    /// An active open without any option but MSS.
    pub(crate) fn connected(&mut self) {
        self.call(Call::Connect);
        self.expect(syn().seq(0));
        self.inject(syn_ack().seq(0).ack(1).mss(1000));
        self.expect(ack().seq(1).ack(1));
        self.state(State::Established);
    }

    /// This frame is dropped for this reason, and counted.
    pub(crate) fn shows(&mut self, why: Drop) {
        self.drops.push(why);
    }

    /// This happens to the connection, and is counted.
    pub(crate) fn happens(&mut self, what: Happening) {
        self.happenings.push(what);
    }

    /// The stacks differ here: why, what Ringway does, what the kernel does.
    pub(crate) fn differs(&mut self, why: &'static str, ringway: impl FnOnce(&mut Self), kernel: impl FnOnce(&mut Self)) {
        match &mut self.kernel {
            Kernel::Differs(reasons) => reasons.push(why),
            kernel => *kernel = Kernel::Differs(vec![why]),
        }
        match self.stack {
            Stack::Ringway => ringway(self),
            Stack::Kernel => kernel(self),
        }
    }

    /// Runs in memory only.
    pub(crate) fn not_on_kernel(&mut self, why: &'static str) {
        self.kernel = Kernel::Not(why);
    }

    /// Settings of the stack under test: Ringway's, and what comes nearest to them in the kernel (below `net.ipv4`).
    pub(crate) fn settings(&mut self, set: impl FnOnce(&mut tcp::Config), sysctls: &[(&'static str, &'static str)]) {
        set(&mut self.settings);
        self.sysctls.extend(sysctls);
    }

    /// The application leaves small segments to Nagle.
    pub(crate) fn nagle(&mut self) {
        self.nagle = true;
        self.settings.no_delay = false;
    }

    /// How long the script waits on purpose, in milliseconds: the longest are begun first.
    pub(crate) fn waits_ms(&self) -> u64 {
        use crate::segment::Due;
        let wait = |step: &Step| match step {
            Step::Silence(ms) => *ms,
            Step::Expect(Seg { due: Due::After(ms), .. }) => *ms,
            Step::Expect(Seg { due: Due::Within(_, ms), .. }) => *ms,
            _ => 0,
        };
        self.steps.iter().map(wait).sum()
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inject(seg) => write!(f, "inject  {seg}"),
            Self::Icmp(icmp) => write!(f, "icmp    {icmp:?}"),
            Self::Expect(seg) => write!(f, "expect  {seg} ({:?})", seg.due),
            Self::Silence(ms) => write!(f, "silence {ms} ms"),
            Self::Call(call) => write!(f, "call    {call:?}"),
            Self::State(state) => write!(f, "state   {state}"),
            Self::Forget => write!(f, "a new connection"),
        }
    }
}

/// Lists the scripts of a file: for the players, and one test each in memory.
macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        /// The scripts of this file.
        pub(crate) const SCRIPTS: &[crate::script::Entry] = &[$((stringify!($name), $name)),*];

        mod in_memory {
            $(#[test]
            fn $name() {
                crate::memory::play(stringify!($name), super::$name);
            })*
        }
    };
}
pub(crate) use scripts;
