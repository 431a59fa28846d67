//! A server that is run by a configuration file, and has it read again while it serves.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::client::{connect, end, exchange, patient, server};
use crate::family::{CLIENT, FREE_CIDR};
use crate::server::{RINGWAY, Server, Summary, ringway};
use crate::world::{INTERFACE, SERVER_CIDR, World, own};

/// What each log says once of one interface.
const STEPS: [&str; 9] =
    ["opening", "claimed", "rings", "attached", "control socket", "ready", "draining", "stopped", "detached"];

/// How long nothing has to come for it to be silence.
const SILENCE: Duration = Duration::from_millis(600);

/// A folder with a configuration and what is served by it.
struct Site {
    folder: TempDir,
}

impl Site {
    /// `top` stands above the tables, `tcp` in their first.
    fn new(top: &str, tcp: &str) -> Self {
        let site = Self { folder: TempDir::new().expect("a folder") };
        fs::write(site.path("a.txt"), "0123456789").expect("a file");
        site.write(top, SERVER_CIDR, tcp);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes the configuration anew.
    fn write(&self, top: &str, address: &str, tcp: &str) {
        let (root, socket) = (self.folder.path().display(), self.name("socket"));
        let text = format!(
            "services = [\"http:80={root}\", \"echo:7\"]\ncontrol = \"{socket}\"\n{top}\n\
             [[interface]]\nname = \"{INTERFACE}\"\naddresses = [\"{address}\"]\n\
             [address]\nprobes = 0\n[tcp]\n{tcp}\n"
        );
        fs::write(self.path("ringway.toml"), text).expect("a file");
    }

    fn serve(&self, world: &World, arguments: &[&str]) -> Server {
        let mut command = world.server.command(RINGWAY);
        Server::spawn(command.args(["serve", "--json", "--config", &self.name("ringway.toml")]).args(arguments))
    }

    /// `ringway reload --json`: the exit code, and what it said.
    fn reload(&self, world: &World) -> (Option<i32>, Vec<Value>) {
        let (code, out, log) = ringway(&world.server, &["reload", "--json", "--socket", &self.name("socket")]);
        assert!(log.is_empty(), "{log}");
        (code, out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
    }
}

/// A connection from one of the client's addresses.
fn connect_from(source: &str, patience: Duration) -> std::io::Result<TcpStream> {
    let source: IpAddr = source.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(server(7)), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&server(7).into(), patience)?;
    let stream = TcpStream::from(socket);
    patient(&stream);
    Ok(stream)
}

fn is_kept_out(source: &str) -> bool {
    connect_from(source, SILENCE).is_err_and(|error| error.kind() == ErrorKind::TimedOut)
}

/// The outcome of a key, among rows.
fn row<'a>(rows: &'a [Value], key: &str) -> &'a Value {
    rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("no {key} in {rows:?}"))
}

/// The lines of a log in JSON.
fn objects(summary: &Summary) -> Vec<Value> {
    summary.log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn a_file_is_served_and_read_again_and_what_cannot_change_is_said() {
    let Some(world) = World::new() else { return };
    own(&world.client, FREE_CIDR, INTERFACE);
    let other = FREE_CIDR.split('/').next().expect("an address");
    let site = Site::new("", "msl = \"1s\"");
    let running = site.serve(&world, &["--log-format", "json"]);
    let page = format!("http://{}/a.txt", server(80));
    assert_eq!(world.client.run("curl", &["-s", "-S", "-m", "20", &page]), "0123456789");
    let mut old = world.client.inside(|| {
        let mut stream = connect_from(CLIENT, Duration::from_secs(5)).expect("nobody is kept out");
        exchange(&mut stream, b"hello");
        stream
    });

    // Over the control socket: a list, settings, and what has to wait.
    site.write(&format!("deny = [\"{CLIENT}\"]"), FREE_CIDR, "msl = \"2s\"\ncongestion = \"reno\"\nconnections = 4096");
    let (code, rows) = site.reload(&world);
    assert_eq!(code, Some(0), "{rows:?}");
    let last = rows.last().expect("a summary");
    assert_eq!((&last["event"], &last["applied"], &last["needs_restart"]), (&"summary".into(), &3.into(), &2.into()), "{last}");
    let deny = row(&rows, "deny");
    assert_eq!(
        (&deny["outcome"], &deny["old"], &deny["new"]),
        (&"applied".into(), &Value::Array(vec![]), &serde_json::json!([CLIENT]))
    );
    assert_eq!(row(&rows, "tcp.msl")["new"], serde_json::json!(["2s"]));
    assert_eq!(row(&rows, "tcp.congestion")["to"], "new connections");
    assert_eq!(row(&rows, "tcp.connections")["outcome"], "needs_restart");
    let claim = row(&rows, "interface.addresses");
    assert_eq!(claim["outcome"], "needs_restart");
    assert!(claim["why"].as_str().is_some_and(|why| why.contains("XDP program")), "{claim}");
    world.client.inside(|| {
        exchange(&mut old, b"who has a connection keeps it");
        assert!(is_kept_out(CLIENT), "the list has changed");
        let mut new = connect_from(other, Duration::from_secs(5)).expect("it is admitted");
        exchange(&mut new, b"hello");
        let shown = ringway(&world.server, &["show", "connections", "--json", "--socket", &site.name("socket")]).1;
        assert!(shown.contains("\"reno\"") && shown.contains("\"cubic\""), "each as it began: {shown}");
        end(new);
    });

    // What waits is said again, until there was a restart; what is applied is not.
    let (code, rows) = site.reload(&world);
    assert_eq!((code, rows.len()), (Some(0), 3), "{rows:?}");

    // A file with an error changes nothing.
    site.write("deny = []\nlog = \"loud\"", SERVER_CIDR, "msl = \"2s\"");
    let (code, rows) = site.reload(&world);
    let error = rows.first().expect("an error");
    assert_eq!(
        (code, &error["event"], &error["line"], &error["column"]),
        (Some(2), &"error".into(), &4.into(), &7.into()),
        "{error}"
    );
    world.client.inside(|| assert!(is_kept_out(CLIENT), "nothing has changed"));

    // By a signal, with the address as it was, and a line of counters now and then.
    site.write("interval = \"50ms\"", SERVER_CIDR, "msl = \"2s\"");
    running.signal(Signal::HUP);
    let until = Instant::now() + Duration::from_secs(10);
    world.client.inside(|| {
        while is_kept_out(CLIENT) {
            assert!(Instant::now() < until, "the signal was not heard");
        }
        exchange(&mut old, b"still there");
        end(old);
    });
    assert!(running.event("interval").is_some() && running.event("interval").is_some());
    let summary = running.stop();
    let log = objects(&summary);
    let said = |message: &str| log.iter().filter(|line| line["message"] == message).count();
    for step in STEPS {
        assert_eq!(said(step), 1, "{step} in {}", summary.log);
    }
    assert_eq!(
        (said("reloaded"), said("not reloaded, nothing has changed"), said("needs a restart")),
        (3, 1, 4),
        "{}",
        summary.log
    );
    let refused = log.iter().find(|line| line["level"] == "ERROR").expect("the error is said");
    assert_eq!((&refused["line"], &refused["column"]), (&4.into(), &7.into()), "{refused}");
    let attached = log.iter().find(|line| line["message"] == "attached").expect("it was said");
    assert_eq!((&attached["interface"], &attached["xdp"]), (&INTERFACE.into(), &"native".into()));
    assert!(log.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()), "{}", summary.log);
}

#[test]
fn a_log_for_people_says_each_step_once_and_the_command_line_goes_before_the_file() {
    let Some(world) = World::new() else { return };
    let site = Site::new("log_format = \"json\"", "");
    let running = site.serve(&world, &["--log-format", "human", "discard:9", "echo:7"]);
    assert_eq!(running.ready["services"], "discard:9,echo:7");
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"hello");
        end(stream);
        assert!(
            TcpStream::connect_timeout(&server(80), SILENCE).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        );
    });
    let summary = running.stop();
    for step in STEPS {
        let lines =
            summary.log.lines().filter(|line| line.trim_start().strip_prefix("INFO ").is_some_and(|line| line.starts_with(step)));
        assert_eq!(lines.count(), 1, "{step} in {}", summary.log);
    }
    world.assert_untouched();
}

#[test]
fn a_fall_back_is_said_once_with_the_fields_of_the_others() {
    let Some(world) = World::new() else { return };
    for side in [&world.server, &world.client] {
        side.ip(&["link", "set", INTERFACE, "mtu", "12000"]);
    }
    let site = Site::new("", "");
    let running = site.serve(&world, &["--log-format", "json"]);
    assert_eq!(running.ready["xdp"], "skb");
    let summary = running.stop();
    let log = objects(&summary);
    let warned: Vec<_> = log.iter().filter(|line| line["fell_back"] == "native to skb").collect();
    assert_eq!(warned.len(), 1, "{}", summary.log);
    assert_eq!(
        (&warned[0]["level"], &warned[0]["interface"], &warned[0]["xdp"]),
        (&"WARN".into(), &INTERFACE.into(), &"skb".into())
    );
    let attached: Vec<_> = log.iter().filter(|line| line["message"] == "attached").collect();
    assert!(attached.len() == 1 && attached[0]["xdp"] == "skb", "{}", summary.log);
}

#[test]
fn limits_of_a_source_come_go_and_come_back_while_it_has_connections() {
    let Some(world) = World::with_queues(1) else { return };
    let site = Site::new("", "");
    let running = site.serve(&world, &[]);
    let limited = |most: u32| {
        site.write("", SERVER_CIDR, &format!("connections_per_source = {most}"));
        assert_eq!(site.reload(&world).0, Some(0));
    };
    world.client.inside(|| {
        limited(2);
        let mut streams: Vec<_> = (0..2).map(|_| connect(7)).collect();
        streams.iter_mut().for_each(|stream| exchange(stream, b"hello"));
        assert!(is_kept_out(CLIENT), "its share is used up");
        limited(0);
        streams.push(connect(7));
        limited(3);
        assert!(is_kept_out(CLIENT), "the third was counted, too");
        limited(4);
        streams.push(connect(7));
        streams.iter_mut().for_each(|stream| exchange(stream, b"hello"));
        streams.into_iter().for_each(end);
    });
    running.stop();
}

#[test]
fn without_a_file_there_is_nothing_to_read_again() {
    let Some(world) = World::new() else { return };
    let folder = TempDir::new().expect("a folder");
    let socket = folder.path().join("socket").display().to_string();
    let running = Server::with(&world, &["-a", SERVER_CIDR, "--control", &socket, "echo:7"]);
    let (code, out, log) = ringway(&world.server, &["reload", "--socket", &socket]);
    assert!(code == Some(1) && out.is_empty() && log.contains("started without --config"), "{code:?} {out}{log}");
    running.stop();
}
