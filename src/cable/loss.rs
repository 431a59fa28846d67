//! Which frames are lost: each for itself, or several in a row.
//!
//! One for each way of a cable, asked once for every frame. With bursts it is the model of Gilbert: the line is whole or broken, a broken one
//! loses every frame, and each frame may break or mend it; netem has it as `loss gemodel`. Pure; cannot panic.

use super::profile::Share;
use crate::rng::Rng;
use crate::settings::number::WHOLE;

/// The loss of one way.
#[derive(Clone, Debug)]
pub(super) struct Loss {
    /// The share of frames that are lost while the line is whole, and the share that mends a broken one.
    breaks: Share,
    mends: Share,
    broken: bool,
    chance: Rng,
}

impl Loss {
    /// Loses `share` of the frames, `burst` in a row on average; with bursts of 1 each frame's lot is independent of the others'.
    pub(super) fn new(share: Share, burst: u32, chance: Rng) -> Self {
        if burst <= 1 {
            // A line that mends with every frame forgets what happened to the last one.
            return Self { breaks: share, mends: Share::parts(WHOLE), broken: false, chance };
        }
        // Of all frames `share` find the line broken when breaks / (breaks + mends) is this share.
        let mends = 1.0 / f64::from(burst);
        let lost = share.probability();
        let breaks = if lost < 1.0 { mends * lost / (1.0 - lost) } else { 1.0 };
        let parts = |probability: f64| Share::parts((probability * f64::from(WHOLE)).round() as u32);
        Self { breaks: parts(breaks), mends: parts(mends), broken: false, chance }
    }

    /// Whether the next frame is lost.
    pub(super) fn next(&mut self) -> bool {
        let independent = self.mends == Share::parts(WHOLE);
        self.broken =
            if self.broken && !independent { !self.mends.hits(&mut self.chance) } else { self.breaks.hits(&mut self.chance) };
        self.broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Share of frames lost, and the mean length of the runs of lost frames.
    fn measure(percent: &str, burst: u32, frames: u32) -> (f64, f64) {
        let mut loss = Loss::new(percent.parse().unwrap(), burst, Rng::seeded(7));
        let (mut lost, mut runs, mut before) = (0, 0, false);
        for _ in 0..frames {
            let now = loss.next();
            lost += u32::from(now);
            runs += u32::from(now && !before);
            before = now;
        }
        (f64::from(lost) / f64::from(frames), f64::from(lost) / f64::from(runs.max(1)))
    }

    #[test]
    fn the_share_is_lost_in_runs_of_the_wanted_length() {
        for (percent, share) in [("0.1%", 0.001), ("1%", 0.01), ("5%", 0.05), ("30%", 0.3)] {
            for burst in [2, 8, 40] {
                let (lost, run) = measure(percent, burst, 4_000_000);
                assert!((lost / share - 1.0).abs() < 0.1, "{percent} in bursts of {burst}: {lost}");
                assert!((run / f64::from(burst) - 1.0).abs() < 0.1, "{percent} in bursts of {burst}: runs of {run}");
            }
        }
    }

    #[test]
    fn without_bursts_a_lost_frame_says_nothing_of_the_next() {
        for (percent, share) in [("1%", 0.01_f64), ("30%", 0.3), ("50%", 0.5)] {
            let (lost, run) = measure(percent, 1, 2_000_000);
            assert!((lost / share - 1.0).abs() < 0.03, "{percent}: {lost}");
            // Of independent losses a run has 1 / (1 - share) on average.
            assert!((run * (1.0 - share) - 1.0).abs() < 0.03, "{percent}: runs of {run}");
        }
    }

    #[test]
    fn nothing_and_everything_are_exact() {
        assert_eq!(measure("0%", 1, 10_000).0, 0.0);
        assert_eq!(measure("100%", 1, 10_000).0, 1.0);
        // A line that is mended by one frame of 2 and broken by the next one loses half.
        let half = measure("66.6666%", 2, 1_000_000).0;
        assert!((half - 0.666_666).abs() < 0.01, "{half}");
    }
}
