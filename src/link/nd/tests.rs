//! Tests of what messages of neighbour discovery deserve, and of those we send.

use proptest::prelude::*;

use super::*;
use crate::wire::icmpv6;
use crate::wire::nd::Redirect;

const OUR_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OURS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const WANTED: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const INTERFACE: Ours<'static> = Ours { mac: OUR_MAC, assigned: &[OURS], tentative: &[WANTED], redirects_from: None };
const GROUPS: [Mac; 3] = [Mac::BROADCAST, Mac([0x33, 0x33, 0, 0, 0, 1]), Mac([0; 6])];

fn ip(source: Ipv6Addr, target: Ipv6Addr) -> Ipv6 {
    Ipv6 { hop_limit: 255, ..Ipv6::outgoing(source, target, NEXT_HEADER_ICMPV6, 24) }
}

fn ask(source: Ipv6Addr, target: Ipv6Addr, source_mac: Option<Mac>) -> Outcome {
    let message = Nd::NeighborSolicitation(NeighborSolicitation { target, source_mac });
    on_nd(&message, &ip(source, solicited_node(target)), PEER_MAC, &INTERFACE)
}

fn said(target: Ipv6Addr, target_mac: Option<Mac>) -> NeighborAdvertisement {
    NeighborAdvertisement { target, router: false, solicited: true, replace: true, target_mac }
}

fn say(said: NeighborAdvertisement) -> Outcome {
    on_nd(&Nd::NeighborAdvertisement(said), &ip(PEER, OURS), PEER_MAC, &INTERFACE)
}

//= type=test
//= rfc4861#7.2.4
//# If the source of the solicitation is the unspecified address, the
//# node MUST set the Solicited flag to zero and multicast the
//# advertisement to the all-nodes address.  Otherwise, the node MUST set
//# the Solicited flag to one and unicast the advertisement to the Source
//# Address of the solicitation.
#[test]
fn a_question_for_us_is_answered_and_its_sender_learned() {
    let message = Nd::NeighborAdvertisement(NeighborAdvertisement { solicited: true, ..advertisement(OUR_MAC, OURS) });
    let reply = Outgoing { source: OURS, target: PEER, target_mac: PEER_MAC, message };
    let asker = Some(Mapping { ip: PEER, mac: PEER_MAC });
    assert_eq!(ask(PEER, OURS, Some(PEER_MAC)), Outcome::Reply { asker, reply });
    assert_eq!(ask(PEER, OURS, None), Outcome::Reply { asker: None, reply }, "a unicast question, maybe");

    let Outcome::Reply { asker: None, reply } = ask(Ipv6Addr::UNSPECIFIED, OURS, None) else { panic!("no answer to a probe") };
    let Nd::NeighborAdvertisement(said) = reply.message else { panic!("{reply:?}") };
    assert_eq!((reply.source, reply.target, reply.target_mac), (OURS, ALL_NODES, Mac([0x33, 0x33, 0, 0, 0, 1])));
    assert_eq!((said.target, said.solicited, said.replace, said.router), (OURS, false, true, false));
    assert_eq!(said.target_mac, Some(OUR_MAC));
}

#[test]
fn a_question_for_others_teaches_nothing() {
    assert_eq!(ask(PEER, ROUTER, Some(PEER_MAC)), Outcome::Drop(Drop::NdNotOurs));
    assert_eq!(ask(Ipv6Addr::UNSPECIFIED, ROUTER, None), Outcome::Drop(Drop::NdNotOurs));
}

//= type=test
//= rfc4862#5.4.3
//# If the target address is tentative, and
//# the source address is a unicast address, the solicitation's sender is
//# performing address resolution on the target; the solicitation should
//# be silently ignored.
//= type=test
//= rfc4862#5.4.3
//# If the solicitation is from another node, the tentative
//# address is a duplicate and should not be used (by either node).
#[test]
fn a_tentative_address_is_lost_to_who_probes_for_it_and_answers_nobody() {
    assert_eq!(ask(PEER, WANTED, Some(PEER_MAC)), Outcome::Drop(Drop::NdNotOurs));
    assert_eq!(ask(Ipv6Addr::UNSPECIFIED, WANTED, None), Outcome::Conflict { ip: WANTED, rival: PEER_MAC });
    let probe = Outgoing::probe(WANTED);
    let back = on_nd(&probe.message, &ip(probe.source, probe.target), OUR_MAC, &INTERFACE);
    assert_eq!(back, Outcome::Drop(Drop::NdNotOurs), "our own probe, come back");
}

//= type=test
//= rfc4862#5.4.4
//# If the target address is tentative, the tentative address is not
//# unique.
#[test]
fn who_has_one_of_our_addresses_is_a_rival() {
    let rival = Mac([2, 0, 0, 0, 0, 9]);
    for ip in [OURS, WANTED] {
        assert_eq!(say(said(ip, Some(rival))), Outcome::Conflict { ip, rival });
        assert_eq!(say(said(ip, None)), Outcome::Conflict { ip, rival: PEER_MAC });
        assert_eq!(say(said(ip, Some(OUR_MAC))), Outcome::Drop(Drop::NdNotOurs), "it is ours");
    }
    assert_eq!(ask(OURS, PEER, Some(rival)), Outcome::Conflict { ip: OURS, rival: PEER_MAC }, "who asks from it");
}

#[test]
fn an_advertisement_goes_to_the_cache_as_it_is() {
    for message in [said(PEER, Some(PEER_MAC)), said(PEER, None), NeighborAdvertisement { router: true, ..said(ROUTER, None) }] {
        assert_eq!(say(message), Outcome::Advertised(message));
    }
}

#[test]
fn what_no_station_can_be_is_malformed() {
    let malformed = Outcome::Drop(Drop::NdMalformed);
    for mac in GROUPS {
        assert_eq!(ask(PEER, OURS, Some(mac)), malformed);
        assert_eq!(on_nd(&Nd::NeighborAdvertisement(said(PEER, None)), &ip(PEER, OURS), mac, &INTERFACE), malformed);
    }
    assert_eq!(ask(ALL_NODES, OURS, Some(PEER_MAC)), malformed);
    assert_eq!(ask(Ipv6Addr::LOCALHOST, OURS, Some(PEER_MAC)), malformed);
}

//= type=test
//= rfc4861#6.2.6
//# A host MUST silently discard any received Router Solicitation
//# messages.
#[test]
fn hosts_answer_no_router_solicitation() {
    let message = Nd::RouterSolicitation { source_mac: Some(PEER_MAC) };
    assert_eq!(on_nd(&message, &ip(PEER, ALL_ROUTERS), PEER_MAC, &INTERFACE), Outcome::Drop(Drop::NdNotOurs));
}

//= type=test
//= rfc4861#8.1
//# The IP source address of the Redirect is the same as the current
//# first-hop router for the specified ICMP Destination Address.
#[test]
fn a_redirect_is_followed_only_where_it_is_allowed() {
    let message = Nd::Redirect(Redirect { target: PEER, destination: PEER, target_mac: Some(PEER_MAC), packet: &[] });
    let judge = |redirects_from| on_nd(&message, &ip(ROUTER, OURS), PEER_MAC, &Ours { redirects_from, ..INTERFACE });
    assert_eq!(judge(None), Outcome::Drop(Drop::NdRedirect));
    assert_eq!(judge(Some(PEER)), Outcome::Drop(Drop::NdRedirect), "not the first hop in use");
    assert_eq!(judge(Some(ROUTER)), Outcome::Redirect { destination: PEER, hop: PEER, mac: Some(PEER_MAC) });
}

fn router(said: RouterAdvertisement) -> Router {
    match on_nd(&Nd::RouterAdvertisement(said), &ip(ROUTER, ALL_NODES), PEER_MAC, &INTERFACE) {
        Outcome::Router(router) => router,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_router_is_told_as_a_plain_value() {
    let prefix = Prefix { address: PEER, len: 64, on_link: true, autonomous: false, valid_s: 60, preferred_s: 30 };
    let mut said = RouterAdvertisement { lifetime_s: 1800, reachable_ms: 20_000, ..Default::default() };
    (said.source_mac, said.mtu) = (Some(PEER_MAC), Some(1400));
    //= type=test
    //= rfc4861#6.3.4
    //# - If the prefix is the link-local prefix, silently ignore the
    //# Prefix Information option.
    said.prefixes[..2].copy_from_slice(&[Some(Prefix { address: WANTED, ..prefix }), Some(prefix)]);
    let mut prefixes = [None; ROUTER_PREFIXES];
    prefixes[0] = Some(prefix);
    let expected = Router {
        address: ROUTER,
        mac: Some(PEER_MAC),
        lifetime: Duration::from_secs(1800),
        mtu: Some(1400),
        reachable: Some(Duration::from_secs(20)),
        prefixes,
    };
    assert_eq!(router(said), expected);
}

//= type=test
//= rfc4861#6.3.4
//# If the MTU option is present, hosts SHOULD copy the option's value
//# into LinkMTU so long as the value is greater than or equal to the
//# minimum link MTU [IPv6]
#[test]
fn what_a_router_leaves_open_or_must_not_say_is_not_told() {
    let silent = router(RouterAdvertisement::default());
    assert_eq!((silent.mtu, silent.reachable, silent.mac), (None, None, None));
    assert_eq!(silent.lifetime, Duration::ZERO);
    for (mtu, told) in [(0, None), (1279, None), (1280, Some(1280))] {
        assert_eq!(router(RouterAdvertisement { mtu: Some(mtu), ..Default::default() }).mtu, told);
    }
    let reachable = |reachable_ms| router(RouterAdvertisement { reachable_ms, ..Default::default() }).reachable;
    assert_eq!((reachable(3_600_000), reachable(3_600_001)), (Some(Duration::from_secs(3600)), None));
    let mac = |mac| router(RouterAdvertisement { source_mac: Some(mac), ..Default::default() }).mac;
    assert!(GROUPS.into_iter().all(|group| mac(group).is_none()));
}

//= type=test
//= rfc4861#7.2.2
//# If the solicitation is being sent to a solicited-node multicast
//# address, the sender MUST include its link-layer address (if it has
//# one) as a Source Link-Layer Address option.
//= type=test
//= rfc4862#5.4.2
//# The
//# solicitation's Target Address is set to the address being checked,
//# the IP source is set to the unspecified address, and the IP
//# destination is set to the solicited-node multicast address of the
//# target address.
#[test]
fn questions_go_to_all_that_could_answer_or_to_the_one_that_did() {
    let group = Outgoing::question(OUR_MAC, OURS, PEER, None);
    assert_eq!((group.target, group.target_mac), (solicited_node(PEER), Mac([0x33, 0x33, 0xff, 0, 0, 1])));
    let one = Outgoing::question(OUR_MAC, OURS, PEER, Some(PEER_MAC));
    assert_eq!((one.target, one.target_mac, one.message), (PEER, PEER_MAC, group.message));
    assert_eq!(group.message, Nd::NeighborSolicitation(NeighborSolicitation { target: PEER, source_mac: Some(OUR_MAC) }));

    let probe = Outgoing::probe(WANTED);
    assert_eq!((probe.source, probe.target), (Ipv6Addr::UNSPECIFIED, solicited_node(WANTED)));
    assert_eq!(probe.message, Nd::NeighborSolicitation(NeighborSolicitation { target: WANTED, source_mac: None }));
    assert_eq!(Outgoing::router_question(OUR_MAC, OURS).target, ALL_ROUTERS);
}

#[test]
fn frames_are_read_back_and_written_whole_or_not_at_all() {
    for outgoing in [
        Outgoing::question(OUR_MAC, OURS, PEER, None),
        Outgoing::question(OUR_MAC, OURS, PEER, Some(PEER_MAC)),
        Outgoing::probe(WANTED),
        Outgoing::announcement(OUR_MAC, OURS),
        Outgoing::router_question(OUR_MAC, OURS),
    ] {
        for vlan in [None, Some(7)].map(Vlan::from) {
            let mut bytes = [0xcc; FRAME_MAX];
            let len = outgoing.emit_frame(&mut bytes, vlan, OUR_MAC);
            let link = ethernet::parse(&bytes[..len]).unwrap();
            assert_eq!(link, Ethernet { target: outgoing.target_mac, source: OUR_MAC, vlan, ethertype: ETHERTYPE_IPV6 });
            let packet = &bytes[link.header_len()..len];
            let ip = ipv6::parse(packet).unwrap();
            assert_eq!((ip.source, ip.target, ip.hop_limit), (outgoing.source, outgoing.target, 255));
            assert_eq!(ip.payload_len + 40, packet.len());
            let pseudo = PseudoHeader { source: ip.source.into(), target: ip.target.into(), protocol: 58 };
            let icmp = icmpv6::parse(ip.payload(packet), &pseudo).unwrap();
            assert_eq!(nd::parse(&icmp, ip.payload(packet), &ip, false), Ok(outgoing.message));
            for room in 0..len {
                assert_eq!(outgoing.emit_frame(&mut vec![0; room], vlan, OUR_MAC), 0);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_message_makes_it_panic(source in any::<[u8; 16]>(), target in any::<[u8; 16]>(), mac in proptest::option::of(any::<[u8; 6]>()),
                                 from in any::<[u8; 6]>(), kind in 0u8..4, flags in any::<[bool; 3]>()) {
        let (target, mac) = (Ipv6Addr::from(target), mac.map(Mac));
        let [router, solicited, replace] = flags;
        let message = match kind {
            0 => Nd::NeighborSolicitation(NeighborSolicitation { target, source_mac: mac }),
            1 => Nd::NeighborAdvertisement(NeighborAdvertisement { target, router, solicited, replace, target_mac: mac }),
            2 => Nd::RouterSolicitation { source_mac: mac },
            _ => Nd::Redirect(Redirect { target, destination: target, target_mac: mac, packet: &[] }),
        };
        let _ = on_nd(&message, &ip(source.into(), OURS), Mac(from), &INTERFACE);
    }
}
