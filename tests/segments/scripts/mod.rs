//! The scripts, by theme.

mod close;
mod congestion;
mod handshake;
mod nobody;
mod options;
mod recovery;
mod reset;
mod retransmit;
mod sack;
mod states;
mod time_wait;
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
        congestion::SCRIPTS,
        recovery::SCRIPTS,
    ]
    .concat()
}
