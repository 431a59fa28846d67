//! What RFC 9293 asks of the interfaces above and below TCP (3.9), shown on whole engines.

use super::wire::{Peer, serve};
use super::*;
use crate::device::memory;
use crate::link::groups::Groups;
use crate::tcp::seq::SeqNum;
use crate::wire::ipv4;
use crate::wire::tcp::Flags;
use crate::wire::vlan::Vlan;

/// Opens what its list says, and reads everything.
#[derive(Debug, Default)]
struct Opener {
    /// Source address and port of an active open to 10.0.0.1:9 each.
    opens: Vec<(Option<&'static str>, Option<u16>)>,
    /// A port to listen at after the opens.
    listens: Option<u16>,
}

impl Service for Opener {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        for &(source, source_port) in &self.opens {
            let options = Connect { source: source.map(|ip| ip.parse().unwrap()), source_port, ..Connect::default() };
            cx.connect("10.0.0.1:9".parse().unwrap(), options).unwrap();
        }
        if let Some(port) = self.listens {
            cx.listen(port.into(), Listen::default()).unwrap();
        }
    }
}

fn sources(frames: &[Vec<u8>]) -> Vec<std::net::Ipv4Addr> {
    frames.iter().map(|frame| ipv4::parse(&frame[14..]).unwrap().source).collect()
}

/// An engine with two addresses on one interface, whose peer is known.
fn with_two_addresses(service: Opener) -> (Engine<MemoryDevice, Opener>, Peer, ManualClock) {
    let (near, far) = memory::cable(64);
    let clock = ManualClock::default();
    let claim = Claim::Addresses(vec!["10.0.0.2/24".parse().unwrap(), "10.0.0.3/24".parse().unwrap()]);
    let interface = Interface {
        name: "cable".into(),
        mac: far.mac(),
        mtu: far.mtu(),
        vlan: Vlan::NONE,
        claim,
        routes: Routes::default(),
        withheld: Vec::new(),
        groups: Groups::new(),
    };
    let mut engine = Engine::new(Config::new(Secrets::fixed()), vec![interface], vec![Port::new(far, 0, 0)], service).unwrap();
    engine.start(&clock);
    engine.turn(&clock);
    let mut peer = Peer::new(near);
    peer.answer_arp();
    engine.turn(&clock);
    (engine, peer, clock)
}

//= type=test
//= rfc9293#3.9.1.1
//# The optional "local IP address" parameter MUST be supported to allow the specification of the local IP address (MUST-43).
//= type=test
//= rfc9293#3.9.1.1
//# If an application on a multihomed host does not specify the local IP address when actively opening a TCP connection, then the
//# TCP implementation MUST ask the IP layer to select a local IP address before sending the (first) SYN (MUST-44).
//= type=test
//= rfc9293#3.9.1.1
//# At all other times, a previous segment has either been sent or received on this connection, and TCP implementations MUST use the
//# same local address that was used in those previous segments (MUST-45).
#[test]
fn a_connection_keeps_the_address_it_was_opened_from() {
    let opens = vec![(None, None), (Some("10.0.0.3"), None)];
    let (mut engine, mut peer, clock) = with_two_addresses(Opener { opens, listens: None });
    let expected = ["10.0.0.2".parse().unwrap(), "10.0.0.3".parse::<std::net::Ipv4Addr>().unwrap()];
    assert_eq!(sources(&peer.answers()), expected);
    // The SYNs are sent again from the same addresses.
    clock.advance(Duration::from_millis(1001));
    engine.turn(&clock);
    let mut again = sources(&peer.answers());
    again.sort_unstable();
    assert_eq!(again, expected);
}

//= type=test
//= rfc9293#3.9.1.1
//# A TCP implementation that supports multiple concurrent connections MUST provide an OPEN call that will functionally allow an
//# application to LISTEN on a port while a connection block with the same local port is in SYN-SENT or SYN-RECEIVED state
//# (MUST-42).
#[test]
fn one_may_listen_at_a_port_that_a_connection_is_being_opened_from() {
    let (engine, mut peer, _) = with_two_addresses(Opener { opens: vec![(None, Some(7))], listens: Some(7) });
    assert_eq!(sources(&peer.answers()).len(), 1);
    assert_eq!(engine.core.count_states(), (1, 0));
}

//= type=test
//= rfc9293#3.10.7.4
//# In general, the processing of received segments MUST be implemented to aggregate ACK segments whenever possible (MUST-58).
//= type=test
//= rfc9293#3.10.7.4
//# if the TCP endpoint is processing a series of queued segments, it MUST process them all before sending any ACK segments
//# (MUST-59).
#[test]
fn a_burst_of_segments_is_acknowledged_once() {
    let (mut engine, mut peer, clock) = serve(super::pair::Sleeper::default());
    let irs = SeqNum(u32::MAX - 2000);
    peer.segment(Flags::SYN, irs, SeqNum(0), &[]);
    engine.turn(&clock);
    let iss = peer.segments()[0].1;
    for n in 0..4 {
        peer.segment(Flags::ACK, irs + 1 + n * 1460, iss + 1, &[7; 1460]);
    }
    engine.turn(&clock);
    assert_eq!(peer.segments(), [(Flags::ACK, iss + 1, irs + 1 + 4 * 1460)]);
}

//= type=test
//= rfc9293#3.7.1
//# where MMS_R is the maximum size for a transport-layer message that can be received (and reassembled at the IP layer) (MUST-67).
//= type=test
//= rfc9293#3.7.3
//# TCP implementations SHOULD use the smallest effective MTU of the interface to calculate the value to advertise in the MSS Option
//# (SHLD-6).
#[test]
fn the_mss_announced_is_what_the_link_carries() {
    let (engine, mut peer, _) = with_two_addresses(Opener { opens: vec![(None, None)], listens: None });
    let mtu = engine.core.ports[0].device.mtu();
    let syn = peer.answers().remove(0);
    assert_eq!(syn[54..56], [2, 4], "the MSS option stands first");
    assert_eq!(usize::from(u16::from_be_bytes([syn[56], syn[57]])), mtu - 40);
}
