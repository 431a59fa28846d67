//! Packetization layer path MTU discovery (RFC 4821): black holes, probes and what becomes of them.

use std::time::Duration;

use super::script::*;
use crate::tcp::path_search::Use;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::Happening;
use crate::tcp::{Config, Opening};

const RTT: Duration = Duration::from_millis(10);

/// An Ethernet's segments of 1460 bytes to a peer that reports selectively.
fn open(mtu_probing: Use) -> Script {
    let config = Config { mtu_probing, sack: true, send_buffer: 200_000, ..plain() };
    let mut peer = Script::open_as(config, Opening { mss: 1460, ..OPENING });
    peer.sent();
    peer.advance(RTT);
    peer.inject(syn_ack().seq(IRS).ack(ISS + 1).mss(1460).sack_permitted());
    while peer.sent().is_some() {}
    peer
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

fn happened(peer: &mut Script, what: Happening) -> bool {
    peer.noted().contains(what)
}

/// Carries everything up to `limit` bytes of payload both ways until `len` bytes have arrived; what is larger vanishes. Gives the sizes of new segments.
fn carry(peer: &mut Script, len: u32, limit: usize) -> Vec<usize> {
    let (end, mut arrived, mut all) = (peer.tcb.snd.una + len, Vec::<(SeqNum, SeqNum)>::new(), Vec::new());
    let mut next = peer.tcb.snd.una;
    for _ in 0..4000 {
        let mut left = Vec::new();
        while peer.tcb.wants_transmit(peer.now) {
            let Some(segment) = peer.tcb.poll_transmit(&peer.config, peer.now, &mut peer.pool) else { break };
            left.push((segment.seq, segment.payload_len()));
        }
        if left.is_empty() {
            if next.at_or_after(end) {
                return all;
            }
            peer.next_timer();
            continue;
        }
        peer.advance(RTT);
        for (seq, size) in left {
            all.push(size);
            if size > limit {
                continue;
            }
            if seq == next {
                next = seq + size as u32;
                while let Some(at) = arrived.iter().position(|block| block.0.at_or_before(next)) {
                    next = next.latest(arrived.remove(at).1);
                }
            } else if seq.after(next) {
                arrived.push((seq, seq + size as u32));
            }
            let reply = ack().seq(IRS + 1).ack(next);
            peer.inject(match arrived.last() {
                Some(&block) => reply.sack(&[block]),
                None => reply,
            });
        }
    }
    panic!("it does not get on");
}

/// The same until a search is over.
fn carry_much(peer: &mut Script, limit: usize) -> Vec<usize> {
    let mut sent = Vec::new();
    for _ in 0..15 {
        // As many round trips as the window has segments lie between a lost probe and the next.
        peer.advance(Duration::from_secs(20));
        assert_eq!(peer.send(&vec![7; 190_000]), 190_000);
        sent.extend(carry(peer, 190_000, limit));
    }
    sent
}

//= type=test
//= rfc4821#7.7
//# If eff_pmtu is larger than search_low,
//# set eff_pmtu to search_low.  Otherwise, set both eff_pmtu and
//# search_low to the initial value for search_low.  Upon additional
//# successive timeouts, search_low and eff_pmtu SHOULD be halved, with a
//# lower bound of 68 bytes for IPv4 and 1280 bytes for IPv6.
#[test]
fn what_is_lost_three_times_goes_in_smaller_segments() {
    let mut peer = open(Use::BlackHole);
    peer.send(&[7; 1460]);
    assert_eq!(sizes(&mut peer), [1460]);
    let mut lost = Vec::<usize>::new();
    while lost.len() < 8 {
        peer.next_timer();
        lost.extend(sizes(&mut peer).first());
    }
    // A tail loss probe first; the least that is tried is what the smallest MTU that errors are believed about carries.
    assert_eq!(lost, [1460, 1460, 1460, 1024, 512, 512, 512, 512]);
    assert!(happened(&mut peer, Happening::PathMtuBlackHole));
    for off in [Use::Off, Use::BlackHole] {
        // What is small is lost for another reason.
        let mut peer = open(off);
        let len = if off == Use::Off { 1460 } else { 1024 };
        peer.send(&vec![7; len]);
        let mut lost = sizes(&mut peer);
        while lost.len() < 8 {
            peer.next_timer();
            lost.extend(sizes(&mut peer));
        }
        assert_eq!(lost, [len; 8]);
        assert!(!happened(&mut peer, Happening::PathMtuBlackHole));
    }
}

#[test]
fn through_a_black_hole_all_arrives_and_probes_find_its_size() {
    for (limit, found) in [(1260, 1253..=1260), (1400, 1393..=1400), (1100, 1093..=1100)] {
        let mut peer = open(Use::BlackHole);
        let sent = carry_much(&mut peer, limit);
        let noted = peer.noted();
        assert!(noted.contains(Happening::PathMtuBlackHole) && noted.contains(Happening::PathMtuRaised));
        assert!(noted.contains(Happening::PathMtuProbeLost));
        let payload = usize::from(peer.tcb.path_mtu()) - 40;
        assert!(found.contains(&payload), "{payload} of {limit}");
        // A segment that is too large leaves some times while the hole is not known, and once for each probe that fails.
        let from = sent.iter().position(|&size| size == 1024).unwrap_or_default();
        assert!(sent[from..].iter().filter(|&&size| size > limit).count() <= 8);
    }
}

//= type=test
//= rfc4821#7.6.1
//# Set search_low to the probe
//# size.  If the probe size is larger than the eff_pmtu, raise eff_pmtu
//# to the probe size.
#[test]
fn a_search_from_the_start_tries_the_largest_size_first() {
    let mut peer = open(Use::On);
    peer.send(&[7; 12_000]);
    let first = sizes(&mut peer);
    assert_eq!(first[..4], [1460, 1024, 1024, 1024]);
    peer.advance(RTT);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1 + 1460));
    assert!(happened(&mut peer, Happening::PathMtuRaised));
    peer.inject(ack().seq(IRS + 1).ack(peer.tcb.snd.nxt));
    peer.send(&[7; 4000]);
    assert_eq!(sizes(&mut peer)[..2], [1460, 1460]);
}

//= type=test
//= rfc4821#7.6.2
//# In this case alone, the
//# loss SHOULD NOT be interpreted as congestion signal.
#[test]
fn a_probe_that_alone_is_lost_is_no_sign_of_congestion() {
    let mut peer = open(Use::On);
    peer.send(&[7; 12_000]);
    sizes(&mut peer);
    let window = peer.tcb.congestion_window();
    peer.advance(RTT);
    for n in 1..=3 {
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1).sack(&[(ISS + 1461, ISS + 1461 + n * 1024)]));
    }
    let again = sizes(&mut peer);
    assert_eq!(again[..2], [1024, 436], "the probe in segments that get through");
    let noted = peer.noted();
    assert!(noted.contains(Happening::PathMtuProbeLost) && !noted.contains(Happening::FastRetransmit));
    assert_eq!(peer.tcb.congestion_window(), window);
    // With another lost beside it, it is.
    let mut peer = open(Use::On);
    peer.send(&[7; 12_000]);
    sizes(&mut peer);
    peer.advance(RTT);
    for n in 1..=3 {
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1).sack(&[(ISS + 2485, ISS + 2485 + n * 1024)]));
    }
    sizes(&mut peer);
    let noted = peer.noted();
    assert!(noted.contains(Happening::FastRetransmit) && !noted.contains(Happening::PathMtuProbeLost));
}

//= type=test
//= rfc4821#7.4
//# the sender SHOULD
//# have enough data queued and sufficient receiver window to send the
//# probe plus at least Tcprexmtthresh [RFC2760] additional segments.
#[test]
fn without_enough_behind_it_no_probe_is_sent() {
    let mut peer = open(Use::On);
    peer.send(&[7; 1460 + 3 * 1024 - 1]);
    assert_eq!(sizes(&mut peer), [1024, 1024, 1024, 1024, 435]);
    let mut peer = open(Use::On);
    peer.send(&[7; 1460 + 3 * 1024]);
    assert_eq!(sizes(&mut peer), [1460, 1024, 1024, 1024]);
}

/// The error names the size that the next probes stay below; the segments that got through stay as they are.
#[test]
fn a_router_that_tells_of_a_probe_bounds_the_search() {
    let mut peer = open(Use::On);
    peer.send(&[7; 60_000]);
    sizes(&mut peer);
    peer.tcb.on_packet_too_big(&peer.config, peer.now, ISS + 1, 1200);
    assert!(!happened(&mut peer, Happening::PathMtuReduced));
    assert_eq!(peer.tcb.path_mtu(), 1064);
    let sent = carry(&mut peer, 60_000, 1160);
    assert!(sent.iter().all(|&size| size <= 1160), "{sent:?}");
    assert!((1193..=1200).contains(&peer.tcb.path_mtu()), "{}", peer.tcb.path_mtu());
}

//= type=test
//= rfc4821#7.3
//# When the timer expires, search_high should be
//# reset to its initial value (described above) so that probing can
//# resume.
#[test]
fn ten_minutes_later_the_search_goes_on() {
    let mut peer = open(Use::On);
    carry_much(&mut peer, 1260);
    let before = peer.tcb.path_mtu();
    assert!(before < 1301);
    peer.advance(Duration::from_secs(250));
    peer.send(&vec![7; 60_000]);
    carry(&mut peer, 60_000, 1460);
    assert_eq!(peer.tcb.path_mtu(), before);
    peer.advance(Duration::from_secs(600));
    peer.send(&vec![7; 60_000]);
    carry(&mut peer, 60_000, 1460);
    assert_eq!(peer.tcb.path_mtu(), 1500);
}
