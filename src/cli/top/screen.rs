//! The terminal: pictures to it, keys from it.
//!
//! The process is asked by a thread of its own, so that a key is never waited for; this one sleeps until a key or a tenth of a second has come. However it ends,
//! the terminal is as it was: after an error, after a signal, after a panic. A terminal that has gone away ends it, too.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use ringway::ladder::Exchange;
use ringway::launch::Signals;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::args::TopArgs;
use super::ask::Asker;
use super::sample::Sample;
use super::state::{State, Wish};
use super::view;
use crate::cli::failure::Failure;
use crate::cli::output;

/// What the asking thread tells.
enum News {
    Sample(Box<Sample>),
    /// The records of the flow with these ends.
    Ladder(Ends, Result<Vec<Exchange>, String>),
    /// There will be no more.
    Gone(Failure),
}

/// The local and the remote end of a flow.
type Ends = (SocketAddr, SocketAddr);

/// Shows samples until somebody wishes it to end, or the process has ended.
pub(super) fn run(args: &TopArgs, asker: Asker, first: Sample, signals: &Signals) -> Result<(), Failure> {
    let refused = |error: io::Error| Failure::run("cannot use the terminal", error);
    let mut state = State::new(args, asker.name.clone(), first);
    let mut asking = Asking::begin(asker, args.interval).map_err(refused)?;
    let mut screen = Screen::open().map_err(refused)?;
    let (columns, rows) = screen.size().map_err(refused)?;
    state.resize(columns, rows);
    let mut is_new = true;
    while !signals.asked() {
        if is_new {
            screen.draw(&state).map_err(refused)?;
        }
        if !terminal_waits(LOOK_EVERY).map_err(refused)? {
            return Err(Failure::run("cannot use the terminal", "it has gone"));
        }
        is_new = false;
        while event::poll(Duration::ZERO).map_err(refused)? {
            is_new = true;
            match event::read().map_err(refused)? {
                Event::Key(key) => match state.key(key) {
                    Wish::Quit => return asking.end(),
                    wish => asking.wish(wish, &mut state),
                },
                Event::Resize(columns, rows) => state.resize(columns, rows),
                _ => {}
            }
        }
        is_new |= asking.hear(&mut state);
        let is_over = args.count.is_some_and(|count| asking.samples >= count || asking.gone.is_some());
        if is_over {
            break;
        }
    }
    asking.end()
}

/// This end of the thread that asks.
struct Asking {
    wishes: Sender<Wish>,
    news: Receiver<News>,
    /// Samples that have come.
    samples: u64,
    /// Why there are no more.
    gone: Option<Failure>,
}

impl Asking {
    fn begin(asker: Asker, every: Duration) -> io::Result<Self> {
        let (wishes, to_do) = mpsc::channel();
        let (tell, news) = mpsc::channel();
        thread::Builder::new().name("ringway-top".to_owned()).spawn(move || ask(asker, every, &to_do, &tell))?;
        Ok(Self { wishes, news, samples: 0, gone: None })
    }

    /// Passes a wish on.
    fn wish(&self, wish: Wish, state: &mut State) {
        match wish {
            Wish::Nothing => return,
            Wish::Every(every) => state.every = every,
            Wish::Quit | Wish::Pause(_) | Wish::Ladder { .. } => {}
        }
        let columns = state.columns();
        if self.wishes.send(wish).is_err()
            && let Some(pane) = &mut state.ladder
        {
            pane.take(Err("the process has ended".to_owned()), columns);
        }
    }

    /// Takes what has been told meanwhile. True when there was something.
    fn hear(&mut self, state: &mut State) -> bool {
        let mut heard = false;
        while self.gone.is_none() {
            match self.news.try_recv() {
                Ok(News::Sample(sample)) => {
                    state.take(*sample);
                    self.samples += 1;
                }
                Ok(News::Ladder(ends, found)) => {
                    let columns = state.columns();
                    // Another one may have been wished for since.
                    if let Some(pane) = state.ladder.as_mut().filter(|pane| (pane.local, pane.remote) == ends) {
                        pane.take(found, columns);
                    }
                }
                Ok(News::Gone(failure)) => self.gone = Some(failure),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.gone = Some(Failure::run("cannot look any longer", "the thread that asks has ended"));
                }
            }
            state.gone = self.gone.as_ref().map(|failure| failure.why().to_owned());
            let columns = state.columns();
            if let (Some(why), Some(pane)) = (&state.gone, state.ladder.as_mut().filter(|pane| pane.waits)) {
                pane.take(Err(why.clone()), columns);
            }
            heard = true;
        }
        heard
    }

    /// How it has ended.
    fn end(self) -> Result<(), Failure> {
        self.gone.map_or(Ok(()), Err)
    }
}

/// Asks at intervals and when it is wished, until nobody listens or nobody answers.
fn ask(mut asker: Asker, mut every: Duration, wishes: &Receiver<Wish>, tell: &Sender<News>) {
    let mut next = Instant::now() + every;
    let mut paused = false;
    loop {
        let wait = if paused { UNTIL_WISHED } else { next.saturating_duration_since(Instant::now()) };
        let told = match wishes.recv_timeout(wait) {
            Ok(Wish::Every(span)) => {
                (every, next) = (span, Instant::now() + span);
                continue;
            }
            Ok(Wish::Pause(on)) => {
                (paused, next) = (on, Instant::now());
                continue;
            }
            Ok(Wish::Ladder { local, remote }) => {
                let found = asker.ladder(local, remote).map_err(|failure| failure.why().to_owned());
                tell.send(News::Ladder((local, remote), found))
            }
            Ok(Wish::Nothing | Wish::Quit) => continue,
            Err(RecvTimeoutError::Timeout) if paused => continue,
            Err(RecvTimeoutError::Timeout) => {
                // What was late is not made up for.
                next = (next + every).max(Instant::now());
                match asker.sample() {
                    Ok(sample) => tell.send(News::Sample(Box::new(sample))),
                    Err(failure) => {
                        let _ = tell.send(News::Gone(failure));
                        return;
                    }
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if told.is_err() {
            return;
        }
    }
}

/// Waits for a key at most so long. False when the terminal has gone: reading from it would never end.
fn terminal_waits(most: Duration) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut descriptors = [PollFd::new(&stdin, PollFlags::IN)];
    let most = Timespec { tv_sec: 0, tv_nsec: most.subsec_nanos().into() };
    match rustix::event::poll(&mut descriptors, Some(&most)) {
        // A signal, or another size.
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(!descriptors[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)),
    }
}

/// The terminal, taken until this is dropped.
struct Screen {
    terminal: DefaultTerminal,
    colour: bool,
}

impl Screen {
    fn open() -> io::Result<Self> {
        let opened = ratatui::try_init();
        if opened.is_err() {
            ratatui::restore();
        }
        Ok(Self { terminal: opened?, colour: output::colour(true) })
    }

    fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }

    fn draw(&mut self, state: &State) -> io::Result<()> {
        self.terminal.draw(|frame| view::draw(frame, state, self.colour)).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Of a terminal that has gone nothing can be said to anybody.
        let _ = ratatui::try_restore();
    }
}

/// How long keys are waited for before it is looked whether there is anything else.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a pause lasts unless somebody ends it; then it lasts on.
const UNTIL_WISHED: Duration = Duration::from_secs(3600);
