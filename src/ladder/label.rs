//! The words and numbers of a step, for every drawing.
//!
//! Called by [`super::text`] and [`super::svg`]. Pure; cannot panic.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::exchange::{Exchange, window};
use super::step::{Segment, Step, What};
use crate::metrics::units;
use crate::tcp::seq::SeqNum;
use crate::wire::tcp::Flags;

/// Which numbers are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbers {
    /// Sequence numbers from the first of each end, which is 0.
    #[default]
    Relative,
    /// Those on the wire.
    Absolute,
}

/// Makes the labels of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Labels {
    origins: [SeqNum; 2],
    shifts: [u8; 2],
}

impl Labels {
    /// Those of an exchange.
    pub fn new(exchange: &Exchange, numbers: Numbers) -> Self {
        let origins = if numbers == Numbers::Relative { exchange.origins() } else { [SeqNum(0); 2] };
        Self { origins, shifts: exchange.shifts() }
    }

    /// What it is: the flags of a segment, the kind of anything else. Empty when there is nothing to say.
    pub fn kind(&self, step: &Step) -> Cow<'static, str> {
        match &step.what {
            What::Segment(segment) => flags(segment.flags).into(),
            What::Datagram { .. } => "datagram".into(),
            What::Icmp { what } => format!("ICMP {what}").into(),
            What::Arrival { .. } => "arrives".into(),
            What::TwoMsl => "2 MSL".into(),
            What::Note(text) => text.clone(),
        }
    }

    /// Its numbers: `seq=0 ack=1 len=5 win=65160`. Only what means something.
    pub fn numbers(&self, step: &Step) -> String {
        match &step.what {
            What::Segment(segment) => self.segment(step.from.index(), segment),
            What::Datagram { len } => format!("len={len}"),
            _ => String::new(),
        }
    }

    fn segment(&self, from: usize, segment: &Segment) -> String {
        let mut text = format!("seq={}", self.relative(segment.seq, from));
        if segment.has(Flags::ACK) {
            let _ = write!(text, " ack={}", self.relative(segment.ack, 1 - from));
        }
        if segment.len > 0 {
            let _ = write!(text, " len={}", segment.len);
        }
        // Nobody reads the window of a reset.
        if !segment.has(Flags::RST) {
            let _ = write!(text, " win={}", self.window(from, segment));
        }
        if let Some(mss) = segment.options.mss {
            let _ = write!(text, " mss={mss}");
        }
        text
    }

    /// The notes of a step: its marks, and the blocks of a SACK. Empty for most.
    pub fn notes(&self, step: &Step) -> String {
        let mut notes: Vec<Cow<'static, str>> = step.marks.iter().map(|mark| mark.words()).collect();
        if let Some(segment) = step.as_segment().filter(|segment| segment.options.sack_count > 0) {
            let other = 1 - step.from.index();
            let block = |number: SeqNum| self.relative(number, other);
            let blocks = segment.options.sack_blocks().iter().map(|it| format!("{}-{}", block(it.left), block(it.right)));
            notes.push(format!("SACK {}", blocks.collect::<Vec<_>>().join(" ")).into());
        }
        notes.join(", ")
    }

    /// A sequence number of an end as it is shown.
    pub fn relative(&self, number: SeqNum, end: usize) -> u32 {
        number - self.origins[end & 1]
    }

    /// The window that a segment of an end offers, in bytes.
    pub fn window(&self, end: usize, segment: &Segment) -> u32 {
        window(segment, self.shifts[end & 1])
    }
}

/// The names of the flags that are set, with blanks between them: `SYN ACK`. A segment without any is `-`.
pub fn flags(flags: Flags) -> String {
    flags.to_string().replace(',', " ")
}

/// A span of time in at most seven characters: `10.0ms`.
pub fn span(ns: u64) -> String {
    if ns == 0 { "0".to_owned() } else { units::duration(ns as f64).replace(' ', "") }
}
