//! Urgent data (RFC 9293 3.8.5): a mark in the stream before which the peer's service should hurry.
//!
//! The data stay in line, as RFC 6093 has it: the mark is told beside the stream and takes nothing out of it. `arrives` moves RCV.UP, `output`
//! sends SND.UP. Nothing panics.

use super::config::Config;
use super::folded::Form;
use super::pool::BufferPool;
use super::seq::SeqNum;
use super::state::State;
use super::tcb::Tcb;
use crate::wire::tcp::{Flags, Segment};

/// Both marks: each the sequence number behind the last urgent byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Urgent {
    /// SND.UP, until it is acknowledged.
    send: Option<SeqNum>,
    /// RCV.UP, until the service has been offered everything before it.
    receive: Option<SeqNum>,
    /// Bytes in order that lie in their frame and are not offered yet.
    unoffered: u32,
}

impl Urgent {
    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form) {
        if form.same(self, Self::default()) {
            return;
        }
        let Self { send, receive, unoffered } = self;
        for pointer in [send, receive] {
            form.optional(pointer, SeqNum(0), |form, seq| form.word(&mut seq.0));
        }
        form.near(unoffered, 0);
    }
}

impl Tcb {
    /// SEND with the URGENT flag: as [`Tcb::send`], and everything up to the last byte taken is urgent.
    pub fn send_urgent(&mut self, config: &Config, bytes: &[u8], pool: &mut BufferPool) -> usize {
        let taken = self.send(config, bytes, pool);
        if taken > 0 {
            let syn = matches!(self.state(), State::SynSent | State::SynReceived);
            //= rfc9293#3.8.5
            //# The urgent pointer MUST point to the sequence number of the octet following the urgent data (MUST-62).
            self.urgent.send = Some(self.snd.una + u32::from(syn) + self.queue.len());
        }
        taken
    }

    /// The flag and the field of a segment.
    pub(super) fn urgent_field(&mut self, seq: SeqNum) -> (Flags, u16) {
        if self.urgent.send.is_none() {
            // As nearly always.
            return (Flags::NONE, 0);
        }
        self.urgent.send = self.urgent.send.filter(|mark| mark.after(self.snd.una));
        match self.urgent.send {
            //= rfc9293#3.8.5
            //# A TCP implementation MUST support a sequence of urgent data of any length (MUST-31)
            // Where the mark is farther away than the field can tell, it points as far as it can, and later segments farther.
            Some(mark) if mark.after(seq) => (Flags::URG, (mark - seq).min(u32::from(u16::MAX)) as u16),
            _ => (Flags::default(), 0),
        }
    }

    /// Takes a received mark in. True when the service is to be told.
    pub(super) fn hear_urgent(&mut self, segment: &Segment<'_>) -> bool {
        let mark = segment.seq + u32::from(segment.flags.contains(Flags::SYN)) + u32::from(segment.urgent);
        self.forget_read_mark();
        let read = self.read();
        //= rfc9293#3.8.5
        //# A TCP implementation MUST (MUST-32) inform the application layer asynchronously whenever it receives an urgent pointer and
        //# there was previously no pending urgent data, or whenever the urgent pointer advances in the data stream.
        let news = mark.after(read) && self.urgent.receive.is_none_or(|known| mark.after(known));
        if news {
            self.urgent.receive = Some(mark);
        }
        news
    }

    /// Urgent bytes still to come after those that have been offered to the service; 0 when it may leave urgent mode.
    pub fn urgent_ahead(&self) -> u32 {
        //= rfc9293#3.8.5
        //# The TCP implementation MUST (MUST-33) provide a way for the application to learn how much urgent data remains to be read
        //# from the connection, or at least to determine whether more urgent data remains to be read
        let read = self.read();
        self.urgent.receive.map_or(0, |mark| if mark.after(read) { mark - read } else { 0 })
    }

    /// Forgets a mark that everything before has been offered of: half a sequence space later it would seem to lie ahead again.
    pub(super) fn forget_read_mark(&mut self) {
        let read = self.read();
        self.urgent.receive = self.urgent.receive.filter(|mark| mark.after(read));
    }

    /// So many bytes of [`super::Arrival::payload`] are not offered to the service yet, while it is told of other things; 0 when they are.
    pub fn set_unoffered(&mut self, len: usize) {
        self.urgent.unoffered = len as u32;
    }

    /// Bytes that [`Tcb::set_unoffered`] was told of.
    pub const fn unoffered(&self) -> usize {
        self.urgent.unoffered as usize
    }

    /// Up to where the service has been offered the stream. The peer's FIN is no byte of it.
    fn read(&self) -> SeqNum {
        self.rcv.nxt - u32::from(self.fin_received) - self.received.unread() - self.urgent.unoffered
    }
}
