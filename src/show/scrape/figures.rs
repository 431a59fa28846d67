//! Asks the engines for everything that a scraper is told.
//!
//! Called by the server's thread, which waits for the answers. States come from the cards, which are read beside the engines; counts take each engine one
//! question, round-trip times another about at most [`limits::INQUIRED_PER_TURN`] connections. Nothing here panics.

use std::fmt;
use std::time::Instant;

use crate::engine::Inquirer;
use crate::engine::buckets::Times;
use crate::limits;
use crate::metrics::conditions::Conditions;
use crate::metrics::prometheus::{Core, Snapshot};
use crate::steer;
use crate::tcp::State;
use crate::time::span_ns;

/// Where the figures come from.
pub struct Figures {
    cores: Vec<Asked>,
    interfaces: Vec<String>,
    conditions: Conditions,
    steering: Box<dyn Fn() -> Vec<(String, steer::Counters)> + Send>,
}

impl Figures {
    /// Of these engines, in the order of their numbers; `interfaces` are the names of theirs.
    pub fn new(cores: Vec<Inquirer>, interfaces: Vec<String>, conditions: Conditions) -> Self {
        let cores = cores.into_iter().map(|inquirer| Asked { inquirer, smoothed_rtt: Times::times(), next: 0 }).collect();
        Self { cores, interfaces, conditions, steering: Box::new(Vec::new) }
    }

    /// Also of the XDP programs, each with the name of its interface.
    #[must_use]
    pub fn with_steering(mut self, steering: impl Fn() -> Vec<(String, steer::Counters)> + Send + 'static) -> Self {
        self.steering = Box::new(steering);
        self
    }

    /// Asks all of them, one after the other.
    pub fn ask(&mut self) -> Snapshot {
        let began = Instant::now();
        let cores = self.cores.iter_mut().map(Asked::ask).collect();
        let steering = (self.steering)();
        Snapshot {
            cores,
            interfaces: self.interfaces.clone(),
            steering,
            conditions: self.conditions.clone(),
            asked_ns: span_ns(began.elapsed()),
        }
    }
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").field("cores", &self.cores.len()).finish_non_exhaustive()
    }
}

/// An engine, and what is remembered of earlier looks.
struct Asked {
    inquirer: Inquirer,
    /// Smoothed round-trip times of all looks so far: they only grow, as the buckets of a histogram have to.
    smoothed_rtt: Times,
    /// The slot from which connections are looked at next.
    next: u32,
}

impl Asked {
    fn ask(&mut self) -> Core {
        let mut states = [0; State::ALL.len()];
        let mut some = Vec::with_capacity(limits::INQUIRED_PER_TURN);
        for card in self.inquirer.cards_from(0) {
            if let Some(at) = State::ALL.iter().position(|&state| state == card.state) {
                states[at] += 1;
            }
            if card.id.slot >= self.next && some.len() < limits::INQUIRED_PER_TURN {
                some.push(card.id);
            }
        }
        // Fewer than that are the last ones: the next look is at the first again.
        let last = some.last().filter(|_| some.len() == limits::INQUIRED_PER_TURN);
        self.next = last.map_or(0, |last| last.slot.saturating_add(1));
        let report = self.inquirer.report().ok();
        if report.is_some() && !some.is_empty() {
            let figures = self.inquirer.figures(some).unwrap_or_default();
            figures.iter().filter_map(|(_, figures)| figures.srtt_ns).for_each(|ns| self.smoothed_rtt.count(ns));
        }
        Core { report, states, smoothed_rtt: self.smoothed_rtt }
    }
}
