//! Rows as text: connections as `ss -ti` shows them, everything else in columns or words. Pure; cannot panic.

use std::fmt::Write as _;

use ringway::metrics::units;
use ringway::wire::tcp::Flags;
use serde_json::Value;

use crate::cli::summary;

/// Turns rows into lines, with a heading before the first.
#[derive(Debug)]
pub(super) struct Text {
    brief: bool,
    begun: bool,
}

impl Text {
    pub(super) const fn new(brief: bool) -> Self {
        Self { brief, begun: false }
    }

    /// The lines of a row.
    pub(super) fn row(&mut self, row: &Value) -> String {
        let (heading, line) = match row["event"].as_str().unwrap_or_default() {
            "connection" => (self.connection_heading(), self.connection(row)),
            "listener" => (listener(&["Netid", "Local Address:Port", "Worker", "Half-open/Backlog", "Peer"]), {
                let backlog = match (row["half_open"].as_u64(), row["backlog"].as_u64()) {
                    (Some(open), Some(backlog)) => format!("{open}/{backlog}"),
                    _ => "-".to_owned(),
                };
                listener(&[&word(row, "transport"), &word(row, "local"), &word(row, "worker"), &backlog, &word(row, "peer")])
            }),
            "neighbor" => (
                neighbor(&["Address", "Ethernet", "State", "Interface", "Worker"]),
                neighbor(
                    &["address", "mac", "state", "interface", "worker"]
                        .map(|name| word(row, name))
                        .each_ref()
                        .map(String::as_str),
                ),
            ),
            "route" => (
                route(&["Destination", "Gateway", "Interface", "Source"]),
                route(&["to", "via", "interface", "source"].map(|name| word(row, name)).each_ref().map(String::as_str)),
            ),
            "record" => (String::new(), record(row)),
            _ => (String::new(), block(row)),
        };
        if std::mem::replace(&mut self.begun, true) || heading.is_empty() {
            line
        } else {
            format!("{}\n{line}", heading.trim_end())
        }
    }

    fn connection_heading(&self) -> String {
        let queues = if self.brief { "" } else { "Recv-Q Send-Q " };
        format!("{:<12} {queues}{:<28} {:<28} Worker Age", "State", "Local Address:Port", "Peer Address:Port")
    }

    fn connection(&self, row: &Value) -> String {
        let queues = match self.brief {
            true => String::new(),
            false => format!("{:<6} {:<6} ", word(row, "receive_queue"), word(row, "send_queue")),
        };
        let age = row["age_ns"].as_f64().map_or_else(|| "-".to_owned(), units::duration);
        let [state, local, remote, worker] = ["state", "local", "remote", "worker"].map(|name| word(row, name));
        let mut line = format!("{state:<12} {queues}{local:<28} {remote:<28} {worker:<6} {age}");
        if let Some(congestion) = row["congestion"].as_str() {
            let time = |name: &str| row[name].as_f64().map_or_else(|| "-".to_owned(), |ns| units::duration(ns).replace(' ', ""));
            let _ = write!(
                line,
                "\n\t{congestion} cwnd:{} ssthresh:{} rtt:{} rto:{} mss:{} retrans:{}",
                word(row, "cwnd"),
                word(row, "ssthresh"),
                time("srtt_ns"),
                time("rto_ns"),
                word(row, "mss"),
                word(row, "retransmitted")
            );
        }
        line
    }
}

fn listener(cells: &[&str; 5]) -> String {
    format!("{:<5} {:<28} {:<6} {:<17} {}", cells[0], cells[1], cells[2], cells[3], cells[4])
}

fn neighbor(cells: &[&str; 5]) -> String {
    format!("{:<28} {:<17} {:<10} {:<12} {}", cells[0], cells[1], cells[2], cells[3], cells[4])
}

fn route(cells: &[&str; 4]) -> String {
    format!("{:<28} {:<28} {:<12} {}", cells[0], cells[1], cells[2], cells[3])
}

/// A record: when, both ends with the direction between them, what the segment says, and what it did.
fn record(row: &Value) -> String {
    let kind = row["kind"].as_str().unwrap_or_default();
    let arrow = match kind {
        "received" | "datagram-received" => "<",
        "changed" => "|",
        _ => ">",
    };
    let seconds = row["unix_ns"].as_u64().unwrap_or(0) / 1000 % 86_400_000_000;
    let (minutes, micros) = (seconds / 60_000_000, seconds % 60_000_000);
    let mut line = format!(
        "{:02}:{:02}:{:02}.{:06} {} {arrow} {}",
        minutes / 60,
        minutes % 60,
        micros / 1_000_000,
        micros % 1_000_000,
        word(row, "local"),
        word(row, "remote")
    );
    if let Some(flags) = row["flags"].as_u64() {
        let flags = Flags(flags as u8);
        let _ = write!(line, " {flags} seq {}", word(row, "seq"));
        if flags.contains(Flags::ACK) {
            let _ = write!(line, " ack {}", word(row, "ack"));
        }
        let _ = write!(line, " win {}", word(row, "window"));
    }
    if kind != "changed" {
        let _ = write!(line, " len {}", word(row, "len"));
    }
    for block in row["sack"].as_array().into_iter().flatten() {
        let _ = write!(line, " sack {}-{}", block[0], block[1]);
    }
    if kind == "sent-again" {
        line.push_str(" again");
    }
    match (row["state_before"].as_str(), row["state"].as_str()) {
        (Some(before), Some(after)) if before != after => {
            let _ = write!(line, " {before} -> {after}");
        }
        (_, Some(state)) => {
            let _ = write!(line, " {state}");
        }
        _ => {}
    }
    if row["cwnd"].as_u64().is_some_and(|cwnd| cwnd > 0) {
        let _ = write!(line, " cwnd {}", word(row, "cwnd"));
    }
    if let Some(cause) = row["cause"].as_str() {
        let _ = write!(line, " {cause}");
    }
    line
}

/// Counts, as the summary of a run shows them.
fn block(row: &Value) -> String {
    let Value::Object(row) = row else { return String::new() };
    let mut parts = row.clone();
    parts.remove("schema");
    parts.remove("event");
    summary::block(&parts, &[])
}

/// A field as a word; `-` when there is none.
fn word(row: &Value, name: &str) -> String {
    match &row[name] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn connections_look_as_those_of_the_kernel_do() {
        let row = json!({
            "event": "connection", "state": "ESTABLISHED", "local": "10.0.0.2:7", "remote": "10.0.0.1:40000", "interface": "veth0",
            "worker": 1, "age_ns": 1_500_000_000_u64, "receive_queue": 0, "send_queue": 64, "congestion": "cubic", "cwnd": 14480,
            "ssthresh": null, "srtt_ns": 120_000, "rto_ns": 200_000_000, "mss": 1448, "retransmitted": 2,
        });
        let mut text = Text::new(false);
        insta::assert_snapshot!(format!("{}\n{}", text.row(&row), text.row(&row)));
        let brief = json!({
            "event": "connection", "state": "TIME-WAIT", "local": "[fd00::2]:7", "remote": "[fd00::1]:40000", "worker": 0, "age_ns": 900,
        });
        insta::assert_snapshot!(Text::new(true).row(&brief));
    }

    #[test]
    fn what_is_missing_is_a_dash() {
        let row = json!({ "event": "neighbor", "address": "10.0.0.9", "mac": null, "state": "INCOMPLETE", "interface": "veth0", "worker": 0 });
        let lines = Text::new(false).row(&row);
        assert!(
            lines
                .lines()
                .nth(1)
                .is_some_and(|line| line.starts_with("10.0.0.9                     -                 INCOMPLETE veth0")),
            "{lines}"
        );
        assert!(Text::new(false).row(&json!(null)).is_empty());
    }
}
