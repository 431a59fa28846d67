//! The flight recorder: the last segments and changes of state of one core, in a bounded ring.
//!
//! The engine notes each TCP segment that it receives or sends, each change of state, what its timers have found, and datagrams when it is asked to;
//! whoever inspects it reads them later ([`crate::engine::Inquirer::records`]), so that what led to a reset or a timeout can still be seen. A record
//! has the size of a cache line, is written whole, and knows its connection by both ends: nothing is looked up, neither when it is written nor when
//! it is read. The newest record takes the place of the oldest. Owned by one core, like everything on the path of a packet: there is no lock, and no
//! clock but the engine's. Nothing here panics.

mod alarm;
mod record;

pub use alarm::{Alarm, Reason};
pub use record::{Cause, Kind, Record};

use crate::demux::FlowKey;
use crate::device::Drop;
use crate::tcp::State;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::{Happening, Noted};
use crate::time::Instant;
use crate::wire::tcp::{Flags, Header, Options, Segment};

/// What is to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Records that a core keeps: a power of two, or 0 for none.
    pub records: usize,
    /// Datagrams too.
    pub udp: bool,
}

impl Default for Settings {
    /// Half a mebibyte a core: what a hundred connections do in their whole life, or the last milliseconds of a busy core.
    fn default() -> Self {
        Self { records: 8192, udp: false }
    }
}

/// The records of one core.
#[derive(Debug)]
pub struct Recorder {
    /// As many as there are to be, from the start, so that none is allocated later.
    ring: Box<[Record]>,
    /// Records written so far, those that have gone among them.
    written: u64,
    udp: bool,
    /// Who is told of what is worth keeping the records for.
    alarm: Option<Alarm>,
    /// The engine resets what is left: that is no reason.
    ends: bool,
}

/// What a segment did to its connection.
#[derive(Clone, Copy, Debug)]
pub struct Effect {
    /// The state before.
    pub before: State,
    /// The state after.
    pub after: State,
    /// The congestion window after, in bytes; 0 where there is no connection.
    pub cwnd: u32,
    /// What happened on the occasion.
    pub noted: Noted,
}

impl Effect {
    /// Of a segment that belongs to no connection.
    pub const fn none(state: State) -> Self {
        Self { before: state, after: state, cwnd: 0, noted: Noted::NONE }
    }
}

impl Recorder {
    /// One that keeps so many records; what is no power of two counts as the next.
    pub fn new(settings: Settings) -> Self {
        let records = if settings.records == 0 { 0 } else { settings.records.next_power_of_two() };
        Self {
            ring: vec![Record::EMPTY; records].into_boxed_slice(),
            written: 0,
            udp: settings.udp && records > 0,
            alarm: None,
            ends: false,
        }
    }

    /// Has somebody told of timeouts, resets and of a panic, and has what is recorded left there at the end.
    pub fn set_alarm(&mut self, alarm: Alarm) {
        self.alarm = Some(alarm);
    }

    /// The connections that are left are about to be reset, because the engine ends: nobody is told of that.
    pub(crate) fn expect_resets(&mut self) {
        self.ends = true;
    }

    /// True when anything is recorded.
    #[inline(always)]
    pub const fn is_on(&self) -> bool {
        !self.ring.is_empty()
    }

    /// True when datagrams are.
    #[inline(always)]
    pub const fn records_udp(&self) -> bool {
        self.udp
    }

    /// How many records have been written: the number that the next one gets.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// The records from a number on that are still there, the oldest first, each with its number.
    pub fn since(&self, number: u64) -> impl Iterator<Item = (u64, &Record)> {
        let oldest = self.written.saturating_sub(self.ring.len() as u64);
        (number.max(oldest)..self.written).filter_map(|number| Some((number, self.ring.get(self.place(number))?)))
    }

    /// The newest record.
    pub fn last(&self) -> Option<&Record> {
        self.ring.get(self.place(self.written.checked_sub(1)?))
    }

    /// A segment that was received, with the check it failed, if it did.
    #[inline(always)]
    pub fn received(&mut self, at: Instant, key: &FlowKey, segment: &Segment<'_>, effect: Effect, drop: Option<Drop>) {
        if !self.is_on() {
            return;
        }
        let cause = match drop {
            None if effect.noted.is_empty() => Cause::NONE,
            Some(why) => Cause::drop(why),
            None => Cause::happened(effect.noted),
        };
        let (numbers, len) = ((segment.seq, segment.ack, segment.window), segment.payload.len());
        self.push(at, key, (Kind::Received, segment.flags, numbers, len), &effect, cause);
        if segment.options.sack_count != 0 || segment.flags.0 & SEVERAL.0 != 0 {
            self.more(&segment.options);
        }
    }

    /// A segment that was sent, with so many bytes of data; `again` says that it was sent before.
    #[inline(always)]
    pub fn sent(&mut self, at: Instant, key: &FlowKey, segment: &Header, len: usize, effect: Effect, again: bool) {
        if !self.is_on() {
            return;
        }
        let kind = if again { Kind::SentAgain } else { Kind::Sent };
        let cause = if effect.noted.is_empty() { Cause::NONE } else { Cause::happened(effect.noted) };
        self.push(at, key, (kind, segment.flags, (segment.seq, segment.ack, segment.window), len), &effect, cause);
        if segment.options.sack_count != 0 || segment.flags.0 & SEVERAL.0 != 0 {
            self.more(&segment.options);
        }
    }

    /// A change of state, or what a timer has found, with no segment to it. What the newest record tells already is not told twice.
    #[cold]
    pub fn changed(&mut self, at: Instant, key: &FlowKey, effect: Effect) {
        if !self.is_on() {
            return;
        }
        let told = |last: &Record| last.is_of(key) && last.after() == effect.after;
        if effect.noted.is_empty() && (effect.before == effect.after || self.last().is_some_and(told)) {
            return;
        }
        if effect.noted.contains(Happening::RetransmissionTimeout)
            && let Some(alarm) = &self.alarm
        {
            alarm.ring(Reason::Timeout);
        }
        let cause = if effect.noted.is_empty() { Cause::NONE } else { Cause::happened(effect.noted) };
        self.push(at, key, (Kind::Changed, Flags::NONE, NO_NUMBERS, 0), &effect, cause);
    }

    /// A datagram of so many bytes.
    #[cold]
    pub fn datagram(&mut self, at: Instant, key: &FlowKey, is_sent: bool, len: usize) {
        if !self.udp {
            return;
        }
        let kind = if is_sent { Kind::DatagramSent } else { Kind::DatagramReceived };
        self.push(at, key, (kind, Flags::NONE, NO_NUMBERS, len), &Effect::none(State::Closed), Cause::NONE);
    }

    /// What is to be done beside few segments. What the options of the newest one say that a reader of its numbers needs: of a SYN its terms, of others the
    /// blocks of a selective acknowledgment. And a reset is told of.
    #[cold]
    #[inline(never)]
    fn more(&mut self, options: &Options) {
        let Some(&segment) = self.last() else { return };
        if segment.flags.contains(Flags::RST)
            && !self.ends
            && let Some(alarm) = &self.alarm
        {
            alarm.ring(Reason::Reset);
        }
        if segment.flags.contains(Flags::SYN) {
            self.put(segment.terms(options));
        }
        for block in options.sack_blocks() {
            self.put(segment.block(*block));
        }
    }

    /// Writes a record where it lies, field by field: made elsewhere and moved it took twice as long.
    #[inline(always)]
    fn push(
        &mut self,
        at: Instant,
        key: &FlowKey,
        (kind, flags, (seq, ack, window), len): (Kind, Flags, (SeqNum, SeqNum, u16), usize),
        effect: &Effect,
        cause: Cause,
    ) {
        let place = self.place(self.written);
        if let Some(record) = self.ring.get_mut(place) {
            record.at = at;
            record.local = key.local;
            record.remote = key.remote;
            (record.seq, record.ack, record.window) = (seq, ack, window);
            record.cwnd = effect.cwnd;
            (record.local_port, record.remote_port) = (key.local_port, key.remote_port);
            // No packet is longer.
            record.len = len as u16;
            record.flags = flags;
            record.set(kind, key.link, (effect.before, effect.after), cause);
            self.written += 1;
        }
    }

    fn put(&mut self, record: Record) {
        let place = self.place(self.written);
        if let Some(slot) = self.ring.get_mut(place) {
            *slot = record;
            self.written += 1;
        }
    }

    /// Where a record lies: the ring's length is a power of two.
    #[inline(always)]
    const fn place(&self, number: u64) -> usize {
        number as usize & self.ring.len().wrapping_sub(1)
    }
}

impl std::ops::Drop for Recorder {
    /// Whoever has ended cannot be asked any more.
    fn drop(&mut self) {
        if let Some(alarm) = &self.alarm {
            alarm.leave(self.since(0).map(|(number, record)| (number, *record)).collect());
            if std::thread::panicking() {
                alarm.ring(Reason::Panic);
            }
        }
    }
}

impl Cause {
    /// The first of what happened: when several things did, the one named first in the list.
    fn happened(noted: Noted) -> Self {
        noted.first().map_or(Self::NONE, Self::happening)
    }
}

/// Segments with one of these have more to them than one record.
const SEVERAL: Flags = Flags(Flags::SYN.0 | Flags::RST.0);
/// Of what is no segment.
const NO_NUMBERS: (SeqNum, SeqNum, u16) = (SeqNum(0), SeqNum(0), 0);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::demux::Link;
    use crate::wire::tcp::SackBlock;

    fn key(remote_port: u16) -> FlowKey {
        FlowKey {
            local: Ipv4Addr::new(10, 0, 0, 2).into(),
            remote: Ipv4Addr::new(10, 0, 0, 1).into(),
            local_port: 80,
            remote_port,
            link: Link { interface: 0 },
        }
    }

    fn segment(flags: Flags) -> Segment<'static> {
        let (window, urgent, ecn) = (512, 0, 0);
        Segment { seq: SeqNum(7), ack: SeqNum(9), flags, window, urgent, options: Options::default(), ecn, payload: b"abc" }
    }

    const EFFECT: Effect = Effect { before: State::Established, after: State::CloseWait, cwnd: 14_600, noted: Noted::NONE };

    fn recorder(records: usize) -> Recorder {
        Recorder::new(Settings { records, udp: true })
    }

    #[test]
    fn a_segment_comes_back_as_it_was() {
        let mut recorder = recorder(4);
        recorder.received(Instant::from_ns(5), &key(4000), &segment(Flags::FIN | Flags::ACK), EFFECT, None);
        let record = *recorder.last().unwrap();
        assert_eq!(
            (record.at, record.kind(), record.before(), record.after()),
            (Instant::from_ns(5), Kind::Received, State::Established, State::CloseWait)
        );
        assert_eq!((record.seq, record.ack, record.window, record.len, record.cwnd), (SeqNum(7), SeqNum(9), 512, 3, 14_600));
        assert_eq!((record.key(), record.flags, record.cause().name()), (key(4000), Flags::FIN | Flags::ACK, None));
    }

    #[test]
    fn the_newest_take_the_place_of_the_oldest() {
        let mut recorder = recorder(4);
        for port in 1..=6 {
            recorder.received(Instant::ZERO, &key(port), &segment(Flags::ACK), EFFECT, None);
        }
        let ports = |from| recorder.since(from).map(|(number, record)| (number, record.remote_port)).collect::<Vec<_>>();
        assert_eq!(ports(0), [(2, 3), (3, 4), (4, 5), (5, 6)]);
        assert_eq!(ports(5), [(5, 6)]);
        assert_eq!(ports(6), []);
        assert_eq!(ports(u64::MAX), []);
        assert_eq!(recorder.written(), 6);
    }

    #[test]
    fn one_without_records_takes_none() {
        let mut recorder = recorder(0);
        recorder.received(Instant::ZERO, &key(1), &segment(Flags::ACK), EFFECT, None);
        recorder.changed(Instant::ZERO, &key(1), EFFECT);
        recorder.datagram(Instant::ZERO, &key(1), true, 5);
        assert_eq!((recorder.written(), recorder.last().is_none(), recorder.since(0).count()), (0, true, 0));
    }

    #[test]
    fn a_change_is_told_once() {
        let mut recorder = recorder(8);
        recorder.received(Instant::ZERO, &key(1), &segment(Flags::FIN | Flags::ACK), EFFECT, None);
        recorder.changed(Instant::ZERO, &key(1), EFFECT);
        assert_eq!(recorder.written(), 1, "the segment has told it");
        recorder.changed(Instant::ZERO, &key(2), EFFECT);
        recorder.changed(Instant::ZERO, &key(1), EFFECT);
        recorder.changed(Instant::ZERO, &key(1), Effect::none(State::Established));
        assert_eq!(recorder.written(), 3);
        let mut noted = Noted::NONE;
        noted.note(Happening::RetransmissionTimeout);
        recorder.changed(Instant::ZERO, &key(1), Effect { noted, ..Effect::none(State::Established) });
        assert_eq!(recorder.last().unwrap().cause().name(), Some("retransmission_timeout"));
    }

    #[test]
    fn what_the_options_say_follows_its_segment() {
        let mut recorder = recorder(8);
        let block = SackBlock { left: SeqNum(20), right: SeqNum(30) };
        let options = Options { sack: [block; 4], sack_count: 2, ..Options::default() };
        recorder.received(Instant::ZERO, &key(1), &Segment { options, ..segment(Flags::ACK) }, EFFECT, Some(Drop::TcpPortClosed));
        let kinds: Vec<_> = recorder.since(0).map(|(_, record)| record.kind()).collect();
        assert_eq!(kinds, [Kind::Received, Kind::Block, Kind::Block]);
        assert_eq!(recorder.last().unwrap().sack_block(), Some(block));
        assert_eq!(recorder.since(0).next().unwrap().1.cause().name(), Some("tcp_port_closed"));
        for options in [
            Options {
                mss: Some(1460),
                window_scale: Some(7),
                sack_permitted: true,
                timestamps: Some((1, 0)),
                ..Options::default()
            },
            Options::default(),
        ] {
            recorder.received(Instant::ZERO, &key(1), &Segment { options, ..segment(Flags::SYN) }, EFFECT, None);
            let terms = recorder.last().unwrap().syn_terms().unwrap();
            assert_eq!(
                (terms.mss, terms.window_scale, terms.sack_permitted),
                (options.mss, options.window_scale, options.sack_permitted)
            );
            assert_eq!(terms.timestamps.is_some(), options.timestamps.is_some());
        }
    }
}
