//! Listens to a stream of RTP and keeps the books of its senders ([`crate::rtp`]).
//!
//! Run by `ringway listen`, alone on its engine. Says nothing to anybody. Cannot panic.

use std::time::Duration;

use super::{Answer, CallError, Context, Datagram, Local, Service};
use crate::rtp::{Book, Heard};

/// Where to listen, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// A port, at a group, at an address or at all.
    pub at: Local,
    /// Units of the timestamps a second; `None` takes those of the payload type.
    pub clock: Option<u32>,
    /// Ends after this time.
    pub duration: Option<Duration>,
    /// Ends after so many packets.
    pub packets: Option<u64>,
    /// How often [`Listener`] shows its book.
    pub every: Option<Duration>,
}

/// The listener. `show` sees the book at intervals, and how long it has listened; it is called from the loop.
#[derive(Debug)]
pub struct Listener<F> {
    wanted: Wanted,
    book: Book,
    failure: Option<CallError>,
    over: bool,
    start: crate::time::Instant,
    show: F,
}

impl<F: FnMut(&mut Book, Duration)> Listener<F> {
    /// A listener that has heard nothing.
    pub fn new(wanted: Wanted, show: F) -> Self {
        let start = crate::time::Instant::ZERO;
        Self { wanted, book: Book::new(wanted.clock), failure: None, over: false, start, show }
    }

    /// What was heard.
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// Why nothing could be heard.
    pub const fn failure(&self) -> Option<CallError> {
        self.failure
    }

    fn open(&mut self, cx: &mut impl Context) -> Result<(), CallError> {
        cx.open_udp(self.wanted.at)?;
        self.start = cx.now();
        if let Some(duration) = self.wanted.duration {
            cx.set_timer(cx.now() + duration, END)?;
        }
        if let Some(every) = self.wanted.every {
            cx.set_timer(cx.now() + every, INTERVAL)?;
        }
        Ok(())
    }

    fn end(&mut self, cx: &mut impl Context) {
        self.over = true;
        cx.stop();
    }
}

impl<F: FnMut(&mut Book, Duration)> Service for Listener<F> {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        if let Err(why) = self.open(cx) {
            self.failure = Some(why);
            self.end(cx);
        }
    }

    fn datagram(&mut self, cx: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        if !self.over {
            // The time of the burst would be the same for all of it, and make jitter of what is none.
            let heard = self.book.hear(datagram.meta().remote, datagram.payload(), cx.read_clock());
            if heard == Heard::Rtp && self.wanted.packets.is_some_and(|packets| self.book.counts().rtp >= packets) {
                self.end(cx);
            }
        }
        Answer::Ignore
    }

    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        if token == END {
            return self.end(cx);
        }
        (self.show)(&mut self.book, cx.now().since(self.start));
        if let Some(every) = self.wanted.every
            && let Err(why) = cx.set_timer(cx.now() + every, INTERVAL)
        {
            tracing::error!("no more lines: {why}");
        }
    }
}

const END: u64 = 0;
const INTERVAL: u64 = 1;

#[cfg(test)]
mod tests {
    use super::super::testing::{Fake, datagram_from};
    use super::*;
    use crate::rtp::Header;

    const WANTED: Wanted =
        Wanted { at: Local { address: None, port: 5004 }, clock: None, duration: None, packets: None, every: None };

    fn packet(sequence: u16) -> Vec<u8> {
        Header { marker: false, payload_type: 0, sequence, timestamp: u32::from(sequence) * 160, ssrc: 1 }.emit().to_vec()
    }

    #[test]
    fn it_ends_after_so_many_packets_of_rtp() {
        let mut cx = Fake::default();
        let mut listener = Listener::new(Wanted { packets: Some(3), ..WANTED }, |_, _| {});
        listener.start(&mut cx);
        datagram_from(&mut listener, &mut cx, "10.0.0.1:5004", b"noise");
        for n in 0..5 {
            assert_eq!(cx.stopped(), n >= 3);
            assert_eq!(datagram_from(&mut listener, &mut cx, "10.0.0.1:5004", &packet(n)).0, Answer::Ignore);
        }
        assert_eq!(
            (listener.book().counts().rtp, listener.book().counts().short),
            (3, 1),
            "what comes after the end is not heard"
        );
    }

    #[test]
    fn it_ends_in_time_and_shows_its_book_meanwhile() {
        let mut cx = Fake::default();
        let mut shown = Vec::new();
        let wanted = Wanted { duration: Some(Duration::from_secs(3)), every: Some(Duration::from_secs(1)), ..WANTED };
        let mut listener = Listener::new(wanted, |book: &mut Book, since| shown.push((book.counts().rtp, since.as_secs())));
        listener.start(&mut cx);
        for n in 0..3 {
            assert!(!cx.stopped());
            datagram_from(&mut listener, &mut cx, "10.0.0.1:5004", &packet(n));
            cx.pass(Duration::from_secs(1));
            while let Some(token) = cx.due() {
                listener.timer(&mut cx, token);
            }
        }
        assert!(cx.stopped());
        drop(listener);
        assert_eq!(shown, [(1, 1), (2, 2), (3, 3)]);
    }

    #[test]
    fn without_a_timer_it_does_not_begin() {
        let mut cx = Fake::default();
        cx.run_out_of_timers();
        let mut listener = Listener::new(Wanted { duration: Some(Duration::from_secs(1)), ..WANTED }, |_, _| {});
        listener.start(&mut cx);
        assert_eq!((cx.stopped(), listener.failure()), (true, Some(CallError::TableFull)));
    }
}
