//! Bugs that are put into TCP on purpose, to show that the oracle finds them. The switches exist in tests only.
//!
//! TCP asks [`is`] where a bug would be; a run sets one for its own thread and takes it back. No bug is set by default. Nothing panics.

use std::cell::Cell;

use crate::tcp::seq::SeqNum;
use crate::wire::tcp::SackBlock;

macro_rules! bugs {
    ($($(#[$doc:meta])* $variant:ident,)*) => {
        /// A bug that can be switched on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Bug {
            $($(#[$doc])* $variant,)*
        }

        impl Bug {
            /// All of them.
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant,)*];
        }
    };
}

bugs! {
    /// An acknowledgment says one more than was received.
    AckOffByOne,
    /// A report of what lies beyond a hole says one byte too many.
    SackTooLarge,
    /// Some of what is reported selectively is not written down.
    SackIgnored,
    /// The sender believes that a window once offered stays as large, wherever its left edge is.
    WindowNotShrunk,
    /// The receiver offers less than it has offered before.
    EdgeMovedLeft,
    /// A retransmission takes its bytes from one place further.
    WrongByteResent,
    /// An old timestamp is no reason to refuse a segment.
    PawsForgotten,
    /// A FIN beyond a hole is taken as if the hole were filled.
    FinTooEarly,
    /// TIME-WAIT lasts one MSL.
    TimeWaitShort,
    /// The first range beyond a hole is joined though the hole is not filled.
    HoleJoined,
    /// The sum of a segment is not compared.
    ChecksumIgnored,
    /// After a first retransmission the connection's timer is not armed any more.
    TimerNotRearmed,
    /// Data that came before is handed to the service again.
    DeliveredTwice,
    /// A closed window is not probed.
    ProbeMissing,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// True when this bug is switched on in this thread.
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// The acknowledgment number of a segment to be sent.
pub(crate) fn ack(ack: SeqNum) -> SeqNum {
    if is(Bug::AckOffByOne) { ack + 1 } else { ack }
}

/// Where in the queue of `queued` bytes the `len` bytes of a segment begin, with `unanswered` timeouts before it.
pub(crate) fn resent_offset(offset: u32, unanswered: u8, len: u32, queued: u32) -> u32 {
    offset + u32::from(is(Bug::WrongByteResent) && unanswered > 0 && offset + len < queued)
}

/// The send window, when a segment offers `wnd` and it was `before`.
pub(crate) fn window(wnd: u32, before: u32) -> u32 {
    if is(Bug::WindowNotShrunk) { wnd.max(before) } else { wnd }
}

/// What is reported selectively.
pub(crate) fn sack(mut blocks: [SackBlock; 4]) -> [SackBlock; 4] {
    blocks[0].right += u32::from(is(Bug::SackTooLarge));
    blocks
}

/// The receive window to be offered.
pub(crate) fn offer(wnd: u32, unread: u32) -> u32 {
    if is(Bug::EdgeMovedLeft) && unread > 0 { wnd / 2 } else { wnd }
}

/// Runs `f` with a bug switched on, and off again afterwards, also when it panics.
pub(super) fn with<T>(bug: Option<Bug>, f: impl FnOnce() -> T) -> T {
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }
    PLANTED.set(bug);
    let _off = Off;
    f()
}
