//! What a service manager is told (sd_notify(3)): by a socket of the test's own, in the place of systemd's.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::{connect, exchange};
use crate::server::{RINGWAY, Server, ringway};
use crate::world::{INTERFACE, SERVER_CIDR, World};

/// The manager's end.
struct Manager {
    folder: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("bind");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set a timeout");
        Self { folder, socket }
    }

    /// `ringway serve` as a service with a watchdog of so many milliseconds.
    fn start(&self, world: &World, watchdog_ms: u32, arguments: &[&str]) -> Server {
        let mut command = world.server.command(RINGWAY);
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command.env("WATCHDOG_USEC", (watchdog_ms * 1000).to_string());
        command.args(["serve", "--json", "-i", INTERFACE, "--set", "address.probes=0"]).args(arguments);
        Server::spawn(&mut command)
    }

    /// The next message, a word or an assignment a line; `None` when none comes within 50 ms.
    fn message(&self) -> Option<Vec<String>> {
        let mut room = [0; 4096];
        let len = self.socket.recv(&mut room).ok()?;
        let text = String::from_utf8(room[..len].to_vec()).expect("UTF-8");
        Some(text.lines().map(str::to_owned).collect())
    }

    /// The first message with this line, in five seconds at most; those before it are passed over.
    fn wait_for(&self, line: &str) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if let Some(message) = self.message().filter(|message| message.iter().any(|one| one == line)) {
                return message;
            }
        }
        panic!("no {line} was told");
    }

    /// How often the watchdog is fed in so many milliseconds.
    fn fed_within(&self, ms: u64) -> usize {
        let deadline = Instant::now() + Duration::from_millis(ms);
        let mut fed = 0;
        while Instant::now() < deadline {
            fed += usize::from(self.message().is_some_and(|message| message.iter().any(|line| line == "WATCHDOG=1")));
        }
        fed
    }
}

#[test]
fn a_manager_is_told_when_all_is_ready_and_when_the_end_begins() {
    let Some(world) = World::new() else { return };
    let manager = Manager::new();
    let server = manager.start(&world, 300, &["-a", SERVER_CIDR, "echo:7"]);
    let first = manager.message().expect("ready was printed after it was told");
    assert_eq!(first, ["READY=1", "STATUS=serving echo:7"]);
    let mut stream = world.client.inside(|| connect(7));
    exchange(&mut stream, b"hello");
    manager.wait_for("STATUS=serving echo:7; open connections: 1");
    let fed = manager.fed_within(1500);
    assert!((6..=11).contains(&fed), "every 150 ms, but {fed} times in 1.5 s");
    server.signal(Signal::TERM);
    let last = manager.wait_for("STOPPING=1");
    assert_eq!(last, ["STOPPING=1", "EXTEND_TIMEOUT_USEC=20000000", "STATUS=finishing what is open"]);
    drop(stream);
    server.finish();
    world.assert_untouched();
}

/// The time that the end may take is the one of that moment, not of the start.
#[test]
fn a_manager_is_told_of_a_drain_that_was_reloaded() {
    let Some(world) = World::new() else { return };
    let manager = Manager::new();
    let (file, socket) = (manager.folder.path().join("ringway.toml"), manager.folder.path().join("control"));
    fs::write(&file, "services = [\"echo:7\"]\ndrain = \"5s\"\n").expect("write");
    let [config, control] = [&file, &socket].map(|path| path.to_string_lossy().into_owned());
    let server = manager.start(&world, 300, &["-a", SERVER_CIDR, "--config", &config, "--control", &control]);
    manager.wait_for("READY=1");
    fs::write(&file, "services = [\"echo:7\"]\ndrain = \"5m\"\n").expect("write");
    let (code, out, log) = ringway(&world.server, &["reload", "--socket", &control]);
    assert_eq!((code, out.lines().next()), (Some(0), Some("applied        drain: 5s -> 5m (to everything)")), "{out}{log}");
    server.signal(Signal::TERM);
    let last = manager.wait_for("STOPPING=1");
    assert_eq!(last, ["STOPPING=1", "EXTEND_TIMEOUT_USEC=310000000", "STATUS=finishing what is open"]);
    server.finish();
}

/// A worker that makes no progress is not covered up by the threads beside it; one that goes on is believed again.
#[test]
fn a_manager_is_not_told_that_all_is_well_while_a_worker_hangs() {
    let Some(world) = World::new() else { return };
    let manager = Manager::new();
    let server = manager.start(&world, 400, &["-a", SERVER_CIDR, "echo:7"]);
    world.client.inside(|| exchange(&mut connect(7), b"hello"));
    manager.wait_for("WATCHDOG=1");
    let mut holder = hold(worker(server.id()));
    // What was told before it stood still.
    while manager.message().is_some() {}
    assert_eq!(manager.fed_within(2300), 0, "the watchdog is fed although the worker stands still");
    drop(holder.stdin.take());
    holder.wait().expect("python3 ends");
    manager.wait_for("WATCHDOG=1");
    world.client.inside(|| exchange(&mut connect(7), b"goes on"));
    let summary = server.stop();
    assert!(summary.log.contains("a worker does not answer"), "{}", summary.log);
}

/// The thread of the first worker.
fn worker(process: u32) -> String {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("the process is there");
    let is_worker = |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name == "ringway-0\n");
    let worker = tasks.map(|task| task.expect("a task")).find(is_worker).expect("a worker");
    worker.file_name().into_string().expect("a number")
}

/// Stops one thread, as a debugger does, until the standard input of what is returned is closed.
fn hold(thread: String) -> Child {
    const SCRIPT: &str = "
import ctypes, os, sys
SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
ptrace, thread = ctypes.CDLL(None, use_errno=True).ptrace, int(sys.argv[1])
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
for request in SEIZE, INTERRUPT:
    if ptrace(request, thread, None, None) != 0:
        sys.exit('ptrace: ' + os.strerror(ctypes.get_errno()))
os.waitpid(thread, WALL)
print('held', flush=True)
sys.stdin.read()
";
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT, &thread]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("python3 starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert_eq!(line, "held\n");
    child
}
