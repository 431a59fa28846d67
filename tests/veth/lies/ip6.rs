//! Lies of the IPv6 header, its extension headers and fragments, of ICMPv6 and neighbour discovery.

use ringway::device::Drop;
use ringway::limits;

use super::Row;
use super::build::{BEHIND_6, Build, IP, SERVER_V6, seal_icmp6, v6, with};

const HOP_BY_HOP: u8 = 0;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ICMP: u8 = 58;
const NOTHING: u8 = 59;
const DESTINATION: u8 = 60;
/// Code points of ECN: could be marked, and has been.
const ECT_0: u8 = 2;
const CE: u8 = 3;

pub(super) fn rows(build: &Build) -> Vec<Row> {
    [headers(build), extensions(build), fragments(build), messages(build), neighbors(build)].into_iter().flatten().collect()
}

fn headers(build: &Build) -> Vec<Row> {
    let header = |at: usize, bytes: &[u8]| with(build.udp6(40_000, 7), IP + at, bytes);
    let from = |source: &str| Row::new("", Drop::Ipv6SourceInvalid, header(8, &v6(source)));
    vec![
        Row::new("IPv6: version 4", Drop::Ipv6HeaderMalformed, header(0, &[0x40])),
        Row::new("IPv6: longer than the frame", Drop::Ipv6LengthLies, header(4, &[0xff, 0xff])),
        Row { lie: "IPv6: from loopback", ..from("::1") },
        Row { lie: "IPv6: from a group", ..from("ff02::1") },
        Row { lie: "IPv6: from nobody", ..from("::") },
        Row { lie: "IPv6: from an address of IPv4", ..from("::ffff:10.0.0.1") },
        Row { lie: "IPv6: from ourselves", ..from(SERVER_V6) },
        Row::new("IPv6: a protocol nobody serves", Drop::ProtocolUnknown, build.ip6(132, &[0; 32])),
    ]
}

fn extensions(build: &Build) -> Vec<Row> {
    let datagram = build.udp6(40_000, 7)[BEHIND_6..].to_vec();
    let behind = |first: u8, headers: &[u8]| build.ip6(first, &[headers, &datagram].concat());
    // A header with one option of 4 bytes.
    let option = |first: u8, kind: u8| behind(first, &[UDP, 0, kind, 4, 0, 0, 0, 0]);
    let padding = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let many = [padding(DESTINATION).repeat(limits::EXTENSION_HEADERS), padding(UDP).to_vec()].concat();
    let long = |words: u8| [&[UDP, words, 1, 254][..], &vec![0; 254], &[1, 254], &vec![0; 254], &[0; 8][..]].concat();
    vec![
        Row::new(
            "IPv6 extension: longer than the packet",
            Drop::Ipv6ExtensionTruncated,
            behind(DESTINATION, &[UDP, 9, 1, 4, 0, 0, 0, 0]),
        ),
        Row::new(
            "IPv6 extension: hop-by-hop behind another",
            Drop::Ipv6ExtensionMisplaced,
            behind(DESTINATION, &[padding(HOP_BY_HOP), padding(UDP)].concat()),
        ),
        Row::new(
            "IPv6 extension: two fragment headers",
            Drop::Ipv6ExtensionMisplaced,
            behind(FRAGMENT, &[[FRAGMENT, 0, 0, 0, 0, 0, 0, 1], [UDP, 0, 0, 0, 0, 0, 0, 2]].concat()),
        )
        .differs("the second would be put together alone; none makes such packets"),
        Row::new("IPv6 extension: nine of them", Drop::Ipv6ExtensionTooMany, behind(DESTINATION, &many))
            .differs("the walk is bounded (RFC 8504 5.3)"),
        Row::new("IPv6 extension: 520 bytes of padding", Drop::Ipv6ExtensionTooMany, behind(DESTINATION, &long(64))),
        Row::new(
            "IPv6 option: longer than its header",
            Drop::Ipv6OptionMalformed,
            behind(DESTINATION, &[UDP, 0, 0x1e, 5, 0, 0, 0, 0]),
        )
        .differs("RFC 4443 3.4: a field in error is reported"),
        Row::served("IPv6 option: unknown, to be skipped", option(DESTINATION, 0x1e)),
        Row::new("IPv6 option: unknown, to be dropped for", Drop::Ipv6OptionUnknown, option(HOP_BY_HOP, 0x5e)),
        Row::new("IPv6 option: unknown, to be complained of", Drop::Ipv6OptionUnknown, option(HOP_BY_HOP, 0x9e)),
        Row::new("IPv6 option: the same, but not to groups", Drop::Ipv6OptionUnknown, option(DESTINATION, 0xde)),
        Row::new(
            "IPv6 routing: type 0, one segment left",
            Drop::Ipv6RoutingRefused,
            behind(ROUTING, &[UDP, 0, 0, 1, 0, 0, 0, 0]),
        ),
        Row::new(
            "IPv6 routing: a type that nobody knows",
            Drop::Ipv6RoutingRefused,
            behind(ROUTING, &[UDP, 0, 77, 1, 0, 0, 0, 0]),
        ),
        Row::new("IPv6: nothing follows, says the header", Drop::Ipv6NoNextHeader, build.ip6(NOTHING, &[0; 16])),
    ]
}

/// Fragments of one ping of 48 bytes and its header, unless they lie.
fn fragments(build: &Build) -> Vec<Row> {
    let message = seal_icmp6(build.ip6(ICMP, &[&[128, 0, 0, 0, 9, 9, 9, 9][..], &[7; 48]].concat()));
    let ping = message[BEHIND_6..].to_vec();
    let part = |id: u8, at: u16, more: bool, bytes: &[u8]| {
        let field = (at | u16::from(more)).to_be_bytes();
        build.ip6(FRAGMENT, &[&[ICMP, 0, field[0], field[1], 0, 0, 0, id][..], bytes].concat())
    };
    let fine = |id, from: usize, to: usize| part(id, from as u16, to < 56, &ping[from..to]);
    let marked = |mark: u8, frame| with(frame, IP, &[0x60, mark << 4]);
    let row = |lie, cause, frames| Row::new(lie, cause, Vec::new()).frames(frames);
    let headless = [DESTINATION, 0, 0, 1, 0, 0, 0, 8, ICMP, 9, 0, 0, 0, 0, 0, 0];
    vec![
        Row::served("IPv6 fragment: the only one", part(0, 0, false, &ping)),
        Row::new("IPv6 fragment: not the last, and of 12 bytes", Drop::Ipv6FragmentMalformed, part(1, 0, true, &ping[..12])),
        Row::new("IPv6 fragment: ends beyond 65,535 bytes", Drop::Ipv6FragmentMalformed, part(2, 0xfff8, false, &[0; 16])),
        Row::new("IPv6 fragment: the first, without all headers", Drop::Ipv6FragmentHeadless, build.ip6(FRAGMENT, &headless)),
        row("IPv6 fragment: the same twice", Drop::FragmentDuplicate, vec![fine(3, 0, 24), fine(3, 0, 24), fine(3, 24, 56)]),
        row("IPv6 fragment: overlaps another", Drop::FragmentOverlap, vec![fine(4, 0, 24), fine(4, 16, 40)]),
        row("IPv6 fragment: two ends", Drop::FragmentEndLies, vec![fine(5, 24, 56), part(5, 56, false, &[7; 8])]),
        row(
            "IPv6 fragment: marked, where others could not be",
            Drop::FragmentEcnMixed,
            vec![marked(CE, fine(6, 0, 24)), fine(6, 24, 56)],
        ),
        Row::served("IPv6 fragment: could be marked, where others could not", Vec::new())
            .frames(vec![marked(ECT_0, fine(8, 0, 24)), fine(8, 24, 56)])
            .differs("nobody has marked it: nothing is lost (RFC 3168 5.3 leaves it to the host)"),
        row(
            "IPv6 fragment: too many of one packet",
            Drop::FragmentTooMany,
            (0..=limits::FRAGMENTS_PER_DATAGRAM as u16).map(|n| part(7, 8 * n, true, &[0; 8])).collect(),
        ),
    ]
}

fn messages(build: &Build) -> Vec<Row> {
    let ping = || build.icmp6(&[128, 0, 0, 0, 1, 2, 3, 4]);
    vec![
        Row::new("ICMPv6: shorter than its header", Drop::IcmpTruncated, build.icmp6(&[128, 0, 0, 0, 0, 0, 0])),
        Row::new("ICMPv6: a wrong checksum", Drop::IcmpChecksum, with(ping(), BEHIND_6 + 2, &[0x12, 0x34])),
        Row::new("ICMPv6: an answer that nobody asked for", Drop::IcmpIgnored, build.icmp6(&[129, 0, 0, 0, 1, 2, 3, 4])),
        Row::new("ICMPv6: information that nobody knows", Drop::IcmpIgnored, build.icmp6(&[200, 0, 0, 0, 0, 0, 0, 0])),
    ]
}

fn neighbors(build: &Build) -> Vec<Row> {
    let rival = [2, 0, 0, 0, 0, 9];
    // A message with its target, and an option of an Ethernet address; the hop limit that shows that no router has forwarded it.
    let message = |kind: u8, flags: u8, target: &str, option: &[u8]| {
        let message = [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &v6(target), option].concat();
        with(build.icmp6(&message), IP + 7, &[255])
    };
    let mac = |kind: u8, mac: [u8; 6]| [&[kind, 1][..], &mac].concat();
    let solicit = |target: &str| message(135, 0, target, &mac(1, build.client()));
    let changed = |at: usize, bytes: &[u8]| seal_icmp6(with(solicit(SERVER_V6), at, bytes));
    let fragmented = {
        let whole = solicit(SERVER_V6)[BEHIND_6..].to_vec();
        let packet = build.ip6(FRAGMENT, &[&[ICMP, 0, 0, 0, 0, 0, 0, 1][..], &whole].concat());
        with(packet, IP + 7, &[255])
    };
    let redirect = [&[137, 0, 0, 0, 0, 0, 0, 0][..], &v6("fe80::8"), &v6("fd00::77")].concat();
    vec![
        Row::new("ND: from beyond a router", Drop::NdForwarded, with(solicit(SERVER_V6), IP + 7, &[64])),
        Row::new("ND: in a fragment", Drop::NdFragment, fragmented),
        Row::new("ND: a code", Drop::NdMalformed, changed(BEHIND_6 + 1, &[1])),
        Row::new("ND: a group's Ethernet address is asked for", Drop::NdMalformed, solicit("ff02::1")),
        Row::new("ND: an option of no length", Drop::NdMalformed, changed(BEHIND_6 + 25, &[0])),
        Row::new("ND: an option longer than the message", Drop::NdMalformed, changed(BEHIND_6 + 25, &[9])),
        Row::new(
            "ND: the Ethernet address of a group",
            Drop::NdMalformed,
            message(135, 0, SERVER_V6, &mac(1, [3, 0, 0, 0, 0, 1])),
        )
        .differs("nothing is learned that would be sent to many"),
        Row::new("ND: another's address is asked for", Drop::NdNotOurs, solicit("fd00::77")),
        Row::new(
            "ND: a redirect, of a station that is no router of ours",
            Drop::NdRedirect,
            seal_icmp6(with(with(build.icmp6(&redirect), IP + 7, &[255]), IP + 8, &v6("fe80::9"))),
        ),
        Row::new("ND: another station has our address", Drop::NdConflict, message(136, 0x20, SERVER_V6, &mac(2, rival))),
    ]
}
