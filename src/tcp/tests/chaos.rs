//! Segments and calls as nobody would send them: nothing panics, no promise is broken, and the fast path is the slow one.

use std::time::Duration;

use proptest::prelude::*;

use super::script::*;
use crate::tcp::seq::SeqNum;
use crate::tcp::{BufferPool, Config, Events, Keepalive, State, Tcb, Tuning};
use crate::time::Instant;
use crate::wire::tcp::{Flags, Options, SackBlock, Segment};

#[derive(Clone, Debug)]
enum Step {
    /// SEG.SEQ relative to RCV.NXT, SEG.ACK relative to SND.UNA.
    Arrive {
        seq: i64,
        ack: i64,
        flags: u8,
        window: u16,
        options: Options,
        /// Left edge relative to SND.UNA and length of each SACK block; none: what `options` says.
        blocks: Vec<(i64, i64)>,
        len: usize,
    },
    Send(usize),
    Read(usize),
    Close,
    CloseBoth,
    Abort,
    Unreachable,
    TooBig(u16),
    Tune(Tuning),
    Wait(u64),
    Poll(usize),
}

fn offset(near: i64) -> impl Strategy<Value = i64> {
    prop_oneof![6 => Just(0), 6 => -near..near, 1 => -(1i64 << 32)..(1i64 << 32)]
}

fn options() -> impl Strategy<Value = Options> {
    let number = prop_oneof![0u32..50, any::<u32>()];
    (
        prop::option::of(any::<u16>()),
        prop::option::of(any::<u8>()),
        prop::option::weighted(0.7, (number.clone(), number)),
        (any::<u32>(), any::<u32>(), any::<u8>()),
    )
        .prop_map(|(mss, window_scale, timestamps, (left, right, sack_count))| Options {
            mss,
            window_scale,
            sack_permitted: left & 1 == 1,
            timestamps,
            sack: [SackBlock { left: SeqNum(left), right: SeqNum(right) }; 4],
            sack_count,
            user_timeout: (right & 7 == 7).then_some(left as u16),
        })
}

/// As the acknowledgment of an arriving segment: all that was sent.
const ALL: i64 = i64::MAX;

/// Blocks near SND.UNA, as a peer would send them that has lost something.
fn blocks() -> impl Strategy<Value = Vec<(i64, i64)>> {
    prop::collection::vec((offset(6000), 1i64..3000), 0..5)
}

fn arrive() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![
        10 => Just(Flags::ACK.0),
        3 => Just(Flags::ACK.0 | Flags::PSH.0),
        3 => Just(Flags::ACK.0 | Flags::FIN.0),
        1 => Just(Flags::ACK.0 | Flags::SYN.0),
        1 => Just(Flags::SYN.0),
        2 => any::<u8>(),
    ];
    let window = prop_oneof![Just(0u16), Just(1), Just(WINDOW), any::<u16>()];
    let len = prop_oneof![3 => Just(0usize), 2 => 1usize..20, 2 => 1usize..3000];
    (offset(3000), offset(5000), flags, window, (options(), blocks()), len).prop_map(
        |(seq, ack, flags, window, (options, blocks), len)| Step::Arrive { seq, ack, flags, window, options, blocks, len },
    )
}

fn tuning() -> impl Strategy<Value = Tuning> {
    let span = || prop::option::of((0u64..5000).prop_map(Duration::from_millis));
    prop_oneof![
        any::<bool>().prop_map(Tuning::NoDelay),
        any::<bool>().prop_map(Tuning::Cork),
        (span(), 0u32..4).prop_map(|(idle, probes)| {
            Tuning::Keepalive(idle.map(|idle| Keepalive { idle, interval: idle / 2 + Duration::from_millis(1), probes }))
        }),
        span().prop_map(Tuning::UserTimeout),
        span().prop_map(Tuning::Linger),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => arrive(),
        4 => (0usize..8000).prop_map(Step::Send),
        4 => (0usize..8000).prop_map(Step::Read),
        1 => Just(Step::Close),
        1 => Just(Step::CloseBoth),
        1 => Just(Step::Abort),
        1 => Just(Step::Unreachable),
        1 => (0u16..2000).prop_map(Step::TooBig),
        2 => tuning().prop_map(Step::Tune),
        4 => (0u64..3000).prop_map(Step::Wait),
        10 => (0usize..20).prop_map(Step::Poll),
    ]
}

struct Bench {
    tcb: Tcb,
    pool: BufferPool,
    config: Config,
    now: Instant,
    events: Events,
    fast: usize,
    /// Fold and unfold the connection whenever it can be; how often that was.
    folds: bool,
    folded: usize,
    /// What the service and the peer see.
    seen: Vec<String>,
}

impl Bench {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Arrive { seq, ack, flags, window, mut options, ref blocks, len } => {
                let payload = vec![0xa5; len];
                for (place, &(left, len)) in options.sack.iter_mut().zip(blocks) {
                    let left = self.tcb.snd.una + left as u32;
                    *place = SackBlock { left, right: left + len as u32 };
                    options.sack_count = blocks.len().min(4) as u8;
                }
                let segment = Segment {
                    seq: self.tcb.rcv.nxt + seq as u32,
                    ack: if ack == ALL { self.tcb.snd.nxt } else { self.tcb.snd.una + ack as u32 },
                    flags: Flags(flags),
                    window,
                    urgent: window,
                    options,
                    ecn: flags & 3,
                    payload: &payload,
                };
                self.arrive(&segment);
            }
            Step::Send(n) => {
                let room = self.tcb.send_room(&self.config);
                assert!(self.tcb.send(&self.config, &vec![0x5a; n], &mut self.pool) <= n.min(room));
            }
            Step::Read(n) => {
                let n = n.min(self.tcb.unread().len());
                self.tcb.consume(n, &mut self.pool);
                self.tcb.delivered(&mut self.pool);
            }
            Step::Close => self.tcb.close(self.now),
            Step::CloseBoth => self.tcb.close_both(&self.config, self.now, &mut self.pool),
            Step::Abort => self.tcb.abort(),
            Step::Unreachable => self.note_unreachable(),
            Step::TooBig(mtu) => {
                let seq = self.tcb.snd.una;
                if self.tcb.is_in_flight(seq) {
                    self.tcb.on_packet_too_big(&self.config, self.now, seq, mtu);
                }
            }
            Step::Tune(tuning) => self.tcb.tune(tuning, self.now),
            Step::Wait(ms) => {
                self.now += Duration::from_millis(ms);
                let events = self.tcb.on_timeout(&self.config, self.now);
                self.note(events);
                assert!(self.tcb.poll_timeout() > self.now, "an expired timer stays armed");
            }
            Step::Poll(n) => {
                for _ in 0..n {
                    let wanted = self.tcb.wants_transmit(self.now);
                    let sent = self.tcb.poll_transmit(&self.config, self.now, &mut self.pool);
                    assert!(wanted || sent.is_none());
                    self.seen.extend(sent.map(|sent| format!("{sent:?}")));
                }
            }
        }
        if self.folds
            && let Some(folded) = self.tcb.fold(&self.config, self.now)
        {
            self.tcb = folded.unfold(&self.config);
            self.folded += 1;
        }
        assert!(self.tcb.snd.una.at_or_before(self.tcb.snd.nxt));
        self.tcb.check_flight();
        assert!(self.tcb.rcv.wnd + self.tcb.received.unread() <= self.tcb.rcv.limit.max(0xffff));
    }

    fn arrive(&mut self, segment: &Segment<'_>) {
        let edge = self.tcb.right_edge();
        let (mut slow, mut slow_pool) = (self.tcb.clone(), self.pool.clone());
        let is_fast = self.tcb.takes_fast_path(self.now, segment);
        let arrival = self.tcb.on_segment(&self.config, self.now, segment, &mut self.pool);
        if is_fast {
            self.fast += 1;
            let expected = slow.on_segment_slowly(&self.config, self.now, segment, &mut slow_pool);
            assert_eq!((&arrival, &self.tcb), (&expected, &slow), "the fast path differs");
            assert!(self.pool == slow_pool, "the fast path differs in memory");
        }
        if let (Some(before), Some(after)) = (edge, self.tcb.right_edge()) {
            assert!(after.at_or_after(before), "the right edge moved left");
        }
        self.note(arrival.events);
        self.seen.push(format!("{arrival:?}"));
        if !arrival.payload.is_empty() {
            assert_eq!(self.tcb.unread_len(), 0);
            let bytes = &segment.payload[arrival.payload];
            self.tcb.keep_unread(&bytes[bytes.len() / 3..], &mut self.pool);
        }
        self.tcb.delivered(&mut self.pool);
    }

    fn note_unreachable(&mut self) {
        let events = self.tcb.on_unreachable();
        self.note(events);
    }

    /// A connection ends at most once.
    fn note(&mut self, events: Events) {
        let ends = [Events::CLOSED, Events::ABORTED, Events::RESET, Events::REFUSED, Events::TIMED_OUT];
        let ended = |set: Events| ends.into_iter().filter(|&end| set.contains(end)).count();
        assert!(ended(self.events) + ended(events) <= 1, "ends twice: {:?} then {events:?}", self.events);
        self.events |= events;
    }
}

fn births() -> Vec<(State, Tcb, Config, BufferPool)> {
    let stamped = Config {
        timestamps: true,
        window_scaling: true,
        sack: true,
        receive_buffer_max: 100_000,
        send_buffer_max: 50_000,
        quick_acks: 4,
        memory: 200_000,
        ..plain()
    };
    let mut births: Vec<_> = Script::in_every_state().iter().map(|(script, ..)| born(script)).collect();
    let mut peer = Script::accept(stamped, syn().seq(IRS).mss(MSS).ts(10, 0).scale(3));
    peer.sent();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).ts(11, 0));
    births.push(born(&peer));
    let mut peer = Script::accept(stamped, syn().seq(IRS).mss(MSS).ts(10, 0).scale(3).sack_permitted());
    peer.sent();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).ts(11, 0));
    births.push(born(&peer));
    births.push(born(&Script::open(stamped)));
    births
}

fn born(script: &Script) -> (State, Tcb, Config, BufferPool) {
    (script.tcb.state(), script.tcb.clone(), script.config, script.pool.clone())
}

fn run(birth: usize, steps: &[Step], folds: bool) -> Bench {
    let births = births();
    let (_, tcb, config, pool) = births[birth % births.len()].clone();
    let mut bench = Bench { tcb, pool, config, now: START, events: Events::NONE, fast: 0, folds, folded: 0, seen: Vec::new() };
    if bench.tcb.state() == State::TimeWait {
        bench.events = Events::CLOSED;
    }
    for step in steps {
        bench.step(step);
    }
    bench.tcb.release(&mut bench.pool);
    assert_eq!(bench.pool.in_use(), 0);
    bench
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.saturating_mul(8), ..ProptestConfig::default() })]

    #[test]
    fn nothing_breaks_in_any_state(birth in 0usize..16, steps in prop::collection::vec(step(), 1..60), folds in any::<bool>()) {
        run(birth, &steps, folds);
    }

    /// Mostly what a well-behaved peer sends, so that the fast path is taken; each time it is compared with the other.
    #[test]
    fn the_fast_path_is_the_slow_one(
        steps in prop::collection::vec(
            (
                prop_oneof![Just(ALL), 0i64..3000],
                prop_oneof![Just(0usize), 1usize..1500],
                0usize..4000,
                any::<bool>(),
                prop::sample::select(vec![0, 1, WINDOW]),
                0u64..400,
            ),
            1..40,
        ),
    ) {
        for birth in [2, 9, 10] {
            let steps: Vec<_> = steps
                .iter()
                .flat_map(|&(ack, len, send, read, window, wait)| {
                    let options = Options { timestamps: Some((20 + len as u32, ack as u32)), ..Options::default() };
                    let arrive = Step::Arrive { seq: 0, ack, flags: Flags::ACK.0, window, options, blocks: Vec::new(), len };
                    let under_way = Step::Wait(wait % 8);
                    [Step::Send(send), Step::Poll(10), under_way, arrive, Step::Read(if read { 8000 } else { 0 }), Step::Wait(wait)]
                })
                .collect();
            run(birth, &steps, false);
        }
    }

    /// Requests and replies with rests between them: whoever is folded sends the same segments at the same times, and says the same to
    /// its service.
    #[test]
    fn a_folded_connection_behaves_as_one_that_never_was(
        steps in prop::collection::vec(
            (0usize..3000, 0usize..3000, prop::sample::select(vec![0u64, 10, 150, 700, 3_000, 9_000, 40_000])),
            1..30,
        ),
    ) {
        for birth in [2, 9, 10] {
            let mut now = 20;
            let steps: Vec<_> = steps.iter().flat_map(|&(send, len, wait)| {
                now += 1 + wait as u32;
                let options = Options { timestamps: Some((now, now)), ..Options::default() };
                let arrive = |ack, len| {
                    Step::Arrive { seq: 0, ack, flags: Flags::ACK.0, window: WINDOW, options, blocks: Vec::new(), len }
                };
                [Step::Wait(wait), arrive(0, len), Step::Read(8000), Step::Send(send), Step::Poll(20), arrive(send as i64, 0), Step::Poll(20)]
            }).collect();
            let [never, folded] = [false, true].map(|folds| run(birth, &steps, folds));
            for (never, folded) in never.seen.iter().zip(&folded.seen) {
                prop_assert_eq!(never, folded);
            }
            prop_assert_eq!(never.seen.len(), folded.seen.len());
            prop_assert_eq!(never.events, folded.events);
        }
    }
}

/// The comparison above means something only if connections are folded.
#[test]
fn a_connection_is_folded_between_requests() {
    let steps: Vec<_> = (1..20)
        .flat_map(|n| {
            let options = Options { timestamps: Some((20 + 2_000 * n, 20 + 2_000 * n)), ..Options::default() };
            let arrive =
                |ack, len| Step::Arrive { seq: 0, ack, flags: Flags::ACK.0, window: WINDOW, options, blocks: Vec::new(), len };
            [Step::Wait(2_000), arrive(0, 10), Step::Read(10), Step::Send(20), Step::Poll(9), arrive(20, 0), Step::Poll(9)]
        })
        .collect();
    for birth in [2, 9, 10] {
        assert!(run(birth, &steps, true).folded > 15);
    }
}

/// The comparison above means something only if the fast path is taken.
#[test]
fn the_fast_path_is_taken() {
    let options = Options { timestamps: Some((20, 0)), ..Options::default() };
    let steps: Vec<_> = (0..50)
        .flat_map(|_| {
            let blocks = Vec::new();
            let arrive = Step::Arrive { seq: 0, ack: 100, flags: Flags::ACK.0, window: WINDOW, options, blocks, len: 10 };
            [Step::Send(100), Step::Poll(2), arrive, Step::Read(100)]
        })
        .collect();
    for birth in [2, 9, 10] {
        assert_eq!(run(birth, &steps, false).fast, 50);
    }
}
