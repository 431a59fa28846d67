//! What the segments of a burst will ask for, fetched before the first of them is worked on.
//!
//! Among many connections a segment finds nothing of its own in the caches: the index says where its slot is, the slot where its flow lies, and each
//! waits for the one before. The segments of a burst do not wait for each other, so all of them take the first step, then all the second, and
//! what one asks for is under way while the next does. What comes of it is a guess whose flow each segment is: its key is compared as ever, and nothing but time
//! depends on it. Called by the turn where a core holds more connections than its caches do; nothing here panics.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::core::{Core, Lane, Timer};
use super::run::Engine;
use crate::demux::{Address, FlowKey, SlotId};
use crate::device::{Device, Frame};
use crate::limits;
use crate::service::Service;
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::wire::ipv4::PROTOCOL_TCP;

/// Whose the segments of the burst in work are likely to be, in their order.
#[derive(Debug)]
pub(super) struct Guesses(Box<[Guess; limits::BURST]>);

/// What is known so far.
#[derive(Clone, Copy, Debug)]
enum Guess {
    Nobody,
    Hashed(u64),
    InSlot(u32),
    Flow(SlotId),
}

impl Guesses {
    pub(super) fn new() -> Self {
        Self(Box::new([Guess::Nobody; limits::BURST]))
    }

    /// The flow of a segment of the burst, if there is a guess.
    #[inline]
    pub(super) fn flow(&self, nth: usize) -> Option<SlotId> {
        match self.0.get(nth) {
            Some(&Guess::Flow(id)) => Some(id),
            _ => None,
        }
    }
}

impl<D: Device, S: Service> Engine<D, S> {
    /// Has what the burst will ask for fetched, if that pays. True when there are guesses.
    #[inline]
    pub(super) fn look_ahead(&mut self, at: Lane, burst: &[D::Frame]) -> bool {
        let pays = burst.len() > SHORT_BURST && self.core.has_many_flows();
        if pays {
            self.fetch(at, burst);
        }
        pays
    }

    #[inline(never)]
    fn fetch(&mut self, at: Lane, burst: &[D::Frame]) {
        let Self { core, guesses, .. } = self;
        let guesses = &mut guesses.0[..burst.len().min(limits::BURST)];
        for (guess, frame) in guesses.iter_mut().zip(burst) {
            *guess = match core.peek(at, frame.bytes()) {
                Some(key) => {
                    let hash = core.hash.of(&key);
                    core.directory.fetch(hash);
                    Guess::Hashed(hash)
                }
                None => Guess::Nobody,
            };
        }
        for guess in &mut *guesses {
            let Guess::Hashed(hash) = *guess else { continue };
            *guess = match core.directory.guess(hash) {
                Some(slot) => {
                    core.flows.fetch_slot(slot);
                    Guess::InSlot(slot)
                }
                None => Guess::Nobody,
            };
        }
        for guess in &mut *guesses {
            let Guess::InSlot(slot) = *guess else { continue };
            *guess = core.flows.fetch_flow(slot, &core.wheel).map_or(Guess::Nobody, Guess::Flow);
        }
        if core.flows.any_rests() {
            for guess in guesses {
                let Guess::Flow(id) = *guess else { continue };
                core.flows.fetch_beside(id.slot, &core.wheel);
            }
        }
    }
}

impl<D: Device> Core<D> {
    /// True when it has more connections than its caches hold.
    #[inline]
    pub(super) fn has_many_flows(&self) -> bool {
        self.flows.len() > self.flows_in_cache
    }

    /// Has the flows of the next timers fetched, if that pays.
    #[inline]
    pub(super) fn look_ahead_at_timers(&self) {
        if self.has_many_flows() {
            self.fetch_flows(self.wheel.about_to_expire(self.now).map_while(|timer| match timer {
                Timer::Flow { slot } => Some(slot),
                _ => None,
            }));
        }
    }

    /// Has the flows that are looked at next fetched, if that pays.
    #[inline]
    pub(super) fn look_ahead_at_looks(&self) {
        if self.has_many_flows() {
            self.fetch_flows(self.looks.next().map(|id| id.slot));
        }
    }

    /// Most of them find that there is nothing to do yet, for which the head of a flow is enough.
    #[inline(never)]
    fn fetch_flows(&self, wanted: impl Iterator<Item = u32>) {
        let mut slots = [0; TIMERS_AHEAD];
        let mut count = 0;
        for (place, slot) in slots.iter_mut().zip(wanted) {
            self.flows.fetch_slot(slot);
            *place = slot;
            count += 1;
        }
        let slots = &slots[..count];
        slots.iter().for_each(|&slot| self.flows.fetch_head(slot, &self.wheel));
        slots.iter().for_each(|&slot| self.flows.fetch_if_due(slot, self.now));
    }

    /// The key of a frame, if it is one of TCP with nothing between the headers. Nothing else is checked.
    #[inline(always)]
    pub(super) fn peek(&self, mut at: Lane, bytes: &[u8]) -> Option<FlowKey> {
        let ethernet = self.accept_ethernet(&mut at, bytes).ok()?;
        let ip = bytes.get(ethernet.header_len()..)?;
        let (source, target, ports): (Address, Address, _) = match ethernet.ethertype {
            ETHERTYPE_IPV4 => {
                let (header, rest) = ip.split_first_chunk::<20>()?;
                let [0x45, _, _, _, _, _, fragment, offset, _, PROTOCOL_TCP, _, _, a, b, c, d, e, f, g, h] = *header else {
                    return None;
                };
                if fragment & 0x3f != 0 || offset != 0 {
                    return None;
                }
                (Ipv4Addr::from([a, b, c, d]).into(), Ipv4Addr::from([e, f, g, h]).into(), rest)
            }
            ETHERTYPE_IPV6 => {
                let (header, rest) = ip.split_first_chunk::<40>()?;
                if header[6] != PROTOCOL_TCP {
                    return None;
                }
                let (source, target) = (header[8..].first_chunk::<16>()?, header[24..].first_chunk::<16>()?);
                (Ipv6Addr::from(*source).into(), Ipv6Addr::from(*target).into(), rest)
            }
            _ => return None,
        };
        let &[a, b, c, d] = ports.first_chunk()?;
        let (remote_port, local_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        Some(FlowKey { local: target, remote: source, local_port, remote_port, link: Self::link_key(at) })
    }
}

/// Timers or looks whose flows are fetched together.
pub(super) const TIMERS_AHEAD: usize = 16;
/// Frames that are worked on before what they need could have been fetched.
const SHORT_BURST: usize = 2;
