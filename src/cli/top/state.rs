//! What the screen shows, and what keys do to it. Pure: a key in, a wish out; cannot panic.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ringway::settings::number;

use super::args::{INTERVAL_MAX, INTERVAL_MIN, TopArgs};
use super::filter::Filter;
use super::flows::{Flow, Id};
use super::ladder::Pane;
use super::order::Key;
use super::sample::Sample;

/// One of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Overview,
    Cores,
    Losses,
    Flows,
}

impl View {
    pub(super) const ALL: [Self; 4] = [Self::Overview, Self::Cores, Self::Losses, Self::Flows];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Overview => "1 all",
            Self::Cores => "2 cores",
            Self::Losses => "3 drops",
            Self::Flows => "4 flows",
        }
    }

    fn after(self, steps: usize) -> Self {
        let at = Self::ALL.iter().position(|view| *view == self).unwrap_or(0);
        Self::ALL[(at + steps) % Self::ALL.len()]
    }
}

/// What a key asks of whoever has the terminal and the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Quit,
    /// No samples, or samples again.
    Pause(bool),
    /// So much time between two of them.
    Every(Duration),
    /// The records of a flow, whose ends these are.
    Ladder {
        local: std::net::SocketAddr,
        remote: std::net::SocketAddr,
    },
}

/// Everything that is on the screen.
#[derive(Debug)]
pub(super) struct State {
    /// What the process is called.
    pub(super) name: String,
    pub(super) view: View,
    pub(super) every: Duration,
    pub(super) paused: bool,
    pub(super) helps: bool,
    pub(super) sort: Key,
    pub(super) reversed: bool,
    pub(super) filter: Filter,
    /// The filter while it is being written.
    pub(super) input: Option<String>,
    /// The sample at hand.
    pub(super) sample: Sample,
    /// Its flows as they are shown: their places among all.
    order: Vec<usize>,
    /// The flow that was chosen, if one was; the first is marked without.
    chosen: Option<Id>,
    /// The row that is marked.
    pub(super) row: usize,
    /// The first worker of the page of workers, and the first cause of that of losses.
    pub(super) scroll: usize,
    /// A ladder, over everything else.
    pub(super) ladder: Option<Pane>,
    /// Why there are no more samples.
    pub(super) gone: Option<String>,
    /// Columns and rows of the screen.
    size: (u16, u16),
}

impl State {
    /// Before the first key.
    pub(super) fn new(args: &TopArgs, name: String, sample: Sample) -> Self {
        let mut state = Self {
            name,
            view: View::Overview,
            every: args.interval,
            paused: false,
            helps: false,
            sort: args.sort,
            reversed: false,
            filter: args.filter.clone(),
            input: None,
            sample,
            order: Vec::new(),
            chosen: None,
            row: 0,
            scroll: 0,
            ladder: None,
            gone: None,
            size: (80, 24),
        };
        state.arrange();
        state
    }

    /// Takes the next sample.
    pub(super) fn take(&mut self, sample: Sample) {
        self.sample = sample;
        self.arrange();
    }

    /// The screen has this size.
    pub(super) fn resize(&mut self, columns: u16, rows: u16) {
        self.size = (columns, rows);
        if let Some(ladder) = &mut self.ladder {
            ladder.fit(columns.into());
        }
    }

    /// Columns to draw a ladder in.
    pub(super) fn columns(&self) -> usize {
        self.size.0.into()
    }

    /// The flows that pass the filter, in their order.
    pub(super) fn flows(&self) -> impl ExactSizeIterator<Item = &Flow> {
        self.order.iter().map(|&at| &self.sample.flows[at])
    }

    /// What a key does.
    pub(super) fn key(&mut self, key: KeyEvent) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Wish::Quit,
            _ if control => return Wish::Nothing,
            _ => {}
        }
        if self.input.is_some() {
            self.write(key.code);
            return Wish::Nothing;
        }
        if self.helps {
            self.helps = false;
            return Wish::Nothing;
        }
        let page = usize::from(self.size.1).saturating_sub(4).max(1);
        if let Some(ladder) = &mut self.ladder {
            match key.code {
                KeyCode::Esc | KeyCode::Char('q') | KeyCode::Backspace => self.ladder = None,
                code => ladder.key(code, page),
            }
            return Wish::Nothing;
        }
        match key.code {
            KeyCode::Char('q') => return Wish::Quit,
            KeyCode::Char('?' | 'h') => self.helps = true,
            KeyCode::Tab => self.turn_to(self.view.after(1)),
            KeyCode::BackTab => self.turn_to(self.view.after(View::ALL.len() - 1)),
            KeyCode::Char(digit @ '1'..='4') => self.turn_to(View::ALL[digit as usize - '1' as usize]),
            KeyCode::Char('s' | '>') | KeyCode::Right => self.sort_by(1),
            KeyCode::Char('S' | '<') | KeyCode::Left => self.sort_by(-1),
            KeyCode::Char('r') => {
                self.reversed = !self.reversed;
                self.arrange();
            }
            KeyCode::Char('/') => self.input = Some(self.filter.text().to_owned()),
            KeyCode::Esc => {
                (self.filter, self.chosen) = (Filter::default(), None);
                self.arrange();
            }
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-(page as isize)),
            KeyCode::PageDown => self.step(page as isize),
            KeyCode::Home | KeyCode::Char('g') => self.step(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.step(isize::MAX),
            KeyCode::Char('p' | ' ') => {
                self.paused = !self.paused;
                return Wish::Pause(self.paused);
            }
            KeyCode::Char('+') => return self.look_every(|one| *one > self.every, INTERVALS.iter()),
            KeyCode::Char('-') => return self.look_every(|one| *one < self.every, INTERVALS.iter().rev()),
            KeyCode::Enter | KeyCode::Char('l') if matches!(self.view, View::Overview | View::Flows) => {
                let Some(&Flow { local, remote, .. }) = self.flows().nth(self.row) else { return Wish::Nothing };
                self.ladder = Some(Pane::asked_for(local, remote));
                return Wish::Ladder { local, remote };
            }
            _ => {}
        }
        Wish::Nothing
    }

    /// The next interval that is longer, or shorter.
    fn look_every<'a>(&self, is_it: impl Fn(&Duration) -> bool, mut among: impl Iterator<Item = &'a Duration>) -> Wish {
        among.find(|one| is_it(one)).map_or(Wish::Nothing, |every| Wish::Every(*every))
    }

    /// A key while the filter is written: it holds at once.
    fn write(&mut self, code: KeyCode) {
        let Some(input) = &mut self.input else { return };
        match code {
            KeyCode::Char(letter) if input.chars().count() < INPUT_MAX => input.push(letter),
            KeyCode::Backspace if input.pop().is_none() => {
                self.input = None;
                return;
            }
            KeyCode::Backspace => {}
            KeyCode::Enter => {
                self.input = None;
                return;
            }
            KeyCode::Esc => {
                self.input = None;
                self.filter = Filter::default();
                self.arrange();
                return;
            }
            _ => return,
        }
        self.filter = Filter::new(input);
        self.arrange();
    }

    fn turn_to(&mut self, view: View) {
        (self.view, self.scroll) = (view, 0);
    }

    fn sort_by(&mut self, steps: isize) {
        self.sort = self.sort.after(steps);
        self.arrange();
    }

    /// Moves what is marked, or what is shown.
    fn step(&mut self, by: isize) {
        let moved = |at: usize, count: usize| at.saturating_add_signed(by).min(count.saturating_sub(1));
        match self.view {
            View::Overview | View::Flows => {
                self.row = moved(self.row, self.order.len());
                let chosen = self.flows().nth(self.row).map(|flow| flow.id);
                self.chosen = chosen;
            }
            View::Cores => self.scroll = moved(self.scroll, self.sample.cores.len()),
            View::Losses => self.scroll = moved(self.scroll, self.sample.drops.len()),
        }
    }

    /// Puts the flows in order, with the mark where it was: at the flow that was chosen, or at the first.
    fn arrange(&mut self) {
        let (flows, key, reversed) = (&self.sample.flows, self.sort, self.reversed);
        self.order = (0..flows.len()).filter(|&at| self.filter.passes(&flows[at])).collect();
        self.order.sort_by(|&one, &other| key.compare(&flows[one], &flows[other], reversed));
        let chosen = self.chosen.and_then(|id| self.order.iter().position(|&at| flows[at].id == id));
        self.row = match (self.chosen, chosen) {
            (None, _) => 0,
            (Some(_), Some(row)) => row,
            // It has gone: the mark stays where it was.
            (Some(_), None) => self.row.min(self.order.len().saturating_sub(1)),
        };
        self.scroll = self.scroll.min(self.sample.cores.len().max(self.sample.drops.len()));
    }

    /// The interval, as it is written.
    pub(super) fn every(&self) -> String {
        number::show_duration(self.every)
    }
}

/// The intervals that + and - go through.
const INTERVALS: [Duration; 9] = [
    INTERVAL_MIN,
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    INTERVAL_MAX,
];
/// Characters of a filter that is written: more than of any two ends and a state.
const INPUT_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::tests::{press, state};

    fn ports(state: &State) -> Vec<u16> {
        state.flows().map(|flow| flow.remote.port()).collect()
    }

    #[test]
    fn keys_sort_filter_and_choose() {
        let mut state = state();
        assert_eq!(ports(&state), [4001, 4002, 4003, 4004], "the heaviest first, the unknown last");
        assert_eq!(press(&mut state, "r"), Wish::Nothing);
        assert_eq!(ports(&state), [4003, 4002, 4001, 4004]);
        press(&mut state, "rsss");
        assert_eq!((state.sort, ports(&state)), (Key::Rtt, vec![4003, 4001, 4002, 4004]));
        press(&mut state, "/4002 est");
        assert_eq!((ports(&state), state.input.as_deref()), (vec![4002], Some("4002 est")));
        press(&mut state, "\n");
        assert_eq!((ports(&state), state.input.as_deref()), (vec![4002], None));
        press(&mut state, "\x1b");
        assert_eq!(ports(&state).len(), 4);
        press(&mut state, "/nothing\x08\x08");
        assert_eq!((ports(&state), state.filter.text()), (vec![], "nothi"));
        press(&mut state, "\x1b");
        assert_eq!((ports(&state).len(), state.input.as_deref()), (4, None));
    }

    #[test]
    fn the_mark_stays_at_the_flow_that_was_chosen_and_else_at_the_heaviest() {
        let mut state = state();
        press(&mut state, "r");
        assert_eq!((state.row, state.flows().next().unwrap().remote.port()), (0, 4003));
        press(&mut state, "rj");
        assert_eq!((state.row, ports(&state)[state.row]), (1, 4002));
        press(&mut state, "S");
        assert_eq!((state.sort, ports(&state)[state.row]), (Key::Remote, 4002));
        press(&mut state, "G");
        assert_eq!(state.row, 3);
        press(&mut state, "/4001\n");
        assert_eq!(state.row, 0, "what was chosen is not shown");
        press(&mut state, "jjkkkg");
        assert_eq!((state.row, press(&mut state, "/nobody\n")), (0, Wish::Nothing));
        assert_eq!(press(&mut state, "jl"), Wish::Nothing, "there is none to draw");
    }

    #[test]
    fn keys_ask_for_what_others_do() {
        let mut state = state();
        assert_eq!((press(&mut state, "p"), press(&mut state, "p")), (Wish::Pause(true), Wish::Pause(false)));
        assert_eq!(press(&mut state, "+"), Wish::Every(Duration::from_secs(2)));
        assert_eq!(press(&mut state, "-"), Wish::Every(Duration::from_millis(500)));
        state.every = INTERVAL_MAX;
        assert_eq!(press(&mut state, "+"), Wish::Nothing);
        state.every = Duration::from_millis(150);
        assert_eq!(press(&mut state, "-"), Wish::Every(INTERVAL_MIN));
        assert_eq!(press(&mut state, "q"), Wish::Quit);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        press(&mut state, "/c");
        assert_eq!(state.key(interrupt), Wish::Quit, "also while a filter is written");
        assert_eq!(state.filter.text(), "c");
    }

    #[test]
    fn pages_follow_each_other_and_have_numbers() {
        let mut state = state();
        for (keys, view) in
            [("2", View::Cores), ("\t", View::Losses), ("\t\t", View::Overview), ("4", View::Flows), ("1", View::Overview)]
        {
            press(&mut state, keys);
            assert_eq!(state.view, view);
        }
        press(&mut state, "2jjjj");
        assert_eq!(state.scroll, 1, "the last of two workers");
        press(&mut state, "3");
        assert_eq!(state.scroll, 0);
        press(&mut state, "?");
        assert!(state.helps);
        press(&mut state, "q");
        assert!(!state.helps, "any key ends the help, and nothing more");
    }

    #[test]
    fn a_ladder_takes_the_keys_until_it_is_closed() {
        let mut state = state();
        let Wish::Ladder { remote, .. } = press(&mut state, "jl") else { panic!("no ladder") };
        assert_eq!(remote.port(), 4002);
        assert!(state.ladder.is_some());
        assert_eq!(press(&mut state, "jsrp"), Wish::Nothing);
        assert_eq!((state.sort, state.paused), (Key::Bytes, false));
        press(&mut state, "\x1b");
        assert!(state.ladder.is_none());
    }
}
