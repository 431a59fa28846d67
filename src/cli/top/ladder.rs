//! The ladder of a flow, over the rest of the screen: what the recorder holds of it, drawn as `ringway ladder --live` draws it.
//!
//! Lines are made when the records come and when the width changes, not with each picture. Pure; cannot panic.

use std::net::SocketAddr;

use ratatui::crossterm::event::KeyCode;
use ringway::ladder::Exchange;
use ringway::ladder::text::{self, Look};

/// A ladder, and what of it is seen.
#[derive(Debug)]
pub(super) struct Pane {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    exchanges: Vec<Exchange>,
    lines: Vec<String>,
    /// Nothing has been answered yet.
    pub(super) waits: bool,
    /// The first line and the first column that are seen.
    pub(super) top: usize,
    pub(super) left: usize,
}

impl Pane {
    /// Before the records come.
    pub(super) fn asked_for(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            local,
            remote,
            exchanges: Vec::new(),
            lines: vec!["asking for the records ...".to_owned()],
            waits: true,
            top: 0,
            left: 0,
        }
    }

    /// The records have come, or why there are none.
    pub(super) fn take(&mut self, found: Result<Vec<Exchange>, String>, columns: usize) {
        self.waits = false;
        match found {
            Ok(exchanges) if exchanges.is_empty() => {
                self.lines =
                    vec!["The recorder holds nothing of this flow: --set recorder.records=N has it keep more.".to_owned()];
            }
            Ok(exchanges) => {
                self.exchanges = exchanges;
                self.fit(columns);
            }
            Err(why) => self.lines = vec![format!("There are no records: {why}.")],
        }
    }

    /// Draws for so many columns.
    pub(super) fn fit(&mut self, columns: usize) {
        if self.exchanges.is_empty() {
            return;
        }
        let look = Look { width: columns.clamp(text::WIDTH_MIN, WIDTH_MAX), ..Look::default() };
        self.lines.clear();
        for exchange in &self.exchanges {
            if !self.lines.is_empty() {
                self.lines.push(String::new());
            }
            self.lines.extend(text::render(exchange, &look).lines().map(str::to_owned));
        }
        self.top = self.top.min(self.lines.len().saturating_sub(1));
    }

    /// Moves to and fro; a page has so many lines.
    pub(super) fn key(&mut self, code: KeyCode, page: usize) {
        let last = self.lines.len().saturating_sub(1);
        let widest = self.lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        match code {
            KeyCode::Up | KeyCode::Char('k') => self.top = self.top.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.top = (self.top + 1).min(last),
            KeyCode::PageUp => self.top = self.top.saturating_sub(page),
            KeyCode::PageDown | KeyCode::Char(' ') => self.top = (self.top + page).min(last),
            KeyCode::Home | KeyCode::Char('g') => self.top = 0,
            KeyCode::End | KeyCode::Char('G') => self.top = (last + 1).saturating_sub(page),
            KeyCode::Left => self.left = self.left.saturating_sub(SIDEWAYS),
            KeyCode::Right => self.left = (self.left + SIDEWAYS).min(widest.saturating_sub(1)),
            _ => {}
        }
    }

    /// The lines that are seen in so many rows.
    pub(super) fn seen(&self, rows: usize) -> impl Iterator<Item = String> {
        self.lines.iter().skip(self.top).take(rows).map(|line| line.chars().skip(self.left).collect())
    }

    /// Lines in all.
    pub(super) const fn len(&self) -> usize {
        self.lines.len()
    }
}

/// The widest that is drawn: a longer arrow is hard to follow.
const WIDTH_MAX: usize = 100;
/// Columns that a key moves by.
const SIDEWAYS: usize = 8;

#[cfg(test)]
mod tests {
    use ringway::ladder::demo::{self, Scenario};

    use super::*;

    fn pane() -> Pane {
        let mut pane = Pane::asked_for("10.0.0.2:7".parse().unwrap(), "10.0.0.1:4001".parse().unwrap());
        let exchange = || demo::play(Scenario::named("handshake").unwrap()).unwrap();
        pane.take(Ok(vec![exchange(), exchange()]), 80);
        pane
    }

    #[test]
    fn all_connections_between_two_ends_are_drawn_one_below_the_other() {
        let pane = pane();
        let lines: Vec<_> = pane.seen(100).collect();
        assert_eq!(lines.iter().filter(|line| line.contains("─ SYN seq=0")).count(), 2, "{lines:#?}");
        assert_eq!((lines.len(), lines.iter().filter(|line| line.is_empty()).count()), (pane.len(), 1));
    }

    #[test]
    fn no_key_leads_out_of_it() {
        let mut pane = pane();
        for code in [KeyCode::Up, KeyCode::Left, KeyCode::PageUp, KeyCode::Home] {
            pane.key(code, 20);
            assert_eq!((pane.top, pane.left), (0, 0));
        }
        for code in [KeyCode::Down, KeyCode::Right, KeyCode::PageDown, KeyCode::End].into_iter().cycle().take(400) {
            pane.key(code, 3);
            assert!(pane.top < pane.len() && pane.left < 100 && pane.seen(1).count() == 1);
        }
        pane.fit(200);
        assert!(pane.top < pane.len());
        pane.fit(1);
        assert!(pane.seen(100).all(|line| line.chars().count() <= text::WIDTH_MIN));
    }

    #[test]
    fn what_is_not_there_is_said() {
        let mut pane = Pane::asked_for("10.0.0.2:7".parse().unwrap(), "10.0.0.1:4001".parse().unwrap());
        assert!(pane.seen(9).next().unwrap().contains("asking"));
        pane.take(Ok(Vec::new()), 80);
        assert!(pane.seen(9).next().unwrap().contains("recorder.records"));
        pane.take(Err("it has ended".to_owned()), 80);
        pane.fit(100);
        assert_eq!(pane.seen(9).next().unwrap(), "There are no records: it has ended.");
    }
}
