//! One run: two ends and the network between them, from the first SYN to the end of the last TIME-WAIT.
//!
//! Time is the simulation's own and goes from event to event: a frame that arrives, a timer that expires, a pause that is over. A run
//! ends when nothing can happen any more; whatever is then unfinished has stopped for ever, and whatever is left over has leaked. Started by
//! the tests; it is bounded in steps and in time, never asks a clock, and returns every panic of what it judges as a finding.

use std::rc::Rc;

use super::attack::{self, Target};
use super::dice::Dice;
use super::events::Events;
use super::frames;
use super::host::{self, Host};
use super::network::{Network, Packet};
use super::oracle::{Oracle, Tag, check_changes};
use super::planted::{self, Bug};
use super::scenario::{Scenario, Theme};
use super::service::{Ended, Life, Stream};
use crate::device::memory::{self, MemoryDevice};
use crate::device::{Device, Frame as _};
use crate::service::ResetReason;
use crate::tcp::State;
use crate::tcp::inspect::View;
use crate::tcp::state::watch;
use crate::wire::tcp::Ports;

/// What is run, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) seed: u64,
    /// Prints every segment.
    pub(super) trace: bool,
    pub(super) bug: Option<Bug>,
}

impl Run {
    /// A run as it is, without a trace.
    pub(super) const fn of(seed: u64) -> Self {
        Self { seed, trace: false, bug: None }
    }

    /// Runs it. A panic of the code that is judged is a finding like any other.
    ///
    /// # Errors
    /// What was wrong, and when.
    pub(super) fn go(self) -> Result<Events, String> {
        watch::take();
        let judged = || planted::with(self.bug, || World::new(self).go());
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(judged)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("panic: {}", text.unwrap_or("without a word")))
        })
    }
}

/// One end: a stack, and the network's end of its cable.
struct End {
    host: Host,
    wire: MemoryDevice,
    /// How far its clock is ahead of the simulation's.
    ahead_ns: u64,
    paused_until: u64,
    mishaps_left: u32,
}

struct World {
    run: Run,
    scenario: Rc<Scenario>,
    now: u64,
    ends: [End; 2],
    network: Network,
    oracle: Oracle,
    dice: Dice,
    floods_left: u64,
    /// A segment has arrived: the ends have found each other.
    met: bool,
    events: Events,
}

impl World {
    fn new(run: Run) -> Self {
        let scenario = Rc::new(Scenario::draw(run.seed));
        let mut dice = Dice::of(run.seed, 2);
        let secrets = [0, 1].map(|_| host::draw_secrets(&mut dice));
        let ahead_ns = host::epoch(&scenario, &secrets);
        let ends = [0, 1].map(|end| {
            let (left, right) = memory::cable(FRAMES);
            // The first device of a cable has the first end's address, the second the second's.
            let (own, wire) = if end == 0 { (left, right) } else { (right, left) };
            let host = Host::new(end, run.seed, own, secrets[end], &scenario);
            End { host, wire, ahead_ns, paused_until: 0, mishaps_left: MISHAPS_MAX }
        });
        let network = Network::new(scenario.weather.clone(), Dice::of(run.seed, 3));
        let floods_left = scenario.flood;
        if run.trace {
            println!("{scenario:#?}");
        }
        let aborting = scenario.plans.iter().filter(|plan| plan.aborts()).map(|plan| plan.ports).collect();
        let oracle = Oracle::new(aborting);
        let events = Events::default();
        Self { run, scenario, now: 0, ends, network, oracle, dice, floods_left, met: false, events }
    }

    fn go(mut self) -> Result<Events, String> {
        self.play().and_then(|()| self.verdict()).map_err(|what| format!("at {} us: {what}", self.now / 1_000))?;
        let changes = watch::take();
        check_changes(&changes)?;
        self.ends.iter().for_each(|end| end.host.count(&mut self.events));
        self.events.add_changes(&changes);
        self.events.zero_windows = self.oracle.zero_windows;
        self.events.runs = 1;
        Ok(self.events)
    }

    /// From event to event, until there is none.
    fn play(&mut self) -> Result<(), String> {
        for end in [0, 1] {
            let clock = self.clock(end);
            self.ends[end].host.start(clock);
            self.turn(end)?;
        }
        for _ in 0..STEPS_MAX {
            self.flood()?;
            self.mishap();
            while let Some(packet) = self.network.arrived(self.now) {
                self.arrive(packet)?;
            }
            for end in [0, 1] {
                self.turn_if_due(end)?;
            }
            let next = self.next();
            if next == u64::MAX {
                return Ok(());
            }
            if next > TIME_MAX {
                return Err(format!("no end after {} s: {}", self.now / 1_000_000_000, self.unfinished()));
            }
            self.now = next.max(self.now + 1);
        }
        Err(format!("no end after {STEPS_MAX} steps: {}", self.unfinished()))
    }

    /// The time of an end.
    fn clock(&self, end: usize) -> u64 {
        self.now + self.ends[end].ahead_ns
    }

    /// When something happens next.
    fn next(&mut self) -> u64 {
        let now = self.now;
        let timers = self.ends.iter_mut().map(|end| match end.host.deadline() {
            u64::MAX => u64::MAX,
            deadline => deadline.saturating_sub(end.ahead_ns).max(end.paused_until),
        });
        let next = timers.chain([self.network.next()]).min().unwrap_or(u64::MAX);
        let pauses = self.ends.iter().map(|end| if end.paused_until > now { end.paused_until } else { u64::MAX });
        pauses.chain([next]).min().unwrap_or(u64::MAX)
    }

    fn turn_if_due(&mut self, end: usize) -> Result<(), String> {
        let clock = self.clock(end);
        let at = &mut self.ends[end];
        if at.paused_until <= self.now && (at.host.work_waits() || at.host.deadline() <= clock) {
            self.turn(end)?;
        }
        Ok(())
    }

    /// Turns an end until it finds no work.
    fn turn(&mut self, end: usize) -> Result<(), String> {
        let clock = self.clock(end);
        for _ in 0..TURNS_MAX {
            let worked = self.ends[end].host.turn(clock);
            self.collect(end)?;
            self.check(end)?;
            if !worked && !self.ends[end].host.work_waits() {
                return Ok(());
            }
        }
        Err(format!("end {end} turns without end"))
    }

    fn check(&mut self, end: usize) -> Result<(), String> {
        if let Some(wrong) = self.ends[end].host.take_wrong() {
            return Err(wrong);
        }
        let views = self.ends[end].host.views(end);
        let two_msl = crate::time::span_ns(self.scenario.configs[end].msl) * 2;
        let cut = self.ends[end].host.time_waits_cut();
        self.oracle.check_end(end, &views, self.clock(end), two_msl, cut).map_err(|what| format!("end {end} {what}"))
    }

    /// Takes what an end has sent into the network.
    fn collect(&mut self, end: usize) -> Result<(), String> {
        let mut burst = Vec::new();
        while self.ends[end].wire.receive(&mut burst, 64) > 0 {
            for frame in burst.drain(..) {
                let bytes = frame.bytes().to_vec();
                self.ends[end].wire.recycle(frame);
                // Answers to strangers go nowhere.
                if frames::is_for(&bytes, 1 - end) {
                    self.send(end, bytes)?;
                }
            }
            self.ends[end].wire.flush();
        }
        assert_eq!(self.ends[end].wire.stats().fill_ring_empty, 0, "the simulation itself loses nothing");
        Ok(())
    }

    fn send(&mut self, end: usize, bytes: Vec<u8>) -> Result<(), String> {
        let mut tag = Tag::NONE;
        match frames::read(&bytes) {
            Some(Ok(seen)) => {
                let stream = self.stream(end, seen.ports.source);
                let timeouts = self.ends[end].host.timeouts();
                tag = self
                    .oracle
                    .sent(end, &seen, stream, timeouts)
                    .map_err(|what| format!("end {end} {what}: {}", line(&bytes)))?;
            }
            Some(Err(why)) => return Err(format!("end {end} sends what is no segment: {}", why.name())),
            None => {}
        }
        self.events.packets += 1;
        let told = self.run.trace.then(|| line(&bytes));
        let fate = self.network.send(self.now, end, bytes, tag);
        if let Some(told) = told {
            println!("{:>12} {} {told}: {fate}", self.now / 1_000, ["0 ->  ", "  <- 1"][end]);
        }
        Ok(())
    }

    /// What the service of an end sends from a port.
    fn stream(&self, end: usize, port: u16) -> Option<Stream> {
        let plan = self.scenario.plans.iter().position(|plan| plan.ports[end] == port)?;
        self.ends[end].host.stream_of(plan)
    }

    /// A packet reaches its end.
    fn arrive(&mut self, packet: Packet) -> Result<(), String> {
        let to = packet.to;
        let mut ports = None;
        if let (Some(Ok(seen)), true) = (frames::read(&packet.bytes), packet.tag != Tag::NONE) {
            self.oracle.arrives(1 - to, &seen, packet.tag);
            ports = Some(seen.ports);
            self.met = true;
        }
        if self.run.trace {
            println!("{:>12} {} {}", self.now / 1_000, ["0 ==> ", " <== 1"][1 - to], line(&packet.bytes));
        }
        self.hand_over(to, &packet.bytes);
        if self.dice.chance(self.scenario.attacks)
            && let Some(ports) = ports
        {
            self.turn_if_due(to)?;
            self.attack(to, ports)?;
        }
        Ok(())
    }

    /// Puts a frame into an end's receive ring, which may be full.
    fn hand_over(&mut self, to: usize, bytes: &[u8]) {
        let wire = &mut self.ends[to].wire;
        if let Some(mut frame) = wire.allocate() {
            frame.set_len(bytes.len());
            frame.bytes_mut().copy_from_slice(bytes);
            if let Err(frame) = wire.transmit(frame) {
                wire.recycle(frame);
            }
            wire.flush();
        }
    }

    /// A stranger tries the connection that the segment belonged to.
    fn attack(&mut self, to: usize, ports: Ports) -> Result<(), String> {
        let path = if to == 1 { [ports.source, ports.target] } else { [ports.target, ports.source] };
        let view = |end: usize| self.ends[end].host.views(end).into_iter().find(|view| view.0 == path).map(|view| view.1);
        let (Some(victim), Some(other)) = (view(to), view(1 - to)) else { return Ok(()) };
        let open = |view: &View| !matches!(view.state, State::SynSent | State::SynReceived | State::TimeWait | State::Closed);
        let (true, true, Some(stream)) = (open(&victim), open(&other), self.stream(1 - to, ports.source)) else { return Ok(()) };
        let Some(first) = self.oracle.first_byte(1 - to, ports, victim.rcv_nxt) else { return Ok(()) };
        let attack = attack::draw(&Target { to, ports, victim, other, stream, first }, &mut self.dice);
        for bytes in attack.frames {
            if self.run.trace {
                println!(
                    "{:>12} {} {}, by a stranger: {}",
                    self.now / 1_000,
                    ["0 ~~> ", " <~~ 1"][1 - to],
                    line(&bytes),
                    attack.name
                );
            }
            if attack.honest
                && let Some(Ok(seen)) = frames::read(&bytes)
            {
                let tag = self.oracle.tag(1 - to, &seen);
                self.oracle.arrives(1 - to, &seen, tag);
            }
            self.hand_over(to, &bytes);
        }
        self.turn_if_due(to)
    }

    /// SYNs that nobody means, at the listeners of end 1.
    fn flood(&mut self) -> Result<(), String> {
        for _ in 0..self.floods_left.min(10) {
            self.floods_left -= 1;
            let port = self.scenario.plans[0].ports[1];
            let syn = attack::spoofed_syn(1, port, &mut self.dice);
            self.hand_over(1, &syn);
            self.turn_if_due(1)?;
        }
        Ok(())
    }

    /// An end stands still, or its clock leaps.
    fn mishap(&mut self) {
        for end in [0, 1] {
            let mishaps = self.scenario.mishaps[end];
            let (pauses, jumps) = (self.dice.chance(mishaps.pauses), self.dice.chance(mishaps.jumps));
            let at = &mut self.ends[end];
            if at.mishaps_left == 0 || !(pauses || jumps) {
                continue;
            }
            at.mishaps_left -= 1;
            if pauses {
                let pause_ns = self.dice.between(1, mishaps.pause_ns);
                // Who is not heard of for three seconds has no address: it is unreachable, and rightly called so.
                at.paused_until = self.now + if self.met { pause_ns } else { pause_ns.min(STRANGER_PAUSE_MAX) };
            } else {
                at.ahead_ns += self.dice.between(1, mishaps.jump_ns);
            }
            if self.run.trace {
                let (until, ahead) = (at.paused_until / 1_000, at.ahead_ns / 1_000);
                println!("{:>12} end {end} stands still until {until}, its clock is {ahead} us ahead", self.now / 1_000);
            }
        }
    }

    /// Everything came, everybody closed, and nothing is left.
    fn verdict(&self) -> Result<(), String> {
        for (number, plan) in self.scenario.plans.iter().enumerate() {
            // A cookie is no place in the table: when its acknowledgment comes there may be none, and then it is reset.
            let refused = matches!(self.scenario.theme, Theme::FullTable)
                && self
                    .ends
                    .iter()
                    .flat_map(|end| end.host.lives())
                    .any(|life| life.plan == number && life.got == 0 && life.ended == Some(Ended::Reset(ResetReason::Reset)));
            for end in [0, 1] {
                let lives: Vec<&Life> = self.ends[end].host.lives().iter().filter(|life| life.plan == number).collect();
                if let Some(life) = lives.iter().find(|life| life.ended.is_none()) {
                    return Err(format!("nothing happens any more, but at end {end} this goes on: {life:?}"));
                }
                if plan.aborts() || refused {
                    continue;
                }
                if lives.len() != plan.rounds {
                    return Err(format!("end {end} saw {} of {} connections of plan {number}", lives.len(), plan.rounds));
                }
                // Where TIME-WAIT was cut short, nobody is left to acknowledge a FIN that comes again: it is reset, after all has arrived.
                let cut = self.ends[1 - end].host.time_waits_cut() > 0;
                for life in lives {
                    let in_order = life.ended == Some(Ended::Closed)
                        || cut && life.closed && matches!(life.ended, Some(Ended::Reset(ResetReason::Reset)));
                    let whole = (life.sent, life.got) == (plan.sides[end].bytes, plan.sides[1 - end].bytes);
                    if !whole || !life.connected || !life.peer_closed || !in_order {
                        return Err(format!("at end {end} a connection did not go as it should: {life:?}"));
                    }
                }
            }
        }
        for (end, at) in self.ends.iter().enumerate() {
            let left_over = at.host.left_over();
            if !left_over.is_empty() {
                return Err(format!("left over at end {end}: {}", left_over.join(", ")));
            }
        }
        Ok(())
    }

    fn unfinished(&mut self) -> String {
        let lives = self.ends.iter().flat_map(|end| end.host.lives()).filter(|life| life.ended.is_none());
        let lives: Vec<String> = lives.map(|life| format!("{life:?}")).collect();
        let left: Vec<String> = self.ends.iter().flat_map(|end| end.host.left_over()).collect();
        format!("unfinished {lives:?}, left {left:?}")
    }
}

/// A frame in one line.
fn line(bytes: &[u8]) -> String {
    match frames::read(bytes) {
        None => format!("{} bytes, no TCP", bytes.len()),
        Some(Err(why)) => format!("{} bytes, {}", bytes.len(), why.name()),
        Some(Ok(seen)) => {
            let segment = &seen.segment;
            let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
            let flags: Vec<_> = (0..8).filter(|bit| segment.flags.0 >> bit & 1 == 1).map(|bit| names[bit]).collect();
            let (ports, options) = (seen.ports, &segment.options);
            let mut line = format!(
                "{}>{} {} seq {} ack {} wnd {} len {}",
                ports.source,
                ports.target,
                flags.join("-"),
                segment.seq,
                segment.ack,
                segment.window,
                segment.payload.len()
            );
            for (name, value) in [("mss", options.mss.map(u32::from)), ("scale", options.window_scale.map(u32::from))] {
                line += &value.map(|value| format!(" {name} {value}")).unwrap_or_default();
            }
            if let Some((value, echo)) = options.timestamps {
                line += &format!(" ts {value} {echo}");
            }
            for block in options.sack_blocks() {
                line += &format!(" sack {}..{}", block.left, block.right);
            }
            line
        }
    }
}

/// Frames of each device; half of them receive. The network's side takes all that four connections send in a turn.
const FRAMES: usize = 400;
/// Pauses and leaps of one end.
const MISHAPS_MAX: u32 = 5;
/// A pause of an end that the other does not know yet: five of them leave time for an answer.
const STRANGER_PAUSE_MAX: u64 = 400_000_000;
/// Bounds of a run: it has stopped making progress long before.
const STEPS_MAX: u64 = 300_000;
const TURNS_MAX: u32 = 5_000;
const TIME_MAX: u64 = 7_200_000_000_000;
