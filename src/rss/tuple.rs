//! What of a packet is hashed: addresses, and ports where the NIC takes them, in the order of the header.

use std::net::{IpAddr, SocketAddr};

use crate::link::interface::Transport;

/// A packet as the NIC that receives it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// TCP or UDP.
    pub transport: Transport,
    /// Who sent it.
    pub source: SocketAddr,
    /// Who it is for.
    pub target: SocketAddr,
}

/// What is done with both ends before they are hashed (`RXH_XFRM_*` in include/uapi/linux/ethtool.h), so that both directions of a flow
/// come out the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transform {
    /// Nothing: source, then target.
    #[default]
    None,
    /// `symmetric-xor`: source ^ target in both places.
    SymmetricXor,
    /// `symmetric-or-xor`: source | target, then source ^ target.
    SymmetricOrXor,
    /// Another, by its bits.
    Other(u8),
}

/// What goes into the hash: 36 bytes at most, of two IPv6 addresses and two ports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    bytes: [u8; 36],
    len: usize,
}

impl Tuple {
    /// The bytes to hash. `None` when the ends are of different families, or when the transform is not known.
    pub(super) fn input(&self, with_ports: bool, transform: Transform) -> Option<Input> {
        let mut input = Input { bytes: [0; 36], len: 0 };
        match (self.source.ip(), self.target.ip()) {
            (IpAddr::V4(source), IpAddr::V4(target)) => input.push(source.octets(), target.octets(), transform)?,
            (IpAddr::V6(source), IpAddr::V6(target)) => input.push(source.octets(), target.octets(), transform)?,
            _ => return None,
        }
        if with_ports {
            input.push(self.source.port().to_be_bytes(), self.target.port().to_be_bytes(), transform)?;
        }
        Some(input)
    }
}

impl Input {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Appends one field of both ends.
    fn push<const N: usize>(&mut self, source: [u8; N], target: [u8; N], transform: Transform) -> Option<()> {
        let each = |of: fn(u8, u8) -> u8| -> [u8; N] { std::array::from_fn(|n| of(source[n], target[n])) };
        let (first, second) = match transform {
            Transform::None => (source, target),
            Transform::SymmetricXor => (each(|a, b| a ^ b), each(|a, b| a ^ b)),
            Transform::SymmetricOrXor => (each(|a, b| a | b), each(|a, b| a ^ b)),
            Transform::Other(_) => return None,
        };
        for half in [first, second] {
            self.bytes.get_mut(self.len..self.len + N)?.copy_from_slice(&half);
            self.len += N;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rss::Toeplitz;
    use crate::rss::toeplitz::PUBLISHED_KEY;

    fn tuple(source: &str, target: &str) -> Tuple {
        Tuple { transport: Transport::Tcp, source: source.parse().unwrap(), target: target.parse().unwrap() }
    }

    fn hash(tuple: &Tuple, with_ports: bool, transform: Transform) -> u32 {
        Toeplitz::new(PUBLISHED_KEY).hash(tuple.input(with_ports, transform).unwrap().bytes()).unwrap()
    }

    /// Microsoft, "Verifying the RSS hash calculation": source, target, the hash of the addresses, and of addresses and ports.
    const PUBLISHED: [(&str, &str, u32, u32); 8] = [
        ("66.9.149.187:2794", "161.142.100.80:1766", 0x323e_8fc2, 0x51cc_c178),
        ("199.92.111.2:14230", "65.69.140.83:4739", 0xd718_262a, 0xc626_b0ea),
        ("24.19.198.95:12898", "12.22.207.184:38024", 0xd2d0_a5de, 0x5c2b_394a),
        ("38.27.205.30:48228", "209.142.163.6:2217", 0x8298_9176, 0xafc7_327f),
        ("153.39.163.191:44251", "202.188.127.2:1303", 0x5d18_09c5, 0x10e8_28a2),
        ("[3ffe:2501:200:1fff::7]:2794", "[3ffe:2501:200:3::1]:1766", 0x2cc1_8cd5, 0x4020_7d3d),
        ("[3ffe:501:8::260:97ff:fe40:efab]:14230", "[ff02::1]:4739", 0x0f0c_461c, 0xdde5_1bbf),
        ("[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251", "[fe80::200:f8ff:fe21:67cf]:38024", 0x4b61_e985, 0x02d1_feef),
    ];

    #[test]
    fn the_published_vectors_come_out() {
        for (source, target, addresses, ports) in PUBLISHED {
            let packet = tuple(source, target);
            assert_eq!(hash(&packet, false, Transform::None), addresses, "{source} to {target}");
            assert_eq!(hash(&packet, true, Transform::None), ports, "{source} to {target}");
        }
    }

    #[test]
    fn the_transforms_are_the_kernels() {
        let packet = tuple("10.0.0.1:258", "10.0.0.3:772");
        let input = |transform| packet.input(true, transform).unwrap().bytes().to_vec();
        assert_eq!(input(Transform::None), [10, 0, 0, 1, 10, 0, 0, 3, 1, 2, 3, 4]);
        assert_eq!(input(Transform::SymmetricXor), [0, 0, 0, 2, 0, 0, 0, 2, 2, 6, 2, 6]);
        assert_eq!(input(Transform::SymmetricOrXor), [10, 0, 0, 3, 0, 0, 0, 2, 3, 6, 2, 6]);
        assert!(packet.input(true, Transform::Other(4)).is_none());
    }

    #[test]
    fn the_symmetric_ones_are_the_same_in_both_directions() {
        for (source, target, ..) in PUBLISHED {
            let (there, back) = (tuple(source, target), tuple(target, source));
            for transform in [Transform::SymmetricXor, Transform::SymmetricOrXor] {
                assert_eq!(hash(&there, true, transform), hash(&back, true, transform));
                assert_ne!(hash(&there, true, transform), hash(&there, true, Transform::None));
            }
        }
    }

    #[test]
    fn ends_of_two_families_are_no_packet() {
        assert!(tuple("10.0.0.1:1", "[::1]:2").input(false, Transform::None).is_none());
    }
}
