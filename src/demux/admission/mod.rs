//! Who may begin with us, and how often: asked before anything is remembered of a packet that no connection owns.
//!
//! Three questions, all of them off unless the operator asks. [`Prefixes`]: may this address talk to us at all? [`Counts`]: how many
//! connections has this source? [`Bucket`] and [`Rates`]: how many SYNs have come lately, from all and from this source? A source is an address of IPv4, or the
//! /64 that one of IPv6 lies in, as that is what one subscriber has. Called by the engine's paths, with the time as an argument; everything has its
//! size from the start, and nothing here panics.
//!
//! # What a flood of forged SYNs can and cannot do to honest sources
//!
//! A SYN proves nothing: anybody can send it in anybody's name. Who answers a SYN-ACK has shown that he is there. So what costs nothing to forge is charged to
//! nobody for longer than it must be, and with cookies (RFC 4987, on unless switched off) it shuts nobody out:
//!
//! - **All SYNs together** (`tcp.syn_rate`): a SYN beyond the rate gets a cookie instead of a TCB. Nothing is remembered of it, and who
//!   acknowledges the cookie has his connection. A flood, however large, so limits what is remembered, and not who gets in. Without
//!   cookies the SYN is dropped, and honest ones have their share of the rate only.
//! - **Connections of a source** (`tcp.connections_per_source`): only connections whose handshake is complete fill a source's share for good. Those half open count too, since
//!   they hold TCBs, but where they alone stand in the way the next SYN gets a cookie: whoever sends SYNs in the name of another fills the half-open part, and the other comes in
//!   by his acknowledgment. A handshake that completes when the share has filled up meanwhile is reset, so that the limit holds exactly.
//!   A connection in TIME-WAIT is over and counts no more.
//! - **SYNs of a source** (`tcp.syn_rate_per_source`): a SYN beyond the rate is dropped, and answered by nothing: an answer, too, goes to the address in the SYN, and this limit is
//!   what keeps a flood in one victim's name from being reflected to him. Whoever forges the very address of a client can so use up that client's
//!   SYNs; that is the price of a limit on what is unproven, and why it is off by default. Forged addresses of others do
//!   not touch it: no bucket is shared ([`rates`]).
//!
//! The counts cannot be pushed out: an entry lasts as long as a TCB of its source, and the table has room for all TCBs ([`counts`]). The
//! buckets can be, by a flood of more sources than there are places, and what gives way then is forgiven, not held against anybody.

pub mod counts;
pub mod prefixes;
pub mod rates;

pub use counts::{Counts, Entry};
pub use prefixes::Prefixes;
pub use rates::{Bucket, Rates};

use crate::demux::key::Address;
use crate::device::Drop;
use crate::time::Instant;

/// Whom connections and SYNs are charged to: an address of IPv4, or the /64 of one of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source(u64);

impl From<Address> for Source {
    fn from(address: Address) -> Self {
        match address.v4() {
            // In front of the 32 bits stands what begins no address of IPv6 that can be a source: ff00::/8 are groups.
            Some(v4) => Self(0xffff_ffff << 32 | u64::from(v4.to_bits())),
            None => Self((u128::from_be_bytes(*address.octets()) >> 64) as u64),
        }
    }
}

/// What becomes of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syn {
    /// It may have a TCB.
    Admitted,
    /// It may have one when its sender has shown that he is there: a cookie goes out, or, where none are sent, it is dropped for this reason.
    Unproven(Drop),
    /// It is dropped.
    Refused(Drop),
}

/// The most of each; zero is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Most {
    /// Connections of a source.
    pub connections_per_source: u32,
    /// SYNs of all in a second.
    pub syn_rate: u32,
    /// SYNs of a source in a second.
    pub syn_rate_per_source: u32,
}

/// The limits of one core, those that are on.
#[derive(Debug)]
pub struct Limits {
    connections_per_source: u32,
    counts: Option<Counts>,
    all: Option<Bucket>,
    each: Option<Rates>,
}

impl Limits {
    /// Limits for a core with so many TCBs; `None` when all are off. The secret keeps places in the tables unknown.
    pub fn new(secret: &[u8; 16], most: Most, connections: usize) -> Option<Self> {
        let Most { connections_per_source, syn_rate, syn_rate_per_source } = most;
        (most != Most::default()).then(|| Self {
            connections_per_source,
            counts: (connections_per_source > 0).then(|| Counts::new(secret, connections)),
            all: (syn_rate > 0).then(|| Bucket::new(syn_rate)),
            each: (syn_rate_per_source > 0).then(|| Rates::new(secret, syn_rate_per_source)),
        })
    }

    /// Goes on with other limits. Connections that are counted stay so, also while their number has no limit: a limit that comes back finds the books in order.
    /// Those that began when none were counted never are.
    pub fn replace(&mut self, new: Self) {
        let counts = self.counts.take().or(new.counts);
        let most = if new.connections_per_source == 0 { u32::MAX } else { new.connections_per_source };
        *self = Self { connections_per_source: most, counts, ..new };
    }

    /// No limits at all; what is counted stays.
    pub fn lift(&mut self) {
        self.replace(Self { connections_per_source: 0, counts: None, all: None, each: None });
    }

    /// What becomes of a SYN of a source. What is refused for one reason is not charged for the next. A SYN that follows a connection in TIME-WAIT takes its
    /// place, and nothing more is remembered than before: the rate of all does not concern it, and it can have no cookie.
    pub fn syn(&mut self, now: Instant, source: Source, follows: bool) -> Syn {
        let Entry { open, half_open, .. } = self.of(source);
        let most = if self.counts.is_some() { self.connections_per_source } else { u32::MAX };
        if open >= most {
            return Syn::Refused(Drop::TcpSourceFull);
        }
        if self.each.as_mut().is_some_and(|rates| !rates.take(source, now)) {
            return Syn::Refused(Drop::TcpSourceSynLimited);
        }
        let crowded = open.saturating_add(half_open) >= most;
        match follows {
            true if crowded => Syn::Refused(Drop::TcpSourceFull),
            true => Syn::Admitted,
            false if crowded => Syn::Unproven(Drop::TcpSourceFull),
            false if self.all.as_mut().is_some_and(|bucket| !bucket.take(now)) => Syn::Unproven(Drop::TcpSynLimited),
            false => Syn::Admitted,
        }
    }

    /// A TCB was made for a SYN of a source. False when connections are not counted.
    pub fn begin(&mut self, source: Source) -> bool {
        self.counts.as_mut().is_some_and(|counts| counts.change(source, |entry| entry.half_open += 1))
    }

    /// True when a source may have one more connection, whose handshake is complete.
    pub fn may_open(&self, source: Source) -> bool {
        self.counts.is_none() || self.of(source).open < self.connections_per_source
    }

    /// A connection was made whose handshake is complete. False when connections are not counted.
    pub fn open(&mut self, source: Source) -> bool {
        self.counts.as_mut().is_some_and(|counts| counts.change(source, |entry| entry.open += 1))
    }

    /// A connection that was half open is so no longer: its handshake is complete, or it has ended.
    pub fn leave_half_open(&mut self, source: Source) {
        self.change(source, |entry| entry.half_open = entry.half_open.saturating_sub(1));
    }

    /// A connection whose handshake was complete has ended.
    pub fn close(&mut self, source: Source) {
        self.change(source, |entry| entry.open = entry.open.saturating_sub(1));
    }

    /// The connections of a source.
    pub fn of(&self, source: Source) -> Entry {
        self.counts.as_ref().map_or_else(Entry::default, |counts| counts.of(source))
    }

    /// The connections of all sources together.
    pub fn total(&self) -> Entry {
        self.counts.as_ref().map_or_else(Entry::default, Counts::total)
    }

    fn change(&mut self, source: Source, change: impl FnOnce(&mut Entry)) {
        if let Some(counts) = &mut self.counts {
            counts.change(source, change);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const NOW: Instant = Instant::from_ns(1 << 40);

    fn source(text: &str) -> Source {
        Source::from(Address::from(text.parse::<IpAddr>().unwrap()))
    }

    fn limits(connections_per_source: u32, syn_rate: u32, syn_rate_per_source: u32) -> Limits {
        Limits::new(&[9; 16], Most { connections_per_source, syn_rate, syn_rate_per_source }, 64).expect("one is on")
    }

    #[test]
    fn a_source_is_an_address_of_ipv4_or_a_64_of_ipv6() {
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:ffff:ffff:ffff"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_ne!(source("0.0.0.1"), source("::1"));
    }

    #[test]
    fn without_limits_there_is_nothing() {
        assert!(Limits::new(&[9; 16], Most::default(), 64).is_none());
    }

    #[test]
    fn a_limit_that_comes_back_finds_the_books_in_order() {
        let peer = source("10.0.0.1");
        let mut now = limits(2, 0, 0);
        for _ in 0..2 {
            now.open(peer);
        }
        assert_eq!(now.syn(NOW, peer, false), Syn::Refused(Drop::TcpSourceFull));
        now.lift();
        assert_eq!(now.syn(NOW, peer, false), Syn::Admitted);
        now.open(peer);
        now.replace(limits(3, 1, 0));
        assert_eq!(now.syn(NOW, peer, false), Syn::Refused(Drop::TcpSourceFull));
        now.close(peer);
        assert_eq!(now.syn(NOW, peer, false), Syn::Admitted);
        assert_eq!(now.syn(NOW, peer, false), Syn::Unproven(Drop::TcpSynLimited), "the rate is new");
        now.replace(limits(0, 0, 5));
        assert!(now.may_open(peer));
        // Where nothing was counted, what began then is not known.
        let mut now = limits(0, 9, 0);
        assert!(!now.open(peer));
        now.replace(limits(1, 0, 0));
        assert_eq!(now.of(peer).open, 0);
    }

    #[test]
    fn half_open_connections_ask_for_proof_and_open_ones_refuse() {
        let mut limits = limits(2, 0, 0);
        let peer = source("10.0.0.1");
        for _ in 0..2 {
            assert_eq!(limits.syn(NOW, peer, false), Syn::Admitted);
            assert!(limits.begin(peer));
        }
        assert_eq!(limits.syn(NOW, peer, false), Syn::Unproven(Drop::TcpSourceFull));
        assert_eq!(limits.syn(NOW, peer, true), Syn::Refused(Drop::TcpSourceFull), "it can have no cookie");
        assert_eq!(limits.syn(NOW, source("10.0.0.2"), false), Syn::Admitted);
        for _ in 0..2 {
            assert!(limits.may_open(peer));
            assert!(limits.open(peer));
        }
        assert!(!limits.may_open(peer));
        assert_eq!(limits.syn(NOW, peer, false), Syn::Refused(Drop::TcpSourceFull));
        limits.close(peer);
        limits.leave_half_open(peer);
        limits.leave_half_open(peer);
        assert_eq!((limits.syn(NOW, peer, false), limits.of(peer).open), (Syn::Admitted, 1));
        limits.close(peer);
        assert_eq!(limits.total(), Entry::default());
    }

    #[test]
    fn a_syn_that_its_source_may_not_send_costs_the_others_nothing() {
        let mut limits = limits(0, 3, 2);
        let verdicts = [(); 4].map(|()| limits.syn(NOW, source("10.0.0.1"), false));
        let limited = Syn::Refused(Drop::TcpSourceSynLimited);
        assert_eq!(verdicts, [Syn::Admitted, Syn::Admitted, limited, limited]);
        assert_eq!(limits.syn(NOW, source("10.0.0.2"), false), Syn::Admitted);
        assert_eq!(limits.syn(NOW, source("10.0.0.3"), false), Syn::Unproven(Drop::TcpSynLimited));
        assert_eq!(limits.syn(NOW, source("10.0.0.4"), true), Syn::Admitted, "it takes the place of another");
        assert!(!limits.begin(source("10.0.0.1")) && limits.may_open(source("10.0.0.1")), "nothing is counted");
    }
}
