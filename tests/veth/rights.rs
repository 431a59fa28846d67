//! The rights of a running process: an ordinary user with file capabilities suffices, what is not needed any more is given up, and all is given back without it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::client::{connect, exchange, udp};
use crate::common::{Netns, run};
use crate::mirror::within;
use crate::server::{RINGWAY, Server, run_to_end};
use crate::world::{INTERFACE, SERVER, SERVER_CIDR, World};

/// The capabilities of a user's process in bits, as /proc shows them.
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_ADMIN: u64 = 1 << 12;
const BPF: u64 = 1 << 39;

/// Somebody without any rights of its own.
const USER: &str = "65534";

/// A copy of the command with file capabilities, where that user may execute it.
struct Program {
    _folder: TempDir,
    path: PathBuf,
}

impl Program {
    fn with(capabilities: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        let path = folder.path().join("ringway");
        fs::copy(RINGWAY, &path).expect("a copy");
        if !capabilities.is_empty() {
            run(Command::new("setcap").arg(format!("{capabilities}+ep")).arg(&path));
        }
        Self { _folder: folder, path }
    }

    /// `ringway ARGUMENTS` of that user in the namespace of the server or of the client.
    fn command(&self, netns: &Netns, arguments: &[&str]) -> Command {
        let mut command = netns.command("setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]).arg(&self.path).args(arguments);
        command
    }
}

/// What /proc says of a thread.
#[derive(Debug)]
struct Task {
    name: String,
    effective: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
    no_new_privs: u64,
    seccomp: u64,
}

fn tasks(process: u32) -> Vec<Task> {
    let folder = fs::read_dir(format!("/proc/{process}/task")).expect("the process is there");
    folder.map(|task| task_of(&task.expect("a task").path())).collect()
}

fn task_of(folder: &Path) -> Task {
    let status = fs::read_to_string(folder.join("status")).expect("a status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
    };
    let hex = |name: &str| u64::from_str_radix(&field(name), 16).expect("hexadecimal");
    Task {
        name: field("Name"),
        effective: hex("CapEff"),
        permitted: hex("CapPrm"),
        inheritable: hex("CapInh"),
        ambient: hex("CapAmb"),
        no_new_privs: hex("NoNewPrivs"),
        seccomp: hex("Seccomp"),
    }
}

/// The threads of a server, once each had the time to begin: giving up is the first thing that it does.
fn tasks_of(server: &Server) -> Vec<Task> {
    within(5, "every thread has begun", || tasks(server.id()).iter().all(|task| task.no_new_privs == 1));
    tasks(server.id())
}

/// Asserts that no thread has a right left but the control thread, which has `control`; gives them all.
fn assert_given_up(server: &Server, control: u64) -> Vec<Task> {
    let is_worker = |task: &Task| task.name.strip_prefix("ringway-").is_some_and(|rest| rest.parse::<u32>().is_ok());
    // The filter is the second thing that a worker does.
    within(5, "every worker has its filter", || tasks(server.id()).iter().all(|task| !is_worker(task) || task.seccomp == 2));
    let tasks = tasks_of(server);
    for task in &tasks {
        let kept = if task.name == "ringway-control" { control } else { 0 };
        let has = [task.effective, task.permitted, task.inheritable, task.ambient];
        assert_eq!(has, [kept, kept, 0, 0], "{task:?}");
        assert_eq!(task.no_new_privs, 1, "{task:?}");
        assert_eq!(task.seccomp, if is_worker(task) { 2 } else { 0 }, "{task:?}");
    }
    let named = |name: &str| tasks.iter().filter(|task| task.name == name).count();
    assert_eq!([named("ringway-0"), named("ringway-control")], [1, 1], "{tasks:?}");
    tasks
}

const FOUR: &str = "cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock";

#[test]
fn rights_of_an_ordinary_user_suffice_and_are_given_up_while_traffic_flows() {
    let Some(world) = World::new() else { return };
    let program = Program::with(FOUR);
    let arguments = ["serve", "--json", "-i", INTERFACE, "-a", SERVER_CIDR, "--set", "address.probes=0", "echo:7", "discard:9"];
    let server = Server::spawn(&mut program.command(&world.server, &arguments));
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"with rights given up");
        let socket = udp(7);
        socket.send(b"hello").expect("send");
        assert_eq!(socket.recv(&mut [0; 8]).expect("the echo"), 5);
        assert_given_up(&server, 0);
        exchange(&mut stream, b"still there");
    });
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).expect("a status");
    assert!(status.contains("Uid:\t65534\t65534"), "{status}");
    let summary = server.stop();
    assert!(summary.steered("steered_address") > 0, "its counters are read without rights: {}", summary.value());
    world.assert_untouched();
}

/// A load of the same user, to the same user's server.
#[test]
fn rights_of_an_ordinary_user_suffice_for_load() {
    let Some(world) = World::new() else { return };
    let program = Program::with(FOUR);
    let server = Server::start(&world);
    let to = format!("{SERVER}:7");
    // Not beside the kernel's own address of the client side.
    let own = crate::family::FREE_CIDR;
    let arguments =
        ["load", "tcp", "--to", &to, "-i", INTERFACE, "-a", own, "-t", "200ms", "-O", "0s", "--set", "address.probes=0"];
    let (code, out, log) = run_to_end(program.command(&world.client, &arguments));
    assert_eq!(code, Some(0), "{out}{log}");
    server.stop();
    world.assert_untouched();
}

#[test]
fn rights_that_are_missing_are_named_with_the_line_that_gives_them() {
    let Some(world) = World::new() else { return };
    let arguments = ["serve", "-i", INTERFACE, "-a", SERVER_CIDR, "echo:7"];
    let rest_of = |missing: &str| FOUR.split(',').filter(|name| *name != missing).collect::<Vec<_>>().join(",");
    let mut cases: Vec<_> =
        ["cap_net_raw", "cap_net_admin", "cap_bpf"].map(|missing| (rest_of(missing), missing.to_uppercase())).into();
    cases.push((String::new(), "the capabilities CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF are missing".to_owned()));
    for (held, said) in cases {
        let program = Program::with(&held);
        let (code, _, log) = run_to_end(program.command(&world.server, &arguments));
        assert_eq!(code, Some(3), "{log}");
        let line = format!("try: sudo setcap {FOUR}+ep {}", program.path.display());
        assert!(log.contains(&said) && log.contains(&line), "{log}");
        world.assert_untouched();
    }
}

/// As the systemd unit of the package starts it: its file capabilities go before the ambient ones, and nothing can be gained.
#[test]
fn rights_of_a_service_are_those_of_its_unit() {
    let Some(world) = World::with_kernel_server() else { return };
    let unit = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/systemd/ringway@.service")).expect("the unit");
    let listed = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).expect("a line of the unit");
        line.split_whitespace()
            .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
            .collect::<Vec<_>>()
            .join(",")
    };
    let (ambient, bounding) = (listed("AmbientCapabilities"), format!("-all,{}", listed("CapabilityBoundingSet")));
    for held in [format!("{FOUR},cap_net_bind_service"), String::new()] {
        let program = Program::with(&held);
        let mut command = world.server.command("setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--no-new-privs", "--bounding-set", &bounding]);
        command.args(["--inh-caps", &format!("-all,{ambient}"), "--ambient-caps", &format!("-all,{ambient}")]).arg(&program.path);
        let server = Server::spawn(command.args(["serve", "--json", "-i", INTERFACE, "--claim", "tcp:7", "echo/tcp:7"]));
        world.client.inside(|| exchange(&mut connect(7), b"hello"));
        assert_given_up(&server, NET_ADMIN | BPF | NET_BIND_SERVICE);
        server.stop();
        world.assert_untouched();
    }
}

/// A port claim goes on using rights: the control thread keeps those, and nobody else does.
#[test]
fn rights_in_a_port_claim_are_kept_by_the_control_thread_alone() {
    let Some(world) = World::with_kernel_server() else { return };
    let program = Program::with(&format!("{FOUR},cap_net_bind_service"));
    let start = |port: &str| {
        let (claim, service) = (format!("tcp:{port},udp:{port}"), format!("echo:{port}"));
        let arguments = ["serve", "--json", "-i", INTERFACE, "--claim", &claim, &service];
        Server::spawn(&mut program.command(&world.server, &arguments))
    };
    let high = start("7007");
    world.client.inside(|| exchange(&mut connect(7007), b"hello"));
    assert_given_up(&high, NET_ADMIN | BPF);
    high.stop();
    let low = start("7");
    world.client.inside(|| exchange(&mut connect(7), b"hello"));
    assert_given_up(&low, NET_ADMIN | BPF | NET_BIND_SERVICE);
    // An address that comes is held and steered, which takes those rights.
    world.server.ip(&["address", "add", crate::family::FREE_CIDR, "dev", INTERFACE, "nodad"]);
    let held = || {
        let sockets = world.server.run("ss", &["-H", "-lnt"]);
        sockets.lines().filter(|line| line.contains(":7 ")).count() == 2
    };
    within(5, "the port of the new address is held", held);
    low.stop();
    world.assert_untouched();
}

/// Root keeps its user id and nothing else; it is said once.
#[test]
fn rights_of_root_are_given_up_too_and_that_is_said() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| exchange(&mut connect(7), b"hello"));
    assert_given_up(&server, 0);
    let summary = server.stop();
    let said = summary.log.lines().filter(|line| line.contains("what root may do more than others is given up")).count();
    assert_eq!(said, 1, "{}", summary.log);
    world.assert_untouched();
}

#[test]
fn rights_of_every_worker_are_given_up() {
    let Some(world) = World::with_queues(2) else { return };
    let server = Server::start(&world);
    world.client.inside(|| exchange(&mut connect(7), b"hello"));
    let tasks = assert_given_up(&server, 0);
    let cores = std::thread::available_parallelism().expect("a number").get();
    if cores > 1 {
        assert!(tasks.iter().any(|task| task.name == "ringway-1"), "{tasks:?}");
    }
    server.stop();
    world.assert_untouched();
}

/// Files that belong to nobody else are served under the filter, large and small, and what is refused is answered.
#[test]
fn files_are_served_under_the_filter_of_system_calls() {
    let Some(world) = World::new() else { return };
    let folder = TempDir::new().expect("a folder");
    let large = vec![b'x'; 300_000];
    fs::write(folder.path().join("large"), &large).expect("a file");
    fs::write(folder.path().join("small"), "small").expect("a file");
    let server = Server::with(&world, &["-a", SERVER_CIDR, &format!("http:80={}", folder.path().display())]);
    world.client.inside(|| {
        for (name, status, len) in [("large", "200", large.len()), ("small", "200", 5), ("none", "404", 0), ("../x", "403", 0)] {
            let mut stream = connect(80);
            write!(stream, "GET /{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("write");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("read");
            let head = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
            assert!(head.ends_with(status), "{name}: {head}");
            assert!(answer.len() > len, "{name}");
        }
    });
    assert_given_up(&server, 0);
    server.stop();
    world.assert_untouched();
}

/// The filter is there because `--seccomp off` takes it away.
#[test]
fn seccomp_off_leaves_the_workers_all_system_calls() {
    let Some(world) = World::new() else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--seccomp", "off", "echo:7"]);
    world.client.inside(|| exchange(&mut connect(7), b"hello"));
    for task in tasks_of(&server) {
        assert_eq!([task.seccomp, task.effective, task.permitted], [0; 3], "{task:?}");
    }
    server.stop();
    world.assert_untouched();
}

/// Without CAP_SYS_ADMIN no namespace can be entered, which `compare` and `bench` do.
#[test]
fn rights_that_compare_needs_are_named() {
    let Some(world) = World::new() else { return };
    let program = Program::with(FOUR);
    let ends = ["--server-netns", &world.server.name, "--client-netns", &world.client.name];
    for command in ["compare", "bench"] {
        let mut line = Command::new("setpriv");
        line.args(["--reuid", USER, "--regid", USER, "--clear-groups"]).arg(&program.path).arg(command).args(ends);
        line.args(["--server-if", INTERFACE, "--client-if", INTERFACE, "--server-address", "10.0.0.2/24"]);
        line.args(["--client-address", "10.0.0.1/24"]).stdin(Stdio::null());
        let (code, out, log) = run_to_end(line);
        assert_eq!(code, Some(3), "{out}{log}");
        assert!(log.contains("CAP_SYS_ADMIN") && log.contains("network namespace") && log.contains("sudo"), "{log}");
    }
}
