//! Recovery with SACK: RACK, tail loss probes, limited transmit, and mistakes taken back.

use ringway::tcp::tally::Happening;

use crate::script::Call::{Accept, Send};
use crate::script::{Script, scripts};
use crate::segment::{ack, data, syn, syn_ack};

scripts![
    three_segments_beyond_a_hole,
    two_holes_are_repaired_in_turn,
    a_lost_tail_is_probed,
    a_probe_that_repaired_a_loss,
    new_text_is_the_better_probe,
    one_segment_beyond_a_hole_starts_a_timer,
    reordering_is_no_loss,
    the_first_duplicates_let_new_text_go,
    a_repair_that_was_needless_by_dsack,
    a_repair_that_was_needless_by_its_timestamp,
    a_timeout_that_was_needless,
    a_block_beyond_all_that_was_sent,
    a_peer_that_takes_back_its_report,
];

/// A passive open with SACK and a round trip of 20 ms.
fn permitted(s: &mut Script) {
    permitted_with(s, syn().mss(1000).sack_permitted());
}

fn permitted_with(s: &mut Script, first: crate::segment::Seg) {
    let stamp = first.stamp.and_then(|stamp| stamp.value);
    s.listen();
    s.inject(first);
    s.expect(syn_ack().seq(0).ack(1).sack_permitted());
    s.silence(20);
    let last = ack().seq(1).ack(1);
    s.inject(stamp.map_or(last.clone(), |value| last.ts(value + 1)));
    s.call(Accept);
}

/// So many full segments leave at once.
fn sends(s: &mut Script, segments: usize) {
    s.call(Send(1000 * segments));
    for part in 0..segments as i64 {
        s.expect(data(1000).seq(1 + 1000 * part).ack(1));
    }
}

/// Three segments are here, the first is not: it is sent again at once.
//= type=test
//= rfc8985#6.2
//# If no reordering has been observed based on the previous step, then one way the sender can enter fast recovery is when the
//# number of SACKed segments matches or exceeds DupThresh (similar to [RFC6675]).
fn three_segments_beyond_a_hole(s: &mut Script) {
    permitted(s);
    sends(s, 5);
    s.silence(20);
    s.inject(ack().seq(1).ack(1).sack(1001, 4001));
    s.expect(data(1000).seq(1).ack(1));
    s.inject(ack().seq(1).ack(5001));
    s.silence(300);
    s.happens(Happening::FastRetransmit);
}

/// Each hole, the first one first.
fn two_holes_are_repaired_in_turn(s: &mut Script) {
    permitted(s);
    sends(s, 8);
    s.silence(20);
    s.inject(ack().seq(1).ack(1).sack(1001, 3001).sack(4001, 8001));
    s.expect(data(1000).seq(1).ack(1));
    s.expect(data(1000).seq(3001).ack(1));
    s.inject(ack().seq(1).ack(8001));
    s.silence(300);
    s.happens(Happening::FastRetransmit);
}

/// No acknowledgment: after two round trips the last segment asks for one.
//= type=test
//= rfc8985#7.3
//# SHOULD retransmit the highest-sequence segment sent so far and set TLP.is_retrans to true.
fn a_lost_tail_is_probed(s: &mut Script) {
    permitted(s);
    sends(s, 3);
    s.expect(data(1000).seq(2001).ack(1).within(30, 100));
    s.inject(ack().seq(1).ack(3001).sack(2001, 3001));
    s.silence(300);
    s.happens(Happening::TailLossProbe);
    s.happens(Happening::DsackReceived);
}

/// The probe filled the hole, and the loss counts as one.
//= type=test
//= rfc8985#7.4.2
//# then the sender should presume that at least one of its data segments was lost.
fn a_probe_that_repaired_a_loss(s: &mut Script) {
    permitted(s);
    sends(s, 3);
    s.expect(data(1000).seq(2001).ack(1).within(30, 100));
    s.silence(20);
    s.inject(ack().seq(1).ack(3001));
    // No duplicate is reported until text beyond the probe is acknowledged: so there was one copy only.
    s.call(Send(1000));
    s.expect(data(1000).seq(3001).ack(1));
    s.inject(ack().seq(1).ack(4001));
    s.silence(300);
    s.happens(Happening::TailLossProbe);
    s.happens(Happening::TailLossRepaired);
}

/// Text that waits goes out instead of a repetition.
//= type=test
//= rfc8985#7.3
//# then the sender SHOULD transmit a previously unsent data segment, if one exists and the receive window allows
fn new_text_is_the_better_probe(s: &mut Script) {
    permitted(s);
    s.call(Send(11_000));
    for part in 0..10 {
        s.expect(data(1000).seq(1 + 1000 * part).ack(1));
    }
    s.expect(data(1000).seq(10_001).ack(1).within(30, 100));
    s.inject(ack().seq(1).ack(11_001));
    s.silence(300);
    s.happens(Happening::TailLossProbe);
}

/// RACK: a quarter of a round trip is left to reordering.
//= type=test
//= rfc8985#6.2
//# Segment.xmit_ts + RACK.rtt + RACK.reo_wnd - now <= 0
fn one_segment_beyond_a_hole_starts_a_timer(s: &mut Script) {
    permitted(s);
    sends(s, 4);
    s.silence(20);
    s.inject(ack().seq(1).ack(1).sack(1001, 2001));
    s.expect(data(1000).seq(1).ack(1).within(1, 30));
    s.inject(ack().seq(1).ack(4001));
    s.silence(300);
    s.happens(Happening::ReorderingTimeout);
}

/// The segment that was missing comes within that time.
//= type=test
//= rfc8985#6.2
//# If a never-retransmitted segment that's below RACK.fack is (selectively or cumulatively) acknowledged, it has been delivered
//# out of order.
fn reordering_is_no_loss(s: &mut Script) {
    permitted(s);
    sends(s, 4);
    s.silence(20);
    s.inject(ack().seq(1).ack(1).sack(1001, 2001));
    s.inject(ack().seq(1).ack(2001));
    s.inject(ack().seq(1).ack(4001));
    s.silence(300);
    s.happens(Happening::ReorderingSeen);
}

/// Each of the first two duplicates lets a new segment go.
//= type=test
//= rfc3042#2
//# The amount of outstanding data would remain less than or equal to the congestion window plus 2 segments.
fn the_first_duplicates_let_new_text_go(s: &mut Script) {
    s.established();
    sends(s, 10);
    s.call(Send(1000));
    s.inject(ack().seq(1).ack(1));
    s.expect(data(1000).seq(10_001).ack(1));
    s.call(Send(1000));
    s.differs(
        "Linux lets two segments go on the first duplicate",
        |s| {
            s.inject(ack().seq(1).ack(1));
            s.expect(data(1000).seq(11_001).ack(1));
        },
        |s| {
            s.expect(data(1000).seq(11_001).ack(1));
            s.inject(ack().seq(1).ack(1));
        },
    );
    s.inject(ack().seq(1).ack(1));
    s.expect(data(1000).seq(1).ack(1));
    s.inject(ack().seq(1).ack(12_001));
    s.silence(300);
    s.happens(Happening::LimitedTransmit);
}

/// DSACK: both came.
fn a_repair_that_was_needless_by_dsack(s: &mut Script) {
    permitted(s);
    sends(s, 5);
    s.silence(20);
    s.inject(ack().seq(1).ack(1).sack(1001, 4001));
    s.expect(data(1000).seq(1).ack(1));
    s.inject(ack().seq(1).ack(5001));
    s.inject(ack().seq(1).ack(5001).sack(1, 1001));
    s.silence(300);
    s.happens(Happening::DsackReceived);
    s.happens(Happening::SpuriousByDsack);
}

/// Eifel: what is acknowledged was sent before the repair.
//= type=test
//= rfc3522#3.2
//# If the value of the Timestamp Echo Reply field of the acceptable ACK's Timestamps option is smaller than the value of
//# RetransmitTS
fn a_repair_that_was_needless_by_its_timestamp(s: &mut Script) {
    permitted_with(s, syn().mss(1012).sack_permitted().ts(1000));
    sends(s, 5);
    s.silence(20);
    s.inject(ack().seq(1).ack(1).ts(1010).sack(1001, 4001));
    s.expect(data(1000).seq(1).ack(1));
    s.inject(ack().seq(1).ack(5001).ts_echoing(1011, 1));
    s.silence(300);
    s.happens(Happening::SpuriousByEifel);
}

/// F-RTO: what comes after the timeout acknowledges what was not sent again.
//= type=test
//= rfc5682#2.1
//# Else, if the acknowledgment advances the window AND the Acknowledgment field does not cover "recover", transmit up to two
//# new (previously unsent) segments and enter step 3 of this algorithm.
fn a_timeout_that_was_needless(s: &mut Script) {
    s.established();
    s.call(Send(12_000));
    for part in 0..10 {
        s.expect(data(1000).seq(1 + 1000 * part).ack(1));
    }
    s.expect(data(1000).seq(1).ack(1).after(200));
    s.inject(ack().seq(1).ack(1001));
    s.expect(data(1000).seq(10_001).ack(1));
    s.expect(data(1000).seq(11_001).ack(1));
    s.inject(ack().seq(1).ack(2001));
    s.silence(100);
    s.inject(ack().seq(1).ack(12_001));
    s.happens(Happening::SpuriousTimeout);
}

/// It is not believed.
fn a_block_beyond_all_that_was_sent(s: &mut Script) {
    permitted(s);
    sends(s, 2);
    s.inject(ack().seq(1).ack(1).sack(50_001, 51_001));
    s.silence(10);
    s.inject(ack().seq(1).ack(2001));
    s.silence(300);
    s.happens(Happening::SackIgnored);
}

/// The acknowledgment ends inside a block: the peer has thrown away what it had reported.
//= type=test
//= rfc2018#8
//# the data receiver is permitted to discard data in its queue
fn a_peer_that_takes_back_its_report(s: &mut Script) {
    permitted(s);
    sends(s, 5);
    s.silence(20);
    s.inject(ack().seq(1).ack(1).sack(1001, 4001));
    s.expect(data(1000).seq(1).ack(1));
    s.inject(ack().seq(1).ack(1001));
    s.expect(data(1000).seq(1001).ack(1).within(0, 300));
    s.inject(ack().seq(1).ack(5001));
    s.happens(Happening::SackReneged);
}
