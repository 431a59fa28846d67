//! Frames for whoever captures: copied on their way in and out, with what became of them.
//!
//! Called by the turn before and after each frame, and by whatever transmits, while there is a [`Tap`]; off the path of a packet otherwise. Nothing
//! here panics.

use super::core::{Core, Lane};
use super::settle::Verdict;
use crate::capture::filter::Ends;
use crate::capture::{Captured, Tap};
use crate::demux::FlowKey;
use crate::device::{Device, Drop};
use crate::recorder::{Kind, Record};

/// A capture as its core sees it.
#[derive(Debug)]
pub(super) struct Tapped {
    tap: Tap,
    /// The frame in work.
    pending: Option<Pending>,
    /// The first record that can be about the next frame that leaves.
    sent_from: u64,
}

/// A copy of a frame of which it is not known yet what becomes of it.
#[derive(Debug)]
struct Pending {
    captured: Captured,
    /// The number of the first record that can be about it.
    from: u64,
    /// Of the whole frame: the copy may be cut.
    ends: Option<Ends>,
}

impl<D: Device> Core<D> {
    /// Begins to copy frames, or ends it. False when somebody else captures already.
    pub(super) fn set_tap(&mut self, tap: Option<Tap>) -> bool {
        if tap.is_some() && self.tapped.as_ref().is_some_and(|tapped| !tapped.tap.is_abandoned()) {
            return false;
        }
        let sent_from = self.recorder.written();
        self.tapped = tap.map(|tap| Box::new(Tapped { tap, pending: None, sent_from }));
        true
    }

    /// A frame has come, and is about to be worked on.
    #[cold]
    #[inline(never)]
    pub(super) fn tap_received(&mut self, at: Lane, bytes: &[u8]) {
        self.drop_abandoned_tap();
        let Some(tapped) = &mut self.tapped else { return };
        let from = self.recorder.written();
        let place = &self.ports[at.port()];
        tapped.pending = tapped.tap.copy(bytes, self.now, false).map(|mut captured| {
            (captured.interface, captured.queue) = (at.interface, place.queue);
            Pending { captured, from, ends: Ends::of(bytes) }
        });
    }

    /// What became of it.
    #[cold]
    #[inline(never)]
    pub(super) fn tap_settled<F>(&mut self, verdict: &Verdict<F>) {
        let Some(pending) = self.tapped.as_mut().and_then(|tapped| tapped.pending.take()) else { return };
        let Pending { mut captured, from, ends } = pending;
        captured.record = self.recorded(from, &[Kind::Received], ends.as_ref());
        captured.drop = match verdict {
            Verdict::Drop(_, why) => Some(*why),
            // A reset in its place says why in the record.
            _ => captured.record.and_then(|record| record.cause().as_drop()),
        };
        if let Some(tapped) = &self.tapped {
            tapped.tap.put(captured);
        }
    }

    /// A frame is about to leave.
    #[cold]
    #[inline(never)]
    pub(super) fn tap_sent(&mut self, at: Lane, bytes: &[u8]) {
        self.drop_abandoned_tap();
        let Some(tapped) = &mut self.tapped else { return };
        // Also past one that nobody wants: what is looked through for the next stays short, and is of nothing that left before.
        let from = std::mem::replace(&mut tapped.sent_from, self.recorder.written());
        let Some(mut captured) = tapped.tap.copy(bytes, self.now, true) else { return };
        (captured.interface, captured.queue) = (at.interface, self.ports[at.port()].queue);
        captured.record = self.recorded(from, &[Kind::Sent, Kind::SentAgain], Ends::of(bytes).as_ref());
        if let Some(tapped) = &self.tapped {
            tapped.tap.put(captured);
        }
    }

    /// A frame that was to leave found no room after all.
    #[cold]
    pub(super) fn tap_unsent(&mut self, at: Lane, bytes: &[u8]) {
        let Some(tapped) = &self.tapped else { return };
        let Some(mut captured) = tapped.tap.copy(bytes, self.now, true) else { return };
        (captured.interface, captured.queue) = (at.interface, self.ports[at.port()].queue);
        captured.drop = Some(Drop::TransmitRingFull);
        tapped.tap.put(captured);
    }

    /// Ends a capture whose other side has gone without a word that arrived.
    fn drop_abandoned_tap(&mut self) {
        if self.tapped.as_ref().is_some_and(|tapped| tapped.tap.is_abandoned()) {
            self.tapped = None;
        }
    }

    /// Records a datagram, if datagrams are recorded and this is one.
    #[cold]
    #[inline(never)]
    pub(super) fn record_datagram(&mut self, at: Lane, bytes: &[u8], is_sent: bool) {
        if !self.recorder.records_udp() {
            return;
        }
        let Some(([source, target], len)) = Ends::of(bytes).and_then(|ends| ends.datagram()) else { return };
        let (own, peer) = if is_sent { (source, target) } else { (target, source) };
        let key = FlowKey { local: own.0, remote: peer.0, local_port: own.1, remote_port: peer.1, link: Self::link_key(at) };
        self.recorder.datagram(self.now, &key, is_sent, len);
    }

    /// The record of a frame among those from a number on.
    fn recorded(&self, from: u64, kinds: &[Kind], ends: Option<&Ends>) -> Option<Record> {
        let ends = ends?;
        let is_it = |record: &Record| {
            let (own, peer) = ((record.local, record.local_port), (record.remote, record.remote_port));
            let (from, to) = if record.kind() == Kind::Received { (peer, own) } else { (own, peer) };
            kinds.contains(&record.kind()) && ends.is_segment(from, to, record.seq)
        };
        self.recorder.since(from).map(|(_, record)| *record).find(is_it)
    }
}
