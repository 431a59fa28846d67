//! Send and receive sequence space (RFC 9293 3.3.1, 3.8.6) and window scaling (RFC 7323 2).
//!
//! The handshake sets both up, arrivals move them, and output asks what may be sent and offered. Arithmetic without time or memory; the right
//! edge that was offered never moves left by more than scaling rounds off. Nothing panics.

use super::config::Config;
use super::folded::Form;
use super::pool::LARGEST;
use super::seq::SeqNum;
#[cfg(test)]
use crate::sim::planted;

/// A shift of the window field, 0 to 14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WindowScale(u8);

impl WindowScale {
    /// No scaling.
    pub(super) const NONE: Self = Self(0);

    /// The shift of an option as received.
    pub(super) const fn clamped(shift: u8) -> Self {
        //= rfc7323#2.3
        //# If a Window Scale option is received with a shift.cnt value larger than 14, the TCP SHOULD log the error but MUST use 14
        //# instead of the specified value.
        Self(if shift > 14 { 14 } else { shift })
    }

    /// The smallest shift with which the field can tell of a whole buffer.
    pub(super) const fn for_buffer(bytes: u32) -> Self {
        let mut shift = 0;
        while shift < 14 && bytes >> shift > 0xffff {
            shift += 1;
        }
        Self(shift)
    }

    /// The shift.
    pub(super) const fn shift(self) -> u8 {
        self.0
    }
}

/// What we may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendSpace {
    /// SND.UNA: oldest unacknowledged.
    pub(super) una: SeqNum,
    /// SND.NXT: next to be sent for the first time; it never goes back.
    pub(super) nxt: SeqNum,
    /// SND.WND, scaled.
    pub(super) wnd: u32,
    /// The largest SND.WND ever (MAX.SND.WND).
    pub(super) max_wnd: u32,
    /// SND.WL1: sequence number of the segment that last set the window.
    pub(super) wl1: SeqNum,
    /// SND.WL2: its acknowledgment number.
    pub(super) wl2: SeqNum,
    /// Snd.Wind.Shift.
    pub(super) shift: WindowScale,
    /// Largest payload of a segment without options (Eff.snd.MSS plus options).
    pub(super) mss: u16,
}

impl SendSpace {
    /// Before the SYN is sent.
    pub(super) const fn new(iss: SeqNum, mss: u16) -> Self {
        Self { una: iss, nxt: iss, wnd: 0, max_wnd: 0, wl1: SeqNum(0), wl2: SeqNum(0), shift: WindowScale::NONE, mss }
    }

    /// Bytes and control bits sent and not acknowledged.
    pub(super) fn outstanding(&self) -> u32 {
        self.nxt - self.una
    }

    /// Room from `seq` to the right edge of the window; 0 when the edge lies left of it.
    pub(super) fn room_from(&self, seq: SeqNum) -> u32 {
        //= rfc9293#3.8.6 MUST-34
        //# However, a sending TCP peer MUST be robust against window shrinking, which may cause the "usable window" (see
        //# Section 3.8.6.2.1) to become negative
        self.wnd.saturating_sub(seq - self.una)
    }

    /// Sets the window without further question.
    pub(super) fn set_window(&mut self, wnd: u32, seq: SeqNum, ack: SeqNum) {
        self.wnd = wnd;
        self.max_wnd = self.max_wnd.max(wnd);
        self.wl1 = seq;
        self.wl2 = ack;
    }

    /// Sets the window from a segment, which `is_new` if it has just moved SND.UNA, unless it is older than the one that set it last.
    pub(super) fn update_window(&mut self, field: u16, seq: SeqNum, ack: SeqNum, is_new: bool) {
        // A segment sent again to fill a hole has an old number and a new acknowledgment. Were its window not taken, the old one,
        // counted from the new SND.UNA, would end beyond anything that was offered.
        //= rfc9293#3.8.6
        //# A refinement to avoid this problem is to act on the window information from segments that carry the highest acknowledgment
        //# number (that is, segments with an acknowledgment number equal to or greater than the highest previously received).
        //= rfc9293#3.10.7.4
        //# If SND.UNA =< SEG.ACK =< SND.NXT, the send window should be updated.  If (SND.WL1 < SEG.SEQ or (SND.WL1 = SEG.SEQ and
        //# SND.WL2 =< SEG.ACK)), set SND.WND <- SEG.WND, set SND.WL1 <- SEG.SEQ, and set SND.WL2 <- SEG.ACK.
        if is_new || self.wl1.before(seq) || (self.wl1 == seq && self.wl2.at_or_before(ack)) {
            //= rfc7323#2.3
            //# The window field (SEG.WND) in the header of every incoming segment, with the exception of <SYN> segments, MUST be
            //# left-shifted by Snd.Wind.Shift bits before updating SND.WND
            let wnd = u32::from(field) << self.shift.0;
            #[cfg(test)]
            let wnd = planted::window(wnd, self.wnd);
            self.set_window(wnd, seq, ack);
        }
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, rcv: &ReceiveSpace) {
        let Self { una, nxt, wnd, max_wnd, wl1, wl2, shift, mss } = self;
        form.word(&mut una.0);
        form.near(nxt, *una);
        form.near(wnd, 0);
        form.near(max_wnd, *wnd);
        form.near(wl1, rcv.nxt);
        form.near(wl2, *una);
        form.near(&mut shift.0, rcv.shift.0);
        form.near(mss, rcv.mss);
    }
}

/// What we may receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceiveSpace {
    /// RCV.NXT
    pub(super) nxt: SeqNum,
    /// RCV.WND: RCV.NXT + RCV.WND is the farthest right edge ever offered; it never moves left.
    pub(super) wnd: u32,
    /// Last.ACK.sent (RFC 7323 4.3).
    pub(super) acked: SeqNum,
    /// RCV.BUFF in bytes.
    pub(super) limit: u32,
    /// Rcv.Wind.Shift.
    pub(super) shift: WindowScale,
    /// RMSS: the MSS we announced.
    pub(super) mss: u16,
    /// A segment has told of the window in units of the scale; a SYN cannot.
    told: bool,
}

impl ReceiveSpace {
    /// Before the peer's SYN is known.
    pub(super) fn new(config: &Config, mss: u16) -> Self {
        let limit = config.receive_buffer.clamp(1, LARGEST) as u32;
        // The scale is told once, in the SYN: it must do for the largest window that may follow.
        let most = config.receive_buffer_max.clamp(limit as usize, LARGEST) as u32;
        let shift = if config.window_scaling { WindowScale::for_buffer(most) } else { WindowScale::NONE };
        Self { nxt: SeqNum(0), wnd: 0, acked: SeqNum(0), limit, shift, mss, told: false }
    }

    /// The largest that `limit` may become.
    pub(super) fn limit_max(&self, config: &Config) -> u32 {
        (config.receive_buffer_max.min(LARGEST) as u32).min(0xffff << self.shift.0).max(self.limit)
    }

    /// The window field of a SYN; the peer may send that much from RCV.NXT on.
    pub(super) const fn offer_in_syn(&mut self) -> u16 {
        //= rfc7323#2.2
        //# The window field in a segment where the SYN bit is set (i.e., a <SYN> or <SYN,ACK>) MUST NOT be scaled.
        let field = if self.limit > 0xffff { 0xffff } else { self.limit as u16 };
        if (field as u32) > self.wnd {
            self.wnd = field as u32;
        }
        field
    }

    /// Decides the window that a segment offers and returns its field, with `unread` bytes waiting for the service.
    pub(super) fn offer(&mut self, unread: u32) -> u16 {
        self.told = true;
        let open = self.openable(unread);
        //= rfc9293#3.8.6.2.2
        //# A TCP implementation MUST include a SWS avoidance algorithm in the receiver (MUST-39).
        if open >= self.wnd.saturating_add(self.step()) {
            //= rfc9293#3.8.6.2.2
            //# When the inequality is satisfied, RCV.WND is set to RCV.BUFF-RCV.USER.
            self.wnd = open;
            return (open >> self.shift.0) as u16;
        }
        // The field tells multiples of the scale only. Rounded up, it moves the edge right by less than that; where the buffer
        // has no room for it, it is rounded down, but what was offered once is still accepted.
        //= rfc7323#2.4
        //# The receiver MUST honor, as in window, any segment that would have been in window for any <ACK> sent by the receiver.
        let rounded_up = self.wnd.next_multiple_of(1 << self.shift.0);
        //= rfc9293#3.8.6
        //# A TCP receiver SHOULD NOT shrink the window, i.e., move the right window edge to the left (SHLD-14).
        if rounded_up <= open {
            self.wnd = rounded_up;
        }
        let wnd = self.wnd;
        #[cfg(test)]
        let wnd = planted::offer(wnd, unread);
        (wnd >> self.shift.0).min(0xffff) as u16
    }

    /// True when the service has made so much room that the peer should be told without waiting for the next segment.
    pub(super) fn update_due(&self, unread: u32) -> bool {
        // While at least half of the buffer is still on offer the peer is not held up: the next acknowledgment will tell. Nor is it held
        // up by what the field of a SYN could not tell.
        let most = if self.told { self.openable(0) } else { self.openable(0).min(0xffff) };
        self.wnd < most / 2 && self.openable(unread) >= self.wnd.saturating_add(self.step())
    }

    /// RCV.NXT moves over `n` accepted bytes or control bits; the right edge stays where it is.
    pub(super) fn advance(&mut self, n: u32) {
        self.nxt += n;
        self.wnd = self.wnd.saturating_sub(n);
    }

    /// The largest window that could be offered now.
    fn openable(&self, unread: u32) -> u32 {
        let free = self.limit.saturating_sub(unread).min(0xffff << self.shift.0);
        free >> self.shift.0 << self.shift.0
    }

    /// The smallest opening worth telling.
    fn step(&self) -> u32 {
        //= rfc9293#3.8.6.2.2 MUST-39
        //# RCV.BUFF - RCV.USER - RCV.WND  >= min( Fr * RCV.BUFF, Eff.snd.MSS )
        (self.limit / 2).min(u32::from(self.mss)).max(1)
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, fresh: &Self) {
        let Self { nxt, wnd, acked, limit, shift, mss, told } = self;
        form.word(&mut nxt.0);
        form.near(limit, fresh.limit);
        form.near(wnd, *limit);
        form.near(acked, *nxt);
        form.near(&mut shift.0, fresh.shift.0);
        form.near(mss, fresh.mss);
        form.flag(told);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn receive(limit: usize) -> ReceiveSpace {
        let mut space = ReceiveSpace::new(&Config { receive_buffer: limit, receive_buffer_max: 0, ..Config::default() }, 1460);
        space.nxt = SeqNum(u32::MAX - 1000);
        space
    }

    #[test]
    fn the_scale_is_the_smallest_that_suffices() {
        for (bytes, shift) in [(1, 0), (65_535, 0), (65_536, 1), (131_070, 1), (262_144, 3), (1 << 24, 9), (1 << 30, 14)] {
            assert_eq!(WindowScale::for_buffer(bytes).shift(), shift, "{bytes} bytes");
        }
        assert_eq!(WindowScale::clamped(15).shift(), 14);
    }

    #[test]
    fn small_openings_are_not_told() {
        let mut space = receive(65_535);
        assert_eq!(space.offer(0), 65_535);
        space.advance(60_000);
        assert_eq!(space.offer(60_000), 5_535);
        assert_eq!(space.offer(60_000 - 1459), 5_535);
        assert!(!space.update_due(60_000 - 1459) && space.update_due(60_000 - 1460));
        assert_eq!(space.offer(60_000 - 1460), 6_995);
    }

    #[test]
    fn a_window_larger_than_a_syn_can_tell_waits_for_the_next_segment() {
        let mut space = receive(262_144);
        assert_eq!(space.offer_in_syn(), 65_535);
        assert!(!space.update_due(0));
        // Unless the peer has used half of what it was told.
        space.advance(32_768);
        assert!(!space.update_due(0));
        space.advance(1);
        assert!(space.update_due(0));
        assert_eq!(space.offer(0), (262_144_u32 >> 3) as u16);
        assert!(!space.update_due(0));
    }

    #[test]
    fn an_old_segment_does_not_set_the_send_window() {
        let mut space = SendSpace::new(SeqNum(u32::MAX), 1460);
        space.set_window(100, SeqNum(u32::MAX), SeqNum(5));
        space.update_window(50, SeqNum(u32::MAX - 1), SeqNum(9), false);
        space.update_window(50, SeqNum(u32::MAX), SeqNum(4), false);
        assert_eq!((space.wnd, space.max_wnd), (100, 100));
        space.update_window(70, SeqNum(0), SeqNum(4), false);
        assert_eq!((space.wnd, space.max_wnd), (70, 100));
        space.update_window(60, SeqNum(u32::MAX - 1), SeqNum(9), true);
        assert_eq!(space.wnd, 60);
    }

    proptest! {
        /// Whatever arrives and is read: what was offered stays accepted, the buffer is never over-promised, and the edge that the
        /// peer sees moves left only by less than one step of the scale.
        #[test]
        fn the_right_edge_never_moves_left(
            limit in 1usize..3_000_000,
            steps in prop::collection::vec((0u32..5_000, 0u32..5_000), 1..200),
        ) {
            let mut space = receive(limit);
            let mut unread = 0u32;
            space.offer_in_syn();
            let mut told = space.nxt + space.wnd;
            for (arrive, read) in steps {
                let before = space.nxt + space.wnd;
                let arrive = arrive.min(space.wnd);
                space.advance(arrive);
                unread += arrive;
                unread -= read.min(unread);
                let field = space.offer(unread);
                let edge = space.nxt + (u32::from(field) << space.shift.shift());
                prop_assert!((space.nxt + space.wnd).at_or_after(before));
                prop_assert!(edge.at_or_before(space.nxt + space.wnd));
                prop_assert!(unread + space.wnd <= space.limit);
                prop_assert!((edge + ((1 << space.shift.shift()) - 1)).at_or_after(told));
                told = told.latest(edge);
            }
        }
    }
}
