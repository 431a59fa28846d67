//! A child of a measurement: `serve` or `load` in a namespace, its JSON lines, and its end.
//!
//! Started by [`super::compare`] and [`super::bench`]. Whatever happens, a child does not outlive the measurement: it is killed and reaped on
//! drop, and it asks the kernel to end it should the measurement itself be killed ([`DIES_WITH`]). Errors are the child's, or the operator's.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringway::launch::Signals;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::failure::Failure;

/// Set for a child, to the id of the process that started it: it ends when that process does.
const DIES_WITH: &str = "RINGWAY_DIES_WITH";

/// In a child: has the kernel send SIGTERM when the parent goes, however it goes. Elsewhere it does nothing.
pub(crate) fn die_with_parent() {
    let Some(parent) = std::env::var(DIES_WITH).ok().and_then(|id| id.parse::<i32>().ok()) else { return };
    // Not worth an error: without it a child outlives only a measurement that was killed.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    if rustix::process::getppid().map(Pid::as_raw_nonzero).map(std::num::NonZero::get) != Some(parent) {
        // It went before we asked.
        std::process::exit(1);
    }
}

/// A running child.
pub(crate) struct Running {
    /// What it is, for messages: `the server of udp-ringway-1`.
    title: String,
    netns: String,
    child: Child,
    events: Receiver<(Instant, Value)>,
    /// Interval events that passed by, with the time they came.
    intervals: Vec<(Instant, Value)>,
    readers: Vec<JoinHandle<()>>,
    complaints: Receiver<String>,
}

impl Running {
    /// Starts `line` in the namespace.
    ///
    /// # Errors
    /// `ip` cannot be run. (What `ip` or the command says is found by [`Running::wait_for`].)
    pub(crate) fn start(title: &str, netns: &str, line: &[String]) -> Result<Self, Failure> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", netns]).args(line).env(DIES_WITH, std::process::id().to_string());
        // A group of its own: Ctrl-C reaches the measurement alone, which ends its children in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            let why = format!("ip cannot be run: {error}");
            ringway::error::SetupError::environment(format!("cannot start {title}"), why).mend("sudo apt-get install iproute2")
        })?;
        let (event, events) = channel::<(Instant, Value)>();
        let (complaint, complaints) = channel();
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if serde_json::from_str(&line).is_ok_and(|value| event.send((Instant::now(), value)).is_err()) {
                        break;
                    }
                }
            }));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(std::thread::spawn(move || {
                let _ = complaint.send(last_lines(stderr));
            }));
        }
        Ok(Self { title: title.to_owned(), netns: netns.to_owned(), child, events, intervals: Vec::new(), readers, complaints })
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the event of this name; intervals that come before it are kept.
    ///
    /// # Errors
    /// As [`Running::wait_until`].
    pub(crate) fn wait_for(&mut self, event: &str, limit: Duration, signals: &Signals) -> Result<Value, Failure> {
        self.wait_until(&format!("'{event}'"), limit, signals, |value| value["event"] == event)
    }

    /// Waits for an event that is meant; `what` names it for messages. Intervals that come until then are kept.
    ///
    /// # Errors
    /// The child ends or reports an error before, the time is up, or a signal asks the measurement to end.
    pub(crate) fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        signals: &Signals,
        is_meant: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            check_signals(signals)?;
            match self.events.recv_timeout(Duration::from_millis(5)) {
                Ok((_, value)) if is_meant(&value) => return Ok(value),
                Ok((_, value)) if value["event"] == "error" => return Err(self.refused(&value)),
                Ok((at, value)) if value["event"] == "interval" => self.intervals.push((at, value)),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    let why = format!("no {what} came within {} s", limit.as_secs_f64());
                    return Err(Failure::run(format!("{} does not go on", self.title), why));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    // Its output has ended; it may need a moment more to end itself.
                    let status = match self.status(Instant::now() + END_LIMIT, signals)? {
                        Some(status) => status.to_string(),
                        None => "it says nothing any more and does not end".to_owned(),
                    };
                    let said = self.complaints.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
                    return Err(Failure::run(format!("{} ended early", self.title), format!("{status} {said}").trim()));
                }
            }
        }
    }

    /// What grows per second between two points in time, from the intervals that came between them: a count and the nanoseconds at which
    /// it was so; `None` with fewer than two.
    pub(crate) fn rate_between(
        &mut self,
        from: Instant,
        until: Instant,
        read: impl Fn(&Value) -> Option<(u64, u64)>,
    ) -> Option<f64> {
        while let Ok((at, value)) = self.events.try_recv() {
            self.intervals.push((at, value));
        }
        let mut inside = self.intervals.iter().filter(|(at, _)| (from..=until).contains(at)).filter_map(|(_, value)| read(value));
        let first = inside.next()?;
        let last = inside.next_back()?;
        let ns = last.1.checked_sub(first.1).filter(|&ns| ns > 0)?;
        Some(last.0.saturating_sub(first.0) as f64 * 1e9 / ns as f64)
    }

    /// Share of the turns that found work between two points in time, from the intervals that came between them; `None` with fewer than two.
    pub(crate) fn busy_share(&self, from: Instant, until: Instant) -> Option<f64> {
        let mut inside = self.intervals.iter().filter(|(at, _)| (from..=until).contains(at)).map(|(_, value)| &value["counters"]);
        let first = inside.next()?;
        let last = inside.next_back()?;
        let since = |name: &str| Some(last[name].as_u64()?.saturating_sub(first[name].as_u64()?) as f64);
        let turns = since("turns")?;
        (turns > 0.0).then(|| since("busy_turns").map(|busy| busy / turns)).flatten()
    }

    /// Asks it to end (SIGINT), as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::INT);
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not end within `limit`, or a signal asks the measurement to end.
    pub(crate) fn wait(mut self, limit: Duration, signals: &Signals) -> Result<ExitStatus, Failure> {
        let status = self.status(Instant::now() + limit, signals)?;
        status.ok_or_else(|| Failure::run(format!("{} does not end", self.title), format!("waited {limit:?}")))
    }

    /// How it ended; `None` when it still runs at the deadline.
    fn status(&mut self, deadline: Instant, signals: &Signals) -> Result<Option<ExitStatus>, Failure> {
        loop {
            check_signals(signals)?;
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(Some(status)),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
                Ok(None) => return Ok(None),
                Err(error) => return Err(Failure::run(format!("cannot wait for {}", self.title), error)),
            }
        }
    }

    /// The child's own error, with what it was in front.
    fn refused(&self, event: &Value) -> Failure {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let what = format!("{}: {}", self.title, text("what"));
        let setup = match event["exit_code"].as_u64() {
            Some(2) => ringway::error::SetupError::usage(what, text("why")),
            Some(3) => ringway::error::SetupError::environment(what, text("why")),
            _ => return Failure::run(what, text("why")),
        };
        Failure::Setup(match event["mend"].as_str() {
            Some(command) => setup.mend(in_namespace(&self.netns, command)),
            None => setup,
        })
    }
}

/// A command that a child names works in the child's namespace; an option it names is none of ours, and stays as it is.
fn in_namespace(netns: &str, command: &str) -> String {
    let plain = command.strip_prefix("sudo ").unwrap_or(command);
    let acts_on_interfaces = ["ip ", "ethtool ", "bpftool "].iter().any(|tool| plain.starts_with(tool));
    if acts_on_interfaces { format!("sudo ip netns exec {netns} {plain}") } else { command.to_owned() }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After a normal end both calls find nothing to do.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// Words as a shell reads them back.
pub(crate) fn shell(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./@[]".contains(c);
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// CPU time of all threads of a process, in nanoseconds, as the scheduler counts it.
pub(crate) fn cpu_ns(id: u32) -> Option<u64> {
    let mut total = 0_u64;
    for task in std::fs::read_dir(format!("/proc/{id}/task")).ok()? {
        let line = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        total = total.saturating_add(line.split_whitespace().next()?.parse().ok()?);
    }
    Some(total)
}

/// Sleeps so long.
///
/// # Errors
/// A signal came.
pub(crate) fn pause(span: Duration, signals: &Signals) -> Result<(), Failure> {
    let end = Instant::now() + span;
    loop {
        check_signals(signals)?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        // Few wake-ups: the two cores belong to the server and to the client.
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// # Errors
/// A signal came.
pub(crate) fn check_signals(signals: &Signals) -> Result<(), Failure> {
    if signals.asked() { Err(Failure::run("the comparison is not complete", "it was interrupted")) } else { Ok(()) }
}

/// The last lines of a stream, read to its end.
fn last_lines(stream: impl Read) -> String {
    let mut last = VecDeque::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if last.len() == LINES_KEPT {
            last.pop_front();
        }
        last.push_back(line);
    }
    last.make_contiguous().join("\n")
}

/// Lines of a child's stderr that an error repeats.
const LINES_KEPT: usize = 8;
/// How long a child may take until it is ready: sockets, program, queue retries.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(10);
/// How long the client may take from the end of the measured time to its row: answers are waited for, connections closed.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long a child may take to end.
pub(crate) const END_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_mends_a_childs_namespace_is_run_in_it() {
        assert_eq!(in_namespace("srv", "sudo ip link set veth0 up"), "sudo ip netns exec srv ip link set veth0 up");
        assert_eq!(
            in_namespace("srv", "ip address del 10.0.0.2/24 dev veth0 (or ...)"),
            "sudo ip netns exec srv ip address del 10.0.0.2/24 dev veth0 (or ...)"
        );
        for everywhere in ["sudo setcap cap_net_raw+ep ./ringway", "--zerocopy off", "sudo ipset list"] {
            assert_eq!(in_namespace("srv", everywhere), everywhere);
        }
    }
}
