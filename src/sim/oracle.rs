//! What must hold whatever the network does, judged from the frames on the wire and from the state of each end.
//!
//! On the wire, for each end: it acknowledges nothing, and reports nothing selectively, that it was not given; it sends nothing beyond the
//! window that has reached it (a probe of one byte apart), and without a timeout nothing again that was reported to it; each byte it sends,
//! also again, is the one its service gave it; the right edge that it offers moves left by less than a step of the scale; its timestamps do
//! not go back. In each TCB: what is unread and what is offered fit the buffer together; nothing is offered on the wire that would not be
//! accepted; 2 MSL are kept; every change of state is one of RFC 9293's figure.
//!
//! The run tells it of each segment that leaves or arrives, and shows it each end after a turn. It changes nothing, knows no more of an end's
//! mind than that, and returns what is wrong. It panics only when told of what it was not told before.

use std::collections::BTreeMap;

use super::frames::Seen;
use super::service::Stream;
use crate::tcp::State;
use crate::tcp::inspect::View;
use crate::tcp::seq::SeqNum;
use crate::tcp::state::watch::Changes;
use crate::wire::tcp::{Flags, Ports, Segment};

/// Names what a packet was when it was sent: the incarnation of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(Option<usize>);

impl Tag {
    /// Not to be looked at on arrival.
    pub(super) const NONE: Self = Self(None);
}

/// Ranges of offsets, joined where they touch.
#[derive(Debug, Default)]
struct Spans(BTreeMap<u32, u32>);

impl Spans {
    fn add(&mut self, mut from: u32, mut to: u32) {
        while let Some((&begin, &end)) = self.0.range(..=to).next_back().filter(|(_, end)| **end >= from) {
            (from, to) = (from.min(begin), to.max(end));
            self.0.remove(&begin);
        }
        if to > from {
            self.0.insert(from, to);
        }
    }

    fn cover(&self, from: u32, to: u32) -> bool {
        self.0.range(..=from).next_back().is_some_and(|(_, end)| *end >= to)
    }
}

/// One end's sequence space on a pair of ports, from its SYN on. All numbers are offsets from its ISN.
#[derive(Debug)]
struct Space {
    iss: SeqNum,
    /// The window scale it offered.
    scale: Option<u8>,
    /// After the last number it has sent.
    sent: u32,
    /// What the other end was given, and how far that is without a hole.
    given: Spans,
    whole: u32,
    /// The segments in which its numbers were last sent, from where to where.
    segments: BTreeMap<u32, u32>,
    /// What selective acknowledgments that arrived here have reported, whole segments.
    reported: Spans,
    /// The largest payload of a segment.
    largest: usize,
    /// The farthest right edge the other end has offered, and the farthest that has arrived here.
    offered: u32,
    allowed: u32,
    /// The last timestamp of the segments from here.
    stamp: Option<SeqNum>,
}

impl Space {
    const fn new(iss: SeqNum, scale: Option<u8>) -> Self {
        Self {
            iss,
            scale,
            sent: 0,
            given: Spans(BTreeMap::new()),
            whole: 0,
            segments: BTreeMap::new(),
            reported: Spans(BTreeMap::new()),
            largest: 0,
            offered: 0,
            allowed: 0,
            stamp: None,
        }
    }

    /// A segment leaves. Of those whose numbers it carries again the rest remains.
    fn sends(&mut self, begin: u32, end: u32) {
        let over: Vec<_> =
            self.segments.range(..end).rev().take_while(|(_, over)| **over > begin).map(|(&a, &b)| (a, b)).collect();
        for (first, last) in over {
            self.segments.remove(&first);
            let rests = [(first, begin), (end, last)];
            self.segments.extend(rests.into_iter().filter(|(from, to)| from < to));
        }
        self.segments.insert(begin, end);
    }

    /// A block reports `left..right`. What it covers only a part of is not known to have arrived: nobody receives half a segment, but for that of
    /// one sent before in other sizes.
    fn is_told(&mut self, left: u32, right: u32) {
        let whole = self.segments.range(left..right).filter(|(_, end)| **end <= right);
        whole.for_each(|(&begin, &end)| self.reported.add(begin, end));
    }
}

/// A connection: the ports of ends 0 and 1.
pub(super) type Path = [u16; 2];

/// The judge of one run.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    spaces: BTreeMap<(Path, usize), Vec<Space>>,
    /// Connections that a service may abort, also in TIME-WAIT.
    aborting: Vec<Path>,
    /// Since when a connection of an end is in TIME-WAIT.
    waiting: BTreeMap<(usize, Path), u64>,
    /// How many were ended early at each end for want of room.
    cut: [u64; 2],
    /// Windows of zero on the wire.
    pub(super) zero_windows: u64,
}

/// How many sequence numbers a connection of a simulation uses at most.
const SPAN: u32 = 1 << 24;

impl Oracle {
    /// The judge of a run in which the services may abort some of the connections.
    pub(super) fn new(aborting: Vec<Path>) -> Self {
        Self { aborting, ..Self::default() }
    }

    /// A segment leaves end `from`. `stream` is what its service sends on this connection; `timeouts` how often a retransmission timer of
    /// the end has expired, if that is known.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn sent(
        &mut self,
        from: usize,
        seen: &Seen<'_>,
        stream: Option<Stream>,
        timeouts: Option<u64>,
    ) -> Result<Tag, String> {
        let segment = &seen.segment;
        let path = path_of(from, seen);
        if segment.flags.contains(Flags::RST) {
            return Ok(Tag::NONE);
        }
        let Some(at) = self.space_of_sender(path, from, segment) else {
            return Err(format!("sends {} on a connection whose numbers it has not reached", segment.seq));
        };
        if segment.flags.contains(Flags::ACK) {
            let begins = self.spaces[&(path, from)][at].sent == 0;
            if begins {
                // The SYN-ACK of a new incarnation, perhaps for an old SYN: what the one before has offered does not bind it.
                self.spaces.entry((path, 1 - from)).or_default().iter_mut().for_each(|space| space.offered = 0);
            }
            self.check_acknowledgment(path, from, at, segment)?;
        }
        let space = &mut self.spaces.get_mut(&(path, from)).expect("found above")[at];
        check_stamp(space, segment)?;
        let begin = segment.seq - space.iss;
        let end = begin + segment.len();
        // After a timeout the reports may have been forgotten (RFC 2018 8); and a scoreboard that counts in segments may repeat the rest of one.
        let len = segment.payload.len();
        let large = 2 * len > space.largest;
        space.largest = space.largest.max(len);
        if large && timeouts == Some(0) && space.reported.cover(begin, end) {
            return Err(format!("sends {begin}..{end} again, which was reported to it, without a timeout"));
        }
        // smoltcp sends a full segment again whatever the window is.
        let excused = timeouts.is_none() && begin < space.sent;
        space.sent = space.sent.max(end);
        if begin < end {
            space.sends(begin, end);
        }
        if segment.flags.contains(Flags::SYN) || segment.is_empty() {
            return Ok(Tag(Some(at)));
        }
        let probe = segment.len() == 1 && begin <= space.allowed;
        if end > space.allowed && !probe && !excused {
            return Err(format!("sends {begin}..{end}, but the window that has reached it ends at {}", space.allowed));
        }
        if !segment.payload.is_empty() {
            let Some(stream) = stream else { return Err("sends data that no service gave it".into()) };
            if let Some(offset) = stream.differs(u64::from(begin - 1), segment.payload) {
                return Err(format!("sends another byte at offset {offset} than its service gave it"));
            }
        }
        Ok(Tag(Some(at)))
    }

    fn space_of_sender(&mut self, path: Path, from: usize, segment: &Segment<'_>) -> Option<usize> {
        let spaces = self.spaces.entry((path, from)).or_default();
        if segment.flags.contains(Flags::SYN) {
            if let Some(at) = spaces.iter().position(|space| space.iss == segment.seq) {
                return Some(at);
            }
            spaces.push(Space::new(segment.seq, segment.options.window_scale));
            return Some(spaces.len() - 1);
        }
        spaces.iter().rposition(|space| segment.seq - space.iss <= space.sent)
    }

    fn check_acknowledgment(&mut self, path: Path, from: usize, at: usize, segment: &Segment<'_>) -> Result<(), String> {
        let own_scale = self.spaces[&(path, from)][at].scale;
        let spaces = self.spaces.entry((path, 1 - from)).or_default();
        let Some(space) = spaces.iter_mut().rev().find(|space| segment.ack - space.iss <= space.whole) else {
            let given: Vec<_> = spaces.iter().map(|space| space.iss + space.whole).collect();
            return Err(format!("acknowledges {}, but was given no more than {given:?}", segment.ack));
        };
        for block in segment.options.sack_blocks() {
            let (left, right) = (block.left - space.iss, block.right - space.iss);
            if left >= right || !space.given.cover(left, right) {
                return Err(format!("reports {left}..{right}, which it was not given"));
            }
        }
        let shift = shift_of(segment, own_scale, space.scale);
        let edge = (segment.ack - space.iss) + (u32::from(segment.window) << shift);
        if edge + (1 << shift) <= space.offered {
            return Err(format!("takes its window back, from {} to {edge}", space.offered));
        }
        space.offered = space.offered.max(edge);
        self.zero_windows += u64::from(segment.window == 0);
        Ok(())
    }

    /// A segment of end `from` reaches the other end, as it was sent.
    pub(super) fn arrives(&mut self, from: usize, seen: &Seen<'_>, tag: Tag) {
        let Some(at) = tag.0 else { return };
        let (path, segment) = (path_of(from, seen), &seen.segment);
        let Some(space) = self.spaces.get_mut(&(path, from)).and_then(|spaces| spaces.get_mut(at)) else { return };
        let begin = segment.seq - space.iss;
        let end = begin + segment.len();
        // One that brings only what has come before is not acceptable, and its blocks are not heeded.
        let acceptable = end > space.whole || (segment.is_empty() && begin >= space.whole);
        space.given.add(begin, end);
        space.whole = space.given.0.get(&0).copied().unwrap_or(0);
        let scale = space.scale;
        if segment.flags.contains(Flags::ACK) || segment.flags.contains(Flags::SYN) {
            let spaces = self.spaces.entry((path, 1 - from)).or_default();
            // A SYN without ACK opens the window of whatever the other end has sent, or will send: its SYN stands at 0.
            let ack = |space: &Space| if segment.flags.contains(Flags::ACK) { segment.ack - space.iss } else { 1 };
            for space in spaces.iter_mut().rev().filter(|space| ack(space) <= SPAN) {
                let shift = shift_of(segment, scale, space.scale);
                space.allowed = space.allowed.max(ack(space) + (u32::from(segment.window) << shift));
                let blocks = segment.options.sack_blocks().iter().filter(|block| acceptable && block.left.after(segment.ack));
                blocks.for_each(|block| space.is_told(block.left - space.iss, block.right - space.iss));
            }
        }
    }

    /// The tag of a segment that stands for one of end `from`, which has sent the same numbers already.
    pub(super) fn tag(&mut self, from: usize, seen: &Seen<'_>) -> Tag {
        Tag(self.space_of_sender(path_of(from, seen), from, &seen.segment))
    }

    /// Where the stream of end `from` begins, on the connection of which the other end expects `next`.
    pub(super) fn first_byte(&self, from: usize, ports: Ports, next: SeqNum) -> Option<SeqNum> {
        let path = if from == 0 { [ports.source, ports.target] } else { [ports.target, ports.source] };
        let spaces = self.spaces.get(&(path, from))?;
        spaces.iter().rev().find(|space| next - space.iss <= SPAN).map(|space| space.iss + 1)
    }

    /// The state of an end after a turn. In a table that is full, `cut` connections so far have left TIME-WAIT early.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check_end(
        &mut self,
        end: usize,
        views: &[(Path, View)],
        now: u64,
        two_msl: u64,
        cut: u64,
    ) -> Result<(), String> {
        for (path, view) in views {
            if view.rcv_wnd + view.unread > view.rcv_limit {
                return Err(format!("offers {} with {} unread of {}", view.rcv_wnd, view.unread, view.rcv_limit));
            }
            let edge = view.rcv_nxt + view.rcv_wnd;
            let offered = self.spaces.get(&(*path, 1 - end)).and_then(|spaces| {
                spaces.iter().rev().find(|space| view.rcv_nxt - space.iss <= SPAN).map(|space| space.iss + space.offered)
            });
            let receives = !matches!(view.state, State::SynSent | State::Closed | State::TimeWait);
            if let Some(offered) = offered.filter(|offered| receives && offered.after(edge)) {
                return Err(format!("has offered up to {offered}, but accepts only up to {edge}"));
            }
        }
        let in_time_wait = |path: Path| views.iter().any(|(other, view)| *other == path && view.state == State::TimeWait);
        for (path, _) in views.iter().filter(|(_, view)| view.state == State::TimeWait) {
            self.waiting.entry((end, *path)).or_insert(now);
        }
        let mut may_be_cut = cut - std::mem::replace(&mut self.cut[end], cut);
        let over = self.waiting.extract_if(.., |(at, path), _| *at == end && !in_time_wait(*path));
        for (key, since) in over {
            // A SYN may end it early (RFC 6191); then there is a connection again.
            let reopened = views.iter().any(|(path, _)| *path == key.1);
            if now - since < two_msl && !reopened && !self.aborting.contains(&key.1) {
                if may_be_cut > 0 {
                    may_be_cut -= 1;
                    continue;
                }
                return Err(format!("left TIME-WAIT after {} ms of {}", (now - since) / 1_000_000, two_msl / 1_000_000));
            }
        }
        Ok(())
    }
}

/// The shift of a segment's window: none in a SYN, and none unless both ends offered one (RFC 7323 2.2).
fn shift_of(segment: &Segment<'_>, own: Option<u8>, other: Option<u8>) -> u8 {
    match (own, other) {
        (Some(shift), Some(_)) if !segment.flags.contains(Flags::SYN) => shift.min(14),
        _ => 0,
    }
}

fn check_stamp(space: &mut Space, segment: &Segment<'_>) -> Result<(), String> {
    // The stamp of a SYN cookie carries the peer's options in its low bits, and so may lie before the clock.
    if let Some((value, _)) = segment.options.timestamps.filter(|_| !segment.flags.contains(Flags::SYN)) {
        let value = SeqNum(value);
        if space.stamp.is_some_and(|last| value.before(last)) {
            return Err(format!("stamps {value} after {:?}", space.stamp));
        }
        space.stamp = Some(value);
    }
    Ok(())
}

fn path_of(from: usize, seen: &Seen<'_>) -> Path {
    let mut path = [seen.ports.source, seen.ports.target];
    if from == 1 {
        path.reverse();
    }
    path
}

/// RFC 9293 figure 5, with what the text of 3.10 adds: RST, ABORT and time-outs lead to CLOSED from everywhere.
const FIGURE: [(&str, &str); 17] = [
    ("CLOSED", "SYN-SENT"),
    ("LISTEN", "SYN-RECEIVED"),
    ("SYN-SENT", "SYN-RECEIVED"),
    ("SYN-SENT", "ESTABLISHED"),
    ("SYN-SENT", "CLOSED"),
    ("SYN-RECEIVED", "ESTABLISHED"),
    ("SYN-RECEIVED", "FIN-WAIT-1"),
    ("ESTABLISHED", "FIN-WAIT-1"),
    ("ESTABLISHED", "CLOSE-WAIT"),
    ("FIN-WAIT-1", "FIN-WAIT-2"),
    ("FIN-WAIT-1", "CLOSING"),
    ("FIN-WAIT-1", "TIME-WAIT"),
    ("FIN-WAIT-2", "TIME-WAIT"),
    ("CLOSE-WAIT", "LAST-ACK"),
    ("CLOSING", "TIME-WAIT"),
    ("LAST-ACK", "CLOSED"),
    ("TIME-WAIT", "CLOSED"),
];

/// Holds the changes of state of a run against the figure.
///
/// # Errors
/// A change that is not there.
pub(super) fn check_changes(changes: &Changes) -> Result<(), String> {
    let illegal = changes.keys().find(|change| !FIGURE.contains(change) && change.1 != "CLOSED");
    illegal.map_or(Ok(()), |(from, to)| Err(format!("a connection went from {from} to {to}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tcp::{Options, SackBlock};

    const ISS: [SeqNum; 2] = [SeqNum(u32::MAX - 1_000), SeqNum(5_000)];
    const TEXT: [u8; 300] = [0; 300];

    /// A segment of an end; offsets from the ISNs.
    fn seen(from: usize, seq: u32, ack: u32, payload: &[u8], block: Option<(u32, u32)>) -> Seen<'_> {
        let mut options = Options::default();
        if let Some((left, right)) = block {
            let own = ISS[1 - from];
            options.sack[0] = SackBlock { left: own + left, right: own + right };
            options.sack_count = 1;
        }
        let (seq, ack) = (ISS[from] + seq, ISS[1 - from] + ack);
        let segment = Segment { seq, ack, flags: Flags::ACK, window: 60_000, urgent: 0, ecn: 0, options, payload };
        let ports = if from == 0 { Ports { source: 1, target: 2 } } else { Ports { source: 2, target: 1 } };
        Seen { ports, segment }
    }

    fn space(oracle: &mut Oracle, from: usize) -> &mut Space {
        oracle.spaces.get_mut(&([1, 2], from)).map(|spaces| &mut spaces[0]).expect("begun")
    }

    /// End 1 has sent three segments, and end 0 as much as `whole` says has come from it.
    fn begun(whole: u32) -> Oracle {
        let mut oracle = Oracle::default();
        for from in [0, 1] {
            oracle.spaces.insert(([1, 2], from), vec![Space::new(ISS[from], None)]);
        }
        for begin in [1, 101, 201] {
            space(&mut oracle, 1).sends(begin, begin + 100);
        }
        space(&mut oracle, 0).given.add(0, whole);
        space(&mut oracle, 0).whole = whole;
        oracle
    }

    /// An ACK that text behind it has overtaken stands before the window.
    #[test]
    fn what_an_unacceptable_segment_reports_binds_nobody() {
        for (whole, told) in [(1, true), (51, false)] {
            let mut oracle = begun(whole);
            oracle.arrives(0, &seen(0, 1, 1, &[], Some((101, 201))), Tag(Some(0)));
            assert_eq!(space(&mut oracle, 1).reported.cover(101, 201), told);
            oracle.arrives(0, &seen(0, 1, 1, &TEXT[..100], Some((201, 301))), Tag(Some(0)));
            assert!(space(&mut oracle, 1).reported.cover(201, 301), "its text is new in part");
        }
    }

    /// An original came late, after it was sent again in segments of another size.
    #[test]
    fn a_part_of_a_segment_reported_binds_nobody() {
        let mut oracle = begun(1);
        [(1, 91), (91, 181), (181, 201)].iter().for_each(|&(begin, end)| space(&mut oracle, 1).sends(begin, end));
        oracle.arrives(0, &seen(0, 1, 1, &[], Some((101, 301))), Tag(Some(0)));
        let space = space(&mut oracle, 1);
        assert!(space.reported.cover(181, 301) && !space.reported.cover(101, 181));
    }
}
