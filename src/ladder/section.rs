//! The section of a report that shows what a connection is: the same request and its answer over TCP and over UDP, as ladders, and what each took.
//!
//! Made by whoever writes a report ([`Pair::section`]), and set into its page behind the curves. All text that comes from outside is escaped. Pure;
//! cannot panic.

use std::time::Duration;

use super::capture::Found;
use super::cost::Cost;
use super::exchange::{Exchange, Transport};
use super::page::{self, LEGEND, LEGEND_STYLE};
use super::step::End;
use super::svg::{self, Look};
use crate::engine::Footprint;
use crate::metrics::cost::{Kind, Line, NOTHING, Table};
use crate::metrics::page::Inset;
use crate::metrics::plot::escape;
use crate::metrics::units;
use crate::wire::tcp::Flags;

/// The same exchange over both.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// A connection, from its first SYN to its end, with a request and an answer on it.
    pub tcp: Exchange,
    /// A datagram and its answer.
    pub udp: Exchange,
}

impl Pair {
    /// The first of each that is whole; of datagrams the last request with its answer, since what goes before may have been sent to find the way.
    ///
    /// # Errors
    /// There is none; says of what.
    ///
    /// ```
    /// use ringway::ladder::capture::Found;
    /// use ringway::ladder::section::Pair;
    /// assert_eq!(Pair::of(&Found::default()).unwrap_err(), "there is no whole exchange over TCP");
    /// ```
    pub fn of(found: &Found) -> Result<Self, String> {
        let whole = |wanted: Transport| {
            let mut of_it = found.flows.iter().map(|flow| &flow.exchange).filter(|exchange| exchange.transport == wanted);
            let exchange = of_it.find(|exchange| is_whole(exchange)).cloned();
            exchange.ok_or_else(|| format!("there is no whole exchange over {}", wanted.name()))
        };
        let (tcp, mut udp) = (whole(Transport::Tcp)?, whole(Transport::Udp)?);
        let answered = |at: &usize| udp.steps[*at].from == End::Left && udp.steps[at + 1].from == End::Right;
        if let Some(last) = (0..udp.steps.len().saturating_sub(1)).rfind(answered) {
            udp.steps.drain(..last);
        }
        Ok(Self { tcp, udp })
    }

    /// What each took of the wire: over TCP, and over UDP.
    pub fn costs(&self) -> [Cost; 2] {
        [&self.tcp, &self.udp].map(Cost::of)
    }

    /// The section. `origin` says where the exchanges are from; `time_wait` is how long TIME-WAIT lasts there.
    pub fn section(&self, origin: &str, time_wait: Duration) -> Inset {
        let look = Look::default();
        let (tcp, udp) = (page::figure(&self.tcp, look), page::figure(&self.udp, look));
        let table = table(&self.costs(), time_wait).html();
        let origin = escape(origin);
        Inset {
            style: [svg::COLOURS, svg::STYLE, LEGEND_STYLE, STYLE].concat(),
            html: format!(
                "<section class=\"exchange whole\">\n<h2>{TITLE}</h2>\n<p>{origin}</p>\n<p class=\"legend\">{LEGEND}</p>\n\
                 <div class=\"beside\">\n{tcp}\n<div class=\"column\">\n{udp}\n{table}</div>\n</div>\n</section>\n"
            ),
        }
    }
}

/// What stands there when there is no pair.
pub fn missing(why: &str) -> Inset {
    Inset { style: String::new(), html: format!("<section>\n<h2>{TITLE}</h2>\n<p>Not drawn: {}.</p>\n</section>\n", escape(why)) }
}

/// True when something went there and something came back, and of a connection both its beginning and its end are known.
fn is_whole(exchange: &Exchange) -> bool {
    let cost = Cost::of(exchange);
    let is_open = || exchange.segments().next().is_some_and(|(.., first)| first.opens());
    let is_closed = || exchange.segments().filter(|(.., segment)| segment.has(Flags::FIN)).count() >= 2;
    cost.round_trips.is_some() && (exchange.transport == Transport::Udp || is_open() && is_closed())
}

/// Both costs beside each other.
fn table(costs: &[Cost; 2], time_wait: Duration) -> Table {
    let [tcp, udp] = costs;
    let counts = |kind, name: &str, count: fn(&Cost) -> usize| {
        let figures = costs.each_ref().map(count);
        Line::new(kind, name, [figures[0].to_string(), figures[1].to_string(), ratio(figures)])
    };
    let tcp_alone = |kind, name: &str, figure: String| Line::new(kind, name, [figure, "0".to_owned(), NOTHING.to_owned()]);
    let trips = [tcp, udp].map(|cost| cost.round_trips.unwrap_or_default());
    let trips =
        Line::new(Kind::Figure, "round trips until the answer", [trips[0].to_string(), trips[1].to_string(), ratio(trips)]);
    let states = format!("{} + {}", tcp.states[0], tcp.states[1]);
    let bytes = |bytes: usize| format!("{bytes} B");
    let Footprint { at_rest, awake } = Footprint::CONNECTION;
    let mut lines = vec![
        counts(Kind::Figure, "packets", Cost::packets),
        counts(Kind::Part, "to open", |cost| cost.open),
        counts(Kind::Part, "with request or answer", |cost| cost.data),
        counts(Kind::Part, "that only acknowledge", |cost| cost.acknowledgments),
        counts(Kind::Part, "to close", |cost| cost.close),
        trips,
        counts(Kind::Figure, "bytes of headers", |cost| cost.header_bytes),
        counts(Kind::Figure, "bytes of payload", |cost| usize::try_from(cost.payload_bytes).unwrap_or(usize::MAX)),
        tcp_alone(Kind::Figure, "states, client + server", states),
        tcp_alone(Kind::Figure, "memory in Ringway, each end", bytes(awake)),
        tcp_alone(Kind::Part, "while it is idle", bytes(at_rest)),
    ];
    if tcp.time_wait != [false; 2] {
        let seconds = format!("{} s", time_wait.as_secs_f64());
        lines.push(tcp_alone(Kind::Figure, "kept in TIME-WAIT", seconds));
    }
    let headings = ["TCP", "UDP", "TCP / UDP"].map(str::to_owned).to_vec();
    Table { caption: "What it took, counted from the ladders".to_owned(), headings, lines }
}

fn ratio([tcp, udp]: [usize; 2]) -> String {
    if udp == 0 { NOTHING.to_owned() } else { units::three_digits(tcp as f64 / udp as f64) }
}

const TITLE: &str = "One request and its answer, over TCP and over UDP";

const STYLE: &str = "
.beside{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start}.beside>*{flex:1 1 460px;min-width:0;max-width:720px}
.column{display:grid;gap:16px;grid-template-columns:minmax(0,1fr)}
.exchange figure{overflow-x:auto}.exchange figcaption{font-size:.9rem;font-weight:400;color:var(--soft)}
@media (max-width:600px){.beside>*{flex-basis:100%}}
@media print{.exchange>p{margin:4px 0}.exchange figcaption{font-size:11px}}
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::demo::{Scenario, play};

    fn pair() -> Pair {
        let [tcp, udp] = ["close-by-client", "udp-echo"].map(|name| play(Scenario::named(name).unwrap()).unwrap());
        Pair { tcp, udp }
    }

    #[test]
    fn the_section_holds_both_ladders_and_what_they_took() {
        let inset = pair().section("played <in> memory", Duration::from_secs(60));
        let html = &inset.html;
        assert_eq!((html.matches("<figure>").count(), html.matches("class=\"ladder broad\"").count()), (2, 2));
        assert!(html.contains("played &lt;in&gt; memory") && html.contains("TIME-WAIT") && html.contains("LAST-ACK"));
        for line in [
            "<tr><th>packets</th><td>10</td><td>2</td><td>5.00</td></tr>",
            "<tr class=\"part\"><th>to open</th><td>3</td><td>0</td><td>–</td></tr>",
            "<tr class=\"part\"><th>to close</th><td>4</td><td>0</td><td>–</td></tr>",
            "<tr><th>round trips until the answer</th><td>2</td><td>1</td><td>2.00</td></tr>",
            "<tr><th>bytes of payload</th><td>10</td><td>10</td><td>1.00</td></tr>",
            "<tr><th>states, client + server</th><td>5 + 4</td><td>0</td><td>–</td></tr>",
            "<tr><th>kept in TIME-WAIT</th><td>60 s</td><td>0</td><td>–</td></tr>",
        ] {
            assert!(html.contains(line), "{line}\n{html}");
        }
        for outside in ["http:", "https:", "src=", "href=", "@import", "url(", "<script", "NaN"] {
            assert!(!html.contains(outside) && !inset.style.contains(outside), "{outside}");
        }
    }

    #[test]
    fn memory_is_that_of_the_engine() {
        let html = pair().section("", Duration::ZERO).html;
        assert!(html.contains("<th>while it is idle</th><td>256 B</td>"), "{html}");
    }

    #[test]
    fn what_has_no_beginning_or_no_end_is_not_whole() {
        let Pair { tcp, udp } = pair();
        assert!(is_whole(&tcp) && is_whole(&udp));
        for cut in [1..tcp.steps.len(), 0..tcp.steps.len() - 4, 0..3] {
            assert!(!is_whole(&Exchange { steps: tcp.steps[cut].to_vec(), ..tcp.clone() }));
        }
        assert!(!is_whole(&Exchange { steps: udp.steps[..1].to_vec(), ..udp }), "nobody has answered");
    }

    #[test]
    fn what_is_missing_is_said() {
        assert!(missing("the server <ended>").html.contains("Not drawn: the server &lt;ended&gt;."));
    }
}
