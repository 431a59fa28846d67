//! What there is to say about single segments: retransmissions, duplicate ACKs, closed windows, losses.
//!
//! One pass over the list, with a few words of memory for each end. Called by [`super::Exchange::complete`] before the states are inferred. What a mark
//! means is what the RFC that it cites means; where the list does not show it, nothing is said. Nothing here panics.

use super::exchange::{Exchange, window};
use super::step::{End, Fate, Mark, Segment, Step};
use crate::tcp::seq::SeqNum;
use crate::wire::tcp::Flags;

/// Marks every segment.
pub(super) fn add(exchange: &mut Exchange) {
    let shifts = exchange.shifts();
    let mut ends = [Seen::default(), Seen::default()];
    for at in 0..exchange.steps.len() {
        let step = &exchange.steps[at];
        let (from, Some(&segment)) = (step.from, step.as_segment()) else { continue };
        let marks = marks(&segment, from, &ends, shifts);
        let [own, peer] = [from, from.other()].map(End::index);
        if marks.iter().any(|mark| matches!(mark, Mark::Retransmission | Mark::FastRetransmission)) && !exchange.fates_known {
            lose(&mut exchange.steps, &ends[own], &segment);
        }
        let is_duplicate = marks.iter().any(|mark| matches!(mark, Mark::DuplicateAck(_)));
        exchange.steps[at].marks = marks;
        ends[own].sends(at, &segment, window(&segment, shifts[own]));
        ends[peer].hears(&segment, is_duplicate);
    }
}

/// What was seen of one end.
#[derive(Debug, Default)]
struct Seen {
    /// It has sent something, up to, not including, this number.
    next: Option<SeqNum>,
    /// The last segment it sent that acknowledges something, and the window of it in bytes.
    last: Option<(SeqNum, u32)>,
    /// Numbers below `next` that were never seen.
    gaps: Vec<(SeqNum, SeqNum)>,
    /// What is not acknowledged yet: place and segment, oldest first.
    flight: Vec<Sent>,
    /// The highest number that the other end has acknowledged.
    acknowledged: Option<SeqNum>,
    /// How many duplicate ACKs in a row have come for that, and the highest number that a SACK block has named.
    duplicates_heard: u32,
    sacked: Option<SeqNum>,
}

/// A segment on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: usize,
    seq: SeqNum,
    end: SeqNum,
    /// An ACK that had it missing came behind it.
    missed: bool,
    /// A SACK block covers it.
    sacked: bool,
}

impl Seen {
    /// Takes down what it sends.
    fn sends(&mut self, at: usize, segment: &Segment, window: u32) {
        if segment.has(Flags::ACK) && !segment.has(Flags::RST) {
            self.last = Some((segment.ack, window));
        }
        if segment.space() == 0 || segment.has(Flags::RST) {
            return;
        }
        if let Some(next) = self.next.filter(|next| segment.seq.after(*next)) {
            self.gaps.push((next, segment.seq));
            if self.gaps.len() > GAPS {
                self.gaps.remove(0);
            }
        }
        self.gaps.retain(|gap| !(segment.seq.at_or_before(gap.0) && segment.end().at_or_after(gap.1)));
        self.next = Some(self.next.map_or(segment.end(), |next| next.latest(segment.end())));
        if self.flight.len() < FLIGHT {
            self.flight.push(Sent { at, seq: segment.seq, end: segment.end(), missed: false, sacked: false });
        }
    }

    /// Takes down what the peer's segment says about what this end has sent, and whether it is a duplicate ACK.
    fn hears(&mut self, segment: &Segment, is_duplicate: bool) {
        if !segment.has(Flags::ACK) || segment.has(Flags::RST) {
            return;
        }
        let is_new = self.acknowledged.is_none_or(|before| segment.ack.after(before));
        if is_new {
            self.acknowledged = Some(segment.ack);
            self.flight.retain(|sent| sent.end.after(segment.ack));
            self.duplicates_heard = 0;
            self.sacked = self.sacked.filter(|sacked| sacked.after(segment.ack));
        } else if is_duplicate {
            self.duplicates_heard += 1;
        }
        let blocks = segment.options.sack_blocks();
        let blocks = || blocks.iter().filter(|block| block.right.after(segment.ack) && block.left.before(block.right));
        let tells_of_a_hole = is_duplicate || blocks().next().is_some();
        for sent in &mut self.flight {
            sent.missed |= tells_of_a_hole && sent.seq.at_or_after(segment.ack);
            sent.sacked |= blocks().any(|block| block.left.at_or_before(sent.seq) && block.right.at_or_after(sent.end));
        }
        if let Some(highest) = blocks().map(|block| block.right).reduce(SeqNum::latest) {
            self.sacked = Some(self.sacked.map_or(highest, |before| before.latest(highest)));
        }
    }
}

/// What there is to say about a segment, from what came before it.
fn marks(segment: &Segment, from: End, ends: &[Seen; 2], shifts: [u8; 2]) -> Vec<Mark> {
    let (own, peer) = (&ends[from.index()], &ends[from.other().index()]);
    let mut marks = Vec::new();
    if segment.has(Flags::RST) {
        return marks;
    }
    let closed = peer.last.is_some_and(|(_, window)| window == 0);
    if let Some(next) = own.next {
        let is_probe = segment.len <= 1 && segment.space() == segment.len && segment.seq == next - 1;
        if is_probe && own.acknowledged == Some(next) {
            marks.push(if closed { Mark::WindowProbe } else { Mark::KeepAlive });
        } else if segment.space() > 0 && segment.seq.before(next) {
            let fills = own.gaps.iter().any(|gap| segment.seq.at_or_after(gap.0) && segment.end().at_or_before(gap.1));
            let is_told = own.duplicates_heard >= 3 || own.sacked.is_some_and(|highest| highest.after(segment.end()));
            marks.push(match (closed && segment.len == 1, fills, is_told) {
                (true, ..) => Mark::WindowProbe,
                (_, true, _) => Mark::OutOfOrder,
                (.., true) => Mark::FastRetransmission,
                _ => Mark::Retransmission,
            });
        } else if closed && segment.len == 1 {
            marks.push(Mark::WindowProbe);
        } else if segment.space() > 0 && segment.seq.after(next) {
            marks.push(Mark::Gap);
        }
    }
    if !segment.has(Flags::ACK) {
        return marks;
    }
    let offered = window(segment, shifts[from.index()]);
    if let Some((ack, before)) = own.last.filter(|_| !segment.has(Flags::SYN)) {
        // RFC 5681 2: outstanding data, no data, neither SYN nor FIN, the same number and the same window.
        let outstanding = peer.next.is_some_and(|next| next.after(segment.ack));
        if segment.space() == 0 && segment.ack == ack && outstanding && (offered == before || has_sack(segment)) && before > 0 {
            marks.push(Mark::DuplicateAck(peer.duplicates_heard + 1));
        }
        if before == 0 && offered > 0 {
            marks.push(Mark::WindowOpens);
        }
    }
    if offered == 0 && !segment.has(Flags::SYN) {
        marks.push(Mark::ZeroWindow);
    }
    if segment.options.sack_blocks().first().is_some_and(|block| block.right.at_or_before(segment.ack)) {
        marks.push(Mark::DuplicateSack);
    }
    marks
}

fn has_sack(segment: &Segment) -> bool {
    segment.options.sack_count > 0
}

/// What is sent again was lost, when the peer has spoken behind it as one that misses it. Without such a word it may be the answer that was lost.
fn lose(steps: &mut [Step], own: &Seen, again: &Segment) {
    let same = own.flight.iter().rev().find(|sent| sent.seq == again.seq && !sent.sacked);
    if let Some(sent) = same.filter(|sent| sent.missed)
        && let Some(step) = steps.get_mut(sent.at)
    {
        step.fate = Fate::Lost;
    }
}

/// Gaps that are remembered of an end, and segments in flight.
const GAPS: usize = 64;
const FLIGHT: usize = 1024;
