//! The ladder on a terminal.
//!
//! ```text
//!  since        state ┌ 10.0.0.1:40000                 10.0.0.2:7 ┐ state
//!              CLOSED │                                           │ LISTEN
//!       0    SYN-SENT │─ SYN seq=0 win=65535 mss=1460 ───────────▶│ SYN-RECEIVED
//! +10.0ms ESTABLISHED │◀─ SYN ACK seq=0 ack=1 win=65535 mss=1460 ─│
//! ```
//!
//! A row is a step: the time since the row before, the state of each end where it changes, and an arrow with what went along it. What there is to say
//! about a segment stands below its arrow. Every line is at most as wide as the terminal, and in characters that take one column each. Called
//! by `ringway ladder`. Pure; cannot panic.

use super::exchange::Exchange;
use super::fold::{self, Fold, Row, Run};
use super::label::{Labels, Numbers, span};
use super::step::{End, Fate, Mark, Step, What};
use crate::metrics::units;
use crate::tcp::State;

/// How it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns of the terminal; no fewer than [`WIDTH_MIN`] are used.
    pub width: usize,
    /// Colours, as escape sequences.
    pub colour: bool,
    /// Sequence numbers.
    pub numbers: Numbers,
    /// Runs of data.
    pub fold: Fold,
}

impl Default for Look {
    fn default() -> Self {
        Self { width: 80, colour: false, numbers: Numbers::Relative, fold: Fold::Auto }
    }
}

/// The most columns that one of two ladders takes: a longer arrow is hard to follow.
const WIDTH: usize = 100;
/// The fewest columns in which a ladder can be read.
pub const WIDTH_MIN: usize = 72;

/// Draws an exchange: lines, each with its end.
pub fn render(exchange: &Exchange, look: &Look) -> String {
    written(&lines(exchange, look, STATE), look.colour)
}

/// Draws two exchanges beside each other where the terminal is wide enough for both, or else one below the other.
pub fn render_beside(left: &Exchange, right: &Exchange, look: &Look) -> String {
    let narrow = WIDTH_MIN - 2 * STATE;
    let Some(first) = look.width.checked_sub(narrow + BETWEEN).filter(|&width| width >= WIDTH_MIN).map(|width| width.min(WIDTH))
    else {
        return format!("{}\n{}", render(left, look), render(right, look));
    };
    let second = (look.width - first - BETWEEN).min(WIDTH);
    let (left, right) =
        (lines(left, &Look { width: first, ..*look }, STATE), lines(right, &Look { width: second, ..*look }, columns(right)));
    let blank = || Line::default();
    let rows = (0..left.len().max(right.len())).map(|row| {
        let mut line = left.get(row).cloned().unwrap_or_else(blank);
        if let Some(beside) = right.get(row) {
            line.fill(first + BETWEEN);
            line.0.extend(beside.0.iter().cloned());
        }
        line
    });
    written(&rows.collect::<Vec<_>>(), look.colour)
}

/// The columns that the states of an exchange take.
fn columns(exchange: &Exchange) -> usize {
    if exchange.begin == [None, None] { 0 } else { STATE }
}

fn lines(exchange: &Exchange, look: &Look, state: usize) -> Vec<Line> {
    let zone = look.width.max(WIDTH_MIN - 2 * (STATE - state)) - TIME - 2 * state - 5;
    let mut drawing = Drawing { exchange, labels: Labels::new(exchange, look.numbers), state, zone, lines: Vec::new() };
    drawing.heading();
    let mut before = Before { at: None, states: exchange.begin };
    for row in fold::rows(exchange, look.fold) {
        match row {
            Row::Step(at) => drawing.step(&exchange.steps[at], &mut before),
            Row::Run(run) => drawing.run(run, &mut before),
        }
    }
    drawing.ending();
    drawing.lines
}

/// What the row before showed.
struct Before {
    at: Option<crate::time::Instant>,
    states: [Option<State>; 2],
}

/// A ladder in work.
struct Drawing<'a> {
    exchange: &'a Exchange,
    labels: Labels,
    /// Columns of a state.
    state: usize,
    /// Columns between the two lines of life.
    zone: usize,
    lines: Vec<Line>,
}

impl Drawing<'_> {
    fn heading(&mut self) {
        let [left, right] = self.exchange.ends.map(|end| end.to_string());
        let states = if self.exchange.begin == [None, None] { "" } else { "state" };
        let apart = self.zone.saturating_sub(left.chars().count() + right.chars().count() + 2);
        let mut line = Line::default();
        line.add(Tone::Quiet, format!("{:>TIME$} {states:>width$} ", "since", width = self.state));
        if apart > 0 {
            line.add(Tone::Plain, format!("┌ {left}{}{right} ┐", " ".repeat(apart)));
        } else {
            // Two long addresses take a line each.
            let indent = line.width();
            line.add(Tone::Plain, format!("┌ {}┐", fit(&left, self.zone - 1)));
            self.lines.push(line);
            line = Line::default();
            line.fill(indent);
            line.add(Tone::Plain, format!("│{:>width$} │", cut(&right, self.zone - 1), width = self.zone - 1));
        }
        line.add(Tone::Quiet, format!(" {states}"));
        self.lines.push(line);
        if self.exchange.begin != [None, None] {
            let blank = " ".repeat(self.zone);
            self.row("", self.exchange.begin, vec![(Tone::Plain, blank)]);
        }
    }

    fn step(&mut self, step: &Step, before: &mut Before) {
        let since = match (&step.what, before.at) {
            (What::TwoMsl, _) => "2 MSL".to_owned(),
            (_, Some(at)) => format!("+{}", span(step.at.ns_since(at))),
            (_, None) => "0".to_owned(),
        };
        let changed =
            End::BOTH.map(|end| step.states[end.index()].filter(|_| step.states[end.index()] != before.states[end.index()]));
        let (kind, numbers) = (self.labels.kind(step), self.labels.numbers(step));
        let label = if numbers.is_empty() { kind.into_owned() } else { format!("{kind} {numbers}") };
        match &step.what {
            What::TwoMsl => self.row(&since, changed, vec![(Tone::Plain, " ".repeat(self.zone))]),
            What::Note(_) => {
                let text = cut(&label, self.zone - 2);
                let text = match step.from {
                    End::Left => format!(" {}", fit(&text, self.zone - 1)),
                    End::Right => format!("{text:>width$} ", width = self.zone - 1),
                };
                self.row(&since, changed, vec![(Tone::Quiet, text)]);
            }
            What::Arrival { of } => {
                let name = self.exchange.steps.get(*of).map(|sent| self.labels.kind(sent).into_owned()).unwrap_or_default();
                let arrow = arrow(&format!("{name} arrives"), step.from, Shaft::Dotted, self.zone);
                self.row(&since, changed, vec![(Tone::Plain, arrow)]);
            }
            _ => {
                let tone = tone(step);
                let shaft = if step.fate == Fate::Arrives { Shaft::Whole } else { Shaft::Broken(step.fate) };
                if label.chars().count() + LABEL_ROOM > self.zone {
                    // It stands above its arrow, in as many lines as it takes.
                    for text in wrap(&label, self.zone - 1) {
                        let text = match step.from {
                            End::Left => format!(" {}", fit(&text, self.zone - 1)),
                            End::Right => format!("{text:>width$} ", width = self.zone - 1),
                        };
                        self.row("", [None; 2], vec![(tone, text)]);
                    }
                    self.row(&since, changed, vec![(tone, arrow("", step.from, shaft, self.zone))]);
                } else {
                    self.row(&since, changed, vec![(tone, arrow(&label, step.from, shaft, self.zone))]);
                }
                self.notes(step);
            }
        }
        *before = Before { at: Some(step.at), states: step.states };
    }

    /// What there is to say about a step, below it.
    fn notes(&mut self, step: &Step) {
        let notes = self.labels.notes(step);
        for line in wrap(&notes, self.zone - 4) {
            let text = match step.from {
                End::Left => format!("   {}", fit(&line, self.zone - 3)),
                End::Right => format!("{line:>width$}   ", width = self.zone - 3),
            };
            self.row("", [None; 2], vec![(Tone::Note, text)]);
        }
    }

    fn run(&mut self, run: Run, before: &mut Before) {
        let steps = &self.exchange.steps;
        let (Some(first), Some(last)) = (steps.get(run.first), steps.get(run.last)) else { return };
        let text = run.text("▶", "◀");
        let text = format!("┆{:^width$}┆", cut(&text, self.zone - 2), width = self.zone - 2);
        let start = before.at.unwrap_or(first.at);
        self.row(&format!("+{}", span(last.at.ns_since(start))), [None; 2], vec![(Tone::Quiet, text)]);
        *before = Before { at: Some(last.at), states: last.states };
    }

    fn ending(&mut self) {
        let text = cut(&summary(self.exchange), self.zone - 2);
        let mut line = Line::default();
        line.fill(TIME + self.state + 2);
        line.add(Tone::Plain, format!("└ {}┘", fit(&text, self.zone - 1)));
        self.lines.push(line);
    }

    /// A line: the time, the states that are given, and between them what fills the zone.
    fn row(&mut self, since: &str, states: [Option<State>; 2], zone: Vec<(Tone, String)>) {
        let [left, right] = states.map(|state| state.map_or("", State::name));
        let mut line = Line::default();
        line.add(Tone::Quiet, format!("{since:>TIME$} "));
        line.add(state_tone(states[0]), format!("{left:>width$}", width = self.state));
        line.add(Tone::Plain, " │".to_owned());
        line.0.extend(zone);
        line.add(Tone::Plain, "│".to_owned());
        if !right.is_empty() {
            line.add(state_tone(states[1]), format!(" {right}"));
        }
        self.lines.push(line);
    }
}

/// One line about the whole: `9 segments, 5B ▶, ◀ 5B, 40.0ms`.
pub fn summary(exchange: &Exchange) -> String {
    let sent = exchange.steps.iter().filter(|step| step.is_sent());
    let (mut count, mut bytes, mut again) = (0_usize, [0_u64; 2], 0_usize);
    for step in sent {
        count += 1;
        again += usize::from(step.marks.iter().any(|mark| matches!(mark, Mark::Retransmission | Mark::FastRetransmission)));
        bytes[step.from.index()] += u64::from(step.bytes());
    }
    let on_wire = || exchange.steps.iter().filter(|step| step.is_sent() || matches!(step.what, What::Arrival { .. }));
    let took = on_wire().next_back().zip(on_wire().next()).map_or(0, |(last, first)| last.at.ns_since(first.at));
    let noun = match (exchange.transport, count) {
        (super::Transport::Tcp, 1) => "segment",
        (super::Transport::Tcp, _) => "segments",
        (super::Transport::Udp, 1) => "packet",
        (super::Transport::Udp, _) => "packets",
    };
    let mut text = format!("{count} {noun}");
    if bytes[0] > 0 {
        text += &format!(", {}B ▶", units::count(bytes[0] as f64));
    }
    if bytes[1] > 0 {
        text += &format!(", ◀ {}B", units::count(bytes[1] as f64));
    }
    if again > 0 {
        text += &format!(", {again} again");
    }
    text + ", " + &span(took)
}

/// How an arrow is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shaft {
    Whole,
    /// It does not reach the other side, in this row or ever.
    Broken(Fate),
    Dotted,
}

/// An arrow as wide as the zone, its label near the end it comes from.
fn arrow(label: &str, from: End, shaft: Shaft, zone: usize) -> String {
    let stroke = if shaft == Shaft::Dotted { "┄" } else { "─" };
    let label = match from {
        _ if label.is_empty() => stroke.to_owned(),
        End::Left => format!("{stroke} {label} "),
        End::Right => format!(" {label} {stroke}"),
    };
    let rest = zone.saturating_sub(label.chars().count() + 1);
    // A broken one stops half way.
    let (shown, head) = match (shaft, from) {
        (Shaft::Broken(Fate::Lost), _) => (rest / 2, "✗"),
        (Shaft::Broken(_), _) => (rest / 2, "┄"),
        (_, End::Left) => (rest, "▶"),
        (_, End::Right) => (rest, "◀"),
    };
    let (line, gap) = (stroke.repeat(shown), " ".repeat(rest - shown));
    match from {
        End::Left => format!("{label}{line}{head}{gap}"),
        End::Right => format!("{gap}{head}{line}{label}"),
    }
}

fn tone(step: &Step) -> Tone {
    match step.fate {
        Fate::Lost => Tone::Bad,
        _ if step.is_refusal() => Tone::Bad,
        _ if step.marks.is_empty() => Tone::Plain,
        _ => Tone::Note,
    }
}

fn state_tone(state: Option<State>) -> Tone {
    match state {
        Some(State::Established) => Tone::Open,
        None | Some(State::Closed | State::Listen) => Tone::Quiet,
        Some(State::SynSent | State::SynReceived) => Tone::Opening,
        Some(_) => Tone::Closing,
    }
}

/// The colours of a terminal, by what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Plain,
    Quiet,
    Note,
    Bad,
    Opening,
    Open,
    Closing,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Quiet => "2",
            Self::Note => "33",
            Self::Bad => "31",
            Self::Opening => "36",
            Self::Open => "32",
            Self::Closing => "35",
        }
    }
}

/// A line of a drawing, in pieces of one colour.
#[derive(Clone, Debug, Default)]
struct Line(Vec<(Tone, String)>);

impl Line {
    fn add(&mut self, tone: Tone, text: String) {
        self.0.push((tone, text));
    }

    fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// Blanks up to a column.
    fn fill(&mut self, width: usize) {
        let blanks = width.saturating_sub(self.width());
        self.add(Tone::Plain, " ".repeat(blanks));
    }
}

fn written(lines: &[Line], colour: bool) -> String {
    let mut text = String::new();
    for line in lines {
        let begin = text.len();
        for (tone, piece) in &line.0 {
            match tone.code() {
                code if colour && !code.is_empty() && !piece.trim().is_empty() => {
                    text += &format!("\x1b[{code}m{piece}\x1b[0m");
                }
                _ => text += piece,
            }
        }
        text.truncate(begin + text[begin..].trim_end().len());
        text.push('\n');
    }
    text
}

/// A text cut to so many characters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        text.to_owned()
    } else {
        text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
    }
}

/// A text cut or filled to so many characters.
fn fit(text: &str, width: usize) -> String {
    format!("{:<width$}", cut(text, width))
}

/// Words in lines of at most so many characters. Nothing for an empty text.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= width) {
            Some(line) => *line += &format!(" {word}"),
            None => lines.push(cut(word, width)),
        }
    }
    lines
}

/// Columns of the time, and of a state.
const TIME: usize = 8;
const STATE: usize = 12;
/// Columns of an arrow around its label.
const LABEL_ROOM: usize = 5;
/// Columns between two ladders.
const BETWEEN: usize = 4;
