//! Recoveries that were mistaken: DSACK (RFC 2883), Eifel (RFC 3522, RFC 4015), F-RTO (RFC 5682).

use std::time::Duration;

use super::script::*;
use crate::tcp::Config;
use crate::tcp::congestion::Congestion;
use crate::tcp::tally::Happening;

const RTT: Duration = Duration::from_millis(10);

fn stamped() -> Config {
    Config { timestamps: true, ..plain() }
}

/// A fast retransmit of the first of ten segments.
fn repairing(config: Config) -> Script {
    let mut peer = Script::with_sack(config, RTT);
    peer.flight(10, 1);
    peer.advance(RTT);
    let len = peer.payload_len() as u32;
    let dup = ack().seq(IRS + 1).ack(ISS + 1).sack(&[(ISS + 1 + len, ISS + 1 + 4 * len)]);
    let echo = peer.clock() - 10;
    peer.inject(if config.timestamps { dup.ts(PEER_TIME, echo) } else { dup });
    peer.expect(more(&vec![1; len as usize]).seq(ISS + 1));
    assert!(peer.tcb.congestion.window() < 10_000);
    peer
}

#[test]
fn a_recovery_is_taken_back_when_all_of_it_is_reported_twice() {
    let mut peer = repairing(plain());
    peer.advance(Duration::from_millis(1));
    // The first was late, not lost; then its second copy arrives.
    peer.inject(ack().seq(IRS + 1).ack(ISS + 10_001));
    assert!(peer.tcb.congestion.window() < 10_000);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 10_001).sack(&[(ISS + 1, ISS + 1001)]));
    assert!(peer.noted().contains(Happening::SpuriousByDsack));
    assert!(peer.tcb.congestion.window() >= 10_000);
}

//= type=test
//= rfc3522#3.2
//# If the value of the Timestamp Echo Reply field of the acceptable ACK's Timestamps option is smaller than the value of RetransmitTS
#[test]
fn a_recovery_is_taken_back_when_the_answer_is_older_than_the_repair() {
    for (age_ms, mistaken) in [(10, true), (0, false)] {
        let mut peer = repairing(stamped());
        let echo = peer.clock() - age_ms;
        peer.advance(Duration::from_millis(1));
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1 + 4 * 988).ts(PEER_TIME + 1, echo));
        assert_eq!(peer.noted().contains(Happening::SpuriousByEifel), mistaken);
        assert_eq!(peer.tcb.congestion.window() >= 9880, mistaken);
    }
}

/// A timeout of a flight of six segments, whose first has left again; ten more segments of data wait.
fn timed_out(sack: bool, config: Config) -> Script {
    let config = Config { probe_min: Duration::from_secs(5), ..config };
    let mut peer = if sack { Script::with_sack(config, RTT) } else { Script::established_with(config) };
    peer.flight(6, 1);
    while !peer.noted().contains(Happening::RetransmissionTimeout) {
        peer.next_timer();
    }
    peer.send(&[2; 10_000]);
    peer.expect(more(&vec![1; peer.payload_len()]).seq(ISS + 1));
    peer.expect_nothing();
    peer
}

//= type=test
//= rfc4015#3.1
//# cwnd <- FlightSize + min (bytes_acked, IW)
//# ssthresh <- pipe_prev
//= type=test
//= rfc4015#3.4
//# Note that the value of cwnd must not be changed any further for that
//# ACK
//= type=test
//= rfc5682#2.1
//# If the acknowledgment advances the window (i.e., if it acknowledges data that was not retransmitted after the timeout), declare the timeout
//# spurious
//= type=test
//= rfc5682#3.1
//# If the Cumulative Acknowledgment field or a SACK information in the ACK does not cover more than "RecoveryPoint" AND it acknowledges data
//# that was not acknowledged earlier (either with cumulative acknowledgment or using SACK information), declare the timeout spurious
#[test]
fn a_timeout_that_a_delay_caused_is_taken_back() {
    for sack in [true, false] {
        let mut peer = timed_out(sack, plain());
        peer.advance(Duration::from_millis(3));
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
        // New data instead of what may have arrived.
        peer.expect(more(&[2; 1000]).seq(ISS + 6001));
        peer.expect(more(&[2; 1000]).seq(ISS + 7001));
        peer.expect_nothing();
        peer.advance(Duration::from_millis(1));
        peer.inject(ack().seq(IRS + 1).ack(ISS + 2001));
        assert!(peer.noted().contains(Happening::SpuriousTimeout), "SACK: {sack}");
        assert_eq!((peer.tcb.congestion.window(), peer.tcb.congestion.threshold()), (7_000, u32::MAX));
        peer.expect(more(&[2; 1000]).seq(ISS + 8001));
        peer.expect_nothing();
        // Slow start leads back to what was safe before.
        peer.inject(ack().seq(IRS + 1).ack(ISS + 3001));
        assert_eq!(peer.tcb.congestion.window(), 8_000);
        assert_eq!(peer.tcb.retransmitted(), 1);
    }
}

//= type=test
//= rfc5682#2.1
//# If the acknowledgment is a duplicate ACK, set the congestion window to no more than 3 * MSS (where MSS indicates Maximum Segment Size), and
//# continue with the slow-start algorithm retransmitting unacknowledged segments.
#[test]
fn a_timeout_that_a_loss_caused_goes_on_with_the_old_data() {
    for sack in [true, false] {
        let mut peer = timed_out(sack, plain());
        peer.advance(RTT);
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
        peer.expect(more(&[2; 1000]).seq(ISS + 6001));
        peer.expect(more(&[2; 1000]).seq(ISS + 7001));
        let dup = ack().seq(IRS + 1).ack(ISS + 1001);
        peer.advance(RTT);
        peer.inject(if sack { dup.sack(&[(ISS + 6001, ISS + 7001)]) } else { dup });
        assert!(!peer.noted().contains(Happening::SpuriousTimeout));
        assert!(peer.tcb.congestion.window() <= 3000);
        peer.expect(more(&[1; 1000]).seq(ISS + 1001));
    }
}

//= type=test
//= rfc5682#2.1
//# If the TCP sender does not have any new data to send, or the advertised window prohibits new transmissions, the recommended action is to
//# skip step 3 of this algorithm and continue with slow-start retransmissions
#[test]
fn without_new_data_the_old_is_sent_on() {
    let mut peer = Script::established();
    peer.flight(6, 1);
    peer.next_timer();
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
    peer.expect(more(&[1; 1000]).seq(ISS + 1001));
}

#[test]
fn an_old_timestamp_takes_a_timeout_back_at_once() {
    let mut peer = timed_out(true, stamped());
    let echo = peer.clock() - 200;
    peer.advance(Duration::from_millis(3));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1 + 988).ts(PEER_TIME + 1, echo));
    assert!(peer.noted().contains(Happening::SpuriousByEifel));
    assert_eq!((peer.tcb.congestion.window(), peer.tcb.congestion.threshold()), (6 * 988, u32::MAX));
    assert_eq!((std::iter::from_fn(|| peer.sent()).count(), peer.tcb.retransmitted()), (1, 1));
}

/// Round trips of 5 us, and the machine at the other end stands still for 3 ms: whatever is sent for nothing is found out.
#[test]
fn a_pause_of_the_machine_leaves_no_mistake_undetected() {
    for config in [plain(), stamped()] {
        let mut peer = Script::with_sack(config, Duration::from_micros(5));
        let len = peer.payload_len() as u32;
        let stamp = |seg: Seg, echo: u32| if config.timestamps { seg.ts(PEER_TIME + 1, echo) } else { seg };
        let mut una = ISS + 1;
        let mut probes = 0;
        for round in 0..5u8 {
            let window = peer.tcb.congestion.window();
            let echo = peer.clock();
            peer.flight(4, round);
            let before = peer.tcb.retransmitted();
            peer.advance(Duration::from_millis(3));
            while peer.sent().is_some() {}
            let again = peer.tcb.retransmitted() > before;
            // The answer to what was sent first, then that to the copy.
            una += 4 * len;
            peer.inject(stamp(ack().seq(IRS + 1).ack(una), echo));
            if again {
                probes += 1;
                peer.inject(stamp(ack().seq(IRS + 1).ack(una).sack(&[(una - len, una)]), echo + 2));
            }
            let noted = peer.noted();
            assert!(!noted.contains(Happening::TailLossRepaired) && !noted.contains(Happening::RetransmissionTimeout));
            assert_eq!(noted.contains(Happening::DsackReceived), again);
            assert!(peer.tcb.congestion.window() >= window, "the window is what it was");
        }
        assert!(probes >= 2, "the pauses were long enough for a probe");
    }
}
