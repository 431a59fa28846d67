use etherparse::{IpNumber, Ipv6ExtensionsSlice};
use proptest::prelude::*;

use super::*;

/// An extension header: next header, the option area or the four bytes behind the length, filled up with zeros to whole words.
fn header(next: u8, area: &[u8]) -> Vec<u8> {
    let len = (area.len() + 2).next_multiple_of(8);
    let mut bytes = vec![next, (len / 8 - 1) as u8];
    bytes.extend(area);
    bytes.resize(len, PAD_1);
    bytes
}

fn fragment_header(next: u8, offset: u16, more: bool) -> Vec<u8> {
    let [high, low] = (offset | u16::from(more)).to_be_bytes();
    vec![next, 0, high, low, 0xde, 0xad, 0xbe, 0xef]
}

fn problem(code: u8, pointer: u32) -> Option<Problem> {
    Some(Problem { code, pointer, even_if_multicast: false })
}

fn plain(protocol: u8) -> Walked {
    Walked { protocol, at: 0, named_at: 6, fragment: None, fragment_header: false, extended: false }
}

const UDP: u8 = NEXT_HEADER_UDP;
const DESTINATION: u8 = NEXT_HEADER_DESTINATION;
const HOP: u8 = NEXT_HEADER_HOP_BY_HOP;
const ROUTING: u8 = NEXT_HEADER_ROUTING;
const FRAGMENT: u8 = NEXT_HEADER_FRAGMENT;

#[test]
fn a_packet_without_extension_headers_ends_at_once() {
    for protocol in [NEXT_HEADER_TCP, UDP, NEXT_HEADER_ICMPV6, 50, 51, 253] {
        assert_eq!(walk(protocol, b""), Ok(plain(protocol)));
    }
}

#[test]
fn each_header_is_stepped_over_in_turn() {
    let payload =
        [header(DESTINATION, &[PAD_N, 4]), header(ROUTING, &[0x05, 2, 0, 0, 0, 0, 0, 0]), header(UDP, &[4, 0]), vec![7; 8]];
    let expected = Walked { at: 32, named_at: 40 + 24, extended: true, ..plain(UDP) };
    assert_eq!(walk(HOP, &payload.concat()), Ok(expected), "router alert, and a routing header with no segments left");
    assert_eq!(
        walk(HOP, &header(99, &[])).map(|walked| walked.named_at),
        Ok(40),
        "an unknown protocol is pointed to in the last header"
    );
}

//= type=test
//= rfc8200#4
//# The same
//# action should be taken if a node encounters a Next Header value of
//# zero in any header other than an IPv6 header.
#[test]
fn hop_by_hop_options_stand_first_or_not_at_all() {
    let refused = Refused { why: Drop::Ipv6ExtensionMisplaced, problem: problem(1, 40) };
    assert_eq!(walk(DESTINATION, &[header(HOP, &[]), header(UDP, &[])].concat()), Err(refused));
    assert_eq!(walk(HOP, &[header(HOP, &[]), header(UDP, &[])].concat()), Err(refused), "nor twice");
}

//= type=test
//= rfc8200#4.2
//# 00 - skip over this option and continue processing the header.
//# 01 - discard the packet.
//# 10 - discard the packet and, regardless of whether or not the
//# packet's Destination Address was a multicast address, send an
//# ICMP Parameter Problem, Code 2, message to the packet's
//# Source Address, pointing to the unrecognized Option Type.
#[test]
fn an_unknown_option_says_itself_what_to_do() {
    for (first, next) in [(HOP, UDP), (DESTINATION, UDP)] {
        let walked = |kind| walk(first, &header(next, &[PAD_1, kind, 1, 0xff]));
        let why = Drop::Ipv6OptionUnknown;
        assert!(walked(0x1e).is_ok());
        assert_eq!(walked(0x5e), Err(Refused { why, problem: None }));
        let problem = Problem { code: 2, pointer: 43, even_if_multicast: true };
        assert_eq!(walked(0x9e), Err(Refused { why, problem: Some(problem) }));
        let problem = Problem { even_if_multicast: false, ..problem };
        assert_eq!(walked(0xc2), Err(Refused { why, problem: Some(problem) }), "jumbograms are not known");
    }
}

//= type=test
//= rfc8200#4
//# Therefore,
//# extension headers must be processed strictly in the order they appear
//# in the packet
#[test]
fn the_first_header_and_option_that_asks_for_it_decides() {
    let silent = Err(Refused { why: Drop::Ipv6OptionUnknown, problem: None });
    assert_eq!(walk(HOP, &header(UDP, &[0x5e, 0, 0xde, 0])), silent);
    let (option, route) = (header(ROUTING, &[0x5e, 0]), header(UDP, &[0, 1]));
    assert_eq!(walk(HOP, &[&option[..], &route].concat()), silent);
    let refused = walk(ROUTING, &[header(DESTINATION, &[0, 1]), header(UDP, &[0x5e, 0])].concat());
    assert_eq!(refused.map_err(|refused| refused.why), Err(Drop::Ipv6RoutingRefused));
}

#[test]
fn an_option_that_does_not_end_in_its_header_is_malformed() {
    for (area, pointer) in [(vec![PAD_N, 5], 42), (vec![PAD_1; 5], 47), (vec![0x1e, 255, 0, 0, 0, 0], 42)] {
        let mut options = header(UDP, &area);
        if pointer == 47 {
            options[7] = PAD_N; // its length would stand behind the header
        }
        let payload = [options, vec![0; 300]].concat();
        assert_eq!(walk(HOP, &payload), Err(Refused { why: Drop::Ipv6OptionMalformed, problem: problem(0, pointer) }));
    }
}

//= type=test
//= rfc8200#4.4
//# If Segments Left is zero, the node must ignore the Routing header
//# and proceed to process the next header in the packet
//= type=test
//= rfc8200#4.4
//# If Segments Left is non-zero, the node must discard the packet and
//# send an ICMP Parameter Problem, Code 0, message to the packet's
//# Source Address, pointing to the unrecognized Routing Type.
#[test]
fn a_route_with_segments_left_is_refused_whatever_its_type() {
    for kind in [0, 2, 3, 4, 253] {
        let refused = Refused { why: Drop::Ipv6RoutingRefused, problem: problem(0, 42) };
        assert_eq!(walk(ROUTING, &header(UDP, &[kind, 1])), Err(refused));
        assert!(walk(ROUTING, &header(UDP, &[kind, 0])).is_ok());
    }
}

#[test]
fn nothing_is_behind_no_next_header() {
    let refused = Refused { why: Drop::Ipv6NoNextHeader, problem: None };
    assert_eq!(walk(NEXT_HEADER_NONE, b"ignored!"), Err(refused));
    assert_eq!(walk(DESTINATION, &header(NEXT_HEADER_NONE, &[])), Err(refused));
}

#[test]
fn a_header_cut_anywhere_is_truncated() {
    let payload = [header(DESTINATION, &[]), header(UDP, &[&[PAD_N, 12][..], &[0; 12]].concat())].concat();
    for cut in 0..payload.len() {
        assert_eq!(walk(HOP, &payload[..cut]), Err(Refused { why: Drop::Ipv6ExtensionTruncated, problem: None }), "cut at {cut}");
    }
    assert!(walk(HOP, &payload).is_ok());
    let fragment = fragment_header(UDP, 8, false);
    for cut in 0..8 {
        assert_eq!(walk(FRAGMENT, &fragment[..cut]), Err(Refused { why: Drop::Ipv6ExtensionTruncated, problem: None }));
    }
}

//= type=test
//= rfc8504#5.3
//# A host MAY impose a limit on the maximum length of Destination
//# Options or Hop-by-Hop Options extension headers.
#[test]
fn headers_beyond_the_bound_are_refused() {
    let chain = |n| [header(DESTINATION, &[]).repeat(n - 1), header(UDP, &[])].concat();
    assert_eq!(walk(DESTINATION, &chain(EXTENSION_HEADERS)).map(|walked| walked.at), Ok(8 * EXTENSION_HEADERS));
    let refused = Refused { why: Drop::Ipv6ExtensionTooMany, problem: None };
    assert_eq!(walk(DESTINATION, &chain(EXTENSION_HEADERS + 1)), Err(refused));
    let long = |len| header(UDP, &vec![PAD_1; len]);
    assert!(walk(HOP, &long(EXTENSION_BYTES - 2)).is_ok());
    assert_eq!(walk(HOP, &long(EXTENSION_BYTES - 1)), Err(refused));
}

#[test]
fn a_fragment_ends_the_walk_unless_it_is_the_first() {
    let first = [header(FRAGMENT, &[]), fragment_header(DESTINATION, 0, true), header(UDP, &[]), vec![7; 16]].concat();
    let fragment = Fragment { offset: 0, more: true, identification: 0xdead_beef, at: 8, named_at: 40 };
    let walked = Walked { fragment: Some(fragment), fragment_header: true, extended: true, ..plain(UDP) };
    assert_eq!(walk(HOP, &first), Ok(Walked { at: 24, named_at: 56, ..walked }));

    let later = [header(FRAGMENT, &[]), fragment_header(DESTINATION, 1232, false), vec![0xff; 5]].concat();
    let fragment = Some(Fragment { offset: 1232, more: false, ..fragment });
    assert_eq!(walk(HOP, &later), Ok(Walked { protocol: DESTINATION, at: 16, named_at: 48, fragment, ..walked }));
}

//= type=test
//= rfc6946#4
//# A host that receives an IPv6 packet that includes a Fragment
//# Header with the "Fragment Offset" equal to 0 and the "M" flag
//# equal to 0 MUST process that packet in isolation from any other
//# packets/fragments
#[test]
fn an_atomic_fragment_is_no_fragment() {
    let mut payload = [fragment_header(DESTINATION, 0, false), header(UDP, &[]), vec![7; 3]].concat();
    payload[3] |= 0b110; // reserved
    let expected = Walked { at: 16, named_at: 48, fragment_header: true, extended: true, ..plain(UDP) };
    assert_eq!(walk(FRAGMENT, &payload), Ok(expected));
    let again = [fragment_header(FRAGMENT, 0, false), fragment_header(UDP, 8, false)].concat();
    assert_eq!(walk(FRAGMENT, &again), Err(Refused { why: Drop::Ipv6ExtensionMisplaced, problem: None }));
}

//= type=test
//= rfc8200#4.5
//# If the first fragment does not include all headers through an
//# Upper-Layer header, then that fragment should be discarded and
//# an ICMP Parameter Problem, Code 3, message should be sent to
//# the source of the fragment, with the Pointer field set to zero.
#[test]
fn a_first_fragment_holds_all_headers() {
    let refused = Err(Refused { why: Drop::Ipv6FragmentHeadless, problem: problem(3, 0) });
    for (protocol, least) in [(NEXT_HEADER_TCP, 24), (UDP, 8), (NEXT_HEADER_ICMPV6, 8)] {
        let first = |len| walk(FRAGMENT, &[fragment_header(protocol, 0, true), vec![7; len]].concat());
        assert_eq!(first(least - 8), refused);
        assert!(first(least).is_ok());
        let atomic = walk(FRAGMENT, &fragment_header(protocol, 0, false));
        assert!(atomic.is_ok(), "too short a packet is the protocol's affair");
    }
    let mut cut = [fragment_header(DESTINATION, 0, true), header(UDP, &[])].concat();
    cut[9] = 1;
    assert_eq!(walk(FRAGMENT, &cut), refused);
}

//= type=test
//= rfc8200#4.5
//# If the length of a fragment, as derived from the fragment
//# packet's Payload Length field, is not a multiple of 8 octets
//# and the M flag of that fragment is 1, then that fragment must
//# be discarded and an ICMP Parameter Problem, Code 0, message
//# should be sent to the source of the fragment, pointing to the
//# Payload Length field of the fragment packet.
//= type=test
//= rfc8200#4.5
//# If the length and offset of a fragment are such that the
//# Payload Length of the packet reassembled from that fragment
//# would exceed 65,535 octets, then that fragment must be
//# discarded and an ICMP Parameter Problem, Code 0, message should
//# be sent to the source of the fragment, pointing to the Fragment
//# Offset field of the fragment packet.
#[test]
fn a_fragment_ends_at_a_word_and_within_the_largest_packet() {
    let judge = |offset, more, len| {
        let payload = [header(FRAGMENT, &[]), fragment_header(99, offset, more), vec![7; len]].concat();
        walk(DESTINATION, &payload).map(|_| ())
    };
    let malformed = |pointer| Err(Refused { why: Drop::Ipv6FragmentMalformed, problem: problem(0, pointer) });
    assert_eq!(judge(8, true, 9), malformed(4));
    assert_eq!(judge(8, true, 16), Ok(()));
    assert_eq!(judge(8, false, 9), Ok(()));
    assert_eq!(judge(65_520, false, 7), Ok(()));
    assert_eq!(judge(65_520, false, 8), malformed(50));
    assert_eq!(judge(65_528, true, 8), malformed(50));
}

proptest! {
    #[test]
    fn others_end_where_this_walk_ends(destinations in 0usize..2, routing in any::<bool>(), atomic in any::<bool>(), hop in any::<bool>(), pad in 0u8..30) {
        // In the order that the other reader insists on.
        let mut kinds = vec![];
        kinds.extend(hop.then_some(HOP));
        kinds.extend(std::iter::repeat_n(DESTINATION, destinations));
        kinds.extend(routing.then_some(ROUTING));
        kinds.extend(atomic.then_some(FRAGMENT));
        let mut payload = vec![];
        for (at, &kind) in kinds.iter().enumerate() {
            let next = kinds.get(at + 1).copied().unwrap_or(UDP);
            payload.extend(match kind {
                FRAGMENT => fragment_header(next, 0, false),
                ROUTING => header(next, &[0, 0]),
                _ => header(next, &[&[PAD_N, pad][..], &vec![0; usize::from(pad)]].concat()),
            });
        }
        payload.extend([7; 8]);
        let first = kinds.first().copied().unwrap_or(UDP);
        let walked = walk(first, &payload).unwrap();
        let (_, protocol, rest) = Ipv6ExtensionsSlice::from_slice(IpNumber(first), &payload).unwrap();
        prop_assert_eq!((walked.protocol, walked.at), (protocol.0, payload.len() - rest.len()));
    }

    #[test]
    fn no_bytes_make_it_panic(first in prop_oneof![Just(HOP), Just(DESTINATION), Just(ROUTING), Just(FRAGMENT), any::<u8>()],
                              mut payload in proptest::collection::vec(prop_oneof![0u8..4, Just(43), Just(44), Just(60), any::<u8>()], 0..200)) {
        if let Ok(walked) = walk(first, &payload) {
            prop_assert!(walked.at <= payload.len() && walked.at <= EXTENSION_BYTES + 8);
        }
        payload.truncate(9);
        let _ = walk(first, &payload);
    }
}
