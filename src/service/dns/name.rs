//! Names as keys: in lower case, as they stand on the wire, on the stack.
//!
//! Used by the zone and by the answers. Names differ by nothing but the case of ASCII letters (RFC 4343), and length bytes are below
//! all letters, so that a name in lower case is one string of bytes. A suffix of a name is a slice of it. Cannot panic.

use domain::base::name::ToName;

use super::room::Room;

/// A name in lower case.
#[derive(Clone)]
pub(super) struct Key {
    bytes: [u8; BYTES],
    len: usize,
    /// Where each label begins, the root's left out.
    starts: [u8; LABELS],
    labels: usize,
}

impl Key {
    /// The key of a name.
    pub(super) fn of(name: &(impl ToName + ?Sized)) -> Self {
        let mut bytes = [0; BYTES];
        let mut room = Room::new(&mut bytes);
        // A name has 255 bytes at most.
        let _ = name.compose(&mut room);
        let len = room.len();
        Self::lower(bytes, len)
    }

    /// The key of `*.` and a name.
    pub(super) fn wildcard_below(name: &[u8]) -> Self {
        let mut bytes = [0; BYTES];
        bytes[..2].copy_from_slice(b"\x01*");
        let len = name.len().min(BYTES - 2);
        bytes[2..2 + len].copy_from_slice(&name[..len]);
        Self::lower(bytes, 2 + len)
    }

    fn lower(mut bytes: [u8; BYTES], len: usize) -> Self {
        bytes[..len].make_ascii_lowercase();
        let mut starts = [0; LABELS];
        let mut labels = 0;
        for (slot, start) in starts.iter_mut().zip(labels_of(&bytes[..len])) {
            *slot = start as u8;
            labels += 1;
        }
        Self { bytes, len, starts, labels }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// How many labels it has, the root's not counted.
    pub(super) const fn labels(&self) -> usize {
        self.labels
    }

    /// Its last `labels` labels.
    pub(super) fn suffix(&self, labels: usize) -> &[u8] {
        match self.labels.checked_sub(labels).and_then(|first| self.starts[..self.labels].get(first)) {
            Some(&start) => &self.bytes()[usize::from(start)..],
            None => &self.bytes()[self.len.saturating_sub(1)..],
        }
    }

    /// True when it is this name or lies below it.
    pub(super) fn ends_with(&self, other: &[u8]) -> bool {
        let labels = labels_of(other).count();
        labels <= self.labels && self.suffix(labels) == other
    }
}

/// Where the labels of a name on the wire begin, the root's left out.
pub(super) fn labels_of(name: &[u8]) -> impl Iterator<Item = usize> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let start = next;
        let len = usize::from(*name.get(start)?);
        next = start + 1 + len;
        (len > 0 && next < name.len()).then_some(start)
    })
}

/// Bytes of a name on the wire, and two for `*.` of a wildcard that is too long to exist (RFC 1035 2.3.4).
const BYTES: usize = 257;
/// Labels of one byte each.
const LABELS: usize = 128;

#[cfg(test)]
mod tests {
    use domain::base::Name;

    use super::*;

    fn key(text: &str) -> Key {
        Key::of(&Name::vec_from_str(text).unwrap())
    }

    #[test]
    fn a_key_is_in_lower_case_and_knows_its_suffixes() {
        let name = key("WWW.Example.TEST.");
        assert_eq!(name.bytes(), b"\x03www\x07example\x04test\0");
        assert_eq!((name.labels(), name.suffix(3), name.suffix(0)), (3, name.bytes(), b"\0".as_slice()));
        assert_eq!((name.suffix(2), name.suffix(1)), (b"\x07example\x04test\0".as_slice(), b"\x04test\0".as_slice()));
        assert!(name.ends_with(key("example.test.").bytes()) && name.ends_with(key(".").bytes()));
        assert!(!name.ends_with(key("ample.test.").bytes()) && !key("test.").ends_with(name.bytes()));
        assert_eq!(Key::wildcard_below(name.suffix(1)).bytes(), key("*.test.").bytes());
        assert_eq!((key(".").labels(), key(".").bytes()), (0, b"\0".as_slice()));
    }

    #[test]
    fn the_longest_names_have_keys() {
        let labels = key(&"a.".repeat(127));
        assert_eq!((labels.labels(), labels.bytes().len(), labels.suffix(127)), (127, 255, labels.bytes()));
        let long = key(&format!("{0}.{0}.{0}.{1}.", "a".repeat(63), "b".repeat(61)));
        assert_eq!(long.bytes().len(), 255);
        // No wildcard lies below it; the key is only not to be found.
        assert_eq!(Key::wildcard_below(long.bytes()).bytes().len(), 257);
    }
}
