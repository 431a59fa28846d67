//! Connections at rest: how little they take.

use std::time::Duration;

use proptest::prelude::*;

use crate::rng::Rng;
use crate::tcp::congestion::{Algorithm, Congestion, Signal};
use crate::tcp::seq::SeqNum;
use crate::tcp::{BufferPool, Config, IpVersion, Keepalive, Opening, State, Tcb, Tuning};
use crate::time::Instant;
use crate::wire::tcp::{Flags, Options, Segment};

/// What differs between one quiet connection and the next.
#[derive(Clone, Copy, Debug)]
struct Quiet {
    seed: u64,
    rtt_us: u64,
    born_s: u64,
    wait_ms: u64,
    exchanges: u32,
    active: bool,
}

/// A connection that has exchanged 64 bytes both ways, some times, and has nothing to do any more.
fn quiet(how: Quiet, config: &Config) -> (Tcb, Instant) {
    let mut rng = Rng::seeded(how.seed);
    let mut pool = BufferPool::new(1 << 20);
    let mut now = Instant::ZERO + Duration::from_secs(how.born_s) + Duration::from_nanos(rng.below(1_000_000_000));
    let jitter = |rng: &mut Rng| Duration::from_nanos(how.rtt_us * 1000 + rng.below(how.rtt_us * 100 + 1));
    let opening = Opening {
        iss: SeqNum(rng.next_u32()),
        timestamp_offset: rng.next_u32(),
        ip: if how.seed & 1 == 0 { IpVersion::V4 } else { IpVersion::V6 },
        mss: if how.seed & 1 == 0 { 1460 } else { 1440 },
        congestion: config.congestion,
    };
    let (iss, clock) = (SeqNum(rng.next_u32()), rng.next_u32());
    let stamp = |now: Instant| now.as_ms_wrapping().wrapping_add(clock);
    let options = |now: Instant, echo: u32| Options { timestamps: Some((stamp(now), echo)), ..Options::default() };
    let syn_options = |now: Instant, echo: u32| Options {
        mss: Some(opening.mss),
        window_scale: Some(7),
        sack_permitted: true,
        ..options(now, echo)
    };
    let segment = |seq: SeqNum, ack: SeqNum, flags: Flags, options: Options, payload: &'static [u8]| Segment {
        seq,
        ack,
        flags,
        window: 501,
        urgent: 0,
        options,
        ecn: 0,
        payload,
    };
    let mut tcb = if how.active {
        Tcb::open(config, opening, now)
    } else {
        let syn = segment(iss, SeqNum(0), Flags::SYN, syn_options(now, 0), &[]);
        Tcb::accept(config, opening, now, &Segment { window: 64240, ..syn })
    };
    let mut echo = tcb.poll_transmit(config, now, &mut pool).unwrap().options.timestamps.unwrap().0;
    now += jitter(&mut rng);
    if how.active {
        let syn_ack = segment(iss, opening.iss + 1, Flags::SYN | Flags::ACK, syn_options(now, echo), &[]);
        tcb.on_segment(config, now, &Segment { window: 65160, ..syn_ack }, &mut pool);
    } else {
        tcb.on_segment(config, now, &segment(iss + 1, opening.iss + 1, Flags::ACK, options(now, echo), &[]), &mut pool);
    }
    while tcb.poll_transmit(config, now, &mut pool).is_some() {}
    let (mut seq, mut ack) = (iss + 1, opening.iss + 1);
    for _ in 0..how.exchanges {
        now += Duration::from_millis(how.wait_ms) + Duration::from_nanos(rng.below(1_000_000));
        tcb.on_timeout(config, now);
        if !how.active {
            let data = segment(seq, ack, Flags::ACK | Flags::PSH, options(now, echo), &[7; 64]);
            assert_eq!(tcb.on_segment(config, now, &data, &mut pool).payload.len(), 64);
            seq += 64;
        }
        assert_eq!(tcb.send(config, &[9; 64], &mut pool), 64);
        tcb.delivered(&mut pool);
        while let Some(sent) = tcb.poll_transmit(config, now, &mut pool) {
            echo = sent.options.timestamps.unwrap().0;
        }
        ack += 64;
        now += jitter(&mut rng);
        let (payload, flags): (&[u8], _) = if how.active { (&[7; 64], Flags::ACK | Flags::PSH) } else { (&[], Flags::ACK) };
        tcb.on_segment(config, now, &segment(seq, ack, flags, options(now, echo), payload), &mut pool);
        seq += payload.len() as u32;
        tcb.delivered(&mut pool);
        while tcb.poll_transmit(config, now, &mut pool).is_some() {}
        if tcb.poll_timeout() < now + Duration::from_millis(200) {
            now = tcb.poll_timeout();
            tcb.on_timeout(config, now);
            while tcb.poll_transmit(config, now, &mut pool).is_some() {}
        }
    }
    assert_eq!((tcb.state(), pool.in_use()), (State::Established, 0));
    // The engine counts it at once.
    tcb.take_noted();
    (tcb, now)
}

prop_compose! {
    fn any_quiet()(
        seed in any::<u64>(),
        rtt_us in prop_oneof![1u64..100, 100u64..10_000, 10_000u64..600_000],
        born_s in 0u64..10_000_000,
        wait_ms in prop_oneof![Just(0u64), 1u64..1000, 1000u64..100_000],
        exchanges in prop_oneof![1u32..3, 3u32..100],
        active in any::<bool>(),
    ) -> Quiet {
        Quiet { seed, rtt_us, born_s, wait_ms, exchanges, active }
    }
}

/// Two retransmission timeouts after an instant.
fn later(tcb: &Tcb, now: Instant) -> Instant {
    now.after_ns(2 * tcb.rto_ns())
}

proptest! {
    /// Whatever its round trips were like and however long it lives: 96 octets are enough.
    #[test]
    fn a_connection_of_requests_and_replies_can_be_folded(how in any_quiet(), keepalive in any::<bool>(), reno in any::<bool>()) {
        let congestion = if reno { Algorithm::Reno } else { Algorithm::Cubic };
        let config = Config { keepalive, congestion, ..Config::default() };
        let (mut tcb, now) = quiet(how, &config);
        // The instant of the test may be later than a timeout after that: it waits for delayed acknowledgments.
        let sent = tcb.last_sent;
        prop_assert!(tcb.fold(&config, sent).is_none(), "it has just been used");
        let then = later(&tcb, now);
        tcb.on_timeout(&config, then);
        let folded = tcb.fold(&config, then);
        prop_assert!(folded.is_some());
        prop_assert_eq!(folded.map(|folded| folded.unfold(&config)), Some(tcb));
    }

    /// Of whom a place was before leaves nothing behind.
    #[test]
    fn a_connection_can_be_unfolded_onto_another(one in any_quiet(), other in any_quiet(), algorithms in 0..4u8, lossy in any::<bool>()) {
        let config = Config { keepalive: true, ..Config::default() };
        let with = |bit: u8| if algorithms & bit == 0 { Algorithm::Cubic } else { Algorithm::Reno };
        let (mut tcb, now) = quiet(one, &Config { congestion: with(1), ..config });
        let (mut place, then) = quiet(other, &Config { congestion: with(2), ..config });
        if lossy {
            place.congestion.on_congestion(Signal::Loss, 1_000_000, then);
            (place.resent, place.rcv.limit, place.cork, place.linger_ms) = (7, 6_291_456, true, Some(9));
            place.tune(Tuning::UserTimeout(Some(Duration::from_secs(9))), then);
        }
        let now = later(&tcb, now);
        tcb.on_timeout(&config, now);
        let folded = tcb.fold(&config, now);
        prop_assert!(folded.is_some());
        if let Some(folded) = folded {
            folded.unfold_onto(&config, &mut place);
        }
        prop_assert_eq!(place, tcb);
    }
}

#[test]
fn how_many_octets_it_takes() {
    let config = Config { keepalive: true, ..Config::default() };
    let mut longest = 0;
    for seed in 0..64 {
        for (rtt_us, wait_ms, exchanges) in [(10, 0, 1), (100, 300, 3), (20_000, 30_000, 20), (300_000, 300, 300)] {
            let how = Quiet { seed, rtt_us, born_s: 300_000 + seed * 30_000, wait_ms, exchanges, active: seed & 2 == 0 };
            let (mut tcb, now) = quiet(how, &config);
            let then = later(&tcb, now);
            tcb.on_timeout(&config, then);
            longest = longest.max(tcb.fold(&config, then).map_or(usize::MAX, |folded| folded.len()));
        }
    }
    println!("longest {longest}, tcb {}", size_of::<Tcb>());
    assert!(longest <= 96, "{longest} octets");
}

/// A long life leaves more to tell: numbers far from the first ones, a large window, a loss.
#[test]
fn a_connection_that_has_moved_much_and_lost_something_can_be_folded() {
    for seed in 0..64 {
        let config = Config { keepalive: true, ..Config::default() };
        let how = Quiet { seed, rtt_us: 20_000, born_s: 5_000_000, wait_ms: 300, exchanges: 20, active: seed & 2 == 0 };
        let (mut tcb, now) = quiet(how, &config);
        tcb.irs = tcb.irs - 900_000_000;
        (tcb.rcv.limit, tcb.rcv.wnd, tcb.resent) = (6_291_456, 6_280_192, 700);
        (tcb.snd.wnd, tcb.snd.max_wnd) = (3_145_728, 4_194_304);
        tcb.congestion.on_congestion(Signal::Loss, 2_500_000, now);
        tcb.congestion.on_recovered(1_400_000);
        tcb.take_noted();
        let then = later(&tcb, now);
        tcb.on_timeout(&config, then);
        assert!(tcb.fold(&config, then).is_some(), "{how:?}");
    }
}

#[test]
fn what_a_service_has_set_is_as_it_was_after_a_rest() {
    let config = Config { keepalive: true, ..Config::default() };
    let (day, odd) = (Duration::from_secs(86_400), Duration::from_nanos(1_500_001));
    for probes in [0, 1, 2, 900] {
        let how = Quiet { seed: 3, rtt_us: 100, born_s: 5, wait_ms: 1, exchanges: 1, active: true };
        let (mut tcb, now) = quiet(how, &config);
        tcb.tune(Tuning::Keepalive(Some(Keepalive { idle: day, interval: odd, probes })), now);
        tcb.tune(Tuning::UserTimeout(Some(odd)), now);
        tcb.tune(Tuning::Linger(Some(odd)), now);
        let then = later(&tcb, now);
        tcb.on_timeout(&config, then);
        let folded = tcb.fold(&config, then).expect("at rest");
        assert_eq!(folded.unfold(&config), tcb);
        assert_eq!(tcb.keepalive.at, tcb.keepalive.heard + day);
        assert_eq!(tcb.linger_ms, Some(2), "milliseconds, rounded up");
    }
}

#[test]
fn what_holds_memory_or_has_something_to_do_is_not_folded() {
    let config = Config::default();
    let how = Quiet { seed: 1, rtt_us: 100, born_s: 5, wait_ms: 1, exchanges: 1, active: false };
    let (tcb, now) = quiet(how, &config);
    let then = later(&tcb, now);
    let mut pool = BufferPool::new(1 << 20);
    let mut sends = tcb.clone();
    sends.send(&config, b"x", &mut pool);
    assert_eq!(sends.fold(&config, then), None);
    let mut reads = tcb.clone();
    reads.keep_unread(b"x", &mut pool);
    assert_eq!(reads.fold(&config, then), None);
    let (mut bbr, now) = quiet(how, &Config { congestion: Algorithm::Bbr, ..config });
    assert_eq!(bbr.fold(&config, later(&bbr, now)), None);
    assert_eq!(bbr.rests_at(later(&bbr, now)), Instant::NEVER);
}

#[test]
fn keep_alives_go_on_where_they_were() {
    let config = Config { keepalive: true, ..Config::default() };
    let how = Quiet { seed: 2, rtt_us: 100, born_s: 5, wait_ms: 1, exchanges: 1, active: false };
    let (mut tcb, now) = quiet(how, &config);
    let mut pool = BufferPool::new(1 << 20);
    let mut never = tcb.clone();
    let then = later(&tcb, now);
    let mut folded = tcb.fold(&config, then).expect("at rest");
    for _ in 0..=config.keepalive_probes {
        tcb = folded.unfold(&config);
        // The looks of before find nothing to do.
        while never.poll_timeout() < tcb.poll_timeout() {
            never.on_timeout(&config, never.poll_timeout());
        }
        let at = tcb.poll_timeout();
        assert_eq!(never.poll_timeout(), at);
        assert_eq!(tcb.on_timeout(&config, at), never.on_timeout(&config, at));
        let sent = tcb.poll_transmit(&config, at, &mut pool).map(|sent| format!("{sent:?}"));
        assert_eq!(never.poll_transmit(&config, at, &mut pool).map(|sent| format!("{sent:?}")), sent);
        let Some(next) = tcb.fold(&config, later(&tcb, at)) else { break };
        folded = next;
    }
    assert_eq!((tcb.state(), never.state()), (State::Closed, State::Closed), "nobody has answered");
}

/// What a peer sends to a connection without timestamps.
fn plain(tcb: &Tcb, seq: SeqNum, payload: &'static [u8]) -> Segment<'static> {
    let (ack, flags, options) = (tcb.snd.nxt, Flags::ACK, Options::default());
    Segment { seq, ack, flags, window: u16::MAX, urgent: 0, options, ecn: 0, payload }
}

/// The peer acknowledges everything, each second segment.
fn acknowledge(tcb: &mut Tcb, config: &Config, now: Instant, pool: &mut BufferPool) {
    let end = tcb.snd.nxt;
    while tcb.snd.una != end {
        let next = if end - tcb.snd.una > 2 * 1460 { tcb.snd.una + 2 * 1460 } else { end };
        let acknowledgment = Segment { ack: next, ..plain(tcb, tcb.rcv.nxt, &[]) };
        tcb.on_segment(config, now, &acknowledgment, pool);
    }
}

/// A connection whose window has grown far beyond the initial one, with everything acknowledged, and the time.
fn grown(config: &Config) -> (Tcb, BufferPool, Instant) {
    let mut pool = BufferPool::new(1 << 24);
    let opening = Opening { iss: SeqNum(7), timestamp_offset: 0, ip: IpVersion::V4, mss: 1460, congestion: config.congestion };
    let mut now = Instant::ZERO + Duration::from_secs(5000);
    let options = Options { mss: Some(1460), window_scale: Some(7), sack_permitted: true, ..Options::default() };
    let syn = Segment {
        seq: SeqNum(99),
        ack: SeqNum(0),
        flags: Flags::SYN,
        window: u16::MAX,
        urgent: 0,
        options,
        ecn: 0,
        payload: &[],
    };
    let mut tcb = Tcb::accept(config, opening, now, &syn);
    tcb.poll_transmit(config, now, &mut pool).expect("a SYN-ACK");
    for _ in 0..8 {
        now += ROUND_TRIP;
        acknowledge(&mut tcb, config, now, &mut pool);
        tcb.send(config, &[7; 200_000], &mut pool);
        while tcb.poll_transmit(config, now, &mut pool).is_some() {}
    }
    while tcb.snd.outstanding() > 0 {
        now += ROUND_TRIP;
        acknowledge(&mut tcb, config, now, &mut pool);
        while tcb.poll_transmit(config, now, &mut pool).is_some() {}
    }
    assert!(tcb.congestion_window() > 50_000, "{}", tcb.congestion_window());
    tcb.take_noted();
    (tcb, pool, now)
}

const ROUND_TRIP: Duration = Duration::from_millis(10);

/// One of two that are told the same: looked at as the engine does, folded or not.
struct Twin {
    tcb: Tcb,
    pool: BufferPool,
    folds: bool,
    folded: u32,
}

impl Twin {
    /// Nothing happens for a while.
    fn pass(&mut self, config: &Config, from: Instant, span: Duration) {
        let until = from + span;
        let mut looks: Vec<Instant> = (1..=3).map(|n| from.after_ns(n * 200_000_000)).filter(|at| *at < until).collect();
        looks.push(until);
        for at in looks {
            while self.tcb.poll_timeout() <= at {
                let due = self.tcb.poll_timeout();
                self.tcb.on_timeout(config, due);
                while self.tcb.poll_transmit(config, due, &mut self.pool).is_some() {}
            }
            self.tcb.take_noted();
            if self.folds
                && at < until
                && let Some(folded) = self.tcb.fold(config, at)
            {
                self.tcb = folded.unfold(config);
                self.folded += 1;
            }
        }
    }

    /// The peer sends a request.
    fn hear(&mut self, config: &Config, now: Instant) {
        let request = plain(&self.tcb, self.tcb.rcv.nxt, &[7; 64]);
        self.tcb.on_segment(config, now, &request, &mut self.pool);
        self.tcb.delivered(&mut self.pool);
        while self.tcb.poll_transmit(config, now, &mut self.pool).is_some() {}
    }

    /// Sends an answer, which is acknowledged round trip by round trip; the bytes that left at once, and the congestion window then.
    fn answer(&mut self, config: &Config, now: &mut Instant, bytes: usize) -> (u32, u32) {
        let before = self.tcb.snd.nxt;
        self.tcb.send(config, &vec![7; bytes], &mut self.pool);
        while self.tcb.poll_transmit(config, *now, &mut self.pool).is_some() {}
        let sent = (self.tcb.snd.nxt - before, self.tcb.congestion_window());
        while self.tcb.snd.nxt - before < bytes as u32 || self.tcb.snd.outstanding() > 0 {
            for _ in 0..10 {
                *now += ROUND_TRIP / 10;
                self.tcb.on_timeout(config, *now);
                while self.tcb.poll_transmit(config, *now, &mut self.pool).is_some() {}
            }
            acknowledge(&mut self.tcb, config, *now, &mut self.pool);
            while self.tcb.poll_transmit(config, *now, &mut self.pool).is_some() {}
        }
        sent
    }
}

fn any_span() -> impl Strategy<Value = Duration> {
    let ms = prop_oneof![Just(0u64), 1u64..400, 400u64..1500, 1500u64..60_000, 60_000u64..3_600_000];
    ms.prop_map(Duration::from_millis)
}

proptest! {
    /// What a connection once used does not become young by its rests: whoever was folded has no larger window, and bursts out no more of the
    /// same window. (Of one that has shrunk earlier the same use may be half, which makes it valid.)
    #[test]
    fn a_rest_makes_no_window_valid(reno in any::<bool>(), idle in any_span(), thinks in any_span(), bytes in 1usize..120_000) {
        let config = Config { congestion: if reno { Algorithm::Reno } else { Algorithm::Cubic }, ..Config::default() };
        let [never, folded] = [false, true].map(|folds| {
            let (tcb, pool, mut now) = grown(&config);
            let mut twin = Twin { tcb, pool, folds, folded: 0 };
            twin.pass(&config, now, idle);
            now += idle;
            twin.hear(&config, now);
            twin.pass(&config, now, thinks);
            now += thinks;
            (twin.answer(&config, &mut now, bytes), twin.folded)
        });
        let long = Duration::from_secs(2);
        prop_assert!(folded.1 > 0 || idle < long && thinks < long, "it was never folded");
        let ((burst, window), (folded_burst, folded_window)) = (never.0, folded.0);
        prop_assert!(folded_window <= window, "{folded_window} of {window}");
        prop_assert!(folded_burst <= burst || folded_window < window, "{folded_burst} of {burst}");
    }
}

/// A download, an hour of nothing, a request; the answer comes late, or heartbeats before it.
#[test]
fn an_old_window_is_not_burst_out_after_a_rest() {
    for algorithm in [Algorithm::Reno, Algorithm::Cubic] {
        let config = Config { congestion: algorithm, ..Config::default() };
        for thinks_ms in [0, 300, 600, 2_000] {
            let (tcb, pool, mut now) = grown(&config);
            let mut twin = Twin { tcb, pool, folds: true, folded: 0 };
            for span in [Duration::from_secs(3600), Duration::from_millis(thinks_ms)] {
                twin.pass(&config, now, span);
                now += span;
                if twin.folded == 1 || span.as_secs() == 3600 {
                    twin.hear(&config, now);
                }
            }
            assert!(twin.folded > 0);
            let (at_once, _) = twin.answer(&config, &mut now, 200_000);
            assert!(at_once <= 10 * 1460, "{at_once} bytes at once after {thinks_ms} ms");
        }
    }
}

/// Of each rest a little may be forgotten, in the careful direction: five minutes without use are over in time.
#[test]
fn a_window_that_is_not_used_shrinks_in_time_whatever_the_rests() {
    for beat_ms in [450, 1_050, 2_100] {
        let config = Config::default();
        let shrunk = [false, true].map(|folds| {
            let (tcb, pool, begin) = grown(&config);
            let window = tcb.congestion_window();
            let mut twin = Twin { tcb, pool, folds, folded: 0 };
            let mut now = begin;
            while twin.tcb.congestion_window() >= window {
                let beat = Duration::from_millis(beat_ms);
                twin.pass(&config, now, beat);
                now += beat;
                twin.hear(&config, now);
                twin.answer(&config, &mut now, 64);
                assert!(now.since(begin) < Duration::from_secs(700), "every {beat_ms} ms, folds: {folds}");
            }
            assert_eq!(twin.folded > 100, folds);
            now.since(begin)
        });
        let [never, folded] = shrunk;
        assert!(folded <= never && folded + Duration::from_secs(4) > never, "{folded:?} by {never:?}");
    }
}

/// The least round-trip time is that of the last seconds, also where each second has a rest.
#[test]
fn the_least_round_trip_time_is_forgotten_across_rests() {
    let config = Config::default();
    let (tcb, pool, mut now) = grown(&config);
    let mut twin = Twin { tcb, pool, folds: true, folded: 0 };
    assert_eq!(twin.tcb.recovery.least_rtt_ns(), 10_000_000);
    for _ in 0..12 {
        twin.pass(&config, now, Duration::from_secs(1));
        now += Duration::from_secs(1);
        twin.tcb.send(&config, &[7; 64], &mut twin.pool);
        while twin.tcb.poll_transmit(&config, now, &mut twin.pool).is_some() {}
        now += Duration::from_millis(100);
        acknowledge(&mut twin.tcb, &config, now, &mut twin.pool);
    }
    assert!(twin.folded > 6);
    assert_eq!(twin.tcb.recovery.least_rtt_ns(), 100_000_000, "the path has become longer");
}
