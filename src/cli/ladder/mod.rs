//! `ringway ladder`: an exchange as a sequence diagram, from a file of packets or from a scenario.
//!
//! Turns arguments into an exchange and hands it to the drawings; it draws nothing itself. Errors are the operator's.

pub(crate) mod args;
mod json;

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, IsTerminal, Read};
use std::path::Path;

use ringway::capture::Event;
use ringway::capture::file::Recorded;
use ringway::error::SetupError;
use ringway::ladder::capture::{Choice, Flow, Found, Records};
use ringway::ladder::demo::{self, Scenario};
use ringway::ladder::label::Labels;
use ringway::ladder::page::{self, Section};
use ringway::ladder::text::{self, Look};
use ringway::ladder::{Exchange, Transport, svg};
use ringway::show::{Request, What};
use ringway::time::span_ns;
use serde_json::json;

use args::LadderArgs;

use super::failure::Failure;
use super::output::{self, Output};

/// Draws.
pub(crate) fn run(args: &LadderArgs, output: Output) -> Result<(), Failure> {
    args.check()?;
    match (&args.demo, &args.file) {
        (Some(name), _) => run_demo(args, name, output),
        (None, Some(file)) => run_file(args, file, output),
        (None, None) if args.live => run_live(args, output),
        (None, None) => {
            let why = "neither a file nor --demo nor --live is given";
            Err(SetupError::usage("cannot tell what to draw", why).mend("ringway ladder --demo").into())
        }
    }
}

/// What is drawn together, under a heading.
struct Drawn<'a> {
    title: String,
    about: String,
    exchange: &'a Exchange,
    /// An exchange over UDP to be drawn beside it.
    beside: Option<&'a Exchange>,
    /// Packets of the first that are not among its steps.
    left_out: u64,
}

fn run_demo(args: &LadderArgs, name: &str, output: Output) -> Result<(), Failure> {
    if name.is_empty() {
        for scenario in Scenario::ALL {
            output.text(format!("{:<19} {}", scenario.name, scenario.about));
            output.event("scenario", &json!({ "name": scenario.name, "about": scenario.about }));
        }
        output.text("");
    }
    let scenario = LadderArgs::scenario(if name.is_empty() { USUAL } else { name })?;
    if args.udp && scenario.is_udp() {
        let why = format!("{} is over UDP itself", scenario.name);
        return Err(SetupError::usage("cannot draw UDP beside it", why).mend(format!("--demo {USUAL} --udp")).into());
    }
    let play = |scenario| demo::play(scenario).map_err(|error| Failure::run("cannot play a scenario", error));
    let exchange = play(scenario)?;
    let datagrams = match args.udp {
        true => Some(play(LadderArgs::scenario(if scenario.name == "closed-port" { "udp-closed-port" } else { "udp-echo" })?)?),
        false => None,
    };
    let drawn = Drawn {
        title: scenario.name.to_owned(),
        about: scenario.about.to_owned(),
        exchange: &exchange,
        beside: datagrams.as_ref(),
        left_out: 0,
    };
    draw(args, "A connection, played by two engines in memory", &[drawn], output)
}

fn run_file(args: &LadderArgs, path: &Path, output: Output) -> Result<(), Failure> {
    let what = || format!("cannot read {}", path.display());
    let file = File::open(path).map_err(|error| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mend = match error.kind() {
            io::ErrorKind::PermissionDenied => format!("sudo ringway ladder {}", path.display()),
            _ => format!("ls -l {}", folder.display()),
        };
        SetupError::environment(what(), error.to_string()).mend(mend)
    })?;
    let mut file = BufReader::new(file);
    let refused = |error: io::Error| {
        SetupError::environment(what(), error.to_string()).mend("sudo tcpdump -i any -w trace.pcap tcp or udp (writes one)")
    };
    // No capture begins with a brace, and every record does.
    let found = match file.fill_buf().map_err(refused)?.first() {
        Some(b'{') => read_records(file, args.choice()).map_err(refused)?,
        _ => Found::read(file, args.choice()).map_err(refused)?,
    };
    draw_found(args, &found, &path.display().to_string(), output)
}

/// The records of a file, a line each. Lines that are none are counted; the last one is cut off where its writer was, or where the bound is.
fn read_records(file: impl Read, choice: Choice) -> io::Result<Found> {
    let mut lines = BufReader::new(file.take(RECORDS_MAX));
    let (mut records, mut line) = (Records::new(choice), Vec::new());
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(records.found(lines.get_ref().limit() == 0));
        }
        match serde_json::from_slice(&line) {
            Ok(Event::Record(record)) => records.take(&record),
            // The summary of an answer.
            Ok(_) => {}
            Err(_) if !line.ends_with(b"\n") => return Ok(records.found(true)),
            Err(_) => records.take_unread(),
        }
    }
}

/// What a running process has recorded.
fn run_live(args: &LadderArgs, output: Output) -> Result<(), Failure> {
    let request = Request { last_ns: args.last.map(span_ns), port: args.port, ..Request::new(What::Records) };
    let mut lines = Vec::new();
    args.process.ask(&request, |line| lines.push(line.to_owned()))?;
    let found = Found::of_records(lines.iter().filter_map(|line| record(line)), args.choice());
    if found.flows.is_empty() {
        let why = "its recorder holds nothing of a connection that is asked for";
        return Err(SetupError::environment("cannot draw what a process has recorded", why).mend("ringway show records").into());
    }
    draw_found(args, &found, "the recorder of a running process", output)
}

/// The record in a line; `None` of every other line.
pub(super) fn record(line: &str) -> Option<Recorded<'_>> {
    match serde_json::from_str(line) {
        Ok(Event::Record(record)) => Some(record),
        _ => None,
    }
}

/// The connections of a file or of a recorder: those that are chosen, or a list.
fn draw_found(args: &LadderArgs, found: &Found, of: &str, output: Output) -> Result<(), Failure> {
    tell(found);
    // Who asks for a file gets it, or is told why not.
    let writes = args.svg.is_some() || args.html.is_some();
    let several = found.flows.len() > 1 && args.port.is_none() && args.flow.is_none() && !writes;
    if found.flows.is_empty() {
        let why = match found.unknown_link {
            Some(link) => format!("its link type {link} is none of Ethernet, Linux cooked and bare IP"),
            None => format!("none of its {} packets is of a connection that is asked for", found.packets),
        };
        return Err(SetupError::environment(format!("cannot draw {of}"), why).mend("ringway ladder FILE --list").into());
    }
    if args.list || several {
        list(found, output);
        if several && !args.list {
            output.text(format!("\n{} connections; --port or --flow chooses which are drawn", found.flows.len()));
        }
        return Ok(());
    }
    let name = |flow: &Flow| format!("{} {} - {}", flow.exchange.transport.name(), flow.exchange.ends[0], flow.exchange.ends[1]);
    let wanted = |flow: &&Flow| !args.udp || flow.exchange.transport == Transport::Tcp;
    let drawn: Vec<Drawn<'_>> = found
        .flows
        .iter()
        .filter(wanted)
        .take(DRAWN)
        .map(|flow| Drawn {
            title: name(flow),
            about: String::new(),
            exchange: &flow.exchange,
            beside: if args.udp { datagrams_beside(found, flow) } else { None },
            left_out: flow.left_out,
        })
        .collect();
    if args.udp && drawn.iter().all(|drawn| drawn.beside.is_none()) {
        let why = "the file has no exchange of datagrams with the same port among what is chosen";
        return Err(SetupError::usage("cannot draw UDP beside TCP", why).mend("--port N, of both").into());
    }
    if found.flows.iter().filter(wanted).count() > DRAWN {
        tracing::warn!("{DRAWN} of {} connections are drawn; --flow chooses one", found.flows.len());
    }
    draw(args, &format!("Connections in {of}"), &drawn, output)
}

/// The first exchange of datagrams with the same server port.
fn datagrams_beside<'a>(found: &'a Found, flow: &Flow) -> Option<&'a Exchange> {
    let exchanges = found.flows.iter().map(|flow| &flow.exchange);
    let port = flow.exchange.ends[1].port();
    exchanges.filter(|other| other.transport == Transport::Udp).find(|other| other.ends.iter().any(|end| end.port() == port))
}

/// Says what of a file is not drawn.
fn tell(found: &Found) {
    if found.unread > 0 {
        tracing::info!("{} of {} packets are neither TCP nor UDP, or cannot be read", found.unread, found.packets);
    }
    let left_out = found.left_out + found.flows.iter().map(|flow| flow.left_out).sum::<u64>();
    if left_out > 0 {
        tracing::warn!("{left_out} packets are left out, because there are too many; --port or --flow chooses fewer");
    }
    if found.cut {
        tracing::warn!(
            "the file ends in the middle of a packet or record, or has more than {} MiB of records",
            RECORDS_MAX >> 20
        );
    }
}

fn list(found: &Found, output: Output) {
    output.text(format!("{:<5} {:<28} {:<28} {:>7}  States", "Netid", "From", "To", "Packets"));
    for (nth, flow) in found.flows.iter().enumerate() {
        let exchange = &flow.exchange;
        output.event("connection", &json::connection(nth, exchange, flow.left_out));
        let packets = exchange.steps.iter().filter(|step| step.is_sent()).count() as u64 + flow.left_out;
        let netid = exchange.transport.name().to_lowercase();
        let [from, to] = exchange.ends.map(|end| end.to_string());
        // Where they were at the bound is not where they ended.
        let states = match flow.left_out {
            0 => json::last_states(exchange),
            left_out => format!("{left_out} packets left out"),
        };
        output.text(format!("{netid:<5} {from:<28} {to:<28} {packets:>7}  {states}").trim_end());
    }
    output.event("summary", &json!({ "connections": found.flows.len(), "packets": found.packets, "unread": found.unread }));
}

/// Everything that is asked for: files, objects or text.
fn draw(args: &LadderArgs, title: &str, drawn: &[Drawn<'_>], output: Output) -> Result<(), Failure> {
    write_files(args, title, drawn)?;
    let terminal = io::stdout().is_terminal();
    let columns = args.width.or_else(|| terminal.then(columns).flatten()).unwrap_or(80);
    let mut number = 0;
    for (nth, drawn) in drawn.iter().enumerate() {
        let both = [Some((drawn.exchange, drawn.left_out)), drawn.beside.map(|beside| (beside, 0))];
        for (exchange, left_out) in both.into_iter().flatten() {
            output.event("connection", &json::connection(number, exchange, left_out));
            let labels = Labels::new(exchange, args.numbers());
            (0..exchange.steps.len()).for_each(|step| output.event("step", &json::step(number, exchange, step, &labels)));
            number += 1;
        }
        // An arrow across a wide terminal is longer than anybody's eye follows.
        let most = if drawn.beside.is_some() { 2 * ARROW } else { ARROW };
        let width = args.width.unwrap_or(columns.min(most));
        let look = Look { width, colour: output::colour(terminal), numbers: args.numbers(), fold: args.fold.into() };
        let ladder = match drawn.beside {
            Some(beside) => text::render_beside(drawn.exchange, beside, &look),
            None => text::render(drawn.exchange, &look),
        };
        let heading = if drawn.about.is_empty() { drawn.title.clone() } else { format!("{}: {}", drawn.title, drawn.about) };
        let gap = if nth > 0 { "\n" } else { "" };
        output.text(format!("{gap}{heading}\n\n{ladder}").trim_end());
    }
    output.event("summary", &json!({ "connections": drawn.len() }));
    Ok(())
}

fn write_files(args: &LadderArgs, title: &str, drawn: &[Drawn<'_>]) -> Result<(), Failure> {
    let look = svg::Look { numbers: args.numbers(), fold: args.fold.into() };
    let write = |path: &Path, text: String| {
        fs::write(path, text)
            .map_err(|error| SetupError::environment(format!("cannot write {}", path.display()), error.to_string()))
    };
    if let Some(path) = &args.svg {
        let [only] = drawn else {
            let why = format!("a drawing shows one connection, and {} are chosen", drawn.len());
            return Err(SetupError::usage("cannot write the drawing", why)
                .mend("--flow for one of them, or --html for all")
                .into());
        };
        let both: Vec<&Exchange> = [Some(only.exchange), only.beside].into_iter().flatten().collect();
        write(path, svg::file(&both, look))?;
    }
    if let Some(path) = &args.html {
        let sections = drawn.iter().map(|drawn| Section {
            title: drawn.title.clone(),
            about: drawn.about.clone(),
            exchanges: [Some(drawn.exchange), drawn.beside].into_iter().flatten().collect(),
        });
        let sections: Vec<Section<'_>> = sections.collect();
        write(path, page::render(title, &sections, look))?;
    }
    Ok(())
}

/// The columns of the terminal.
fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|&columns| columns > 0)
}

/// The scenario that shows most: the whole life of a connection.
const USUAL: &str = "close-by-client";
/// The most of a file of records that is read.
const RECORDS_MAX: u64 = 256 << 20;
/// Connections of a file that are drawn at once.
const DRAWN: usize = 16;
/// The widest ladder that is drawn unless a width is asked for.
const ARROW: usize = 100;
