//! `ringway top` beside a server with traffic: its screen in a terminal of tmux, its lines and objects without one.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::bounded;
use serde_json::Value;

use crate::client::{connect, exchange, server as address};
use crate::common::{enter, run};
use crate::server::{RINGWAY, Server, ringway, run_to_end};
use crate::world::{SERVER_CIDR, World, usual_queues};

/// Two clients, of which one sends and receives a lot, and one a little.
struct Talk {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    heavy: u16,
    light: u16,
}

impl Talk {
    fn begin(world: &World) -> Self {
        let (name, done) = (world.client.name.clone(), Arc::new(AtomicBool::new(false)));
        let (tell, ports) = bounded(1);
        let is_done = Arc::clone(&done);
        let thread = thread::spawn(move || {
            enter(&name);
            assert!(TcpStream::connect(address(81)).is_err(), "nobody listens there");
            let (mut heavy, mut light) = (connect(7), connect(9));
            let port = |stream: &TcpStream| stream.local_addr().expect("an address").port();
            tell.send((port(&heavy), port(&light))).expect("somebody asks");
            while !is_done.load(Ordering::Relaxed) {
                exchange(&mut heavy, &[7; 4000]);
                light.write_all(&[1; 10]).expect("write");
                thread::sleep(Duration::from_millis(5));
            }
        });
        let (heavy, light) = ports.recv_timeout(Duration::from_secs(10)).expect("both connect");
        Self { done, thread: Some(thread), heavy, light }
    }

    fn end(mut self) {
        self.done.store(true, Ordering::Relaxed);
        self.thread.take().expect("it was there").join().expect("it has talked");
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A terminal with a shell in it that runs one command, says how it ended and how the terminal is then.
struct Terminal {
    /// The name of a tmux server of its own.
    name: String,
}

impl Terminal {
    fn run(command: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let terminal = Self { name: format!("rw-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)) };
        let script = format!("echo before; {command}; echo ended with $?; stty -a; exec sleep 60");
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "sh", "-c", &script]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.env_remove("TMUX").env_remove("NO_COLOR").args(["-u", "-L", &self.name]).args(arguments);
        String::from_utf8(run(&mut command).stdout).expect("UTF-8")
    }

    /// Presses keys, by their names in tmux.
    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// What stands on the screen.
    fn seen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as it is wanted; gives it.
    fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let seen = self.seen();
            if wanted(&seen) {
                return seen;
            }
            assert!(Instant::now() < deadline, "no {what}:\n{seen}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the command has ended with this code and has left the terminal as it was.
    fn expect_end(&self, code: i32) {
        let seen = self.wait_for("end", |seen| seen.contains(&format!("ended with {code}")) && seen.contains("icanon"));
        assert!(seen.starts_with("before\n") && !seen.contains("-icanon") && !seen.contains("-echo "), "{seen}");
        assert_eq!(self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]), "0 1\n", "the screen and the cursor");
    }

    /// The process that the shell runs.
    fn child(&self) -> String {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        String::from_utf8(run(Command::new("pgrep").args(["-P", shell.trim()])).stdout).expect("UTF-8").trim().to_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.name, "kill-server"]).output();
    }
}

/// The ports of the peers of all flows that a screen lists, in their order.
fn peers(seen: &str) -> Vec<u16> {
    let below = seen.lines().skip_while(|line| !line.starts_with("flows by")).skip(2);
    // State, local end, remote end.
    let port = |line: &str| line.split_whitespace().nth(2)?.rsplit_once(':')?.1.parse().ok();
    below.filter_map(port).collect()
}

#[test]
fn a_screen_shows_rates_states_and_flows_and_takes_keys() {
    let Some(world) = World::new() else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7", "discard:9"]);
    let talk = Talk::begin(&world);
    let (heavy, light) = (talk.heavy, talk.light);
    let terminal = Terminal::run(&format!("{RINGWAY} top --pid {} --interval 200ms", server.id()));
    // Both are told of twice: the heavy one first, with a rate.
    let known =
        |seen: &str| seen.lines().filter(|line| line.starts_with("ESTABLISHED  10.") && !line.contains(" - ")).count() == 2;
    let seen = terminal.wait_for("flows with rates", |seen| peers(seen) == [heavy, light] && known(seen));
    assert!(seen.contains(&format!("ringway top  pid {}  every 200ms", server.id())), "{seen}");
    let has = |words: &[&str]| seen.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(&["core", "busy", "rx/s"]) && has(&["ESTABLISHED       2 "]) && has(&["tcp_port_closed"]), "{seen}");
    assert!(has(&["turn ", "<="]) && has(&["srtt "]) && has(&["flows by bytes: 2, "]), "{seen}");
    let row = seen.lines().find(|line| line.contains(&format!(":{heavy} "))).expect("the heavy flow");
    let carried: Vec<_> = row.split_whitespace().skip(3).take(2).collect();
    assert!(carried.iter().all(|rate| rate.ends_with('K') || rate.ends_with('M')), "{row}");

    terminal.press(&["r"]);
    terminal.wait_for("reversed order", |seen| peers(seen) == [light, heavy] && seen.contains("flows by bytes, reversed"));
    terminal.press(&["r", "s"]);
    terminal.wait_for("order by another column", |seen| seen.contains("flows by in: ") && seen.contains("INB/S"));
    terminal.press(&["/"]);
    terminal.press(&["-l", &format!("{light} estab")]);
    terminal.press(&["Enter"]);
    terminal.wait_for("filtered flows", |seen| peers(seen) == [light] && seen.contains(&format!("1 with '{light} estab' of 2")));

    terminal.press(&["Enter"]);
    let ladder = terminal.wait_for("ladder", |seen| seen.contains("ladder of ") && seen.contains("SYN seq=0"));
    assert!(
        ladder.contains(&format!(":{light}")) && ladder.contains("SYN ACK seq=0") && ladder.contains("ESTABLISHED"),
        "{ladder}"
    );
    assert!(!ladder.contains(&heavy.to_string()), "{ladder}");
    terminal.press(&["Down", "j", "j", "Down"]);
    terminal.wait_for("later part", |seen| {
        seen.contains("  line 5 of ") && !seen.contains("SYN seq=0") && seen.contains("segments, ")
    });
    terminal.press(&["Escape"]);
    terminal.wait_for("flows again", |seen| peers(seen) == [light]);
    terminal.press(&["Escape"]);
    terminal.wait_for("all flows", |seen| peers(seen).len() == 2);

    terminal.press(&["2", "p"]);
    terminal.wait_for("page of workers", |seen| seen.contains("PAUSED") && !seen.contains("flows by"));
    terminal.press(&["p", "4", "+"]);
    terminal.wait_for("longer interval", |seen| seen.contains("every 500ms") && !seen.contains("PAUSED"));
    terminal.tmux(&["resize-window", "-x", "50", "-y", "12"]);
    terminal
        .wait_for("smaller picture", |seen| seen.lines().count() <= 12 && seen.contains("q quit") && seen.contains("flows by"));
    terminal.tmux(&["resize-window", "-x", "110", "-y", "40"]);
    terminal.wait_for("larger picture", |seen| seen.lines().count() == 40 && seen.contains("p pause"));
    terminal.press(&["q"]);
    terminal.expect_end(0);
    talk.end();
    server.stop();
}

#[test]
fn a_signal_and_the_end_of_the_server_give_the_terminal_back() {
    let Some(world) = World::new() else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7"]);
    let command = format!("{RINGWAY} top --pid {} --interval 100ms", server.id());
    let terminal = Terminal::run(&command);
    terminal.wait_for("picture", |seen| seen.contains("ringway top  pid"));
    run(Command::new("kill").args(["-TERM", &terminal.child()]));
    terminal.expect_end(0);
    let terminal = Terminal::run(&command);
    terminal.wait_for("picture", |seen| seen.contains("ringway top  pid"));
    server.stop();
    terminal.wait_for("word of it", |seen| seen.contains("ENDED: "));
    terminal.press(&["q"]);
    terminal.expect_end(1);
    assert!(terminal.seen().contains("cannot look at pid"), "{}", terminal.seen());
}

/// Whoever reads from such a terminal finds its end again and again, without waiting.
#[test]
fn a_terminal_that_goes_away_ends_it() {
    let Some(world) = World::new() else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7"]);
    // Not even told of it by the signal that comes with it.
    let terminal = Terminal::run(&format!("trap '' HUP; {RINGWAY} top --pid {} --interval 100ms", server.id()));
    terminal.wait_for("picture", |seen| seen.contains("ringway top  pid"));
    let process = format!("/proc/{}", terminal.child());
    assert!(fs::exists(&process).expect("/proc is there"));
    drop(terminal);
    let deadline = Instant::now() + Duration::from_secs(10);
    while fs::exists(&process).expect("/proc is there") {
        assert!(Instant::now() < deadline, "it goes on without a terminal");
        thread::sleep(Duration::from_millis(20));
    }
    server.stop();
}

#[test]
fn without_a_terminal_samples_are_lines_or_objects() {
    let Some(world) = World::with_queues(2) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7", "discard:9"]);
    let talk = Talk::begin(&world);
    let pid = server.id().to_string();
    let top = ["top", "--pid", &pid, "--count", "2", "--interval", "300ms"];
    let (code, out, log) = ringway(&world.server, &[&top[..], &["--json", "--heaviest", "1"]].concat());
    assert_eq!((code, log.as_str()), (Some(0), ""));
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [first, second, summary] = &events[..] else { panic!("{out}") };
    assert_eq!((&summary["event"], &summary["samples"]), (&"summary".into(), &2.into()));
    for sample in [first, second] {
        let number = |path: &str| sample.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {sample}"));
        assert_eq!(
            (&sample["schema"], &sample["event"], sample["cores"].as_array().map(Vec::len)),
            (&1.into(), &"sample".into(), Some(2))
        );
        assert!(number("/total/received_frames_per_second") > 50.0 && number("/total/cpu_share") > 0.0, "{sample}");
        let of_cores = number("/cores/0/rates/sent_bytes_per_second") + number("/cores/1/rates/sent_bytes_per_second");
        assert!((of_cores - number("/total/sent_bytes_per_second")).abs() < 1.0, "{sample}");
        assert!(number("/cores/0/rates/busy_share") <= 1.0 && number("/total/busy_share") > 0.0, "{sample}");
        assert_eq!((&sample["connections"], &sample["flows_known"]), (&2.into(), &2.into()));
        assert_eq!((&sample["states"][0]["state"], &sample["states"][0]["connections"]), (&"ESTABLISHED".into(), &2.into()));
        assert!(
            sample["drops"].as_array().is_some_and(|drops| drops.iter().any(|drop| drop["cause"] == "tcp_port_closed")),
            "{sample}"
        );
        let [flow] = &sample["flows"].as_array().expect("flows")[..] else { panic!("{sample}") };
        assert!(flow["remote"].as_str().is_some_and(|end| end.ends_with(&format!(":{}", talk.heavy))), "{flow}");
        assert!(flow["received_bytes_per_second"].as_f64().is_some_and(|rate| rate > 10_000.0), "{flow}");
        let timing =
            |name: &str| sample["timings"].as_array().into_iter().flatten().find(|timing| timing["name"] == name).expect("it");
        assert!(timing("srtt_ns")["p50"]["is"].as_u64().is_some_and(|ns| ns > 0), "{sample}");
    }
    let (code, text, log) = ringway(&world.server, &top);
    assert_eq!((code, log.as_str()), (Some(0), ""));
    assert!(!text.contains('\x1b') && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for part in ["core  busy", " all ", "states  ESTABLISHED 2", "tcp_port_closed", "times   ", &format!(":{}", talk.light)] {
        assert_eq!(text.matches(part).count(), 2, "{part} in\n{text}");
    }
    talk.end();
    server.stop();
}

#[test]
fn of_many_flows_some_are_told_of_each_time_and_those_at_rest_never() {
    let Some(world) = World::new() else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7"]);
    let (busy, idle): (Vec<_>, Vec<_>) =
        world.client.inside(|| (0..13).map(|_| connect(7)).enumerate().partition(|(nth, _)| *nth < 8));
    let done = AtomicBool::new(false);
    let samples: Vec<Value> = thread::scope(|scope| {
        scope.spawn(|| {
            let mut streams: Vec<_> = busy.iter().map(|(_, stream)| stream.try_clone().expect("a descriptor")).collect();
            while !done.load(Ordering::Relaxed) {
                streams.iter_mut().for_each(|stream| exchange(stream, &[7; 100]));
            }
        });
        let pid = server.id().to_string();
        let top = ["top", "--json", "--pid", &pid, "--flows", "3", "--heaviest", "99", "--interval", "200ms", "--count", "9"];
        let (code, out, log) = ringway(&world.server, &top);
        done.store(true, Ordering::Relaxed);
        assert_eq!(code, Some(0), "{out}{log}");
        out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    });
    let known = |sample: &Value| sample["flows_known"].as_u64().expect("a count");
    let most = u64::from(2 * 3 * usual_queues());
    assert!(known(&samples[0]) <= most, "three of each worker in each of the first two readings: {}", samples[0]);
    let last = &samples[8];
    assert_eq!((known(last), &last["connections"], &last["resting"]), (8, &13.into(), &5.into()), "{last}");
    let flows = last["flows"].as_array().expect("flows");
    let carries = |flow: &&Value| flow["acknowledged_bytes_per_second"].as_f64().is_some_and(|rate| rate > 100.0);
    assert_eq!(flows.iter().filter(carries).count(), 8, "{last}");
    drop((busy, idle));
    server.stop();
}

#[test]
fn a_server_that_ends_ends_the_samples_with_1() {
    let Some(world) = World::new() else { return };
    let path = format!("{}/rw-top-{}/one.sock", std::env::temp_dir().display(), std::process::id());
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--control", &path, "echo:7"]);
    let mut command = world.server.command(RINGWAY);
    command.args(["top", "--json", "--interval", "100ms", "--socket", &path]);
    let top = thread::spawn(move || run_to_end(command));
    thread::sleep(Duration::from_millis(700));
    server.stop();
    let (code, out, log) = top.join().expect("it has run");
    assert_eq!((code, log.as_str()), (Some(1), ""));
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (last, samples) = events.split_last().expect("events");
    assert!(last["event"] == "error" && last["what"].as_str().is_some_and(|what| what.starts_with("cannot look at")), "{last}");
    assert!(!samples.is_empty() && samples.iter().all(|sample| sample["event"] == "sample"), "{out}");
    fs::remove_dir(std::path::Path::new(&path).parent().expect("a folder")).expect("it is empty");
}
