//! A simulator: two engines over a network that loses, doubles, delays, reorders, corrupts and clogs, all from one seed.
//!
//! It judges the code that ships: whole engines, frame by frame, with clocks turned by hand. The [`scenario`] says what the ends do, the
//! [`weather`] what the network does, and the [`oracle`] what must hold all the same. Each seed is one run; the same seed is the same run.
//!
//! ```text
//! scripts/sim.sh --seeds 100000     runs many, and prints how often what happened
//! scripts/sim.sh --seed 4711        replays one, with every segment
//! ```
//!
//! [`planted`] bugs show that the oracle can see. In tests only; nothing here is part of the library, knows the time of day or draws on any
//! chance but the seed. A run returns what was wrong, panics included; only the test panics.

mod attack;
mod dice;
mod events;
mod frames;
mod host;
mod network;
mod oracle;
pub(crate) mod planted;
mod run;
mod scenario;
mod service;
mod smoltcp;
mod weather;

use events::{Events, GATED_SEEDS};
use planted::Bug;
use run::Run;

/// Runs the seeds from `from` on, on some threads, and returns the counts. The first failure ends the test.
fn run_seeds(from: u64, count: u64, threads: u64) -> Events {
    let share = |thread: u64| {
        let mut events = Events::default();
        for seed in (from + thread..from + count).step_by(threads as usize) {
            match Run::of(seed).go() {
                Ok(run) => events.add_run(&run),
                Err(what) => return Err((seed, what)),
            }
        }
        Ok(events)
    };
    let shares: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || share(thread))).collect();
        running.into_iter().map(|thread| thread.join().expect("a run returns its panics")).collect()
    });
    let failed = shares.iter().filter_map(|share| share.as_ref().err()).min();
    if let Some((seed, what)) = failed {
        panic!("SEED={seed}\n{what}\nreplay it with: scripts/sim.sh --seed {seed}\n");
    }
    let mut events = Events::default();
    shares.iter().flatten().for_each(|run| events.add_run(run));
    events
}

/// A number in the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// The seeds of test.sh; or, for sim.sh, those of RINGWAY_SIM_FROM and RINGWAY_SIM_SEEDS on RINGWAY_SIM_THREADS threads, or
/// RINGWAY_SIM_SEED alone with a trace.
#[test]
fn whatever_the_network_does_streams_stay_whole() {
    if let Some(seed) = setting("RINGWAY_SIM_SEED") {
        match (Run { trace: true, ..Run::of(seed) }).go() {
            Ok(events) => println!("{}", events.table()),
            Err(what) => panic!("SEED={seed}\n{what}"),
        }
        return;
    }
    let seeds = setting("RINGWAY_SIM_SEEDS").unwrap_or(GATED_SEEDS);
    let events = run_seeds(setting("RINGWAY_SIM_FROM").unwrap_or(0), seeds, setting("RINGWAY_SIM_THREADS").unwrap_or(1).max(1));
    println!("{}", events.table());
    if seeds >= GATED_SEEDS {
        assert_eq!(events.rare(), Vec::<&str>::new(), "these occurred too seldom");
    }
}

/// A seed is one run: everything that is counted is the same the second time.
#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        let tables = [0, 1].map(|_| Run::of(seed).go().map(|events| events.table()));
        assert_eq!(tables[0], tables[1], "seed {seed}");
    }
}

/// The oracle sees: each planted bug is caught by some seed.
#[test]
fn every_planted_bug_is_caught() {
    for &bug in Bug::ALL {
        let caught =
            (0..GATED_SEEDS).find_map(|seed| Run { bug: Some(bug), ..Run::of(seed) }.go().err().map(|what| (seed, what)));
        match caught {
            Some((seed, what)) => println!("{bug:?} is caught by seed {seed}: {what}"),
            None => panic!("{bug:?} is not caught by {GATED_SEEDS} seeds"),
        }
    }
}
