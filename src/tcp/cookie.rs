//! SYN cookies: a handshake of which nothing is remembered (RFC 4987 3.6 and appendix A).
//!
//! The engine calls [`syn_ack`] for a SYN that its listener has no room for, and [`accept`] for an acknowledgment at a listener that has
//! sent cookies lately. What a TCB would have kept of the SYN travels to the peer and back instead: the MSS in our initial sequence
//! number, window scale, SACK and ECN in the low bits of the timestamp. Pure; nothing panics, nothing allocates.
//!
//! ```text
//! cookie = F(flow) + IRS + (slot << 24) + ((G(flow, IRS, slot, extras) + index of the MSS) mod 2^24)
//! ```
//!
//! Both hashes are keyed with a secret of the process's own. A slot is 64 s long, and the present and the previous one are taken, so that
//! a cookie lives for one to two minutes. `extras` is what the timestamp carries, or that there is none: an echo that was altered on
//! the way makes the cookie wrong, instead of giving the connection a scale its peer never named.
//!
//! What can be forged: of the 2^32 acknowledgment numbers 16 are right at a time (two slots, eight sizes), so a blind guess succeeds once
//! in 2^28. At 100,000 guesses a second that is one connection in 45 minutes, in the name of an address whose owner resets it at our
//! first segment; and it succeeds only within two minutes of an overflow. Who can see the cookie can complete the handshake anyway.
//!
//! What can be replayed: while it lives a cookie is right as often as it comes. A copy of the ACK, with the data it carries, would open the
//! connection again once it is over and nothing of it is left, as when the peer closed first. So the engine refuses a cookie that has made a
//! connection (`engine/spent_cookies.rs`); it remembers some thousands a core, and after as many more an older one could be used again until
//! its time is over. Data that must not be taken twice is for the service to tell apart, as with any connection whose peer is not proven.
//!
//! What is lost: a segment that overtakes the one with which the connection begins is dropped ([`may_follow`]), not kept, and comes again
//! with that one when the peer's timer expires; a SYN-ACK is not sent again by itself (the peer's SYN is), and a peer whose ACK is lost
//! and that waits for us to speak first waits in vain. That is why cookies are for overflow only, as RFC 4987 5 has it.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use super::config::Config;
use super::ecn;
use super::event::{Opening, Transmit};
use super::options::{self, Offers};
use super::pool::BufferPool;
use super::seq::SeqNum;
use super::tcb::Tcb;
use super::timestamps::Timestamps;
use super::user_timeout::UserTimeout;
use super::window::ReceiveSpace;
use crate::time::Instant;
use crate::wire::tcp::{Flags, Options, Segment};

/// The secret and the flow a cookie is for ([`crate::demux::key::FlowKey::octets`]).
#[derive(Clone, Copy)]
pub struct Seal<'a> {
    /// The key of the hashes.
    pub secret: &'a [u8; 16],
    /// The flow.
    pub flow: &'a [u8; 40],
}

/// The SYN-ACK that answers a SYN and remembers it: the one a TCB would have sent, with the cookie in place of its numbers. It is put together
/// of the same parts, without the TCB; `opening.iss` and `opening.congestion` are not used.
pub fn syn_ack(config: &Config, opening: Opening, now: Instant, syn: &Segment<'_>, seal: Seal<'_>) -> Transmit<'static> {
    let stamped = config.timestamps && syn.options.timestamps.is_some();
    // Without a timestamp there is no place to remember the rest in.
    let (asked, flags) = if stamped { (syn.options, syn.flags) } else { (Options::default(), Flags::SYN) };
    let offers = Offers::new(config).taken_up(&asked);
    let ecn = ecn::answer(config.ecn, flags);
    let extras = Extras {
        window_scale: asked.window_scale.filter(|_| offers.window_scale),
        sack: offers.sack,
        ecn: ecn.contains(Flags::ECE),
    };
    let extras = if stamped { extras.bits() } else { NO_EXTRAS };
    let clock = Timestamps::new(opening.timestamp_offset);
    let timestamps = asked.timestamps.map(|(value, _)| (stamp(clock.value(now), extras), value));
    let mut rcv = ReceiveSpace::new(config, opening.mss);
    let window = rcv.offer_in_syn();
    let options = options::of_syn(&rcv, offers, timestamps, UserTimeout::new(config, now).in_syn());
    //= rfc4987#a
    //# When a SYN comes in from (saddr,sport) to (daddr,dport) with
    //# ISN x, find the largest i for which msstab[i] <= the incoming
    //# MSS.
    let index = size_index(syn.options.mss.unwrap_or(opening.ip.default_mss()));
    let seq = cookie(seal, syn.seq, slot(now), extras, index);
    let flags = Flags::SYN | Flags::ACK | ecn;
    Transmit { seq, ack: syn.seq + 1, flags, window, urgent: 0, options, ect: false, payload: [&[], &[]] }
}

/// The TCB of a handshake that an acknowledgment completes, if it acknowledges a cookie of ours that is not too old: in SYN-RECEIVED
/// and with its SYN-ACK sent, so that the segment goes through every check of that state next. `opening.iss` is not used.
pub fn accept(config: &Config, opening: Opening, now: Instant, segment: &Segment<'_>, seal: Seal<'_>) -> Option<Tcb> {
    let flags = segment.flags;
    if !flags.contains(Flags::ACK) || flags.contains(Flags::SYN) || flags.contains(Flags::RST) {
        return None;
    }
    let (irs, iss) = (segment.seq - 1, segment.ack - 1);
    let stamps = segment.options.timestamps.filter(|_| config.timestamps);
    let bits = stamps.map_or(NO_EXTRAS, |(_, echo)| echo as u8 & EXTRAS_MASK);
    //= rfc4987#a
    //# This
    //# means recomputing y as above, for each of the counters
    //# that could have been used in the last few minutes
    let newest = slot(now);
    let index = [newest, newest.wrapping_sub(1)].into_iter().find_map(|slot| {
        let index = iss - cookie(seal, irs, slot, bits, 0);
        // The sum wraps within its 24 bits.
        let index = (index & HASH_MASK) as usize;
        (index < SIZES.len() && cookie(seal, irs, slot, bits, index as u32) == iss).then_some(index)
    })?;
    let extras = stamps.map_or(Extras::NONE, |_| Extras::from_bits(bits));
    let syn = Segment {
        seq: irs,
        ack: SeqNum(0),
        flags: if extras.ecn { Flags::SYN | Flags::ECE | Flags::CWR } else { Flags::SYN },
        window: segment.window,
        urgent: 0,
        ecn: 0,
        options: Options {
            mss: Some(SIZES[index]),
            window_scale: extras.window_scale,
            sack_permitted: extras.sack,
            timestamps: stamps.map(|(value, _)| (value, 0)),
            ..Options::default()
        },
        payload: &[],
    };
    let mut tcb = Tcb::accept(config, Opening { iss, ..opening }, now, &syn);
    // The SYN-ACK has left already; when, nobody knows.
    let _ = tcb.poll_transmit(config, now, &mut BufferPool::new(0));
    tcb.forget_when_sent();
    Some(tcb)
}

/// True when a segment that acknowledges no cookie may come of a handshake that was answered with one all the same: an earlier segment, with
/// which the connection begins, was overtaken or lost. Then it must not be reset; the peer sends both again.
///
/// Without IRS, which is somewhere in the 64 KiB before the segment, G cannot be computed, but F can: of the segments that have nothing to
/// do with a cookie one in 128 is taken for such a one. That costs nobody a connection: there is none here that the segment could belong to,
/// and its peer, one that has not heard of an end, hears of it later. The slots go on and the numbers of what is sent again do not, so
/// that it is no longer taken for one after two slots, three where the 64 KiB reach into another; and nothing is once the overflow is over.
pub fn may_follow(now: Instant, segment: &Segment<'_>, seal: Seal<'_>) -> bool {
    let (irs, iss) = (segment.seq - 1, segment.ack - 1);
    let oldest = slot(now).wrapping_sub(1) << HASH_BITS;
    // The hidden 24 bits, in one of two slots, less what the peer has sent since its SYN.
    let rest = (iss - irs).wrapping_sub(base(seal)).wrapping_sub(oldest);
    rest.wrapping_add(AHEAD_MAX) < (2 << HASH_BITS) + AHEAD_MAX
}

/// What the low six bits of TSval remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extras {
    window_scale: Option<u8>,
    sack: bool,
    ecn: bool,
}

impl Extras {
    const NONE: Self = Self { window_scale: None, sack: false, ecn: false };

    /// Four bits of window scale (15 for none), one of SACK, one of ECN.
    fn bits(self) -> u8 {
        self.window_scale.map_or(NO_SCALE, |shift| shift.min(14)) | (u8::from(self.sack) << 4) | (u8::from(self.ecn) << 5)
    }

    const fn from_bits(bits: u8) -> Self {
        let scale = bits & NO_SCALE;
        Self { window_scale: if scale == NO_SCALE { None } else { Some(scale) }, sack: bits & 16 != 0, ecn: bits & 32 != 0 }
    }
}

/// The largest TSval at or before `value` that ends in these bits: lowered by up to 63 rather than ahead of the clock, which a TCB's later
/// values, from the same offset, then never fall behind.
const fn stamp(value: u32, bits: u8) -> u32 {
    let mask = EXTRAS_MASK as u32;
    let low = value & mask;
    let bits = bits as u32;
    value.wrapping_sub(if bits <= low { low - bits } else { low + mask + 1 - bits })
}

fn cookie(seal: Seal<'_>, irs: SeqNum, slot: u32, extras: u8, index: u32) -> SeqNum {
    let hidden = hash(seal, irs, slot, extras).wrapping_add(index) & HASH_MASK;
    irs + base(seal) + (slot << HASH_BITS) + hidden
}

/// F: makes the sum unpredictable, yet it grows with the slots, as initial sequence numbers should.
fn base(seal: Seal<'_>) -> u32 {
    let mut hasher = SipHasher13::new_with_key(seal.secret);
    hasher.write(seal.flow);
    hasher.finish() as u32
}

/// G: cannot be computed without the secret.
fn hash(seal: Seal<'_>, irs: SeqNum, slot: u32, extras: u8) -> u32 {
    let mut hasher = SipHasher13::new_with_key(seal.secret);
    hasher.write(seal.flow);
    hasher.write_u32(irs.0);
    hasher.write_u32(slot);
    hasher.write_u8(extras);
    hasher.finish() as u32
}

/// The largest size that is not above what the peer takes. (Below the smallest nobody is served: see [`crate::limits::SEND_MSS_MIN`].)
fn size_index(mss: u16) -> u32 {
    SIZES.iter().rposition(|&size| size <= mss).unwrap_or(0) as u32
}

const fn slot(now: Instant) -> u32 {
    (now.as_ns() / SLOT_NS) as u32
}

/// A counter value is 64 s long (RFC 4987 appendix A).
const SLOT_NS: u64 = 64_000_000_000;
/// Bits of the sum that the hash covers.
const HASH_BITS: u32 = 24;
const HASH_MASK: u32 = (1 << HASH_BITS) - 1;
/// The window of a SYN-ACK, which is not scaled, and a FIN or a probe.
const AHEAD_MAX: u32 = 65_536;
/// The MSS of peers: none at all, tunnels, IPv6 as it must be, PPPoE, Ethernet, jumbo frames.
const SIZES: [u16; 8] = [crate::limits::SEND_MSS_MIN, 536, 1220, 1360, 1400, 1440, 1460, 8960];
/// The bits of TSval that carry [`Extras`].
const EXTRAS_MASK: u8 = 63;
/// In place of the bits where there is no timestamp.
const NO_EXTRAS: u8 = 64;
/// The scale of a peer that scales nothing.
const NO_SCALE: u8 = 15;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::tcp::congestion::Algorithm;
    use crate::tcp::ecn::Use;
    use crate::tcp::{BufferPool, Events, IpVersion, State};
    use crate::wire::checksum::PseudoHeader;
    use crate::wire::tcp;

    const SEAL: Seal<'static> = Seal { secret: b"sixteen secrets!", flow: &[7; 40] };
    const OPENING: Opening =
        Opening { iss: SeqNum(1), timestamp_offset: u32::MAX - 5, ip: IpVersion::V4, mss: 1460, congestion: Algorithm::Reno };
    const NOW: Instant = Instant::from_ns(1_000_000_000_000);
    const IRS: SeqNum = SeqNum(u32::MAX);

    fn syn(options: Options) -> Segment<'static> {
        Segment { seq: IRS, ack: SeqNum(0), flags: Flags::SYN, window: 65_535, urgent: 0, ecn: 0, options, payload: &[] }
    }

    fn all(mss: u16) -> Options {
        let (window_scale, timestamps) = (Some(7), Some((900, 0)));
        Options { mss: Some(mss), window_scale, sack_permitted: true, timestamps, ..Options::default() }
    }

    fn cookie_for(options: Options) -> Transmit<'static> {
        syn_ack(&Config::default(), OPENING, NOW, &syn(options), SEAL)
    }

    /// The peer's ACK of a cookie.
    fn ack_of(cookie: &Transmit<'_>) -> Segment<'static> {
        let timestamps = cookie.options.timestamps.map(|(value, _)| (901, value));
        let options = Options { timestamps, ..Options::default() };
        Segment { seq: IRS + 1, ack: cookie.seq + 1, flags: Flags::ACK, window: 500, urgent: 0, ecn: 0, options, payload: &[] }
    }

    fn accepted(segment: &Segment<'_>, now: Instant) -> Option<Tcb> {
        accept(&Config::default(), OPENING, now, segment, SEAL)
    }

    /// A SYN-ACK on the wire.
    fn bytes(sent: &Transmit<'_>) -> Vec<u8> {
        let Transmit { seq, ack, flags, window, urgent, options, .. } = *sent;
        let header = tcp::Header { source_port: 7, target_port: 40_000, seq, ack, flags, window, urgent, options };
        let mut bytes = vec![0; tcp::header_len(&options)];
        let (source, target) = (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::BROADCAST.into());
        tcp::emit(&mut bytes, &header, 0, &PseudoHeader { source, target, protocol: 6 });
        bytes
    }

    //= type=test
    //= rfc4987#a
    //# If there is a
    //# match, the connection can be accepted
    #[test]
    fn the_ack_of_a_cookie_makes_the_connection_the_syn_asked_for() {
        let cookie = cookie_for(all(1460));
        assert_eq!((cookie.flags, cookie.ack), (Flags::SYN | Flags::ACK, IRS + 1));
        let ack = ack_of(&cookie);
        let mut tcb = accepted(&ack, NOW).expect("the cookie is right");
        let (config, mut pool) = (Config::default(), BufferPool::new(1 << 20));
        let arrival = tcb.on_segment(&config, NOW, &ack, &mut pool);
        assert_eq!((tcb.state(), arrival.events, arrival.drop), (State::Established, Events::CONNECTED, None));
        assert_eq!((tcb.snd.mss, tcb.snd.wnd, tcb.irs, tcb.snd.una), (1460, 500 << 7, IRS, cookie.seq + 1));
        assert!(tcb.offers.sack && tcb.timestamps.ok);
        assert_eq!(tcb.srtt_ns(), None, "nobody knows when the SYN-ACK left");
        assert!(!tcb.wants_transmit(NOW));
    }

    #[test]
    fn without_timestamps_only_the_mss_is_remembered() {
        let options = Options { timestamps: None, ..all(1300) };
        let cookie = cookie_for(options);
        assert_eq!(cookie.options, Options { mss: Some(1460), ..Options::default() });
        let ack = ack_of(&cookie);
        let mut tcb = accepted(&ack, NOW).expect("the cookie is right");
        tcb.on_segment(&Config::default(), NOW, &ack, &mut BufferPool::new(1 << 20));
        assert_eq!((tcb.snd.mss, tcb.snd.wnd, tcb.offers.sack, tcb.timestamps.ok), (1220, 500, false, false));
    }

    #[test]
    fn a_cookie_lives_for_one_to_two_slots() {
        let ack = ack_of(&cookie_for(all(1460)));
        let slot = Duration::from_secs(64);
        let begin = Instant::from_ns(NOW.as_ns() / SLOT_NS * SLOT_NS);
        assert!(accepted(&ack, begin + slot + Duration::from_secs(63)).is_some());
        assert!(accepted(&ack, begin + 2 * slot).is_none());
        assert!(accepted(&ack, begin - Duration::from_nanos(1)).is_none(), "not from the future");
    }

    #[test]
    fn a_syn_or_a_rst_acknowledges_no_cookie() {
        let ack = ack_of(&cookie_for(all(1460)));
        for more in [Flags::SYN, Flags::RST] {
            assert!(accepted(&Segment { flags: Flags::ACK | more, ..ack }, NOW).is_none());
        }
        assert!(accepted(&Segment { flags: Flags::FIN | Flags::ACK, ..ack }, NOW).is_some());
    }

    #[test]
    fn what_was_altered_on_the_way_is_refused() {
        let ack = ack_of(&cookie_for(all(1460)));
        let (value, echo) = ack.options.timestamps.unwrap();
        let stamped = |timestamps| Segment { options: Options { timestamps, ..Options::default() }, ..ack };
        assert!(accepted(&stamped(Some((value, echo ^ 1))), NOW).is_none(), "another scale");
        assert!(accepted(&stamped(Some((value, echo ^ 16))), NOW).is_none(), "no SACK");
        assert!(accepted(&stamped(None), NOW).is_none(), "the timestamp was taken off");
        assert!(accepted(&Segment { seq: ack.seq + 1, ..ack }, NOW).is_none(), "another SYN");
        let other = Seal { flow: &[8; 40], ..SEAL };
        assert!(accept(&Config::default(), OPENING, NOW, &ack, other).is_none(), "another flow");
        let other = Seal { secret: b"sixteen secrets?", ..SEAL };
        assert!(accept(&Config::default(), OPENING, NOW, &ack, other).is_none(), "another process");
    }

    /// What the head of this file says of guessing: all numbers near a cookie are tried, and only those of the eight sizes are right.
    #[test]
    fn eight_numbers_a_slot_are_right() {
        let ack = ack_of(&cookie_for(Options { timestamps: None, ..all(SIZES[0]) }));
        let right = (0..1u32 << 20).filter(|n| accepted(&Segment { ack: ack.ack - 100 + *n, ..ack }, NOW).is_some()).count();
        assert!((1..=SIZES.len()).contains(&right), "{right}");
    }

    #[test]
    fn what_follows_a_cookie_unanswered_is_known_by_its_numbers() {
        let ack = ack_of(&cookie_for(all(1460)));
        let follows = |ahead: u32, now| may_follow(now, &Segment { seq: ack.seq + ahead, ..ack }, SEAL);
        for ahead in [0, 1, 1460, 65_536] {
            assert!(follows(ahead, NOW) && follows(ahead, NOW + Duration::from_secs(64)), "{ahead}");
        }
        assert!(!follows(1460, NOW + Duration::from_secs(192)), "as old as no cookie");
        assert!(!follows(1 << 26, NOW), "beyond the window that the SYN-ACK offered");
        let taken = (0..1u32 << 16).filter(|n| follows(n << 16, NOW)).count();
        assert!((512..=514).contains(&taken), "one in 128: {taken}");
    }

    /// The slot stands in the eight bits above the hidden ones, but what is added to it differs from flow to flow.
    #[test]
    fn a_cookie_does_not_show_its_slot() {
        let top = |flow: u8| {
            let flow = [flow; 40];
            let cookie = syn_ack(&Config::default(), OPENING, NOW, &syn(all(1460)), Seal { flow: &flow, ..SEAL });
            (cookie.seq - IRS) >> HASH_BITS
        };
        let tops: std::collections::BTreeSet<_> = (0..64).map(top).collect();
        assert!(tops.len() > 32, "{tops:?}");
    }

    #[test]
    fn sizes_are_rounded_down() {
        let size = |mss| SIZES[size_index(mss) as usize];
        assert_eq!([536, 535, 1459, 1460, 9000].map(size), [536, 64, 1440, 1460, 8960]);
        assert_eq!(size(0), SIZES[0]);
    }

    proptest! {
        #[test]
        fn a_stamp_carries_its_bits_and_is_never_ahead_of_the_clock(value: u32, bits in 0..64u8, later in 0..1000u32) {
            let stamped = stamp(value, bits);
            prop_assert_eq!(stamped as u8 & EXTRAS_MASK, bits);
            prop_assert!(value.wrapping_sub(stamped) < 64);
            let next = stamp(value.wrapping_add(later), bits);
            prop_assert!(SeqNum(next).at_or_after(SeqNum(stamped)), "it never goes back");
        }

        #[test]
        fn the_extras_come_back_as_they_went(shift in prop::option::of(0..=14u8), sack: bool, ecn: bool) {
            let extras = Extras { window_scale: shift, sack, ecn };
            prop_assert_eq!(Extras::from_bits(extras.bits()), extras);
        }

        /// The numbers aside, a peer cannot tell from the SYN-ACK whether it is remembered: the same bytes in the same frame.
        #[test]
        fn a_cookie_is_sent_as_a_connection_would_send_it(
            offers: (bool, bool, bool),
            ecn in prop::sample::select(&[Use::Off, Use::Passive, Use::On]),
            buffers in (0..usize::MAX / 2, 0..usize::MAX / 2, 0..40u32),
            user_timeout in prop::option::of((any::<bool>(), 0..5_000_000u64)),
            named in (prop::option::of(0..=u16::MAX), prop::option::of(0..=20u8), any::<bool>(), prop::option::of(any::<(u32, u32)>())),
            told in prop::option::of(any::<u16>()),
            marks in 0..4u8,
            numbers: (u32, u32, u16, u16),
            ns in 0..u64::MAX / 2,
            v6: bool,
        ) {
            let config = Config {
                window_scaling: offers.0,
                timestamps: offers.1,
                sack: offers.2,
                ecn,
                receive_buffer: buffers.0 >> buffers.2,
                receive_buffer_max: buffers.1 >> buffers.2,
                user_timeout_option: user_timeout.is_some(),
                user_timeout: user_timeout.map_or(Duration::ZERO, |(set, ms)| Duration::from_millis(if set { ms } else { 0 })),
                ..Config::default()
            };
            let (irs, timestamp_offset, window, mss) = numbers;
            let (now, ip) = (Instant::from_ns(ns), if v6 { IpVersion::V6 } else { IpVersion::V4 });
            let opening = Opening { timestamp_offset, mss, ip, ..OPENING };
            let (their_mss, window_scale, sack_permitted, timestamps) = named;
            let options =
                Options { mss: their_mss, window_scale, sack_permitted, timestamps, user_timeout: told, ..Options::default() };
            let marks = [Flags::NONE, Flags::ECE, Flags::CWR, Flags::ECE | Flags::CWR][usize::from(marks)];
            let whole = Segment { seq: SeqNum(irs), window, flags: Flags::SYN | marks, ..syn(options) };
            // What cannot be remembered is treated as if it had not been asked for.
            let bare = Segment { flags: Flags::SYN, options: Options { mss: their_mss, ..Options::default() }, ..whole };
            let stamped = config.timestamps && timestamps.is_some();
            let mut tcb = Tcb::accept(&config, opening, now, if stamped { &whole } else { &bare });
            let mut expected = tcb.poll_transmit(&config, now, &mut BufferPool::new(0)).unwrap();
            let cookie = syn_ack(&config, opening, now, &whole, SEAL);
            expected.seq = cookie.seq;
            if let (Some((expected, _)), Some((value, _))) = (&mut expected.options.timestamps, cookie.options.timestamps) {
                prop_assert!(expected.wrapping_sub(value) <= u32::from(EXTRAS_MASK), "only its low bits tell something else");
                *expected = value;
            }
            prop_assert_eq!(&cookie, &expected);
            prop_assert_eq!(bytes(&cookie), bytes(&expected));
            if let Some((value, _)) = cookie.options.timestamps {
                let remembered = Extras::from_bits(value as u8 & EXTRAS_MASK);
                prop_assert_eq!(remembered.sack, cookie.options.sack_permitted);
                prop_assert_eq!(remembered.ecn, cookie.flags.contains(Flags::ECE));
                prop_assert_eq!(remembered.window_scale.is_some(), cookie.options.window_scale.is_some());
            }
        }

        #[test]
        fn every_cookie_is_recognized(irs: u32, mss: u16, ns in 0..u64::MAX / 2, later in 0..64u64, stamps: bool, scale in 0..=20u8) {
            let options = Options {
                mss: Some(mss),
                window_scale: Some(scale),
                timestamps: stamps.then_some((5, 0)),
                ..Options::default()
            };
            let now = Instant::from_ns(ns);
            let syn = Segment { seq: SeqNum(irs), ..syn(options) };
            let cookie = syn_ack(&Config::default(), OPENING, now, &syn, SEAL);
            let ack = Segment { seq: SeqNum(irs) + 1, ..ack_of(&cookie) };
            let tcb = accepted(&ack, now + Duration::from_secs(later)).expect("it is right");
            prop_assert_eq!(tcb.snd.mss, SIZES[size_index(mss) as usize].min(1460));
            prop_assert_eq!(tcb.snd.shift.shift(), if stamps { scale.min(14) } else { 0 });
        }
    }
}
