//! A queue of Ringway's as smoltcp sees it: frames are read and written where they lie.
//!
//! Called by the loop in `smoltcp_echo.rs`, which takes a burst into it at the start of a turn and flushes it at the end; between the two smoltcp takes
//! received frames and fills free ones through tokens. A frame that was read goes back with its burst, not one by one. Cannot panic; allocates
//! for a frame that is dropped because the ring is full, and for nothing else.

use ringway::device::{Device, DeviceStats, Frame, FrameCensus};
use ringway::limits::BURST;
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

/// Bytes of the Ethernet header, which smoltcp counts to the MTU.
const ETHERNET: usize = 14;

/// A queue, and the frames of the turn.
#[derive(Debug)]
pub(crate) struct Phy<D: Device> {
    device: D,
    /// Frames of the burst that smoltcp has not seen yet, the next one last.
    waiting: Vec<D::Frame>,
    /// Frames of the burst that it has read.
    read: Vec<D::Frame>,
    out: Outgoing<D::Frame>,
}

/// What a transmit token needs beside the device.
#[derive(Debug)]
struct Outgoing<F> {
    /// Taken before smoltcp builds a packet: without a free frame it is told to wait, and loses nothing.
    spare: Option<F>,
    /// Frames sent in this turn.
    sent: usize,
    /// Answers that found no room.
    dropped: u64,
}

impl<D: Device> Phy<D> {
    /// Over this queue.
    pub(crate) fn new(device: D) -> Self {
        let out = Outgoing { spare: None, sent: 0, dropped: 0 };
        Self { device, waiting: Vec::with_capacity(BURST), read: Vec::with_capacity(BURST), out }
    }

    /// A turn begins: takes a burst from the ring; how many frames it has.
    pub(crate) fn begin_turn(&mut self) -> usize {
        self.out.sent = 0;
        self.device.busy_poll();
        let count = self.device.receive(&mut self.waiting, BURST);
        self.waiting.reverse();
        count
    }

    /// A turn ends: gives back what was read, and sends what was built with one kick.
    pub(crate) fn end_turn(&mut self) {
        for frame in self.read.drain(..).chain(self.waiting.drain(..)) {
            self.device.recycle(frame);
        }
        self.device.flush();
    }

    /// Gives the last frame back too.
    pub(crate) fn close(&mut self) {
        if let Some(frame) = self.out.spare.take() {
            self.device.recycle(frame);
        }
        self.end_turn();
    }

    /// Frames sent in this turn.
    pub(crate) const fn sent_in_turn(&self) -> usize {
        self.out.sent
    }

    /// Answers that found the ring full.
    pub(crate) const fn dropped(&self) -> u64 {
        self.out.dropped
    }

    /// True while the last flush could not hand everything over.
    pub(crate) fn pending(&self) -> bool {
        self.device.pending()
    }

    /// Where the frames are.
    pub(crate) fn frames(&self) -> FrameCensus {
        self.device.frames()
    }

    /// Counts of the queue.
    pub(crate) fn stats(&mut self) -> DeviceStats {
        self.device.stats()
    }
}

impl<D: Device> phy::Device for Phy<D> {
    type RxToken<'a>
        = RxToken<'a, D::Frame>
    where
        Self: 'a;
    type TxToken<'a>
        = TxToken<'a, D>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let frame = self.waiting.pop()?;
        Some((RxToken { frame, read: &mut self.read }, TxToken { device: &mut self.device, out: &mut self.out }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Self::TxToken<'_>> {
        if self.device.room() == 0 {
            self.device.flush();
            if self.device.room() == 0 {
                return None;
            }
        }
        if self.out.spare.is_none() {
            self.out.spare = self.device.allocate();
        }
        self.out.spare.as_ref()?;
        Some(TxToken { device: &mut self.device, out: &mut self.out })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        // Checksums are smoltcp's to verify and to build, as they are Ringway's: AF_XDP offers no offload here.
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.device.mtu() + ETHERNET;
        capabilities
    }
}

/// A frame that has come.
pub(crate) struct RxToken<'a, F: Frame> {
    frame: F,
    read: &'a mut Vec<F>,
}

impl<F: Frame> phy::RxToken for RxToken<'_, F> {
    fn consume<R, U: FnOnce(&[u8]) -> R>(self, read: U) -> R {
        let result = read(self.frame.bytes());
        self.read.push(self.frame);
        result
    }
}

/// Room for a frame to go.
pub(crate) struct TxToken<'a, D: Device> {
    device: &'a mut D,
    out: &'a mut Outgoing<D::Frame>,
}

impl<D: Device> phy::TxToken for TxToken<'_, D> {
    fn consume<R, U: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: U) -> R {
        let Self { device, out } = self;
        let Some(mut frame) = out.spare.take().or_else(|| device.allocate()) else { return drop_built(out, len, fill) };
        if frame.set_len(len) != len {
            device.recycle(frame);
            return drop_built(out, len, fill);
        }
        let result = fill(frame.bytes_mut());
        // As the engine does it: a full ring is kicked once.
        let unsent = device.transmit(frame).or_else(|frame| {
            device.flush();
            device.transmit(frame)
        });
        match unsent {
            Ok(()) => out.sent += 1,
            Err(frame) => {
                out.dropped += 1;
                device.recycle(frame);
            }
        }
        result
    }
}

/// smoltcp builds what it was promised room for; nobody gets it.
#[cold]
fn drop_built<F, R>(out: &mut Outgoing<F>, len: usize, fill: impl FnOnce(&mut [u8]) -> R) -> R {
    out.dropped += 1;
    fill(&mut vec![0; len])
}
