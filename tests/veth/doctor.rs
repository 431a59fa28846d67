//! `ringway doctor`: each thing that can be amiss on a veth pair is seen, and is mended by the very command that was printed.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::Command;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use ringway::steer::assembler::{Assembler, Register};
use ringway::xsk::bpf::{LinkMode, Program};
use ringway::xsk::nic::Nic;
use ringway::xsk::{self, Config};
use serde_json::Value;

use crate::client::{connect, exchange};
use crate::common::{Netns, root};
use crate::server::{RINGWAY, Server, ringway, run_to_end};
use crate::world::{CLIENT, INTERFACE, World, ping};

/// What `ringway doctor --json` said.
struct Report {
    code: Option<i32>,
    events: Vec<Value>,
    log: String,
}

impl Report {
    fn of(command: Command) -> Self {
        let (code, out, log) = run_to_end(command);
        let event = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"));
        let events: Vec<Value> = out.lines().map(event).collect();
        assert!(events.iter().all(|event| event["schema"] == 1), "{out}");
        Self { code, events, log }
    }

    /// `ringway doctor --json -i veth0 ARGUMENTS` in a namespace.
    fn on(netns: &Netns, arguments: &[&str]) -> Self {
        let mut command = netns.command(RINGWAY);
        command.args(["doctor", "--json", "-i", INTERFACE]).args(arguments);
        Self::of(command)
    }

    fn all(&self, event: &str) -> Vec<&Value> {
        self.events.iter().filter(|found| found["event"] == event).collect()
    }

    /// The last finding of a check: after a fix everything is said again.
    fn finding(&self, check: &str) -> &Value {
        let mut findings = self.all("finding").into_iter().rev();
        findings.find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("no {check}: {:#?}{}", self.events, self.log))
    }

    fn verdict(&self, check: &str) -> &str {
        self.finding(check)["verdict"].as_str().expect("a word")
    }

    /// The command that mends it.
    fn mend(&self, check: &str) -> &str {
        self.finding(check)["mend"].as_str().unwrap_or_else(|| panic!("nothing mends {check}: {}", self.finding(check)))
    }

    #[track_caller]
    fn says(&self, check: &str, verdict: &str, words: &[&str]) {
        let finding = self.finding(check);
        assert_eq!(finding["verdict"], verdict, "{finding}");
        let text = finding["text"].as_str().expect("a text");
        for word in words {
            assert!(text.contains(word), "'{word}' is missing: {finding}");
        }
    }

    #[track_caller]
    fn assert_healthy(&self) {
        let bad: Vec<_> = self.all("finding").into_iter().filter(|finding| finding["verdict"] == "fail").collect();
        assert!(bad.is_empty() && self.code == Some(0), "{:?} {bad:#?} {}", self.code, self.log);
        self.says("attach", "ok", &["native", "taken off again"]);
        self.says("sockets", "ok", &["copy"]);
    }
}

/// Runs a line as a person would who is root already.
fn shell(netns: &Netns, line: &str) -> String {
    netns.run("sh", &["-c", &line.replace("sudo ", "")])
}

/// Something is amiss on the server side: `check` fails and says so, and after the command that it prints, as often as it prints another, all is well.
#[track_caller]
fn fails_and_is_mended(world: &World, check: &str, words: &[&str], mend: &str) {
    let mut report = Report::on(&world.server, &[]);
    assert_eq!(report.code, Some(3), "{:?}", report.log);
    report.says(check, "fail", words);
    assert!(report.mend(check).contains(mend), "{}", report.mend(check));
    for _ in 0..2 {
        shell(&world.server, report.mend(check));
        report = Report::on(&world.server, &[]);
        if report.verdict(check) == "ok" {
            break;
        }
    }
    report.says(check, "ok", &[]);
    report.assert_healthy();
    world.assert_untouched();
}

/// All that can be seen of an interface and is no count.
fn state(netns: &Netns) -> String {
    let link = netns.ip(&["-d", "link", "show", "dev", INTERFACE]);
    let ethtool = ["-k", "-l"].map(|option| netns.run("ethtool", &[option, INTERFACE]));
    format!("{link}{}", ethtool.concat())
}

#[test]
fn a_healthy_pair_is_found_so_and_left_as_it_was() {
    let Some(world) = World::with_kernel_server() else { return };
    let sides = [&world.server, &world.client];
    let before = sides.map(state);
    let report = Report::on(&world.server, &[]);
    report.assert_healthy();
    report.says("peer", "ok", &[&format!("{INTERFACE} in namespace {}", world.client.name)]);
    report.says("checksums", "ok", &[]);
    report.says("driver", "ok", &["veth", "native XDP"]);
    let summary = report.all("summary");
    assert_eq!((summary.len(), &summary[0]["fail"]), (1, &0.into()), "{summary:?}");
    assert_eq!(sides.map(state), before);
    world.assert_untouched();
    ping(&world.server, 1, &[], CLIENT);
}

#[test]
fn an_interface_that_is_down_is_brought_up() {
    let Some(world) = World::new() else { return };
    world.server.ip(&["link", "set", INTERFACE, "down"]);
    fails_and_is_mended(&world, "link", &["is down"], "sudo ip link set veth0 up");
}

#[test]
fn a_peer_that_is_down_is_brought_up_where_it_is() {
    let Some(world) = World::new() else { return };
    world.client.ip(&["link", "set", INTERFACE, "down"]);
    let command = format!("sudo ip netns exec {} ip link set veth0 up", world.client.name);
    fails_and_is_mended(&world, "link", &["no carrier", &world.client.name], &command);
}

#[test]
fn an_mtu_that_is_too_large_is_made_smaller_at_both_ends() {
    let Some(world) = World::new() else { return };
    for side in [&world.server, &world.client] {
        side.ip(&["link", "set", INTERFACE, "mtu", "12000"]);
    }
    fails_and_is_mended(&world, "mtu", &["12000", "too large"], "sudo ip link set veth0 mtu 9216");
}

#[test]
fn checksums_that_the_peer_leaves_out_are_filled_in() {
    let Some(world) = World::new() else { return };
    world.client.run("ethtool", &["-K", INTERFACE, "tx", "on"]);
    let command = format!("sudo ip netns exec {} ethtool -K veth0 tx off", world.client.name);
    fails_and_is_mended(&world, "checksums", &["checksum_unfilled"], &command);
}

/// As in a container: nobody has given its namespace a name.
#[test]
fn a_peer_in_a_namespace_without_a_name_is_found_by_a_process_there() {
    if !root() {
        return;
    }
    let netns = Netns::new("d");
    let mut container = netns.command("unshare").args(["--net", "sleep", "60"]).spawn().expect("ip starts");
    let process = container.id().to_string();
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let ours = netns.inside(|| std::fs::read_link("/proc/thread-self/ns/net").ok());
    let apart = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        namespace(&process).is_some_and(|theirs| Some(theirs) != ours && namespace("self") != namespace(&process))
    });
    assert!(apart, "unshare did not come to it");
    netns.ip(&["link", "add", INTERFACE, "type", "veth", "peer", "name", "veth1", "netns", &process]);
    netns.ip(&["link", "set", INTERFACE, "up"]);
    for check in ["link", "checksums"] {
        let report = Report::on(&netns, &[]);
        let place = format!("/proc/{process}/ns/net");
        report.says(check, "fail", &["veth1", &place]);
        assert!(report.mend(check).starts_with(&format!("sudo nsenter --net={place} ")), "{}", report.mend(check));
        shell(&netns, report.mend(check));
    }
    Report::on(&netns, &[]).assert_healthy();
    let _ = container.kill();
    let _ = container.wait();
}

#[test]
fn fewer_queues_than_the_peer_sends_by_are_made_more() {
    let Some(world) = World::with_queues(2) else { return };
    world.server.run("ethtool", &["-L", INTERFACE, "rx", "1"]);
    fails_and_is_mended(&world, "queues", &["1 to receive", "by 2"], "sudo ethtool -L veth0 rx 2");
}

#[test]
fn a_mistyped_interface_is_answered_with_the_near_one() {
    let Some(world) = World::new() else { return };
    let (code, out, _) = ringway(&world.server, &["--json", "doctor", "-i", "veth9"]);
    let finding = out.lines().find(|line| line.contains("\"veth9\"")).unwrap_or_else(|| panic!("{out}"));
    let finding: Value = serde_json::from_str(finding).expect("JSON");
    assert_eq!((code, &finding["verdict"]), (Some(3), &"fail".into()), "{finding}");
    assert!(finding["text"].as_str().is_some_and(|text| text.contains("did you mean veth0?")), "{finding}");
    assert!(shell(&world.server, finding["mend"].as_str().expect("a command")).contains(INTERFACE));
    Report::on(&world.server, &[]).assert_healthy();
}

/// A program of somebody else that passes everything.
fn foreign() -> Program {
    let mut program = Assembler::new();
    program.set(Register::R0, 2, "XDP_PASS");
    program.exit("it is the kernel's");
    let text = program.finish().expect("a text").link(&[]).expect("no maps");
    Program::load("somebody", &text).expect("the verifier takes it")
}

/// Attaches as `ip link set IF xdp` does: it stays when the program that did it ends.
fn attach_without_a_link(ifindex: u32, program: &Program) -> io::Result<()> {
    const XDP_FLAGS_DRV_MODE: u32 = 4;
    let mut link = LinkMessage::default();
    link.header.index = ifindex;
    let xdp = vec![LinkXdp::Fd(program.as_fd().as_raw_fd()), LinkXdp::Flags(XDP_FLAGS_DRV_MODE)];
    link.attributes.push(LinkAttribute::Xdp(xdp));
    let payload = NetlinkPayload::from(RouteNetlinkMessage::SetLink(link));
    let mut packet = NetlinkMessage::new(NetlinkHeader::default(), payload);
    packet.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        _ => Ok(()),
    }
}

#[test]
fn the_program_of_somebody_else_is_named_and_taken_away() {
    let Some(world) = World::new() else { return };
    world.server.inside(|| {
        let nic = Nic::find(INTERFACE).expect("the interface");
        attach_without_a_link(nic.index(), &foreign()).expect("it is attached");
    });
    let words = ["another program", "`somebody`", "native", "without a link"];
    fails_and_is_mended(&world, "xdp", &words, "ip link set veth0 xdpdrv off");
}

#[test]
fn a_program_with_a_link_is_named_and_not_disturbed() {
    let Some(world) = World::new() else { return };
    let link = world.server.inside(|| {
        let nic = Nic::find(INTERFACE).expect("the interface");
        foreign().attach(nic.index(), LinkMode::Skb).expect("it is attached")
    });
    let id = link.id().expect("an id");
    for options in [&[][..], &["--try"]] {
        let report = Report::on(&world.server, options);
        report.says("xdp", "fail", &["`somebody`", "skb", &format!("link {id} of "), &format!("(pid {})", std::process::id())]);
        assert_eq!((report.code, report.mend("xdp")), (Some(3), &*format!("bpftool link detach id {id}")));
        report.says("attach", "skip", &["is not disturbed"]);
        report.says("sockets", "skip", &["is not disturbed"]);
        assert!(world.server.ip(&["link", "show", "dev", INTERFACE]).contains("xdpgeneric"), "it is still attached");
    }
    drop(link);
    Report::on(&world.server, &[]).assert_healthy();
}

#[test]
fn a_server_at_work_is_no_failure_and_goes_on() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    let mut connection = world.client.inside(|| connect(7));
    exchange(&mut connection, b"before");
    let report = Report::on(&world.server, &["--try"]);
    report.says("xdp", "ok", &["Ringway is at work"]);
    report.says("attach", "skip", &[]);
    assert_eq!(report.code, Some(0), "{:#?}", report.events);
    exchange(&mut connection, b"after");
    drop(connection);
    server.stop();
    world.assert_untouched();
}

#[test]
fn a_queue_in_use_is_named() {
    let Some(world) = World::new() else { return };
    let held = world.server.inside(|| xsk::open(&Nic::find(INTERFACE).expect("the interface"), &[0], &Config::default()));
    let held = held.expect("the queue is free");
    let report = Report::on(&world.server, &[]);
    report.says("sockets", "fail", &["queue 0", "another AF_XDP socket has the queue"]);
    assert_eq!(report.code, Some(3));
    drop(held);
    Report::on(&world.server, &[]).assert_healthy();
}

#[test]
fn a_driver_without_native_xdp_is_tried_only_when_that_is_said() {
    let Some(world) = World::new() else { return };
    world.server.ip(&["link", "add", "br0", "type", "bridge"]);
    world.server.ip(&["link", "set", INTERFACE, "master", "br0"]);
    world.server.ip(&["link", "set", "br0", "up"]);
    let on_bridge = |arguments: &[&str]| {
        let mut command = world.server.command(RINGWAY);
        command.args(["doctor", "--json", "-i", "br0"]).args(arguments);
        Report::of(command)
    };
    on_bridge(&[]).says("attach", "skip", &["--try"]);
    let tried = on_bridge(&["--try"]);
    tried.says("attach", "warn", &["skb mode only", "no native XDP"]);
    // GRO joins packets in that mode, and turning it off is harmless.
    tried.says("offloads", "fail", &["rx-gro"]);
    let fixed = on_bridge(&["--try", "--fix"]);
    assert_eq!((fixed.code, &fixed.all("fix")[0]["command"]), (Some(0), &"sudo ethtool -K br0 gro off".into()), "{}", fixed.log);
    fixed.says("offloads", "ok", &[]);
    world.assert_untouched();
}

#[test]
fn what_must_not_be_tried_is_not() {
    let Some(world) = World::new() else { return };
    let report = Report::on(&world.server, &["--no-try"]);
    assert_eq!(report.code, Some(0));
    for check in ["attach", "sockets"] {
        report.says(check, "skip", &["--no-try"]);
    }
}

const CAPABILITIES: [&str; 4] = ["net_raw", "net_admin", "bpf", "ipc_lock"];

/// `ringway doctor` as a root that has only these capabilities, and can get no others.
fn bounded(world: &World, capabilities: &[&str]) -> Report {
    let bounds = capabilities.iter().fold("-all".to_owned(), |bounds, name| format!("{bounds},+{name}"));
    let mut command = world.server.command("setpriv");
    command.args(["--inh-caps", "-all", "--bounding-set", &bounds, RINGWAY, "doctor", "--json", "-i", INTERFACE]);
    Report::of(command)
}

#[test]
fn each_missing_capability_is_named_and_what_needs_it_left_out() {
    let Some(world) = World::new() else { return };
    for missing in ["net_raw", "net_admin", "bpf"] {
        let rest: Vec<_> = CAPABILITIES.into_iter().filter(|name| *name != missing).collect();
        let report = bounded(&world, &rest);
        let name = format!("CAP_{}", missing.to_uppercase());
        report.says(&name, "fail", &["missing", "bounding set"]);
        assert!(report.mend(&name).contains("--cap-add"), "{}", report.mend(&name));
        report.says("attach", "skip", &[&name]);
        assert_eq!(report.code, Some(3));
        let failed = report.all("finding").into_iter().filter(|finding| finding["verdict"] == "fail").count();
        assert_eq!(failed, 1, "one cause is one failure: {:#?}", report.events);
    }
    let report = bounded(&world, &CAPABILITIES);
    report.assert_healthy();
    report.says("peer", "skip", &[&world.client.name, "cannot be seen"]);
    let nothing = bounded(&world, &[]);
    assert_eq!(nothing.code, Some(3), "it works without any: {}", nothing.log);
    nothing.says("link", "ok", &[]);
    nothing.says("mtu", "ok", &["1500"]);
    world.assert_untouched();
}

#[test]
fn the_setcap_line_gives_what_is_missing() {
    let Some(world) = World::new() else { return };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let program = folder.path().join("ringway");
    std::fs::copy(RINGWAY, &program).expect("a copy");
    let report = || as_nobody_in_particular(&world, &program);
    let missing = report();
    for check in ["CAP_NET_RAW", "CAP_NET_ADMIN", "CAP_BPF"] {
        missing.says(check, "fail", &["missing"]);
    }
    shell(&world.server, missing.mend("CAP_BPF"));
    report().assert_healthy();
}

/// A root that has no capabilities but those of the file.
fn as_nobody_in_particular(world: &World, program: &Path) -> Report {
    let mut command = world.server.command("setpriv");
    command.args(["--securebits", "+noroot", "--inh-caps", "-all"]).arg(program).args(["doctor", "--json", "-i", INTERFACE]);
    Report::of(command)
}

#[test]
fn a_limit_of_locked_memory_counts_where_its_capability_is_missing() {
    let Some(world) = World::new() else { return };
    let bounds = "-all,+net_raw,+net_admin,+bpf";
    let examine = |before: &str| {
        let doctor = format!("setpriv --inh-caps -all --bounding-set {bounds} {RINGWAY} doctor --json -i {INTERFACE}");
        let mut command = world.server.command("sh");
        command.args(["-c", &format!("{before} && exec {doctor}")]);
        Report::of(command)
    };
    let report = examine("ulimit -l 64");
    report.says("memlock", "fail", &["8 MiB", "1 MiB", "CAP_IPC_LOCK is missing"]);
    report.says("CAP_IPC_LOCK", "warn", &["missing"]);
    assert_eq!((report.code, report.mend("memlock")), (Some(3), "ulimit -l 8192"));
    let report = examine(report.mend("memlock"));
    report.says("memlock", "ok", &[]);
    report.says("CAP_IPC_LOCK", "ok", &["not needed"]);
    report.assert_healthy();
    // Where it is there, no limit counts.
    let mut command = world.server.command("prlimit");
    command.args(["--memlock=65536:65536", RINGWAY, "doctor", "--json", "-i", INTERFACE]);
    Report::of(command).assert_healthy();
}

/// A pair whose both ends lie in one namespace, as they are made: down, with all offloads.
fn pair() -> Option<Netns> {
    if !root() {
        return None;
    }
    let netns = Netns::new("d");
    netns.run("sysctl", &["-qw", "net.ipv6.conf.all.disable_ipv6=1"]);
    netns.ip(&["link", "add", INTERFACE, "type", "veth", "peer", "name", "veth1"]);
    Some(netns)
}

#[test]
fn fix_runs_what_is_harmless_and_says_each_line_before() {
    let Some(netns) = pair() else { return };
    let features = |interface| netns.run("ethtool", &["-k", interface]);
    let before = features(INTERFACE);
    let (code, out, log) = ringway(&netns, &["doctor", "-i", INTERFACE]);
    assert_eq!(code, Some(3));
    assert!(log.contains("try: sudo ringway doctor -i veth0 --fix"), "{log}");
    assert!(out.contains("try: sudo ip link set veth0 up"), "{out}");
    assert!(netns.ip(&["link", "show", "dev", INTERFACE]).contains("DOWN"), "without --fix nothing is changed");

    let (code, out, log) = ringway(&netns, &["doctor", "-i", INTERFACE, "--fix"]);
    assert_eq!(code, Some(0), "{out}{log}");
    let fixes: Vec<_> = out.lines().filter_map(|line| line.strip_prefix("fix: ")).collect();
    let expected = ["sudo ip link set veth0 up", "sudo ethtool -K veth1 tx off", "sudo ip link set veth1 up"];
    assert_eq!(fixes, expected, "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 80) && !out.contains('\x1b'), "{out}");
    assert_eq!(features(INTERFACE), before, "only the peer's sums were asked for");
    Report::on(&netns, &[]).assert_healthy();
    let (code, out, _) = ringway(&netns, &["doctor", "-i", INTERFACE, "--fix"]);
    assert!(code == Some(0) && out.contains("fix: nothing that is amiss"), "{out}");
}

#[test]
fn fix_says_what_it_may_not_do() {
    let Some(netns) = pair() else { return };
    let mut command = netns.command("setpriv");
    command.args(["--inh-caps", "-all", "--bounding-set", "-all", RINGWAY, "doctor", "--json", "-i", INTERFACE, "--fix"]);
    let report = Report::of(command);
    let fixes = report.all("fix");
    assert_eq!((report.code, &fixes[0]["command"]), (Some(3), &"sudo ip link set veth0 up".into()));
    assert!(fixes.iter().all(|fix| fix["error"].as_str().is_some_and(|error| error.contains("not permitted"))), "{fixes:?}");
    report.says("link", "fail", &["down"]);
}

#[test]
fn fix_does_not_reach_into_another_namespace() {
    let Some(world) = World::new() else { return };
    world.client.run("ethtool", &["-K", INTERFACE, "tx", "on"]);
    let before = state(&world.client);
    let report = Report::on(&world.server, &["--fix"]);
    assert_eq!((report.code, report.all("fix").len()), (Some(3), 0));
    assert_eq!(report.finding("checksums")["harmless"], false);
    assert_eq!(state(&world.client), before);
}

#[test]
fn without_an_interface_each_has_a_line_and_none_is_touched() {
    let Some(world) = World::new() else { return };
    let before = state(&world.server);
    let (code, out, log) = ringway(&world.server, &["doctor"]);
    assert_eq!(code, Some(0), "{out}{log}");
    let line = out.lines().find(|line| line.contains(INTERFACE)).unwrap_or_else(|| panic!("{out}"));
    assert!(line.contains("veth, MTU 1500") && out.contains("af-xdp"), "{out}");
    assert_eq!(state(&world.server), before);
}
