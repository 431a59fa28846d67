//! Payloads that say where they belong, so that every byte that comes back can be checked.
//!
//! A seeded table of random bytes, read at an offset that depends on the connection and on the position in the stream (TCP)
//! or on the sequence number (UDP, raw). The period is prime: bytes that come back shifted, swapped between connections or
//! repeated do not fit. Payloads are slices of the table; nothing is computed or copied per byte. Pure; cannot panic.

use crate::rng::Rng;

/// The table repeats after so many bytes.
const PERIOD: usize = 65_521;
/// Longest payload slice: more than a UDP datagram can hold.
const LONGEST: usize = 65_536;
/// Bytes of a datagram that carry its sequence number, little-endian; shorter datagrams carry its low bytes only.
pub const SEQUENCE_BYTES: usize = 8;

/// Makes and checks payloads.
#[derive(Clone, Debug)]
pub struct Pattern {
    seed: u64,
    table: Box<[u8]>,
}

/// A byte that is not what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// A byte of the answer is wrong.
    #[error("byte {position} of connection {connection} came back as {found:#04x} instead of {expected:#04x}")]
    Byte {
        /// The connection or socket.
        connection: u32,
        /// Position in the stream, or in the datagram.
        position: u64,
        /// What was sent.
        expected: u8,
        /// What came back.
        found: u8,
    },
    /// A datagram came back longer or shorter.
    #[error("a datagram of socket {connection} came back with {found} bytes instead of {expected}")]
    Length {
        /// The socket.
        connection: u32,
        /// Bytes that were sent.
        expected: usize,
        /// Bytes that came back.
        found: usize,
    },
    /// An answer to a message that was never sent, or bytes beyond the end of what was sent.
    #[error("connection {connection} received an answer to message {sequence}, which was not sent")]
    Unasked {
        /// The connection or socket.
        connection: u32,
        /// The message's number on its connection.
        sequence: u64,
    },
    /// A server that was to speak first and close (daytime) did not send one line of text.
    #[error("connection {connection} did not receive one line of text before the end of the stream")]
    NotALine {
        /// The connection.
        connection: u32,
    },
}

impl Pattern {
    /// The pattern that follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::seeded(seed);
        let mut table = vec![0; PERIOD + LONGEST].into_boxed_slice();
        let (period, repeated) = table.split_at_mut(PERIOD);
        for chunk in period.chunks_mut(8) {
            chunk.copy_from_slice(&rng.next_u64().to_le_bytes()[..chunk.len()]);
        }
        for (i, byte) in repeated.iter_mut().enumerate() {
            *byte = period[i % PERIOD];
        }
        Self { seed, table }
    }

    /// The bytes of a connection's stream from `position` on: `len` of them, or 65,536 when that is less.
    pub fn stream(&self, connection: u32, position: u64, len: usize) -> &[u8] {
        let start = (self.offset(u64::from(connection), 0) as u64).wrapping_add(position) % PERIOD as u64;
        self.slice(start as usize, len)
    }

    /// Compares received bytes with those of the stream.
    ///
    /// # Errors
    /// The first byte that differs.
    pub fn check_stream(&self, connection: u32, position: u64, bytes: &[u8]) -> Result<(), Corrupt> {
        let mut position = position;
        for chunk in bytes.chunks(LONGEST) {
            compare(connection, position, self.stream(connection, position, chunk.len()), chunk)?;
            position = position.wrapping_add(chunk.len() as u64);
        }
        Ok(())
    }

    /// Fills a datagram: the sequence number (its low bytes when the datagram is shorter), then filler. Bytes beyond 65,536
    /// stay as they are.
    pub fn write_datagram(&self, socket: u32, sequence: u64, datagram: &mut [u8]) {
        let number = sequence.to_le_bytes();
        let at = datagram.len().min(SEQUENCE_BYTES);
        let (head, filler) = datagram.split_at_mut(at);
        head.copy_from_slice(&number[..at]);
        let source = self.slice(self.offset(u64::from(socket), sequence.wrapping_add(1)), filler.len());
        filler[..source.len()].copy_from_slice(source);
    }

    /// Compares a received datagram with the one of that number.
    ///
    /// # Errors
    /// Its length or the first byte that differs.
    pub fn check_datagram(&self, socket: u32, sequence: u64, size: usize, datagram: &[u8]) -> Result<(), Corrupt> {
        if datagram.len() != size {
            return Err(Corrupt::Length { connection: socket, expected: size, found: datagram.len() });
        }
        let at = size.min(SEQUENCE_BYTES);
        compare(socket, 0, &sequence.to_le_bytes()[..at], &datagram[..at])?;
        let source = self.slice(self.offset(u64::from(socket), sequence.wrapping_add(1)), size - at);
        compare(socket, at as u64, source, &datagram[at..at + source.len()])
    }

    fn offset(&self, a: u64, b: u64) -> usize {
        let mut mix = Rng::seeded(self.seed ^ a.rotate_left(32) ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mix.below(PERIOD as u64) as usize
    }

    fn slice(&self, start: usize, len: usize) -> &[u8] {
        &self.table[start..start + len.min(LONGEST)]
    }
}

/// The low bytes of the sequence number in a datagram, and how many bits they are.
pub fn sequence_of(datagram: &[u8]) -> (u64, u32) {
    let mut number = [0; SEQUENCE_BYTES];
    let at = datagram.len().min(SEQUENCE_BYTES);
    number[..at].copy_from_slice(&datagram[..at]);
    (u64::from_le_bytes(number), 8 * at as u32)
}

/// The latest sequence number below `next` whose low `bits` are `low`; `None` when there is none.
pub const fn expand(low: u64, bits: u32, next: u64) -> Option<u64> {
    if bits >= 64 {
        return if low < next { Some(low) } else { None };
    }
    let span = 1_u64 << bits;
    let Some(last) = next.checked_sub(1) else { return None };
    // How far below the last number sent the wanted one lies, modulo the span.
    let back = last.wrapping_sub(low) & (span - 1);
    last.checked_sub(back)
}

fn compare(connection: u32, position: u64, expected: &[u8], found: &[u8]) -> Result<(), Corrupt> {
    if expected == found {
        return Ok(());
    }
    match expected.iter().zip(found).enumerate().find(|(_, (e, f))| e != f) {
        Some((at, (&expected, &found))) => {
            Err(Corrupt::Byte { connection, position: position.wrapping_add(at as u64), expected, found })
        }
        None => Err(Corrupt::Length { connection, expected: expected.len(), found: found.len() }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_stream_is_the_same_however_it_is_cut(seed: u64, connection: u32, position: u64, cuts in prop::collection::vec(1_usize..3000, 1..40)) {
            let pattern = Pattern::new(seed);
            let mut bytes = Vec::new();
            for cut in cuts {
                bytes.extend_from_slice(pattern.stream(connection, position.wrapping_add(bytes.len() as u64), cut));
            }
            // The position may cross 2^64 only in this test: the period then starts anew.
            prop_assume!(position.checked_add(bytes.len() as u64).is_some());
            prop_assert_eq!(pattern.check_stream(connection, position, &bytes), Ok(()));
        }

        #[test]
        fn one_changed_byte_is_found_where_it_is(seed: u64, len in 1_usize..100_000, at: prop::sample::Index, flip in 1_u8..) {
            let pattern = Pattern::new(seed);
            let mut bytes: Vec<u8> = pattern.stream(3, 1000, len).to_vec();
            bytes.extend_from_slice(pattern.stream(3, 1000 + bytes.len() as u64, len - bytes.len()));
            let at = at.index(len);
            bytes[at] ^= flip;
            let expected = bytes[at] ^ flip;
            let error = Corrupt::Byte { connection: 3, position: 1000 + at as u64, expected, found: bytes[at] };
            prop_assert_eq!(pattern.check_stream(3, 1000, &bytes), Err(error));
        }

        #[test]
        fn a_number_is_found_again_from_its_low_bytes(next: u64, back in 1_u64..200, size in 1_usize..8) {
            prop_assume!(next >= back);
            let number = next - back;
            let (low, bits) = sequence_of(&number.to_le_bytes()[..size]);
            prop_assert_eq!(expand(low, bits, next), Some(number));
        }
    }

    #[test]
    fn shifted_swapped_and_repeated_bytes_do_not_fit() {
        let pattern = Pattern::new(1);
        let bytes = pattern.stream(0, 0, 64).to_vec();
        for shift in [1_u64, 2, 4, 64, 1024, 1460, 4096, 65_536] {
            assert!(pattern.check_stream(0, shift, &bytes).is_err(), "shift {shift}");
        }
        assert!(pattern.check_stream(1, 0, &bytes).is_err());
        assert!(Pattern::new(2).check_stream(0, 0, &bytes).is_err());
    }

    #[test]
    fn a_datagram_is_its_number_and_filler_of_its_own() {
        let pattern = Pattern::new(9);
        for size in [0, 1, 7, 8, 9, 64, 1472, 65_507] {
            let mut datagram = vec![0; size];
            pattern.write_datagram(5, 0x1234_5678_9abc, &mut datagram);
            assert_eq!(pattern.check_datagram(5, 0x1234_5678_9abc, size, &datagram), Ok(()));
            if size > 16 {
                assert!(pattern.check_datagram(6, 0x1234_5678_9abc, size, &datagram).is_err(), "another socket's");
                datagram[size - 1] ^= 1;
                assert!(matches!(pattern.check_datagram(5, 0x1234_5678_9abc, size, &datagram), Err(Corrupt::Byte { .. })));
            }
            assert!(pattern.check_datagram(5, 0x1234_5678_9abc, size + 1, &datagram).is_err());
        }
    }

    #[test]
    fn expansion_knows_its_limits() {
        assert_eq!(expand(0, 8, 0), None, "nothing was sent");
        assert_eq!(expand(5, 64, 5), None, "never sent");
        assert_eq!(expand(5, 64, 6), Some(5));
        assert_eq!(expand(0, 0, 10), Some(9), "without a number only the last can be meant");
        assert_eq!(expand(200, 8, 10), None, "200 was not sent yet");
        assert_eq!(expand(255, 8, 256), Some(255));
        assert_eq!(expand(255, 8, 257), Some(255));
    }
}
