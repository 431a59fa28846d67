//! Datagrams over the engine: a service with one endpoint for each "connection".
//!
//! The first datagram is a probe, repeated until it is answered: it makes the engines find each other's Ethernet addresses, which
//! would otherwise cost the first messages. In a closed loop the next message leaves in the frame that brought the answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::datagrams::Datagrams;
use super::engine_client::{Command, Course, Due, EngineClient, RETRY, Report, cannot};
use super::outcome::RunError;
use super::pattern::Pattern;
use crate::service::{Answer, CallError, Context, Datagram, EndpointId, IcmpError, Local, Service};
use crate::time::Instant;

/// The load service over UDP.
#[derive(Debug)]
pub struct UdpLoad {
    client: EngineClient,
    datagrams: Option<Datagrams>,
    endpoints: Vec<(EndpointId, Option<IpAddr>)>,
    numbers: Vec<u32>,
    probe: Box<[u8]>,
    probing_since: Instant,
    course: Course,
}

/// A target that does not answer the probe for so long is not there.
const PROBE_WITHIN: Duration = Duration::from_secs(3);
/// The number that seeds the probe's payload; no socket has it.
const PROBE: u32 = u32::MAX;
const NOBODY: u32 = u32::MAX;

impl UdpLoad {
    /// A service that carries out a checked UDP plan, and where its report will come.
    pub fn new(client: EngineClient) -> (Self, Receiver<Report>) {
        let (course, receiver) = Course::new();
        let mut probe = vec![0; client.plan.size].into_boxed_slice();
        Pattern::new(client.seed).write_datagram(PROBE, u64::MAX, &mut probe);
        let endpoints = Vec::with_capacity(client.plan.connections as usize);
        let service =
            Self { client, datagrams: None, endpoints, numbers: Vec::new(), probe, probing_since: Instant::ZERO, course };
        (service, receiver)
    }

    fn open(&mut self, cx: &mut impl Context) -> Result<(), CallError> {
        for number in 0..self.client.plan.connections {
            let source = self.client.source(number);
            let endpoint = cx.open_udp(Local { address: source, port: 0 })?;
            self.endpoints.push((endpoint, source));
            let index = usize::from(endpoint.0);
            if index >= self.numbers.len() {
                self.numbers.resize(index + 1, NOBODY);
            }
            self.numbers[index] = number;
        }
        Ok(())
    }

    /// Everything is in place and the target answers: the first message is due.
    fn begin(&mut self, cx: &mut impl Context) {
        let datagrams = Datagrams::new(&self.client.plan, cx.now(), self.client.seed);
        self.course.measure(&self.client, datagrams.schedule.window());
        self.datagrams = Some(datagrams);
        self.course.turn(cx.now());
        self.send_due(cx);
    }

    fn send_due(&mut self, cx: &mut impl Context) {
        let now = cx.now();
        let Some(datagrams) = &mut self.datagrams else { return };
        datagrams.schedule.turn();
        while let Some(number) = datagrams.schedule.ready(now) {
            let Some(&(endpoint, source)) = self.endpoints.get(number as usize) else { continue };
            while let Some(payload) = datagrams.payload(number, now) {
                // As late as a message can be stamped: what went before is this generator's own work.
                let leaving = cx.read_clock();
                match send(cx, endpoint, source, self.client.plan.target, payload) {
                    Ok(()) => datagrams.schedule.sent(number, leaving),
                    Err(CallError::WouldBlock) => {
                        datagrams.schedule.defer(number);
                        break;
                    }
                    Err(error) => {
                        let why = cannot(format!("cannot send to {}", self.client.plan.target), error);
                        return self.course.give_up(cx, why);
                    }
                }
            }
        }
        let retry = if datagrams.schedule.has_deferred() { now + RETRY } else { Instant::NEVER };
        let wanted = datagrams.schedule.next_due().min(retry);
        self.course.arm(cx, wanted);
    }

    fn housekeeping(&mut self, cx: &mut impl Context) {
        let now = cx.now();
        match &mut self.datagrams {
            None if now.since(self.probing_since) > PROBE_WITHIN => {
                let why = format!("{} does not answer", self.client.plan.target);
                return self.course.give_up(cx, RunError::Failed(why));
            }
            None => self.send_probe(cx),
            Some(datagrams) => {
                datagrams.schedule.expire(now);
                self.course.publish(datagrams.schedule.outcome());
                if datagrams.schedule.is_done(now) {
                    return self.conclude(cx);
                }
                self.send_due(cx);
            }
        }
        self.course.housekeeping(cx);
    }

    fn send_probe(&mut self, cx: &mut impl Context) {
        let Some(&(endpoint, source)) = self.endpoints.first() else { return };
        match send(cx, endpoint, source, self.client.plan.target, &self.probe) {
            Ok(()) | Err(CallError::WouldBlock) => {}
            Err(error) => {
                let why = cannot(format!("cannot send to {}", self.client.plan.target), error);
                self.course.give_up(cx, why);
            }
        }
    }

    /// Reports the outcome and stops the engine.
    fn conclude(&mut self, cx: &mut impl Context) {
        self.report();
        cx.stop();
    }

    fn report(&mut self) {
        match self.datagrams.take() {
            Some(datagrams) => self.course.succeed(datagrams.schedule.finish(self.course.now)),
            None => self.course.fail(RunError::Failed("stopped before the first message".into())),
        }
    }
}

impl Service for UdpLoad {
    type Message = Command;

    fn start(&mut self, cx: &mut impl Context) {
        self.course.turn(cx.now());
        self.probing_since = cx.now();
        if let Err(error) = self.open(cx) {
            let why = cannot(format!("cannot open {} UDP endpoints", self.client.plan.connections), error);
            return self.course.give_up(cx, why);
        }
        self.housekeeping(cx);
    }

    fn datagram(&mut self, cx: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        let meta = *datagram.meta();
        let number = self.numbers.get(usize::from(meta.endpoint.0)).copied().unwrap_or(NOBODY);
        if number == NOBODY || meta.remote != self.client.plan.target || self.course.is_over() {
            return Answer::Ignore;
        }
        let now = cx.now();
        self.course.turn(now);
        let Some(datagrams) = &mut self.datagrams else {
            if *datagram.payload() == *self.probe {
                self.begin(cx);
            }
            return Answer::Ignore;
        };
        if let Err(corrupt) = datagrams.received(number, datagram.payload(), now) {
            // An answer to a repeated probe may still be on its way.
            if number != 0 || *datagram.payload() != *self.probe {
                datagrams.schedule.outcome_mut().count_corrupt(corrupt);
            }
        }
        let room = datagram.room();
        match datagrams.payload(number, now) {
            Some(payload) if payload.len() <= room.len() => {
                let len = payload.len();
                room[..len].copy_from_slice(payload);
                datagrams.schedule.sent(number, cx.read_clock());
                if datagrams.schedule.due(number, now).is_some() {
                    datagrams.schedule.defer(number);
                    self.course.arm(cx, now + RETRY);
                }
                Answer::Reply { len }
            }
            Some(_) => {
                datagrams.schedule.defer(number);
                self.course.arm(cx, now + RETRY);
                Answer::Ignore
            }
            None => Answer::Ignore,
        }
    }

    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        match self.course.expired(cx.now(), token) {
            Due::Messages => self.send_due(cx),
            Due::Housekeeping => self.housekeeping(cx),
            Due::Nothing => {}
        }
    }

    fn icmp_error(&mut self, _cx: &mut impl Context, error: IcmpError) {
        if let Some(datagrams) = &mut self.datagrams {
            let cause = if error.code == 3 { "icmp_port_unreachable" } else { "icmp_unreachable" };
            datagrams.schedule.outcome_mut().count_drops(cause, 1);
        }
    }

    fn message(&mut self, cx: &mut impl Context, message: Command) {
        match message {
            Command::Stop => self.conclude(cx),
        }
    }
}

impl Drop for UdpLoad {
    fn drop(&mut self) {
        self.report();
    }
}

fn send(
    cx: &mut impl Context,
    endpoint: EndpointId,
    source: Option<IpAddr>,
    target: SocketAddr,
    payload: &[u8],
) -> Result<(), CallError> {
    match source {
        Some(source) => cx.send_from(endpoint, source, target, payload),
        None => cx.send_to(endpoint, target, payload),
    }
}

#[cfg(test)]
mod tests;
