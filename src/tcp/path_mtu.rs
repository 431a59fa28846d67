//! The MTU of the path, from "fragmentation needed" (RFC 1191) and Packet Too Big (RFC 8201), guarded against forgeries (RFC 5927 7.2).
//!
//! The engine calls [`Tcb::on_packet_too_big`] with an error that quotes a segment in flight; `output` and `acknowledge` note what was
//! sent and what got through. Every packet is sent with DF, so that the segment's size is the packet's. Nothing panics.

use super::config::Config;
use super::congestion::Congestion;
use super::event::IpVersion;
use super::folded::Form;
use super::path_search::Search;
use super::seq::SeqNum;
use super::tally::Happening;
use super::tcb::Tcb;
use crate::limits::PATH_MTU_MIN;
use crate::link::pmtu::{BELIEVED, PLATEAUS};
use crate::time::Instant;

/// What is known of the path. Sizes are of whole packets, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PathMtu {
    ip: IpVersion,
    /// "maxsizesent", and where the packet of that size ended.
    max_sent: u16,
    max_sent_end: SeqNum,
    /// "maxsizeacked".
    max_acked: u16,
    /// An error that is believed only if the segment it quotes has to be sent again.
    pending: Option<(SeqNum, u16)>,
    /// SND.MSS as the link and the peer's SYN have it.
    mss_max: u16,
    /// The largest packet that the path is known to carry, if it is known to carry no larger one.
    pub(super) limit: u16,
    /// When a larger size is tried again; [`Instant::NEVER`] while the path is as wide as the link, or a probe is under way.
    pub(super) raise_at: Instant,
    /// The search of a connection that does not rely on routers.
    pub(super) search: Option<Search>,
}

impl PathMtu {
    pub(super) const fn new(iss: SeqNum, ip: IpVersion, mss: u16) -> Self {
        Self {
            ip,
            max_sent: ip.mtu_min(),
            max_sent_end: iss,
            max_acked: ip.mtu_min(),
            pending: None,
            mss_max: mss,
            limit: u16::MAX,
            raise_at: Instant::NEVER,
            search: None,
        }
    }

    /// SND.MSS, no larger than both ends and the path allow.
    const fn mss(&self) -> u16 {
        let path = self.limit - self.ip.headers();
        if path < self.mss_max { path } else { self.mss_max }
    }

    /// The largest packet that link and peer allow.
    pub(super) const fn ceiling(&self) -> u16 {
        self.mss_max.saturating_add(self.ip.headers())
    }

    /// Packets larger than `limit` do not get through any more; what was sent up to `end` was no larger than `sent`, for all that is known.
    pub(super) fn narrow_to(&mut self, limit: u16, sent: u16, end: SeqNum) {
        self.limit = limit;
        self.max_acked = self.max_acked.min(limit);
        self.max_sent = sent;
        self.max_sent_end = end;
    }

    /// What carries the segments.
    pub(super) const fn ip(&self) -> IpVersion {
        self.ip
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, una: SeqNum, mss: u16) {
        let Self { ip, max_sent, max_sent_end, max_acked, pending, mss_max, limit, raise_at, search } = self;
        *ip = if form.bit(*ip == IpVersion::V4) { IpVersion::V4 } else { IpVersion::V6 };
        form.near(mss_max, mss);
        form.near(max_sent, ip.mtu_min());
        form.near(max_sent_end, una);
        form.near(max_acked, *max_sent);
        form.optional(pending, (una, 0), |form, (seq, size)| {
            form.near(seq, una);
            form.near(size, 0);
        });
        form.near(limit, u16::MAX);
        form.near(raise_at, Instant::NEVER);
        form.optional(search, Search::BLANK, |form, search| search.pass(form, una));
    }
}

impl Tcb {
    /// The largest packet sent now, in bytes.
    pub fn path_mtu(&self) -> u16 {
        self.snd.mss.saturating_add(self.path_mtu.ip.headers())
    }

    /// The peer's SYN allows segments of `mss` bytes; the path may not.
    pub(super) fn settle_mss(&mut self, mss: u16) {
        self.path_mtu.mss_max = mss;
        self.snd.mss = self.path_mtu.mss();
    }

    /// No packet is larger than the path is known to carry, nor larger than it was at first.
    pub(super) fn limit_segments(&mut self) {
        self.snd.mss = self.path_mtu.mss();
        self.congestion.set_mss(self.payload_max());
    }

    /// Others have found, and an error about a packet of theirs has shown, that the path carries no more than `mtu` bytes. That is believed until `until`;
    /// larger packets of this connection that have got through are believed more.
    pub fn on_path_mtu(&mut self, mtu: u16, until: Instant) {
        //= rfc8201#5.4
        //# Any packetization layer instance (for example, a TCP
        //# connection) that is actively using the path must be notified if the
        //# PMTU estimate is decreased.
        let current = self.path_mtu();
        let path = &mut self.path_mtu;
        if mtu >= current || mtu < path.ip.mtu_min() {
            return;
        }
        if mtu < path.max_acked {
            path.pending = Some((self.snd.una, mtu));
            return;
        }
        //= rfc8201#5.4
        //# Alternatively, the retransmission could be done in immediate response
        //# to a notification that the Path MTU was decreased, but only for the
        //# specific connection specified by the Packet Too Big message.
        path.limit = mtu;
        path.raise_at = until;
        self.limit_segments();
    }

    /// The same of what is not news, but was found at any time: what has got through since may be larger, and then it says nothing.
    pub fn on_known_path_mtu(&mut self, mtu: u16, until: Instant) {
        if mtu >= self.path_mtu.max_acked {
            self.on_path_mtu(mtu, until);
        }
    }

    /// The size of the packet of a segment with `len` bytes that leaves now.
    pub(super) fn packet_size(&self, len: u32) -> u16 {
        let size = u32::from(self.snd.mss) - self.payload_max() + len + u32::from(self.path_mtu.ip.headers());
        size.min(u32::from(u16::MAX)) as u16
    }

    /// A segment that ends before `end` leaves, with `len` bytes.
    pub(super) fn note_size(&mut self, len: u32, end: SeqNum) {
        let size = self.packet_size(len);
        if size > self.path_mtu.max_sent {
            self.path_mtu.max_sent = size;
            self.path_mtu.max_sent_end = end;
            self.note_probe(size, end - len, end);
        }
    }

    /// Everything before `ack` has got through.
    pub(super) fn note_arrived(&mut self, ack: SeqNum) {
        let path = &mut self.path_mtu;
        if path.max_sent > path.max_acked && ack.at_or_after(path.max_sent_end) {
            path.max_acked = path.max_sent;
            self.probe_arrived(ack);
        }
        let path = &mut self.path_mtu;
        if path.pending.is_some_and(|(seq, _)| ack.after(seq)) {
            //= rfc5927#7.2
            //# The described counter-measure basically disregards ICMP messages when a connection makes progress
            path.pending = None;
        }
    }

    /// A router says that the packet with the segment `seq`, which is in flight, is too big for a link of `mtu` bytes; 0 from a router that does
    /// not say how big may be.
    pub fn on_packet_too_big(&mut self, config: &Config, now: Instant, seq: SeqNum, mtu: u16) {
        let path = &self.path_mtu;
        let current = u32::from(self.path_mtu());
        let claimed = match mtu {
            //= rfc8201#4
            //# If a node receives a Packet Too Big message reporting a
            //# next-hop MTU that is less than the IPv6 minimum link MTU, it must
            //# discard it.
            _ if path.ip == IpVersion::V6 && mtu < path.ip.mtu_min() => return,
            //= rfc1191#5
            //# a Datagram Too Big message from an unmodified
            //# router (i.e., one where the Next-Hop MTU field is zero)
            0 => PLATEAUS.into_iter().find(|&plateau| plateau < path.max_sent).unwrap_or(PATH_MTU_MIN),
            // No link is so narrow: a mistake, or a lie.
            _ if mtu < path.ip.mtu_min() => return,
            _ => mtu,
        };
        //= rfc1191#3
        //# A host MUST never reduce its estimate of the Path MTU below 68
        //# octets.
        // Nor as far as that: it would turn a stream into a flood of tiny segments.
        let claimed = claimed.max(PATH_MTU_MIN);
        if self.probe_was_too_big(seq, claimed) {
            return;
        }
        let path = &self.path_mtu;
        //= rfc5927#7.2
        //# If claimedmtu is larger than maxsizesent, then the
        //# ICMP error message is silently discarded.
        // Nor is it news, unless segments are on their way that are larger than those that others' errors allow now.
        if claimed >= path.max_sent || u32::from(claimed) > current {
            return;
        }
        if claimed >= path.max_acked {
            self.reduce_path_mtu(config, now, claimed);
        } else {
            self.path_mtu.pending = Some((seq, claimed));
        }
    }

    /// The link itself carries packets of `mtu` bytes from now on. True when what is in flight is too big for it and goes out again; when
    /// the link grows, a connection keeps its size.
    pub fn on_link_mtu(&mut self, config: &Config, now: Instant, mtu: u16) -> bool {
        let path = &mut self.path_mtu;
        let mtu = mtu.max(path.ip.mtu_min());
        path.mss_max = path.mss_max.min(mtu - path.ip.headers());
        if mtu >= self.path_mtu() {
            return false;
        }
        self.path_mtu.max_acked = self.path_mtu.max_acked.min(mtu);
        self.reduce_path_mtu(config, now, mtu);
        true
    }

    /// The retransmission timer has expired: an error that waited for that is believed.
    pub(super) fn believe_pending_mtu(&mut self, config: &Config, now: Instant) {
        if let Some((_, claimed)) = self.path_mtu.pending.take() {
            self.path_mtu.max_acked = claimed;
            self.reduce_path_mtu(config, now, claimed);
        }
    }

    fn reduce_path_mtu(&mut self, config: &Config, now: Instant, mtu: u16) {
        let path = &mut self.path_mtu;
        path.max_sent = path.ip.mtu_min();
        path.max_sent_end = self.snd.una;
        //= rfc1191#6.3
        //# When a PMTU
        //# value has not been decreased for a while (on the order of 10
        //# minutes), the PMTU estimate should be set to the first-hop data-link
        //# MTU
        path.raise_at = now + BELIEVED;
        path.search = path.search.map(|_| Search::ABOVE);
        path.limit = mtu;
        self.limit_segments();
        self.noted.note(Happening::PathMtuReduced);
        self.send_all_again();
        self.arm_send(config, now);
    }

    /// What is outstanding goes out again, in segments of the new size. It was not lost to congestion.
    fn send_all_again(&mut self) {
        self.flight.lose_all();
    }

    /// Tries the larger size again, its time having come.
    pub(super) fn raise_path_mtu(&mut self) {
        self.path_mtu.raise_at = Instant::NEVER;
        self.path_mtu.limit = u16::MAX;
        self.limit_segments();
    }
}
