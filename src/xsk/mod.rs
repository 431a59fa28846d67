//! xsk: to be written.
