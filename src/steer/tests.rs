//! The program in the kernel against the model, over generated frames (BPF_PROG_TEST_RUN). Needs root, no network.

use std::cell::Cell;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketType};

use super::assembler::Assembled;
use super::cause::{Action, Cause, Counters};
use super::claims::Claims;
use super::program::{self, Kinds};
use super::{Steering, model};
use crate::link::interface::{Cidr, Claim, PortClaim, Transport};
use crate::rng::Rng;
use crate::wire::ethernet::Mac;

const SEED: u64 = 0x5eed_0001;
/// Frames generated for one comparison.
const FRAMES: usize = 8_000;

/// False, and said so, when these tests cannot run; without RINGWAY_ALLOW_SKIP=1 that is a failure.
fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        let allowed = std::env::var_os("RINGWAY_ALLOW_SKIP").is_some_and(|value| value == "1");
        assert!(allowed, "this test needs root; RINGWAY_ALLOW_SKIP=1 skips it");
        _ = writeln!(std::io::stderr(), "SKIPPED: a test of the XDP program, which needs root");
    }
    root
}

fn cidr(address: [u8; 4]) -> Cidr {
    Cidr { address: address.into(), prefix: 24 }
}

/// Claims of each kind in several VLANs, so that generated frames hit, miss by one field, and hit in another VLAN.
fn claims(kinds: Kinds) -> Claims {
    let mut claims = Claims::new();
    if kinds.addresses {
        claims.add(&Claim::Addresses(vec![cidr(ADDRESS), cidr(TAGGED_ADDRESS)]), Some(5)).unwrap();
        claims.add(&Claim::Addresses(vec![cidr(ADDRESS), cidr(PLAIN_ADDRESS)]), None).unwrap();
    }
    if kinds.ports {
        let ports = vec![
            PortClaim { transport: Transport::Tcp, port: 80 },
            PortClaim { transport: Transport::Udp, port: 53 },
            PortClaim { transport: Transport::Udp, port: 0x5000 },
        ];
        claims.add(&Claim::Ports { addresses: vec![cidr(KERNEL_ADDRESS)], ports: ports.clone() }, None).unwrap();
        claims.add(&Claim::Ports { addresses: vec![cidr(KERNEL_ADDRESS)], ports: ports[..1].to_vec() }, Some(5)).unwrap();
        claims.add(&Claim::Ports { addresses: vec![cidr(TAGGED_KERNEL_ADDRESS)], ports }, Some(7)).unwrap();
    }
    claims
}

const ADDRESS: [u8; 4] = [10, 0, 0, 2];
const PLAIN_ADDRESS: [u8; 4] = [10, 0, 0, 3];
const TAGGED_ADDRESS: [u8; 4] = [10, 0, 0, 4];
const KERNEL_ADDRESS: [u8; 4] = [10, 0, 0, 1];
const TAGGED_KERNEL_ADDRESS: [u8; 4] = [10, 0, 0, 9];
const OTHER_ADDRESS: [u8; 4] = [10, 0, 1, 2];

const ALL_KINDS: [Kinds; 4] = [
    Kinds { addresses: true, ports: true },
    Kinds { addresses: true, ports: false },
    Kinds { addresses: false, ports: true },
    Kinds { addresses: false, ports: false },
];

/// One of the items, evenly.
fn pick<T: Copy>(rng: &mut Rng, items: &[T]) -> T {
    items[rng.below(items.len() as u64) as usize]
}

/// True once in `n` times.
fn once_in(rng: &mut Rng, n: u64) -> bool {
    rng.below(n) == 0
}

/// A frame that is valid in most fields and odd in a few.
fn frame(rng: &mut Rng) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(pick(rng, &[[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 1], [0xff; 6], [1, 0, 0x5e, 0, 0, 1], [3, 0, 0, 0, 0, 1]]));
    frame.extend([2, 0, 0, 0, 0, 2]);
    let tags = pick(rng, &[0, 0, 0, 1, 1, 2]);
    for _ in 0..tags {
        frame.extend(pick(rng, &[0x8100_u16, 0x8100, 0x8100, 0x88a8]).to_be_bytes());
        let priority = (rng.below(16) as u16) << 12;
        frame.extend((pick(rng, &[5_u16, 5, 7, 0, 4095]) | priority).to_be_bytes());
    }
    match rng.below(8) {
        0 | 1 => arp(rng, &mut frame),
        2 => frame.extend(pick(rng, &[0x86dd_u16, 0x88cc, 0x0801, 0x0008, 0x0608]).to_be_bytes()),
        _ => ipv4(rng, &mut frame),
    }
    frame.extend((0..rng.below(24)).map(|n| n as u8));
    if once_in(rng, 3) {
        let length = rng.below(frame.len() as u64 + 1).max(14) as usize;
        frame.truncate(length);
    }
    if once_in(rng, 6) {
        let at = rng.below(frame.len() as u64) as usize;
        frame[at] ^= 1 << rng.below(8);
    }
    frame
}

fn target(rng: &mut Rng) -> [u8; 4] {
    pick(
        rng,
        &[
            ADDRESS,
            PLAIN_ADDRESS,
            TAGGED_ADDRESS,
            KERNEL_ADDRESS,
            KERNEL_ADDRESS,
            TAGGED_KERNEL_ADDRESS,
            OTHER_ADDRESS,
            [10, 0, 0, 255],
        ],
    )
}

fn arp(rng: &mut Rng, frame: &mut Vec<u8>) {
    frame.extend([8, 6]);
    frame.extend(pick(rng, &[[0, 1], [0, 1], [0, 1], [1, 0], [0, 6]]));
    frame.extend(pick(rng, &[[8, 0], [8, 0], [8, 0], [0x86, 0xdd]]));
    frame.extend(pick(rng, &[[6, 4], [6, 4], [6, 4], [4, 6], [6, 16]]));
    frame.extend([0, pick(rng, &[1, 2, 3])]);
    frame.extend([2, 0, 0, 0, 0, 2]);
    frame.extend(target(rng));
    frame.extend([0; 6]);
    frame.extend(target(rng));
}

fn ipv4(rng: &mut Rng, frame: &mut Vec<u8>) {
    frame.extend([8, 0]);
    let first = pick(rng, &[0x45, 0x45, 0x45, 0x45, 0x45, 0x46, 0x4f, 0x44, 0x40, 0x55, 0x35, 0x65, 0x05, 0xf5]);
    frame.extend([first, 0, 0, 60, 0, 1]);
    let flags = pick(rng, &[0_u16, 0, 0, 0x4000, 0x4000, 0x2000, 0x2001, 0x0001, 0x1fff, 0x8000, 0x00b9, 0x3f00]);
    frame.extend(flags.to_be_bytes());
    frame.extend([64, pick(rng, &[6, 17, 17, 17, 1, 0, 58]), 0, 0, 10, 0, 0, 7]);
    frame.extend(target(rng));
    frame.extend((20..usize::from(first & 0x0f) * 4).map(|_| 1));
    frame.extend(1000_u16.to_be_bytes());
    frame.extend(pick(rng, &[80_u16, 53, 53, 0x5000, 0x0050, 0, 81, 443]).to_be_bytes());
    frame.extend([0, 8, 0, 0]);
}

/// A program loaded for a test, with or without a socket at queue 0.
struct Bench {
    steering: Steering,
    claims: Claims,
    socket: Option<OwnedFd>,
    /// The counters as they stood after the last run.
    counted: Cell<Counters>,
}

impl Bench {
    fn new(kinds: Kinds, text: &Assembled, with_socket: bool) -> Option<Self> {
        let claims = claims(kinds);
        let steering = Steering::load_text("test", text, &claims, 1).ok()?;
        let socket = with_socket.then(|| {
            let socket = rustix::net::socket(AddressFamily::XDP, SocketType::RAW, None).unwrap();
            steering.set_socket(0, socket.as_fd()).unwrap();
            socket
        });
        Some(Self { steering, claims, socket, counted: Cell::default() })
    }

    /// What program and model say about a frame, if they disagree on the action or on the counter.
    fn disagreement(&self, frame: &[u8]) -> Option<String> {
        let (action, cause) = model::decide(frame, &self.claims, self.socket.is_some());
        let run = self.steering.program().test_run(frame).unwrap();
        let counters = self.steering.counters().unwrap();
        let moved: Vec<_> = counters.since(&self.counted.replace(counters)).nonzero().collect();
        let same = run.action == action as u32 && moved == [(cause, 1)] && run.frame == frame;
        (!same).then(|| format!("{frame:02x?}\n  model {action:?} {cause:?}, program {} {moved:?}", run.action))
    }
}

#[test]
fn the_program_and_the_model_agree_on_generated_frames() {
    if !root() {
        return;
    }
    for kinds in ALL_KINDS {
        let text = program::steer(kinds).unwrap();
        for with_socket in [true, false] {
            let bench = Bench::new(kinds, &text, with_socket).expect("the verifier accepts it");
            let mut rng = Rng::seeded(SEED);
            for number in 0..FRAMES {
                if let Some(difference) = bench.disagreement(&frame(&mut rng)) {
                    panic!("SEED={SEED:#x} frame {number}, {kinds:?}, socket {with_socket}: {difference}");
                }
            }
            let counters = bench.steering.counters().unwrap();
            let total: u64 = counters.nonzero().map(|(_, frames)| frames).sum();
            assert_eq!(total, FRAMES as u64, "each frame counts once");
            for &cause in expected_causes(kinds, with_socket) {
                assert!(counters.of(cause) > 0, "no generated frame meets {}, {kinds:?}", cause.name());
            }
        }
    }
}

/// The causes the generated frames must reach, or the comparison says nothing about them.
fn expected_causes(kinds: Kinds, with_socket: bool) -> &'static [Cause] {
    use Cause::*;
    match (kinds.addresses, kinds.ports, with_socket) {
        (true, true, true) => &[
            Passed,
            SteeredAddress,
            SteeredPort,
            SteeredArp,
            ClaimedVlan,
            ClaimedFragment,
            ClaimedOptions,
            ClaimedTruncated,
            ClaimedHeader,
        ],
        (false, true, true) => {
            &[Passed, SteeredPort, ClaimedVlan, ClaimedFragment, ClaimedOptions, ClaimedTruncated, ClaimedHeader]
        }
        (true, false, true) => &[Passed, SteeredAddress, SteeredArp, ClaimedVlan],
        (false, false, _) => &[Passed],
        (_, _, false) => &[Passed, ClaimedUnserved],
    }
}

#[test]
fn the_program_and_the_model_agree_at_every_length() {
    if !root() {
        return;
    }
    let kinds = ALL_KINDS[0];
    let bench = Bench::new(kinds, &program::steer(kinds).unwrap(), true).unwrap();
    let mut rng = Rng::seeded(SEED);
    for _ in 0..40 {
        let whole = frame(&mut rng);
        for length in 14..=whole.len() {
            if let Some(difference) = bench.disagreement(&whole[..length]) {
                panic!("SEED={SEED:#x} cut to {length}: {difference}");
            }
        }
    }
}

/// Every branch of the program is broken, one at a time: what the verifier still accepts, the comparison must notice.
#[test]
fn a_program_with_one_broken_branch_is_noticed() {
    if !root() {
        return;
    }
    let kinds = ALL_KINDS[0];
    let text = program::steer(kinds).unwrap();
    let (mut noticed, mut refused) = (0, 0);
    for (at, broken) in (0..text.len()).flat_map(|at| text.broken_at(at).into_iter().map(move |broken| (at, broken))) {
        let Some(bench) = Bench::new(kinds, &broken, true) else {
            refused += 1;
            continue;
        };
        let mut rng = Rng::seeded(SEED);
        let found = (0..FRAMES).any(|_| bench.disagreement(&frame(&mut rng)).is_some());
        assert!(found, "breaking instruction {at} goes unnoticed:\n{}", text.listing());
        noticed += 1;
    }
    assert!(noticed > 30 && refused > 5, "{noticed} noticed, {refused} refused by the verifier");
}

#[test]
fn the_reflector_answers_udp_and_arp_for_the_claimed_address() {
    if !root() {
        return;
    }
    let mut claims = Claims::new();
    claims.add(&Claim::Addresses(vec![cidr(ADDRESS)]), None).unwrap();
    let steering = Steering::load_reflector(&claims, Mac([2, 0, 0, 0, 0, 9])).unwrap();
    let udp = |target: [u8; 4], protocol: u8| {
        let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 7, 8, 0, 0x45, 0, 0, 30, 0, 0, 0, 0, 64, protocol, 0xab, 0xcd];
        frame.extend([10, 0, 0, 7]);
        frame.extend(target);
        frame.extend([4, 0, 0, 7, 0, 10, 0x12, 0x34, 0x55, 0xaa]);
        frame
    };
    let run = steering.program().test_run(&udp(ADDRESS, 17)).unwrap();
    let mut expected = vec![2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 9, 8, 0, 0x45, 0, 0, 30, 0, 0, 0, 0, 64, 17, 0xab, 0xcd];
    expected.extend([10, 0, 0, 2, 10, 0, 0, 7, 0, 7, 4, 0, 0, 10, 0x12, 0x34, 0x55, 0xaa]);
    assert_eq!((run.action, run.frame), (Action::Transmit as u32, expected));

    for other in [udp(OTHER_ADDRESS, 17), udp(ADDRESS, 6), udp(ADDRESS, 17)[..41].to_vec()] {
        let run = steering.program().test_run(&other).unwrap();
        assert_eq!((run.action, run.frame), (Action::Pass as u32, other));
    }

    let mut request = vec![0xff; 6];
    request.extend([2, 0, 0, 0, 0, 7, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    request.extend([2, 0, 0, 0, 0, 7, 10, 0, 0, 7, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    let run = steering.program().test_run(&request).unwrap();
    let mut reply = vec![2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2];
    reply.extend([2, 0, 0, 0, 0, 9, 10, 0, 0, 2, 2, 0, 0, 0, 0, 7, 10, 0, 0, 7]);
    assert_eq!((run.action, run.frame), (Action::Transmit as u32, reply));

    let counted: Vec<_> = steering.counters().unwrap().nonzero().collect();
    assert_eq!(counted, [(Cause::Passed, 3), (Cause::ReflectedUdp, 1), (Cause::ReflectedArp, 1)]);
}
