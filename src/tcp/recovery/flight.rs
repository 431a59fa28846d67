//! What is in flight: the scoreboard (RFC 6675 3, RFC 8985 5.2).
//!
//! A list of records in sequence order that covers SND.UNA to SND.NXT without a gap. A record is a stretch of segments that were last sent
//! at the same instant and share their fate: segments of one turn of the engine join, and a stretch is cut when a SACK block, a loss or a
//! retransmission touches a part of it. How many bytes are reported received and how many are given up as lost is kept as they change, so that
//! the bytes in the network are known at any time.
//!
//! The first record lies in the TCB; when it is cut, sent again or followed by a second one, they move to a list of the core's pool, which goes back
//! when the last byte is acknowledged. It holds at most [`crate::limits::FLIGHT_RECORDS`]; when it is full, or the pool has no longer one, neighbours are
//! joined, always to the worse for us: what is reported only in part counts as not reported. Blocks cut a record only where a segment began, so that a
//! peer cannot grind it to dust. Called by the recovery and output code. A record and its marks are in `record`, where records are kept in `list`, where
//! they begin and end in `grid`. Nothing panics.

mod grid;
mod list;
mod record;

use self::list::List;
pub(in crate::tcp) use self::list::Records;
use self::record::Marks;
pub(in crate::tcp) use self::record::Record;

#[cfg(test)]
use crate::limits::FLIGHT_RECORDS;
use crate::tcp::folded::Form;
use crate::tcp::pool::BufferPool;
use crate::tcp::rate::Stamp;
use crate::tcp::seq::SeqNum;
use crate::time::Instant;

/// What is in flight.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub(in crate::tcp) struct Flight {
    records: List,
    /// Where the first record begins: SND.UNA, once data flows.
    start: SeqNum,
    /// Bytes reported received by SACK.
    sacked: u32,
    /// Bytes given up and not sent again since.
    lost: u32,
    /// Where the first record begins that is given up, if one is.
    lost_from: SeqNum,
    /// Records were joined for want of room since the last [`Flight::take_joined`].
    joined: bool,
}

impl Flight {
    /// Nothing in flight; the first byte will be `start`.
    pub(in crate::tcp) const fn new(start: SeqNum) -> Self {
        Self { records: List::Empty, start, sacked: 0, lost: 0, lost_from: start, joined: false }
    }

    /// Bytes reported received beyond SND.UNA.
    pub(in crate::tcp) const fn sacked(&self) -> u32 {
        self.sacked
    }

    /// Bytes given up that have not been sent again.
    pub(in crate::tcp) const fn lost(&self) -> u32 {
        self.lost
    }

    /// Bytes in flight that were sent more than once.
    pub(in crate::tcp) fn again(&self) -> u32 {
        (0..self.len()).filter(|&index| self.at(index).is_some_and(Record::is_again)).map(|index| self.len_of(index)).sum()
    }

    /// True when nothing is in flight.
    pub(in crate::tcp) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn len(&self) -> usize {
        self.records.len()
    }

    #[inline]
    fn at(&self, index: usize) -> Option<&Record> {
        self.records.at(index)
    }

    #[inline]
    fn at_mut(&mut self, index: usize) -> Option<&mut Record> {
        self.records.at_mut(index)
    }

    /// Where a record begins.
    fn start_of(&self, index: usize) -> SeqNum {
        index.checked_sub(1).and_then(|before| self.at(before)).map_or(self.start, |record| record.end)
    }

    /// The index of the record that holds `seq`; the number of records when none does.
    fn index_of(&self, seq: SeqNum) -> usize {
        self.records.index_of(seq)
    }

    /// A segment is sent for the first time, up to `end`.
    pub(in crate::tcp) fn sent(&mut self, end: SeqNum, stamp: Stamp, now: Instant, pool: &mut BufferPool) {
        if matches!(self.records, List::Empty) {
            self.records = List::One(Record::new(end - self.start, end, stamp, now));
            return;
        }
        let begin = self.start_of(self.len());
        let len = end - begin;
        if let Some(index) = self.len().checked_sub(1) {
            let first = self.start_of(index);
            if let Some(last) = self.at_mut(index) {
                let unit = u32::from(last.unit);
                let alike = last.sent == now && last.marks == Marks::NONE && last.stamp == stamp;
                if alike && unit > 0 && len <= unit && (last.end - first).is_multiple_of(unit) && end - first <= STRETCH {
                    last.end = end;
                    return;
                }
            }
        }
        self.make_room(1, pool);
        if let Some(records) = self.records.many() {
            records.push_back(Record::new(len, end, stamp, now));
        }
    }

    /// What lies between `seq` and `end` is sent again, as one segment.
    pub(in crate::tcp) fn sent_again(&mut self, seq: SeqNum, end: SeqNum, stamp: Stamp, now: Instant, pool: &mut BufferPool) {
        let (first, last) = self.cut_out(seq, end, pool);
        if first >= last {
            return;
        }
        let begin = self.start_of(first);
        let mut counted = Marks::NONE;
        for index in first..last {
            let (len, marks) = (self.len_of(index), self.at(index).map_or(Marks::NONE, |record| record.marks));
            self.uncount(marks, len);
            counted = counted.with(Marks(marks.0 & Marks::COUNTED.0));
        }
        let again = Record { marks: Marks::AGAIN.with(counted), ..Record::new(end - begin, end, stamp, now) };
        if let Some(records) = self.records.many() {
            records.drain(first + 1..last);
        }
        if let Some(record) = self.at_mut(first) {
            *record = again;
        }
        self.join_alike(first);
        self.find_first_lost();
    }

    /// Everything before `ack` is acknowledged. `delivered` is told of each stretch that had not been reported before.
    pub(in crate::tcp) fn acknowledge(&mut self, ack: SeqNum, pool: &mut BufferPool, mut delivered: impl FnMut(&Record, u32)) {
        if let List::One(record) = self.records
            && record.end == ack
        {
            // As of nearly every request and every answer.
            if !record.marks.has(Marks::COUNTED) {
                delivered(&record, ack - self.start);
            }
            self.start = ack;
            self.lost_from = ack;
            self.release(pool);
            return;
        }
        if ack.after(self.start) && self.segment_from(ack) != ack {
            // A part of a segment: those behind it begin where they began.
            self.make_room(2, pool);
            self.cut(ack);
        }
        while let Some(record) = self.at(0).copied() {
            if self.start.at_or_after(ack) {
                break;
            }
            let part = Record { end: record.end.earliest(ack), ..record };
            let bytes = part.end - self.start;
            self.uncount(record.marks, bytes);
            if !record.marks.has(Marks::COUNTED) {
                delivered(&part, bytes);
            }
            self.start = part.end;
            if part.end == record.end {
                self.records.pop_front();
            }
        }
        self.start = self.start.latest(ack);
        self.lost_from = self.lost_from.latest(self.start);
        self.find_first_lost();
        if self.is_empty() {
            self.release(pool);
        }
    }

    /// The peer reports that it holds what lies from `left` to `right`, both within what is in flight. `delivered` is told of each stretch that
    /// had not been reported before.
    pub(in crate::tcp) fn report(
        &mut self,
        left: SeqNum,
        right: SeqNum,
        pool: &mut BufferPool,
        mut delivered: impl FnMut(&Record, u32),
    ) {
        let known = self.index_of(left);
        if self.at(known).is_some_and(|record| record.marks.has(Marks::SACKED) && record.end.at_or_after(right)) {
            return;
        }
        let (left, right) = (self.segment_from(left), self.segment_to(right));
        if !left.before(right) {
            return;
        }
        let (first, last) = self.cut_out(left, right, pool);
        for index in first..last {
            let len = self.len_of(index);
            let Some(record) = self.at_mut(index) else { break };
            let before = record.marks;
            record.marks = before.with(Marks::SACKED).with(Marks::COUNTED).without(Marks::LOST);
            let record = *record;
            self.uncount(before, len);
            self.sacked += len;
            if !before.has(Marks::COUNTED) {
                delivered(&record, len);
            }
        }
        self.join_reported(first, last);
        self.find_first_lost();
    }

    /// Gives up every record under way that `judge` finds lost.
    pub(in crate::tcp) fn judge(&mut self, mut judge: impl FnMut(&Record) -> Judgement) -> Loss {
        let mut loss = Loss::default();
        let mut begin = self.start;
        for record in self.records.iter_mut() {
            let (first, len) = (begin, record.end - begin);
            begin = record.end;
            let judgement = judge(record);
            if judgement == Judgement::Stop {
                break;
            }
            if judgement == Judgement::Lost && record.is_under_way() {
                record.marks = record.marks.with(Marks::LOST);
                if loss.bytes == 0 {
                    self.lost_from = if self.lost == 0 { first } else { self.lost_from.earliest(first) };
                }
                loss.bytes += len;
                if record.is_again() {
                    loss.again = Some(loss.again.map_or(record.sent, |sent| sent.max(record.sent)));
                }
                self.lost += len;
            }
        }
        loss
    }

    /// Gives up everything that is not reported received.
    pub(in crate::tcp) fn lose_all(&mut self) -> Loss {
        self.judge(|_| Judgement::Lost)
    }

    /// Gives up the first `len` bytes, if they are under way.
    pub(in crate::tcp) fn lose_first(&mut self, len: u32, pool: &mut BufferPool) -> Loss {
        let end = (self.start + len).earliest(self.start_of(self.len()));
        let (_, last) = self.cut_out(self.start, end, pool);
        let mut index = 0;
        self.judge(|_| {
            index += 1;
            if index <= last { Judgement::Lost } else { Judgement::Stop }
        })
    }

    /// Nothing was lost after all.
    pub(in crate::tcp) fn nothing_is_lost(&mut self) {
        for record in self.records.iter_mut() {
            record.marks = record.marks.without(Marks::LOST);
        }
        self.lost = 0;
    }

    /// The peer may have thrown away what it reported. True when it had reported something.
    pub(in crate::tcp) fn forget_reports(&mut self) -> bool {
        for record in self.records.iter_mut() {
            record.marks = record.marks.without(Marks::SACKED);
        }
        std::mem::take(&mut self.sacked) > 0
    }

    /// True when records were joined for want of room since the last call.
    pub(in crate::tcp) const fn take_joined(&mut self) -> bool {
        std::mem::replace(&mut self.joined, false)
    }

    /// True when the peer has reported what it should have acknowledged: the very first byte.
    pub(in crate::tcp) fn is_reneged(&self) -> bool {
        self.at(0).is_some_and(|record| record.marks.has(Marks::SACKED))
    }

    /// What stands first was sent more than once, in part: it times nothing.
    pub(in crate::tcp) fn first_is_ambiguous(&mut self) {
        if let Some(record) = self.at_mut(0) {
            record.marks = record.marks.with(Marks::AGAIN);
        }
    }

    /// The only record, if it ends at `ack`, left once and is believed to be under way.
    #[inline]
    pub(in crate::tcp) fn only_record(&self, ack: SeqNum) -> Option<Record> {
        match self.records {
            List::One(record) if record.end == ack && record.marks == Marks::NONE && !self.joined => Some(record),
            _ => None,
        }
    }

    /// The first record, as it is.
    pub(in crate::tcp) fn first(&self) -> Option<&Record> {
        self.at(0)
    }

    /// The first stretch that is given up, at most `most` bytes of it.
    pub(in crate::tcp) fn first_lost(&self, most: u32) -> Option<(SeqNum, u32)> {
        if self.lost == 0 {
            return None;
        }
        let first = self.index_of(self.lost_from);
        let begin = self.start_of(first);
        let mut end = begin;
        for record in self.records.iter_from(first).take_while(|record| record.marks.has(Marks::LOST)) {
            end = record.end;
            if end - begin >= most {
                break;
            }
        }
        (end != begin).then(|| (begin, (end - begin).min(most)))
    }

    /// The last segment sent, or what is known of it: at most `most` bytes.
    pub(in crate::tcp) fn last_segment(&self, most: u32) -> Option<(SeqNum, u32)> {
        let index = self.len().checked_sub(1)?;
        let record = self.at(index)?;
        let len = record.end - self.start_of(index);
        let last = match len.checked_rem(u32::from(record.unit)) {
            None => len,
            Some(0) => u32::from(record.unit),
            Some(rest) => rest,
        };
        let last = last.min(most);
        Some((record.end - last, last))
    }

    /// True when all in flight is one segment.
    pub(in crate::tcp) fn is_one_segment(&self) -> bool {
        self.len() == 1 && self.at(0).is_some_and(|record| record.end - self.start <= u32::from(record.unit))
    }

    /// Gives the memory back; nothing is in flight any more.
    pub(in crate::tcp) fn release(&mut self, pool: &mut BufferPool) {
        if let List::Many(records) = std::mem::take(&mut self.records) {
            pool.give_records(records);
        }
        self.sacked = 0;
        self.lost = 0;
    }

    /// Moves `lost_from` on to the first record that is given up. What it passes is not looked at again, unless something there is given up.
    fn find_first_lost(&mut self) {
        if self.lost == 0 {
            return;
        }
        let from = self.index_of(self.lost_from);
        if let Some(passed) = self.records.iter_from(from).position(|record| record.marks.has(Marks::LOST)) {
            self.lost_from = self.start_of(from + passed);
        }
    }

    fn len_of(&self, index: usize) -> u32 {
        self.at(index).map_or(0, |record| record.end - self.start_of(index))
    }

    /// `len` bytes with these marks go, or change.
    fn uncount(&mut self, marks: Marks, len: u32) {
        if marks.has(Marks::SACKED) {
            self.sacked -= len;
        }
        if marks.has(Marks::LOST) {
            self.lost -= len;
        }
    }

    /// One pass over its fields ([`crate::tcp::folded`]).
    pub(in crate::tcp) fn pass(&mut self, form: &mut impl Form, una: SeqNum) {
        let Self { records: _, start, sacked, lost, lost_from, joined } = self;
        form.near(start, una);
        let mut counts = (*sacked, *lost, *lost_from, *joined);
        if form.same(&mut counts, (0, 0, *start, false)) {
            (*sacked, *lost, *lost_from, *joined) = counts;
            return;
        }
        form.near(sacked, 0);
        form.near(lost, 0);
        form.near(lost_from, *start);
        form.flag(joined);
    }
}

/// What [`Flight::judge`] is told of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp) enum Judgement {
    /// It is lost, if it is still under way.
    Lost,
    /// It is not, as far as can be told.
    Open,
    /// Nor is any that follows.
    Stop,
}

/// What was given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tcp) struct Loss {
    /// Bytes.
    pub(super) bytes: u32,
    /// When the newest of those was sent that had been sent more than once.
    pub(super) again: Option<Instant>,
}

/// The longest stretch of new segments in one record: beyond it the fate of its parts is worth telling apart.
const STRETCH: u32 = 64 * 1024;

/// As long a list as the original has: how long it is decides when records join.
#[cfg(test)]
impl Clone for Flight {
    fn clone(&self) -> Self {
        let records = match &self.records {
            List::Empty => List::Empty,
            List::One(record) => List::One(*record),
            List::Many(records) => {
                let mut copy = Records::with_capacity(records.capacity());
                copy.extend(records.iter());
                List::Many(Box::new(copy))
            }
        };
        Self { records, ..*self }
    }
}

#[cfg(test)]
impl Flight {
    /// The records cover `una` to `nxt` without a gap, in order, and what is counted as they change is what counting anew gives.
    pub(in crate::tcp) fn check(&self, una: SeqNum, nxt: SeqNum) {
        assert_eq!(self.start, una);
        assert_eq!(self.start_of(self.len()), nxt, "{self:?}");
        assert_eq!(matches!(self.records, List::Empty), una == nxt);
        for index in 0..self.len() {
            let Some(record) = self.at(index) else { continue };
            assert!(self.start_of(index).before(record.end), "an empty record");
            assert!(!(record.marks.has(Marks::SACKED) && record.marks.has(Marks::LOST)));
        }
        let is_lost = |index: &usize| self.at(*index).is_some_and(|record| record.marks.has(Marks::LOST));
        if let Some(first) = (0..self.len()).find(is_lost) {
            assert_eq!(self.lost_from, self.start_of(first), "{self:?}");
        }
        assert_eq!((self.sacked, self.lost), self.recount());
        assert!(self.len() <= FLIGHT_RECORDS);
    }
}

#[cfg(test)]
mod tests;
