//! Which flows are shown: words, all of which have to fit. Pure; cannot panic.

use std::net::IpAddr;

use super::flows::Flow;

/// The words, and what each of them means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    text: String,
    words: Vec<Word>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// A whole address, of either end.
    Address(IpAddr),
    /// A port of either end.
    Port(u16),
    /// A part of a state's name, or of an end as it is written, in lower case.
    Part(String),
}

impl Filter {
    /// Of words with blanks between them. Any text is one.
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.trim().to_owned(), words: text.split_whitespace().map(Word::read).collect() }
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// True when every flow passes.
    pub(super) const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// True for a flow that all words fit.
    pub(super) fn passes(&self, flow: &Flow) -> bool {
        self.words.iter().all(|word| word.fits(flow))
    }
}

impl Word {
    fn read(text: &str) -> Self {
        if let Ok(address) = text.parse() {
            return Self::Address(address);
        }
        match text.strip_prefix(':').unwrap_or(text).parse() {
            Ok(port) => Self::Port(port),
            Err(_) => Self::Part(text.to_lowercase()),
        }
    }

    fn fits(&self, flow: &Flow) -> bool {
        let ends = [flow.local, flow.remote];
        match self {
            Self::Address(address) => ends.iter().any(|end| end.ip() == *address),
            Self::Port(port) => ends.iter().any(|end| end.port() == *port),
            Self::Part(part) => flow.state.to_lowercase().contains(part) || ends.iter().any(|end| end.to_string().contains(part)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::tests::flow;

    #[test]
    fn all_words_have_to_fit() {
        let flow = flow("10.0.0.2:80", "10.0.0.17:4000", "ESTABLISHED");
        for (text, passes) in [
            ("", true),
            ("80", true),
            (":4000", true),
            ("400", false),
            ("8", false),
            ("10.0.0.17", true),
            ("10.0.0.1", false),
            ("10.0.0.1 estab", false),
            ("10.0. estab", true),
            ("Established :80", true),
            ("TIME-WAIT", false),
            ("wait", false),
        ] {
            assert_eq!(Filter::new(text).passes(&flow), passes, "{text}");
        }
        assert!(Filter::new("fd00::2 7").passes(&super::super::tests::flow("[fd00::2]:7", "[fd00::1]:9", "LAST-ACK")));
        assert!(Filter::new("  ").is_empty() && Filter::new(" a  b ").text() == "a  b");
    }
}
