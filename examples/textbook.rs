//! The rows of a textbook, tried: one to one, one to many, many to one and many to many over UDP, and TCP beside them over the same bad cable.
//!
//!     cargo run --example textbook [SEED]
//!
//! Four hosts (a to d), each a whole engine, hang on one cable in memory that loses, doubles and reorders what it carries. Time is turned by hand, so
//! the same seed prints the same page on every machine, without rights. docs/textbook.md explains it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use ringway::cable::{Line, OneWay, Profile};
use ringway::device::memory::{self, MemoryDevice};
use ringway::device::{Device, Frame};
use ringway::engine::{Clock, Config, Engine, Port, Secrets};
use ringway::link::groups::{Group, Groups};
use ringway::link::interface::{Claim, Interface};
use ringway::link::routes::Routes;
use ringway::service::{Answer, Connect, Connection, Context, Datagram, EndpointId, Listen, Sending, Service};
use ringway::tcp::Tuning;
use ringway::time::Instant;
use ringway::wire::ethernet::Mac;
use ringway::wire::vlan::Vlan;

const PORT: u16 = 5000;
const GROUP: &str = "239.1.2.3:5000";
const HOSTS: u8 = 4;
/// What is said, a word at a time: the numbers from 1 to this.
const WORDS: u32 = 20;
const STEP: Duration = Duration::from_micros(100);

/// What a host is told to do.
enum Order {
    /// Send a word in a datagram of its own.
    Say(SocketAddr, String),
    /// Open a connection.
    Connect(SocketAddr),
    /// Write a word to it.
    Write(String),
}

/// A host: says what it is told to, and remembers what it hears.
#[derive(Default)]
struct Host {
    endpoint: Option<EndpointId>,
    connection: Option<Connection>,
    connected: bool,
    /// Every datagram, in the order of arrival.
    heard: Vec<String>,
    /// The stream, and when each word of it was complete.
    read: String,
    complete: Vec<Instant>,
    retransmitted: u64,
}

impl Service for Host {
    type Message = Order;

    fn start(&mut self, cx: &mut impl Context) {
        self.endpoint = cx.open_udp(PORT.into()).ok();
        cx.listen(PORT.into(), Listen::default()).expect("the port is free");
    }

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        self.heard.push(String::from_utf8_lossy(datagram.payload()).into_owned());
        Answer::Ignore
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        self.connected = true;
        // Each word in a segment of its own, as it is a datagram of its own.
        cx.tune(connection, Tuning::NoDelay(true));
    }

    fn data(&mut self, cx: &mut impl Context, _: Connection, bytes: &[u8]) -> usize {
        self.read.push_str(&String::from_utf8_lossy(bytes));
        let words = bytes.iter().filter(|&&byte| byte == b' ').count();
        self.complete.extend(std::iter::repeat_n(cx.now(), words));
        bytes.len()
    }

    fn message(&mut self, cx: &mut impl Context, order: Order) {
        match (order, self.endpoint, self.connection) {
            (Order::Say(to, word), Some(endpoint), _) => {
                cx.send_with(endpoint, to, word.as_bytes(), Sending::default()).expect("there is room");
            }
            (Order::Connect(to), ..) => self.connection = cx.connect(to, Connect::default()).ok(),
            (Order::Write(word), _, Some(connection)) => {
                cx.send(connection, format!("{word} ").as_bytes());
                self.retransmitted = cx.info(connection).map_or(0, |info| info.retransmitted);
            }
            _ => {}
        }
    }
}

/// A clock that stands still until it is told to go on.
#[derive(Default)]
struct Turned(Cell<u64>);

impl Clock for Turned {
    fn now(&self) -> Instant {
        Instant::from_ns(self.0.get())
    }
}

/// Hosts on one cable. What one of them sends takes the cable's faults anew on its way to each of the others.
struct Hall {
    clock: Turned,
    hosts: Vec<Engine<MemoryDevice, Host>>,
    /// The other ends of the hosts' devices.
    sockets: Vec<MemoryDevice>,
    /// The way to each host.
    lines: Vec<Line>,
    on_way: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    entered: u64,
}

impl Hall {
    fn new(profile: &Profile) -> Self {
        let mut hall = Self {
            clock: Turned::default(),
            hosts: Vec::new(),
            sockets: Vec::new(),
            lines: Vec::new(),
            on_way: BTreeMap::new(),
            entered: 0,
        };
        for number in 1..=HOSTS {
            let (device, socket) = memory::cable(256);
            let address: SocketAddr = GROUP.parse().expect("an address");
            let mut groups = Groups::new();
            groups.insert(Group::new(address.ip(), address.port())).expect("a group");
            let interface = Interface {
                name: "cable".into(),
                mac: Mac([2, 0, 0, 0, 0, number]),
                mtu: 1500,
                vlan: Vlan::NONE,
                claim: Claim::Addresses(vec![format!("10.0.0.{number}/24").parse().expect("an address")]),
                routes: Routes::default(),
                withheld: Vec::new(),
                groups,
            };
            let config = Config::new(Secrets::fixed());
            let mut engine =
                Engine::new(config, vec![interface], vec![Port::new(device, 0, 0)], Host::default()).expect("an engine");
            engine.start(&hall.clock);
            hall.hosts.push(engine);
            hall.sockets.push(socket);
            let seed = profile.seed.wrapping_mul(HOSTS.into()).wrapping_add(number.into());
            hall.lines.push(Line::new(&Profile { seed, ..profile.clone() }, OneWay::AToB));
        }
        hall
    }

    /// Turns the hosts, and the cable between them, until so much time has passed.
    fn pass(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        while self.clock.now() < end {
            self.hosts.iter_mut().for_each(|host| while host.turn(&self.clock) {});
            self.carry();
            self.clock.0.set((self.clock.now() + STEP).as_ns());
        }
    }

    fn carry(&mut self) {
        let now = self.clock.now();
        for from in 0..self.sockets.len() {
            let mut burst = Vec::new();
            self.sockets[from].receive(&mut burst, 256);
            for frame in burst {
                self.enter(from, now, frame.bytes());
                self.sockets[from].recycle(frame);
            }
        }
        while let Some(next) = self.on_way.first_entry().filter(|next| next.key().0 <= now) {
            let (to, bytes) = next.remove();
            let mut frame = self.sockets[to].allocate().expect("there are frames");
            frame.set_len(bytes.len());
            frame.bytes_mut().copy_from_slice(&bytes);
            self.sockets[to].transmit(frame).expect("there is room");
        }
        self.sockets.iter_mut().for_each(Device::flush);
    }

    /// A frame goes to the host it is addressed to, or to all others. ARP is spared: how hosts find each other is another row.
    fn enter(&mut self, from: usize, now: Instant, bytes: &[u8]) {
        let spared = bytes[12..14] == [8, 6];
        let to_all = bytes[0] & 1 == 1;
        for to in (0..self.lines.len()).filter(|&to| to != from && (to_all || bytes[5] == to as u8 + 1)) {
            let times = match spared {
                true => vec![now],
                false => {
                    self.lines[to].enter(now, bytes.len(), false).into_iter().flatten().map(|delivery| delivery.at).collect()
                }
            };
            for at in times {
                self.entered += 1;
                self.on_way.insert((at, self.entered), (to, bytes.to_vec()));
            }
        }
    }

    fn order(&self, host: usize, order: Order) {
        assert!(self.hosts[host].mailbox().send(order).is_ok(), "there is room");
    }

    /// Lets each speaker say the numbers, a millisecond apart, with its own letter in front where there are several.
    fn speak(&mut self, speakers: &[usize], to: &str, words: u32) {
        let to: SocketAddr = to.parse().expect("an address");
        for number in 1..=words {
            for &speaker in speakers {
                let letter = if speakers.len() > 1 { name(speaker) } else { String::new() };
                self.order(speaker, Order::Say(to, format!("{letter}{number}")));
            }
            self.pass(Duration::from_millis(1));
        }
        self.pass(Duration::from_millis(50));
    }

    /// What a host heard since it was asked last.
    fn heard(&mut self, host: usize) -> Vec<String> {
        std::mem::take(&mut self.hosts[host].service_mut().heard)
    }

    /// Adds what a host heard, and what became of the words of each speaker.
    fn tell(&mut self, page: &mut String, host: usize, speakers: &[usize], words: u32) {
        let heard = self.heard(host);
        let _ = writeln!(page, "  {} hears {}", name(host), heard.join(" "));
        for &speaker in speakers.iter().filter(|&&speaker| speaker != host) {
            let letter = if speakers.len() > 1 { name(speaker) } else { String::new() };
            let numbers: Vec<u32> = heard.iter().filter_map(|word| word.strip_prefix(&letter)?.parse().ok()).collect();
            let of = if letter.is_empty() { String::new() } else { format!("of {letter}: ") };
            let _ = writeln!(page, "          {of}{}", faults(&numbers, words));
        }
    }
}

/// What was lost, what came twice, and what came behind a later one.
fn faults(heard: &[u32], words: u32) -> String {
    let (mut seen, mut highest) = (BTreeSet::new(), 0);
    let (mut twice, mut late) = (Vec::new(), Vec::new());
    for &number in heard {
        if !seen.insert(number) {
            twice.push(number);
        } else if number < highest {
            late.push(number);
        }
        highest = highest.max(number);
    }
    let lost: Vec<u32> = (1..=words).filter(|number| !seen.contains(number)).collect();
    let show = |what: &str, numbers: &[u32]| match numbers {
        [] => format!("none {what}"),
        _ => format!("{what} {}", numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")),
    };
    [show("lost", &lost), show("twice", &twice), show("late", &late)].join(", ")
}

fn name(host: usize) -> String {
    char::from(b'a' + host as u8).to_string()
}

/// The whole page for a seed.
pub(crate) fn page(seed: u64) -> String {
    let share = |text: &str| text.parse().expect("a share");
    let profile = Profile {
        delay: Duration::from_millis(5),
        loss: share("10%"),
        duplicate: share("10%"),
        reorder: share("10%"),
        seed,
        ..Profile::default()
    };
    let mut hall = Hall::new(&profile);
    let mut page = format!("a cable with {profile}\n");
    let (one, all) = ("10.0.0.2:5000", [0, 1, 2, 3]);

    page.push_str("\none to one: a sends 1 to 20 to b\n");
    hall.speak(&[0], one, WORDS);
    hall.tell(&mut page, 1, &[0], WORDS);

    page.push_str("\none to many: a sends 1 to 20 to the group 239.1.2.3\n");
    hall.speak(&[0], GROUP, WORDS);
    (1..4).for_each(|host| hall.tell(&mut page, host, &[0], WORDS));

    page.push_str("\nmany to one: b, c and d send 1 to 6 to a\n");
    hall.speak(&[1, 2, 3], "10.0.0.1:5000", 6);
    hall.tell(&mut page, 0, &[1, 2, 3], 6);

    page.push_str("\nmany to many: everybody sends 1 to 5 to the group\n");
    hall.speak(&all, GROUP, 5);
    all.iter().for_each(|&host| hall.tell(&mut page, host, &all, 5));

    page.push_str("\nthe same cable, TCP: a writes 1 to 20, b reads\n");
    hall.order(0, Order::Connect(one.parse().expect("an address")));
    while !hall.hosts[0].service().connected {
        hall.pass(Duration::from_millis(1));
    }
    let mut written = Vec::new();
    for number in 1..=WORDS {
        written.push(hall.clock.now());
        hall.order(0, Order::Write(number.to_string()));
        hall.pass(Duration::from_millis(1));
    }
    hall.pass(Duration::from_secs(3));
    hall.order(0, Order::Write(String::new()));
    hall.pass(Duration::from_secs(1));
    let retransmitted = hall.hosts[0].service().retransmitted;
    let reader = hall.hosts[1].service();
    let waits: Vec<u128> = reader.complete.iter().zip(&written).map(|(read, written)| read.since(*written).as_millis()).collect();
    let _ = writeln!(page, "  b reads {}", reader.read.trim_end());
    let shown: Vec<_> = waits.iter().map(u128::to_string).collect();
    let _ = writeln!(page, "  ms from writing to reading: {}", shown.join(" "));
    let _ = writeln!(page, "  all of it, once, in order; segments sent again: {retransmitted}");
    page
}

pub(crate) fn main() {
    let seed = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(SEED);
    print!("{}", page(seed));
}

/// The seed of the page in the documentation.
pub(crate) const SEED: u64 = 7;
