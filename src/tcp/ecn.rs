//! Explicit congestion notification (RFC 3168, with what RFC 8311 allows): agreeing on it, echoing marks, answering echoes.
//!
//! Told of the flags of SYNs, of data that arrives and of acknowledgments; asked for the flags and the codepoint of what is sent. How much a
//! mark costs is the congestion control's business. The bit beside these flags (NS of RFC 3540, now AE) is neither read nor written, so
//! that a SYN that asks for more than RFC 3168 gets what RFC 3168 gives. Nothing here panics.

use super::config::Config;
use super::congestion::{Congestion, Signal};
use super::folded::Form;
use super::seq::SeqNum;
use super::tally::Happening;
use super::tcb::Tcb;
use crate::time::Instant;
use crate::wire::ipv4::ECN_CE;
use crate::wire::tcp::{Flags, Segment};

/// When explicit congestion notification is used: the setting `tcp.ecn`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Use {
    /// Never.
    Off,
    /// When the peer asks for it. The default, as in Linux (net.ipv4.tcp_ecn = 2): who asks has a path that lets the flags pass, and asking
    /// costs a second where one does not.
    #[default]
    Passive,
    /// Asked for in each SYN.
    On,
}

impl Use {
    /// The words of the setting.
    pub const NAMES: &'static [&'static str] = &["passive", "on", "off"];

    /// The word on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Passive => "passive",
            Self::On => "on",
        }
    }

    /// The use of a name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Off, Self::Passive, Self::On].into_iter().find(|word| word.name() == name)
    }
}

/// One connection's part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ecn {
    wanted: Use,
    /// A SYN of ours asked for it.
    asked: bool,
    /// A SYN of ours did not.
    fell_back: bool,
    /// The peer's SYN asked for it.
    peer_asks: bool,
    /// Marks that arrive are echoed.
    echoes: bool,
    /// Data asks for marks, and echoes are answered.
    agreed: bool,
    /// A mark has arrived that the peer has not yet answered.
    echoing: bool,
    /// The segment that carried our last CWR begins here: acknowledgments up to it tell of marks that are answered.
    answered: Option<SeqNum>,
    /// Echoes answered without one acknowledgment that had none.
    never_clean: u8,
    /// Everything comes back marked: the path, or the peer, is broken, and no more segments ask for marks.
    broken: bool,
}

impl Ecn {
    /// Before the handshake.
    //= rfc9293#3.8.2
    //# A TCP endpoint SHOULD implement ECN as described in RFC 3168 (SHLD-8).
    pub(super) const fn new(config: &Config) -> Self {
        Self {
            wanted: config.ecn,
            asked: false,
            fell_back: false,
            peer_asks: false,
            echoes: false,
            agreed: false,
            echoing: false,
            answered: None,
            never_clean: 0,
            broken: false,
        }
    }

    /// The flags of our SYN (`false`) or SYN-ACK (`true`); `again` when it has been sent before.
    pub(super) fn syn_flags(&mut self, with_ack: bool, again: bool) -> Flags {
        if with_ack {
            return answer_to(self.wanted, self.peer_asks);
        }
        //= rfc3168#6.1.1.1
        //# A host that receives no reply to an ECN-setup SYN within the normal SYN retransmission timeout interval MAY resend the SYN
        //# and any subsequent SYN retransmissions with CWR and ECE cleared.
        if self.wanted == Use::On && !again {
            self.asked = true;
            return Flags::ECE | Flags::CWR;
        }
        self.fell_back = true;
        Flags::NONE
    }

    /// The peer's SYN, or SYN-ACK.
    pub(super) fn on_syn(&mut self, flags: Flags) {
        let setup = is_setup(flags);
        if !flags.contains(Flags::ACK) {
            self.peer_asks = setup;
        }
        //= rfc3168#6.1.1
        //# If a host has sent at least one ECN-setup SYN or ECN-setup SYN-ACK packet, and has received no non-ECN-setup SYN or
        //# non-ECN-setup SYN-ACK packet, then if that host receives TCP data packets with ECT and CE codepoints set in the IP header,
        //# then that host MUST process these packets as specified for an ECN-capable connection.
        self.echoes = setup && self.wanted != Use::Off && (self.peer_asks || self.asked);
        //= rfc3168#6.1.1
        //# A host MUST NOT set ECT on data packets unless it has sent at least one ECN-setup SYN or ECN-setup SYN-ACK packet, and has
        //# received at least one ECN-setup SYN or ECN-setup SYN-ACK packet, and has sent no non-ECN-setup SYN or non-ECN-setup
        //# SYN-ACK packet.
        self.agreed = self.echoes && !self.fell_back;
    }

    /// A segment with data inside the window arrived; true when it is the first that is marked.
    fn on_data(&mut self, segment: &Segment<'_>) -> bool {
        if !self.echoes {
            return false;
        }
        let before = self.echoing;
        //= rfc3168#6.1.3
        //# The TCP receiver uses the CWR flag received from the TCP sender to determine when to stop setting the ECN-Echo flag.
        if segment.flags.contains(Flags::CWR) {
            self.echoing = false;
        }
        //= rfc3168#6.1.3
        //# When TCP receives a CE data packet at the destination end-system, the TCP data receiver sets the ECN-Echo flag in the TCP
        //# header of the subsequent ACK packet.
        self.echoing |= segment.ecn == ECN_CE;
        self.echoing && !before
    }

    /// True when an acknowledgment with these flags echoes a mark.
    pub(super) const fn is_echo(&self, flags: Flags) -> bool {
        self.agreed && flags.contains(Flags::ECE)
    }

    /// An acknowledgment without an echo: marks are not all there is.
    pub(super) const fn heard_clean(&mut self) {
        self.never_clean = CLEAN;
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, config: &Config, una: SeqNum) {
        if form.same(self, Self::new(config)) {
            return;
        }
        let Self { wanted, asked, fell_back, peer_asks, echoes, agreed, echoing, answered, never_clean, broken } = self;
        form.choice(wanted, &[Use::Off, Use::Passive, Use::On]);
        for flag in [asked, fell_back, peer_asks, echoes, agreed, echoing, broken] {
            form.flag(flag);
        }
        form.optional(answered, una, |form, seq| form.near(seq, una));
        form.near(never_clean, 0);
    }
}

/// The flags of the SYN-ACK that answers a SYN with these flags.
pub(super) const fn answer(wanted: Use, syn: Flags) -> Flags {
    answer_to(wanted, is_setup(syn))
}

const fn answer_to(wanted: Use, peer_asks: bool) -> Flags {
    //= rfc3168#6.1.1
    //# If a host has received an ECN-setup SYN packet, then it MAY send an ECN-setup SYN-ACK packet.  Otherwise, it MUST NOT
    //# send an ECN-setup SYN-ACK packet.
    if peer_asks && !matches!(wanted, Use::Off) { Flags::ECE } else { Flags::NONE }
}

/// True when the flags of a SYN, or SYN-ACK, agree to ECN.
const fn is_setup(flags: Flags) -> bool {
    //= rfc3168#6.1.1
    //# We call a SYN packet with the ECE and CWR flags set an "ECN-setup SYN packet"
    //= rfc3168#6.1.1
    //# Similarly, we call a SYN-ACK packet with only the ECE flag set but the CWR flag not set an "ECN-setup SYN-ACK packet"
    // A peer that mirrors our flags sets both in its SYN-ACK, and is therefore not capable (RFC 3168 6.1.1.2).
    flags.contains(Flags::ECE) && flags.contains(Flags::CWR) != flags.contains(Flags::ACK)
}

impl Tcb {
    /// Data arrived inside the window.
    pub(super) fn ecn_on_data(&mut self, segment: &Segment<'_>) {
        if self.ecn.on_data(segment) {
            self.noted.note(Happening::MarkReceived);
            // The sender is to know at once.
            self.ack_now = true;
        }
    }

    /// Before an acceptable acknowledgment is processed: one with an echo lets no window grow.
    pub(super) fn ecn_before_ack(&mut self, segment: &Segment<'_>) {
        if !self.ecn.agreed {
            return;
        }
        if self.ecn.answered.is_some_and(|seq| segment.ack.after(seq)) {
            self.ecn.answered = None;
        }
        if segment.flags.contains(Flags::ECE) {
            //= rfc3168#6.1.2
            //# The sending TCP SHOULD NOT increase the congestion window in response to the receipt of an ECN-Echo ACK packet.
            self.congestion.hold_growth(true);
        } else {
            self.ecn.heard_clean();
        }
    }

    /// After it was processed; `outstanding` bytes were so before it.
    pub(super) fn ecn_after_ack(&mut self, config: &Config, now: Instant, segment: &Segment<'_>, outstanding: u32) {
        if !self.ecn.is_echo(segment.flags) {
            return;
        }
        self.congestion.hold_growth(false);
        //= rfc3168#6.1.2
        //# That is, the TCP sender's congestion window should be reduced only once in response to a series of dropped and/or CE packets
        //# from a single window of data.
        if self.congestion.reduced() || self.ecn.answered.is_some() {
            return;
        }
        self.congestion.on_congestion(Signal::Mark, outstanding, now);
        self.noted.note(Happening::MarkAnswered);
        if self.ecn.never_clean < CLEAN {
            self.ecn.never_clean += 1;
            if self.ecn.never_clean == CLEAN {
                self.ecn.broken = true;
                self.noted.note(Happening::EcnBroken);
            }
        }
        //= rfc3168#6.1.2
        //# Therefore, the sending TCP MUST reset the retransmit timer on receiving the ECN-Echo packet when the congestion window is one.
        if self.congestion.window() <= self.payload_max() && self.snd.outstanding() > 0 {
            self.arm_send(config, now);
        }
    }

    /// The flags of a segment that is neither SYN nor RST, and whether it asks for marks; `new` when it carries data never sent before.
    pub(super) fn ecn_marks(&mut self, seq: SeqNum, new: bool) -> (Flags, bool) {
        //= rfc3168#6.1.3
        //# After a TCP receiver sends an ACK packet with the ECN-Echo bit set, that TCP receiver continues to set the ECN-Echo flag in all
        //# the ACK packets it sends
        let mut flags = if self.ecn.echoing { Flags::ECE } else { Flags::NONE };
        if !self.ecn.agreed {
            return (flags, false);
        }
        //= rfc3168#6.1.2
        //# When an ECN-Capable TCP sender reduces its congestion window for any reason (because of a retransmit timeout, a Fast
        //# Retransmit, or in response to an ECN Notification), the TCP sender sets the CWR flag in the TCP header of the first new
        //# data packet sent after the window reduction.
        if new && self.congestion.take_reduced() {
            flags = flags | Flags::CWR;
            self.ecn.answered = Some(seq);
        }
        //= rfc3168#6.1.5
        //# This document specifies ECN-capable TCP implementations MUST NOT set either ECT codepoint (ECT(0) or ECT(1)) in the IP
        //# header for retransmitted data packets
        //= rfc3168#6.1.4
        //# pure acknowledgement packets (e.g., packets that do not contain any accompanying data) MUST be sent with the not-ECT codepoint.
        (flags, new && !self.ecn.broken && self.congestion.answers_marks())
    }
}

/// So many answers without one clean acknowledgment, and the marks are no congestion: at that time the window is at its smallest.
const CLEAN: u8 = 10;
