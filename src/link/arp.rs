//! What an ARP packet deserves, and the packets we send ourselves (RFC 826, RFC 5227).
//!
//! Called by the engine for ARP frames in an address claim; in a port claim the kernel does all of this. Only answers are decided here;
//! the cache is [`super::neighbor`]. Pure; nothing panics.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::device::Drop;
use crate::time::Instant;
use crate::wire::arp::{self, Arp, REPLY, REQUEST};
use crate::wire::ethernet::{self, ETHERTYPE_ARP, Ethernet, Mac};
use crate::wire::vlan::Vlan;

/// What a station says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its IPv4 address.
    pub ip: Ipv4Addr,
    /// Its Ethernet address.
    pub mac: Mac,
}

/// What follows from an ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A request for one of our addresses: learn the asker (there is none in a probe), then send the reply.
    Reply {
        /// The asker, to be added to the cache ([`super::neighbor::NeighborCache::learn`]).
        asker: Option<Mapping>,
        /// What to send.
        reply: Arp,
    },
    /// A packet for one of our addresses that asks nothing, an answer mostly: add the sender to the cache.
    Learn(Mapping),
    /// A packet for others: update the sender in the cache if it is known ([`super::neighbor::NeighborCache::update`]); if not, it is
    /// [`Drop::ArpNotOurs`].
    Update(Mapping),
    /// Another station says that one of our addresses is its own: warn, and announce the address again when [`Defense::due`].
    Conflict {
        /// Our address.
        ip: Ipv4Addr,
        /// The station that claims it.
        rival: Mac,
    },
    /// Nothing to do.
    Drop(Drop),
}

/// Decides what an ARP packet deserves. `ours` are the claimed addresses, `our_mac` the interface's.
pub fn on_arp(arp: &Arp, ours: &[Ipv4Addr], our_mac: Mac) -> Outcome {
    if arp.sender_mac == our_mac {
        return Outcome::Drop(Drop::ArpNotOurs); // our own, come back
    }
    //= rfc1812#3.3.2
    //# A router MUST not believe any ARP reply that claims that the Link
    //# Layer address of another host or router is a broadcast or multicast
    //# address.
    let sender = arp.sender;
    let station = !arp.sender_mac.is_group() && arp.sender_mac != Mac::default();
    if !station || sender.is_broadcast() || sender.is_multicast() || sender.is_loopback() {
        return Outcome::Drop(Drop::ArpMalformed);
    }
    if ours.contains(&sender) {
        return Outcome::Conflict { ip: sender, rival: arp.sender_mac };
    }
    let mapping = Mapping { ip: sender, mac: arp.sender_mac };
    let probe = sender.is_unspecified();
    match (ours.contains(&arp.target), arp.operation) {
        (true, REQUEST) => Outcome::Reply { asker: (!probe).then_some(mapping), reply: reply(arp, our_mac) },
        _ if probe => Outcome::Drop(Drop::ArpNotOurs),
        (true, _) => Outcome::Learn(mapping),
        (false, _) => Outcome::Update(mapping),
    }
}

/// The request that asks for the Ethernet address of `target`.
pub const fn request(our_mac: Mac, ours: Ipv4Addr, target: Ipv4Addr) -> Arp {
    Arp { operation: REQUEST, sender_mac: our_mac, sender: ours, target_mac: Mac([0; 6]), target }
}

/// The announcement of an address that is now ours (RFC 5227 2.3), so that the neighbours forget who had it before. To be sent
/// [`ANNOUNCE_NUM`] times, [`ANNOUNCE_INTERVAL`] apart.
pub const fn announcement(our_mac: Mac, ours: Ipv4Addr) -> Arp {
    request(our_mac, ours, ours)
}

/// How often an address is announced (RFC 5227 1.1).
pub const ANNOUNCE_NUM: u32 = 2;
/// Time between two announcements (RFC 5227 1.1).
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// The least time between two announcements that defend an address (RFC 5227 1.1).
pub const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// Limits how often addresses are defended, so that two stations that both insist do not flood the link (RFC 5227 2.4).
#[derive(Clone, Copy, Debug, Default)]
pub struct Defense {
    last: Option<Instant>,
}

impl Defense {
    /// True when an address may be defended now; then the next time is [`DEFEND_INTERVAL`] away.
    pub fn due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.since(last) >= DEFEND_INTERVAL);
        if due {
            self.last = Some(now);
        }
        due
    }
}

/// Writes the packet with its Ethernet header, padded with zeros to the least length of a frame, and returns that length: 60. It goes to
/// the target's Ethernet address, or to all if the packet does not name it. Returns 0, and writes nothing, when it does not fit.
pub fn emit_frame(bytes: &mut [u8], vlan: Vlan, arp: &Arp) -> usize {
    let Some(frame) = bytes.get_mut(..MIN_FRAME) else { return 0 };
    let target = if arp.target_mac == Mac::default() { Mac::BROADCAST } else { arp.target_mac };
    frame.fill(0);
    let header = Ethernet { target, source: arp.sender_mac, vlan, ethertype: ETHERTYPE_ARP };
    let at = ethernet::emit(frame, &header);
    if let Some(packet) = frame.get_mut(at..) {
        arp::emit(packet, arp);
    }
    MIN_FRAME
}

/// The least length of an Ethernet frame in bytes, without its checksum (IEEE 802.3 3.2.8).
const MIN_FRAME: usize = 60;

const fn reply(arp: &Arp, our_mac: Mac) -> Arp {
    Arp { operation: REPLY, sender_mac: our_mac, sender: arp.target, target_mac: arp.sender_mac, target: arp.sender }
}

#[cfg(test)]
mod tests {
    use etherparse::{EtherType, NetSlice, SlicedPacket};

    use super::*;

    const OUR_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
    const MAPPING: Mapping = Mapping { ip: PEER, mac: PEER_MAC };

    fn judge(arp: Arp) -> Outcome {
        on_arp(&arp, &[OURS, Ipv4Addr::new(10, 0, 0, 4)], OUR_MAC)
    }

    fn ask(target: Ipv4Addr) -> Arp {
        request(PEER_MAC, PEER, target)
    }

    #[test]
    fn a_request_for_us_is_answered_and_its_sender_learned() {
        let reply = Arp { operation: REPLY, sender_mac: OUR_MAC, sender: OURS, target_mac: PEER_MAC, target: PEER };
        assert_eq!(judge(ask(OURS)), Outcome::Reply { asker: Some(MAPPING), reply });
        let second = Ipv4Addr::new(10, 0, 0, 4);
        assert_eq!(judge(ask(second)), Outcome::Reply { asker: Some(MAPPING), reply: Arp { sender: second, ..reply } });
    }

    #[test]
    fn a_request_for_others_updates_only() {
        assert_eq!(judge(ask(OTHER)), Outcome::Update(MAPPING));
    }

    #[test]
    fn an_answer_to_us_is_learned_whatever_its_operation() {
        for operation in [REPLY, 3, 9, 0] {
            assert_eq!(judge(Arp { operation, ..ask(OURS) }), Outcome::Learn(MAPPING));
        }
    }

    #[test]
    fn an_announcement_of_others_updates_and_of_our_address_is_a_conflict() {
        assert_eq!(judge(announcement(PEER_MAC, PEER)), Outcome::Update(MAPPING));
        assert_eq!(judge(announcement(PEER_MAC, OURS)), Outcome::Conflict { ip: OURS, rival: PEER_MAC });
        assert_eq!(
            judge(Arp { operation: REPLY, ..announcement(PEER_MAC, OURS) }),
            Outcome::Conflict { ip: OURS, rival: PEER_MAC }
        );
    }

    #[test]
    fn a_probe_is_answered_and_teaches_nothing() {
        let probe = |target| Arp { sender: Ipv4Addr::UNSPECIFIED, ..ask(target) };
        let Outcome::Reply { asker: None, reply } = judge(probe(OURS)) else { panic!("{:?}", judge(probe(OURS))) };
        assert_eq!((reply.sender, reply.target, reply.target_mac), (OURS, Ipv4Addr::UNSPECIFIED, PEER_MAC));
        assert_eq!(judge(probe(OTHER)), Outcome::Drop(Drop::ArpNotOurs));
        assert_eq!(judge(Arp { operation: REPLY, ..probe(OURS) }), Outcome::Drop(Drop::ArpNotOurs));
    }

    #[test]
    fn what_no_station_can_be_is_malformed() {
        for sender_mac in [Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1]), Mac::default()] {
            assert_eq!(judge(Arp { sender_mac, ..ask(OURS) }), Outcome::Drop(Drop::ArpMalformed));
        }
        for sender in [Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1), Ipv4Addr::LOCALHOST] {
            assert_eq!(judge(Arp { sender, ..ask(OURS) }), Outcome::Drop(Drop::ArpMalformed));
        }
    }

    #[test]
    fn our_own_packet_that_came_back_is_no_conflict() {
        assert_eq!(judge(announcement(OUR_MAC, OURS)), Outcome::Drop(Drop::ArpNotOurs));
    }

    #[test]
    fn an_address_is_defended_every_ten_seconds_at_most() {
        let (mut defense, start) = (Defense::default(), Instant::from_ns(5));
        assert!(defense.due(start));
        assert!(!defense.due(start + Duration::from_millis(9_999)));
        assert!(defense.due(start + DEFEND_INTERVAL));
        assert!(!defense.due(start + DEFEND_INTERVAL));
    }

    #[test]
    fn frames_are_as_others_read_them() {
        for (arp, vlan, target) in [
            (request(OUR_MAC, OURS, PEER), Vlan::NONE, Mac::BROADCAST),
            (announcement(OUR_MAC, OURS), Vlan::from(Some(7)), Mac::BROADCAST),
            (reply(&ask(OURS), OUR_MAC), Vlan::NONE, PEER_MAC),
            (reply(&ask(OURS), OUR_MAC), Vlan::from(Some(0)), PEER_MAC),
        ] {
            let mut bytes = [0xcc; 100];
            let len = emit_frame(&mut bytes, vlan, &arp);
            assert_eq!(len, 60);
            let header = ethernet::parse(&bytes[..len]).unwrap();
            assert_eq!(header, Ethernet { target, source: OUR_MAC, vlan, ethertype: ETHERTYPE_ARP });
            assert_eq!(arp::parse(&bytes[header.header_len()..len]), Ok(arp));
            assert!(bytes[header.header_len() + arp::LEN..len].iter().all(|&byte| byte == 0), "padding tells nothing");

            let other = SlicedPacket::from_ethernet(&bytes[..len]).unwrap();
            assert_eq!(other.ether_payload().map(|payload| payload.ether_type), Some(EtherType::ARP));
            let Some(NetSlice::Arp(packet)) = other.net else { panic!("not ARP") };
            assert_eq!(packet.operation().0, arp.operation);
        }
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let mut bytes = [0xcc; 59];
        assert_eq!(emit_frame(&mut bytes, Vlan::NONE, &request(OUR_MAC, OURS, PEER)), 0);
        assert_eq!(bytes, [0xcc; 59]);
    }
}
