//! Load over Ringway's own engine.
//!
//! Called by [`super::run`]; the engine runs on a thread of its own, the report comes over a channel when its service ends.

use std::sync::mpsc::Receiver;

use ringway::error::SetupError;
use ringway::launch::{Confined, Finished, Ready, Signals};
use ringway::load::engine_bulk::BulkLoad;
use ringway::load::engine_churn::ChurnLoad;
use ringway::load::engine_client::{EngineClient, Report};
use ringway::load::engine_ramp::RampLoad;
use ringway::load::engine_tcp::TcpLoad;
use ringway::load::engine_udp::UdpLoad;
use ringway::load::plan::{Carrier, Plan};
use ringway::load::ports::{self, PortRange};
use ringway::service::Service;
use ringway::wire::vlan::Vlan;

use super::{Done, Job, Reporter};
use crate::cli::conditions;
use crate::cli::engine_args::{AddressSpec, EngineArgs, IdleWord, SeccompWord};
use crate::cli::failure::Failure;
use crate::cli::rights::{self, Afterwards};

pub(super) fn run(job: &Job<'_>) -> Result<Done, Failure> {
    let reporter = Reporter::start(job.args, job.output);
    let sources = super::sources(job.args)?;
    let mut client = EngineClient::new(job.plan.clone());
    client.sources = sources.iter().map(|cidr| cidr.address).collect();
    client.interface = job.args.engine.interfaces.first().cloned();
    client.seed = job.seed;
    client.live = Some(reporter.live.clone());
    let mut engine = job.args.engine.clone();
    // The first stands there already; the others are claimed on the same interface.
    let first = engine.addresses.iter().find(|own| own.cidr.address.is_ipv4() == job.plan.target.is_ipv4());
    let home = first.and_then(|address| address.interface.clone());
    let vlan = first.map_or(Vlan::NONE, |address| address.vlan);
    let more = sources.into_iter().skip(1).filter(|cidr| !engine.addresses.iter().any(|own| own.cidr.address == cidr.address));
    let more: Vec<_> = more.map(|cidr| AddressSpec { interface: home.clone(), cidr, vlan }).collect();
    engine.addresses.extend(more);
    let settings = engine.settings()?;
    ports::check(&job.plan, PortRange::ENGINE, settings.tcp.msl)?;
    ports::check_at_once(&job.plan, PortRange::ENGINE)?;
    check_table(&job.plan, settings.tcp.connections)?;
    if let Some(direction) = job.plan.bulk {
        return drive(job, &engine, BulkLoad::new(client, direction));
    }
    if let Some(ramp) = job.plan.ramp {
        return drive(job, &engine, RampLoad::new(client, ramp));
    }
    match (job.plan.carrier, job.plan.churn) {
        (Carrier::Tcp, None) => drive(job, &engine, TcpLoad::new(client)),
        (Carrier::Tcp, Some(kind)) => drive(job, &engine, ChurnLoad::new(client, kind)),
        (Carrier::Udp | Carrier::Raw, _) => drive(job, &engine, UdpLoad::new(client)),
    }
}

/// The table of this end must hold all connections; of the other end's the run tells what became of those beyond.
fn check_table(plan: &Plan, room: usize) -> Result<(), SetupError> {
    let wanted = plan.connections as usize;
    if plan.carrier != Carrier::Tcp || wanted <= room {
        return Ok(());
    }
    Err(SetupError::usage(
        format!("cannot open {wanted} connections at once"),
        format!("the table of this engine holds {room}; the server's may be as small"),
    )
    .mend(format!("--set tcp.connections={wanted}, here and at the server")))
}

fn drive<S: Service + Send>(job: &Job<'_>, engine: &EngineArgs, load: (S, Receiver<Report>)) -> Result<Done, Failure> {
    let (service, receiver) = load;
    let launch = match engine.seccomp {
        // The worker reads what the kernel counts of its interface, at both ends of the measured time.
        SeccompWord::On => engine.launch()?.confined(Confined::PacketsAndFiles),
        SeccompWord::Off => engine.launch()?,
    };
    let signals = Signals::take(true)?;
    let running = launch.open(service)?;
    signals.stop_engine(running.stop())?;
    rights::give_up(Afterwards::results(job.args.out.as_deref()))?;
    for ready in running.ready() {
        say_ready(ready, "ringway", job);
    }
    let Finished { report, steering, ready, services, .. } = running.run()?;
    // A service that was stopped from outside reports when it goes.
    drop(services);
    let mut outcome = receiver.try_recv().map_err(|_| super::no_report())??;
    for (cause, count) in &report.drops {
        outcome.count_drops(cause, *count);
    }
    outcome.count_drops("claimed_unserved", steering.get("claimed_unserved").copied().unwrap_or(0));
    if engine.idle == IdleWord::Spin {
        outcome.busy_share = Some(report.busy_share);
    }
    let settings = engine.settings()?;
    Ok(Done {
        outcome,
        stack: "ringway",
        side: conditions::side("client", &ready, Some(engine.idle)),
        time_wait: 2 * settings.tcp.msl,
        notes: conditions::notes(&ready),
        queues: serde_json::json!(report.queues),
    })
}

pub(super) fn say_ready(ready: &Ready, stack: &str, job: &Job<'_>) {
    let mut event = serde_json::to_value(ready).unwrap_or_default();
    event["stack"] = stack.into();
    job.output.event("ready", &event);
    job.output.text(format!("ready {ready}"));
}
