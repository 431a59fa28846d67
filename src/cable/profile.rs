//! What a cable does to frames, as its user says it, and which wishes exclude each other.
//!
//! Filled in by the command line, read by `line`. Values only; [`Profile::check`] refuses what cannot be; cannot panic.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::SetupError;
use crate::rng::Rng;
use crate::settings::number;

/// The faults of a cable; none by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How long a frame is on its way, without its time in the queue.
    pub delay: Duration,
    /// How far a single frame's delay may lie from [`Profile::delay`], evenly spread to both sides.
    pub jitter: Duration,
    /// Bits a second of each way; a frame counts from its Ethernet header to its last byte, without preamble and check sequence.
    pub rate: Option<u64>,
    /// Frames that may wait for the rate, the one being sent not counted; the next is dropped.
    pub queue: usize,
    /// Marks packets that may be marked (ECT) when more frames than this wait.
    pub ecn_threshold: Option<usize>,
    /// Frames lost.
    pub loss: Share,
    /// How many frames in a row are lost, on average.
    pub burst: u32,
    /// Frames that arrive without the delay, and so before those sent earlier.
    pub reorder: Share,
    /// Frames that arrive twice.
    pub duplicate: Share,
    /// Frames in which one bit is flipped.
    pub corrupt: Share,
    /// The only way on which frames are lost, reordered, duplicated and corrupted; delay, rate and queue are those of both.
    pub only: Option<OneWay>,
    /// From this all chance follows.
    pub seed: u64,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate: None,
            queue: QUEUE,
            ecn_threshold: None,
            loss: Share::NONE,
            burst: 1,
            reorder: Share::NONE,
            duplicate: Share::NONE,
            corrupt: Share::NONE,
            only: None,
            seed: 1,
        }
    }
}

/// A way through the cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneWay {
    /// From the first interface to the second.
    AToB,
    /// From the second to the first.
    BToA,
}

impl OneWay {
    /// Both, in the order of the interfaces the frames come from.
    pub const BOTH: [Self; 2] = [Self::AToB, Self::BToA];

    /// `a-to-b`, `b-to-a`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AToB => "a-to-b",
            Self::BToA => "b-to-a",
        }
    }
}

/// A share of all frames, in parts of 10^9, so that decimal percents are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// No frame.
    pub const NONE: Self = Self(0);

    /// So many parts of 10^9, all at most.
    pub const fn parts(parts: u32) -> Self {
        Self(if parts > number::WHOLE { number::WHOLE } else { parts })
    }

    /// As a probability, 0 to 1.
    pub fn probability(self) -> f64 {
        f64::from(self.0) / f64::from(number::WHOLE)
    }

    /// In percent, 0 to 100.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / f64::from(number::WHOLE / 100)
    }

    /// True for this share of all calls. Draws one number in any case, so that other shares of the same seed are not shifted.
    pub(super) const fn hits(self, chance: &mut Rng) -> bool {
        chance.below(number::WHOLE as u64) < self.0 as u64
    }
}

impl FromStr for Share {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        number::percent(text).map(Self)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.percent())
    }
}

impl Profile {
    /// Refuses what contradicts itself.
    ///
    /// # Errors
    /// A usage error that names the option.
    pub fn check(&self) -> Result<(), SetupError> {
        let refuse = |what: &str, why: &str, mend: &str| Err(SetupError::usage(what, why).mend(mend));
        if self.delay > DELAY_MAX {
            return refuse("cannot use --delay", "a minute is the most", "--delay 1m");
        }
        if self.jitter > self.delay {
            return refuse(
                "cannot use --jitter",
                "a frame cannot arrive before it was sent: the jitter is at most the delay",
                &format!("--delay {}", number::show_duration(self.jitter)),
            );
        }
        if self.reorder > Share::NONE && self.delay.is_zero() {
            return refuse(
                "cannot use --reorder",
                "a reordered frame overtakes others by skipping the delay, and there is none",
                "--delay 1ms",
            );
        }
        if let Some(rate) = self.rate
            && !(RATE_MIN..=RATE_MAX).contains(&rate)
        {
            return refuse("cannot use --rate", "it lies between 1K and 1000G bits a second", "--rate 100M");
        }
        if self.queue > QUEUE_MAX {
            return refuse("cannot use --queue", "it holds 65536 frames at most", "--queue 65536");
        }
        if self.ecn_threshold.is_some() && self.rate.is_none() {
            return refuse("cannot use --ecn-threshold", "without a rate no frame waits in a queue", "--rate 100M");
        }
        if self.ecn_threshold.is_some_and(|threshold| threshold >= self.queue) {
            return refuse(
                "cannot use --ecn-threshold",
                "the queue is never longer than --queue, so nothing would be marked",
                &format!("--ecn-threshold {}", self.queue / 2),
            );
        }
        self.check_burst()
    }

    /// Between bursts of `n` lost frames at least one arrives, so that no more than n of n + 1 can be lost.
    fn check_burst(&self) -> Result<(), SetupError> {
        let what = "cannot use --burst";
        if !(1..=BURST_MAX).contains(&self.burst) {
            return Err(SetupError::usage(what, "it lies between 1 and 65536").mend("--burst 8"));
        }
        if self.burst > 1 && self.loss == Share::NONE {
            return Err(SetupError::usage(what, "no frame is lost").mend(format!("--loss 1% --burst {}", self.burst)));
        }
        let most = f64::from(self.burst) / (f64::from(self.burst) + 1.0);
        if self.burst > 1 && self.loss.probability() > most {
            let why = format!("between two bursts a frame arrives, so that {:.1} % is the most that can be lost", most * 100.0);
            return Err(SetupError::usage(what, why).mend("--burst 1"));
        }
        Ok(())
    }

    /// How many frames may be on one way at once, the queue included: what a delay at this rate holds, twice, since not all frames are
    /// large; a fixed number where there is no rate. More are dropped and counted (`overflow`).
    pub fn in_transit(&self) -> usize {
        let Some(rate) = self.rate else { return IN_TRANSIT };
        let span_ns = (self.delay + self.jitter).as_nanos();
        let held = (u128::from(rate) * span_ns / 1_000_000_000 / LARGE_FRAME_BITS).saturating_mul(2);
        usize::try_from(held).unwrap_or(usize::MAX).saturating_add(self.queue).clamp(IN_TRANSIT / 4, IN_TRANSIT_MAX)
    }

    /// The faults of chance that apply on one way.
    pub(super) fn on(&self, way: OneWay) -> Self {
        let mut own = self.clone();
        if self.only.is_some_and(|only| only != way) {
            own.loss = Share::NONE;
            own.reorder = Share::NONE;
            own.duplicate = Share::NONE;
            own.corrupt = Share::NONE;
        }
        own
    }
}

impl fmt::Display for Profile {
    /// The options that make it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delay={}", number::show_duration(self.delay))?;
        if !self.jitter.is_zero() {
            write!(f, " jitter={}", number::show_duration(self.jitter))?;
        }
        if let Some(rate) = self.rate {
            write!(f, " rate={rate} queue={}", self.queue)?;
        }
        if let Some(threshold) = self.ecn_threshold {
            write!(f, " ecn-threshold={threshold}")?;
        }
        for (name, share) in [("loss", self.loss), ("reorder", self.reorder), ("dup", self.duplicate), ("corrupt", self.corrupt)]
        {
            if share > Share::NONE {
                write!(f, " {name}={share}")?;
            }
        }
        if self.burst > 1 {
            write!(f, " burst={}", self.burst)?;
        }
        if let Some(only) = self.only {
            write!(f, " only={}", only.name())?;
        }
        write!(f, " seed={}", self.seed)
    }
}

/// Frames that wait for a rate, when nothing else is said: what Linux gives an Ethernet interface.
const QUEUE: usize = 1000;
/// The longest queue.
pub const QUEUE_MAX: usize = 65_536;
const BURST_MAX: u32 = 65_536;
const DELAY_MAX: Duration = Duration::from_secs(60);
const RATE_MIN: u64 = 1_000;
const RATE_MAX: u64 = 1_000_000_000_000;
/// Frames on one way without a rate: several kernel connections at their largest window.
const IN_TRANSIT: usize = 12_288;
/// What 128 MiB of frames of 2048 bytes hold, less those of the rings.
const IN_TRANSIT_MAX: usize = 61_440;
const LARGE_FRAME_BITS: u128 = 1514 * 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_contradicts_itself_is_refused_with_what_mends_it() {
        let share = |text: &str| text.parse::<Share>().unwrap();
        let delay = Duration::from_millis(1);
        let base = Profile::default();
        let cases = [
            Profile { delay: Duration::from_secs(61), ..base.clone() },
            Profile { jitter: delay, ..base.clone() },
            Profile { reorder: share("1%"), ..base.clone() },
            Profile { rate: Some(10), ..base.clone() },
            Profile { rate: Some(1 << 60), ..base.clone() },
            Profile { queue: QUEUE_MAX + 1, ..base.clone() },
            Profile { ecn_threshold: Some(5), ..base.clone() },
            Profile { ecn_threshold: Some(10), queue: 10, rate: Some(1_000_000), ..base.clone() },
            Profile { burst: 0, ..base.clone() },
            Profile { burst: 8, ..base.clone() },
            Profile { burst: 3, loss: share("76%"), ..base.clone() },
        ];
        let errors: Vec<_> = cases.iter().map(|profile| profile.check().unwrap_err().to_string()).collect();
        insta::assert_snapshot!(errors.join("\n"));
        for good in [
            base.clone(),
            Profile { delay, jitter: delay, reorder: share("100%"), ..base.clone() },
            Profile { burst: 3, loss: share("75%"), ..base.clone() },
            Profile { loss: share("100%"), ..base.clone() },
            Profile { rate: Some(RATE_MAX), queue: 0, ..base },
        ] {
            assert_eq!(good.check(), Ok(()), "{good}");
        }
    }

    #[test]
    fn the_words_are_those_of_the_options() {
        let profile = Profile {
            delay: Duration::from_millis(10),
            jitter: Duration::from_millis(1),
            rate: Some(100_000_000),
            queue: 200,
            ecn_threshold: Some(50),
            loss: "1%".parse().unwrap(),
            burst: 8,
            reorder: "2%".parse().unwrap(),
            duplicate: "1%".parse().unwrap(),
            corrupt: "0.1%".parse().unwrap(),
            only: Some(OneWay::AToB),
            seed: 7,
        };
        assert_eq!(
            profile.to_string(),
            "delay=10ms jitter=1ms rate=100000000 queue=200 ecn-threshold=50 loss=1% reorder=2% dup=1% corrupt=0.1% burst=8 \
             only=a-to-b seed=7"
        );
        assert_eq!(Profile::default().to_string(), "delay=0s seed=1");
    }

    #[test]
    fn the_frames_on_the_way_follow_from_rate_and_delay() {
        let of = |rate, ms| Profile { rate, delay: Duration::from_millis(ms), queue: 100, ..Profile::default() }.in_transit();
        assert_eq!(of(None, 1000), IN_TRANSIT);
        assert_eq!(of(Some(1_000), 0), IN_TRANSIT / 4);
        assert_eq!(of(Some(1_000_000_000), 100), 2 * 8256 + 100);
        assert_eq!(of(Some(RATE_MAX), 60_000), IN_TRANSIT_MAX);
    }
}
