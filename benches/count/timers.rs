//! The timer wheel by itself: what arming, cancelling and expiring cost one timer while so many others are armed.
//!
//! Deadlines lie as those of connections do: retransmissions and acknowledgments between 1 ms and a minute, keepalive some hours away. Two runs with
//! different repetitions and the same timers beside them give the cost of one.

use std::time::Duration;

use ringway::engine::wheel::Wheel;
use ringway::time::Instant;

/// Timers that are cancelled, or expire, whatever the repetitions.
const OWN: u32 = 4096;

/// Arms `repetitions` timers beside `others`.
pub(crate) fn arm(repetitions: u32, others: u32) -> u32 {
    let mut wheel = wheel(others, others + OWN, soon);
    (0..repetitions).filter(|&n| wheel.arm(soon(n), n).is_some()).count() as u32
}

/// Cancels `repetitions` timers that lie among `others`.
pub(crate) fn cancel(repetitions: u32, others: u32) -> u32 {
    let mut wheel = wheel(others, others + OWN, soon);
    let own: Vec<_> = (0..OWN).filter_map(|n| wheel.arm(soon(n), n)).collect();
    own.into_iter().take(repetitions as usize).filter(|&handle| wheel.cancel(handle).is_some()).count() as u32
}

/// Lets `repetitions` timers expire while `others` stand by: their moves through the levels count.
pub(crate) fn expire(repetitions: u32, others: u32) -> u32 {
    let mut wheel = wheel(others, others + OWN, late);
    let armed = (0..OWN).filter(|&n| wheel.arm(soon(n), n).is_some()).count();
    if armed < OWN as usize {
        return 0;
    }
    expire_until(&mut wheel, repetitions)
}

/// The whole life of every timer: `timers` are armed among each other, and all expire.
pub(crate) fn live(timers: u32) -> u32 {
    let mut wheel = wheel(timers, 1 << 23, soon);
    expire_until(&mut wheel, timers)
}

/// Goes on from deadline to deadline, as an engine that sleeps, until so many have expired.
fn expire_until(wheel: &mut Wheel<u32>, wanted: u32) -> u32 {
    let mut expired = 0;
    while expired < wanted && !wheel.is_empty() {
        let now = wheel.next_deadline();
        while expired < wanted && wheel.expire(now).is_some() {
            expired += 1;
        }
    }
    expired
}

fn wheel(armed: u32, capacity: u32, at: fn(u32) -> Instant) -> Wheel<u32> {
    let mut wheel = Wheel::with_capacity(capacity as usize);
    for n in 0..armed {
        wheel.arm(at(n), n).expect("there is room");
    }
    wheel
}

/// A deadline of an active connection.
fn soon(n: u32) -> Instant {
    Instant::ZERO + Duration::from_micros(1000 + u64::from(scatter(n)) % 60_000_000)
}

/// A deadline of an idle one.
fn late(n: u32) -> Instant {
    Instant::ZERO + Duration::from_secs(3600) + Duration::from_micros(u64::from(scatter(n)))
}

/// Spreads numbers over 32 bits, no two to the same (Knuth's multiplicative hash).
const fn scatter(n: u32) -> u32 {
    n.wrapping_mul(2_654_435_761)
}
