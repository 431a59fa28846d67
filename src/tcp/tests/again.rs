//! What is sent again is what was lost, and no more (RFC 9293 3.8.1, RFC 6675).

use std::time::Duration;

use super::script::*;
use crate::tcp::Tuning;

const RTT: Duration = Duration::from_millis(10);

/// Short segments, of which the first is lost; our FIN has left behind them, which makes no longer segment of it.
#[test]
fn a_short_segment_comes_again_alone_although_the_fin_has_left() {
    let mut peer = Script::with_sack(plain(), RTT);
    peer.tune(Tuning::NoDelay(true));
    for (n, text) in [b"ab", b"cd", b"ef"].into_iter().enumerate() {
        peer.send(text);
        peer.expect(data(text).seq(ISS + 1 + 2 * n as u32));
    }
    peer.close();
    peer.expect(fin().seq(ISS + 7));
    peer.advance(RTT);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).sack(&[(ISS + 3, ISS + 8)]));
    peer.next_timer();
    peer.expect(more(b"ab").seq(ISS + 1));
    peer.expect_nothing();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 8));
    peer.expect_nothing();
}
