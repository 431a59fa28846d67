//! Frames built by hand, right or wrong on purpose, and put on the wire as they are.

use std::io::Write;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use crate::family;
use crate::world::{INTERFACE, World};

/// Puts frames on the client's end of the pair through an AF_PACKET socket (Python's, which needs no unsafe code).
pub(crate) struct Injector {
    helper: Child,
}

impl Injector {
    pub(crate) fn new(world: &World) -> Self {
        let helper = world.client.command("python3").args(["-c", HELPER, INTERFACE]).stdin(Stdio::piped()).spawn();
        Self { helper: helper.expect("ip starts") }
    }

    /// Sends one frame.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        let len = u16::try_from(frame.len()).expect("a frame");
        let pipe = self.helper.stdin.as_mut().expect("piped");
        pipe.write_all(&len.to_be_bytes()).and_then(|()| pipe.write_all(frame)).expect("the helper reads");
    }

    /// Waits until everything is on the wire and has been looked at.
    pub(crate) fn finish(mut self) {
        drop(self.helper.stdin.take());
        assert!(self.helper.wait().expect("wait").success(), "the helper failed");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Reads length and frame, again and again. A frame that the kernel refuses (shorter than a header) is left out; a full queue is
/// waited for.
const HELPER: &str = r#"
import socket, struct, sys, time
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((sys.argv[1], 0))
source = sys.stdin.buffer
while len(head := source.read(2)) == 2:
    frame = source.read(struct.unpack("!H", head)[0])
    for attempt in range(100):
        try:
            wire.send(frame)
            break
        except OSError as error:
            if error.errno != 105:
                break
            time.sleep(0.001)
"#;

/// What the frames of a test have in common.
pub(crate) struct Builder {
    server_mac: [u8; 6],
    client_mac: [u8; 6],
}

impl Builder {
    pub(crate) fn new(world: &World) -> Self {
        Self { server_mac: world.server_mac(), client_mac: world.client_mac() }
    }

    /// An Ethernet frame to the server.
    pub(crate) fn ethernet(&self, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        [&self.server_mac[..], &self.client_mac[..], &ethertype.to_be_bytes()[..], payload].concat()
    }

    /// An IP packet from the client to the server, all fields right.
    pub(crate) fn ip(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        self.ethernet(family::ETHERTYPE, &family::packet(protocol, payload))
    }

    /// A UDP datagram, all fields right.
    pub(crate) fn udp(&self, source_port: u16, target_port: u16, payload: &[u8]) -> Vec<u8> {
        let len = (8 + payload.len()) as u16;
        let mut datagram =
            [&source_port.to_be_bytes()[..], &target_port.to_be_bytes(), &len.to_be_bytes(), &[0; 2], payload].concat();
        let sum = transport_checksum(17, &datagram);
        datagram[6..8].copy_from_slice(&sum.to_be_bytes());
        self.ip(17, &datagram)
    }

    /// A TCP segment without options, all fields right.
    pub(crate) fn tcp(&self, source_port: u16, target_port: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut segment = [&source_port.to_be_bytes()[..], &target_port.to_be_bytes()].concat();
        segment.extend_from_slice(&[0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
        segment.extend_from_slice(payload);
        let sum = transport_checksum(6, &segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        self.ip(6, &segment)
    }

    /// An ICMP echo request, all fields right.
    pub(crate) fn ping(&self, payload: &[u8]) -> Vec<u8> {
        let mut message = [&[family::PING, 0, 0, 0, 0, 1, 0, 1][..], payload].concat();
        let sum = checksum(&[&family::icmp_pseudo_header(message.len())[..], &message].concat());
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.ip(family::ICMP, &message)
    }
}

/// Offset of the IP header in an untagged frame.
pub(crate) const IP: usize = 14;
/// Offset of what follows an IP header without options.
pub(crate) const TRANSPORT: usize = IP + family::HEADER_LEN;

/// Builds the sum of the IP header anew after a change of it.
pub(crate) fn seal(frame: &mut [u8]) {
    family::seal_header(&mut frame[IP..TRANSPORT]);
}

/// The pseudo-header's sum, not inverted: what an offload leaves in the field of a segment that it never fills in.
pub(crate) fn unfilled(protocol: u8, len: usize) -> u16 {
    !checksum(&family::pseudo_header(protocol, len))
}

fn transport_checksum(protocol: u8, segment: &[u8]) -> u16 {
    checksum(&[&family::pseudo_header(protocol, segment.len())[..], segment].concat())
}

/// The Internet checksum (RFC 1071).
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
