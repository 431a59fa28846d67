//! Claims of single ports on the kernel's own address: the kernel keeps everything else.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::client::{connect, echo_bulk, exchange, server as at, udp};
use crate::family::{ANY, FREE_CIDR};
use crate::mirror::within;
use crate::server::{Server, ringway};
use crate::world::{CLIENT, INTERFACE, SERVER, World, own, ping};

/// The claim of the tests.
const CLAIM: &[&str] = &["--claim", "tcp:7,udp:7", "echo:7"];

#[test]
fn claims_leave_the_kernel_its_ports_and_ping_under_full_load() {
    let Some(world) = World::with_kernel_server() else { return };
    let server = Server::with(&world, CLAIM);
    let ending = AtomicBool::new(false);
    let listener = world.server.inside(|| TcpListener::bind((SERVER, 8080)).expect("the kernel's own service"));
    let kernel_udp = world.server.inside(|| UdpSocket::bind((SERVER, 8081)).expect("the kernel's own service"));
    kernel_udp.set_read_timeout(Some(Duration::from_secs(5))).expect("set a timeout");
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                let (mut stream, _) = listener.accept().expect("accept");
                let mut bytes = [0; 5];
                stream.read_exact(&mut bytes).and_then(|()| stream.write_all(&bytes)).expect("echo");
            }
        });
        scope.spawn(|| {
            for _ in 0..20 {
                let mut bytes = [0; 5];
                let (n, from) = kernel_udp.recv_from(&mut bytes).expect("receive");
                kernel_udp.send_to(&bytes[..n], from).expect("send");
            }
        });
        // However this test ends, the load ends with it.
        let _end = End(&ending);
        // Full load: datagrams without a pause and a stream beside them.
        scope.spawn(|| {
            world.client.inside(|| {
                let socket = udp(7);
                while !ending.load(Ordering::Relaxed) {
                    (0..16).for_each(|_| drop(socket.send(&[1; 64])));
                    for _ in 0..16 {
                        let _ = socket.recv(&mut [0; 64]);
                    }
                }
            });
        });
        scope.spawn(|| {
            world.client.inside(|| {
                let (sent, received) = echo_bulk(&connect(7), 32 << 20, 3);
                assert_eq!(sent, received);
            });
        });
        world.client.inside(|| {
            for _ in 0..20 {
                exchange(&mut connect(8080), b"hello");
                let socket = udp(8081);
                socket.set_read_timeout(Some(Duration::from_secs(5))).expect("set a timeout");
                socket.send(b"hello").expect("send");
                assert_eq!(socket.recv(&mut [0; 16]).expect("the kernel answers"), 5);
            }
        });
        ping(&world.client, 20, &[], SERVER);
    });
    let summary = server.stop();
    assert_eq!(summary.counter("icmp_echo_replies"), 0, "ping is the kernel's");
    // Many times what went to the kernel beside it.
    assert!(summary.counter("udp_in_frame") > 5 * 20, "{}", summary.value());
    world.assert_untouched_but(&[&at(8080).to_string(), &at(8081).to_string()]);
}

/// Tells a thread of the test to end when the test does.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn claims_let_the_kernel_connect_outwards() {
    let Some(world) = World::with_kernel_server() else { return };
    let server = Server::with(&world, CLAIM);
    let listener = world.client.inside(|| TcpListener::bind((CLIENT, 9000)).expect("bind"));
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).expect("read");
            assert_eq!(bytes, b"from the kernel");
        });
        world.server.inside(|| {
            TcpStream::connect((CLIENT, 9000)).expect("connect").write_all(b"from the kernel").expect("write");
        });
    });
    server.stop();
}

#[test]
fn claims_hold_the_port_in_the_kernel() {
    let Some(world) = World::with_kernel_server() else { return };
    let server = Server::with(&world, CLAIM);
    let holders = world.server.run("ss", &["-H", "-lntup"]);
    let served = server.ready["address"].as_str().map_or(0, |all| all.split(',').count());
    assert!(served > 0, "{}", server.ready);
    let held = holders.lines().filter(|line| line.contains(":7 "));
    let name = format!("(\"ringway\",pid={},", server.id());
    assert_eq!(held.filter(|line| line.contains(&name)).count(), 2 * served, "{name}: {holders}");
    world.server.inside(|| {
        for address in [SERVER, ANY] {
            let taken = TcpListener::bind((address, 7)).expect_err("the port is held");
            assert_eq!(taken.kind(), ErrorKind::AddrInUse);
            let taken = UdpSocket::bind((address, 7)).expect_err("the port is held");
            assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        }
    });
    server.stop();
    world.assert_untouched();
    world.server.inside(|| {
        TcpListener::bind((SERVER, 7)).expect("the port is free again");
        UdpSocket::bind((SERVER, 7)).expect("the port is free again");
    });
}

/// A process of the test's, ended with it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn claims_of_a_port_that_a_process_has_are_refused_and_the_process_is_named() {
    let Some(world) = World::with_kernel_server() else { return };
    for (claim, flag) in [("tcp:7", "-l"), ("udp:7", "-lu")] {
        for address in [SERVER, ANY] {
            let holder = Process(world.server.command("nc").args([flag, address, "7"]).spawn().expect("ip starts"));
            let shown = format!("nc (pid {})", holder.0.id());
            within(5, "nc listens", || world.server.run("ss", &["-H", "-lntup"]).contains(&format!("pid={},", holder.0.id())));
            let service = format!("echo/{claim}");
            let (code, out, log) = ringway(&world.server, &["serve", "-i", INTERFACE, "--claim", claim, &service]);
            assert_eq!((code, out.as_str()), (Some(3), ""), "{log}");
            let flag = &claim[..1];
            let mend = format!("ss -{flag}anp 'sport = :7' shows it");
            for words in [&format!("cannot claim {claim} on "), "the port is in use by the kernel, by ", &shown, &mend] {
                assert!(log.contains(words), "'{words}' is missing: {log}");
            }
            let link = world.server.ip(&["-d", "link", "show", "dev", INTERFACE]);
            assert!(!link.contains("xdp"), "an XDP program is left behind:\n{link}");
        }
    }
    // The other transport is free all the time.
    let _holder = world.server.inside(|| UdpSocket::bind((SERVER, 7)).expect("bind"));
    let server = Server::with(&world, &["--claim", "tcp:7", "echo/tcp:7"]);
    world.client.inside(|| exchange(&mut connect(7), b"hello"));
    server.kill();
}

/// An address comes, and somebody was there before: its port stays with the kernel, and the others are served on.
#[test]
fn claims_leave_a_new_address_whose_port_is_taken() {
    let Some(world) = World::with_kernel_server() else { return };
    let nonlocal = if SERVER.contains(':') { "net.ipv6.ip_nonlocal_bind=1" } else { "net.ipv4.ip_nonlocal_bind=1" };
    world.server.run("sysctl", &["-qw", nonlocal]);
    let free = FREE_CIDR.split('/').next().expect("an address");
    let holder = world.server.inside(|| TcpListener::bind((free, 7)).expect("bind"));
    let server = Server::with(&world, CLAIM);
    own(&world.server, FREE_CIDR, INTERFACE);
    let accepted = thread::scope(|scope| {
        let accepted = scope.spawn(|| holder.accept().map(|(mut stream, _)| stream.write_all(b"the kernel")));
        world.client.inside(|| {
            let mut told = String::new();
            within(5, "the kernel can be reached", || {
                let target = SocketAddr::new(free.parse().expect("an address"), 7);
                TcpStream::connect_timeout(&target, Duration::from_secs(1)).is_ok_and(|mut stream| {
                    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("set a timeout");
                    stream.read_to_string(&mut told).is_ok()
                })
            });
            assert_eq!(told, "the kernel");
            exchange(&mut connect(7), b"hello");
        });
        accepted.join().expect("the listener")
    });
    accepted.and_then(|sent| sent).expect("accept and write");
    let summary = server.stop();
    // By whom is not said: the thread that follows the kernel has no right any more to look into the processes of others.
    let said = format!("cannot claim tcp:7 on {free}: the port is in use by the kernel\n");
    assert!(summary.log.contains(&said), "{}", summary.log);
}

#[test]
fn claims_are_not_reached_from_the_host_itself() {
    let Some(world) = World::with_kernel_server() else { return };
    let server = Server::with(&world, CLAIM);
    world.server.inside(|| {
        // Through lo, which XDP never sees: silence, neither an answer nor a refusal.
        let silence =
            TcpStream::connect_timeout(&(SERVER.parse::<std::net::IpAddr>().unwrap(), 7).into(), Duration::from_millis(300));
        assert_eq!(silence.expect_err("no answer").kind(), ErrorKind::TimedOut);
    });
    server.stop();
}

#[test]
fn claims_of_a_killed_process_can_be_taken_at_once() {
    let Some(world) = World::with_kernel_server() else { return };
    for _ in 0..3 {
        let server = Server::with(&world, CLAIM);
        world.client.inside(|| exchange(&mut connect(7), b"hello"));
        server.kill();
    }
    world.assert_untouched();
}

#[test]
fn claims_let_a_folder_be_served_at_the_kernels_address() {
    let Some(world) = World::with_kernel_server() else { return };
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("index.html"), "<p>here").expect("a file");
    let server = Server::with(&world, &["--claim", "tcp:80", &format!("http:80={}", folder.path().display())]);
    assert_eq!(world.client.run("curl", &["-s", "-S", "-m", "10", &format!("http://{}/", at(80))]), "<p>here");
    server.stop();
    world.assert_untouched();
}
