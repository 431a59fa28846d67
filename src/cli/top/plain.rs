//! A sample as lines, where there is no screen: for pipes, logs and eyes. Pure; cannot panic.

use ringway::metrics::units;
use serde_json::{Value, json};

use super::filter::Filter;
use super::flows::Flow;
use super::order::Key;
use super::sample::Sample;
use super::table;

/// Which flows are printed, and in what order.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) sort: Key,
    pub(super) filter: Filter,
    pub(super) heaviest: usize,
}

impl Chosen {
    fn of<'a>(&self, sample: &'a Sample) -> Vec<&'a Flow> {
        let mut flows: Vec<_> = sample.flows.iter().filter(|flow| self.filter.passes(flow)).collect();
        flows.sort_by(|one, other| self.sort.compare(one, other, false));
        flows.truncate(self.heaviest);
        flows
    }
}

/// The fields of the event `sample`: its flows are those that are chosen, `flows_known` is of how many.
pub(super) fn object(sample: &Sample, chosen: &Chosen) -> Value {
    let mut object = json!(sample);
    object["flows_known"] = sample.flows.len().into();
    object["flows"] = json!(chosen.of(sample));
    object
}

/// Lines of at most 80 columns.
pub(super) fn text(sample: &Sample, chosen: &Chosen) -> String {
    let mut lines = vec![format!("{:7.1}s  {} connections, {} at rest", sample.at_seconds, sample.connections, sample.resting)];
    let columns = table::fitting(&table::CORES, &[], COLUMNS);
    lines.push(table::heading(&table::CORES, &columns));
    lines.extend(sample.cores.iter().map(|core| table::line(&table::CORES, &columns, &table::core(core))));
    if sample.cores.len() > 1 {
        let cells = table::all(sample.total.as_ref(), sample.connections, sample.resting);
        lines.push(table::line(&table::CORES, &columns, &cells));
    }
    let states = sample.states.iter().map(|entry| format!("{} {}", entry.state, entry.connections));
    let age = Some(sample.states_age_seconds).filter(|&age| age > 0.0).map(|age| format!("counted {age:.1} s ago"));
    lines.extend(wrapped("states", states.chain(age)));
    let drops = sample.drops.iter().map(|lost| {
        let total = units::count(lost.total as f64);
        format!("{} {}/s ({total} in all)", lost.cause, table::count(lost.per_second))
    });
    lines.extend(wrapped("drops", drops));
    let times = sample.timings.iter().filter(|timing| timing.count > 0).map(|timing| {
        let count = units::count(timing.count as f64);
        format!("{} {} ({count})", table::timing_name(timing), table::quantiles(timing).join(" "))
    });
    lines.extend(wrapped("times", times));
    let flows = chosen.of(sample);
    if !flows.is_empty() {
        let cells: Vec<_> = flows.into_iter().map(table::flow).collect();
        let columns = table::fitting(&table::FLOWS, &cells, COLUMNS);
        lines.push(table::heading(&table::FLOWS, &columns));
        lines.extend(cells.iter().map(|cells| table::line(&table::FLOWS, &columns, cells)));
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Parts behind a word, with commas between, in as many lines as they take; none without parts.
fn wrapped(word: &str, parts: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + part.chars().count() + 3 <= COLUMNS => *line += &format!(", {part}"),
            Some(line) => {
                line.push(',');
                lines.push(format!("{:8}{part}", ""));
            }
            None => lines.push(format!("{word:8}{part}")),
        }
    }
    lines
}

const COLUMNS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::tests::sample;

    fn chosen(heaviest: usize, filter: &str) -> Chosen {
        Chosen { sort: Key::Bytes, filter: Filter::new(filter), heaviest }
    }

    #[test]
    fn lines_of_a_sample() {
        let text = text(&sample(), &chosen(3, ""));
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn states_of_a_while_ago_are_said_to_be() {
        let late = Sample { states_age_seconds: 1.52, ..sample() };
        let said = text(&late, &chosen(0, ""));
        assert!(said.contains("\nstates  ESTABLISHED 6, FIN-WAIT-2 1, TIME-WAIT 1, counted 1.5 s ago\n"), "{said}");
    }

    #[test]
    fn an_object_has_the_chosen_flows_and_says_of_how_many() {
        let object = object(&sample(), &chosen(1, "4002"));
        let flows = object["flows"].as_array().unwrap();
        assert_eq!((flows.len(), &object["flows_known"], &flows[0]["remote"]), (1, &4.into(), &"10.0.0.1:4002".into()));
        assert_eq!(flows[0]["received_bytes_per_second"], 40.0);
        insta::assert_snapshot!(serde_json::to_string_pretty(&object).unwrap());
    }
}
