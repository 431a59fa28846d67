//! A great many connections that come and go, and what is left of them: nothing.

use std::process::ExitCode;
use std::time::Instant;

use crate::figures::grouped;
use crate::world::World;

/// Connections that stay open meanwhile.
const STAY: usize = 65_536;
/// Connects between two lines of progress.
const STEP: usize = 1 << 20;

/// Opens and closes so many.
pub(crate) fn run(connects: usize) -> ExitCode {
    let start = Instant::now();
    let mut world = World::new(STAY);
    let at_start = world.engine.longest_probe();
    println!("{} connections stay open; the longest probe is {at_start}", grouped(STAY));
    let mut done = 0;
    while done < connects {
        let step = STEP.min((connects - done).next_multiple_of(crate::world::BURST));
        let ns = world.connects(step);
        done += step;
        let probe = world.engine.longest_probe();
        println!(
            "{:>12} connects after {:>5.1} s, {ns:.0} ns each, longest probe {probe}",
            grouped(done),
            start.elapsed().as_secs_f64()
        );
    }
    let at_end = world.engine.longest_probe();
    let held = world.engine.report();
    world.close();
    let report = world.engine.report();
    let frames: usize = report.queues.iter().map(|queue| queue.frames.outside()).sum();
    let (tcp, removed) = (report.tcp, report.counters.tcp_removed);
    println!(
        "left: {} TCBs, {} in TIME-WAIT, {} timers, {frames} frames, {} bytes of buffers; {} TCBs were removed",
        tcp.open,
        tcp.time_wait,
        report.timers,
        tcp.buffered_bytes,
        grouped(removed as usize)
    );
    println!("longest probe: {at_start} at the start, {at_end} at the end, {} when all had gone", world.engine.longest_probe());
    let nothing = tcp.open + tcp.time_wait + report.timers + frames + tcp.buffered_bytes + world.engine.longest_probe() == 0;
    if nothing && at_end == at_start && held.tcp.open == STAY && removed as usize == done + STAY {
        return ExitCode::SUCCESS;
    }
    eprintln!("scale: something is left, or missing");
    ExitCode::FAILURE
}
