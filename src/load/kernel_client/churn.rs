//! Connections that come and go over kernel sockets.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use socket2::{Protocol, SockRef, Type};

use super::wait::{Report, Waiter};
use super::{KernelClient, Round, SCRATCH, TICK, cannot};
use crate::load::clock;
use crate::load::exchanges::{Exchanges, Stage, Step};
use crate::load::outcome::{Outcome, RunError};
use crate::load::plan::Churn;

struct Run<'a> {
    client: &'a KernelClient,
    exchanges: Exchanges,
    connections: Vec<Option<TcpStream>>,
    waiter: Waiter,
    scratch: Box<[u8]>,
}

pub(super) fn run(client: &KernelClient, kind: Churn, stop: &AtomicBool) -> Result<Outcome, RunError> {
    let waiter = Waiter::new(client.spin).map_err(|error| cannot("cannot poll sockets", &error))?;
    let exchanges = Exchanges::new(&client.plan, kind, clock::now(), client.seed);
    let connections = (0..client.plan.connections).map(|_| None).collect();
    let run = Run { client, exchanges, connections, waiter, scratch: vec![0; SCRATCH].into_boxed_slice() };
    run.go(stop)
}

impl Run<'_> {
    fn go(mut self, stop: &AtomicBool) -> Result<Outcome, RunError> {
        let mut round = Round::new(self.client, self.exchanges.window(), stop);
        let mut reports: Vec<Report> = Vec::with_capacity(1024);
        loop {
            let now = clock::now();
            if !round.begin(now, self.exchanges.outcome()) || self.exchanges.is_done(now) {
                break;
            }
            let mut worked = false;
            // Each slot once a turn at most, so that a server that refuses everything cannot hold the loop.
            for _ in 0..self.connections.len() {
                let Some(slot) = self.exchanges.begin(clock::now()) else { break };
                worked = true;
                self.connect(slot)?;
            }
            while let Some(slot) = self.exchanges.overdue(now) {
                self.abort(slot, "timed_out");
            }
            if self.waiter.is_spinning() {
                for slot in 0..self.connections.len() as u32 {
                    worked |= self.exchanges.stage(slot) != Stage::Free && self.turn(slot);
                }
            } else {
                // With a free slot in a closed loop the next exchange is due: `next_due` lies in the past then.
                let deadline = self.exchanges.next_due().min(round.meter.next_due()).min(now + TICK);
                self.waiter.wait(deadline, now, &mut reports).map_err(|error| cannot("cannot poll sockets", &error))?;
                for report in &reports {
                    worked |= self.turn(report.socket);
                }
            }
            round.turns.count(worked);
        }
        let mut outcome = self.exchanges.finish(clock::now());
        round.finish(&mut outcome);
        Ok(outcome)
    }

    /// Sends the SYN of a slot.
    fn connect(&mut self, slot: u32) -> Result<(), RunError> {
        let what = || format!("cannot connect to {}", self.client.plan.target);
        let opened = self.client.socket(slot, Type::STREAM, Protocol::TCP).and_then(|socket| {
            socket.set_tcp_nodelay(true)?;
            match socket.connect(&self.client.plan.target.into()) {
                Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => return Err(error),
                _ => {}
            }
            self.waiter.watch(slot, socket.as_raw_fd(), true)?;
            Ok(TcpStream::from(socket))
        });
        match opened {
            Ok(stream) => self.connections[slot as usize] = Some(stream),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.exchanges.failed(slot, "refused"),
            Err(error) => return Err(cannot(what(), &error)),
        }
        Ok(())
    }

    /// Goes on with a slot as far as the kernel allows; true when something happened.
    fn turn(&mut self, slot: u32) -> bool {
        let mut worked = false;
        if self.exchanges.stage(slot) == Stage::Connecting {
            match self.is_connected(slot) {
                Ok(false) => return false,
                Ok(true) => {
                    self.exchanges.connected(slot, clock::now());
                    worked = true;
                }
                Err(error) => {
                    self.abort(slot, cause(&error));
                    return true;
                }
            }
        }
        match self.exchange(slot) {
            Ok(some) => worked | some,
            Err(error) => {
                self.abort(slot, cause(&error));
                true
            }
        }
    }

    fn is_connected(&self, slot: u32) -> io::Result<bool> {
        let Some(Some(stream)) = self.connections.get(slot as usize) else { return Ok(false) };
        if stream.peer_addr().is_ok() {
            return Ok(true);
        }
        match stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(false),
        }
    }

    /// Writes what is to be written and reads what there is; true when something was.
    fn exchange(&mut self, slot: u32) -> io::Result<bool> {
        let mut worked = false;
        loop {
            let Some(Some(stream)) = self.connections.get_mut(slot as usize) else { return Ok(worked) };
            let now = clock::now();
            if let Some(chunk) = self.exchanges.chunk(slot) {
                match stream.write(chunk) {
                    Ok(n) => {
                        self.exchanges.wrote(slot, n, now);
                        worked = true;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            let len = match stream.read(&mut self.scratch) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(worked),
                Err(error) => return Err(error),
            };
            worked = true;
            let now = clock::now();
            let step =
                if len == 0 { self.exchanges.ended(slot, now) } else { self.exchanges.received(slot, &self.scratch[..len], now) };
            match step {
                Ok(Step::Wait) => {}
                Ok(Step::HalfClose) => stream.shutdown(Shutdown::Write)?,
                Ok(Step::Reset) => {
                    SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
                    self.connections[slot as usize] = None;
                    return Ok(true);
                }
                Ok(Step::Close) => {
                    self.connections[slot as usize] = None;
                    return Ok(true);
                }
                Err(corrupt) => {
                    self.exchanges.outcome_mut().count_corrupt(corrupt);
                    self.abort(slot, "aborted_after_wrong_bytes");
                    return Ok(true);
                }
            }
        }
    }

    /// Ends the connection of a slot with a reset.
    fn abort(&mut self, slot: u32, cause: &str) {
        if let Some(stream) = self.connections.get_mut(slot as usize).and_then(Option::take) {
            // When this fails the connection is closed in order instead; either way the slot is free.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        self.exchanges.failed(slot, cause);
    }
}

fn cause(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::TimedOut => "timed_out",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "unreachable",
        _ => "reset",
    }
}
