//! One run of one cell: both ends set up, a server, a client or two, and the figures of what they say and of what the kernel counts.
//!
//! Called by [`super::run`]. Costs are taken from outside and in the same way for every stack, between two moments inside the client's measured
//! time, and divided by the messages of that time. Nothing is left behind: children are killed and reaped, addresses taken away, on
//! success, failure and signals.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ringway::launch::Signals;
use ringway::metrics::row::Row as Measured;
use serde_json::Value;

use super::counts::{Counts, Passed};
use super::link::Links;
use super::record::Figures;
use super::rows::{Cell, Effort, FEW, Lines, PAGE, Stack, Way, Work};
use super::wrk;
use crate::cli::child::{ANSWER_LIMIT, END_LIMIT, Running, START_LIMIT, cpu_ns, pause};
use crate::cli::ends::Ends;
use crate::cli::exchange;
use crate::cli::failure::Failure;

/// What every run of a cell needs.
pub(super) struct Stand<'a> {
    pub(super) ends: &'a Ends,
    pub(super) links: Links<'a>,
    pub(super) signals: &'a Signals,
}

/// What was counted while a cell ran.
struct Taken {
    passed: Passed,
    threads: [Option<u64>; 2],
    from: Instant,
    until: Instant,
}

impl Stand<'_> {
    /// Runs `cell` once.
    ///
    /// # Errors
    /// An end cannot be set up, a child fails, or a signal came.
    pub(super) fn measure(&mut self, cell: &Cell, lines: &Lines, effort: Effort) -> Result<Figures, Failure> {
        // In this order, so that the addresses go after the sockets that are bound to them.
        let _addresses = self.links.set(cell)?;
        let id = cell.id();
        let mut server = Running::start(&format!("the server of {id}"), &self.ends.server_netns, &lines.server)?;
        server.wait_for("ready", START_LIMIT, self.signals)?;
        let mut figures = if matches!(cell.work, Work::Http(_)) {
            self.under_wrk(&id, &lines.clients[0], &server, effort)?
        } else {
            self.under_load(cell, &lines.clients, &mut server, effort)?
        };
        server.interrupt();
        let summary = server.wait_for("summary", END_LIMIT, self.signals)?;
        let status = server.wait(END_LIMIT, self.signals)?;
        if !status.success() {
            return Err(Failure::run(format!("the server of {id} failed"), status));
        }
        add_server(&mut figures, cell, &summary);
        Ok(figures)
    }

    /// The exchange that the page draws; gives what its server has recorded.
    ///
    /// # Errors
    /// As [`Stand::measure`].
    pub(super) fn exchange(&mut self, program: &Path, folder: &Path) -> Result<Vec<Value>, Failure> {
        self.links.bare()?;
        exchange::take(self.ends, program, folder, self.signals)
    }

    fn under_load(&self, cell: &Cell, lines: &[Vec<String>], server: &mut Running, effort: Effort) -> Result<Figures, Failure> {
        let id = cell.id();
        let mut clients = Vec::new();
        for line in lines {
            clients.push(Running::start(&format!("the client of {id}"), &self.ends.client_netns, line)?);
        }
        for client in &mut clients {
            client.wait_for("ready", START_LIMIT, self.signals)?;
        }
        if cell.connections() > FEW {
            // The time begins when all are open, which takes its time.
            let begun = |event: &Value| event["event"] == "interval" && event["sent"].as_u64().is_some_and(|sent| sent > 0);
            clients[0].wait_until("an interval with messages", OPEN_LIMIT, self.signals, begun)?;
        } else {
            pause(effort.warmup + effort.duration / 20, self.signals)?;
        }
        let ids: Vec<u32> = clients.iter().map(Running::id).collect();
        let taken = self.taken(server.id(), &ids, effort.duration * 3 / 4)?;
        let mut figures = Figures::default();
        for client in &mut clients {
            let row = client.wait_for("row", effort.duration + ANSWER_LIMIT, self.signals)?;
            let row: Measured = serde_json::from_value(row)
                .map_err(|error| Failure::run(format!("the client of {id} reports a row that cannot be read"), error))?;
            add_client(&mut figures, &row);
            let summary = client.wait_for("summary", END_LIMIT, self.signals)?;
            figures.client_kicks = kicks_per_frame(&summary);
        }
        for client in clients {
            let status = client.wait(END_LIMIT, self.signals)?;
            if !status.success() {
                return Err(Failure::run(format!("the client of {id} failed"), status));
            }
        }
        if let Work::Bulk(Way::Send, _) = cell.work {
            // What the receiver has counts, not what still waits at the sender.
            if let Some(bytes_per_s) = server.rate_between(taken.from, taken.until, received_bytes) {
                figures.rate_per_s = bytes_per_s / 1024.0;
            }
        }
        add_counts(&mut figures, &taken);
        Ok(figures)
    }

    /// wrk writes a text when it is done, and nothing before.
    fn under_wrk(&self, id: &str, line: &[String], server: &Running, effort: Effort) -> Result<Figures, Failure> {
        let mut client = wrk::Run::start(&self.ends.client_netns, line)?;
        pause(effort.warmup, self.signals)?;
        let taken = self.taken(server.id(), &[client.id()], effort.duration / 2)?;
        let text = client.finish(effort.duration + ANSWER_LIMIT, self.signals)?;
        let mut figures =
            wrk::figures(&text).ok_or_else(|| Failure::run(format!("wrk says nothing of {id} that can be read"), text.trim()))?;
        add_counts(&mut figures, &taken);
        Ok(figures)
    }

    /// What is counted for so long from now on.
    fn taken(&self, server: u32, clients: &[u32], span: Duration) -> Result<Taken, Failure> {
        let ends = self.ends;
        let counts = || Counts::now((server, &ends.server_if), (clients[0], &ends.client_if));
        let of_threads = || [cpu_ns(server), clients.iter().map(|&client| cpu_ns(client)).sum()];
        let (from, before, threads) = (Instant::now(), counts(), of_threads());
        pause(span, self.signals)?;
        let (after, later, until) = (counts(), of_threads(), Instant::now());
        let thread = |end: usize| later[end].zip(threads[end]).map(|(after, before)| after.saturating_sub(before));
        Ok(Taken { passed: after.since(&before, [ends.core(0), ends.core(1)]), threads: [thread(0), thread(1)], from, until })
    }
}

/// Adds what a client measured. Of two clients the rates add up, and the slower latency counts.
fn add_client(figures: &mut Figures, row: &Measured) {
    let slower = |known: Option<f64>, now: Option<u64>| match (known, now) {
        (Some(known), Some(now)) => Some(known.max(now as f64)),
        (known, now) => known.or(now.map(|ns| ns as f64)),
    };
    // Of connections that come and go the handshake counts: what is said on them may have come with it.
    let churns = row.mode.contains("churn");
    let latency = row.connect_ns.filter(|_| churns).or(row.rtt_ns).or(row.rtt_uncorrected_ns).unwrap_or_default();
    figures.rate_per_s += row.rate_per_s;
    figures.offered_per_s = row.offered_per_s;
    figures.p50_ns = slower(figures.p50_ns, latency.p50);
    figures.p90_ns = slower(figures.p90_ns, latency.p90);
    figures.p99_ns = slower(figures.p99_ns, latency.p99);
    figures.p999_ns = slower(figures.p999_ns, latency.p999);
    figures.received += row.received;
    figures.lost += row.lost;
    for (cause, count) in &row.drops {
        *figures.drops.entry(format!("client.{cause}")).or_default() += count;
    }
}

/// Adds what was counted, divided by the messages of that time.
fn add_counts(figures: &mut Figures, taken: &Taken) {
    let passed = &taken.passed;
    let messages = figures.rate_per_s * passed.seconds;
    let each = |count: Option<u64>| count.filter(|_| messages > 0.0).map(|count| count as f64 / messages);
    figures.server_cpu_ns = each(passed.busy_ns[0]);
    figures.client_cpu_ns = each(passed.busy_ns[1]);
    figures.server_thread_ns = each(taken.threads[0]);
    figures.client_thread_ns = each(taken.threads[1]);
    figures.packets_to_server = each(passed.packets.map(|packets| packets.0));
    figures.packets_from_server = each(passed.packets.map(|packets| packets.1));
    // Kicks were counted per frame until here.
    figures.client_kicks = figures.client_kicks.zip(figures.packets_to_server).map(|(kicks, packets)| kicks * packets);
    figures.steal = passed.steal;
    if let ([Some(a), Some(b)], [Some(c), Some(d)]) = (passed.busy_ns, taken.threads)
        && passed.seconds > 0.0
    {
        figures.foreign = (a + b).saturating_sub(c + d) as f64 / 2e9 / passed.seconds;
    }
    for (cause, count) in &passed.drops {
        *figures.drops.entry(cause.clone()).or_default() += count;
    }
}

/// Adds what only the server knows.
fn add_server(figures: &mut Figures, cell: &Cell, summary: &Value) {
    if cell.server == Stack::XdpTx {
        // Its work is done by whoever sends.
        (figures.server_cpu_ns, figures.server_thread_ns) = (None, None);
    }
    figures.server_kicks = kicks_per_frame(summary).zip(figures.packets_from_server).map(|(kicks, packets)| kicks * packets);
    for (cause, count) in summary["drops"].as_object().into_iter().flatten() {
        if let Some(count) = count.as_u64().filter(|&count| count > 0) {
            *figures.drops.entry(format!("server.{cause}")).or_default() += count;
        }
    }
    for queue in summary["queues"].as_array().into_iter().flatten() {
        for cause in ["fill_ring_empty", "receive_ring_full", "receive_dropped"] {
            if let Some(count) = queue[cause].as_u64().filter(|&count| count > 0) {
                *figures.drops.entry(format!("server.{cause}")).or_default() += count;
            }
        }
    }
}

/// Kicks per frame that was sent, over the whole run; `None` without AF_XDP sockets.
fn kicks_per_frame(summary: &Value) -> Option<f64> {
    let sum = |name: &str| summary["queues"].as_array()?.iter().map(|queue| queue[name].as_u64()).sum::<Option<u64>>();
    let (kicks, sent) = (sum("kicks")?, sum("transmitted")?);
    (sent > 0).then(|| kicks as f64 / sent as f64)
}

/// The payload that a server says it has received, and the nanoseconds since its start.
fn received_bytes(interval: &Value) -> Option<(u64, u64)> {
    let counters = &interval["counters"];
    let bytes = match counters["bytes"].as_u64() {
        Some(bytes) => bytes,
        None => counters["tcp_in_frame_bytes"].as_u64()? + counters["tcp_buffered_bytes"].as_u64()?,
    };
    Some((bytes, interval["wall_ns"].as_u64()?))
}

/// A folder with the one page that the servers of HTTP serve; removed at the end.
pub(super) struct Files(pub(super) std::path::PathBuf);

impl Files {
    /// # Errors
    /// There is no room for it.
    pub(super) fn new() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("ringway-bench-{}", std::process::id()));
        let make = || {
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir(&folder)?;
            fs::write(folder.join(PAGE), [b'.'; 64])
        };
        make().map_err(|error| {
            ringway::error::SetupError::environment(format!("cannot make the folder {}", folder.display()), error.to_string())
        })?;
        Ok(Self(folder))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How long it may take to open all connections of a cell.
const OPEN_LIMIT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::bench::rows;

    #[test]
    fn costs_are_divided_by_the_messages_of_their_time() {
        let mut figures = Figures { rate_per_s: 100.0, client_kicks: Some(0.5), ..Figures::default() };
        let at = Instant::now();
        let passed = Passed {
            seconds: 2.0,
            busy_ns: [Some(4000), None],
            packets: Some((400, 200)),
            drops: [("server.kernel.rx_dropped".to_owned(), 3)].into(),
            ..Passed::default()
        };
        add_counts(&mut figures, &Taken { passed, threads: [Some(2000), Some(600)], from: at, until: at });
        assert_eq!((figures.server_cpu_ns, figures.client_cpu_ns), (Some(20.0), None));
        assert_eq!((figures.server_thread_ns, figures.client_thread_ns), (Some(10.0), Some(3.0)));
        assert_eq!(
            (figures.packets_to_server, figures.packets_from_server, figures.client_kicks),
            (Some(2.0), Some(1.0), Some(1.0))
        );
        let summary = json!({
            "drops": { "udp_checksum": 2, "no_frame": 0 },
            "queues": [{ "kicks": 10, "transmitted": 40, "fill_ring_empty": 1 }],
        });
        let cell = rows::cells().into_iter().find(|cell| cell.id() == "udp-rate/64B/xdp-tx").expect("a cell");
        add_server(&mut figures, &cell, &summary);
        assert_eq!((figures.server_cpu_ns, figures.server_kicks), (None, Some(0.25)));
        assert_eq!(
            figures.drops.keys().collect::<Vec<_>>(),
            ["server.fill_ring_empty", "server.kernel.rx_dropped", "server.udp_checksum"]
        );
    }

    #[test]
    fn of_two_clients_rates_add_up_and_the_slower_latency_counts() {
        let row = |rate_per_s, p50| Measured {
            rate_per_s,
            received: 5,
            rtt_uncorrected_ns: Some(ringway::metrics::row::Percentiles { p50: Some(p50), ..Default::default() }),
            ..Measured::default()
        };
        let mut figures = Figures::default();
        add_client(&mut figures, &row(10.0, 700));
        add_client(&mut figures, &row(20.0, 500));
        assert_eq!((figures.rate_per_s, figures.p50_ns, figures.p99_ns, figures.received), (30.0, Some(700.0), None, 10));
    }

    #[test]
    fn bytes_are_read_of_both_kinds_of_servers() {
        assert_eq!(received_bytes(&json!({ "counters": { "bytes": 5 }, "wall_ns": 7 })), Some((5, 7)));
        let own = json!({ "counters": { "tcp_in_frame_bytes": 5, "tcp_buffered_bytes": 1 }, "wall_ns": 7 });
        assert_eq!(received_bytes(&own), Some((6, 7)));
        assert_eq!(received_bytes(&json!({ "wall_ns": 7 })), None);
    }
}
