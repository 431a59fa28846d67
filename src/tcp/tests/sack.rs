//! Selective acknowledgments, the receiving half: what is reported beyond a hole and what came twice (RFC 2018, RFC 2883).

use proptest::prelude::*;

use super::script::*;
use crate::device::Drop;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::Happening;
use crate::tcp::{BufferPool, Config, State, Tcb};
use crate::wire::tcp::{Flags, Options, Segment};

fn selective() -> Config {
    Config { sack: true, ..plain() }
}

/// Established, SACK permitted both ways, without timestamps.
fn permitted() -> Script {
    let mut peer = Script::accept(selective(), syn().seq(IRS).mss(MSS).sack_permitted());
    peer.expect(syn_ack().seq(ISS).ack(IRS + 1).mss(MSS).sack_permitted());
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    peer.expect_state(State::Established);
    peer
}

/// A sequence number of the peer's stream, as the examples of RFC 2883 count.
fn at(offset: u32) -> SeqNum {
    IRS + 1 + offset
}

/// Text from `left` up to `right`.
fn text(left: u32, right: u32) -> Seg {
    more(&vec![b't'; (right - left) as usize]).seq(at(left)).ack(ISS + 1)
}

fn blocks(list: &[(u32, u32)]) -> Vec<(SeqNum, SeqNum)> {
    list.iter().map(|&(left, right)| (at(left), at(right))).collect()
}

/// What is acknowledged and what is reported with it.
#[track_caller]
fn expect_report(peer: &mut Script, acknowledged: u32, list: &[(u32, u32)]) {
    peer.expect(ack().seq(ISS + 1).ack(at(acknowledged)).sack(&blocks(list)));
    peer.expect_nothing();
}

fn noted(peer: &mut Script, what: Happening) -> bool {
    peer.tcb.take_noted().contains(what)
}

/// Each block takes its eight bytes from the data beside it.
#[test]
fn data_makes_room_for_the_blocks_it_carries() {
    for blocks in 0..=4 {
        let mut peer = permitted();
        for n in 0..blocks {
            peer.inject(text(1000 * n + 500, 1000 * n + 600));
            while peer.sent().is_some() {}
        }
        assert_eq!(peer.send(&[5; 2000]), 2000);
        let options = if blocks > 0 { 4 + 8 * blocks as usize } else { 0 };
        peer.expect(more(&vec![5; usize::from(MSS) - options]).seq(ISS + 1));
    }
}

//= type=test
//= rfc2018#4
//# The first SACK block (i.e., the one immediately following the kind and length fields in the option) MUST specify the contiguous block of
//# data containing the segment which triggered this ACK
#[test]
fn the_latest_block_is_reported_first() {
    let mut peer = permitted();
    peer.inject(text(1000, 1500));
    expect_report(&mut peer, 0, &[(1000, 1500)]);
    assert!(noted(&mut peer, Happening::SackSent));
    peer.inject(text(3000, 3500));
    expect_report(&mut peer, 0, &[(3000, 3500), (1000, 1500)]);
    peer.inject(text(2000, 2500));
    expect_report(&mut peer, 0, &[(2000, 2500), (3000, 3500), (1000, 1500)]);
    peer.inject(text(1500, 1600));
    expect_report(&mut peer, 0, &[(1000, 1600), (2000, 2500), (3000, 3500)]);
    peer.inject(text(2500, 3000));
    expect_report(&mut peer, 0, &[(2000, 3500), (1000, 1600)]);
}

//= type=test
//= rfc2018#4
//# The data receiver SHOULD include as many distinct SACK blocks as possible in the SACK option.
#[test]
fn four_blocks_fit_and_three_beside_timestamps() {
    let mut peer = permitted();
    for n in 1..6 {
        peer.inject(text(1000 * n, 1000 * n + 10));
        peer.sent();
    }
    peer.inject(text(6000, 6010));
    expect_report(&mut peer, 0, &[(6000, 6010), (5000, 5010), (4000, 4010), (3000, 3010)]);

    let config = Config { timestamps: true, ..selective() };
    let mut peer = Script::accept(config, syn().seq(IRS).mss(MSS).sack_permitted().ts(7, 0));
    peer.sent();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).ts(8, 0));
    for n in 1..6 {
        peer.inject(text(1000 * n, 1000 * n + 10).ts(9, 0));
        let sent = peer.sent();
        assert!(sent.is_some());
    }
    peer.inject(text(6000, 6010).ts(9, 0));
    let report = blocks(&[(6000, 6010), (5000, 5010), (4000, 4010)]);
    peer.expect(ack().seq(ISS + 1).ack(at(0)).ts(1_000_500, 8).sack(&report));
}

//= type=test
//= rfc2018#4
//# If the data receiver has not received a SACK-Permitted option for a given connection, it MUST NOT send SACK options on that connection.
#[test]
fn nothing_is_reported_to_a_peer_that_did_not_permit_it() {
    for (config, syn) in [(selective(), syn()), (plain(), syn().sack_permitted())] {
        let mut peer = Script::accept(config, syn.seq(IRS).mss(MSS));
        peer.expect(syn_ack().seq(ISS).ack(IRS + 1).mss(MSS));
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
        peer.inject(text(1000, 1500));
        peer.expect(ack().seq(ISS + 1).ack(at(0)).no_options());
        peer.inject(text(1000, 1500));
        peer.expect(ack().seq(ISS + 1).ack(at(0)).no_options());
    }
}

//= type=test
//= rfc2018#4
//# If sent at all, SACK options SHOULD be included in all ACKs which do not ACK the highest sequence number in the data receiver's queue.
#[test]
fn data_carries_the_report_and_is_shorter_for_it() {
    let mut peer = permitted();
    peer.inject(text(1000, 1500));
    peer.send(&[5; 3000]);
    let report = blocks(&[(1000, 1500)]);
    peer.expect(more(&[5; 988]).seq(ISS + 1).ack(at(0)).sack(&report));
    peer.inject(text(0, 1000));
    peer.expect(more(&[5; 1000]).seq(ISS + 989).ack(at(1500)).no_options());
    peer.inject(text(2000, 2100));
    // What is sent again, too, leaves with the report, and in a segment no longer than the path carries: the tail probe, then the
    // retransmission.
    peer.expect(more(&[5; 988]).seq(ISS + 1989).ack(at(1500)).sack(&blocks(&[(2000, 2100)])));
    peer.next_timer();
    peer.sent();
    peer.next_timer();
    peer.expect(more(&[5; 988]).seq(ISS + 1).ack(at(1500)).sack(&blocks(&[(2000, 2100)])));
}

#[test]
fn once_the_holes_are_filled_nothing_is_reported() {
    let mut peer = permitted();
    peer.inject(text(500, 1000));
    expect_report(&mut peer, 0, &[(500, 1000)]);
    peer.inject(text(0, 500));
    peer.expect(ack().seq(ISS + 1).ack(at(1000)).no_options());
}

#[test]
fn a_reset_reports_nothing() {
    let mut peer = permitted();
    peer.inject(text(500, 1000));
    peer.abort();
    peer.expect(rst().seq(ISS + 1).no_options());
}

/// RFC 2883 4.1.1, example 1.
//= type=test
//= rfc2883#4
//# When D-SACK is used, the first block of the SACK option should be a D-SACK block specifying the sequence numbers for the duplicate
//# segment that triggers the acknowledgement.
#[test]
fn a_duplicate_segment_is_reported_once() {
    let mut peer = permitted();
    peer.inject(text(0, 4000));
    peer.sent();
    peer.inject(text(3000, 3500));
    peer.expect_drop(Drop::TcpOutOfWindow);
    expect_report(&mut peer, 4000, &[(3000, 3500)]);
    assert!(noted(&mut peer, Happening::DsackSent));
    peer.inject(text(4000, 4500));
    peer.next_timer();
    peer.expect(ack().seq(ISS + 1).ack(at(4500)).no_options());
}

/// RFC 2883 4.1.2, example 2.
#[test]
fn a_duplicate_is_reported_before_what_lies_beyond_a_hole() {
    let mut peer = permitted();
    peer.inject(text(0, 4000));
    peer.sent();
    peer.inject(text(4500, 5000));
    peer.sent();
    peer.inject(text(3000, 3500));
    expect_report(&mut peer, 4000, &[(3000, 3500), (4500, 5000)]);
}

/// RFC 2883 4.1.3, example 3.
//= type=test
//= rfc2883#4
//# If the D-SACK block reports a duplicate contiguous sequence from a (possibly larger) block of data in the receiver's data queue above the
//# cumulative acknowledgement, then the second SACK block in that SACK option should specify that (possibly larger) block of data.
#[test]
fn a_duplicate_beyond_a_hole_is_followed_by_its_block() {
    let mut peer = permitted();
    peer.inject(text(0, 4000));
    peer.sent();
    for (left, right) in [(4500, 5000), (5000, 5500), (6000, 6500)] {
        peer.inject(text(left, right));
        peer.sent();
    }
    peer.inject(text(5000, 5500));
    expect_report(&mut peer, 4000, &[(5000, 5500), (4500, 5500), (6000, 6500)]);
}

/// RFC 2883 4.2.1 and 4.2.2, examples 4 and 5.
#[test]
fn of_a_partial_duplicate_the_first_part_is_reported() {
    let mut peer = permitted();
    peer.inject(text(0, 1000));
    peer.inject(text(2000, 2500));
    peer.inject(text(1000, 1500));
    peer.sent();
    peer.inject(text(1000, 2000));
    expect_report(&mut peer, 2500, &[(1000, 1500)]);

    let mut peer = permitted();
    peer.inject(text(0, 1000));
    peer.inject(text(3000, 3500));
    peer.inject(text(1000, 1500));
    peer.inject(text(2000, 2500));
    peer.sent();
    peer.inject(text(1000, 2500));
    expect_report(&mut peer, 2500, &[(1000, 1500), (3000, 3500)]);
}

/// RFC 2883 4.2.3, example 6.
//= type=test
//= rfc2883#4.2
//# If the data packet being acknowledged contains multiple partial duplicate sub-segments, then only the first such duplicate sub-segment is
//# reported in the SACK option.
#[test]
fn of_a_partial_duplicate_beyond_a_hole_the_first_part_is_reported() {
    let mut peer = permitted();
    peer.inject(text(0, 1000));
    peer.sent();
    for (left, right) in [(3500, 4000), (1500, 2000), (2500, 3000)] {
        peer.inject(text(left, right));
        peer.sent();
    }
    peer.inject(text(1500, 3000));
    expect_report(&mut peer, 1000, &[(1500, 2000), (1500, 3000), (3500, 4000)]);
}

//= type=test
//= rfc2883#4.3
//# The D-SACK block can be included in the SACK option of the ACK, as outlined in Section 4, independently of the use of PAWS by the TCP
//# receiver
#[test]
fn a_duplicate_that_paws_refuses_is_reported() {
    let config = Config { timestamps: true, ..selective() };
    let mut peer = Script::accept(config, syn().seq(IRS).mss(MSS).sack_permitted().ts(100, 0));
    peer.sent();
    peer.inject(text(0, 100).ts(105, 0));
    peer.next_timer();
    peer.sent();
    peer.inject(text(0, 100).ts(101, 0));
    peer.expect_drop(Drop::TcpPaws);
    peer.expect(ack().seq(ISS + 1).ack(at(100)).ts(1_000_540, 105).sack(&blocks(&[(0, 100)])));
}

#[test]
fn duplicates_of_one_burst_that_touch_are_told_of_as_one() {
    let mut peer = permitted();
    peer.inject(text(0, 4000));
    peer.sent();
    peer.inject(text(1000, 1500));
    peer.inject(text(1500, 2000));
    expect_report(&mut peer, 4000, &[(1000, 2000)]);
    peer.inject(text(0, 500));
    peer.inject(text(3000, 3500));
    expect_report(&mut peer, 4000, &[(3000, 3500)]);
}

#[test]
fn what_was_never_received_is_no_duplicate() {
    let mut peer = permitted();
    peer.inject(text(0, 500));
    peer.next_timer();
    peer.sent();
    // It begins before the peer's SYN.
    peer.inject(more(&[0; 300]).seq(IRS - 100).ack(ISS + 1));
    peer.expect(ack().seq(ISS + 1).ack(at(500)).no_options());
}

#[test]
fn a_late_duplicate_is_reported_in_time_wait() {
    let mut peer = permitted();
    peer.inject(text(0, 500));
    peer.close();
    peer.expect(fin().seq(ISS + 1).ack(at(500)));
    peer.inject(fin().seq(at(500)).ack(ISS + 2));
    peer.expect(ack().seq(ISS + 2).ack(at(501)));
    peer.expect_state(State::TimeWait);
    peer.inject(text(0, 500).ack(ISS + 2));
    peer.expect(ack().seq(ISS + 2).ack(at(501)).sack(&blocks(&[(0, 500)])));
}

/// What the peer has sent and we have taken in, byte by byte.
struct Model {
    kept: Vec<bool>,
}

impl Model {
    fn holds(&self, left: u32, right: u32) -> bool {
        right <= self.kept.len() as u32 && self.kept[left as usize..right as usize].iter().all(|&kept| kept)
    }
}

/// Sends all that is due and holds each report against the model.
fn check_reports(tcb: &mut Tcb, config: &Config, pool: &mut BufferPool, model: &Model) {
    while let Some(sent) = tcb.poll_transmit(config, START, pool) {
        let next = sent.ack - at(0);
        let blocks = sent.options.sack_blocks();
        assert_eq!(
            sent.options.sack[usize::from(sent.options.sack_count)..].iter().filter(|block| **block != <_>::default()).count(),
            0
        );
        for (n, block) in blocks.iter().enumerate() {
            let (left, right) = (block.left - at(0), block.right - at(0));
            assert!(left < right && model.holds(left, right), "block {left}..{right} was not received");
            // Only the first may report a duplicate, below RCV.NXT or inside the second.
            let is_duplicate = n == 0
                && (right <= next
                    || blocks
                        .get(1)
                        .is_some_and(|outer| block.left.at_or_after(outer.left) && block.right.at_or_before(outer.right)));
            if !is_duplicate {
                assert!(left > next, "RCV.NXT {next} is not below {left}..{right}");
                assert!(
                    !model.kept[left as usize - 1] && !model.kept.get(right as usize).is_some_and(|&kept| kept),
                    "not isolated"
                );
                assert!(!blocks[1.min(n)..n].contains(block), "reported twice");
            }
        }
    }
}

proptest! {
    /// Each block is exactly a union of bytes that were received and kept, and, but for duplicates, isolated and beyond RCV.NXT.
    #[test]
    fn blocks_never_lie(steps in prop::collection::vec((0u32..60, 1u32..8, any::<bool>(), any::<bool>()), 1..80)) {
        let mut peer = permitted();
        let mut model = Model { kept: vec![false; 4_000] };
        for (seq, len, retreat, poll) in steps {
            // Around RCV.NXT, before it and beyond it, in steps of 50 bytes.
            let next = peer.tcb.rcv.nxt - at(0);
            let left = if retreat { next.saturating_sub(50 * (seq / 4)) } else { next + 50 * (seq / 3) }.min(3_400);
            let right = left + 50 * len;
            let payload = vec![7; (right - left) as usize];
            let segment = Segment {
                seq: at(left),
                ack: ISS + 1,
                flags: Flags::ACK,
                window: WINDOW,
                urgent: 0,
                options: Options::default(),
                ecn: 0,
                payload: &payload,
            };
            let arrival = peer.tcb.on_segment(&peer.config, peer.now, &segment, &mut peer.pool);
            if arrival.drop.is_none() {
                model.kept[left as usize..right as usize].fill(true);
            }
            let front = peer.tcb.unread_len();
            peer.tcb.consume(front, &mut peer.pool);
            peer.tcb.delivered(&mut peer.pool);
            if poll {
                check_reports(&mut peer.tcb, &peer.config, &mut peer.pool, &model);
            }
        }
        check_reports(&mut peer.tcb, &peer.config, &mut peer.pool, &model);
    }
}
