//! The Linux kernel's TCP over a veth pair: the script's frames go through an AF_PACKET socket, its calls to a kernel socket.
//!
//! Real time, with tolerances: scripts mostly wait for timers, so many are played at once, each worker with a kernel (a namespace) of its
//! own. A busy machine may hold a script up until a timer interferes: one that fails is played again, three times at most. The table of what was played goes to stderr.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringway::tcp::State;
use smoltcp::phy::{Device as _, RawSocket, RxToken as _, TxToken as _};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use crate::common::root;
use crate::frame::{HOST, PEER, PORTS_OF_A_SCRIPT, Wire};
use crate::player::{Host, Patience, Player};
use crate::script::{Call, Entry, Failure, Kernel, News, Script, Setting, Stack};
use crate::scripts;
use crate::segment::stream;
use crate::world::{HOST_MAC, PEER_MAC, World, forget_paths, set};

/// Every script that is not for memory alone. `RINGWAY_SCRIPT=word` plays those whose name has the word.
#[test]
fn over_a_veth() {
    if !root() {
        return;
    }
    let only = std::env::var("RINGWAY_SCRIPT").unwrap_or_default();
    let began = Instant::now();
    let chosen: Vec<Entry> = scripts::all().into_iter().filter(|(name, _)| name.contains(&only)).collect();
    let mut rows: Vec<Row> = chosen.iter().filter_map(|entry| not_played(entry)).collect();
    let tasks = chosen.into_iter().enumerate().filter(|(_, entry)| not_played(entry).is_none());
    let mut tasks: Vec<Task> = tasks.map(|(at, entry)| (at, entry, 0)).collect();
    let (played, skipped) = (tasks.len(), rows.len());
    tasks.sort_by_key(|(_, (_, write), _)| std::cmp::Reverse(Script::of(*write, Stack::Kernel).waits_ms()));
    let queue = Mutex::new(VecDeque::from(tasks));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS.min(played)).map(|_| scope.spawn(|| worker(&queue))).collect();
        rows.extend(workers.into_iter().flat_map(|worker| worker.join().expect("a worker")));
    });
    rows.sort();
    let mut table = String::new();
    rows.iter().for_each(|row| table.push_str(&row.to_string()));
    let _ = writeln!(table, "{played} scripts on the kernel, {skipped} in memory alone, {:.1} s", began.elapsed().as_secs_f64());
    // Not with a print macro: the test runner would swallow that.
    let _ = write!(std::io::stderr(), "\n{table}");
    let failures: Vec<_> = rows.iter().filter_map(|row| row.failure.as_ref().map(|why| format!("{}\n{why}", row.name))).collect();
    assert!(failures.is_empty(), "{} scripts failed\n{}", failures.len(), failures.join("\n"));
    assert!(!only.is_empty() || played >= LEAST, "only {played} scripts run on the kernel");
}

/// The first script of `wrong`: a number that the kernel never sends.
#[test]
fn a_wrong_script_fails_on_the_kernel_too() {
    if !root() {
        return;
    }
    let script = Script::of(crate::wrong::a_wrong_number, Stack::Kernel);
    let world = World::new();
    let why = thread::scope(|scope| scope.spawn(|| play(&world, &script, 0)).join().expect("no panic")).expect_err("it is wrong");
    assert!(why.contains("SEG.SEQ is 1, not 2"), "{why}");
}

/// A line of the table.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    name: &'static str,
    note: String,
    seconds_x10: u64,
    failure: Option<String>,
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let result = if self.failure.is_some() { "FAILED" } else { "" };
        writeln!(f, "{:60} {:4.1} s  {result}{}", self.name, self.seconds_x10 as f64 / 10.0, self.note)
    }
}

fn not_played(&(name, write): &Entry) -> Option<Row> {
    match Script::of(write, Stack::Kernel).kernel {
        Kernel::Not(why) => Some(Row { name, note: format!("memory alone: {why}"), seconds_x10: 0, failure: None }),
        _ => None,
    }
}

/// A script to be played, by its place in the list, and how often it has failed.
type Task = (usize, Entry, usize);

/// Plays scripts until there are no more. One that fails goes to the end, where the machine is quieter.
fn worker(queue: &Mutex<VecDeque<Task>>) -> Vec<Row> {
    let world = World::new();
    let mut rows = Vec::new();
    loop {
        let next = locked(queue).pop_front();
        let Some((at, (name, write), failed)) = next else { return rows };
        let script = Script::of(write, Stack::Kernel);
        let began = Instant::now();
        let played = play(&world, &script, at * ATTEMPTS + failed);
        if played.is_err() && failed + 1 < ATTEMPTS {
            locked(queue).push_back((at, (name, write), failed + 1));
            continue;
        }
        let mut note = match &script.kernel {
            Kernel::Differs(why) => format!("differs: {}", why.join("; ")),
            _ => "same".into(),
        };
        if failed > 0 {
            let _ = write!(note, " (attempt {})", failed + 1);
        }
        rows.push(Row { name, note, seconds_x10: began.elapsed().as_millis() as u64 / 100, failure: played.err() });
    }
}

fn locked(queue: &Mutex<VecDeque<Task>>) -> MutexGuard<'_, VecDeque<Task>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plays one script, with ports that no other one uses.
fn play(world: &World, script: &Script, number: usize) -> Result<(), String> {
    let before: Vec<_> = script.sysctls.iter().map(|(name, value)| (name, set(&format!("net/ipv4/{name}"), value))).collect();
    let number = number as u16;
    let (peer_port, host_port) = (FIRST_PEER_PORT + number * PORTS_OF_A_SCRIPT, FIRST_HOST_PORT + number * 4);
    let wire = Wire::new(PEER_MAC, HOST_MAC, peer_port, host_port);
    let host = Linux {
        began: Instant::now(),
        wire: world.wire(),
        peer: SocketAddr::V4(SocketAddrV4::new(PEER, peer_port)),
        own: SocketAddr::V4(SocketAddrV4::new(HOST, host_port)),
        nagle: script.nagle,
        buffer: script.kernel_buffer,
        listener: None,
        stream: None,
        sent: 0,
        received: 0,
        reading: None,
    };
    let played = Player::new(script, host, wire).play();
    for (name, value) in before {
        set(&format!("net/ipv4/{name}"), &value);
    }
    forget_paths();
    played
}

/// The kernel, its end of the wire, and the application's sockets.
struct Linux {
    began: Instant,
    wire: RawSocket,
    peer: SocketAddr,
    own: SocketAddr,
    nagle: bool,
    buffer: Option<usize>,
    listener: Option<Socket>,
    stream: Option<Socket>,
    sent: usize,
    received: usize,
    /// Where a RECEIVE that waits for more will end.
    reading: Option<usize>,
}

impl Host for Linux {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn send(&mut self, frame: &[u8]) {
        let token = self.wire.transmit(smoltcp::time::Instant::ZERO).expect("a raw socket always takes one");
        token.consume(frame.len(), |bytes| bytes.copy_from_slice(frame));
    }

    fn receive(&mut self, until: Duration) -> Option<Vec<u8>> {
        loop {
            if let Some((token, _)) = self.wire.receive(smoltcp::time::Instant::ZERO) {
                return Some(token.consume(<[u8]>::to_vec));
            }
            let left = until.saturating_sub(self.now());
            if left.is_zero() {
                return None;
            }
            let left = smoltcp::time::Duration::from_micros(left.as_micros() as u64 + 1);
            smoltcp::phy::wait(self.wire.as_raw_fd(), Some(left)).expect("poll");
        }
    }

    fn call(&mut self, call: Call) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.attempt(call) {
                Attempt::Done => return Ok(()),
                Attempt::Failed(why) => return Err(why),
                Attempt::Wait(why) if Instant::now() >= deadline => return Err(why),
                Attempt::Wait(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn state(&mut self) -> State {
        let table = fs::read_to_string("/proc/thread-self/net/tcp").expect("the table of connections");
        let (own, peer) = (format!(":{:04X}", self.own.port()), format!(":{:04X}", self.peer.port()));
        let found = table.lines().skip(1).find_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
            (local.ends_with(&own) && remote.ends_with(&peer)).then_some(state)
        });
        // The numbers of the kernel's tcp_states.h.
        match found {
            Some("01") => State::Established,
            Some("02") => State::SynSent,
            Some("03") => State::SynReceived,
            Some("04") => State::FinWait1,
            Some("05") => State::FinWait2,
            Some("06") => State::TimeWait,
            Some("08") => State::CloseWait,
            Some("09") => State::LastAck,
            Some("0B") => State::Closing,
            _ => State::Closed,
        }
    }

    fn patience(&self) -> Patience {
        Patience { at_once: PATIENCE, early: 0.1, late: 0.2, slack: PATIENCE }
    }
}

/// What became of a call so far.
enum Attempt {
    Done,
    Wait(String),
    Failed(String),
}

impl From<std::io::Result<()>> for Attempt {
    fn from(result: std::io::Result<()>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Self::Wait(error.to_string()),
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

impl Linux {
    fn attempt(&mut self, call: Call) -> Attempt {
        match call {
            Call::Listen { backlog } => self.listen(backlog).into(),
            Call::Connect => self.connect().into(),
            Call::Accept => self.accept().into(),
            Call::Send(len) => self.transmit(len, false),
            Call::SendUrgent(len) => self.transmit(len, true),
            Call::Receive(len) => self.take(len),
            Call::End => self.end(),
            Call::Shutdown => self.connection().shutdown(Shutdown::Write).into(),
            Call::Close => {
                self.stream = None;
                Attempt::Done
            }
            Call::Abort => {
                let result = self.connection().set_linger(Some(Duration::ZERO));
                self.stream = None;
                result.into()
            }
            Call::Failed(failure) => self.failed(failure),
            Call::Told(News::Urgent) => self.urgent(),
            Call::Told(_) | Call::UrgentAhead(_) => Attempt::Failed("there is no such call in the kernel".into()),
            Call::Set(setting) => self.set(setting).into(),
        }
    }

    fn socket(&self) -> std::io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        if let Some(bytes) = self.buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_tcp_nodelay(!self.nagle)?;
        socket.bind(&self.own.into())?;
        Ok(socket)
    }

    fn listen(&mut self, backlog: usize) -> std::io::Result<()> {
        let socket = self.socket()?;
        socket.listen(backlog as i32)?;
        self.listener = Some(socket);
        Ok(())
    }

    fn connect(&mut self) -> std::io::Result<()> {
        let socket = self.socket()?;
        let result = socket.connect(&self.peer.into());
        self.stream = Some(socket);
        match result {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Ok(()),
            result => result,
        }
    }

    fn accept(&mut self) -> std::io::Result<()> {
        let listener = self.listener.as_ref().expect("the script has listened");
        let (stream, _) = listener.accept()?;
        stream.set_nonblocking(true)?;
        stream.set_tcp_nodelay(!self.nagle)?;
        stream.set_out_of_band_inline(true)?;
        self.stream = Some(stream);
        (self.sent, self.received) = (0, 0);
        Ok(())
    }

    fn connection(&self) -> SockRef<'_> {
        SockRef::from(self.stream.as_ref().expect("the script has a connection"))
    }

    fn transmit(&mut self, len: usize, urgent: bool) -> Attempt {
        let bytes = stream(self.sent as i64 + 1, len);
        let connection = self.connection();
        match if urgent { connection.send_out_of_band(&bytes) } else { connection.send(&bytes) } {
            Ok(taken) if taken == len => {
                self.sent += len;
                Attempt::Done
            }
            Ok(taken) => Attempt::Failed(format!("{taken} of {len} bytes were taken")),
            Err(error) => Err(error).into(),
        }
    }

    /// Reads until `len` bytes more have come, and no further.
    fn take(&mut self, len: usize) -> Attempt {
        let target = *self.reading.get_or_insert(self.received + len);
        while self.received < target {
            let mut bytes = vec![0; target - self.received];
            let result = self.stream.as_ref().expect("the script has a connection").read(&mut bytes);
            match result {
                Ok(0) => return Attempt::Failed(format!("the stream ended {} bytes early", target - self.received)),
                Ok(got) if bytes[..got] != stream(self.received as i64 + 1, got) => {
                    return Attempt::Failed("other bytes were received than were sent".into());
                }
                Ok(got) => self.received += got,
                Err(error) => return Err(error).into(),
            }
        }
        self.reading = None;
        Attempt::Done
    }

    fn end(&self) -> Attempt {
        match self.stream.as_ref().expect("the script has a connection").read(&mut [0; 1]) {
            Ok(0) => Attempt::Done,
            Ok(_) => Attempt::Failed("there is a byte where the stream should end".into()),
            Err(error) => Err(error).into(),
        }
    }

    fn set(&self, setting: Setting) -> std::io::Result<()> {
        let connection = self.connection();
        match setting {
            Setting::NoDelay(on) => connection.set_tcp_nodelay(on),
            Setting::Cork(on) => connection.set_tcp_cork(on),
            Setting::CodePoint(code) => connection.set_tos_v4(u32::from(code) << 2),
            Setting::Keepalive { idle_s, interval_s, probes } => {
                let (idle, interval) = (Duration::from_secs(idle_s), Duration::from_secs(interval_s));
                let plan = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
                connection.set_tcp_keepalive(&plan)
            }
            Setting::UserTimeout { ms } => connection.set_tcp_user_timeout(Some(Duration::from_millis(ms))),
            Setting::Linger { s } => connection.set_linger(Some(Duration::from_secs(s))),
        }
    }

    /// Readable with priority: the urgent mark is ahead.
    fn urgent(&mut self) -> Attempt {
        use mio::Interest;
        let fd = self.connection().as_raw_fd();
        let mut poll = match mio::Poll::new() {
            Ok(poll) => poll,
            Err(error) => return Attempt::Failed(error.to_string()),
        };
        let mut events = mio::Events::with_capacity(1);
        let registered = poll.registry().register(&mut mio::unix::SourceFd(&fd), mio::Token(0), Interest::PRIORITY);
        match registered.and_then(|()| poll.poll(&mut events, Some(Duration::ZERO))) {
            Ok(()) if events.iter().any(mio::event::Event::is_priority) => Attempt::Done,
            Ok(()) => Attempt::Wait("nothing urgent has been told".into()),
            Err(error) => Attempt::Failed(error.to_string()),
        }
    }

    fn failed(&self, failure: Failure) -> Attempt {
        let error = match self.connection().take_error() {
            Ok(Some(error)) => error,
            Ok(None) => return Attempt::Wait("the connection has not failed".into()),
            Err(error) => return Err(error).into(),
        };
        let found = match error.kind() {
            ErrorKind::ConnectionRefused => Failure::Refused,
            // The kernel says EPIPE where the peer had closed before it reset.
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Failure::Reset,
            ErrorKind::TimedOut => Failure::TimedOut,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Failure::Unreachable,
            _ => return Attempt::Failed(error.to_string()),
        };
        if found == failure { Attempt::Done } else { Attempt::Failed(error.to_string()) }
    }
}

impl Drop for Linux {
    /// Nothing of a script goes on behind it.
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            let _ = stream.set_linger(Some(Duration::ZERO));
        }
    }
}

/// Kernels that play at once. They mostly wait.
const WORKERS: usize = 16;
/// How often a script is played until it counts as failed.
const ATTEMPTS: usize = 4;
/// How late an answer, or the kernel's view of it, may be on a busy machine.
const PATIENCE: Duration = Duration::from_millis(300);
/// Scripts that must run on the kernel.
const LEAST: usize = 40;
const FIRST_PEER_PORT: u16 = 40_000;
const FIRST_HOST_PORT: u16 = 5_000;
