//! One queue of an interface as a [`Device`]: receive, transmit, and one flush a turn.
//!
//! Made by `open`, owned by one worker thread, which may have been sent the value but never shares it. On the path of a packet there is
//! no system call, no allocation, no lock and no atomic read-modify-write; the one kick a turn is in `flush`. What the kernel does wrong
//! is counted (`ring_lies`), never believed, and nothing here panics.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use super::chain::Incoming;
use super::config::BusyPoll;
use super::frame::UmemFrame;
use super::mapping::Pages;
use super::nic::Nic;
use super::pool::{Pool, Refused};
use super::ring::{CompletionRing, Descriptor, FillRing, ReceiveRing, TransmitRing};
use super::socket::Socket;
use crate::device::{Chain, Device, DeviceStats, FrameCensus};
use crate::limits::CHAIN_PIECES;
use crate::wire::ethernet::Mac;

/// An AF_XDP socket bound to one queue, with its rings and frames.
#[derive(Debug)]
pub struct XskQueue {
    receive: ReceiveRing,
    completion: CompletionRing,
    fill: FillRing,
    transmit: TransmitRing,
    // Closed before the pool goes: the kernel lets go of the frames first.
    socket: Socket,
    pool: Pool,
    identity: Identity,
    /// Frames lent to the receive side, and how many shall be.
    receiving: u32,
    fill_target: u32,
    /// Frames lent to the send side.
    sending: u32,
    pending: bool,
    /// The packet of several frames that is being received.
    incoming: Incoming,
    stats: DeviceStats,
}

/// What does not change while a queue is open.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) interface: String,
    pub(crate) interface_index: u32,
    pub(crate) queue: u32,
    pub(crate) mac: Mac,
    pub(crate) mtu: usize,
    pub(crate) zero_copy: bool,
    pub(crate) need_wakeup: bool,
    pub(crate) busy_poll: Option<BusyPoll>,
    /// Packets of several frames were asked for.
    pub(crate) chains: bool,
}

impl Identity {
    /// Of a queue whose socket is not bound yet.
    pub(crate) fn new(nic: &Nic, mtu: usize, queue: u32, need_wakeup: bool, busy_poll: Option<BusyPoll>) -> Self {
        Self {
            interface: nic.name().to_owned(),
            interface_index: nic.index(),
            queue,
            mac: nic.mac(),
            mtu,
            zero_copy: false,
            need_wakeup,
            busy_poll,
            chains: false,
        }
    }
}

/// The rings of one queue.
#[derive(Debug)]
pub(crate) struct Rings {
    pub(crate) receive: ReceiveRing,
    pub(crate) transmit: TransmitRing,
    pub(crate) fill: FillRing,
    pub(crate) completion: CompletionRing,
}

/// Frames that the fill ring may lack before it is refilled: in bulk, since each refill moves a cache line between two cores.
const REFILL_BATCH: u32 = 64;

impl XskQueue {
    /// A queue whose socket has its rings but is not bound yet; the fill ring is filled here, since some zero-copy drivers break when
    /// they find it empty at bind.
    pub(crate) fn new(socket: Socket, rings: Rings, pool: Pool, identity: Identity, fill_target: u32) -> Self {
        let Rings { receive, transmit, fill, completion } = rings;
        let mut queue = Self {
            receive,
            completion,
            fill,
            transmit,
            socket,
            pool,
            identity,
            receiving: 0,
            fill_target,
            sending: 0,
            pending: false,
            incoming: Incoming::new(),
            stats: DeviceStats::default(),
        };
        queue.refill(1);
        queue
    }

    /// What the kernel made of the bind.
    pub(crate) const fn set_zero_copy(&mut self, zero_copy: bool) {
        self.identity.zero_copy = zero_copy;
    }

    pub(crate) const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Name of the interface.
    pub fn interface(&self) -> &str {
        &self.identity.interface
    }

    /// The kernel's number of the interface.
    pub const fn interface_index(&self) -> u32 {
        self.identity.interface_index
    }

    /// The queue of the interface: the index of this socket in the XSKMAP.
    pub const fn queue(&self) -> u32 {
        self.identity.queue
    }

    /// True when the NIC reads and writes the frames itself, false when the kernel copies.
    pub const fn is_zero_copy(&self) -> bool {
        self.identity.zero_copy
    }

    /// What carries the frames.
    pub fn pages(&self) -> Pages {
        self.pool.umem().pages()
    }

    /// Bytes of the UMEM of the interface, all queues together.
    pub fn umem_bytes(&self) -> usize {
        self.pool.umem().bytes()
    }

    /// Frames of the interface whose token was dropped instead of being recycled or sent; they came back by themselves.
    pub fn dropped_frames(&self) -> u64 {
        self.pool.umem().dropped()
    }

    /// Kicks when there is something to send and somebody has to be told.
    fn kick(&mut self) {
        if self.transmit.outstanding() > 0 && self.must_kick() {
            self.stats.kicks += 1;
            // EAGAIN, EBUSY and ENOBUFS are ordinary, ENETDOWN lasts until the link is up again: the descriptors stay queued in every
            // case, and the next flush kicks again.
            if self.socket.kick().is_err() {
                self.stats.kicks_refused += 1;
            }
        }
        self.pending = self.transmit.outstanding() > 0;
    }

    fn must_kick(&self) -> bool {
        // In copy mode the kernel sends in our system call and at no other time.
        !self.identity.zero_copy || !self.identity.need_wakeup || self.transmit.need_wakeup()
    }

    /// Takes back the frames that were sent.
    fn collect(&mut self) {
        if self.sending == 0 {
            return;
        }
        for _ in 0..self.completion.available(u32::MAX) {
            let Some(address) = self.completion.read() else { break };
            if self.pool.completed(address) {
                self.sending -= 1;
            }
        }
        self.completion.release();
    }

    /// An entry of a packet of several frames.
    #[cold]
    fn take_piece(&mut self, descriptor: Descriptor) {
        if !self.identity.chains {
            // Such packets were not asked for.
            return self.pool.count_lie();
        }
        if self.incoming.take(&mut self.pool, descriptor) {
            self.receiving = self.receiving.saturating_sub(1);
            self.stats.received_bytes += u64::from(descriptor.len);
        }
    }

    /// Gives the receive side frames when it lacks `batch` or more. What does not fit, because the kernel was slow to say what it
    /// took, is given in a later turn.
    fn refill(&mut self, batch: u32) {
        let lacking = self.fill_target.saturating_sub(self.receiving);
        // A small fill ring must not run dry before a whole batch is lacking.
        if lacking < batch.min(self.fill_target / 4).max(1) {
            return;
        }
        for _ in 0..lacking.min(self.fill.room(lacking)) {
            let Some(address) = self.pool.lend_to_receive() else { break };
            // There is room, so the entry is written; were it not, the frame would stay lent, out of everybody's reach.
            let written = self.fill.write(address);
            debug_assert!(written, "room was asked for");
            self.receiving += 1;
        }
        self.fill.publish();
    }
}

impl Device for XskQueue {
    type Frame = UmemFrame;

    fn receive(&mut self, burst: &mut Vec<UmemFrame>, limit: usize) -> usize {
        if self.incoming.is_some() {
            return 0;
        }
        let wanted = u32::try_from(limit).unwrap_or(u32::MAX);
        let available = self.receive.available(wanted).min(wanted);
        if available == 0 {
            return 0;
        }
        let before = burst.len();
        for _ in 0..available {
            let Some(descriptor) = self.receive.read() else { break };
            if descriptor.options & libc::XDP_PKT_CONTD != 0 {
                self.take_piece(descriptor);
                break;
            }
            if let Some(frame) = self.pool.received(descriptor) {
                self.stats.received_bytes += u64::from(descriptor.len);
                burst.push(frame);
            }
        }
        self.receive.release();
        let count = burst.len() - before;
        self.stats.received += count as u64;
        self.receiving = self.receiving.saturating_sub(count as u32);
        count
    }

    fn readable(&mut self) -> bool {
        self.receive.available(1) > 0
    }

    fn allocate(&mut self) -> Option<UmemFrame> {
        if let Some(frame) = self.pool.take() {
            return Some(frame);
        }
        self.pool.take_in_returned();
        self.collect();
        self.pool.take()
    }

    fn room(&mut self) -> usize {
        self.transmit.room(1) as usize
    }

    fn transmit(&mut self, frame: UmemFrame) -> Result<(), UmemFrame> {
        if self.transmit.room(1) == 0 {
            return Err(frame);
        }
        match self.pool.lend_to_transmit(frame) {
            Ok(descriptor) => {
                self.stats.transmitted += 1;
                self.stats.transmitted_bytes += u64::from(descriptor.len);
                self.sending += 1;
                let written = self.transmit.write(descriptor);
                debug_assert!(written, "room was asked for");
                Ok(())
            }
            Err(Refused::Unsendable) => {
                self.stats.invalid_descriptors += 1;
                Ok(())
            }
            Err(Refused::NoFrame(frame)) => Err(frame),
        }
    }

    fn frame_bytes(&self) -> usize {
        self.pool.umem().chunk_bytes()
    }

    fn chained(&self) -> bool {
        self.incoming.is_some()
    }

    fn receive_chain(&mut self, pieces: &mut Vec<UmemFrame>) -> Chain {
        while self.incoming.wants_more() && self.receive.available(1) > 0 {
            let Some(descriptor) = self.receive.read() else { break };
            self.take_piece(descriptor);
        }
        self.receive.release();
        let chain = self.incoming.finish(&mut self.pool, pieces);
        self.stats.received += u64::from(chain == Chain::Whole);
        chain
    }

    fn has_room_for_chain(&mut self, frames: usize) -> bool {
        let Ok(wanted) = u32::try_from(frames) else { return false };
        if self.transmit.room(wanted) < wanted {
            return false;
        }
        if self.pool.free() < frames {
            self.pool.take_in_returned();
            self.collect();
        }
        self.pool.free() >= frames
    }

    fn transmit_chain(&mut self, pieces: &mut Vec<UmemFrame>) -> bool {
        let count = pieces.len();
        // The kernel refuses a packet of more pieces, and descriptors without bytes, one by one: what it sent would be a part.
        let may = (1..=CHAIN_PIECES).contains(&count) && pieces.iter().all(|piece| self.pool.may_lend(piece));
        if !may || (self.transmit.room(count as u32) as usize) < count {
            return false;
        }
        for (nth, piece) in pieces.drain(..).enumerate() {
            let options = if nth + 1 < count { libc::XDP_PKT_CONTD } else { 0 };
            let descriptor = Descriptor { options, ..self.pool.lend_piece(piece) };
            self.stats.transmitted_bytes += u64::from(descriptor.len);
            self.sending += 1;
            let written = self.transmit.write(descriptor);
            debug_assert!(written, "room was asked for");
        }
        self.stats.transmitted += 1;
        true
    }

    fn recycle(&mut self, frame: UmemFrame) {
        self.pool.put(frame);
    }

    fn flush(&mut self) {
        if self.transmit.publish() > 0 || self.pending {
            self.kick();
        }
        self.collect();
        self.pool.take_in_returned();
        self.refill(REFILL_BATCH);
        if self.identity.zero_copy && self.fill.need_wakeup() {
            // A refusal is repeated next turn, as long as the flag stands.
            let _ = self.socket.wake();
        }
    }

    fn pending(&self) -> bool {
        self.pending
    }

    fn stats(&mut self) -> DeviceStats {
        let mut stats = self.stats;
        if let Ok(kernel) = self.socket.statistics() {
            stats.fill_ring_empty = kernel.rx_fill_ring_empty_descs;
            stats.receive_ring_full = kernel.rx_ring_full;
            stats.receive_dropped = if self.identity.zero_copy {
                kernel.rx_dropped
            } else {
                // The copying receive path (__xsk_rcv, net/xdp/xsk.c) counts a frame that found the fill ring empty here once more.
                kernel.rx_dropped.saturating_sub(kernel.rx_fill_ring_empty_descs)
            };
            stats.invalid_descriptors += kernel.rx_invalid_descs + kernel.tx_invalid_descs;
        }
        let rings = self.receive.lies() + self.completion.lies() + self.fill.lies() + self.transmit.lies();
        stats.ring_lies = self.pool.lies() + rings;
        stats
    }

    fn mac(&self) -> Mac {
        self.identity.mac
    }

    fn mtu(&self) -> usize {
        self.identity.mtu
    }

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.socket.as_fd().as_raw_fd())
    }

    fn busy_poll(&mut self) {
        if self.identity.busy_poll.is_some() {
            // EAGAIN says that nothing came: the ring is looked at next in any case.
            let _ = self.socket.wake();
        }
    }

    fn frames(&self) -> FrameCensus {
        self.pool.census()
    }
}

impl AsFd for XskQueue {
    /// The descriptor, for the XSKMAP.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
