//! Recovery with SACK: RACK, tail loss probes, limited transmit, and mistakes taken back.

use std::time::Duration;

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
    repairs_leave_in_proportion_to_what_arrives,
    a_pause_of_the_machine_is_found_out,
    the_shortest_probe_timeout_is_a_setting,
    the_shortest_reordering_timeout_is_a_setting,
    a_scoreboard_without_memory_is_coarse,
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

/// The window is as large as it was at the beginning: ten segments leave at once.
fn whole_window(s: &mut Script, next: i64) {
    s.call(Send(10_000));
    for part in 0..10 {
        s.expect(data(1000).seq(next + 1000 * part).ack(1));
    }
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
    whole_window(s, 5001);
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
    whole_window(s, 5001);
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

/// PRR: seven segments leave for ten that arrive, not a burst at the end.
//= type=test
//= rfc6937#3
//# sndcnt = CEIL(prr_delivered * ssthresh / RecoverFS) - prr_out
fn repairs_leave_in_proportion_to_what_arrives(s: &mut Script) {
    s.not_on_kernel("it counts what SACK had reported before");
    permitted(s);
    s.call(Send(60_000));
    for part in 0..10 {
        s.expect(data(1000).seq(1 + 1000 * part).ack(1));
    }
    s.silence(20);
    for part in 0..10 {
        s.inject(ack().seq(1).ack(1001 + 1000 * part));
        s.expect(data(1000).seq(10_001 + 2000 * part).ack(1));
        s.expect(data(1000).seq(11_001 + 2000 * part).ack(1));
    }
    s.silence(20);
    s.inject(ack().seq(1).ack(10_001).sack(11_001, 14_001));
    s.expect(data(1000).seq(10_001).ack(1));
    s.expect(data(1000).seq(30_001).ack(1));
    // First seven leave for ten; once no more than ssthresh is in flight, one for one.
    let lets_one_go = [false, true, true, false, true, true, true, false, false, true, true, true, true, true, true, true];
    let mut next = 31_001;
    for (arrived, lets_one_go) in (4..).zip(lets_one_go) {
        s.inject(ack().seq(1).ack(10_001).sack(11_001, 11_001 + 1000 * arrived));
        if lets_one_go {
            s.expect(data(1000).seq(next).ack(1));
            next += 1000;
        }
    }
    s.silence(1);
    s.happens(Happening::FastRetransmit);
}

/// A round trip takes next to nothing, the machine stands still for three milliseconds: what was sent meanwhile was needless, and is known to be.
fn a_pause_of_the_machine_is_found_out(s: &mut Script) {
    s.not_on_kernel("the round trip is too short for its clock here");
    s.listen();
    s.inject(syn().mss(1000).sack_permitted());
    s.expect(syn_ack().seq(0).ack(1).sack_permitted());
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
    sends(s, 5);
    s.expect(data(1000).seq(4001).ack(1).within(2, 3));
    s.silence(1);
    s.inject(ack().seq(1).ack(5001));
    s.inject(ack().seq(1).ack(5001).sack(4001, 5001));
    whole_window(s, 5001);
    s.happens(Happening::TailLossProbe);
    s.happens(Happening::DsackReceived);
}

/// Two milliseconds unless it is said otherwise; here a tenth of a second, three round trips more than the RFC would wait.
fn the_shortest_probe_timeout_is_a_setting(s: &mut Script) {
    s.not_on_kernel("it has no such setting");
    s.settings.probe_min = Duration::from_millis(100);
    permitted(s);
    sends(s, 3);
    s.expect(data(1000).seq(2001).ack(1).after(100));
    s.inject(ack().seq(1).ack(3001));
    s.happens(Happening::TailLossProbe);
}

/// One millisecond unless it is said otherwise.
fn the_shortest_reordering_timeout_is_a_setting(s: &mut Script) {
    s.not_on_kernel("it has no such setting");
    s.settings.reordering_min = Duration::from_millis(50);
    permitted(s);
    sends(s, 4);
    s.silence(20);
    s.inject(ack().seq(1).ack(1).sack(1001, 2001));
    s.expect(data(1000).seq(1).ack(1).after(50));
    s.inject(ack().seq(1).ack(4001));
    s.happens(Happening::ReorderingTimeout);
}

/// Neighbours are told apart no more, and nothing is lost for good.
fn a_scoreboard_without_memory_is_coarse(s: &mut Script) {
    s.not_on_kernel("its memory is shared by the whole machine");
    // For the stream, and for eight records of what is in flight; there will be nine.
    s.settings.memory = 10_950;
    permitted(s);
    s.call(Send(8192));
    for n in 0..8 {
        s.expect(data(1000).seq(1 + 1000 * n).ack(1));
    }
    s.expect(data(192).seq(8001).ack(1));
    s.silence(1);
    s.inject(ack().seq(1).ack(1).sack(7001, 8001).sack(5001, 6001).sack(3001, 4001).sack(1001, 2001));
    s.expect(data(1000).seq(1).ack(1).within(1, 400));
    s.inject(ack().seq(1).ack(8193));
    s.silence(300);
    s.happens(Happening::FlightJoined);
}
