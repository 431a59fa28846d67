//! What an ICMP message deserves, when an error may be sent, and how many (RFC 792; RFC 1122 3.2.2; RFC 4443).
//!
//! Called by the engine for ICMP to a claimed address, and before it answers a packet with an error. In a port claim the kernel answers
//! pings. Time is an argument; nothing panics.

use std::net::Ipv4Addr;

use super::interface::Interface;
use super::packet::Packet;
use super::route::{check_source, is_class_e, is_many};
use crate::demux::Address;
use crate::device::Drop;
use crate::limits::{ICMP_BURST, ICMP_PER_SECOND};
use crate::time::Instant;
use crate::wire::checksum::PseudoHeader;
use crate::wire::extension::{self, Problem};
use crate::wire::icmpv4::{self, ECHO_REPLY, ECHO_REQUEST, PARAMETER_PROBLEM, Quoted, REDIRECT, TIME_EXCEEDED, UNREACHABLE};
use crate::wire::ipv4::PROTOCOL_ICMP;
use crate::wire::ipv6::{self, NEXT_HEADER_ICMPV6};
use crate::wire::{icmpv6, nd};

/// What follows from an ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// An echo request: make the frame its own reply ([`crate::wire::reply`]).
    Echo,
    /// An error about a packet that seems to be ours. Whoever acts on it first checks that the flow exists, and for TCP that the
    /// sequence number is one in flight (RFC 5927 4.1).
    Error {
        /// What it says.
        trouble: Trouble,
        /// The packet it is about.
        quoted: Quoted,
    },
    /// The router that it came from knows a better first hop for a packet that seems to be ours.
    Redirect {
        /// Where that packet goes.
        destination: Ipv4Addr,
        /// The better hop.
        hop: Ipv4Addr,
    },
    /// A message of neighbour discovery, which [`crate::wire::nd`] reads.
    Discovery(icmpv6::Icmp),
    /// Nothing to do.
    Drop(Drop),
}

/// What an ICMP error of either family says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Its type, of its family.
    pub icmp_type: u8,
    /// Its code.
    pub code: u8,
    /// The MTU of the next hop in bytes, when the packet was too big for it; 0 from an old router that does not say.
    pub mtu: Option<u32>,
    /// Time does not mend it: the protocol or the port is not there.
    pub hard: bool,
}

/// Decides what the ICMP message `bytes`, the payload of an IPv4 packet, deserves.
///
/// A redirect is for the caller to follow or not: anybody on the link could forge one. Source quench is ignored as RFC 6633 asks. Echo requests to broadcast and multicast addresses are ignored, as RFC 1122 3.2.2.6 allows.
//= rfc9293#3.9.2.2
//# TCP implementations MUST silently discard any received ICMP Source Quench messages (MUST-55).
pub fn on_icmp(interface: &Interface, packet: &Packet, bytes: &[u8]) -> Reaction {
    let icmp = match icmpv4::parse(bytes) {
        Ok(icmp) => icmp,
        Err(why) => return Reaction::Drop(why),
    };
    match icmp.icmp_type {
        ECHO_REQUEST if !packet.to_many && !is_many(interface, packet.target.ip()) => Reaction::Echo,
        UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM => {
            let trouble = Trouble {
                icmp_type: icmp.icmp_type,
                code: icmp.code,
                mtu: icmp.next_hop_mtu().map(u32::from),
                hard: icmp.is_hard(),
            };
            about_ours(interface, packet, trouble, bytes.get(icmpv4::HEADER_LEN..).and_then(icmpv4::quoted))
        }
        REDIRECT => {
            let quoted = bytes.get(icmpv4::HEADER_LEN..).and_then(icmpv4::quoted);
            match quoted.filter(|quoted| is_ours(interface, packet, quoted)).and_then(|quoted| quoted.target.v4()) {
                Some(destination) => Reaction::Redirect { destination, hop: Ipv4Addr::from(icmp.rest) },
                None => Reaction::Drop(Drop::IcmpIgnored),
            }
        }
        _ => Reaction::Drop(Drop::IcmpIgnored),
    }
}

/// Decides what the ICMPv6 message `bytes`, the payload of an IPv6 packet, deserves (RFC 4443).
///
/// Echo requests to groups are ignored, as RFC 4443 4.2 allows.
pub fn on_icmpv6(interface: &Interface, packet: &Packet, bytes: &[u8]) -> Reaction {
    let pseudo = PseudoHeader { source: packet.source, target: packet.target, protocol: NEXT_HEADER_ICMPV6 };
    let icmp = match icmpv6::parse(bytes, &pseudo) {
        Ok(icmp) => icmp,
        Err(why) => return Reaction::Drop(why),
    };
    // Who has no address yet, or one of ours, may take part in neighbour discovery, and in nothing else.
    let source = packet.source.ip();
    let nobody = source.is_unspecified() || interface.owns(source);
    match icmp.icmp_type {
        kind if nd::is_nd(kind) => Reaction::Discovery(icmp),
        _ if nobody => Reaction::Drop(Drop::Ipv6SourceInvalid),
        icmpv6::ECHO_REQUEST if !packet.to_many => Reaction::Echo,
        icmpv6::UNREACHABLE | icmpv6::PACKET_TOO_BIG | icmpv6::TIME_EXCEEDED | icmpv6::PARAMETER_PROBLEM => {
            let trouble = Trouble { icmp_type: icmp.icmp_type, code: icmp.code, mtu: icmp.next_hop_mtu(), hard: icmp.is_hard() };
            about_ours(interface, packet, trouble, bytes.get(icmpv6::HEADER_LEN..).and_then(icmpv6::quoted))
        }
        _ => Reaction::Drop(Drop::IcmpIgnored),
    }
}

/// We sent the packet that a message quotes from the address that the message came back to; if not, it is none of ours.
fn is_ours(interface: &Interface, packet: &Packet, quoted: &Quoted) -> bool {
    quoted.source == packet.target && interface.owns(packet.target.ip())
}

fn about_ours(interface: &Interface, packet: &Packet, trouble: Trouble, quoted: Option<Quoted>) -> Reaction {
    match quoted.filter(|quoted| is_ours(interface, packet, quoted)) {
        Some(quoted) => Reaction::Error { trouble, quoted },
        None => Reaction::Drop(Drop::IcmpIgnored),
    }
}

/// What a packet is refused for, and its sender told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// Nobody has the port.
    Port,
    /// Nobody serves the protocol.
    Protocol,
    /// The other fragments of the datagram did not come in time; what is quoted is the first one.
    Reassembly,
    /// An IPv6 header says what cannot be done (RFC 8200 4).
    Header(Problem),
}

impl Complaint {
    /// Writes the message from `source` to `target` to the begin of `bytes` and returns its length; 0 when there is none to write. `quoted` is
    /// the packet that it is about, from its IP header on, of the same family.
    pub fn emit(self, source: Address, target: Address, quoted: &[u8], bytes: &mut [u8]) -> usize {
        if target.v4().is_some() {
            return match self {
                Self::Port => icmpv4::emit_unreachable(bytes, icmpv4::CODE_PORT, quoted),
                Self::Protocol => icmpv4::emit_unreachable(bytes, icmpv4::CODE_PROTOCOL, quoted),
                Self::Reassembly => icmpv4::emit_error(bytes, TIME_EXCEEDED, icmpv4::CODE_REASSEMBLY, quoted),
                Self::Header(_) => 0,
            };
        }
        let pseudo = PseudoHeader { source, target, protocol: NEXT_HEADER_ICMPV6 };
        match self {
            Self::Port => icmpv6::emit_error(bytes, icmpv6::UNREACHABLE, icmpv6::CODE_PORT, 0, quoted, &pseudo),
            //= rfc8200#4
            //# If, as a result of processing a header, the destination node is
            //# required to proceed to the next header but the Next Header value in
            //# the current header is unrecognized by the node, it should discard the
            //# packet and send an ICMP Parameter Problem message to the source of
            //# the packet
            Self::Protocol => {
                let pointer = ipv6::parse(quoted)
                    .ok()
                    .and_then(|ip| extension::walk(ip.next_header, ip.payload(quoted)).ok())
                    .map_or(0, |walked| walked.named_at);
                icmpv6::emit_error(bytes, icmpv6::PARAMETER_PROBLEM, icmpv6::CODE_NEXT_HEADER, pointer, quoted, &pseudo)
            }
            Self::Reassembly => icmpv6::emit_error(bytes, icmpv6::TIME_EXCEEDED, icmpv6::CODE_REASSEMBLY, 0, quoted, &pseudo),
            Self::Header(Problem { code, pointer, .. }) => {
                icmpv6::emit_error(bytes, icmpv6::PARAMETER_PROBLEM, code, pointer, quoted, &pseudo)
            }
        }
    }
}

/// Room for the longest error.
pub const ERROR_MAX: usize = icmpv6::MAX_LEN;
const _: () = assert!(ERROR_MAX >= icmpv4::MAX_LEN);

/// True when the received packet, which is no later fragment of another, may be answered with an ICMP error. `payload` is that of the IP
/// packet.
pub fn may_send_error(interface: &Interface, packet: &Packet, payload: &[u8], complaint: Complaint) -> bool {
    //= rfc1122#3.2.2
    //# An ICMP error message MUST NOT be sent as the result of
    //# receiving:
    //= rfc4443#2.4
    //# An ICMPv6 error message MUST NOT be originated as a result of
    //# receiving the following:
    let kind = payload.first();
    let icmp_error = match packet.protocol {
        PROTOCOL_ICMP if packet.is_ipv4() => !kind.is_some_and(|&kind| is_query(kind)),
        NEXT_HEADER_ICMPV6 if !packet.is_ipv4() => kind.is_none_or(|&kind| icmpv6::is_error(kind) || kind == icmpv6::REDIRECT),
        _ => false,
    };
    // RFC 4443 2.4 (e.3): an option may ask for an answer all the same.
    let even_to_many = matches!(complaint, Complaint::Header(Problem { even_if_multicast: true, .. }));
    let many = (packet.to_many || is_many(interface, packet.target.ip())) && !even_to_many;
    let no_single_host = check_source(interface, packet.source.ip()).is_err() || packet.source.v4().is_some_and(is_class_e);
    !(icmp_error || many || no_single_host || packet.ethernet.source.is_group())
}

/// True for the ICMP types that ask or answer (RFC 1122 3.2.2, RFC 1256); an unknown one may be an error.
const fn is_query(icmp_type: u8) -> bool {
    matches!(icmp_type, ECHO_REPLY | ECHO_REQUEST | 9 | 10 | 13..=18)
}

/// A limit on how often something is done: so many a second, with a burst after a quiet time.
///
/// ```
/// use ringway::link::icmp::TokenBucket;
/// use ringway::time::Instant;
/// let mut bucket = TokenBucket::new(1000, 2);
/// let now = Instant::from_ns(7);
/// assert!(bucket.take(now) && bucket.take(now) && !bucket.take(now));
/// assert!(bucket.take(Instant::from_ns(1_000_007)));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    /// Nanoseconds that one token takes to come.
    cost_ns: u64,
    /// The most that is saved, in nanoseconds.
    burst_ns: u64,
    /// What is saved, in nanoseconds.
    saved_ns: u64,
    last: Instant,
}

impl TokenBucket {
    /// A full bucket: `per_second` tokens come in a second (none for 0), and at most `burst` are saved.
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let (cost_ns, burst) = if per_second == 0 { (u64::MAX, 0) } else { (1_000_000_000 / per_second as u64, burst as u64) };
        // At most 2^32 bursts of 10^9 ns each.
        let burst_ns = cost_ns.saturating_mul(burst);
        Self { cost_ns, burst_ns, saved_ns: burst_ns, last: Instant::ZERO }
    }

    /// The bucket for ICMP errors: [`ICMP_PER_SECOND`] with a burst of [`ICMP_BURST`].
    pub const fn for_icmp() -> Self {
        Self::new(ICMP_PER_SECOND, ICMP_BURST)
    }

    /// The same for one of so many cores, which keep to it together.
    pub const fn for_icmp_of(cores: u32) -> Self {
        let cores = if cores == 0 { 1 } else { cores };
        Self::new(ICMP_PER_SECOND.div_ceil(cores), ICMP_BURST.div_ceil(cores))
    }

    /// Takes a token; false when there is none ([`Drop::IcmpLimited`]).
    #[inline]
    pub fn take(&mut self, now: Instant) -> bool {
        self.saved_ns = self.saved_ns.saturating_add(now.ns_since(self.last)).min(self.burst_ns);
        self.last = self.last.max(now);
        match self.saved_ns.checked_sub(self.cost_ns) {
            Some(rest) => {
                self.saved_ns = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::link::groups::Groups;
    use crate::link::interface::Claim;
    use crate::link::routes::Routes;
    use crate::wire::checksum::checksum;
    use crate::wire::ethernet::{ETHERTYPE_IPV4, Ethernet, Mac};
    use crate::wire::ipv4::{self, Ipv4, PROTOCOL_TCP, PROTOCOL_UDP};
    use crate::wire::vlan::Vlan;

    const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn interface() -> Interface {
        Interface {
            name: "veth0".into(),
            mac: Mac([2, 0, 0, 0, 0, 2]),
            mtu: 1500,
            vlan: Vlan::NONE,
            claim: Claim::Addresses(vec!["10.0.0.2/24".parse().unwrap(), "10.0.0.9/24".parse().unwrap()]),
            routes: Routes::default(),
            withheld: Vec::new(),
            groups: Groups::new(),
        }
    }

    fn message(icmp_type: u8, code: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = [&[icmp_type, code, 0, 0, 0, 0, 5, 0xdc], payload].concat();
        let sum = checksum(&bytes);
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// A packet from us to the peer, as a router would quote it.
    fn sent(source: Ipv4Addr, protocol: u8) -> Vec<u8> {
        let mut bytes = vec![0; 20];
        ipv4::emit(&mut bytes, &Ipv4::outgoing(source, PEER, protocol, 8));
        bytes.extend([0, 7, 0x9c, 0x40, 0, 0, 0, 1]);
        bytes
    }

    fn react(target: Ipv4Addr, bytes: &[u8]) -> Reaction {
        let ethernet = Ethernet { target: Mac([2; 6]), source: Mac([4; 6]), vlan: Vlan::NONE, ethertype: ETHERTYPE_IPV4 };
        let packet = Packet::ipv4(ethernet, &Ipv4::outgoing(PEER, target, PROTOCOL_ICMP, bytes.len()), false);
        on_icmp(&interface(), &packet, bytes)
    }

    #[test]
    fn an_echo_request_is_answered_unless_many_were_asked() {
        let ping = message(ECHO_REQUEST, 0, b"data");
        assert_eq!(react(OURS, &ping), Reaction::Echo);
        for many in [Ipv4Addr::BROADCAST, Ipv4Addr::new(10, 0, 0, 255), Ipv4Addr::new(224, 0, 0, 1)] {
            assert_eq!(react(many, &ping), Reaction::Drop(Drop::IcmpIgnored));
        }
    }

    #[test]
    fn a_broken_message_keeps_its_name() {
        let mut ping = message(ECHO_REQUEST, 0, b"data");
        assert_eq!(react(OURS, &ping[..7]), Reaction::Drop(Drop::IcmpTruncated));
        ping[9] ^= 1;
        assert_eq!(react(OURS, &ping), Reaction::Drop(Drop::IcmpChecksum));
    }

    #[test]
    fn errors_about_our_packets_are_told() {
        for icmp_type in [UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM] {
            let Reaction::Error { trouble, quoted } = react(OURS, &message(icmp_type, 4, &sent(OURS, PROTOCOL_TCP))) else {
                panic!("type {icmp_type}")
            };
            assert_eq!((trouble.icmp_type, trouble.code, quoted.source, quoted.source_port), (icmp_type, 4, OURS.into(), 7));
            assert_eq!(trouble.mtu, (icmp_type == UNREACHABLE).then_some(1500));
        }
    }

    #[test]
    fn errors_about_packets_of_others_are_ignored() {
        let ignored = Reaction::Drop(Drop::IcmpIgnored);
        let about = |quoted: &[u8]| react(OURS, &message(UNREACHABLE, 3, quoted));
        assert_eq!(about(&sent(PEER, PROTOCOL_UDP)), ignored, "not our address");
        assert_eq!(about(&sent(Ipv4Addr::new(10, 0, 0, 9), PROTOCOL_UDP)), ignored, "ours, but not the one it came to");
        assert_eq!(about(&sent(OURS, 47)), ignored);
        assert_eq!(about(b""), ignored);
        assert_eq!(react(OURS, &message(UNREACHABLE, 3, &sent(OURS, PROTOCOL_UDP)[..27])), ignored);
        let other = Ipv4Addr::new(10, 0, 0, 77);
        assert_eq!(react(other, &message(UNREACHABLE, 3, &sent(other, PROTOCOL_UDP))), ignored, "nobody claimed it");
    }

    //= type=test
    //= rfc9293#3.9.2.2
    //# TCP implementations MUST silently discard any received ICMP Source Quench messages (MUST-55).
    #[test]
    fn what_needs_nothing_from_us_is_ignored() {
        let heeded = [ECHO_REQUEST, UNREACHABLE, REDIRECT, TIME_EXCEEDED, PARAMETER_PROBLEM];
        for icmp_type in (0..=255).filter(|kind| !heeded.contains(kind)) {
            let bytes = message(icmp_type, 0, &sent(OURS, PROTOCOL_TCP));
            assert_eq!(react(OURS, &bytes), Reaction::Drop(Drop::IcmpIgnored), "type {icmp_type}");
        }
    }

    #[test]
    fn a_redirect_is_about_a_packet_of_ours() {
        let said = Reaction::Redirect { destination: PEER, hop: Ipv4Addr::new(0, 0, 5, 0xdc) };
        assert_eq!(react(OURS, &message(REDIRECT, 1, &sent(OURS, PROTOCOL_UDP))), said);
        let ignored = Reaction::Drop(Drop::IcmpIgnored);
        for quoted in [sent(PEER, PROTOCOL_UDP), sent(Ipv4Addr::new(10, 0, 0, 9), PROTOCOL_UDP), Vec::new()] {
            assert_eq!(react(OURS, &message(REDIRECT, 1, &quoted)), ignored);
        }
    }

    //= type=test
    //= rfc1122#3.2.2
    //# An ICMP error message MUST NOT be sent as the result of
    //# receiving:
    #[test]
    fn no_error_follows_from_what_could_be_amplified() {
        let unicast = Ethernet { target: Mac([2; 6]), source: Mac([4; 6]), vlan: Vlan::NONE, ethertype: ETHERTYPE_IPV4 };
        let good = Ipv4::outgoing(PEER, OURS, PROTOCOL_UDP, 8);
        let may = |ethernet: Ethernet, ip: Ipv4, payload: &[u8]| {
            may_send_error(&interface(), &Packet::ipv4(ethernet, &ip, ethernet.target.is_group()), payload, Complaint::Port)
        };
        assert!(may(unicast, good, b""));
        assert!(!may(Ethernet { target: Mac::BROADCAST, ..unicast }, good, b""), "a link broadcast");
        assert!(!may(Ethernet { target: Mac([1, 0, 0x5e, 0, 0, 1]), ..unicast }, good, b""), "a link multicast");
        for target in ["255.255.255.255", "10.0.0.255", "224.0.0.251"] {
            assert!(!may(unicast, Ipv4 { target: target.parse().unwrap(), ..good }, b""), "to {target}");
        }
        for source in ["0.0.0.0", "127.0.0.1", "10.0.0.255", "255.255.255.255", "224.0.0.1", "240.0.0.1", "10.0.0.2"] {
            assert!(!may(unicast, Ipv4 { source: source.parse().unwrap(), ..good }, b""), "from {source}");
        }
        let icmp = Ipv4 { protocol: PROTOCOL_ICMP, ..good };
        for error in [UNREACHABLE, icmpv4::SOURCE_QUENCH, icmpv4::REDIRECT, TIME_EXCEEDED, PARAMETER_PROBLEM, 40, 255] {
            assert!(!may(unicast, icmp, &[error]), "ICMP type {error}");
        }
        assert!(!may(unicast, icmp, b""), "ICMP without a type");
        assert!(may(unicast, icmp, &[ECHO_REQUEST]) && may(unicast, icmp, &[13]));
    }

    #[test]
    fn the_bucket_gives_its_rate_and_no_more_than_its_burst() {
        let mut bucket = TokenBucket::for_icmp();
        let start = Instant::from_ns(1 << 60);
        let taken = |bucket: &mut TokenBucket, now| (0..10_000).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, start), ICMP_BURST as usize);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(10)), 10);
        assert_eq!(taken(&mut bucket, start), 0, "time that goes back gives nothing");
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(3600)), ICMP_BURST as usize);
        let second = (1..=1000).filter(|&ms| bucket.take(start + Duration::from_secs(3600) + Duration::from_millis(ms))).count();
        assert_eq!(second, ICMP_PER_SECOND as usize);
    }

    #[test]
    fn the_bounds_of_a_bucket_are_kept() {
        let mut none = TokenBucket::new(0, 10);
        assert!(!none.take(Instant::ZERO) && !none.take(Instant::NEVER));
        let mut no_burst = TokenBucket::new(10, 0);
        assert!(!no_burst.take(Instant::NEVER));
        let mut slow = TokenBucket::new(1, u32::MAX);
        assert!(slow.take(Instant::ZERO) && slow.take(Instant::NEVER) && slow.take(Instant::NEVER));
    }
}
