//! The packet of several frames that is coming out of the RX ring.
//!
//! Owned by a queue (`queue`). Entries are counted and checked one by one, whatever the kernel writes: a packet ends with an entry that does not say that it
//! goes on, and until then its frames are here, or free again once it cannot become whole. Nothing here panics or allocates after the start.

use super::frame::UmemFrame;
use super::pool::Pool;
use super::ring::Descriptor;
use crate::device::Chain;
use crate::limits::CHAIN_PIECES;

/// A packet whose last frame has not been read, or none.
#[derive(Debug)]
pub(crate) struct Incoming {
    state: State,
    /// Entries so far.
    entries: usize,
    /// One of them named no frame.
    broken: bool,
    pieces: Vec<UmemFrame>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// More entries follow.
    Open,
    /// The last one has been read.
    Ended,
}

impl Incoming {
    /// No packet, and room for the longest.
    pub(crate) fn new() -> Self {
        Self { state: State::Idle, entries: 0, broken: false, pieces: Vec::with_capacity(CHAIN_PIECES) }
    }

    /// True while there is a packet that was not handed over.
    pub(crate) fn is_some(&self) -> bool {
        self.state != State::Idle
    }

    /// True when the next entry of the ring belongs to the packet.
    pub(crate) fn wants_more(&self) -> bool {
        self.state == State::Open
    }

    /// Takes the next entry of the packet; true when it was a frame.
    #[cold]
    pub(crate) fn take(&mut self, pool: &mut Pool, descriptor: Descriptor) -> bool {
        let more = descriptor.options & libc::XDP_PKT_CONTD != 0;
        self.state = if more { State::Open } else { State::Ended };
        self.entries = self.entries.saturating_add(1);
        let Some(frame) = pool.received(descriptor) else {
            self.broken = true;
            self.free(pool);
            return false;
        };
        self.pieces.push(frame);
        if self.broken || self.entries > CHAIN_PIECES {
            self.free(pool);
        }
        true
    }

    /// Hands the packet over, if it has ended.
    pub(crate) fn finish(&mut self, pool: &mut Pool, pieces: &mut Vec<UmemFrame>) -> Chain {
        if self.state != State::Ended {
            return Chain::Unfinished;
        }
        let chain = match (self.entries > CHAIN_PIECES, self.broken) {
            (true, _) => Chain::TooLong,
            (false, true) => Chain::Broken,
            (false, false) => {
                pieces.append(&mut self.pieces);
                Chain::Whole
            }
        };
        self.free(pool);
        (self.state, self.entries, self.broken) = (State::Idle, 0, false);
        chain
    }

    fn free(&mut self, pool: &mut Pool) {
        while let Some(frame) = self.pieces.pop() {
            pool.put(frame);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::umem::Umem;
    use super::*;
    use crate::device::Frame as _;

    fn pool() -> Pool {
        Pool::all(Umem::new(1, 64, 2048).unwrap()).remove(0)
    }

    /// An entry of a packet, in a frame that was lent.
    fn piece(pool: &mut Pool, len: u32, more: bool) -> Descriptor {
        let options = if more { libc::XDP_PKT_CONTD } else { 0 };
        Descriptor { addr: pool.lend_to_receive().unwrap() + 256, len, options }
    }

    fn take(incoming: &mut Incoming, pool: &mut Pool, len: u32, more: bool) {
        let entry = piece(pool, len, more);
        assert!(incoming.take(pool, entry));
    }

    #[test]
    fn a_packet_is_handed_over_with_its_last_piece_and_not_before() {
        let (mut pool, mut incoming, mut pieces) = (pool(), Incoming::new(), Vec::new());
        assert!(!incoming.is_some());
        for more in [true, true, false] {
            assert_eq!(incoming.finish(&mut pool, &mut pieces), Chain::Unfinished);
            take(&mut incoming, &mut pool, 100, more);
            assert!(incoming.is_some());
        }
        assert!(!incoming.wants_more());
        assert_eq!(incoming.finish(&mut pool, &mut pieces), Chain::Whole);
        assert_eq!(pieces.iter().map(|piece| piece.bytes().len()).collect::<Vec<_>>(), [100, 100, 100]);
        assert!(!incoming.is_some());
        pieces.drain(..).for_each(|piece| pool.put(piece));
        assert_eq!(pool.census().free, 64);
    }

    #[test]
    fn a_packet_without_end_holds_no_frames_and_is_one_drop() {
        let (mut pool, mut incoming, mut pieces) = (pool(), Incoming::new(), Vec::new());
        for _ in 0..1000 {
            take(&mut incoming, &mut pool, 100, true);
            assert!(pool.census().free >= 64 - CHAIN_PIECES);
        }
        take(&mut incoming, &mut pool, 100, false);
        assert_eq!(incoming.finish(&mut pool, &mut pieces), Chain::TooLong);
        assert_eq!((pieces.len(), pool.census().free), (0, 64));
        // The next one is none the worse for it.
        take(&mut incoming, &mut pool, 100, true);
        take(&mut incoming, &mut pool, 100, false);
        assert_eq!(incoming.finish(&mut pool, &mut pieces), Chain::Whole);
    }

    #[test]
    fn the_longest_packet_is_whole_and_one_piece_more_is_too_long() {
        for (count, chain) in [(CHAIN_PIECES, Chain::Whole), (CHAIN_PIECES + 1, Chain::TooLong)] {
            let (mut pool, mut incoming, mut pieces) = (pool(), Incoming::new(), Vec::new());
            (1..=count).for_each(|nth| take(&mut incoming, &mut pool, 100, nth < count));
            assert_eq!(incoming.finish(&mut pool, &mut pieces), chain);
        }
    }

    #[test]
    fn a_packet_with_an_entry_that_is_none_is_broken_and_its_frames_are_free() {
        for lie in 0..3 {
            let (mut pool, mut incoming, mut pieces) = (pool(), Incoming::new(), Vec::new());
            for nth in 0..3 {
                let entry = piece(&mut pool, 100, nth < 2);
                let entry = if nth == lie { Descriptor { addr: u64::MAX, ..entry } } else { entry };
                assert_eq!(incoming.take(&mut pool, entry), nth != lie);
            }
            assert_eq!(incoming.finish(&mut pool, &mut pieces), Chain::Broken);
            assert_eq!(pool.lies(), 1);
            // The frame that the lie left out is still lent: the kernel has it.
            let census = pool.census();
            assert_eq!((pieces.len(), census.free, census.receiving), (0, 63, 1));
        }
    }

    #[test]
    fn a_sent_packet_is_lent_piece_by_piece() {
        let mut pool = pool();
        let mut piece = pool.take().unwrap();
        assert!(!pool.may_lend(&piece), "without bytes the kernel would skip it");
        piece.set_len(1);
        assert!(pool.may_lend(&piece));
        let sent = pool.lend_piece(piece);
        assert_eq!((sent.len, pool.census().sending), (1, 1));
        assert!(pool.completed(sent.addr));
        let foreign = self::pool().take().unwrap();
        assert!(!pool.may_lend(&foreign), "of another UMEM");
    }
}
