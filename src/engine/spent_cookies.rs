//! SYN cookies that have made a connection, so that none makes a second one.
//!
//! A cookie stays right for up to 128 s ([`crate::tcp::cookie`]). When the peer closes first nothing of the connection is left after its end,
//! and a copy of the segment that opened it, data and all, would open it again. The TCP path asks before it accepts a cookie and tells after. Of
//! fixed size: each mark has one place, and a later one of the same place takes it. Nothing panics.

use crate::limits;
use crate::tcp::seq::SeqNum;

/// The marks of recent cookies.
#[derive(Debug)]
pub(super) struct SpentCookies(Box<[u64]>);

impl SpentCookies {
    /// None.
    pub(super) fn new() -> Self {
        Self(vec![0; limits::SPENT_COOKIES].into_boxed_slice())
    }

    /// What tells one cookie from another: the keyed hash of its flow, and the acknowledgment of it.
    pub(super) const fn mark(flow: u64, ack: SeqNum) -> u64 {
        // Spread over all bits, so that the cookies of one flow have different places; zero is nobody's.
        (flow ^ (ack.0 as u64).wrapping_mul(SPREAD)) | 1 << 63
    }

    /// True when the cookie has made a connection, as far as is remembered.
    pub(super) fn contains(&self, mark: u64) -> bool {
        self.0.get(Self::place(mark)) == Some(&mark)
    }

    /// The cookie has made a connection.
    pub(super) fn insert(&mut self, mark: u64) {
        if let Some(place) = self.0.get_mut(Self::place(mark)) {
            *place = mark;
        }
    }

    const fn place(mark: u64) -> usize {
        mark as usize & (limits::SPENT_COOKIES - 1)
    }
}

/// 2^64 divided by the golden ratio, odd.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
const _: () = assert!(limits::SPENT_COOKIES.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_each_until_another_takes_its_place() {
        let mut spent = SpentCookies::new();
        let mark = |flow| SpentCookies::mark(flow, SeqNum(7));
        let other = 5 + limits::SPENT_COOKIES as u64;
        assert!(!spent.contains(mark(5)));
        spent.insert(mark(5));
        assert!(spent.contains(mark(5)) && !spent.contains(mark(6)) && !spent.contains(mark(other)));
        assert!(!spent.contains(SpentCookies::mark(5, SeqNum(8))), "the next cookie of the same flow");
        spent.insert(mark(other));
        assert!(!spent.contains(mark(5)) && spent.contains(mark(other)));
    }
}
