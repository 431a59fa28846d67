//! What an ICMP message deserves, when an error may be sent, and how many (RFC 792; RFC 1122 3.2.2).
//!
//! Called by the engine for ICMP to a claimed address, and before it answers a packet with an error. In a port claim the kernel answers
//! pings. Time is an argument; nothing panics.

use std::net::IpAddr;

use super::interface::Interface;
use super::route::{check_source, is_class_e, is_many};
use crate::device::Drop;
use crate::limits::{ICMP_BURST, ICMP_PER_SECOND};
use crate::time::Instant;
use crate::wire::ethernet::Ethernet;
use crate::wire::icmpv4::{self, ECHO_REPLY, ECHO_REQUEST, Icmp, PARAMETER_PROBLEM, Quoted, TIME_EXCEEDED, UNREACHABLE};
use crate::wire::ipv4::{Ipv4, PROTOCOL_ICMP};

/// What follows from an ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// An echo request: make the frame its own reply ([`crate::wire::reply::swap_echo_ipv4`]).
    Echo,
    /// An error about a packet that seems to be ours. Whoever acts on it first checks that the flow exists, and for TCP that the
    /// sequence number is one in flight (RFC 5927 4.1).
    Error {
        /// Its type, code and, for "fragmentation needed", the MTU.
        icmp: Icmp,
        /// The packet it is about.
        quoted: Quoted,
    },
    /// Nothing to do.
    Drop(Drop),
}

/// Decides what the ICMP message `bytes`, the payload of the packet with the header `ip`, deserves.
///
/// Redirects are ignored, against RFC 1122 3.2.2.2: the one gateway is the operator's choice, and anybody could forge one. Source quench is
/// ignored as RFC 6633 asks. Echo requests to broadcast and multicast addresses are ignored, as RFC 1122 3.2.2.6 allows.
//= rfc9293#3.9.2.2
//# TCP implementations MUST silently discard any received ICMP Source Quench messages (MUST-55).
pub fn on_icmp(interface: &Interface, ip: &Ipv4, bytes: &[u8]) -> Reaction {
    let icmp = match icmpv4::parse(bytes) {
        Ok(icmp) => icmp,
        Err(why) => return Reaction::Drop(why),
    };
    match icmp.icmp_type {
        ECHO_REQUEST if !is_many(interface, IpAddr::V4(ip.target)) => Reaction::Echo,
        UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM => {
            // We sent the packet from the address that the error came back to.
            let quoted = bytes.get(icmpv4::HEADER_LEN..).and_then(icmpv4::quoted);
            match quoted.filter(|quoted| quoted.source == ip.target.into() && interface.owns(IpAddr::V4(ip.target))) {
                Some(quoted) => Reaction::Error { icmp, quoted },
                None => Reaction::Drop(Drop::IcmpIgnored),
            }
        }
        _ => Reaction::Drop(Drop::IcmpIgnored),
    }
}

/// True when the received packet may be answered with an ICMP error. `payload` is that of the IP packet.
pub fn may_send_error(interface: &Interface, ethernet: &Ethernet, ip: &Ipv4, payload: &[u8]) -> bool {
    //= rfc1122#3.2.2
    //# An ICMP error message MUST NOT be sent as the result of
    //# receiving:
    let icmp_error = ip.protocol == PROTOCOL_ICMP && !payload.first().is_some_and(|&kind| is_query(kind));
    let many = ethernet.target.is_group() || is_many(interface, IpAddr::V4(ip.target));
    let later_fragment = ip.fragment_offset != 0;
    let no_single_host = check_source(interface, IpAddr::V4(ip.source)).is_err() || is_class_e(ip.source);
    !(icmp_error || many || later_fragment || no_single_host || ethernet.source.is_group())
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
    use crate::link::interface::Claim;
    use crate::wire::checksum::checksum;
    use crate::wire::ethernet::{ETHERTYPE_IPV4, Mac};
    use crate::wire::ipv4::{self, PROTOCOL_TCP, PROTOCOL_UDP};

    const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn interface() -> Interface {
        Interface {
            name: "veth0".into(),
            mac: Mac([2, 0, 0, 0, 0, 2]),
            mtu: 1500,
            vlan: None,
            claim: Claim::Addresses(vec!["10.0.0.2/24".parse().unwrap(), "10.0.0.9/24".parse().unwrap()]),
            gateway: None,
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
        on_icmp(&interface(), &Ipv4::outgoing(PEER, target, PROTOCOL_ICMP, bytes.len()), bytes)
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
            let Reaction::Error { icmp, quoted } = react(OURS, &message(icmp_type, 4, &sent(OURS, PROTOCOL_TCP))) else {
                panic!("type {icmp_type}")
            };
            assert_eq!((icmp.icmp_type, icmp.code, quoted.source, quoted.source_port), (icmp_type, 4, OURS.into(), 7));
            assert_eq!(icmp.next_hop_mtu(), (icmp_type == UNREACHABLE).then_some(1500));
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
        for icmp_type in (0..=255).filter(|kind| ![ECHO_REQUEST, UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM].contains(kind)) {
            let bytes = message(icmp_type, 0, &sent(OURS, PROTOCOL_TCP));
            assert_eq!(react(OURS, &bytes), Reaction::Drop(Drop::IcmpIgnored), "type {icmp_type}");
        }
    }

    //= type=test
    //= rfc1122#3.2.2
    //# An ICMP error message MUST NOT be sent as the result of
    //# receiving:
    #[test]
    fn no_error_follows_from_what_could_be_amplified() {
        let unicast = Ethernet { target: Mac([2; 6]), source: Mac([4; 6]), vlan: None, ethertype: ETHERTYPE_IPV4 };
        let good = Ipv4::outgoing(PEER, OURS, PROTOCOL_UDP, 8);
        let may = |ethernet: Ethernet, ip: Ipv4, payload: &[u8]| may_send_error(&interface(), &ethernet, &ip, payload);
        assert!(may(unicast, good, b""));
        assert!(may(unicast, Ipv4 { more_fragments: true, ..good }, b""), "the first fragment");

        assert!(!may(unicast, Ipv4 { fragment_offset: 8, ..good }, b""), "a later fragment");
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
