//! What happens in one run: who opens what, how much is said, how it ends, and on what kind of path. Drawn from the seed.
//!
//! Drawn once, before the run; both ends and the network read it, and nobody changes it. Nothing panics.

use std::time::Duration;

use super::dice::Dice;
use super::weather::{Mishaps, Weather};
use crate::tcp;
use crate::tcp::congestion::Algorithm;
use crate::tcp::ecn;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// One run.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    /// What this run is mostly about.
    pub(super) theme: Theme,
    pub(super) plans: Vec<Plan>,
    pub(super) configs: [tcp::Config; 2],
    pub(super) mtus: [usize; 2],
    pub(super) weather: [Weather; 2],
    pub(super) mishaps: [Mishaps; 2],
    /// Of every listener.
    pub(super) backlog: usize,
    /// A stranger's segments, in ten-thousandths of the packets that arrive.
    pub(super) attacks: u64,
    /// Spoofed SYNs at the listeners of end 1.
    pub(super) flood: u64,
    /// Where the clocks of the ends stand at first.
    pub(super) epoch: Epoch,
}

/// What a run is mostly about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theme {
    /// Data both ways.
    Talk,
    /// Both ends open at once.
    SimultaneousOpen,
    /// Both ends close at once.
    SimultaneousClose,
    /// The same port again while the listener is in TIME-WAIT.
    Reuse,
    /// A reader that is too slow, and a small buffer.
    SlowReader,
    /// A stranger meddles.
    Attack,
    /// SYNs that nobody means.
    Flood,
    /// A listener's end that has room for fewer connections than there are, most of them in TIME-WAIT.
    FullTable,
    /// One end aborts.
    Abort,
    /// The path carries less than the link.
    PathMtu,
    /// smoltcp at end 0.
    Smoltcp,
}

/// Clocks near a wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Epoch {
    /// Zero.
    Start,
    /// Where the ISN of the first opener wraps soon, this many sequence numbers later.
    SequenceWraps(u32),
    /// Where the timestamps of end 0 wrap soon, this many milliseconds later.
    TimestampWraps(u32),
}

/// A connection, or several one after another on the same ports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// The end that opens; `None` when both do.
    pub(super) opener: Option<usize>,
    pub(super) ports: [u16; 2],
    pub(super) open_ns: u64,
    pub(super) rounds: usize,
    /// From the end of a round to the next.
    pub(super) reopen_ns: u64,
    pub(super) sides: [Side; 2],
}

impl Plan {
    /// True when the plan may end otherwise than in order.
    pub(super) fn aborts(&self) -> bool {
        self.sides.iter().any(|side| side.abort_after.is_some())
    }
}

/// What one end does with a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    /// Bytes it sends.
    pub(super) bytes: u64,
    /// Bytes of one write, and the time between two; 0: as fast as they are taken.
    pub(super) chunk: u64,
    pub(super) write_gap_ns: u64,
    /// Bytes it takes at once at most.
    pub(super) sip: u64,
    /// After this many bytes it stops reading for `pause_ns`.
    pub(super) pause_every: u64,
    pub(super) pause_ns: u64,
    pub(super) close: Close,
    /// Bytes sent and read after which it aborts.
    pub(super) abort_after: Option<u64>,
}

/// When an end closes its direction, once everything is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// At once.
    Sent,
    /// When the peer has closed its own.
    PeerClosed,
    /// This long after the handshake.
    At(u64),
}

impl Scenario {
    /// The scenario of a seed.
    pub(super) fn draw(seed: u64) -> Self {
        let dice = &mut Dice::of(seed, 1);
        let mut theme = draw_theme(dice);
        // By another die, so that it changes no other run.
        if theme == Theme::Talk && Dice::of(seed, 4).chance(1_500) {
            theme = Theme::FullTable;
        }
        let mut scenario = Self {
            theme,
            plans: Vec::new(),
            configs: [0, 1].map(|_| draw_config(dice)),
            mtus: [0, 1].map(|_| if dice.chance(7_000) { 1500 } else { dice.between(300, 1500) as usize }),
            weather: [0, 1].map(|_| Weather::draw(dice)),
            mishaps: [0, 1].map(|_| Mishaps::draw(dice)),
            backlog: 64,
            attacks: 0,
            flood: 0,
            epoch: match dice.between(0, 9) {
                0 | 1 => Epoch::SequenceWraps(dice.scaled(1, 100_000) as u32),
                2 => Epoch::TimestampWraps(dice.scaled(1, 1_000) as u32),
                _ => Epoch::Start,
            },
        };
        let plans = if dice.chance(7_000) { 1 } else { dice.between(2, 4) };
        for number in 0..plans {
            let plan = draw_plan(dice, number as u16);
            scenario.plans.push(plan);
        }
        scenario.follow_theme(dice);
        // Whoever takes a large stream in small sips would only take time.
        for plan in &mut scenario.plans {
            let bytes = plan.sides.map(|side| side.bytes);
            for end in [0, 1] {
                let least = bytes[1 - end] / 100;
                let side = &mut plan.sides[end];
                (side.sip, side.pause_every) = (side.sip.max(least), side.pause_every.max(least));
            }
        }
        scenario
    }

    fn follow_theme(&mut self, dice: &mut Dice) {
        match self.theme {
            Theme::Talk => {}
            Theme::SimultaneousOpen => {
                let plan = &mut self.plans[0];
                plan.opener = None;
                // SYNs that cross need a path that is longer than the time between them, or they find nobody.
                for weather in &mut self.weather {
                    weather.delay_ns = weather.delay_ns.max(50 * US);
                }
                self.mishaps = [Mishaps::default(); 2];
            }
            Theme::SimultaneousClose => {
                for plan in &mut self.plans {
                    let at = Close::At(dice.between(5, 400) * MS);
                    plan.sides.iter_mut().for_each(|side| (side.bytes, side.close) = (side.bytes.min(3_000), at));
                }
                self.weather.iter_mut().for_each(|weather| weather.delay_ns = weather.delay_ns.max(20 * MS));
            }
            Theme::Reuse => {
                let plan = &mut self.plans[0];
                let opener = plan.opener.unwrap_or(0);
                plan.rounds = dice.between(2, 5) as usize;
                plan.reopen_ns = dice.scaled(1, 20 * MS);
                plan.sides[1 - opener].close = Close::Sent;
                plan.sides[opener].close = Close::PeerClosed;
                plan.sides.iter_mut().for_each(|side| side.bytes = side.bytes.min(5_000));
            }
            Theme::SlowReader => {
                for end in [0, 1] {
                    self.configs[end].receive_buffer = dice.scaled(500, 20_000) as usize;
                    self.configs[end].receive_buffer_max = 0;
                }
                for side in self.plans.iter_mut().flat_map(|plan| &mut plan.sides) {
                    side.pause_every = dice.scaled(1_000, 20_000);
                    side.pause_ns = dice.scaled(MS, 1_500 * MS);
                }
            }
            Theme::Attack => {
                self.attacks = dice.between(200, 3_000);
                // A stranger whose guess is judged while older segments wait would have to guess twice.
                self.mishaps = [Mishaps::default(); 2];
                self.weather.iter_mut().for_each(|weather| weather.moderation_ns = 0);
                self.plans[0].sides.iter_mut().for_each(|side| side.bytes += 10_000);
            }
            Theme::Flood => {
                self.backlog = dice.between(1, 8) as usize;
                self.flood = dice.between(20, 60);
                for plan in &mut self.plans {
                    plan.opener = Some(0);
                    plan.open_ns += MS;
                    // Who holds no state for a SYN hears of the connection with the first segment that follows.
                    plan.sides[0].bytes += 1;
                }
            }
            Theme::FullTable => {
                self.configs[1].connections = dice.between(1, 2) as usize;
                while self.plans.len() < 4 {
                    let plan = draw_plan(dice, self.plans.len() as u16);
                    self.plans.push(plan);
                }
                for plan in &mut self.plans {
                    plan.opener = Some(0);
                    plan.open_ns += dice.scaled(MS, 8_000 * MS);
                    // As in a flood: what was promised by a cookie is kept, or refused, when something is said.
                    plan.sides[0].bytes += 1;
                    plan.sides[1].close = Close::Sent;
                    plan.sides[0].close = Close::PeerClosed;
                }
            }
            Theme::Abort => {
                let side = &mut self.plans[0].sides[dice.between(0, 1) as usize];
                side.abort_after = Some(dice.scaled(0, 20_000));
            }
            Theme::PathMtu => {
                self.mtus = [1500; 2];
                for weather in &mut self.weather {
                    weather.path_mtu = dice.between(600, 1_499) as usize;
                    weather.tells_mtu = dice.one(&[10_000, 10_000, 3_000]);
                }
                self.plans.iter_mut().flat_map(|plan| &mut plan.sides).for_each(|side| side.bytes += 3_000);
            }
            Theme::Smoltcp => {
                // It throws away what is unread when its TIME-WAIT of 10 s is over.
                self.plans.iter_mut().for_each(|plan| plan.sides[0].pause_ns = plan.sides[0].pause_ns.min(20 * MS));
                self.mishaps = [Mishaps::default(); 2];
            }
        }
    }
}

fn draw_theme(dice: &mut Dice) -> Theme {
    use Theme::*;
    dice.one(&[
        Talk,
        Talk,
        Talk,
        Talk,
        Talk,
        SlowReader,
        SlowReader,
        SimultaneousOpen,
        SimultaneousClose,
        Reuse,
        Reuse,
        Attack,
        Attack,
        Flood,
        Abort,
        PathMtu,
        Smoltcp,
    ])
}

fn draw_config(dice: &mut Dice) -> tcp::Config {
    tcp::Config {
        msl: Duration::from_secs(dice.between(5, 30)),
        send_buffer: dice.scaled(1_000, 200_000) as usize,
        receive_buffer: dice.scaled(1_500, 300_000) as usize,
        // Now and then too little for all buffers to be full.
        memory: if dice.chance(1_000) { dice.scaled(64 << 10, 1 << 20) } else { 8 << 20 } as usize,
        connections: 32,
        send_buffer_max: dice.one(&[0, 1 << 20]),
        receive_buffer_max: dice.one(&[0, 0, 300_000, 6 << 20]),
        quick_acks: dice.one(&[0, 2, 16]),
        ecn: dice.one(&[ecn::Use::Off, ecn::Use::Passive, ecn::Use::On]),
        timestamps: dice.chance(7_500),
        window_scaling: dice.chance(7_500),
        sack: dice.chance(7_500),
        congestion: dice.one(Algorithm::ALL),
        no_delay: dice.chance(6_000),
        delayed_ack: Duration::from_micros(dice.scaled(100, 200_000)),
        // A path that loses a fifth loses fifteen times in a row now and then.
        retries: 60,
        syn_retries: 60,
        syn_ack_retries: 10,
        // Well below 2 MSL, whose end a sender that has backed off farther would not reach.
        rto_max: Duration::from_secs(4),
        ..tcp::Config::default()
    }
}

fn draw_plan(dice: &mut Dice, number: u16) -> Plan {
    let opener = dice.between(0, 1) as usize;
    let mut sides = [0, 1].map(|_| draw_side(dice));
    if sides.iter().all(|side| side.close == Close::PeerClosed) {
        sides[dice.between(0, 1) as usize].close = Close::Sent;
    }
    Plan {
        opener: Some(opener),
        ports: [10_000 + number, 20_000 + number],
        open_ns: dice.scaled(1, 20 * MS),
        rounds: 1,
        reopen_ns: 0,
        sides,
    }
}

fn draw_side(dice: &mut Dice) -> Side {
    let bytes = match dice.between(0, 19) {
        0 | 1 => 0,
        2..=8 => dice.scaled(1, 5_000),
        9..=17 => dice.between(1, 60_000),
        _ => dice.between(50_000, 400_000),
    };
    let slow = dice.chance(1_500);
    Side {
        bytes,
        // Small writes of a large stream would only take time.
        chunk: dice.scaled(1, 30_000).max(bytes / 200),
        write_gap_ns: if dice.chance(2_000) { dice.scaled(US, 20 * MS) } else { 0 },
        sip: if dice.chance(1_500) { dice.scaled(1, 5_000) } else { u64::MAX },
        pause_every: if slow { dice.scaled(500, 50_000) } else { u64::MAX },
        pause_ns: dice.scaled(US, if slow { 300 * MS } else { MS }),
        close: match dice.between(0, 9) {
            0..=3 => Close::Sent,
            4..=7 => Close::PeerClosed,
            _ => Close::At(dice.scaled(MS, 500 * MS)),
        },
        abort_after: None,
    }
}
