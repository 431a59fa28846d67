//! `ringway serve --stack kernel|kernel-spin`: the same services over kernel sockets, to compare with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringway::error::SetupError;
use ringway::launch::Signals;
use ringway::link::groups::is_group;
use ringway::load::kernel_server::{Binding, Counters, KernelServer, Kind, Pages};
use ringway::metrics::conditions::Side;
use ringway::service::catalog::{Entry, Name};
use serde_json::{Value, json};

use crate::cli::args::ServeArgs;
use crate::cli::conditions;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Serves until a signal comes.
pub(super) fn run(args: &ServeArgs, spin: bool, output: Output) -> Result<(), Failure> {
    let stack = if spin { "kernel-spin" } else { "kernel" };
    let core = check(args, stack)?;
    let pages = pages(args)?;
    let server = KernelServer::bind(&bindings(args)?, spin)?.with_pages(pages);
    let signals = Signals::take(true)?;
    let counters = server.counters();
    say_ready(args, stack, server.addresses(), core, output);
    let start = Instant::now();
    let done = Arc::new(AtomicBool::new(false));
    let reporter = args.interval.map(|every| {
        let (counters, done) = (Arc::clone(&counters), Arc::clone(&done));
        std::thread::spawn(move || report_intervals(every, start, &counters, &done, output))
    });
    let result = server.run(core.map(|core| core as usize), &signals.flag());
    done.store(true, Ordering::Relaxed);
    if let Some(reporter) = reporter {
        reporter.thread().unpark();
        let _ = reporter.join();
    }
    result?;
    let mut report = report(&counters, start.elapsed());
    report["stack"] = stack.into();
    let side = Side { role: "server".to_owned(), cores: core.into_iter().collect(), ..Side::default() };
    super::say_summary(report, &conditions::of_side(side, Vec::new()), &["messages"], output);
    Ok(())
}

/// Options of the engine mean nothing to the kernel's sockets; the one core does.
fn check(args: &ServeArgs, stack: &str) -> Result<Option<u32>, SetupError> {
    let engine = &args.engine;
    let named = [
        (!engine.interfaces.is_empty(), "--interface"),
        (!engine.addresses.is_empty(), "--address"),
        (args.control.is_some(), "--control"),
    ];
    let given = named
        .into_iter()
        .find_map(|(given, option)| given.then_some(option))
        .or_else(|| engine.first_engine_only())
        .or_else(|| args.admission.first());
    if let Some(option) = given {
        return Err(SetupError::usage(format!("cannot use {option} with --stack {stack}"), "it belongs to Ringway's own engine")
            .mend("an address is named with the service: echo@127.0.0.1:7007"));
    }
    engine.single_core(stack)
}

/// The files of the folder that http serves; over kernel sockets it is one folder.
fn pages(args: &ServeArgs) -> Result<Pages, SetupError> {
    let entries = super::entries(args)?;
    let mut folders: Vec<_> =
        entries.iter().filter(|entry| entry.service == Name::Http).filter_map(|entry| entry.path.as_ref()).collect();
    folders.dedup();
    match folders.as_slice() {
        [] => Ok(Pages::default()),
        [folder] => Pages::read(folder),
        [_, other, ..] => {
            let why = "kernel sockets serve the files of one folder";
            Err(SetupError::usage(format!("cannot serve {} too", other.display()), why).mend("--stack ringway"))
        }
    }
}

fn bindings(args: &ServeArgs) -> Result<Vec<Binding>, SetupError> {
    let entries = super::entries(args)?;
    let unknown = |entry: &Entry| {
        SetupError::usage(format!("cannot serve {entry}"), "kernel sockets do not have this service: it runs on Ringway's engine")
            .mend(format!("ringway serve -i IF -a ADDR {}", super::services(args)))
    };
    entries
        .into_iter()
        .map(|entry| {
            let address = entry.at.address.unwrap_or_else(any_address);
            if is_group(address) {
                let what = format!("cannot serve {entry}");
                return Err(SetupError::usage(what, "only Ringway's own engine takes groups").mend("--stack ringway"));
            }
            let kind = Kind::named(entry.service.as_str()).ok_or_else(|| unknown(&entry))?;
            let at = SocketAddr::new(address, entry.at.port);
            Ok(Binding { kind, transport: entry.transport, at, congestion: entry.congestion })
        })
        .collect()
}

/// Every address of the machine: of both families, unless the kernel does without IPv6.
pub(crate) fn any_address() -> IpAddr {
    let dual = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).and_then(|socket| socket.only_v6());
    match dual {
        Ok(false) => Ipv6Addr::UNSPECIFIED.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    }
}

fn say_ready(args: &ServeArgs, stack: &str, addresses: &[SocketAddr], core: Option<u32>, output: Output) {
    let mut distinct: Vec<String> = addresses.iter().map(|at| at.ip().to_string()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let (address, services) = (distinct.join(","), super::services(args));
    output.event(
        "ready",
        &json!({
            "interface": null, "mac": null, "address": address, "xdp": null, "copy": null, "queues": null, "core": core,
            "services": services, "stack": stack,
        }),
    );
    output.text(format!("ready stack={stack} address={address} services={services}"));
}

fn report_intervals(every: Duration, start: Instant, counters: &Counters, done: &AtomicBool, output: Output) {
    let mut next = start + every;
    let mut before = 0;
    while !done.load(Ordering::Relaxed) {
        std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
        if Instant::now() < next {
            continue;
        }
        next += every;
        let messages = counters.messages.load(Ordering::Relaxed);
        output.event("interval", &report(counters, start.elapsed()));
        output.text(format!(
            "{:7.1}s  messages {:9.0}/s  open {:6}",
            start.elapsed().as_secs_f64(),
            messages.saturating_sub(before) as f64 / every.as_secs_f64(),
            counters.open.load(Ordering::Relaxed),
        ));
        before = messages;
    }
}

fn report(counters: &Counters, wall: Duration) -> Value {
    let now = counters.snapshot();
    json!({
        "counters": {
            "turns": now.turns, "busy_turns": now.busy_turns, "messages": now.messages, "bytes": now.bytes,
            "accepted": now.accepted, "open": now.open,
        },
        "drops": { "unsafe_to_answer": now.unsafe_to_answer, "refused": now.refused },
        "wall_ns": u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
        "cpu_ns": now.cpu_ns,
        "busy_share": now.busy_share().unwrap_or(0.0),
    })
}
