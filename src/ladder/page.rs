//! Ladders as one HTML page: no script, nothing fetched, readable on a phone, in the dark and on paper.
//!
//! Called by `ringway ladder --html`. All text that comes from outside is escaped. Pure; cannot panic.

use std::fmt::Write as _;

use super::exchange::Exchange;
use super::svg::{self, Look};
use super::text;
use crate::metrics::plot::escape;

/// Exchanges that stand beside each other where there is room, with what is said about them.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// Its heading.
    pub title: String,
    /// A sentence about it; may be empty.
    pub about: String,
    /// What is drawn.
    pub exchanges: Vec<&'a Exchange>,
}

/// Renders the page.
pub fn render(title: &str, sections: &[Section<'_>], look: Look) -> String {
    let title = escape(title);
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    let _ = write!(
        page,
        "<title>{title}</title>\n<style>{}{}{}{STYLE}{LEGEND_STYLE}</style>\n</head>\n",
        svg::PAPER,
        svg::COLOURS,
        svg::STYLE
    );
    page.push_str("<body>\n<main>\n");
    let _ = writeln!(page, "<h1>{title}</h1>\n<p class=\"legend\">{LEGEND}</p>");
    for section in sections {
        let _ = writeln!(page, "<section>\n<h2>{}</h2>", escape(&section.title));
        if !section.about.is_empty() {
            let _ = writeln!(page, "<p>{}</p>", escape(&section.about));
        }
        page.push_str("<div class=\"beside\">\n");
        for exchange in &section.exchanges {
            let _ = writeln!(page, "{}", figure(exchange, look));
        }
        page.push_str("</div>\n</section>\n");
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// A ladder under a line that says what it is, and whose its states are.
pub(super) fn figure(exchange: &Exchange, look: Look) -> String {
    let states = match (exchange.known, exchange.begin) {
        (_, [None, None]) => String::new(),
        ([true, true], _) => ", the states are those of the engines".to_owned(),
        ([false, false], _) => ", the states are inferred from the segments".to_owned(),
        ([left, _], _) => {
            let [own, other] = if left { exchange.ends } else { [exchange.ends[1], exchange.ends[0]] };
            format!(", the states of {own} are its engine's own, those of {other} are inferred from the segments")
        }
    };
    let caption = format!("{}: {}{states}", exchange.transport.name(), text::summary(exchange));
    format!("<figure><figcaption>{}</figcaption>{}</figure>", escape(&caption), svg::element(exchange, look))
}

/// What the colours of the bars mean.
pub(super) const LEGEND: &str = "<span><i class=\"opening\"></i>opening</span><span><i class=\"open\"></i>ESTABLISHED</span><span><i \
class=\"closing\"></i>closing</span><span><i class=\"waits\"></i>TIME-WAIT</span><span><i class=\"shut\"></i>CLOSED, LISTEN</span>";

/// What the legend looks like; a page of either kind lays its parts out.
pub(super) const LEGEND_STYLE: &str = "
.legend i{width:8px;height:16px;display:inline-block;print-color-adjust:exact;-webkit-print-color-adjust:exact}
i.opening{background:var(--opening)}i.open{background:var(--open)}i.closing{background:var(--closing)}i.waits{background:var(--waits)}i.shut{background:var(--shut)}
.ladder{print-color-adjust:exact;-webkit-print-color-adjust:exact}
";

const STYLE: &str = "
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
main{max-width:1340px;margin:0 auto;padding:24px 20px 48px}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 8px}h2{font-size:1.1rem;margin:28px 0 4px}p{margin:0 0 8px;color:var(--soft)}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px}.legend span{display:inline-flex;align-items:center;gap:6px}
.beside{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start}
figure{margin:0;flex:1 1 520px;max-width:720px;border:1px solid var(--line);border-radius:8px;padding:8px;overflow-x:auto}
figcaption{font-size:.9rem;color:var(--soft);padding:0 4px 6px}
@media (max-width:600px){main{padding:14px 8px 28px}figure{padding:4px;flex-basis:100%}}
@media print{@page{size:A4;margin:12mm}main{max-width:none;padding:0}h2{break-after:avoid}section{break-inside:avoid}figure{border:0}}
";
