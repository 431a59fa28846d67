//! Lies of the IPv4 header, of its fragments and of ICMP.

use ringway::device::Drop;
use ringway::limits;

use super::Row;
use super::build::{BEHIND_4, Build, IP, with, with_ip4};
use crate::frame::checksum;

const UDP: u8 = 17;
/// Code points of ECN: could be marked, and has been.
const ECT_0: u8 = 2;
const CE: u8 = 3;
/// More fragments follow.
const MORE: u16 = 0x2000;

pub(super) fn rows(build: &Build) -> Vec<Row> {
    let udp = || build.udp4(40_000, 7);
    let header = |at: usize, bytes: &[u8]| with_ip4(udp(), IP + at, bytes);
    let from = |source: [u8; 4]| header(12, &source);
    let options = |options: [u8; 4]| {
        let mut frame = udp();
        frame.splice(BEHIND_4..BEHIND_4, options);
        let len = (frame.len() - IP) as u16;
        with_ip4(with(frame, IP, &[0x46]), IP + 2, &len.to_be_bytes())
    };
    let ping = || build.ping(9999);
    let error = |kind: u8, code: u8| {
        let quoted = build.udp4(7, 40_000);
        build.icmp4(&[&[kind, code, 0, 0, 0, 0, 0, 0][..], &quoted[IP..]].concat())
    };
    let mut rows = vec![
        Row::new("IPv4: version 6", Drop::Ipv4HeaderMalformed, header(0, &[0x65])),
        Row::new("IPv4: a header of 4 words", Drop::Ipv4HeaderMalformed, with(udp(), IP, &[0x44])),
        Row::new("IPv4: a header longer than the packet", Drop::Ipv4Truncated, with(udp(), IP, &[0x4f])),
        Row::new("IPv4: shorter than its header", Drop::Ipv4LengthLies, header(2, &[0, 19])),
        Row::new("IPv4: longer than the frame", Drop::Ipv4LengthLies, header(2, &[0xff, 0xff])),
        Row::new("IPv4: a wrong checksum", Drop::Ipv4Checksum, with(udp(), IP + 10, &[0x12, 0x34])),
        Row::new("IPv4: from loopback", Drop::Ipv4SourceInvalid, from([127, 0, 0, 1])),
        Row::new("IPv4: from a group", Drop::Ipv4SourceInvalid, from([224, 0, 0, 1])),
        Row::new("IPv4: from everybody", Drop::Ipv4SourceInvalid, from([255; 4])),
        Row::new("IPv4: from everybody on the link", Drop::Ipv4SourceInvalid, from([10, 0, 0, 255])),
        Row::new("IPv4: from nobody", Drop::Ipv4SourceInvalid, from([0; 4])),
        Row::new("IPv4: from ourselves", Drop::Ipv4SourceInvalid, from([10, 0, 0, 2])),
        Row::served("IPv4: an option of no length", options([7, 0, 0, 0]))
            .differs("options are passed over unread: none is known here"),
        Row::served("IPv4: an option longer than the header", options([7, 9, 4, 0]))
            .differs("options are passed over unread: none is known here"),
        Row::served("IPv4: an option nobody knows", options([0x9e, 4, 0, 0])),
        Row::new("IPv4: a protocol nobody serves", Drop::ProtocolUnknown, build.ip4(132, &[0; 32])),
        Row::new("ICMP: shorter than its header", Drop::IcmpTruncated, build.ip4(1, &[8, 0, 0xf7, 0xff, 0, 0, 0])),
        Row::new("ICMP: a wrong checksum", Drop::IcmpChecksum, with(ping(), BEHIND_4 + 2, &[0x12, 0x34])),
        Row::new("ICMP: an answer that nobody asked for", Drop::IcmpIgnored, build.icmp4(&[0, 0, 0, 0, 1, 2, 3, 4])),
        Row::new("ICMP: a type that nobody knows", Drop::IcmpIgnored, build.icmp4(&[77, 0, 0, 0, 0, 0, 0, 0])),
        Row::new(
            "ICMP: the time of day",
            Drop::IcmpIgnored,
            build.icmp4(&[[13, 0, 0, 0], [0; 4], [0; 4], [0; 4], [0; 4]].concat()),
        )
        .differs("RFC 1122 3.2.2.8 leaves it to the host, and it tells of the clock"),
        Row::new("ICMP: a redirect", Drop::IcmpIgnored, error(5, 1)),
    ];
    rows.extend(fragments(build));
    rows
}

/// Fragments of one ping of 48 bytes and its header, unless they lie.
fn fragments(build: &Build) -> Vec<Row> {
    let mut ping = [&[8, 0, 0, 0, 9, 9, 9, 9][..], &[7; 48]].concat();
    let sum = checksum(&ping);
    ping[2..4].copy_from_slice(&sum.to_be_bytes());
    let part = |id: u16, at: u16, more: u16, bytes: &[u8]| {
        let frame = with(build.ip4(1, bytes), IP + 4, &id.to_be_bytes());
        with_ip4(frame, IP + 6, &((at / 8) | more).to_be_bytes())
    };
    let fine = |id, from: usize, to: usize| part(id, from as u16, if to < 56 { MORE } else { 0 }, &ping[from..to]);
    let marked = |mark: u8, frame| with_ip4(frame, IP + 1, &[mark]);
    let malformed = |lie, frame| Row::new(lie, Drop::Ipv4FragmentMalformed, frame);
    let row = |lie, cause, frames| Row::new(lie, cause, Vec::new()).frames(frames);
    vec![
        malformed("IPv4 fragment: not the last, and of 12 bytes", part(1, 0, MORE, &ping[..12])),
        malformed("IPv4 fragment: ends beyond 65,535 bytes", with_ip4(build.ip4(UDP, &[0; 32]), IP + 6, &[0x1f, 0xff])),
        row("IPv4 fragment: the same twice", Drop::FragmentDuplicate, vec![fine(2, 0, 24), fine(2, 0, 24), fine(2, 24, 56)]),
        row("IPv4 fragment: overlaps another", Drop::FragmentOverlap, vec![fine(3, 0, 24), fine(3, 16, 40), fine(3, 24, 56)]),
        row("IPv4 fragment: two ends", Drop::FragmentEndLies, vec![fine(4, 24, 56), part(4, 56, 0, &[7; 8]), fine(4, 0, 24)]),
        row(
            "IPv4 fragment: marked, where others could not be",
            Drop::FragmentEcnMixed,
            vec![marked(CE, fine(5, 0, 24)), fine(5, 24, 56)],
        ),
        Row::served("IPv4 fragment: could be marked, where others could not", Vec::new())
            .frames(vec![marked(ECT_0, fine(7, 0, 24)), fine(7, 24, 56)])
            .differs("nobody has marked it: nothing is lost (RFC 3168 5.3 leaves it to the host)"),
        row(
            "IPv4 fragment: too many of one packet",
            Drop::FragmentTooMany,
            (0..=limits::FRAGMENTS_PER_DATAGRAM as u16).map(|n| part(6, 8 * n, MORE, &[0; 8])).collect(),
        ),
    ]
}
