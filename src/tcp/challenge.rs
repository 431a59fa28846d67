//! The limit on challenge ACKs, per connection (RFC 5961 7).
//!
//! One limit for all connections would be a side channel: whoever drains it on his own connection sees how much another one
//! used. The same limit keeps two ends that disagree from answering each other's ACKs for ever. Asked by the checks of an arriving segment before
//! they answer it; it counts, and sends nothing. Nothing panics.

use super::folded::Form;
use crate::limits::{CHALLENGE_ACKS_PER_SECOND, DUPLICATE_ACKS_PER_SECOND};
use crate::time::Instant;

/// What was sent in the current second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ChallengeLimit {
    second: u32,
    sent: u8,
    duplicates: u8,
}

impl ChallengeLimit {
    /// True when one more may be sent, which is then counted.
    pub(super) const fn allows(&mut self, now: Instant) -> bool {
        //= rfc5961#7
        //# An implementation SHOULD include an ACK throttling mechanism to be conservative.
        self.turn_to(now);
        if self.sent >= CHALLENGE_ACKS_PER_SECOND {
            return false;
        }
        self.sent += 1;
        true
    }

    /// The same for an answer to data that has arrived before, of which honest peers send more.
    pub(super) const fn allows_duplicate(&mut self, now: Instant) -> bool {
        self.turn_to(now);
        if self.duplicates >= DUPLICATE_ACKS_PER_SECOND {
            return false;
        }
        self.duplicates += 1;
        true
    }

    const fn turn_to(&mut self, now: Instant) {
        let second = (now.as_ns() / 1_000_000_000) as u32;
        if second != self.second {
            *self = Self { second, sent: 0, duplicates: 0 };
        }
    }

    /// Forgets a second that is over.
    pub(super) const fn rest(&mut self, now: Instant) {
        self.turn_to(now);
        if self.sent == 0 && self.duplicates == 0 {
            self.second = 0;
        }
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form) {
        if !form.same(self, Self::default()) {
            let Self { second, sent, duplicates } = self;
            form.near(second, 0);
            form.near(sent, 0);
            form.near(duplicates, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_share_and_no_more() {
        let mut limit = ChallengeLimit::default();
        let mut allowed = |ns| (0..100).filter(|_| limit.allows(Instant::from_ns(ns))).count();
        assert_eq!(allowed(500), usize::from(CHALLENGE_ACKS_PER_SECOND));
        assert_eq!(allowed(999_999_999), 0);
        assert_eq!(allowed(1_000_000_000), usize::from(CHALLENGE_ACKS_PER_SECOND));
    }
}
