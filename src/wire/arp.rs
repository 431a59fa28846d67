//! The Address Resolution Protocol's packet, for Ethernet and IPv4 (RFC 826).
//!
//! Called by the engine for frames of [`super::ethernet::ETHERTYPE_ARP`]; what follows from a packet is decided in
//! [`crate::link::arp`]. Bytes behind the 28 of the packet are padding. No function here panics.

use std::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ethernet::{ETHERTYPE_IPV4, Mac};
use crate::device::Drop;

/// Operation: who has the target address?
pub const REQUEST: u16 = 1;
/// Operation: the sender has its address.
pub const REPLY: u16 = 2;
/// Length of the packet in bytes.
pub const LEN: usize = 28;

/// A packet. The operation is any number: a mapping is learned before the operation is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// [`REQUEST`], [`REPLY`] or something else (ar$op).
    pub operation: u16,
    /// Ethernet address of the sender (ar$sha).
    pub sender_mac: Mac,
    /// IPv4 address of the sender (ar$spa); unspecified in a probe (RFC 5227 1.1).
    pub sender: Ipv4Addr,
    /// Ethernet address of the target (ar$tha); means nothing in a request.
    pub target_mac: Mac,
    /// IPv4 address of the target (ar$tpa).
    pub target: Ipv4Addr,
}

/// Reads the packet behind the Ethernet header.
///
/// # Errors
/// [`Drop::ArpMalformed`]: fewer than 28 bytes, or not about Ethernet (1, length 6) and IPv4 (0x0800, length 4).
pub fn parse(bytes: &[u8]) -> Result<Arp, Drop> {
    let (raw, _) = Raw::ref_from_prefix(bytes).map_err(|_| Drop::ArpMalformed)?;
    let kind = (raw.hardware.get(), raw.protocol.get(), raw.hardware_len, raw.protocol_len);
    if kind != (HARDWARE_ETHERNET, ETHERTYPE_IPV4, 6, 4) {
        return Err(Drop::ArpMalformed);
    }
    Ok(Arp {
        operation: raw.operation.get(),
        sender_mac: Mac(raw.sender_mac),
        sender: raw.sender.into(),
        target_mac: Mac(raw.target_mac),
        target: raw.target.into(),
    })
}

/// Writes the packet to the begin of `bytes` and returns its length; 0, and nothing written, when it does not fit.
pub fn emit(bytes: &mut [u8], arp: &Arp) -> usize {
    let Ok((raw, _)) = Raw::mut_from_prefix(bytes) else { return 0 };
    *raw = Raw {
        hardware: HARDWARE_ETHERNET.into(),
        protocol: ETHERTYPE_IPV4.into(),
        hardware_len: 6,
        protocol_len: 4,
        operation: arp.operation.into(),
        sender_mac: arp.sender_mac.0,
        sender: arp.sender.octets(),
        target_mac: arp.target_mac.0,
        target: arp.target.octets(),
    };
    LEN
}

/// Hardware type of Ethernet (ar$hrd).
const HARDWARE_ETHERNET: u16 = 1;

/// The packet as it stands on the wire.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    hardware: U16,
    protocol: U16,
    hardware_len: u8,
    protocol_len: u8,
    operation: U16,
    sender_mac: [u8; 6],
    sender: [u8; 4],
    target_mac: [u8; 6],
    target: [u8; 4],
}

const _: () = assert!(size_of::<Raw>() == LEN);

#[cfg(test)]
mod tests {
    use etherparse::{ArpEthIpv4Packet, ArpOperation, ArpPacketSlice};
    use proptest::prelude::*;

    use super::*;

    fn request() -> Arp {
        Arp {
            operation: REQUEST,
            sender_mac: Mac([2, 0, 0, 0, 0, 1]),
            sender: Ipv4Addr::new(10, 0, 0, 1),
            target_mac: Mac::default(),
            target: Ipv4Addr::new(10, 0, 0, 2),
        }
    }

    #[test]
    fn a_packet_cut_anywhere_is_malformed() {
        let mut bytes = [0; LEN];
        assert_eq!(emit(&mut bytes, &request()), LEN);
        for cut in 0..LEN {
            assert_eq!(parse(&bytes[..cut]), Err(Drop::ArpMalformed));
            assert_eq!(emit(&mut [0; LEN][..cut], &request()), 0);
        }
    }

    #[test]
    fn other_hardware_and_protocols_are_malformed() {
        for (at, lie) in [(1, 6), (2, 0x86), (3, 0xdd), (4, 8), (4, 0), (5, 16), (5, 0)] {
            let mut bytes = [0; LEN];
            emit(&mut bytes, &request());
            bytes[at] = lie;
            assert_eq!(parse(&bytes), Err(Drop::ArpMalformed), "byte {at} = {lie}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_here_and_by_others(operation in any::<u16>(), macs in any::<[[u8; 6]; 2]>(), ips in any::<[[u8; 4]; 2]>()) {
            let arp = Arp { operation, sender_mac: Mac(macs[0]), sender: ips[0].into(), target_mac: Mac(macs[1]), target: ips[1].into() };
            let mut bytes = [0; LEN + 18];
            prop_assert_eq!(emit(&mut bytes, &arp), LEN);
            prop_assert_eq!(parse(&bytes), Ok(arp));
            let other = ArpPacketSlice::from_slice(&bytes).unwrap().to_packet().try_eth_ipv4().unwrap();
            prop_assert_eq!(other, ArpEthIpv4Packet {
                operation: ArpOperation(operation), sender_mac: macs[0], sender_ipv4: ips[0], target_mac: macs[1], target_ipv4: ips[1],
            });
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
