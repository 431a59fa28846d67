//! Datagrams over connected kernel sockets, one socket for each "connection".

use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use socket2::{Protocol, Type};

use super::wait::{Report, Waiter};
use super::{KernelClient, Round, SCRATCH, TICK, cannot};
use crate::load::clock;
use crate::load::datagrams::Datagrams;
use crate::load::outcome::{Outcome, RunError};
use crate::load::plan::Plan;
use crate::time::Instant;

/// Datagrams taken from one socket before the others have their turn.
const BURST: usize = 64;
/// When a socket could not send, it is tried again after so long.
const RETRY: Duration = Duration::from_micros(50);

struct Run {
    datagrams: Datagrams,
    sockets: Vec<UdpSocket>,
    scratch: Box<[u8]>,
}

pub(super) fn run(client: &KernelClient, stop: &AtomicBool) -> Result<Outcome, RunError> {
    let mut waiter = Waiter::new(client.spin).map_err(|error| cannot("cannot poll sockets", &error))?;
    let sockets = (0..client.plan.connections)
        .map(|number| {
            let socket = open(client, number)?;
            waiter.watch(number, socket.as_raw_fd(), false)?;
            Ok(socket)
        })
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| cannot(format!("cannot open a UDP socket to {}", client.plan.target), &error))?;
    let run = Run::new(&client.plan, sockets, client.seed);
    run.go(client, &mut waiter, stop).map_err(|error| cannot(format!("cannot send to {}", client.plan.target), &error))
}

fn open(client: &KernelClient, number: u32) -> io::Result<UdpSocket> {
    let socket = client.socket(number, Type::DGRAM, Protocol::UDP)?;
    socket.connect(&client.plan.target.into())?;
    Ok(socket.into())
}

impl Run {
    fn new(plan: &Plan, sockets: Vec<UdpSocket>, seed: u64) -> Self {
        Self { datagrams: Datagrams::new(plan, clock::now(), seed), sockets, scratch: vec![0; SCRATCH].into_boxed_slice() }
    }

    fn go(mut self, client: &KernelClient, waiter: &mut Waiter, stop: &AtomicBool) -> io::Result<Outcome> {
        let mut round = Round::new(client, self.datagrams.schedule.window(), stop);
        let mut reports: Vec<Report> = Vec::with_capacity(1024);
        // Sockets that may hold more than one turn took: edge-triggered, so nobody will say it again.
        let mut unfinished: Vec<u32> = Vec::with_capacity(self.sockets.len());
        loop {
            let now = clock::now();
            if !round.begin(now, self.datagrams.schedule.outcome()) || self.datagrams.schedule.is_done(now) {
                break;
            }
            let mut worked = self.send_due(now)?;
            if waiter.is_spinning() {
                for socket in 0..self.sockets.len() as u32 {
                    if self.datagrams.schedule.in_flight(socket) > 0 {
                        worked |= self.receive(socket)? > 0;
                    }
                }
            } else {
                waiter.wait(self.deadline(now, &round, unfinished.is_empty()), now, &mut reports)?;
                reports.extend(unfinished.drain(..).map(|socket| Report { socket, end_seen: false }));
                for report in &reports {
                    let taken = self.receive(report.socket)?;
                    worked |= taken > 0;
                    if taken == BURST {
                        unfinished.push(report.socket);
                    }
                }
            }
            self.datagrams.schedule.expire(now);
            round.turns.count(worked);
        }
        let mut outcome = self.datagrams.schedule.finish(clock::now());
        round.finish(&mut outcome);
        Ok(outcome)
    }

    /// When the loop must wake although no socket is ready.
    fn deadline(&self, now: Instant, round: &Round<'_>, nothing_left: bool) -> Instant {
        if !nothing_left {
            return now;
        }
        let schedule = &self.datagrams.schedule;
        let retry = if schedule.has_deferred() { now + RETRY } else { Instant::NEVER };
        schedule.next_due().min(round.meter.next_due()).min(now + TICK).min(retry)
    }

    /// Sends everything that is due; true when something was.
    fn send_due(&mut self, now: Instant) -> io::Result<bool> {
        let mut some = false;
        self.datagrams.schedule.turn();
        while let Some(socket) = self.datagrams.schedule.ready(now) {
            some |= self.pump(socket)?;
        }
        Ok(some)
    }

    /// Sends what is due on one socket; true when something was.
    fn pump(&mut self, number: u32) -> io::Result<bool> {
        let Some(socket) = self.sockets.get(number as usize) else { return Ok(false) };
        let mut some = false;
        loop {
            let now = clock::now();
            let Some(payload) = self.datagrams.payload(number, now) else { return Ok(some) };
            match socket.send(payload) {
                Ok(_) => {
                    self.datagrams.schedule.sent(number, now);
                    some = true;
                }
                Err(error) => {
                    self.refused(error)?;
                    self.datagrams.schedule.defer(number);
                    return Ok(some);
                }
            }
        }
    }

    /// Takes the answers that wait at one socket and sends what they allow; returns how many there were.
    fn receive(&mut self, number: u32) -> io::Result<usize> {
        for taken in 0..BURST {
            let Some(socket) = self.sockets.get(number as usize) else { return Ok(taken) };
            match socket.recv(&mut self.scratch) {
                Ok(len) => {
                    if let Err(corrupt) = self.datagrams.received(number, &self.scratch[..len], clock::now()) {
                        self.datagrams.schedule.outcome_mut().count_corrupt(corrupt);
                    }
                    self.pump(number)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(taken),
                Err(error) => self.refused(error)?,
            }
        }
        Ok(BURST)
    }

    /// Errors that are the network's or the moment's are counted, others end the run.
    fn refused(&mut self, error: io::Error) -> io::Result<()> {
        let cause = match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::Interrupted => return Ok(()),
            // The answer to an earlier datagram: ICMP port unreachable.
            ErrorKind::ConnectionRefused => "icmp_port_unreachable",
            ErrorKind::HostUnreachable => "icmp_host_unreachable",
            _ if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => "no_buffers",
            _ => return Err(error),
        };
        self.datagrams.schedule.outcome_mut().count_drops(cause, 1);
        Ok(())
    }
}
