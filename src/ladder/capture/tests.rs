use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::*;
use crate::ladder::text::{Look, render};
use crate::limits::{CAPTURE_FLOWS, CAPTURE_STEPS};
use crate::tcp::State;
use crate::tcp::seq::SeqNum;
use crate::time::Instant;
use crate::wire::checksum::PseudoHeader;
use crate::wire::ethernet::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Mac};
use crate::wire::tcp::{self, Flags, Header, Options};
use crate::wire::vlan::{Tag, Vlan};
use crate::wire::{icmpv4, ipv4, ipv6, udp};

/// An IP packet with a segment in it, `len` bytes of data; its checksum is wrong, as an offload leaves it.
fn segment(from: &str, to: &str, flags: Flags, seq: u32, ack: u32, len: usize) -> Vec<u8> {
    let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let options = Options { mss: flags.contains(Flags::SYN).then_some(1460), ..Options::default() };
    let header = Header {
        source_port: from.port(),
        target_port: to.port(),
        seq: SeqNum(seq),
        ack: SeqNum(ack),
        flags,
        window: 1000,
        urgent: 0,
        options,
    };
    let pseudo = PseudoHeader { source: from.ip().into(), target: to.ip().into(), protocol: 6 };
    let mut bytes = vec![0; tcp::header_len(&options) + len];
    tcp::emit(&mut bytes, &header, len, &pseudo);
    bytes[16] ^= 0x55;
    packet(from.ip(), to.ip(), 6, &bytes)
}

fn packet(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; if from.is_ipv4() { 20 } else { 40 }];
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4::emit(&mut bytes, &ipv4::Ipv4::outgoing(from, to, protocol, payload.len())),
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6::emit(&mut bytes, &ipv6::Ipv6::outgoing(from, to, protocol, payload.len())),
        _ => panic!("two families"),
    };
    [bytes, payload.to_vec()].concat()
}

/// A handshake, 5 bytes and a reset.
fn talk(from: &str, to: &str) -> Vec<Vec<u8>> {
    let (syn, ack, rst) = (Flags::SYN, Flags::ACK, Flags::RST);
    vec![
        segment(from, to, syn, 99, 0, 0),
        segment(to, from, syn | ack, 299, 100, 0),
        segment(from, to, ack, 100, 300, 0),
        segment(from, to, ack, 100, 300, 5),
        segment(to, from, ack, 300, 105, 0),
        segment(from, to, rst, 105, 0, 0),
    ]
}

/// A packet as a capture of this link type has it.
fn framed(link: u32, vlan: Vlan, packet: &[u8]) -> Vec<u8> {
    let ethertype = if packet[0] >> 4 == 4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
    let mut head = match link {
        1 => {
            let mut head = vec![0; 22];
            let header = Ethernet { target: Mac([2; 6]), source: Mac([4; 6]), vlan, ethertype };
            head.truncate(ethernet::emit(&mut head.clone(), &header));
            ethernet::emit(&mut head, &header);
            head
        }
        113 => [vec![0; 14], ethertype.to_be_bytes().to_vec()].concat(),
        276 => [ethertype.to_be_bytes().to_vec(), vec![0; 18]].concat(),
        0 => vec![2, 0, 0, 0],
        _ => Vec::new(),
    };
    head.extend(packet);
    head
}

/// A pcap file, its packets a millisecond apart and cut to so many bytes.
fn pcap(link: u32, nanoseconds: bool, big: bool, snap: usize, frames: &[Vec<u8>]) -> Vec<u8> {
    let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let half = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let magic = if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let mut file = [&word(magic)[..], &half(2), &half(4), &word(0), &word(0), &word(snap as u32), &word(link)].concat();
    for (nth, frame) in frames.iter().enumerate() {
        let fraction = nth as u32 * if nanoseconds { 1_000_000 } else { 1000 };
        let taken = &frame[..frame.len().min(snap)];
        file.extend([word(7), word(fraction), word(taken.len() as u32), word(frame.len() as u32)].concat());
        file.extend(taken);
    }
    file
}

/// A pcapng file of one section; the interface says how fine its times are, or does not.
fn pcapng(link: u16, resolution: Option<u8>, frames: &[Vec<u8>]) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let len = (body.len() as u32 + 12).to_le_bytes();
        [&kind.to_le_bytes()[..], &len, &body, &len].concat()
    };
    let section = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    let mut interface = [&link.to_le_bytes()[..], &[0; 2], &0_u32.to_le_bytes()].concat();
    if let Some(resolution) = resolution {
        interface.extend([9, 0, 1, 0, resolution, 0, 0, 0, 0, 0, 0, 0]);
    }
    let mut file = [block(0x0a0d_0d0a, &section), block(1, &interface)].concat();
    // A block with names of hosts, which nobody looks into: this one lies about its length.
    file.extend(block(4, &[1, 0, 5, 0, 10, 0, 0, 1, b'x']));
    for (nth, frame) in frames.iter().enumerate() {
        let units = nth as u64 * if resolution == Some(9) { 1_000_000 } else { 1000 };
        let (high, low) = ((units >> 32) as u32, units as u32);
        let len = frame.len() as u32;
        let head: Vec<u8> = [0, high, low, len, len].iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
        file.extend(block(6, &[head, frame.clone()].concat()));
    }
    file
}

/// Asserts that a file holds the talk, and nothing else; gives it.
fn assert_talk(file: &[u8], what: &str) -> Found {
    let found = Found::read(file, Choice::All).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!((found.flows.len(), found.unread, found.cut), (1, 0, false), "{what}");
    let exchange = &found.flows[0].exchange;
    let times: Vec<_> = exchange.steps.iter().map(|step| step.at.since(exchange.steps[0].at).as_millis()).collect();
    assert_eq!(times, [0, 1, 2, 3, 4, 5], "{what}");
    assert_eq!(exchange.ends[0].port(), 40_000, "{what}");
    assert_eq!(exchange.steps[3].as_segment().unwrap().len, 5, "{what}");
    assert_eq!(exchange.steps[4].states, [Some(State::Established); 2], "{what}");
    assert_eq!(exchange.steps[5].states, [Some(State::Closed); 2], "{what}");
    found
}

#[test]
fn every_link_type_and_kind_of_file_holds_the_same_talk() {
    let plain = [Vlan::NONE].to_vec();
    let tagged = [Vlan::NONE, Vlan::tagged(Tag::c(7)), Vlan::stacked(Tag::s(7), Tag::c(9))].to_vec();
    for (from, to) in [("10.0.0.1:40000", "10.0.0.2:7"), ("[fd00::1]:40000", "[fd00::2]:7")] {
        for link in [0, 1, 12, 101, 113, 276] {
            for vlan in if link == 1 { &tagged } else { &plain } {
                let frames: Vec<_> = talk(from, to).iter().map(|packet| framed(link, *vlan, packet)).collect();
                for (nanoseconds, big) in [(false, false), (true, false), (false, true), (true, true)] {
                    let file = pcap(link, nanoseconds, big, 65_535, &frames);
                    assert_talk(&file, &format!("link {link}, {vlan:?}, ns {nanoseconds}, big {big}"));
                }
                for resolution in [None, Some(6), Some(9)] {
                    assert_talk(&pcapng(link as u16, resolution, &frames), &format!("link {link}, {vlan:?}, {resolution:?}"));
                }
            }
        }
    }
}

#[test]
fn packets_that_were_cut_short_keep_their_length() {
    let mut packets = talk("10.0.0.1:40000", "10.0.0.2:7");
    packets.push(segment("10.0.0.2:7", "10.0.0.1:40000", Flags::ACK, 300, 105, 1400));
    let frames: Vec<_> = packets.iter().map(|packet| framed(1, Vlan::NONE, packet)).collect();
    let found = Found::read(&pcap(1, false, false, 58, &frames)[..], Choice::All).unwrap();
    let lens: Vec<_> = found.flows[0].exchange.segments().map(|(.., segment)| segment.len).collect();
    assert_eq!((lens, found.unread), (vec![0, 0, 0, 5, 0, 0, 1400], 0));
}

#[test]
fn a_tag_behind_a_cooked_header_is_gone_over() {
    let packet = segment("10.0.0.1:40000", "10.0.0.2:7", Flags::SYN, 1, 0, 0);
    let frame = [&[0; 14][..], &[0x81, 0, 0, 7], &ETHERTYPE_IPV4.to_be_bytes(), &packet].concat();
    assert!(Packet::read(Link::Cooked, &frame, frame.len()).is_some());
    for cut in 0..frame.len() {
        // Cut anywhere it is no packet, or one whose end is not there.
        assert!(Packet::read(Link::Cooked, &frame[..cut], cut).is_none(), "{cut}");
    }
}

#[test]
fn a_port_that_is_used_again_begins_another_connection() {
    let (from, to) = ("10.0.0.1:40000", "10.0.0.2:7");
    let mut packets = talk(from, to);
    packets.extend(talk(from, to));
    // The second begins behind a reset; a third one without an end in between, by another number.
    packets.push(segment(from, to, Flags::SYN, 5000, 0, 0));
    let found = Found::read(&pcap(101, false, false, 65_535, &packets)[..], Choice::Port(7)).unwrap();
    let steps: Vec<_> = found.flows.iter().map(|flow| flow.exchange.steps.len()).collect();
    assert_eq!(steps, [12, 1], "the same number again is the same SYN");
    let mut other = talk(from, to);
    other.push(segment(from, to, Flags::SYN, 7000, 0, 0));
    other.push(segment(to, from, Flags::RST | Flags::ACK, 0, 7001, 0));
    let found = Found::read(&pcap(101, false, false, 65_535, &other)[..], Choice::All).unwrap();
    assert_eq!(found.flows[1].exchange.steps[0].states, [Some(State::SynSent), Some(State::Closed)]);
}

#[test]
fn an_answer_that_comes_first_stands_at_the_right() {
    let (client, server) = ("10.0.0.1:40000", "10.0.0.2:7");
    let packets =
        [segment(server, client, Flags::SYN | Flags::ACK, 299, 100, 0), segment(client, server, Flags::ACK, 100, 300, 0)];
    let found = Found::read(&pcap(101, false, false, 65_535, &packets)[..], Choice::All).unwrap();
    let exchange = &found.flows[0].exchange;
    assert_eq!((exchange.ends[0].to_string(), exchange.begin), (client.to_owned(), [Some(State::SynSent), Some(State::Listen)]));
}

#[test]
fn errors_of_icmp_belong_to_what_they_quote() {
    let (from, to): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let mut datagram = [&[0; 8][..], b"hello"].concat();
    let pseudo = PseudoHeader { source: from.into(), target: to.into(), protocol: 17 };
    udp::emit(&mut datagram, 40_000, 9, &pseudo);
    let sent = packet(from, to, 17, &datagram);
    let mut error = vec![0; 8 + sent.len()];
    let len = icmpv4::emit_unreachable(&mut error, icmpv4::CODE_PORT, &sent);
    let answer = packet(to, from, 1, &error[..len]);
    let found = Found::read(&pcap(101, false, false, 65_535, &[sent, answer])[..], Choice::All).unwrap();
    assert_eq!(found.flows.len(), 1);
    let drawn = render(&found.flows[0].exchange, &Look::default());
    assert!(drawn.contains("datagram len=5") && drawn.contains("ICMP port unreachable ─│"), "{drawn}");
}

#[test]
fn only_what_is_chosen_is_kept() {
    let mut packets = talk("10.0.0.1:40000", "10.0.0.2:7");
    packets.extend(talk("10.0.0.1:40001", "10.0.0.2:80"));
    let file = pcap(101, false, false, 65_535, &packets);
    let flows = |choice| Found::read(&file[..], choice).unwrap().flows.len();
    let ends = |from: &str, to: &str| Choice::Ends(from.parse().unwrap(), to.parse().unwrap());
    assert_eq!([flows(Choice::All), flows(Choice::Port(80)), flows(Choice::Port(81))], [2, 1, 0]);
    assert_eq!(flows(ends("10.0.0.2:7", "10.0.0.1:40000")), 1);
    assert_eq!(flows(ends("10.0.0.2:80", "10.0.0.1:40000")), 0);
}

#[test]
fn a_flood_is_counted_and_not_kept() {
    let beyond = 10;
    let packets = vec![segment("10.0.0.1:40000", "10.0.0.2:7", Flags::RST, 1, 0, 0); CAPTURE_STEPS + beyond];
    let found = Found::read(&pcap(101, false, false, 65_535, &packets)[..], Choice::All).unwrap();
    let [flow] = &found.flows[..] else { panic!("one connection") };
    assert_eq!((flow.exchange.steps.len(), flow.left_out), (CAPTURE_STEPS, beyond as u64));
    // One that begins beyond the bound: of no segment there is nothing to tell, not even that it is open.
    let late = [packets, vec![segment("10.0.0.1:40001", "10.0.0.2:7", Flags::SYN, 1, 0, 0)]].concat();
    let found = Found::read(&pcap(101, false, false, 65_535, &late)[..], Choice::All).unwrap();
    assert_eq!((found.flows[1].exchange.begin, found.flows[1].left_out), ([None; 2], 1));
    let strangers = (0..CAPTURE_FLOWS + beyond).map(|nth| {
        let from = SocketAddr::from(([10, 0, (nth >> 8) as u8, nth as u8], 1));
        segment(&from.to_string(), "10.1.0.2:7", Flags::SYN, 1, 0, 0)
    });
    let found = Found::read(&pcap(101, false, false, 65_535, &strangers.collect::<Vec<_>>())[..], Choice::All).unwrap();
    assert_eq!((found.flows.len(), found.left_out), (CAPTURE_FLOWS, beyond as u64));
}

#[test]
fn what_is_no_capture_says_so_and_one_that_ends_early_is_read_so_far() {
    for (bytes, why) in [(&b""[..], "empty"), (&b"GIF89a..."[..], "neither"), (&[0xa1, 0xb2, 0xc3, 0xd4, 0][..], "")] {
        let error = Found::read(bytes, Choice::All).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let file = pcap(101, false, false, 65_535, &talk("10.0.0.1:40000", "10.0.0.2:7"));
    let found = Found::read(&file[..file.len() - 3], Choice::All).unwrap();
    assert_eq!((found.packets, found.cut), (5, true));
    // Bytes that do not fit the reader's buffer are no end.
    let big = pcap(101, false, false, 0x7fff_ffff, &[vec![0; 9_000_000], vec![0; 60]]);
    let error = Found::read(&big[..], Choice::All).unwrap_err().to_string();
    assert!(error.contains("larger than 8 MB"), "{error}");
    let strange = pcap(105, false, false, 65_535, &talk("10.0.0.1:40000", "10.0.0.2:7"));
    let found = Found::read(&strange[..], Choice::All).unwrap();
    assert_eq!((found.unread, found.unknown_link), (6, Some(105)));
}

#[test]
fn times_have_the_resolution_that_the_interface_says() {
    let frames = [
        segment("10.0.0.1:40000", "10.0.0.2:7", Flags::SYN, 1, 0, 0),
        segment("10.0.0.1:40000", "10.0.0.2:7", Flags::SYN, 1, 0, 0),
    ];
    // 1000 units of 1/1024 s; and of a power that no clock has.
    for (resolution, ns) in [(0x80 | 10, 976_562_500), (127, 0), (255, 0)] {
        let found = Found::read(&pcapng(101, Some(resolution), &frames)[..], Choice::All).unwrap();
        let steps = &found.flows[0].exchange.steps;
        assert_eq!(steps[1].at, Instant::from_ns(ns), "{resolution}");
    }
}

proptest! {
    // The reader has a buffer of 8 MB, so the cases are few.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_file_makes_it_panic(
        ng in any::<bool>(), big in any::<bool>(), link in prop::sample::select(vec![0u32, 1, 101, 113, 276]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12), cut in any::<prop::sample::Index>(),
        rest in prop::collection::vec(any::<u8>(), 0..64), v6 in any::<bool>(),
    ) {
        let (from, to) = if v6 { ("[fd00::1]:40000", "[fd00::2]:7") } else { ("10.0.0.1:40000", "10.0.0.2:7") };
        let frames: Vec<_> = talk(from, to).iter().map(|packet| framed(link, Vlan::tagged(Tag::c(7)), packet)).collect();
        let mut file = if ng { pcapng(link as u16, Some(9), &frames) } else { pcap(link, false, big, 65_535, &frames) };
        // Behind the magic: a file that is none is another test.
        for (at, value) in changes {
            let at = 4 + at.index(file.len() - 4);
            file[at] = value;
        }
        file.truncate(4 + cut.index(file.len() * 2).min(file.len() - 4));
        file.extend(rest);
        if let Ok(found) = Found::read(&file[..], Choice::All) {
            for flow in &found.flows {
                render(&flow.exchange, &Look::default());
            }
        }
    }
}

proptest! {
    #[test]
    fn no_packet_makes_it_panic(link in 0u32..300, bytes in prop::collection::vec(any::<u8>(), 0..120), len in 0usize..200_000) {
        for link in [Link::of(link), Some(Link::Raw), Some(Link::Ethernet)].into_iter().flatten() {
            let _ = Packet::read(link, &bytes, len);
        }
    }
}
