//! Why a frame was not served: one name per check, each with its own counter.
//!
//! What the peer sends wrongly is counted and dropped, never an error of ours and never a panic. The names appear
//! as they stand here in every report (`drops`).

macro_rules! drop_reasons {
    ($($(#[doc = $help:literal])+ $variant:ident = $name:literal,)*) => {
        /// The reason a frame or datagram was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Drop {
            $($(#[doc = $help])+ $variant,)*
        }

        impl Drop {
            /// Every reason, in the order of the path.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name of the counter, as reports print it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What was wrong, in a sentence.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($help),+).trim_ascii(),)* }
            }
        }
    };
}

drop_reasons! {
    /// Shorter than an Ethernet header, or than the VLAN tag it announces.
    EthernetTruncated = "ethernet_truncated",
    /// A packet of several frames of which the ring lost or garbled one.
    ChainBroken = "chain_broken",
    /// A packet of more frames, or bytes, than the link's largest has.
    ChainTooLong = "chain_too_long",
    /// A frame for another core, whose ring from this one was full.
    HandOffFull = "handoff_full",
    /// A frame that another core has handed over, and that is not of this core either.
    HandOffAstray = "handoff_astray",
    /// A segment of no flow of this core, after too many others had made it ask all cores in vain.
    ForeignLookupLimited = "foreign_lookup_limited",
    /// A segment of no flow of this core, while another core was changing its directory too fast to be asked.
    ForeignLookupUnsure = "foreign_lookup_unsure",
    /// Not addressed to this interface, to broadcast or to multicast.
    EthernetNotOurs = "ethernet_not_ours",
    /// A source address of Ethernet that is no single station's: an answer to it would go to many.
    EthernetSourceGroup = "ethernet_source_group",
    /// An EtherType that Ringway does not serve.
    EtherTypeUnknown = "ethertype_unknown",
    /// A VLAN tag that no claim names.
    VlanUnclaimed = "vlan_unclaimed",
    /// An ARP packet that is too short or not for Ethernet and IPv4 (RFC 826).
    ArpMalformed = "arp_malformed",
    /// An ARP packet that is not for a claimed address.
    ArpNotOurs = "arp_not_ours",
    /// An ARP packet of another station that claims one of our addresses (RFC 5227 2.4).
    ArpConflict = "arp_conflict",
    /// Packets waiting for a neighbour, beyond the bound, oldest first.
    NeighborQueueFull = "neighbor_queue_full",
    /// Packets whose neighbour did not answer.
    NeighborUnreachable = "neighbor_unreachable",
    /// No route to the destination.
    NoRoute = "no_route",
    /// Shorter than an IPv4 header.
    Ipv4Truncated = "ipv4_truncated",
    /// Version is not 4, or the header length is below 5 words.
    Ipv4HeaderMalformed = "ipv4_header_malformed",
    /// Total length below the header or beyond the frame.
    Ipv4LengthLies = "ipv4_length_lies",
    /// The IPv4 header checksum is wrong.
    Ipv4Checksum = "ipv4_checksum",
    /// An IPv4 fragment where none is reassembled: in a port claim.
    Ipv4Fragment = "ipv4_fragment",
    /// An IPv4 fragment of a length or at an offset that no fragment may have.
    Ipv4FragmentMalformed = "ipv4_fragment_malformed",
    /// An IPv4 destination that is not claimed.
    Ipv4NotOurs = "ipv4_not_ours",
    /// An IPv4 source no host may have: multicast, broadcast, unspecified, loopback or our own.
    Ipv4SourceInvalid = "ipv4_source_invalid",
    /// Shorter than an IPv6 header.
    Ipv6Truncated = "ipv6_truncated",
    /// Version is not 6.
    Ipv6HeaderMalformed = "ipv6_header_malformed",
    /// The IPv6 payload length reaches beyond the frame.
    Ipv6LengthLies = "ipv6_length_lies",
    /// An IPv6 destination that is not claimed.
    Ipv6NotOurs = "ipv6_not_ours",
    /// An IPv6 source no host may have: multicast, unspecified, loopback, IPv4-mapped or our own.
    Ipv6SourceInvalid = "ipv6_source_invalid",
    /// An IPv6 extension header that does not end within the packet.
    Ipv6ExtensionTruncated = "ipv6_extension_truncated",
    /// Hop-by-hop options elsewhere than directly behind the IPv6 header, or a second fragment header.
    Ipv6ExtensionMisplaced = "ipv6_extension_misplaced",
    /// More IPv6 extension headers, or longer ones, than are walked over.
    Ipv6ExtensionTooMany = "ipv6_extension_too_many",
    /// An IPv6 option that does not end within its header.
    Ipv6OptionMalformed = "ipv6_option_malformed",
    /// An unknown IPv6 option that asks to be dropped for (RFC 8200 4.2).
    Ipv6OptionUnknown = "ipv6_option_unknown",
    /// A routing header of a type unknown or deprecated, with segments left (RFC 8200 4.4, RFC 5095).
    Ipv6RoutingRefused = "ipv6_routing_refused",
    /// An IPv6 packet that says that nothing is in it (RFC 8200 4.7).
    Ipv6NoNextHeader = "ipv6_no_next_header",
    /// An IPv6 fragment where none is reassembled: in a port claim.
    Ipv6Fragment = "ipv6_fragment",
    /// An IPv6 fragment of a length or at an offset that no fragment may have (RFC 8200 4.5).
    Ipv6FragmentMalformed = "ipv6_fragment_malformed",
    /// A first IPv6 fragment that does not hold all headers (RFC 8200 4.5).
    Ipv6FragmentHeadless = "ipv6_fragment_headless",
    /// A fragment from an address that `--deny` or `--allow` keeps out.
    FragmentDenied = "fragment_denied",
    /// A fragment that has come before, byte for byte.
    FragmentDuplicate = "fragment_duplicate",
    /// A fragment that overlaps another one; its datagram goes with it (RFC 5722).
    FragmentOverlap = "fragment_overlap",
    /// A fragment beyond the end of its datagram, or that gives it another end; the datagram goes with it.
    FragmentEndLies = "fragment_end_lies",
    /// A fragment beyond the bound of those of one datagram, which goes with it.
    FragmentTooMany = "fragment_too_many",
    /// The last fragment of a datagram of which some are marked and others cannot be (RFC 3168 5.3).
    FragmentEcnMixed = "fragment_ecn_mixed",
    /// An unfinished datagram that gave way to a newer one of the same sender, which had its share of the memory.
    FragmentShareFull = "fragment_share_full",
    /// An unfinished datagram that gave way to a newer one.
    FragmentGaveWay = "fragment_gave_way",
    /// An unfinished datagram whose time was over.
    FragmentTimeout = "fragment_timeout",
    /// An IP protocol that Ringway does not serve.
    ProtocolUnknown = "protocol_unknown",
    /// An ICMP message that is too short.
    IcmpTruncated = "icmp_truncated",
    /// The ICMP checksum is wrong.
    IcmpChecksum = "icmp_checksum",
    /// An ICMP type that needs no answer from us.
    IcmpIgnored = "icmp_ignored",
    /// ICMP answers beyond the rate limit (RFC 1812 4.3.2.8).
    IcmpLimited = "icmp_limited",
    /// A message of neighbour discovery that a router may have forwarded: its hop limit is not 255 (RFC 4861).
    NdForwarded = "nd_forwarded",
    /// A message of neighbour discovery in a fragment (RFC 6980).
    NdFragment = "nd_fragment",
    /// A message of neighbour discovery that fails another of its validity checks (RFC 4861 6.1, 7.1, 8.1).
    NdMalformed = "nd_malformed",
    /// A message of neighbour discovery that is not for a claimed address, or that a host does not act on.
    NdNotOurs = "nd_not_ours",
    /// A message of another station that has or wants one of our IPv6 addresses (RFC 4862 5.4).
    NdConflict = "nd_conflict",
    /// A redirect, where none is allowed (RFC 4861 8).
    NdRedirect = "nd_redirect",
    /// Shorter than a UDP header.
    UdpTruncated = "udp_truncated",
    /// The UDP length is below 8 or beyond the packet.
    UdpLengthLies = "udp_length_lies",
    /// The UDP checksum is wrong.
    UdpChecksum = "udp_checksum",
    /// A UDP destination port of zero.
    UdpPortZero = "udp_port_zero",
    /// A datagram to a multicast group that nobody asked for, or to another port of one.
    GroupNotJoined = "group_not_joined",
    /// A datagram to a group from a source that it was not asked for.
    GroupSource = "group_source",
    /// A datagram from an address that `--deny` or `--allow` keeps out.
    UdpDenied = "udp_denied",
    /// No endpoint at the UDP port.
    UdpPortClosed = "udp_port_closed",
    /// A datagram to a connected endpoint from somebody else.
    UdpNotConnected = "udp_not_connected",
    /// A datagram held back because answering it could loop or amplify (source port below 1024, broadcast, own address).
    UdpUnsafeToAnswer = "udp_unsafe_to_answer",
    /// A datagram that a service wanted to keep under a token in use, or beyond the bound of kept datagrams.
    UdpKeptFull = "udp_kept_full",
    /// A copy of a datagram for this core's own endpoints, beyond the bound of those that wait.
    UdpLoopFull = "udp_loop_full",
    /// A datagram to send for which no frame, buffer or ring slot was free.
    UdpSendFull = "udp_send_full",
    /// Shorter than a TCP header, or than its data offset says.
    TcpTruncated = "tcp_truncated",
    /// A TCP data offset below 5 words.
    TcpOffsetMalformed = "tcp_offset_malformed",
    /// The TCP checksum is wrong.
    TcpChecksum = "tcp_checksum",
    /// A checksum that equals the pseudo-header's sum: the sender left it to an offload that a virtual link never performs.
    ChecksumUnfilled = "checksum_unfilled",
    /// A TCP source or destination port of zero.
    TcpPortZero = "tcp_port_zero",
    /// A segment of no connection, from an address that `--deny` or `--allow` keeps out.
    TcpDenied = "tcp_denied",
    /// No connection and no listener.
    TcpPortClosed = "tcp_port_closed",
    /// A segment to a listener that is neither a SYN nor answered by a reset.
    TcpListenIgnored = "tcp_listen_ignored",
    /// A SYN from or to a broadcast or multicast address (RFC 9293 MUST-57).
    TcpNotUnicast = "tcp_not_unicast",
    /// A SYN, or the end of a handshake, from a source that has its share of connections (`tcp.connections_per_source`).
    TcpSourceFull = "tcp_source_full",
    /// A SYN beyond the rate of its source (`tcp.syn_rate_per_source`).
    TcpSourceSynLimited = "tcp_source_syn_limited",
    /// A SYN beyond the rate of all (`tcp.syn_rate`), where no cookies are sent.
    TcpSynLimited = "tcp_syn_limited",
    /// A SYN beyond the backlog of its listener.
    TcpBacklogFull = "tcp_backlog_full",
    /// An acknowledgment of no cookie, at a listener that has sent cookies lately (RFC 4987).
    TcpCookieInvalid = "tcp_cookie_invalid",
    /// A segment that may follow the acknowledgment of a cookie, which has not come.
    TcpCookieMissing = "tcp_cookie_missing",
    /// A SYN when every TCB is in use.
    TcpTableFull = "tcp_table_full",
    /// A segment outside the receive window (RFC 9293 3.10.7.4, first check).
    TcpOutOfWindow = "tcp_out_of_window",
    /// A segment older than the last timestamp (PAWS, RFC 7323 5.3).
    TcpPaws = "tcp_paws",
    /// A segment without a timestamp on a connection that has agreed on them (RFC 7323 3.2).
    TcpTimestampMissing = "tcp_timestamp_missing",
    /// A SYN in TIME-WAIT that could be an old duplicate (RFC 6191 2).
    TcpSynInTimeWait = "tcp_syn_in_time_wait",
    /// A reset outside the window or not at its left edge (RFC 5961).
    TcpRstIgnored = "tcp_rst_ignored",
    /// A SYN on a synchronized connection, answered with a challenge ACK.
    TcpSynChallenged = "tcp_syn_challenged",
    /// A segment without ACK on a connection that requires one.
    TcpNoAck = "tcp_no_ack",
    /// An acknowledgement of something never sent, or too old.
    TcpAckInvalid = "tcp_ack_invalid",
    /// Data or FIN after the peer's FIN.
    TcpAfterFin = "tcp_after_fin",
    /// Data that nobody will read: the service has closed (answered with a reset).
    TcpDataAfterClose = "tcp_data_after_close",
    /// Out-of-order data beyond the bound of the reassembly queue.
    TcpReassemblyFull = "tcp_reassembly_full",
    /// In-window data for which no buffer was free; it is not acknowledged.
    TcpNoBuffer = "tcp_no_buffer",
    /// A frame to send that found the transmit ring full and could not wait.
    TransmitRingFull = "transmit_ring_full",
    /// No free frame to answer with.
    NoFrame = "no_frame",
}

/// One counter per reason.
#[derive(Clone, Debug)]
pub struct DropCounters([u64; Drop::COUNT]);

impl DropCounters {
    /// Counts one drop.
    pub const fn count(&mut self, why: Drop) {
        self.0[why as usize] += 1;
    }

    /// How many were dropped for this reason.
    pub const fn of(&self, why: Drop) -> u64 {
        self.0[why as usize]
    }

    /// The reasons that occurred, with their counts, in the order of the path.
    pub fn nonzero(&self) -> impl Iterator<Item = (Drop, u64)> + '_ {
        Drop::ALL.iter().map(|&why| (why, self.of(why))).filter(|&(_, n)| n > 0)
    }

    /// All drops together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Default for DropCounters {
    fn default() -> Self {
        Self([0; Drop::COUNT])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let mut names: Vec<_> = Drop::ALL.iter().map(|why| why.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Drop::COUNT);
    }

    #[test]
    fn counts_are_kept_apart() {
        let mut drops = DropCounters::default();
        drops.count(Drop::TcpPaws);
        drops.count(Drop::TcpPaws);
        drops.count(Drop::NoRoute);
        assert_eq!(drops.nonzero().collect::<Vec<_>>(), [(Drop::NoRoute, 1), (Drop::TcpPaws, 2)]);
        assert_eq!(drops.total(), 3);
    }
}
