//! Raw frames between two AF_XDP queues, both ends spinning: the limit of what this machine can do over a veth pair.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ringway::cpu::pin;
use ringway::load::raw::{Messages, Path, RawClient, Reflector};
use ringway::time::Instant;
use ringway::xsk::Config;

use crate::world::World;
use crate::{Side, assert_all_home};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// A closed loop of so many messages in flight. A message carries its number; every byte of an answer is compared.
struct PingPong {
    left: u64,
    in_flight: usize,
    waiting: usize,
    next: u64,
    sent_at: Vec<Instant>,
    wrong: u64,
    round_trips_ns: Vec<u64>,
}

impl PingPong {
    fn new(messages: u64, in_flight: usize) -> Self {
        Self {
            left: messages,
            in_flight,
            waiting: 0,
            next: 0,
            sent_at: vec![Instant::ZERO; messages as usize],
            wrong: 0,
            round_trips_ns: Vec::with_capacity(messages as usize),
        }
    }

    fn payload(number: u64, payload: &mut [u8]) {
        let (head, tail) = payload.split_at_mut(8);
        head.copy_from_slice(&number.to_le_bytes());
        tail.iter_mut().enumerate().for_each(|(i, byte)| *byte = (number as usize * 31 + i) as u8);
    }
}

impl Messages for PingPong {
    fn turn(&mut self, _: Instant) {}

    fn due(&mut self, _: Instant, payload: &mut [u8]) -> Option<u32> {
        if self.waiting == self.in_flight || self.left == 0 {
            return None;
        }
        Self::payload(self.next, payload);
        Some(0)
    }

    fn sent(&mut self, _: u32, now: Instant) {
        self.sent_at[self.next as usize] = now;
        self.next += 1;
        self.left -= 1;
        self.waiting += 1;
    }

    fn unsent(&mut self, _: u32) {}

    fn answered(&mut self, _: u32, payload: &[u8], now: Instant) {
        self.waiting -= 1;
        let number = u64::from_le_bytes(payload[..8].try_into().unwrap());
        let mut expected = vec![0; payload.len()];
        Self::payload(number, &mut expected);
        self.wrong += u64::from(payload != expected);
        self.round_trips_ns.push(now.ns_since(self.sent_at[number as usize]));
    }

    fn is_done(&self, _: Instant) -> bool {
        self.left == 0 && self.waiting == 0
    }
}

/// Runs a closed loop between two namespaces, and asserts that nothing is wrong, lost or left behind.
fn ping_pong(config: Config, messages: u64, in_flight: usize, size: usize) -> Option<PingPong> {
    let world = World::new()?;
    let mut server = Side::open(&world.right, &[0], config).unwrap();
    let mut client = Side::open(&world.left, &[0], config).unwrap();
    let stop = AtomicBool::new(false);
    let path =
        Path { source: SocketAddrV4::new(CLIENT, 40_000), target: SocketAddrV4::new(SERVER, 7), next_hop: SERVER, flows: 1 };
    let pings = thread::scope(|scope| {
        let reflecting = scope.spawn(|| {
            // A machine with one core runs both ends there.
            let _ = pin(0);
            let mut reflector = Reflector::new(SERVER);
            reflector.run(&mut server.queues[0], &stop);
            reflector.counts()
        });
        let pinging = scope.spawn(|| {
            let _ = pin(1);
            let device = &mut client.queues[0];
            let mut pings = PingPong::new(messages, in_flight);
            let mut raw = RawClient::connect(device, path, size).unwrap();
            raw.run(device, &mut pings, &stop);
            assert_eq!(raw.counters().broken, 0);
            pings
        });
        // A lost frame would leave the loop waiting for ever.
        let since = std::time::Instant::now();
        while !pinging.is_finished() && since.elapsed().as_secs() < 60 {
            thread::sleep(std::time::Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
        let (pings, counts) = (pinging.join().unwrap(), reflecting.join().unwrap());
        assert_eq!((counts.datagrams, counts.dropped), (messages, 0));
        pings
    });
    assert_eq!((pings.round_trips_ns.len() as u64, pings.wrong), (messages, 0));
    assert_all_home(&mut server.queues[0]);
    assert_all_home(&mut client.queues[0]);
    Some(pings)
}

#[test]
fn every_byte_of_every_size_comes_back() {
    for size in [8, 64, 1472] {
        if ping_pong(Config::default(), 2_000, 1, size).is_none() {
            return;
        }
    }
}

#[test]
fn many_in_flight_all_come_back() {
    // The veth queue holds 256 frames and drops silently.
    let _ = ping_pong(Config::default(), 20_000, 64, 64);
}
