//! The ladder as a drawing: SVG that stands alone, in light, dark and on paper.
//!
//! Time runs downwards, arrows slant as they take their way, and a late one goes to where it arrives, so that crossing segments cross. The state of each
//! end is a bar along its line of life. Colours come from the style sheet by class. Called by [`super::page`] and by `ringway ladder --svg`. Pure;
//! cannot panic.

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
    let drawn: Vec<Drawing> = exchanges.iter().map(|exchange| Drawing::of(exchange, look)).collect();
    let height = drawn.iter().map(|drawing| drawing.height).fold(0.0, f64::max);
    let width = WIDTH * drawn.len().max(1) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\
         <style>{COLOURS}{STYLE}</style><rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>"
    );
    for (nth, drawing) in drawn.iter().enumerate() {
        let _ = write!(svg, "<g transform=\"translate({} 0)\">{}</g>", WIDTH * nth as f64, drawing.svg);
    }
    svg.push_str("</svg>\n");
    svg
}

/// An element for a page that has [`COLOURS`] and [`STYLE`] in its head.
pub(super) fn element(exchange: &Exchange, look: Look) -> String {
    let Drawing { svg, height } = Drawing::of(exchange, look);
    format!("<svg class=\"ladder\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">{svg}</svg>")
}

/// A ladder in work.
struct Drawing {
    svg: String,
    height: f64,
}

/// Where the steps are drawn.
struct Layout {
    /// The upper edge of each row.
    rows: Vec<(Row, f64)>,
    /// The row of each step, by its upper edge; `None` in a folded run.
    steps: Vec<Option<f64>>,
    bottom: f64,
}

impl Drawing {
    fn of(exchange: &Exchange, look: Look) -> Self {
        let layout = Layout::of(exchange, look.fold);
        let labels = Labels::new(exchange, look.numbers);
        let mut drawing = Self { svg: String::new(), height: layout.bottom + BOTTOM };
        let title = format!("{} between {} and {}", exchange.transport.name(), exchange.ends[0], exchange.ends[1]);
        let _ = write!(drawing.svg, "<title>{}</title>", escape(&title));
        drawing.heading(exchange);
        for (end, x) in [(End::Left, LEFT), (End::Right, RIGHT)] {
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
                    drawing.run(run, y);
                    let last = exchange.steps[run.last].at;
                    drawing.since(y + ROW / 2.0, &format!("+{}", span(last.ns_since(before.unwrap_or(last)))));
                    before = Some(last);
                }
            }
        }
        let summary = escape(&text::summary(exchange));
        drawing.text("quiet", (LEFT + RIGHT) / 2.0, layout.bottom + 22.0, "middle", &summary);
        drawing
    }

    fn heading(&mut self, exchange: &Exchange) {
        for (end, x) in exchange.ends.iter().zip([LEFT, RIGHT]) {
            let name = end.to_string();
            // A long address goes over the edge of the drawing unless it is made narrower.
            let narrow = if name.len() > 22 {
                format!(" textLength=\"{:.0}\" lengthAdjust=\"spacingAndGlyphs\"", 2.0 * (WIDTH - RIGHT) - 24.0)
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
                changes.push((y + if leaves { LEAVES } else { ARRIVES }, step.states[index]));
            }
        }
        let ends = changes.iter().skip(1).map(|(y, _)| *y).chain([layout.bottom]).collect::<Vec<_>>();
        for ((y, state), until) in changes.into_iter().zip(ends) {
            let Some(state) = state else { continue };
            let (bar, name, anchor) = match end {
                End::Left => (LEFT - BAR, LEFT - BAR - 6.0, "end"),
                End::Right => (RIGHT, RIGHT + BAR + 6.0, "start"),
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
        self.since(y + LEAVES + 4.0, &since);
        match &step.what {
            // Its arrow has come from where it was sent.
            What::Arrival { .. } => {}
            // The time says it.
            What::TwoMsl => {}
            What::Note(text) => {
                let (x, anchor) = if step.from == End::Left { (LEFT + 8.0, "start") } else { (RIGHT - 8.0, "end") };
                self.text("quiet", x, y + LEAVES + 4.0, anchor, &escape(text));
            }
            _ => self.arrow(exchange, layout, labels, (at, step), y),
        }
    }

    /// An arrow with its label above, and what there is to say about it below.
    fn arrow(&mut self, exchange: &Exchange, layout: &Layout, labels: &Labels, (at, step): (usize, &Step), y: f64) {
        let class = arrow_class(step);
        let (from, to) = if step.from == End::Left { (LEFT, RIGHT) } else { (RIGHT, LEFT) };
        let arrives = |step: &Step| matches!(step.what, What::Arrival { of } if of == at);
        let mut behind = exchange.steps.iter().zip(&layout.steps).skip(at).take(if step.fate == Fate::Late { NEAR } else { 0 });
        let late = behind.find(|(step, _)| arrives(step)).and_then(|(_, y)| *y);
        let (start, end) = (y + LEAVES, late.unwrap_or(y) + ARRIVES);
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
        let slope = (ARRIVES - LEAVES) / (RIGHT - LEFT) * if step.from == End::Left { 1.0 } else { -1.0 };
        let (x, at_y, anchor) = match (step.fate, step.from) {
            (Fate::Late, End::Left) => (LEFT + 14.0, start, "start"),
            (Fate::Late, End::Right) => (RIGHT - 14.0, start, "end"),
            _ => ((LEFT + RIGHT) / 2.0, y + (LEAVES + ARRIVES) / 2.0, "middle"),
        };
        let turn = format!("translate({x} {at_y:.1}) rotate({:.2})", slope.atan().to_degrees());
        let (kind, numbers) = (escape(&labels.kind(step)), escape(&labels.numbers(step)));
        let gap = if numbers.is_empty() { "" } else { " " };
        let lift = if step.fate == Fate::Lost { -8 } else { -5 };
        let _ = write!(
            self.svg,
            "<text class=\"label\" text-anchor=\"{anchor}\" y=\"{lift}\" transform=\"{turn}\"><tspan class=\"flags {class}\">{kind}</tspan>{gap}{numbers}</text>"
        );
        let notes = labels.notes(step);
        if !notes.is_empty() {
            let _ = write!(
                self.svg,
                "<text class=\"note\" text-anchor=\"{anchor}\" y=\"13\" transform=\"{turn}\">{}</text>",
                escape(&notes)
            );
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

    fn run(&mut self, run: Run, y: f64) {
        let text = run.text("→", "←");
        let (x, width, height) = (LEFT + 14.0, RIGHT - LEFT - 28.0, ROW - 14.0);
        let _ = write!(
            self.svg,
            "<rect class=\"run\" x=\"{x}\" y=\"{:.1}\" width=\"{width}\" height=\"{height}\" rx=\"5\"/>",
            y + 7.0
        );
        self.text("quiet", (LEFT + RIGHT) / 2.0, y + ROW / 2.0 + 4.0, "middle", &escape(&text));
    }

    fn since(&mut self, y: f64, text: &str) {
        self.text("quiet", 58.0, y, "end", text);
    }

    /// Text that is markup already.
    fn text(&mut self, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
        let _ = write!(self.svg, "<text class=\"{class}\" x=\"{x}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
    }
}

impl Layout {
    fn of(exchange: &Exchange, fold: Fold) -> Self {
        let mut steps = vec![None; exchange.steps.len()];
        let mut y = TOP + 16.0;
        let mut rows = Vec::new();
        for row in fold::rows(exchange, fold) {
            rows.push((row, y));
            if let Row::Step(at) = row {
                steps[at] = Some(y);
            }
            let has_notes = matches!(row, Row::Step(at) if !exchange.steps[at].marks.is_empty());
            y += if has_notes { ROW + 8.0 } else { ROW };
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

const WIDTH: f64 = 590.0;
/// The lines of life.
const LEFT: f64 = 164.0;
const RIGHT: f64 = 484.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 36.0;
/// A row, and where in it an arrow leaves and arrives.
const ROW: f64 = 38.0;
const LEAVES: f64 = 12.0;
const ARRIVES: f64 = 26.0;
/// The bar of a state.
const BAR: f64 = 7.0;
/// How many steps behind a segment its late arrival is looked for.
const NEAR: usize = 256;

/// The colours, light and dark, of Okabe and Ito where they tell things apart.
pub(super) const COLOURS: &str = "
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#57606a;--line:#b9c1c9;--faint:#eef1f4;--there:#0072b2;--back:#00734f;--mark:#b35900;--bad:#b3261e;--opening:#0072b2;--open:#009e73;--closing:#cc79a7;--waits:#e69f00;--shut:#9aa4ae}
@media (prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e6e9ec;--soft:#9aa4ae;--line:#4b545d;--faint:#22272c;--there:#56b4e9;--back:#3ecf9f;--mark:#f0a030;--bad:#ff8a80}}
@media print{:root{--paper:#fff;--ink:#000;--soft:#444;--line:#999;--faint:#eee;--there:#00507d;--back:#00573c;--mark:#8a4500;--bad:#8c1d16}}
";

/// What the classes of a drawing look like.
pub(super) const STYLE: &str = "
text{font:12px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:var(--ink)}
.paper{fill:var(--paper)}.end{font-weight:700;font-size:13px}.quiet{fill:var(--soft)}
.life{stroke:var(--line);stroke-width:1.5}
.arrow{stroke-width:1.6;fill:none}.arrow.there{stroke:var(--there)}.arrow.back{stroke:var(--back)}.arrow.marked{stroke:var(--mark)}.arrow.lost{stroke:var(--bad)}
.head.there{fill:var(--there)}.head.back{fill:var(--back)}.head.marked{fill:var(--mark)}.head.lost{fill:var(--bad)}
.label{font-size:11px;paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}.flags{font-weight:700}
.flags.there{fill:var(--there)}.flags.back{fill:var(--back)}.flags.marked{fill:var(--mark)}.flags.lost{fill:var(--bad)}
.note{font-size:10.5px;fill:var(--mark);paint-order:stroke;stroke:var(--paper);stroke-width:3px}
.run{fill:var(--faint);stroke:var(--line);stroke-dasharray:3 3}
.state{font-size:11.5px;font-weight:600}
.bar.opening{fill:var(--opening)}.bar.open{fill:var(--open)}.bar.closing{fill:var(--closing)}.bar.waits{fill:var(--waits)}.bar.shut{fill:var(--shut)}
.state.shut{fill:var(--soft);font-weight:400}
";
