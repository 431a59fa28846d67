//! "Fragmentation needed" (RFC 1191), and its forgeries (RFC 5927 7.2).

use std::time::Duration;

use super::script::*;
use crate::tcp::seq::SeqNum;
use crate::tcp::{Config, State};

/// With three full segments of 1000 bytes in flight, and none of that size acknowledged before.
fn in_flight() -> Script {
    let mut peer = Script::established();
    send_three(&mut peer, ISS + 1);
    peer
}

fn send_three(peer: &mut Script, seq: SeqNum) {
    peer.send(&[7; 3000]);
    peer.expect(more(&[7; 1000]).seq(seq));
    peer.expect(more(&[7; 1000]).seq(seq + 1000));
    peer.expect(data(&[7; 1000]).seq(seq + 2000));
    peer.expect_nothing();
}

fn too_big(peer: &mut Script, seq: SeqNum, mtu: u16) {
    peer.tcb.on_packet_too_big(&peer.config, peer.now, seq, mtu);
}

/// The payloads of everything that leaves now.
fn sizes(peer: &mut Script) -> Vec<usize> {
    let mut sizes = Vec::new();
    while peer.tcb.wants_transmit(peer.now) {
        let Some(segment) = peer.tcb.poll_transmit(&peer.config, peer.now, &mut peer.pool) else { break };
        sizes.push(segment.payload_len());
    }
    sizes
}

#[test]
fn what_was_too_big_goes_out_again_in_smaller_segments() {
    let mut peer = in_flight();
    too_big(&mut peer, ISS + 1, 700);
    assert_eq!(sizes(&mut peer), [660, 660, 660, 660, 360]);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001));
    peer.send(&[8; 700]);
    assert_eq!(sizes(&mut peer), [660, 40]);
}

//= type=test
//= rfc1191#5
//# a Datagram Too Big message from an unmodified
//# router (i.e., one where the Next-Hop MTU field is zero)
#[test]
fn a_router_that_names_no_size_means_the_next_plateau() {
    let mut peer = in_flight();
    too_big(&mut peer, ISS + 1, 0);
    assert_eq!(sizes(&mut peer)[0], 1006 - 40);
}

//= type=test
//= rfc1191#3
//# A host MUST never reduce its estimate of the Path MTU below 68
//# octets.
#[test]
fn no_error_makes_segments_tiny() {
    let mut peer = in_flight();
    too_big(&mut peer, ISS + 1, 67);
    peer.expect_nothing();
    too_big(&mut peer, ISS + 1, 68);
    assert_eq!(sizes(&mut peer)[0], 552 - 40);
}

//= type=test
//= rfc5927#7.2
//# If claimedmtu is larger than maxsizesent, then the
//# ICMP error message is silently discarded.
#[test]
fn an_error_about_a_size_that_was_never_sent_is_ignored() {
    let mut peer = Script::established();
    peer.send(&[7; 500]);
    peer.expect(data(&[7; 500]).seq(ISS + 1));
    for mtu in [560, 1039, 1040, 9000] {
        too_big(&mut peer, ISS + 1, mtu);
        peer.expect_nothing();
    }
    let mut peer = Script::syn_sent();
    too_big(&mut peer, ISS, 600);
    peer.expect_nothing();
    peer.expect_state(State::SynSent);
}

//= type=test
//= rfc5927#7.2
//# The described counter-measure basically disregards ICMP messages when a connection makes progress
#[test]
fn where_full_segments_get_through_an_error_is_believed_only_after_a_timeout() {
    let mut peer = in_flight();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001));
    send_three(&mut peer, ISS + 3001);
    too_big(&mut peer, ISS + 3001, 700);
    peer.expect_nothing();
    // Progress: it was forged.
    peer.inject(ack().seq(IRS + 1).ack(ISS + 4001));
    peer.next_timer();
    assert_eq!(sizes(&mut peer)[0], 1000);
    // No progress: it was true.
    too_big(&mut peer, ISS + 4001, 700);
    peer.next_timer();
    assert_eq!(sizes(&mut peer)[0], 660);
}

//= type=test
//= rfc1191#6.3
//# When a PMTU
//# value has not been decreased for a while (on the order of 10
//# minutes), the PMTU estimate should be set to the first-hop data-link
//# MTU
#[test]
fn ten_minutes_later_the_larger_size_is_tried_again() {
    let mut peer = Script::established_with(Config { retries: 255, ..plain() });
    send_three(&mut peer, ISS + 1);
    too_big(&mut peer, ISS + 1, 700);
    while peer.sent().is_some() {}
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001));
    peer.advance(Duration::from_secs(599));
    peer.send(&[8; 660]);
    assert_eq!(sizes(&mut peer), [660]);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3661));
    peer.advance(Duration::from_secs(1));
    peer.send(&[8; 2000]);
    assert_eq!(sizes(&mut peer), [1000, 1000]);
    too_big(&mut peer, ISS + 3661, 700);
    assert_eq!(sizes(&mut peer)[0], 660, "still as narrow");
}

/// One segment of the largest size got through: what comes after it proves nothing more.
#[test]
fn the_first_full_segment_that_is_acknowledged_shows_what_gets_through() {
    let mut peer = in_flight();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
    too_big(&mut peer, ISS + 1001, 700);
    peer.expect_nothing();
}

#[test]
fn an_error_that_names_the_size_that_was_sent_changes_nothing() {
    let mut peer = in_flight();
    too_big(&mut peer, ISS + 1, 1040);
    peer.expect_nothing();
    too_big(&mut peer, ISS + 1, 1039);
    assert_eq!(sizes(&mut peer)[0], 999);
}

//= type=test
//= rfc8201#5.4
//# Alternatively, the retransmission could be done in immediate response
//# to a notification that the Path MTU was decreased, but only for the
//# specific connection specified by the Packet Too Big message.
#[test]
fn what_others_have_found_bounds_what_is_sent_from_now_on() {
    let mut peer = in_flight();
    let until = peer.now + Duration::from_secs(60);
    peer.tcb.on_path_mtu(700, until);
    assert_eq!(sizes(&mut peer), [0; 0], "nothing says that it was lost");
    peer.send(&[8; 1000]);
    assert_eq!(sizes(&mut peer), [660, 340]);
    // Now something does.
    too_big(&mut peer, ISS + 1001, 700);
    assert_eq!(sizes(&mut peer)[..3], [660, 660, 660]);
    too_big(&mut peer, ISS + 2001, 700);
    assert_eq!(sizes(&mut peer), [0; 0], "once");
    // When the others have forgotten it, so does this one.
    peer.inject(ack().seq(IRS + 1).ack(ISS + 4001));
    let mut peer = Script::established();
    peer.tcb.on_path_mtu(700, peer.now + Duration::from_secs(60));
    peer.advance(Duration::from_secs(60));
    peer.send(&[8; 1000]);
    assert_eq!(sizes(&mut peer), [1000]);
}

#[test]
fn what_has_got_through_is_believed_more_than_others() {
    let mut peer = in_flight();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001));
    peer.tcb.on_path_mtu(700, peer.now + Duration::from_secs(60));
    send_three(&mut peer, ISS + 3001);
    peer.next_timer();
    assert_eq!(sizes(&mut peer)[0], 660, "until it gets through no longer");
}
