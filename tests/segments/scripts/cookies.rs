//! SYN cookies (RFC 4987): connections of which nothing is remembered until they are complete.

use ringway::device::Drop;
use ringway::tcp::tally::Happening;
use ringway::wire::tcp::Flags;

use crate::script::Call::{Accept, Listen, Receive, Send};
use crate::script::{Script, scripts};
use crate::segment::{ack, data, rst, syn, syn_ack};

scripts![
    a_cookie_beyond_the_backlog,
    a_cookie_carries_the_mss,
    a_cookie_carries_one_of_eight_sizes,
    a_cookie_without_an_mss,
    a_cookie_carries_options_in_its_timestamp,
    a_cookie_carries_ecn_in_its_timestamp,
    a_cookie_whose_timestamp_was_altered_is_wrong,
    a_wrong_cookie_is_reset,
    text_that_overtakes_the_ack_of_a_cookie,
    no_cookie_is_taken_where_none_was_sent,
    without_cookies_syns_beyond_the_backlog_are_dropped,
];

/// A backlog of one, full. The kernel's counts connections that wait for accept; it is told to answer with cookies always.
fn full(s: &mut Script) {
    s.settings(|_| {}, &[("tcp_syncookies", "2")]);
    s.call(Listen { backlog: 1 });
    s.inject(syn().mss(1000).port(1));
    s.expect(syn_ack().seq(0).ack(1).port(1));
}

/// The SYN-ACK is as good as any other; the acknowledgment makes the connection.
//= type=test
//= rfc4987#3.6
//# SYN cookies go a step further and allocate no state at all for connections in SYN-RECEIVED.
fn a_cookie_beyond_the_backlog(s: &mut Script) {
    full(s);
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    // Nothing is remembered: the SYN-ACK never comes again.
    s.silence(900);
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1));
    s.happens(Happening::SynCookieSent);
    s.happens(Happening::SynCookieAccepted);
}

/// One of eight, none larger than the peer's.
fn a_cookie_carries_the_mss(s: &mut Script) {
    full(s);
    s.inject(syn().mss(536));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
    s.call(Send(600));
    s.expect(data(536).seq(1).ack(1));
    s.expect(data(64).seq(537).ack(1));
}

/// Rounded down.
//= type=test
//= rfc4987#a
//# When a SYN comes in from (saddr,sport) to (daddr,dport) with
//# ISN x, find the largest i for which msstab[i] <= the incoming
//# MSS.
fn a_cookie_carries_one_of_eight_sizes(s: &mut Script) {
    s.not_on_kernel("its table has four sizes");
    full(s);
    let sizes =
        [(64, 64), (535, 64), (1219, 536), (1300, 1220), (1399, 1360), (1439, 1400), (1459, 1440), (1460, 1460), (9000, 1460)];
    for (port, (offered, size)) in (2..).zip(sizes) {
        s.inject(syn().mss(offered).port(port));
        s.expect(syn_ack().seq(0).ack(1).port(port));
        s.inject(ack().seq(1).ack(1).port(port));
        s.call(Accept);
        s.call(Send(size + 10));
        s.expect(data(size).seq(1).ack(1).port(port));
        s.expect(data(10).seq(1 + size as i64).ack(1).port(port));
    }
}

/// What a peer takes that says nothing.
fn a_cookie_without_an_mss(s: &mut Script) {
    full(s);
    s.inject(syn());
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
    s.call(Send(600));
    s.expect(data(536).seq(1).ack(1));
    s.expect(data(64).seq(537).ack(1));
}

/// Window scale and SACK come back in the peer's TSecr.
fn a_cookie_carries_options_in_its_timestamp(s: &mut Script) {
    full(s);
    s.inject(syn().mss(1460).scale(7).sack_permitted().ts(1000));
    s.expect(syn_ack().seq(0).ack(1).echo(1000).sack_permitted());
    s.inject(ack().seq(1).ack(1).win(32).ts(1001));
    s.call(Accept);
    s.inject(data(10).seq(11).ack(1).win(32).ts(1002));
    s.expect(ack().seq(1).ack(1).sack(11, 21));
    s.call(Send(5000));
    // 32 << 7 is 4096; beside timestamps and a block 1436 bytes fit.
    s.expect(data(1436).seq(1).ack(1));
    s.expect(data(1436).seq(1437).ack(1));
}

/// So does the agreement on ECN.
fn a_cookie_carries_ecn_in_its_timestamp(s: &mut Script) {
    full(s);
    s.inject(syn().mss(1460).ts(1000).with(Flags::ECE | Flags::CWR));
    s.expect(syn_ack().seq(0).ack(1).echo(1000).with(Flags::ECE).ecn(0));
    s.inject(ack().seq(1).ack(1).ts(1001));
    s.call(Accept);
    s.call(Send(100));
    s.expect(data(100).seq(1).ack(1).echo(1001).ecn(2));
}

/// A scale that the peer never named would do harm.
fn a_cookie_whose_timestamp_was_altered_is_wrong(s: &mut Script) {
    s.not_on_kernel("it believes what the echo says");
    full(s);
    s.inject(syn().mss(1460).scale(7).sack_permitted().ts(1000));
    s.expect(syn_ack().seq(0).ack(1).echo(1000).sack_permitted());
    s.inject(ack().seq(1).ack(1).echo(12_345));
    // For all the listener can tell it follows a segment that has yet to come.
    s.silence(10);
    s.shows(Drop::TcpCookieMissing);
}

/// Whoever guesses is reset.
fn a_wrong_cookie_is_reset(s: &mut Script) {
    full(s);
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(0x4000_0000));
    s.expect(rst().seq(0x4000_0000));
    s.shows(Drop::TcpCookieInvalid);
}

/// It does not know the number, but its peer is honest.
fn text_that_overtakes_the_ack_of_a_cookie(s: &mut Script) {
    full(s);
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(data(10).seq(11).ack(1));
    s.differs("Linux resets the connection", |s| s.silence(10), |s| s.expect(rst().seq(1)));
    s.inject(data(10).seq(1).ack(1));
    s.expect(ack().seq(1).ack(11).delayed());
    s.call(Accept);
    s.inject(data(10).seq(11).ack(1));
    s.expect(ack().seq(1).ack(21).delayed());
    s.call(Receive(20));
    s.shows(Drop::TcpCookieMissing);
}

/// Only for two minutes after an overflow.
fn no_cookie_is_taken_where_none_was_sent(s: &mut Script) {
    s.not_on_kernel("two minutes are too long to wait for");
    full(s);
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(1).port(1));
    s.silence(130_000);
    s.inject(ack().seq(1).ack(1));
    s.expect(rst().seq(1));
    s.shows(Drop::TcpListenIgnored);
}

/// The setting `tcp.syn_cookies=off`.
fn without_cookies_syns_beyond_the_backlog_are_dropped(s: &mut Script) {
    s.not_on_kernel("its backlog counts connections that wait for accept");
    s.settings.syn_cookies = false;
    full(s);
    s.inject(syn().mss(1000));
    s.silence(100);
    s.inject(ack().seq(1).ack(1).port(1));
    s.call(Accept);
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.shows(Drop::TcpBacklogFull);
}
