//! The server over loopback, with plain sockets as clients.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use super::*;

/// A server in a thread, stopped and joined when dropped.
pub(crate) struct Running {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<Result<(), RunError>>>,
}

impl Running {
    pub(crate) fn start(services: &[(Kind, Transport)], spin: bool) -> Self {
        let at = SocketAddr::from(([127, 0, 0, 1], 0));
        let bindings: Vec<_> =
            services.iter().map(|&(kind, transport)| Binding { kind, transport, at, congestion: None }).collect();
        let server = KernelServer::bind(&bindings, spin).expect("free ports");
        let (addresses, counters) = (server.addresses().to_vec(), server.counters());
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = Some(thread::spawn(move || server.run(None, &flag)));
        Self { addresses, counters, stop, thread }
    }

    /// Stops the server and returns its last counters.
    pub(crate) fn stop(mut self) -> Arc<Counters> {
        self.join();
        self.counters.clone()
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server does not panic").expect("the server does not fail");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.join();
    }
}

fn stream(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream
}

fn socket(at: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(at).expect("an address");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    socket
}

const BOTH: [bool; 2] = [false, true];

#[test]
fn echo_answers_everything_after_the_clients_half_close() {
    for spin in BOTH {
        let server = Running::start(&[(Kind::Echo, Transport::Tcp)], spin);
        let mut client = stream(server.addresses[0]);
        // More than both socket buffers hold: the server must stop reading while we do not read.
        let sent: Vec<u8> = (0..16 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut writer = client.try_clone().expect("a second handle");
        let bytes = sent.clone();
        let writing = thread::spawn(move || {
            writer.write_all(&bytes).expect("all is taken");
            writer.shutdown(Shutdown::Write).expect("a half-close");
        });
        thread::sleep(Duration::from_millis(100));
        let mut back = Vec::new();
        client.read_to_end(&mut back).expect("everything and the end");
        writing.join().expect("the writer ends");
        assert!(back == sent, "spin {spin}: {} of {} bytes came back", back.len(), sent.len());
        let counters = server.stop();
        assert_eq!(counters.bytes.load(Ordering::Relaxed), 16 << 20);
        assert_eq!((counters.accepted.load(Ordering::Relaxed), counters.open.load(Ordering::Relaxed)), (1, 0));
    }
}

#[test]
fn discard_takes_everything_and_says_nothing() {
    for spin in BOTH {
        let server = Running::start(&[(Kind::Discard, Transport::Tcp), (Kind::Discard, Transport::Udp)], spin);
        let mut client = stream(server.addresses[0]);
        client.write_all(&[7; 300_000]).expect("all is taken");
        client.shutdown(Shutdown::Write).expect("a half-close");
        assert_eq!(client.read(&mut [0; 10]).expect("the end"), 0);
        socket(server.addresses[1]).send(b"x").expect("a datagram");
        let begun = std::time::Instant::now();
        while server.counters.bytes.load(Ordering::Relaxed) < 300_001 && begun.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(server.stop().bytes.load(Ordering::Relaxed), 300_001);
    }
}

#[test]
fn chargen_runs_on_at_the_readers_pace_until_he_closes() {
    for spin in BOTH {
        let server = Running::start(&[(Kind::Chargen, Transport::Tcp), (Kind::Chargen, Transport::Udp)], spin);
        let mut client = stream(server.addresses[0]);
        thread::sleep(Duration::from_millis(50));
        let mut text = vec![0; 1 << 20];
        client.read_exact(&mut text).expect("a mebibyte");
        let content = Content::new(Pages::default());
        assert_eq!(text[..100], *content.chargen(0, 100));
        assert_eq!(text[1_000_000..1_000_100], *content.chargen(1_000_000, 100));
        drop(client);
        let client = socket(server.addresses[1]);
        client.send(b"?").expect("a datagram");
        assert!(client.recv(&mut text).expect("an answer") <= 512);
        let begun = std::time::Instant::now();
        while server.counters.open.load(Ordering::Relaxed) > 0 && begun.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(server.stop().open.load(Ordering::Relaxed), 0, "the connection went with its client");
    }
}

#[test]
fn daytime_sends_a_line_and_closes_first() {
    for spin in BOTH {
        let server = Running::start(&[(Kind::Daytime, Transport::Tcp), (Kind::Daytime, Transport::Udp)], spin);
        let mut client = stream(server.addresses[0]);
        let mut line = String::new();
        client.read_to_string(&mut line).expect("a line and the end");
        assert!(line.ends_with("-UTC\r\n") && line.contains(", "), "{line:?}");
        let client = socket(server.addresses[1]);
        client.send(b"").expect("an empty datagram");
        let mut datagram = [0; 100];
        let len = client.recv(&mut datagram).expect("an answer");
        assert!(datagram[..len].ends_with(b"-UTC\r\n"));
    }
}

#[test]
fn a_port_of_our_own_is_not_answered() {
    let server = Running::start(&[(Kind::Echo, Transport::Udp), (Kind::Echo, Transport::Udp)], false);
    // A second socket on the server's port plays the other server of a loop.
    let forged = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
    forged.bind(&SocketAddr::from(([127, 0, 0, 2], server.addresses[0].port())).into()).expect("another address of loopback");
    forged.send_to(b"loop", &server.addresses[1].into()).expect("a datagram");
    let begun = std::time::Instant::now();
    while server.counters.unsafe_to_answer.load(Ordering::Relaxed) == 0 && begun.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.stop().unsafe_to_answer.load(Ordering::Relaxed), 1);
}

#[test]
fn a_port_in_use_names_the_command_that_shows_by_whom() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = taken.local_addr().expect("an address");
    let binding = Binding { kind: Kind::Echo, transport: Transport::Tcp, at, congestion: None };
    let error = KernelServer::bind(&[binding], false).expect_err("the port is taken");
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains(&format!("try: ss -lnt 'sport = :{}'", at.port())), "{error}");
    let foreign = Binding { at: ([192, 0, 2, 1], 7007).into(), ..binding };
    let error = KernelServer::bind(&[foreign], false).expect_err("not our address");
    assert!(error.to_string().contains("ip address add 192.0.2.1"), "{error}");
}

#[test]
fn the_blocking_server_sleeps_when_nothing_happens() {
    let server = Running::start(&[(Kind::Echo, Transport::Tcp), (Kind::Echo, Transport::Udp)], false);
    thread::sleep(Duration::from_millis(400));
    let counters = server.stop();
    assert!(counters.cpu_ns.load(Ordering::Relaxed) < 50_000_000);
    assert!(counters.turns.load(Ordering::Relaxed) < 50);
}

#[test]
fn two_snapshots_say_what_happened_between_them() {
    let server = Running::start(&[(Kind::Echo, Transport::Udp)], true);
    let client = socket(server.addresses[0]);
    thread::sleep(Duration::from_millis(30));
    let before = server.counters.snapshot();
    for _ in 0..100 {
        client.send(b"ping").expect("a datagram");
        client.recv(&mut [0; 10]).expect("an answer");
    }
    let after = server.stop().snapshot();
    let between = after.since(&before);
    assert_eq!((between.messages, between.bytes), (100, 400));
    assert!(between.cpu_ns > 0 && between.turns > 0 && between.busy_share().is_some_and(|share| share > 0.0 && share <= 1.0));
    assert_eq!(Snapshot::default().busy_share(), None);
}

#[test]
fn http_answers_requests_in_pieces_and_several_at_once_and_closes_after_the_last() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("page.txt"), "0123456789").expect("a file");
    for spin in [false, true] {
        let binding = Binding { kind: Kind::Http, transport: Transport::Tcp, at: ([127, 0, 0, 1], 0).into(), congestion: None };
        let server = KernelServer::bind(&[binding], spin).expect("a free port");
        let server = server.with_pages(Pages::read(folder.path()).expect("pages"));
        let (at, stop) = (server.addresses()[0], Arc::new(AtomicBool::new(false)));
        let flag = stop.clone();
        let thread = thread::spawn(move || server.run(None, &flag));
        let mut client = stream(at);
        client.write_all(b"GET /page.txt HTTP/1.1\r\nHo").expect("half a request");
        thread::sleep(Duration::from_millis(20));
        client.write_all(b"st: x\r\n\r\nGET /page.txt HTTP/1.1\r\n\r\nGET /x HTTP/1.0\r\n\r\n").expect("two and a half");
        let mut answers = String::new();
        client.read_to_string(&mut answers).expect("the server closes");
        assert_eq!((answers.matches("200 OK").count(), answers.matches("0123456789").count()), (2, 2), "{answers}");
        assert!(answers.contains("404 Not Found"), "{answers}");
        stop.store(true, Ordering::Relaxed);
        thread.join().expect("no panic").expect("no failure");
    }
}
