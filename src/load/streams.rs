//! Messages on byte streams: what a TCP client sends next and what it makes of the bytes that come back.
//!
//! Called by the engine's service and by the kernel client for each connection. The answers of an echo server are the same
//! bytes in the same order: message `k` of a connection is answered when its last byte is back. Pure; time is an argument; no
//! allocation; nothing panics on what a server sends.

use super::pattern::{Corrupt, Pattern};
use super::plan::Plan;
use super::schedule::{Answered, Schedule};
use crate::time::Instant;

/// The streams of a run.
#[derive(Debug)]
pub struct Streams {
    /// What is due, and what became of it.
    pub schedule: Schedule,
    pattern: Pattern,
    size: u64,
    ends: Vec<Ends>,
}

/// How far one connection has come, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    /// End of the last message that was begun.
    begun: u64,
    written: u64,
    received: u64,
    /// End of the oldest message that is not answered yet.
    answer_end: u64,
}

impl Streams {
    /// The streams of a checked plan whose first message is due at `start`.
    pub fn new(plan: &Plan, start: Instant, seed: u64) -> Self {
        let size = plan.size.max(1) as u64;
        Self {
            schedule: Schedule::new(plan, start),
            pattern: Pattern::new(seed),
            size,
            ends: vec![Ends { answer_end: size, ..Ends::default() }; plan.connections as usize],
        }
    }

    /// The bytes a connection should send now: the rest of a message that was begun, or the next one if it is due. At most
    /// 65,536 at once; never more than one message, so that each message is one call into the stack.
    pub fn chunk(&self, connection: u32, now: Instant) -> Option<&[u8]> {
        let ends = self.ends.get(connection as usize)?;
        let left = match ends.begun - ends.written {
            0 => self.schedule.due(connection, now).map(|_| self.size)?,
            left => left,
        };
        Some(self.pattern.stream(connection, ends.written, usize::try_from(left).unwrap_or(usize::MAX)))
    }

    /// The stack took `n` of these bytes at `now`.
    pub fn wrote(&mut self, connection: u32, n: usize, now: Instant) {
        let ends = &mut self.ends[connection as usize];
        if n == 0 {
            return;
        }
        if ends.begun == ends.written {
            ends.begun += self.size;
            self.schedule.sent(connection, now);
        }
        ends.written += n as u64;
    }

    /// True while a message is begun and not written to its end.
    pub fn is_halfway(&self, connection: u32) -> bool {
        self.ends.get(connection as usize).is_some_and(|ends| ends.written < ends.begun)
    }

    /// Checks bytes that came back and settles the messages they complete.
    ///
    /// # Errors
    /// A byte is wrong, or was never sent. The connection is of no use then.
    pub fn received(&mut self, connection: u32, bytes: &[u8], now: Instant) -> Result<(), Corrupt> {
        let ends = &mut self.ends[connection as usize];
        if ends.received.saturating_add(bytes.len() as u64) > ends.written {
            return Err(Corrupt::Unasked { connection, sequence: self.schedule.next_sequence(connection) });
        }
        self.pattern.check_stream(connection, ends.received, bytes)?;
        ends.received += bytes.len() as u64;
        while ends.received >= ends.answer_end {
            let sequence = self.schedule.oldest(connection).unwrap_or(u64::MAX);
            if self.schedule.answered(connection, sequence, now) == Answered::Unasked {
                return Err(Corrupt::Unasked { connection, sequence });
            }
            ends.answer_end += self.size;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::plan::tests::plan;
    use super::*;
    use crate::load::plan::{Carrier, Pace};

    fn streams(size: usize, in_flight: u32) -> Streams {
        let pace = Pace::Closed { in_flight };
        Streams::new(&Plan { carrier: Carrier::Tcp, size, pace, connections: 2, ..plan() }, Instant::ZERO, 7)
    }

    fn at(us: u64) -> Instant {
        Instant::from_ns(us * 1000)
    }

    /// Writes what is offered in pieces of at most `piece` bytes and returns it.
    fn write(streams: &mut Streams, connection: u32, piece: usize, now: Instant) -> Vec<u8> {
        let mut wire = Vec::new();
        while let Some(chunk) = streams.chunk(connection, now) {
            let n = chunk.len().min(piece);
            wire.extend_from_slice(&chunk[..n]);
            streams.wrote(connection, n, now);
        }
        wire
    }

    #[test]
    fn an_answer_in_pieces_is_complete_with_its_last_byte() {
        let mut streams = streams(100, 1);
        let wire = write(&mut streams, 0, usize::MAX, at(0));
        assert_eq!(wire.len(), 100);
        assert_eq!(streams.received(0, &wire[..99], at(5)), Ok(()));
        assert_eq!(streams.schedule.outcome().received, 0);
        assert_eq!(streams.received(0, &wire[99..], at(9)), Ok(()));
        assert_eq!(streams.schedule.outcome().received, 1);
        assert!(streams.chunk(0, at(9)).is_some(), "the next one may go");
    }

    #[test]
    fn messages_in_flight_are_answered_together_and_written_in_any_pieces() {
        for piece in [1, 7, 64, 1000] {
            let mut streams = streams(50, 4);
            let wire = write(&mut streams, 1, piece, at(0));
            assert_eq!(wire.len(), 200);
            assert_eq!(streams.received(1, &wire, at(3)), Ok(()));
            assert_eq!(streams.schedule.outcome().received, 4);
        }
    }

    #[test]
    fn a_message_counts_as_sent_with_its_first_byte() {
        let mut streams = streams(100, 1);
        streams.wrote(0, 0, at(1));
        assert!(!streams.is_halfway(0));
        streams.wrote(0, 40, at(2));
        assert!(streams.is_halfway(0) && streams.schedule.in_flight(0) == 1);
        assert_eq!(streams.chunk(0, at(3)).map(<[u8]>::len), Some(60));
        streams.wrote(0, 60, at(3));
        assert!(!streams.is_halfway(0));
    }

    #[test]
    fn a_large_message_goes_out_in_pieces_of_64_kib() {
        let mut streams = streams(1 << 20, 1);
        let mut pieces = 0;
        while let Some(n) = streams.chunk(0, at(0)).map(<[u8]>::len) {
            streams.wrote(0, n, at(0));
            pieces += 1;
        }
        assert_eq!(pieces, 16);
    }

    #[test]
    fn wrong_bytes_and_bytes_nobody_asked_for_are_errors() {
        let mut streams = streams(100, 1);
        let wire = write(&mut streams, 0, usize::MAX, at(0));
        let mut wrong = wire.clone();
        wrong[50] ^= 4;
        assert!(matches!(streams.received(0, &wrong, at(1)), Err(Corrupt::Byte { position: 50, .. })));
        assert!(matches!(streams.received(1, &wire, at(1)), Err(Corrupt::Unasked { connection: 1, sequence: 0 })));
        let more = [wire.as_slice(), &[0]].concat();
        assert!(matches!(streams.received(0, &more, at(1)), Err(Corrupt::Unasked { .. })));
    }

    #[test]
    fn open_loop_messages_wait_for_their_time() {
        let pace = Pace::Open { per_s: 1000.0 };
        let plan = Plan { carrier: Carrier::Tcp, pace, duration: Duration::from_millis(10), ..plan() };
        let mut streams = Streams::new(&plan, at(1000), 1);
        assert_eq!(streams.chunk(0, at(999)), None);
        assert_eq!(write(&mut streams, 0, usize::MAX, at(3000)).len(), 3 * 64);
    }
}
