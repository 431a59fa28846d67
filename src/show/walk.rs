//! One answer, made piece by piece: so that a client that takes a million rows costs no memory, and others have their turn.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::frames::Taps;
use super::request::{Request, What};
use super::rows::{Connection, Counted, Event, Hop, Listener, Neighbor, Queue, Refused, Summary};
use crate::capture::file::Recorded;
use crate::demux::directory::Card;
use crate::engine::Inquirer;
use crate::engine::inquiry::Silent;
use crate::limits;
use crate::tcp::State;
use crate::time::{Instant, span_ns};

/// Cards that one piece looks at, at most.
const LOOKED_AT: usize = 16_384;

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
    /// The captures of the workers, while there are any.
    taps: Taps,
    /// What the worker at hand had recorded when its turn came; what it records meanwhile is of the next answer.
    until: Option<u64>,
}

impl Walk {
    pub(super) fn new(request: Request) -> Self {
        Self { request, worker: 0, slot: 0, rows: 0, cut: false, next: Vec::new(), taps: Taps::default(), until: None }
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
        let left = self.request.limit.unwrap_or(u64::MAX).saturating_sub(self.rows);
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
        let until = *self.until.get_or_insert(told.written);
        let oldest = self.request.last_ns.map(|span| today_ns().saturating_sub(span));
        let mut rows = 0;
        // Once for all of them: two readings of two clocks would set records apart that are of one turn.
        let origin = core.unix_time(Instant::ZERO);
        let mut records = told.records.as_slice();
        while let [(number, record), behind @ ..] = records
            && *number < until
        {
            let belonging = behind.iter().take_while(|(_, record)| record.is_of_the_one_before()).count();
            let (rest, others) = behind.split_at(belonging);
            records = others;
            let key = record.key();
            let unix_ns = span_ns(origin + record.at.since(Instant::ZERO));
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
                let interface = name_of(interfaces, key.link.interface);
                Event::write("record", Recorded::of((*number, record), rest, self.worker, interface, unix_ns), out);
            }
        }
        self.rows += rows;
        if told.records.is_empty() || *from >= until {
            *from = (*from).max(until);
            (self.worker, self.until) = (self.worker + 1, None);
        }
        Ok(())
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
            What::Connections | What::Records | What::Frames => {}
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
                may();
                Event::write("counters", Counted::new(worker, waiting, report), out);
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
