//! What a repair may not do: hang, be taken back although it was needed, cost nothing or too much (RFC 5681, RFC 5682, RFC 6298, RFC 8985).

use std::time::Duration;

use super::script::*;
use crate::tcp::Config;
use crate::tcp::congestion::Congestion;
use crate::tcp::tally::Happening;

const RTT: Duration = Duration::from_millis(10);

/// No tail loss probe comes before the timeout.
fn unprobed() -> Config {
    Config { probe_min: Duration::from_secs(5), ..plain() }
}

/// Sends all that may leave; returns how many segments.
fn drain(peer: &mut Script) -> usize {
    std::iter::from_fn(|| peer.sent()).count()
}

//= type=test
//= rfc5682#2.1
//# If the TCP sender does not have any new data to send, or the advertised window prohibits new transmissions, the recommended action is to
//# skip step 3 of this algorithm and continue with slow-start retransmissions
#[test]
fn new_data_that_nagle_holds_back_takes_no_timeout_back() {
    for sack in [true, false] {
        let config = Config { no_delay: false, ..unprobed() };
        let mut peer = if sack { Script::with_sack(config, RTT) } else { Script::established_with(config) };
        peer.flight(6, 1);
        while !peer.noted().contains(Happening::RetransmissionTimeout) {
            peer.next_timer();
        }
        peer.send(&[2; 500]);
        peer.expect(more(&[1; 1000]).seq(ISS + 1));
        peer.advance(RTT);
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
        peer.expect(more(&[1; 1000]).seq(ISS + 1001));
        drain(&mut peer);
        peer.advance(RTT);
        peer.inject(ack().seq(IRS + 1).ack(ISS + 2001));
        assert!(!peer.noted().contains(Happening::SpuriousTimeout), "SACK: {sack}");
        assert!(peer.tcb.congestion.window() <= 3000);
        peer.expect(more(&[1; 1000]).seq(ISS + 3001));
    }
}

/// The window that the deciding acknowledgment brings has no room for new data.
#[test]
fn new_data_that_the_window_holds_back_takes_no_timeout_back() {
    let mut peer = Script::with_sack(unprobed(), RTT);
    peer.flight(6, 1);
    while !peer.noted().contains(Happening::RetransmissionTimeout) {
        peer.next_timer();
    }
    peer.send(&[2; 5000]);
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    for n in 1..3 {
        peer.advance(RTT);
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1 + 1000 * n).win(3000));
        peer.expect(more(&[1; 1000]).seq(ISS + 1 + 1000 * (2 * n - 1)));
        drain(&mut peer);
        assert!(!peer.noted().contains(Happening::SpuriousTimeout));
    }
}
