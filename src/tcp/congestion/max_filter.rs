//! The largest value of the last rounds, in constant room (Nichols; Linux: lib/win_minmax.c). Nothing panics.

/// The three best candidates: the largest, the largest after it, the largest after that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MaxFilter([Candidate; 3]);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Candidate {
    round: u32,
    value: u64,
}

impl MaxFilter {
    /// The largest value.
    pub(super) const fn value(&self) -> u64 {
        self.0[0].value
    }

    /// Takes a value of a round in; what is older than `window` rounds no longer counts.
    pub(super) fn update(&mut self, window: u32, round: u32, value: u64) {
        let new = Candidate { round, value };
        let [first, second, third] = &mut self.0;
        if value >= first.value || round.wrapping_sub(third.round) > window {
            self.0 = [new; 3];
            return;
        }
        if value >= second.value {
            (*second, *third) = (new, new);
        } else if value >= third.value {
            *third = new;
        }
        let age = round.wrapping_sub(first.round);
        if age > window {
            self.0 = [self.0[1], self.0[2], new];
            if round.wrapping_sub(self.0[0].round) > window {
                self.0 = [self.0[1], self.0[2], new];
            }
        } else if second.round == first.round && age > window / 4 {
            // A quarter of the window has passed without a second candidate: take one from this quarter.
            (*second, *third) = (new, new);
        } else if third.round == second.round && age > window / 2 {
            *third = new;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Never above the true maximum of the window, never below that of its last quarter.
        #[test]
        fn it_is_the_maximum_of_the_window(values in proptest::collection::vec(0u64..1000, 1..200), begin: u32) {
            let (mut filter, window) = (MaxFilter::default(), 10);
            for at in 0..values.len() {
                filter.update(window, begin.wrapping_add(at as u32), values[at]);
                let most = |rounds: usize| values[at.saturating_sub(rounds)..=at].iter().copied().max().unwrap();
                prop_assert!(filter.value() <= most(window as usize), "after {at}");
                prop_assert!(filter.value() >= most(window as usize / 4), "after {at}");
            }
        }
    }

    #[test]
    fn a_peak_counts_for_the_window_and_no_longer() {
        let mut filter = MaxFilter::default();
        filter.update(10, 0, 100);
        (1..=10).for_each(|round| filter.update(10, round, 50));
        assert_eq!(filter.value(), 100);
        filter.update(10, 11, 40);
        assert_eq!(filter.value(), 50);
    }
}
