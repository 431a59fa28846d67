//! Ladders of what two kernels say to each other: the states that are inferred from a capture are those that both kernels are in.
//!
//! Each test captures with tcpdump on the client side, plays a connection step by step, and after each step holds what `ringway ladder` says of the packets so
//! far against what `ss` says at both ends.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::SockRef;

use crate::client::{abort, connect, server, udp};
use crate::common::Netns;
use crate::server::ringway;
use crate::world::{INTERFACE, World};

/// Two kernels, and a capture on the client's interface.
struct Scene {
    world: World,
    tcpdump: Child,
    folder: tempfile::TempDir,
}

impl Scene {
    /// `None` without root.
    fn new() -> Option<Self> {
        let world = World::with_kernel_server()?;
        // A segment is a packet.
        world.client.ip(&["link", "set", INTERFACE, "gso_max_segs", "1"]);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("trace.pcap");
        let mut command = world.client.command("tcpdump");
        // Headers are enough, and -Z keeps it from becoming a user who may not write there.
        command.args(["-i", INTERFACE, "-U", "--immediate-mode", "-s", "128", "-Z", "root", "-w"]).arg(&file);
        let mut tcpdump = command.arg("tcp or udp or icmp").stderr(Stdio::piped()).spawn().expect("ip starts");
        let said = BufReader::new(tcpdump.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let said: Vec<String> = said.take_while(|line| !line.contains("listening on")).collect();
        assert!(tcpdump.try_wait().expect("wait").is_none(), "tcpdump ended: {said:?}");
        Some(Self { world, tcpdump, folder })
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("trace.pcap")
    }

    fn listen(&self, port: u16) -> TcpListener {
        self.world.server.inside(|| TcpListener::bind(server(port)).expect("bind"))
    }

    /// A connection to a listener, from both sides.
    fn connect(&self, listener: &TcpListener) -> [TcpStream; 2] {
        let port = listener.local_addr().expect("an address").port();
        let client = self.world.client.inside(|| connect(port));
        let (accepted, _) = listener.accept().expect("accept");
        crate::client::patient(&accepted);
        [client, accepted]
    }

    /// Waits until the kernels of the client and the server are in these states, as `ss` sees the only connection with a port, and the ladder says the same.
    fn expect(&self, port: u16, expected: [&str; 2]) {
        let kernels =
            || [(&self.world.client, "dport"), (&self.world.server, "sport")].map(|(side, which)| state(side, which, port));
        eventually(|| (kernels() == expected).then_some(()))
            .unwrap_or_else(|| panic!("the kernels are in {:?}, not {expected:?}", kernels()));
        let drawn = || self.steps(port).last().map(states_of).unwrap_or_default();
        let same = eventually(|| (drawn() == expected).then_some(()));
        assert!(same.is_some(), "the ladder says {:?}, not {expected:?}:\n{}", drawn(), self.drawn(port));
    }

    /// Waits until the ladder says these states, where `ss` can say nothing yet.
    fn expect_sent(&self, port: u16, expected: [&str; 2]) {
        let drawn = || self.steps(port).last().map(states_of).unwrap_or_default();
        eventually(|| (drawn() == expected).then_some(())).unwrap_or_else(|| panic!("not {expected:?}:\n{}", self.drawn(port)));
    }

    /// The steps of what has this port, without the end of TIME-WAIT, which nobody has waited for.
    fn steps(&self, port: u16) -> Vec<Value> {
        let (_, out, _) = self.ladder(&["--json", "--fold", "never", "--port", &port.to_string()]);
        let events = out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        events.filter(|event| event["event"] == "step" && event["kind"] != "two_msl").collect()
    }

    /// Waits until what was captured holds a step; gives all of them.
    fn steps_with(&self, port: u16, what: &str, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let found = eventually(|| Some(self.steps(port)).filter(|steps| steps.iter().any(&wanted)));
        found.unwrap_or_else(|| panic!("no {what}:\n{}", self.drawn(port)))
    }

    fn drawn(&self, port: u16) -> String {
        let (_, out, log) = self.ladder(&["--fold", "never", "--port", &port.to_string()]);
        out + &log
    }

    fn ladder(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let file = self.file().to_string_lossy().into_owned();
        ringway(&self.world.client, &[&["ladder", &file], arguments].concat())
    }

    /// Drops what arrives at a side and matches, behind where tcpdump looks.
    fn lose(&self, side: &Netns, rule: &str) {
        side.run("nft", &["add", "table", "inet", "faults"]);
        side.run("nft", &["add", "chain", "inet", "faults", "in", "{ type filter hook input priority 0; }"]);
        let rule: Vec<_> = ["add", "rule", "inet", "faults", "in"].into_iter().chain(rule.split(' ')).collect();
        side.run("nft", &rule);
    }

    fn lose_no_more(&self, side: &Netns) {
        side.run("nft", &["delete", "table", "inet", "faults"]);
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

/// The state of the only connection with a port at one end, in the words of the RFC; CLOSED when there is none.
fn state(side: &Netns, which: &str, port: u16) -> &'static str {
    let text = side.run("ss", &["-H", "-tan", which, "=", &format!(":{port}")]);
    let words: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| *word != "LISTEN").collect();
    match words[..] {
        [] => "CLOSED",
        ["ESTAB"] => "ESTABLISHED",
        [word] => ringway::tcp::State::ALL.iter().map(|state| state.name()).find(|name| *name == word).expect("a state"),
        _ => panic!("several connections:\n{text}"),
    }
}

fn states_of(step: &Value) -> [String; 2] {
    [0, 1].map(|end| step["states"][end].as_str().unwrap_or("?").to_owned())
}

fn has_mark(mark: &str) -> impl Fn(&Value) -> bool {
    move |step: &Value| step["marks"].as_array().is_some_and(|marks| marks.iter().any(|found| found == mark))
}

fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(8);
    loop {
        let found = look();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn whoever_closes_first_waits() {
    let Some(scene) = Scene::new() else { return };
    // The client first, and the server goes on for a while.
    let listener = scene.listen(7001);
    let [mut client, mut accepted] = scene.connect(&listener);
    scene.expect(7001, ["ESTABLISHED", "ESTABLISHED"]);
    client.write_all(b"hello").expect("write");
    client.shutdown(Shutdown::Write).expect("shutdown");
    scene.expect(7001, ["FIN-WAIT-2", "CLOSE-WAIT"]);
    accepted.write_all(&[1; 3000]).expect("write");
    client.read_exact(&mut [0; 3000]).expect("read");
    scene.expect(7001, ["FIN-WAIT-2", "CLOSE-WAIT"]);
    accepted.read_to_end(&mut Vec::new()).expect("read");
    drop(accepted);
    scene.expect(7001, ["TIME-WAIT", "CLOSED"]);
    // The server first.
    let listener = scene.listen(7002);
    let [client, accepted] = scene.connect(&listener);
    drop(accepted);
    scene.expect(7002, ["CLOSE-WAIT", "FIN-WAIT-2"]);
    drop(client);
    scene.expect(7002, ["CLOSED", "TIME-WAIT"]);
    // Both ladders begin where connections do, and say how TIME-WAIT ends.
    let (code, text, _) = scene.ladder(&["--port", "7002"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("CLOSED │") && text.contains("│ LISTEN") && text.contains("2 MSL"), "{text}");
    let (_, list, _) = scene.ladder(&[]);
    assert_eq!(list.lines().filter(|line| line.starts_with("tcp ")).count(), 2, "{list}");
}

#[test]
fn resets_and_closed_ports_end_at_once() {
    let Some(scene) = Scene::new() else { return };
    let listener = scene.listen(7003);
    let [mut client, mut accepted] = scene.connect(&listener);
    client.write_all(b"hello").expect("write");
    accepted.read_exact(&mut [0; 5]).expect("read");
    abort(client);
    scene.expect(7003, ["CLOSED", "CLOSED"]);
    assert!(scene.steps(7003).last().is_some_and(|step| step["what"].as_str().is_some_and(|what| what.starts_with("RST"))));
    let refused = scene.world.client.inside(|| TcpStream::connect(server(7004))).expect_err("nobody listens there");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    scene.expect(7004, ["CLOSED", "CLOSED"]);
    assert_eq!(states_of(&scene.steps(7004)[0]), ["SYN-SENT", "CLOSED"]);
}

#[test]
fn what_is_lost_is_found() {
    let Some(scene) = Scene::new() else { return };
    // The first SYN of a handshake.
    let listener = scene.listen(7005);
    scene.lose(&scene.world.server, "tcp dport 7005 drop");
    let connecting = thread::scope(|scope| {
        let client = scope.spawn(|| scene.world.client.inside(|| connect(7005)));
        scene.expect_sent(7005, ["SYN-SENT", "?"]);
        scene.lose_no_more(&scene.world.server);
        client.join().expect("connected")
    });
    scene.expect(7005, ["ESTABLISHED", "ESTABLISHED"]);
    scene.steps_with(7005, "retransmission of the SYN", |step| step["flags"][0] == "SYN" && has_mark("retransmission")(step));
    // The third segment with data; what comes behind it is acknowledged selectively.
    let (mut accepted, _) = listener.accept().expect("accept");
    scene.lose(&scene.world.server, "tcp dport 7005 meta length > 1000 numgen inc mod 1000 == 2 drop");
    let mut client = connecting;
    client.write_all(&[1; 14_000]).expect("write");
    accepted.read_exact(&mut [0; 14_000]).expect("read");
    let steps = scene.steps_with(7005, "fast retransmission", has_mark("fast_retransmission"));
    assert!(steps.iter().any(has_mark("duplicate_ack")), "{}", scene.drawn(7005));
    assert!(steps.iter().any(|step| step["sack"].as_array().is_some_and(|blocks| !blocks.is_empty())), "{}", scene.drawn(7005));
    let lost: Vec<_> = steps.iter().filter(|step| step["fate"] == "lost" && step["flags"][0] != "SYN").collect();
    assert!(matches!(lost[..], [lost] if lost["seq"] == 1 + 2 * 1448), "{}", scene.drawn(7005));
    scene.lose_no_more(&scene.world.server);
    // The last acknowledgment: LAST-ACK lasts until the FIN has been sent again.
    client.shutdown(Shutdown::Write).expect("shutdown");
    scene.expect(7005, ["FIN-WAIT-2", "CLOSE-WAIT"]);
    scene.lose(&scene.world.server, "tcp dport 7005 drop");
    drop(accepted);
    eventually(|| (state(&scene.world.server, "sport", 7005) == "LAST-ACK").then_some(())).expect("the FIN is sent");
    scene.steps_with(7005, "retransmission of the FIN", |step| step["flags"][0] == "FIN" && has_mark("retransmission")(step));
    scene.lose_no_more(&scene.world.server);
    scene.expect(7005, ["TIME-WAIT", "CLOSED"]);
}

#[test]
fn a_window_closes_and_opens() {
    let Some(scene) = Scene::new() else { return };
    let listener = scene.listen(7006);
    SockRef::from(&listener).set_recv_buffer_size(4096).expect("a small buffer");
    let [mut client, mut accepted] = scene.connect(&listener);
    let bytes = [1; 40_000];
    thread::scope(|scope| {
        let writer = scope.spawn(move || client.write_all(&bytes).map(|()| client).expect("write"));
        scene.steps_with(7006, "closed window", has_mark("zero_window"));
        scene.steps_with(7006, "window probe", has_mark("window_probe"));
        accepted.read_exact(&mut [0; 40_000]).expect("read");
        scene.steps_with(7006, "open window", has_mark("window_opens"));
        drop(writer.join().expect("written"));
    });
    drop(accepted);
    scene.expect(7006, ["TIME-WAIT", "CLOSED"]);
}

/// Both FINs are under way before either arrives: they are lost, and sent again.
#[test]
fn both_close_at_once() {
    let Some(scene) = Scene::new() else { return };
    let listener = scene.listen(7008);
    let [client, accepted] = scene.connect(&listener);
    let sides = [&scene.world.client, &scene.world.server];
    sides.into_iter().for_each(|side| scene.lose(side, "meta l4proto tcp drop"));
    drop(client);
    drop(accepted);
    scene.expect(7008, ["FIN-WAIT-1", "FIN-WAIT-1"]);
    sides.into_iter().for_each(|side| scene.lose_no_more(side));
    scene.expect(7008, ["TIME-WAIT", "TIME-WAIT"]);
    let closing = scene.steps(7008).iter().any(|step| states_of(step).iter().any(|state| state == "CLOSING"));
    assert!(closing, "{}", scene.drawn(7008));
}

#[test]
fn datagrams_have_no_states() {
    let Some(scene) = Scene::new() else { return };
    let echo = scene.world.server.inside(|| UdpSocket::bind(server(7009)).expect("bind"));
    let client = scene.world.client.inside(|| udp(7009));
    client.send(b"hello").expect("send");
    let (len, from) = echo.recv_from(&mut [0; 16]).expect("receive");
    echo.send_to(&[0; 16][..len], from).expect("send");
    client.recv(&mut [0; 16]).expect("receive");
    scene.steps_with(7009, "answer", |step| step["from"] == server(7009).to_string());
    let kinds = |port| scene.steps(port).iter().map(|step| step["what"].as_str().unwrap_or("?").to_owned()).collect::<Vec<_>>();
    assert_eq!(kinds(7009), ["datagram", "datagram"]);
    let nobody = scene.world.client.inside(|| udp(7010));
    nobody.send(b"hello").expect("send");
    assert_eq!(nobody.recv(&mut [0; 16]).expect_err("refused").kind(), ErrorKind::ConnectionRefused);
    scene.steps_with(7010, "error", |step| step["kind"] == "icmp");
    assert_eq!(kinds(7010), ["datagram", "ICMP port unreachable"]);
    // A page of it all.
    let page = scene.folder.path().join("ladder.html");
    let (code, _, log) = scene.ladder(&["--port", "7010", "--html", &page.to_string_lossy()]);
    assert_eq!(code, Some(0), "{log}");
    assert!(fs::read_to_string(page).expect("a page").contains("ICMP port unreachable"));
}
