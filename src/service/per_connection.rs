//! A value of the service's own for each connection, found by [`Connection::index`].
//!
//! Used by services that must remember something of a connection. The memory is reserved at construction for as many
//! connections as the core can hold, so that growing into it does not allocate. Cannot panic.

use super::Connection;

/// One `T` per connection slot. A slot keeps its value when its connection ends: set it anew in
/// [`super::Service::connected`].
#[derive(Clone, Debug)]
pub struct PerConnection<T>(Vec<T>);

impl<T: Default> PerConnection<T> {
    /// An empty table with memory reserved for `connections` slots (the setting `tcp.connections`).
    pub fn with_capacity(connections: usize) -> Self {
        Self(Vec::with_capacity(connections))
    }

    /// The value of a connection's slot; the default where none was set.
    pub fn of(&mut self, connection: Connection) -> &mut T {
        let index = connection.index();
        if index >= self.0.len() {
            self.0.resize_with(index + 1, T::default);
        }
        &mut self.0[index]
    }
}

/// What the timers of services that have connections are told: whose it is, and which of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) connection: Connection,
    /// It ends a pause; otherwise a deadline may have passed.
    pub(super) again: bool,
}

impl Named {
    pub(super) fn token(self) -> u64 {
        let Self { connection, again } = self;
        u64::from(connection.generation) << 32 | u64::from(connection.slot & !AGAIN) | if again { u64::from(AGAIN) } else { 0 }
    }

    pub(super) const fn by(token: u64) -> Self {
        let slot = token as u32;
        Self { connection: Connection { slot: slot & !AGAIN, generation: (token >> 32) as u32 }, again: slot & AGAIN != 0 }
    }
}

/// Marks the end of a pause in a token. No core has as many slots (the setting `tcp.connections` ends at 2^24).
const AGAIN: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_kept_apart_and_start_at_the_default() {
        let mut table = PerConnection::with_capacity(2);
        let at = |slot| Connection { slot, generation: 1 };
        *table.of(at(5)) = 50;
        assert_eq!((*table.of(at(0)), *table.of(at(5)), *table.of(at(6))), (0, 50, 0));
    }

    #[test]
    fn a_token_names_its_connection() {
        for (slot, generation, again) in [(0, 0, false), (7, 9, true), ((1 << 24) - 1, u32::MAX, true)] {
            let named = Named { connection: Connection { slot, generation }, again };
            assert_eq!(Named::by(named.token()), named);
        }
    }

    #[test]
    fn growing_within_the_reserved_slots_moves_nothing() {
        let mut table = PerConnection::<u64>::with_capacity(100);
        let before = table.0.as_ptr();
        table.of(Connection { slot: 99, generation: 0 });
        assert_eq!(table.0.as_ptr(), before);
    }
}
