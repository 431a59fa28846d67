//! The workers of a launch: one thread for each engine, started, watched over and stopped together.
//!
//! Called by [`super::Running`]. Each engine runs on a thread of its own, kept on its core, without rights and with a filter of system calls if one is
//! wanted, while the calling thread waits for them: so a worker can give up everything, and who ends the run has what that needs. When one ends, for whatever
//! reason, all end: asked in order when its service asked for it or it could not go on, at once when it panicked. What the launch took is given back only after
//! the last of them, so no packet meets a queue that is gone, and no program stays behind; only the queues of one that failed go with it.

use std::any::Any;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::confined::Filters;
use crate::beside::Place;
use crate::cpu;
use crate::engine::{Engine, Report, Stop};
use crate::error::SetupError;
use crate::rights::{self, CapabilitySet};
use crate::service::Service;
use crate::xsk::XskQueue;

/// An engine and the core it is to run on.
pub(super) struct Worker<S: Service> {
    pub(super) engine: Engine<XskQueue, S>,
    /// `None` leaves that to the kernel.
    pub(super) core: Option<u32>,
    /// The system calls it may make; `None` is all.
    pub(super) filters: Option<Arc<Filters>>,
}

/// What the thread that waits for several workers is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wake {
    /// One of them has ended.
    Ended,
    /// Reports are wanted so often from now on; the workers know.
    Every(Duration),
}

/// What a worker came to.
pub(super) struct Ended<S> {
    pub(super) report: Report,
    pub(super) service: S,
}

/// What a worker's thread does.
fn run_one<S: Service>(
    worker: Worker<S>,
    every: Duration,
    watch: impl FnMut(&Report),
) -> Result<(Engine<XskQueue, S>, Report), SetupError> {
    let Worker { mut engine, core, filters } = worker;
    if let Some(core) = core {
        cpu::pin(core as usize)?;
    }
    rights::keep_only(CapabilitySet::empty())?;
    if let Some(filters) = filters {
        filters.apply()?;
    }
    let report = engine.run_watched(every, watch);
    let report = report.map_err(|error| SetupError::environment("the engine cannot go on", error.to_string()))?;
    Ok((engine, report))
}

/// Runs all workers until they end, away from the calling thread's `place`; every so often `watch` sees the report of all of them together so far.
pub(super) fn run<S: Service + Send>(
    workers: Vec<Worker<S>>,
    place: Option<Place>,
    (waking, wakes): (Sender<Wake>, Receiver<Wake>),
    mut every: Duration,
    mut watch: impl FnMut(&Report),
) -> Result<Vec<Ended<S>>, SetupError> {
    let shown: Vec<Mutex<Shown>> = workers.iter().map(|_| Mutex::new((0, None))).collect();
    let stop = workers.first().map(|worker| worker.engine.stop());
    thread::scope(|scope| {
        let mut threads = Vec::new();
        let mut refused = None;
        for (number, (worker, shown)) in workers.into_iter().zip(&shown).enumerate() {
            let guard = Guard { stop: worker.engine.stop(), waking: waking.clone() };
            let run = move || {
                // Dropped last, also when the worker panics.
                let _guard = guard;
                run_one(worker, every, |report| {
                    // Made, and the last one dropped, where nobody waits for the lock.
                    let mut report = Some(Arc::new(report.clone()));
                    let mut shown = lock(shown);
                    shown.0 += 1;
                    std::mem::swap(&mut shown.1, &mut report);
                    drop(shown);
                })
            };
            match thread::Builder::new().name(format!("ringway-{number}")).spawn_scoped(scope, run) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    refused = Some(SetupError::environment("cannot start a worker", error.to_string()));
                    if let Some(stop) = &stop {
                        stop.ask();
                    }
                    break;
                }
            }
        }
        if let Some(place) = &place {
            // The set-up of one worker ran on its core, for the sake of its memory.
            place.take();
        }
        let mut running = threads.len();
        let mut next = Instant::now().checked_add(every);
        let mut intervals = 0;
        while running > 0 {
            let wait = next.map_or(Duration::MAX, |next| next.saturating_duration_since(Instant::now()));
            match wakes.recv_timeout(wait) {
                // The others were asked to end, too.
                Ok(Wake::Ended) => running -= 1,
                Ok(Wake::Every(new)) => {
                    every = new;
                    next = Instant::now().checked_add(every);
                    // Each has begun to count its new intervals from what it had told before.
                    intervals = shown.iter().map(|shown| lock(shown).0).min().unwrap_or(0);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    next = next.and_then(|next| next.checked_add(every));
                    intervals += 1;
                    wait_for(&shown, intervals);
                    let reports: Vec<Arc<Report>> = shown.iter().filter_map(|shown| lock(shown).1.clone()).collect();
                    let reports: Vec<Report> = reports.iter().map(|report| Report::clone(report)).collect();
                    if let Some(all) = Report::of_all(&reports) {
                        watch(&all);
                    }
                }
            }
        }
        let results = threads.into_iter().enumerate().map(|(number, thread)| {
            thread
                .join()
                .unwrap_or_else(|panic| Err(SetupError::failed(format!("worker {number} has panicked"), message(&*panic))))
        });
        // All are joined before the first failure is told.
        let results: Vec<_> = results.collect();
        let ended = results.into_iter().collect::<Result<Vec<_>, _>>()?;
        refused.map_or_else(|| Ok(account(ended)), Err)
    })
}

/// How many intervals a worker has told of, and the report of the last: both sides hold the lock for a pointer, since a worker must not wait.
type Shown = (u64, Option<Arc<Report>>);

/// Waits until each worker has told of an interval: one that sleeps tells up to a tenth of a second late.
fn wait_for(shown: &[Mutex<Shown>], interval: u64) {
    let until = Instant::now() + LATE;
    while Instant::now() < until && shown.iter().any(|shown| lock(shown).0 < interval) {
        thread::sleep(LATE / 50);
    }
}

const LATE: Duration = Duration::from_millis(250);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the last have left for those that had ended before is taken back, and counted.
fn account<S: Service>(ended: Vec<(Engine<XskQueue, S>, Report)>) -> Vec<Ended<S>> {
    let (mut engines, reports): (Vec<_>, Vec<_>) = ended.into_iter().unzip();
    Engine::send_handed_home(&mut engines);
    let last = engines.into_iter().zip(reports).map(|(mut engine, report)| {
        let Report { wall_ns, cpu_ns, .. } = report;
        Ended { report: Report { wall_ns, cpu_ns, ..engine.report() }, service: engine.into_service() }
    });
    last.collect()
}

/// Ends all workers when one ends.
struct Guard {
    stop: Stop,
    waking: Sender<Wake>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            // Whatever it shares with the others may be half done: they end their connections at once.
            self.stop.ask();
            self.stop.ask();
        } else {
            self.stop.ask_once();
        }
        let _ = self.waking.send(Wake::Ended);
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it did not say why").to_owned()
}
