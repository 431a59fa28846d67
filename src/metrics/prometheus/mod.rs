//! The figures of running engines in the text format that Prometheus scrapes, version 0.0.4.
//!
//! [`render`] makes a page of a [`Snapshot`], [`glossary`] one for people. Called by `show::scrape`; values in, text out: nothing here opens a socket, reads a
//! clock or asks an engine, and nothing panics on what a snapshot holds.
//!
//! Every figure of a core has the label `core`, and none stands there for all cores together: `sum without (core)` of the one would count the other as well. Who
//! has no PromQL asks for the page of sums ([`By::Sum`]), where the same names have no such label. Label values that can occur do so from the start, as 0, since
//! the first of something is lost to `rate()` when its series begins with it.
//!
//! `family` lists what there is, `text` knows the format.

mod family;
mod text;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

pub use family::{Family, Kind, families};
use text::{Scale, Seconds, Text};

use super::conditions::{Conditions, Interface, Side};
use crate::counted::Count;
use crate::device::{DeviceStats, Drop};
use crate::engine::Report;
use crate::engine::buckets::Times;
use crate::engine::counters::Counters;
use crate::engine::report::QueueReport;
use crate::steer::{self, Cause};
use crate::tcp::State;
use crate::tcp::tally::Happening;

/// What the page is, for the header `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything of one moment, as near as engines that go on meanwhile can be asked.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The cores, in the order of their numbers.
    pub cores: Vec<Core>,
    /// The names of the interfaces, by their positions in reports.
    pub interfaces: Vec<String>,
    /// What the XDP program of an interface did with frames.
    pub steering: Vec<(String, steer::Counters)>,
    /// What the figures depend on beside the load.
    pub conditions: Conditions,
    /// How long it took to ask for all this, in nanoseconds.
    pub asked_ns: u64,
}

/// What is known of a core.
#[derive(Clone, Debug)]
pub struct Core {
    /// What its engine has counted; `None` when it did not answer.
    pub report: Option<Report>,
    /// Connections by state, in the order of [`State::ALL`].
    pub states: [u64; State::ALL.len()],
    /// Smoothed round-trip times of some connections, those of all looks so far.
    pub smoothed_rtt: Times,
}

/// Of whom a page tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Of each core.
    Core,
    /// Of all together.
    Sum,
}

/// The page.
///
/// ```
/// use ringway::metrics::prometheus::{By, Snapshot, render};
/// let page = render(&Snapshot::default(), By::Core);
/// assert!(page.starts_with("# HELP ringway_build_info "));
/// assert!(page.lines().any(|line| line == "# TYPE ringway_drops_total counter"));
/// ```
pub fn render(snapshot: &Snapshot, by: By) -> String {
    match by {
        By::Core => {
            let numbers: Vec<String> = (0..snapshot.cores.len()).map(|number| number.to_string()).collect();
            let cores = numbers.iter().map(String::as_str).zip(&snapshot.cores).collect();
            Page { text: Text::default(), snapshot, cores }.write()
        }
        By::Sum => {
            let sum = sum(&snapshot.cores);
            // A label without a value is none.
            Page { text: Text::default(), snapshot, cores: sum.iter().map(|sum| ("", sum)).collect() }.write()
        }
    }
}

/// A page for people: where the figures are, and what the values of labels mean.
pub fn glossary() -> String {
    let mut page = format!(
        "Ringway {}\n\n/metrics      the figures of each core, for Prometheus\n/metrics/sum  the same of all cores together: scrape one of the two\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut list = |of: &str, names: Vec<(&str, &str)>| {
        let widest = names.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let _ = write!(page, "\n{of}\n");
        for (name, help) in names {
            let _ = writeln!(page, "  {name:widest$}  {help}");
        }
    };
    list("cause of ringway_drops_total", Drop::ALL.iter().map(|why| (why.name(), why.help())).collect());
    list("event of ringway_tcp_events_total", Happening::ALL.iter().map(|what| (what.name(), what.help())).collect());
    list("cause of ringway_steering_frames_total", Cause::ALL.iter().map(|cause| (cause.name(), cause.help())).collect());
    page
}

/// All cores as one; `None` when one of them did not answer: a count that falls is taken for one that began anew, and all of it for new.
fn sum(cores: &[Core]) -> Option<Core> {
    let (first, others) = cores.split_first()?;
    let (mut sum, mut together) = (first.clone(), first.report.clone()?);
    for core in others {
        together.add(core.report.as_ref()?);
        sum.states.iter_mut().zip(core.states).for_each(|(own, others)| *own += others);
        sum.smoothed_rtt.add(&core.smoothed_rtt);
    }
    Some(Core { report: Some(together), ..sum })
}

/// A page in work. Families one after the other, and in each all cores: the format wants the lines of a family together.
struct Page<'a> {
    text: Text,
    snapshot: &'a Snapshot,
    /// The value of the label `core`, and its figures.
    cores: Vec<(&'a str, &'a Core)>,
}

impl Page<'_> {
    fn write(mut self) -> String {
        self.conditions();
        self.cores();
        for count in Counters::ALL {
            self.counter(count);
        }
        self.drops_and_events();
        self.gauges();
        self.histograms();
        self.queues();
        self.steering();
        self.text.into_string()
    }

    fn conditions(&mut self) {
        let Self { text, snapshot, .. } = self;
        let Conditions { kernel, cpu, cpus, sides, .. } = &snapshot.conditions;
        let none = Side::default();
        let Side { idle, cores, interfaces, .. } = sides.first().unwrap_or(&none);
        text.family(&family::BUILD);
        text.sample(&family::BUILD, &[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.family(&family::CONDITIONS);
        let (idle, cpus) = (idle.as_deref().unwrap_or_default(), cpus.to_string());
        text.sample(&family::CONDITIONS, &[("kernel", kernel), ("cpu", cpu), ("cpus", &cpus), ("idle", idle)], 1);
        text.family(&family::INTERFACE);
        for Interface { name, driver, xdp, copy, queues, mtu, .. } in interfaces {
            let [driver, xdp, copy, queues] = [driver, xdp, copy, queues].map(|value| value.as_deref().unwrap_or_default());
            let mtu = mtu.map(|mtu| mtu.to_string()).unwrap_or_default();
            let labels = [
                ("interface", name.as_str()),
                ("driver", driver),
                ("xdp", xdp),
                ("copy", copy),
                ("queues", queues),
                ("mtu", &mtu),
            ];
            text.sample(&family::INTERFACE, &labels, 1);
        }
        text.family(&family::CORE);
        for number in 0..snapshot.cores.len() {
            let cpu = cores.get(number).map(u32::to_string).unwrap_or_default();
            text.sample(&family::CORE, &[("core", &number.to_string()), ("cpu", &cpu)], 1);
        }
    }

    /// What each core is like, or how many of all are.
    fn cores(&mut self) {
        let Self { text, snapshot, .. } = self;
        text.family(&family::ASKED);
        text.sample(&family::ASKED, &[], Seconds(snapshot.asked_ns));
        text.family(&family::CORE_UP);
        for (number, core) in snapshot.cores.iter().enumerate() {
            text.sample(&family::CORE_UP, &[("core", &number.to_string())], u8::from(core.report.is_some()));
        }
        self.each(&family::CPU, |report| Seconds(report.cpu_ns));
    }

    fn counter(&mut self, count: &Count<Counters>) {
        self.each(&Family::of(count), |report| count.of(&report.counters));
    }

    fn drops_and_events(&mut self) {
        let drops = Drop::ALL.iter().map(|why| why.name());
        self.each_of(&family::DROPS, "cause", drops, |core, name| {
            Some(core.report.as_ref()?.drops.get(name).copied().unwrap_or(0))
        });
        let events = Happening::ALL.iter().map(|what| what.name());
        self.each_of(&family::EVENTS, "event", events, |core, name| {
            Some(core.report.as_ref()?.tcp_events.get(name).copied().unwrap_or(0))
        });
    }

    fn gauges(&mut self) {
        let has_tcbs = |state: &State| !matches!(state, State::Closed | State::Listen);
        let states = State::ALL.iter().filter(|state| has_tcbs(state)).map(|state| state.name());
        self.each_of(&family::CONNECTIONS, "state", states, |core, name| {
            let at = State::ALL.iter().position(|state| state.name() == name)?;
            core.report.as_ref().map(|_| core.states[at])
        });
        self.each(&family::RESTING, |report| report.tcp.resting);
        self.each(&family::BUFFERED, |report| report.tcp.buffered_bytes);
        self.each(&family::BUFFERS, |report| report.tcp.buffer_bytes);
        self.each(&family::NEIGHBORS, |report| report.neighbors);
        self.each(&family::KEPT, |report| report.kept);
        self.each(&family::TIMERS, |report| report.timers);
    }

    fn histograms(&mut self) {
        let Self { text, cores, .. } = self;
        let reports = || cores.iter().filter_map(|&(number, core)| Some((number, core, core.report.as_ref()?.histograms)));
        text.family(&family::TURN_DURATION);
        for (number, _, histograms) in reports() {
            text.histogram(&family::TURN_DURATION, &[("core", number)], &histograms.turn_ns, Scale::Nanoseconds);
        }
        text.family(&family::TURN_FRAMES);
        for (number, _, histograms) in reports() {
            text.histogram(&family::TURN_FRAMES, &[("core", number)], &histograms.turn_frames, Scale::One);
        }
        text.family(&family::HANDSHAKES);
        for (number, _, histograms) in reports() {
            for (by, times) in [("peer", &histograms.accepted_ns), ("service", &histograms.opened_ns)] {
                text.histogram(&family::HANDSHAKES, &[("core", number), ("opened_by", by)], times, Scale::Nanoseconds);
            }
        }
        text.family(&family::SMOOTHED_RTT);
        for (number, core, _) in reports() {
            text.histogram(&family::SMOOTHED_RTT, &[("core", number)], &core.smoothed_rtt, Scale::Nanoseconds);
        }
    }

    fn queues(&mut self) {
        for count in DeviceStats::ALL {
            let family = Family::of(count);
            self.text.family(&family);
            self.each_queue(|text, labels, queue| text.sample(&family, labels, count.of(&queue.stats)));
        }
        self.text.family(&family::FRAMES);
        self.each_queue(|text, labels, queue| {
            let frames = &queue.frames;
            let places = [
                ("free", frames.free),
                ("receiving", frames.receiving),
                ("sending", frames.sending),
                ("outside", frames.outside()),
            ];
            for (place, count) in places {
                text.sample(&family::FRAMES, &[labels, &[("place", place)]].concat(), count);
            }
        });
    }

    fn steering(&mut self) {
        let Self { text, snapshot, .. } = self;
        text.family(&family::STEERING);
        for (interface, counters) in &snapshot.steering {
            for &cause in Cause::ALL {
                text.sample(&family::STEERING, &[("interface", interface), ("cause", cause.name())], counters.of(cause));
            }
        }
    }

    /// A figure of each core that answered.
    fn each<V: std::fmt::Display>(&mut self, family: &Family, value: impl Fn(&Report) -> V) {
        self.text.family(family);
        for (number, core) in &self.cores {
            if let Some(report) = &core.report {
                self.text.sample(family, &[("core", number)], value(report));
            }
        }
    }

    /// Some figures of each core, told apart by a label.
    fn each_of(
        &mut self,
        family: &Family,
        label: &str,
        names: impl Iterator<Item = &'static str> + Clone,
        value: impl Fn(&Core, &str) -> Option<u64>,
    ) {
        self.text.family(family);
        for (number, core) in &self.cores {
            for name in names.clone() {
                if let Some(value) = value(core, name) {
                    self.text.sample(family, &[("core", number), (label, name)], value);
                }
            }
        }
    }

    /// Each queue of each core, with its labels.
    fn each_queue(&mut self, mut sample: impl FnMut(&mut Text, &[(&str, &str)], &QueueReport)) {
        let Self { text, snapshot, cores } = self;
        for &(number, core) in cores.iter() {
            for queue in core.report.iter().flat_map(|report| &report.queues) {
                let interface = snapshot.interfaces.get(usize::from(queue.interface)).map_or("?", String::as_str);
                sample(text, &[("core", number), ("interface", interface), ("queue", &queue.queue.to_string())], queue);
            }
        }
    }
}
