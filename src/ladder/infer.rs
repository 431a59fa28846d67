//! The states of both ends, told from the segments alone.
//!
//! Two questions are kept apart. *What does it do?* is `EDGES`, the machine of RFC 9293 figure 5 as an onlooker sees it: what an end sends and what
//! reaches it are its only causes. *When does it reach the other end?* is [`Reach`]: as a rule with the step in which it was seen, but what an end
//! sends afterwards can tell otherwise. An end acknowledges all that it has received in order with each segment it sends, so one that does not cover a
//! FIN has not received it yet; and one that sends its SYN or FIN again has not heard that it arrived. What is known only later is used: the
//! whole list is there.
//!
//! What cannot be seen is not guessed: CLOSE calls before the FIN leaves, timers but that of TIME-WAIT, and what happens behind the last segment. Called
//! by [`super::Exchange::complete`], once; goes over the list a fixed number of times. Nothing here panics.

use super::exchange::Exchange;
use super::step::{End, Fate, Segment, Step, What};
use crate::tcp::State;
use crate::tcp::seq::SeqNum;
use crate::time::Instant;
use crate::wire::tcp::Flags;

/// What an onlooker sees an end do, or reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// It sends a SYN that acknowledges nothing.
    SendSyn,
    /// It sends a FIN.
    SendFin,
    /// It sends a RST.
    SendRst,
    /// The peer's SYN.
    Syn,
    /// The acknowledgment of its SYN.
    AckOfSyn,
    /// The acknowledgment of its FIN.
    AckOfFin,
    /// The peer's FIN, with everything before it.
    Fin,
    /// A RST that it takes.
    Rst,
    /// Nothing for 2 MSL.
    TwoMsl,
}

/// RFC 9293 figure 5 and 3.10.7, as far as it can be seen. A cause that a state does not have here leaves it as it is.
pub(super) const EDGES: &[(State, Cause, State)] = {
    use Cause::*;
    use State::*;
    &[
        (Closed, SendSyn, SynSent),
        (Listen, Syn, SynReceived),
        (SynSent, Syn, SynReceived),
        (SynSent, Rst, Closed),
        (SynReceived, AckOfSyn, Established),
        (SynReceived, SendFin, FinWait1),
        (SynReceived, Fin, CloseWait),
        (SynReceived, SendRst, Closed),
        (SynReceived, Rst, Closed),
        (Established, SendFin, FinWait1),
        (Established, Fin, CloseWait),
        (Established, SendRst, Closed),
        (Established, Rst, Closed),
        (FinWait1, AckOfFin, FinWait2),
        (FinWait1, Fin, Closing),
        (FinWait1, SendRst, Closed),
        (FinWait1, Rst, Closed),
        (FinWait2, Fin, TimeWait),
        (FinWait2, SendRst, Closed),
        (FinWait2, Rst, Closed),
        (CloseWait, SendFin, LastAck),
        (CloseWait, SendRst, Closed),
        (CloseWait, Rst, Closed),
        (Closing, AckOfFin, TimeWait),
        (Closing, SendRst, Closed),
        (Closing, Rst, Closed),
        (LastAck, AckOfFin, Closed),
        (LastAck, SendRst, Closed),
        (LastAck, Rst, Closed),
        (TimeWait, Rst, Closed),
        (TimeWait, TwoMsl, Closed),
    ]
};

/// Fills in the states of every end that the source did not know, with the steps that show them: late arrivals, and the end of TIME-WAIT.
pub(super) fn states(exchange: &mut Exchange) {
    let inferred: Vec<End> = End::BOTH.into_iter().filter(|end| !exchange.known[end.index()]).collect();
    if inferred.is_empty() {
        return;
    }
    let trace = Trace::of(&exchange.steps);
    let mut effects = Vec::new();
    for &end in &inferred {
        exchange.begin[end.index()] = trace.begin(end);
        trace.effects_at(end, &mut effects);
    }
    // By place; at one place in the order of the causes, which is that of RFC 9293 3.10.7.4: SYN, ACK, FIN.
    effects.sort_by_key(|effect| (effect.reach.place(), effect.cause));
    walk(exchange, &inferred, &effects);
}

/// Something that happens to an end.
#[derive(Clone, Copy, Debug)]
struct Effect {
    end: End,
    cause: Cause,
    reach: Reach,
    /// The step that carried it.
    carrier: usize,
}

/// When something reaches the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// With the step of this place.
    At(usize),
    /// Between two steps: behind all before this place, which may be the end of the list.
    Before(usize),
}

impl Reach {
    /// Sorts as things happen: what comes before a step stands in front of what happens at it.
    const fn place(self) -> (usize, bool) {
        match self {
            Self::At(step) => (step, true),
            Self::Before(step) => (step, false),
        }
    }
}

/// A SYN or a FIN of one end: all steps that sent it.
struct Control {
    end: SeqNum,
    sent: Vec<usize>,
}

/// What an end does behind a RST that its peer has sent.
struct GoingOn {
    /// The last segment of its own that is no RST, and what it acknowledges.
    last: Option<(usize, Option<SeqNum>)>,
    /// The last segment of the peer's that is no RST.
    last_of_peer: Option<usize>,
    /// The last SYN of the peer's.
    last_syn_of_peer: Option<usize>,
}

impl GoingOn {
    fn of(trace: &Trace<'_>, end: End, last_word: Option<usize>) -> Self {
        let ack = |at: usize| trace.steps.get(at)?.as_segment().filter(|it| it.has(Flags::ACK)).map(|it| it.ack);
        let peers = segments(trace.steps, 0).filter(|(_, from, it)| *from != end && !it.has(Flags::RST));
        Self {
            last: last_word.map(|at| (at, ack(at))),
            last_of_peer: peers.map(|(at, ..)| at).last(),
            last_syn_of_peer: trace.syns[end.other().index()].as_ref().and_then(|syn| syn.sent.last().copied()),
        }
    }

    /// When a RST at a place reaches the end; `None` when what the end does afterwards shows that it has not taken it. `sent` is the number
    /// behind all that the peer had sent before, once the end has acknowledged something.
    fn reach(&self, at: usize, reset: &Segment, sent: Option<SeqNum>) -> Option<Reach> {
        let (Some(sent), Some((last, ack))) = (sent, self.last.filter(|(last, _)| *last > at)) else {
            return Some(Reach::At(at));
        };
        // Another connection with the same ports.
        if self.last_syn_of_peer.is_some_and(|syn| syn > at) {
            return Some(Reach::At(at));
        }
        // RFC 9293 3.10.7.4: only what lies at RCV.NXT resets, anything else in the window is challenged; and nobody acknowledges what came behind his reset.
        if reset.seq.after(sent) || ack.is_some_and(|ack| ack.after(sent)) {
            return None;
        }
        // Captured near the peer, which is silent from here on: what the end has sent before it came stands behind it.
        let is_peer_silent = self.last_of_peer.is_none_or(|last| last < at);
        Some(if is_peer_silent { Reach::Before(last + 1) } else { Reach::At(at) })
    }
}

/// The segments of the list, to be asked about.
struct Trace<'a> {
    steps: &'a [Step],
    /// The first SYN and the first FIN of each end, wherever they were sent again.
    syns: [Option<Control>; 2],
    fins: [Option<Control>; 2],
}

impl<'a> Trace<'a> {
    fn of(steps: &'a [Step]) -> Self {
        let control = |end: End, flag: Flags| {
            let sent: Vec<usize> =
                segments(steps, 0).filter(|(_, from, it)| *from == end && it.has(flag)).map(|(at, ..)| at).collect();
            let first = steps.get(*sent.first()?)?.as_segment()?;
            // Data in a SYN need not be taken with it (RFC 7413).
            Some(Control { end: if flag == Flags::SYN { first.seq + 1 } else { first.end() }, sent })
        };
        Self { steps, syns: End::BOTH.map(|end| control(end, Flags::SYN)), fins: End::BOTH.map(|end| control(end, Flags::FIN)) }
    }

    /// The state an end was in before the first step. One that answers a SYN with nothing but resets listens nowhere; one that does not
    /// answer it is not known. A list without a SYN begins in the middle.
    fn begin(&self, end: End) -> Option<State> {
        let first = |whose: End| segments(self.steps, 0).find(|(_, from, _)| *from == whose).map(|(.., segment)| segment);
        let (own, peer) = (first(end), first(end.other()));
        match (own, peer) {
            (None, None) => None,
            (Some(own), _) if own.opens() => Some(State::Closed),
            (Some(own), _) if own.has(Flags::SYN) => Some(State::Listen),
            (Some(own), Some(peer)) if own.has(Flags::RST) && peer.opens() => Some(State::Closed),
            (None, Some(peer)) if peer.opens() || peer.has(Flags::RST) => None,
            // The SYN that this one answers was not seen.
            (_, Some(peer)) if peer.has(Flags::SYN) && peer.has(Flags::ACK) => Some(State::SynSent),
            (Some(own), None) if own.has(Flags::RST) => None,
            _ => Some(State::Established),
        }
    }

    /// Everything that happens to an end.
    fn effects_at(&self, end: End, effects: &mut Vec<Effect>) {
        let mut add = |cause, reach, carrier| effects.push(Effect { end, cause, reach, carrier });
        let ours = |(at, from, segment): (usize, End, &Segment)| (from == end && !segment.has(Flags::RST)).then_some(at);
        // A RST for something that belongs to no connection, as in RFC 9293 3.10.7.3 (an old SYN-ACK in SYN-SENT), does not end the one being made.
        let last_word = segments(self.steps, 0).filter_map(ours).last();
        let going_on = GoingOn::of(self, end, last_word);
        let (mut acknowledged, mut sent_by_peer) = (None, None);
        for (at, from, segment) in segments(self.steps, 0) {
            if from != end {
                if !segment.has(Flags::RST) {
                    sent_by_peer = Some(sent_by_peer.filter(|most: &SeqNum| most.after(segment.end())).unwrap_or(segment.end()));
                } else if self.is_taken(end, acknowledged, segment)
                    && let Some(reach) = going_on.reach(at, segment, acknowledged.and(sent_by_peer))
                {
                    add(Cause::Rst, reach, at);
                }
                continue;
            }
            if segment.opens() {
                add(Cause::SendSyn, Reach::At(at), at);
            }
            if segment.has(Flags::FIN) {
                add(Cause::SendFin, Reach::At(at), at);
            }
            if segment.has(Flags::RST) && last_word.is_none_or(|last| last < at) {
                add(Cause::SendRst, Reach::At(at), at);
            }
            if segment.has(Flags::ACK) {
                acknowledged = Some(segment.ack);
            }
        }
        let (peer, own) = (end.other().index(), end.index());
        let syn = self.syns[peer].as_ref().and_then(|syn| self.reach(end, syn));
        if let Some((reach, carrier)) = syn {
            add(Cause::Syn, reach, carrier);
        }
        let fin = self.fins[peer].as_ref().and_then(|fin| self.reach(end, fin));
        if let Some((reach, carrier)) = fin {
            add(Cause::Fin, reach, carrier);
        }
        // FINs that cross tell how long the way takes, as each is acknowledged at once; what is sent behind a FIN does not overtake it.
        let cross = End::BOTH.into_iter().any(|whose| {
            let reached = self.fins[whose.index()].as_ref().and_then(|fin| self.reach(whose.other(), fin));
            matches!(reached, Some((Reach::Before(_), _)))
        });
        let way = |fin: &Control, carrier| Some(self.time(self.cover(end, fin)?)?.ns_since(self.time(carrier)?));
        let behind = fin
            .zip(self.fins[peer].as_ref())
            .filter(|_| cross)
            .and_then(|((_, carrier), fin)| Some((carrier, way(fin, carrier)?)));
        let told = |control: &Option<Control>| control.as_ref().and_then(|control| self.reach_of_ack(end, control, behind));
        if let Some((reach, carrier)) = told(&self.syns[own]).or_else(|| self.reach_of_crossed_ack(end)) {
            add(Cause::AckOfSyn, reach, carrier);
        }
        if let Some((reach, carrier)) = told(&self.fins[own]) {
            add(Cause::AckOfFin, reach, carrier);
        }
    }

    /// When a SYN or FIN of the peer reaches `end`, and by which step: with the last one that was sent before `end` acknowledges it, unless `end` has
    /// sent something in between that does not.
    fn reach(&self, end: End, control: &Control) -> Option<(Reach, usize)> {
        let ours = |(at, from, segment): (usize, End, &'a Segment)| (from == end).then_some((at, segment));
        let cover = self.cover(end, control);
        let until = cover.unwrap_or(self.steps.len());
        let last = *control.sent.iter().rfind(|&&at| at < until)?;
        let unaware = |segment: &Segment| !segment.has(Flags::RST) && (segment.opens() || segment.has(Flags::ACK));
        let before = segments(self.steps, last + 1).take_while(|(at, ..)| *at < until).filter_map(ours);
        let unaware = before.filter(|(_, segment)| unaware(segment)).last().map(|(at, _)| at);
        match (unaware, cover) {
            (None, Some(_)) => Some((Reach::At(last), last)),
            // Nothing was heard of it: believed unless it was sent again. A SYN that nobody answers may have reached nobody.
            (None, None) if control.sent.len() == 1 && !self.steps[last].as_segment()?.opens() => Some((Reach::At(last), last)),
            (Some(unaware), Some(cover)) => {
                // What lay before it was missing, and has been sent again.
                let filler = segments(self.steps, unaware + 1).take_while(|(at, ..)| *at < cover);
                let filler = filler.filter(|(_, from, it)| *from != end && it.space() > 0).last();
                Some(filler.map_or((Reach::Before(cover), last), |(at, ..)| (Reach::At(at), at)))
            }
            _ => None,
        }
    }

    /// The first step by which `end` acknowledges a SYN or FIN of the peer.
    fn cover(&self, end: End, control: &Control) -> Option<usize> {
        let first = *control.sent.first()?;
        segments(self.steps, first + 1).find(|(_, from, it)| *from == end && it.covers(control.end)).map(|(at, ..)| at)
    }

    /// When `end` hears that its SYN or FIN has arrived: by the first acknowledgment behind the last time it sent it. `behind` is the FIN of the
    /// peer's that crossed with one of its own, and how many nanoseconds it took.
    fn reach_of_ack(&self, end: End, control: &Control, behind: Option<(usize, u64)>) -> Option<(Reach, usize)> {
        let last = *control.sent.last()?;
        let told = |(_, from, it): &(usize, End, &Segment)| *from != end && !it.has(Flags::RST) && it.covers(control.end);
        for (at, _, segment) in segments(self.steps, last + 1).filter(told).take(TRIES) {
            if segment.space() == 0 {
                return Some((self.reach_of_bare(end, at, behind), at));
            }
            // It came when what it carries did.
            let again = segments(self.steps, at).filter(|(_, from, it)| *from != end && it.space() > 0 && it.seq == segment.seq);
            let carried = Control { end: segment.end(), sent: again.map(|(at, ..)| at).collect() };
            if let Some(reached) = self.reach(end, &carried) {
                return Some(reached);
            }
        }
        None
    }

    /// The same when both open at once (RFC 9293 figure 7): the SYN is sent again as a SYN-ACK, which crosses with that of the peer.
    fn reach_of_crossed_ack(&self, end: End) -> Option<(Reach, usize)> {
        let opens = |control: &Control| self.steps.get(*control.sent.first()?)?.as_segment().map(Segment::opens);
        let both = self.syns.each_ref().map(|syn| syn.as_ref().and_then(opens) == Some(true));
        let own = self.syns[end.index()].as_ref().filter(|_| both == [true; 2])?;
        let last = *own.sent.last()?;
        let told =
            |(at, from, it): &(usize, End, &Segment)| *at < last && *from != end && it.has(Flags::SYN) && it.covers(own.end);
        segments(self.steps, 0).find(told).map(|(at, ..)| (Reach::Before(last + 1), at))
    }

    /// When a bare acknowledgment reaches `end`. Nothing acknowledges it, so it is believed at once, unless FINs crossed before it.
    fn reach_of_bare(&self, end: End, at: usize, behind: Option<(usize, u64)>) -> Reach {
        let Some((_, way_ns)) = behind.filter(|(step, _)| *step < at) else { return Reach::At(at) };
        let Some(arrival) = self.time(at).map(|sent| sent.after_ns(way_ns)) else { return Reach::At(at) };
        let place =
            self.steps.iter().skip(at + 1).position(|step| step.at >= arrival).map_or(self.steps.len(), |more| at + 1 + more);
        let spoke = self.steps[at + 1..place].iter().any(|step| step.from == end && step.is_sent());
        if spoke { Reach::Before(place) } else { Reach::At(at) }
    }

    /// True when `end` takes a RST (RFC 9293 3.10.7.3 and 3.10.7.4): before it has acknowledged anything one that acknowledges its SYN, later one that
    /// lies at or behind what it has acknowledged.
    fn is_taken(&self, end: End, acknowledged: Option<SeqNum>, segment: &Segment) -> bool {
        match (acknowledged, &self.syns[end.index()]) {
            (Some(expected), _) => segment.seq.at_or_after(expected),
            (None, Some(syn)) => segment.covers(syn.end),
            (None, None) => true,
        }
    }

    /// The time of a step; behind the last one, that of the last one.
    fn time(&self, place: usize) -> Option<Instant> {
        self.steps.get(place).or(self.steps.last()).map(|step| step.at)
    }
}

/// The segments from a place on.
fn segments(steps: &[Step], from: usize) -> impl Iterator<Item = (usize, End, &Segment)> {
    steps.iter().enumerate().skip(from).filter_map(|(at, step)| Some((at, step.from, step.as_segment()?)))
}

/// Goes through the list once, applies what happens, and writes the states into the steps.
fn walk(exchange: &mut Exchange, inferred: &[End], effects: &[Effect]) {
    let mut now = exchange.begin;
    let mut effects = effects.iter().peekable();
    let old = std::mem::take(&mut exchange.steps);
    let mut moved = Vec::with_capacity(old.len());
    let mut steps: Vec<Step> = Vec::with_capacity(old.len() + 4);
    let last = old.last().map_or(Instant::ZERO, |step| step.at);
    for place in 0..=old.len() {
        while let Some(effect) = effects.next_if(|effect| effect.reach == Reach::Before(place)) {
            let before = now;
            apply(&mut now, effect, exchange.begin);
            let Some(&of) = moved.get(effect.carrier).filter(|_| now != before) else { continue };
            // Several causes of one segment are one arrival.
            if let Some(earlier) = steps.last_mut().filter(|step| step.what == What::Arrival { of }) {
                earlier.states = now;
                continue;
            }
            let from: End = effect.end.other();
            if let Some(sent) = steps.get_mut(of) {
                sent.fate = Fate::Late;
            }
            let at = old.get(place).map_or(last, |step| step.at);
            steps.push(Step { states: now, ..Step::new(at, from, What::Arrival { of }) });
        }
        let Some(step) = old.get(place) else { break };
        while let Some(effect) = effects.next_if(|effect| effect.reach == Reach::At(place)) {
            apply(&mut now, effect, exchange.begin);
        }
        for end in End::BOTH {
            let index = end.index();
            if !inferred.contains(&end) {
                now[index] = step.states[index].or(now[index]);
            }
        }
        moved.push(steps.len());
        // RFC 9293 3.5 figure 10: whoever answers a SYN listens, also one that a RST has just closed.
        let answers = step.as_segment().is_some_and(|segment| segment.has(Flags::SYN) && segment.has(Flags::ACK));
        let sender = step.from.index();
        if answers && now[sender] == Some(State::Closed) && inferred.contains(&step.from) {
            now[sender] = next(State::Listen, Cause::Syn);
        }
        let what = match &step.what {
            What::Arrival { of } => What::Arrival { of: moved.get(*of).copied().unwrap_or(*of) },
            other => other.clone(),
        };
        steps.push(Step { states: now, what, ..step.clone() });
    }
    for &end in inferred.iter().filter(|end| exchange.begin[end.index()].is_some()) {
        if now[end.index()] == Some(State::TimeWait) {
            now[end.index()] = next(State::TimeWait, Cause::TwoMsl);
            steps.push(Step { states: now, ..Step::new(last, end, What::TwoMsl) });
        }
    }
    exchange.steps = steps;
}

fn apply(now: &mut [Option<State>; 2], effect: &Effect, begin: [Option<State>; 2]) {
    let index = effect.end.index();
    let Some(state) = now[index] else { return };
    now[index] = match (state, effect.cause) {
        // RFC 9293 3.10.7.4: a connection that was opened passively goes back to LISTEN.
        (State::SynReceived, Cause::Rst) if begin[index] == Some(State::Listen) => Some(State::Listen),
        _ => next(state, effect.cause).or(Some(state)),
    };
}

fn next(state: State, cause: Cause) -> Option<State> {
    EDGES.iter().find(|(from, by, _)| *from == state && *by == cause).map(|(.., to)| *to)
}

/// Segments that are asked whether they brought an acknowledgment, when the first of them were lost: it bounds the work on a hostile list.
const TRIES: usize = 16;
