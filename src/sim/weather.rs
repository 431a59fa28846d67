//! What the network does to packets, in one direction, and what befalls the ends. Drawn from the seed, then fixed.
//!
//! Read by the network and the run. Chances and spans without any act: it delays nothing itself, and never panics.

use super::dice::Dice;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// One direction of the path. Chances are in ten-thousandths of the packets.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    pub(super) delay_ns: u64,
    /// Delays differ by up to this much, which reorders.
    pub(super) jitter_ns: u64,
    /// Bytes a second; 0 for no limit.
    pub(super) rate: u64,
    /// Packets that wait for the rate; more are dropped.
    pub(super) queue: usize,
    pub(super) loss: u64,
    /// How often a burst of losses begins, and how often it ends: a mean length of 10,000 / `burst_ends` packets.
    pub(super) burst_begins: u64,
    pub(super) burst_ends: u64,
    pub(super) duplication: u64,
    /// How often a packet is held back by `held_ns`, and overtaken.
    pub(super) reordering: u64,
    pub(super) held_ns: u64,
    pub(super) corruption: u64,
    /// How often a packet that may be is marked "congestion experienced".
    pub(super) marking: u64,
    /// The largest IP packet the path carries.
    pub(super) path_mtu: usize,
    /// How often it says so by ICMP when it drops a larger one: routers limit their errors.
    pub(super) tells_mtu: u64,
    /// How often the path clogs: nothing passes for up to `clog_ns`; at most [`CLOGS_MAX`] times.
    pub(super) clogs: u64,
    pub(super) clog_ns: u64,
    /// Packets are handed over at multiples of this, several at once, as a NIC does that moderates its interrupts.
    pub(super) moderation_ns: u64,
}

/// What befalls an end, in ten-thousandths of the steps of the simulation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mishaps {
    /// The end stands still for up to `pause_ns`: nothing is received, no timer expires.
    pub(super) pauses: u64,
    pub(super) pause_ns: u64,
    /// Its clock leaps forward by up to `jump_ns`.
    pub(super) jumps: u64,
    pub(super) jump_ns: u64,
}

/// Clogs, pauses and jumps of one run, each: bad weather passes.
pub(super) const CLOGS_MAX: u32 = 4;

impl Weather {
    /// Nothing happens but time.
    pub(super) const FAIR: Self = Self {
        delay_ns: 100 * US,
        jitter_ns: 0,
        rate: 0,
        queue: 1000,
        loss: 0,
        burst_begins: 0,
        burst_ends: 10_000,
        duplication: 0,
        reordering: 0,
        held_ns: 0,
        corruption: 0,
        marking: 0,
        path_mtu: usize::MAX,
        tells_mtu: 10_000,
        clogs: 0,
        clog_ns: 0,
        moderation_ns: 0,
    };

    /// A path: a quarter fair, half with some faults, a quarter with many.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let mut weather = Self { delay_ns: dice.scaled(5 * US, 60 * MS), ..Self::FAIR };
        if dice.chance(2_500) {
            weather.moderation_ns = dice.scaled(10 * US, 2 * MS);
        }
        let faults = match dice.between(0, 3) {
            0 => 0,
            1 | 2 => dice.between(1, 3),
            _ => dice.between(3, 7),
        };
        for _ in 0..faults {
            weather.add_fault(dice);
        }
        weather
    }

    fn add_fault(&mut self, dice: &mut Dice) {
        match dice.between(0, 8) {
            0 => self.jitter_ns = dice.scaled(US, 40 * MS),
            1 => {
                self.rate = dice.scaled(50_000, 10_000_000);
                self.queue = dice.scaled(4, 200) as usize;
            }
            2 => self.loss = dice.scaled(20, 1_500),
            3 => {
                self.burst_begins = dice.scaled(10, 300);
                self.burst_ends = dice.between(1_000, 5_000);
            }
            4 => self.duplication = dice.scaled(50, 1_000),
            5 => {
                self.reordering = dice.scaled(50, 1_000);
                self.held_ns = dice.scaled(10 * US, 80 * MS);
            }
            6 => self.corruption = dice.scaled(20, 500),
            7 => self.marking = dice.scaled(50, 2_000),
            _ => {
                self.clogs = dice.scaled(10, 100);
                self.clog_ns = dice.scaled(MS, 6_000 * MS);
            }
        }
    }
}

impl Mishaps {
    /// One end in three has some.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let mut mishaps = Self::default();
        if dice.chance(2_000) {
            mishaps.pauses = dice.between(20, 200);
            mishaps.pause_ns = dice.scaled(100 * US, 2_000 * MS);
        }
        if dice.chance(1_500) {
            mishaps.jumps = dice.between(20, 200);
            mishaps.jump_ns = dice.scaled(100 * US, 5_000 * MS);
        }
        mishaps
    }
}
