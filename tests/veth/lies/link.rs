//! Lies of Ethernet and ARP.

use ringway::device::Drop;

use super::Row;
use super::build::{Build, CLIENT, with};
use crate::world::SERVER;

const REQUEST: u8 = 1;
const REPLY: u8 = 2;

pub(super) fn rows(build: &Build) -> Vec<Row> {
    let udp = || build.udp4(40_000, 7);
    let ask = || build.arp(REQUEST, (&build.client(), CLIENT), SERVER);
    let arp = |at: usize, bytes: &[u8]| with(ask(), 14 + at, bytes);
    let rival = [2, 0, 0, 0, 0, 9];
    vec![
        Row::new("Ethernet: to another station", Drop::EthernetNotOurs, with(udp(), 0, &rival)),
        Row::new("Ethernet: from a group", Drop::EthernetSourceGroup, with(udp(), 6, &[3]))
            .differs("an answer would go to many stations"),
        Row::passed("ARP: hardware that is not Ethernet", arp(0, &[0, 6]))
            .differs("there hardware of IEEE 802 counts as Ethernet"),
        Row::passed("ARP: Ethernet addresses of 5 bytes", arp(4, &[5])),
        Row::new("ARP: from a group", Drop::ArpMalformed, arp(8, &[0x33, 0x33, 0, 0, 0, 1]))
            .differs("nothing is learned that would be sent to many"),
        Row::new("ARP: from an address of a group", Drop::ArpMalformed, arp(14, &[224, 0, 0, 1])),
        Row::new(
            "ARP: an answer that nobody asked for, from nobody",
            Drop::ArpNotOurs,
            build.arp(REPLY, (&rival, "0.0.0.0"), SERVER),
        ),
        Row::new("ARP: another station has our address", Drop::ArpConflict, build.arp(REQUEST, (&rival, SERVER), SERVER))
            .differs("RFC 5227 2.4: it is defended, once in 10 s; the kernel defends none"),
    ]
}
