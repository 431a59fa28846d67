//! F-RTO: was the timeout needed? (RFC 5682)
//!
//! After a timeout the first segment goes again; when its acknowledgment arrives, new data goes out instead of more of the old. If what is
//! acknowledged next was never sent again, it had not been lost. Called with each acknowledgment after a timeout. Nothing panics.

use crate::tcp::folded::Form;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::Happening;
use crate::tcp::tcb::Tcb;
use crate::time::Instant;

/// The steps of RFC 5682 2.1 and 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp) enum Forward {
    /// Not asked, or answered.
    No,
    /// Step 2: the first segment, which ends here, was sent again.
    First { end: SeqNum },
    /// Step 3: new data is sent instead of old; so many segments of it may still leave.
    New { left: u8 },
}

impl Forward {
    /// RFC 5682 2.1, step 2b.
    pub(in crate::tcp) const NEW_SEGMENTS: u8 = 2;

    /// Old data leaves once more. After the first segment that is the conventional recovery: from then on an acknowledgment may be that of a copy.
    pub(in crate::tcp) const fn old_leaves(&mut self) {
        if let Self::New { .. } = self {
            *self = Self::No;
        }
    }

    /// One pass over its fields ([`crate::tcp::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, una: SeqNum) {
        if form.same(self, Self::No) {
            return;
        }
        let (mut end, mut left) = match *self {
            Self::First { end } => (Some(end), 0),
            Self::New { left } => (None, left),
            Self::No => (None, 0),
        };
        form.optional(&mut end, una, |form, seq| form.near(seq, una));
        form.near(&mut left, 0);
        *self = end.map_or(Self::New { left }, |end| Self::First { end });
    }
}

/// What an acknowledgment after a timeout showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// SND.UNA moved.
    pub(super) advanced: bool,
    /// Bytes of data by which it did.
    pub(super) bytes: u32,
    /// A duplicate acknowledgment.
    pub(super) duplicate: bool,
    /// Something was delivered that had been sent only once, before the timeout.
    pub(super) original: bool,
    /// Something was delivered that was sent after the timeout for the first time.
    pub(super) beyond: bool,
}

impl Tcb {
    /// The next step.
    pub(super) fn step_forward(&mut self, shown: Shown, now: Instant) {
        let una = self.snd.una;
        self.recovery.forward = match self.recovery.forward {
            Forward::No => return,
            Forward::First { end } if shown.advanced => {
                //= rfc5682#2.1
                //# If the TCP sender does not have any new data to send, or the advertised window prohibits new transmissions, the
                //# recommended action is to skip step 3 of this algorithm and continue with slow-start retransmissions
                let nxt = self.snd.nxt;
                let can = !self.fin_sent && self.fin_seq().after(nxt) && self.snd.room_from(nxt) > 0;
                if una.before(end) || !can { Forward::No } else { Forward::New { left: Forward::NEW_SEGMENTS } }
            }
            //= rfc5682#2.1
            //# If the acknowledgment is a duplicate ACK, OR the Acknowledgment field covers "recover" but not more than "recover", OR the
            //# acknowledgment does not acknowledge all of the data that was retransmitted in step 1, revert to the conventional RTO recovery
            //= rfc5682#3.1
            //# If duplicate ACKs arrive before the cumulative acknowledgment for retransmitted data, adjust the scoreboard according to the
            //# incoming SACK information.  Stay in step 2 and wait for the next new acknowledgment.
            Forward::First { .. } if shown.duplicate && !self.offers.sack => Forward::No,
            Forward::New { .. } if shown.beyond => Forward::No,
            Forward::New { .. } if shown.advanced || shown.original => {
                //= rfc5682#2.1
                //# If the acknowledgment advances the window (i.e., if it acknowledges data that was not retransmitted after the timeout),
                //# declare the timeout spurious
                self.take_back_reduction(Happening::SpuriousTimeout, shown.bytes, now);
                Forward::No
            }
            //= rfc5682#2.1
            //# If the acknowledgment is a duplicate ACK, set the congestion window to no more than 3 * MSS (where MSS indicates Maximum Segment
            //# Size), and continue with the slow-start algorithm retransmitting unacknowledged segments.
            Forward::New { .. } if shown.duplicate => Forward::No,
            step => step,
        };
    }
}
