//! A cable in memory: two devices joined back to back, for benches, simulation and tests without root.
//!
//! Each end owns a fixed pool of frames, like a NIC queue with its UMEM: a frame sent at one end is copied into a free
//! frame of the other, and is dropped (counted in `fill_ring_empty`) when that end has given none to its receive side. The ends may live on different
//! threads; the lock between them is taken once per burst, not per frame.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Chain, Device, DeviceStats, Frame, FrameCensus};
use crate::limits::CHAIN_PIECES;
use crate::wire::ethernet::Mac;

/// Bytes of one frame buffer: a 2048-byte chunk, as in a UMEM.
const FRAME_BYTES: usize = 2048;

/// A frame in memory.
#[derive(Debug)]
pub struct MemoryFrame {
    bytes: Box<[u8; FRAME_BYTES]>,
    len: usize,
    /// The packet goes on in the next frame.
    more: bool,
}

impl Frame for MemoryFrame {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    fn set_len(&mut self, len: usize) -> usize {
        self.len = len.min(FRAME_BYTES);
        self.len
    }

    fn capacity(&self) -> usize {
        FRAME_BYTES
    }
}

/// What the far end may reach: frames to receive into, and frames received.
#[derive(Debug, Default)]
struct Inbox {
    empty: Vec<MemoryFrame>,
    arrived: VecDeque<MemoryFrame>,
    dropped: u64,
}

/// One end of a cable.
#[derive(Debug)]
pub struct MemoryDevice {
    mac: Mac,
    mtu: usize,
    total: usize,
    ring: usize,
    free: Vec<MemoryFrame>,
    outgoing: Vec<MemoryFrame>,
    inbox: Arc<Mutex<Inbox>>,
    peer: Arc<Mutex<Inbox>>,
    /// The next packet lies in several frames.
    chained: bool,
    stats: DeviceStats,
}

/// Two devices joined by a cable, with `frames` buffers each; half of them are given to the receive side.
///
/// ```
/// use ringway::device::{Device, Frame, memory};
/// let (mut a, mut b) = memory::cable(8);
/// let mut frame = a.allocate().unwrap();
/// frame.set_len(60);
/// frame.bytes_mut()[0] = 42;
/// a.transmit(frame).unwrap();
/// a.flush();
/// let mut burst = Vec::new();
/// assert_eq!(b.receive(&mut burst, 64), 1);
/// assert_eq!(burst[0].bytes()[0], 42);
/// ```
pub fn cable(frames: usize) -> (MemoryDevice, MemoryDevice) {
    let left = Arc::new(Mutex::new(Inbox::default()));
    let right = Arc::new(Mutex::new(Inbox::default()));
    (
        MemoryDevice::new(Mac([2, 0, 0, 0, 0, 1]), frames, Arc::clone(&left), Arc::clone(&right)),
        MemoryDevice::new(Mac([2, 0, 0, 0, 0, 2]), frames, right, left),
    )
}

/// The same with another MTU: packets longer than a frame lie in several.
pub fn cable_of_mtu(frames: usize, mtu: usize) -> (MemoryDevice, MemoryDevice) {
    let (left, right) = cable(frames);
    (MemoryDevice { mtu, ..left }, MemoryDevice { mtu, ..right })
}

impl MemoryDevice {
    fn new(mac: Mac, frames: usize, inbox: Arc<Mutex<Inbox>>, peer: Arc<Mutex<Inbox>>) -> Self {
        let free = (0..frames).map(|_| MemoryFrame { bytes: Box::new([0; FRAME_BYTES]), len: 0, more: false }).collect();
        let mut device = Self {
            mac,
            mtu: 1500,
            total: frames,
            ring: frames / 2,
            free,
            outgoing: Vec::with_capacity(frames),
            inbox,
            peer,
            chained: false,
            stats: DeviceStats::default(),
        };
        device.refill();
        device
    }

    /// Gives the receive side free frames until it holds its share.
    fn refill(&mut self) {
        let mut inbox = lock(&self.inbox);
        let waiting = inbox.empty.len() + inbox.arrived.len();
        let give = self.ring.saturating_sub(waiting).min(self.free.len());
        let from = self.free.len() - give;
        inbox.empty.extend(self.free.drain(from..));
    }
}

impl Device for MemoryDevice {
    type Frame = MemoryFrame;

    fn receive(&mut self, burst: &mut Vec<MemoryFrame>, limit: usize) -> usize {
        let mut inbox = lock(&self.inbox);
        let singles = inbox.arrived.iter().take(limit).take_while(|frame| !frame.more).count();
        let count = if self.chained { 0 } else { singles };
        for frame in inbox.arrived.drain(..count) {
            self.stats.received += 1;
            self.stats.received_bytes += frame.len as u64;
            burst.push(frame);
        }
        self.chained = inbox.arrived.front().is_some_and(|frame| frame.more);
        count
    }

    fn readable(&mut self) -> bool {
        !lock(&self.inbox).arrived.is_empty()
    }

    fn allocate(&mut self) -> Option<MemoryFrame> {
        let mut frame = self.free.pop()?;
        frame.len = 0;
        Some(frame)
    }

    fn room(&mut self) -> usize {
        self.ring.saturating_sub(self.outgoing.len())
    }

    fn transmit(&mut self, frame: MemoryFrame) -> Result<(), MemoryFrame> {
        if self.room() == 0 {
            return Err(frame);
        }
        self.stats.transmitted += 1;
        self.stats.transmitted_bytes += frame.len as u64;
        self.outgoing.push(MemoryFrame { more: false, ..frame });
        Ok(())
    }

    fn frame_bytes(&self) -> usize {
        FRAME_BYTES
    }

    fn chained(&self) -> bool {
        self.chained
    }

    fn receive_chain(&mut self, pieces: &mut Vec<MemoryFrame>) -> Chain {
        self.chained = false;
        let mut inbox = lock(&self.inbox);
        // A packet is put into the inbox whole.
        while let Some(frame) = inbox.arrived.pop_front() {
            self.stats.received_bytes += frame.len as u64;
            let more = frame.more;
            pieces.push(frame);
            if !more {
                break;
            }
        }
        self.stats.received += 1;
        Chain::Whole
    }

    fn has_room_for_chain(&mut self, frames: usize) -> bool {
        self.room() >= frames && self.free.len() >= frames
    }

    fn transmit_chain(&mut self, pieces: &mut Vec<MemoryFrame>) -> bool {
        let last = pieces.len().saturating_sub(1);
        if self.room() < pieces.len() || pieces.len() > CHAIN_PIECES {
            return false;
        }
        self.stats.transmitted += 1;
        for (nth, frame) in pieces.drain(..).enumerate() {
            self.stats.transmitted_bytes += frame.len as u64;
            self.outgoing.push(MemoryFrame { more: nth < last, ..frame });
        }
        true
    }

    fn recycle(&mut self, frame: MemoryFrame) {
        self.free.push(frame);
    }

    fn flush(&mut self) {
        if !self.outgoing.is_empty() {
            self.stats.kicks += 1;
            let mut peer = lock(&self.peer);
            // A packet arrives in all of its frames or not at all.
            let mut taken = true;
            let mut begins = true;
            for at in 0..self.outgoing.len() {
                if begins {
                    let frames = 1 + self.outgoing[at..].iter().take_while(|frame| frame.more).count();
                    taken = peer.empty.len() >= frames;
                    peer.dropped += u64::from(!taken);
                }
                let frame = &self.outgoing[at];
                begins = !frame.more;
                if taken && let Some(mut target) = peer.empty.pop() {
                    target.bytes[..frame.len].copy_from_slice(&frame.bytes[..frame.len]);
                    (target.len, target.more) = (frame.len, frame.more);
                    peer.arrived.push_back(target);
                }
            }
            self.free.append(&mut self.outgoing);
        }
        self.refill();
    }

    fn pending(&self) -> bool {
        !self.outgoing.is_empty()
    }

    fn stats(&mut self) -> DeviceStats {
        DeviceStats { fill_ring_empty: lock(&self.inbox).dropped, ..self.stats }
    }

    fn mac(&self) -> Mac {
        self.mac
    }

    fn mtu(&self) -> usize {
        self.mtu
    }

    fn frames(&self) -> FrameCensus {
        let inbox = lock(&self.inbox);
        FrameCensus {
            total: self.total,
            free: self.free.len(),
            receiving: inbox.empty.len() + inbox.arrived.len(),
            sending: self.outgoing.len(),
        }
    }
}

/// A poisoned lock only says that the other thread panicked; the queues themselves are whole.
fn lock(inbox: &Mutex<Inbox>) -> MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(device: &mut MemoryDevice, mark: u8) {
        let mut frame = device.allocate().expect("a free frame");
        frame.set_len(60);
        frame.bytes_mut()[0] = mark;
        device.transmit(frame).expect("room");
    }

    #[test]
    fn frames_arrive_in_order_and_none_is_lost() {
        let (mut a, mut b) = cable(16);
        for mark in 0..8 {
            send(&mut a, mark);
        }
        a.flush();
        let mut burst = Vec::new();
        assert_eq!(b.receive(&mut burst, 5), 5);
        assert_eq!(b.receive(&mut burst, 64), 3);
        assert_eq!(burst.iter().map(|frame| frame.bytes()[0]).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
        assert_eq!(b.frames().outside(), 8);
        burst.drain(..).for_each(|frame| b.recycle(frame));
        assert_eq!((a.frames().outside(), b.frames().outside()), (0, 0));
    }

    #[test]
    fn a_full_ring_gives_the_frame_back() {
        let (mut a, _b) = cable(8);
        for mark in 0..4 {
            send(&mut a, mark);
        }
        // Half of the frames serve the receive side; the four others are all in the ring now.
        assert_eq!(a.room(), 0);
        assert!(a.allocate().is_none());
    }

    #[test]
    fn a_receiver_without_buffers_drops_and_counts() {
        let (mut a, mut b) = cable(8);
        for round in 0..3 {
            for mark in 0..4 {
                send(&mut a, mark);
            }
            a.flush();
            assert_eq!(b.stats().fill_ring_empty, round * 4);
        }
        assert_eq!(a.frames().outside(), 0);
    }
}
