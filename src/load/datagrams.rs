//! Messages as datagrams: what a UDP client sends next and what it makes of the datagrams that come back.
//!
//! Called by the engine's service and by the kernel client. A datagram carries its number, so answers may come in any order,
//! twice or never. Pure; time is an argument; no allocation after [`Datagrams::new`]; nothing panics on what a server sends.

use super::pattern::{self, Corrupt, Pattern};
use super::plan::Plan;
use super::schedule::{Answered, Schedule};
use crate::time::Instant;

/// The datagrams of a run.
#[derive(Debug)]
pub struct Datagrams {
    /// What is due, and what became of it.
    pub schedule: Schedule,
    pattern: Pattern,
    payload: Box<[u8]>,
}

impl Datagrams {
    /// The datagrams of a checked plan whose first message is due at `start`.
    pub fn new(plan: &Plan, start: Instant, seed: u64) -> Self {
        let payload = vec![0; plan.size].into_boxed_slice();
        Self { schedule: Schedule::new(plan, start), pattern: Pattern::new(seed), payload }
    }

    /// The payload a socket should send now, if a message is due. Say [`Schedule::sent`] when it left.
    pub fn payload(&mut self, socket: u32, now: Instant) -> Option<&[u8]> {
        let message = self.schedule.due(socket, now)?;
        self.pattern.write_datagram(socket, message.sequence, &mut self.payload);
        Some(&self.payload)
    }

    /// Checks a datagram that came back and settles its message.
    ///
    /// # Errors
    /// Its length or a byte is wrong, or nothing was sent that it could answer.
    pub fn received(&mut self, socket: u32, datagram: &[u8], now: Instant) -> Result<Answered, Corrupt> {
        if datagram.len() != self.payload.len() {
            return Err(Corrupt::Length { connection: socket, expected: self.payload.len(), found: datagram.len() });
        }
        let (low, bits) = pattern::sequence_of(datagram);
        let Some(sequence) = pattern::expand(low, bits, self.schedule.next_sequence(socket)) else {
            return Err(Corrupt::Unasked { connection: socket, sequence: low });
        };
        self.pattern.check_datagram(socket, sequence, self.payload.len(), datagram)?;
        Ok(self.schedule.answered(socket, sequence, now))
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;
    use crate::load::plan::Pace;

    fn at(us: u64) -> Instant {
        Instant::from_ns(us * 1000)
    }

    fn send(datagrams: &mut Datagrams, socket: u32, now: Instant) -> Vec<u8> {
        let payload = datagrams.payload(socket, now).expect("a message is due").to_vec();
        datagrams.schedule.sent(socket, now);
        payload
    }

    #[test]
    fn answers_may_come_in_any_order_and_twice() {
        for size in [1, 4, 8, 64, 1472] {
            let plan = Plan { size, pace: Pace::Closed { in_flight: 3 }, ..plan() };
            let mut datagrams = Datagrams::new(&plan, at(0), 3);
            let sent: Vec<_> = (0..3).map(|_| send(&mut datagrams, 0, at(0))).collect();
            assert_eq!(datagrams.payload(0, at(0)), None);
            assert_eq!(datagrams.received(0, &sent[2], at(1)), Ok(Answered::InTime));
            assert_eq!(datagrams.received(0, &sent[0], at(2)), Ok(Answered::InTime));
            assert_eq!(datagrams.received(0, &sent[0], at(3)), Ok(Answered::Duplicate));
            assert_eq!(datagrams.received(0, &sent[1], at(4)), Ok(Answered::InTime));
            assert_eq!(datagrams.schedule.outcome().received, 3);
        }
    }

    #[test]
    fn an_empty_datagram_answers_the_only_one_in_flight() {
        let mut datagrams = Datagrams::new(&Plan { size: 0, ..plan() }, at(0), 3);
        for round in 0..3 {
            assert!(send(&mut datagrams, 0, at(round)).is_empty());
            assert_eq!(datagrams.received(0, &[], at(round)), Ok(Answered::InTime));
        }
        assert_eq!(datagrams.received(0, &[], at(9)), Ok(Answered::Duplicate));
    }

    #[test]
    fn wrong_length_wrong_bytes_and_wrong_numbers_are_errors() {
        let mut datagrams = Datagrams::new(&Plan { connections: 2, ..plan() }, at(0), 3);
        let sent = send(&mut datagrams, 0, at(0));
        assert!(matches!(datagrams.received(0, &sent[1..], at(1)), Err(Corrupt::Length { expected: 64, found: 63, .. })));
        let mut wrong = sent.clone();
        wrong[63] ^= 1;
        assert!(matches!(datagrams.received(0, &wrong, at(1)), Err(Corrupt::Byte { position: 63, .. })));
        wrong = sent.clone();
        wrong[0] = 9;
        assert_eq!(datagrams.received(0, &wrong, at(1)), Err(Corrupt::Unasked { connection: 0, sequence: 9 }));
        send(&mut datagrams, 1, at(0));
        assert!(datagrams.received(1, &sent, at(1)).is_err(), "another socket's answer");
        assert_eq!(datagrams.received(0, &sent, at(2)), Ok(Answered::InTime));
    }
}
