//! Clients on kernel sockets. Called inside the client's namespace ([`crate::common::Netns::inside`]).

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use ringway::rng::Rng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::family;
use crate::world::SERVER;

/// The server's address with a port.
pub(crate) fn server(port: u16) -> SocketAddr {
    SocketAddr::new(SERVER.parse().expect("an address"), port)
}

/// A connection whose calls fail after some seconds instead of hanging.
pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server(port), Duration::from_secs(5)).expect("connect");
    patient(&stream);
    stream
}

/// Lets no call on the stream wait for more than 20 s.
pub(crate) fn patient(stream: &TcpStream) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set a timeout");
    stream.set_write_timeout(Some(Duration::from_secs(20))).expect("set a timeout");
    stream.set_nodelay(true).expect("no delay");
}

/// Sends bytes and reads them back.
pub(crate) fn exchange(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("write");
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).expect("read");
    assert!(back == bytes, "the echo differs from what was sent");
}

/// A UDP socket that talks to one port of the server and waits for a second at most.
pub(crate) fn udp(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((family::ANY, 0)).expect("bind");
    socket.connect(server(port)).expect("connect");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("set a timeout");
    socket
}

/// Closes in order: our end, then the server's.
pub(crate) fn end(mut stream: TcpStream) {
    stream.shutdown(Shutdown::Write).expect("shutdown");
    assert_eq!(stream.read(&mut [0; 8]).expect("read"), 0, "the end of the stream");
}

/// Closes with a RST instead of a FIN.
pub(crate) fn abort(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger");
    drop(stream);
}

/// Sends `total` bytes to echo while reading them back, ends the sending side, and reads to the end of the stream. Every byte is
/// compared where it arrives; gives the SHA-256 of what was sent and of what came back.
pub(crate) fn echo_bulk(stream: &TcpStream, total: usize, seed: u64) -> (String, String) {
    thread::scope(|scope| {
        let sent = scope.spawn(|| {
            let mut sum = Sha256::new();
            let mut stream = stream;
            let mut source = Rng::seeded(seed);
            let mut block = vec![0; BLOCK];
            let mut left = total;
            while left > 0 {
                fill(&mut source, &mut block);
                let n = left.min(BLOCK);
                stream.write_all(&block[..n]).expect("write");
                sum.update(&block[..n]);
                left -= n;
            }
            stream.shutdown(Shutdown::Write).expect("shutdown");
            sum.finish()
        });
        let received = scope.spawn(|| {
            let mut sum = Sha256::new();
            let mut stream = stream;
            let mut source = Rng::seeded(seed);
            let (mut expected, mut block) = (vec![0; BLOCK], vec![0; BLOCK]);
            let mut position = 0;
            while position < total {
                fill(&mut source, &mut expected);
                let n = (total - position).min(BLOCK);
                stream.read_exact(&mut block[..n]).unwrap_or_else(|error| panic!("read behind byte {position}: {error}"));
                assert!(block[..n] == expected[..n], "a byte behind {position} differs");
                sum.update(&block[..n]);
                position += n;
            }
            assert_eq!(stream.read(&mut block).expect("read"), 0, "the end of the stream follows");
            sum.finish()
        });
        (sent.join().expect("the sender"), received.join().expect("the receiver"))
    })
}

/// Fills a buffer with the next bytes of a seeded stream.
pub(crate) fn fill(source: &mut Rng, bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&source.next_u64().to_le_bytes()[..chunk.len()]);
    }
}

/// Lets this process hold as many descriptors as it is allowed to.
pub(crate) fn allow_many_descriptors(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("setrlimit");
    assert!(limit.maximum.is_none_or(|most| most >= wanted), "the descriptor limit is below {wanted}: ulimit -Hn");
}

/// A SHA-256 as `sha256sum` computes it.
pub(crate) struct Sha256(std::process::Child);

impl Sha256 {
    pub(crate) fn new() -> Self {
        let child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Self(child.expect("sha256sum starts"))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.stdin.as_mut().expect("piped").write_all(bytes).expect("sha256sum reads");
    }

    pub(crate) fn finish(mut self) -> String {
        drop(self.0.stdin.take());
        let mut sum = String::new();
        self.0.stdout.take().expect("piped").read_to_string(&mut sum).expect("a sum");
        assert!(self.0.wait().expect("wait").success());
        sum
    }
}

const BLOCK: usize = 64 * 1024;
