//! What chargen and daytime say. Pure.

use std::time::{SystemTime, UNIX_EPOCH};

/// Characters of a line of chargen, without its end.
const LINE: usize = 72;
/// The pattern of RFC 864 repeats after so many bytes: 95 lines of 72 characters and CR LF.
const PERIOD: usize = 95 * (LINE + 2);
/// Longest slice of the pattern.
const LONGEST: usize = 8 * PERIOD;

/// The pattern of chargen, laid out once.
#[derive(Debug)]
pub(super) struct Content {
    chargen: Box<[u8]>,
}

impl Content {
    pub(super) fn new() -> Self {
        Self { chargen: (0..PERIOD + LONGEST).map(character).collect() }
    }

    /// The characters from `position` on: `len` of them, or about 56 KiB when that is less.
    pub(super) fn chargen(&self, position: u64, len: usize) -> &[u8] {
        let start = (position % PERIOD as u64) as usize;
        &self.chargen[start..start + len.min(LONGEST)]
    }

    /// The line of daytime for now.
    pub(super) fn daytime() -> Vec<u8> {
        daytime_line(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())).into_bytes()
    }
}

/// The character of chargen at a position: each line begins one character later in the printable ones.
const fn character(position: usize) -> u8 {
    let (line, column) = (position / (LINE + 2), position % (LINE + 2));
    match column {
        72 => b'\r',
        73 => b'\n',
        _ => b' ' + ((line + column) % 95) as u8,
    }
}

/// `Weekday, Month Day, Year Time-Zone` of a UNIX time (RFC 867).
fn daytime_line(unix_seconds: u64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let (days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    // Years that begin in March put the leap day at the end; 719,468 days lie between 1 March of year 0 and 1970.
    let since_march_0 = days + 719_468;
    let (era, day_of_era) = (since_march_0 / 146_097, since_march_0 % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    let (weekday, month) = (WEEKDAYS[(days % 7) as usize], MONTHS[month as usize]);
    format!("{weekday}, {month} {day}, {year} {:02}:{:02}:{:02}-UTC\r\n", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_chargen_shift_by_one() {
        let content = Content::new();
        let text = content.chargen(0, 3 * 74);
        assert!(text.starts_with(b" !\"#$%&'()*+,-./0123456789") && text[72..76] == *b"\r\n!\"");
        assert!(text[148..].starts_with(b"\"#$%"));
        for position in [0, 1, 7029, 7030, u64::MAX] {
            let piece = content.chargen(position, 100_000);
            assert_eq!(piece.len(), LONGEST);
            assert_eq!(piece[100], character(((position % PERIOD as u64) as usize + 100) % PERIOD));
        }
    }

    #[test]
    fn daytime_names_the_day() {
        for (seconds, line) in [
            (0, "Thursday, January 1, 1970 00:00:00-UTC\r\n"),
            (951_782_399, "Monday, February 28, 2000 23:59:59-UTC\r\n"),
            (951_782_400, "Tuesday, February 29, 2000 00:00:00-UTC\r\n"),
            (951_868_800, "Wednesday, March 1, 2000 00:00:00-UTC\r\n"),
            (1_735_689_599, "Tuesday, December 31, 2024 23:59:59-UTC\r\n"),
            (4_107_542_400, "Monday, March 1, 2100 00:00:00-UTC\r\n"),
        ] {
            assert_eq!(daytime_line(seconds), line);
        }
        assert!(Content::daytime().ends_with(b"-UTC\r\n"));
    }
}
