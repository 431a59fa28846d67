//! A slice of bytes that an answer is written into, as the DNS library wants it: the room of a datagram, or a buffer for a stream.
//!
//! Used by [`super::answer`] and [`super::name`]. What does not fit is refused whole. Cannot panic.

use domain::base::wire::Composer;
use domain::dep::octseq::{OctetsBuilder, ShortBuf, Truncate};

/// Room for a message, and how much of it is written.
#[derive(Debug)]
pub(super) struct Room<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl<'a> Room<'a> {
    pub(super) const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, len: 0 }
    }

    /// Bytes there are.
    pub(super) const fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes written.
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

impl OctetsBuilder for Room<'_> {
    type AppendError = ShortBuf;

    fn append_slice(&mut self, slice: &[u8]) -> Result<(), ShortBuf> {
        let end = self.len + slice.len();
        self.bytes.get_mut(self.len..end).ok_or(ShortBuf)?.copy_from_slice(slice);
        self.len = end;
        Ok(())
    }
}

impl Truncate for Room<'_> {
    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl AsRef<[u8]> for Room<'_> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsMut<[u8]> for Room<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl Composer for Room<'_> {}
