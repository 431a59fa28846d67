//! `ringway serve --stack raw`: frames sent back without a stack, by this process (`reflect`) or by the kernel (`xdp-tx`).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringway::cpu;
use ringway::device::Device;
use ringway::error::SetupError;
use ringway::launch::{Bare, Launch, Signals};
use ringway::load::raw::{Reflected, Reflector};
use serde_json::{Value, json};

use crate::cli::args::ServeArgs;
use crate::cli::conditions;
use crate::cli::engine_args::IdleWord;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::rights::{self, Afterwards};
use crate::cli::service_spec::ServiceSpec;

/// Reflects until a signal comes.
pub(super) fn run(args: &ServeArgs, output: Output) -> Result<(), Failure> {
    let spec = one_reflector(args)?;
    let launch = args.engine.launch()?;
    let address = single_address(args)?;
    if args.control.is_some() {
        return Err(SetupError::usage("cannot open a control socket", "a reflector has no connections to show").into());
    }
    if args.interval.is_some() {
        return Err(SetupError::usage("cannot report at intervals", "a reflector only counts")
            .mend("leave --interval out")
            .into());
    }
    if let Some(option) = args.admission.first() {
        return Err(SetupError::usage(
            format!("cannot use {option} with --stack raw"),
            "a reflector has no connections and no lists",
        )
        .mend(format!("leave {option} out"))
        .into());
    }
    match spec {
        ServiceSpec::XdpTx => in_kernel(launch, args, output),
        _ => in_user_space(launch, address, args, output),
    }
}

fn in_user_space(launch: Launch, address: Ipv4Addr, args: &ServeArgs, output: Output) -> Result<(), Failure> {
    let signals = Signals::take(true)?;
    let mut bare = launch.open_bare()?;
    rights::give_up(Afterwards::Nothing)?;
    super::say_all_ready(&bare.ready, "raw", args, output);
    let (start, cpu_start) = (Instant::now(), cpu::thread_ns());
    let mut reflector = Reflector::new(address);
    let stop = signals.flag();
    match bare.queues.as_mut_slice() {
        // The loop that everything is measured against has nothing in it that it does not need.
        [only] => reflector.run(only, &stop),
        queues => {
            while !stop.load(Ordering::Relaxed) {
                for queue in queues.iter_mut() {
                    queue.busy_poll();
                    reflector.turn(queue);
                }
            }
        }
    }
    let cpu_ns = cpu::thread_ns().saturating_sub(cpu_start);
    end(bare, Some(reflector.counts()), cpu_ns, start.elapsed(), output);
    Ok(())
}

fn in_kernel(launch: Launch, args: &ServeArgs, output: Output) -> Result<(), Failure> {
    let signals = Signals::take(true)?;
    let bare = launch.open_reflector()?;
    rights::give_up(Afterwards::Nothing)?;
    super::say_all_ready(&bare.ready, "xdp-tx", args, output);
    let start = Instant::now();
    while !signals.asked() {
        // A signal interrupts no sleep of this thread for sure: it may be told to another one.
        std::thread::sleep(Duration::from_millis(20));
    }
    end(bare, None, 0, start.elapsed(), output);
    Ok(())
}

fn end(mut bare: Bare, counts: Option<Reflected>, cpu_ns: u64, wall: Duration, output: Output) {
    let queues: Vec<Value> = bare
        .queues
        .iter_mut()
        .map(|queue| {
            let number = queue.queue();
            let mut stats = json!(queue.stats());
            stats["queue"] = number.into();
            stats
        })
        .collect();
    let ready = bare.ready.clone();
    let idle = counts.is_some().then_some(IdleWord::Spin);
    let counts = counts.map(|counts| {
        json!({
            "datagrams": counts.datagrams, "arp": counts.arp, "ignored": counts.ignored, "turns": counts.turns,
            "busy_turns": counts.busy_turns, "dropped": counts.dropped,
        })
    });
    let share =
        |counts: &Value| counts["busy_turns"].as_f64().zip(counts["turns"].as_f64()).map(|(busy, all)| busy / all.max(1.0));
    let summary = json!({
        "stack": if counts.is_some() { "raw" } else { "xdp-tx" },
        "drops": { "transmit_ring_full": counts.as_ref().map_or(0, |counts| counts["dropped"].as_u64().unwrap_or(0)) },
        "busy_share": counts.as_ref().and_then(share),
        "counters": counts,
        "queues": queues,
        "steering": bare.finish(),
        "wall_ns": u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
        "cpu_ns": cpu_ns,
    });
    let side = conditions::side("server", &ready, idle);
    let conditions = conditions::of_side(side, conditions::notes(&ready));
    super::say_summary(summary, &conditions, &["claimed_unserved", "datagrams", "reflected_udp"], output);
}

fn one_reflector(args: &ServeArgs) -> Result<&ServiceSpec, SetupError> {
    match args.services.as_slice() {
        [spec @ (ServiceSpec::Reflect | ServiceSpec::XdpTx)] => Ok(spec),
        [other, ..] => Err(SetupError::usage(
            format!("cannot serve {other} raw"),
            "with --stack raw there is one SERVICE, reflect or xdp-tx",
        )
        .mend("ringway serve --stack raw ... reflect")),
        [] => Err(SetupError::usage("cannot serve nothing", "SERVICE is missing").mend("reflect")),
    }
}

/// The reflector answers ARP and datagrams for one IPv4 address.
fn single_address(args: &ServeArgs) -> Result<Ipv4Addr, SetupError> {
    match args.engine.addresses.as_slice() {
        [one] => match one.cidr.address {
            IpAddr::V4(address) => Ok(address),
            IpAddr::V6(address) => {
                Err(SetupError::usage(format!("cannot reflect for {address}"), "the raw stack knows IPv4 only"))
            }
        },
        _ => Err(SetupError::usage("cannot reflect", "the raw stack takes exactly one address").mend("-a 10.0.0.2/24")),
    }
}
