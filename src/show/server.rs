//! The control socket: who connects asks one question and reads the answer.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::reload::{Reload, ReloadRequest};
use super::request::{Request, What};
use super::rows::{Event, Refused};
use super::socket;
use super::walk::{Step, Walk};
use crate::beside::{self, Place};
use crate::engine::Inquirer;
use crate::error::SetupError;
use crate::limits;
use crate::rights::CapabilitySet;

/// The thread that answers. Dropped, it ends and its socket goes.
#[derive(Debug)]
pub struct Show {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Show {
    /// Opens the socket at `path` and answers for these engines, in the order of their numbers; `interfaces` are the names of theirs. `reload` is called when
    /// somebody asks for it.
    ///
    /// # Errors
    /// The path is in use by another process, or by something that is no socket, or cannot be written.
    pub fn start(
        path: &Path,
        cores: Vec<Inquirer>,
        interfaces: Vec<String>,
        place: Option<Place>,
        reload: Option<Reload>,
    ) -> Result<Self, SetupError> {
        let refused = |error: io::Error| {
            SetupError::environment(format!("cannot open the control socket {}", path.display()), error.to_string())
                .mend("--control PATH, or --control off")
        };
        let listener = socket::bind(path).map_err(refused)?;
        let poll = Poll::new().map_err(refused)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(refused)?);
        let stop = Arc::new(AtomicBool::new(false));
        let mut server = Server { poll, listener, clients: Vec::new(), cores, interfaces, reload, stop: Arc::clone(&stop) };
        server.poll.registry().register(&mut server.listener, LISTENER, Interest::READABLE).map_err(refused)?;
        let thread = beside::spawn("ringway-show", place, CapabilitySet::empty(), move || server.run()).map_err(refused)?;
        tracing::info!(target: "ringway::setup", path = %path.display(), "control socket");
        Ok(Self { path: path.to_owned(), stop, waker, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

struct Server {
    poll: Poll,
    listener: UnixListener,
    clients: Vec<Client>,
    cores: Vec<Inquirer>,
    interfaces: Vec<String>,
    reload: Option<Reload>,
    stop: Arc<AtomicBool>,
}

struct Client {
    token: Token,
    stream: UnixStream,
    request: Vec<u8>,
    walk: Option<Walk>,
    /// Of the answer, what the client has not taken yet.
    out: Vec<u8>,
    taken: usize,
    /// The answer is complete, but for `out`.
    complete: bool,
    /// It may be written to, as far as is known.
    writable: bool,
    /// When it last asked or took something.
    moved: Instant,
    /// Its answer goes on as long as it likes.
    streams: bool,
}

/// What becomes of a client.
#[derive(PartialEq, Eq)]
enum Then {
    /// It is to be turned to again at once.
    Again,
    /// It has to do something first.
    Wait,
    /// It is over.
    End,
}

impl Server {
    fn run(&mut self) {
        let mut events = Events::with_capacity(limits::SHOW_CLIENTS + 2);
        let mut next = FIRST_CLIENT;
        let mut busy = false;
        let mut refused = false;
        while !self.stop.load(Ordering::Relaxed) {
            let wait = match busy {
                true => Some(Duration::ZERO),
                // One that does nothing is looked at again.
                false if self.clients.iter().any(|client| client.streams) => Some(BETWEEN_FRAMES),
                false => (refused || !self.clients.is_empty()).then_some(PATIENCE / 10),
            };
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    tracing::warn!("the control socket is not served any more: {error}");
                    return;
                }
                _ => {}
            }
            for event in &events {
                if let Some(client) = self.clients.iter_mut().find(|client| client.token == event.token()) {
                    client.writable |= event.is_writable();
                }
            }
            refused = !self.accept(&mut next);
            let (cores, interfaces, reload, stop) = (&self.cores, &self.interfaces, self.reload.as_ref(), &self.stop);
            busy = false;
            self.clients.retain_mut(|client| {
                if stop.load(Ordering::Relaxed) {
                    return false;
                }
                let mut then = client.go_on(cores, interfaces, reload);
                if client.moved.elapsed() >= PATIENCE {
                    then = Then::End;
                }
                // Where one has gone another may take its place.
                busy |= then != Then::Wait;
                then != Then::End
            });
        }
    }

    /// Takes those who connect, as long as there is room: the others wait in the socket's own queue. False when somebody waits whom the kernel does not let in now.
    fn accept(&mut self, next: &mut usize) -> bool {
        while self.clients.len() < limits::SHOW_CLIENTS {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            };
            let token = Token(*next);
            *next = next.wrapping_add(1).max(FIRST_CLIENT);
            if self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE).is_ok() {
                let (request, out) = (Vec::new(), Vec::new());
                self.clients.push(Client {
                    token,
                    stream,
                    request,
                    walk: None,
                    out,
                    taken: 0,
                    complete: false,
                    writable: true,
                    moved: Instant::now(),
                    streams: false,
                });
            }
        }
        true
    }
}

impl Client {
    /// Reads the request, makes a piece of the answer, writes what it takes.
    fn go_on(&mut self, cores: &[Inquirer], interfaces: &[String], reload: Option<&Reload>) -> Then {
        if self.walk.is_none() && !self.complete {
            match self.read_request(reload) {
                Ok(true) => {}
                Ok(false) => return Then::Wait,
                Err(_) => return Then::End,
            }
        }
        if self.taken == self.out.len() && !self.complete {
            self.out.clear();
            self.taken = 0;
            if let Some(walk) = &mut self.walk {
                let step = walk.step(cores, interfaces, &mut self.out);
                self.complete = step == Step::Done;
                if step == Step::Later {
                    // It may wait for as long as it likes.
                    self.moved = Instant::now();
                }
                if self.streams && !self.complete && has_said_enough(&self.stream) && !walk.end() {
                    return Then::End;
                }
                if step == Step::Later {
                    return Then::Wait;
                }
            }
        }
        while let Some(rest) = self.out.get(self.taken..).filter(|rest| !rest.is_empty()) {
            if !self.writable {
                return Then::Wait;
            }
            match self.stream.write(rest) {
                Ok(0) => return Then::End,
                Ok(count) => {
                    self.taken += count;
                    self.moved = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Then::End,
            }
        }
        if self.complete { Then::End } else { Then::Again }
    }

    /// True once the request is there, or is refused.
    fn read_request(&mut self, reload: Option<&Reload>) -> io::Result<bool> {
        let mut room = [0; 512];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.request.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if let Some(end) = self.request.iter().position(|&byte| byte == b'\n') {
                self.take_request(end, reload);
                return Ok(true);
            }
            if self.request.len() > limits::SHOW_REQUEST {
                self.refuse("cannot read the request", "it is longer than any".to_owned());
                return Ok(true);
            }
        }
    }

    fn take_request(&mut self, end: usize, reload: Option<&Reload>) {
        if let Ok(ReloadRequest { reload: true }) = serde_json::from_slice(&self.request[..end]) {
            match reload {
                Some(Reload(read_again)) => self.out = read_again(),
                None => self.refuse("cannot read a configuration again", "the process was started without --config".to_owned()),
            }
            self.complete = true;
            return;
        }
        match serde_json::from_slice::<Request>(&self.request[..end]) {
            Err(error) => self.refuse("cannot read the request", error.to_string()),
            Ok(request) => match request.unknown_state() {
                Some(name) => self.refuse("cannot read the request", format!("there is no state '{name}'")),
                None => {
                    self.streams = request.show == What::Frames;
                    self.walk = Some(Walk::new(request));
                }
            },
        }
    }

    fn refuse(&mut self, what: &str, why: String) {
        Event::write("error", Refused { what, why }, &mut self.out);
        self.complete = true;
    }
}

/// True once the client has closed its sending side, or said what nobody asked for.
fn has_said_enough(mut stream: &UnixStream) -> bool {
    let waits = |error: &io::Error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
    !stream.read(&mut [0; 16]).is_err_and(|error| waits(&error))
}

/// How long a client may take nothing of its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether something was captured: well before the buffers are full at a hundred thousand frames a second.
const BETWEEN_FRAMES: Duration = Duration::from_millis(5);
const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
const FIRST_CLIENT: usize = 2;
