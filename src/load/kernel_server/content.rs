//! What chargen, daytime and http say over kernel sockets: the bytes of Ringway's own services, laid out for the calls that send them.
//!
//! Made once by the server, read by its thread. The text is that of [`crate::service`], so that both stacks send the same. Reads the wall
//! clock for daytime; cannot panic.

use std::time::{SystemTime, UNIX_EPOCH};

use super::pages::Pages;
use crate::service::chargen::{self, PERIOD_BYTES};
use crate::service::daytime::{self, Line};

/// Longest piece of the stream of chargen that one call sends.
const PIECE_BYTES: usize = 8 * PERIOD_BYTES;

/// The stream of chargen, laid out once (a piece can begin at each position of a round), and the pages of http.
#[derive(Debug)]
pub(super) struct Content {
    chargen: Box<[u8]>,
    pub(super) pages: Pages,
}

impl Content {
    pub(super) fn new(pages: Pages) -> Self {
        let mut stream = vec![0; PERIOD_BYTES + PIECE_BYTES].into_boxed_slice();
        chargen::fill(0, &mut stream);
        Self { chargen: stream, pages }
    }

    /// The characters from `position` on: `len` of them, or about 56 KiB when that is less.
    pub(super) fn chargen(&self, position: u64, len: usize) -> &[u8] {
        let start = (position % PERIOD_BYTES as u64) as usize;
        &self.chargen[start..start + len.min(PIECE_BYTES)]
    }

    /// The line of daytime for now.
    pub(super) fn daytime() -> Line {
        daytime::line(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_the_stream_of_the_service_from_any_position() {
        let content = Content::new(Pages::default());
        for position in [0, 1, PERIOD_BYTES as u64 - 1, PERIOD_BYTES as u64, u64::MAX] {
            let mut expected = vec![0; PIECE_BYTES];
            chargen::fill(position, &mut expected);
            assert_eq!(content.chargen(position, 100_000), expected);
        }
    }
}
