//! AF_XDP queues on a real veth pair: frames between two of them, and every error an operator can meet.
//!
//! The tests need root, since they make network namespaces. Without it each says so and fails, unless `RINGWAY_ALLOW_SKIP=1` is set.
#![cfg(feature = "afxdp")]
#![allow(unsafe_code)] // redirect.rs: bpf(2) by hand

#[path = "../common/mod.rs"]
mod common;
mod errors;
mod frames;
mod raw;
mod redirect;
mod world;

use std::time::{Duration, Instant};

use common::Netns;
use redirect::Redirect;
use ringway::device::{Device, Frame, FrameCensus};
use ringway::error::SetupError;
use ringway::xsk::nic::Nic;
use ringway::xsk::{Config, XskQueue, open};
use world::INTERFACE;

/// The queues of one side, with all packets redirected to them.
pub(crate) struct Side {
    pub(crate) queues: Vec<XskQueue>,
    _redirect: Redirect,
}

impl Side {
    pub(crate) fn open(netns: &Netns, queues: &[u32], config: Config) -> Result<Self, SetupError> {
        netns.inside(|| {
            let nic = Nic::find(INTERFACE)?;
            let queues = open(&nic, queues, &config)?;
            let sockets: Vec<_> = queues.iter().map(|queue| (queue.queue(), queue)).collect();
            let _redirect = Redirect::attach(nic.index(), &sockets).expect("the test's program is accepted");
            Ok(Self { queues, _redirect })
        })
    }
}

/// Small rings, so that they wrap often and fill quickly.
pub(crate) fn small() -> Config {
    Config { frames_per_queue: 128, receive_ring: 64, transmit_ring: 64, fill_ring: 64, completion_ring: 64, ..Config::default() }
}

/// A frame of this length for nobody in particular, filled in a way that its number decides.
pub(crate) fn packet(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x88, 0xb5];
    bytes.extend(number.to_be_bytes());
    while bytes.len() < len {
        bytes.push((number as usize).wrapping_mul(31).wrapping_add(bytes.len()) as u8);
    }
    bytes
}

/// Builds a packet in a frame of the queue and queues it; false when there is no frame or no room now.
pub(crate) fn send(queue: &mut XskQueue, bytes: &[u8]) -> bool {
    let Some(mut frame) = queue.allocate() else { return false };
    assert_eq!(frame.set_len(bytes.len()), bytes.len());
    frame.bytes_mut().copy_from_slice(bytes);
    match queue.transmit(frame) {
        Ok(()) => true,
        Err(frame) => {
            queue.recycle(frame);
            false
        }
    }
}

/// Repeats until the condition holds; fails after ten seconds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < Duration::from_secs(10), "{what}: not within ten seconds");
    }
}

/// Receives one frame.
pub(crate) fn receive_one(queue: &mut XskQueue) -> <XskQueue as Device>::Frame {
    let mut burst = Vec::new();
    eventually("a frame arrives", || {
        queue.flush();
        queue.receive(&mut burst, 1) == 1
    });
    burst.remove(0)
}

/// Flushes until everything sent was completed, and asserts that no frame is missing.
pub(crate) fn assert_all_home(queue: &mut XskQueue) {
    eventually("sent frames come back", || {
        queue.flush();
        queue.frames().sending == 0
    });
    let FrameCensus { total, free, receiving, .. } = queue.frames();
    assert_eq!(total, free + receiving, "frames in == frames out: {:?}", queue.frames());
    assert_eq!(queue.stats().ring_lies, 0);
}
