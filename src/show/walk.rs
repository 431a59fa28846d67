//! One answer, made piece by piece: so that a client that takes a million rows costs no memory, and others have their turn.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::frames::Taps;
use super::request::{Request, What};
use super::rows::{self, Connection, Counted, Event, Figured, Hop, Listener, Neighbor, Queue, Refused, Summary};
use crate::capture::file::Recorded;
use crate::demux::directory::Card;
use crate::engine::Inquirer;
use crate::engine::inquiry::{Awake, Silent};
use crate::limits;
use crate::tcp::State;
use crate::time::span_ns;

/// Cards that one piece looks at, at most.
const LOOKED_AT: usize = 16_384;

/// Questions about connections in use that one answer asks a worker, when it is to have few of them: where hardly any is in use, the next answer goes on.
const PIECES: u64 = 64;

/// How far an answer is.
#[derive(Debug)]
pub(super) struct Walk {
    request: Request,
    /// The worker whose turn it is.
    worker: usize,
    /// The slot of its next card.
    slot: u32,
    rows: u64,
    /// A row was left out because of the limit.
    cut: bool,
    /// Of each worker, the number of the next record.
    next: Vec<u64>,
    /// Rows that the worker at hand has told, and how often it was asked about those that are in use.
    told: u64,
    asked: u64,
    /// Its connections by state, as far as they are counted, and how long that took.
    states: [u64; State::ALL.len()],
    counting: Duration,
    /// The captures of the workers, while there are any.
    taps: Taps,
    /// Of records: what holds for the worker at hand.
    turn: Option<Turn>,
}

/// What the records of a worker are told by.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// What it had recorded when its turn came; what it records meanwhile is of the next answer.
    until: u64,
    /// The beginning of its time, in nanoseconds since 1970: one for all records, whose times are compared.
    epoch_ns: u64,
}

impl Walk {
    pub(super) fn new(request: Request) -> Self {
        Self {
            request,
            worker: 0,
            slot: 0,
            rows: 0,
            cut: false,
            next: Vec::new(),
            told: 0,
            asked: 0,
            states: [0; State::ALL.len()],
            counting: Duration::ZERO,
            taps: Taps::default(),
            turn: None,
        }
    }

    /// Adds the next piece to `out`, some rows or none, and says whether there is more.
    pub(super) fn step(&mut self, cores: &[Inquirer], interfaces: &[String], out: &mut Vec<u8>) -> Step {
        if self.request.show == What::Frames {
            return self.taps.step(&self.request, cores, interfaces, &mut self.rows, out);
        }
        if self.made(cores, interfaces, out) { Step::More } else { Step::Done }
    }

    /// The client wants no more than there is already. False where that is the whole answer anyway.
    pub(super) fn end(&mut self) -> bool {
        self.taps.end();
        self.request.show == What::Frames
    }

    /// True when there is more.
    fn made(&mut self, cores: &[Inquirer], interfaces: &[String], out: &mut Vec<u8>) -> bool {
        let most = self.request.limit.unwrap_or(u64::MAX);
        let left = if self.request.show == What::Awake { most } else { most.saturating_sub(self.rows) };
        let Some(core) = cores.get(self.worker) else {
            Event::write("summary", Summary { rows: self.rows, more: self.cut, next: std::mem::take(&mut self.next) }, out);
            return false;
        };
        if left == 0 && (self.cut || self.request.show == What::Connections && self.another(core)) {
            Event::write("summary", Summary { rows: self.rows, more: true, next: std::mem::take(&mut self.next) }, out);
            return false;
        }
        let made = match self.request.show {
            What::Connections if left == 0 => Ok(()),
            What::Connections => self.connections(core, interfaces, left, out),
            What::Records => self.records(core, interfaces, left, out),
            What::Awake => {
                self.awake(core, interfaces, out);
                Ok(())
            }
            What::Figures => {
                self.figures(core, left, out);
                Ok(())
            }
            _ => self.worker(core, interfaces, left, out),
        };
        match made {
            Ok(()) => true,
            Err(Silent) => {
                let what = format!("cannot ask worker {}", self.worker);
                Event::write("error", Refused { what: &what, why: Silent.to_string() }, out);
                false
            }
        }
    }

    /// True when the worker has one more connection that is asked for; else it is the next one's turn.
    fn another(&mut self, core: &Inquirer) -> bool {
        if core.cards_from(self.slot).any(|card| self.request.wants(&card)) {
            return true;
        }
        (self.worker, self.slot) = (self.worker + 1, 0);
        false
    }

    /// The next connections of a worker.
    fn connections(&mut self, core: &Inquirer, interfaces: &[String], left: u64, out: &mut Vec<u8>) -> Result<(), Silent> {
        let most = limits::INQUIRED_PER_TURN.min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut found: Vec<Card> = Vec::with_capacity(most);
        let mut last = None;
        for card in core.cards_from(self.slot).take(LOOKED_AT) {
            last = Some(card.id.slot);
            if self.request.wants(&card) {
                found.push(card);
            }
            if found.len() == most {
                break;
            }
        }
        match last {
            Some(last) => self.slot = last.saturating_add(1),
            None => (self.worker, self.slot) = (self.worker + 1, 0),
        }
        let figures = match self.request.brief {
            true => None,
            false if found.is_empty() => None,
            false => Some(core.figures(found.iter().map(|card| card.id).collect())?.into_iter().collect::<HashMap<_, _>>()),
        };
        for card in &found {
            let inside = figures.as_ref().map(|figures| figures.get(&card.id));
            if inside == Some(None) {
                // It has ended meanwhile.
                continue;
            }
            let interface = name_of(interfaces, card.key.link.interface);
            let row = Connection::new(card, span_ns(core.age(card)), interface, inside.flatten());
            Event::write("connection", row, out);
            self.rows += 1;
        }
        Ok(())
    }

    /// The next records of a worker.
    fn records(&mut self, core: &Inquirer, interfaces: &[String], left: u64, out: &mut Vec<u8>) -> Result<(), Silent> {
        if self.next.len() == self.worker {
            self.next.push(self.request.from.get(self.worker).copied().unwrap_or(0));
        }
        let Some(from) = self.next.last_mut() else { return Ok(()) };
        let told = core.records(*from)?;
        let Turn { until, epoch_ns } =
            *self.turn.get_or_insert_with(|| Turn { until: told.written, epoch_ns: span_ns(core.epoch()) });
        let oldest = self.request.last_ns.map(|span| today_ns().saturating_sub(span));
        let mut rows = 0;
        let mut records = told.records.as_slice();
        while let [(number, record), behind @ ..] = records
            && *number < until
        {
            let belonging = behind.iter().take_while(|(_, record)| record.is_of_the_one_before()).count();
            let (rest, others) = behind.split_at(belonging);
            records = others;
            let key = record.key();
            let unix_ns = epoch_ns.saturating_add(record.at.as_ns());
            let ends = [Some(key.local.ip()), Some(key.remote.ip())];
            // The segment that options belong to has gone: nothing can be said of them.
            let wanted = !record.is_of_the_one_before()
                && self.request.wants_ends(&ends, &[key.local_port, key.remote_port])
                && oldest.is_none_or(|oldest| unix_ns >= oldest);
            if wanted && rows == left {
                self.cut = true;
                self.rows += rows;
                return Ok(());
            }
            *from = number + 1 + belonging as u64;
            if wanted {
                rows += 1;
                let interface = record.interface_name(interfaces);
                Event::write("record", Recorded::of((*number, record), rest, self.worker, interface, unix_ns), out);
            }
        }
        self.rows += rows;
        // What is left, if anything, was recorded meanwhile: it may have taken the place of all that was there before.
        if !records.is_empty() || told.records.is_empty() || *from >= until {
            *from = (*from).max(until);
            (self.worker, self.turn) = (self.worker + 1, None);
        }
        Ok(())
    }

    /// The next connections of a worker that are not at rest. Of one that does not answer there are none, as it is missing among the figures; its place stays.
    fn awake(&mut self, core: &Inquirer, interfaces: &[String], out: &mut Vec<u8>) {
        if self.next.len() == self.worker {
            self.next.push(self.request.from.get(self.worker).copied().unwrap_or(0));
        }
        let Some(place) = self.next.last_mut() else { return };
        let most = usize::try_from(self.request.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let left = most.saturating_sub(usize::try_from(self.told).unwrap_or(usize::MAX));
        let pieces = PIECES.max(most.div_ceil(limits::INQUIRED_PER_TURN) as u64);
        if left > 0 && self.asked < pieces {
            match core.awake(u32::try_from(*place).unwrap_or(0), left) {
                Ok(Awake { connections, next }) => {
                    for (id, figures) in &connections {
                        // One whose card has gone has ended meanwhile.
                        let Some(card) = core.card(*id).filter(|card| self.request.wants(card)) else { continue };
                        let interface = name_of(interfaces, card.key.link.interface);
                        Event::write("connection", rows::Awake::new(&card, span_ns(core.age(&card)), interface, figures), out);
                        self.rows += 1;
                    }
                    self.told += connections.len() as u64;
                    self.asked += 1;
                    *place = next.unwrap_or(0).into();
                    if next.is_some() {
                        return;
                    }
                }
                Err(Silent) => self.cut = true,
            }
        }
        self.cut |= *place > 0;
        (self.worker, self.told, self.asked) = (self.worker + 1, 0, 0);
    }

    /// What a worker has counted; its connections by state before that, some with each call.
    fn figures(&mut self, core: &Inquirer, left: u64, out: &mut Vec<u8>) {
        if left == 0 {
            self.cut = true;
            return;
        }
        let began = Instant::now();
        if !self.request.brief {
            let mut last = None;
            for card in core.cards_from(self.slot).take(LOOKED_AT) {
                last = Some(card.id.slot);
                if let Some(at) = State::ALL.iter().position(|&state| state == card.state) {
                    self.states[at] += 1;
                }
            }
            self.counting += began.elapsed();
            if let Some(last) = last {
                self.slot = last.saturating_add(1);
                return;
            }
        }
        let states = std::mem::replace(&mut self.states, [0; State::ALL.len()]);
        let counted_ns = span_ns(std::mem::take(&mut self.counting));
        let states = (!self.request.brief).then_some(states);
        Event::write("figures", Figured::new(self.worker, states, counted_ns, core.report().ok()), out);
        (self.worker, self.slot, self.rows) = (self.worker + 1, 0, self.rows + 1);
    }

    /// Everything of a worker that is not long.
    fn worker(&mut self, core: &Inquirer, interfaces: &[String], left: u64, out: &mut Vec<u8>) -> Result<(), Silent> {
        let (worker, before) = (self.worker, self.rows);
        self.worker += 1;
        let request = &self.request;
        let mut rows = 0;
        let mut may = || {
            rows += 1;
            rows <= left
        };
        match request.show {
            What::Connections | What::Records | What::Frames | What::Figures | What::Awake => {}
            What::Listeners => {
                for listener in core.listeners()? {
                    let (addresses, ports) = match listener.peer {
                        Some((address, port)) => (vec![listener.address, Some(address)], vec![listener.port, port]),
                        None => (vec![listener.address], vec![listener.port]),
                    };
                    if request.wants_ends(&addresses, &ports) && may() {
                        Event::write("listener", Listener::new(worker, &listener), out);
                    }
                }
            }
            What::Counters => {
                let waiting = core.cards_from(0).filter(|card| card.state == State::TimeWait).count();
                let report = core.report()?;
                if may() {
                    Event::write("counters", Counted::new(worker, waiting, report), out);
                }
            }
            What::Queues => {
                for queue in core.report()?.queues {
                    if may() {
                        Event::write("queue", Queue::new(worker, name_of(interfaces, queue.interface), queue), out);
                    }
                }
            }
            What::Neighbors => {
                for neighbor in core.neighbors()? {
                    if request.wants_ends(&[Some(neighbor.ip)], &[]) && may() {
                        Event::write("neighbor", Neighbor::new(worker, name_of(interfaces, neighbor.interface), &neighbor), out);
                    }
                }
            }
            // The same everywhere.
            What::Routes if worker > 0 => {}
            What::Routes => {
                for (interface, route) in core.routes()? {
                    let via = route.via.into_iter().chain([route.to.address]).map(Some).collect::<Vec<_>>();
                    if request.wants_ends(&via, &[]) && may() {
                        Event::write("route", Hop::new(name_of(interfaces, interface), &route), out);
                    }
                }
            }
        }
        self.cut |= rows > left;
        self.rows = before + rows.min(left);
        Ok(())
    }
}

/// How an answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more.
    More,
    /// There will be more, but not yet.
    Later,
    /// It is complete.
    Done,
}

/// Nanoseconds since 1970.
fn today_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, span_ns)
}

pub(super) fn name_of(interfaces: &[String], position: u16) -> &str {
    interfaces.get(usize::from(position)).map_or("?", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{Silent, parked_recording, record_datagrams};

    #[test]
    fn an_answer_about_records_ends_also_when_all_of_them_are_written_over() {
        let mut engine = parked_recording(Silent, 16);
        let (core, stop) = (engine.inquirer(), engine.stop());
        record_datagrams(&mut engine, 10);
        let mut walk = Walk::new(Request::new(What::Records));
        walk.turn = Some(Turn { until: 10, epoch_ns: 0 });
        // As many again as there is room for: none of those ten is left.
        record_datagrams(&mut engine, 40);
        let running = std::thread::spawn(move || engine.run().unwrap());
        let mut out = Vec::new();
        let steps = (0..10).take_while(|_| walk.step(std::slice::from_ref(&core), &[], &mut out) == Step::More).count();
        stop.ask();
        running.join().unwrap();
        let answer = String::from_utf8(out).unwrap();
        assert!(steps < 10 && answer.contains("\"summary\"") && answer.contains("\"rows\":0"), "{steps} {answer}");
    }
}
