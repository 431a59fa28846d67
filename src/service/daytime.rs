//! Daytime (RFC 867): the date and time as one line of text, in UTC.
//!
//! Opened by [`super::Catalog`]; [`line()`] is also what the kernel-socket server sends. Over TCP the server sends the
//! line and closes first, so TIME-WAIT stays on this side. The clock is passed in at construction: nothing here reads one.
//! Its table of connections is allocated at construction. Cannot panic.

use super::{Answer, Connection, Context, Datagram, PerConnection, Service, safe_to_answer};

/// Where the time comes from: whole seconds since 1970-01-01 00:00:00 UTC.
pub type WallClock = fn() -> u64;

/// The daytime service.
#[derive(Debug)]
pub struct Daytime {
    clock: WallClock,
    progress: PerConnection<Progress>,
}

/// How much of its line a connection has got. The send buffer nearly always takes it whole; when memory is short it does not.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    unix_seconds: u64,
    sent: usize,
}

impl Daytime {
    /// A service for up to `connections` connections at once that asks `clock` for the time.
    pub fn new(connections: usize, clock: WallClock) -> Self {
        Self { clock, progress: PerConnection::with_capacity(connections) }
    }

    fn write(&mut self, cx: &mut impl Context, connection: Connection) {
        let progress = self.progress.of(connection);
        let line = line(progress.unix_seconds);
        let rest = line.as_bytes().get(progress.sent..).unwrap_or_default();
        let sent = cx.send(connection, rest);
        progress.sent += sent;
        if sent >= rest.len() {
            cx.close(connection);
        }
    }
}

impl Service for Daytime {
    type Message = ();

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        let meta = datagram.meta();
        if !safe_to_answer(meta.remote, meta.local, meta.to_many) {
            return Answer::Unsafe;
        }
        let line = line((self.clock)());
        match datagram.room().get_mut(..line.as_bytes().len()) {
            Some(room) => room.copy_from_slice(line.as_bytes()),
            None => return Answer::Ignore,
        }
        Answer::Reply { len: line.as_bytes().len() }
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        *self.progress.of(connection) = Progress { unix_seconds: (self.clock)(), sent: 0 };
        self.write(cx, connection);
    }

    fn writable(&mut self, cx: &mut impl Context, connection: Connection) {
        self.write(cx, connection);
    }

    /// Nothing: the line decides when this side closes, not the client.
    fn peer_closed(&mut self, _: &mut impl Context, _: Connection) {}

    /// Nor does a stop: the line is on its way.
    fn drain(&mut self, _: &mut impl Context, _: Connection) {}
}

/// The time as a line, `Tuesday, February 22, 1982 17:37:43-UTC` with carriage return and line feed ("Weekday, Month Day,
/// Year Time-Zone"). Seconds after the year 9999 print as its last one.
///
/// ```
/// use ringway::service::daytime::line;
/// assert_eq!(line(383_247_463).as_bytes(), b"Monday, February 22, 1982 17:37:43-UTC\r\n");
/// ```
pub fn line(unix_seconds: u64) -> Line {
    let seconds = unix_seconds.min(LAST_SECOND);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let mut line = Line { bytes: [0; LINE_BYTES_MAX], len: 0 };
    line.text(WEEKDAYS[(days % 7) as usize]);
    line.text(", ");
    line.text(MONTHS[(month % 12) as usize]);
    line.text(" ");
    line.number(day, 1);
    line.text(", ");
    line.number(year, 4);
    line.text(" ");
    line.number(second / 3600, 2);
    line.text(":");
    line.number(second / 60 % 60, 2);
    line.text(":");
    line.number(second % 60, 2);
    line.text("-UTC\r\n");
    line
}

/// A line of text of bounded length.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    bytes: [u8; LINE_BYTES_MAX],
    len: usize,
}

impl Line {
    /// The line with its end.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn text(&mut self, text: &str) {
        for &byte in text.as_bytes() {
            self.push(byte);
        }
    }

    /// Appends a number with at least `digits` digits.
    fn number(&mut self, n: u64, digits: u32) {
        let mut unit = 10_u64.pow(digits - 1);
        while n / unit >= 10 {
            unit *= 10;
        }
        while unit > 0 {
            self.push(b'0' + (n / unit % 10) as u8);
            unit /= 10;
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }
}

/// Year, month (0 is January) and day (from 1) of a day counted from 1970-01-01.
///
/// Counts in eras of 400 years that begin on the first of March, so that the leap day ends a year.
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + if month < 2 { 1 } else { 0 };
    (year, month, day)
}

/// 1970-01-01 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
/// 9999-12-31 23:59:59.
const LAST_SECOND: u64 = 253_402_300_799;
/// `Wednesday, September 30, 9999 23:59:59-UTC` and the line's end.
const LINE_BYTES_MAX: usize = 44;

#[cfg(test)]
mod tests {
    use super::super::testing::{Fake, datagram_from};
    use super::*;

    const THEN: u64 = 951_782_400; // 2000-02-29, a leap day of a century

    fn text(unix_seconds: u64) -> String {
        String::from_utf8(line(unix_seconds).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn dates_are_right_at_the_edges() {
        let cases = [
            (0, "Thursday, January 1, 1970 00:00:00-UTC\r\n"),
            (68_169_599, "Monday, February 28, 1972 23:59:59-UTC\r\n"),
            (68_169_600, "Tuesday, February 29, 1972 00:00:00-UTC\r\n"),
            (THEN, "Tuesday, February 29, 2000 00:00:00-UTC\r\n"),
            (946_684_799, "Friday, December 31, 1999 23:59:59-UTC\r\n"),
            (4_107_542_399, "Sunday, February 28, 2100 23:59:59-UTC\r\n"),
            (4_107_542_400, "Monday, March 1, 2100 00:00:00-UTC\r\n"),
            (LAST_SECOND, "Friday, December 31, 9999 23:59:59-UTC\r\n"),
            (u64::MAX, "Friday, December 31, 9999 23:59:59-UTC\r\n"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(text(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn the_longest_line_is_whole() {
        let longest = text(1_664_386_198);
        assert_eq!(longest, "Wednesday, September 28, 2022 17:29:58-UTC\r\n");
        assert_eq!(longest.len(), LINE_BYTES_MAX);
    }

    #[test]
    fn a_client_gets_the_line_and_the_server_closes_first() {
        let mut cx = Fake::default();
        let connection = cx.accept(0, 1000);
        Daytime::new(1, || THEN).connected(&mut cx, connection);
        assert_eq!(cx.sent(connection), line(THEN).as_bytes());
        assert!(cx.is_closed(connection));
    }

    #[test]
    fn a_line_that_does_not_fit_is_finished_later_with_the_same_time() {
        let mut cx = Fake::default();
        let mut daytime = Daytime::new(1, || THEN);
        let connection = cx.accept(0, 7);
        daytime.connected(&mut cx, connection);
        daytime.peer_closed(&mut cx, connection);
        cx.drain(&mut daytime, connection);
        assert!(!cx.is_closed(connection), "the rest is still to be sent");
        daytime.clock = || 0;
        cx.give_room(connection, 1000);
        daytime.writable(&mut cx, connection);
        assert_eq!(cx.sent(connection), line(THEN).as_bytes());
        assert!(cx.is_closed(connection));
    }

    #[test]
    fn a_datagram_is_answered_with_the_line() {
        let mut cx = Fake::default();
        let mut daytime = Daytime::new(0, || THEN);
        let (answer, room) = datagram_from(&mut daytime, &mut cx, "10.0.0.1:40000", b"what time is it?");
        assert_eq!(answer, Answer::Reply { len: line(THEN).as_bytes().len() });
        assert!(room.starts_with(line(THEN).as_bytes()));
        assert_eq!(datagram_from(&mut daytime, &mut cx, "10.0.0.1:13", b"").0, Answer::Unsafe);
    }
}
