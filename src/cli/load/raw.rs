//! Raw load: datagrams over bare AF_XDP, with nothing of the engine at this end.
//!
//! Called by [`super::run`]; the calling thread drives the one queue.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use ringway::device::Device;
use ringway::error::SetupError;
use ringway::launch::{Bare, Signals};
use ringway::link::routes::{Route, Routes};
use ringway::load::clock;
use ringway::load::raw::{Books, Path, RawClient};

use super::{Done, Job, Reporter, engine};
use crate::cli::args::LoadStack;
use crate::cli::conditions;
use crate::cli::engine_args::IdleWord;
use crate::cli::failure::Failure;
use crate::cli::rights::{self, Afterwards};

pub(super) fn run(job: &Job<'_>) -> Result<Done, Failure> {
    let path = path(job)?;
    let launch = job.args.engine.launch()?;
    let signals = Signals::take(true)?;
    let mut bare: Bare = launch.open_bare()?;
    rights::give_up(Afterwards::results(job.args.out.as_deref()))?;
    let [queue] = bare.queues.as_mut_slice() else {
        let why = format!("raw runs on one queue, and there are {}", bare.queues.len());
        return Err(SetupError::usage("cannot send raw frames", why)
            .mend("--queues 0 --partial, or: ethtool -L IF combined 1")
            .into());
    };
    let mut client = RawClient::connect(queue, path, job.plan.size)?;
    for ready in &bare.ready {
        engine::say_ready(ready, "raw", job);
    }
    let reporter = Reporter::start(job.args, job.output);
    let interface = job.args.engine.interfaces.first().cloned();
    let mut books = Books::new(&job.plan, clock::now(), job.seed, interface, Some(reporter.live.clone()));
    client.run(queue, &mut books, &signals.flag());
    let outcome = books.finish(clock::now(), client.counters());
    drop(reporter);
    let queues = serde_json::json!([queue.stats()]);
    let ready = bare.ready.clone();
    bare.finish();
    let (side, notes) = (conditions::side("client", &ready, Some(IdleWord::Spin)), conditions::notes(&ready));
    Ok(Done { outcome, stack: "raw", side, time_wait: std::time::Duration::ZERO, notes, queues })
}

fn path(job: &Job<'_>) -> Result<Path, SetupError> {
    let args = job.args;
    if args.stack != LoadStack::Ringway {
        return Err(SetupError::usage("cannot send raw frames over kernel sockets", "raw has no stack").mend("leave --stack out"));
    }
    let ipv4 = |what: &str| SetupError::usage(format!("cannot send raw frames {what}"), "the raw stack knows IPv4 only");
    let SocketAddr::V4(target) = args.target else { return Err(ipv4(&format!("to {}", args.target))) };
    let [own] = args.engine.addresses.as_slice() else {
        return Err(SetupError::usage("cannot send raw frames", "the raw stack takes exactly one address").mend("-a 10.0.0.1/24"));
    };
    if args.sources.is_some_and(|sources| sources > 1) {
        return Err(SetupError::usage("cannot use several sources", "raw flows differ in their ports").mend("-P for more flows"));
    }
    let IpAddr::V4(source) = own.cidr.address else { return Err(ipv4(&format!("from {}", own.cidr))) };
    let routes: Routes =
        args.engine.gateways.iter().map(|&via| Route::default_via(via)).chain(args.engine.routes.iter().copied()).collect();
    let next_hop: Ipv4Addr = match routes.find(args.target.ip()).map(|route| route.via) {
        _ if own.cidr.contains(args.target.ip()) => *target.ip(),
        Some(None) => *target.ip(),
        Some(Some(IpAddr::V4(gateway))) => gateway,
        Some(Some(IpAddr::V6(gateway))) => return Err(ipv4(&format!("over {gateway}"))),
        None => {
            return Err(SetupError::usage(
                format!("cannot reach {}", args.target),
                format!("it is not on the network of {}", own.cidr),
            )
            .mend("--gateway ADDR"));
        }
    };
    let flows = u16::try_from(job.plan.connections).ok().filter(|flows| *flows <= u16::MAX - FIRST_PORT).ok_or_else(|| {
        SetupError::usage(format!("cannot send {} raw flows", job.plan.connections), "each takes a source port").mend("-P 1000")
    })?;
    Ok(Path { source: SocketAddrV4::new(source, FIRST_PORT), target, next_hop, flows })
}

/// Source port of the first flow: the dynamic ports begin here (RFC 6335 6).
const FIRST_PORT: u16 = 49_152;
