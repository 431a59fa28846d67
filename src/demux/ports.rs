//! Who serves a port: listeners and UDP endpoints.
//!
//! A lookup is one load from an array with an entry for each port, then a walk over those that share the port on different
//! addresses. An entry for one address wins over an entry for all of them (RFC 9293 3.10.1, RFC 1122 4.1.3.5).

use super::key::Address;

/// A table of at most `capacity` entries, found by port and address.
#[derive(Debug)]
pub struct PortTable<T> {
    /// First entry of each port, plus one; 0 for none.
    heads: Box<[u16]>,
    entries: Vec<Entry<T>>,
    capacity: usize,
}

#[derive(Debug)]
struct Entry<T> {
    address: Option<Address>,
    port: u16,
    next: u16,
    value: T,
}

/// Why an entry could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The port is taken at this address.
    InUse,
    /// The table is full.
    Full,
}

impl<T> PortTable<T> {
    /// An empty table; `capacity` is at most 65,535.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { heads: vec![0; 1 << 16].into(), entries: Vec::new(), capacity: capacity.min(u16::MAX as usize) }
    }

    /// Takes a port at one address, or at all (`None`), and returns the entry's position.
    ///
    /// # Errors
    /// The same address and port are taken, or the table is full.
    //= rfc9293#3.9.1.1
    //# Every passive OPEN call either creates a new connection record in LISTEN state, or it returns an error; it MUST NOT
    //# affect any previously created connection record (MUST-41).
    pub fn open(&mut self, address: Option<Address>, port: u16, value: T) -> Result<u16, Refused> {
        if self.chain(port).any(|(_, entry)| entry.address == address) {
            return Err(Refused::InUse);
        }
        if self.entries.len() >= self.capacity {
            return Err(Refused::Full);
        }
        self.entries.push(Entry { address, port, next: self.heads[usize::from(port)], value });
        self.heads[usize::from(port)] = self.entries.len() as u16;
        Ok((self.entries.len() - 1) as u16)
    }

    /// The entry that serves a port at an address.
    pub fn find(&self, address: Address, port: u16) -> Option<u16> {
        let mut any = None;
        for (at, entry) in self.chain(port) {
            match entry.address {
                Some(own) if own == address => return Some(at),
                None => any = Some(at),
                Some(_) => {}
            }
        }
        any
    }

    /// True when nobody has the port at any address.
    pub fn is_free(&self, port: u16) -> bool {
        self.heads[usize::from(port)] == 0
    }

    /// The value at a position.
    pub fn at(&self, position: u16) -> Option<&T> {
        self.entries.get(usize::from(position)).map(|entry| &entry.value)
    }

    /// The same, to be changed.
    pub fn at_mut(&mut self, position: u16) -> Option<&mut T> {
        self.entries.get_mut(usize::from(position)).map(|entry| &mut entry.value)
    }

    /// All entries, in the order in which they were made: address (`None` for all), port, value.
    pub fn iter(&self) -> impl Iterator<Item = (Option<Address>, u16, &T)> {
        self.entries.iter().map(|entry| (entry.address, entry.port, &entry.value))
    }

    /// Address (`None` for all) and port of the entry at a position.
    pub fn name(&self, position: u16) -> Option<(Option<Address>, u16)> {
        self.entries.get(usize::from(position)).map(|entry| (entry.address, entry.port))
    }

    fn chain(&self, port: u16) -> impl Iterator<Item = (u16, &Entry<T>)> {
        let mut next = self.heads[usize::from(port)];
        std::iter::from_fn(move || {
            let at = next.checked_sub(1)?;
            let entry = &self.entries[usize::from(at)];
            next = entry.next;
            Some((at, entry))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u8) -> Address {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    #[test]
    fn one_address_wins_over_all() {
        let mut ports = PortTable::with_capacity(8);
        let all = ports.open(None, 53, "all").unwrap();
        let one = ports.open(Some(address(1)), 53, "one").unwrap();
        assert_eq!(ports.find(address(1), 53), Some(one));
        assert_eq!(ports.find(address(2), 53), Some(all));
        assert_eq!(ports.find(address(1), 54), None);
        assert_eq!((ports.at(one), ports.name(all)), (Some(&"one"), Some((None, 53))));
    }

    //= type=test
    //= rfc9293#3.9.1.1
    //# Every passive OPEN call either creates a new connection record in LISTEN state, or it returns an error; it MUST NOT
    //# affect any previously created connection record (MUST-41).
    #[test]
    fn a_port_is_taken_once_and_the_table_is_bounded() {
        let mut ports = PortTable::with_capacity(2);
        assert_eq!(ports.open(None, u16::MAX, ()), Ok(0));
        assert_eq!(ports.open(None, u16::MAX, ()), Err(Refused::InUse));
        assert_eq!(ports.open(None, 0, ()), Ok(1));
        assert_eq!(ports.open(None, 1, ()), Err(Refused::Full));
        assert!(ports.is_free(1) && !ports.is_free(0));
    }
}
