//! The device in memory that all stacks run on: frames that arrive, frames that were sent, frames that are free.
//!
//! Ringway has it as its device, smoltcp as its phy. Neither copies a frame on its way in or out; what a stack does with it is its own.

use std::cell::RefCell;
use std::collections::VecDeque;

use ringway::device::{Device, DeviceStats, Frame, FrameCensus};
use ringway::wire::ethernet::{self, Mac};
use smoltcp::phy::{self, DeviceCapabilities, Medium};

use crate::common::OUR_MAC;

/// Half of a second-level cache of 2 MiB: frames are taken from where they were put last, and few are in use at once.
const FRAMES: usize = 512;
const FRAME_BYTES: usize = 2048;
pub(crate) const MTU: usize = 1500;

/// A buffer for one frame.
pub(crate) struct Buffer {
    bytes: Box<[u8; FRAME_BYTES]>,
    len: usize,
}

impl Frame for Buffer {
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

/// Both directions of the wire. The cells are for smoltcp's tokens, of which two exist at a time.
pub(crate) struct Wire {
    free: RefCell<Vec<Buffer>>,
    arriving: VecDeque<Buffer>,
    queued: RefCell<Vec<Buffer>>,
    sent: Vec<Buffer>,
}

impl Wire {
    pub(crate) fn new() -> Self {
        let free = (0..FRAMES).map(|_| Buffer { bytes: Box::new([0; FRAME_BYTES]), len: 0 }).collect();
        Self {
            free: RefCell::new(free),
            arriving: VecDeque::with_capacity(FRAMES),
            queued: RefCell::new(Vec::with_capacity(FRAMES)),
            sent: Vec::with_capacity(FRAMES),
        }
    }

    /// Has a frame arrive, which `write` fills.
    #[inline]
    pub(crate) fn arrive(&mut self, write: impl FnOnce(&mut Buffer)) {
        let mut frame = self.free.get_mut().pop().expect("the stack gives every frame back");
        write(&mut frame);
        self.arriving.push_back(frame);
    }

    /// Shows each frame that was sent since the last call, in order, and returns how many.
    #[inline]
    pub(crate) fn collect(&mut self, mut see: impl FnMut(&[u8])) -> usize {
        let count = self.sent.len();
        for frame in self.sent.drain(..) {
            see(frame.bytes());
            self.free.get_mut().push(frame);
        }
        count
    }

    /// What a stack would be that sends back what comes.
    #[inline]
    pub(crate) fn reflect(&mut self) {
        self.sent.extend(self.arriving.drain(..));
    }
}

impl Device for Wire {
    type Frame = Buffer;

    fn receive(&mut self, burst: &mut Vec<Buffer>, limit: usize) -> usize {
        let count = self.arriving.len().min(limit);
        burst.extend(self.arriving.drain(..count));
        count
    }

    fn readable(&mut self) -> bool {
        !self.arriving.is_empty()
    }

    fn allocate(&mut self) -> Option<Buffer> {
        self.free.get_mut().pop()
    }

    fn room(&mut self) -> usize {
        FRAMES.saturating_sub(self.queued.get_mut().len() + self.sent.len())
    }

    fn transmit(&mut self, frame: Buffer) -> Result<(), Buffer> {
        self.queued.get_mut().push(frame);
        Ok(())
    }

    fn recycle(&mut self, frame: Buffer) {
        self.free.get_mut().push(frame);
    }

    fn flush(&mut self) {
        self.sent.append(self.queued.get_mut());
    }

    fn pending(&self) -> bool {
        !self.queued.borrow().is_empty()
    }

    fn stats(&mut self) -> DeviceStats {
        DeviceStats::default()
    }

    fn mac(&self) -> Mac {
        OUR_MAC
    }

    fn mtu(&self) -> usize {
        MTU
    }

    fn frame_bytes(&self) -> usize {
        FRAME_BYTES
    }

    fn frames(&self) -> FrameCensus {
        FrameCensus {
            total: FRAMES,
            free: self.free.borrow().len(),
            receiving: self.arriving.len(),
            sending: self.queued.borrow().len() + self.sent.len(),
        }
    }
}

impl phy::Device for Wire {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        let frame = self.arriving.pop_front()?;
        Some((RxToken { frame: Some(frame), free: &self.free }, TxToken { free: &self.free, queued: &self.queued }))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<TxToken<'_>> {
        (!self.free.get_mut().is_empty()).then_some(TxToken { free: &self.free, queued: &self.queued })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MTU + ethernet::HEADER_LEN;
        capabilities
    }
}

/// A frame that has come, for smoltcp.
pub(crate) struct RxToken<'a> {
    frame: Option<Buffer>,
    free: &'a RefCell<Vec<Buffer>>,
}

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.frame.as_ref().map_or(&[], |frame| frame.bytes()))
    }
}

impl Drop for RxToken<'_> {
    fn drop(&mut self) {
        self.free.borrow_mut().extend(self.frame.take());
    }
}

/// Room for a frame to go, for smoltcp.
pub(crate) struct TxToken<'a> {
    free: &'a RefCell<Vec<Buffer>>,
    queued: &'a RefCell<Vec<Buffer>>,
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = self.free.borrow_mut().pop().expect("fewer than all are in use");
        frame.set_len(len);
        let result = f(frame.bytes_mut());
        self.queued.borrow_mut().push(frame);
        result
    }
}
