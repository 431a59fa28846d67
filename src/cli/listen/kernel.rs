//! `ringway listen --stack kernel`: the same over a kernel socket, to compare with, and without rights.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Instant;

use ringway::error::SetupError;
use ringway::launch::Signals;
use ringway::load::kernel_listener::KernelListener;
use ringway::metrics::conditions::{Interface, Side};
use ringway::rtp::Book;
use ringway::xsk::Membership;
use ringway::xsk::nic::Nic;
use serde_json::{Value, json};

use super::args::ListenArgs;
use crate::cli::conditions;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::serve::kernel::any_address;

/// Listens until a signal comes, the time is over, or enough packets came.
pub(super) fn run(args: &ListenArgs, output: Output) -> Result<(), Failure> {
    let core = check(args)?;
    let nic = args.engine.interfaces.first().map(|name| Nic::find(name)).transpose()?;
    let at = address(args, nic.as_ref())?;
    let listener = KernelListener::bind(at, &args.place.sources)?;
    let membership = match (args.place.group().filter(|group| group.address().is_multicast()), &nic) {
        (Some(group), Some(nic)) => Some(Membership::join(nic, group.address(), group.sources())?),
        _ => None,
    };
    if let Some(core) = core {
        ringway::cpu::pin(core as usize)?;
    }
    let signals = Signals::take(true)?;
    let interface = args.engine.interfaces.first();
    output.event("ready", &json!({ "interface": interface, "listening": args.place.to_string(), "stack": "kernel" }));
    let on = interface.map_or(String::new(), |name| format!(" interface={name}"));
    output.text(format!("ready stack=kernel{on} listening={}", args.place));
    let (start, cpu_start) = (Instant::now(), ringway::cpu::thread_ns());
    let heard = listener.run(&super::wanted(args), &signals.flag(), |book: &mut Book, since| super::show(book, since, output));
    let book = heard.map_err(|error| SetupError::environment(format!("cannot listen at {}", args.place), error.to_string()))?;
    drop(membership);
    let mut summary = super::books(&book, "kernel");
    summary["wall_ns"] = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX).into();
    summary["cpu_ns"] = Value::from(ringway::cpu::thread_ns().saturating_sub(cpu_start));
    let side = Side {
        role: "listener".to_owned(),
        cores: core.into_iter().collect(),
        idle: None,
        interfaces: interface.map(|name| Interface::of_sysfs(name)).into_iter().collect(),
    };
    super::say_summary(summary, &conditions::of_side(side, Vec::new()), super::ALWAYS, output);
    super::judge(args, &book, signals.asked())
}

/// Of the engine's options only two mean something to kernel sockets: the interface on which a group is joined, and the core.
fn check(args: &ListenArgs) -> Result<Option<u32>, SetupError> {
    let engine = &args.engine;
    let given = (!engine.addresses.is_empty()).then_some("--address").or_else(|| engine.first_engine_only());
    if let Some(option) = given {
        let why = "it belongs to Ringway's own engine; a kernel socket takes -i and --cores";
        return Err(SetupError::usage(format!("cannot use {option} with --stack kernel"), why).mend("--stack ringway"));
    }
    if let [_, other, ..] = engine.interfaces.as_slice() {
        return Err(SetupError::usage(format!("cannot use -i {other} too"), "a socket joins a group on one interface"));
    }
    if args.place.at.address.is_some_and(|address| address.is_multicast()) && engine.interfaces.is_empty() {
        let why = "no interface is given, and a group is joined on one";
        return Err(SetupError::usage(format!("cannot listen at {}", args.place), why).mend("-i eth0 (ip -br link lists them)"));
    }
    engine.single_core("a kernel socket")
}

/// What the socket is bound to: an address of a link is one of an interface.
fn address(args: &ListenArgs, nic: Option<&Nic>) -> Result<SocketAddr, SetupError> {
    let port = args.place.at.port;
    let of_link = |address: &Ipv6Addr| {
        let [first, second, ..] = address.octets();
        address.is_unicast_link_local() || (first == 0xff && second & 0x0f == 2)
    };
    Ok(match args.place.at.address {
        Some(IpAddr::V6(address)) if of_link(&address) => {
            let why = "no interface is given, and the address is one of a link";
            let nic = nic.ok_or_else(|| {
                SetupError::usage(format!("cannot listen at {}", args.place), why).mend("-i eth0 (ip -br link lists them)")
            })?;
            SocketAddrV6::new(address, port, 0, nic.index()).into()
        }
        Some(address) => SocketAddr::new(address, port),
        None => SocketAddr::new(any_address(), port),
    })
}
