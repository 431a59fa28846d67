//! The eleven states of a connection (RFC 9293 3.3.2) and the ways between them.
//!
//! `EDGES` is the table; `Current` holds a state and is the only thing that writes one, so that a change which the table does not have is
//! caught by an assertion in debug builds. The table is rendered into a snapshot: a changed edge shows in the diff.

use std::fmt;

use super::folded::Form;

/// The state of a connection. LISTEN belongs to listeners and CLOSED to no TCB at all; both are here because reports name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No connection.
    Closed,
    /// Waiting for a SYN.
    Listen,
    /// SYN sent, waiting for the peer's.
    SynSent,
    /// SYN received and sent, waiting for the acknowledgement of ours.
    SynReceived,
    /// Open.
    Established,
    /// FIN sent, not yet acknowledged; the peer has not closed.
    FinWait1,
    /// FIN acknowledged; the peer has not closed.
    FinWait2,
    /// The peer has closed; we have not.
    CloseWait,
    /// Both sent FIN at once; ours is not yet acknowledged.
    Closing,
    /// The peer closed first; our FIN is not yet acknowledged.
    LastAck,
    /// Both FINs are acknowledged; old segments die out for 2 MSL.
    TimeWait,
}

impl State {
    /// All states, in the order of the RFC.
    pub const ALL: [Self; 11] = [
        Self::Listen,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
        Self::Closed,
    ];

    /// The name as the RFC prints it: `SYN-RECEIVED`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN-SENT",
            Self::SynReceived => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What moves a connection from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    /// OPEN call, active.
    Open,
    /// A SYN without ACK arrived.
    Syn,
    /// A SYN that acknowledges ours arrived.
    SynAck,
    /// Our SYN was acknowledged.
    AckOfSyn,
    /// CLOSE call.
    Close,
    /// Our FIN was sent, after the data before it.
    FinSent,
    /// The peer's FIN is in order.
    Fin,
    /// Our FIN was acknowledged.
    AckOfFin,
    /// An acceptable RST arrived.
    Rst,
    /// A new SYN in SYN-RECEIVED, passive: back to the listener.
    NewSyn,
    /// Data arrived that nobody will read.
    DataAfterClose,
    /// ABORT call.
    Abort,
    /// ICMP says that the peer cannot be reached.
    Unreachable,
    /// R2 was reached, or FIN-WAIT-2 took too long.
    TimedOut,
    /// 2 MSL have passed.
    TimeWaitOver,
}

/// The state of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Current(State);

impl Current {
    /// Before an active open.
    pub(super) const CLOSED: Self = Self(State::Closed);
    /// Before a SYN reaches a listener.
    pub(super) const LISTEN: Self = Self(State::Listen);

    /// The state.
    pub(super) const fn get(self) -> State {
        self.0
    }

    /// Enters a state. This is the only place that writes one.
    pub(super) fn enter(&mut self, cause: Cause, to: State) {
        if cfg!(any(debug_assertions, test)) {
            assert!(EDGES.contains(&(self.0, cause, to)), "no edge from {} by {cause:?} to {to}", self.0);
        }
        #[cfg(test)]
        watch::note(self.0, to);
        self.0 = to;
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form) {
        if !form.same(&mut self.0, State::Established) {
            form.choice(&mut self.0, &State::ALL);
        }
    }
}

/// The changes of state of this thread, for a test to look at: the simulator holds them against the RFC's figure.
#[cfg(test)]
pub(crate) mod watch {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::State;

    /// How often each change happened.
    pub(crate) type Changes = BTreeMap<(&'static str, &'static str), u64>;

    thread_local! {
        static CHANGES: RefCell<Changes> = const { RefCell::new(Changes::new()) };
    }

    /// Counts a change.
    pub(super) fn note(from: State, to: State) {
        CHANGES.with_borrow_mut(|changes| *changes.entry((from.name(), to.name())).or_default() += 1);
    }

    /// The changes since the last call.
    pub(crate) fn take() -> Changes {
        CHANGES.take()
    }
}

/// Every legal transition (RFC 9293 figure 5 and 3.10).
pub(super) const EDGES: &[(State, Cause, State)] = {
    use Cause::*;
    use State::*;
    &[
        (Closed, Cause::Open, SynSent),
        (Listen, Syn, SynReceived),
        (SynSent, Syn, SynReceived),
        (SynSent, SynAck, Established),
        (SynSent, Close, Closed),
        (SynSent, Rst, Closed),
        (SynSent, Abort, Closed),
        (SynSent, Unreachable, Closed),
        (SynSent, TimedOut, Closed),
        (SynReceived, AckOfSyn, Established),
        (SynReceived, Rst, Closed),
        (SynReceived, NewSyn, Closed),
        (SynReceived, Abort, Closed),
        (SynReceived, TimedOut, Closed),
        (Established, Close, FinWait1),
        (Established, Fin, CloseWait),
        (Established, Rst, Closed),
        (Established, Abort, Closed),
        (Established, TimedOut, Closed),
        (FinWait1, AckOfFin, FinWait2),
        (FinWait1, Fin, Closing),
        (FinWait1, Rst, Closed),
        (FinWait1, DataAfterClose, Closed),
        (FinWait1, Abort, Closed),
        (FinWait1, TimedOut, Closed),
        (FinWait2, Fin, TimeWait),
        (FinWait2, Rst, Closed),
        (FinWait2, DataAfterClose, Closed),
        (FinWait2, Abort, Closed),
        (FinWait2, TimedOut, Closed),
        (CloseWait, FinSent, LastAck),
        (CloseWait, Rst, Closed),
        (CloseWait, Abort, Closed),
        (CloseWait, TimedOut, Closed),
        (Closing, AckOfFin, TimeWait),
        (Closing, Rst, Closed),
        (Closing, Abort, Closed),
        (Closing, TimedOut, Closed),
        (LastAck, AckOfFin, Closed),
        (LastAck, Rst, Closed),
        (LastAck, Abort, Closed),
        (LastAck, TimedOut, Closed),
        (TimeWait, Abort, Closed),
        (TimeWait, TimeWaitOver, Closed),
    ]
};

/// True when the table has a way between two states, whatever the cause.
#[cfg(test)]
pub(crate) fn is_edge(from: State, to: State) -> bool {
    EDGES.iter().any(|edge| (edge.0, edge.2) == (from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_as_a_diagram() {
        let mut diagram = String::from("stateDiagram-v2\n");
        for state in State::ALL {
            diagram += &format!("    state \"{state}\" as {state:?}\n");
        }
        for (from, cause, to) in EDGES {
            diagram += &format!("    {from:?} --> {to:?}: {cause:?}\n");
        }
        insta::assert_snapshot!(diagram);
    }

    #[test]
    fn every_state_can_be_reached_and_left() {
        for state in State::ALL {
            let reached = EDGES.iter().any(|edge| edge.2 == state);
            assert!(reached || state == State::Listen, "{state} is reached");
            assert!(EDGES.iter().any(|edge| edge.0 == state), "{state} is left");
        }
    }

    #[test]
    #[should_panic(expected = "no edge from TIME-WAIT")]
    fn an_edge_that_is_not_there_is_caught() {
        let mut state = Current(State::TimeWait);
        state.enter(Cause::Rst, State::Closed);
    }
}
