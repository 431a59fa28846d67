//! Captures of a running server, read by tshark, and what the flight recorder says afterwards.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::{abort, connect, exchange, udp};
use crate::common::Netns;
use crate::family::NFT;
use crate::server::{RINGWAY, Server, ringway, run_to_end};
use crate::world::{INTERFACE, SERVER, SERVER_CIDR, World};

const MIB: usize = 1 << 20;

/// A running `ringway capture --json`, which has begun.
struct Capture {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Capture {
    fn start(netns: &Netns, server: &Server, arguments: &[&str]) -> Self {
        let mut command = netns.command(RINGWAY);
        command.args(["capture", "--json", "--pid", &server.id().to_string()]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ip starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("a line");
        assert!(first.contains("\"capturing\""), "{first}");
        Self { child, lines }
    }

    /// Ends it as Ctrl-C does; its summary.
    fn stop(mut self) -> Value {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("UTF-8");
        let status = self.child.wait().expect("wait");
        assert!(status.success(), "{rest}");
        serde_json::from_str(rest.lines().last().expect("a summary")).expect("JSON")
    }
}

/// What tshark reads in a file, one line a packet with these fields; without a warning, and with nothing malformed.
fn tshark(netns: &Netns, file: &Path, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = netns.command("tshark");
    // What is malformed is shown whatever the filter says; one reading of a file takes half a second.
    let filter = format!("({filter}) || _ws.malformed");
    command.args(["-n", "-r", file.to_str().expect("UTF-8"), "-Y", &filter, "-T", "fields", "-E", "separator=|"]);
    command.args(fields.iter().chain(&["_ws.malformed"]).flat_map(|field| ["-e", field]));
    let (code, out, log) = run_to_end(command);
    // It says that whoever runs it is root, and nothing else.
    let said: Vec<_> = log.lines().filter(|line| !line.contains("Running as user")).collect();
    assert_eq!((code, said), (Some(0), vec![]), "{filter}");
    let row = |line: &str| {
        let mut cells: Vec<String> = line.split('|').map(str::to_owned).collect();
        assert_eq!(cells.pop().as_deref(), Some(""), "malformed: {line}");
        cells
    };
    out.lines().map(row).collect()
}

/// Loses every so many-th packet that the server sends.
fn lose(client: &Netns, one_of: u32) {
    let chain = format!("{{ type filter hook ingress device {INTERFACE} priority 0; }}");
    let rule = format!("meta l4proto tcp {NFT} length > 500 numgen inc mod {one_of} == {} drop", 7 % one_of);
    client.run("nft", &["add", "table", "netdev", "loss"]);
    client.run("nft", &["add", "chain", "netdev", "loss", "loss", &chain]);
    client.run("nft", &[&["add", "rule", "netdev", "loss", "loss"], rule.split(' ').collect::<Vec<_>>().as_slice()].concat());
}

/// Of the segments that were sent from the server, those that end at or below the highest number sent before, in their own connection.
fn sent_again(packets: &[Vec<String>]) -> u64 {
    let mut highest: HashMap<&str, u32> = HashMap::new();
    let mut again = 0;
    for packet in packets {
        let number = |at: usize| packet[at].parse::<u32>().unwrap_or_else(|_| panic!("{packet:?}"));
        let flag = |at: usize| u32::from(packet[at] == "True" || packet[at] == "1");
        let (seq, len) = (number(1), number(2) + flag(3) + flag(4));
        if len == 0 {
            continue;
        }
        let end = seq.wrapping_add(len);
        let before = highest.entry(&packet[0]).or_insert(seq);
        if (end.wrapping_sub(*before) as i32) <= 0 {
            again += 1;
        } else {
            *before = end;
        }
    }
    again
}

#[test]
fn tshark_reads_a_lossy_transfer_and_counts_what_ringway_counts() {
    let Some(world) = World::in_order() else { return };
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("a"), vec![7; MIB]).expect("a file");
    let server = Server::with(&world, &["-a", SERVER_CIDR, &format!("http:80={}", folder.path().display())]);
    let file = folder.path().join("lossy.pcapng");
    let capture = Capture::start(&world.server, &server, &["-w", file.to_str().expect("UTF-8"), "--port", "80"]);
    lose(&world.client, 50);
    for _ in 0..3 {
        world
            .client
            .run("curl", &["-s", "-S", "-m", "60", "--limit-rate", "4M", "-o", "/dev/null", &format!("http://{SERVER}/a")]);
    }
    let captured = capture.stop();
    let summary = server.stop();
    assert_eq!(captured["lost"], 0, "{captured}");
    let fields = ["tcp.stream", "tcp.seq_raw", "tcp.len", "tcp.flags.syn", "tcp.flags.fin"];
    let sent = tshark(&world.server, &file, "tcp.srcport == 80", &fields);
    assert_eq!(sent.len() as u64, summary.counter("tcp_sent"));
    assert!(summary.counter("tcp_retransmitted") > 20, "{}", summary.value());
    assert_eq!(sent_again(&sent), summary.counter("tcp_retransmitted"));
    let received = tshark(&world.server, &file, "tcp.dstport == 80", &["frame.number"]);
    assert_eq!(received.len() as u64, summary.counter("tcp_received"));
    let syns = tshark(
        &world.server,
        &file,
        "tcp.flags.syn == 1 && tcp.flags.ack == 0",
        &["frame.packet_flags_direction", "frame.comment"],
    );
    assert_eq!(syns.len() as u64, summary.counter("tcp_accepted"));
    assert!(syns.iter().all(|syn| syn[0] == "0x00000001" && syn[1].starts_with("LISTEN -> SYN-RECEIVED")), "{syns:?}");
    let syn_acks = tshark(
        &world.server,
        &file,
        "tcp.flags.syn == 1 && tcp.flags.ack == 1",
        &["frame.packet_flags_direction", "frame.interface_name"],
    );
    assert_eq!(syn_acks, vec![vec!["0x00000002".to_owned(), INTERFACE.to_owned()]; syns.len()]);
    let repaired = tshark(&world.server, &file, "frame.comment contains \"fast_retransmit\"", &["frame.number"]);
    assert_eq!(repaired.len() as u64, summary.happened("fast_retransmit"));
}

#[test]
fn the_recorder_tells_what_came_before() {
    let Some(world) = World::in_order() else { return };
    let folder = TempDir::new().expect("a folder");
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--set", "recorder.udp=on", "echo:7"]);
    world.client.inside(|| {
        exchange(&mut connect(7), b"hello");
        udp(7).send(b"hello").expect("send");
    });
    let pid = server.id().to_string();
    let until = Instant::now() + Duration::from_secs(5);
    let rows = loop {
        let (code, out, log) = ringway(&world.server, &["show", "records", "--json", "--last", "60s", "--pid", &pid]);
        assert_eq!(code, Some(0), "{log}");
        let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let is_over = rows.iter().any(|row| row["state"] == "CLOSED") && rows.iter().any(|row| row["kind"] == "datagram-sent");
        if is_over || Instant::now() > until {
            break rows;
        }
    };
    let states: Vec<_> = rows.iter().filter(|row| row["remote"] != Value::Null).filter_map(|row| row["state"].as_str()).collect();
    let mut seen = states.clone();
    seen.dedup();
    assert_eq!(seen, ["SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT", "LAST-ACK", "CLOSED"], "{rows:#?}");
    let syn = &rows[0];
    assert_eq!((&syn["kind"], &syn["flags"], &syn["state_before"]), (&"received".into(), &2.into(), &"LISTEN".into()), "{syn}");
    assert!(syn["mss"].as_u64().is_some_and(|mss| mss > 500) && syn["sack_permitted"] == true, "{syn}");
    assert!(rows.iter().any(|row| row["kind"] == "datagram-received" && row["len"] == 5), "{rows:#?}");
    let next = rows.last().expect("a summary")["next"][0].as_u64().expect("a number");
    assert!(next >= rows.len() as u64 - 1, "{rows:?}");

    let (code, text, _) = ringway(&world.server, &["show", "records", "--port", "7", "--limit", "1", "--pid", &pid]);
    assert_eq!(code, Some(0));
    assert!(
        text.contains(" SYN seq ")
            && text.contains("LISTEN -> SYN-RECEIVED")
            && text.contains("(1 shown, there are more: --limit)"),
        "{text}"
    );

    let drawn = ringway(&world.server, &["ladder", "--live", "--last", "60s", "--port", "7", "--udp", "--pid", &pid]).1;
    let dump = folder.path().join("records");
    fs::write(&dump, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).expect("a file");
    let again = ringway(&world.server, &["ladder", dump.to_str().expect("UTF-8"), "--port", "7", "--udp"]).1;
    for ladder in [&drawn, &again] {
        for words in ["SYN ACK seq=0 ack=1", "SYN-RECEIVED", "CLOSE-WAIT", "LAST-ACK", "TIME-WAIT", "datagram len=5"] {
            assert!(ladder.contains(words), "{words}:\n{ladder}");
        }
    }
    let (code, _, log) = ringway(&world.server, &["ladder", "--live", "--port", "9", "--pid", &pid]);
    assert_eq!(code, Some(3), "{log}");
    assert!(log.contains("holds nothing of a connection that is asked for"), "{log}");

    let file = folder.path().join("last.pcapng");
    let (code, out, log) =
        ringway(&world.server, &["capture", "-w", file.to_str().expect("UTF-8"), "--last", "60s", "--pid", &pid]);
    assert_eq!(code, Some(0), "{log}");
    assert!(out.contains(" packets in "), "{out}");
    let handshake = tshark(&world.server, &file, "tcp.flags.syn == 1", &["tcp.options.mss_val", "frame.comment"]);
    assert_eq!(handshake.len(), 2, "{handshake:?}");
    assert_eq!((handshake[0][0].as_str(), handshake[0][1].as_str()), (&*syn["mss"].to_string(), "LISTEN -> SYN-RECEIVED"));
    assert_eq!(tshark(&world.server, &file, "udp.port == 7", &["udp.length"]), [["13"], ["13"]]);
    server.stop();
}

#[test]
fn a_row_of_files_and_a_pipe_are_read_as_well() {
    let Some(world) = World::in_order() else { return };
    let folder = TempDir::new().expect("a folder");
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7"]);
    let file = folder.path().join("row.pcapng");
    let name = file.to_str().expect("UTF-8");
    let capture = Capture::start(&world.server, &server, &["-w", name, "--rotate", "64K", "--files", "2", "--snap-len", "96"]);
    let (code, _, log) = ringway(&world.server, &["capture", "-w", "/dev/null", "--pid", &server.id().to_string()]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("another capture of this process runs"), "{log}");
    world.client.inside(|| {
        let mut stream = connect(7);
        (0..600).for_each(|_| exchange(&mut stream, &[7; 1000]));
    });
    let captured = capture.stop();
    let files: Vec<_> = captured["files"].as_array().expect("a list").iter().map(|file| file.as_str().expect("a name")).collect();
    assert_eq!(files.len(), 2, "{captured}");
    assert!(!file.exists(), "the first has gone: {captured}");
    for file in files {
        let lengths = tshark(&world.server, Path::new(file), "tcp.len == 1000", &["frame.cap_len", "frame.comment"]);
        assert!(!lengths.is_empty() && lengths.iter().all(|cut| cut[0] == "96"), "{file}: {lengths:?}");
        // What is cut was whole when the engine read it.
        assert!(lengths.iter().all(|cut| cut[1].contains("ESTABLISHED")), "{file}: {lengths:?}");
    }
    // Nothing is copied any more once nobody captures.
    let capture = Capture::start(&world.server, &server, &["-w", name, "-c", "4"]);
    world.client.inside(|| exchange(&mut connect(7), b"hello"));
    let (mut child, mut lines) = (capture.child, capture.lines);
    assert!(child.wait().expect("wait").success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("UTF-8");
    assert!(rest.contains("\"frames\":4,\"packets\":4"), "{rest}");
    assert_eq!(tshark(&world.server, &file, "frame", &["frame.number"]).len(), 4);
    server.stop();
}

#[test]
fn what_cannot_be_captured_says_why() {
    let Some(world) = World::new() else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7"]);
    let pid = server.id().to_string();
    for (arguments, code, said) in [
        (&["-w", "/nowhere/a.pcapng", "--pid", &pid][..], 3, "cannot write /nowhere/a.pcapng"),
        (&["-w", "-", "--rotate", "1M", "--pid", &pid], 2, "there is one stdout"),
        (&["-w", "a", "--rotate", "1K"], 2, "--rotate 64K"),
        (&["-w", "a", "--files", "3"], 2, "--rotate"),
        (&["-w", "a", "--last", "1s", "-t", "1s"], 2, "--last"),
        (&[], 2, "--out"),
        (&["-w", "a", "--pid", "999999999"], 3, "999999999"),
    ] {
        let (ended, out, log) = ringway(&world.server, &[&["capture"], arguments].concat());
        assert_eq!(ended, Some(code), "{arguments:?}: {out}{log}");
        assert!(log.contains(said), "{arguments:?}: {log}");
    }
    server.stop();
}

#[test]
fn a_timeout_leaves_a_dump_behind_and_what_came_too_soon_after_it_is_written_at_the_end() {
    let Some(world) = World::in_order() else { return };
    let folder = TempDir::new().expect("a folder");
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--dump", folder.path().to_str().expect("UTF-8"), "echo:7"]);
    let dumps = || -> Vec<_> {
        let entries = folder.path().read_dir().expect("a folder").map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> = entries.filter(|path| path.extension().is_some()).collect();
        files.sort();
        files
    };
    let mut stream = world.client.inside(|| connect(7));
    world.client.inside(|| exchange(&mut stream, b"hello"));
    // Nothing large comes back any more.
    lose(&world.client, 1);
    stream.write_all(&[7; 600]).expect("the kernel takes it");
    let until = Instant::now() + Duration::from_secs(10);
    while dumps().is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    world.client.inside(|| {
        let mut other = connect(7);
        exchange(&mut other, b"hello");
        abort(other);
        exchange(&mut connect(7), b"the reset has been read");
    });
    let summary = server.stop();
    let [first, second] = &dumps()[..] else { panic!("{:?}: {}", dumps(), summary.log) };
    assert!(first.to_string_lossy().ends_with("-1-rto.pcapng"), "{first:?}");
    let again = tshark(&world.server, first, "tcp.srcport == 7 && tcp.analysis.retransmission", &["tcp.len"]);
    assert!(again.iter().any(|sent| sent[0] == "600"), "{again:?}");
    assert!(second.to_string_lossy().ends_with("-2-reset.pcapng"), "{second:?}");
    assert!(!tshark(&world.server, second, "tcp.flags.reset == 1", &["frame.number"]).is_empty());
}

#[test]
fn a_reset_leaves_a_dump_behind() {
    let Some(world) = World::in_order() else { return };
    let folder = TempDir::new().expect("a folder");
    let name = folder.path().to_str().expect("UTF-8");
    let (code, _, log) = ringway(&world.server, &["serve", "-i", INTERFACE, "-a", SERVER_CIDR, "--dump", "/nowhere", "echo:7"]);
    assert_eq!(code, Some(3), "{log}");
    assert!(log.contains("cannot write dumps into /nowhere"), "{log}");
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--dump", name, "--dump-on", "reset", "echo:7"]);
    let dumps =
        || -> Vec<_> { folder.path().read_dir().expect("a folder").map(|entry| entry.expect("an entry").path()).collect() };
    world.client.inside(|| exchange(&mut connect(7), b"hello"));
    assert_eq!(dumps(), Vec::<std::path::PathBuf>::new(), "an orderly end is none");
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"hello");
        abort(stream);
    });
    let until = Instant::now() + Duration::from_secs(5);
    while dumps().is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let summary = server.stop();
    let [file] = &dumps()[..] else { panic!("{:?}: {}", dumps(), summary.log) };
    assert!(file.to_string_lossy().ends_with("-1-reset.pcapng"), "{file:?}");
    assert!(summary.log.contains("dumped"), "{}", summary.log);
    let resets = tshark(&world.server, file, "tcp.flags.reset == 1", &["tcp.dstport", "frame.comment"]);
    assert_eq!(resets.len(), 1, "{resets:?}");
    assert!(resets[0][0] == "7" && resets[0][1].starts_with("ESTABLISHED -> CLOSED"), "{resets:?}");
    assert_eq!(tshark(&world.server, file, "tcp.flags.syn == 1 && tcp.flags.ack == 0", &["frame.number"]).len(), 2);
}
