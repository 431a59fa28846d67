//! Stream services over kernel sockets: one slot for each connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::content::Content;
use super::pages::Asked;
use super::{Kind, Tally};
use crate::load::clock;
use crate::time::Instant;

/// Connections served at once; further ones are closed at once and counted.
const CONNECTIONS: usize = 65_536;
/// Connections accepted from one listener before the others have their turn.
const ACCEPTS: usize = 64;
/// Pieces read from or written to one connection before the others have their turn.
const PIECES: usize = 16;
/// How long a connection that we closed may take to close its side.
const LINGER: Duration = Duration::from_secs(10);

/// All connections of a server.
#[derive(Debug)]
pub(super) struct Peers {
    slots: Vec<Option<Peer>>,
    free: Vec<usize>,
    /// Slots with work to do, for the blocking server; each at most once ([`Peer::is_ready`]).
    ready: Vec<usize>,
    turning: Vec<usize>,
}

#[derive(Debug)]
struct Peer {
    kind: Kind,
    stream: TcpStream,
    /// What was read and could not be written back: while there is any, nothing more is read.
    unsent: Vec<u8>,
    unsent_from: usize,
    /// The beginning of a head of http whose end has not come.
    asked: Vec<u8>,
    /// No more requests of http are answered: ours ends when all has been sent.
    is_last: bool,
    /// Characters of chargen sent.
    position: u64,
    /// Our direction is closed; since when.
    closed: Option<Instant>,
    /// The kernel said that the peer's stream ended or failed: read to its end.
    end_seen: bool,
    is_ready: bool,
}

/// What a turn made of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nothing to do until the kernel says so.
    Idle,
    /// Did something; idle now.
    Worked,
    /// Did something, and there may be more.
    More,
    /// The connection is over.
    Over,
}

impl Peers {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), ready: Vec::new(), turning: Vec::new() }
    }

    /// Connections open now.
    pub(super) fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Accepts some of what waits; true when something did. With a registry, readiness is reported there, tokens counted from a base.
    pub(super) fn accept(
        &mut self,
        kind: Kind,
        listener: &TcpListener,
        registry: Option<(&Registry, usize)>,
        tally: &mut Tally,
    ) -> bool {
        let mut some = false;
        for _ in 0..ACCEPTS {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    tally.refused += u64::from(error.kind() != ErrorKind::WouldBlock);
                    return some;
                }
            };
            some = true;
            match self.admit(kind, stream, registry) {
                Ok(()) => tally.accepted += 1,
                Err(_) => tally.refused += 1,
            }
        }
        some
    }

    fn admit(&mut self, kind: Kind, stream: TcpStream, registry: Option<(&Registry, usize)>) -> io::Result<()> {
        if self.open() >= CONNECTIONS {
            return Err(ErrorKind::OutOfMemory.into());
        }
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        if let Some((registry, base)) = registry {
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Err(error) = registry.register(&mut SourceFd(&stream.as_raw_fd()), Token(base + slot), interest) {
                self.free.push(slot);
                return Err(error);
            }
        }
        let unsent = if kind == Kind::Daytime { Content::daytime().as_bytes().to_vec() } else { Vec::new() };
        let peer = Peer {
            kind,
            stream,
            unsent,
            unsent_from: 0,
            asked: Vec::new(),
            is_last: false,
            position: 0,
            closed: None,
            end_seen: false,
            is_ready: false,
        };
        self.slots[slot] = Some(peer);
        self.wake(slot, false);
        Ok(())
    }

    /// The kernel reported a connection.
    pub(super) fn wake(&mut self, slot: usize, end_seen: bool) {
        let Some(peer) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        peer.end_seen |= end_seen;
        if !peer.is_ready {
            peer.is_ready = true;
            self.ready.push(slot);
        }
    }

    /// Serves the connections that were reported; true when one did something.
    pub(super) fn turn_ready(&mut self, scratch: &mut [u8], content: &Content, tally: &mut Tally) -> bool {
        let mut worked = false;
        std::mem::swap(&mut self.ready, &mut self.turning);
        for at in 0..self.turning.len() {
            let slot = self.turning[at];
            if let Some(peer) = self.slots.get_mut(slot).and_then(Option::as_mut) {
                peer.is_ready = false;
            }
            let turn = self.turn(slot, scratch, content, tally);
            worked |= turn != Turn::Idle;
            if turn == Turn::More {
                self.wake(slot, false);
            }
        }
        self.turning.clear();
        worked
    }

    /// Serves every connection once; true when one did something.
    pub(super) fn turn_all(&mut self, scratch: &mut [u8], content: &Content, tally: &mut Tally) -> bool {
        self.ready.clear();
        let mut worked = false;
        for slot in 0..self.slots.len() {
            worked |= self.turn(slot, scratch, content, tally) != Turn::Idle;
        }
        worked
    }

    fn turn(&mut self, slot: usize, scratch: &mut [u8], content: &Content, tally: &mut Tally) -> Turn {
        let Some(peer) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return Turn::Idle };
        let turn = peer.turn(scratch, content, tally).unwrap_or(Turn::Over);
        if turn == Turn::Over {
            self.release(slot);
        }
        turn
    }

    /// Drops connections that we closed and whose peer does not close.
    pub(super) fn expire(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            let closed = self.slots[slot].as_ref().and_then(|peer| peer.closed);
            if closed.is_some_and(|since| now.since(since) > LINGER) {
                self.release(slot);
            }
        }
    }

    fn release(&mut self, slot: usize) {
        if self.slots[slot].take().is_some() {
            self.free.push(slot);
        }
    }
}

impl Peer {
    fn turn(&mut self, scratch: &mut [u8], content: &Content, tally: &mut Tally) -> io::Result<Turn> {
        if !self.flush()? {
            return Ok(Turn::Idle);
        }
        if (self.kind == Kind::Daytime || self.is_last) && self.closed.is_none() {
            self.close()?;
        }
        let sent = if self.kind == Kind::Chargen && self.closed.is_none() { self.chargen(content)? } else { Turn::Idle };
        let read = self.read(scratch, content, tally)?;
        Ok(match (sent, read) {
            (_, Turn::Over) => Turn::Over,
            (Turn::More, _) | (_, Turn::More) => Turn::More,
            (Turn::Idle, Turn::Idle) => Turn::Idle,
            _ => Turn::Worked,
        })
    }

    fn read(&mut self, scratch: &mut [u8], content: &Content, tally: &mut Tally) -> io::Result<Turn> {
        let mut turn = Turn::Idle;
        for _ in 0..PIECES {
            let n = match self.stream.read(scratch) {
                Ok(0) => {
                    // Both directions are closed with this: what was answered has left us, and the kernel delivers it.
                    self.close()?;
                    return Ok(Turn::Over);
                }
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(turn),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            turn = Turn::Worked;
            tally.messages += 1;
            tally.bytes += n as u64;
            if self.kind == Kind::Echo {
                self.unsent_from = 0;
                let written = self.write(&scratch[..n])?;
                if written < n {
                    self.unsent.clear();
                    self.unsent.extend_from_slice(&scratch[written..n]);
                    return Ok(turn);
                }
            }
            if self.kind == Kind::Http && !self.is_last {
                self.http(&scratch[..n], content)?;
                if !self.unsent.is_empty() {
                    return Ok(turn);
                }
            }
            // A piece that did not fill the buffer was all there was; what comes later is reported anew.
            if n < scratch.len() && !self.end_seen {
                return Ok(turn);
            }
        }
        Ok(Turn::More)
    }

    /// Answers the requests that have come whole, with one call.
    fn http(&mut self, bytes: &[u8], content: &Content) -> io::Result<()> {
        self.asked.extend_from_slice(bytes);
        let mut from = 0;
        let mut answers = std::mem::take(&mut self.unsent);
        answers.clear();
        while from < self.asked.len() && !self.is_last {
            match content.pages.answer(&self.asked[from..], &mut answers) {
                Asked::Unfinished => break,
                Asked::Answered(length) => from += length,
                Asked::Last => (from, self.is_last) = (self.asked.len(), true),
            }
        }
        self.asked.drain(..from);
        self.unsent_from = self.write(&answers)?;
        self.unsent = answers;
        if self.unsent_from < self.unsent.len() {
            return Ok(());
        }
        self.unsent.clear();
        self.unsent_from = 0;
        if self.is_last { self.close() } else { Ok(()) }
    }

    fn chargen(&mut self, content: &Content) -> io::Result<Turn> {
        for _ in 0..PIECES {
            let piece = content.chargen(self.position, usize::MAX);
            let written = self.write(piece)?;
            self.position = self.position.wrapping_add(written as u64);
            if written < piece.len() {
                return Ok(if written == 0 { Turn::Idle } else { Turn::Worked });
            }
        }
        Ok(Turn::More)
    }

    /// Writes what waits; false while some of it still does.
    fn flush(&mut self) -> io::Result<bool> {
        while self.unsent_from < self.unsent.len() {
            let unsent = std::mem::take(&mut self.unsent);
            let written = self.write(&unsent[self.unsent_from..]);
            self.unsent = unsent;
            match written? {
                0 => return Ok(false),
                n => self.unsent_from += n,
            }
        }
        self.unsent.clear();
        self.unsent_from = 0;
        Ok(true)
    }

    /// Writes what the kernel takes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Ok(n) => Ok(n),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn close(&mut self) -> io::Result<()> {
        if self.closed.is_none() {
            self.closed = Some(clock::now());
            self.stream.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }
}
