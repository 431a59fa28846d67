//! The client over loopback against the kernel server, and against servers that misbehave.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::super::kernel_server::Kind;
use super::super::kernel_server::tests::Running;
use super::super::plan::{Churn, Pace};
use super::*;
use crate::link::interface::Transport;
use crate::metrics::histogram::Reading;

fn plan(carrier: Carrier, target: SocketAddr) -> Plan {
    Plan {
        carrier,
        target,
        connections: 1,
        pace: Pace::Closed { in_flight: 1 },
        size: 64,
        duration: Duration::from_millis(200),
        warmup: Duration::from_millis(50),
        sources: 1,
        churn: None,
        ramp: None,
        bulk: None,
        congestion: None,
    }
}

/// Runs one at a time: the cores are few, and a spinning thread takes a whole one.
static RUNNING: Mutex<()> = Mutex::new(());

fn one_at_a_time() -> MutexGuard<'static, ()> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run in which nothing was lost. A machine that stands still for a second loses messages: such a run is repeated, twice.
fn sound_run(plan: &Plan, spin: bool, what: &str) -> Outcome {
    let mut outcome = run(plan.clone(), spin);
    for _ in 0..2 {
        if outcome.lost > 0 {
            outcome = run(plan.clone(), spin);
        }
    }
    assert_sound(&outcome, what);
    outcome
}

fn run(plan: Plan, spin: bool) -> Outcome {
    KernelClient { spin, ..KernelClient::new(plan) }.run(&AtomicBool::new(false)).expect("a run")
}

/// A server for all. Where the client spins it blocks, and the other way round: two spinning threads leave no core for anybody
/// else, and then wait for each other's time slices.
fn echo(spin: bool) -> Running {
    Running::start(&[(Kind::Echo, Transport::Tcp), (Kind::Echo, Transport::Udp), (Kind::Daytime, Transport::Tcp)], spin)
}

fn carriers(server: &Running) -> [(Carrier, SocketAddr); 2] {
    [(Carrier::Tcp, server.addresses[0]), (Carrier::Udp, server.addresses[1])]
}

/// What must hold for every run on loopback, where nothing is lost.
fn assert_sound(outcome: &Outcome, what: &str) {
    assert_eq!(outcome.failure(), None, "{what}");
    assert!(outcome.sent > 0 && outcome.sent == outcome.received + outcome.lost, "{what}: {outcome:?}");
    assert_eq!((outcome.lost, outcome.late, outcome.duplicated, outcome.corrupt), (0, 0, 0, 0), "{what}");
    assert_eq!(outcome.rtt_uncorrected.count(), outcome.received, "{what}");
    assert!(outcome.drops.is_empty(), "{what}: {:?}", outcome.drops);
    assert!(outcome.cpu_ns.is_some_and(|ns| ns > 0), "{what}");
}

#[test]
fn sockets_of_both_sides_have_the_congestion_control_that_was_chosen() {
    let chosen = Some(Algorithm::Reno);
    let client = KernelClient::new(Plan { congestion: chosen, ..plan(Carrier::Tcp, ([127, 0, 0, 1], 7).into()) });
    let socket = client.socket(0, Type::STREAM, Protocol::TCP).expect("a socket");
    assert!(socket.tcp_congestion().expect("a name").starts_with(b"reno"));
    assert_eq!(check_congestion(Algorithm::Reno), Ok(()));
    let error = no_such_congestion(Algorithm::Bbr);
    assert_eq!((error.exit_code(), error.remedy()), (3, Some("sudo modprobe tcp_bbr")));
}

#[test]
fn closed_loops_over_both_carriers_blocking_and_spinning() {
    let _guard = one_at_a_time();
    for spin in [false, true] {
        let server = echo(!spin);
        for (carrier, target) in carriers(&server) {
            let what = format!("{carrier:?} spin {spin}");
            let outcome = sound_run(&Plan { pace: Pace::Closed { in_flight: 4 }, ..plan(carrier, target) }, spin, &what);
            assert_eq!(outcome.rtt.count(), 0, "{what}: a closed loop has no due time");
            assert_eq!(outcome.busy_share.is_some(), spin, "{what}");
            let streams = u64::from(carrier == Carrier::Tcp);
            assert_eq!((outcome.connect.count(), outcome.close.count()), (streams, streams), "{what}");
        }
    }
}

#[test]
fn open_loops_send_what_was_due() {
    let _guard = one_at_a_time();
    for spin in [false, true] {
        let server = echo(!spin);
        for (carrier, target) in carriers(&server) {
            let what = format!("{carrier:?} spin {spin}");
            let plan = Plan { pace: Pace::Open { per_s: 2000.0 }, connections: 3, ..plan(carrier, target) };
            let outcome = sound_run(&plan, spin, &what);
            assert_eq!(outcome.sent, 400, "{what}");
            assert_eq!(outcome.rtt.count(), 400, "{what}");
            assert!(matches!(outcome.rtt.quantile(0.5), Reading::Exact(ns) if ns < 500_000_000), "{what}");
        }
    }
}

#[test]
fn two_hundred_connections_at_once() {
    let _guard = one_at_a_time();
    for spin in [false, true] {
        let server = echo(false);
        for (carrier, target) in carriers(&server) {
            let what = format!("{carrier:?} spin {spin}");
            // One socket of the server takes the datagrams of all: more than its default buffer holds would be lost now and then.
            let connections = if carrier == Carrier::Tcp { 200 } else { 80 };
            let outcome = sound_run(&Plan { connections, ..plan(carrier, target) }, spin, &what);
            assert!(outcome.sent >= u64::from(connections), "{what}");
            if carrier == Carrier::Tcp {
                assert_eq!((outcome.connect.count(), outcome.close.count()), (200, 200), "{what}");
            }
        }
        assert_eq!(server.stop().open.load(Ordering::Relaxed), 0, "every connection is closed");
    }
}

#[test]
fn messages_of_every_size() {
    let _guard = one_at_a_time();
    let server = echo(false);
    for (carrier, target) in carriers(&server) {
        for size in [0, 1, 9, 1472, 9000, 65_507, 300_000, 3 << 20] {
            let plan = Plan { size, duration: Duration::from_millis(60), warmup: Duration::ZERO, ..plan(carrier, target) };
            if plan.check().is_ok() {
                sound_run(&plan, false, &format!("{carrier:?} {size}"));
            }
        }
    }
}

#[test]
fn connections_come_and_go_whoever_closes_first() {
    let _guard = one_at_a_time();
    for spin in [false, true] {
        let server = echo(!spin);
        for churn in [Churn::Client, Churn::Server, Churn::Rst] {
            for pace in [Pace::Closed { in_flight: 1 }, Pace::Open { per_s: 200.0 }] {
                let target = server.addresses[if churn == Churn::Server { 2 } else { 0 }];
                let plan = Plan { churn: Some(churn), pace, connections: 3, ..plan(Carrier::Tcp, target) };
                let what = format!("{} spin {spin}", plan.mode());
                let outcome = sound_run(&plan, spin, &what);
                assert_eq!(outcome.connect.count(), outcome.sent, "{what}");
                assert_eq!(outcome.close.count() > 0, churn == Churn::Client, "{what}");
                if matches!(pace, Pace::Open { .. }) {
                    assert_eq!((outcome.sent, outcome.rtt.count()), (40, 40), "{what}");
                }
            }
        }
    }
}

#[test]
fn messages_come_from_the_given_addresses() {
    let _guard = one_at_a_time();
    let server = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let target = server.local_addr().expect("an address");
    let seen = thread::spawn(move || {
        let mut seen = std::collections::BTreeSet::new();
        let mut datagram = [0; 100];
        server.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        while let Ok((len, source)) = server.recv_from(&mut datagram) {
            seen.insert(source.ip());
            server.send_to(&datagram[..len], source).expect("an answer");
        }
        seen
    });
    let sources: Vec<IpAddr> = (1..4).map(|n| [127, 0, 0, n].into()).collect();
    let client =
        KernelClient { sources: sources.clone(), ..KernelClient::new(Plan { connections: 5, ..plan(Carrier::Udp, target) }) };
    assert_sound(&client.run(&AtomicBool::new(false)).expect("a run"), "sources");
    assert_eq!(seen.join().expect("the server ends").into_iter().collect::<Vec<_>>(), sources);
}

#[test]
fn a_source_that_is_not_ours_and_a_closed_port_are_explained() {
    let _guard = one_at_a_time();
    let target = SocketAddr::from(([127, 0, 0, 1], 9));
    let foreign = KernelClient { sources: vec![[192, 0, 2, 7].into()], ..KernelClient::new(plan(Carrier::Tcp, target)) };
    let error = foreign.run(&AtomicBool::new(false)).expect_err("not our address");
    assert!(error.exit_code() == 2 && error.to_string().contains("--sources"), "{error}");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address");
    for spin in [false, true] {
        let client = KernelClient { spin, ..KernelClient::new(plan(Carrier::Tcp, free)) };
        let error = client.run(&AtomicBool::new(false)).expect_err("nobody listens");
        assert!(error.exit_code() == 1 && error.to_string().contains("refused"), "{error}");
    }
    let outcome = run(Plan { churn: Some(Churn::Rst), ..plan(Carrier::Tcp, free) }, false);
    assert!(outcome.failure().is_some_and(|why| why.contains("refused")), "{:?}", outcome.drops);
    let outcome = run(plan(Carrier::Udp, free), false);
    assert!(outcome.drops.contains_key("icmp_port_unreachable") && outcome.failure().is_some(), "{:?}", outcome.drops);
}

/// A server that echoes and changes one byte after a while.
fn lying_stream(flip_at: usize) -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut bytes = [0; 1000];
        let mut position = 0;
        while let Ok(len @ 1..) = stream.read(&mut bytes) {
            if (position..position + len).contains(&flip_at) {
                bytes[flip_at - position] ^= 0x20;
            }
            position += len;
            if stream.write_all(&bytes[..len]).is_err() {
                return;
            }
        }
    });
    (at, thread)
}

#[test]
fn a_changed_byte_in_a_stream_fails_the_run() {
    let _guard = one_at_a_time();
    let (target, server) = lying_stream(64 * 100 + 17);
    let outcome = run(Plan { warmup: Duration::ZERO, ..plan(Carrier::Tcp, target) }, false);
    server.join().expect("the server ends");
    assert_eq!((outcome.corrupt, outcome.received), (1, 100));
    assert!(outcome.failure().is_some_and(|why| why.contains("byte 6417 of connection 0")));
}

#[test]
fn an_answer_that_comes_while_closing_is_late_and_checked() {
    let _guard = one_at_a_time();
    for flip in [0, 1] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = listener.local_addr().expect("an address");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut message = [0; 64];
            stream.read_exact(&mut message).expect("a message");
            // The end of the client's stream comes when it has given the answer up.
            assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
            message[9] ^= flip;
            stream.write_all(&message).expect("a late answer");
        });
        let outcome = run(Plan { warmup: Duration::ZERO, ..plan(Carrier::Tcp, target) }, false);
        server.join().expect("the server ends");
        assert_eq!((outcome.sent, outcome.received, outcome.lost, outcome.corrupt), (1, 0, 1, u64::from(flip)));
        assert_eq!((outcome.late, outcome.close.count()), (1 - u64::from(flip), 1));
    }
}

#[test]
fn changed_repeated_swallowed_and_invented_datagrams_are_told_apart() {
    let _guard = one_at_a_time();
    let server = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let target = server.local_addr().expect("an address");
    let lying = thread::spawn(move || {
        let mut datagram = [0; 100];
        server.set_read_timeout(Some(Duration::from_millis(1500))).expect("a timeout");
        let mut number = 0;
        while let Ok((len, source)) = server.recv_from(&mut datagram) {
            match number {
                10 => server.send_to(&datagram[..len - 1], source).map(drop).expect("a short one"),
                20 => datagram[len - 1] ^= 1,
                30 => server.send_to(&datagram[..len], source).map(drop).expect("twice"),
                40 => {
                    number += 1;
                    continue;
                }
                _ => {}
            }
            server.send_to(&datagram[..len], source).expect("an answer");
            number += 1;
        }
    });
    let pace = Pace::Open { per_s: 1000.0 };
    let plan = Plan { pace, warmup: Duration::ZERO, ..plan(Carrier::Udp, target) };
    let outcome = run(plan, false);
    lying.join().expect("the server ends");
    assert_eq!((outcome.sent, outcome.received, outcome.lost), (200, 198, 2));
    assert_eq!((outcome.corrupt, outcome.duplicated), (2, 1));
    assert_eq!((outcome.rtt.count(), outcome.rtt.unanswered()), (198, 2));
}

#[test]
fn a_server_that_closes_early_costs_the_connection() {
    let _guard = one_at_a_time();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = listener.local_addr().expect("an address");
    let server = thread::spawn(move || drop(listener.accept().expect("a connection")));
    let outcome = run(Plan { warmup: Duration::ZERO, ..plan(Carrier::Tcp, target) }, false);
    server.join().expect("the server ends");
    assert!(outcome.received == 0 && outcome.failure().is_some(), "{outcome:?}");
    assert_eq!(outcome.drops.values().sum::<u64>(), 1, "{:?}", outcome.drops);
}

#[test]
fn a_run_can_be_stopped() {
    let _guard = one_at_a_time();
    let server = echo(false);
    for (carrier, target) in carriers(&server) {
        for pace in [Pace::Closed { in_flight: 1 }, Pace::Open { per_s: 100.0 }] {
            let stop = Arc::new(AtomicBool::new(false));
            let plan = Plan { duration: Duration::from_secs(60), warmup: Duration::ZERO, pace, ..plan(carrier, target) };
            let flag = stop.clone();
            let running = thread::spawn(move || KernelClient::new(plan).run(&flag));
            thread::sleep(Duration::from_millis(200));
            stop.store(true, Ordering::Relaxed);
            let outcome = running.join().expect("no panic").expect("a run");
            assert!(outcome.failure().is_none() && outcome.lost == 0, "{outcome:?}");
            assert!(outcome.measured >= Duration::from_millis(100) && outcome.measured < Duration::from_secs(10));
        }
    }
}

#[test]
fn counts_are_shown_while_the_run_goes_on() {
    let _guard = one_at_a_time();
    let server = echo(false);
    let live = Arc::new(Live::default());
    let plan = Plan { duration: Duration::from_millis(1500), warmup: Duration::ZERO, ..plan(Carrier::Udp, server.addresses[1]) };
    let client = KernelClient { live: Some(live.clone()), interface: Some("lo".into()), ..KernelClient::new(plan) };
    let running = thread::spawn(move || client.run(&AtomicBool::new(false)));
    thread::sleep(Duration::from_millis(200));
    let halfway = live.received.load(Ordering::Relaxed);
    let outcome = running.join().expect("no panic").expect("a run");
    assert!(halfway > 0 && halfway < outcome.received, "{halfway} of {}", outcome.received);
    assert!(outcome.packets.is_some_and(|packets| packets >= outcome.received), "{:?}", outcome.packets);
}

#[test]
fn raw_is_not_a_kernel_socket() {
    let _guard = one_at_a_time();
    let error = KernelClient::new(plan(Carrier::Raw, ([127, 0, 0, 1], 7).into())).run(&AtomicBool::new(false));
    assert_eq!(error.map_err(|error| error.exit_code()).map(drop), Err(2));
}
