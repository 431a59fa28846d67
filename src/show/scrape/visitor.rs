//! One connection of a scraper: it asks, takes its answer and leaves.
//!
//! Each of the three has its time, which nothing that comes meanwhile lengthens: who sends or takes a byte now and then is gone as soon as who does nothing.
//! Called by the server whenever something may have happened; never waits. What a visitor sends cannot make it panic or grow.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::Pages;
use super::request::{self, Request, Wanted};
use crate::limits;

/// Whoever has connected.
#[derive(Debug)]
pub(super) struct Visitor {
    stream: TcpStream,
    stage: Stage,
    /// When it has to be through with its stage.
    deadline: Instant,
}

#[derive(Debug)]
enum Stage {
    /// The head so far.
    Asks(Vec<u8>),
    /// The answer, and how much of it was taken.
    Takes(Vec<u8>, usize),
    /// All is said. What still comes is thrown away, so that closing does not reset the connection and the answer with it: so many bytes so far.
    Leaves(usize),
}

/// What becomes of a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It is to be turned to again at once.
    Again,
    /// It has to do something first.
    Wait,
    /// It is over.
    End,
}

impl Visitor {
    pub(super) fn new(stream: TcpStream, now: Instant) -> Self {
        Self { stream, stage: Stage::Asks(Vec::new()), deadline: now + TO_ASK }
    }

    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Goes on as far as it can without waiting.
    pub(super) fn go_on(&mut self, pages: &mut Pages) -> Then {
        let done = match &mut self.stage {
            Stage::Asks(head) => ask(&mut self.stream, head)
                .map(|request| request.map(|request| (Stage::Takes(answer_to(request, pages), 0), TO_TAKE))),
            Stage::Takes(answer, taken) => {
                take(&mut self.stream, answer, taken).map(|all| all.then_some((Stage::Leaves(0), TO_LEAVE)))
            }
            Stage::Leaves(thrown) => leave(&mut self.stream, thrown).map(|()| None),
        };
        match done {
            Ok(Some((stage, time))) => {
                (self.stage, self.deadline) = (stage, Instant::now() + time);
                Then::Again
            }
            Ok(None) => Then::Wait,
            Err(_) => Then::End,
        }
    }
}

/// Reads what has come of the head; gives the request once it is whole, or wrong.
fn ask(stream: &mut TcpStream, head: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let mut room = [0; 1024];
    while head.len() < limits::SCRAPE_REQUEST {
        match stream.read(&mut room) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => head.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if let Some(request) = Request::read(head) {
            return Ok(Some(request));
        }
    }
    Ok(Request::read(head))
}

fn answer_to(request: Request, pages: &mut Pages) -> Vec<u8> {
    match request.wanted {
        Wanted::Figures(by) => request::figures(pages.figures(by), request.head_only),
        Wanted::Glossary => request::text(&Pages::glossary(), request.head_only),
        Wanted::Refused(why) => why.answer(request.head_only),
    }
}

/// Writes what the visitor takes. True once that is everything, and the end of it is said.
fn take(stream: &mut TcpStream, answer: &[u8], taken: &mut usize) -> io::Result<bool> {
    while let Some(rest) = answer.get(*taken..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => *taken += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    stream.shutdown(Shutdown::Write).map(|()| true)
}

/// Throws away what still comes. An error is the end: that of the visitor, or of patience.
fn leave(stream: &mut TcpStream, thrown: &mut usize) -> io::Result<()> {
    let mut room = [0; 4096];
    loop {
        match stream.read(&mut room) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) if *thrown + count <= THROWN_AWAY => *thrown += count,
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// How long a request may take; Prometheus gives up after as long.
const TO_ASK: Duration = Duration::from_secs(10);
/// How long a visitor may take for the answer.
const TO_TAKE: Duration = Duration::from_secs(30);
/// How long it may take to go.
const TO_LEAVE: Duration = Duration::from_secs(1);
/// Bytes behind a request that are read before the connection is cut.
const THROWN_AWAY: usize = 64 << 10;
