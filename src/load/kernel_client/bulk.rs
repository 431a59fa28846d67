//! Bulk over kernel sockets: connections that send, or only read, until the time is over.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use socket2::SockRef;

use super::tcp::open;
use super::wait::{Report, Waiter};
use super::{KernelClient, Round, SCRATCH, TICK, cannot};
use crate::load::bulk::{CHUNK_BYTES, Flood};
use crate::load::clock;
use crate::load::outcome::{Outcome, RunError};
use crate::load::plan::Bulk;
use crate::metrics::histogram::Recorder;

/// Pieces carried on one connection before the others have their turn.
const PIECES: usize = 16;

pub(super) fn run(client: &KernelClient, direction: Bulk, stop: &AtomicBool) -> Result<Outcome, RunError> {
    let mut connect = Recorder::new();
    let mut waiter = Waiter::new(client.spin).map_err(|error| cannot("cannot poll sockets", &error))?;
    let mut streams = Vec::with_capacity(client.plan.connections as usize);
    for number in 0..client.plan.connections {
        let stream = open(client, number, &mut connect)
            .and_then(|stream| waiter.watch(number, stream.as_raw_fd(), direction == Bulk::Send).map(|()| stream))
            .map_err(|error| cannot(format!("cannot connect to {} (connection {})", client.plan.target, number + 1), &error))?;
        streams.push(Some(stream));
    }
    let mut outcome =
        go(client, direction, &mut streams, &mut waiter, stop).map_err(|error| cannot("cannot poll sockets", &error))?;
    for stream in streams.iter().flatten() {
        // What still waits in it is nobody's: it ends with a RST, which leaves no TIME-WAIT.
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }
    outcome.connect.merge(&connect);
    Ok(outcome)
}

fn go(
    client: &KernelClient,
    direction: Bulk,
    streams: &mut [Option<TcpStream>],
    waiter: &mut Waiter,
    stop: &AtomicBool,
) -> io::Result<Outcome> {
    let mut flood = Flood::new(&client.plan, clock::now());
    let mut round = Round::new(client, flood.window(), stop);
    let mut buffer = vec![b'.'; if direction == Bulk::Send { CHUNK_BYTES } else { SCRATCH }].into_boxed_slice();
    let mut reports: Vec<Report> = Vec::with_capacity(1024);
    // Edge-triggered: what may have more is looked at again without being reported. At first all are.
    let first = 0..streams.len() as u32;
    let mut unfinished: Vec<Report> = first.clone().map(|socket| Report { socket, end_seen: false }).collect();
    loop {
        let now = clock::now();
        if !round.begin(now, flood.outcome()) || flood.is_done(now) {
            break;
        }
        let mut worked = false;
        if waiter.is_spinning() {
            for number in first.clone() {
                worked |= turn(streams, number, direction, &mut buffer, &mut flood).0;
            }
        } else {
            let deadline = round.meter.next_due().min(flood.window().until).min(now + TICK);
            waiter.wait(if unfinished.is_empty() { deadline } else { now }, now, &mut reports)?;
            reports.append(&mut unfinished);
            for &report in &reports {
                let (some, more) = turn(streams, report.socket, direction, &mut buffer, &mut flood);
                worked |= some;
                if more {
                    unfinished.push(report);
                }
            }
        }
        round.turns.count(worked);
    }
    let mut outcome = flood.finish(clock::now());
    round.finish(&mut outcome);
    Ok(outcome)
}

/// Carries what one connection takes or holds; says whether there was something, and whether there may be more.
fn turn(streams: &mut [Option<TcpStream>], number: u32, direction: Bulk, buffer: &mut [u8], flood: &mut Flood) -> (bool, bool) {
    let mut some = false;
    for _ in 0..PIECES {
        let Some(slot) = streams.get_mut(number as usize) else { return (some, false) };
        let Some(stream) = slot else { return (some, false) };
        let carried = match direction {
            Bulk::Send => stream.write(buffer),
            Bulk::Receive => stream.read(buffer),
        };
        match carried {
            Ok(0) => {
                flood.ended("closed_early");
                *slot = None;
                return (true, false);
            }
            Ok(n) => {
                flood.carried(n, clock::now());
                some = true;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (some, false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => {
                flood.ended("reset");
                *slot = None;
                return (true, false);
            }
        }
    }
    (some, true)
}
