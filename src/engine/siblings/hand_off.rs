//! Frames on their way to the core their packet belongs to.
//!
//! One ring for each ordered pair of cores, so that packets that arrive in order at one queue stay in order. The token of the frame goes over the ring, its
//! bytes stay where they are; the owner sends or recycles it as one of its own, and its queue sends it home. What came in several frames, or
//! in fragments, was put together by the core it arrived at, and goes along as a copy. A full ring is a drop, counted; each core takes a
//! bounded number a turn. Called by the paths and by the turn.

use super::Siblings;
use crate::device::{Device, Drop, Frame};
use crate::engine::core::{Core, Lane};
use crate::engine::run::Engine;
use crate::engine::settle::Verdict;
use crate::limits;
use crate::link::packet::{Accepted, Packet};
use crate::service::Service;

/// A frame on its way to another core.
#[derive(Debug)]
pub(in crate::engine) struct Handed<F> {
    frame: F,
    /// The interface and the queue it arrived on.
    interface: u16,
    queue: u32,
    /// The core it comes from had made its flow, and took it back.
    withdrawn: bool,
    /// The packet, when it is not what the frame holds.
    whole: Option<Box<Whole>>,
}

/// A packet that was put together.
#[derive(Debug)]
struct Whole {
    packet: Packet,
    bytes: Box<[u8]>,
}

/// How the frame in work has come to this core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) enum Provenance {
    /// By a queue of its own.
    #[default]
    Arrived,
    /// From another core.
    HandedOver,
    /// From that core, which had made a flow for it and took it back when it saw another core's.
    Withdrawn(u16),
}

impl<F: Frame> Siblings<F> {
    /// Leaves a frame for a core; full, or without a queue of the NIC there, it comes back.
    fn give(&mut self, to: u16, nic: u16, handed: Handed<F>) -> Result<(), Handed<F>> {
        let Some(core) = self.all.get(usize::from(to)).filter(|core| core.nics.contains(&nic)) else { return Err(handed) };
        let Some(ring) = core.rings.get(usize::from(self.me)) else { return Err(handed) };
        ring.push(handed)?;
        self.note(to);
        Ok(())
    }

    /// The next frame that a core has left for this one.
    fn take(&self, from: usize) -> Option<Handed<F>> {
        self.own()?.rings.get(from)?.pop()
    }

    /// True when that core has left one. Taking from an empty ring costs a full fence, looking does not.
    fn has_left(&self, from: usize) -> bool {
        self.own().and_then(|own| own.rings.get(from)).is_some_and(|ring| !ring.is_empty())
    }
}

impl<D: Device> Core<D> {
    /// Gives a frame to the core its packet belongs to; `whole` is that packet when it was put together.
    #[cold]
    pub(in crate::engine) fn hand_over(
        &mut self,
        at: Lane,
        frame: D::Frame,
        to: u16,
        withdrawn: bool,
        whole: Option<(&Packet, &[u8])>,
    ) -> Verdict<D::Frame> {
        let nic = self.link_of(at).nic;
        let whole = whole.map(|(packet, bytes)| {
            Box::new(Whole { packet: *packet, bytes: bytes.get(..packet.end).unwrap_or_default().into() })
        });
        let handed = Handed { frame, interface: at.interface, queue: self.ports[at.port()].queue, withdrawn, whole };
        let Some(siblings) = &mut self.siblings else { return Verdict::Drop(handed.frame, Drop::HandOffFull) };
        match siblings.give(to, nic, handed) {
            Ok(()) => {
                self.counters.handed_over += 1;
                Verdict::Hold
            }
            Err(handed) => Verdict::Drop(handed.frame, Drop::HandOffFull),
        }
    }

    /// Takes back what was left for this core, when it does not turn any more.
    pub(in crate::engine) fn drop_handed(&mut self) {
        let count = self.siblings.as_ref().map_or(0, |siblings| siblings.count());
        for from in 0..count {
            while let Some(handed) = self.siblings.as_ref().and_then(|siblings| siblings.take(from)) {
                let Some(at) = self.port_of(handed.interface) else { continue };
                self.settle(at, Verdict::Drop(handed.frame, Drop::HandOffAstray));
            }
        }
    }
}

impl<D: Device, S: Service> Engine<D, S> {
    /// Sends home what siblings have left for each other and nobody works on any more: when all of them have ended, before their accounts are
    /// looked at a last time.
    pub fn send_handed_home(engines: &mut [Self]) {
        engines.iter_mut().for_each(|engine| engine.core.drop_handed());
        for engine in engines {
            engine.core.ports.iter_mut().for_each(|port| port.device.flush());
        }
    }

    /// Works on the frames that other cores have handed over. True when there were some.
    #[cold]
    #[inline(never)]
    pub(in crate::engine) fn receive_handed(&mut self) -> bool {
        let mut worked = false;
        let count = self.core.siblings.as_ref().map_or(0, |siblings| siblings.count());
        for from in 0..count {
            if !self.core.siblings.as_ref().is_some_and(|siblings| siblings.has_left(from)) {
                continue;
            }
            for _ in 0..limits::BURST {
                let Some(handed) = self.core.siblings.as_ref().and_then(|siblings| siblings.take(from)) else { break };
                worked = true;
                self.core.counters.handed_in += 1;
                self.frames_in_turn += 1;
                self.receive_one_handed(from as u16, handed);
            }
        }
        worked
    }

    fn receive_one_handed(&mut self, from: u16, handed: Handed<D::Frame>) {
        let Handed { frame, interface, queue, withdrawn, whole } = handed;
        // It was given to a core that has a queue of the NIC.
        let Some(lane) = self.core.port_of(interface) else { return };
        self.core.handed_queue = queue;
        self.core.provenance = if withdrawn { Provenance::Withdrawn(from) } else { Provenance::HandedOver };
        let verdict = match whole {
            None => self.receive(self.core.first_lane(lane.port()), frame),
            Some(parts) => {
                let mut room = self.core.take_whole();
                let len = parts.bytes.len().min(room.len());
                room[..len].copy_from_slice(&parts.bytes[..len]);
                let verdict = self.whole_packet(lane, frame, Accepted::Ip(parts.packet), &mut room);
                self.core.whole = room;
                verdict
            }
        };
        self.core.settle(lane, verdict);
        self.core.provenance = Provenance::Arrived;
    }
}
