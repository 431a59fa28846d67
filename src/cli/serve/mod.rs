//! `ringway serve`: services on Ringway's engine, on kernel sockets, or frames sent back bare.
//!
//! Carries nothing itself: it turns arguments into a launch or a server, and reports into lines. Errors are the operator's.

pub(crate) mod kernel;
mod manager;
mod raw;
mod reload;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringway::engine::Report;
use ringway::engine::config::secret_from_system;
use ringway::error::SetupError;
use ringway::launch::{Confined, Finished, Launch, Ready, Signals};
use ringway::link::groups::Group;
use ringway::load::kernel_client::raise_descriptor_limit;
use ringway::metrics::conditions::Conditions;
use ringway::service::catalog::{Catalog, Entry, Surroundings};
use ringway::service::http::Boundaries;
use ringway::settings::number;
use ringway::show::{self, Reload};
use rustix::fs::{Access, access};
use serde_json::{Value, json};

use self::manager::{Drain, Manager};
use super::args::{ServeArgs, ServeStack};
use super::conditions;
use super::config::{self, Effective};
use super::engine_args::SeccompWord;
use super::failure::Failure;
use super::output::Output;
use super::rights::{self, Afterwards};
use super::service_spec::{AtPort, ServiceSpec};
use super::summary;
use reload::Reloader;

/// Serves until a signal comes.
pub(crate) fn run(args: &ServeArgs, effective: Effective, output: Output) -> Result<(), Failure> {
    if args.print_config {
        output.raw(config::toml(&effective)?.as_bytes());
        return Ok(());
    }
    config::check_services(args)?;
    match args.stack {
        ServeStack::Ringway => ringway(args, effective, output),
        ServeStack::Kernel => kernel::run(args, false, output),
        ServeStack::KernelSpin => kernel::run(args, true, output),
        ServeStack::Raw => raw::run(args, output),
    }
}

/// What can be seen in the arguments alone.
fn check(args: &ServeArgs) -> Result<(Vec<Entry>, Launch), SetupError> {
    config::check_services(args)?;
    let entries = entries(args)?;
    let launch = groups(args).into_iter().fold(args.admission.applied_to(args.engine.launch()?), Launch::group);
    check_claimed(args, &entries)?;
    Ok((entries, launch))
}

fn ringway(args: &ServeArgs, effective: Effective, output: Output) -> Result<(), Failure> {
    let (entries, launch) = check(args)?;
    let secret = secret_from_system()
        .map_err(|error| SetupError::environment("cannot draw the secret of the http service", error.to_string()))?;
    let [seed, _] = secret_from_system()
        .map_err(|error| SetupError::environment("cannot draw the beginnings of streams", error.to_string()))
        .map(halves)?;
    let settings = args.engine.settings()?;
    let surroundings = Surroundings {
        connections: settings.tcp.connections,
        seed,
        boundaries: Boundaries::new(&secret),
        clock: wall_clock,
        dns_udp_payload: settings.dns.udp_payload,
    };
    let catalog = Catalog::new(entries, surroundings)?;
    let reads_files = catalog.http().is_some();
    if reads_files {
        // Each answer in work holds its file open.
        raise_descriptor_limit();
    }
    let launch = match args.engine.seccomp {
        SeccompWord::On if reads_files => launch.confined(Confined::PacketsAndFiles),
        SeccompWord::On | SeccompWord::Off => launch,
    };
    let launch = match control_socket(args) {
        Some(path) => launch.control_socket(&path),
        None => launch,
    };
    let signals = Signals::take(true)?;
    let reloader = Reloader::new(args, effective, settings);
    let launch = match &reloader {
        Some(reloader) => {
            let (asked, told) = (Arc::clone(reloader), Arc::clone(reloader));
            signals.on_hangup(move || drop(told.reload()))?;
            launch.on_reload(Reload(Arc::new(move || asked.reload())))
        }
        None => launch,
    };
    let mut running = launch.open_workers(|count| catalog.for_cores(count))?;
    let drain = Drain::default();
    drain.set(args.admission.longest_drain());
    let manager = Manager::start(running.inquirers(), services(args), drain.clone())?;
    let ending = manager.ending();
    signals.stop_engine_and(running.stop(), || ending.has_begun())?;
    if let Some(reloader) = &reloader {
        reloader.engines_are_open(running.changer(), drain);
    }
    rights::give_up(Afterwards::Nothing)?;
    say_all_ready(running.ready(), "ringway", args, output);
    let mut before = None;
    // A configuration that is read again may ask for it later.
    let finished = running.run_watched(args.interval.unwrap_or(Duration::MAX), |report| {
        let now = serde_json::to_value(report).unwrap_or_default();
        output.event("interval", &now);
        output.text(interval_line(before.as_ref(), &now));
        before = Some(now);
    })?;
    drop(manager);
    if let Some((entry, why)) = finished.services.iter().find_map(Catalog::failure) {
        return Err(SetupError::environment(format!("cannot serve {entry}"), why.to_string()).into());
    }
    end(args, &finished, output);
    Ok(())
}

/// Where the control socket is to be. The usual place may not be ours to write: then there is none, which is said.
fn control_socket(args: &ServeArgs) -> Option<PathBuf> {
    match &args.control {
        Some(off) if off.as_os_str() == "off" => None,
        Some(path) => Some(path.clone()),
        None => {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(show::FOLDER);
            // It may be there, and another's.
            let made = made.and_then(|()| Ok(access(show::FOLDER, Access::WRITE_OK | Access::EXEC_OK)?));
            let said = |error: &std::io::Error| tracing::info!("no control socket for ringway show: {}: {error}", show::FOLDER);
            made.inspect_err(said).ok().map(|()| show::path_of(std::process::id()))
        }
    }
}

/// The services, each with its transports.
fn entries(args: &ServeArgs) -> Result<Vec<Entry>, SetupError> {
    let mut entries = Vec::new();
    for spec in &args.services {
        match spec {
            ServiceSpec::AtPort(at) => entries.extend(at.entries()),
            ServiceSpec::Reflect | ServiceSpec::XdpTx => {
                return Err(SetupError::usage(format!("cannot serve {spec}"), "it sends frames back without a stack")
                    .mend(format!("--stack raw {spec}")));
            }
        }
    }
    Ok(entries)
}

/// The groups that services are at: those of every link, and the broadcast addresses of the networks of -a.
fn groups(args: &ServeArgs) -> Vec<Group> {
    let at_port = args.services.iter().filter_map(|spec| match spec {
        ServiceSpec::AtPort(at) => Some(at),
        ServiceSpec::Reflect | ServiceSpec::XdpTx => None,
    });
    at_port
        .filter(|at| at.is_at_group() || at.address.is_some_and(|address| args.engine.is_broadcast(address)))
        .filter_map(AtPort::group)
        .collect()
}

/// A service at an address or port that nothing claims would never see a packet.
fn check_claimed(args: &ServeArgs, entries: &[Entry]) -> Result<(), SetupError> {
    entries.iter().try_for_each(|entry| {
        args.engine.check_claimed(entry.transport, entry.at, |why| SetupError::usage(format!("cannot serve {entry}"), why))
    })
}

/// One line for each interface.
fn say_all_ready(all: &[Ready], stack: &str, args: &ServeArgs, output: Output) {
    for ready in all {
        let services = services(args);
        let mut event = serde_json::to_value(ready).unwrap_or_default();
        event["services"] = services.clone().into();
        event["stack"] = stack.into();
        output.event("ready", &event);
        output.text(format!("ready {ready} services={services}"));
    }
}

/// The services as they were written.
fn services(args: &ServeArgs) -> String {
    args.services.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The summary: the engine's report, what the XDP program did, and the conditions.
fn end(args: &ServeArgs, finished: &Finished<Catalog>, output: Output) {
    let mut summary = json!({ "stack": "ringway" });
    let services = || finished.services.iter();
    if let Some(http) = summary::added(services().filter_map(Catalog::http).map(|http| json!(http.counts()))) {
        summary["http"] = http;
    }
    if let Some(dns) = summary::added(services().filter_map(Catalog::dns).map(|dns| json!(dns.counts()))) {
        summary["dns"] = dns;
    }
    let streams: Vec<_> = services().flat_map(Catalog::streams).collect();
    if !streams.is_empty() {
        summary["streams"] = json!(streams);
    }
    if let (Some(summary), Ok(Value::Object(report))) = (summary.as_object_mut(), serde_json::to_value(&finished.report)) {
        summary.extend(report);
        summary.insert("steering".to_owned(), json!(finished.steering));
        if finished.workers.len() > 1 {
            summary.insert("workers".to_owned(), finished.workers.iter().enumerate().map(worker).collect());
        }
    }
    let side = conditions::side("server", &finished.ready, Some(args.engine.idle));
    let conditions = conditions::of_side(side, conditions::notes(&finished.ready));
    say_summary(summary, &conditions, &["udp_copies", "claimed_unserved", "open", "time_wait", "outside"], output);
}

/// What one of several workers has done.
fn worker((number, report): (usize, &Report)) -> Value {
    let queues: Vec<u32> = report.queues.iter().map(|queue| queue.queue).collect();
    json!({
        "worker": number, "queues": number::show_list(&queues), "busy_share": report.busy_share, "cpu_ns": report.cpu_ns,
        "counters": report.counters, "tcp": report.tcp,
    })
}

/// The last word of every stack: an event, or conditions and counts as text.
pub(crate) fn say_summary(mut summary: Value, conditions: &Conditions, always: &[&str], output: Output) {
    summary["conditions"] = json!(conditions);
    output.event("summary", &summary);
    if let Value::Object(mut parts) = summary {
        parts.remove("conditions");
        output.text(format!("{}{}", conditions::lines(conditions), summary::block(&parts, always).trim_end()));
    }
}

/// What happened since the line before, in rates.
fn interval_line(before: Option<&Value>, now: &Value) -> String {
    let since = |path: &str| {
        let of = |value: &Value| value.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        of(now).saturating_sub(before.map_or(0, of))
    };
    let seconds = (since("/wall_ns") as f64 / 1e9).max(1e-9);
    let rate = |path: &str| since(path) as f64 / seconds;
    let drops: u64 = now["drops"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
    let busy = rate("/counters/busy_turns") / rate("/counters/turns").max(1e-9) * 100.0;
    format!(
        "{:7.1}s  udp {:9.0}/s  tcp {:9.0}/s  open {:6}  drops {:6}  busy {:3.0} %",
        now["wall_ns"].as_f64().unwrap_or(0.0) / 1e9,
        rate("/counters/udp_received"),
        rate("/counters/tcp_received"),
        now.pointer("/tcp/open").and_then(Value::as_u64).unwrap_or(0),
        drops,
        busy.clamp(0.0, 100.0),
    )
}

/// Seconds since 1970, for daytime.
fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The two halves of a secret.
fn halves(secret: [u8; 16]) -> [u64; 2] {
    let whole = u128::from_ne_bytes(secret);
    [whole as u64, (whole >> 64) as u64]
}
