//! What is left out of a long ladder: runs of data and their acknowledgments, in which nothing else happens.
//!
//! A run is folded into one row that counts it; its first and last step stay. Called by the drawings. Pure; cannot panic.

use super::exchange::Exchange;
use super::step::{End, Fate, Mark, Step};
use crate::metrics::units;
use crate::wire::tcp::Flags;

/// Whether runs are folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fold {
    /// When there are more steps than anybody reads.
    #[default]
    Auto,
    /// Whatever the length.
    Always,
    /// Every step is drawn.
    Never,
}

/// A row of a drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// The step of this place.
    Step(usize),
    /// Several.
    Run(Run),
}

/// Steps that are drawn as one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The place of the first.
    pub first: usize,
    /// The place of the last.
    pub last: usize,
    /// How many each end sent.
    pub segments: [usize; 2],
    /// Bytes of data in them.
    pub bytes: [u64; 2],
}

/// The rows of an exchange.
pub fn rows(exchange: &Exchange, fold: Fold) -> Vec<Row> {
    let steps = &exchange.steps;
    let folds = match fold {
        Fold::Auto => steps.len() > STEPS,
        Fold::Always => true,
        Fold::Never => false,
    };
    if !folds {
        return (0..steps.len()).map(Row::Step).collect();
    }
    let mut rows = Vec::new();
    let mut at = 0;
    while at < steps.len() {
        let run = (at..steps.len()).take_while(|&step| is_plain(steps, step)).count();
        // The first and the last stay, so that what is left out has a begin and an end.
        if run >= RUN + 2 {
            rows.push(Row::Step(at));
            rows.push(Row::Run(count(steps, at + 1, at + run - 2)));
            at += run - 1;
        } else {
            rows.extend((at..at + run).map(Row::Step));
            at += run;
            if run > 0 {
                continue;
            }
        }
        rows.push(Row::Step(at));
        at += 1;
    }
    rows
}

/// True when nothing happens but that data or an acknowledgment goes its way.
fn is_plain(steps: &[Step], at: usize) -> bool {
    let Some(step) = steps.get(at) else { return false };
    let Some(before) = at.checked_sub(1).and_then(|before| steps.get(before)) else { return false };
    let is_dull = |mark: &Mark| matches!(mark, Mark::DuplicateAck(nth) if *nth > 3);
    let ends = [Flags::SYN, Flags::FIN, Flags::RST];
    let segment = step.as_segment().is_some_and(|segment| !ends.iter().any(|flag| segment.has(*flag)));
    let datagram = matches!(step.what, super::What::Datagram { .. });
    (segment || datagram) && step.states == before.states && step.fate == Fate::Arrives && step.marks.iter().all(is_dull)
}

impl Run {
    /// What went either way, in words, with these arrows.
    pub(super) fn text(&self, there: &str, back: &str) -> String {
        let way = |end: End| {
            let (count, bytes) = (self.segments[end.index()], self.bytes[end.index()]);
            let what =
                if bytes > 0 { format!("{}B in {count}", units::count(bytes as f64)) } else { format!("{count} without data") };
            (count > 0).then_some(what)
        };
        let parts = [way(End::Left).map(|what| format!("{what} {there}")), way(End::Right).map(|what| format!("{back} {what}"))];
        parts.into_iter().flatten().collect::<Vec<_>>().join("   ")
    }
}

fn count(steps: &[Step], first: usize, last: usize) -> Run {
    let mut run = Run { first, last, segments: [0; 2], bytes: [0; 2] };
    for step in &steps[first..=last] {
        run.segments[step.from.index()] += 1;
        run.bytes[step.from.index()] += u64::from(step.bytes());
    }
    run
}

/// Steps up to which nothing is folded unless it is asked for.
const STEPS: usize = 60;
/// The shortest run that is worth a row of its own.
const RUN: usize = 3;
