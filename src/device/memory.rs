//! A cable in memory: two devices joined back to back, for benches, simulation and tests without root.
//!
//! Each end owns a fixed pool of frames, like a NIC queue with its UMEM: a frame sent at one end is copied into a free
//! frame of the other, and is dropped (counted in `fill_ring_empty`) when that end has given none to its receive side. The ends may live on different
//! threads; the lock between them is taken once per burst, not per frame.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::queue::ArrayQueue;

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
    /// The queue of its end that it belongs to.
    home: u16,
}

impl MemoryFrame {
    fn new(home: u16) -> Self {
        Self { bytes: Box::new([0; FRAME_BYTES]), len: 0, more: false, home }
    }
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
    /// The queues of the other end, and which of them a frame goes to.
    peers: Vec<Arc<Mutex<Inbox>>>,
    spread: Spread,
    /// Which queue of its end this is, and the ways home of the frames of all of them: with room for all of a queue's, so that a push cannot fail.
    place: u16,
    homes: Arc<[ArrayQueue<MemoryFrame>]>,
    /// The next packet lies in several frames.
    chained: bool,
    stats: DeviceStats,
}

/// Tells the queue of the other end that a frame arrives at, modulo how many there are; as RSS does.
pub type Spread = fn(&[u8]) -> usize;

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
    let (mut left, mut right) = cables([1, 1], frames, |_| 0);
    (left.swap_remove(0), right.swap_remove(0))
}

/// The same between ends of several queues each; `frames` buffers a queue. Which queue a frame arrives at, `spread` tells.
pub fn cables(queues: [usize; 2], frames: usize, spread: Spread) -> (Vec<MemoryDevice>, Vec<MemoryDevice>) {
    let [left, right] = queues.map(|count| (0..count).map(|_| Arc::default()).collect::<Vec<Arc<Mutex<Inbox>>>>());
    let end = |mac, own: &[Arc<Mutex<Inbox>>], peers: &[Arc<Mutex<Inbox>>]| {
        let homes: Arc<[_]> = own.iter().map(|_| ArrayQueue::new(frames.max(1))).collect();
        let places = own.iter().enumerate();
        places
            .map(|(place, inbox)| {
                let free = (0..frames).map(|_| MemoryFrame::new(place as u16)).collect();
                let mut device = MemoryDevice {
                    mac: Mac([2, 0, 0, 0, 0, mac]),
                    mtu: 1500,
                    total: frames,
                    ring: frames / 2,
                    free,
                    outgoing: Vec::with_capacity(frames),
                    inbox: Arc::clone(inbox),
                    peers: peers.to_vec(),
                    spread,
                    place: place as u16,
                    homes: Arc::clone(&homes),
                    chained: false,
                    stats: DeviceStats::default(),
                };
                device.refill();
                device
            })
            .collect()
    };
    (end(1, &left, &right), end(2, &right, &left))
}

/// The same with another MTU: packets longer than a frame lie in several.
pub fn cable_of_mtu(frames: usize, mtu: usize) -> (MemoryDevice, MemoryDevice) {
    let (left, right) = cable(frames);
    (MemoryDevice { mtu, ..left }, MemoryDevice { mtu, ..right })
}

impl MemoryDevice {
    /// Puts a frame where it belongs.
    fn put(&mut self, frame: MemoryFrame) {
        if frame.home == self.place {
            self.free.push(frame);
        } else if let Some(home) = self.homes.get(usize::from(frame.home)) {
            let pushed = home.push(frame);
            debug_assert!(pushed.is_ok(), "there is room for every frame of the queue");
        }
    }

    /// Takes in what other queues of this end sent home.
    fn take_in_returned(&mut self) {
        let Some(home) = self.homes.get(usize::from(self.place)).filter(|home| !home.is_empty()) else { return };
        while let Some(frame) = home.pop() {
            self.free.push(frame);
        }
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
        if self.free.is_empty() {
            self.take_in_returned();
        }
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
        self.put(frame);
    }

    fn flush(&mut self) {
        if !self.outgoing.is_empty() {
            self.stats.kicks += 1;
            match &self.peers[..] {
                [peer] => deliver(&mut lock(peer), &self.outgoing, |_| true),
                peers => {
                    let count = peers.len();
                    for (queue, peer) in peers.iter().enumerate() {
                        deliver(&mut lock(peer), &self.outgoing, |bytes| (self.spread)(bytes) % count == queue);
                    }
                }
            }
            let mut sent = std::mem::take(&mut self.outgoing);
            sent.drain(..).for_each(|frame| self.put(frame));
            self.outgoing = sent;
        }
        self.take_in_returned();
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
            free: self.free.len() + self.homes.get(usize::from(self.place)).map_or(0, ArrayQueue::len),
            receiving: inbox.empty.len() + inbox.arrived.len(),
            sending: self.outgoing.len(),
        }
    }
}

/// Copies the packets that a queue is to have into its empty frames: each in all of its frames or not at all.
fn deliver(peer: &mut Inbox, outgoing: &[MemoryFrame], is_for: impl Fn(&[u8]) -> bool) {
    let mut taken = true;
    let mut begins = true;
    for (at, frame) in outgoing.iter().enumerate() {
        if begins {
            let frames = 1 + outgoing[at..].iter().take_while(|frame| frame.more).count();
            let ours = is_for(frame.bytes());
            taken = ours && peer.empty.len() >= frames;
            peer.dropped += u64::from(ours && !taken);
        }
        begins = !frame.more;
        if taken && let Some(mut target) = peer.empty.pop() {
            target.bytes[..frame.len].copy_from_slice(&frame.bytes[..frame.len]);
            (target.len, target.more) = (frame.len, frame.more);
            peer.arrived.push_back(target);
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

    /// The first byte says which queue it goes to.
    #[test]
    fn frames_go_to_the_queue_that_is_told_and_come_home_from_any() {
        let (mut one, mut two) = cables([1, 2], 16, |bytes| usize::from(bytes[0]));
        for mark in [0, 1, 3, 2, 5] {
            send(&mut one[0], mark);
        }
        one[0].flush();
        let [even, odd] = &mut two[..] else { panic!("two queues") };
        let mut burst = Vec::new();
        assert_eq!((even.receive(&mut burst, 64), odd.receive(&mut burst, 64)), (2, 3));
        assert_eq!(burst.iter().map(|frame| frame.bytes()[0]).collect::<Vec<_>>(), [0, 2, 1, 3, 5]);
        // One queue sends what the other has received, and recycles the rest.
        let answer = burst.pop().unwrap();
        even.transmit(answer).unwrap();
        even.flush();
        burst.drain(..).for_each(|frame| even.recycle(frame));
        assert_eq!(one[0].receive(&mut burst, 64), 1);
        for device in two.iter_mut() {
            device.flush();
            let census = device.frames();
            assert_eq!((census.total, census.free, census.receiving, census.outside()), (16, 8, 8, 0));
        }
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
