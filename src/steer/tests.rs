//! The program in the kernel against the model, over generated frames (BPF_PROG_TEST_RUN). Needs root, no network.

use std::cell::Cell;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketType};

use super::assembler::Assembled;
use super::cause::{Action, Cause, Counters};
use super::claims::Claims;
#[cfg(target_endian = "little")]
use super::machine::Machine;
use super::program::{self, Kinds, Sought};
use super::{Steering, Tag, Vlan, model};
use crate::link::interface::{Cidr, Claim, PortClaim, Transport};
use crate::rng::Rng;
use crate::wire::ethernet::Mac;

const SEED: u64 = 0x5eed_0001;
/// Frames generated for one comparison.
const FRAMES: usize = 60_000;

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

fn cidr(address: impl Into<IpAddr>) -> Cidr {
    Cidr { address: address.into(), prefix: 24 }
}

/// Claims of each kind in several VLANs, so that generated frames hit, miss by one field, and hit in another VLAN.
fn claims(kinds: Kinds) -> Claims {
    let mut claims = Claims::new();
    let four = kinds.ipv4;
    add(&mut claims, four, [ADDRESS, PLAIN_ADDRESS, TAGGED_ADDRESS, KERNEL_ADDRESS, TAGGED_KERNEL_ADDRESS], [GROUP, BROADCAST]);
    let six = [ADDRESS, PLAIN_ADDRESS, TAGGED_ADDRESS, KERNEL_ADDRESS, TAGGED_KERNEL_ADDRESS].map(wide);
    add(&mut claims, kinds.ipv6, six, [WIDE_GROUP, WIDE_LINK_GROUP]);
    assert_eq!(claims.kinds(), kinds);
    claims
}

fn add<A: Into<IpAddr> + Copy>(claims: &mut Claims, sought: Sought, addresses: [A; 5], groups: [A; 2]) {
    let [address, plain, tagged, kernel, tagged_kernel] = addresses.map(cidr);
    let stacked = Vlan::stacked(Tag::s(5), Tag::c(7));
    if sought.addresses {
        claims.add(&Claim::Addresses(vec![address, tagged]), Some(5)).unwrap();
        claims.add(&Claim::Addresses(vec![address, plain]), None).unwrap();
        claims.add(&Claim::Addresses(vec![tagged]), stacked).unwrap();
    }
    if sought.ports {
        let ports = vec![
            PortClaim { transport: Transport::Tcp, port: 80 },
            PortClaim { transport: Transport::Udp, port: 53 },
            PortClaim { transport: Transport::Udp, port: 0x5000 },
        ];
        claims.add(&Claim::Ports { addresses: vec![kernel], ports: ports.clone() }, None).unwrap();
        claims.add(&Claim::Ports { addresses: vec![kernel], ports: ports[..1].to_vec() }, Some(5)).unwrap();
        claims.add(&Claim::Ports { addresses: vec![tagged_kernel], ports: ports.clone() }, Vlan::tagged(Tag::s(7))).unwrap();
        claims.add(&Claim::Ports { addresses: vec![tagged_kernel], ports }, stacked).unwrap();
    }
    if sought.groups {
        let [first, second] = groups.map(Into::into);
        claims.add_group(first, 53, None).unwrap();
        claims.add_group(first, 0x5000, Some(5)).unwrap();
        claims.add_group(second, 53, Some(5)).unwrap();
    }
}

const ADDRESS: [u8; 4] = [10, 0, 0, 2];
const PLAIN_ADDRESS: [u8; 4] = [10, 0, 0, 3];
const TAGGED_ADDRESS: [u8; 4] = [10, 0, 0, 4];
const KERNEL_ADDRESS: [u8; 4] = [10, 0, 0, 1];
const TAGGED_KERNEL_ADDRESS: [u8; 4] = [10, 0, 0, 9];
const OTHER_ADDRESS: [u8; 4] = [10, 0, 1, 2];
const BROADCAST: [u8; 4] = [10, 0, 0, 255];
const GROUP: [u8; 4] = [239, 0, 0, 1];
const WIDE_GROUP: [u8; 16] = [0xff, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const WIDE_LINK_GROUP: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfb];

/// The IPv6 address whose ends are those of an IPv4 address.
const fn wide([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0xfd, a, b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, c, d]
}

/// Everything is claimed.
const EVERYTHING: Kinds = Kinds { ipv4: ALL_SOUGHT, ipv6: ALL_SOUGHT };
const ALL_SOUGHT: Sought = Sought { addresses: true, ports: true, groups: true };

/// Every combination of kinds.
fn all_kinds() -> impl Iterator<Item = Kinds> {
    let sought = |bits: u8| Sought { addresses: bits & 1 != 0, ports: bits & 2 != 0, groups: bits & 4 != 0 };
    (0..64).map(move |bits| Kinds { ipv4: sought(bits), ipv6: sought(bits >> 3) })
}

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
    let tags = pick(rng, &[0, 0, 0, 0, 1, 1, 1, 2, 2, 3]);
    for _ in 0..tags {
        frame.extend(pick(rng, &[0x8100_u16, 0x8100, 0x8100, 0x88a8, 0x88a8, 0x9100]).to_be_bytes());
        let priority = (rng.below(16) as u16) << 12;
        frame.extend((pick(rng, &[5_u16, 5, 7, 7, 0, 4095]) | priority).to_be_bytes());
    }
    match rng.below(12) {
        0 | 1 => arp(rng, &mut frame),
        2 => frame.extend(pick(rng, &[0x86dc_u16, 0x88cc, 0x0801, 0x0008, 0x0608]).to_be_bytes()),
        3..7 => ipv4(rng, &mut frame),
        _ => ipv6(rng, &mut frame),
    }
    if once_in(rng, 4) {
        // Within the ports, or just before them.
        frame.truncate((frame.len() - rng.below(10) as usize).max(14));
        return frame;
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

/// The addresses of hosts that the claims are about, and one that is nobody's.
const HOSTS: [[u8; 4]; 7] =
    [ADDRESS, PLAIN_ADDRESS, TAGGED_ADDRESS, KERNEL_ADDRESS, KERNEL_ADDRESS, TAGGED_KERNEL_ADDRESS, OTHER_ADDRESS];

fn target(rng: &mut Rng) -> [u8; 4] {
    if once_in(rng, 3) { pick(rng, &[BROADCAST, GROUP, GROUP, [239, 0, 0, 2]]) } else { pick(rng, &HOSTS) }
}

fn wide_target(rng: &mut Rng) -> [u8; 16] {
    const SOLICITED: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 2];
    if once_in(rng, 2) { pick(rng, &[WIDE_GROUP, WIDE_GROUP, WIDE_LINK_GROUP, SOLICITED]) } else { wide(pick(rng, &HOSTS)) }
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
    // One of no target is the answer to a probe.
    frame.extend(if pick(rng, &[true, false, false]) { [0; 4] } else { target(rng) });
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

fn ipv6(rng: &mut Rng, frame: &mut Vec<u8>) {
    frame.extend([0x86, 0xdd]);
    frame.extend([pick(rng, &[0x60, 0x60, 0x60, 0x60, 0x6f, 0x40, 0x70, 0xe0]), 0, 0, 0, 0, 24]);
    let fragment = once_in(rng, 6);
    let extension = pick(rng, &program::EXTENSIONS);
    let next = pick(rng, &[6, 17, 17, 17, 58, 58, extension, extension, 44, 59, 99]);
    frame.push(if fragment { 44 } else { next });
    frame.push(pick(rng, &[64, 255, 255, 254]));
    frame.extend(wide([10, 0, 0, 7]));
    frame.extend(wide_target(rng));
    if fragment {
        frame.extend([next, 0, 0, pick(rng, &[0, 1, 8]), 0, 0, 0, 1]);
    } else if next == 58 {
        frame.extend([pick(rng, &[135, 135, 135, 134, 136, 128]), 0, 0, 0, 0, 0, 0, 0]);
        frame.extend(wide_target(rng));
    } else {
        frame.extend(1000_u16.to_be_bytes());
        frame.extend(pick(rng, &[80_u16, 53, 53, 0x5000, 0x0050, 0, 81, 443]).to_be_bytes());
        frame.extend([0, 8, 0, 0]);
    }
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
    let text = program::steer(EVERYTHING).unwrap();
    for with_socket in [true, false] {
        let bench = Bench::new(EVERYTHING, &text, with_socket).expect("the verifier accepts it");
        let counters = agree(&bench, EVERYTHING, FRAMES);
        for &cause in Cause::ALL {
            let reached = match cause {
                Cause::ReflectedUdp | Cause::ReflectedArp => continue,
                Cause::ClaimedUnserved => !with_socket,
                _ if cause.is_steered() => with_socket,
                _ => true,
            };
            // Or the comparison would say nothing about it.
            assert_eq!(counters.of(cause) > 0, reached, "{}, socket {with_socket}: {counters:?}", cause.name());
        }
    }
}

/// Without the kernel, and so without rights: the text alone.
#[test]
#[cfg(target_endian = "little")]
fn the_text_and_the_model_agree_on_generated_frames() {
    for kinds in all_kinds() {
        let (text, claims) = (program::steer(kinds).unwrap(), claims(kinds));
        let machine = Machine::new(&text, &claims);
        let mut rng = Rng::seeded(SEED);
        for number in 0..1_000 {
            let frame = frame(&mut rng);
            let run = machine.run(&frame);
            let (action, cause) = model::decide(&frame, &claims, true);
            assert_eq!((run.action, run.cause), (action as u64, cause), "SEED={SEED:#x} frame {number}, {kinds:?}: {frame:02x?}");
        }
    }
}

/// How many instructions a frame takes, by what is claimed: what is not of IPv6 must not pay for it.
#[test]
#[cfg(target_endian = "little")]
fn the_paths_are_as_long_as_was_reviewed() {
    let sought = |addresses, ports, groups| Sought { addresses, ports, groups };
    let (none, whole, ports) = (Sought::default(), sought(true, false, false), sought(false, true, false));
    let four = |ipv4| Kinds { ipv4, ipv6: none };
    let frames = [
        ("IPv4 to a claimed address", packet(0x0800, PLAIN_ADDRESS, &[])),
        ("IPv4 to a claimed address, tagged", packet(0x0800, ADDRESS, &[0x8100])),
        ("IPv4 to a claimed port", packet(0x0800, KERNEL_ADDRESS, &[])),
        ("IPv4 to another port", packet(0x0800, OTHER_ADDRESS, &[])),
        ("IPv4 to a claimed group", packet(0x0800, GROUP, &[])),
        ("IPv6 to a claimed address", packet(0x86dd, PLAIN_ADDRESS, &[])),
        ("IPv6 to a claimed port", packet(0x86dd, KERNEL_ADDRESS, &[])),
        ("IPv6 to another port", packet(0x86dd, OTHER_ADDRESS, &[])),
        ("something else", packet(0x88cc, OTHER_ADDRESS, &[])),
    ];
    let mut table = String::new();
    for (name, kinds) in [
        ("an IPv4 address", four(whole)),
        ("IPv4 ports", four(ports)),
        ("IPv4 addresses and ports", four(sought(true, true, false))),
        ("addresses and ports", Kinds { ipv4: sought(true, true, false), ipv6: sought(true, true, false) }),
        ("everything", EVERYTHING),
    ] {
        let (text, claims) = (program::steer(kinds).unwrap(), claims(kinds));
        let machine = Machine::new(&text, &claims);
        table.push_str(&format!("claimed: {name}, {} instructions of text\n", text.len()));
        for (what, frame) in &frames {
            let run = machine.run(frame);
            table.push_str(&format!("  {what:<35} {:<16} {:3}\n", run.cause.name(), run.instructions));
        }
    }
    insta::assert_snapshot!(table);
}

/// UDP to port 53 of a host, or of a group in a group frame, with tags of VLAN 5.
fn packet(ethertype: u16, target: [u8; 4], tags: &[u16]) -> Vec<u8> {
    let mut frame = vec![if target == GROUP { 1 } else { 2 }, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 5]);
    }
    frame.extend(ethertype.to_be_bytes());
    if ethertype == 0x0800 {
        frame.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 7]);
        frame.extend(target);
    } else {
        frame.extend([0x60, 0, 0, 0, 0, 8, 17, 64]);
        frame.extend(wide([10, 0, 0, 7]));
        frame.extend(wide(target));
    }
    frame.extend([3, 232, 0, 53, 0, 8, 0, 0]);
    frame
}

#[test]
fn every_combination_of_kinds_agrees_with_the_model() {
    if !root() {
        return;
    }
    for kinds in all_kinds() {
        let bench = Bench::new(kinds, &program::steer(kinds).unwrap(), true).expect("the verifier accepts it");
        agree(&bench, kinds, 1_000);
    }
}

fn agree(bench: &Bench, kinds: Kinds, frames: usize) -> Counters {
    let mut rng = Rng::seeded(SEED);
    for number in 0..frames {
        if let Some(difference) = bench.disagreement(&frame(&mut rng)) {
            panic!("SEED={SEED:#x} frame {number}, {kinds:?}, socket {}: {difference}", bench.socket.is_some());
        }
    }
    let counters = bench.steering.counters().unwrap();
    let total: u64 = counters.nonzero().map(|(_, frames)| frames).sum();
    assert_eq!(total, frames as u64, "each frame counts once");
    counters
}

#[test]
fn the_program_and_the_model_agree_at_every_length() {
    if !root() {
        return;
    }
    let kinds = EVERYTHING;
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
    let kinds = EVERYTHING;
    let text = program::steer(kinds).unwrap();
    let (mut noticed, mut refused, mut unnoticed) = (0, 0, Vec::new());
    for (at, broken) in (0..text.len()).flat_map(|at| text.broken_at(at).into_iter().map(move |broken| (at, broken))) {
        let Some(bench) = Bench::new(kinds, &broken, true) else {
            refused += 1;
            continue;
        };
        let mut rng = Rng::seeded(SEED);
        let found = (0..FRAMES).any(|_| bench.disagreement(&frame(&mut rng)).is_some());
        noticed += usize::from(found);
        if !found {
            unnoticed.push(at);
        }
    }
    assert!(unnoticed.is_empty(), "breaking instructions {unnoticed:?} goes unnoticed:\n{}", text.listing());
    assert!(noticed > 80 && refused > 5, "{noticed} noticed, {refused} refused by the verifier");
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
