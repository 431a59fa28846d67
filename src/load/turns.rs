//! The turns of a spinning loop: how much of its time found work.
//!
//! Counted by the loops of both ends of a load run. Cannot panic.

/// The turns of a spinning loop, and those that found work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// All turns.
    pub all: u64,
    /// Turns that sent or received something.
    pub busy: u64,
}

impl Turns {
    /// Counts one turn.
    pub const fn count(&mut self, found_work: bool) {
        self.all += 1;
        self.busy += found_work as u64;
    }

    /// The turns since an earlier count.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self { all: self.all.saturating_sub(earlier.all), busy: self.busy.saturating_sub(earlier.busy) }
    }

    /// Busy turns per turn; `None` before the first.
    pub fn share(self) -> Option<f64> {
        (self.all > 0).then(|| self.busy as f64 / self.all as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_share_is_of_the_turns_between_two_counts() {
        let mut turns = Turns::default();
        assert_eq!(turns.share(), None);
        turns.count(true);
        let before = turns;
        for found in [true, false, false, false] {
            turns.count(found);
        }
        assert_eq!(turns.since(before).share(), Some(0.25));
    }
}
