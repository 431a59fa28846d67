//! What is sent again, and how much is sent at all.

use ringway::tcp::tally::Happening;

use crate::script::Call::{Failed, Send};
use crate::script::{Failure, Script, scripts};
use crate::segment::{ack, data, syn};

scripts![
    the_timeout_doubles,
    a_silent_peer_is_given_up,
    an_acknowledgment_ends_the_timer,
    a_new_timer_runs_from_the_last_acknowledgment,
    three_duplicates_repair_a_loss,
    two_duplicates_are_reordering,
    a_partial_acknowledgment_repairs_the_next_hole,
    after_a_timeout_one_segment_leaves,
    ten_segments_at_first,
    each_acknowledgment_lets_more_go,
    blocks_of_a_peer_that_never_offered_them,
    an_older_echo_is_an_acknowledgment_too,
];

/// 200 ms after the first, 400 ms after the second, 800 ms after the third transmission.
//= type=test
//= rfc6298#5.5
//# The host MUST set RTO <- RTO * 2 ("back off the timer").
fn the_timeout_doubles(s: &mut Script) {
    s.established();
    s.call(Send(100));
    s.expect(data(100).seq(1).ack(1));
    s.expect(data(100).seq(1).ack(1).after(200));
    s.expect(data(100).seq(1).ack(1).after(400));
    s.expect(data(100).seq(1).ack(1).after(800));
    s.inject(ack().seq(1).ack(101));
    s.silence(500);
    s.happens(Happening::RetransmissionTimeout);
}

/// R2: the application hears that the peer is gone.
//= type=test
//= rfc9293#3.8.3
//# When the number of transmissions of the same segment reaches a threshold R2 greater than R1, close the connection.
fn a_silent_peer_is_given_up(s: &mut Script) {
    s.settings(|tcp| tcp.retries = 3, &[("tcp_retries2", "2")]);
    s.established();
    s.call(Send(100));
    s.expect(data(100).seq(1).ack(1));
    s.expect(data(100).seq(1).ack(1).after(200));
    s.expect(data(100).seq(1).ack(1).after(400));
    s.expect(data(100).seq(1).ack(1).after(800));
    s.silence(1700);
    s.call(Failed(Failure::TimedOut));
}

/// Nothing outstanding, nothing to repeat.
//= type=test
//= rfc6298#5.2
//# When all outstanding data has been acknowledged, turn off the retransmission timer.
fn an_acknowledgment_ends_the_timer(s: &mut Script) {
    s.established();
    s.call(Send(2000));
    s.expect(data(1000).seq(1).ack(1));
    s.expect(data(1000).seq(1001).ack(1));
    s.inject(ack().seq(1).ack(2001));
    s.silence(700);
}

/// Progress gives the rest its full time.
//= type=test
//= rfc6298#5.3
//# When an ACK is received that acknowledges new data, restart the retransmission timer so that it will expire after RTO seconds
fn a_new_timer_runs_from_the_last_acknowledgment(s: &mut Script) {
    s.established();
    s.call(Send(2000));
    s.expect(data(1000).seq(1).ack(1));
    s.expect(data(1000).seq(1001).ack(1));
    s.silence(100);
    s.inject(ack().seq(1).ack(1001));
    s.expect(data(1000).seq(1001).ack(1).within(190, 600));
    s.inject(ack().seq(1).ack(2001));
}

/// Three duplicates say that a segment is missing and others arrived.
//= type=test
//= rfc5681#3.2
//# The TCP sender SHOULD use the "fast retransmit" algorithm to detect and repair loss, based on incoming duplicate ACKs.
fn three_duplicates_repair_a_loss(s: &mut Script) {
    s.established();
    s.call(Send(5000));
    for part in 0..5 {
        s.expect(data(1000).seq(1 + 1000 * part).ack(1));
    }
    s.inject(ack().seq(1).ack(1001));
    for _ in 0..3 {
        s.inject(ack().seq(1).ack(1001));
    }
    s.expect(data(1000).seq(1001).ack(1));
    s.inject(ack().seq(1).ack(5001));
    s.silence(500);
    s.happens(Happening::FastRetransmit);
}

/// Two segments were lost: the acknowledgment of the first shows that the second is missing, too.
//= type=test
//= rfc6582#3.2
//# In this case, retransmit the first unacknowledged segment.
fn a_partial_acknowledgment_repairs_the_next_hole(s: &mut Script) {
    s.established();
    s.call(Send(6000));
    for part in 0..6 {
        s.expect(data(1000).seq(1 + 1000 * part).ack(1));
    }
    s.inject(ack().seq(1).ack(1001));
    for _ in 0..3 {
        s.inject(ack().seq(1).ack(1001));
    }
    s.expect(data(1000).seq(1001).ack(1));
    s.inject(ack().seq(1).ack(3001));
    s.expect(data(1000).seq(3001).ack(1));
    s.inject(ack().seq(1).ack(6001));
    s.silence(300);
    s.happens(Happening::FastRetransmit);
    s.happens(Happening::PartialAck);
}

/// Fewer say nothing yet.
fn two_duplicates_are_reordering(s: &mut Script) {
    s.established();
    s.call(Send(4000));
    for part in 0..4 {
        s.expect(data(1000).seq(1 + 1000 * part).ack(1));
    }
    s.inject(ack().seq(1).ack(1001));
    for _ in 0..2 {
        s.inject(ack().seq(1).ack(1001));
    }
    s.silence(100);
    s.inject(ack().seq(1).ack(4001));
    s.silence(300);
}

/// A timeout takes everything that was outstanding for lost, and begins with one segment.
//= type=test
//= rfc5681#3.1
//# Furthermore, upon a timeout (as specified in [RFC2988]) cwnd MUST be set to no more than the loss window, LW, which equals 1
//# full-sized segment (regardless of the value of IW).
fn after_a_timeout_one_segment_leaves(s: &mut Script) {
    s.established();
    s.call(Send(4000));
    for part in 0..4 {
        s.expect(data(1000).seq(1 + 1000 * part).ack(1));
    }
    s.expect(data(1000).seq(1).ack(1).after(200));
    s.silence(100);
    s.inject(ack().seq(1).ack(1001));
    s.expect(data(1000).seq(1001).ack(1));
    s.expect(data(1000).seq(2001).ack(1));
    s.differs(
        "Linux repeats all three that are left, slow start two",
        |s| s.silence(100),
        |s| s.expect(data(1000).seq(3001).ack(1)),
    );
    s.inject(ack().seq(1).ack(4001));
    s.silence(300);
}

/// The initial window.
//= type=test
//= rfc6928#2
//# min (10*MSS, max (2*MSS, 14600))
fn ten_segments_at_first(s: &mut Script) {
    s.established();
    s.call(Send(20_000));
    for part in 0..10 {
        s.expect(data(1000).seq(1 + 1000 * part).ack(1));
    }
    s.silence(100);
}

/// Slow start: two segments acknowledged let four go.
//= type=test
//= rfc5681#3.1
//# During slow start, a TCP increments cwnd by at most SMSS bytes for each ACK received that cumulatively acknowledges new data.
fn each_acknowledgment_lets_more_go(s: &mut Script) {
    s.established();
    s.call(Send(20_000));
    for part in 0..10 {
        s.expect(data(1000).seq(1 + 1000 * part).ack(1));
    }
    s.differs(
        "Linux waits until a larger burst may go (TSO), and counts every byte acknowledged",
        |s| {
            s.inject(ack().seq(1).ack(1001));
            s.expect(data(1000).seq(10_001).ack(1));
            s.expect(data(1000).seq(11_001).ack(1));
            s.inject(ack().seq(1).ack(2001));
            s.expect(data(1000).seq(12_001).ack(1));
            s.expect(data(1000).seq(13_001).ack(1));
        },
        |s| {
            s.inject(ack().seq(1).ack(5001));
            for part in 10..17 {
                s.expect(data(1000).seq(1 + 1000 * part).ack(1));
            }
        },
    );
    s.silence(50);
}

/// SACK blocks without SACK-permitted mean nothing.
//= type=test
//= rfc2018#2
//# It MUST NOT be sent on non-SYN segments.
fn blocks_of_a_peer_that_never_offered_them(s: &mut Script) {
    s.established();
    s.call(Send(2000));
    s.expect(data(1000).seq(1).ack(1));
    s.expect(data(1000).seq(1001).ack(1));
    s.inject(ack().seq(1).ack(1).sack(1001, 2001));
    s.silence(100);
    s.inject(ack().seq(1).ack(2001));
    s.silence(300);
}

/// TSecr of an earlier segment: it measures a longer round trip, no more.
fn an_older_echo_is_an_acknowledgment_too(s: &mut Script) {
    s.established_with(syn().mss(1000).ts(1000));
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1).echo(1001));
    s.silence(20);
    s.call(Send(10));
    s.expect(data(10).seq(11).ack(1).echo(1001));
    s.inject(ack().seq(1).ack(21).ts_echoing(1002, 1));
    s.silence(500);
}
