//! Frames that are truncated, lying or random: counted by cause, dropped, and harmless.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use ringway::rng::Rng;

use crate::client::{connect, echo_bulk, exchange, fill, server, udp};
use crate::family::{ICMP, TARGET_AT, wrong_headers};
use crate::frame::{Builder, IP, Injector, TRANSPORT, seal, unfilled};
use crate::server::Server;
use crate::world::{INTERFACE, SERVER_CIDR, World};

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A frame with some bytes changed and the header's sum made right again.
fn changed(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    seal(&mut frame);
    frame
}

#[test]
fn each_wrong_frame_is_counted_by_its_cause() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    let build = Builder::new(&world);
    let udp = || build.udp(40_000, 7, b"datagram");
    let tcp = |flags| build.tcp(40_000, 7, flags, b"");
    let short = |protocol, len| build.ip(protocol, &vec![0; len]);
    let with = |mut frame: Vec<u8>, at: usize, bytes: &[u8]| {
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let mut cases = vec![
        ("ethernet_not_ours", with(udp(), 0, &[2, 0, 0, 0, 0, 9])),
        ("protocol_unknown", build.ip(132, &[0; 32])),
        ("icmp_truncated", short(ICMP, 7)),
        ("icmp_checksum", with(build.ping(b"ping"), TRANSPORT + 2, &[0x12, 0x34])),
        ("udp_truncated", short(17, 7)),
        ("udp_length_lies", changed(udp(), TRANSPORT + 4, &[0, 7])),
        ("udp_length_lies", changed(udp(), TRANSPORT + 4, &[0xff, 0xff])),
        ("udp_checksum", with(udp(), TRANSPORT + 8, b"D")),
        ("udp_port_zero", build.udp(40_000, 0, b"datagram")),
        ("udp_port_closed", build.udp(40_000, 4242, b"datagram")),
        ("udp_unsafe_to_answer", build.udp(7, 7, b"datagram")),
        ("checksum_unfilled", with(udp(), TRANSPORT + 6, &unfilled(17, 16).to_be_bytes())),
        ("checksum_unfilled", with(tcp(SYN), TRANSPORT + 16, &unfilled(6, 20).to_be_bytes())),
        ("tcp_truncated", short(6, 19)),
        ("tcp_truncated", with(tcp(SYN), TRANSPORT + 12, &[0xf0])),
        ("tcp_offset_malformed", with(tcp(SYN), TRANSPORT + 12, &[0x40])),
        ("tcp_checksum", with(tcp(SYN), TRANSPORT + 4, &[0x55])),
        ("tcp_port_zero", build.tcp(0, 7, SYN, b"")),
        ("tcp_port_closed", build.tcp(40_000, 4242, SYN, b"")),
        ("tcp_port_closed", build.tcp(40_000, 4242, RST, b"")),
        ("tcp_listen_ignored", tcp(RST)),
    ];
    cases.extend(wrong_headers(&build));
    let mut injector = Injector::new(&world);
    for (_, frame) in &cases {
        injector.send(frame);
    }
    injector.finish();
    let summary = server.stop();
    for (cause, _) in &cases {
        let expected = cases.iter().filter(|(other, _)| other == cause).count() as u64;
        assert_eq!(summary.dropped(cause), expected, "{cause}: {:?}", summary.drops());
    }
    assert_eq!(summary.counter("udp_in_frame"), 0);
}

#[test]
fn a_storm_of_broken_frames_hurts_no_connection() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    let build = Builder::new(&world);
    let mut injector = Injector::new(&world);
    let seed = 0x5eed;
    println!("seed {seed:#x}");
    let mut rng = Rng::seeded(seed);
    thread::scope(|scope| {
        let bulk = scope.spawn(|| world.client.inside(|| echo_bulk(&connect(7), 16 << 20, 5)));
        for _ in 0..30_000 {
            injector.send(&broken(&build, &mut rng));
        }
        injector.finish();
        let (sent, received) = bulk.join().expect("the transfer");
        assert_eq!(sent, received);
    });
    world.client.inside(|| exchange(&mut connect(7), b"still well"));
    let summary = server.stop();
    let drops: u64 = summary.drops().iter().map(|(_, n)| n).sum();
    assert!(drops > 5000, "{:?}", summary.drops());
}

/// A frame to the server that is wrong in one of several ways.
fn broken(build: &Builder, rng: &mut Rng) -> Vec<u8> {
    let mut payload = vec![0; rng.below(200) as usize];
    fill(rng, &mut payload);
    let ports = [7, 9, 13, 19, 4242];
    let port = ports[rng.below(ports.len() as u64) as usize];
    let source_port = rng.next_u32() as u16;
    let valid = match rng.below(3) {
        0 => build.udp(source_port, port, &payload),
        1 => build.ping(&payload),
        _ => build.tcp(source_port, port, rng.next_u32() as u8, &payload),
    };
    let mut frame = valid;
    match rng.below(5) {
        // Right in form, without meaning: stray segments with all combinations of flags.
        0 => {}
        // Cut off anywhere behind the addresses.
        1 => frame.truncate(TRANSPORT + rng.below((frame.len() - TRANSPORT + 1) as u64) as usize),
        // Some bytes changed, the header's sum right or wrong.
        2 | 3 => {
            for _ in 0..=rng.below(8) {
                let at = IP + rng.below((frame.len() - IP) as u64) as usize;
                // The destination stays, so that the frame reaches the engine.
                if !(IP + TARGET_AT..TRANSPORT).contains(&at) {
                    frame[at] = rng.next_u32() as u8;
                }
            }
            if rng.below(2) == 0 {
                seal(&mut frame);
            }
        }
        // Noise behind the destination.
        _ => fill(rng, &mut frame[TRANSPORT..]),
    }
    frame
}

#[test]
fn segments_that_guess_at_a_connection_do_not_break_it() {
    let Some(world) = World::new() else { return };
    // With timestamps a segment without one is dropped before its numbers are looked at.
    let server_side = Server::with(&world, &["-a", SERVER_CIDR, "--set", "tcp.timestamps=off", "echo:7"]);
    let build = Builder::new(&world);
    world.client.inside(|| {
        let mut stream: TcpStream = connect(7);
        exchange(&mut stream, b"before");
        let port = stream.local_addr().map(|at: SocketAddr| at.port()).expect("a port");
        let mut injector = Injector::new(&world);
        // The sequence number is the builder's, far from the connection's with all but no chance of meeting it.
        for flags in 0..64 {
            injector.send(&build.tcp(port, 7, flags, b""));
            injector.send(&build.tcp(port, 7, flags | ACK, b"forged"));
        }
        injector.finish();
        exchange(&mut stream, b"after");
        stream.shutdown(std::net::Shutdown::Write).expect("shutdown");
        assert_eq!(stream.read(&mut [0; 8]).expect("read"), 0);
    });
    let summary = server_side.stop();
    assert_eq!((summary.counter("tcp_closed"), summary.counter("tcp_reset")), (1, 0));
    let causes = ["tcp_out_of_window", "tcp_rst_ignored", "tcp_syn_challenged"];
    assert!(causes.iter().all(|cause| summary.dropped(cause) > 0), "{:?}", summary.drops());
    assert_eq!(summary.drops().iter().map(|(_, n)| n).sum::<u64>(), 128, "each forged segment is counted once");
}

#[test]
fn checksums_left_to_an_offload_are_counted_and_said_once() {
    let Some(world) = World::new() else { return };
    world.client.run("ethtool", &["-K", INTERFACE, "tx", "on"]);
    let ringway = Server::start(&world);
    world.client.inside(|| {
        let socket = udp(7);
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set a timeout");
        for _ in 0..20 {
            socket.send(b"never summed").expect("send");
            assert!(socket.recv(&mut [0; 64]).is_err());
        }
        TcpStream::connect_timeout(&server(7), Duration::from_millis(300)).expect_err("no SYN arrives whole");
    });
    // The same client, once it sums by itself.
    world.client.run("ethtool", &["-K", INTERFACE, "tx", "off"]);
    world.client.inside(|| {
        let mut stream = connect(7);
        stream.write_all(b"whole").expect("write");
        stream.read_exact(&mut [0; 5]).expect("read");
    });
    let summary = ringway.stop();
    assert!(summary.dropped("checksum_unfilled") >= 21, "{:?}", summary.drops());
    assert_eq!(summary.log.matches("ethtool -K").count(), 1, "{}", summary.log);
    assert!(summary.log.contains("tx off"), "{}", summary.log);
}
