//! The path MTU where no router tells of it: packetization layer path MTU discovery (RFC 4821).
//!
//! When the same data stays unacknowledged again and again the path may be a black hole for large packets: the connection falls back to a size that
//! nearly every path carries, and searches upwards from there by probes. A probe is a segment of new data that is larger than the others; when it alone
//! is lost, that is no sign of congestion. Called by output, by the timers and with each acknowledgment that may be a probe's; a connection that does not
//! search pays nothing. Probes need SACK: without it their loss cannot be told from others. Nothing panics.

use super::config::Config;
use super::congestion::Congestion;
use super::folded::Form;
use super::path_mtu::PathMtu;
use super::recovery::Phase;
use super::seq::SeqNum;
use super::tally::Happening;
use super::tcb::Tcb;
use super::timers::R1;
use crate::limits::PATH_MTU_MIN;
use crate::link::pmtu::BELIEVED;
use crate::time::Instant;

/// When connections search for their path's MTU by themselves: the setting `tcp.mtu_probing`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Use {
    /// Never: routers are relied on.
    Off,
    /// Once a black hole is suspected. The default: it costs nothing before.
    #[default]
    BlackHole,
    /// From the start, with small segments at first.
    On,
}

impl Use {
    /// The words of the setting.
    pub const NAMES: &'static [&'static str] = &["blackhole", "on", "off"];

    /// The word on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::BlackHole => "blackhole",
            Self::On => "on",
        }
    }

    /// The use of a name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Off, Self::BlackHole, Self::On].into_iter().find(|word| word.name() == name)
    }
}

/// A search for the path's MTU. The largest size that is known to get through (search_low) is that of the segments sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// search_high: no larger packet gets through, as far as is known.
    high: u16,
    /// The probe in flight.
    probe: Option<Probe>,
}

/// A segment larger than the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probe {
    seq: SeqNum,
    end: SeqNum,
    /// Of its packet, in bytes.
    size: u16,
}

/// What output asks of the search when a full segment of new data is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// An ordinary segment.
    None,
    /// A segment with so many bytes of data, as a probe.
    Probe(u32),
    /// Nothing for the moment: an acknowledgment makes room for the probe.
    Wait,
}

impl Search {
    /// Nothing is known of larger packets.
    pub(super) const ABOVE: Self = Self { high: u16::MAX, probe: None };

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, una: SeqNum) {
        let Self { high, probe } = self;
        form.near(high, 0);
        form.optional(probe, Probe { seq: una, end: una, size: 0 }, |form, Probe { seq, end, size }| {
            form.near(seq, una);
            form.near(end, *seq);
            form.near(size, 0);
        });
    }

    /// Before [`Search::pass`] reads one.
    pub(super) const BLANK: Self = Self { high: 0, probe: None };
}

impl PathMtu {
    /// From the start, with a size that nearly every path carries.
    pub(super) fn begin_search(&mut self, config: &Config) {
        if config.mtu_probing == Use::On {
            //= rfc4821#7.2
            //# It is RECOMMENDED that search_low be initially set to an MTU size
            //# that is likely to work over a very wide range of environments.
            self.limit = self.ip().base_mtu();
            self.search = Some(Search::ABOVE);
            self.raise_at = Instant::ZERO;
        }
    }
}

impl Tcb {
    /// The retransmission timer expires for the data at the front, sent `timeouts` times in vain before: perhaps it is too large for the path.
    pub(super) fn suspect_black_hole(&mut self, config: &Config) {
        let timeouts = self.timers.unanswered + 1;
        if config.mtu_probing == Use::Off || timeouts < R1 {
            return;
        }
        let ip = self.path_mtu.ip();
        let (current, base) = (self.path_mtu(), ip.base_mtu());
        //= rfc4821#7.7
        //# If eff_pmtu is larger than search_low,
        //# set eff_pmtu to search_low.  Otherwise, set both eff_pmtu and
        //# search_low to the initial value for search_low.  Upon additional
        //# successive timeouts, search_low and eff_pmtu SHOULD be halved, with a
        //# lower bound of 68 bytes for IPv4 and 1280 bytes for IPv6.
        // And no further than any error would take it ([`PATH_MTU_MIN`]).
        let limit = match () {
            () if current > base => base,
            () if timeouts > R1 && self.path_mtu.search.is_some() => (current / 2).max(PATH_MTU_MIN).max(ip.mtu_min()),
            () => return,
        };
        let first = self.packet_size(self.snd.outstanding().min(self.payload_max()));
        if first <= limit {
            // It is lost for another reason.
            return;
        }
        self.noted.note(Happening::PathMtuBlackHole);
        self.path_mtu.search = Some(Search::ABOVE);
        self.path_mtu.raise_at = Instant::ZERO;
        self.path_mtu.narrow_to(limit, ip.mtu_min(), self.snd.una);
        self.limit_segments();
        self.flight.lose_all();
    }

    /// What is to leave instead of a full segment of new data.
    pub(super) fn path_search(&mut self, now: Instant) -> Wish {
        let Some(Search { high, .. }) = self.path_mtu.search else { return Wish::None };
        let current = self.path_mtu();
        let Some(size) = next_size(current, high, self.path_mtu.ceiling()) else {
            //= rfc4821#7.3
            //# When the timer expires, search_high should be
            //# reset to its initial value (described above) so that probing can
            //# resume.
            self.path_mtu.search = Some(Search::ABOVE);
            self.path_mtu.raise_at = now + BELIEVED;
            return Wish::None;
        };
        //= rfc4821#7.4
        //# It has no outstanding probes or losses.
        let quiet = self.recovery.phase == Phase::Open && self.flight.lost() == 0 && self.flight.sacked() == 0;
        let segment = self.payload_max();
        let len = segment + u32::from(size - current);
        //= rfc4821#7.4
        //# the sender SHOULD
        //# have enough data queued and sufficient receiver window to send the
        //# probe plus at least Tcprexmtthresh [RFC2760] additional segments.
        let needed = len + 3 * segment;
        let seq = self.snd.nxt;
        let enough = (self.fin_seq() - seq).min(self.snd.room_from(seq)).min(self.congestion.window()) >= needed;
        if !quiet || !enough || !self.offers.sack {
            return Wish::None;
        }
        if self.allowance() >= len {
            return Wish::Probe(len);
        }
        //= rfc4821#7.4
        //# Protocols MAY delay sending non-probes in order to accumulate enough
        //# data to meet the pre-conditions for probing.
        if self.in_flight() > 0 { Wish::Wait } else { Wish::None }
    }

    /// A packet of `size` bytes leaves, larger than any before, with what lies from `seq` to `end`. It is a probe if it is larger than others may be.
    pub(super) fn note_probe(&mut self, size: u16, seq: SeqNum, end: SeqNum) {
        let current = self.path_mtu();
        // A FIN counts for a byte of the segment that carries it.
        if let Some(search) = &mut self.path_mtu.search
            && size > current + 1
        {
            search.probe = Some(Probe { seq, end, size });
            self.path_mtu.raise_at = Instant::NEVER;
        }
    }

    /// The largest size sent has got through: that of the probe, if there is one.
    pub(super) fn probe_arrived(&mut self, ack: SeqNum) {
        let Some(search) = &mut self.path_mtu.search else { return };
        let Some(Probe { size, .. }) = search.probe.filter(|probe| ack.at_or_after(probe.end)) else { return };
        //= rfc4821#7.6.1
        //# Set search_low to the probe
        //# size.  If the probe size is larger than the eff_pmtu, raise eff_pmtu
        //# to the probe size.
        search.probe = None;
        self.path_mtu.raise_at = Instant::ZERO;
        self.path_mtu.limit = size;
        self.noted.note(Happening::PathMtuRaised);
        self.limit_segments();
    }

    /// True when the probe, and nothing else, was found lost: `bytes` bytes in all.
    pub(super) fn only_probe_lost(&self, bytes: u32) -> bool {
        let probe = self.path_mtu.search.and_then(|search| search.probe);
        probe.is_some_and(|Probe { seq, end, .. }| {
            let len = end - seq;
            bytes == len && self.flight.lost() == len && self.flight.first_lost(len) == Some((seq, len))
        })
    }

    /// A router says that the packet with the segment `seq` was too big for a link of `mtu` bytes. True when that was the probe, which tells nothing of others.
    pub(super) fn probe_was_too_big(&mut self, seq: SeqNum, mtu: u16) -> bool {
        let current = self.path_mtu();
        let Some(search) = &mut self.path_mtu.search else { return false };
        let is_probe = search.probe.is_some_and(|probe| seq == probe.seq && (current..probe.size).contains(&mtu));
        if is_probe {
            //= rfc4821#7.6.2
            //# If an ICMP PTB message is received matching the probe packet, then
            //# search_high and eff_pmtu MAY be set from the MTU value indicated in
            //# the message.
            search.high = mtu;
        }
        is_probe
    }

    /// What lies from `seq` to `end` is sent again; if that is the probe, it was lost.
    pub(super) fn probe_sent_again(&mut self, seq: SeqNum, end: SeqNum, now: Instant) {
        let current = self.path_mtu();
        let Some(search) = &mut self.path_mtu.search else { return };
        let Some(probe) = search.probe.filter(|probe| seq.before(probe.end) && end.after(probe.seq)) else { return };
        search.probe = None;
        self.path_mtu.narrow_to(current, current, probe.end);
        if self.recovery.phase == Phase::Fast {
            //= rfc4821#7.6.4
            //# In this case, the state variables eff_pmtu, search_low,
            //# and search_high SHOULD NOT be updated, and the same-sized probe
            //# SHOULD be attempted again as soon as the probing preconditions are
            //# met
            self.path_mtu.raise_at = Instant::ZERO;
            return;
        }
        //= rfc4821#7.6.2
        //# In the absence of other indications, set search_high to the probe
        //# size minus one.
        if let Some(search) = &mut self.path_mtu.search {
            search.high = search.high.min(probe.size - 1);
        }
        self.noted.note(Happening::PathMtuProbeLost);
        //= rfc4821#7.6.2
        //# The simplest estimate of the interval to
        //# the next congestion event is the same number of round trips as the
        //# current congestion window in packets.
        let rounds = u64::from(self.congestion.window() / self.payload_max()).min(ROUNDS_MAX);
        //= rfc4821#7.6.3
        //# A time interval that is
        //# five times the non-timeout failure case (Section 7.6.2) is
        //# RECOMMENDED.
        let times = if self.recovery.phase == Phase::Timeout { 5 } else { 1 };
        self.path_mtu.raise_at = now.after_ns(rounds * times * self.rtt.srtt_ns().unwrap_or(0));
    }
}

/// The size of the next probe between what gets through and what does not, or is the largest there can be; `None` when they are close enough.
fn next_size(low: u16, high: u16, ceiling: u16) -> Option<u16> {
    let most = high.min(ceiling);
    if most.saturating_sub(low) < CLOSE_ENOUGH {
        return None;
    }
    //= rfc4821#7.3
    //# As an optimization, it may be appropriate to probe at certain common
    //# or expected MTU sizes, for example, 1500 bytes for standard Ethernet,
    // That is the first: most paths are as wide as the link.
    Some(if most == ceiling { ceiling } else { low + (most - low).div_ceil(2) })
}

/// A search that is so close is over, as on Linux.
const CLOSE_ENOUGH: u16 = 8;
/// Of round trips between a lost probe and the next one.
const ROUNDS_MAX: u64 = 1000;
