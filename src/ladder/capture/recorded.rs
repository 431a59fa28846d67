//! The connections in what a flight recorder has kept ([`crate::recorder`]).
//!
//! The engine knows the states of its own end, so those are taken, and the other end's are inferred; what a timer or a call of the service did to it stands between
//! the segments. Called by `ringway ladder --live`, and for files of records. Bounded as captures are; nothing here panics on what a record says.

use std::borrow::Cow;

use super::found::{Choice, Flow, Found, Sorted};
use super::packet::Packet;
use crate::capture::file::{Effect, Recorded};
use crate::device::Drop;
use crate::ladder::exchange::Transport;
use crate::ladder::step::{Segment, Step, What};
use crate::recorder::Kind;
use crate::tcp::State;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::Happening;
use crate::time::Instant;
use crate::wire::tcp::Flags;

/// Sorts records one by one, so that a file of them need not be in memory.
#[derive(Debug, Default)]
pub struct Records {
    found: Found,
    sorted: Sorted,
    choice: Choice,
}

impl Records {
    /// None yet; only those that are chosen are kept.
    pub fn new(choice: Choice) -> Self {
        Self { choice, ..Self::default() }
    }

    /// Takes the next one, in the order of their times.
    pub fn take(&mut self, record: &Recorded<'_>) {
        if self.choice.takes([record.local, record.remote]) {
            self.found.take_record(record, &mut self.sorted);
        }
    }

    /// Counts something that is no record ([`Found::unread`]).
    pub fn take_unread(&mut self) {
        self.found.packets += 1;
        self.found.unread += 1;
    }

    /// The connections in all of them; `cut` says that there were more ([`Found::cut`]).
    pub fn found(mut self, cut: bool) -> Found {
        self.found.cut = cut;
        self.found.flows.iter_mut().for_each(|flow| flow.exchange.complete());
        self.found
    }
}

impl Found {
    /// Sorts records, which are in the order of their times. As with a file no more than [`crate::limits::CAPTURE_FLOWS`] connections and
    /// [`crate::limits::CAPTURE_STEPS`] steps are kept; what is beyond is counted in `left_out`, here and in each flow.
    pub fn of_records<'a>(records: impl IntoIterator<Item = Recorded<'a>>, choice: Choice) -> Self {
        let mut all = Records::new(choice);
        records.into_iter().for_each(|record| all.take(&record));
        all.found(false)
    }

    fn take_record(&mut self, record: &Recorded<'_>, sorted: &mut Sorted) {
        let at = Instant::from_ns(record.unix_ns);
        let flow = match packet(record) {
            Some(packet) => {
                self.packets += 1;
                self.sort(at, packet, sorted)
            }
            None => {
                let is_full = sorted.is_full();
                let flow = self.latest(Transport::Tcp, [record.local, record.remote], sorted);
                let what = flow.as_ref().and_then(|flow| flow.change(record));
                match (flow, what) {
                    (Some(flow), Some(_)) if is_full => {
                        flow.left_out += 1;
                        None
                    }
                    (Some(flow), Some(what)) => {
                        sorted.count();
                        flow.add_change(at, record, what);
                        Some(flow)
                    }
                    _ => None,
                }
            }
        };
        if let (Some(flow), Some(effect)) = (flow, &record.effect) {
            flow.take_states(record, effect);
        }
    }
}

impl Flow {
    /// A change that no segment made; `None` when there is nothing to draw of it.
    fn change(&self, record: &Recorded<'_>) -> Option<What> {
        let effect = record.effect.as_ref()?;
        match (&effect.cause, &*effect.state_before, &*effect.state) {
            (Some(cause), ..) => Some(What::Note(words(cause))),
            (None, before, after) if before == State::TimeWait.name() && after == State::Closed.name() => Some(What::TwoMsl),
            (None, before, after) if before != after => Some(What::Note(Cow::Borrowed("without a segment"))),
            _ => None,
        }
    }

    fn add_change(&mut self, at: Instant, record: &Recorded<'_>, what: What) {
        self.ends |= record.effect.as_ref().is_some_and(|effect| effect.state == State::Closed.name());
        self.exchange.steps.push(Step::new(at, self.end_at(record.local), what));
    }

    /// The state of its own end, which the engine knows.
    fn take_states(&mut self, record: &Recorded<'_>, effect: &Effect<'_>) {
        let own = self.end_at(record.local).index();
        let exchange = &mut self.exchange;
        if exchange.steps.len() == 1 {
            exchange.known[own] = true;
            // A connection of ours begins with its SYN, which finds it in SYN-SENT already.
            let opens = exchange.steps[0].as_segment().is_some_and(Segment::opens) && record.kind == Kind::Sent.name();
            exchange.begin[own] = if opens { Some(State::Closed) } else { state(&effect.state_before) };
        }
        if let Some(step) = exchange.steps.last_mut() {
            step.states[own] = state(&effect.state);
        }
    }
}

/// What a record is of, if that has left or come.
fn packet(record: &Recorded<'_>) -> Option<Packet> {
    let is = |kinds: &[Kind]| kinds.iter().any(|kind| kind.name() == record.kind);
    let received = is(&[Kind::Received, Kind::DatagramReceived]);
    let (source, target) = if received { (record.remote, record.local) } else { (record.local, record.remote) };
    let len = record.len.into();
    let (transport, what) = match record.segment {
        Some(fields) if is(&[Kind::Received, Kind::Sent, Kind::SentAgain]) => {
            let segment = Segment {
                seq: SeqNum(fields.seq),
                ack: SeqNum(fields.ack),
                flags: Flags(fields.flags),
                len,
                window: fields.window,
                options: record.options(),
            };
            (Transport::Tcp, What::Segment(segment))
        }
        _ if is(&[Kind::DatagramReceived, Kind::DatagramSent]) => (Transport::Udp, What::Datagram { len }),
        _ => return None,
    };
    Some(Packet { transport, source, target, what })
}

/// A cause in words. One that no engine names is not repeated: a file may be a stranger's, and what it says reaches a terminal.
fn words(cause: &str) -> Cow<'static, str> {
    let known = Drop::ALL.iter().map(|why| why.name()).chain(Happening::ALL.iter().map(|what| what.name()));
    known
        .into_iter()
        .find(|name| *name == cause)
        .map_or(Cow::Borrowed("for an unknown cause"), |name| name.replace('_', " ").into())
}

fn state(name: &str) -> Option<State> {
    State::ALL.into_iter().find(|state| state.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::file::Fields;
    use crate::ladder::text::{Look, render};
    use crate::limits::CAPTURE_STEPS;

    fn record(kind: Kind, flags: Flags, (seq, ack): (u32, u32), (before, after): (State, State)) -> Recorded<'static> {
        Recorded {
            worker: 0,
            number: 0,
            unix_ns: 0,
            interface: "veth0".into(),
            kind: kind.name().into(),
            local: "10.0.0.2:7".parse().unwrap(),
            remote: "10.0.0.1:4000".parse().unwrap(),
            len: 0,
            segment: (kind != Kind::Changed).then_some(Fields { flags: flags.0, seq, ack, window: 100 }),
            effect: Some(Effect { state_before: before.name().into(), state: after.name().into(), cwnd: 0, cause: None }),
            terms: None,
            sack: Vec::new(),
        }
    }

    /// A server's records of a connection that its client closes.
    fn life() -> Vec<Recorded<'static>> {
        use State::{CloseWait, Closed, Established, LastAck, Listen, SynReceived};
        let fin = Flags::FIN | Flags::ACK;
        vec![
            record(Kind::Received, Flags::SYN, (100, 0), (Listen, SynReceived)),
            record(Kind::Sent, Flags::SYN | Flags::ACK, (500, 101), (SynReceived, SynReceived)),
            record(Kind::Received, Flags::ACK, (101, 501), (SynReceived, Established)),
            record(Kind::Received, fin, (101, 501), (Established, CloseWait)),
            record(Kind::Sent, fin, (501, 102), (CloseWait, LastAck)),
            record(Kind::Received, Flags::ACK, (102, 502), (LastAck, Closed)),
        ]
    }

    #[test]
    fn the_states_of_the_own_end_are_the_recorders_and_the_others_are_inferred() {
        let found = Found::of_records(life(), Choice::All);
        let [flow] = &found.flows[..] else { panic!("{found:?}") };
        let exchange = &flow.exchange;
        assert_eq!((exchange.known, exchange.begin), ([false, true], [Some(State::Closed), Some(State::Listen)]));
        let both: Vec<_> =
            exchange.steps.iter().filter(|step| step.is_sent()).map(|step| step.states.map(Option::unwrap)).collect();
        use State::{CloseWait, Closed, Established, FinWait1, LastAck, SynReceived, SynSent, TimeWait};
        assert_eq!(
            both,
            [
                [SynSent, SynReceived],
                [Established, SynReceived],
                [Established, Established],
                [FinWait1, CloseWait],
                [TimeWait, LastAck],
                [TimeWait, Closed]
            ]
        );
    }

    #[test]
    fn what_no_segment_did_stands_between_them() {
        let mut records = life();
        let mut timeout = record(Kind::Changed, Flags::NONE, (0, 0), (State::SynReceived, State::SynReceived));
        timeout.effect.as_mut().unwrap().cause = Some("retransmission_timeout".into());
        records.insert(2, timeout);
        records.push(record(Kind::Changed, Flags::NONE, (0, 0), (State::TimeWait, State::Closed)));
        let found = Found::of_records(records, Choice::Port(7));
        let steps = &found.flows[0].exchange.steps;
        assert_eq!(steps[2].what, What::Note("retransmission timeout".into()));
        assert!(steps.iter().any(|step| step.what == What::TwoMsl));
        assert!(Found::of_records(life(), Choice::Port(8)).flows.is_empty());
    }

    #[test]
    fn a_port_that_is_used_again_is_another_connection() {
        let mut records = life();
        records.extend(life().into_iter().map(|mut record| {
            if let Some(fields) = &mut record.segment {
                fields.seq += 70_000;
            }
            record
        }));
        assert_eq!(Found::of_records(records, Choice::All).flows.len(), 2);
    }

    #[test]
    fn a_cause_that_no_engine_names_is_not_repeated() {
        let mut records = life();
        let mut strange = record(Kind::Changed, Flags::NONE, (0, 0), (State::Established, State::Established));
        strange.effect.as_mut().unwrap().cause = Some("\u{1b}]0;a title\u{7}\nand a line".into());
        records.insert(3, strange);
        let exchange = &Found::of_records(records, Choice::All).flows[0].exchange;
        assert_eq!(exchange.steps[3].what, What::Note("for an unknown cause".into()));
        let drawn = render(exchange, &Look::default());
        assert!(drawn.lines().all(|line| !line.contains(char::is_control)), "{drawn:?}");
    }

    #[test]
    fn changes_are_bounded_as_segments_are() {
        let mut timeout = record(Kind::Changed, Flags::NONE, (0, 0), (State::SynReceived, State::SynReceived));
        timeout.effect.as_mut().unwrap().cause = Some("retransmission_timeout".into());
        let beyond = 10;
        let records = [life().remove(0)].into_iter().chain(std::iter::repeat_n(timeout, CAPTURE_STEPS - 1 + beyond));
        let found = Found::of_records(records, Choice::All);
        let [flow] = &found.flows[..] else { panic!("one connection") };
        assert_eq!((flow.exchange.steps.len(), flow.left_out), (CAPTURE_STEPS, beyond as u64));
    }

    #[test]
    fn what_makes_no_sense_is_drawn_as_far_as_it_does() {
        let mut odd = record(Kind::Received, Flags::ACK, (1, 1), (State::Listen, State::Listen));
        odd.kind = "elsewhere".into();
        odd.effect.as_mut().unwrap().state = "NOWHERE".into();
        let changed = record(Kind::Changed, Flags::NONE, (0, 0), (State::Established, State::Closed));
        let found = Found::of_records([odd.clone(), changed, odd], Choice::All);
        assert!(found.flows.is_empty());
    }
}
