//! Percentile curves as SVG.
//!
//! x is the percentile on a scale on which each further nine is as wide as the last (1 / (1 - p), logarithmic), y the latency,
//! logarithmic. Colours come from the page's style sheet by class, so that a plot is readable in light, dark and print; curves
//! also differ in dash and marker. Called by [`super::page`]. Pure; cannot panic.

use std::fmt::Write;

use super::units;

/// A curve of a plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The label that stands at its end.
    pub label: String,
    /// Class in the style sheet: `tcp`, `udp`, `raw`.
    pub class: &'static str,
    /// (quantile, nanoseconds), rising in both.
    pub points: Vec<(f64, u64)>,
}

/// The axes that the plots of a page share, so that they can be compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axes {
    /// Nines on the x axis.
    nines: f64,
    low_ns: f64,
    high_ns: f64,
}

const WIDTH: f64 = 500.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 50.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 48.0;
/// Most nines that are shown: beyond, the machine is measured.
const MOST_NINES: f64 = 6.0;
/// Distance of two labels, in pixels of the drawing.
const LABEL_HEIGHT: f64 = 15.0;

impl Axes {
    /// Axes on which all curves fit; `None` when there is nothing to draw.
    pub fn of<'a>(curves: impl Iterator<Item = &'a Curve>) -> Option<Self> {
        let mut axes: Option<Self> = None;
        for &(quantile, ns) in curves.flat_map(|curve| &curve.points) {
            let (nines, ns) = (nines(quantile), ns.max(1) as f64);
            let (low_ns, high_ns) = axes.map_or((ns, ns), |axes| (axes.low_ns.min(ns), axes.high_ns.max(ns)));
            axes = Some(Self { nines: axes.map_or(1.0, |axes| axes.nines).max(nines), low_ns, high_ns });
        }
        axes.map(|axes| Self {
            nines: axes.nines.clamp(1.0, MOST_NINES),
            low_ns: step_down(axes.low_ns),
            high_ns: step_up(axes.high_ns).max(step_down(axes.low_ns) * 10.0),
        })
    }

    fn x(&self, quantile: f64) -> f64 {
        LEFT + nines(quantile).min(self.nines) / self.nines * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, ns: f64) -> f64 {
        let share = (ns.max(1.0) / self.low_ns).ln() / (self.high_ns / self.low_ns).ln();
        TOP + (1.0 - share.clamp(0.0, 1.0)) * (HEIGHT - TOP - BOTTOM)
    }
}

/// Draws curves as one SVG element; `title` is read by screen readers.
pub fn render(title: &str, axes: &Axes, curves: &[Curve]) -> String {
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><title>{}</title>", escape(title));
    grid(&mut svg, axes);
    for curve in curves {
        draw(&mut svg, axes, curve);
    }
    labels(&mut svg, axes, curves);
    svg.push_str("</svg>");
    svg
}

/// Text with the characters that HTML and SVG would read as markup replaced.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Control characters have no place in a page.
            c if c.is_control() && c != '\n' => escaped.push(char::REPLACEMENT_CHARACTER),
            c => escaped.push(c),
        }
    }
    escaped
}

fn grid(svg: &mut String, axes: &Axes) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let dense = (axes.high_ns / axes.low_ns).log10() <= 2.2;
    for ns in steps(axes.low_ns, axes.high_ns) {
        let is_decade = (ns.log10() - ns.log10().round()).abs() < 1e-6;
        let y = axes.y(ns);
        let class = if is_decade { "grid decade" } else { "grid" };
        let _ = write!(svg, "<line class=\"{class}\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>");
        if is_decade || dense || ns == axes.low_ns || ns == axes.high_ns {
            let label = short(ns);
            let _ = write!(
                svg,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 7.0,
                y + 4.0
            );
        }
    }
    let ticks = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999];
    let names = ["0", "50", "90", "99", "99.9", "99.99", "99.999", "99.9999"];
    for (&quantile, name) in ticks.iter().zip(names).filter(|&(&quantile, _)| nines(quantile) <= axes.nines + 1e-9) {
        let x = axes.x(quantile);
        let _ = write!(svg, "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>");
        let _ = write!(svg, "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>", bottom + 17.0);
    }
    let middle = (LEFT + right) / 2.0;
    let _ = write!(
        svg,
        "<text class=\"axis\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">percentile (%)</text>",
        HEIGHT - 10.0
    );
    let middle = (TOP + bottom) / 2.0;
    let _ = write!(
        svg,
        "<text class=\"axis\" transform=\"translate(15 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">round-trip time</text>"
    );
}

fn draw(svg: &mut String, axes: &Axes, curve: &Curve) {
    let mut path = String::new();
    for &(quantile, ns) in &curve.points {
        let command = if path.is_empty() { 'M' } else { 'L' };
        let _ = write!(path, "{command}{:.1} {:.1}", axes.x(quantile), axes.y(ns as f64));
    }
    let _ = write!(svg, "<path class=\"curve {}\" d=\"{path}\"/>", curve.class);
    for wanted in [0.5, 0.9, 0.99, 0.999] {
        if let Some(&(_, ns)) = curve.points.iter().find(|point| point.0 >= wanted && nines(wanted) <= axes.nines) {
            let (x, y) = (axes.x(wanted), axes.y(ns as f64));
            let _ = match curve.class {
                "udp" => {
                    write!(svg, "<rect class=\"mark udp\" x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\"/>", x - 3.5, y - 3.5)
                }
                class => write!(svg, "<circle class=\"mark {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.8\"/>"),
            };
        }
    }
}

/// Labels at the ends of the curves, moved apart where they would cover each other.
fn labels(svg: &mut String, axes: &Axes, curves: &[Curve]) {
    let mut ends: Vec<(f64, &Curve)> =
        curves.iter().filter_map(|curve| curve.points.last().map(|&(_, ns)| (axes.y(ns as f64), curve))).collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut lowest = TOP;
    for (y, _) in &mut ends {
        *y = y.max(lowest);
        lowest = *y + LABEL_HEIGHT;
    }
    // When the last one fell off the plot, all that touch it move up.
    let mut highest = HEIGHT - BOTTOM;
    for (y, _) in ends.iter_mut().rev() {
        *y = y.min(highest);
        highest = *y - LABEL_HEIGHT;
    }
    for (y, curve) in ends {
        let x = axes.x(curve.points.last().map_or(1.0, |point| point.0)) + 7.0;
        let label = escape(&curve.label);
        let _ = write!(svg, "<text class=\"label {}\" x=\"{x:.1}\" y=\"{:.1}\">{label}</text>", curve.class, y + 4.5);
    }
}

/// How many nines a quantile has: 1 for 90 %, 3 for 99.9 %; 1.0 has more than are shown.
fn nines(quantile: f64) -> f64 {
    if quantile >= 1.0 { MOST_NINES } else { (1.0 / (1.0 - quantile.max(0.0))).log10() }
}

/// 1, 2, 5, 10, ... between two values, both included.
fn steps(low: f64, high: f64) -> impl Iterator<Item = f64> {
    let first = low.log10().floor() as i32;
    let last = high.log10().ceil() as i32;
    let all = (first..=last).flat_map(|decade| [1.0, 2.0, 5.0].map(|factor| factor * 10_f64.powi(decade)));
    all.filter(move |step| *step >= low * 0.999 && *step <= high * 1.001)
}

fn step_down(ns: f64) -> f64 {
    steps(ns / 10.0, ns).last().unwrap_or(1.0).max(1.0)
}

fn step_up(ns: f64) -> f64 {
    steps(ns, ns * 10.0).next().unwrap_or(ns)
}

/// A step of the axis, without needless digits: `5 us`.
fn short(ns: f64) -> String {
    let text = units::duration(ns);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(class: &'static str, scale: u64) -> Curve {
        let points =
            vec![(0.1, 3 * scale), (0.5, 4 * scale), (0.9, 6 * scale), (0.99, 9 * scale), (0.999, 30 * scale), (1.0, 90 * scale)];
        Curve { label: class.to_uppercase(), class, points }
    }

    #[test]
    fn axes_span_all_curves_in_round_steps() {
        let axes = Axes::of([curve("tcp", 1000), curve("udp", 700)].iter()).expect("there is something");
        assert_eq!((axes.low_ns, axes.high_ns, axes.nines), (2000.0, 100_000.0, MOST_NINES));
        assert_eq!(Axes::of([].iter()), None);
        let flat = Curve { points: vec![(0.5, 1000)], ..curve("tcp", 1) };
        let axes = Axes::of([flat].iter()).expect("there is something");
        assert!(axes.high_ns >= axes.low_ns * 10.0 && axes.nines >= 1.0);
    }

    #[test]
    fn everything_lies_within_the_drawing() {
        let curves = [curve("tcp", 1), curve("udp", 1), curve("raw", 600_000)];
        let axes = Axes::of(curves.iter()).expect("there is something");
        for curve in &curves {
            for &(quantile, ns) in &curve.points {
                let (x, y) = (axes.x(quantile), axes.y(ns as f64));
                assert!((LEFT..=WIDTH - RIGHT).contains(&x) && (TOP..=HEIGHT - BOTTOM).contains(&y), "{x} {y}");
            }
        }
        assert!(axes.x(0.9) < axes.x(0.99) && axes.y(10.0) > axes.y(100.0));
        assert!((axes.x(0.99) - axes.x(0.9) - (axes.x(0.999) - axes.x(0.99))).abs() < 0.01, "each nine is as wide");
    }

    #[test]
    fn labels_do_not_cover_each_other() {
        let curves: Vec<_> = (0..4).map(|n| Curve { label: format!("c{n}"), ..curve("tcp", 1000 + n) }).collect();
        let axes = Axes::of(curves.iter()).expect("there is something");
        let svg = render("x", &axes, &curves);
        let ys: Vec<f64> = svg
            .split("class=\"label")
            .skip(1)
            .filter_map(|part| part.split("y=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(ys.len(), 4);
        let mut sorted = ys.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= LABEL_HEIGHT - 0.11), "{ys:?}");
    }

    #[test]
    fn names_cannot_break_the_drawing() {
        let hostile = Curve { label: "</text><script>'\"&\u{7}".into(), ..curve("tcp", 10) };
        let axes = Axes::of([hostile.clone()].iter()).expect("there is something");
        let svg = render("<b>", &axes, &[hostile]);
        assert!(svg.contains("&lt;/text&gt;&lt;script&gt;&#39;&quot;&amp;\u{fffd}") && svg.contains("<title>&lt;b&gt;</title>"));
        assert!(!svg.contains("<script") && !svg.contains("NaN"));
    }
}
