//! Congestion: the end of slow start, and what a window that is not used is worth (RFC 7661).

use ringway::tcp::tally::Happening;

use crate::script::Call::{Accept, Send};
use crate::script::{Script, scripts};
use crate::segment::{ack, data, syn, syn_ack};

scripts![a_train_of_acknowledgments_ends_slow_start, a_window_that_is_not_used];

/// A passive open with a round trip of 20 ms.
fn open(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.silence(20);
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
}

/// Acknowledgments without a gap for half of a round trip: the next doubling would fill the path.
fn a_train_of_acknowledgments_ends_slow_start(s: &mut Script) {
    s.not_on_kernel("it sends in bursts, which the first acknowledgments do not let go (TSO)");
    open(s);
    s.call(Send(60_000));
    for part in 0..10 {
        s.expect(data(1000).seq(1 + 1000 * part).ack(1));
    }
    s.silence(20);
    // The first round is acknowledged in one moment, the second over 12 ms: six acknowledgments of it let two segments go each.
    let mut sent = 10_001;
    for acked in 1..=16 {
        s.inject(ack().seq(1).ack(1 + 1000 * acked));
        s.expect(data(1000).seq(sent).ack(1));
        s.expect(data(1000).seq(sent + 1000).ack(1));
        sent += 2000;
        s.silence(if acked < 10 {
            0
        } else if acked == 10 {
            20
        } else {
            2
        });
    }
    // From now on one lets one go.
    for acked in 17..=19 {
        s.inject(ack().seq(1).ack(1 + 1000 * acked));
        s.expect(data(1000).seq(sent).ack(1));
        sent += 1000;
        s.silence(2);
    }
    s.happens(Happening::SlowStartExit);
}

/// First it only counts as unproven; after five minutes it shrinks.
fn a_window_that_is_not_used(s: &mut Script) {
    s.not_on_kernel("five minutes are too long to wait for");
    open(s);
    s.call(Send(30_000));
    for part in 0..10 {
        s.expect(data(1000).seq(1 + 1000 * part).ack(1));
    }
    s.silence(20);
    for acked in 1..=10 {
        s.inject(ack().seq(1).ack(1 + 1000 * acked));
        s.expect(data(1000).seq(8001 + 2000 * acked).ack(1));
        s.expect(data(1000).seq(9001 + 2000 * acked).ack(1));
    }
    s.silence(20);
    s.inject(ack().seq(1).ack(30_001));
    for round in 0..100 {
        s.call(Send(100));
        s.expect(data(100).seq(30_001 + 100 * round).ack(1));
        s.silence(20);
        s.inject(ack().seq(1).ack(30_101 + 100 * round));
    }
    s.silence(301_000);
    s.call(Send(100));
    s.expect(data(100).seq(40_001).ack(1));
    s.silence(20);
    s.inject(ack().seq(1).ack(40_101));
    s.happens(Happening::WindowNotValidated);
    s.happens(Happening::WindowReducedUnused);
}
