//! The connections of a core: those in use whole, those at rest in a slot of their own size.
//!
//! A slot says where the [`Flow`] lies, or holds what a connection at rest comes to ([`Resting`]): its TCB written down ([`Folded`]), and how its
//! packets travel. Its key stands on its card in the directory and nowhere else. Whoever asks for a flow to do something with it gets it whole
//! ([`Flows::find_mut`]); a look ([`super::looks`]) lays down one over which no text has gone for a while. A flow that is laid down leaves its place to the
//! next one that gets up, which is put together where that one lay; what nobody uses goes back to the machine. Called by the engine only; nothing here panics.

use super::core::{Lane, Timer};
use super::flow::{Counted, Flow, Hop, Told};
use super::looks::LOOK_NS;
use super::wheel::{self, Wheel};
use crate::demux::directory::Keys;
use crate::demux::{Chunked, FlowKey, Slab, SlotId};
use crate::limits;
use crate::service::ListenerId;
use crate::tcp::{Config, Folded, State};
use crate::time::Instant;
use crate::wire::ethernet::Mac;

/// The table of connections.
#[derive(Debug)]
pub(super) struct Flows {
    slots: Slab<Form>,
    /// Those that are whole. Memory is touched as they become more, used again, and given back as they become few.
    whole: Chunked<Flow>,
    /// Where some lie that are nobody's, for the next ones that get up: the last of them has been laid down a moment ago and is still in the caches.
    spare: Vec<u32>,
    /// The fewest of them since `spare_counted`: so many nobody has needed.
    spare_least: usize,
    spare_counted: Instant,
    /// The one that was last looked for, and where it lies: what happens to a flow happens in a row.
    recent: SlotId,
    recent_at: u32,
    /// The keys of all of them.
    keys: Keys,
    /// As TCBs are folded, and therefore unfolded.
    config: Config,
    /// Those that got up, until the output step looks at them, and tells them what has changed while they rested.
    woken: Vec<SlotId>,
}

/// What a slot holds.
#[derive(Debug)]
enum Form {
    /// A flow, which lies there.
    Whole(u32),
    Resting(Resting),
}

/// Places that are kept for those that get up: as many as come to be laid down in a turn by looks.
const SPARE: usize = limits::TIMERS_PER_TURN;
/// No flow. Where it would lie there never is one.
const NOBODY: SlotId = SlotId { slot: u32::MAX, generation: 0 };

/// A connection at rest. Everything is as in a [`Flow`], but that the neighbour's address has to be looked up again.
#[derive(Debug)]
struct Resting {
    tag: [u32; 2],
    /// Its timer, if it is [`ARMED`].
    timer: wheel::Handle,
    flow_label: u32,
    lane: Lane,
    /// Its listener, if it is [`ACCEPTED`].
    listener: u16,
    /// What is yes or no, a bit each.
    flags: u16,
    /// The neighbour, if it is [`KNOWN`].
    mac: Mac,
    state: State,
    tcb: Folded,
}

impl Flows {
    /// What a connection takes here while it is at rest.
    pub(super) const SLOT_BYTES: usize = Slab::<Form>::SLOT_BYTES;

    /// An empty table for at most `capacity` connections, whose keys are those of `keys`.
    pub(super) fn with_capacity(capacity: usize, keys: Keys, config: Config) -> Self {
        Self {
            slots: Slab::with_capacity(capacity),
            whole: Chunked::new(),
            spare: Vec::with_capacity(SPARE),
            spare_least: 0,
            spare_counted: Instant::ZERO,
            recent: NOBODY,
            recent_at: u32::MAX,
            keys,
            config,
            woken: Vec::new(),
        }
    }

    /// Connections in the table.
    pub(super) const fn len(&self) -> usize {
        self.slots.len()
    }

    /// Those of them that are whole.
    pub(super) const fn whole(&self) -> usize {
        self.whole.len() - self.spare.len()
    }

    /// True when some are at rest.
    pub(super) const fn any_rests(&self) -> bool {
        self.whole() < self.slots.len()
    }

    /// Slots that were ever used.
    pub(super) const fn slots(&self) -> usize {
        self.slots.slots()
    }

    /// True when no further one fits.
    pub(super) const fn is_full(&self) -> bool {
        self.slots.is_full()
    }

    /// Puts a flow in and names it. There must be room for it.
    #[inline]
    pub(super) fn insert(&mut self, flow: Flow) -> Option<SlotId> {
        let at = self.whole.insert(flow)?;
        let id = self.slots.insert(Form::Whole(at)).ok()?;
        (self.recent, self.recent_at) = (id, at);
        Some(id)
    }

    /// Drops a flow that is whole, as one that [`Flows::find_mut`] has just returned is: where it lies, as it is too large to be moved for that.
    pub(super) fn discard(&mut self, id: SlotId) {
        debug_assert!(self.place_of(id).is_some(), "of one at rest the place would be lost");
        let Some(Form::Whole(at)) = self.slots.remove(id) else { return };
        if self.woken.last() == Some(&id) {
            // It got up to go.
            self.woken.pop();
        }
        (self.recent, self.recent_at) = (NOBODY, u32::MAX);
        self.whole.discard(at);
    }

    /// The flow of an id; nothing of one at rest, or when the id is stale.
    #[inline]
    pub(super) fn find(&self, id: SlotId) -> Option<&Flow> {
        let at = if id == self.recent { self.recent_at } else { self.place_of(id)? };
        self.whole.at(at)
    }

    /// The flow of an id, unless the id is stale. One at rest gets up; the output step is to hear of it ([`Flows::take_woken`]), so that it is laid down
    /// again even if nothing else happens to it.
    #[inline]
    pub(super) fn find_mut(&mut self, id: SlotId) -> Option<&mut Flow> {
        if id != self.recent {
            self.recent_at = self.place_of(id).or_else(|| self.wake(id))?;
            self.recent = id;
        }
        self.whole.at_mut(self.recent_at)
    }

    /// Where the flow of an id lies, if it is whole.
    #[inline]
    fn place_of(&self, id: SlotId) -> Option<u32> {
        match self.slots.find(id)? {
            Form::Whole(at) => Some(*at),
            Form::Resting(_) => None,
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&mut self, id: SlotId) -> Option<u32> {
        let form = self.slots.find_mut(id)?;
        let Form::Resting(resting) = form else { return None };
        let at = match self.spare.pop() {
            Some(at) => at,
            None => self.whole.insert(Flow::blank(&self.config))?,
        };
        self.spare_least = self.spare_least.min(self.spare.len());
        resting.wake_as(self.whole.at_mut(at)?, &self.keys, id.slot, &self.config);
        *form = Form::Whole(at);
        self.woken.push(id);
        Some(at)
    }

    /// True while there is one that got up since the last look.
    #[inline]
    pub(super) const fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    /// One that got up since the last look.
    #[inline]
    pub(super) fn take_woken(&mut self) -> Option<SlotId> {
        self.woken.pop()
    }

    /// The flow in a slot, if it is whole.
    pub(super) fn whole_at_mut(&mut self, slot: u32) -> Option<&mut Flow> {
        match self.slots.at(slot)? {
            (_, &Form::Whole(at)) => self.whole.at_mut(at),
            (_, Form::Resting(_)) => None,
        }
    }

    /// The way to its neighbour is to be looked up again, also by one at rest.
    pub(super) fn forget_hop(&mut self, id: SlotId) {
        match self.slots.find_mut(id) {
            Some(&mut Form::Whole(at)) => {
                if let Some(flow) = self.whole.at_mut(at) {
                    flow.hop = Hop::Routed { mac: None, until: Instant::ZERO };
                }
            }
            Some(Form::Resting(resting)) => resting.flags &= !(KNOWN | FIXED),
            None => {}
        }
    }

    /// Lays a flow down, if its TCB can be folded and nothing waits for it. Then `timer` arms it for its deadline.
    pub(super) fn lay_down(&mut self, id: SlotId, now: Instant, timer: impl FnOnce(&mut Flow)) -> bool {
        let Some(form) = self.slots.find_mut(id) else { return false };
        let Form::Whole(at) = *form else { return true };
        let Some(flow) = self.whole.at_mut(at).filter(|flow| !flow.queued && !flow.offered_again) else { return false };
        let Some(tcb) = flow.tcb.fold(&self.config, now) else { return false };
        timer(flow);
        *form = Form::Resting(Resting::new(flow, tcb));
        (self.recent, self.recent_at) = (NOBODY, u32::MAX);
        if self.spare.len() < SPARE && self.whole.is_close(at) {
            self.spare.push(at);
        } else {
            self.whole.discard(at);
        }
        true
    }

    /// Every [`LOOK_NS`] gives back as many places as have lain unused all that time; with `idle`, when no look is to come, all.
    #[inline]
    pub(super) fn settle_spare(&mut self, now: Instant, idle: bool) {
        if !self.spare.is_empty() && (idle || self.spare_counted.after_ns(LOOK_NS) <= now) {
            self.give_spare_back(now, if idle { self.spare.len() } else { self.spare_least });
        }
    }

    #[cold]
    #[inline(never)]
    fn give_spare_back(&mut self, now: Instant, count: usize) {
        for at in self.spare.drain(..count) {
            self.whole.discard(at);
        }
        (self.spare_least, self.spare_counted) = (self.spare.len(), now);
    }

    /// The id of the flow in a slot, if it has the key; where it lies is remembered for what follows.
    #[inline]
    pub(super) fn recall(&mut self, slot: u32, key: &FlowKey) -> Option<SlotId> {
        let (id, form) = self.slots.at(slot)?;
        match form {
            &Form::Whole(at) => {
                self.whole.at(at).filter(|flow| flow.key == *key)?;
                (self.recent, self.recent_at) = (id, at);
                Some(id)
            }
            Form::Resting(_) => self.keys.is_key(slot, key).then_some(id),
        }
    }

    /// True when a flow has the key.
    #[inline]
    pub(super) fn is_key(&self, slot: u32, key: &FlowKey) -> bool {
        match self.slots.at(slot) {
            Some((_, &Form::Whole(at))) => self.whole.at(at).is_some_and(|flow| flow.key == *key),
            Some((_, Form::Resting(_))) => self.keys.is_key(slot, key),
            None => false,
        }
    }

    /// True when the flow of an id has the key.
    #[inline]
    pub(super) fn has_key(&mut self, id: SlotId, key: &FlowKey) -> bool {
        if id != self.recent {
            match self.slots.find(id) {
                Some(&Form::Whole(at)) => (self.recent, self.recent_at) = (id, at),
                Some(Form::Resting(_)) => return self.keys.is_key(id.slot, key),
                None => return false,
            }
        }
        self.whole.at(self.recent_at).is_some_and(|flow| flow.key == *key)
    }

    /// Has fetched what says where the flow in a slot lies, and does not wait for it.
    #[inline]
    pub(super) fn fetch_slot(&self, slot: u32) {
        self.slots.fetch(slot, Self::SLOT_BYTES);
    }

    /// Has fetched what the next segment of the flow in a slot will ask for, and does not wait for it. The flow, if there is one.
    #[inline]
    pub(super) fn fetch_flow(&self, slot: u32, wheel: &Wheel<Timer>) -> Option<SlotId> {
        self.fetch(slot, Slab::<Flow>::SLOT_BYTES, wheel)
    }

    /// Has fetched what says whether there is something to do for the flow in a slot, and does not wait for it.
    #[inline]
    pub(super) fn fetch_head(&self, slot: u32, wheel: &Wheel<Timer>) {
        self.fetch(slot, Flow::HEAD_BYTES, wheel);
    }

    #[inline(always)]
    fn fetch(&self, slot: u32, bytes: usize, wheel: &Wheel<Timer>) -> Option<SlotId> {
        let (id, form) = self.slots.at(slot)?;
        match form {
            Form::Whole(at) => self.whole.fetch(*at, bytes),
            Form::Resting(resting) => {
                self.keys.fetch(slot);
                if resting.has(ARMED) {
                    wheel.fetch(resting.timer);
                }
            }
        }
        Some(id)
    }

    /// When its head has come: has the flow in a slot fetched, if there is something to do for it.
    #[inline]
    pub(super) fn fetch_if_due(&self, slot: u32, now: Instant) {
        if let Some((_, &Form::Whole(at))) = self.slots.at(slot)
            && self.whole.at(at).is_some_and(|flow| flow.tcb.poll_timeout() <= now || flow.may_rest(now))
        {
            self.whole.fetch(at, Slab::<Flow>::SLOT_BYTES);
        }
    }

    /// When what [`Flows::fetch_flow`] asked for has come: has fetched what one at rest asks for beyond it.
    #[inline]
    pub(super) fn fetch_beside(&self, slot: u32, wheel: &Wheel<Timer>) {
        if let Some((_, Form::Resting(resting))) = self.slots.at(slot)
            && resting.has(ARMED)
        {
            wheel.fetch_beside(resting.timer);
        }
    }

    /// The id of what is in a slot.
    #[inline]
    pub(super) fn id_at(&self, slot: u32) -> Option<SlotId> {
        self.slots.at(slot).map(|(id, _)| id)
    }

    /// From now on the keys are those of another directory; there must be no flow.
    pub(super) fn use_keys(&mut self, keys: Keys) {
        debug_assert!(self.len() == 0, "their keys would be lost");
        self.keys = keys;
    }

    /// What can be said of a flow without putting it together.
    pub(super) fn glance(&self, id: SlotId) -> Option<Glance> {
        self.glance_at(id, self.slots.find(id)?)
    }

    /// The same of all of them, in the order of the slots.
    pub(super) fn glances(&self) -> impl Iterator<Item = Glance> {
        self.slots.iter().filter_map(|(id, form)| self.glance_at(id, form))
    }

    fn glance_at(&self, id: SlotId, form: &Form) -> Option<Glance> {
        match form {
            Form::Whole(at) => {
                let flow = self.whole.at(*at)?;
                Some(Glance {
                    id,
                    key: flow.key,
                    state: flow.tcb.state(),
                    lane: flow.lane,
                    alive: flow.alive(),
                    connected: flow.told.connected,
                    accepted: flow.listener.is_some(),
                    half_open: flow.half_open().is_some(),
                })
            }
            Form::Resting(resting) => Some(Glance {
                id,
                key: self.keys.key_of(id.slot),
                state: resting.state,
                lane: resting.lane,
                alive: !resting.has(TOLD_ENDED),
                connected: resting.has(TOLD_CONNECTED),
                accepted: resting.has(ACCEPTED),
                half_open: resting.has(ACCEPTED) && resting.has(IN_BACKLOG),
            }),
        }
    }

    /// The places of whole flows from one on. Each with its flow, unless it is nobody's; `find` says which flow has a key.
    pub(super) fn whole_from(
        &self,
        place: u32,
        find: impl Fn(&FlowKey) -> Option<SlotId>,
    ) -> impl Iterator<Item = (u32, Option<(SlotId, &Flow)>)> {
        // What lies in a spare place has a key that is another one's, or nobody's.
        let named = move |place, flow: &Flow| find(&flow.key).filter(|&id| self.place_of(id) == Some(place));
        self.whole.places_from(place).map(move |(place, flow)| (place, flow.and_then(|flow| Some((named(place, flow)?, flow)))))
    }

    /// Looks at a flow as if it were whole, and leaves it as it is.
    pub(super) fn with<T>(&self, id: SlotId, look: impl FnOnce(&Flow) -> T) -> Option<T> {
        match self.slots.find(id)? {
            Form::Whole(at) => self.whole.at(*at).map(look),
            Form::Resting(resting) => {
                let mut flow = Flow::blank(&self.config);
                resting.wake_as(&mut flow, &self.keys, id.slot, &self.config);
                Some(look(&flow))
            }
        }
    }

    /// Places of whole flows, those included that are nobody's.
    #[cfg(test)]
    pub(super) const fn places(&self) -> usize {
        self.whole.len()
    }

    /// The flows that are whole, in the order of the slots.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotId, &Flow)> {
        self.slots.iter().filter_map(|(id, _)| Some((id, self.find(id)?)))
    }
}

/// What is known of a connection whether it rests or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glance {
    pub(super) id: SlotId,
    pub(super) key: FlowKey,
    pub(super) state: State,
    pub(super) lane: Lane,
    /// The service may still use it.
    pub(super) alive: bool,
    /// The service was told of it.
    pub(super) connected: bool,
    /// A listener accepted it.
    pub(super) accepted: bool,
    /// It is counted in its listener's backlog.
    pub(super) half_open: bool,
}

impl Glance {
    /// True when the TCB is only waiting for old segments to die out.
    pub(super) fn time_wait(&self) -> bool {
        self.state == State::TimeWait
    }
}

impl Resting {
    fn new(flow: &Flow, tcb: Folded) -> Self {
        let (fixed, mac) = match flow.hop {
            Hop::Fixed(mac) => (true, Some(mac)),
            Hop::Routed { mac, .. } => (false, mac),
        };
        let Told { connected, peer_closed, closing, given_up, ended } = flow.told;
        let flags = [
            (flow.timer.is_some(), ARMED),
            (flow.listener.is_some(), ACCEPTED),
            (mac.is_some(), KNOWN),
            (fixed, FIXED),
            (flow.progress, PROGRESS),
            (flow.paused, PAUSED),
            (flow.in_backlog, IN_BACKLOG),
            (connected, TOLD_CONNECTED),
            (peer_closed, TOLD_PEER_CLOSED),
            (closing, TOLD_CLOSING),
            (given_up, TOLD_GIVEN_UP),
            (ended, TOLD_ENDED),
            (flow.counted == Counted::HalfOpen, COUNTED_HALF_OPEN),
            (flow.counted == Counted::Open, COUNTED_OPEN),
        ];
        Self {
            tag: [(flow.tag >> 32) as u32, flow.tag as u32],
            timer: flow.timer.map_or(SlotId { slot: 0, generation: 0 }, |(handle, _)| handle),
            flow_label: flow.flow_label,
            lane: flow.lane,
            listener: flow.listener.map_or(0, |listener| listener.0),
            flags: flags.into_iter().fold(0, |set, (is, flag)| if is { set | flag } else { set }),
            mac: mac.unwrap_or_default(),
            state: flow.tcb.state(),
            tcb,
        }
    }

    /// The connection whole again, as the one in `slot`, in the place of another one that has been laid down, or a blank one.
    #[cold]
    #[inline(never)]
    fn wake_as(&self, flow: &mut Flow, keys: &Keys, slot: u32, config: &Config) {
        let Flow {
            key,
            hash,
            timer,
            queued,
            watched,
            stirred,
            offered_again,
            paused,
            in_backlog,
            progress,
            shown,
            tcb,
            lane,
            hop,
            flow_label,
            told,
            counted,
            listener,
            tag,
        } = flow;
        self.tcb.unfold_onto(config, tcb);
        #[cfg(test)]
        assert_eq!(*tcb, self.tcb.unfold(config), "something of another one is left");
        (*key, *hash) = (keys.key_of(slot), keys.hash_of(slot));
        // As its timer was armed when it was laid down.
        *timer = self.has(ARMED).then(|| (self.timer, tcb.poll_timeout()));
        (*queued, *watched, *stirred, *offered_again) = (false, false, false, false);
        (*paused, *in_backlog, *progress) = (self.has(PAUSED), self.has(IN_BACKLOG), self.has(PROGRESS));
        *shown = tcb.state();
        *lane = self.lane;
        *hop = match self.has(KNOWN).then_some(self.mac) {
            Some(mac) if self.has(FIXED) => Hop::Fixed(mac),
            mac => Hop::Routed { mac, until: Instant::ZERO },
        };
        *flow_label = self.flow_label;
        *told = Told {
            connected: self.has(TOLD_CONNECTED),
            peer_closed: self.has(TOLD_PEER_CLOSED),
            closing: self.has(TOLD_CLOSING),
            given_up: self.has(TOLD_GIVEN_UP),
            ended: self.has(TOLD_ENDED),
        };
        *counted = match (self.has(COUNTED_HALF_OPEN), self.has(COUNTED_OPEN)) {
            (true, _) => Counted::HalfOpen,
            (false, true) => Counted::Open,
            (false, false) => Counted::Not,
        };
        *listener = self.has(ACCEPTED).then_some(ListenerId(self.listener));
        *tag = u64::from(self.tag[0]) << 32 | u64::from(self.tag[1]);
    }

    const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

const ARMED: u16 = 1;
const ACCEPTED: u16 = 1 << 1;
const KNOWN: u16 = 1 << 2;
const FIXED: u16 = 1 << 3;
const PROGRESS: u16 = 1 << 4;
const PAUSED: u16 = 1 << 5;
const IN_BACKLOG: u16 = 1 << 6;
const TOLD_CONNECTED: u16 = 1 << 7;
const TOLD_PEER_CLOSED: u16 = 1 << 8;
const TOLD_CLOSING: u16 = 1 << 9;
const TOLD_GIVEN_UP: u16 = 1 << 10;
const TOLD_ENDED: u16 = 1 << 11;
const COUNTED_HALF_OPEN: u16 = 1 << 12;
const COUNTED_OPEN: u16 = 1 << 13;
