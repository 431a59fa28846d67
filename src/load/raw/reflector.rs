//! The server end: every datagram goes back where it came from, in the frame it came in.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::IDLE_FLUSH;
use super::packet::{answer_arp, turn_round};
use crate::device::{Device, Frame};
use crate::limits::BURST;

/// Sends UDP datagrams to one address back, and answers ARP for it. Checks nothing else and verifies no checksum: the client does.
#[derive(Debug)]
pub struct Reflector<F> {
    address: Ipv4Addr,
    burst: Vec<F>,
    counts: Reflected,
}

/// What became of the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reflected {
    /// Datagrams sent back.
    pub datagrams: u64,
    /// ARP requests answered.
    pub arp: u64,
    /// Frames of any other kind.
    pub ignored: u64,
    /// Datagrams and ARP requests that found the transmit ring full.
    pub dropped: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Turns that found a frame.
    pub busy_turns: u64,
}

impl<F: Frame> Reflector<F> {
    /// A reflector for this address.
    pub fn new(address: Ipv4Addr) -> Self {
        Self { address, burst: Vec::with_capacity(BURST), counts: Reflected::default() }
    }

    /// Turns one burst round and flushes; how many frames there were.
    pub fn turn<D: Device<Frame = F>>(&mut self, device: &mut D) -> usize {
        let received = device.receive(&mut self.burst, BURST);
        self.counts.turns += 1;
        if received == 0 && !device.pending() && !self.counts.turns.is_multiple_of(IDLE_FLUSH) {
            return 0;
        }
        self.counts.busy_turns += u64::from(received > 0);
        let mac = device.mac();
        for mut frame in self.burst.drain(..) {
            let count = if turn_round(frame.bytes_mut(), self.address) {
                &mut self.counts.datagrams
            } else if answer_arp(frame.bytes_mut(), mac, self.address) {
                &mut self.counts.arp
            } else {
                self.counts.ignored += 1;
                device.recycle(frame);
                continue;
            };
            match device.transmit(frame) {
                Ok(()) => *count += 1,
                Err(frame) => {
                    self.counts.dropped += 1;
                    device.recycle(frame);
                }
            }
        }
        device.flush();
        received
    }

    /// Spins until told to stop.
    pub fn run<D: Device<Frame = F>>(&mut self, device: &mut D, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            device.busy_poll();
            self.turn(device);
        }
    }

    /// The counts so far.
    pub const fn counts(&self) -> Reflected {
        self.counts
    }
}
