//! The seam between a core that copies frames and a thread that takes the copies.
//!
//! Two bounded queues with a fixed number of buffers between them: the core takes an empty one, fills it and puts it into the other queue, which has room
//! for all of them; the other thread gives it back. The only memory is made when the capture begins. Cannot panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;

use super::filter::Filter;
use crate::device::Drop;
use crate::limits;
use crate::recorder::Record;
use crate::time::Instant;

/// A copy of a frame, with what the engine says of it.
#[derive(Debug)]
pub struct Captured {
    /// The time of the turn that received or sent it.
    pub at: Instant,
    /// Position of the interface.
    pub interface: u16,
    /// The queue.
    pub queue: u32,
    /// It left; else it came.
    pub is_sent: bool,
    /// Its length, of which there may be more than was copied, in bytes.
    pub length: usize,
    /// From its beginning on, the Ethernet header first.
    pub bytes: Vec<u8>,
    /// What the recorder says of it, of TCP.
    pub record: Option<Record>,
    /// Why it was dropped, if it was.
    pub drop: Option<Drop>,
}

/// Both ends of a capture. Clones are the same capture.
#[derive(Clone, Debug)]
pub struct Tap(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    filter: Filter,
    /// The most bytes of a frame that are copied.
    snap_len: usize,
    empty: ArrayQueue<Captured>,
    full: ArrayQueue<Captured>,
    /// Frames that were wanted when no buffer was empty. Written by the core, read by anybody.
    lost: AtomicU64,
}

impl Tap {
    /// A capture of what the filter wants, of each frame at most `snap_len` bytes.
    ///
    /// ```
    /// use ringway::capture::{Filter, Tap};
    /// let tap = Tap::new(Filter::default(), 128);
    /// assert!(tap.take().is_none());
    /// assert_eq!(tap.lost(), 0);
    /// ```
    pub fn new(filter: Filter, snap_len: usize) -> Self {
        let empty = ArrayQueue::new(limits::CAPTURED);
        for _ in 0..limits::CAPTURED {
            let bytes = Vec::with_capacity(snap_len.min(USUAL_LEN));
            let captured = Captured {
                at: Instant::ZERO,
                interface: 0,
                queue: 0,
                is_sent: false,
                length: 0,
                bytes,
                record: None,
                drop: None,
            };
            // There is room for so many.
            let _ = empty.push(captured);
        }
        Self(Arc::new(Shared {
            filter,
            snap_len: snap_len.min(limits::SNAP_LEN),
            empty,
            full: ArrayQueue::new(limits::CAPTURED),
            lost: AtomicU64::new(0),
        }))
    }

    /// The core's side: a copy of a frame, if it is wanted and there is a buffer for it; [`Tap::put`] hands it over.
    pub fn copy(&self, frame: &[u8], at: Instant, is_sent: bool) -> Option<Captured> {
        if !self.0.filter.wants(frame) {
            return None;
        }
        let Some(mut captured) = self.0.empty.pop() else {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        captured.bytes.clear();
        captured.bytes.extend_from_slice(&frame[..frame.len().min(self.0.snap_len)]);
        (captured.at, captured.is_sent, captured.length) = (at, is_sent, frame.len());
        (captured.record, captured.drop) = (None, None);
        Some(captured)
    }

    /// The core's side: hands a copy over.
    pub fn put(&self, captured: Captured) {
        // There is room for all there are.
        let _ = self.0.full.push(captured);
    }

    /// The other side: the oldest copy that waits.
    pub fn take(&self) -> Option<Captured> {
        self.0.full.pop()
    }

    /// The other side: gives a copy back when it has been read.
    pub fn give_back(&self, captured: Captured) {
        let _ = self.0.empty.push(captured);
    }

    /// The core's side: nobody is left who could take a copy; who asked has gone without a word that arrived.
    pub fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// How many frames were lost for the capture so far.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// The longest copy, in bytes.
    pub fn snap_len(&self) -> usize {
        self.0.snap_len
    }
}

/// Room that each copy has from the start: for the longest frame of most links. A longer one makes its own, once.
const USUAL_LEN: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_buffer_is_counted() {
        let tap = Tap::new(Filter::default(), 4);
        for nth in 0..limits::CAPTURED + 3 {
            if let Some(captured) = tap.copy(&[nth as u8; 9], Instant::from_ns(nth as u64), false) {
                tap.put(captured);
            }
        }
        assert_eq!(tap.lost(), 3);
        assert!(tap.is_abandoned() && !tap.clone().is_abandoned());
        let first = tap.take().unwrap();
        assert_eq!((first.at, first.length, first.bytes.as_slice()), (Instant::ZERO, 9, &[0; 4][..]));
        tap.give_back(first);
        assert!(tap.copy(&[1], Instant::ZERO, true).is_some_and(|captured| captured.is_sent && captured.bytes == [1]));
    }
}
