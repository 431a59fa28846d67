//! What happened to connections, by name: timeouts, recoveries, probes, challenge ACKs, cookies.
//!
//! A TCB notes what happens to it in a small set ([`Noted`]), which the engine takes after each event and counts per core ([`Tally`]); reports
//! print the counts under the names here (`tcp_events`). Nothing depends on them but tests and people. Values only; nothing panics.

use super::folded::Form;

macro_rules! happenings {
    ($($(#[doc = $help:literal])+ $variant:ident = $name:literal,)*) => {
        /// Something worth counting in the life of a connection.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Happening {
            $($(#[doc = $help])+ $variant,)*
        }

        impl Happening {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name of the counter, as reports print it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it is, in a sentence.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($help),+).trim_ascii(),)* }
            }
        }
    };
}

happenings! {
    /// Both ends opened at once (RFC 9293 3.5).
    SimultaneousOpen = "simultaneous_open",
    /// Both ends closed at once (RFC 9293 3.6).
    SimultaneousClose = "simultaneous_close",
    /// The retransmission timer expired (RFC 6298).
    RetransmissionTimeout = "retransmission_timeout",
    /// A loss was found by acknowledgments, and repair began (RFC 5681 3.2).
    FastRetransmit = "fast_retransmit",
    /// An acknowledgment of a part of what is being repaired, without SACK (RFC 6582).
    PartialAck = "partial_ack",
    /// A zero-window probe was sent (RFC 9293 3.8.6.1).
    ZeroWindowProbe = "zero_window_probe",
    /// We offered a window of zero.
    ZeroWindowOffered = "zero_window_offered",
    /// A RST in the window, but not at its left edge, was answered with a challenge ACK (RFC 5961 3).
    ChallengeRst = "challenge_rst",
    /// A SYN on a synchronized connection was answered with a challenge ACK (RFC 5961 4).
    ChallengeSyn = "challenge_syn",
    /// An acknowledgment out of range was answered with a challenge ACK (RFC 5961 5).
    ChallengeAck = "challenge_ack",
    /// A challenge ACK was not sent: this connection had its share of the second (RFC 5961 7).
    ChallengeLimited = "challenge_limited",
    /// A segment that PAWS refused was answered with an ACK (RFC 7323 5.3).
    PawsRefused = "paws_refused",
    /// A window scale above 14 was taken as 14 (RFC 7323 2.3).
    WindowScaleClamped = "window_scale_clamped",
    /// What lies beyond a hole was reported (RFC 2018).
    SackSent = "sack_sent",
    /// A duplicate was reported (RFC 2883).
    DsackSent = "dsack_sent",
    /// A segment was sent to ask for acknowledgments that stayed away (RFC 8985 7).
    TailLossProbe = "tail_loss_probe",
    /// A tail loss probe repaired a loss, as far as can be told (RFC 8985 7.4.2).
    TailLossRepaired = "tail_loss_repaired",
    /// RACK's reordering timer expired and found a loss (RFC 8985 6.2).
    ReorderingTimeout = "reordering_timeout",
    /// Segments of ours arrived out of order (RFC 8985 6.2).
    ReorderingSeen = "reordering_seen",
    /// New data was sent on the first sign of a loss (RFC 3042).
    LimitedTransmit = "limited_transmit",
    /// A recovery was mistaken, told by DSACK (RFC 2883), and taken back.
    SpuriousByDsack = "spurious_by_dsack",
    /// A recovery was mistaken, told by timestamps (RFC 3522), and taken back.
    SpuriousByEifel = "spurious_by_eifel",
    /// A retransmission timeout was mistaken (RFC 5682) and taken back.
    SpuriousTimeout = "spurious_timeout",
    /// The peer reported that a segment came twice (RFC 2883).
    DsackReceived = "dsack_received",
    /// The peer has thrown away what it had reported by SACK (RFC 2018 8).
    SackReneged = "sack_reneged",
    /// A SACK block lay outside of what was sent.
    SackIgnored = "sack_ignored",
    /// Slow start ended because delay rose, before a loss (RFC 9406).
    SlowStartExit = "slow_start_exit",
    /// The congestion window began to be less than half used (RFC 7661 4.3).
    WindowNotValidated = "window_not_validated",
    /// The congestion window shrank because it was not used for five minutes (RFC 7661 4.4.3).
    WindowReducedUnused = "window_reduced_unused",
    /// Data was acknowledged at once: at the start, after a pause, after reordering.
    QuickAck = "quick_ack",
    /// The receive window grew.
    WindowGrown = "window_grown",
    /// What lay beyond a hole was given up for want of memory (RFC 2018 8).
    ReassemblyPruned = "reassembly_pruned",
    /// Too much was in flight, or memory too short, to tell each stretch of it apart.
    FlightJoined = "flight_joined",
    /// A mark arrived, after none or after the last was answered (RFC 3168 6.1.3).
    MarkReceived = "mark_received",
    /// The peer echoed a mark, and the window shrank (RFC 3168 6.1.2).
    MarkAnswered = "mark_answered",
    /// All acknowledgments echoed marks: segments no longer ask for them.
    EcnBroken = "ecn_broken",
    /// BBR sent next to nothing for a moment, to see the path's round-trip time without a queue.
    RttProbed = "rtt_probed",
    /// A SYN beyond the backlog was answered with a cookie (RFC 4987 3.6).
    SynCookieSent = "syn_cookie_sent",
    /// The acknowledgment of a cookie made a connection.
    SynCookieAccepted = "syn_cookie_accepted",
    /// A router has said that the path carries smaller packets only (RFC 1191).
    PathMtuReduced = "path_mtu_reduced",
    /// The path was taken for a black hole for large packets, and smaller segments were sent (RFC 4821 7.7).
    PathMtuBlackHole = "path_mtu_black_hole",
    /// A probe has shown that larger packets get through (RFC 4821 7.6.1).
    PathMtuRaised = "path_mtu_raised",
    /// A probe of larger packets was lost (RFC 4821 7.6.2).
    PathMtuProbeLost = "path_mtu_probe_lost",
    /// A keep-alive was sent (RFC 9293 3.8.4).
    KeepaliveProbe = "keepalive_probe",
    /// Data stayed unacknowledged for the user timeout (RFC 9293 3.10.8).
    UserTimeout = "user_timeout",
    /// A connection in TIME-WAIT gave way to a new one, because the table was full.
    TimeWaitCutShort = "time_wait_cut_short",
}

/// A set of happenings of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted(u64);

const _: () = assert!(Happening::COUNT <= 64);

impl Noted {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Adds one.
    pub const fn note(&mut self, what: Happening) {
        self.0 |= 1 << what as u8;
    }

    /// Adds those of another set.
    pub const fn merge(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// True when it is in the set.
    pub const fn contains(self, what: Happening) -> bool {
        self.0 & (1 << what as u8) != 0
    }

    /// The member that stands first in the list.
    pub fn first(self) -> Option<Happening> {
        Happening::ALL.get(self.0.trailing_zeros() as usize).copied()
    }

    /// True when the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form) {
        form.near(&mut self.0, 0);
    }
}

/// One counter per happening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally([u64; Happening::COUNT]);

impl Tally {
    /// Counts one.
    pub const fn count(&mut self, what: Happening) {
        self.0[what as usize] += 1;
    }

    /// Counts each member of a set once.
    pub fn count_all(&mut self, noted: Noted) {
        let mut rest = noted.0;
        while rest != 0 {
            self.0[rest.trailing_zeros() as usize] += 1;
            rest &= rest - 1;
        }
    }

    /// How often it happened.
    pub const fn of(&self, what: Happening) -> u64 {
        self.0[what as usize]
    }

    /// What happened, with how often, in the order of the list.
    pub fn nonzero(&self) -> impl Iterator<Item = (Happening, u64)> + '_ {
        Happening::ALL.iter().map(|&what| (what, self.of(what))).filter(|&(_, n)| n > 0)
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self([0; Happening::COUNT])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_happening_has_a_name_of_its_own() {
        let mut names: Vec<_> = Happening::ALL.iter().map(|what| what.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Happening::COUNT);
    }

    #[test]
    fn a_set_is_counted_once_a_member() {
        let (mut noted, mut tally) = (Noted::NONE, Tally::default());
        noted.note(Happening::ChallengeRst);
        noted.note(Happening::ChallengeRst);
        noted.note(Happening::PawsRefused);
        tally.count_all(noted);
        tally.count(Happening::PawsRefused);
        assert_eq!(tally.nonzero().collect::<Vec<_>>(), [(Happening::ChallengeRst, 1), (Happening::PawsRefused, 2)]);
    }
}
