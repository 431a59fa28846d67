//! How the fields of a TCB are written down and read back: one pass over them does both.
//!
//! A value that is as expected costs one bit, a number near the expected one that and an octet or two. The bits stand in words of 32
//! among the octets of the numbers, each word where its first bit is needed. Called by `folded` and by the part that owns the fields, which
//! takes itself apart by name, so that none is forgotten. Nothing panics: what does not fit is not written, and what ends early reads as zeros.

use crate::tcp::seq::SeqNum;
use crate::time::Instant;

/// A pass over fields: of [`Writer`] they stay as they are, of [`Reader`] they become what was written.
pub(in crate::tcp) trait Form {
    /// One bit.
    fn bit(&mut self, value: bool) -> bool;

    /// A number.
    fn varying(&mut self, value: u64) -> u64;

    /// A number of 32 bits that may be any.
    fn word(&mut self, value: &mut u32);

    /// True when the value is the expected one: then that is all there is to write.
    fn same<T: Copy + PartialEq>(&mut self, value: &mut T, expected: T) -> bool;

    /// A truth.
    #[inline]
    fn flag(&mut self, value: &mut bool) {
        *value = self.bit(*value);
    }

    /// A number that is likely the expected one, or near it.
    #[inline]
    fn near<T: Number>(&mut self, value: &mut T, expected: T) {
        if !self.same(value, expected) {
            *value = expected.plus(self.varying(value.minus(expected)));
        }
    }

    /// An instant that is a multiple of `2^bits` nanoseconds, near the expected one: few octets tell it.
    #[inline]
    fn coarse(&mut self, value: &mut Instant, expected: Instant, bits: u32) {
        let mut steps = value.as_ns() >> bits;
        self.near(&mut steps, expected.as_ns() >> bits);
        self.near(value, Instant::from_ns(steps << bits));
    }

    /// One of some values, the position of which is written.
    #[inline]
    fn choice<T: Copy + PartialEq>(&mut self, value: &mut T, all: &[T]) {
        let at = all.iter().position(|one| one == value).unwrap_or(0);
        if let Some(&one) = all.get(self.varying(at as u64) as usize) {
            *value = one;
        }
    }

    /// What may be there, beginning as `blank` where it is read.
    #[inline]
    fn optional<T: Copy>(&mut self, value: &mut Option<T>, blank: T, fields: impl FnOnce(&mut Self, &mut T)) {
        if !self.bit(value.is_some()) {
            *value = None;
            return;
        }
        fields(self, value.get_or_insert(blank));
    }
}

/// What [`Form::near`] takes: a number that may wrap. Differences to both sides become small ones.
pub(in crate::tcp) trait Number: Copy + PartialEq {
    fn minus(self, expected: Self) -> u64;
    fn plus(self, difference: u64) -> Self;
}

/// Writes into an array of `N` octets.
#[derive(Debug)]
pub(super) struct Writer<const N: usize> {
    octets: [u8; N],
    at: usize,
    /// Where the present word of bits belongs, its bits, and how many they are.
    word_at: usize,
    bits: u32,
    count: u32,
}

/// Reads what a [`Writer`] wrote.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
    bits: u32,
    left: u32,
}

impl<const N: usize> Writer<N> {
    pub(super) const fn new() -> Self {
        Self { octets: [0; N], at: 0, word_at: N, bits: 0, count: u32::BITS }
    }

    /// What was written, and how many octets that are; `None` when it was too much.
    pub(super) fn finish(mut self) -> Option<([u8; N], usize)> {
        self.settle_bits();
        (self.at <= N).then_some((self.octets, self.at))
    }

    #[inline]
    fn put(&mut self, octet: u8) {
        if let Some(place) = self.octets.get_mut(self.at) {
            *place = octet;
        }
        self.at += 1;
    }

    fn settle_bits(&mut self) {
        if let Some(place) = self.octets.get_mut(self.word_at..).and_then(|rest| rest.first_chunk_mut()) {
            *place = self.bits.to_le_bytes();
        }
    }

    #[cold]
    fn next_word(&mut self) {
        self.settle_bits();
        (self.word_at, self.bits, self.count) = (self.at, 0, 0);
        self.at += size_of::<u32>();
    }
}

impl<const N: usize> Form for Writer<N> {
    #[inline]
    fn bit(&mut self, value: bool) -> bool {
        if self.count == u32::BITS {
            self.next_word();
        }
        self.bits |= u32::from(value) << self.count;
        self.count += 1;
        value
    }

    #[inline]
    fn varying(&mut self, value: u64) -> u64 {
        let mut rest = value;
        while rest >= u64::from(MORE) {
            self.put(rest as u8 | MORE);
            rest >>= 7;
        }
        self.put(rest as u8);
        value
    }

    #[inline]
    fn word(&mut self, value: &mut u32) {
        value.to_le_bytes().into_iter().for_each(|octet| self.put(octet));
    }

    #[inline]
    fn same<T: Copy + PartialEq>(&mut self, value: &mut T, expected: T) -> bool {
        self.bit(*value == expected)
    }
}

impl<'a> Reader<'a> {
    pub(super) const fn new(octets: &'a [u8]) -> Self {
        Self { octets, at: 0, bits: 0, left: 0 }
    }

    #[inline]
    fn take(&mut self) -> u8 {
        let octet = self.octets.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        octet
    }

    #[inline]
    fn take_word(&mut self) -> u32 {
        let word = self.octets.get(self.at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word));
        self.at += size_of::<u32>();
        word
    }
}

impl Form for Reader<'_> {
    #[inline]
    fn bit(&mut self, _: bool) -> bool {
        if self.left == 0 {
            self.bits = self.take_word();
            self.left = u32::BITS;
        }
        let bit = self.bits & 1 == 1;
        self.bits >>= 1;
        self.left -= 1;
        bit
    }

    #[inline]
    fn varying(&mut self, _: u64) -> u64 {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let octet = self.take();
            value |= u64::from(octet & !MORE) << shift;
            if octet & MORE == 0 {
                break;
            }
        }
        value
    }

    #[inline]
    fn word(&mut self, value: &mut u32) {
        *value = self.take_word();
    }

    #[inline]
    fn same<T: Copy + PartialEq>(&mut self, value: &mut T, expected: T) -> bool {
        let same = self.bit(false);
        if same {
            *value = expected;
        }
        same
    }
}

/// More octets of a number follow.
const MORE: u8 = 0x80;

macro_rules! numbers {
    ($($unsigned:ty, $signed:ty);*) => {$(
        impl Number for $unsigned {
            #[inline]
            fn minus(self, expected: Self) -> u64 {
                let difference = self.wrapping_sub(expected) as $signed;
                u64::from((difference << 1 ^ difference >> (<$signed>::BITS - 1)) as $unsigned)
            }

            #[inline]
            fn plus(self, difference: u64) -> Self {
                let difference = difference as $unsigned;
                self.wrapping_add(difference >> 1 ^ (difference & 1).wrapping_neg())
            }
        }
    )*};
}

numbers!(u8, i8; u16, i16; u32, i32; u64, i64);

impl Number for SeqNum {
    #[inline]
    fn minus(self, expected: Self) -> u64 {
        self.0.minus(expected.0)
    }

    #[inline]
    fn plus(self, difference: u64) -> Self {
        Self(self.0.plus(difference))
    }
}

impl Number for Instant {
    #[inline]
    fn minus(self, expected: Self) -> u64 {
        self.as_ns().minus(expected.as_ns())
    }

    #[inline]
    fn plus(self, difference: u64) -> Self {
        Self::from_ns(self.as_ns().plus(difference))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Some fields of every kind, and what is expected of them.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Sample {
        numbers: Vec<(u64, u64)>,
        words: Vec<(u32, u32)>,
        small: (u8, u8),
        flags: Vec<bool>,
        maybe: Option<u16>,
        at: Instant,
    }

    impl Sample {
        fn pass(&mut self, form: &mut impl Form) {
            for (value, expected) in &mut self.numbers {
                form.near(value, *expected);
            }
            for (value, expected) in &mut self.words {
                form.near(value, *expected);
                form.word(value);
            }
            form.near(&mut self.small.0, self.small.1);
            self.flags.iter_mut().for_each(|flag| form.flag(flag));
            form.optional(&mut self.maybe, 7, |form, value| form.near(value, 9));
            form.near(&mut self.at, Instant::NEVER);
        }
    }

    prop_compose! {
        fn sample()(
            numbers in prop::collection::vec(prop_oneof![any::<(u64, u64)>(), any::<u64>().prop_map(|n| (n, n))], 0..6),
            words in prop::collection::vec(any::<(u32, u32)>(), 0..6),
            small in any::<(u8, u8)>(),
            flags in prop::collection::vec(any::<bool>(), 0..80),
            maybe in any::<Option<u16>>(),
            at in prop_oneof![Just(u64::MAX), any::<u64>()],
        ) -> Sample {
            Sample { numbers, words, small, flags, maybe, at: Instant::from_ns(at) }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(mut sample in sample()) {
            let mut writer = Writer::<256>::new();
            sample.clone().pass(&mut writer);
            let (octets, len) = writer.finish().unwrap();
            let mut blank = Sample {
                numbers: sample.numbers.iter().map(|&(_, expected)| (0, expected)).collect(),
                words: sample.words.iter().map(|&(_, expected)| (0, expected)).collect(),
                small: (0, sample.small.1),
                flags: vec![false; sample.flags.len()],
                maybe: None,
                at: Instant::ZERO,
            };
            blank.pass(&mut Reader::new(&octets[..len]));
            prop_assert_eq!(&blank, &sample);
            // Octets that end early, or are anything, are read to the end all the same.
            blank.pass(&mut Reader::new(&octets[..len / 2]));
            sample.pass(&mut Reader::new(&[0xff; 300]));
        }

        #[test]
        fn what_does_not_fit_is_not_written(mut sample in sample()) {
            let mut writer = Writer::<256>::new();
            sample.pass(&mut writer);
            let (_, len) = writer.finish().unwrap();
            let mut short = Writer::<12>::new();
            sample.pass(&mut short);
            prop_assert_eq!(short.finish().is_some(), len <= 12);
        }
    }

    #[test]
    fn what_is_as_expected_costs_a_bit() {
        let mut writer = Writer::<64>::new();
        for _ in 0..32 {
            writer.near(&mut 77u64, 77);
        }
        assert_eq!(writer.finish().unwrap().1, 4);
        let mut writer = Writer::<64>::new();
        writer.near(&mut SeqNum(3), SeqNum(u32::MAX));
        assert_eq!(writer.finish().unwrap().1, 5, "a word of bits and an octet");
    }
}
