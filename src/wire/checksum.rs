//! The Internet checksum: computing, verifying and patching it (RFC 1071, RFC 1624).
//!
//! Called by every parser and emitter of this folder. Pure functions over bytes; any length and any content is allowed, nothing
//! panics. A running sum is a `u64` of 16-bit words in network order: parts may be added in any order, and a field of a header
//! may simply be added as a number. [`fold`] brings it back to 16 bits.

use crate::demux::key::Address;

/// Adds `bytes`, taken as 16-bit words in network order, to a running sum. An odd last byte counts as the upper half of a word, so
/// only the last part of a packet may have an odd length; see [`sum_at`] for the others.
///
/// ```
/// use ringway::wire::checksum::{fold, sum};
/// // The example of RFC 1071 section 3.
/// assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], 0)), 0xddf2);
/// ```
#[inline]
pub fn sum(bytes: &[u8], start: u64) -> u64 {
    // RFC 1071 2(B): the sum does not depend on the byte order it is taken in, except for one swap at the end. So words are read as
    // the machine has them. A short packet is summed word by word, with the carry brought around; of a long one several sums grow at
    // once, without a carry.
    let (blocks, rest) = if bytes.len() >= LONG { bytes.as_chunks::<{ LANES * 8 }>() } else { (&[][..], bytes) };
    let mut total = if blocks.is_empty() { 0 } else { sum_blocks(blocks) };
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        total = add(total, u64::from_ne_bytes(*word));
    }
    let (word, rest) = rest.as_chunks::<4>();
    if let [word] = word {
        total = add(total, u64::from(u32::from_ne_bytes(*word)));
    }
    let (word, rest) = rest.as_chunks::<2>();
    if let [word] = word {
        total = add(total, u64::from(u16::from_ne_bytes(*word)));
    }
    if let Some(&last) = rest.first() {
        total = add(total, u64::from(u16::from_ne_bytes([last, 0])));
    }
    // To turn all eight bytes around swaps the words as well, which the sum does not mind.
    add(start, u64::from_be(total))
}

/// As [`sum`], for a part that begins `offset` bytes into the packet: behind an odd number of bytes every byte stands in the other
/// half of its word (RFC 1071 2(B)).
///
/// ```
/// use ringway::wire::checksum::{fold, sum, sum_at};
/// let bytes = [1, 2, 3, 4, 5];
/// let parts = sum_at(&bytes[3..], 3, sum(&bytes[..3], 0));
/// assert_eq!(fold(parts), fold(sum(&bytes, 0)));
/// ```
#[inline]
pub fn sum_at(bytes: &[u8], offset: usize, start: u64) -> u64 {
    if offset.is_multiple_of(2) { sum(bytes, start) } else { add(start, u64::from(fold(sum(bytes, 0)).swap_bytes())) }
}

/// The 16-bit one's complement sum of a running sum; not complemented. Zero only when everything added was zero.
#[inline]
pub const fn fold(sum: u64) -> u16 {
    // Halves are added with the carry brought around, which the second addition cannot bring about again.
    let (half, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    let half = half + carry as u32;
    let (word, carry) = (half as u16).overflowing_add((half >> 16) as u16);
    word + carry as u16
}

/// The checksum of `bytes` (RFC 1071): the complement of their sum. Over bytes that hold a right checksum it is 0.
#[inline]
pub fn checksum(bytes: &[u8]) -> u16 {
    !fold(sum(bytes, 0))
}

/// The checksum of a header after one of its 16-bit words changed from `old` to `new` (RFC 1624 3, equation 3).
///
/// ```
/// // The example of RFC 1624 section 4, in which the equation of RFC 1141 fails.
/// assert_eq!(ringway::wire::checksum::patch(0xdd2f, 0x5555, 0x3285), 0x0000);
/// ```
#[inline]
pub const fn patch(sum: u16, old: u16, new: u16) -> u16 {
    //= rfc1624#3
    //# HC' = ~(C + (-m) + m')    --    [Eqn. 3]
    //# = ~(~HC + ~m + m')
    !fold(!sum as u64 + !old as u64 + new as u64)
}

/// What a received checksum is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// It fits the bytes.
    Good,
    /// It is the pseudo-header's sum, not complemented: the sender left the rest to an offload that never came
    /// (`CHECKSUM_PARTIAL` of a veth peer).
    Unfilled,
    /// It is wrong.
    Bad,
}

/// Verifies a segment or datagram: `bytes` with the received checksum `field` among them, `pseudo` the sum of its pseudo-header.
#[inline(always)]
pub fn verify(bytes: &[u8], pseudo: u64, field: u16) -> Verified {
    if fold(sum(bytes, pseudo)) == 0xffff {
        Verified::Good
    } else if field == fold(pseudo) {
        Verified::Unfilled
    } else {
        Verified::Bad
    }
}

/// What TCP and UDP add to their checksum from the IP header (RFC 9293 3.1 and RFC 768 for IPv4, RFC 8200 8.1 for IPv6). It is that of
/// IPv4 when both addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PseudoHeader {
    /// Source address of the packet.
    pub source: Address,
    /// Destination address of the packet.
    pub target: Address,
    /// IP protocol number.
    pub protocol: u8,
}

impl PseudoHeader {
    /// The running sum for a segment or datagram of `len` bytes, header and payload.
    #[inline]
    pub fn sum(&self, len: usize) -> u64 {
        // An IPv4-mapped address is its four bytes behind one word of 0xffff, which is zero in one's complement arithmetic, and a
        // length that fits 16 bits sums to the same in the 32 bits of IPv6: one sum serves both families.
        let addresses = add(address_sum(self.source), address_sum(self.target));
        add(u64::from_be(addresses), u64::from(self.protocol) + (len as u64 & 0xffff_ffff))
    }

    /// True when both addresses are IPv4.
    #[inline]
    pub const fn is_ipv4(&self) -> bool {
        self.source.v4().is_some() && self.target.v4().is_some()
    }
}

/// The sum of an address, in the machine's byte order.
#[inline]
const fn address_sum(address: Address) -> u64 {
    let bits = u128::from_ne_bytes(*address.octets());
    add((bits >> 64) as u64, bits as u64)
}

/// The sum of blocks in words of 32 bits, in the machine's byte order; the compiler makes vector code of it.
#[inline]
fn sum_blocks(blocks: &[[u8; LANES * 8]]) -> u64 {
    // Of eight bytes all are added, whatever overflows, and the upper half is added again by itself: that says what the sum of the lower
    // halves is, which is right modulo 2^64 and, like the other, below that for 2^32 words.
    let mut whole = [0u64; LANES];
    let mut high = [0u64; LANES];
    for block in blocks {
        for (lane, word) in block.as_chunks::<8>().0.iter().enumerate() {
            let word = u64::from_ne_bytes(*word);
            whole[lane] = whole[lane].wrapping_add(word);
            high[lane] += word >> 32;
        }
    }
    let high: u64 = high.iter().sum();
    let low = whole.iter().fold(0, |sum: u64, lane| sum.wrapping_add(*lane)).wrapping_sub(high << 32);
    low + high
}

/// Adds to a running sum with the carry brought around, so that it cannot overflow.
#[inline]
pub(crate) const fn add(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u64
}

/// From so many bytes on blocks are worth their beginning and end.
const LONG: usize = 4 * LANES * 8;
/// Sums of eight bytes that run side by side.
const LANES: usize = 8;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 4.1, word by word.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    proptest! {
        #[test]
        fn the_fast_sum_is_the_naive_one(bytes in proptest::collection::vec(any::<u8>(), 0..300), start in any::<u16>()) {
            let mut whole = start.to_be_bytes().to_vec();
            whole.extend(&bytes);
            prop_assert_eq!(fold(sum(&bytes, u64::from(start))), naive(&whole));
        }

        #[test]
        fn a_sum_may_be_taken_in_parts_cut_anywhere(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), a in any::<usize>(), b in any::<usize>(),
        ) {
            let (a, b) = (a % (bytes.len() + 1), b % (bytes.len() + 1));
            let (a, b) = (a.min(b), a.max(b));
            let parts = sum_at(&bytes[b..], b, sum_at(&bytes[a..b], a, sum_at(&bytes[..a], 0, 0)));
            prop_assert_eq!(fold(parts), naive(&bytes));
        }

        #[test]
        fn bytes_of_extreme_values_carry_right(bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(0xff)], 0..2000)) {
            prop_assert_eq!(fold(sum(&bytes, 0)), naive(&bytes));
        }

        #[test]
        fn a_patched_checksum_is_the_one_computed_anew(
            mut words in proptest::collection::vec(prop_oneof![Just(0u16), Just(0xffff), any::<u16>()], 2..12),
            at in any::<usize>(), new in prop_oneof![Just(0u16), Just(0xffff), any::<u16>()],
        ) {
            // Like any IP header, the words hold a part that is never zero: the premise of RFC 1624 3.
            words[0] |= 0x4500;
            let at = 1 + at % (words.len() - 1);
            let bytes = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
            let before = checksum(&bytes(&words));
            let patched = patch(before, words[at], new);
            words[at] = new;
            prop_assert_eq!(patched, checksum(&bytes(&words)));
        }

        #[test]
        fn a_flipped_bit_is_found(bytes in proptest::collection::vec(any::<u8>(), 2..200), bit in any::<usize>()) {
            let mut bytes = bytes;
            bytes[..2].fill(0);
            let good = checksum(&bytes);
            bytes[..2].copy_from_slice(&good.to_be_bytes());
            prop_assume!(fold(sum(&bytes, 0)) == 0xffff);
            prop_assert_eq!(verify(&bytes, 0, good), Verified::Good);
            let bit = 16 + bit % (bytes.len() * 8);
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
                prop_assert_eq!(verify(&bytes, 0, good) == Verified::Good, false);
            }
        }
    }

    #[test]
    fn a_large_buffer_of_ones_does_not_overflow() {
        assert_eq!(fold(sum(&vec![0xff; 1 << 20], u64::MAX)), 0xffff);
        assert_eq!(fold(u64::MAX), 0xffff);
    }

    #[test]
    fn fold_is_zero_only_for_zero() {
        assert_eq!(fold(0), 0);
        for sum in [0xffff, 0x1_fffe, 0xffff_0000, 0xffff_ffff, 0xffff_ffff_0000, u64::MAX, u64::MAX - 0xffff] {
            assert_eq!(fold(sum), 0xffff, "{sum:#x}");
        }
    }

    #[test]
    fn an_unfilled_checksum_is_told_from_a_wrong_one() {
        let pseudo =
            PseudoHeader { source: Ipv4Addr::new(10, 0, 0, 1).into(), target: Ipv4Addr::new(10, 0, 0, 2).into(), protocol: 17 };
        let mut datagram = [0x30, 0x39, 0, 7, 0, 12, 0, 0, b'p', b'i', b'n', b'g'];
        let start = pseudo.sum(datagram.len());
        let good = !fold(sum(&datagram, start));
        for (field, verdict) in
            [(good, Verified::Good), (fold(start), Verified::Unfilled), (good ^ 1, Verified::Bad), (!fold(start), Verified::Bad)]
        {
            datagram[6..8].copy_from_slice(&field.to_be_bytes());
            assert_eq!(verify(&datagram, start, field), verdict);
        }
    }

    #[test]
    fn the_pseudo_header_is_that_of_each_family() {
        let (a, b) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 255));
        let mut bytes = [a.octets(), b.octets()].concat();
        bytes.extend([0, 6, 0x05, 0xb4]);
        let v4 = PseudoHeader { source: a.into(), target: b.into(), protocol: 6 };
        assert!(v4.is_ipv4());
        assert_eq!(fold(v4.sum(0x05b4)), naive(&bytes));

        let (a, b) = (Ipv6Addr::new(0xfd00, 1, 2, 3, 4, 5, 6, 0xffff), Ipv6Addr::LOCALHOST);
        let mut bytes = [a.octets(), b.octets()].concat();
        bytes.extend([0, 1, 0x05, 0xb4, 0, 0, 0, 17]);
        let v6 = PseudoHeader { source: a.into(), target: b.into(), protocol: 17 };
        assert!(!v6.is_ipv4());
        assert_eq!(fold(v6.sum(0x1_05b4)), naive(&bytes));
    }
}
