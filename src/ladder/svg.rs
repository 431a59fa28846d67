//! The ladder as a drawing: SVG that stands alone, in light, dark and on paper.
//!
//! Time runs downwards, arrows slant as they take their way, and a late one goes to where it arrives, so that crossing segments cross. The state of each
//! end is a bar along its line of life. Colours come from the style sheet by class. A page has each ladder twice and shows the one that its reader has room
//! for: a phone the narrow one, whose times and numbers stand at the arrows. Called by [`super::page`], [`super::section`] and `ringway ladder --svg`.
//! Pure; cannot panic.

use std::fmt::Write as _;

use super::exchange::Exchange;
use super::fold::{self, Fold, Row, Run};
use super::label::{Labels, Numbers, span};
use super::step::{End, Fate, Step, What};
use super::text;
use crate::metrics::plot::escape;
use crate::tcp::State;
use crate::time::Instant;

/// How it is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Sequence numbers.
    pub numbers: Numbers,
    /// Runs of data.
    pub fold: Fold,
}

/// A file of its own, with exchanges beside each other.
pub fn file(exchanges: &[&Exchange], look: Look) -> String {
    let drawn: Vec<Drawing> = exchanges.iter().map(|exchange| Drawing::of(exchange, look, &BROAD)).collect();
    let height = drawn.iter().map(|drawing| drawing.height).fold(0.0, f64::max);
    let width = BROAD.width * drawn.len().max(1) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"ladder\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\
         <style>{PAPER}{COLOURS}{STYLE}</style><rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>"
    );
    for (nth, drawing) in drawn.iter().enumerate() {
        let _ = write!(svg, "<g transform=\"translate({} 0)\">{}</g>", BROAD.width * nth as f64, drawing.svg);
    }
    svg.push_str("</svg>\n");
    svg
}

/// The two drawings of a page that has [`COLOURS`], [`STYLE`] and the colours of its paper in its head; one of them shows.
pub(super) fn element(exchange: &Exchange, look: Look) -> String {
    let drawn = [("broad", &BROAD), ("narrow", &NARROW)].map(|(class, measures)| {
        let (Drawing { svg, height, .. }, width) = (Drawing::of(exchange, look, measures), measures.width);
        format!("<svg class=\"ladder {class}\" viewBox=\"0 0 {width} {height}\" role=\"img\">{svg}</svg>")
    });
    drawn.concat()
}

/// Where things stand in a drawing.
#[derive(Debug)]
struct Measures {
    width: f64,
    /// The lines of life.
    left: f64,
    right: f64,
    /// A row, and where in it an arrow leaves and arrives.
    row: f64,
    leaves: f64,
    arrives: f64,
    /// What a note below an arrow takes more.
    note: f64,
    /// Times have a column, which ends there, and numbers stand behind their flags; else both are at the arrow: times behind the flags, and
    /// numbers below.
    times: Option<f64>,
}

const BROAD: Measures =
    Measures { width: 590.0, left: 164.0, right: 484.0, row: 38.0, leaves: 12.0, arrives: 26.0, note: 8.0, times: Some(58.0) };
const NARROW: Measures =
    Measures { width: 380.0, left: 90.0, right: 290.0, row: 46.0, leaves: 16.0, arrives: 28.0, note: 12.0, times: None };

impl Measures {
    fn middle(&self) -> f64 {
        f64::midpoint(self.left, self.right)
    }

    /// Where an end's line of life stands.
    const fn line(&self, end: End) -> f64 {
        match end {
            End::Left => self.left,
            End::Right => self.right,
        }
    }

    /// Just inside of it, and how a text there is anchored.
    const fn beside(&self, end: End, gap: f64) -> (f64, &'static str) {
        match end {
            End::Left => (self.left + gap, "start"),
            End::Right => (self.right - gap, "end"),
        }
    }
}

/// A ladder in work.
struct Drawing<'a> {
    svg: String,
    height: f64,
    measures: &'a Measures,
}

/// Where the steps are drawn.
struct Layout {
    /// The upper edge of each row.
    rows: Vec<(Row, f64)>,
    /// The row of each step, by its upper edge; `None` in a folded run.
    steps: Vec<Option<f64>>,
    bottom: f64,
}

impl<'a> Drawing<'a> {
    fn of(exchange: &Exchange, look: Look, measures: &'a Measures) -> Self {
        let layout = Layout::of(exchange, look.fold, measures);
        let labels = Labels::new(exchange, look.numbers);
        let mut drawing = Self { svg: String::new(), height: layout.bottom + BOTTOM, measures };
        let title = format!("{} between {} and {}", exchange.transport.name(), exchange.ends[0], exchange.ends[1]);
        let _ = write!(drawing.svg, "<title>{}</title>", escape(&title));
        drawing.heading(exchange);
        for end in End::BOTH {
            let x = measures.line(end);
            let _ = write!(drawing.svg, "<line class=\"life\" x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{:.1}\"/>", layout.bottom);
            drawing.states(exchange, &layout, end);
        }
        let mut before: Option<Instant> = None;
        for &(row, y) in &layout.rows {
            match row {
                Row::Step(at) => {
                    drawing.step(exchange, &layout, &labels, at, y, before);
                    before = Some(exchange.steps[at].at);
                }
                Row::Run(run) => {
                    let last = exchange.steps[run.last].at;
                    drawing.run(run, y, &format!("+{}", span(last.ns_since(before.unwrap_or(last)))));
                    before = Some(last);
                }
            }
        }
        let summary = escape(&text::summary(exchange));
        drawing.text("quiet", measures.middle(), layout.bottom + 22.0, "middle", &summary);
        drawing
    }

    fn heading(&mut self, exchange: &Exchange) {
        for (end, x) in exchange.ends.iter().zip(End::BOTH.map(|end| self.measures.line(end))) {
            let name = end.to_string();
            // A long address goes over the edge of the drawing unless it is made narrower.
            let room = 2.0 * (self.measures.width - self.measures.right) - 24.0;
            let narrow = if name.len() as f64 * LETTER > room {
                format!(" textLength=\"{room:.0}\" lengthAdjust=\"spacingAndGlyphs\"")
            } else {
                String::new()
            };
            let _ = write!(
                self.svg,
                "<text class=\"end\" x=\"{x}\" y=\"22\" text-anchor=\"middle\"{narrow}>{}</text>",
                escape(&name)
            );
        }
    }

    /// The bars of an end, from each change to the next.
    fn states(&mut self, exchange: &Exchange, layout: &Layout, end: End) {
        let index = end.index();
        let mut changes = vec![(TOP, exchange.begin[index])];
        for (step, y) in exchange.steps.iter().zip(&layout.steps) {
            if let Some(y) = y.filter(|_| changes.last().is_some_and(|(_, state)| *state != step.states[index])) {
                // The sender's changes as the arrow leaves, the receiver's as it arrives.
                let leaves = if step.is_sent() { step.from == end } else { !matches!(step.what, What::Arrival { .. }) };
                changes.push((y + if leaves { self.measures.leaves } else { self.measures.arrives }, step.states[index]));
            }
        }
        let ends = changes.iter().skip(1).map(|(y, _)| *y).chain([layout.bottom]).collect::<Vec<_>>();
        for ((y, state), until) in changes.into_iter().zip(ends) {
            let Some(state) = state else { continue };
            let x = self.measures.line(end);
            let (bar, name, anchor) = match end {
                End::Left => (x - BAR, x - BAR - 4.0, "end"),
                End::Right => (x, x + BAR + 4.0, "start"),
            };
            let class = class(state);
            let height = (until - y).max(2.0);
            let _ =
                write!(self.svg, "<rect class=\"bar {class}\" x=\"{bar}\" y=\"{y:.1}\" width=\"{BAR}\" height=\"{height:.1}\"/>");
            self.text(&format!("state {class}"), name, y + 11.0, anchor, state.name());
        }
    }

    fn step(&mut self, exchange: &Exchange, layout: &Layout, labels: &Labels, at: usize, y: f64, before: Option<Instant>) {
        let step = &exchange.steps[at];
        let since = match (&step.what, before) {
            (What::TwoMsl, _) => "2 MSL".to_owned(),
            (_, None) => "0".to_owned(),
            (_, Some(before)) => format!("+{}", span(step.at.ns_since(before))),
        };
        let has_column = self.measures.times.is_some();
        let line = y + self.measures.leaves + 4.0;
        if let Some(x) = self.measures.times {
            self.text("quiet", x, line, "end", &since);
        }
        match &step.what {
            // Its arrow has come from where it was sent, and the time says the rest.
            What::Arrival { .. } | What::TwoMsl if has_column => {}
            What::Arrival { .. } => {
                let (x, anchor) = self.measures.beside(step.from.other(), 6.0);
                self.text("quiet", x, line, anchor, &since);
            }
            What::TwoMsl => self.text("quiet", self.measures.middle(), line, "middle", &since),
            What::Note(text) => {
                let (x, anchor) = self.measures.beside(step.from, 8.0);
                let text = if has_column { escape(text) } else { format!("{} {since}", escape(text)) };
                self.text("quiet", x, line, anchor, &text);
            }
            _ => self.arrow(exchange, layout, labels, (at, step), (y, &since)),
        }
    }

    /// An arrow with its label above, and what there is to say about it below.
    fn arrow(
        &mut self,
        exchange: &Exchange,
        layout: &Layout,
        labels: &Labels,
        (at, step): (usize, &Step),
        (y, since): (f64, &str),
    ) {
        let class = arrow_class(step);
        let Measures { leaves, arrives, times, .. } = *self.measures;
        let (from, to) = (self.measures.line(step.from), self.measures.line(step.from.other()));
        let is_arrival = |step: &Step| matches!(step.what, What::Arrival { of } if of == at);
        let mut behind = exchange.steps.iter().zip(&layout.steps).skip(at).take(if step.fate == Fate::Late { NEAR } else { 0 });
        let late = behind.find(|(step, _)| is_arrival(step)).and_then(|(_, y)| *y);
        let (start, end) = (y + leaves, late.unwrap_or(y) + arrives);
        let (to_x, to_y) = match step.fate {
            Fate::Lost => (from + (to - from) * 0.62, start + (end - start) * 0.62),
            _ => (to, end),
        };
        let _ =
            write!(self.svg, "<line class=\"arrow {class}\" x1=\"{from}\" y1=\"{start:.1}\" x2=\"{to_x:.1}\" y2=\"{to_y:.1}\"/>");
        if step.fate == Fate::Lost {
            let (left, right, up, down) = (to_x - 5.0, to_x + 5.0, to_y - 5.0, to_y + 5.0);
            let _ = write!(
                self.svg,
                "<path class=\"arrow {class}\" d=\"M{left:.1} {up:.1}L{right:.1} {down:.1}M{left:.1} {down:.1}L{right:.1} {up:.1}\"/>"
            );
        } else {
            self.head((from, start), (to_x, to_y), class);
        }
        // The label goes along the arrow of a row; that of a late one stands where it leaves, away from what it crosses.
        let slope = (arrives - leaves) / (to - from);
        let (x, at_y, anchor) = match step.fate {
            Fate::Late => {
                let (x, anchor) = self.measures.beside(step.from, 14.0);
                (x, start, anchor)
            }
            _ => (self.measures.middle(), y + f64::midpoint(leaves, arrives), "middle"),
        };
        let turn = format!("translate({x} {at_y:.1}) rotate({:.2})", slope.atan().to_degrees());
        let (kind, numbers) = (escape(&labels.kind(step)), escape(&labels.numbers(step)));
        let lift = if step.fate == Fate::Lost { -8 } else { -5 };
        let mut line = |class: &str, y: i32, text: &str| {
            let place = format!("text-anchor=\"{anchor}\" y=\"{y}\" transform=\"{turn}\"");
            let _ = write!(self.svg, "<text class=\"{class}\" {place}>{text}</text>");
        };
        let flags = format!("<tspan class=\"flags {class}\">{kind}</tspan>");
        let below = if times.is_some() {
            line("label", lift, format!("{flags} {numbers}").trim_end());
            13
        } else {
            line("label", lift, &format!("{flags} <tspan class=\"quiet\">{since}</tspan>"));
            line("label numbers", 12, &numbers);
            23
        };
        let notes = labels.notes(step);
        if !notes.is_empty() {
            line("note", below, &escape(&notes));
        }
    }

    /// The head of an arrow: a triangle, so that no marker has to be named in a page of many drawings.
    fn head(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        let (dx, dy) = (x2 - x1, y2 - y1);
        let length = dx.hypot(dy).max(1.0);
        let (ux, uy) = (dx / length, dy / length);
        let (bx, by) = (x2 - 9.0 * ux, y2 - 9.0 * uy);
        let _ = write!(
            self.svg,
            "<path class=\"head {class}\" d=\"M{x2:.1} {y2:.1}L{:.1} {:.1}L{:.1} {:.1}Z\"/>",
            bx - 4.0 * uy,
            by + 4.0 * ux,
            bx + 4.0 * uy,
            by - 4.0 * ux
        );
    }

    fn run(&mut self, run: Run, y: f64, since: &str) {
        let text = run.text("→", "←");
        let Measures { left, right, row, times, .. } = *self.measures;
        let (x, width, height) = (left + 14.0, right - left - 28.0, row - 14.0);
        let _ = write!(
            self.svg,
            "<rect class=\"run\" x=\"{x}\" y=\"{:.1}\" width=\"{width}\" height=\"{height}\" rx=\"5\"/>",
            y + 7.0
        );
        let line = y + row / 2.0 + if times.is_some() { 4.0 } else { -2.0 };
        self.text("quiet", self.measures.middle(), line, "middle", &escape(&text));
        match times {
            Some(x) => self.text("quiet", x, y + row / 2.0, "end", since),
            None => self.text("quiet", self.measures.middle(), line + 14.0, "middle", since),
        }
    }

    /// Text that is markup already.
    fn text(&mut self, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
        let _ = write!(self.svg, "<text class=\"{class}\" x=\"{x}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
    }
}

impl Layout {
    fn of(exchange: &Exchange, fold: Fold, measures: &Measures) -> Self {
        let mut steps = vec![None; exchange.steps.len()];
        let mut y = TOP + 16.0;
        let mut rows = Vec::new();
        for row in fold::rows(exchange, fold) {
            rows.push((row, y));
            if let Row::Step(at) = row {
                steps[at] = Some(y);
            }
            let has_notes = matches!(row, Row::Step(at) if !exchange.steps[at].marks.is_empty());
            y += measures.row + if has_notes { measures.note } else { 0.0 };
        }
        Self { rows, steps, bottom: y + 10.0 }
    }
}

fn arrow_class(step: &Step) -> &'static str {
    match (step.fate, step.from) {
        (Fate::Lost, _) => "lost",
        _ if step.is_refusal() => "lost",
        _ if !step.marks.is_empty() => "marked",
        (_, End::Left) => "there",
        (_, End::Right) => "back",
    }
}

const fn class(state: State) -> &'static str {
    match state {
        State::Established => "open",
        State::Closed | State::Listen => "shut",
        State::SynSent | State::SynReceived => "opening",
        State::TimeWait => "waits",
        _ => "closing",
    }
}

const TOP: f64 = 34.0;
const BOTTOM: f64 = 36.0;
/// The bar of a state.
const BAR: f64 = 7.0;
/// The width of a letter of an address.
const LETTER: f64 = 8.2;
/// How many steps behind a segment its late arrival is looked for.
const NEAR: usize = 256;

/// The colours of the paper and what is written on it, of a page of ladders alone; a report has its own of the same names.
pub(super) const PAPER: &str = "
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#57606a;--line:#b9c1c9;--faint:#eef1f4}
@media (prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e6e9ec;--soft:#9aa4ae;--line:#4b545d;--faint:#22272c}}
@media print{:root{--paper:#fff;--ink:#000;--soft:#444;--line:#999;--faint:#eee}}
";

/// The colours of a ladder, light and dark, of Okabe and Ito where they tell things apart.
pub(super) const COLOURS: &str = "
:root{--life:#b9c1c9;--there:#0072b2;--back:#00734f;--mark:#b35900;--bad:#b3261e;--opening:#0072b2;--open:#009e73;--closing:#cc79a7;--waits:#e69f00;--shut:#9aa4ae}
@media (prefers-color-scheme:dark){:root{--life:#4b545d;--there:#56b4e9;--back:#3ecf9f;--mark:#f0a030;--bad:#ff8a80}}
@media print{:root{--life:#999;--there:#00507d;--back:#00573c;--mark:#8a4500;--bad:#8c1d16}}
";

/// What the classes of a drawing look like. Each rule is a ladder's alone: a report has curves and labels of its own.
pub(super) const STYLE: &str = "
.ladder.broad{display:block;width:100%;min-width:460px;height:auto}.ladder.narrow{display:none;width:100%;height:auto}
@media screen and (max-width:600px){.ladder.broad{display:none}.ladder.narrow{display:block}}
.ladder text{font:12px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:var(--ink)}
.ladder .paper{fill:var(--paper)}.ladder .end{font-weight:700;font-size:13px}.ladder .quiet{fill:var(--soft)}
.ladder .life{stroke:var(--life);stroke-width:1.5}
.ladder .arrow{stroke-width:1.6;fill:none}.ladder .arrow.there{stroke:var(--there)}.ladder .arrow.back{stroke:var(--back)}
.ladder .arrow.marked{stroke:var(--mark)}.ladder .arrow.lost{stroke:var(--bad)}
.ladder .head.there{fill:var(--there)}.ladder .head.back{fill:var(--back)}.ladder .head.marked{fill:var(--mark)}.ladder .head.lost{fill:var(--bad)}
.ladder .label{font-size:11px;font-weight:400;paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}.ladder .flags{font-weight:700}
.ladder .flags.there{fill:var(--there)}.ladder .flags.back{fill:var(--back)}.ladder .flags.marked{fill:var(--mark)}.ladder .flags.lost{fill:var(--bad)}
.ladder .note{font-size:10.5px;fill:var(--mark);paint-order:stroke;stroke:var(--paper);stroke-width:3px}
.ladder .run{fill:var(--faint);stroke:var(--life);stroke-dasharray:3 3}
.ladder .state{font-size:11.5px;font-weight:600}
.ladder .bar.opening{fill:var(--opening)}.ladder .bar.open{fill:var(--open)}.ladder .bar.closing{fill:var(--closing)}.ladder .bar.waits{fill:var(--waits)}.ladder .bar.shut{fill:var(--shut)}
.ladder .state.shut{fill:var(--soft);font-weight:400}
.ladder.narrow .end{font-size:12px}.ladder.narrow .state{font-size:10.5px}.ladder.narrow .numbers{font-size:10.5px}
";
