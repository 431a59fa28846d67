//! Load over kernel sockets.
//!
//! Called by [`super::run`]; most options of the engine mean nothing here and are refused.

use ringway::error::SetupError;
use ringway::launch::Signals;
use ringway::load::kernel_client::KernelClient;
use ringway::load::ports::{self, KERNEL_MSL, PortRange};
use ringway::metrics::conditions::{Interface, Side};
use serde_json::Value;

use super::{Done, Job, Reporter};
use crate::cli::failure::Failure;

pub(super) fn run(job: &Job<'_>, spin: bool) -> Result<Done, Failure> {
    let stack = if spin { "kernel-spin" } else { "kernel" };
    let core = check(job, stack)?;
    ports::check(&job.plan, PortRange::of_kernel(), KERNEL_MSL)?;
    ports::check_at_once(&job.plan, PortRange::of_kernel())?;
    let sources: Vec<_> = super::sources(job.args)?.into_iter().map(|cidr| cidr.address).collect();
    let interface = job.args.engine.interfaces.first().cloned();
    let signals = Signals::take(true)?;
    job.output.event("ready", &super::ready_event(stack));
    let reporter = Reporter::start(job.args, job.output);
    let client = KernelClient {
        plan: job.plan.clone(),
        sources,
        spin,
        core: core.map(|core| core as usize),
        interface: interface.clone(),
        seed: job.seed,
        live: Some(reporter.live.clone()),
    };
    let outcome = client.run(&signals.flag())?;
    drop(reporter);
    let side = Side {
        role: "client".to_owned(),
        cores: core.into_iter().collect(),
        idle: None,
        interfaces: interface.iter().map(|name| Interface::of_sysfs(name)).collect(),
    };
    Ok(Done { outcome, stack, side, time_wait: 2 * KERNEL_MSL, notes: Vec::new(), queues: Value::Null })
}

/// Of the engine's options only three mean something to kernel sockets: the interface whose packets are counted, source addresses, the core.
fn check(job: &Job<'_>, stack: &str) -> Result<Option<u32>, SetupError> {
    let engine = &job.args.engine;
    if job.plan.ramp.is_some() {
        let why = "kernel sockets are opened one after the other";
        return Err(SetupError::usage(format!("cannot use --ramp with --stack {stack}"), why).mend("--stack ringway"));
    }
    if let Some(option) = engine.first_engine_only() {
        let why = "it belongs to Ringway's own engine; kernel sockets take -i, -a and --cores";
        return Err(SetupError::usage(format!("cannot use {option} with --stack {stack}"), why).mend("--stack ringway"));
    }
    if let [_, other, ..] = engine.interfaces.as_slice() {
        return Err(SetupError::usage(format!("cannot use -i {other} too"), "packets are counted on one interface"));
    }
    engine.single_core(stack)
}
