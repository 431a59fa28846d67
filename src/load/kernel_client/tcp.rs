//! Byte streams over kernel sockets: connections that stay for the whole run.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use socket2::{Protocol, Type};

use super::wait::{Report, Waiter};
use super::{KernelClient, Round, SCRATCH, TICK, cannot};
use crate::load::clock;
use crate::load::outcome::{Outcome, RunError};
use crate::load::streams::Streams;
use crate::metrics::histogram::Recorder;
use crate::time::Instant;

/// A handshake that takes longer has failed.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long one peer may take to close its side.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// How long closing all connections may take together.
const CLOSE_ALL_WITHIN: Duration = Duration::from_secs(5);
/// Pieces read from one connection before the others have their turn.
const PIECES: usize = 16;

struct Run {
    streams: Streams,
    /// One for each connection; `None` once it ended.
    connections: Vec<Option<TcpStream>>,
    scratch: Box<[u8]>,
}

pub(super) fn run(client: &KernelClient, stop: &AtomicBool) -> Result<Outcome, RunError> {
    let mut connect = Recorder::new();
    let mut waiter = Waiter::new(client.spin).map_err(|error| cannot("cannot poll sockets", &error))?;
    let mut connections = Vec::with_capacity(client.plan.connections as usize);
    for number in 0..client.plan.connections {
        let stream = open(client, number, &mut connect)
            .and_then(|stream| waiter.watch(number, stream.as_raw_fd(), true).map(|()| stream))
            .map_err(|error| cannot(format!("cannot connect to {} (connection {})", client.plan.target, number + 1), &error))?;
        connections.push(Some(stream));
    }
    let streams = Streams::new(&client.plan, clock::now(), client.seed);
    let run = Run { streams, connections, scratch: vec![0; SCRATCH].into_boxed_slice() };
    let mut outcome = run.go(client, &mut waiter, stop).map_err(|error| cannot("cannot poll sockets", &error))?;
    outcome.connect.merge(&connect);
    Ok(outcome)
}

/// Opens one connection and measures it from the call that sends the SYN until the kernel says it is established.
pub(super) fn open(client: &KernelClient, number: u32, connect: &mut Recorder) -> io::Result<TcpStream> {
    let socket = client.socket(number, Type::STREAM, Protocol::TCP)?;
    socket.set_tcp_nodelay(true)?;
    let target = client.plan.target.into();
    let planned = clock::now();
    if client.spin {
        connect_spinning(&socket, &target, planned)?;
    } else {
        socket.connect_timeout(&target, CONNECT_WITHIN)?;
        socket.set_nonblocking(true)?;
    }
    connect.record(clock::now().ns_since(planned));
    Ok(socket.into())
}

fn connect_spinning(socket: &socket2::Socket, target: &socket2::SockAddr, planned: Instant) -> io::Result<()> {
    match socket.connect(target) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => return Err(error),
        _ => {}
    }
    while socket.peer_addr().is_err() {
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        if clock::now().since(planned) > CONNECT_WITHIN {
            return Err(ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}

impl Run {
    fn go(mut self, client: &KernelClient, waiter: &mut Waiter, stop: &AtomicBool) -> io::Result<Outcome> {
        let mut round = Round::new(client, self.streams.schedule.window(), stop);
        let mut reports: Vec<Report> = Vec::with_capacity(1024);
        // Connections that may hold more than one turn took: edge-triggered, so nobody will say it again.
        let mut unfinished: Vec<Report> = Vec::with_capacity(self.connections.len());
        loop {
            let now = clock::now();
            if !round.begin(now, self.streams.schedule.outcome()) || self.streams.schedule.is_done(now) {
                break;
            }
            let mut worked = self.send_due(now);
            if waiter.is_spinning() {
                for number in 0..self.connections.len() as u32 {
                    if self.streams.is_halfway(number) {
                        worked |= self.pump(number);
                    }
                    if self.streams.schedule.in_flight(number) > 0 {
                        worked |= self.receive(number, false).0;
                    }
                }
            } else {
                let deadline = self.streams.schedule.next_due().min(round.meter.next_due()).min(now + TICK);
                waiter.wait(if unfinished.is_empty() { deadline } else { now }, now, &mut reports)?;
                reports.append(&mut unfinished);
                for &report in &reports {
                    let (some, more) = self.receive(report.socket, report.end_seen);
                    worked |= self.pump(report.socket) | some;
                    if more {
                        unfinished.push(report);
                    }
                }
            }
            round.turns.count(worked);
        }
        let mut close = Recorder::new();
        self.close_all(client.spin, &mut close);
        let mut outcome = self.streams.schedule.finish(clock::now());
        outcome.close.merge(&close);
        round.finish(&mut outcome);
        Ok(outcome)
    }

    /// Sends what is due; true when something was.
    fn send_due(&mut self, now: Instant) -> bool {
        let mut some = false;
        self.streams.schedule.turn();
        while let Some(number) = self.streams.schedule.ready(now) {
            some |= self.pump(number);
        }
        some
    }

    /// Writes what one connection has to send, until the kernel takes no more; true when it took something.
    fn pump(&mut self, number: u32) -> bool {
        let mut some = false;
        loop {
            let Some(Some(stream)) = self.connections.get_mut(number as usize) else { return some };
            let now = clock::now();
            let Some(chunk) = self.streams.chunk(number, now) else { return some };
            match stream.write(chunk) {
                Ok(n) => {
                    self.streams.wrote(number, n, now);
                    some = true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The kernel says when there is room again. A spinning loop asks: for the rest of a message each turn, for a
                // message that is due and not begun through the schedule.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.streams.schedule.defer(number);
                    return some;
                }
                Err(_) => {
                    self.end(number, "reset");
                    return some;
                }
            }
        }
    }

    /// Reads what one connection holds and sends what the answers allow; says whether there was something, and whether there
    /// may be more.
    fn receive(&mut self, number: u32, end_seen: bool) -> (bool, bool) {
        let mut some = false;
        for _ in 0..PIECES {
            let Some(Some(stream)) = self.connections.get_mut(number as usize) else { return (some, false) };
            let len = match stream.read(&mut self.scratch) {
                Ok(0) => {
                    self.end(number, "closed_early");
                    return (true, false);
                }
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return (some, false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => {
                    self.end(number, "reset");
                    return (true, false);
                }
            };
            some = true;
            if let Err(corrupt) = self.streams.received(number, &self.scratch[..len], clock::now()) {
                self.streams.schedule.outcome_mut().count_corrupt(corrupt);
                self.end(number, "aborted_after_wrong_bytes");
                return (true, false);
            }
            self.pump(number);
            // A piece that did not fill the buffer was all there was; what comes later is reported anew.
            if len < self.scratch.len() && !end_seen {
                return (true, false);
            }
        }
        (some, true)
    }

    fn end(&mut self, number: u32, cause: &str) {
        if let Some(connection) = self.connections.get_mut(number as usize)
            && connection.take().is_some()
        {
            self.streams.schedule.outcome_mut().count_drops(cause, 1);
            self.streams.schedule.ended(number);
        }
    }

    /// Half-closes one connection after the other and measures how long each peer takes to end its stream. (All at once would
    /// measure the queue of the others.)
    fn close_all(&mut self, spin: bool, close: &mut Recorder) {
        let begun = clock::now();
        let streams = &mut self.streams;
        for (number, connection) in self.connections.iter_mut().enumerate() {
            let Some(stream) = connection.take() else { continue };
            if clock::now().since(begun) > CLOSE_ALL_WITHIN {
                break;
            }
            let mut corrupt = None;
            // Answers that are late by more than a second still come here.
            let end = half_close(stream, spin, &mut self.scratch, |bytes| {
                corrupt = corrupt.or(streams.received(number as u32, bytes, clock::now()).err());
            });
            match end {
                Ok(Some(ns)) => close.record(ns),
                Ok(None) => close.add_unanswered(1),
                Err(_) => streams.schedule.outcome_mut().count_drops("reset", 1),
            }
            if let Some(corrupt) = corrupt {
                streams.schedule.outcome_mut().count_corrupt(corrupt);
            }
        }
    }
}

/// Half-closes and reads to the end of the stream: the nanoseconds in between, or `None` when it did not come in time.
fn half_close(mut stream: TcpStream, spin: bool, scratch: &mut [u8], mut data: impl FnMut(&[u8])) -> io::Result<Option<u64>> {
    if !spin {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(CLOSE_WITHIN))?;
    }
    let from = clock::now();
    stream.shutdown(Shutdown::Write)?;
    loop {
        match stream.read(scratch) {
            Ok(0) => return Ok(Some(clock::now().ns_since(from))),
            Ok(len) => data(&scratch[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        if clock::now().since(from) >= CLOSE_WITHIN {
            return Ok(None);
        }
    }
}
