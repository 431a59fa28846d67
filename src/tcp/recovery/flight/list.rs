//! The records of a connection: one has its place in the TCB, which is enough where requests and answers take turns; for more there is a list of the
//! core's pool.
//!
//! Called by the scoreboard, which asks [`super::Flight::make_room`] before there are more, and releases the list when nothing is in flight. Nothing
//! panics.

use std::collections::VecDeque;

use super::Record;
use crate::tcp::pool::BufferPool;
use crate::tcp::seq::SeqNum;

/// A list of the pool.
pub(in crate::tcp) type Records = VecDeque<Record>;

/// Records in sequence order.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub(super) enum List {
    #[default]
    Empty,
    One(Record),
    /// As the pool hands it out: a pointer moves between pool and TCB. There may be one record in it, or none any more.
    Many(Box<Records>),
}

// A record has a bool in it, whose spare values tell the three apart.
const _: () = assert!(size_of::<List>() == size_of::<Record>());

impl List {
    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(_) => 1,
            Self::Many(records) => records.len(),
        }
    }

    #[inline]
    pub(super) fn at(&self, index: usize) -> Option<&Record> {
        match self {
            Self::Empty => None,
            Self::One(record) => (index == 0).then_some(record),
            Self::Many(records) => records.get(index),
        }
    }

    #[inline]
    pub(super) fn at_mut(&mut self, index: usize) -> Option<&mut Record> {
        match self {
            Self::Empty => None,
            Self::One(record) => (index == 0).then_some(record),
            Self::Many(records) => records.get_mut(index),
        }
    }

    /// The index of the first record that ends after `seq`; the number of records when none does.
    #[inline]
    pub(super) fn index_of(&self, seq: SeqNum) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(record) => usize::from(record.end.at_or_before(seq)),
            Self::Many(records) => records.partition_point(|record| record.end.at_or_before(seq)),
        }
    }

    /// The records from index `first` on; none when there are fewer.
    pub(super) fn iter_from(&self, first: usize) -> impl Iterator<Item = &Record> {
        let (one, many) = match self {
            Self::Empty => (None, None),
            Self::One(record) => ((first == 0).then_some(record), None),
            Self::Many(records) => (None, Some(records.range(first.min(records.len())..))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        let (one, many) = match self {
            Self::Empty => (None, None),
            Self::One(record) => (Some(record), None),
            Self::Many(records) => (None, Some(records.iter_mut())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Forgets the first record.
    #[inline]
    pub(super) fn pop_front(&mut self) {
        match self {
            Self::Empty => {}
            Self::One(_) => *self = Self::Empty,
            Self::Many(records) => _ = records.pop_front(),
        }
    }

    /// The list of the pool; `None` while the record lies in the TCB: [`super::Flight::make_room`] comes before what needs more.
    pub(super) fn many(&mut self) -> Option<&mut Box<Records>> {
        match self {
            Self::Empty | Self::One(_) => None,
            Self::Many(records) => Some(records),
        }
    }

    /// Moves to a list of the pool.
    pub(super) fn move_to_pool(&mut self, pool: &mut BufferPool) {
        if matches!(self, Self::Many(_)) {
            return;
        }
        let mut records = pool.take_records(1).unwrap_or_default();
        if let Self::One(record) = *self {
            records.push_back(record);
        }
        *self = Self::Many(records);
    }
}
