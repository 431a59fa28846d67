//! One sender as its receiver sees it: RFC 3550 A.1 (is a packet valid?), A.3 (expected and lost) and A.8 (interarrival jitter).
//!
//! The routines are those of the appendix, with its names and its numbers. Beside them stand what it does not tell apart: which
//! packets came late and which came twice. Both lie within MAX_MISORDER of the highest number, so a bit for each number of that
//! range tells them exactly. Pure: the time of arrival is an argument. Cannot panic.

use crate::time::Instant;

/// Packets in sequence before a source is valid.
pub const MIN_SEQUENTIAL: u8 = 2;
/// Numbers a packet may be ahead, so that what lies between counts as lost.
pub const MAX_DROPOUT: u16 = 3000;
/// Numbers a packet may be behind.
pub const MAX_MISORDER: u16 = 100;
/// A number that no packet has.
const NO_SEQ: u32 = RTP_SEQ_MOD as u32 + 1;
const RTP_SEQ_MOD: u64 = 1 << 16;

/// What is known of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    max_seq: u16,
    cycles: u64,
    base_seq: u16,
    bad_seq: u32,
    probation: u8,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
    /// Relative transit time of the packet before; `None` until there was one.
    transit: Option<u32>,
    /// Sixteen times the jitter in units of the timestamp.
    jitter: u64,
    jitter_max: u64,
    /// Units of the timestamp a second.
    clock: u32,
    /// Bit n is set when the packet n before `max_seq` has come.
    window: u128,
    /// Packets from `base_seq` on that came, each counted once.
    distinct: u64,
    counts: Counts,
}

/// What came of a source, from its first packet on: unlike what the RFC reckons, not set back when the source begins anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that arrived, valid or not.
    pub packets: u64,
    /// Of them: packets while the source was not yet valid, the last of which made it so.
    pub probation: u64,
    /// Of them: packets with a number out of range, not taken.
    pub out_of_range: u64,
    /// Of them: packets with a number lower than the highest one, that had not come before.
    pub reordered: u64,
    /// Of them: packets with a number that had come before.
    pub duplicates: u64,
    /// How often the source began anew, with numbers of which nothing was known.
    pub restarts: u64,
    /// Packets that never came, before the last restart.
    missing_before: u64,
}

impl Source {
    /// A source whose first packet has this sequence number; it is on probation. [`Source::update_seq`] then takes that packet.
    pub const fn new(seq: u16, clock: u32) -> Self {
        //= rfc3550#A.1
        //# When a new source is heard for the first time, that is, its SSRC
        //# identifier is not in the table (see Section 8.2), and the per-source
        //# state is allocated for it, s->probation is set to the number of
        //# sequential packets required before declaring a source valid
        //# (parameter MIN_SEQUENTIAL) and other variables are initialized:
        Self {
            max_seq: seq.wrapping_sub(1),
            cycles: 0,
            base_seq: seq,
            bad_seq: NO_SEQ,
            probation: MIN_SEQUENTIAL,
            received: 0,
            expected_prior: 0,
            received_prior: 0,
            transit: None,
            jitter: 0,
            jitter_max: 0,
            clock,
            window: 0,
            distinct: 0,
            counts: Counts {
                packets: 0,
                probation: 0,
                out_of_range: 0,
                reordered: 0,
                duplicates: 0,
                restarts: 0,
                missing_before: 0,
            },
        }
    }

    /// A packet arrives. True when it is valid.
    pub fn hear(&mut self, seq: u16, timestamp: u32, arrival: Instant) -> bool {
        let valid = self.update_seq(seq);
        if valid {
            self.update_jitter(timestamp, arrival);
        }
        valid
    }

    fn init_seq(&mut self, seq: u16) {
        self.base_seq = seq;
        self.max_seq = seq;
        self.bad_seq = NO_SEQ;
        self.cycles = 0;
        self.received = 0;
        self.received_prior = 0;
        self.expected_prior = 0;
        // This packet, and the one before it, which is why it is taken.
        self.window = 0b11;
        self.distinct = 1;
        // Its timestamps begin anywhere, so the time of transit has nothing to do with the one before.
        self.transit = None;
    }

    /// RFC 3550 A.1. Where its code compares `seq` with `s->max_seq + 1` it means modulo 2^16, or a source that begins with 65535 and 0 would
    /// not pass.
    fn update_seq(&mut self, seq: u16) -> bool {
        self.counts.packets += 1;
        let udelta = seq.wrapping_sub(self.max_seq);
        if self.probation > 0 {
            self.counts.probation += 1;
            if udelta == 1 {
                self.probation -= 1;
                self.max_seq = seq;
                if self.probation == 0 {
                    self.init_seq(seq);
                    self.received += 1;
                    return true;
                }
            } else {
                self.probation = MIN_SEQUENTIAL - 1;
                self.max_seq = seq;
            }
            return false;
        }
        //= rfc3550#A.1
        //# After a source is considered valid, the sequence number is considered
        //# valid if it is no more than MAX_DROPOUT ahead of s->max_seq nor more
        //# than MAX_MISORDER behind.
        if udelta < MAX_DROPOUT {
            //= rfc3550#A.1
            //# If the new sequence number is ahead of
            //# max_seq modulo the RTP sequence number range (16 bits), but is
            //# smaller than max_seq, it has wrapped around and the (shifted) count
            //# of sequence number cycles is incremented.
            if seq < self.max_seq {
                self.cycles += RTP_SEQ_MOD;
            }
            self.max_seq = seq;
            if udelta == 0 {
                self.counts.duplicates += 1;
            } else {
                self.window = self.window.checked_shl(udelta.into()).unwrap_or(0) | 1;
                self.distinct += 1;
            }
        } else if u64::from(udelta) <= RTP_SEQ_MOD - u64::from(MAX_MISORDER) {
            //= rfc3550#A.1
            //# Otherwise, the value zero is returned to indicate that the validation
            //# failed, and the bad sequence number plus 1 is stored.  If the next
            //# packet received carries the next higher sequence number, it is
            //# considered the valid start of a new packet sequence presumably caused
            //# by an extended dropout or a source restart.
            if u32::from(seq) != self.bad_seq {
                self.bad_seq = seq.wrapping_add(1).into();
                self.counts.out_of_range += 1;
                return false;
            }
            self.counts.missing_before = self.missing();
            self.counts.restarts += 1;
            self.init_seq(seq);
        } else {
            self.late(self.max_seq.wrapping_sub(seq));
        }
        self.received += 1;
        true
    }

    /// A packet that lies so many numbers behind the highest one, fewer than the window has bits: reordered, or a duplicate.
    fn late(&mut self, behind: u16) {
        let bit = 1_u128.checked_shl(behind.into()).unwrap_or(0);
        if self.window & bit != 0 {
            self.counts.duplicates += 1;
            return;
        }
        self.window |= bit;
        self.counts.reordered += 1;
        // What lies before the first number was sent before the source was valid: the RFC counts it as received, not as expected.
        if self.expected() > behind.into() {
            self.distinct += 1;
        }
    }

    /// RFC 3550 A.8, with the estimate kept as an integer.
    fn update_jitter(&mut self, timestamp: u32, arrival: Instant) {
        let arrival = u128::from(arrival.as_ns()) * u128::from(self.clock) / 1_000_000_000;
        let transit = (arrival as u32).wrapping_sub(timestamp);
        if let Some(before) = self.transit {
            let d = (transit.wrapping_sub(before) as i32).unsigned_abs();
            self.jitter = self.jitter + u64::from(d) - ((self.jitter + 8) >> 4);
            self.jitter_max = self.jitter_max.max(self.jitter);
        }
        self.transit = Some(transit);
    }

    /// True once so many packets came in sequence.
    pub const fn is_valid(&self) -> bool {
        self.probation == 0
    }

    /// The highest sequence number, extended by how often the numbers began again; modulo 2^32.
    pub fn extended_max(&self) -> u32 {
        (self.cycles + u64::from(self.max_seq)) as u32
    }

    /// Packets that should have come, since the source was valid or began anew (A.3).
    pub fn expected(&self) -> u64 {
        if !self.is_valid() {
            return 0;
        }
        //= rfc3550#A.3
        //# The number of packets expected can be
        //# computed by the receiver as the difference between the highest
        //# sequence number received (s->max_seq) and the first sequence number
        //# received (s->base_seq).
        (self.cycles + u64::from(self.max_seq) + 1).saturating_sub(u64::from(self.base_seq))
    }

    /// Packets that came in that time, late ones and duplicates among them (A.3).
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Expected less received: below zero when duplicates are more than what was lost (A.3).
    pub fn lost(&self) -> i32 {
        //= rfc3550#A.3
        //# Since this signed number is carried in 24 bits, it should be clamped
        //# at 0x7fffff for positive loss or 0x800000 for negative loss rather
        //# than wrapping around.
        let lost = i128::from(self.expected()) - i128::from(self.received);
        lost.clamp(-0x80_0000, 0x7f_ffff) as i32
    }

    /// Packets that never came, from the first valid one on: expected less those that came once. Unlike [`Source::lost`], duplicates make
    /// up for none, and restarts forget none.
    pub fn missing(&self) -> u64 {
        self.counts.missing_before + self.expected().saturating_sub(self.distinct)
    }

    /// The share of what was lost of all that was expected, in 256ths.
    pub fn fraction_lost(&self) -> u8 {
        fraction(self.expected(), self.received)
    }

    /// The same since the call before (A.3): for lines at intervals.
    pub fn fraction_since(&mut self) -> u8 {
        let expected = self.expected();
        let expected_interval = expected - self.expected_prior;
        self.expected_prior = expected;
        let received_interval = self.received - self.received_prior;
        self.received_prior = self.received;
        fraction(expected_interval, received_interval)
    }

    /// The interarrival jitter in units of the timestamp (A.8).
    pub fn jitter(&self) -> u32 {
        u32::try_from(self.jitter >> 4).unwrap_or(u32::MAX)
    }

    /// The highest it was.
    pub fn jitter_max(&self) -> u32 {
        u32::try_from(self.jitter_max >> 4).unwrap_or(u32::MAX)
    }

    /// Units of the timestamp a second.
    pub const fn clock(&self) -> u32 {
        self.clock
    }

    /// What came, from the first packet on.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }
}

fn fraction(expected: u64, received: u64) -> u8 {
    match expected.checked_sub(received) {
        None | Some(0) => 0,
        // Where none came it is all, which eight bits cannot say.
        Some(lost) => u8::try_from((u128::from(lost) << 8) / u128::from(expected)).unwrap_or(u8::MAX),
    }
}

#[cfg(test)]
mod tests;
