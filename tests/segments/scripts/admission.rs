//! Limits and lists: who may begin a connection, and how often, before anything is remembered.

use ringway::device::Drop;
use ringway::tcp::tally::Happening;

use crate::script::Call::{Accept, Close, Listen, Receive};
use crate::script::{Script, scripts};
use crate::segment::{ack, data, fin, rst, syn, syn_ack};

scripts![
    a_source_may_have_so_many_connections,
    half_open_connections_leave_a_way_in,
    a_handshake_that_ends_beyond_the_share_is_reset,
    syns_of_a_source_beyond_its_rate_are_dropped,
    syns_beyond_the_rate_of_all_get_cookies,
    without_cookies_syns_beyond_the_rate_of_all_are_dropped,
    who_is_denied_hears_nothing,
];

/// Why none of these runs on the kernel.
const NETFILTER: &str = "what it has of this kind is netfilter's";

/// The setting `tcp.connections_per_source`; what has ended counts no more.
fn a_source_may_have_so_many_connections(s: &mut Script) {
    s.not_on_kernel(NETFILTER);
    s.settings.connections_per_source = 1;
    s.established();
    s.inject(syn().mss(1000).port(1));
    s.silence(100);
    s.shows(Drop::TcpSourceFull);
    // TIME-WAIT is over for everybody but the old segments.
    s.call(Close);
    s.expect(fin().seq(1).ack(1));
    s.inject(fin().seq(1).ack(2));
    s.expect(ack().seq(2).ack(2));
    s.inject(syn().mss(1000).port(1));
    s.expect(syn_ack().seq(0).ack(1).port(1));
}

/// Anybody can send SYNs in the name of another; who acknowledges a cookie is there.
fn half_open_connections_leave_a_way_in(s: &mut Script) {
    s.not_on_kernel(NETFILTER);
    s.settings.connections_per_source = 1;
    s.listen();
    s.inject(syn().mss(1000).port(1));
    s.expect(syn_ack().seq(0).ack(1).port(1));
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(data(10).seq(1).ack(1));
    s.expect(ack().seq(1).ack(11).delayed());
    s.call(Accept);
    s.call(Receive(10));
    s.happens(Happening::SynCookieSent);
    s.happens(Happening::SynCookieAccepted);
}

/// Of two handshakes that end the second finds no room, and its peer must hear of it.
fn a_handshake_that_ends_beyond_the_share_is_reset(s: &mut Script) {
    s.not_on_kernel(NETFILTER);
    s.settings.connections_per_source = 1;
    s.listen();
    s.inject(syn().mss(1000).port(1));
    s.expect(syn_ack().seq(0).ack(1).port(1));
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
    s.inject(ack().seq(1).ack(1).port(1));
    s.expect(rst().seq(1).port(1));
    s.shows(Drop::TcpSourceFull);
}

/// The setting `tcp.syn_rate_per_source`: no answer, which would go to whoever's address it is.
fn syns_of_a_source_beyond_its_rate_are_dropped(s: &mut Script) {
    s.not_on_kernel(NETFILTER);
    s.settings.syn_rate_per_source = 2;
    s.listen();
    for port in [1, 2] {
        s.inject(syn().mss(1000).port(port));
        s.expect(syn_ack().seq(0).ack(1).port(port));
    }
    s.inject(syn().mss(1000));
    s.silence(450);
    s.shows(Drop::TcpSourceSynLimited);
    s.silence(100);
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
}

/// The setting `tcp.syn_rate`: a flood takes no TCBs, and keeps nobody out.
fn syns_beyond_the_rate_of_all_get_cookies(s: &mut Script) {
    s.not_on_kernel(NETFILTER);
    s.settings.syn_rate = 1;
    s.listen();
    s.inject(syn().mss(1000).port(1));
    s.expect(syn_ack().seq(0).ack(1).port(1));
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    // Nothing is remembered: the SYN-ACK never comes again.
    s.silence(900);
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
    s.happens(Happening::SynCookieSent);
    s.happens(Happening::SynCookieAccepted);
}

/// The same with `tcp.syn_cookies=off`.
fn without_cookies_syns_beyond_the_rate_of_all_are_dropped(s: &mut Script) {
    s.not_on_kernel(NETFILTER);
    s.settings.syn_rate = 1;
    s.settings.syn_cookies = false;
    s.call(Listen { backlog: 8 });
    s.inject(syn().mss(1000).port(1));
    s.expect(syn_ack().seq(0).ack(1).port(1));
    s.inject(syn().mss(1000));
    s.silence(100);
    s.shows(Drop::TcpSynLimited);
}

/// `--deny`: neither a SYN nor anything else finds out that somebody is there.
fn who_is_denied_hears_nothing(s: &mut Script) {
    s.not_on_kernel(NETFILTER);
    s.denied.push("0.0.0.0/0");
    s.listen();
    s.inject(syn().mss(1000));
    s.inject(ack().seq(1).ack(1));
    s.silence(100);
    s.shows(Drop::TcpDenied);
}
