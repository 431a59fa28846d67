//! Lies of UDP and TCP headers, where no connection is needed to tell them.

use ringway::device::Drop;

use super::Row;
use super::build::{BEHIND_4, BEHIND_6, Build, with};
use crate::frame::unfilled;

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

pub(super) fn rows(build: &Build) -> Vec<Row> {
    let udp = || build.udp4(40_000, 7);
    let field = |at: usize, bytes: &[u8]| with(udp(), BEHIND_4 + at, bytes);
    let syn = || build.tcp4(40_000, 7, SYN);
    let segment = |at: usize, bytes: &[u8]| with(syn(), BEHIND_4 + at, bytes);
    let broadcast = with(syn(), 0, &[0xff; 6]);
    vec![
        Row::new("UDP: shorter than its header", Drop::UdpTruncated, build.ip4(17, &[0; 7])),
        Row::new("UDP: a length below 8", Drop::UdpLengthLies, field(4, &[0, 7])),
        Row::new("UDP: longer than the packet", Drop::UdpLengthLies, field(4, &[0xff, 0xff])),
        Row::new("UDP: a wrong checksum", Drop::UdpChecksum, field(8, b"D")),
        Row::served("UDP over IPv4: no checksum", field(6, &[0, 0])),
        Row::new("UDP over IPv6: no checksum", Drop::UdpChecksum, with(build.udp6(40_000, 7), BEHIND_6 + 6, &[0, 0])),
        Row::new("UDP: the checksum left to an offload", Drop::ChecksumUnfilled, field(6, &unfilled(17, 16).to_be_bytes())),
        Row::new("UDP: to port 0", Drop::UdpPortZero, build.udp4(40_000, 0))
            .differs("a port that cannot be open has nobody who is told that it is closed"),
        Row::new("UDP: to a port that nobody has", Drop::UdpPortClosed, build.udp4(40_000, 4242)),
        Row::new("UDP over IPv6: to a port that nobody has", Drop::UdpPortClosed, build.udp6(40_000, 4242)),
        Row::new("UDP: from an echo service to an echo service", Drop::UdpUnsafeToAnswer, build.udp4(7, 7))
            .differs("two echo services would answer each other for ever"),
        Row::new("TCP: shorter than its header", Drop::TcpTruncated, build.ip4(6, &[0; 19])),
        Row::new("TCP: an offset beyond the segment", Drop::TcpTruncated, segment(12, &[0xf0])),
        Row::new("TCP: an offset of 4 words", Drop::TcpOffsetMalformed, segment(12, &[0x40])),
        Row::new("TCP: a wrong checksum", Drop::TcpChecksum, segment(4, &[0x55])),
        Row::new("TCP: the checksum left to an offload", Drop::ChecksumUnfilled, segment(16, &unfilled(6, 20).to_be_bytes())),
        Row::new("TCP: from port 0", Drop::TcpPortZero, build.tcp4(0, 7, SYN))
            .differs("nobody can have sent from a reserved port"),
        Row::new("TCP: to port 0", Drop::TcpPortZero, build.tcp4(40_000, 0, SYN))
            .differs("the port is reserved, and nobody can listen there"),
        Row::new("TCP: a SYN to a port that nobody has", Drop::TcpPortClosed, build.tcp4(40_000, 4242, SYN)),
        Row::new("TCP: an ACK to a port that nobody has", Drop::TcpPortClosed, build.tcp4(40_000, 4242, ACK)),
        Row::new("TCP: a RST to a port that nobody has", Drop::TcpPortClosed, build.tcp4(40_000, 4242, RST)),
        Row::new("TCP: a RST to a listener", Drop::TcpListenIgnored, build.tcp4(40_000, 7, RST)),
        Row::new("TCP: an ACK to a listener", Drop::TcpListenIgnored, build.tcp4(40_000, 7, ACK)),
        Row::passed("TCP: a SYN in a frame to all", broadcast),
    ]
}
