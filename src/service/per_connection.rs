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
    fn growing_within_the_reserved_slots_moves_nothing() {
        let mut table = PerConnection::<u64>::with_capacity(100);
        let before = table.0.as_ptr();
        table.of(Connection { slot: 99, generation: 0 });
        assert_eq!(table.0.as_ptr(), before);
    }
}
