//! The machine as scripts: what a peer sends, what must come back (style: RFC events as names, a dozen lines each).

mod autotune;
mod bottleneck;
mod chaos;
mod close;
mod ecn;
mod handshake;
mod memory;
mod options;
mod pair;
mod path_mtu;
mod patience;
mod rack;
mod receive;
mod repair;
mod reset;
mod retransmit;
mod sack;
mod scoreboard;
mod script;
mod send;
mod spurious;
mod tail;
mod time_wait;
mod urgent;
