//! The built `ringway` command, started on the server side of a world and stopped with its accounts checked.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, unbounded};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::Netns;
use crate::world::{INTERFACE, SERVER_CIDR, World};

/// The command under test.
pub(crate) const RINGWAY: &str = env!("CARGO_BIN_EXE_ringway");

/// How long a start or a stop may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running `ringway serve --json`.
pub(crate) struct Server {
    child: Child,
    events: Receiver<Value>,
    log: JoinHandle<String>,
    /// What it said when it was ready.
    pub(crate) ready: Value,
}

impl Server {
    /// All shipped services at their usual ports, on an address of Ringway's own.
    pub(crate) fn start(world: &World) -> Self {
        Self::with(world, &["-a", SERVER_CIDR, "echo:7", "discard:9", "daytime:13", "chargen:19"])
    }

    /// `ringway serve --json -i veth0 ARGUMENTS`, when it carries traffic.
    pub(crate) fn with(world: &World, arguments: &[&str]) -> Self {
        let mut command = world.server.command(RINGWAY);
        // Nobody else is on the link: looking for others would take a second. What was given comes after it, and wins.
        command.args(["serve", "--json", "-i", INTERFACE, "--set", "address.probes=0"]).args(arguments);
        Self::spawn(&mut command)
    }

    /// The same of any command that ends up as `ringway serve --json`.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ip starts");
        let stdout = child.stdout.take().expect("piped");
        let mut stderr = child.stderr.take().expect("piped");
        let log = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let (sender, events) = unbounded();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"));
                assert_eq!(event["schema"], 1, "{line}");
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let mut server = Self { child, events, log, ready: Value::Null };
        match server.event("ready") {
            Some(ready) => server.ready = ready,
            None => panic!("{command:?} ended with {:?}:\n{}", wait(&mut server.child), server.take_log()),
        }
        server
    }

    /// The next event of a kind; `None` when the command ends without one.
    pub(crate) fn event(&self, kind: &str) -> Option<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) if event["event"] == kind => return Some(event),
                Ok(event) if event["event"] == "error" => {
                    eprintln!("{event}");
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => panic!("no '{kind}' within {PATIENCE:?}"),
            }
        }
    }

    /// Resident memory of the process in KiB, as the kernel counts it.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the process is there");
    }

    /// Ends it with SIGTERM, as an orderly stop; asserts exit code 0 and balanced accounts.
    pub(crate) fn stop(self) -> Summary {
        self.signal(Signal::TERM);
        self.finish()
    }

    /// Waits until a stop that was already asked for is complete; asserts as [`Server::stop`] does.
    pub(crate) fn finish(self) -> Summary {
        let summary = self.finish_frames();
        summary.assert_balanced();
        summary
    }

    /// The same of a command without connections: asserts exit code 0, and that no frame is missing.
    pub(crate) fn finish_frames(mut self) -> Summary {
        let summary = self.event("summary").expect("a summary before the end");
        let status = wait(&mut self.child);
        let log = self.take_log();
        assert_eq!(status, Some(0), "{log}");
        let summary = Summary { value: summary, log };
        summary.assert_frames();
        summary
    }

    /// Waits until the process has ended, whatever its accounts.
    pub(crate) fn wait(&mut self) {
        wait(&mut self.child);
    }

    /// `kill -9`: nothing of the process runs any more when this returns.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        wait(&mut self.child);
    }

    fn take_log(&mut self) -> String {
        std::mem::replace(&mut self.log, thread::spawn(String::new)).join().expect("the log was read")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            eprintln!("{}", self.take_log());
            assert!(thread::panicking(), "the test did not stop its server, so its accounts were not checked");
        }
    }
}

/// What `ringway serve` says when it ends.
pub(crate) struct Summary {
    value: Value,
    /// Its standard error, from start to end.
    pub(crate) log: String,
}

impl Summary {
    /// A counter of the engine.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.value["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name} in {}", self.value))
    }

    /// How often something happened to connections.
    pub(crate) fn happened(&self, name: &str) -> u64 {
        self.value["tcp_events"][name].as_u64().unwrap_or(0)
    }

    /// Neighbours the engine remembered at its end.
    pub(crate) fn neighbors(&self) -> u64 {
        self.value["neighbors"].as_u64().unwrap_or_else(|| panic!("no neighbors in {}", self.value))
    }

    /// Drops for a cause.
    pub(crate) fn dropped(&self, cause: &str) -> u64 {
        self.value["drops"][cause].as_u64().unwrap_or(0)
    }

    /// All drops by cause: what the engine counted.
    pub(crate) fn drops(&self) -> Vec<(String, u64)> {
        let drops = self.value["drops"].as_object().expect("drops is an object");
        drops.iter().map(|(cause, n)| (cause.clone(), n.as_u64().expect("a count"))).collect()
    }

    /// What the XDP program counted.
    pub(crate) fn steered(&self, outcome: &str) -> u64 {
        self.value["steering"][outcome].as_u64().unwrap_or(0)
    }

    /// Connections in TIME-WAIT at the end.
    pub(crate) fn in_time_wait(&self) -> u64 {
        self.value["tcp"]["time_wait"].as_u64().unwrap_or_else(|| panic!("no tcp.time_wait in {}", self.value))
    }

    /// The whole of it.
    pub(crate) const fn value(&self) -> &Value {
        &self.value
    }

    /// Frames in == frames out, and no connection left: what every test ends with.
    fn assert_balanced(&self) {
        self.assert_frames();
        assert_eq!(self.value["tcp"]["open"], 0, "connections are left: {}", self.value);
        assert_eq!(self.value["kept"], 0, "datagrams are kept: {}", self.value);
    }

    /// Frames in == frames out.
    fn assert_frames(&self) {
        let queues = self.value["queues"].as_array().expect("queues is a list");
        assert!(!queues.is_empty(), "{}", self.value);
        for queue in queues {
            let frames = |place: &str| queue["frames"][place].as_u64().unwrap_or_else(|| panic!("no frames.{place} in {queue}"));
            assert!(frames("total") > 0, "{queue}");
            assert_eq!(frames("total"), frames("free") + frames("receiving"), "frames are missing: {queue}");
            assert_eq!((frames("sending"), frames("outside")), (0, 0), "{queue}");
        }
    }
}

/// A `ringway` command that runs to its end: its exit code, standard output and standard error.
pub(crate) fn ringway(netns: &Netns, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = netns.command(RINGWAY);
    command.args(arguments);
    run_to_end(command)
}

/// The same of any command.
pub(crate) fn run_to_end(command: Command) -> (Option<i32>, String, String) {
    run_to_end_within(command, Duration::from_secs(90))
}

/// The same of a command that may take longer, or must not take so long.
pub(crate) fn run_to_end_within(mut command: Command, patience: Duration) -> (Option<i32>, String, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ip starts");
    let (mut stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    thread::scope(|scope| {
        let out = scope.spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text).expect("UTF-8")
        });
        let log = scope.spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).map(|_| text).expect("UTF-8")
        });
        let code = wait_for(&mut child, patience);
        (code, out.join().expect("read"), log.join().expect("read"))
    })
}

fn wait(child: &mut Child) -> Option<i32> {
    wait_for(child, PATIENCE)
}

/// The exit code of a child that ends in time; `None` when a signal ended it. One that does not end is killed, and the test fails.
fn wait_for(child: &mut Child, patience: Duration) -> Option<i32> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return status.code();
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the command did not end within {patience:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}
