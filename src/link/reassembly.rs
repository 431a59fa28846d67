//! Fragments put together again (RFC 791, RFC 815, RFC 1122 3.3.2; RFC 8200 4.5, RFC 5722, RFC 6946).
//!
//! Called by the engine for fragments to a claimed address; whole packets never come here. Everything is bounded: datagrams in work, memory, fragments of
//! one datagram, the share of one sender, time. When something is full the oldest gives way, so that who sends fragments without end cannot keep
//! others' out for good. Memory is taken with the first fragment, once. Time is an argument; nothing here panics, whatever the fragments say.
//!
//! No two fragments of a datagram may overlap. RFC 5722 asks for it in IPv6; IPv4 lets the later one win, which serves nobody but who wants a filter on the
//! way to see another datagram than the receiver. Exact duplicates are no overlap: the network makes them.

use std::ops::Range;
use std::time::Duration;

use super::packet::Packet;
use crate::demux::Address;
use crate::device::Drop;
use crate::device::drop::DropCounters;
use crate::limits::{FRAGMENT_PIECES, FRAGMENT_SHARE, FRAGMENTED_DATAGRAMS, FRAGMENTS_PER_DATAGRAM};
use crate::time::Instant;
use crate::wire::extension::{self, FRAGMENT_HEADER_LEN};
use crate::wire::ipv4::{self, ECN_CE, ECN_MASK};
use crate::wire::ipv6;

/// A checked fragment, as it lies in its frame.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    key: Key,
    /// Where the data belong in the whole, in bytes.
    offset: usize,
    more: bool,
    /// The packet, its places counted from its IP header.
    packet: Packet,
    /// Where the field stands that names the fragment header; IPv6 only.
    named_at: usize,
    /// Everything before the data: the IPv4 header, or the headers of IPv6 with the fragment header last.
    head: &'a [u8],
    data: &'a [u8],
}

impl<'a> Part<'a> {
    /// Reads a fragment in its frame. `interface` is where it came in: fragments of one datagram come by one.
    ///
    /// # Errors
    /// [`Drop::Ipv4FragmentMalformed`] or [`Drop::Ipv6FragmentMalformed`]: nothing in it, a length that is no multiple of 8 with more to follow, or an end beyond
    /// 65,535 bytes. What makes the headers unreadable is an error as well, but then the packet was not accepted before.
    pub fn read(interface: u16, packet: &Packet, frame: &'a [u8]) -> Result<Self, Drop> {
        let bytes = frame.get(packet.whole()).ok_or(Drop::Ipv4Truncated)?;
        if packet.is_ipv4() { Self::read_ipv4(interface, packet, bytes) } else { Self::read_ipv6(interface, packet, bytes) }
    }

    /// Source, target and identification: the same in all fragments of a datagram.
    pub const fn ends(&self) -> (Address, Address, u32) {
        (self.key.source, self.key.target, self.key.identification)
    }

    fn read_ipv4(interface: u16, packet: &Packet, bytes: &'a [u8]) -> Result<Self, Drop> {
        let ip = ipv4::parse(bytes)?;
        let (head, data) = bytes.split_at_checked(ip.header_len).ok_or(Drop::Ipv4Truncated)?;
        let offset = usize::from(ip.fragment_offset);
        let broken = ip.more_fragments && !data.len().is_multiple_of(8);
        if broken || data.is_empty() || head.len() + offset + data.len() > DATAGRAM_MAX {
            return Err(Drop::Ipv4FragmentMalformed);
        }
        // The protocol belongs to what the fragments of one datagram share (RFC 791 3.2).
        let identification = u32::from(ip.protocol) << 16 | u32::from(ip.identification);
        let key = Key { source: packet.source, target: packet.target, identification, interface };
        let packet = Packet { ip_at: 0, payload_at: head.len(), end: bytes.len(), ..*packet };
        Ok(Self { key, offset, more: ip.more_fragments, packet, named_at: 0, head, data })
    }

    fn read_ipv6(interface: u16, packet: &Packet, bytes: &'a [u8]) -> Result<Self, Drop> {
        let ip = ipv6::parse(bytes)?;
        // Lengths and offsets are checked by the walk.
        let walked = extension::walk(ip.next_header, ip.payload(bytes)).map_err(|refused| refused.why)?;
        let fragment = walked.fragment.ok_or(Drop::Ipv6Fragment)?;
        let head_len = ipv6::HEADER_LEN + fragment.at + FRAGMENT_HEADER_LEN;
        let (head, data) = bytes.split_at_checked(head_len).ok_or(Drop::Ipv6FragmentMalformed)?;
        if data.is_empty() || head_len > PIECE {
            return Err(Drop::Ipv6FragmentMalformed);
        }
        let key = Key { source: packet.source, target: packet.target, identification: fragment.identification, interface };
        let payload_at = ipv6::HEADER_LEN + walked.at;
        let packet = Packet { ip_at: 0, payload_at, end: bytes.len(), protocol: walked.protocol, ..*packet };
        let (offset, more) = (usize::from(fragment.offset), fragment.more);
        Ok(Self { key, offset, more, packet, named_at: fragment.named_at as usize, head, data })
    }

    const fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.data.len()
    }
}

/// What the fragments of one datagram share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    identification: u32,
    interface: u16,
    source: Address,
    target: Address,
}

/// The datagrams of one core that have come in part.
#[derive(Debug)]
pub struct Reassembly {
    /// Empty until the first fragment comes.
    datagrams: Vec<Option<Datagram>>,
    pieces: Vec<Piece>,
    /// The bytes of the pieces, [`PIECE`] each.
    memory: Vec<u8>,
    free: Vec<u16>,
    /// No datagram is due earlier.
    deadline: Instant,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
struct Datagram {
    key: Key,
    deadline: Instant,
    /// Its pieces, in the order of their offsets.
    pieces: List,
    /// Fragments that have come.
    fragments: usize,
    /// Bytes that have come.
    received: usize,
    /// Where it ends, once the last fragment has come.
    end: Option<usize>,
    /// The first fragment's headers, once it has come.
    first: Option<First>,
    /// One bit for each ECN codepoint seen.
    ecn: u8,
    /// Given up; what still comes of it is dropped for the same reason.
    refused: Option<Drop>,
}

#[derive(Clone, Copy, Debug)]
struct First {
    packet: Packet,
    named_at: usize,
    /// The piece that holds the headers.
    head: u16,
}

/// The first of some pieces ([`NONE`]: there are none), and how many they are.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u16,
    count: usize,
}

/// A part of a fragment's bytes.
#[derive(Clone, Copy, Debug)]
struct Piece {
    next: u16,
    len: u16,
    offset: u16,
}

impl Piece {
    fn range(self) -> Range<usize> {
        let offset = usize::from(self.offset);
        offset..offset + usize::from(self.len)
    }
}

/// What is to be said of a datagram whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Its first fragment, for the ICMP error; it lies at the begin of the buffer. `None` when it has not come.
    pub first: Option<Packet>,
    /// The interface that its fragments came by.
    pub interface: u16,
}

impl Default for Reassembly {
    fn default() -> Self {
        Self { datagrams: Vec::new(), pieces: Vec::new(), memory: Vec::new(), free: Vec::new(), deadline: Instant::NEVER }
    }
}

impl Reassembly {
    /// Takes a fragment. When it completes its datagram, that is written to the begin of `whole` ([`WHOLE_MAX`] bytes), its headers made those of an
    /// unfragmented packet, and what is returned says where its parts lie; of IPv6 extension headers may follow at the payload. Datagrams that give way to it are counted in
    /// `drops`.
    ///
    /// # Errors
    /// Why the fragment is dropped. But for [`Drop::FragmentDuplicate`] its datagram is given up with it.
    pub fn take(
        &mut self,
        now: Instant,
        part: &Part<'_>,
        whole: &mut [u8],
        drops: &mut DropCounters,
    ) -> Result<Option<Packet>, Drop> {
        self.take_memory();
        let at = match self.datagrams.iter().position(|datagram| datagram.as_ref().is_some_and(|other| other.key == part.key)) {
            Some(at) => at,
            None => self.begin(now, part.key, drops).ok_or(Drop::FragmentGaveWay)?,
        };
        match self.add(at, part, drops) {
            Ok(false) => Ok(None),
            Ok(true) => {
                let done = self.finish(at, whole);
                self.forget(at);
                done.map(Some)
            }
            Err(Drop::FragmentDuplicate) => Err(Drop::FragmentDuplicate),
            Err(why) => {
                self.give_up(at, why);
                Err(why)
            }
        }
    }

    /// The time at which [`Reassembly::expire`] may find something; [`Instant::NEVER`] when nothing is in work.
    #[inline]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Gives up one datagram whose time is over. Its first fragment, if it has come, is written to the begin of `whole`, as much of it as an error may
    /// quote. `None`: there is none any more.
    pub fn expire(&mut self, now: Instant, whole: &mut [u8]) -> Option<Expired> {
        // What was given up before has been counted already.
        self.forget_refused(now);
        let due = self.datagrams.iter().position(|datagram| datagram.is_some_and(|datagram| datagram.deadline <= now));
        let Some(at) = due else {
            self.deadline = self.datagrams.iter().flatten().map(|datagram| datagram.deadline).min().unwrap_or(Instant::NEVER);
            return None;
        };
        let datagram = self.datagrams.get(at).copied().flatten()?;
        let first = datagram.first.and_then(|first| {
            let head = self.bytes(first.head).len();
            whole.get_mut(..head)?.copy_from_slice(self.bytes(first.head));
            let data = self.bytes(datagram.pieces.first);
            let end = head + data.len();
            whole.get_mut(head..end)?.copy_from_slice(data);
            Some(Packet { end, ..first.packet })
        });
        self.forget(at);
        Some(Expired { first, interface: datagram.key.interface })
    }

    /// Datagrams in work.
    pub fn len(&self) -> usize {
        self.datagrams.iter().flatten().count()
    }

    /// True when nothing is in work.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pieces of memory in use.
    #[cfg(test)]
    fn in_use(&self) -> usize {
        self.pieces.len() - self.free.len()
    }

    #[cold]
    fn take_memory(&mut self) {
        if self.datagrams.is_empty() {
            self.datagrams = vec![None; FRAGMENTED_DATAGRAMS];
            self.pieces = vec![Piece { next: NONE, len: 0, offset: 0 }; FRAGMENT_PIECES];
            self.memory = vec![0; FRAGMENT_PIECES * PIECE];
            self.free = (0..FRAGMENT_PIECES as u16).rev().collect();
        }
    }

    /// A place for a new datagram: that of the sender's oldest when it has its share, else an empty one, else that of the oldest of all.
    fn begin(&mut self, now: Instant, key: Key, drops: &mut DropCounters) -> Option<usize> {
        let of_source = self.datagrams.iter().flatten().filter(|datagram| datagram.key.source == key.source).count();
        if of_source >= FRAGMENTED_DATAGRAMS / FRAGMENT_SHARE {
            let oldest = self.oldest(|datagram| datagram.key.source == key.source)?;
            self.gives_way(oldest, Drop::FragmentShareFull, drops);
        }
        let at = match self.datagrams.iter().position(Option::is_none) {
            Some(at) => at,
            None => {
                let oldest = self.oldest(|_| true)?;
                self.gives_way(oldest, Drop::FragmentGaveWay, drops);
                oldest
            }
        };
        //= rfc1122#3.3.2
        //# There MUST be a reassembly timeout.  The reassembly timeout
        //# value SHOULD be a fixed value, not set from the remaining TTL.
        //= rfc8200#4.5
        //# If insufficient fragments are received to complete reassembly
        //# of a packet within 60 seconds of the reception of the first-
        //# arriving fragment of that packet, reassembly of that packet
        //# must be abandoned
        let deadline = now + TIMEOUT;
        self.deadline = self.deadline.min(deadline);
        let pieces = List { first: NONE, count: 0 };
        let new = Datagram { key, deadline, pieces, fragments: 0, received: 0, end: None, first: None, ecn: 0, refused: None };
        *self.datagrams.get_mut(at)? = Some(new);
        Some(at)
    }

    /// Adds a fragment to its datagram. True when that is whole.
    fn add(&mut self, at: usize, part: &Part<'_>, drops: &mut DropCounters) -> Result<bool, Drop> {
        let Some(mut datagram) = self.datagrams.get(at).copied().flatten() else { return Err(Drop::FragmentGaveWay) };
        if let Some(why) = datagram.refused {
            return Err(why);
        }
        let Range { start, end } = part.range();
        let beyond = match (part.more, datagram.end) {
            (true, Some(known)) => end >= known,
            (false, Some(known)) => end != known,
            (false, None) => self.list(datagram.pieces.first).any(|piece| piece.range().end > end),
            (true, None) => false,
        };
        if beyond {
            return Err(Drop::FragmentEndLies);
        }
        self.is_new(&datagram, part)?;
        if datagram.fragments >= FRAGMENTS_PER_DATAGRAM {
            return Err(Drop::FragmentTooMany);
        }
        datagram.fragments += 1;
        datagram.received += end - start;
        datagram.ecn |= 1 << (part.packet.dscp_ecn & ECN_MASK);
        if !part.more {
            datagram.end = Some(end);
        }
        *self.datagrams.get_mut(at).ok_or(Drop::FragmentGaveWay)? = Some(datagram);
        if start == 0 {
            let head = self.keep(at, 0, part.head, drops)?;
            if let Some(Some(datagram)) = self.datagrams.get_mut(at) {
                datagram.first = Some(First { packet: part.packet, named_at: part.named_at, head });
            }
        }
        for (nth, bytes) in part.data.chunks(PIECE).enumerate() {
            let piece = self.keep(at, start + nth * PIECE, bytes, drops)?;
            self.link(at, piece);
        }
        Ok(datagram.end == Some(datagram.received))
    }

    /// Whether no byte of a fragment has come before.
    fn is_new(&self, datagram: &Datagram, part: &Part<'_>) -> Result<(), Drop> {
        //= rfc8200#4.5
        //# If any of the fragments being reassembled overlap with any
        //# other fragments being reassembled for the same packet,
        //# reassembly of that packet must be abandoned and all the
        //# fragments that have been received for that packet must be
        //# discarded, and no ICMP error messages should be sent.
        let Range { start, end } = part.range();
        let mut same = 0;
        let mut next = datagram.pieces.first;
        while let Some(&piece) = self.pieces.get(usize::from(next)) {
            let range = piece.range();
            if range.start < end && start < range.end {
                let cut_alike = range.start >= start
                    && (range.start - start).is_multiple_of(PIECE)
                    && range.end == (range.start + PIECE).min(end)
                    && part.data.get(range.start - start..range.end - start) == Some(self.bytes(next));
                if !cut_alike {
                    return Err(Drop::FragmentOverlap);
                }
                same += range.len();
            }
            next = piece.next;
        }
        //= rfc8200#4.5
        //# Instead of treating these exact duplicate fragments
        //# as overlapping fragments, an implementation may choose to
        //# detect this case and drop exact duplicate fragments while
        //# keeping the other fragments belonging to the same packet.
        match same {
            0 => Ok(()),
            same if same == part.data.len() => Err(Drop::FragmentDuplicate),
            _ => Err(Drop::FragmentOverlap),
        }
    }

    /// Copies bytes into a free piece. When the sender has its share of those its oldest other datagram gives way; when there is none, the oldest of all.
    fn keep(&mut self, at: usize, offset: usize, bytes: &[u8], drops: &mut DropCounters) -> Result<u16, Drop> {
        let source = self.datagrams.get(at).copied().flatten().ok_or(Drop::FragmentGaveWay)?.key.source;
        let own = |datagram: &Datagram| datagram.key.source == source;
        let held: usize = self.datagrams.iter().flatten().filter(|datagram| own(datagram)).map(Datagram::held).sum();
        if held >= FRAGMENT_PIECES / FRAGMENT_SHARE {
            let oldest = self.oldest_but(at, |datagram| own(datagram) && datagram.held() > 0).ok_or(Drop::FragmentShareFull)?;
            self.gives_way(oldest, Drop::FragmentShareFull, drops);
        }
        if self.free.is_empty() {
            let oldest = self.oldest_but(at, |datagram| datagram.held() > 0).ok_or(Drop::FragmentGaveWay)?;
            self.gives_way(oldest, Drop::FragmentGaveWay, drops);
        }
        let piece = self.free.pop().ok_or(Drop::FragmentGaveWay)?;
        let begin = usize::from(piece) * PIECE;
        let room = self.memory.get_mut(begin..begin + bytes.len()).ok_or(Drop::FragmentGaveWay)?;
        room.copy_from_slice(bytes);
        // Both are below 2^16: no datagram is longer.
        let kept = Piece { next: NONE, len: bytes.len() as u16, offset: offset as u16 };
        *self.pieces.get_mut(usize::from(piece)).ok_or(Drop::FragmentGaveWay)? = kept;
        Ok(piece)
    }

    /// Puts a piece into its datagram's list, behind all with lower offsets.
    fn link(&mut self, at: usize, piece: u16) {
        let Some(Some(datagram)) = self.datagrams.get_mut(at) else { return };
        let offset = self.pieces[usize::from(piece)].offset;
        datagram.pieces.count += 1;
        let (mut before, mut next) = (NONE, datagram.pieces.first);
        while let Some(other) = self.pieces.get(usize::from(next)).filter(|other| other.offset < offset) {
            (before, next) = (next, other.next);
        }
        self.pieces[usize::from(piece)].next = next;
        match self.pieces.get_mut(usize::from(before)) {
            Some(before) => before.next = piece,
            None => datagram.pieces.first = piece,
        }
    }

    /// Writes a datagram of which every byte has come.
    fn finish(&self, at: usize, whole: &mut [u8]) -> Result<Packet, Drop> {
        let Some(datagram) = self.datagrams.get(at).copied().flatten() else { return Err(Drop::FragmentGaveWay) };
        let Some(first) = datagram.first else { return Err(Drop::FragmentOverlap) };
        //= rfc3168#5.3
        //# Reassembly of a fragmented packet MUST NOT lose indications of
        //# congestion.
        let seen = |codepoint: u8| datagram.ecn & 1 << codepoint != 0;
        if seen(ECN_CE) && seen(0) {
            return Err(Drop::FragmentEcnMixed);
        }
        let mark = if seen(ECN_CE) { ECN_CE } else { 0 };
        let (head, ipv4) = (self.bytes(first.head), first.packet.is_ipv4());
        let kept = if ipv4 { head.len() } else { head.len().saturating_sub(FRAGMENT_HEADER_LEN) };
        let end = kept + datagram.received;
        let malformed = if ipv4 { Drop::Ipv4FragmentMalformed } else { Drop::Ipv6FragmentMalformed };
        let counted = if ipv4 { end } else { end - ipv6::HEADER_LEN };
        if counted > DATAGRAM_MAX {
            return Err(malformed);
        }
        let bytes = whole.get_mut(..end).ok_or(malformed)?;
        bytes[..kept].copy_from_slice(&head[..kept]);
        let mut to = kept;
        let mut next = datagram.pieces.first;
        while let Some(piece) = self.pieces.get(usize::from(next)) {
            let data = self.bytes(next);
            bytes.get_mut(to..to + data.len()).ok_or(malformed)?.copy_from_slice(data);
            to += data.len();
            next = piece.next;
        }
        if ipv4 {
            ipv4::make_whole(bytes, mark);
        } else {
            //= rfc8200#4.5
            //# The Next Header field of the last header of the Per-Fragment
            //# headers is obtained from the Next Header field of the first
            //# fragment's Fragment header.
            let protocol = head.get(kept).copied().ok_or(malformed)?;
            *bytes.get_mut(first.named_at).ok_or(malformed)? = protocol;
            ipv6::make_whole(bytes, mark);
        }
        let payload_at = if ipv4 { kept } else { ipv6::HEADER_LEN };
        let dscp_ecn = first.packet.dscp_ecn | mark;
        Ok(Packet { ip_at: 0, payload_at, end, dscp_ecn, plain: false, atomic: !ipv4, ..first.packet })
    }

    /// Ends a datagram for what one of its fragments said. Of IPv6 it is remembered, so that what still comes of it is discarded as well.
    fn give_up(&mut self, at: usize, why: Drop) {
        let Some(datagram) = self.datagrams.get(at).copied().flatten() else { return };
        self.forget(at);
        //= rfc5722#4
        //# the
        //# entire datagram (and any constituent fragments, including those not
        //# yet received) MUST be silently discarded.
        // An identification of IPv4 comes again soon: another datagram might have it.
        if datagram.key.source.v4().is_none()
            && let Some(place) = self.datagrams.get_mut(at)
        {
            let pieces = List { first: NONE, count: 0 };
            *place = Some(Datagram { pieces, first: None, received: 0, refused: Some(why), ..datagram });
        }
    }

    fn forget_refused(&mut self, now: Instant) {
        for place in &mut self.datagrams {
            // They hold no memory.
            if place.is_some_and(|datagram| datagram.refused.is_some() && datagram.deadline <= now) {
                *place = None;
            }
        }
    }

    fn gives_way(&mut self, at: usize, why: Drop, drops: &mut DropCounters) {
        if self.datagrams.get(at).copied().flatten().is_some_and(|datagram| datagram.refused.is_none()) {
            drops.count(why);
        }
        self.forget(at);
    }

    /// Empties a place, and gives its memory back.
    fn forget(&mut self, at: usize) {
        let Some(datagram) = self.datagrams.get_mut(at).and_then(Option::take) else { return };
        if let Some(first) = datagram.first {
            self.free.push(first.head);
        }
        let mut next = datagram.pieces.first;
        while let Some(piece) = self.pieces.get(usize::from(next)) {
            self.free.push(next);
            next = piece.next;
        }
    }

    fn oldest(&self, which: impl Fn(&Datagram) -> bool) -> Option<usize> {
        self.oldest_but(usize::MAX, which)
    }

    fn oldest_but(&self, but: usize, which: impl Fn(&Datagram) -> bool) -> Option<usize> {
        let there = self.datagrams.iter().enumerate().filter_map(|(at, datagram)| datagram.as_ref().map(|found| (at, found)));
        let wanted = there.filter(|(at, datagram)| *at != but && which(datagram));
        wanted.min_by_key(|(_, datagram)| datagram.deadline).map(|(at, _)| at)
    }

    fn list(&self, first: u16) -> impl Iterator<Item = Piece> {
        let mut next = first;
        std::iter::from_fn(move || {
            let piece = *self.pieces.get(usize::from(next))?;
            next = piece.next;
            Some(piece)
        })
    }

    fn bytes(&self, piece: u16) -> &[u8] {
        let begin = usize::from(piece) * PIECE;
        let len = self.pieces.get(usize::from(piece)).map_or(0, |piece| usize::from(piece.len));
        self.memory.get(begin..begin + len).unwrap_or_default()
    }
}

impl Datagram {
    /// Pieces of memory it holds.
    fn held(&self) -> usize {
        self.pieces.count + usize::from(self.first.is_some())
    }
}

/// How long a datagram's fragments are waited for: the least that RFC 1122 3.3.2 recommends for IPv4 and what RFC 8200 4.5 says for IPv6.
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// Room for the longest packet: the payload of IPv6 does not count its header.
pub const WHOLE_MAX: usize = ipv6::HEADER_LEN + DATAGRAM_MAX;
/// The longest IPv4 packet, and the longest IPv6 payload.
const DATAGRAM_MAX: usize = u16::MAX as usize;
/// Bytes of a piece of memory: one fragment on a usual link. A multiple of 8; longer fragments take several.
const PIECE: usize = 2048;
/// No piece.
const NONE: u16 = u16::MAX;
const _: () = assert!(FRAGMENT_PIECES < NONE as usize);
// One datagram must fit into the share of one sender.
const _: () = assert!(FRAGMENT_PIECES / FRAGMENT_SHARE > FRAGMENTS_PER_DATAGRAM + DATAGRAM_MAX / PIECE + 2);

#[cfg(test)]
mod tests;
