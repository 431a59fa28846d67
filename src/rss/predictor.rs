//! Foretelling where replies arrive, and whether that came true.
//!
//! What a driver tells may be wrong: a NIC with a seed of its own, a filter that nobody told of, a virtual NIC whose host spreads by other
//! means. So each prediction is compared with the queue on which the first reply came in, and after [`limits::PREDICTION_MISSES`] that were wrong none
//! is made any more. One for each NIC and core; its owner counts and logs.

use super::spread::Spread;
use super::tuple::Tuple;
use crate::limits;

/// The predictions for one NIC.
#[derive(Clone, Debug)]
pub struct Predictor {
    spread: Spread,
    misses: u32,
}

/// What became of a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was none.
    None,
    /// The reply came in where it was expected.
    Hit,
    /// It came in elsewhere.
    Miss,
    /// The same, and no more predictions are made from now on.
    LastMiss,
}

impl Predictor {
    /// Predictions by a spread.
    pub const fn new(spread: Spread) -> Self {
        Self { spread, misses: 0 }
    }

    /// The queue that a packet will arrive on; `None` when nothing is foretold of it.
    pub fn queue_of(&self, tuple: &Tuple) -> Option<u32> {
        if self.is_off() { None } else { self.spread.queue_of(tuple) }
    }

    /// How many ports may be tried for a reply like this to arrive on a queue for which `is_home`.
    pub fn tries(&self, tuple: &Tuple, is_home: impl Fn(u32) -> bool) -> usize {
        if self.is_off() { 0 } else { self.spread.tries(tuple, is_home) }
    }

    /// Compares the prediction for the first reply of a connection with the queue it came in on.
    pub fn check(&mut self, reply: &Tuple, came_in: u32) -> Outcome {
        match self.queue_of(reply) {
            None => Outcome::None,
            Some(queue) if queue == came_in => Outcome::Hit,
            Some(_) => {
                self.misses += 1;
                if self.is_off() { Outcome::LastMiss } else { Outcome::Miss }
            }
        }
    }

    /// True once too many predictions were wrong.
    pub const fn is_off(&self) -> bool {
        self.misses >= limits::PREDICTION_MISSES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::interface::Transport;
    use crate::rss::toeplitz::PUBLISHED_KEY;
    use crate::rss::{Fields, Function, Toeplitz, Told, Transform};

    fn predictor() -> Predictor {
        let told = Told {
            function: Function::Toeplitz,
            key: Toeplitz::new(PUBLISHED_KEY),
            transform: Transform::None,
            table: vec![0, 1, 2, 3],
            fields: [Fields::FourTuple, Fields::Unknown, Fields::Unknown, Fields::Unknown],
            rules: Some(0),
        };
        Predictor::new(Spread::new(&told).unwrap())
    }

    /// A published vector: its hash ends in 0x78, so that it goes to queue 0.
    fn reply() -> Tuple {
        let (source, target) = ("66.9.149.187:2794".parse().unwrap(), "161.142.100.80:1766".parse().unwrap());
        Tuple { transport: Transport::Tcp, source, target }
    }

    #[test]
    fn eight_misses_switch_it_off_for_good() {
        let mut predictor = predictor();
        for _ in 0..7 {
            assert_eq!(predictor.check(&reply(), 0), Outcome::Hit);
            assert_eq!(predictor.check(&reply(), 1), Outcome::Miss);
        }
        assert_eq!((predictor.queue_of(&reply()), predictor.tries(&reply(), |queue| queue == 0)), (Some(0), 64));
        assert_eq!(predictor.check(&reply(), 2), Outcome::LastMiss);
        assert!(predictor.is_off());
        assert_eq!((predictor.queue_of(&reply()), predictor.tries(&reply(), |queue| queue == 0)), (None, 0));
        assert_eq!(predictor.check(&reply(), 0), Outcome::None);
        assert_eq!(predictor.check(&reply(), 1), Outcome::None, "said once");
    }

    #[test]
    fn what_was_not_foretold_is_neither_hit_nor_miss() {
        let mut predictor = predictor();
        let udp = Tuple { transport: Transport::Udp, ..reply() };
        for _ in 0..20 {
            assert_eq!(predictor.check(&udp, 1), Outcome::None);
        }
        assert!(!predictor.is_off());
    }
}
