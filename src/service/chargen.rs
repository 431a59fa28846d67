//! Character generator (RFC 864): lines of printing characters, without end over TCP, one datagram for each received over UDP.
//!
//! Opened by [`super::Catalog`]; [`fill`] is also what the kernel-socket server sends. Over TCP it writes until the send
//! buffer is full and goes on when there is room, so the stream runs as fast as the peer's window allows. Its table of
//! positions is allocated at construction. Cannot panic.

use super::{Answer, Connection, Context, Datagram, PerConnection, Service, safe_to_answer};
use crate::rng::Rng;

/// Printing characters of a line, without its end.
pub const LINE_CHARACTERS: usize = 72;
/// Bytes of a line with its carriage return and line feed.
pub const LINE_BYTES: usize = LINE_CHARACTERS + 2;
/// Printing characters of ASCII: each line begins one further on than the line before, so this many lines make a round.
pub const RING_CHARACTERS: usize = 95;
/// Bytes after which the stream repeats.
pub const PERIOD_BYTES: usize = RING_CHARACTERS * LINE_BYTES;
/// Most characters of a datagram ("a random number (between 0 and 512) of characters").
pub const DATAGRAM_CHARACTERS_MAX: usize = 512;

/// One round of the stream. The first line begins with `!`, as in the example of the RFC.
static ROUND: [u8; PERIOD_BYTES] = round();

/// Writes the bytes of the stream from `offset` on; the same offset always gives the same bytes.
///
/// ```
/// let mut start = [0; 8];
/// ringway::service::chargen::fill(0, &mut start);
/// assert_eq!(&start, b"!\"#$%&'(");
/// ```
pub fn fill(offset: u64, out: &mut [u8]) {
    let mut from = (offset % PERIOD_BYTES as u64) as usize;
    let mut rest = out;
    while !rest.is_empty() {
        let n = rest.len().min(PERIOD_BYTES - from);
        let (now, later) = rest.split_at_mut(n);
        now.copy_from_slice(&ROUND[from..from + n]);
        rest = later;
        from = 0;
    }
}

/// The character generator.
#[derive(Debug)]
pub struct Chargen {
    /// Where each connection stands in the round.
    positions: PerConnection<u16>,
    /// Draws the lengths of datagrams.
    rng: Rng,
}

const _: () = assert!(PERIOD_BYTES <= u16::MAX as usize);

impl Chargen {
    /// A generator for up to `connections` connections at once; `seed` decides the lengths of its datagrams.
    pub fn new(connections: usize, seed: u64) -> Self {
        Self { positions: PerConnection::with_capacity(connections), rng: Rng::seeded(seed) }
    }

    fn write(&mut self, cx: &mut impl Context, connection: Connection) {
        let position = self.positions.of(connection);
        loop {
            let rest = &ROUND[*position as usize % PERIOD_BYTES..];
            let sent = cx.send(connection, rest).min(rest.len());
            *position = ((*position as usize + sent) % PERIOD_BYTES) as u16;
            if sent < rest.len() {
                return;
            }
        }
    }
}

impl Service for Chargen {
    type Message = ();

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        let meta = datagram.meta();
        if !safe_to_answer(meta.remote, meta.local, meta.to_many) {
            return Answer::Unsafe;
        }
        let room = datagram.room();
        let len = room.len().min(self.rng.below(DATAGRAM_CHARACTERS_MAX as u64 + 1) as usize);
        fill(0, &mut room[..len]);
        Answer::Reply { len }
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        *self.positions.of(connection) = 0;
        self.write(cx, connection);
    }

    fn writable(&mut self, cx: &mut impl Context, connection: Connection) {
        self.write(cx, connection);
    }
}

const fn round() -> [u8; PERIOD_BYTES] {
    let mut bytes = [0; PERIOD_BYTES];
    let mut line = 0;
    while line < RING_CHARACTERS {
        let mut column = 0;
        while column < LINE_CHARACTERS {
            // Character 0 of the ring is the space (0x20); line 0 starts at 1, the exclamation mark.
            bytes[line * LINE_BYTES + column] = b' ' + ((line + column + 1) % RING_CHARACTERS) as u8;
            column += 1;
        }
        bytes[line * LINE_BYTES + LINE_CHARACTERS] = b'\r';
        bytes[line * LINE_BYTES + LINE_CHARACTERS + 1] = b'\n';
        line += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fake, datagram_from};
    use super::*;

    fn stream(offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        fill(offset, &mut bytes);
        bytes
    }

    #[test]
    fn lines_are_those_of_the_rfc() {
        //= type=test
        //= rfc864
        //# End each line with carriage return and line feed.
        let bytes = stream(0, LINE_BYTES * 2);
        let (first, second) = bytes.split_at(LINE_BYTES);
        assert_eq!(first, b"!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh\r\n");
        assert_eq!(second, b"\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghi\r\n");
        // The ring closes: the space follows the tilde.
        assert!(stream(0, PERIOD_BYTES).windows(4).any(|at| at == b"}~ !"));
    }

    #[test]
    fn any_offset_continues_the_same_stream() {
        let whole = stream(0, PERIOD_BYTES * 2 + 100);
        for offset in [0, 1, 73, 74, PERIOD_BYTES - 1, PERIOD_BYTES, PERIOD_BYTES + 1] {
            assert_eq!(stream(offset as u64, 90), whole[offset..offset + 90], "{offset}");
        }
        assert_eq!(stream(u64::MAX, 1), stream(u64::MAX % PERIOD_BYTES as u64, 1));
    }

    #[test]
    fn a_connection_is_filled_and_goes_on_where_it_stopped() {
        let mut cx = Fake::default();
        let mut chargen = Chargen::new(4, 1);
        let connection = cx.accept(0, PERIOD_BYTES + 11);
        chargen.connected(&mut cx, connection);
        cx.give_room(connection, 500);
        chargen.writable(&mut cx, connection);
        assert_eq!(cx.sent(connection), stream(0, PERIOD_BYTES + 511));
    }

    #[test]
    fn a_new_connection_in_an_old_slot_starts_at_the_first_line() {
        let mut cx = Fake::default();
        let mut chargen = Chargen::new(4, 1);
        let first = cx.accept(0, 100);
        chargen.connected(&mut cx, first);
        let second = cx.accept_again(first, 0, 100);
        chargen.connected(&mut cx, second);
        assert_eq!(cx.sent(second), stream(0, 100));
    }

    #[test]
    fn datagrams_have_between_0_and_512_characters() {
        let mut cx = Fake::default();
        let mut chargen = Chargen::new(0, 7);
        let mut lengths = Vec::new();
        for _ in 0..4000 {
            let (answer, room) = datagram_from(&mut chargen, &mut cx, "10.0.0.1:40000", b"");
            let Answer::Reply { len } = answer else { panic!("{answer:?}") };
            assert_eq!(room[..len], stream(0, len));
            lengths.push(len);
        }
        assert_eq!((lengths.iter().min(), lengths.iter().max()), (Some(&0), Some(&512)));
        assert_eq!(datagram_from(&mut chargen, &mut cx, "10.0.0.1:19", b"").0, Answer::Unsafe);
    }
}
