//! The terminal: pictures to it, keys from it.
//!
//! The process is asked by a thread of its own, so that a key is never waited for; this one sleeps until a key or a tenth of a second has come. However it ends,
//! the terminal is as it was: after an error, after a signal, after a panic. A terminal that has gone away ends it, too.

use std::io;
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
    Ladder(Result<Vec<Exchange>, String>),
    /// There will be no more.
    Gone(Failure),
}

/// Shows samples until somebody wishes it to end, or the process has ended.
pub(super) fn run(args: &TopArgs, asker: Asker, first: Sample, signals: &Signals) -> Result<(), Failure> {
    let mut state = State::new(args, asker.name.clone(), first);
    let (wishes, to_do) = mpsc::channel();
    let (tell, news) = mpsc::channel();
    let every = args.interval;
    let refused = |error: io::Error| Failure::run("cannot use the terminal", error);
    thread::Builder::new().name("ringway-top".to_owned()).spawn(move || ask(asker, every, &to_do, &tell)).map_err(refused)?;
    let mut screen = Screen::open().map_err(refused)?;
    let mut left = args.count;
    let mut gone = None;
    let (columns, rows) = screen.size().map_err(refused)?;
    state.resize(columns, rows);
    let mut is_new = true;
    while !signals.asked() {
        if is_new {
            screen.draw(&state).map_err(refused)?;
        }
        is_new = false;
        if !terminal_waits(LOOK_EVERY).map_err(refused)? {
            return Err(Failure::run("cannot use the terminal", "it has gone"));
        }
        while event::poll(Duration::ZERO).map_err(refused)? {
            is_new = true;
            let wish = match event::read().map_err(refused)? {
                Event::Key(key) => state.key(key),
                Event::Resize(columns, rows) => {
                    state.resize(columns, rows);
                    Wish::Nothing
                }
                _ => Wish::Nothing,
            };
            match wish {
                Wish::Quit => return gone.map_or(Ok(()), Err),
                Wish::Nothing => continue,
                Wish::Every(every) => state.every = every,
                Wish::Pause(_) | Wish::Ladder { .. } => {}
            }
            // Where nobody listens any more, that has been said.
            let _ = wishes.send(wish);
        }
        loop {
            match news.try_recv() {
                Ok(News::Sample(sample)) => {
                    state.take(*sample);
                    left = left.map(|left| left.saturating_sub(1));
                }
                Ok(News::Ladder(found)) => {
                    let columns = state.columns();
                    if let Some(pane) = &mut state.ladder {
                        pane.take(found, columns);
                    }
                }
                Ok(News::Gone(failure)) => {
                    state.gone = Some(failure.why().to_owned());
                    gone = Some(failure);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) if gone.is_some() => break,
                Err(TryRecvError::Disconnected) => {
                    return Err(Failure::run("cannot look any longer", "the thread that asks has ended"));
                }
            }
            is_new = true;
        }
        if left == Some(0) {
            break;
        }
        if gone.is_some() && args.count.is_some() {
            break;
        }
    }
    gone.map_or(Ok(()), Err)
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
                tell.send(News::Ladder(asker.ladder(local, remote).map_err(|failure| failure.why().to_owned())))
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
