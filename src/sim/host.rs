//! What stands at an end of the network: an engine of Ringway, or smoltcp.
//!
//! The run turns it and looks into it; it makes no difference between the two but where only an engine can be looked into. It never tells an
//! end anything that does not come as a frame or as time. Panics when an engine cannot be built.

use std::rc::Rc;
use std::time::Duration;

use super::dice::Dice;
use super::events::Events;
use super::frames;
use super::oracle::Path;
use super::scenario::{Epoch, Scenario, Theme};
use super::service::{Life, Stream, Talk};
use super::smoltcp::Smol;
use crate::demux::{Address, FlowKey, Link};
use crate::device::Device;
use crate::device::memory::MemoryDevice;
use crate::engine::{Clock, Config, Engine, Port, Secrets};
use crate::limits;
use crate::link::groups::Groups;
use crate::link::interface::{Claim, Interface};
use crate::link::routes::Routes;
use crate::tcp::inspect::View;
use crate::tcp::isn;
use crate::tcp::tally::Happening;
use crate::time::Instant;
use crate::wire::vlan::Vlan;

/// The stack of an end. All times are its own clock's, in nanoseconds.
#[expect(clippy::large_enum_variant, reason = "there are two of them")]
pub(super) enum Host {
    Ringway(Engine<MemoryDevice, Talk>),
    Smoltcp(Smol),
}

/// The time of one end.
struct At(u64);

impl Clock for At {
    fn now(&self) -> Instant {
        Instant::from_ns(self.0)
    }
}

impl Host {
    /// The stack that the scenario wants at an end.
    pub(super) fn new(end: usize, seed: u64, device: MemoryDevice, secrets: Secrets, scenario: &Rc<Scenario>) -> Self {
        let scenario = Rc::clone(scenario);
        if scenario.theme == Theme::Smoltcp && end == 0 {
            return Self::Smoltcp(Smol::new(device, seed, scenario));
        }
        let interface = Interface {
            name: format!("sim{end}"),
            mac: device.mac(),
            mtu: scenario.mtus[end],
            vlan: Vlan::NONE,
            claim: Claim::Addresses(vec![format!("{}/24", frames::address(end)).parse().expect("an address")]),
            routes: Routes::default(),
            withheld: Vec::new(),
            groups: Groups::new(),
        };
        let mut config = Config::new(secrets);
        config.tcp = scenario.configs[end];
        config.neighbor_expiry = Duration::from_secs(3_600);
        let talk = Talk::new(end, seed, scenario);
        let mut engine =
            Engine::new(config, vec![interface], vec![Port::new(device, 0, 0)], talk).expect("descriptors for sleeping");
        // Timers are left or cancelled, flows fetched ahead or not.
        engine.think_cached(if seed & 1 == 0 { 0 } else { limits::FLOWS_IN_CACHE });
        Self::Ringway(engine)
    }

    pub(super) fn start(&mut self, now: u64) {
        match self {
            Self::Ringway(engine) => engine.start(&At(now)),
            Self::Smoltcp(_) => {}
        }
    }

    /// One turn. True when it found work.
    pub(super) fn turn(&mut self, now: u64) -> bool {
        match self {
            Self::Ringway(engine) => engine.turn(&At(now)),
            Self::Smoltcp(smol) => smol.turn(now),
        }
    }

    /// True when a turn would find work whatever the time is.
    pub(super) fn work_waits(&mut self) -> bool {
        match self {
            Self::Ringway(engine) => engine.work_waits(),
            Self::Smoltcp(smol) => smol.work_waits(),
        }
    }

    /// When a timer expires next; `u64::MAX` for never.
    pub(super) fn deadline(&mut self) -> u64 {
        match self {
            Self::Ringway(engine) => match engine.next_deadline() {
                Instant::NEVER => u64::MAX,
                deadline => deadline.as_ns(),
            },
            Self::Smoltcp(smol) => smol.deadline(),
        }
    }

    pub(super) fn lives(&self) -> &[Life] {
        match self {
            Self::Ringway(engine) => &engine.service().lives,
            Self::Smoltcp(smol) => &smol.lives,
        }
    }

    /// What the service found wrong, or a reader of the public cards would.
    pub(super) fn take_wrong(&mut self) -> Option<String> {
        match self {
            Self::Ringway(engine) => engine.service_mut().wrong.take().or_else(|| engine.lying_card()),
            Self::Smoltcp(smol) => smol.wrong.take(),
        }
    }

    /// What the service sends on its latest connection of a plan.
    pub(super) fn stream_of(&self, plan: usize) -> Option<Stream> {
        match self {
            Self::Ringway(engine) => engine.service().stream_of(plan),
            Self::Smoltcp(smol) => Some(smol.stream_of(plan)),
        }
    }

    /// The connections with the other end, as far as they can be looked into.
    pub(super) fn views(&self, end: usize) -> Vec<(Path, View)> {
        match self {
            Self::Ringway(engine) => engine.connections().filter_map(|(key, view)| Some((path_of(end, &key)?, view))).collect(),
            Self::Smoltcp(_) => Vec::new(),
        }
    }

    /// How often the retransmission timer has expired; unknown for smoltcp.
    pub(super) fn timeouts(&self) -> Option<u64> {
        match self {
            Self::Ringway(engine) => Some(engine.accounts().2.of(Happening::RetransmissionTimeout)),
            Self::Smoltcp(_) => None,
        }
    }

    /// How often a connection in TIME-WAIT had to give way to another one.
    pub(super) fn time_waits_cut(&self) -> u64 {
        match self {
            Self::Ringway(engine) => engine.accounts().2.of(Happening::TimeWaitCutShort),
            Self::Smoltcp(_) => 0,
        }
    }

    pub(super) fn left_over(&self) -> Vec<String> {
        match self {
            Self::Ringway(engine) => engine.left_over(),
            Self::Smoltcp(smol) => smol.left_over(),
        }
    }

    /// Adds what was counted.
    pub(super) fn count(&self, events: &mut Events) {
        if let Self::Ringway(engine) = self {
            let (counters, drops, tally) = engine.accounts();
            events.add(counters, drops, tally);
        }
    }
}

/// The ports of ends 0 and 1, for a connection between the two; `None` for a stranger's.
fn path_of(end: usize, key: &FlowKey) -> Option<Path> {
    let known = key.remote == Address::from(frames::address(1 - end));
    known.then_some(if end == 0 { [key.local_port, key.remote_port] } else { [key.remote_port, key.local_port] })
}

/// Keys that no two seeds share.
pub(super) fn draw_secrets(dice: &mut Dice) -> Secrets {
    let mut key = || (u128::from(dice.bits()) << 64 | u128::from(dice.bits())).to_ne_bytes();
    Secrets {
        directory: key(),
        isn: key(),
        ports: key(),
        cookies: key(),
        flow_labels: key(),
        neighbors: [dice.bits(), dice.bits()],
        // Nothing is fragmented there; a draw more would make every seed another run.
        fragments: [7; 16],
        paths: [8; 16],
        sources: [9; 16],
    }
}

/// The time at which both clocks begin, so that sequence numbers or timestamps of the first opener wrap soon after.
pub(super) fn epoch(scenario: &Scenario, secrets: &[Secrets; 2]) -> u64 {
    let end = scenario.plans[0].opener.unwrap_or(0);
    let key = FlowKey {
        local: frames::address(end).into(),
        remote: frames::address(1 - end).into(),
        local_port: scenario.plans[0].ports[end],
        remote_port: scenario.plans[0].ports[1 - end],
        link: Link { interface: 0 },
    };
    match scenario.epoch {
        Epoch::Start => 0,
        Epoch::SequenceWraps(before) => {
            let first = isn::initial_sequence(&secrets[end].isn, &key.octets(), Instant::ZERO);
            u64::from(0u32.wrapping_sub(before).wrapping_sub(first.0)) * 4_000
        }
        Epoch::TimestampWraps(before_ms) => {
            let offset = isn::timestamp_offset(&secrets[end].isn, &key.octets());
            u64::from(0u32.wrapping_sub(before_ms).wrapping_sub(offset)) * 1_000_000
        }
    }
}
