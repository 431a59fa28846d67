//! An end of a cable in memory as smoltcp sees it, for the tests that have smoltcp as their independent peer.
//!
//! Each frame smoltcp builds is flushed at once, and each it takes is given back at once.

use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

use super::memory::MemoryDevice;
use super::{Device, Frame as _};

/// Bytes of a header without a tag.
const ETHERNET: usize = 14;

/// An end of a cable.
#[derive(Debug)]
pub(crate) struct Phy {
    pub(crate) device: MemoryDevice,
    /// The largest IP packet.
    mtu: usize,
    /// Frames that may still be moved: smoltcp would send a whole window at once.
    pub(crate) budget: u32,
}

impl Phy {
    /// Without an end to what may be moved.
    pub(crate) const fn new(device: MemoryDevice, mtu: usize) -> Self {
        Self { device, mtu, budget: u32::MAX }
    }
}

impl phy::Device for Phy {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken, TxToken<'_>)> {
        self.budget = self.budget.checked_sub(1)?;
        let mut burst = Vec::new();
        self.device.receive(&mut burst, 1);
        let frame = burst.pop()?;
        let bytes = frame.bytes().to_vec();
        self.device.recycle(frame);
        self.device.flush();
        Some((RxToken(bytes), TxToken(&mut self.device)))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        self.budget = self.budget.checked_sub(1)?;
        Some(TxToken(&mut self.device))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + ETHERNET;
        capabilities
    }
}

/// A frame that has come.
pub(crate) struct RxToken(Vec<u8>);

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// Room for a frame to go.
pub(crate) struct TxToken<'a>(&'a mut MemoryDevice);

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = self.0.allocate().expect("what is flushed at once leaves frames in the pool");
        frame.set_len(len);
        let result = f(frame.bytes_mut());
        assert!(self.0.transmit(frame).is_ok(), "what is flushed at once never fills the ring");
        self.0.flush();
        result
    }
}
