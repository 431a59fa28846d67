use etherparse::icmpv6::{NeighborAdvertisementHeader, RouterAdvertisementHeader};
use etherparse::{Icmpv6Slice, Icmpv6Type};
use proptest::prelude::*;

use super::*;
use crate::wire::ipv6::{ALL_NODES, NEXT_HEADER_ICMPV6};

const OURS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const ROUTER_IP: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SOLICITATION: NeighborSolicitation = NeighborSolicitation { target: OURS, source_mac: Some(MAC) };
const ADVERTISEMENT: NeighborAdvertisement =
    NeighborAdvertisement { target: PEER, router: false, solicited: true, replace: true, target_mac: Some(MAC) };

fn ip(source: Ipv6Addr, target: Ipv6Addr) -> Ipv6 {
    Ipv6 { hop_limit: 255, ..Ipv6::outgoing(source, target, NEXT_HEADER_ICMPV6, 0) }
}

fn pseudo(ip: &Ipv6) -> PseudoHeader {
    PseudoHeader { source: ip.source.into(), target: ip.target.into(), protocol: NEXT_HEADER_ICMPV6 }
}

fn written(message: &Nd<'_>, ip: &Ipv6) -> Vec<u8> {
    let mut bytes = vec![0xcc; 1280];
    let len = emit(&mut bytes, message, &pseudo(ip));
    assert_ne!(len, 0);
    bytes.truncate(len);
    bytes
}

/// Reads a message after its checksum is made right again.
fn read<'a>(bytes: &'a mut [u8], ip: &Ipv6) -> Result<Nd<'a>, Drop> {
    let &mut [kind, code, _, _, r0, r1, r2, r3, ..] = bytes else { return Err(Drop::IcmpTruncated) };
    icmpv6::emit(bytes, kind, code, [r0, r1, r2, r3], &pseudo(ip));
    let icmp = icmpv6::parse(bytes, &pseudo(ip))?;
    parse(&icmp, bytes, ip, false)
}

/// What a message is after it was written with an option more and changed.
fn judge(message: &Nd<'_>, ip: &Ipv6, option: &[u8], change: impl Fn(&mut Vec<u8>)) -> Result<(), Drop> {
    let mut bytes = written(message, ip);
    bytes.extend(option);
    change(&mut bytes);
    read(&mut bytes, ip).map(|_| ())
}

fn every() -> Vec<(Nd<'static>, Ipv6)> {
    let prefix = Prefix { address: PEER, len: 64, on_link: true, autonomous: true, valid_s: 7200, preferred_s: u32::MAX };
    let mut prefixes = [None; ROUTER_PREFIXES];
    prefixes[..2].fill(Some(prefix));
    let router = RouterAdvertisement {
        hop_limit: 64,
        managed: true,
        lifetime_s: 1800,
        retransmit_ms: 1000,
        source_mac: Some(MAC),
        mtu: Some(1500),
        prefixes,
        ..RouterAdvertisement::default()
    };
    let redirect = Redirect { target: ROUTER_IP, destination: OURS, target_mac: Some(MAC), packet: &[6; 48] };
    vec![
        (Nd::NeighborSolicitation(SOLICITATION), ip(PEER, solicited_node(OURS))),
        (Nd::NeighborAdvertisement(ADVERTISEMENT), ip(PEER, OURS)),
        (Nd::RouterSolicitation { source_mac: Some(MAC) }, ip(PEER, ALL_NODES)),
        (Nd::RouterAdvertisement(router), ip(ROUTER_IP, ALL_NODES)),
        (Nd::Redirect(redirect), ip(ROUTER_IP, OURS)),
    ]
}

#[test]
fn what_is_written_is_read() {
    for (message, ip) in every() {
        assert_eq!(read(&mut written(&message, &ip), &ip), Ok(message));
    }
}

//= type=test
//= rfc6980#5
//# Nodes MUST silently ignore the following Neighbor Discovery and
//# SEcure Neighbor Discovery messages if the packets carrying them
//# include an IPv6 Fragmentation Header:
//= type=test
//= rfc4861#7.1.1
//# The IP Hop Limit field has a value of 255, i.e., the packet
//# could not possibly have been forwarded by a router.
#[test]
fn what_every_message_must_be() {
    for (message, ip) in every() {
        let bytes = written(&message, &ip);
        let icmp = icmpv6::parse(&bytes, &pseudo(&ip)).unwrap();
        assert_eq!(parse(&icmp, &bytes, &ip, true), Err(Drop::NdFragment), "RFC 6980");
        for hop_limit in [0, 64, 254] {
            assert_eq!(parse(&icmp, &bytes, &Ipv6 { hop_limit, ..ip }, false), Err(Drop::NdForwarded));
        }
        assert_eq!(judge(&message, &ip, b"", |bytes| bytes[1] = 1), Err(Drop::NdMalformed), "a code");
        for cut in HEADER_LEN..bytes.len() {
            let judged = judge(&message, &ip, b"", |bytes| bytes.truncate(cut));
            // Only where an option ends the rest is a message, too.
            assert!(judged.is_ok_and(|()| cut % 8 == 0) || judged == Err(Drop::NdMalformed), "cut at {cut}");
        }
    }
    let echo = Icmp { icmp_type: icmpv6::ECHO_REQUEST, code: 0, rest: [0; 4], payload_len: 0 };
    assert_eq!(parse(&echo, &[0; 8], &ip(PEER, OURS), false), Err(Drop::IcmpIgnored));
}

//= type=test
//= rfc4861#4.6
//# Nodes MUST
//# silently discard an ND packet that contains an
//# option with length zero.
#[test]
fn options_have_a_length_and_end_in_the_message() {
    for (message, ip) in every() {
        let with = |option: &[u8]| judge(&message, &ip, option, |_| {});
        assert_eq!(with(&[14, 1, 0, 0, 0, 0, 0, 0]), Ok(()), "unknown options are skipped");
        assert_eq!(with(&[200, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Ok(()));
        for option in [
            &[14, 0, 0, 0, 0, 0, 0, 0][..],                    // no length
            &[14, 2, 0, 0, 0, 0, 0, 0],                        // reaches beyond
            &[14],                                             // is cut
            &[1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // no Ethernet address
            &[2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[5, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // no MTU
            &[3, 1, 64, 0, 0, 0, 0, 0],                        // no prefix
        ] {
            assert_eq!(with(option), Err(Drop::NdMalformed), "{option:?}");
        }
        let mut prefix = [0; 32];
        prefix[..3].copy_from_slice(&[3, 4, 129]);
        assert_eq!(with(&prefix), Err(Drop::NdMalformed), "a prefix longer than an address");
    }
}

#[test]
fn a_solicitation_asks_for_a_station() {
    let group = NeighborSolicitation { target: ALL_NODES, ..SOLICITATION };
    assert_eq!(judge(&Nd::NeighborSolicitation(group), &ip(PEER, OURS), b"", |_| {}), Err(Drop::NdMalformed));
}

//= type=test
//= rfc4861#7.1.1
//# If the IP source address is the unspecified address, the IP
//# destination address is a solicited-node multicast address.
//= type=test
//= rfc4861#7.1.1
//# If the IP source address is the unspecified address, there is no
//# source link-layer address option in the message.
#[test]
fn a_probe_goes_to_the_solicited_node_and_names_no_station() {
    let judge = |target, source_mac| {
        let probe = Nd::NeighborSolicitation(NeighborSolicitation { source_mac, ..SOLICITATION });
        judge(&probe, &ip(Ipv6Addr::UNSPECIFIED, target), b"", |_| {})
    };
    assert_eq!(judge(solicited_node(OURS), None), Ok(()));
    assert_eq!(judge(solicited_node(OURS), Some(MAC)), Err(Drop::NdMalformed));
    assert_eq!(judge(ALL_NODES, None), Err(Drop::NdMalformed));
    assert_eq!(judge(OURS, None), Err(Drop::NdMalformed));
}

//= type=test
//= rfc4861#7.1.2
//# If the IP Destination Address is a multicast address the
//# Solicited flag is zero.
#[test]
fn nobody_solicited_an_advertisement_to_all() {
    let judge = |solicited, to, target| {
        let message = Nd::NeighborAdvertisement(NeighborAdvertisement { solicited, target, ..ADVERTISEMENT });
        judge(&message, &ip(PEER, to), b"", |_| {})
    };
    assert_eq!(judge(true, ALL_NODES, PEER), Err(Drop::NdMalformed));
    assert_eq!(judge(false, ALL_NODES, PEER), Ok(()));
    assert_eq!(judge(true, OURS, ALL_NODES), Err(Drop::NdMalformed), "multicast target");
}

//= type=test
//= rfc4861#6.1.2
//# IP Source Address is a link-local address.
//= type=test
//= rfc4861#6.1.1
//# If the IP source address is the unspecified address, there is no
//# source link-layer address option in the message.
#[test]
fn routers_speak_from_their_link_local_address() {
    for (message, _) in every().into_iter().skip(3) {
        assert_eq!(judge(&message, &ip(PEER, OURS), b"", |_| {}), Err(Drop::NdMalformed));
        assert_eq!(judge(&message, &ip(ROUTER_IP, OURS), b"", |_| {}), Ok(()));
    }
    let nameless = Nd::RouterSolicitation { source_mac: Some(MAC) };
    assert_eq!(judge(&nameless, &ip(Ipv6Addr::UNSPECIFIED, ALL_NODES), b"", |_| {}), Err(Drop::NdMalformed));
    let nameless = Nd::RouterSolicitation { source_mac: None };
    assert_eq!(judge(&nameless, &ip(Ipv6Addr::UNSPECIFIED, ALL_NODES), b"", |_| {}), Ok(()));
}

//= type=test
//= rfc4861#8.1
//# The ICMP Target Address is either a link-local address (when
//# redirected to a router) or the same as the ICMP Destination
//# Address (when redirected to the on-link destination).
#[test]
fn a_redirect_names_a_router_or_the_destination() {
    let judge = |target, destination| {
        let message = Nd::Redirect(Redirect { target, destination, target_mac: None, packet: &[] });
        judge(&message, &ip(ROUTER_IP, OURS), b"", |_| {})
    };
    assert_eq!(judge(ROUTER_IP, PEER), Ok(()));
    assert_eq!(judge(PEER, PEER), Ok(()));
    assert_eq!(judge(OURS, PEER), Err(Drop::NdMalformed));
    assert_eq!(judge(ROUTER_IP, ALL_NODES), Err(Drop::NdMalformed));
}

#[test]
fn prefixes_beyond_the_bound_are_not_kept() {
    let (router, ip) = every().swap_remove(3);
    let prefix = [&[3, 4, 64, 0xc0][..], &[0; 28]].concat();
    let mut bytes = [written(&router, &ip), prefix.repeat(ROUTER_PREFIXES)].concat();
    let Ok(Nd::RouterAdvertisement(read)) = read(&mut bytes, &ip) else { panic!("no advertisement") };
    assert!(read.prefixes.iter().all(Option::is_some));
}

#[test]
fn what_does_not_fit_is_not_written() {
    for (message, ip) in every() {
        let len = written(&message, &ip).len();
        for room in 0..len {
            assert_eq!(emit(&mut vec![0; room], &message, &pseudo(&ip)), 0);
        }
        assert_eq!(emit(&mut vec![0; len], &message, &pseudo(&ip)), len);
    }
}

proptest! {
    #[test]
    fn others_read_what_is_written(router in any::<bool>(), solicited in any::<bool>(), replace in any::<bool>(), hop_limit in any::<u8>(),
                                   managed in any::<bool>(), other in any::<bool>(), lifetime_s in any::<u16>(), ms in any::<[u32; 2]>()) {
        let ip = ip(ROUTER_IP, OURS);
        let bytes = written(&Nd::NeighborAdvertisement(NeighborAdvertisement { router, solicited, replace, ..ADVERTISEMENT }), &ip);
        let slice = Icmpv6Slice::from_slice(&bytes).unwrap();
        prop_assert!(slice.is_checksum_valid(ip.source.octets(), ip.target.octets()));
        let expected = NeighborAdvertisementHeader { router, solicited, r#override: replace };
        prop_assert_eq!(slice.icmp_type(), Icmpv6Type::NeighborAdvertisement(expected));
        prop_assert_eq!(&slice.payload()[..16], PEER.octets());
        prop_assert_eq!(&slice.payload()[16..], [2, 1, 2, 0, 0, 0, 0, 1]);

        let message = RouterAdvertisement { hop_limit, managed, other, lifetime_s, reachable_ms: ms[0], retransmit_ms: ms[1], ..Default::default() };
        let bytes = written(&Nd::RouterAdvertisement(message), &ip);
        let slice = Icmpv6Slice::from_slice(&bytes).unwrap();
        let expected = RouterAdvertisementHeader { cur_hop_limit: hop_limit, managed_address_config: managed, other_config: other, router_lifetime: lifetime_s };
        prop_assert_eq!(slice.icmp_type(), Icmpv6Type::RouterAdvertisement(expected));
        prop_assert_eq!(slice.payload(), ms.map(u32::to_be_bytes).concat());
    }

    #[test]
    fn no_bytes_make_it_panic(kind in 132u8..139, link_local in any::<bool>(), mut bytes in proptest::collection::vec(prop_oneof![0u8..6, any::<u8>()], 8..200)) {
        bytes[..2].copy_from_slice(&[kind, 0]);
        let _ = read(&mut bytes, &ip(if link_local { ROUTER_IP } else { Ipv6Addr::UNSPECIFIED }, solicited_node(OURS)));
        let icmp = Icmp { icmp_type: kind, code: 0, rest: [0; 4], payload_len: 0 };
        let _ = parse(&icmp, &bytes[..4], &ip(ROUTER_IP, OURS), false);
    }
}
