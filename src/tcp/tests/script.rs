//! One TCB, a peer that the test plays, and a service that takes everything unless it is told not to.

use std::time::Duration;

use crate::device::Drop;
use crate::tcp::arrives::listen::{self, Listen};
use crate::tcp::congestion::Algorithm;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::Noted;
use crate::tcp::{Arrival, BufferPool, Config, Disposition, Events, IpVersion, Opening, State, Tcb, Transmit, Tuning};
use crate::time::Instant;
use crate::wire::tcp::{Flags, Options, SackBlock, Segment};

/// Our initial sequence number: the first bytes sent cross the wrap.
pub(super) const ISS: SeqNum = SeqNum(u32::MAX - 2);
/// The peer's.
pub(super) const IRS: SeqNum = SeqNum(u32::MAX - 20);
/// The MSS of the link, and of the peer unless a test says otherwise.
pub(super) const MSS: u16 = 1000;
/// The peer's clock, in its timestamps.
pub(super) const PEER_TIME: u32 = 7_000;
/// The peer's window unless a test says otherwise.
pub(super) const WINDOW: u16 = 60_000;

/// No timestamps and no scaling, which tests add where they matter; quick close.
pub(super) fn plain() -> Config {
    Config {
        timestamps: false,
        window_scaling: false,
        sack: false,
        receive_buffer: 20_000,
        receive_buffer_max: 0,
        send_buffer: 20_000,
        send_buffer_max: 0,
        quick_acks: 0,
        ..Config::default()
    }
}

/// A segment as a test writes it down. What is not said is not compared (`expect`) or has its default (`inject`).
#[derive(Clone, Debug)]
pub(super) struct Seg {
    flags: Flags,
    seq: SeqNum,
    ack: Option<SeqNum>,
    window: Option<u16>,
    urgent: u16,
    options: Option<Options>,
    /// The ECN codepoint it arrives with.
    ecn: u8,
    /// It left with ECT(0).
    pub(super) ect: bool,
    payload: Vec<u8>,
}

fn seg(flags: Flags) -> Seg {
    Seg { flags, seq: SeqNum(0), ack: None, window: None, urgent: 0, options: None, ecn: 0, ect: false, payload: Vec::new() }
}

pub(super) fn syn() -> Seg {
    seg(Flags::SYN)
}

pub(super) fn syn_ack() -> Seg {
    seg(Flags::SYN | Flags::ACK)
}

pub(super) fn ack() -> Seg {
    seg(Flags::ACK)
}

pub(super) fn fin() -> Seg {
    seg(Flags::FIN | Flags::ACK)
}

pub(super) fn rst() -> Seg {
    seg(Flags::RST)
}

/// Data with ACK and PSH, as the end of what was queued goes out.
pub(super) fn data(payload: &[u8]) -> Seg {
    let mut seg = seg(Flags::ACK | Flags::PSH);
    seg.payload = payload.to_vec();
    seg
}

/// Data with ACK, with more behind it.
pub(super) fn more(payload: &[u8]) -> Seg {
    Seg { flags: Flags::ACK, ..data(payload) }
}

impl Seg {
    pub(super) fn seq(self, seq: SeqNum) -> Self {
        Self { seq, ..self }
    }

    pub(super) fn ack(self, ack: SeqNum) -> Self {
        Self { ack: Some(ack), ..self }
    }

    pub(super) fn win(self, window: u16) -> Self {
        Self { window: Some(window), ..self }
    }

    pub(super) fn with(self, flags: Flags) -> Self {
        Self { flags: self.flags | flags, ..self }
    }

    /// Marked on its way.
    pub(super) fn marked(self) -> Self {
        Self { ecn: crate::wire::ipv4::ECN_CE, ..self }
    }

    pub(super) fn has(&self, flag: Flags) -> bool {
        self.flags.contains(flag)
    }

    pub(super) fn urgent(self, urgent: u16) -> Self {
        Self { urgent, ..self.with(Flags::URG) }
    }

    fn option(mut self, set: impl FnOnce(&mut Options)) -> Self {
        set(self.options.get_or_insert_default());
        self
    }

    pub(super) fn no_options(self) -> Self {
        self.option(|_| {})
    }

    pub(super) fn mss(self, mss: u16) -> Self {
        self.option(|options| options.mss = Some(mss))
    }

    pub(super) fn scale(self, shift: u8) -> Self {
        self.option(|options| options.window_scale = Some(shift))
    }

    pub(super) fn user_timeout(self, option: u16) -> Self {
        self.option(|options| options.user_timeout = Some(option))
    }

    /// Selective acknowledgments: left and right edge of each block.
    pub(super) fn sack(self, blocks: &[(SeqNum, SeqNum)]) -> Self {
        self.option(|options| {
            for (place, &(left, right)) in options.sack.iter_mut().zip(blocks) {
                *place = SackBlock { left, right };
            }
            options.sack_count = blocks.len() as u8;
        })
    }

    pub(super) fn sack_permitted(self) -> Self {
        self.option(|options| options.sack_permitted = true)
    }

    pub(super) fn ts(self, value: u32, echo: u32) -> Self {
        self.option(|options| options.timestamps = Some((value, echo)))
    }
}

/// The test bench.
pub(super) struct Script {
    pub(super) tcb: Tcb,
    pub(super) config: Config,
    pub(super) pool: BufferPool,
    pub(super) now: Instant,
    /// Bytes the service takes at most from now on; what it leaves stays unread.
    pub(super) appetite: usize,
    pub(super) taken: Vec<u8>,
    pub(super) then: Disposition,
    events: Events,
    drop: Option<Drop>,
}

pub(super) const START: Instant = Instant::from_ns(1_000_000_000_000);

pub(super) const OPENING: Opening =
    Opening { iss: ISS, timestamp_offset: 500, ip: IpVersion::V4, mss: MSS, congestion: Algorithm::Reno };

impl Script {
    fn of(tcb: Tcb, config: Config, pool: BufferPool) -> Self {
        Self {
            tcb,
            config,
            pool,
            now: START,
            appetite: usize::MAX,
            taken: Vec::new(),
            then: Disposition::Stay,
            events: Events::NONE,
            drop: None,
        }
    }

    /// After OPEN; the SYN has left.
    pub(super) fn syn_sent() -> Self {
        let mut script = Self::open(plain());
        script.expect(syn().seq(ISS));
        script
    }

    /// OPEN, active, with the SYN still to come.
    pub(super) fn open(config: Config) -> Self {
        Self::open_as(config, OPENING)
    }

    /// The same, with something else told at its birth.
    pub(super) fn open_as(config: Config, opening: Opening) -> Self {
        Self::of(Tcb::open(&config, opening, START), config, BufferPool::new(config.memory))
    }

    /// A listener that got a SYN; the SYN-ACK still to come.
    pub(super) fn accept(config: Config, from: Seg) -> Self {
        let segment = segment(&from);
        assert_eq!(listen::on_segment(&segment), Listen::Syn);
        Self::of(Tcb::accept(&config, OPENING, START, &segment), config, BufferPool::new(config.memory))
    }

    /// Passive, after the SYN-ACK.
    pub(super) fn syn_received() -> Self {
        let mut script = Self::accept(plain(), syn().seq(IRS).mss(MSS));
        script.expect(syn_ack().seq(ISS).ack(IRS + 1));
        script
    }

    /// Passive, handshake complete, nothing sent or received.
    pub(super) fn established() -> Self {
        Self::established_with(plain())
    }

    pub(super) fn established_with(config: Config) -> Self {
        let mut script = Self::accept(config, syn().seq(IRS).mss(MSS));
        script.expect(syn_ack().seq(ISS).ack(IRS + 1));
        script.inject(ack().seq(IRS + 1).ack(ISS + 1));
        script.expect_state(State::Established);
        script.expect_events(Events::CONNECTED);
        script.expect_nothing();
        script
    }

    /// Passive, handshake complete over a path with a round trip of `rtt`, SACK on.
    pub(super) fn with_sack(config: Config, rtt: Duration) -> Self {
        let offer = syn().seq(IRS).mss(MSS).sack_permitted();
        let stamped = config.timestamps;
        let mut script = Self::accept(Config { sack: true, ..config }, if stamped { offer.ts(PEER_TIME, 0) } else { offer });
        script.sent();
        script.advance(rtt);
        let reply = ack().seq(IRS + 1).ack(ISS + 1);
        let echo = script.tcb.timestamps.value(START);
        script.inject(if stamped { reply.ts(PEER_TIME, echo) } else { reply });
        script.expect_events(Events::CONNECTED);
        script.expect_nothing();
        script
    }

    /// Sends full segments of `byte`, which leave at once.
    #[track_caller]
    pub(super) fn flight(&mut self, segments: u32, byte: u8) {
        let first = self.tcb.snd.nxt;
        let len = self.payload_len();
        assert_eq!(self.send(&vec![byte; len * segments as usize]), len * segments as usize);
        for n in 0..segments {
            let text = if n + 1 < segments { more(&vec![byte; len]) } else { data(&vec![byte; len]) };
            self.expect(text.seq(first + n * len as u32));
        }
        self.expect_nothing();
    }

    /// Bytes in a full segment.
    pub(super) fn payload_len(&self) -> usize {
        usize::from(MSS) - if self.config.timestamps { 12 } else { 0 }
    }

    /// Our clock, in our timestamps.
    pub(super) fn clock(&self) -> u32 {
        self.tcb.timestamps.value(self.now)
    }

    /// What has happened since the last call.
    pub(super) fn noted(&mut self) -> Noted {
        self.tcb.take_noted()
    }

    /// We closed; our FIN is on the way.
    pub(super) fn fin_wait_1() -> Self {
        let mut script = Self::established();
        script.close();
        script.expect(fin().seq(ISS + 1).ack(IRS + 1));
        script.expect_state(State::FinWait1);
        script
    }

    /// We closed and the peer knows.
    pub(super) fn fin_wait_2() -> Self {
        let mut script = Self::fin_wait_1();
        script.inject(ack().seq(IRS + 1).ack(ISS + 2));
        script.expect_state(State::FinWait2);
        script.expect_nothing();
        script
    }

    /// Both closed at once; neither FIN is acknowledged.
    pub(super) fn closing() -> Self {
        let mut script = Self::fin_wait_1();
        script.inject(fin().seq(IRS + 1).ack(ISS + 1));
        script.expect(ack().seq(ISS + 2).ack(IRS + 2));
        script.expect_state(State::Closing);
        script.expect_events(Events::PEER_CLOSED);
        script
    }

    /// The peer closed.
    pub(super) fn close_wait() -> Self {
        let mut script = Self::established();
        script.inject(fin().seq(IRS + 1).ack(ISS + 1));
        script.expect(ack().seq(ISS + 1).ack(IRS + 2));
        script.expect_state(State::CloseWait);
        script.expect_events(Events::PEER_CLOSED);
        script
    }

    /// The peer closed, then we did.
    pub(super) fn last_ack() -> Self {
        let mut script = Self::close_wait();
        script.close();
        script.expect(fin().seq(ISS + 1).ack(IRS + 2));
        script.expect_state(State::LastAck);
        script
    }

    /// We closed first, then the peer.
    pub(super) fn time_wait() -> Self {
        let mut script = Self::fin_wait_2();
        script.inject(fin().seq(IRS + 1).ack(ISS + 2));
        script.expect(ack().seq(ISS + 2).ack(IRS + 2));
        script.expect_state(State::TimeWait);
        script.expect_events(Events::PEER_CLOSED | Events::CLOSED);
        script
    }

    /// A TCB in each of the states that have one, with the sequence numbers it stands at: SND.NXT and RCV.NXT.
    pub(super) fn in_every_state() -> Vec<(Self, SeqNum, SeqNum)> {
        vec![
            (Self::syn_sent(), ISS + 1, IRS),
            (Self::syn_received(), ISS + 1, IRS + 1),
            (Self::established(), ISS + 1, IRS + 1),
            (Self::fin_wait_1(), ISS + 2, IRS + 1),
            (Self::fin_wait_2(), ISS + 2, IRS + 1),
            (Self::close_wait(), ISS + 1, IRS + 2),
            (Self::closing(), ISS + 2, IRS + 2),
            (Self::last_ack(), ISS + 2, IRS + 2),
            (Self::time_wait(), ISS + 2, IRS + 2),
        ]
    }

    /// A segment arrives, and the service is offered what there is.
    pub(super) fn inject(&mut self, seg: Seg) {
        let segment = segment(&seg);
        let edge = self.tcb.right_edge();
        let Arrival { payload, events, drop, then } = self.tcb.on_segment(&self.config, self.now, &segment, &mut self.pool);
        if let (Some(before), Some(after)) = (edge, self.tcb.right_edge()) {
            assert!(after.at_or_after(before), "the right edge of the window moved left");
        }
        if payload.is_empty() {
            self.read();
        } else {
            assert_eq!(self.tcb.unread_len(), 0, "payload is offered only when nothing waits");
            let bytes = &segment.payload[payload];
            let n = self.take(bytes);
            if n < bytes.len() {
                self.tcb.keep_unread(&bytes[n..], &mut self.pool);
            }
        }
        self.tcb.delivered(&mut self.pool);
        self.events |= events;
        self.drop = drop;
        self.then = then;
    }

    fn take(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.appetite);
        self.appetite -= if self.appetite == usize::MAX { 0 } else { n };
        self.taken.extend_from_slice(&bytes[..n]);
        n
    }

    fn read(&mut self) {
        while !self.tcb.unread().is_empty() && self.appetite > 0 {
            let bytes = self.tcb.unread().to_vec();
            let n = self.take(&bytes);
            self.tcb.consume(n, &mut self.pool);
        }
    }

    /// The same segment with the ACK bit off.
    pub(super) fn without_ack(seg: Seg) -> Seg {
        Seg { flags: Flags(seg.flags.0 & !Flags::ACK.0), ack: None, ..seg }
    }

    /// The service takes up to `n` more bytes of what waits.
    pub(super) fn resume(&mut self, n: usize) {
        self.appetite = n;
        self.read();
        self.tcb.delivered(&mut self.pool);
    }

    /// The next segment out must be this one.
    #[track_caller]
    pub(super) fn expect(&mut self, expected: Seg) {
        let sent = self.sent();
        let Some(sent) = sent else { panic!("nothing was sent; expected {expected:?}") };
        assert_eq!(
            (sent.flags, sent.seq, sent.urgent, &sent.payload),
            (expected.flags, expected.seq, expected.urgent, &expected.payload),
            "sent {sent:?}, expected {expected:?}"
        );
        if expected.ack.is_some() {
            assert_eq!(sent.ack, expected.ack, "SEG.ACK of {sent:?}");
        }
        if expected.window.is_some() {
            assert_eq!(sent.window, expected.window, "SEG.WND of {sent:?}");
        }
        if expected.options.is_some() {
            assert_eq!(sent.options, expected.options, "options of {sent:?}");
        }
    }

    /// The next segment out, if there is one.
    pub(super) fn sent(&mut self) -> Option<Seg> {
        let wants = self.tcb.wants_transmit(self.now);
        let sent = self.tcb.poll_transmit(&self.config, self.now, &mut self.pool).map(|transmit| written(&transmit));
        assert!(wants || sent.is_none(), "poll_transmit sends only what wants_transmit announces");
        sent
    }

    /// Nothing leaves.
    #[track_caller]
    pub(super) fn expect_nothing(&mut self) {
        if let Some(sent) = self.sent() {
            panic!("unexpected: {sent:?}");
        }
        assert!(!self.tcb.wants_transmit(self.now), "what wants to send has something to send");
    }

    #[track_caller]
    pub(super) fn expect_state(&self, state: State) {
        assert_eq!(self.tcb.state(), state);
    }

    /// Exactly these events since the last time.
    #[track_caller]
    pub(super) fn expect_events(&mut self, events: Events) {
        assert_eq!(std::mem::take(&mut self.events), events);
    }

    /// The last segment injected was dropped for this reason.
    #[track_caller]
    pub(super) fn expect_drop(&self, drop: Drop) {
        assert_eq!(self.drop, Some(drop));
    }

    #[track_caller]
    pub(super) fn expect_no_drop(&self) {
        assert_eq!(self.drop, None);
    }

    /// The service has got this, all in all.
    #[track_caller]
    pub(super) fn expect_data(&self, bytes: &[u8]) {
        assert_eq!(self.taken, bytes);
    }

    /// The connection is over: CLOSED, nothing to send, no timer.
    #[track_caller]
    pub(super) fn expect_finished(&mut self) {
        self.expect_nothing();
        self.expect_state(State::Closed);
        assert!(self.tcb.finished());
        assert_eq!(self.tcb.poll_timeout(), Instant::NEVER);
    }

    /// Time passes; timers that expire meanwhile act when they are due.
    pub(super) fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        while self.tcb.poll_timeout() <= end {
            self.now = self.now.max(self.tcb.poll_timeout());
            let before = self.tcb.poll_timeout();
            self.events |= self.tcb.on_timeout(&self.config, self.now);
            if self.tcb.poll_timeout() <= before {
                break;
            }
        }
        self.now = end;
    }

    /// Time passes up to the next timer, which acts. Returns how long it took.
    #[track_caller]
    pub(super) fn next_timer(&mut self) -> Duration {
        let due = self.tcb.poll_timeout();
        assert_ne!(due, Instant::NEVER, "a timer runs");
        let span = due.since(self.now);
        let just_before = due - Duration::from_nanos(1);
        if just_before > self.now {
            assert_eq!(self.tcb.on_timeout(&self.config, just_before), Events::NONE, "early");
        }
        self.now = self.now.max(due);
        self.events |= self.tcb.on_timeout(&self.config, self.now);
        span
    }

    /// SEND.
    pub(super) fn send(&mut self, bytes: &[u8]) -> usize {
        self.tcb.send(&self.config, bytes, &mut self.pool)
    }

    /// SEND, urgent.
    pub(super) fn send_urgent(&mut self, bytes: &[u8]) -> usize {
        self.tcb.send_urgent(&self.config, bytes, &mut self.pool)
    }

    /// Sets something of the connection.
    pub(super) fn tune(&mut self, tuning: Tuning) {
        self.tcb.tune(tuning, self.now);
    }

    /// CLOSE.
    pub(super) fn close(&mut self) {
        self.tcb.close(self.now);
    }

    /// ABORT.
    pub(super) fn abort(&mut self) {
        self.tcb.abort();
    }
}

/// Whatever a script did, its memory comes back.
impl std::ops::Drop for Script {
    fn drop(&mut self) {
        self.tcb.release(&mut self.pool);
        if !std::thread::panicking() {
            assert_eq!(self.pool.in_use(), 0, "memory that was not given back");
        }
    }
}

impl Tcb {
    /// RCV.NXT + RCV.WND, once the peer's SYN is known.
    pub(super) fn right_edge(&self) -> Option<SeqNum> {
        self.syn_seen.then(|| self.rcv.nxt + self.rcv.wnd)
    }
}

pub(super) fn segment(seg: &Seg) -> Segment<'_> {
    Segment {
        seq: seg.seq,
        ack: seg.ack.unwrap_or(SeqNum(0)),
        flags: seg.flags,
        window: seg.window.unwrap_or(WINDOW),
        urgent: seg.urgent,
        options: seg.options.unwrap_or_default(),
        ecn: seg.ecn,
        payload: &seg.payload,
    }
}

pub(super) fn written(transmit: &Transmit<'_>) -> Seg {
    assert_eq!(transmit.payload_len(), transmit.payload.concat().len());
    Seg {
        flags: transmit.flags,
        seq: transmit.seq,
        ack: transmit.flags.contains(Flags::ACK).then_some(transmit.ack),
        window: Some(transmit.window),
        urgent: transmit.urgent,
        options: Some(transmit.options),
        ecn: 0,
        ect: transmit.ect,
        payload: transmit.payload.concat(),
    }
}
