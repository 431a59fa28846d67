//! How long a connection waits for its peer, and what a service sets of that (RFC 9293 3.8.3, 3.8.4, 3.9.1; RFC 5482).

use std::time::Duration;

use super::script::*;
use crate::tcp::{Config, Events, Keepalive, State, Tuning};
use crate::wire::tcp::Flags;

const SECOND: Duration = Duration::from_secs(1);

/// Established, with keep-alives after 10 s of silence, every 2 s, three of them.
fn kept_alive() -> Script {
    let mut peer = Script::established();
    peer.tune(Tuning::Keepalive(Some(Keepalive { idle: 10 * SECOND, interval: 2 * SECOND, probes: 3 })));
    peer
}

//= type=test
//= rfc9293#3.8.4
//# they MUST default to off (MUST-25)
#[test]
fn without_keepalives_an_idle_connection_lives_for_ever() {
    let mut peer = Script::established();
    peer.advance(Duration::from_secs(30 * 24 * 3600));
    peer.expect_nothing();
    peer.expect_state(State::Established);
}

//= type=test
//= rfc9293#3.8.4
//# This interval MUST be configurable (MUST-27) and MUST default to no less than two hours (MUST-28).
#[test]
fn by_default_keepalives_begin_after_two_hours() {
    assert_eq!(Keepalive::default().idle, Duration::from_secs(2 * 3600));
    let mut peer = Script::established_with(Config { keepalive: true, ..plain() });
    assert_eq!(peer.next_timer(), Duration::from_secs(2 * 3600));
    peer.expect(ack().seq(ISS).ack(IRS + 1));
}

//= type=test
//= rfc9293#3.8.4
//# Such a segment generally contains SEG.SEQ = SND.NXT-1 and may or may not contain one garbage octet of data.
//= type=test
//= rfc9293#3.8.4
//# An implementation SHOULD send a keep-alive segment with no data (SHLD-12)
#[test]
fn an_idle_peer_is_probed_and_its_answer_is_enough() {
    let mut peer = kept_alive();
    assert_eq!(peer.next_timer(), 10 * SECOND);
    peer.expect(ack().seq(ISS).ack(IRS + 1));
    peer.expect_nothing();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    peer.next_timer();
    peer.expect_nothing();
    assert_eq!(peer.next_timer(), 8 * SECOND, "ten after the answer");
    peer.expect(ack().seq(ISS).ack(IRS + 1));
}

//= type=test
//= rfc9293#3.8.4
//# Consequently, if a keep-alive mechanism is implemented it MUST NOT interpret failure to respond to any specific probe as a dead
//# connection (MUST-29).
#[test]
fn a_peer_that_answers_the_last_probe_is_alive() {
    let mut peer = kept_alive();
    for span in [10, 2, 2] {
        assert_eq!(peer.next_timer(), span * SECOND);
        peer.expect(ack().seq(ISS));
    }
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    peer.next_timer();
    peer.expect_nothing();
    peer.expect_state(State::Established);
}

/// The timer after a probe runs for the interval; an answer long before it expires is an answer all the same.
#[test]
fn a_peer_that_answers_every_probe_lives_although_the_interval_is_longer_than_the_silence() {
    let mut peer = Script::established();
    peer.tune(Tuning::Keepalive(Some(Keepalive { idle: 2 * SECOND, interval: 10 * SECOND, probes: 3 })));
    for _ in 0..20 {
        peer.next_timer();
        peer.expect(ack().seq(ISS).ack(IRS + 1));
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
        peer.expect_events(Events::NONE);
    }
    peer.expect_state(State::Established);
}

#[test]
fn a_peer_that_answers_no_probe_is_given_up() {
    let mut peer = kept_alive();
    for _ in 0..3 {
        peer.next_timer();
        peer.expect(ack().seq(ISS));
    }
    peer.next_timer();
    peer.expect_events(Events::TIMED_OUT);
    peer.expect(rst().seq(ISS + 1));
    peer.expect_finished();
}

//= type=test
//= rfc9293#3.8.4
//# Keep-alive packets MUST only be sent when no sent data is outstanding, and no data or acknowledgment packets have been received for
//# the connection within an interval (MUST-26).
#[test]
fn neither_what_is_outstanding_nor_what_arrives_leaves_a_reason_to_probe() {
    let mut peer = kept_alive();
    peer.advance(9 * SECOND);
    peer.inject(data(b"news").seq(IRS + 1).ack(ISS + 1));
    peer.advance(9 * SECOND);
    peer.expect(ack().seq(ISS + 1).ack(IRS + 5));
    peer.expect_nothing();
    peer.send(b"unanswered");
    peer.expect(data(b"unanswered").seq(ISS + 1));
    for _ in 0..4 {
        peer.next_timer();
        while let Some(sent) = peer.sent() {
            assert!(format!("{sent:?}").contains("payload: [117, 110"), "a retransmission, no probe: {sent:?}");
        }
    }
}

//= type=test
//= rfc9293#3.8.4
//# the application MUST be able to turn them on or off for each TCP connection (MUST-24)
#[test]
fn what_is_outstanding_puts_the_probe_off_by_a_whole_interval() {
    let mut peer = kept_alive();
    peer.advance(10 * SECOND - Duration::from_millis(50));
    peer.send(b"x");
    assert!(peer.sent().is_some());
    assert_eq!(peer.next_timer(), Duration::from_millis(50), "the silence was long enough");
    peer.expect_nothing();
    assert!(peer.next_timer() > Duration::ZERO, "and is looked at again later, not at once");
}

#[test]
fn keepalives_can_be_turned_off_again() {
    let mut peer = kept_alive();
    peer.tune(Tuning::Keepalive(None));
    peer.advance(Duration::from_secs(3600));
    peer.expect_nothing();
}

#[test]
fn a_keepalive_of_the_peer_is_answered() {
    let mut peer = Script::established();
    peer.inject(ack().seq(IRS).ack(ISS + 1));
    peer.expect(ack().seq(ISS + 1).ack(IRS + 1));
}

//= type=test
//= rfc9293#3.10.8
//# For any state if the user timeout expires, flush all queues, signal the user "error: connection aborted due to user timeout" in
//# general and for any outstanding calls, delete the TCB, enter the CLOSED state, and return.
#[test]
fn data_that_stays_unacknowledged_for_the_user_timeout_ends_the_connection() {
    let mut peer = Script::established();
    peer.tune(Tuning::UserTimeout(Some(3 * SECOND)));
    peer.advance(100 * SECOND);
    peer.expect_state(State::Established);
    peer.send(b"lost");
    peer.expect(data(b"lost").seq(ISS + 1));
    peer.advance(2999 * SECOND / 1000);
    peer.expect_state(State::Established);
    peer.advance(SECOND / 1000);
    peer.expect_events(Events::TIMED_OUT);
    peer.expect_finished();
}

#[test]
fn progress_begins_the_user_timeout_anew() {
    let mut peer = Script::established();
    peer.tune(Tuning::UserTimeout(Some(3 * SECOND)));
    peer.send(&[7; 2000]);
    peer.expect(more(&[7; 1000]).seq(ISS + 1));
    peer.expect(data(&[7; 1000]).seq(ISS + 1001));
    peer.advance(SECOND / 10);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
    peer.advance(2999 * SECOND / 1000);
    peer.expect_state(State::Established);
    peer.advance(SECOND / 1000);
    peer.expect_state(State::Closed);
}

//= type=test
//= rfc9293#3.8.3
//# An application MUST (MUST-21) be able to set the value for R2 for a particular connection.
//= type=test
//= rfc9293#3.8.3
//# TCP implementations SHOULD inform the application of the delivery problem (unless such information has been disabled by the
//# application; see the "Asynchronous Reports" section (Section 3.9.1.8)), when R1 is reached and before R2 (SHLD-9).
//= type=test
//= rfc9293#3.8.3
//# The value of R1 SHOULD correspond to at least 3 retransmissions, at the current RTO (SHLD-10).
#[test]
fn a_service_that_sets_r2_to_infinity_is_told_of_r1_and_decides_itself() {
    let mut peer = Script::established();
    peer.tune(Tuning::UserTimeout(Some(Duration::MAX)));
    peer.send(b"patient");
    peer.expect(data(b"patient").seq(ISS + 1));
    for n in 1..=40 {
        peer.next_timer();
        peer.expect_events(if n == 3 { Events::STALLED } else { Events::NONE });
        while peer.sent().is_some() {}
    }
    peer.expect_state(State::Established);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 8));
    peer.expect_nothing();
    assert_eq!(peer.tcb.unacknowledged(), 0);
}

//= type=test
//= rfc5482#3
//# a connection that has enabled UTO options SHOULD include a UTO option in the first packet that does not have the SYN flag set.
//= type=test
//= rfc5482#3
//# A host that supports the UTO option SHOULD include one in the next possible outgoing segment whenever it starts using a new user
//# timeout for the connection.
#[test]
fn the_user_timeout_is_told_in_the_syn_in_the_next_segment_and_when_it_changes() {
    let mut peer = Script::open(Config { user_timeout_option: true, ..plain() });
    peer.expect(syn().seq(ISS).mss(MSS).user_timeout(300));
    peer.inject(syn_ack().seq(IRS).ack(ISS + 1).mss(MSS));
    peer.expect(ack().seq(ISS + 1).user_timeout(300));
    peer.send(b"a");
    peer.expect(data(b"a").seq(ISS + 1).no_options());
    peer.tune(Tuning::UserTimeout(Some(600 * SECOND)));
    // Its four bytes are taken off a full segment.
    peer.send(&[1; 996]);
    peer.expect(data(&[1; 996]).seq(ISS + 2).user_timeout(600));
    peer.send(b"b");
    peer.expect(data(b"b").no_options().seq(ISS + 998));
}

#[test]
fn a_reset_tells_of_no_user_timeout() {
    let mut peer = Script::accept(Config { user_timeout_option: true, ..plain() }, syn().seq(IRS).mss(MSS));
    peer.expect(syn_ack().seq(ISS).ack(IRS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    peer.tune(Tuning::UserTimeout(Some(600 * SECOND)));
    peer.abort();
    peer.expect(rst().seq(ISS + 1).no_options());
}

//= type=test
//= rfc5482#3.1
//# USER_TIMEOUT = min(U_LIMIT, max(ADV_UTO, REMOTE_UTO, L_LIMIT))
#[test]
fn the_peers_longer_user_timeout_is_adopted() {
    let config = Config { user_timeout_option: true, retries: 2, ..plain() };
    for (option, lives) in [(600, 600), (10, 300), (0x8000 | 1000, 3600), (0, 0)] {
        let mut peer = Script::accept(config, syn().seq(IRS).mss(MSS).user_timeout(option));
        peer.expect(syn_ack().seq(ISS).mss(MSS).user_timeout(300));
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
        peer.send(b"lost");
        peer.expect(data(b"lost").seq(ISS + 1));
        let begin = peer.now;
        while peer.tcb.state() == State::Established {
            peer.next_timer();
            while peer.sent().is_some() {}
        }
        let lived = peer.now.since(begin).as_secs();
        if lives > 0 {
            assert_eq!(lived, lives, "option {option:#x}");
        } else {
            assert!(lived < 60, "by the count of retransmissions: {lived} s");
        }
    }
}

//= type=test
//= rfc5482#3
//# If an application explicitly sets the USER_TIMEOUT, CHANGEABLE MUST become false in order to prevent UTO options (from the other
//# end) from overriding local application requests.
#[test]
fn a_user_timeout_that_the_service_has_set_is_not_changed_by_the_peer() {
    let mut peer = Script::established_with(Config { user_timeout_option: true, ..plain() });
    peer.tune(Tuning::UserTimeout(Some(120 * SECOND)));
    peer.inject(data(b"x").seq(IRS + 1).ack(ISS + 1).user_timeout(3000));
    peer.send(b"lost");
    let begin = peer.now;
    while peer.tcb.state() == State::Established {
        while peer.sent().is_some() {}
        peer.next_timer();
    }
    assert_eq!(peer.now.since(begin), 120 * SECOND);
}

//= type=test
//= rfc9293#3.7.4
//# However, there MUST be a way for an application to disable the Nagle algorithm on an individual connection (MUST-17).
#[test]
fn nagle_can_be_turned_off_for_one_connection() {
    let mut peer = Script::established_with(Config { no_delay: false, ..plain() });
    peer.send(b"first");
    peer.expect(data(b"first").seq(ISS + 1));
    peer.send(b"held");
    peer.expect_nothing();
    peer.tune(Tuning::NoDelay(true));
    peer.expect(data(b"held").seq(ISS + 6));
}

#[test]
fn a_linger_time_of_zero_makes_a_close_an_abort() {
    let mut peer = Script::established();
    peer.tune(Tuning::Linger(Some(Duration::ZERO)));
    peer.send(b"discarded");
    peer.close();
    peer.expect(rst().seq(ISS + 1));
    peer.expect_finished();
}

#[test]
fn after_the_linger_time_a_close_that_is_not_acknowledged_becomes_an_abort() {
    let mut peer = Script::established();
    peer.tune(Tuning::Linger(Some(SECOND / 2)));
    peer.send(b"slow");
    peer.close();
    peer.expect(data(b"slow").with(Flags::FIN).seq(ISS + 1));
    let moment = Duration::from_nanos(1);
    peer.advance(SECOND / 2 - moment);
    peer.expect_events(Events::NONE);
    peer.advance(moment);
    peer.expect_events(Events::ABORTED);
    peer.expect(rst().seq(ISS + 6));
    peer.expect_finished();
}

#[test]
fn a_close_that_is_acknowledged_within_the_linger_time_is_an_ordinary_one() {
    let mut peer = Script::established();
    peer.tune(Tuning::Linger(Some(SECOND / 2)));
    peer.close();
    peer.expect(fin().seq(ISS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2));
    peer.advance(100 * SECOND);
    peer.expect_events(Events::NONE);
    peer.expect_state(State::FinWait2);
    peer.inject(fin().seq(IRS + 1).ack(ISS + 2));
    peer.expect_state(State::TimeWait);
    peer.expect_events(Events::PEER_CLOSED | Events::CLOSED);
    peer.expect(ack().seq(ISS + 2).ack(IRS + 2));
    peer.advance(100 * SECOND);
    peer.expect_finished();
}

#[test]
fn a_cork_holds_what_is_not_full_for_200_ms() {
    let mut peer = Script::established_with(Config { no_delay: true, ..plain() });
    peer.tune(Tuning::Cork(true));
    peer.send(b"header");
    peer.expect_nothing();
    assert_eq!(peer.next_timer(), SECOND / 5);
    peer.expect(data(b"header").seq(ISS + 1));
}

#[test]
fn full_segments_pass_a_cork_and_pulling_it_lets_the_rest_out() {
    let mut peer = Script::established();
    peer.tune(Tuning::Cork(true));
    peer.send(&[1; 600]);
    peer.expect_nothing();
    peer.advance(SECOND / 10);
    peer.send(&[1; 600]);
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.expect_nothing();
    peer.tune(Tuning::Cork(false));
    peer.tune(Tuning::NoDelay(true));
    peer.expect(data(&[1; 200]).seq(ISS + 1001));
    assert_eq!(peer.next_timer(), SECOND / 5, "the RTO counts from the segment, not from when the cork held it");
}

#[test]
fn a_close_pulls_the_cork() {
    let mut peer = Script::established();
    peer.tune(Tuning::Cork(true));
    peer.send(b"all");
    peer.close();
    peer.expect(data(b"all").with(Flags::FIN).seq(ISS + 1));
}
