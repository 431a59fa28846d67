//! One bulk transfer over a bottleneck: what recovery makes of the losses it meets.

use std::collections::BTreeMap;
use std::time::Duration;

use super::script::{START, Seg, segment, written};
use crate::rng::Rng;
use crate::tcp::congestion::Algorithm;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::{Happening, Tally};
use crate::tcp::{BufferPool, Config, IpVersion, Opening, Tcb};
use crate::time::Instant;

/// 100 Mbit/s, 10 ms there and back, a queue of one bandwidth-delay product.
const NS_PER_BYTE: u64 = 80;
const DELAY: Duration = Duration::from_millis(5);
const QUEUE: Duration = Duration::from_millis(10);

/// Sends for `span` with so much random loss in ten thousandths; the bits a second that arrived in order, and what happened to the sender.
fn transfer(config: &Config, span: Duration, loss: u64) -> (u64, Tally) {
    let opening =
        |iss| Opening { iss: SeqNum(iss), timestamp_offset: 9, ip: IpVersion::V4, mss: 1460, congestion: Algorithm::Reno };
    let mut pools = [BufferPool::new(config.memory), BufferPool::new(config.memory)];
    let mut tcbs = [Some(Tcb::open(config, opening(u32::MAX - 5), START)), None];
    let mut rng = Rng::seeded(3);
    let mut wire: BTreeMap<(Instant, u64), (usize, Seg)> = BTreeMap::new();
    let (mut now, mut count, mut free_at, mut tally, mut arrived) = (START, 0, START, Tally::default(), 0u64);
    let chunk = vec![7; 1 << 18];
    while now < START + span {
        for from in 0..2 {
            let Some(tcb) = &mut tcbs[from] else { continue };
            if from == 0 {
                tcb.send(config, &chunk, &mut pools[0]);
            }
            while tcb.wants_transmit(now) {
                let Some(transmit) = tcb.poll_transmit(config, now, &mut pools[from]) else { continue };
                let len = transmit.payload_len() as u64 + 60;
                let seg = written(&transmit);
                count += 1;
                if from == 1 {
                    wire.insert((now + DELAY, count), (0, seg));
                    continue;
                }
                // The bottleneck: a full queue drops, and so does chance.
                free_at = free_at.max(now);
                if free_at.since(now) > QUEUE || rng.below(10_000) < loss {
                    continue;
                }
                free_at += Duration::from_nanos(len * NS_PER_BYTE);
                wire.insert((free_at + DELAY, count), (1, seg));
            }
        }
        let timers = tcbs.iter().flatten().map(Tcb::poll_timeout).min().unwrap_or(Instant::NEVER);
        let arrival = wire.first_key_value().map_or(Instant::NEVER, |(&(at, _), _)| at);
        now = now.max(timers.min(arrival));
        if arrival <= now {
            let Some((_, (to, seg))) = wire.pop_first() else { continue };
            let segment = segment(&seg);
            if let Some(tcb) = &mut tcbs[to] {
                let arrival = tcb.on_segment(config, now, &segment, &mut pools[to]);
                arrived += arrival.payload.len() as u64;
                while to == 1 && !tcb.unread().is_empty() {
                    let n = tcb.unread().len();
                    arrived += n as u64;
                    tcb.consume(n, &mut pools[to]);
                }
                tcb.delivered(&mut pools[to]);
            } else {
                tcbs[1] = Some(Tcb::accept(config, opening(77), now, &segment));
            }
        } else {
            for tcb in tcbs.iter_mut().flatten() {
                tcb.on_timeout(config, now);
            }
        }
        if let Some(tcb) = &mut tcbs[0] {
            tally.count_all(tcb.take_noted());
        }
    }
    for (tcb, pool) in tcbs.iter_mut().flatten().zip(&mut pools) {
        tcb.release(pool);
        assert_eq!(pool.in_use(), 0);
    }
    (arrived * 8 * 1_000_000_000 / now.ns_since(START), tally)
}

fn large() -> Config {
    Config { send_buffer: 1 << 20, receive_buffer: 1 << 20, ..Config::default() }
}

/// Queue overflow alone: the link stays busy, and no loss costs a timeout.
#[test]
fn a_bottleneck_is_kept_busy_without_timeouts() {
    let (rate, tally) = transfer(&large(), Duration::from_secs(20), 0);
    let happened: Vec<_> = tally.nonzero().collect();
    assert!(rate > 90_000_000, "{rate} bit/s: {happened:?}");
    assert_eq!(tally.of(Happening::RetransmissionTimeout), 0, "{happened:?}");
    assert!(tally.of(Happening::FastRetransmit) > 0, "{happened:?}");
}

/// Random loss: Reno's rate is that of the well-known formula, 1.22 MSS / (RTT sqrt(p)), within a third or so: 45 and 14 Mbit/s.
#[test]
fn random_loss_leaves_the_rate_that_theory_gives() {
    for (loss, least) in [(10, 28_000_000), (100, 9_000_000)] {
        let (rate, tally) = transfer(&large(), Duration::from_secs(20), loss);
        let happened: Vec<_> = tally.nonzero().collect();
        assert!(rate > least, "{loss} in 10,000: {rate} bit/s: {happened:?}");
        assert!(tally.of(Happening::RetransmissionTimeout) <= 1, "{loss} in 10,000: {happened:?}");
    }
}
