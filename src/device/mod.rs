//! The seam between the engine and whatever carries frames.
//!
//! A [`Device`] is one receive queue and one transmit queue. The engine is generic over it (static dispatch), so
//! the same loop runs over an AF_XDP queue (`xsk`) and over a cable in memory ([`memory`]). Everything here
//! is safe code; a device never blocks except in the engine's idle step, and nothing here panics on what a peer sends.

pub mod drop;
pub mod memory;
#[cfg(test)]
pub(crate) mod smoltcp;

pub use drop::Drop;

use crate::counted::counted;
use crate::wire::ethernet::Mac;

/// An owned buffer that holds one Ethernet frame.
///
/// A frame is a token: whoever holds the value owns the bytes. It leaves the engine by exactly one exit
/// (`engine::settle`): it is transmitted, held, or recycled.
pub trait Frame: Send {
    /// The bytes of the frame, from the Ethernet header to the end of the packet.
    fn bytes(&self) -> &[u8];

    /// The same bytes, to be changed in place.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// Sets the length of the frame in bytes, counted from its first byte. New bytes hold what was there before.
    /// A length above [`Frame::capacity`] is cut to it; the length that stands is returned.
    fn set_len(&mut self, len: usize) -> usize;

    /// The largest length that [`Frame::set_len`] accepts, in bytes.
    fn capacity(&self) -> usize;
}

/// One queue that receives and transmits frames.
pub trait Device {
    /// The buffer this device hands out.
    type Frame: Frame;

    /// Moves up to `limit` received frames to the end of `burst`, oldest first, and returns how many.
    fn receive(&mut self, burst: &mut Vec<Self::Frame>, limit: usize) -> usize;

    /// True when frames have arrived and wait for [`Device::receive`]: the last look before the engine sleeps.
    fn readable(&mut self) -> bool;

    /// A free frame of length zero to build a packet in, or `None` when all are in use (back-pressure).
    fn allocate(&mut self) -> Option<Self::Frame>;

    /// How many frames [`Device::transmit`] will accept at least before the next flush; 0 only when there is no room at all.
    fn room(&mut self) -> usize;

    /// Queues a frame for sending; nothing leaves before [`Device::flush`]. A full ring gives the frame back.
    ///
    /// # Errors
    /// The frame itself, when the transmit ring has no room: try again after a flush, in a later turn.
    fn transmit(&mut self, frame: Self::Frame) -> Result<(), Self::Frame>;

    /// Bytes of the longest frame that one buffer takes. A longer one is a chain of several, where the device has such.
    fn frame_bytes(&self) -> usize {
        usize::MAX
    }

    /// True when the packet that is next to be received, or the rest of it, lies in several frames: [`Device::receive`] takes none then.
    fn chained(&self) -> bool {
        false
    }

    /// Moves the frames of the packet for which [`Device::chained`] holds to `pieces`, which is empty, in their order: all of them, or none.
    fn receive_chain(&mut self, pieces: &mut Vec<Self::Frame>) -> Chain {
        let _ = pieces;
        Chain::Unfinished
    }

    /// True when a packet of so many frames could be allocated and sent now.
    fn has_room_for_chain(&mut self, frames: usize) -> bool {
        let _ = frames;
        false
    }

    /// Queues the frames of this device that are one packet, in their order, as [`Device::transmit`] does with one: all of them, or none, and then they
    /// stay where they are.
    fn transmit_chain(&mut self, pieces: &mut Vec<Self::Frame>) -> bool {
        let _ = pieces;
        false
    }

    /// Puts a frame back among the free ones.
    fn recycle(&mut self, frame: Self::Frame);

    /// Sends what was queued, collects what was sent, and gives the receive side fresh frames: once per turn.
    fn flush(&mut self);

    /// True while frames are queued that the last flush could not hand over; the engine flushes again next turn.
    fn pending(&self) -> bool;

    /// Counts since the start.
    fn stats(&mut self) -> DeviceStats;

    /// The Ethernet address frames are sent from.
    fn mac(&self) -> Mac;

    /// The largest IP packet the link carries, in bytes.
    fn mtu(&self) -> usize;

    /// The descriptor that becomes readable when frames arrive, for parking; `None` when the device cannot be waited for.
    fn descriptor(&self) -> Option<std::os::fd::RawFd> {
        None
    }

    /// Asks the driver to process its queues now (busy polling); does nothing where that has no meaning.
    fn busy_poll(&mut self) {}

    /// Frames that exist, and where they are, for the leak check at the end of a run.
    fn frames(&self) -> FrameCensus;
}

/// What became of a packet of several frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// It has not come whole yet.
    Unfinished,
    /// Here it is.
    Whole,
    /// An entry of it was none: what came of it is free again.
    Broken,
    /// It did not end where the longest packet does: what came of it is free again.
    TooLong,
}

counted! {
    /// Counts of one device since its start.
    pub struct DeviceStats;

    /// Frames received.
    received = "ringway_queue_frames_received_total",
    /// Bytes received, Ethernet headers included.
    received_bytes = "ringway_queue_received_bytes_total",
    /// Frames handed to the transmit ring.
    transmitted = "ringway_queue_frames_transmitted_total",
    /// Bytes handed to the transmit ring, Ethernet headers included.
    transmitted_bytes = "ringway_queue_transmitted_bytes_total",
    /// System calls made to send (`sendto`).
    kicks = "ringway_queue_kicks_total",
    /// Kicks the kernel answered with EAGAIN, EBUSY or ENOBUFS; the frames stay queued.
    kicks_refused = "ringway_queue_kicks_refused_total",
    /// Frames the kernel dropped because the fill ring was empty (`rx_fill_ring_empty_descs`, struct xdp_statistics).
    fill_ring_empty = "ringway_queue_fill_ring_empty_total",
    /// Frames the kernel dropped because the RX ring was full (`rx_ring_full`).
    receive_ring_full = "ringway_queue_receive_ring_full_total",
    /// Frames the kernel dropped for another reason (`rx_dropped`): too large for a chunk, for instance.
    receive_dropped = "ringway_queue_receive_dropped_total",
    /// Descriptors the kernel refused (`rx_invalid_descs` and `tx_invalid_descs`).
    invalid_descriptors = "ringway_queue_invalid_descriptors_total",
    /// Ring entries from the kernel that broke the protocol and were ignored.
    ring_lies = "ringway_queue_ring_lies_total",
}

/// Where the frames of a device are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCensus {
    /// All frames of the pool.
    pub total: usize,
    /// On the free list.
    pub free: usize,
    /// Given to the receive side (fill ring, or received and not yet taken).
    pub receiving: usize,
    /// Given to the transmit side and not yet completed.
    pub sending: usize,
}

impl FrameCensus {
    /// Frames that are in the hands of the engine or of a service: zero when nothing is in flight.
    pub const fn outside(&self) -> usize {
        self.total.saturating_sub(self.free + self.receiving + self.sending)
    }
}
