//! The scripts, by theme.

mod admission;
mod calls;
mod close;
mod congestion;
mod cookies;
mod handshake;
mod icmp;
mod nobody;
mod options;
mod recovery;
mod reset;
mod retransmit;
mod sack;
mod states;
mod time_wait;
mod urgent;
mod window;

use crate::script::Entry;

/// All of them.
pub(crate) fn all() -> Vec<Entry> {
    [
        handshake::SCRIPTS,
        nobody::SCRIPTS,
        close::SCRIPTS,
        states::SCRIPTS,
        time_wait::SCRIPTS,
        reset::SCRIPTS,
        options::SCRIPTS,
        window::SCRIPTS,
        retransmit::SCRIPTS,
        sack::SCRIPTS,
        calls::SCRIPTS,
        urgent::SCRIPTS,
        cookies::SCRIPTS,
        admission::SCRIPTS,
        icmp::SCRIPTS,
        congestion::SCRIPTS,
        recovery::SCRIPTS,
    ]
    .concat()
}
