//! Where records begin and end: cutting, joining, and making room (RFC 8985 5.2 leaves it to the sender).
//!
//! Called by the rest of the scoreboard when a part of a record meets another fate, and when the list is full. It changes no fate but for the worse,
//! and never grows the list beyond [`FLIGHT_RECORDS`]. Nothing panics.

use super::{Flight, Marks, Record, STRETCH};
use crate::limits::FLIGHT_RECORDS;
use crate::tcp::pool::BufferPool;
use crate::tcp::seq::SeqNum;

impl Flight {
    /// Joins a record with the one before it when both are of one turn and one fate.
    pub(super) fn join_alike(&mut self, index: usize) {
        let Some(before) = index.checked_sub(1) else { return };
        let first = self.start_of(before);
        let (Some(left), Some(right)) = (self.at(before).copied(), self.at(index).copied()) else { return };
        let unit = u32::from(left.unit);
        let alike = left.sent == right.sent && left.marks == right.marks && left.stamp == right.stamp;
        if !alike
            || unit == 0
            || right.unit > left.unit
            || !(left.end - first).is_multiple_of(unit)
            || right.end - first > STRETCH
        {
            return;
        }
        if let Some(record) = self.at_mut(before) {
            record.end = right.end;
        }
        if let Some(records) = self.records.many() {
            records.remove(index);
        }
    }

    /// Joins the records of `first..last`, all reported, with each other and with neighbours that are reported as well.
    pub(super) fn join_reported(&mut self, first: usize, last: usize) {
        let is_reported = |record: Option<&Record>| record.is_some_and(|record| record.marks.has(Marks::SACKED));
        let first = first - usize::from(first.checked_sub(1).is_some_and(|before| is_reported(self.at(before))));
        let last = last + usize::from(is_reported(self.at(last)));
        let Some(mut joined) = self.at(first).copied() else { return };
        let begin = self.start_of(first);
        for index in first + 1..last {
            let Some(next) = self.at(index) else { break };
            joined = joined.joined(joined.end - begin, next);
        }
        if let Some(records) = self.records.many()
            && last <= records.len()
            && first < last
        {
            records.drain(first + 1..last);
            records[first] = joined;
        }
    }

    /// The begin of the first whole segment at or after `seq`.
    pub(super) fn segment_from(&self, seq: SeqNum) -> SeqNum {
        let index = self.index_of(seq);
        let first = self.start_of(index);
        let Some(record) = self.at(index).filter(|record| record.unit > 0 && seq.after(first)) else { return seq };
        (first + (seq - first).next_multiple_of(u32::from(record.unit))).earliest(record.end)
    }

    /// The end of the last whole segment at or before `seq`.
    pub(super) fn segment_to(&self, seq: SeqNum) -> SeqNum {
        let index = self.index_of(seq);
        let first = self.start_of(index);
        let Some(record) = self.at(index).filter(|record| record.unit > 0 && seq.after(first)) else { return seq };
        first + (seq - first) / u32::from(record.unit) * u32::from(record.unit)
    }

    /// Makes records begin at `left` and end at `right`, and returns the indices between. Both lie within what is in flight.
    pub(super) fn cut_out(&mut self, left: SeqNum, right: SeqNum, pool: &mut BufferPool) -> (usize, usize) {
        if self.is_empty() {
            return (0, 0);
        }
        self.make_room(4, pool);
        self.cut(left);
        self.cut(right);
        (self.index_of(left), self.index_of(right))
    }

    /// Makes a record begin at `seq`, and where that is amid a segment, another at the end of the segment, so that those behind it are still known
    /// by where they begin. There is room for two more.
    pub(super) fn cut(&mut self, seq: SeqNum) {
        let index = self.index_of(seq);
        let first = self.start_of(index);
        let (Some(record), Some(records)) = (self.at(index).copied(), self.records.many()) else { return };
        if !seq.after(first) {
            return;
        }
        records.insert(index, Record { end: seq, ..record });
        let unit = u32::from(record.unit);
        let Some(part) = (seq - first).checked_rem(unit).filter(|part| *part > 0) else { return };
        let edge = (seq + (unit - part)).earliest(record.end);
        let rest = Record { end: edge, unit: u16::try_from(edge - seq).unwrap_or(0), ..record };
        if edge == record.end {
            records[index + 1] = rest;
        } else {
            records.insert(index + 1, rest);
        }
    }

    /// Makes sure of room for `more` records, four at most.
    pub(super) fn make_room(&mut self, more: usize, pool: &mut BufferPool) {
        self.records.move_to_pool(pool);
        let Some(records) = self.records.many() else { return };
        let room = records.capacity().min(FLIGHT_RECORDS);
        if records.len() + more <= room {
            return;
        }
        let larger = if room < FLIGHT_RECORDS { pool.take_records(room + 1) } else { None };
        match larger {
            Some(mut larger) => {
                larger.extend(records.drain(..));
                pool.give_records(std::mem::replace(records, larger));
            }
            None => self.halve(),
        }
    }

    /// Joins the records in pairs.
    pub(super) fn halve(&mut self) {
        let Some(records) = self.records.many() else { return };
        let mut begin = self.start;
        let mut kept = 0;
        for index in (0..records.len()).step_by(2) {
            let record = records[index];
            let joined = records.get(index + 1).map_or(record, |next| record.joined(record.end - begin, next));
            begin = joined.end;
            records[kept] = joined;
            kept += 1;
        }
        records.truncate(kept);
        self.joined = true;
        (self.sacked, self.lost) = self.recount();
        self.lost_from = self.start;
        self.find_first_lost();
    }

    /// The bytes reported and the bytes given up, counted anew.
    pub(super) fn recount(&self) -> (u32, u32) {
        let (mut sacked, mut lost) = (0, 0);
        for index in 0..self.len() {
            let (len, marks) = (self.len_of(index), self.at(index).map_or(Marks::NONE, |record| record.marks));
            sacked += if marks.has(Marks::SACKED) { len } else { 0 };
            lost += if marks.has(Marks::LOST) { len } else { 0 };
        }
        (sacked, lost)
    }
}
