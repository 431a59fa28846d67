//! The built command: usage errors, exit codes, JSON, help. What needs interfaces is tested in tests/veth.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs `ringway` with the words of `line`.
fn ringway(line: &str) -> Output {
    run(&line.split_whitespace().collect::<Vec<_>>())
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringway")).args(arguments).stdin(Stdio::null()).output().expect("ringway starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// A pcap file of bare IP packets: a SYN from each of these ports.
fn capture_of_syns(ports: &[u16]) -> Vec<u8> {
    use ringway::wire::{ipv4, tcp};
    let (from, to) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let mut file =
        [&0xa1b2_c3d4_u32.to_le_bytes()[..], &[2, 0, 4, 0], &[0; 8], &65_535_u32.to_le_bytes(), &[101, 0, 0, 0]].concat();
    for &source_port in ports {
        let mut packet = vec![0; 40];
        ipv4::emit(&mut packet, &ipv4::Ipv4::outgoing(from, to, 6, 20));
        packet[20..22].copy_from_slice(&source_port.to_be_bytes());
        packet[22..24].copy_from_slice(&7_u16.to_be_bytes());
        packet[32] = 5 << 4;
        packet[33] = tcp::Flags::SYN.0;
        file.extend([&[0; 8][..], &[40, 0, 0, 0], &[40, 0, 0, 0], &packet].concat());
    }
    file
}

/// Who asks for a file gets it, or an error: never a list and exit code 0.
#[test]
fn a_ladder_of_several_connections_is_written_where_it_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = |file: &str| folder.path().join(file).to_string_lossy().into_owned();
    let (capture, page, svg) = (name("trace.pcap"), name("out.html"), name("out.svg"));
    std::fs::write(&capture, capture_of_syns(&[40_000, 40_001])).expect("write");
    let listed = run(&["ladder", &capture]);
    assert!(listed.status.success() && text(&listed.stdout).contains("2 connections; --port or --flow"), "{listed:?}");
    let drawn = run(&["ladder", &capture, "--html", &page]);
    assert!(drawn.status.success(), "{drawn:?}");
    let page = std::fs::read_to_string(page).expect("the page is there");
    assert!(page.contains("10.0.0.1:40000") && page.contains("10.0.0.1:40001"));
    let refused = run(&["ladder", &capture, "--svg", &svg]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(text(&refused.stderr).contains("--html for all"), "{refused:?}");
    // The numbers of connections have no holes.
    let objects = run(&["ladder", &capture, "--html", &svg, "--json"]);
    let objects = text(&objects.stdout);
    let objects = objects.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let numbers: Vec<_> = objects.filter(|one| one["event"] == "connection").map(|one| one["connection"].clone()).collect();
    assert_eq!(numbers, [0, 1]);
    // A file of records is counted in lines, and what is none is not passed over in silence.
    let records = name("records");
    std::fs::write(&records, "{\"schema\":1,\"event\":\"nothing\"}\n{\"broken\n\u{7}").expect("write");
    let none = run(&["ladder", &records]);
    assert_eq!(none.status.code(), Some(3), "{none:?}");
    assert!(text(&none.stderr).contains("of its 2 packets") && text(&none.stderr).contains("ends in the middle"), "{none:?}");
}

#[test]
fn usage_errors_say_what_why_and_the_right_word() {
    let lines = [
        "",
        "serv",
        "serve",
        "serve --queue 0 echo:7",
        "serve --idle sleepy echo:7",
        "serve --idle spinn echo:7",
        "serve echo:7",
        "serve -i veth0 echo:7",
        "serve -i veth0 -a 10.0.0.2 echo:7",
        "serve -i veth0 -a veth0=10.0.0.2 echo:7",
        "serve -i veth0 -a veth1=10.0.0.2/24 echo:7",
        "serve -i veth0 -i veth1 -a 10.0.0.2/24 echo:7",
        "serve -i veth0 -i veth0 -a 10.0.0.2/24 echo:7",
        "serve -i veth0 -a 10.0.0.2/24 --claim tcp:7 echo:7",
        "serve -i veth0 --claim tcp7 echo:7",
        "serve -i veth0 --claim tcp:7 --accept-ra echo:7",
        "serve -i veth0 --claim udp:53,tcp:0 echo:7",
        "serve -i veth0 --gateway gw -a 10.0.0.2/24 echo:7",
        "serve -i veth0 -a 10.0.0.2/24 --queues 3-0 echo:7",
        "serve -i veth0 -a 10.0.0.2/24 --set tcp.mls=1s echo:7",
        "serve -i veth0 -a 10.0.0.2/24 --set tcp.congestion=cubik echo:7",
        "serve -i veth0 -a 10.0.0.2/24 --set tcp.rto_max=100ms echo:7",
        "serve -i veth0 -a 10.0.0.2/24 --set tcp.syn_rate=fast echo:7",
        "serve -i veth0 -a 10.0.0.2/24 --deny 10.1.2.3/8 echo:7",
        "serve -i veth0 -a 10.0.0.2/24 --allow example.org echo:7",
        "serve -i veth0 -a 10.0.0.2/24 --drain 10 echo:7",
        "serve -i veth0 -a 10.0.0.2/24 --drain 2000m echo:7",
        "serve -i veth0 -a 10.0.0.2/24 ecko:7",
        "serve -i veth0 -a 10.0.0.2/24 echo:7 discard/tcp:7",
        "serve -i veth0 -a 10.0.0.2/24 http:80",
        "serve -i veth0 -a 10.0.0.2/24 http/udp:80=/",
        "serve -i veth0 -a 10.0.0.2/24 http:80=/nonesuch",
        "serve -i veth0 -a 10.0.0.2/24 http:80=Cargo.toml",
        "load",
        "load sctp --to 10.0.0.2:7",
        "load tcp",
        "load tcp --to 10.0.0.2",
        "load tcp --to fd00::2:7",
        "load tcp --to 10.0.0.2:0",
        "load tcp --to 10.0.0.2:7 --rate 1K --in-flight 4",
        "load tcp --to 10.0.0.2:7 --rate fast",
        "load tcp --to 10.0.0.2:7 -t 5",
        "load tcp --to 10.0.0.2:7 -t 0s",
        "load tcp --to 10.0.0.2:7 -l 17M",
        "load tcp --to 10.0.0.2:7 -P 0",
        "load tcp --to 10.0.0.2:7 --churn=nobody",
        "compare --quick",
        "bench --quick",
        "compare --server-netns a --server-if v --server-address 10.0.0.2 --client-netns b --client-if w --client-address 10.0.0.1/24",
        "ladder",
        "ladder --demo handshak",
        "ladder --demo --list",
        "ladder --demo udp-echo --udp",
        "ladder x.pcap --port 0",
        "ladder x.pcap --flow 10.0.0.1",
        "ladder x.pcap --fold sometimes",
        "ladder --demo loss --width 20",
        "cable",
        "cable -i veth0",
        "cable -i veth0 -i veth0",
        "cable -i veth0 -i veth1 --loss 1",
        "cable -i veth0 -i veth1 --loss 101%",
        "cable -i veth0 -i veth1 --queue 5",
        "cable -i veth0 -i veth1 --rate fast",
        "cable -i veth0 -i veth1 --delay 1ms --jitter 2ms",
        "cable -i veth0 -i veth1 --only forth",
        "cable -i veth0 -i veth1 --cores 0,1",
        "listen",
        "listen :5004",
        "listen 239.1.2.3",
        "listen --count 0 :5004",
        "listen --clock 2G :5004",
        "listen -i veth0 -a 10.0.0.2/24 10.0.0.9:5004",
        "listen --stack kernel 239.1.2.3:5004",
        "serve -i veth0 -a 10.0.0.2/24 stream:5004,rate=0=239.1.2.3",
        "serve --config /nonesuch echo:7",
        "serve --config Cargo.toml echo:7",
        "serve -i veth0 -a 10.0.0.2/24 --log loud echo:7",
        "reload --pid 0",
        "ladder --demo handshake --pid 1",
        "top veth0",
        "top --interval 10ms",
        "top --sort weight",
        "reload veth0",
        "serve -i veth0 -a 10.0.0.2/24 stream:5004,file=/nonesuch=239.1.2.3",
        "steer",
    ];
    insta::assert_snapshot!(refusals(&lines));
}

/// What is said about lines that cannot be run, behind each.
fn refusals(lines: &[&str]) -> String {
    let mut shown = String::new();
    for line in lines {
        let output = ringway(line);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{line}");
        shown.push_str(&format!("$ ringway {line}\n{}", text(&output.stderr)));
    }
    shown
}

#[test]
fn what_is_mistyped_is_named_and_mended() {
    let serve =
        ["--allow foo", "--allow 10.0.0.0/33", "--deny 10.0.0/8", "--deny 10.0.0.0/8,fd00::/8", "--allow", "--alow 10.0.0.0/8"]
            .into_iter()
            .chain(["--drain fast", "--drain 1h", "--drain 5sec", "--drain -1s", "--drain 61m"])
            .map(|words| format!("serve -i lo -a 10.0.0.2/24 {words} echo:7"));
    let raw = ["--allow 10.0.0.0/8 reflect", "--drain 5s reflect", "reflect:7"]
        .map(|words| format!("serve -i lo -a 10.0.0.2/24 --stack raw {words}"));
    let load = ["--ramp 0", "--ramp 50KB", "--ramp -5", "--ramp 1K --hold 0s", "--ramp 1K --hold 1h", "--hold 5s", "--active 1%"]
        .into_iter()
        .chain(["--ramp 1K --active 101%", "--ramp 1K --active 1%%", "--ramp 1K --churn", "10.0.0.1:7"])
        .chain(["--sources 0", "--sources 100K", "--sources 2.5", "--sources many", "--sources 300", "--rampp 5K"])
        .map(|words| format!("load tcp --to 10.0.0.1:7 -i lo -a 10.0.0.2/24 {words}"));
    let udp = "load udp --to 10.0.0.1:7 -i lo -a 10.0.0.2/24 --ramp 1K".to_owned();
    let show = ["", "connection", "counters queues", "connections --limit some", "connections --address 10.0.0.0/8"]
        .into_iter()
        .chain(["connections --port http", "connections --port 0", "connections --pid ringway", "connections --state open"])
        .chain(["connections --pid 1 --socket /tmp/x", "counters --state LISTEN", "queues --address 10.0.0.1", "routes --port 7"])
        .chain(["listeners --brief", "connections --adress 10.0.0.1"])
        .map(|words| format!("show {words}"));
    let doctor =
        ["veth0", "--fix", "--try", "-i lo --try --no-try", "-i lo -i lo", "-i lo --tyr"].map(|words| format!("doctor {words}"));
    let lines: Vec<_> = serve.chain(raw).chain(load).chain([udp]).chain(show).chain(doctor).collect();
    let shown = refusals(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    for (line, said) in lines.iter().zip(shown.split("$ ringway ").skip(1)) {
        assert!(said.contains("\n  try: "), "{line}: nothing mends it: {said}");
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn with_json_an_error_is_one_object_on_stdout() {
    for line in ["--json serve", "load tcp -J --to 10.0.0.2", "serve --json -i veth0 -a 10.0.0.2 echo:7"] {
        let output = ringway(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        let stdout = text(&output.stdout);
        assert_eq!(stdout.lines().count(), 1, "{line}: {stdout}");
        let event: Value = serde_json::from_str(&stdout).expect("JSON");
        assert_eq!((&event["schema"], &event["event"]), (&Value::from(1), &Value::from("error")));
        for field in ["what", "why", "mend"] {
            assert!(event[field].as_str().is_some_and(|text| !text.is_empty()), "{line}: {field} in {event}");
        }
        assert!(output.stderr.is_empty(), "{line}: {}", text(&output.stderr));
    }
}

#[test]
fn an_error_of_a_file_has_its_place_also_in_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ringway.toml").display().to_string();
    std::fs::write(&path, "drain = \"5s\"\n[tcp]\n  mls = \"1s\"\n").expect("a file");
    let output = run(&["serve", "--config", &path]);
    let said = format!("error: {path}:3:3: there is no key 'tcp.mls': ");
    assert!(
        text(&output.stderr).starts_with(&said) && text(&output.stderr).ends_with("\n  try: tcp.msl\n"),
        "{}",
        text(&output.stderr)
    );
    let output = run(&["serve", "--json", "--config", &path]);
    assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(2), true));
    let event: Value = serde_json::from_str(&text(&output.stdout)).expect("JSON");
    assert_eq!((&event["file"], &event["line"], &event["column"]), (&path.into(), &3.into(), &3.into()));
}

#[test]
fn what_is_printed_as_a_configuration_can_be_loaded() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ringway.toml").display().to_string();
    let first = run(&[
        "serve",
        "--print-config",
        "-i",
        "veth0",
        "-a",
        "10.0.0.2/24@5",
        "--set",
        "tcp.msl=1s",
        "--deny",
        "10.0.0.0/8",
        "echo:7",
    ]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    std::fs::write(&path, &first.stdout).expect("a file");
    let again = run(&["serve", "--print-config", "--config", &path]);
    // The same but for where it comes from.
    let values = |output: &Output| {
        text(&output.stdout).lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(values(&first), values(&again));
    for line in [
        "services = [\"echo:7\"]",
        "deny = [\"10.0.0.0/8\"]",
        "addresses = [\"10.0.0.2/24@5\"]",
        "msl = \"1s\"",
        "name = \"veth0\"",
    ] {
        assert!(values(&again).iter().any(|own| own == line), "{line}");
    }
}

#[test]
fn json_takes_no_value() {
    assert_eq!(ringway("serve --json=pretty echo:7").status.code(), Some(2));
}

#[test]
fn help_fits_80_columns_and_has_examples() {
    for line in [
        "--help",
        "serve --help",
        "load --help",
        "compare --help",
        "bench --help",
        "cable --help",
        "listen --help",
        "show --help",
        "top --help",
        "doctor --help",
        "reload --help",
        "ladder --help",
        "capture --help",
        "steer --help",
        "serve -h",
    ] {
        let output = ringway(line);
        assert_eq!(output.status.code(), Some(0), "{line}");
        let help = text(&output.stdout);
        let wide: Vec<_> = help.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{line}: {wide:#?}");
        assert!(help.contains("Example"), "{line}");
        assert!(!help.contains('\x1b'), "{line}: colours in a pipe");
    }
}

#[test]
fn the_help_of_serve_lists_every_setting() {
    let help = text(&ringway("serve --help").stdout);
    for key in ringway::settings::KEYS {
        assert!(help.contains(&format!("{}=", key.name)), "{}", key.name);
    }
}

#[test]
fn version_and_hidden_commands_succeed() {
    let version = ringway("--version");
    assert_eq!(text(&version.stdout), format!("ringway {}\n", env!("CARGO_PKG_VERSION")));
    let completions = ringway("completions bash");
    assert!(completions.status.success() && text(&completions.stdout).contains("_ringway()"));
    let page = ringway("man");
    assert!(page.status.success() && text(&page.stdout).contains(".TH ringway"));
    let page = ringway("man load");
    assert!(page.status.success() && text(&page.stdout).contains("fail") && text(&page.stdout).contains(".TH "));
    assert!(text(&ringway("man doctor").stdout).contains("\\-\\-no\\-try"));
    let page = ringway("man ladder");
    assert!(page.status.success() && text(&page.stdout).contains("tcpdump"));
    assert_eq!(ringway("man serv").status.code(), Some(2));
    assert!(!text(&ringway("--help").stdout).contains("completions"));
}

const COMPARE: &str = "compare --server-netns rw-none-s --server-if v0 --server-address 10.0.0.2/24 \
                       --client-netns rw-none-c --client-if v1 --client-address 10.0.0.1/24";

#[test]
fn a_dry_run_prints_both_lines_of_every_row_and_needs_nothing() {
    let output = ringway(&format!("{COMPARE} --dry-run --quick"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    let rows = stdout.lines().filter(|line| line.starts_with("# ")).count();
    let servers = stdout.lines().filter(|line| line.starts_with("ip netns exec rw-none-s ") && line.contains(" serve ")).count();
    let clients = stdout.lines().filter(|line| line.starts_with("ip netns exec rw-none-c ") && line.contains(" load ")).count();
    assert!(rows >= 10, "{stdout}");
    // Behind the rows stands the exchange that the page draws, with two clients of one server.
    assert!(stdout.contains("# exchange\n"), "{stdout}");
    assert_eq!((servers, clients), (rows, rows + 1));
    for stack in ["--stack raw", "--stack kernel ", "--stack kernel-spin"] {
        assert!(stdout.contains(stack), "{stack}");
    }
    let json = ringway(&format!("{COMPARE} --dry-run --quick --json"));
    assert_eq!(text(&json.stdout).lines().count(), rows);
}

#[test]
fn compare_without_its_namespaces_says_so() {
    let output = ringway(COMPARE);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("rw-none-s"), "{}", text(&output.stderr));
}

const BENCH: &str = "bench --server-netns rw-none-s --server-if v0 --server-address 10.0.0.2/24 \
                     --client-netns rw-none-c --client-if v1 --client-address 10.0.0.1/24";

#[test]
fn a_dry_run_of_the_benchmarks_prints_what_each_cell_starts_and_needs_nothing() {
    let program = env!("CARGO_BIN_EXE_ringway");
    let output = ringway(&format!("{BENCH} --dry-run --only udp-latency/64B --only crr/kernel-client --only mixed"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    insta::assert_snapshot!(text(&output.stdout).replace(program, "ringway"));
    let json = ringway(&format!("{BENCH} --dry-run --json"));
    let plans = text(&json.stdout).lines().filter(|line| line.contains("\"plan\"")).count();
    assert!(plans > 100 && plans == text(&json.stdout).lines().count(), "{plans}");
}

#[test]
fn benchmarks_that_cannot_be_run_say_what_why_and_what_mends_it() {
    let out = tempfile::tempdir().expect("a folder");
    std::fs::write(out.path().join("cells.jsonl"), "something else\n").expect("a file");
    let resumed = format!("{BENCH} --resume --out {}", out.path().display());
    let cases = [
        (format!("{BENCH} --only udp-latence"), 2, "--only udp-latency"),
        (format!("{BENCH} --rounds 0"), 2, "--rounds 5"),
        (format!("{BENCH} --cores 1"), 2, "--cores 0,1"),
        (BENCH.to_owned(), 3, "scripts/bench.sh veth"),
        (resumed, 3, "rw-none-s"),
    ];
    for (line, code, word) in cases {
        let output = ringway(&line);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(word), "{line}: {said}");
    }
}

/// A running `ringway`, killed when the test ends before it.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        Self(
            command
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("ringway starts"),
        )
    }

    /// Its first line on stdout.
    fn first_line(&mut self) -> String {
        use std::io::Read;
        let stdout = self.0.stdout.as_mut().expect("piped");
        let mut line = Vec::new();
        let mut byte = [0];
        while stdout.read(&mut byte).is_ok_and(|n| n == 1) && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        text(&line)
    }

    /// Interrupts it and waits for its end: exit code, and the rest of stdout.
    fn interrupt(mut self) -> (Option<i32>, String) {
        use std::io::Read;
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::INT).expect("it runs");
        let mut rest = String::new();
        self.0.stdout.take().expect("piped").read_to_string(&mut rest).expect("UTF-8");
        (self.0.wait().expect("it ends").code(), rest)
    }
}

/// A port of 127.0.0.1 that is free for TCP and UDP.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn load_over_kernel_sockets_reaches_a_kernel_server_and_reports() {
    for (server_stack, client_stack) in [("kernel", "kernel"), ("kernel-spin", "kernel-spin")] {
        let port = free_port();
        let mut server = Running::start(&["serve", "--json", "--stack", server_stack, &format!("echo@127.0.0.1:{port}")]);
        let ready: Value = serde_json::from_str(&server.first_line()).expect("JSON");
        assert_eq!((ready["event"].as_str(), ready["stack"].as_str()), (Some("ready"), Some(server_stack)));
        let out = tempfile::tempdir().expect("a folder");
        for carrier in ["tcp", "udp"] {
            let folder = out.path().join(carrier);
            let line = format!(
                "load {carrier} --to 127.0.0.1:{port} --stack {client_stack} -t 200ms -O 20ms -P 2 --json --fail-if lost>1000000 \
                 --interval=50ms --out {}",
                folder.display()
            );
            let output = ringway(&line);
            assert_eq!(output.status.code(), Some(0), "{line}: {}{}", text(&output.stdout), text(&output.stderr));
            let events: Vec<Value> =
                text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
            assert!(events.iter().all(|event| event["schema"] == 1));
            for kind in ["ready", "interval", "row", "summary"] {
                assert!(events.iter().any(|event| event["event"] == kind), "{kind} in {events:?}");
            }
            let row = events.iter().find(|event| event["event"] == "row").expect("a row");
            assert_eq!((row["transport"].as_str(), row["client_stack"].as_str()), (Some(carrier), Some(client_stack)));
            assert!(row["received"].as_u64().is_some_and(|received| received > 5), "{row}");
            let result: Value =
                serde_json::from_slice(&std::fs::read(folder.join("result.json")).expect("result.json")).expect("JSON");
            assert_eq!((result["schema"].as_u64(), result["rows"].as_array().map(Vec::len)), (Some(1), Some(1)));
            assert!(folder.join("report.html").exists());
            assert!(
                std::fs::read_dir(&folder)
                    .expect("a folder")
                    .flatten()
                    .any(|file| file.path().extension().is_some_and(|e| e == "hlog"))
            );
        }
        let (code, rest) = server.interrupt();
        assert_eq!(code, Some(0));
        let summary: Value = serde_json::from_str(rest.lines().last().expect("a summary")).expect("JSON");
        assert_eq!(summary["event"], "summary");
        assert!(summary["counters"]["messages"].as_u64().is_some_and(|messages| messages > 10), "{summary}");
    }
}

#[test]
fn a_missed_threshold_ends_with_4_and_silence_with_1() {
    let port = free_port();
    let mut server = Running::start(&["serve", "--stack", "kernel", &format!("echo@127.0.0.1:{port}")]);
    assert_eq!(server.first_line(), format!("ready stack=kernel address=127.0.0.1 services=echo@127.0.0.1:{port}"));
    let line = format!("load tcp --to 127.0.0.1:{port} --stack kernel -t 100ms -O 0s");
    let output = ringway(&format!("{line} --fail-if p50>1us --fail-if lost>0"));
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("p50"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("tcp"), "the report is printed in any case");
    let (code, summary) = server.interrupt();
    assert_eq!(code, Some(0));
    assert!(summary.contains("messages "), "{summary}");
    // Nobody is there any more.
    let refused = ringway(&line);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
}

#[test]
fn options_of_the_engine_are_refused_where_they_mean_nothing() {
    let lines = [
        "serve --stack kernel -i veth0 echo:7",
        "serve --stack kernel --idle spin echo:7",
        "serve --stack kernel --set tcp.msl=1s echo:7",
        "serve --stack kernel --cores 0,1 echo:7",
        "serve --stack kernel --drain 1s echo:7",
        "serve --stack kernel-spin --deny 10.0.0.0/8 echo:7",
        "serve --stack raw -i veth0 -a 10.0.0.2/24 --allow 10.0.0.0/8 reflect",
        "serve --stack kernel --metrics 127.0.0.1:9464 echo:7",
        "serve --stack raw -i veth0 -a 10.0.0.2/24 --metrics 127.0.0.1:9464 reflect",
        "serve --stack raw -i veth0 -a 10.0.0.2/24 --metrics 127.0.0.1:9464 xdp-tx",
        "load raw --to 10.0.0.2:7 -i veth0 -a 10.0.0.1/24 --metrics 127.0.0.1:9464",
        "serve -i veth0 -a 10.0.0.2/24 --metrics 9464 echo:7",
        "serve -i veth0 -a 10.0.0.2/24 --metrics ::1 echo:7",
        "serve -i veth0 -a 10.0.0.2/24 --metrics localhost:9464 echo:7",
        "serve --stack kernel reflect",
        "serve --stack kernel dns@127.0.0.1:8053=.",
        "serve --stack raw -i veth0 -a 10.0.0.2/24 echo:7",
        "serve --stack raw -i veth0 -a 10.0.0.2/24 -a 10.0.0.3/24 reflect",
        "serve -i veth0 -a 10.0.0.2/24 reflect",
        "serve -i veth0 --claim tcp:7 echo:7",
        "serve -i veth0 -a 10.0.0.2/24 echo@10.0.0.3:7",
        "load tcp --to 127.0.0.1:7 --stack kernel --idle spin",
        "load tcp --to 127.0.0.1:7 --stack kernel --sources 2",
        "load tcp --to 127.0.0.1:7 --stack kernel -a 10.0.0.254/24 --sources 300",
        "load tcp --to 127.0.0.1:7 --stack kernel --churn --in-flight 2",
        "load tcp --to 127.0.0.1:7 --stack kernel --fail-if p98>1us",
        "load udp --to 127.0.0.1:7 --stack kernel --churn",
        "load raw --to 10.0.0.2:7 --stack kernel -i veth0 -a 10.0.0.1/24",
        "load raw --to 10.0.1.2:7 -i veth0 -a 10.0.0.1/24",
        "steer --dump",
        "steer --dump --claim tcp:80",
        "steer --dump -a 10.0.0.0/24",
    ];
    let mut shown = String::new();
    for line in lines {
        let output = ringway(line);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", text(&output.stderr));
        shown.push_str(&format!("$ ringway {line}\n{}", text(&output.stderr)));
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_ramp_that_cannot_be_run_says_what_would_mend_it() {
    let lines = [
        "load tcp --to 10.0.0.2:7 -i veth0 -a 10.0.0.16/24 --ramp 1K -P 40000",
        "load tcp --to 10.0.0.2:7 -i veth0 -a 10.0.0.16/24 --ramp 1K -P 100000 --sources 4",
        "load tcp --to 10.0.0.2:7 -i veth0 -a 10.0.0.16/24 --ramp 1K -P 2M",
        "load udp --to 10.0.0.2:7 -i veth0 -a 10.0.0.16/24 --ramp 1K",
        "load tcp --to 127.0.0.1:7 --stack kernel --ramp 1K",
        "load tcp --to 10.0.0.2:7 --ramp 1K --churn",
        "load tcp --to 10.0.0.2:7 --hold 5s",
        "load tcp --to 10.0.0.2:7 --ramp 1K --hold 5s -t 5s",
        "load tcp --to 10.0.0.2:7 --ramp 1K --hold 1s",
        "load tcp --to 10.0.0.2:7 --ramp fast",
        "load tcp --to 10.0.0.2:7 --ramp 1K --active 1",
    ];
    let mut shown = String::new();
    for line in lines {
        let output = ringway(line);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", text(&output.stderr));
        shown.push_str(&format!("$ ringway {line}\n{}", text(&output.stderr)));
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn steer_lists_its_program_without_any_rights() {
    let output = ringway("steer --dump -a 10.0.0.2/24");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let listing = text(&output.stdout);
    assert!(listing.contains("claim  address 10.0.0.2") && listing.contains("program steer"), "{listing}");
    let json = ringway("steer --dump -a 10.0.0.2/24 --json");
    let event: Value = serde_json::from_slice(&json.stdout).expect("one object");
    assert_eq!(event["listing"].as_array().map(Vec::len), Some(listing.lines().count()));
}

#[test]
fn no_such_interface_is_an_error_of_the_environment() {
    let output = ringway("serve -i rw-none0 -a 10.0.0.2/24 echo:7");
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("try: "), "{}", text(&output.stderr));
}

#[test]
fn who_looks_at_a_process_that_does_not_run_hears_how_to_find_one() {
    for line in ["top --socket /nonesuch/x.sock", "top --count 1 --socket /nonesuch/x.sock"] {
        let output = ringway(line);
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(3), true), "{line}");
        let said = text(&output.stderr);
        assert!(
            said.starts_with("error: cannot open /nonesuch/x.sock: ") && said.ends_with("\n  try: ls /run/ringway\n"),
            "{said}"
        );
    }
}

#[test]
fn doctor_says_a_line_a_check_with_any_rights() {
    let output = ringway("doctor --json");
    let events: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    let (findings, summary) = (of("finding"), of("summary"));
    for finding in &findings {
        let verdict = finding["verdict"].as_str().expect("a word");
        assert!(["ok", "skip", "warn", "fail"].contains(&verdict), "{finding}");
        assert!(finding["text"].as_str().is_some_and(|text| !text.is_empty()), "{finding}");
    }
    let count = |verdict: &str| findings.iter().filter(|finding| finding["verdict"] == verdict).count();
    for verdict in ["ok", "skip", "warn", "fail"] {
        assert_eq!(summary[0][verdict], count(verdict), "{verdict}");
    }
    let (code, errors) = if count("fail") > 0 { (Some(3), 1) } else { (Some(0), 0) };
    assert_eq!((output.status.code(), of("error").len()), (code, errors));
    assert!(findings.iter().any(|finding| finding["check"] == "overview" && finding["interface"] == "lo"));

    let plain = text(&ringway("doctor").stdout);
    let long: Vec<_> = plain.lines().filter(|line| line.chars().count() > 80 && !line.contains('/')).collect();
    assert!(long.is_empty() && !plain.contains('\x1b'), "{long:?}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = Running::start(&["serve", "--help"]);
    drop(child.0.stdout.take());
    assert_eq!(child.0.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_ladder_is_drawn_without_rights_in_words_and_in_objects() {
    let readme = include_str!("../README.md");
    let drawn = text(&ringway("ladder --demo handshake").stdout);
    let shown: String = drawn.lines().map(|line| if line.is_empty() { "\n".into() } else { format!("    {line}\n") }).collect();
    assert!(readme.contains(&shown), "README.md has to show:\n{shown}");
    let list = text(&ringway("ladder --demo").stdout);
    for scenario in ringway::ladder::demo::Scenario::ALL {
        assert!(list.contains(&format!("{:<19} {}", scenario.name, scenario.about)), "{list}");
        assert!(text(&ringway("ladder --help").stdout).contains(scenario.name), "{}", scenario.name);
    }
    for (line, why) in [("ladder nonesuch.pcap", "No such file"), ("ladder Cargo.toml", "neither pcap nor pcapng")] {
        let output = ringway(line);
        assert_eq!(output.status.code(), Some(3), "{line}");
        assert!(text(&output.stderr).contains(why) && text(&output.stderr).contains("try: "), "{}", text(&output.stderr));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let [svg, html] = ["ladder.svg", "ladder.html"].map(|name| folder.path().join(name).to_string_lossy().into_owned());
    let out = text(&run(&["ladder", "--demo", "close-by-client", "--udp", "--json", "--svg", &svg, "--html", &html]).stdout);
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let count = |event: &str| events.iter().filter(|object| object["event"] == event).count();
    assert_eq!([count("connection"), count("step"), count("summary")], [2, 11 + 2, 1], "{out}");
    let fin = events.iter().find(|object| object["flags"][0] == "FIN").expect("a FIN");
    assert_eq!((&fin["states"][0], &fin["states"][1]), (&"FIN-WAIT-1".into(), &"CLOSE-WAIT".into()));
    for path in [svg, html] {
        let drawn = std::fs::read_to_string(&path).expect("a file");
        assert!(drawn.contains("LAST-ACK") && drawn.contains("datagram"), "{path}");
    }
}
