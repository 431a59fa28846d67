//! What an application may set and call beyond sending and closing: keep-alives, user timeout, cork, linger.

use ringway::device::Drop;
use ringway::tcp::State;
use ringway::tcp::tally::Happening;

use crate::script::Call::{Accept, Close, Failed, Send, Set, Told};
use crate::script::Setting::{CodePoint, Cork, Keepalive, Linger, NoDelay, UserTimeout};
use crate::script::{Failure, News, Script, scripts};
use crate::segment::{ack, data, fin, rst, rst_ack, syn, syn_ack};

scripts![
    an_idle_connection_is_probed,
    keepalives_without_an_answer_end_the_connection,
    text_unacknowledged_for_the_user_timeout,
    a_corked_connection_sends_full_segments,
    nagle_is_switched_per_connection,
    a_close_with_a_linger_time_of_zero_resets,
    a_close_of_both_directions_with_unread_text_resets,
    text_after_a_close_of_both_directions_is_reset,
    a_close_that_takes_longer_than_it_may,
    a_close_within_its_time_is_orderly,
    a_code_point_is_set,
    the_time_to_live_is_a_setting,
    trouble_is_told_before_the_end,
];

/// A segment without text and with an old number: who is there must answer it.
//= type=test
//= rfc9293#3.8.4
//# An implementation SHOULD send a keep-alive segment with no data (SHLD-12)
//= type=test
//= rfc9293#3.8.4
//# Keep-alive packets MUST only be sent when no sent data is outstanding, and no data or acknowledgment packets have been
//# received for the connection within an interval (MUST-26). This interval MUST be configurable (MUST-27)
fn an_idle_connection_is_probed(s: &mut Script) {
    s.established();
    s.call(Set(Keepalive { idle_s: 1, interval_s: 1, probes: 3 }));
    s.expect(ack().seq(0).ack(1).after(1000));
    s.inject(ack().seq(1).ack(1));
    s.expect(ack().seq(0).ack(1).after(1000));
    s.inject(ack().seq(1).ack(1));
    s.state(State::Established);
    s.happens(Happening::KeepaliveProbe);
}

/// The peer is gone.
//= type=test
//= rfc9293#3.8.4
//# the application MUST be able to turn them on or off for each TCP connection (MUST-24)
fn keepalives_without_an_answer_end_the_connection(s: &mut Script) {
    s.established();
    s.call(Set(Keepalive { idle_s: 1, interval_s: 1, probes: 2 }));
    s.expect(ack().seq(0).ack(1).after(1000));
    s.expect(ack().seq(0).ack(1).after(1000));
    s.differs(
        "Linux acknowledges in the reset of an abort",
        |s| s.expect(rst().seq(1).after(1000)),
        |s| s.expect(rst_ack().seq(1).ack(1).after(1000)),
    );
    s.call(Failed(Failure::TimedOut));
    s.happens(Happening::KeepaliveProbe);
}

/// The application says how long it is willing to wait.
//= type=test
//= rfc9293#3.10.8
//# For any state if the user timeout expires, flush all queues, signal the user "error: connection aborted due to user timeout"
fn text_unacknowledged_for_the_user_timeout(s: &mut Script) {
    s.established();
    s.call(Set(UserTimeout { ms: 1000 }));
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1));
    s.expect(data(10).seq(1).ack(1).after(200));
    s.expect(data(10).seq(1).ack(1).after(400));
    s.silence(600);
    s.call(Failed(Failure::TimedOut));
    s.happens(Happening::UserTimeout);
}

/// The rest waits until the cork is drawn.
fn a_corked_connection_sends_full_segments(s: &mut Script) {
    s.established();
    s.call(Set(Cork(true)));
    s.call(Send(10));
    s.silence(50);
    s.call(Send(1500));
    s.expect(data(1000).seq(1).ack(1));
    s.inject(ack().seq(1).ack(1001));
    s.silence(50);
    s.call(Set(Cork(false)));
    s.expect(data(510).seq(1001).ack(1));
}

/// Small segments wait, until the application says that they shall not.
//= type=test
//= rfc9293#3.7.4
//# However, there MUST be a way for an application to disable the Nagle algorithm on an individual connection (MUST-17).
fn nagle_is_switched_per_connection(s: &mut Script) {
    s.established();
    s.call(Set(NoDelay(false)));
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1));
    s.call(Send(10));
    s.silence(50);
    s.call(Set(NoDelay(true)));
    s.expect(data(10).seq(11).ack(1));
}

/// The abrupt end, asked for beforehand.
fn a_close_with_a_linger_time_of_zero_resets(s: &mut Script) {
    s.established();
    s.call(Set(Linger { s: 0 }));
    s.call(Close);
    s.differs("Linux acknowledges in the reset of an abort", |s| s.expect(rst().seq(1)), |s| s.expect(rst_ack().seq(1).ack(1)));
}

/// Text that nobody will read was lost, and the peer is told.
//= type=test
//= rfc9293#3.6.1
//# If such a host issues a CLOSE call while received data is still pending in the TCP connection, or if new data is received
//# after CLOSE is called, its TCP implementation SHOULD send a RST to show that data was lost (SHLD-3).
fn a_close_of_both_directions_with_unread_text_resets(s: &mut Script) {
    s.established();
    s.inject(data(10).seq(1).ack(1));
    s.expect(ack().seq(1).ack(11).delayed());
    s.call(Close);
    s.differs("Linux acknowledges in the reset of an abort", |s| s.expect(rst().seq(1)), |s| s.expect(rst_ack().seq(1).ack(11)));
}

/// The same for text that comes later.
fn text_after_a_close_of_both_directions_is_reset(s: &mut Script) {
    s.established();
    s.call(Close);
    s.expect(fin().seq(1).ack(1));
    s.inject(ack().seq(1).ack(2));
    s.inject(data(10).seq(1).ack(2));
    s.expect(rst().seq(2));
    s.shows(Drop::TcpDataAfterClose);
}

/// What is queued has two seconds to arrive; then the connection is aborted.
fn a_close_that_takes_longer_than_it_may(s: &mut Script) {
    s.not_on_kernel("its close blocks the application, and aborts nothing");
    s.established();
    s.call(Set(Linger { s: 2 }));
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1));
    s.call(Close);
    s.expect(fin().seq(11).ack(1));
    s.expect(fin().seq(1).ack(1).len(10).after(200));
    s.expect(fin().seq(1).ack(1).len(10).after(400));
    s.expect(fin().seq(1).ack(1).len(10).after(800));
    s.expect(rst().seq(12).after(600));
    s.state(State::Closed);
}

/// Nothing is aborted that has been acknowledged.
fn a_close_within_its_time_is_orderly(s: &mut Script) {
    s.not_on_kernel("its close blocks the application");
    s.established();
    s.call(Set(Linger { s: 1 }));
    s.call(Close);
    s.expect(fin().seq(1).ack(1));
    s.inject(ack().seq(1).ack(2));
    s.silence(1500);
    s.inject(fin().seq(1).ack(2));
    s.expect(ack().seq(2).ack(2));
    s.state(State::TimeWait);
}

/// Of one connection, from the next segment on.
//= type=test
//= rfc9293#3.9.1.9
//# The application layer MUST be able to specify the Differentiated Services field for segments that are sent on a connection
//# (MUST-48).
//= type=test
//= rfc9293#3.9.1.9
//# the application SHOULD be able to change the Differentiated Services field during the connection lifetime (SHLD-21).
fn a_code_point_is_set(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1).code_point(0));
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
    s.call(Set(CodePoint(46)));
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1).code_point(46));
    s.inject(data(10).seq(1).ack(11));
    s.expect(ack().seq(11).ack(11).code_point(46).delayed());
    s.call(Set(CodePoint(10)));
    s.call(Send(10));
    s.expect(data(10).seq(11).ack(11).code_point(10));
}

/// Of every segment.
//= type=test
//= rfc9293#3.9.2
//# The TTL value used to send TCP segments MUST be configurable (MUST-49).
fn the_time_to_live_is_a_setting(s: &mut Script) {
    s.settings(|tcp| tcp.ttl = 33, &[("ip_default_ttl", "33")]);
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1).ttl(33));
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1).ttl(33));
    s.inject(rst().seq(1));
    s.call(Failed(Failure::Reset));
    // There is no connection any more.
    s.inject(ack().seq(1).ack(11));
    s.expect(rst().seq(11).ttl(33));
    s.shows(Drop::TcpListenIgnored);
}

/// R1: three repetitions without an answer; R2 is far away.
//= type=test
//= rfc9293#3.8.3
//# TCP implementations SHOULD inform the application of the delivery problem (unless such information has been disabled by the
//# application; see the "Asynchronous Reports" section (Section 3.9.1.8)), when R1 is reached and before R2 (SHLD-9).
fn trouble_is_told_before_the_end(s: &mut Script) {
    s.established();
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1));
    s.expect(data(10).seq(1).ack(1).after(200));
    s.expect(data(10).seq(1).ack(1).after(400));
    s.expect(data(10).seq(1).ack(1).after(800));
    s.differs("Linux looks for another route, and tells nobody", |s| s.call(Told(News::Stalled)), |_| {});
    s.inject(ack().seq(1).ack(11));
    s.state(State::Established);
}
