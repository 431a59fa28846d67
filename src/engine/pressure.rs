//! What a core does while its stream buffers run short: it takes back what lies beyond holes and is not worth its memory.
//!
//! A peer can send one byte at the far edge of its window, and leave it at that: the byte needs a block as large as the window. While
//! there is memory, it has it. When more than half is in use, each turn looks at a few connections and gives up such data
//! ([`crate::tcp::Tcb::prune`]); a peer in earnest sends it again. Called once a turn. Nothing here panics.

use super::core::Core;
use crate::device::Device;
use crate::limits;

impl<D: Device> Core<D> {
    /// Looks at the next few connections, if it must.
    pub(super) fn relieve_pressure(&mut self) {
        if !self.pool.is_pressed() {
            return;
        }
        let slots = self.flows.slots().max(1) as u32;
        for _ in 0..limits::PRUNED_PER_TURN {
            let at = self.prune_at % slots;
            self.prune_at = at + 1;
            if let Some(flow) = self.flows.whole_at_mut(at)
                && flow.tcb.prune(&mut self.pool)
            {
                self.tally.count_all(flow.tcb.take_noted());
            }
        }
    }
}
