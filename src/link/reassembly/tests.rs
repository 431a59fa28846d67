use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::wire::ethernet::{ETHERTYPE_IPV4, Ethernet, Mac};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::vlan::Vlan;

const ETHERNET: Ethernet = Ethernet { target: Mac([2; 6]), source: Mac([4; 6]), vlan: Vlan::NONE, ethertype: ETHERTYPE_IPV4 };
const UDP: u8 = ipv4::PROTOCOL_UDP;

/// A fragment as it is in its frame.
#[derive(Clone, Debug)]
struct Frag {
    packet: Packet,
    frame: Vec<u8>,
}

impl Frag {
    fn read(&self) -> Result<Part<'_>, Drop> {
        Part::read(0, &self.packet, &self.frame)
    }
}

/// Who sends, and what the fragments of one datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name {
    v6: bool,
    sender: u16,
    id: u16,
}

const V4: Name = Name { v6: false, sender: 1, id: 7 };
const V6: Name = Name { v6: true, ..V4 };

impl Name {
    fn part(self, offset: usize, more: bool, data: &[u8]) -> Frag {
        self.marked(offset, more, data, 0)
    }

    fn marked(self, offset: usize, more: bool, data: &[u8], ecn: u8) -> Frag {
        let mut frame = vec![0; 14];
        let packet = if self.v6 {
            let source = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, self.sender);
            let ip = Ipv6 { dscp_ecn: ecn, ..Ipv6::outgoing(source, Ipv6Addr::LOCALHOST, 44, 8 + data.len()) };
            frame.resize(54, 0);
            ipv6::emit(&mut frame[14..], &ip);
            let mut header = [0; 8];
            extension::emit_fragment_header(&mut header, UDP, offset as u16, more, u32::from(self.id));
            frame.extend(header);
            Packet::ipv6(ETHERNET, &ip, false)
        } else {
            let [high, low] = self.sender.to_be_bytes();
            let ip = Ipv4 {
                identification: self.id,
                dont_fragment: false,
                more_fragments: more,
                fragment_offset: offset as u16,
                dscp_ecn: ecn,
                ..Ipv4::outgoing(Ipv4Addr::new(10, 1, high, low), Ipv4Addr::new(10, 0, 0, 2), UDP, data.len())
            };
            frame.resize(34, 0);
            assert_eq!(ipv4::emit(&mut frame[14..], &ip), 20);
            Packet::ipv4(ETHERNET, &ip, false)
        };
        frame.extend(data);
        Frag { packet, frame }
    }

    /// A datagram cut into fragments of `each` bytes.
    fn cut(self, data: &[u8], each: usize) -> Vec<Frag> {
        let count = data.len().div_ceil(each);
        data.chunks(each).enumerate().map(|(nth, part)| self.part(nth * each, nth + 1 < count, part)).collect()
    }
}

/// A core's reassembly, and what it counted.
#[derive(Default)]
struct World {
    reassembly: Reassembly,
    drops: DropCounters,
    whole: Vec<u8>,
    now: Instant,
}

impl World {
    fn take(&mut self, frag: &Frag) -> Result<Option<Vec<u8>>, Drop> {
        self.whole.resize(WHOLE_MAX, 0);
        let part = frag.read()?;
        let taken = self.reassembly.take(self.now, &part, &mut self.whole, &mut self.drops)?;
        Ok(taken.map(|packet| {
            let bytes = &self.whole[packet.whole()];
            if packet.is_ipv4() {
                let ip = ipv4::parse(bytes).unwrap();
                assert!(!ip.is_fragment() && ip.total_len == bytes.len());
            } else {
                let ip = ipv6::parse(bytes).unwrap();
                assert_eq!((ip.next_header, ip.payload_len), (UDP, bytes.len() - 40));
            }
            self.whole[packet.payload()].to_vec()
        }))
    }

    fn expire(&mut self) -> Option<Expired> {
        self.whole.resize(WHOLE_MAX, 0);
        self.reassembly.expire(self.now, &mut self.whole)
    }
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + n / 251) as u8).collect()
}

#[test]
fn every_order_gives_the_same_datagram() {
    for name in [V4, V6] {
        let data = text(65_507);
        for step in [1, 7, 45] {
            let mut world = World::default();
            let frags = name.cut(&data, 1448);
            let mut done = None;
            for nth in 0..frags.len() {
                assert_eq!(done, None);
                done = world.take(&frags[nth * step % frags.len()]).unwrap();
            }
            assert_eq!(done.as_ref(), Some(&data), "{name:?} {step}");
            assert_eq!((world.reassembly.len(), world.reassembly.in_use()), (0, 0));
        }
    }
}

#[test]
fn a_fragment_longer_than_a_piece_of_memory_takes_several() {
    let data = text(60_000);
    let mut world = World::default();
    let done: Vec<_> = V4.cut(&data, 3976).iter().rev().filter_map(|frag| world.take(frag).unwrap()).collect();
    assert_eq!(done, [data]);
}

//= type=test
//= rfc8200#4.5
//# If any of the fragments being reassembled overlap with any
//# other fragments being reassembled for the same packet,
//# reassembly of that packet must be abandoned and all the
//# fragments that have been received for that packet must be
//# discarded, and no ICMP error messages should be sent.
#[test]
fn an_overlap_ends_the_datagram() {
    for (offset, len) in [(0, 8), (8, 8), (8, 16), (0, 24), (16, 16)] {
        for name in [V4, V6] {
            let mut world = World::default();
            assert_eq!(world.take(&name.part(8, true, &text(16))), Ok(None));
            let second = world.take(&name.part(offset, true, &vec![0; len]));
            if offset + len <= 8 {
                assert_eq!(second, Ok(None));
                continue;
            }
            assert_eq!(second, Err(Drop::FragmentOverlap), "{offset} {len}");
            // RFC 5722: also what has yet to come, in IPv6; an identification of IPv4 may be another datagram's.
            let third = world.take(&name.part(0, true, &text(8)));
            assert_eq!(third, if name.v6 { Err(Drop::FragmentOverlap) } else { Ok(None) });
            world.now += TIMEOUT;
            assert_eq!(world.expire().is_some(), !name.v6, "no error is sent for it");
            assert_eq!((world.expire(), world.reassembly.in_use()), (None, 0));
            assert_eq!(world.reassembly.deadline(), Instant::NEVER);
        }
    }
}

#[test]
fn an_exact_duplicate_does_no_harm() {
    for name in [V4, V6] {
        let (data, mut world) = (text(5000), World::default());
        let frags = name.cut(&data, 2496);
        assert_eq!(world.take(&frags[0]), Ok(None));
        assert_eq!(world.take(&frags[0]), Err(Drop::FragmentDuplicate));
        assert_eq!(world.take(&frags[2]), Ok(None));
        assert_eq!(world.take(&frags[2]), Err(Drop::FragmentDuplicate));
        assert_eq!(world.take(&frags[1]), Ok(Some(data)));
    }
}

#[test]
fn lengths_that_lie_are_refused() {
    let malformed = |name: Name| if name.v6 { Drop::Ipv6FragmentMalformed } else { Drop::Ipv4FragmentMalformed };
    for name in [V4, V6] {
        for (offset, more, len) in [(0, true, 12), (8, true, 0), (8, false, 0), (65_528, false, 9), (65_528, true, 8)] {
            let frag = name.part(offset, more, &text(len));
            assert_eq!(frag.read().err(), Some(malformed(name)), "{name:?} {offset} {more} {len}");
        }
        // Beyond the end, an end before what has come, another end, more at the end.
        for ((offset, more, len), (again, again_more, again_len)) in [
            ((8, false, 8), (16, true, 8)),
            ((16, true, 8), (8, false, 4)),
            ((8, false, 8), (8, false, 16)),
            ((8, false, 8), (8, true, 8)),
        ] {
            let mut world = World::default();
            assert_eq!(world.take(&name.part(offset, more, &text(len))), Ok(None));
            assert_eq!(world.take(&name.part(again, again_more, &text(again_len))), Err(Drop::FragmentEndLies));
            assert_eq!(world.reassembly.in_use(), 0);
        }
    }
    // 20 bytes of header and 65,516 of data are one too many for IPv4.
    let mut world = World::default();
    assert_eq!(world.take(&V4.part(65_512, false, &text(3))), Ok(None));
    assert_eq!(V4.part(65_512, false, &text(4)).read().err(), Some(Drop::Ipv4FragmentMalformed));
}

#[test]
fn a_datagram_has_so_many_fragments_and_no_more() {
    let mut world = World::default();
    for nth in 1..=FRAGMENTS_PER_DATAGRAM {
        assert_eq!(world.take(&V4.part(nth * 8, true, &text(8))), Ok(None));
    }
    assert_eq!(world.take(&V4.part(8000, true, &text(8))), Err(Drop::FragmentTooMany));
    assert!(world.reassembly.is_empty());
}

#[test]
fn one_sender_has_its_share_and_the_oldest_gives_way() {
    let mut world = World::default();
    let share = FRAGMENTED_DATAGRAMS / FRAGMENT_SHARE;
    for id in 0..share as u16 + 5 {
        assert_eq!(world.take(&Name { id, ..V4 }.part(0, true, &text(8))), Ok(None));
        world.now += Duration::from_millis(1);
    }
    assert_eq!((world.reassembly.len(), world.drops.of(Drop::FragmentShareFull)), (share, 5));
    for sender in 0..FRAGMENTED_DATAGRAMS as u16 {
        let name = Name { sender: sender + 2, ..V6 };
        assert_eq!(world.take(&name.part(0, true, &text(8))), Ok(None));
        world.now += Duration::from_millis(1);
    }
    assert_eq!((world.reassembly.len(), world.drops.of(Drop::FragmentGaveWay)), (FRAGMENTED_DATAGRAMS, share as u64));
}

#[test]
fn memory_is_bounded_for_one_sender_and_for_all() {
    let (mut world, data) = (World::default(), text(65_000));
    for sender in 0..8 {
        for id in 0..20 {
            let name = Name { v6: false, sender, id };
            for frag in &name.cut(&data, 1480)[1..] {
                assert_eq!(world.take(frag), Ok(None));
            }
            world.now += Duration::from_millis(1);
            assert!(world.reassembly.in_use() <= (usize::from(sender) + 1) * FRAGMENT_PIECES / FRAGMENT_SHARE);
        }
    }
    assert!(world.drops.of(Drop::FragmentShareFull) > 0 && world.drops.of(Drop::FragmentGaveWay) > 0);
    // The newest can still be finished.
    let last = Name { v6: false, sender: 7, id: 19 };
    assert_eq!(world.take(&last.cut(&data, 1480)[0]), Ok(Some(data)));
}

//= type=test
//= rfc1122#3.3.2
//# If this timeout expires, the partially-reassembled
//# datagram MUST be discarded and an ICMP Time Exceeded message
//# sent to the source host (if fragment zero has been received).
#[test]
fn a_datagram_ends_with_its_time_and_gives_its_first_fragment_back() {
    for name in [V4, V6] {
        let (first, later) = (name.part(0, true, &text(1448)), name.part(1448, true, &text(8)));
        for (frags, quoted) in [(vec![&first, &later], true), (vec![&later], false)] {
            let mut world = World::default();
            frags.iter().for_each(|frag| assert_eq!(world.take(frag), Ok(None)));
            assert_eq!(world.reassembly.deadline(), world.now + TIMEOUT);
            world.now += TIMEOUT - Duration::from_nanos(1);
            assert_eq!(world.expire(), None);
            world.now += Duration::from_nanos(1);
            let expired = world.expire().unwrap();
            assert_eq!(expired.first.is_some(), quoted);
            if let Some(packet) = expired.first {
                assert_eq!(world.whole[packet.whole()], first.frame[14..]);
            }
            assert_eq!((world.expire(), world.reassembly.deadline()), (None, Instant::NEVER));
            assert_eq!(world.reassembly.in_use(), 0);
        }
    }
}

//= type=test
//= rfc3168#5.3
//# Reassembly of a fragmented packet MUST NOT lose indications of
//# congestion.
#[test]
fn a_mark_on_one_fragment_is_a_mark_on_the_datagram() {
    for name in [V4, V6] {
        for (ecn, expected) in [([2, 2], Ok(2)), ([2, 3], Ok(3)), ([3, 2], Ok(3)), ([0, 0], Ok(0)), ([0, 3], Err(()))] {
            let mut world = World::default();
            assert_eq!(world.take(&name.marked(0, true, &text(8), ecn[0])), Ok(None));
            let done = world.take(&name.marked(8, false, &text(8), ecn[1]));
            assert_eq!(done.is_ok(), expected.is_ok(), "{ecn:?}");
            if let Ok(expected) = expected {
                let class = if name.v6 { ipv6::parse(&world.whole).unwrap().dscp_ecn } else { world.whole[1] };
                assert_eq!(class, expected);
            } else {
                assert_eq!(done, Err(Drop::FragmentEcnMixed));
            }
        }
    }
}

/// What RFC 8200 4.5 says, byte by byte.
#[derive(Default)]
struct Model {
    parts: Vec<(usize, bool, Vec<u8>)>,
    refused: Option<Drop>,
}

impl Model {
    fn take(&mut self, offset: usize, more: bool, data: &[u8]) -> Result<Option<Vec<u8>>, Drop> {
        if let Some(why) = self.refused {
            return Err(why);
        }
        let result = self.judge(offset, more, data);
        match result {
            Err(Drop::FragmentDuplicate) => {}
            Err(why) => self.refused = Some(why),
            Ok(_) => {}
        }
        result
    }

    fn judge(&mut self, offset: usize, more: bool, data: &[u8]) -> Result<Option<Vec<u8>>, Drop> {
        let end_of = |parts: &[(usize, bool, Vec<u8>)]| parts.iter().find(|part| !part.1).map(|part| part.0 + part.2.len());
        let known = end_of(&self.parts);
        let end = offset + data.len();
        let furthest = self.parts.iter().map(|part| part.0 + part.2.len()).max().unwrap_or(0);
        if known.is_some_and(|known| if more { end >= known } else { end != known }) || (!more && furthest > end) {
            return Err(Drop::FragmentEndLies);
        }
        if self.parts.iter().any(|part| part.0 == offset && part.2 == data) {
            return Err(Drop::FragmentDuplicate);
        }
        let mut bytes: HashMap<usize, u8> = HashMap::new();
        for (offset, _, data) in &self.parts {
            bytes.extend(data.iter().enumerate().map(|(nth, &byte)| (offset + nth, byte)));
        }
        if (offset..end).any(|at| bytes.contains_key(&at)) {
            return Err(Drop::FragmentOverlap);
        }
        bytes.extend(data.iter().enumerate().map(|(nth, &byte)| (offset + nth, byte)));
        self.parts.push((offset, more, data.to_vec()));
        let Some(whole) = end_of(&self.parts) else { return Ok(None) };
        Ok((0..whole).map(|at| bytes.get(&at).copied()).collect())
    }
}

proptest! {
    /// Any order, duplicates, loss, overlaps and contradictions, of several datagrams at once.
    #[test]
    fn it_does_what_the_naive_model_does(
        steps in proptest::collection::vec((any::<bool>(), 0u16..2, 0u16..2, 0usize..6, any::<bool>(), 1usize..4, 0u8..20), 0..60),
    ) {
        let mut world = World::default();
        let mut models: HashMap<Name, Model> = HashMap::new();
        for (v6, sender, id, unit, more, units, odd) in steps {
            let name = Name { v6, sender, id };
            let len = if more { units * 8 } else { units * 8 - 3 };
            // Mostly what belongs there, sometimes something else.
            let data: Vec<u8> = (0..len).map(|n| (unit * 8 + n) as u8 ^ u8::from(odd == 0)).collect();
            let model = models.entry(name).or_default();
            if unit == 0 && !more {
                // Not a fragment.
                continue;
            }
            let expected = model.take(unit * 8, more, &data);
            let forgotten = matches!(expected, Ok(Some(_))) || (!v6 && model.refused.is_some());
            prop_assert_eq!(world.take(&name.part(unit * 8, more, &data)), expected);
            if forgotten {
                models.remove(&name);
            }
        }
    }

    #[test]
    fn what_was_cut_and_mixed_comes_out_whole(
        len in 2500usize..65_507, each in 1usize..300, v6 in any::<bool>(), order in any::<u64>(), repeat in any::<bool>(),
    ) {
        let (name, data, mut world) = (Name { v6, ..V4 }, text(len), World::default());
        let mut frags = name.cut(&data, (each * 8).max(520).next_multiple_of(8));
        let mut rng = crate::rng::Rng::seeded(order);
        for last in (1..frags.len()).rev() {
            frags.swap(last, rng.below(last as u64 + 1) as usize);
        }
        let mut done = None;
        for frag in &frags {
            prop_assert_eq!(&done, &None);
            done = world.take(frag).unwrap();
            if repeat && done.is_none() {
                prop_assert_eq!(world.take(frag), Err(Drop::FragmentDuplicate));
            }
        }
        prop_assert_eq!(done, Some(data));
        prop_assert_eq!(world.reassembly.in_use(), 0);
    }

    /// Whatever is in a frame: no panic, and the memory comes back.
    #[test]
    fn any_bytes_are_survived(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 14..200), 0..20)) {
        let mut world = World::default();
        for mut frame in frames {
            for v6 in [false, true] {
                let mut packet = Name { v6, ..V4 }.part(8, true, &[0; 8]).packet;
                packet.end = frame.len();
                if let Some(first) = frame.get_mut(14) {
                    *first = if v6 { 0x60 } else { 0x45 };
                }
                let _ = world.take(&Frag { packet, frame: frame.clone() });
            }
        }
        world.now += TIMEOUT;
        while world.expire().is_some() {}
        prop_assert_eq!(world.reassembly.in_use(), 0);
    }
}
