//! Tests of the TCP header: every lie, round trips, and what an independent parser reads.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{TcpOptionElement, TcpSlice};
use proptest::prelude::*;

use super::*;
use crate::wire::ipv4::PROTOCOL_TCP;

const SOURCE: [u8; 4] = [10, 0, 0, 1];
const TARGET: [u8; 4] = [10, 0, 0, 2];

fn pseudo() -> PseudoHeader {
    PseudoHeader { source: Ipv4Addr::from(SOURCE).into(), target: Ipv4Addr::from(TARGET).into(), protocol: PROTOCOL_TCP }
}

fn header(options: Options) -> Header {
    Header {
        source_port: 40_000,
        target_port: 7,
        seq: SeqNum(u32::MAX - 1),
        ack: SeqNum(5),
        flags: Flags::ACK | Flags::PSH,
        window: 64_240,
        urgent: 0,
        options,
    }
}

/// The bytes of a segment, its payload put where [`header_len`] says.
fn build(header: &Header, payload: &[u8]) -> Vec<u8> {
    let at = header_len(&header.options);
    let mut bytes = vec![0xee; at];
    bytes.extend(payload);
    assert_eq!(emit(&mut bytes, header, payload.len(), &pseudo()), at);
    bytes
}

/// A segment with options as given, byte by byte, padded with zeros to a whole number of words.
fn with_options(options: &[u8]) -> Vec<u8> {
    let mut bytes = build(&header(Options::default()), b"");
    bytes.extend(options);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes[12] = (bytes.len() as u8 / 4) << 4;
    bytes.extend(b"data");
    fill(&mut bytes);
    bytes
}

/// Makes the checksum right.
fn fill(bytes: &mut [u8]) {
    bytes[16..18].fill(0);
    let sum = !checksum::fold(checksum::sum(bytes, pseudo().sum(bytes.len())));
    bytes[16..18].copy_from_slice(&sum.to_be_bytes());
}

fn options_of(bytes: &[u8]) -> Options {
    let bytes = with_options(bytes);
    let (_, segment) = parse(&bytes, &pseudo()).expect("options never fail a segment");
    assert_eq!(segment.payload, b"data");
    segment.options
}

fn block(left: u32, right: u32) -> SackBlock {
    SackBlock { left: SeqNum(left), right: SeqNum(right) }
}

#[test]
fn a_segment_cut_in_its_header_is_truncated_and_behind_it_has_a_wrong_sum() {
    let bytes = build(&header(Options { timestamps: Some((1, 2)), ..Options::default() }), b"ping");
    for cut in 0..bytes.len() {
        let why = if cut < 32 { Drop::TcpTruncated } else { Drop::TcpChecksum };
        assert_eq!(parse(&bytes[..cut], &pseudo()).unwrap_err(), why, "cut at {cut}");
    }
    assert_eq!(parse(&bytes, &pseudo()).unwrap().1.payload, b"ping");
}

#[test]
fn an_offset_below_the_header_is_malformed_and_beyond_the_segment_truncated() {
    for words in 0..16u8 {
        let mut bytes = build(&header(Options::default()), b"four");
        bytes[12] = words << 4;
        fill(&mut bytes);
        let expected = match words {
            0..5 => Err(Drop::TcpOffsetMalformed),
            5 => Ok(4),
            6 => Ok(0),
            _ => Err(Drop::TcpTruncated),
        };
        assert_eq!(parse(&bytes, &pseudo()).map(|(_, segment)| segment.payload.len()), expected, "{words} words");
    }
}

//= type=test
//= rfc9293#3.1
//# The sender MUST generate it (MUST-2) and the receiver MUST check it (MUST-3).
#[test]
fn every_wrong_bit_is_found() {
    let good = build(&header(Options { timestamps: Some((1, 2)), ..Options::default() }), b"odd");
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(parse(&bytes, &pseudo()).is_err(), "bit {bit}");
    }
    let elsewhere = PseudoHeader { source: Ipv4Addr::new(10, 0, 0, 9).into(), ..pseudo() };
    assert_eq!(parse(&good, &elsewhere).unwrap_err(), Drop::TcpChecksum);
}

#[test]
fn a_checksum_left_to_an_offload_has_its_own_name() {
    let mut bytes = build(&header(Options::default()), b"ping");
    bytes[16..18].copy_from_slice(&checksum::fold(pseudo().sum(24)).to_be_bytes());
    assert_eq!(parse(&bytes, &pseudo()).unwrap_err(), Drop::ChecksumUnfilled);
}

#[test]
fn no_port_may_be_zero() {
    for (source_port, target_port) in [(0, 7), (7, 0), (0, 0)] {
        let bytes = build(&Header { source_port, target_port, ..header(Options::default()) }, b"");
        assert_eq!(parse(&bytes, &pseudo()).unwrap_err(), Drop::TcpPortZero);
    }
}

#[test]
fn reserved_bits_are_ignored() {
    let mut bytes = build(&header(Options::default()), b"ping");
    bytes[12] |= 0x0f;
    fill(&mut bytes);
    assert_eq!(parse(&bytes, &pseudo()).unwrap().1.payload, b"ping");
}

#[test]
fn the_acknowledgment_is_written_with_its_bit_only() {
    let without = Header { flags: Flags::RST, ..header(Options::default()) };
    assert_eq!(parse(&build(&without, b""), &pseudo()).unwrap().1.ack, SeqNum(0));
    assert_eq!(parse(&build(&header(Options::default()), b""), &pseudo()).unwrap().1.ack, SeqNum(5));
}

//= type=test
//= rfc9293#3.1
//# TCP implementations MUST be
//# prepared to handle an illegal option length (e.g., zero); a
//# suggested procedure is to reset the connection and log the error
//# cause (MUST-7).
#[test]
fn an_illegal_length_ends_the_options_and_keeps_what_stood_before() {
    let scale = Options { window_scale: Some(7), ..Options::default() };
    for tail in [&[8, 0, 2, 4, 5, 0xb4][..], &[8, 1, 2, 4, 5, 0xb4], &[254, 0xff, 2, 4, 5, 0xb4], &[2, 90, 5, 0xb4]] {
        assert_eq!(options_of(&[&[3, 3, 7], tail].concat()), scale, "{tail:?}");
    }
    // The kind is the last byte of the header, so that its length is not there.
    assert_eq!(options_of(&[3, 3, 7, 2]), scale);
}

//= type=test
//= rfc9293#3.1
//# A TCP implementation MUST (MUST-6) ignore without error
//# any TCP Option it does not implement, assuming that the option has a
//# length field.
#[test]
fn unknown_options_and_known_ones_of_a_wrong_length_are_skipped() {
    let mss = Options { mss: Some(1460), ..Options::default() };
    for head in [
        &[34, 2][..],
        &[30, 5, 1, 2, 3],
        &[254, 4, 0xf9, 0x89],
        &[6, 6, 0, 0, 0, 0],
        &[3, 4, 7, 7],
        &[4, 3, 0],
        &[8, 8, 0, 0, 0, 1, 0, 0],
        &[5, 9, 0, 0, 0, 1, 0, 0, 0],
    ] {
        assert_eq!(options_of(&[head, &[2, 4, 5, 0xb4]].concat()), mss, "{head:?}");
    }
}

//= type=test
//= rfc9293#3.1
//# the following options MUST be supported (MUST-4
//= type=test
//= rfc9293#3.1
//# receivers
//# MUST be prepared to process options even if they do not
//# begin on a word boundary (MUST-64).
#[test]
fn options_may_begin_anywhere_and_end_early() {
    let expected = Options { mss: Some(536), window_scale: Some(255), sack_permitted: true, ..Options::default() };
    assert_eq!(options_of(&[1, 2, 4, 2, 24, 4, 2, 1, 1, 3, 3, 255]), expected);
    assert_eq!(options_of(&[2, 4, 2, 24, 4, 2, 3, 3, 255, 0, 2, 4, 9, 9]), expected, "nothing counts behind the end of the list");
}

//= type=test
//= rfc9293#3.1
//# A TCP implementation MUST be able to receive a TCP Option in any segment (MUST-5).
#[test]
fn sack_blocks_are_read_up_to_four() {
    let mut bytes = vec![5, 34];
    for n in 0..4u32 {
        bytes.extend((n * 100).to_be_bytes());
        bytes.extend((n * 100 + 50).to_be_bytes());
    }
    let options = options_of(&bytes);
    assert_eq!(options.sack_blocks(), [block(0, 50), block(100, 150), block(200, 250), block(300, 350)]);
    assert_eq!(options_of(&[5, 2]).sack_blocks(), []);
}

//= type=test
//= rfc9293#3.1
//# All TCP Options except End of Option List Option (EOL) and No-Operation (NOP) MUST have length fields, including all future
//# options (MUST-68)
#[test]
fn options_stand_in_the_order_of_linux() {
    let syn = Options {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some((0x0102_0304, 0)),
        ..Options::default()
    };
    assert_eq!(build(&header(syn), b"")[20..], [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7]);
    let plain = Options { timestamps: None, window_scale: None, ..syn };
    assert_eq!(build(&header(plain), b"")[20..], [2, 4, 5, 0xb4, 1, 1, 4, 2]);

    let mut ack = Options { timestamps: Some((1, 2)), sack_count: 1, ..Options::default() };
    ack.sack[0] = block(u32::MAX, 9);
    assert_eq!(
        build(&header(ack), b"")[20..],
        [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 5, 10, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 9]
    );
}

#[test]
fn blocks_that_do_not_fit_are_left_out_last_first() {
    let mut options = Options { timestamps: Some((1, 2)), sack_count: 4, ..Options::default() };
    options.sack = [block(1, 2), block(3, 4), block(5, 6), block(7, 8)];
    assert_eq!(header_len(&options), 60);
    let bytes = build(&header(options), b"x");
    assert_eq!(parse(&bytes, &pseudo()).unwrap().1.options.sack_blocks(), &options.sack[..3]);
    let without = Options { timestamps: None, ..options };
    assert_eq!(header_len(&without), 56);
    assert_eq!(parse(&build(&header(without), b"x"), &pseudo()).unwrap().1.options, without);
}

#[test]
fn what_does_not_fit_is_not_written() {
    let header = header(Options { timestamps: Some((1, 2)), ..Options::default() });
    for len in [0, 19, 20, 31, 35] {
        let mut bytes = vec![0x55; len];
        assert_eq!(emit(&mut bytes, &header, 4, &pseudo()), 0);
        assert!(bytes.iter().all(|&byte| byte == 0x55), "{len}");
    }
    assert_eq!(emit(&mut [0; 64], &header, usize::MAX, &pseudo()), 0);
}

prop_compose! {
    fn any_options()(mss in any::<Option<u16>>(), window_scale in any::<Option<u8>>(), sack_permitted in any::<bool>(),
                     timestamps in any::<Option<(u32, u32)>>(), blocks in proptest::collection::vec(any::<(u32, u32)>(), 0..=4)) -> Options {
        let mut options = Options { mss, window_scale, sack_permitted, timestamps, sack_count: blocks.len() as u8, ..Options::default() };
        for (place, (left, right)) in options.sack.iter_mut().zip(blocks) {
            *place = block(left, right);
        }
        options
    }
}

prop_compose! {
    fn headers()(source_port in 1u16.., target_port in 1u16.., seq in any::<u32>(), ack in any::<u32>(), flags in any::<u8>(),
                 window in any::<u16>(), options in any_options()) -> Header {
        Header { source_port, target_port, seq: SeqNum(seq), ack: SeqNum(ack), flags: Flags(flags), window, urgent: 0, options }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(header in headers(), payload in proptest::collection::vec(any::<u8>(), 0..100)) {
        let bytes = build(&header, &payload);
        let (ports, segment) = parse(&bytes, &pseudo()).unwrap();
        prop_assert_eq!((ports.source, ports.target), (header.source_port, header.target_port));
        let ack = if header.flags.contains(Flags::ACK) { header.ack } else { SeqNum(0) };
        prop_assert_eq!((segment.seq, segment.ack, segment.flags, segment.window), (header.seq, ack, header.flags, header.window));
        prop_assert_eq!((segment.urgent, segment.payload), (0, &payload[..]));
        // All options come back, except the blocks that did not fit.
        let fits = segment.options.sack_blocks().len();
        prop_assert_eq!(segment.options.sack_blocks(), &header.options.sack_blocks()[..fits]);
        prop_assert!(fits == header.options.sack_blocks().len() || header_len(&header.options) + 8 > 60);
        let without = |options: Options| Options { sack: Default::default(), sack_count: 0, ..options };
        prop_assert_eq!(without(segment.options), without(header.options));
    }

    //= type=test
    //= rfc9293#3.1
    //# The content of the header beyond the End of Option List Option MUST be header padding of zeros (MUST-69).
    #[test]
    fn others_read_the_same(header in headers(), payload in proptest::collection::vec(any::<u8>(), 0..100)) {
        let bytes = build(&header, &payload);
        let other = TcpSlice::from_slice(&bytes).unwrap();
        prop_assert_eq!(other.checksum(), other.calc_checksum_ipv4(SOURCE, TARGET).unwrap());
        prop_assert_eq!((other.source_port(), other.destination_port()), (header.source_port, header.target_port));
        prop_assert_eq!((other.sequence_number(), other.window_size(), other.payload()), (header.seq.0, header.window, &payload[..]));
        let flags = [other.fin(), other.syn(), other.rst(), other.psh(), other.ack(), other.urg(), other.ece(), other.cwr()];
        prop_assert_eq!(flags.iter().rev().fold(0, |bits, &bit| bits << 1 | u8::from(bit)), header.flags.0);
        let mut read = Options::default();
        for option in other.options_iterator() {
            match option.unwrap() {
                TcpOptionElement::Noop => {}
                TcpOptionElement::MaximumSegmentSize(mss) => read.mss = Some(mss),
                TcpOptionElement::WindowScale(shift) => read.window_scale = Some(shift),
                TcpOptionElement::SelectiveAcknowledgementPermitted => read.sack_permitted = true,
                TcpOptionElement::Timestamp(value, echo) => read.timestamps = Some((value, echo)),
                TcpOptionElement::SelectiveAcknowledgement(first, others) => {
                    for (left, right) in std::iter::once(first).chain(others.into_iter().flatten()) {
                        read.sack[usize::from(read.sack_count)] = block(left, right);
                        read.sack_count += 1;
                    }
                }
            }
        }
        prop_assert_eq!(read, parse(&bytes, &pseudo()).unwrap().1.options);
    }

    #[test]
    fn over_ipv6_others_find_the_checksum_right(header in headers(), ips in any::<[[u8; 16]; 2]>()) {
        let pseudo = PseudoHeader {
            source: Ipv6Addr::from(ips[0]).into(), target: Ipv6Addr::from(ips[1]).into(), protocol: PROTOCOL_TCP,
        };
        let mut bytes = vec![7; header_len(&header.options) + 9];
        emit(&mut bytes, &header, 9, &pseudo);
        prop_assert!(parse(&bytes, &pseudo).is_ok());
        let other = TcpSlice::from_slice(&bytes).unwrap();
        prop_assert_eq!(other.checksum(), other.calc_checksum_ipv6(ips[0], ips[1]).unwrap());
    }

    #[test]
    fn the_short_way_through_options_is_the_long_one(value in any::<u32>(), echo in any::<u32>()) {
        let mut bytes = [0; 12];
        options::emit(&mut bytes, &Options { timestamps: Some((value, echo)), ..Options::default() });
        prop_assert_eq!(options::parse(&bytes), options::parse_any(&bytes));
    }

    #[test]
    fn no_options_make_it_panic_or_fail(options in proptest::collection::vec(prop_oneof![0u8..10, any::<u8>()], 0..=40)) {
        options_of(&options);
        prop_assert_eq!(options::parse(&options), options::parse_any(&options));
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), words in 5u8..16) {
        let _ = parse(&bytes, &pseudo());
        if bytes.len() >= HEADER_LEN {
            // The same with a right sum and an offset that may be, so that what lies behind those checks is reached.
            bytes[12] = words << 4;
            fill(&mut bytes);
            if let Ok((_, segment)) = parse(&bytes, &pseudo()) {
                prop_assert_eq!(segment.payload.len(), bytes.len() - usize::from(words) * 4);
            }
        }
    }
}
