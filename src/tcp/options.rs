//! Which options go into which segment, and what the options of a SYN settle (RFC 9293 3.7.1, RFC 7323 2 and 3, RFC 2018, RFC 2883).
//!
//! Output asks for them with each segment, and the handshake hands in those of the peer's SYN. Values only: bytes are `wire`'s business, and no
//! option goes out that the peer did not offer. Nothing panics.

use super::config::Config;
use super::congestion::Congestion;
use super::folded::Form;
use super::ranges::SACK_BLOCKS;
use super::tally::Happening;
use super::tcb::Tcb;
use super::window::{ReceiveSpace, WindowScale};
use crate::limits::SEND_MSS_MIN;
#[cfg(test)]
use crate::sim::planted;
use crate::time::Instant;
use crate::wire::tcp::Options;

impl Tcb {
    /// The options of our SYN or SYN-ACK.
    pub(super) fn syn_options(&self, now: Instant) -> Options {
        //= rfc7323#3.2
        //# A TCP MAY send the TSopt in an initial <SYN> segment (i.e., segment containing a SYN bit and no ACK bit), and MAY
        //# send a TSopt in <SYN,ACK> only if it received a TSopt in the initial <SYN> segment for the connection.
        let timestamps = match self.syn_seen {
            true => self.timestamps.ok.then(|| self.timestamps.option(now)),
            false => self.offers.timestamps.then(|| (self.timestamps.value(now), 0)),
        };
        of_syn(&self.rcv, self.offers, timestamps, self.user_timeout.in_syn())
    }

    /// The options of a segment that is neither SYN nor RST.
    pub(super) fn options(&self, now: Instant) -> Options {
        //= rfc2018#4
        //# If sent at all, SACK options SHOULD be included in all ACKs which do not ACK the highest sequence number in the data
        //# receiver's queue.
        if !self.received.has_report() {
            return self.base_options(now);
        }
        let most = self.sack_blocks_max();
        if most == 0 || self.received.sack_count(most) == 0 {
            return self.base_options(now);
        }
        let (sack, count) = self.received.sack_blocks(most);
        #[cfg(test)]
        let sack = planted::sack(sack);
        Options { sack, sack_count: count as u8, ..self.base_options(now) }
    }

    /// What every segment that is neither SYN nor RST carries.
    fn base_options(&self, now: Instant) -> Options {
        Options { user_timeout: self.user_timeout.in_segment(), ..self.reset_options(now) }
    }

    /// The options of a RST: it tells nothing of a connection that is over.
    pub(super) fn reset_options(&self, now: Instant) -> Options {
        //= rfc9293#3.2
        //# in segments with the SYN control bit set) and MUST NOT be sent in other segments (MUST-65).
        //= rfc7323#3.2
        //# Once TSopt has been successfully negotiated, that is both <SYN> and <SYN,ACK> contain TSopt, the TSopt MUST be sent in
        //# every non-<RST> segment for the duration of the connection, and SHOULD be sent in an <RST> segment
        Options { timestamps: self.timestamps.ok.then(|| self.timestamps.option(now)), ..Options::default() }
    }

    /// A segment with [`Tcb::options`] has left.
    pub(super) fn sack_reported(&mut self) {
        if !self.received.has_report() || self.received.sack_count(self.sack_blocks_max()) == 0 {
            return;
        }
        self.noted.note(if self.received.has_duplicate() { Happening::DsackSent } else { Happening::SackSent });
        self.received.reported();
    }

    /// SACK blocks that a segment has room for; 0 when the peer did not permit them.
    fn sack_blocks_max(&self) -> usize {
        //= rfc2018#3
        //# thus a maximum of 3 SACK blocks will be allowed in this case.
        match (self.offers.sack, self.timestamps.ok) {
            (false, _) => 0,
            (true, true) => SACK_BLOCKS - 1 - usize::from(self.user_timeout.in_segment().is_some()),
            (true, false) => SACK_BLOCKS,
        }
    }

    /// Takes in the options of the peer's SYN.
    pub(super) fn settle_options(&mut self, options: &Options, now: Instant) {
        let peer_mss = options.mss.unwrap_or(self.path_mtu.ip().default_mss());
        //= rfc9293#3.7.1
        //# The maximum size of a segment that a TCP endpoint really sends, the "effective send MSS", MUST be the smaller (MUST-16)
        //# of the send MSS (that reflects the available reassembly buffer size at the remote host, the EMTU_R [19]) and the largest
        //# transmission size permitted by the IP layer (EMTU_S [19])
        self.settle_mss(peer_mss.max(SEND_MSS_MIN).min(self.rcv.mss.max(SEND_MSS_MIN)));
        //= rfc7323#2.3
        //# Upon receiving a <SYN> segment with a Window Scale option containing shift.cnt = S, a TCP MUST set Snd.Wind.Shift to S
        //# and MUST set Rcv.Wind.Shift to R; otherwise, it MUST set both Snd.Wind.Shift and Rcv.Wind.Shift to zero.
        self.offers = self.offers.taken_up(options);
        match options.window_scale {
            Some(shift) if self.offers.window_scale => {
                self.snd.shift = WindowScale::clamped(shift);
                if self.snd.shift.shift() != shift {
                    self.noted.note(Happening::WindowScaleClamped);
                }
            }
            _ => {
                self.snd.shift = WindowScale::NONE;
                self.rcv.shift = WindowScale::NONE;
            }
        }
        if self.offers.timestamps {
            self.timestamps.negotiate(options.timestamps, now);
        }
        self.congestion.set_mss(self.payload_max());
    }

    /// Eff.snd.MSS: the largest payload of a segment that leaves now, its options taken off. While there is something to report selectively
    /// it is smaller than otherwise.
    pub(super) fn payload_max(&self) -> u32 {
        //= rfc9293#3.7.1
        //# When TCP is used in a situation where either the IP or TCP headers are not fixed, the sender must reduce the amount of
        //# TCP data in any given packet by the number of octets used by the IP and TCP options.
        u32::from(self.snd.mss) - self.timestamp_bytes() - self.user_timeout_bytes() - self.sack_bytes()
    }

    /// The payload of a full-sized segment of the peer.
    pub(super) fn peer_payload_max(&self) -> u32 {
        u32::from(self.rcv.mss).saturating_sub(self.timestamp_bytes()).max(1)
    }

    const fn timestamp_bytes(&self) -> u32 {
        if self.timestamps.ok { TIMESTAMP_BYTES } else { 0 }
    }

    /// Bytes of the user timeout in a segment that leaves now.
    fn user_timeout_bytes(&self) -> u32 {
        if self.user_timeout.in_segment().is_some() { USER_TIMEOUT_BYTES } else { 0 }
    }

    /// Bytes of the SACK option of a segment that leaves now.
    fn sack_bytes(&self) -> u32 {
        if !self.received.has_report() {
            return 0;
        }
        let blocks = self.received.sack_count(self.sack_blocks_max()) as u32;
        if blocks == 0 { 0 } else { 4 + 8 * blocks }
    }
}

/// What a SYN of ours offers; narrowed by the peer's SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offers {
    /// Window scaling.
    pub(super) window_scale: bool,
    /// Timestamps.
    pub(super) timestamps: bool,
    /// Selective acknowledgments; once the peer's SYN is known: both ends may send them.
    pub(super) sack: bool,
}

impl Offers {
    /// Before the peer's SYN is known.
    pub(super) const fn new(config: &Config) -> Self {
        Self { window_scale: config.window_scaling, timestamps: config.timestamps, sack: config.sack }
    }

    /// What of them the peer's SYN takes up.
    pub(super) const fn taken_up(self, options: &Options) -> Self {
        Self {
            window_scale: self.window_scale && options.window_scale.is_some(),
            timestamps: self.timestamps && options.timestamps.is_some(),
            //= rfc2018#4
            //# If the data receiver has not received a SACK-Permitted option for a given connection, it MUST NOT send SACK options on
            //# that connection.
            sack: self.sack && options.sack_permitted,
        }
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form) {
        let Self { window_scale, timestamps, sack } = self;
        for flag in [window_scale, timestamps, sack] {
            form.flag(flag);
        }
    }
}

/// The options of a SYN or SYN-ACK, whether a TCB or a cookie stands for it.
pub(super) fn of_syn(rcv: &ReceiveSpace, offers: Offers, timestamps: Option<(u32, u32)>, user_timeout: Option<u16>) -> Options {
    Options {
        //= rfc9293#3.7.1
        //# TCP implementations SHOULD send an MSS Option in every SYN segment when its receive MSS differs from the default 536
        //# for IPv4 or 1220 for IPv6 (SHLD-5), and MAY send it always
        //= rfc9293#3.7.1
        //# TCP endpoints MUST implement both sending and receiving the MSS Option (MUST-14).
        mss: Some(rcv.mss),
        //= rfc7323#2.3
        //# If a TCP receives a <SYN> segment containing a Window Scale option, it SHOULD send its own Window Scale option in
        //# the <SYN,ACK> segment.
        window_scale: if offers.window_scale { Some(rcv.shift.shift()) } else { None },
        timestamps,
        //= rfc2018#2
        //# This two-byte option may be sent in a SYN by a TCP that has been extended to receive (and presumably process) the SACK
        //# option once the connection has opened.
        sack_permitted: offers.sack,
        user_timeout,
        ..Options::default()
    }
}

/// Timestamps, padded to a multiple of four (RFC 7323 appendix A).
const TIMESTAMP_BYTES: u32 = 12;
/// The user timeout (RFC 5482 3.3).
const USER_TIMEOUT_BYTES: u32 = 4;
const _: () = assert!(SEND_MSS_MIN as u32 > 40, "options take 40 bytes at most");
