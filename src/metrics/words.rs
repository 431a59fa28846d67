//! What the rows say, in words: what the connection costs, what the kernel costs, whether raw is calibrated.
//!
//! Only what the rows support is said: both sides of a comparison measured under the same load, without losses that matter, with
//! the percentile known; and a difference smaller than the noise between rounds is called none. Pure; cannot panic.

use super::report::Entry;
use super::table::load;
use super::units;

/// A sentence and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What it is about.
    pub topic: Topic,
    /// The sentence.
    pub text: String,
}

/// What a sentence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// TCP against UDP of the same stack.
    Connection,
    /// Kernel sockets against Ringway.
    Kernel,
    /// Raw against reflection in the kernel.
    Calibration,
}

/// The server stack of the in-kernel reflection that calibrates raw.
pub const XDP_TX: &str = "xdp-tx";
/// Raw may take so many times as long as XDP_TX reflection; beyond, it is not the limit it stands for.
pub const CALIBRATION: f64 = 2.6;
/// Without several rounds the noise is not known: differences below this share are called none.
const ASSUMED_NOISE: f64 = 0.05;
/// A row that lost more of its messages than this is not compared.
const TOLERATED_LOSS: f64 = 0.01;

/// Every sentence that the entries support.
pub fn claims(entries: &[Entry]) -> Vec<Claim> {
    let mut claims = Vec::new();
    // The first load goes without saying; sentences about another one name it.
    let first = entries.first().map(|entry| load(&entry.row));
    let under = |entry: &Entry| match load(&entry.row) {
        same if Some(&same) == first.as_ref() => String::new(),
        other => format!(" ({other})"),
    };
    for tcp in entries.iter().filter(|entry| entry.row.transport == "tcp") {
        let same = |udp: &&Entry| udp.row.transport == "udp" && stacks(udp) == stacks(tcp) && load(&udp.row) == load(&tcp.row);
        if let Some(udp) = entries.iter().find(same) {
            let start = format!("What the connection costs over {}{}", named(tcp), under(tcp));
            claims.push(Claim { topic: Topic::Connection, text: compare(&start, ("TCP", tcp), ("UDP", udp)) });
        }
    }
    for kernel in entries.iter().filter(|entry| entry.row.server_stack.starts_with("kernel")) {
        let same = |ours: &&Entry| {
            let client = ours.row.client_stack == "ringway" || ours.row.client_stack == kernel.row.client_stack;
            let load = load(&ours.row) == load(&kernel.row);
            ours.row.server_stack == "ringway" && client && ours.row.transport == kernel.row.transport && load
        };
        if let Some(ours) = entries.iter().find(same) {
            let (theirs, ours_named) = (named(kernel), named(ours));
            let start = format!("What the kernel costs, {} over {theirs}{}", kernel.row.transport.to_uppercase(), under(kernel));
            claims.push(Claim { topic: Topic::Kernel, text: compare(&start, (&theirs, kernel), (&ours_named, ours)) });
        }
    }
    claims.extend(calibration(entries));
    claims
}

/// Says whether raw is the limit that it stands for; nothing when one of the two was not measured.
fn calibration(entries: &[Entry]) -> Option<Claim> {
    let find = |stack: &str| entries.iter().find(|entry| entry.row.transport == "raw" && entry.row.server_stack == stack);
    let (raw, reflected) = (find("raw")?, find(XDP_TX)?);
    let (raw_ns, reflected_ns) = (p50(raw)?, p50(reflected)?);
    let ratio = raw_ns as f64 / reflected_ns.max(1) as f64;
    let times = format!("{} against {}", units::duration(raw_ns as f64), units::duration(reflected_ns as f64));
    let text = if ratio <= CALIBRATION {
        format!("raw is calibrated: {ratio:.2} times XDP_TX reflection at the median ({times}; at most {CALIBRATION})")
    } else {
        format!("raw is not calibrated: {ratio:.2} times XDP_TX reflection at the median ({times}; at most {CALIBRATION})")
    };
    Some(Claim { topic: Topic::Calibration, text })
}

/// One sentence: how the first entry differs from the second.
fn compare(start: &str, first: (&str, &Entry), second: (&str, &Entry)) -> String {
    let ((a_name, a), (b_name, b)) = (first, second);
    for (name, entry) in [first, second] {
        if lost_too_much(entry) {
            return format!("{start}: not compared, {name} lost {} of {} messages", entry.row.lost, due(entry));
        }
    }
    let (Some(a_ns), Some(b_ns)) = (p50(a), p50(b)) else {
        return format!("{start}: not compared, a median is not known");
    };
    let ratio = a_ns as f64 / b_ns.max(1) as f64;
    let noise = noise(a).max(noise(b));
    let times = format!("{a_name} {}, {b_name} {}", units::duration(a_ns as f64), units::duration(b_ns as f64));
    let mut text = if (ratio - 1.0).abs() <= noise {
        format!("{start}: at the median no difference beyond the noise of {:.0} % ({times})", noise * 100.0)
    } else {
        format!("{start}: {ratio:.2} times at the median ({times})")
    };
    let p99 = |entry: &Entry| entry.percentiles().p99.map(|ns| ns as f64);
    let cpu = |entry: &Entry| {
        let sides = entry.row.cpu_ns_per_message;
        sides.client.zip(sides.server).map(|(client, server)| client + server)
    };
    let mut more = Vec::new();
    if let Some((a, b)) = p99(a).zip(p99(b)) {
        more.push(format!("{:.2} times at p99 ({} against {})", a / b.max(1.0), units::duration(a), units::duration(b)));
    }
    if let Some((a, b)) = cpu(a).zip(cpu(b)) {
        let times = format!("client and server: {} against {}", units::duration(a), units::duration(b));
        more.push(format!("{:.2} times the CPU time per message ({times})", a / b.max(1.0)));
    }
    if let Some((a, b)) = a.row.packets_per_message.zip(b.row.packets_per_message) {
        more.push(format!("{a:.2} packets per message against {b:.2}"));
    }
    for part in more {
        text.push_str("; ");
        text.push_str(&part);
    }
    text
}

/// True when so many messages of a row were lost that it is not compared; also without any message.
pub(super) fn lost_too_much(entry: &Entry) -> bool {
    let due = due(entry);
    due == 0 || entry.row.lost as f64 > TOLERATED_LOSS * due as f64
}

fn due(entry: &Entry) -> u64 {
    entry.row.sent.max(entry.row.received + entry.row.lost)
}

fn p50(entry: &Entry) -> Option<u64> {
    entry.percentiles().p50
}

/// The spread of the medians of the rounds, relative to the smallest.
fn noise(entry: &Entry) -> f64 {
    match (entry.round_medians_ns.iter().min(), entry.round_medians_ns.iter().max()) {
        (Some(&min), Some(&max)) if entry.round_medians_ns.len() > 1 && min > 0 => max as f64 / min as f64 - 1.0,
        _ => ASSUMED_NOISE,
    }
}

fn stacks(entry: &Entry) -> (&str, &str) {
    (&entry.row.client_stack, &entry.row.server_stack)
}

/// How a stack is called in a sentence.
fn named(entry: &Entry) -> String {
    let name = |stack: &str| match stack {
        "ringway" => "Ringway".to_owned(),
        "kernel" => "kernel sockets".to_owned(),
        "kernel-spin" => "spinning kernel sockets".to_owned(),
        other => other.to_owned(),
    };
    match stacks(entry) {
        (client, server) if client == server || server.is_empty() => name(client),
        (client, server) => format!("{} to {}", name(client), name(server)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::report::tests::{entry, report};

    fn texts(entries: &[Entry], topic: Topic) -> Vec<String> {
        claims(entries).into_iter().filter(|claim| claim.topic == topic).map(|claim| claim.text).collect()
    }

    #[test]
    fn a_whole_comparison_says_what_connection_and_kernel_cost() {
        let report = report();
        let connection = texts(&report.entries, Topic::Connection);
        assert_eq!(connection.len(), 3);
        assert!(
            connection[0].starts_with("What the connection costs over Ringway: 1.29 times at the median (TCP 7.1"),
            "{}",
            connection[0]
        );
        assert!(
            connection[0].contains("CPU time per message (client and server: ")
                && connection[0].contains("2.00 packets per message against 2.00")
        );
        let kernel = texts(&report.entries, Topic::Kernel);
        assert_eq!(kernel.len(), 4);
        assert!(kernel[0].starts_with("What the kernel costs, UDP over kernel sockets: 3.6"), "{}", kernel[0]);
        assert!(kernel[3].contains("spinning kernel sockets"));
        assert!(texts(&report.entries, Topic::Calibration)[0].starts_with("raw is calibrated: 2.40 times"));
    }

    #[test]
    fn raw_that_is_too_slow_is_not_calibrated() {
        let entries = [entry("raw", "raw", "xdp-tx", 2000), entry("raw", "raw", "raw", 5300)];
        assert!(texts(&entries, Topic::Calibration)[0].starts_with("raw is not calibrated: 2.65 times"));
        assert!(texts(&entries[..1], Topic::Calibration).is_empty(), "one of them says nothing");
    }

    #[test]
    fn what_was_not_measured_under_the_same_load_is_not_compared() {
        let mut other = entry("udp", "kernel", "kernel", 5000);
        other.row.size = 1400;
        assert!(claims(&[entry("tcp", "kernel", "kernel", 6000), other.clone()]).is_empty());
        (other.row.size, other.row.mode) = (64, "open".into());
        assert!(claims(&[entry("tcp", "kernel", "kernel", 6000), other]).is_empty());
        assert!(claims(&[entry("tcp", "kernel", "kernel", 6000), entry("udp", "kernel-spin", "kernel-spin", 6000)]).is_empty());
    }

    #[test]
    fn a_sentence_about_another_load_than_the_first_names_it() {
        let mut entries = vec![entry("udp", "ringway", "ringway", 5000), entry("tcp", "ringway", "ringway", 6000)];
        for n in 0..2 {
            let mut many = entries[n].clone();
            many.row.mode = "closed in-flight=64".into();
            entries.push(many);
        }
        let texts = texts(&entries, Topic::Connection);
        assert!(texts[0].starts_with("What the connection costs over Ringway: "), "{}", texts[0]);
        assert!(
            texts[1].starts_with("What the connection costs over Ringway (closed in-flight=64, 1 connection, 64 bytes): "),
            "{}",
            texts[1]
        );
    }

    #[test]
    fn losses_forbid_a_comparison_and_say_so() {
        let mut lossy = entry("udp", "ringway", "ringway", 5000);
        lossy.row.lost = 150;
        let text = &texts(&[entry("tcp", "ringway", "ringway", 6000), lossy], Topic::Connection)[0];
        assert_eq!(text, "What the connection costs over Ringway: not compared, UDP lost 150 of 10150 messages");
    }

    #[test]
    fn a_difference_within_the_noise_is_none() {
        let (mut tcp, udp) = (entry("tcp", "kernel", "kernel", 6000), entry("udp", "kernel", "kernel", 5900));
        let text = texts(&[tcp.clone(), udp.clone()], Topic::Connection).remove(0);
        assert!(text.contains("no difference beyond the noise of 5 %"), "{text}");
        let mut slower = entry("udp", "kernel", "kernel", 5000);
        tcp.round_medians_ns = vec![5000, 6500];
        let text = texts(&[tcp.clone(), slower.clone()], Topic::Connection).remove(0);
        assert!(text.contains("beyond the noise of 30 %"), "{text}");
        tcp.round_medians_ns = vec![6000, 6060];
        slower.round_medians_ns = vec![5000, 5050];
        let text = texts(&[tcp, slower], Topic::Connection).remove(0);
        assert!(text.contains(": 1.20 times at the median (TCP 6."), "{text}");
    }
}
