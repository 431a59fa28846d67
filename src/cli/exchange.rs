//! One request and its answer over TCP, and one over UDP, for the ladders of a report: real ones, as the server's flight recorder has kept them.
//!
//! Called by [`super::compare`] and [`super::bench`] behind the measured rows, so that it costs none of them anything. A server with a recorder for datagrams
//! too serves both; a client connects, asks once, and closes when the answer is there; another sends one datagram; then the server is asked over its control
//! socket what it has recorded. Children are killed and reaped whatever happens. Errors are the children's, or the operator's.

use std::net::SocketAddr;
use std::path::Path;

use ringway::capture::Event;
use ringway::ladder::capture::{Choice, Found};
use ringway::ladder::section::{self, Pair};
use ringway::launch::Signals;
use ringway::metrics::page::Inset;
use ringway::show::{Request, What};
use ringway::tcp;
use serde_json::{Value, json};

use super::child::{ANSWER_LIMIT, END_LIMIT, Running, START_LIMIT, shell};
use super::ends::Ends;
use super::failure::Failure;
use super::output::Output;
use super::process::Process;

/// The command lines, without the namespaces in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) server: Vec<String>,
    /// Over TCP, then over UDP.
    pub(crate) clients: [Vec<String>; 2],
}

/// The lines of an exchange; `control` is where the server's control socket is to be. The addresses must not be the kernel's.
pub(crate) fn lines(ends: &Ends, program: &Path, control: &Path) -> Lines {
    let words = |text: &[&str]| text.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let (program, control) = (program.display().to_string(), control.display().to_string());
    // As the engines of the rows are: the namespaces were looked at before, and nobody else has the addresses.
    let engine = |interface: &str, address: String, core: usize| {
        let core = ends.core(core).to_string();
        words(&["--cores", &core, "-i", interface, "-a", &address, "--idle", "spin", "--set", "address.probes=0"])
    };
    let mut server = words(&[&program, "serve", "--json"]);
    server.extend(engine(&ends.server_if, ends.server_address.to_string(), 0));
    server.extend(words(&["--set", "recorder.udp=on", "--control", &control, "--drain", "0s", &format!("echo:{PORT}")]));
    let target = SocketAddr::new(ends.server_address.address, PORT).to_string();
    let client = |carrier: &str, more: &[&str]| {
        let mut line = words(&[&program, "load", carrier, "--to", &target, "--json"]);
        line.extend(engine(&ends.client_if, ends.client_address.to_string(), 1));
        // The first message is due at once, and the next one a second later, when nothing is due any more.
        line.extend(words(&["--rate", "1", "-l", &SIZE.to_string(), "-t", "50ms", "-O", "0s"]));
        line.extend(words(more));
        line
    };
    Lines { server, clients: [client("tcp", &["--churn=client"]), client("udp", &[])] }
}

/// Has both exchanges take place; gives the records of the server, one JSON object each. `folder` is for its control socket.
///
/// # Errors
/// A child cannot be started, fails or does not end, or a signal came.
pub(crate) fn take(ends: &Ends, program: &Path, folder: &Path, signals: &Signals) -> Result<Vec<Value>, Failure> {
    let control = folder.join("exchange.sock");
    let lines = lines(ends, program, &control);
    let mut server = Running::start("the server of the exchange", &ends.server_netns, &lines.server)?;
    server.wait_for("ready", START_LIMIT, signals)?;
    for (transport, line) in ["TCP", "UDP"].into_iter().zip(&lines.clients) {
        let title = format!("the client of the exchange over {transport}");
        let mut client = Running::start(&title, &ends.client_netns, line)?;
        client.wait_for("summary", START_LIMIT + ANSWER_LIMIT, signals)?;
        let status = client.wait(END_LIMIT, signals)?;
        if !status.success() {
            return Err(Failure::run(format!("{title} failed"), status));
        }
    }
    let request = Request { port: Some(PORT), ..Request::new(What::Records) };
    let mut records = Vec::new();
    let process = Process { pid: None, socket: Some(control) };
    process.ask(&request, |line| records.extend(serde_json::from_str::<Value>(line)))?;
    server.interrupt();
    server.wait_for("summary", END_LIMIT, signals)?;
    let status = server.wait(END_LIMIT, signals)?;
    if !status.success() {
        return Err(Failure::run("the server of the exchange failed", status));
    }
    Ok(records)
}

/// Prints the lines, as those of a row are printed.
pub(crate) fn dry_run(ends: &Ends, program: &Path, output: Output) {
    let lines = lines(ends, program, Path::new("FOLDER/exchange.sock"));
    let inside = |netns: &str, line: &[String]| format!("ip netns exec {netns} {}", shell(line));
    let server = inside(&ends.server_netns, &lines.server);
    let clients = lines.clients.each_ref().map(|line| inside(&ends.client_netns, line));
    output.event("plan", &json!({ "name": "exchange", "before": [], "server": server, "clients": clients }));
    output.text("# exchange");
    [&server].into_iter().chain(&clients).for_each(|line| output.text(line));
}

/// The exchanges in records.
///
/// # Errors
/// One of them is not whole; says which.
pub(crate) fn pair(records: &[Value]) -> Result<Pair, String> {
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    let records = lines.iter().filter_map(|line| match serde_json::from_str(line) {
        Ok(Event::Record(record)) => Some(record),
        _ => None,
    });
    Pair::of(&Found::of_records(records, Choice::Port(PORT)))
}

/// The section of a page about them, or why there is none.
pub(crate) fn section(pair: &Result<Pair, String>) -> Inset {
    let time_wait = 2 * tcp::Config::default().msl;
    match pair {
        Ok(pair) => pair.section(&ORIGIN.replace("{size}", &SIZE.to_string()), time_wait),
        Err(why) => section::missing(why),
    }
}

/// What each took, for programs; `null` when there is none.
pub(crate) fn costs(pair: &Result<Pair, String>) -> Value {
    pair.as_ref().map_or(Value::Null, |pair| {
        let [tcp, udp] = pair.costs();
        json!({ "tcp": tcp, "udp": udp })
    })
}

/// Port of the echo service (RFC 862).
const PORT: u16 = 7;
/// Payload bytes of the request, as in the rows.
const SIZE: usize = 64;

const ORIGIN: &str = "Real traffic of this run: behind the measured rows, ringway load sent one request of {size} bytes to the echo service of ringway serve \
over the same two interfaces, once on a connection that it opened and closed for it, and once as a datagram. Drawn from what the flight recorder of the server \
kept, with the times there, each counted from the row before; what one turn of its loop takes in and sends has one time. The datagram with which load first looks whether anybody is there is left out. Caches \
are cold, and the pauses are those of a client that has just started: what messages take is in the tables.";

/// How long it takes, about: three children that start and end.
#[cfg(test)]
pub(crate) const LENGTH: std::time::Duration = std::time::Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn ends() -> Ends {
        let words = "ringway compare --server-netns srv --server-if v0 --server-address 10.0.0.2/24 \
                     --client-netns cli --client-if v1 --client-address 10.0.0.1/24 --cores 2,3";
        match Cli::try_parse_from(words.split_whitespace()).unwrap().command {
            Command::Compare(args) => args.ends,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_line_is_one_that_ringway_itself_takes() {
        let lines = lines(&ends(), Path::new("/bin/ringway"), Path::new("/tmp/exchange.sock"));
        for line in lines.clients.iter().chain([&lines.server]) {
            let cli = Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            assert!(cli.json);
        }
        assert!(lines.server.join(" ").ends_with("--set recorder.udp=on --control /tmp/exchange.sock --drain 0s echo:7"));
        assert!(lines.clients[0].join(" ").ends_with("--rate 1 -l 64 -t 50ms -O 0s --churn=client"));
    }

    /// Records as a server tells them: SYN, SYN-ACK, ACK, request, answer, both FINs.
    fn records() -> Vec<Value> {
        const SYN: u8 = 2;
        const ACK: u8 = 16;
        const FIN: u8 = 1;
        let segment = |kind: &str, flags: u8, (seq, ack): (u32, u32), len: u16, (before, after): (&str, &str)| {
            json!({
                "event": "record", "worker": 0, "number": 0, "unix_ns": 5, "interface": "v0", "kind": kind, "local": "10.0.0.2:7",
                "remote": "10.0.0.1:40000", "len": len, "flags": flags, "seq": seq, "ack": ack, "window": 100,
                "state_before": before, "state": after, "cwnd": 0, "cause": null,
            })
        };
        let datagram = |kind: &str| {
            json!({
                "event": "record", "worker": 0, "number": 0, "unix_ns": 9, "interface": "v0", "kind": kind, "local": "10.0.0.2:7",
                "remote": "10.0.0.1:40001", "len": 64,
            })
        };
        vec![
            segment("received", SYN, (100, 0), 0, ("LISTEN", "SYN-RECEIVED")),
            segment("sent", SYN | ACK, (500, 101), 0, ("SYN-RECEIVED", "SYN-RECEIVED")),
            segment("received", ACK, (101, 501), 64, ("SYN-RECEIVED", "ESTABLISHED")),
            segment("sent", ACK, (501, 165), 64, ("ESTABLISHED", "ESTABLISHED")),
            segment("received", FIN | ACK, (165, 565), 0, ("ESTABLISHED", "CLOSE-WAIT")),
            segment("sent", FIN | ACK, (565, 166), 0, ("CLOSE-WAIT", "LAST-ACK")),
            segment("received", ACK, (166, 566), 0, ("LAST-ACK", "CLOSED")),
            datagram("datagram-received"),
            datagram("datagram-sent"),
            // The first one has found the way.
            datagram("datagram-received"),
            datagram("datagram-sent"),
        ]
    }

    #[test]
    fn records_come_to_two_ladders_and_their_costs() {
        let pair = pair(&records());
        let [tcp, udp] = pair.as_ref().expect("both are whole").costs();
        assert_eq!((tcp.open, tcp.data, tcp.acknowledgments, tcp.close), (2, 2, 0, 3));
        assert_eq!((tcp.round_trips, udp.round_trips, udp.packets()), (Some(2), Some(1), 2));
        let html = section(&pair).html;
        assert!(
            html.contains("the states of 10.0.0.2:7 are its engine&#39;s own, those of 10.0.0.1:40000 are inferred"),
            "{html}"
        );
        assert_eq!(costs(&pair)["udp"]["payload_bytes"], 128);
    }

    #[test]
    fn records_that_lack_one_come_to_a_reason() {
        let mut records = records();
        records.retain(|record| record["kind"] != "datagram-sent");
        let none = pair(&records);
        assert_eq!(none.as_ref().unwrap_err(), "there is no whole exchange over UDP");
        assert!(section(&none).html.contains("Not drawn: there is no whole exchange over UDP."));
        assert_eq!((costs(&none), pair(&[]).is_err()), (Value::Null, true));
    }
}
