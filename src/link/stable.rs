//! Interface identifiers that stay the same on one network and tell nothing (RFC 7217).
//!
//! Called when an engine opens an interface that has been given no link-local address. An identifier made of the Ethernet address would tell
//! the make of the card, and follow it from network to network; this one is a keyed hash. Pure; nothing panics.

use std::net::Ipv6Addr;

use siphasher::sip::SipHasher24;

/// The identifiers tried before an interface goes without (RFC 7217 6, IDGEN_RETRIES): one, and three more.
pub const ATTEMPTS: u8 = 4;

/// The link-local address of an interface. `attempt` counts from 0, one more for every address that another station turned out to have; up to
/// [`ATTEMPTS`]. `secret` must stay the same as long as the address is to. `None` when the identifier is reserved: take the next attempt.
pub fn link_local(secret: &[u8; 16], interface: &str, attempt: u8) -> Option<Ipv6Addr> {
    address(secret, 0xfe80 << 48, interface, attempt)
}

/// The same under any prefix of 64 bits, as a router advertises it (RFC 4862 5.5.3 d).
pub fn address(secret: &[u8; 16], prefix: u64, interface: &str, attempt: u8) -> Option<Ipv6Addr> {
    let identifier = identifier(secret, prefix, interface, attempt);
    (!is_reserved(identifier)).then(|| Ipv6Addr::from_bits(u128::from(prefix) << 64 | u128::from(identifier)))
}

/// The identifier of an interface under a prefix of 64 bits: `F(Prefix, Net_Iface, DAD_Counter, secret_key)` (RFC 7217 5).
fn identifier(secret: &[u8; 16], prefix: u64, interface: &str, attempt: u8) -> u64 {
    // What goes before the name has a fixed length, so no two inputs are the same bytes.
    let mut input = [0; 9 + NAME_MAX];
    let name = interface.as_bytes().get(..NAME_MAX).unwrap_or(interface.as_bytes());
    input[..8].copy_from_slice(&prefix.to_be_bytes());
    input[8] = attempt;
    let len = 9 + name.len();
    input[9..len].copy_from_slice(name);
    SipHasher24::new_with_key(secret).hash(&input[..len])
}

/// True for the identifiers that mean something (RFC 5453): the anycast address of the routers, the anycast addresses of a subnet, and those
/// made of the Ethernet addresses of IANA.
const fn is_reserved(identifier: u64) -> bool {
    matches!(identifier, 0 | 0x0200_5eff_fe00_0000..=0x0200_5eff_feff_ffff | 0xfdff_ffff_ffff_ff80..=0xfdff_ffff_ffff_ffff)
}

/// The longest name of an interface that tells one from another; the kernel's have 15 bytes at most (`IFNAMSIZ`).
const NAME_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: [u8; 16] = *b"sixteen secrets!";

    #[test]
    fn an_address_stays_until_anything_it_is_made_of_changes() {
        let address = link_local(&SECRET, "eth0", 0).unwrap();
        assert!(address.is_unicast_link_local());
        assert_eq!(address.segments()[1..4], [0; 3]);
        assert_eq!(link_local(&SECRET, "eth0", 0), Some(address));
        for other in [link_local(&[7; 16], "eth0", 0), link_local(&SECRET, "eth1", 0), link_local(&SECRET, "eth0", 1)] {
            assert_ne!(other.unwrap().segments()[4..], address.segments()[4..]);
        }
        assert_ne!(identifier(&SECRET, 1, "eth0", 0), identifier(&SECRET, 2, "eth0", 0), "and under every prefix another");
    }

    #[test]
    fn an_identifier_is_not_made_of_an_ethernet_address() {
        let addresses = (0..4).filter_map(|attempt| link_local(&SECRET, "eth0", attempt));
        assert!(addresses.into_iter().all(|address| address.octets()[11..13] != [0xff, 0xfe]));
    }

    #[test]
    fn reserved_identifiers_are_known_to_the_last() {
        for (first, last) in
            [(0, 0), (0x0200_5eff_fe00_0000, 0x0200_5eff_feff_ffff), (0xfdff_ffff_ffff_ff80, 0xfdff_ffff_ffff_ffff)]
        {
            let first: u64 = first;
            let last: u64 = last;
            assert!(is_reserved(first) && is_reserved(last));
            assert!(!is_reserved(first.wrapping_sub(1)) && !is_reserved(last + 1));
        }
    }

    proptest! {
        #[test]
        fn no_name_makes_it_panic(name in ".{0,100}", attempt in any::<u8>()) {
            let _ = link_local(&SECRET, &name, attempt);
        }
    }
}
