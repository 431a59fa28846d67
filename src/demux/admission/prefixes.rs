//! Which addresses may begin with us: prefixes that are allowed and denied, the most specific one decides.
//!
//! Built once from the operator's lists, then only read, by the engine for packets that no connection of ours owns. Nested prefixes become
//! a row of ranges that lie side by side, each admitted or not, so that a look is one binary search: some ten steps for the most
//! prefixes there may be, whatever their lengths. Cannot panic.

use std::net::IpAddr;

use super::super::key::Address;
use crate::limits;
use crate::link::interface::Cidr;

/// Lists of prefixes of both families.
///
/// ```
/// use ringway::demux::admission::Prefixes;
/// let denied = ["10.0.0.0/8".parse()?];
/// let allowed = ["10.1.0.0/16".parse()?];
/// let prefixes = Prefixes::new(&allowed, &denied).expect("few enough");
/// let admits = |text: &str| prefixes.admits(text.parse::<std::net::IpAddr>().unwrap().into());
/// assert!(admits("10.1.2.3") && !admits("10.2.0.1"));
/// assert!(!admits("192.0.2.1") && !admits("fd00::1"), "something is allowed, and these are not");
/// # Ok::<(), ringway::error::SetupError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefixes {
    v4: Ranges,
    v6: Ranges,
}

/// The first address of each range, from 0 on and rising, and whether the range is admitted.
type Ranges = Vec<(u128, bool)>;

impl Prefixes {
    /// Lists of networks, each given by any address in it. The longest prefix around an address decides, and of two equal ones the one that denies. What is in
    /// none is admitted when nothing is allowed, else refused: who allows something of one family alone refuses the other. `None` when there are
    /// more than [`limits::ADMISSION_PREFIXES`].
    pub fn new(allowed: &[Cidr], denied: &[Cidr]) -> Option<Self> {
        if allowed.len() + denied.len() > limits::ADMISSION_PREFIXES {
            return None;
        }
        let unnamed = allowed.is_empty();
        let both = || allowed.iter().map(|cidr| (cidr, true)).chain(denied.iter().map(|cidr| (cidr, false)));
        let family = |v4| {
            let nodes = both().filter(|(cidr, _)| cidr.address.is_ipv4() == v4).map(|(cidr, admitted)| Node::of(cidr, admitted));
            side_by_side(nodes.collect(), unnamed)
        };
        Some(Self { v4: family(true), v6: family(false) })
    }

    /// True when the most specific prefix around an address allows it.
    pub fn admits(&self, address: Address) -> bool {
        let (ranges, bits) = match address.v4() {
            Some(v4) => (&self.v4, u128::from(v4.to_bits())),
            None => (&self.v6, u128::from_be_bytes(*address.octets())),
        };
        let behind = ranges.partition_point(|(first, _)| *first <= bits);
        behind.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, admitted)| *admitted)
    }
}

/// A prefix as the addresses it covers.
#[derive(Clone, Copy, Debug)]
struct Node {
    first: u128,
    last: u128,
    admitted: bool,
}

impl Node {
    fn of(cidr: &Cidr, admitted: bool) -> Self {
        let (first, width) = match cidr.network() {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        let free: u32 = width - u32::from(cidr.prefix).min(width);
        let behind = u128::MAX.checked_shr(128 - free).unwrap_or(0);
        Self { first, last: first | behind, admitted }
    }
}

/// The ranges that nested prefixes make of the whole family.
fn side_by_side(mut nodes: Vec<Node>, unnamed: bool) -> Ranges {
    // The outer one first; of two equal ones the one that denies comes last, and so lies innermost.
    nodes.sort_by_key(|node| (node.first, std::cmp::Reverse(node.last), !node.admitted));
    let mut ranges: Ranges = vec![(0, unnamed)];
    let mut around: Vec<Node> = Vec::new();
    for node in nodes {
        leave(&mut ranges, &mut around, unnamed, |outer| outer.last < node.first);
        begin(&mut ranges, node.first, node.admitted);
        around.push(node);
    }
    leave(&mut ranges, &mut around, unnamed, |_| true);
    ranges.shrink_to_fit();
    ranges
}

/// Ends the innermost prefixes for as long as they are over: behind each the one around it decides again.
fn leave(ranges: &mut Ranges, around: &mut Vec<Node>, unnamed: bool, over: impl Fn(&Node) -> bool) {
    while let Some(inner) = around.pop_if(|inner| over(inner)) {
        if let Some(next) = inner.last.checked_add(1) {
            begin(ranges, next, around.last().map_or(unnamed, |outer| outer.admitted));
        }
    }
}

/// A range begins, in place of one that began at the same address, and unless the one before it says the same.
fn begin(ranges: &mut Ranges, first: u128, admitted: bool) {
    ranges.pop_if(|(begun, _)| *begun == first);
    if ranges.last().is_none_or(|(_, before)| *before != admitted) {
        ranges.push((first, admitted));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn list(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// The rule, read from the lists word by word.
    fn naive(allowed: &[Cidr], denied: &[Cidr], address: IpAddr) -> bool {
        let longest = |list: &[Cidr]| list.iter().filter(|cidr| cidr.contains(address)).map(|cidr| cidr.prefix).max();
        match (longest(allowed), longest(denied)) {
            (None, None) => allowed.is_empty(),
            (allowed, denied) => allowed > denied,
        }
    }

    #[test]
    fn the_most_specific_prefix_decides_and_of_two_equal_ones_the_one_that_denies() {
        let prefixes = Prefixes::new(
            &list(&["10.0.0.0/8", "10.1.2.0/24", "fd00::/64", "10.9.0.0/16"]),
            &list(&["10.1.0.0/16", "10.9.0.0/16", "fd00::7/128"]),
        );
        let prefixes = prefixes.unwrap();
        for (address, admitted) in [
            ("10.0.0.0", true),
            ("10.0.255.255", true),
            ("10.1.0.0", false),
            ("10.1.2.0", true),
            ("10.1.2.255", true),
            ("10.1.3.0", false),
            ("10.2.0.0", true),
            ("10.9.0.1", false),
            ("9.255.255.255", false),
            ("11.0.0.0", false),
            ("fd00::6", true),
            ("fd00::7", false),
            ("fd00::8", true),
            ("fd00:0:0:1::", false),
        ] {
            assert_eq!(prefixes.admits(address.parse::<IpAddr>().unwrap().into()), admitted, "{address}");
        }
    }

    #[test]
    fn the_ends_of_a_family_belong_to_it() {
        let all = Prefixes::new(&list(&["::/0"]), &list(&["0.0.0.0/0", "ffff::/16"])).unwrap();
        for (address, admitted) in [("0.0.0.0", false), ("255.255.255.255", false), ("::", true), ("fffe::", true)] {
            assert_eq!(all.admits(address.parse::<IpAddr>().unwrap().into()), admitted, "{address}");
        }
        assert!(!all.admits(Ipv6Addr::from_bits(u128::MAX).into()));
    }

    #[test]
    fn too_many_are_refused() {
        let many = vec!["10.0.0.0/24".parse().unwrap(); limits::ADMISSION_PREFIXES];
        assert!(Prefixes::new(&many, &[]).is_some());
        assert_eq!(Prefixes::new(&many, &list(&["10.0.0.0/8"])), None);
    }

    /// Prefixes that nest and meet: few different bits, all lengths.
    fn cidr() -> impl Strategy<Value = Cidr> {
        let bits = prop::sample::select(vec![0_u32, 1, 0x0a00_0000, 0x0a01_0000, 0x0a01_0203, 0x8000_0000, u32::MAX]);
        (bits, 0..=32_u8, any::<bool>()).prop_map(|(bits, prefix, v4)| match v4 {
            true => Cidr { address: IpAddr::V4(Ipv4Addr::from_bits(bits)), prefix },
            false => Cidr { address: wide(bits), prefix: prefix * 4 },
        })
    }

    fn wide(bits: u32) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(u128::from(bits) << 96 | u128::from(bits)))
    }

    proptest! {
        #[test]
        fn ranges_say_what_the_lists_say(
            allowed in prop::collection::vec(cidr(), 0..8),
            denied in prop::collection::vec(cidr(), 0..8),
            random in any::<u32>(),
        ) {
            let prefixes = Prefixes::new(&allowed, &denied).unwrap();
            // Where anything can change: at both ends of each prefix, and beside them.
            let mut tried = vec![IpAddr::V4(Ipv4Addr::from_bits(random)), wide(random)];
            for cidr in allowed.iter().chain(&denied) {
                let Node { first, last, .. } = Node::of(cidr, true);
                for bits in [first, last, first.wrapping_sub(1), last.wrapping_add(1)] {
                    tried.push(match cidr.address {
                        IpAddr::V4(_) => Ipv4Addr::from_bits(bits as u32).into(),
                        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
                    });
                }
            }
            // Addresses of IPv4 written as such of IPv6 are IPv4's.
            tried.retain(|address| !matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()));
            for address in tried {
                prop_assert_eq!(prefixes.admits(address.into()), naive(&allowed, &denied, address), "{}", address);
            }
        }
    }
}
