//! SACK blocks of an acknowledgment: which are to be believed, and which say that something came twice (RFC 2018, RFC 2883).
//!
//! At most four blocks; each costs two binary searches in the scoreboard. Nothing panics.

#[cfg(test)]
use crate::sim::planted::{self, Bug};
use crate::tcp::seq::SeqNum;
use crate::tcp::window::SendSpace;
use crate::wire::tcp::{SackBlock, Segment};

/// What the blocks of one acknowledgment say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reported {
    /// What the peer holds beyond SND.UNA, in ascending order; the first `count` count.
    blocks: [SackBlock; 4],
    count: usize,
    /// What it got twice.
    pub(super) twice: Option<SackBlock>,
    /// A block lay outside of what was sent.
    pub(super) is_wrong: bool,
}

impl Reported {
    /// Sorts the blocks of a segment.
    pub(super) fn of(segment: &Segment<'_>, snd: &SendSpace) -> Self {
        let mut reported = Self::default();
        let blocks = segment.options.sack_blocks();
        for (index, &block) in blocks.iter().enumerate() {
            let SackBlock { left, right } = block;
            // Both edges by their distance, so that nothing half the number space away seems near.
            let (oldest, span) = (snd.una - snd.max_wnd, snd.max_wnd + snd.outstanding() + 1);
            if !left.before(right) || !left.within(oldest, span) || !right.within(oldest, span) {
                reported.is_wrong = true;
                continue;
            }
            //= rfc2883#4
            //# (1) A D-SACK block is only used to report a duplicate contiguous sequence of data received by the receiver in the most recent
            //# packet.
            if index == 0 && is_twice(block, segment.ack, blocks.get(1)) {
                reported.twice = Some(block);
                continue;
            }
            // What SND.UNA has passed meanwhile is known already.
            let left = left.latest(snd.una);
            #[cfg(test)]
            if planted::is(Bug::SackIgnored) && left.0 & 1 == 1 {
                continue;
            }
            if left.before(right) {
                reported.insert(SackBlock { left, right });
            }
        }
        reported
    }

    /// What the peer holds beyond SND.UNA.
    pub(super) fn blocks(&self) -> &[SackBlock] {
        &self.blocks[..self.count]
    }

    fn insert(&mut self, block: SackBlock) {
        let place = self.blocks().iter().position(|other| block.right.before(other.right)).unwrap_or(self.count);
        if self.count < self.blocks.len() {
            self.blocks.copy_within(place..self.count, place + 1);
            self.blocks[place] = block;
            self.count += 1;
        }
    }
}

/// True for a first block that reports a duplicate.
fn is_twice(first: SackBlock, ack: SeqNum, second: Option<&SackBlock>) -> bool {
    //= rfc2883#4
    //# (3) The left edge of the D-SACK block specifies the first sequence number of the duplicate contiguous sequence, and the right edge of the
    //# D-SACK block specifies the sequence number immediately following the last sequence in the duplicate contiguous sequence.
    let below = first.right.at_or_before(ack);
    let inside = second.is_some_and(|second| first.left.at_or_after(second.left) && first.right.at_or_before(second.right));
    below || inside
}
