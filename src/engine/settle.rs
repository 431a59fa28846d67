//! The one exit of a frame.
//!
//! Each stage of the path takes a frame by value and says what becomes of it; only here is a received frame sent or recycled. A frame that no
//! stage hands over stays in somebody's hands (a neighbour's queue, a service), and shows in the census.

use super::core::{Core, Lane};
use crate::device::{Device, Drop, Frame as _};

/// What becomes of a frame.
#[derive(Debug)]
pub(super) enum Verdict<F> {
    /// It is sent from the port it came in by.
    Tx(F),
    /// It has another owner now.
    Hold,
    /// It has served its purpose.
    Done(F),
    /// It is dropped, and counted.
    Drop(F, Drop),
}

impl<D: Device> Core<D> {
    /// Sends, recycles or counts a frame of the port at `at`.
    pub(super) fn settle(&mut self, at: Lane, verdict: Verdict<D::Frame>) {
        match verdict {
            Verdict::Tx(frame) => self.transmit(at, frame),
            Verdict::Hold => {}
            Verdict::Done(frame) => self.ports[at.port()].device.recycle(frame),
            Verdict::Drop(frame, why) => {
                self.drops.count(why);
                self.ports[at.port()].device.recycle(frame);
            }
        }
    }

    /// Queues a frame for sending. A full ring is kicked once; if it stays full the frame is dropped and counted, as a NIC would.
    /// (TCP never comes here with a segment it could not repeat: it asks for room first.)
    pub(super) fn transmit(&mut self, at: Lane, frame: D::Frame) {
        if self.tapped.is_some() || self.recorder.records_udp() {
            return self.transmit_observed(at, frame);
        }
        let device = &mut self.ports[at.port()].device;
        let Err(frame) = device.transmit(frame) else { return };
        device.flush();
        if let Err(frame) = device.transmit(frame) {
            self.drops.count(Drop::TransmitRingFull);
            device.recycle(frame);
        }
    }

    /// The same while somebody captures, or datagrams are recorded.
    #[cold]
    #[inline(never)]
    fn transmit_observed(&mut self, at: Lane, frame: D::Frame) {
        let device = &mut self.ports[at.port()].device;
        if device.room() == 0 {
            device.flush();
        }
        if device.room() == 0 {
            self.tap_unsent(at, frame.bytes());
            self.drops.count(Drop::TransmitRingFull);
            self.ports[at.port()].device.recycle(frame);
            return;
        }
        self.tap_sent(at, frame.bytes());
        self.record_datagram(at, frame.bytes(), true);
        let device = &mut self.ports[at.port()].device;
        if let Err(frame) = device.transmit(frame) {
            self.drops.count(Drop::TransmitRingFull);
            device.recycle(frame);
        }
    }
}
