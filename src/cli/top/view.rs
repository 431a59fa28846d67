//! The screen: a picture of a [`State`].
//!
//! Nothing is told by colour alone, and the colours are yellow and cyan, which everybody can tell apart. Every size of terminal has a picture, down to one of
//! nothing. Called by `screen` whenever something has changed; cannot panic.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};
use ringway::metrics::units;

use super::sample::{Sample, Timing};
use super::state::{State, View};
use super::table::{self, cut};

/// Draws everything; without `colour` in the terminal's own.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, colour: bool) {
    let paint = Paint { colour };
    let [top, body, bottom] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
    if let Some(ladder) = &state.ladder {
        let (first, lines) = (ladder.top + 1, ladder.len());
        let title = format!("ladder of {} - {}  line {first} of {lines}", ladder.local, ladder.remote);
        show(frame, top, vec![Line::styled(title, paint.heading())]);
        show(frame, body, ladder.seen(body.height.into()).map(Line::raw).collect());
        show(frame, bottom, vec![Line::styled("Esc back  arrows, PgUp, PgDn, g, G move", paint.quiet())]);
        return;
    }
    show(frame, top, vec![header(state, paint)]);
    if state.helps {
        show(frame, body, HELP.lines().map(Line::raw).collect());
    } else {
        match state.view {
            View::Overview => overview(frame, body, state, paint),
            View::Cores => show(frame, body, cores(state, body, state.scroll, paint)),
            View::Losses => losses(frame, body, state, paint),
            View::Flows => show(frame, body, flows(state, body, paint)),
        }
    }
    show(frame, bottom, vec![footer(state, paint)]);
}

/// The one place that draws: what does not fit is cut.
fn show(frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'_>>) {
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines), area);
}

/// What words look like.
#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    const fn tinted(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    const fn heading(self) -> Style {
        self.tinted(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    const fn quiet(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What somebody should look at.
    const fn alert(self) -> Style {
        self.tinted(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    const fn marked(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}

fn header(state: &State, paint: Paint) -> Line<'static> {
    let mut spans =
        vec![Span::styled("ringway top", paint.heading()), Span::raw(format!("  {}  every {}  ", state.name, state.every()))];
    if state.paused {
        spans.push(Span::styled("PAUSED  ", paint.alert()));
    }
    for view in View::ALL {
        spans.push(Span::styled(view.name(), if view == state.view { paint.marked() } else { paint.quiet() }));
        spans.push(Span::raw("  "));
    }
    Line::from(spans)
}

fn footer(state: &State, paint: Paint) -> Line<'static> {
    match (&state.input, &state.gone) {
        (Some(input), _) => Line::raw(format!("/{input}_  addresses, ports, states; Enter keeps, Esc drops it")),
        (None, Some(why)) => Line::styled(format!("ENDED: {why}  (q quits)"), paint.alert()),
        (None, None) if state.helps => Line::styled("any key goes back", paint.quiet()),
        (None, None) => Line::styled(KEYS, paint.quiet()),
    }
}

/// A bit of everything.
fn overview(frame: &mut Frame<'_>, area: Rect, state: &State, paint: Paint) {
    let workers = state.sample.cores.len() as u16;
    let all = u16::from(workers > 1);
    // On a small screen the flows are worth more than single workers.
    let (cores_rows, middle_rows) = match area.height {
        0..14 => (2, 0),
        height => (1 + all + workers.min(height / 5), MIDDLE_ROWS + (height / 30)),
    };
    let gap = u16::from(middle_rows > 0);
    let parts = [cores_rows, gap, middle_rows, gap].map(Constraint::Length);
    let [top, _, middle, _, rest] = Layout::vertical(parts.into_iter().chain([Constraint::Min(0)])).areas(area);
    show(frame, top, cores(state, top, 0, paint));
    let [left, centre, right] = columns(middle);
    show(frame, left, states(&state.sample, left, paint));
    show(frame, centre, drops(&state.sample, centre, 0, paint));
    show(frame, right, times(&state.sample, right, paint));
    show(frame, rest, flows(state, rest, paint));
}

/// States, drops and times beside each other; where there is no room for all, times and then drops.
fn columns(area: Rect) -> [Rect; 3] {
    let width = area.width;
    let times = if width >= STATES + DROPS + TIMES_WIDE { TIMES_WIDE } else { TIMES };
    let states = if width >= STATES + DROPS + times { STATES } else { 0 };
    let drops = if width >= DROPS + times { width - states - times } else { 0 };
    Layout::horizontal([Constraint::Length(states), Constraint::Length(drops), Constraint::Min(0)]).areas(area)
}

/// Times above; below them states, and all causes of drops.
fn losses(frame: &mut Frame<'_>, area: Rect, state: &State, paint: Paint) {
    let timings = state.sample.timings.len() as u16;
    let parts = [Constraint::Length(timings + 1), Constraint::Length(1), Constraint::Min(0)];
    let [top, _, rest] = Layout::vertical(parts).areas(area);
    show(frame, top, times(&state.sample, top, paint));
    let left = if area.width >= STATES + DROPS { STATES } else { 0 };
    let [left, right] = Layout::horizontal([Constraint::Length(left), Constraint::Min(0)]).areas(rest);
    show(frame, left, states(&state.sample, left, paint));
    show(frame, right, drops(&state.sample, right, state.scroll, paint));
}

/// The workers, below all of them together.
fn cores(state: &State, area: Rect, first: usize, paint: Paint) -> Vec<Line<'static>> {
    let sample = &state.sample;
    let chosen = table::fitting(&table::CORES, &[], area.width.into());
    let mut lines = vec![Line::styled(table::heading(&table::CORES, &chosen), paint.heading())];
    let alone = sample.cores.len() == 1;
    if !alone {
        let cells = table::all(sample.total.as_ref(), sample.connections, sample.resting);
        lines.push(Line::raw(table::line(&table::CORES, &chosen, &cells)));
    }
    for core in sample.cores.iter().skip(first) {
        let line = table::line(&table::CORES, &chosen, &table::core(core));
        lines.push(if core.answers { Line::raw(line) } else { Line::styled(line, paint.alert()) });
    }
    lines
}

fn states(sample: &Sample, area: Rect, paint: Paint) -> Vec<Line<'static>> {
    let count = |name: &str, count: u64| Line::raw(format!("{name:<12}{:>7}", units::count(count as f64)));
    let heading = match sample.states_age_seconds {
        age if age < STATES_OLD => "connections".to_owned(),
        age => format!("states, {age:.0}s ago"),
    };
    let mut lines = vec![Line::styled(heading, paint.heading())];
    lines.extend(sample.states.iter().map(|entry| count(entry.state, entry.connections)));
    if sample.states.is_empty() {
        lines.push(Line::raw("none"));
    }
    lines.push(count("at rest", sample.resting));
    shortened(lines, area)
}

fn drops(sample: &Sample, area: Rect, first: usize, paint: Paint) -> Vec<Line<'static>> {
    let width = usize::from(area.width).saturating_sub(2);
    let wide = width >= WITH_TOTALS;
    let room = width.saturating_sub(if wide { 16 } else { 6 });
    let line = |cause: &str, rate: &str, total: &str| {
        let total = if wide { format!("  {total:>8}") } else { String::new() };
        format!("{:<room$}{rate:>6}{total}", cut(cause, room))
    };
    let mut lines = vec![Line::styled(line("drops", "/s", "in all"), paint.heading())];
    for lost in sample.drops.iter().skip(first) {
        let text = line(&lost.cause, &table::count(lost.per_second), &units::count(lost.total as f64));
        lines.push(if lost.per_second > 0.0 { Line::styled(text, paint.alert()) } else { Line::raw(text) });
    }
    if sample.drops.is_empty() {
        lines.push(Line::raw("none"));
    }
    shortened(lines, area)
}

fn times(sample: &Sample, area: Rect, paint: Paint) -> Vec<Line<'static>> {
    let wide = area.width >= TIMES_WIDE;
    let line = |name: &str, cells: [&str; 3], count: &str| {
        let count = if wide { format!("{count:>8}") } else { String::new() };
        let [p50, p99, p999] = cells;
        format!("{name:<8}{p50:>8}{p99:>8}{p999:>8}{count}")
    };
    let mut lines = vec![Line::styled(line("times", ["p50", "p99", "p99.9"], "count"), paint.heading())];
    lines.extend(sample.timings.iter().map(|timing: &Timing| {
        let cells = table::quantiles(timing);
        Line::raw(line(table::timing_name(timing), cells.each_ref().map(String::as_str), &units::count(timing.count as f64)))
    }));
    shortened(lines, area)
}

/// As many lines as there is room for, the last of which says how many more there are.
fn shortened(mut lines: Vec<Line<'static>>, area: Rect) -> Vec<Line<'static>> {
    let rows = usize::from(area.height);
    if lines.len() > rows && rows > 1 {
        let more = lines.len() - rows + 1;
        lines.truncate(rows - 1);
        lines.push(Line::raw(format!("... {more} more")));
    }
    lines
}

fn flows(state: &State, area: Rect, paint: Paint) -> Vec<Line<'static>> {
    let sample = &state.sample;
    let rows = usize::from(area.height).saturating_sub(2);
    let first = (state.row + 1).saturating_sub(rows);
    let cells: Vec<_> = state.flows().skip(first).take(rows).map(table::flow).collect();
    let chosen = table::fitting(&table::FLOWS, &cells, area.width.into());
    let head =
        |column: &table::Column| if column.key == Some(state.sort) { column.head.to_uppercase() } else { column.head.to_owned() };
    let heads: Vec<_> = table::FLOWS.iter().map(head).collect();
    let mut lines = vec![
        Line::styled(title(state, sample), paint.heading()),
        Line::styled(table::line(&table::FLOWS, &chosen, &heads), paint.heading()),
    ];
    lines.extend(cells.iter().enumerate().map(|(nth, cells)| {
        let line = table::line(&table::FLOWS, &chosen, cells);
        let width = usize::from(area.width);
        if first + nth == state.row { Line::styled(format!("{line:<width$}"), paint.marked()) } else { Line::raw(line) }
    }));
    lines
}

/// Which of the flows are below, and of how many.
fn title(state: &State, sample: &Sample) -> String {
    let count = |count: usize| units::count(count as f64);
    let awake = sample.connections.saturating_sub(sample.resting) as usize;
    let known = sample.flows.len();
    let mut title = format!("flows by {}{}: ", state.sort.name(), if state.reversed { ", reversed" } else { "" });
    if !state.filter.is_empty() {
        title += &format!("{} with '{}' of ", count(state.flows().len()), state.filter.text());
    }
    title += &count(known);
    if known < awake {
        title += &format!(" told of {} in use", count(awake));
    }
    title + &format!(", {} at rest", count(sample.resting as usize))
}

const HELP: &str = "\
Keys
  q, Ctrl-C       quit
  Tab, 1-4        all, cores, drops and times, flows
  up, down, j, k  choose a flow; g, G, PgUp, PgDn too
  <, >, s, arrows the column that flows are sorted by (in capitals)
  r               the other way round
  /               filter: words, all of which have to fit: an address, a
                  port, a part of a state or of an end
  Esc             no filter, and the mark at the first flow
  Enter, l        the ladder of the flow: what the recorder holds of it
  p               pause, and go on
  +, -            a longer, a shorter interval

Words
  busy    turns of the loop that found work     cpu  share of a core's time
  in, out bytes that came in order, that the peer acknowledged
  retr    segments sent again    queue bytes unread or unacknowledged
  times   of the interval, bounds of buckets; srtt of the flows below, exact
  at rest nothing goes over it: it is counted, not listed";
const KEYS: &str = "q quit  ? help  Tab view  s sort  r reverse  / filter  Enter ladder  p pause";

/// Columns of the parts in the middle.
const STATES: u16 = 20;
const DROPS: u16 = 27;
const TIMES: u16 = 33;
/// With the number of values.
const TIMES_WIDE: u16 = 41;
/// Columns from which on drops are shown since the start, too.
const WITH_TOTALS: usize = 36;
/// Rows of the parts in the middle: a heading, and five times.
const MIDDLE_ROWS: u16 = 6;
/// Seconds after which it is said how old the states are.
const STATES_OLD: f64 = 2.0;

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::cli::top::tests::{press, state};

    /// The screen as text.
    fn picture(state: &State, columns: u16, rows: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(frame, state, true)).unwrap();
        let cells = terminal.backend().buffer();
        let line = |row| (0..columns).map(|column| cells[(column, row)].symbol()).collect::<String>();
        (0..rows).map(|row| line(row).trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn an_overview() {
        let state = state();
        for (columns, rows) in [(80, 24), (120, 40), (40, 10)] {
            insta::assert_snapshot!(format!("overview_{columns}x{rows}"), picture(&state, columns, rows));
        }
    }

    #[test]
    fn the_other_pages() {
        let mut state = state();
        for (key, page) in [("2", "cores"), ("3", "losses"), ("4", "flows")] {
            press(&mut state, key);
            insta::assert_snapshot!(page, picture(&state, 80, 24));
        }
        press(&mut state, "?");
        insta::assert_snapshot!("help", picture(&state, 80, 24));
    }

    #[test]
    fn what_was_chosen_is_said() {
        let mut state = state();
        press(&mut state, "prs/40 est");
        let said = picture(&state, 80, 24);
        for part in ["PAUSED", "flows by in, reversed: 0 with '40 est' of 4", " INB/S ", "/40 est_"] {
            assert!(said.contains(part), "{part}:\n{said}");
        }
        press(&mut state, "\x1bp");
        state.gone = Some("it has ended".to_owned());
        assert!(picture(&state, 80, 24).contains("ENDED: it has ended  (q quits)"));
    }

    #[test]
    fn the_marked_flow_is_always_seen() {
        let mut state = state();
        press(&mut state, "4jjj");
        let said = picture(&state, 80, 6);
        assert!(said.contains(":4004") && said.contains(":4003") && !said.contains(":4002"), "{said}");
    }

    #[test]
    fn every_size_and_page_has_a_picture() {
        let mut state = state();
        for keys in ["1", "2", "3", "4", "?", "x/some", "\x1b1l"] {
            press(&mut state, keys);
            for columns in (0..12).chain([20, 39, 52, 53, 59, 60, 79, 80, 120]) {
                for rows in (0..9).chain([13, 14, 20, 24, 40]) {
                    state.resize(columns, rows);
                    picture(&state, columns, rows);
                }
            }
        }
    }

    #[test]
    fn nothing_is_painted_without_colour() {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, &state(), false)).unwrap();
        let cells = terminal.backend().buffer().content();
        assert!(cells.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
        assert!(cells.iter().any(|cell| cell.modifier.contains(Modifier::REVERSED)), "the mark is still there");
    }
}
