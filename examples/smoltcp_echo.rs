//! Another stack on the same device: services of `ringway serve` over smoltcp, to measure Ringway beside.
//!
//!     cargo build --release --example smoltcp_echo
//!     sudo target/release/examples/smoltcp_echo -i veth0 -a 10.0.0.2/24 --cores 0 --sockets 1 echo:7
//!
//! It takes the words of `ringway serve` and prints the lines of it, so that a measurement needs no other change than the name of the server: echo and
//! discard over both transports, chargen over TCP, and http over TCP, whose files are read into memory at the start.
//!
//! smoltcp gets what Ringway's engine has: the AF_XDP queue, its frames, the XDP program (ARP and neighbour solicitations for the address
//! come with it), a thread that spins, bursts of 64 frames, one kick a turn, and the clock read once a turn with frames. It reads received frames and
//! fills sent ones where they lie. And it gets what is best for it:
//!
//! - It is asked to send once a turn, not for each frame, and timers are looked at every millisecond: each look goes through all sockets, and its
//!   shortest time is 10 ms.
//! - No Nagle, no timestamps, no keep-alive, no congestion control. Acknowledgments are not delayed: replies carry them, as they are sent in the same turn,
//!   and without replies there is one for all segments of a turn; delayed by its usual 10 ms, a kernel that sends in bulk gets a quarter of the rate.
//! - Sockets as many as are asked for (`--sockets`): it looks for the one of a segment, and for those that want to send, one by one, so few are
//!   fastest, and a server of UDP alone (`echo/udp:7`) needs none. A connection beyond them is refused.
//! - Buffers of 1 MiB for up to four sockets, for bulk, and smaller ones where there are more (`--buffer`): echoes of 64 connections went as fast
//!   with 4 KiB as with 64.
//! - UDP goes from the receive buffer of one socket to the send buffer of another, without a third buffer between. A TCP echo needs one.
//!
//! It does not get offloads of checksums: it verifies and builds them, as Ringway does. It has one queue, no router, no VLANs, no fragments, does not look for
//! others who have its address, and does not answer pings. A stop resets what is open.

#[path = "smoltcp_echo/cli.rs"]
mod cli;
#[path = "smoltcp_echo/http.rs"]
mod http;
#[path = "smoltcp_echo/phy.rs"]
mod phy;
#[path = "smoltcp_echo/services.rs"]
mod services;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser as _;
use clap::error::ErrorKind;
use ringway::cpu;
use ringway::device::Device;
use ringway::engine::config::secret_from_system;
use ringway::engine::report::QueueReport;
use ringway::engine::{Clock as _, MonotonicClock};
use ringway::error::SetupError;
use ringway::launch::{Bare, Ready, Signals};
use ringway::limits::BURST;
use ringway::service::catalog::Name;
use ringway::time::Instant;
use ringway::wire::ethernet::Mac;
use serde_json::{Value, json};
use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};
use tracing_subscriber::EnvFilter;

use cli::Args;
use cli::engine_args::IdleWord;
use cli::failure::Failure;
use cli::output::Output;
use cli::{conditions, summary};
use phy::Phy;
use services::Services;

/// What goes wrong, on stderr.
fn start_log() {
    let filter =
        EnvFilter::try_from_env("RINGWAY_LOG").unwrap_or_else(|_| EnvFilter::new("warn,ringway=info,ringway::setup=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).without_time().init();
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // A closed pipe is the reader's wish, not an error.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let wants_json = std::env::args().any(|word| word == "--json" || word == "-J");
            return fail(cli::refused(&error), Output::new(wants_json));
        }
    };
    let output = Output::new(args.json);
    start_log();
    match serve(&args, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error, output),
    }
}

fn fail(error: SetupError, output: Output) -> ExitCode {
    let failure = Failure::from(error);
    output.failure(&failure);
    ExitCode::from(failure.exit_code())
}

/// Serves until a signal comes.
fn serve(args: &Args, output: Output) -> Result<(), SetupError> {
    let entries = args.entries()?;
    let launch = args.launch()?;
    let services = Services::new(&entries, args.sockets, args.buffer_bytes())?;
    let signals = Signals::take(true)?;
    let mut bare = launch.open_bare()?;
    let Bare { queues, ready, .. } = &mut bare;
    let (device, ready) = match (queues.pop(), queues.is_empty(), ready.first()) {
        (Some(device), true, Some(ready)) => (device, ready.clone()),
        _ => {
            return Err(SetupError::usage("cannot serve several queues", "an interface of smoltcp's has one device")
                .mend("--queues 0 --partial"));
        }
    };
    let number = device.queue();
    let mut server = Server::new(device, &ready, services)?;
    say_ready(&ready, args, output);
    server.run(&signals.flag(), args.interval, |report| {
        output.event("interval", &report);
        output.text(interval_line(&report));
    });
    let (open_at_stop, _) = server.services.open();
    server.close();
    let mut report = server.report();
    report["counters"]["open_at_stop"] = open_at_stop.into();
    report["queues"] =
        json!([QueueReport { interface: 0, queue: number, frames: server.phy.frames(), stats: server.phy.stats() }]);
    // The program goes before the queue.
    let steering = bare.finish();
    drop(server);
    end(report, steering, &ready, args, output);
    Ok(())
}

/// smoltcp on a queue, and what it serves.
struct Server<D: Device> {
    phy: Phy<D>,
    interface: Interface,
    services: Services,
    clock: MonotonicClock,
    now: Instant,
    /// When timers are looked at next.
    look_at: Instant,
    /// There was more to send than a turn may.
    more: bool,
    turns: u64,
    busy_turns: u64,
    cpu_start_ns: u64,
}

impl<D: Device> Server<D> {
    /// On this queue, with the addresses of `ready`.
    fn new(device: D, ready: &Ready, services: Services) -> Result<Self, SetupError> {
        let Mac(mac) = device.mac();
        let mut phy = Phy::new(device);
        let clock = MonotonicClock::start();
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
        let secret = secret_from_system()
            .map_err(|error| SetupError::environment("cannot draw the seed of sequence numbers", error.to_string()))?;
        config.random_seed = u128::from_ne_bytes(secret) as u64;
        let mut interface = Interface::new(config, &mut phy, in_smoltcp(clock.now()));
        let mut fit = true;
        interface.update_ip_addrs(|addresses| {
            for claim in &ready.address {
                fit &= addresses.push(IpCidr::new(claim.cidr.address.into(), claim.cidr.prefix)).is_ok();
            }
        });
        if !fit {
            let what = format!("cannot serve {} addresses", ready.address.len());
            return Err(SetupError::usage(what, "smoltcp has room for two, of which one is link-local with IPv6"));
        }
        let now = clock.now();
        Ok(Self {
            phy,
            interface,
            services,
            clock,
            now,
            look_at: now,
            more: false,
            turns: 0,
            busy_turns: 0,
            cpu_start_ns: cpu::thread_ns(),
        })
    }

    /// Spins until told to stop; every so often `watch` sees the report so far.
    fn run(&mut self, stop: &AtomicBool, every: Option<Duration>, mut watch: impl FnMut(Value)) {
        let mut next = every.map(|every| self.now + every);
        while !stop.load(Ordering::Relaxed) {
            self.turn();
            if let (Some(at), Some(every)) = (next, every)
                && self.now >= at
            {
                next = Some(at + every);
                watch(self.report());
            }
        }
    }

    /// One turn: a burst in, the services, a burst out, one kick.
    fn turn(&mut self) {
        let received = self.phy.begin_turn();
        self.turns += 1;
        // As in the engine: a turn without frames reads the clock now and then.
        if received > 0 || self.more || self.turns.is_multiple_of(TURNS_PER_CLOCK_READ) {
            self.now = self.clock.now();
        }
        if received == 0 && !self.more && self.now < self.look_at {
            if self.phy.pending() || self.turns.is_multiple_of(IDLE_FLUSH) {
                self.phy.end_turn();
            }
            return;
        }
        self.look_at = self.now + BETWEEN_LOOKS;
        let sent = self.work();
        self.busy_turns += u64::from(received > 0 || sent);
        self.phy.end_turn();
    }

    /// Hands the burst to smoltcp, has the services answer, and has smoltcp send, a segment of each socket at a time. True when something was sent.
    fn work(&mut self) -> bool {
        let Self { phy, interface, services, .. } = self;
        let now = in_smoltcp(self.now);
        while interface.poll_ingress_single(now, phy, &mut services.sockets) != PollIngressSingleResult::None {}
        services.serve();
        self.more = false;
        while interface.poll_egress(now, phy, &mut services.sockets) != PollResult::None {
            if phy.sent_in_turn() >= BURST {
                // Frames that have come meanwhile go first.
                self.more = true;
                break;
            }
        }
        phy.sent_in_turn() > 0
    }

    /// Resets what is open, and waits a moment for the frames that are being sent.
    fn close(&mut self) {
        self.services.abort();
        let deadline = self.clock.now() + LAST_TURNS;
        loop {
            self.now = self.clock.now();
            let now = in_smoltcp(self.now);
            let result = self.interface.poll_egress(now, &mut self.phy, &mut self.services.sockets);
            self.phy.close();
            let is_done = result == PollResult::None && self.phy.frames().sending == 0;
            if is_done || self.now >= deadline {
                return;
            }
        }
    }

    /// What has been done so far, in the words of `ringway serve`.
    fn report(&self) -> Value {
        let counts = self.services.counts();
        let (open, time_wait) = self.services.open();
        let mut counters = json!({ "turns": self.turns, "busy_turns": self.busy_turns });
        if let (Value::Object(all), Ok(Value::Object(served))) = (&mut counters, serde_json::to_value(counts)) {
            all.extend(served);
        }
        let drops = [
            ("transmit_ring_full", self.phy.dropped()),
            ("unsafe_to_answer", counts.unsafe_to_answer),
            ("refused", counts.refused),
        ];
        let drops: BTreeMap<_, _> = drops.into_iter().filter(|(_, count)| *count > 0).collect();
        json!({
            "counters": counters,
            "drops": drops,
            "tcp": { "open": open, "time_wait": time_wait },
            "wall_ns": self.now.as_ns(),
            "cpu_ns": cpu::thread_ns().saturating_sub(self.cpu_start_ns),
            "busy_share": self.busy_turns as f64 / self.turns.max(1) as f64,
        })
    }
}

fn say_ready(ready: &Ready, args: &Args, output: Output) {
    let services = args.words();
    let mut event = serde_json::to_value(ready).unwrap_or_default();
    event["services"] = services.clone().into();
    event["stack"] = STACK.into();
    event["sockets"] = args.sockets.into();
    event["buffer_bytes"] = args.buffer_bytes().into();
    output.event("ready", &event);
    output.text(format!("ready {ready} services={services}"));
}

fn interval_line(report: &Value) -> String {
    let count = |path: &str| report.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    format!(
        "{:7.1}s  messages {:12}  open {:6}  busy {:3.0} %",
        count("/wall_ns") as f64 / 1e9,
        count("/counters/messages"),
        count("/tcp/open"),
        report["busy_share"].as_f64().unwrap_or(0.0) * 100.0,
    )
}

/// The summary: what was done, what the XDP program did, and the conditions.
fn end(report: Value, steering: BTreeMap<&'static str, u64>, ready: &Ready, args: &Args, output: Output) {
    let mut all = json!({ "stack": STACK, "sockets": args.sockets, "buffer_bytes": args.buffer_bytes() });
    if let (Value::Object(all), Value::Object(report)) = (&mut all, report) {
        all.extend(report);
    }
    all["steering"] = json!(steering);
    let ready = std::slice::from_ref(ready);
    let side = conditions::side("server", ready, Some(IdleWord::Spin));
    let mut notes = conditions::notes(ready);
    if args.entries().is_ok_and(|entries| entries.iter().any(|entry| entry.service == Name::Http)) {
        notes.push("files are sent from memory, without dates, conditions or ranges".to_owned());
    }
    let conditions = conditions::of_side(side, notes);
    all["conditions"] = json!(conditions);
    output.event("summary", &all);
    if let Value::Object(mut parts) = all {
        parts.shift_remove("conditions");
        let block = summary::block(&parts, &["messages", "claimed_unserved", "open", "time_wait", "outside"]);
        output.text(format!("{}{}", conditions::lines(&conditions), block.trim_end()));
    }
}

fn in_smoltcp(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros((now.as_ns() / 1000) as i64)
}

const STACK: &str = "smoltcp";
/// Turns without frames between two looks at the clock, as in the engine.
const TURNS_PER_CLOCK_READ: u64 = 8;
/// Turns without frames between two flushes, as in the raw loop: what completes late comes back.
const IDLE_FLUSH: u64 = 1024;
/// Time between two looks at timers: a tenth of the shortest that smoltcp has.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
/// How long the end waits for resets to leave.
const LAST_TURNS: Duration = Duration::from_secs(1);
