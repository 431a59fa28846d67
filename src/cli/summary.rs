//! The block at the end of a run, as text: any report whose parts are maps of counts.
//!
//! Used by every `serve` at its end. Knows no counter by name, so that a new one needs no line here. Pure; cannot panic.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Lines of at most 80 columns: a heading for each part of the report, behind it the counts that are not zero. `always` names counts that are
/// shown as zero too, because their absence would say nothing.
pub(crate) fn block(report: &Map<String, Value>, always: &[&str]) -> String {
    let mut text = String::new();
    let mut single = Vec::new();
    for (name, value) in report {
        match value {
            Value::Object(part) => section(&mut text, name, part, always),
            Value::Array(parts) => {
                for part in parts {
                    if let Value::Object(part) = part {
                        let (heading, rest) = heading(name, part);
                        section(&mut text, &heading, &rest, always);
                    }
                }
            }
            Value::Null => {}
            value => single.push(format!("{name} {}", show(value))),
        }
    }
    if !single.is_empty() {
        wrap(&mut text, "run", &single);
    }
    text
}

/// The counts of several objects of the same form, added; `None` of none.
pub(crate) fn added(parts: impl IntoIterator<Item = Value>) -> Option<Value> {
    parts.into_iter().reduce(|mut all, part| {
        if let (Value::Object(all), Value::Object(part)) = (&mut all, part) {
            for (name, count) in part {
                let sum = all.get(&name).and_then(Value::as_u64).unwrap_or(0).saturating_add(count.as_u64().unwrap_or(0));
                all.insert(name, sum.into());
            }
        }
        all
    })
}

/// `queue 0` for a part of `queues`, and the part without what the heading says.
fn heading(name: &str, part: &Map<String, Value>) -> (String, Map<String, Value>) {
    let one = name.strip_suffix('s').unwrap_or(name);
    let mut rest = part.clone();
    let heading = rest.shift_remove(one).map_or_else(|| one.to_owned(), |value| format!("{one} {}", show(&value)));
    (heading, rest)
}

fn section(text: &mut String, name: &str, part: &Map<String, Value>, always: &[&str]) {
    let mut words = Vec::new();
    collect(&mut words, "", part, always);
    if words.is_empty() {
        words.push("none".to_owned());
    }
    wrap(text, name, &words);
}

fn collect(words: &mut Vec<String>, prefix: &str, part: &Map<String, Value>, always: &[&str]) {
    for (name, value) in part {
        match value {
            Value::Object(inner) => collect(words, &format!("{prefix}{name}."), inner, always),
            Value::Number(number) if number.as_f64() == Some(0.0) && !always.contains(&name.as_str()) => {}
            Value::Null | Value::Array(_) => {}
            value => words.push(format!("{prefix}{name} {}", show(value))),
        }
    }
}

fn wrap(text: &mut String, name: &str, words: &[String]) {
    let indent = INDENT;
    let mut line = format!("  {name:<width$}", width = indent - 3);
    for word in words {
        // With the space in front and the comma behind.
        if line.chars().count() + word.chars().count() + 2 > COLUMNS && line.trim().len() > name.len() {
            let _ = writeln!(text, "{}", line.trim_end());
            line = " ".repeat(indent - 1);
        }
        line.push(' ');
        line.push_str(word);
        line.push(',');
    }
    let _ = writeln!(text, "{}", line.trim_end_matches(','));
}

/// A number with its thousands set apart; other values as they are.
fn show(value: &Value) -> String {
    match value {
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) => thousands(whole),
            (None, Some(real)) => format!("{real:.3}"),
            (None, None) => number.to_string(),
        },
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `1234567` as `1,234,567` would be ambiguous beside the commas of the list: `1_234_567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            shown.push('_');
        }
        shown.push(digit);
    }
    shown
}

const COLUMNS: usize = 80;
/// Column in which the counts begin.
const INDENT: usize = 13;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_of_several_are_added_by_name() {
        let added = super::added([json!({"a": 1, "b": 2}), json!({"b": 3, "a": u64::MAX}), json!({"a": 0, "b": 1})]);
        assert_eq!(added, Some(json!({"a": u64::MAX, "b": 6})));
        assert_eq!(super::added([]), None);
    }

    #[test]
    fn a_report_becomes_a_block() {
        let report = json!({
            "stack": "ringway",
            "busy_share": 0.25,
            "wall_ns": 1_234_567_890_u64,
            "counters": { "turns": 1000, "parks": 0, "udp_received": 120, "udp_in_frame": 120, "udp_copies": 0, "tcp_received": 999, "tcp_sent": 1001 },
            "drops": {},
            "steering": { "steered_address": 12, "claimed_unserved": 0 },
            "queues": [{ "interface": 0, "queue": 3, "frames": { "total": 4096, "outside": 0 }, "received": 12 }],
            "nothing": null,
        });
        let block = block(report.as_object().unwrap(), &["udp_copies", "claimed_unserved"]);
        assert!(block.lines().all(|line| line.len() <= 80));
        insta::assert_snapshot!(block);
    }
}
