//! The shipped services behind one [`Service`]: which of them answers is decided by the port a packet came to.
//!
//! `ringway serve` runs one catalog per core. A connection's service is looked up once, when it opens, and a datagram's by its
//! endpoint; the call itself is a `match`, so that each service is compiled into the loop. Cannot panic.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::chargen::Chargen;
use super::daytime::{Daytime, WallClock};
use super::discard::Discard;
use super::dns::{Dns, Zone};
use super::echo::Echo;
use super::http::{Boundaries, Http, Root};
use super::per_connection::Named;
use super::stream::{self, Stream};
use super::{
    Answer, CallError, Connection, Context, Datagram, EndpointId, IcmpError, Listen, Local, PerConnection, ResetReason, Service,
};
use crate::error::SetupError;
use crate::limits;
use crate::link::interface::Transport;
use crate::tcp::congestion::Algorithm;

/// The name of a shipped service.
///
/// ```
/// use ringway::service::catalog::Name;
/// assert_eq!("echo".parse::<Name>().unwrap(), Name::Echo);
/// assert!("ecko".parse::<Name>().unwrap_err().to_string().contains("echo, discard, chargen, daytime, http, dns, stream"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// RFC 862.
    Echo,
    /// RFC 863.
    Discard,
    /// RFC 864.
    Chargen,
    /// RFC 867.
    Daytime,
    /// RFC 9110 and 9112: the files of a folder.
    Http,
    /// RFC 1034 and 1035: the answers of a zone.
    Dns,
    /// RFC 3550: packets at an even pace to a group.
    Stream,
}

/// What a service is about, which has to be named behind `=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A folder whose files it serves.
    Folder,
    /// A master file with the zone it answers for.
    ZoneFile,
    /// The group or the host it sends to.
    Target,
}

impl Argument {
    /// What stands for it in a usage line.
    pub const fn placeholder(self) -> &'static str {
        match self {
            Self::Folder => "DIR",
            Self::ZoneFile => "ZONEFILE",
            Self::Target => "GROUP",
        }
    }

    /// What it is, in words.
    pub const fn what(self) -> &'static str {
        match self {
            Self::Folder => "the folder whose files it serves",
            Self::ZoneFile => "the master file of the zone it answers for",
            Self::Target => "the group, or the host, that it sends to",
        }
    }
}

impl Name {
    /// All shipped services.
    pub const ALL: [Self; 7] = [Self::Echo, Self::Discard, Self::Chargen, Self::Daytime, Self::Http, Self::Dns, Self::Stream];

    /// The name as it stands on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Discard => "discard",
            Self::Chargen => "chargen",
            Self::Daytime => "daytime",
            Self::Http => "http",
            Self::Dns => "dns",
            Self::Stream => "stream",
        }
    }

    /// True when it is served over this transport.
    pub const fn runs_over(self, transport: Transport) -> bool {
        !matches!((self, transport), (Self::Http, Transport::Udp) | (Self::Stream, Transport::Tcp))
    }

    /// What it needs behind `=`, if it needs anything.
    pub const fn argument(self) -> Option<Argument> {
        match self {
            Self::Echo | Self::Discard | Self::Chargen | Self::Daytime => None,
            Self::Http => Some(Argument::Folder),
            Self::Dns => Some(Argument::ZoneFile),
            Self::Stream => Some(Argument::Target),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Name {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        Self::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            SetupError::usage(format!("unknown service '{text}'"), format!("the services are {names}"))
        })
    }
}

/// A service at a port of one transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which service.
    pub service: Name,
    /// TCP or UDP.
    pub transport: Transport,
    /// Where.
    pub at: Local,
    /// The folder or file it serves, if it is of that kind ([`Name::argument`]).
    pub path: Option<PathBuf>,
    /// What it sends and where to, if it is a stream.
    pub stream: Option<stream::Plan>,
    /// Congestion control of its connections; `None` takes the setting `tcp.congestion`.
    pub congestion: Option<Algorithm>,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(f, "{}/{transport}", self.service)?;
        match self.at.address {
            Some(address) if address.is_ipv6() => write!(f, "@[{address}]")?,
            Some(address) => write!(f, "@{address}")?,
            None => {}
        }
        write!(f, ":{}", self.at.port)
    }
}

/// What the services of a catalog need from outside.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Connections that the core can hold (the setting `tcp.connections`).
    pub connections: usize,
    /// Seed of the lengths that chargen draws, and of what is random in a stream.
    pub seed: u64,
    /// What separates the parts of an answer of http.
    pub boundaries: Boundaries,
    /// The time that daytime tells, and the date of http.
    pub clock: WallClock,
    /// Most bytes of an answer of dns over UDP (the setting `dns.udp_payload`).
    pub dns_udp_payload: usize,
}

/// Several services, each at ports of its own.
#[derive(Debug)]
pub struct Catalog {
    entries: Vec<Entry>,
    failure: Option<(Entry, CallError)>,
    by_connection: PerConnection<Option<Name>>,
    by_endpoint: Vec<Option<Name>>,
    echo: Echo,
    discard: Discard,
    chargen: Chargen,
    daytime: Daytime,
    http: Http,
    dns: Dns,
    stream: Stream,
    /// What the entries send, those that are streams.
    contents: Vec<Option<stream::Content>>,
    surroundings: Surroundings,
    /// It serves what the first catalog of several serves, but sends nothing by itself.
    is_first: bool,
}

impl Catalog {
    /// The services of `entries`; their ports are opened when the engine starts.
    ///
    /// # Errors
    /// There is none, there are too many, a port is 0, or two of them meet at one port; or a folder or a zone cannot be served.
    pub fn new(entries: Vec<Entry>, surroundings: Surroundings) -> Result<Self, SetupError> {
        check(&entries)?;
        let zones = zones_of(&entries)?;
        let plans = entries.iter().map(|entry| entry.stream.as_ref());
        let contents = plans.map(|plan| plan.map(stream::content).transpose()).collect::<Result<_, _>>()?;
        Self::with(entries, surroundings, zones, contents)
    }

    /// Catalogs of the same for several cores, this one first. Zones lie in memory once; streams are sent by the first core alone.
    ///
    /// # Errors
    /// A folder cannot be opened once more.
    pub fn for_cores(self, count: usize) -> Result<Vec<Self>, SetupError> {
        let mut all = Vec::with_capacity(count);
        for core in 1..count {
            let seed = self.surroundings.seed.wrapping_add(core as u64);
            let surroundings = Surroundings { seed, ..self.surroundings };
            let none = self.entries.iter().map(|_| None).collect();
            let other = Self::with(self.entries.clone(), surroundings, self.dns.zones().to_vec(), none)?;
            all.push(Self { is_first: false, ..other });
        }
        all.insert(0, self);
        Ok(all)
    }

    fn with(
        entries: Vec<Entry>,
        surroundings: Surroundings,
        zones: Vec<Option<Arc<Zone>>>,
        contents: Vec<Option<stream::Content>>,
    ) -> Result<Self, SetupError> {
        let Surroundings { connections, seed, boundaries, clock, dns_udp_payload } = surroundings;
        let roots = entries.iter().map(root_of).collect::<Result<_, _>>()?;
        Ok(Self {
            entries,
            failure: None,
            by_connection: PerConnection::with_capacity(connections),
            by_endpoint: Vec::new(),
            echo: Echo,
            discard: Discard,
            chargen: Chargen::new(connections, seed),
            daytime: Daytime::new(connections, clock),
            http: Http::new(roots, connections, boundaries, clock),
            dns: Dns::new(zones, connections, u16::try_from(dns_udp_payload).unwrap_or(u16::MAX)),
            stream: Stream::new(seed),
            contents,
            surroundings,
            is_first: true,
        })
    }

    /// What is served, in the order given.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry that could not be opened, and why: the engine then stops before it carries any traffic.
    pub const fn failure(&self) -> Option<&(Entry, CallError)> {
        self.failure.as_ref()
    }

    /// The files it serves, if it serves any.
    pub fn http(&self) -> Option<&Http> {
        Some(&self.http).filter(|http| http.is_used())
    }

    /// The zones it answers for, if there are any.
    pub fn dns(&self) -> Option<&Dns> {
        Some(&self.dns).filter(|dns| dns.is_used())
    }

    /// What the streams have sent; empty when there are none.
    pub fn streams(&self) -> Vec<stream::Report> {
        self.stream.reports()
    }

    fn open(&mut self, cx: &mut impl Context, index: usize, entry: &Entry) -> Result<(), CallError> {
        match entry.transport {
            Transport::Tcp => {
                cx.listen(entry.at, Listen { tag: index as u64, congestion: entry.congestion, ..Listen::default() }).map(|_| ())
            }
            Transport::Udp => {
                let id = cx.open_udp(entry.at)?;
                if entry.service == Name::Dns {
                    self.dns.opened(id, index);
                }
                let endpoint = usize::from(id.0);
                if endpoint >= self.by_endpoint.len() {
                    self.by_endpoint.resize(endpoint + 1, None);
                }
                self.by_endpoint[endpoint] = Some(entry.service);
                match (&entry.stream, self.contents.get_mut(index).and_then(Option::take)) {
                    (Some(plan), Some(content)) => self.stream.opened(cx, id, entry.at.port, plan, content),
                    _ => Ok(()),
                }
            }
        }
    }

    fn at_endpoint(&self, endpoint: EndpointId) -> Option<Name> {
        self.by_endpoint.get(usize::from(endpoint.0)).copied().flatten()
    }
}

/// Calls `$method` of the service that owns a connection; a connection that none owns gets `$otherwise`.
macro_rules! dispatch {
    ($catalog:ident, $name:expr, $method:ident($($argument:expr),*), $otherwise:expr) => {
        match $name {
            Some(Name::Echo) => $catalog.echo.$method($($argument),*),
            Some(Name::Discard) => $catalog.discard.$method($($argument),*),
            Some(Name::Chargen) => $catalog.chargen.$method($($argument),*),
            Some(Name::Daytime) => $catalog.daytime.$method($($argument),*),
            Some(Name::Http) => $catalog.http.$method($($argument),*),
            Some(Name::Dns) => $catalog.dns.$method($($argument),*),
            Some(Name::Stream) => $catalog.stream.$method($($argument),*),
            None => $otherwise,
        }
    };
}

impl Service for Catalog {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        for index in 0..self.entries.len() {
            let entry = self.entries[index].clone();
            if entry.service == Name::Stream && !self.is_first {
                continue;
            }
            if let Err(why) = self.open(cx, index, &entry) {
                tracing::error!("cannot open {entry}: {why}");
                self.failure = Some((entry, why));
                cx.stop();
                return;
            }
        }
    }

    fn datagram(&mut self, cx: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        dispatch!(self, self.at_endpoint(datagram.meta().endpoint), datagram(cx, datagram), Answer::Ignore)
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        let tag = cx.info(connection).and_then(|info| usize::try_from(info.tag).ok());
        let name = tag.and_then(|index| self.entries.get(index)).map(|entry| entry.service);
        *self.by_connection.of(connection) = name;
        dispatch!(self, name, connected(cx, connection), cx.abort(connection));
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        dispatch!(self, *self.by_connection.of(connection), data(cx, connection, bytes), bytes.len())
    }

    fn writable(&mut self, cx: &mut impl Context, connection: Connection) {
        dispatch!(self, *self.by_connection.of(connection), writable(cx, connection), ());
    }

    fn peer_closed(&mut self, cx: &mut impl Context, connection: Connection) {
        dispatch!(self, *self.by_connection.of(connection), peer_closed(cx, connection), cx.close(connection));
    }

    fn reset(&mut self, cx: &mut impl Context, connection: Connection, why: ResetReason) {
        dispatch!(self, *self.by_connection.of(connection), reset(cx, connection, why), ());
    }

    fn closed(&mut self, cx: &mut impl Context, connection: Connection) {
        dispatch!(self, *self.by_connection.of(connection), closed(cx, connection), ());
    }

    fn drain(&mut self, cx: &mut impl Context, connection: Connection) {
        dispatch!(self, *self.by_connection.of(connection), drain(cx, connection), cx.close(connection));
    }

    /// Of the shipped services http and dns set timers, each for a connection, and streams, which mark theirs. One that has outlived its
    /// connection is no harm: the service of the slot's next connection knows its own.
    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        if Stream::owns(token) {
            return self.stream.timer(cx, token);
        }
        dispatch!(self, *self.by_connection.of(Named::by(token).connection), timer(cx, token), ());
    }

    fn icmp_error(&mut self, cx: &mut impl Context, error: IcmpError) {
        dispatch!(self, self.at_endpoint(error.endpoint), icmp_error(cx, error), ());
    }
}

/// The folder of an entry that has one. Who names a file means the folder it lies in.
fn root_of(entry: &Entry) -> Result<Option<Root>, SetupError> {
    let is_folder = entry.service.argument() == Some(Argument::Folder);
    let Some(folder) = entry.path.as_deref().filter(|_| is_folder) else { return Ok(None) };
    Root::open(folder).map(Some).map_err(|error| match folder.parent() {
        Some(parent) if folder.is_file() && parent == Path::new("") => error.mend(format!("{entry}=.")),
        Some(parent) if folder.is_file() => error.mend(format!("{entry}={}", parent.display())),
        _ => error,
    })
}

/// The zones of the entries that have one; the two transports of a service share theirs.
fn zones_of(entries: &[Entry]) -> Result<Vec<Option<Arc<Zone>>>, SetupError> {
    let mut zones: Vec<Option<Arc<Zone>>> = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let path = entry.path.as_deref().filter(|_| entry.service.argument() == Some(Argument::ZoneFile));
        let same = |other: &Entry| other.service == entry.service && other.path.as_deref() == path;
        let zone = match (path, entries[..index].iter().position(same)) {
            (None, _) => None,
            (Some(_), Some(before)) => zones[before].clone(),
            (Some(path), None) => Some(Arc::new(Zone::load(path)?)),
        };
        zones.push(zone);
    }
    Ok(zones)
}

fn check(entries: &[Entry]) -> Result<(), SetupError> {
    if entries.is_empty() {
        return Err(SetupError::usage("nothing to serve", "no service is named").mend("ringway serve ... echo:7"));
    }
    for (transport, limit) in [(Transport::Tcp, limits::LISTENERS), (Transport::Udp, limits::ENDPOINTS)] {
        let n = entries.iter().filter(|entry| entry.transport == transport).count();
        if n > limit {
            return Err(SetupError::usage(format!("cannot serve {n} ports"), format!("the limit is {limit} for each transport")));
        }
    }
    for (index, entry) in entries.iter().enumerate() {
        if entry.at.port == 0 {
            return Err(SetupError::usage(format!("cannot serve {entry}"), "a service needs a port from 1 to 65535"));
        }
        if !entry.service.runs_over(entry.transport) {
            let only = if entry.transport == Transport::Udp { "TCP" } else { "UDP" };
            return Err(SetupError::usage(format!("cannot serve {entry}"), format!("{} runs over {only} alone", entry.service)));
        }
        if let Some(argument) = entry.service.argument().filter(|&argument| !has(entry, argument)) {
            let why = format!("{} is not named", argument.what());
            return Err(
                SetupError::usage(format!("cannot serve {entry}"), why).mend(format!("{entry}={}", argument.placeholder()))
            );
        }
        if let Some(other) = entries[..index].iter().find(|other| meet(other, entry)) {
            return Err(SetupError::usage(format!("cannot serve {entry}"), format!("{other} has the port already")));
        }
    }
    Ok(())
}

fn has(entry: &Entry, argument: Argument) -> bool {
    match argument {
        Argument::Folder | Argument::ZoneFile => entry.path.is_some(),
        Argument::Target => entry.stream.is_some(),
    }
}

/// True when a packet could belong to both.
fn meet(one: &Entry, other: &Entry) -> bool {
    let same_address = one.at.address.is_none() || other.at.address.is_none() || one.at.address == other.at.address;
    one.transport == other.transport && one.at.port == other.at.port && same_address
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fake, datagram_to};
    use super::*;

    fn surroundings() -> Surroundings {
        Surroundings { connections: 8, seed: 1, boundaries: Boundaries::new(&[1; 16]), clock: || 0, dns_udp_payload: 1232 }
    }

    fn entry(service: Name, transport: Transport, port: u16) -> Entry {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = match service.argument() {
            Some(Argument::Folder) => Some(root.to_owned()),
            Some(Argument::ZoneFile) => Some(root.join("examples/example.zone")),
            Some(Argument::Target) | None => None,
        };
        let stream = (service == Name::Stream).then(|| stream::Plan::to("239.1.2.3".parse().unwrap()));
        Entry { service, transport, at: port.into(), congestion: None, path, stream }
    }

    fn all() -> Catalog {
        let mut entries = Vec::new();
        for (service, port) in Name::ALL.into_iter().zip([7, 9, 19, 13, 80, 53, 5004]) {
            let both = [Transport::Tcp, Transport::Udp].into_iter().filter(|&transport| service.runs_over(transport));
            entries.extend(both.map(|transport| entry(service, transport, port)));
        }
        Catalog::new(entries, surroundings()).unwrap()
    }

    #[test]
    fn every_entry_is_opened_once() {
        let mut cx = Fake::default();
        all().start(&mut cx);
        assert_eq!(cx.listening(), [7, 9, 19, 13, 80, 53]);
        assert_eq!(cx.endpoints(), [7, 9, 19, 13, 53, 5004]);
        assert!(!cx.stopped());
    }

    #[test]
    fn a_connection_reaches_the_service_of_its_port() {
        let mut cx = Fake::default();
        let mut catalog = all();
        catalog.start(&mut cx);
        let mut sent = Vec::new();
        for listener in 0..4 {
            let connection = cx.accept_at(listener, 60);
            catalog.connected(&mut cx, connection);
            catalog.data(&mut cx, connection, b"abc");
            sent.push(cx.sent(connection).to_vec());
        }
        assert_eq!(sent[0], b"abc");
        assert_eq!(sent[1], b"");
        assert!(sent[2].starts_with(b"!\"#$%&") && sent[2].len() == 60);
        assert_eq!(sent[3], b"Thursday, January 1, 1970 00:00:00-UTC\r\n");
    }

    #[test]
    fn a_stop_reaches_the_service_of_each_connection() {
        let mut cx = Fake::default();
        let mut catalog = all();
        catalog.start(&mut cx);
        // echo, discard, chargen, daytime, http, dns: what waits for nobody is closed.
        let connections: Vec<_> = (0..6).map(|listener| cx.accept_at(listener, 20)).collect();
        connections.iter().for_each(|&connection| catalog.connected(&mut cx, connection));
        connections.iter().for_each(|&connection| cx.drain(&mut catalog, connection));
        let closed: Vec<_> = connections.iter().map(|&connection| cx.is_closed(connection)).collect();
        assert_eq!(closed, [true, true, true, false, false, false], "a line half sent, and two that may ask");
    }

    #[test]
    fn a_datagram_reaches_the_service_of_its_port() {
        let mut cx = Fake::default();
        let mut catalog = all();
        catalog.start(&mut cx);
        let answers: Vec<_> =
            (0..4).map(|endpoint| datagram_to(&mut catalog, &mut cx, endpoint, "10.0.0.1:40000", b"abc").0).collect();
        assert_eq!(answers[0], Answer::Reply { len: 3 });
        assert_eq!(answers[1], Answer::Ignore);
        assert!(matches!(answers[2], Answer::Reply { .. }));
        assert_eq!(answers[3], Answer::Reply { len: 40 });
        assert_eq!(datagram_to(&mut catalog, &mut cx, 99, "10.0.0.1:40000", b"abc").0, Answer::Ignore);
    }

    #[test]
    fn a_stream_runs_on_its_own_timer_and_answers_nobody() {
        let mut cx = Fake::default();
        let mut catalog = all();
        catalog.start(&mut cx);
        for sent in 1..=3 {
            let token = cx.due().expect("a packet is due");
            catalog.timer(&mut cx, token);
            assert_eq!((cx.datagrams().len(), cx.due()), (sent, None));
            cx.pass(std::time::Duration::from_millis(20));
        }
        assert_eq!(datagram_to(&mut catalog, &mut cx, 5, "10.0.0.1:40000", b"abc").0, Answer::Ignore);
        let remote = "10.0.0.1:5004".parse().unwrap();
        catalog.icmp_error(&mut cx, IcmpError { endpoint: EndpointId(5), remote, icmp_type: 3, code: 3, mtu: None });
        let report = catalog.streams().remove(0);
        assert_eq!((report.stream.to_string().as_str(), report.sent, report.icmp_errors), ("239.1.2.3:5004", 3, 1));
    }

    #[test]
    fn a_slot_belongs_to_the_service_of_its_latest_connection() {
        let mut cx = Fake::default();
        let mut catalog = all();
        catalog.start(&mut cx);
        let echo = cx.accept_at(0, 60);
        catalog.connected(&mut cx, echo);
        let discard = cx.accept_again(echo, 2, 60);
        catalog.connected(&mut cx, discard);
        catalog.data(&mut cx, discard, b"abc");
        assert_eq!(cx.sent(discard), b"");
    }

    #[test]
    fn a_port_that_cannot_be_opened_stops_the_engine_and_is_named() {
        let mut cx = Fake::default();
        cx.refuse(13);
        let mut catalog = all();
        catalog.start(&mut cx);
        assert!(cx.stopped());
        assert_eq!(catalog.failure(), Some(&(entry(Name::Daytime, Transport::Tcp, 13), CallError::PortInUse)));
    }

    #[test]
    fn lists_that_cannot_be_served_are_usage_errors() {
        let two = |a, b| vec![a, b];
        let at = |address: &str, port| Local { address: Some(address.parse().unwrap()), port };
        let on = |at| Entry { at, ..entry(Name::Echo, Transport::Tcp, 7) };
        let cases = [
            (vec![], "no service is named"),
            (vec![entry(Name::Echo, Transport::Tcp, 0)], "from 1 to 65535"),
            (two(entry(Name::Echo, Transport::Tcp, 7), entry(Name::Discard, Transport::Tcp, 7)), "echo/tcp:7 has the port"),
            (two(on(at("10.0.0.2", 7)), on(7.into())), "echo/tcp@10.0.0.2:7 has the port"),
            (vec![entry(Name::Http, Transport::Udp, 80)], "http runs over TCP alone"),
            (
                vec![Entry { path: None, ..entry(Name::Http, Transport::Tcp, 80) }],
                "the folder whose files it serves is not named",
            ),
            (vec![Entry { path: None, ..entry(Name::Dns, Transport::Udp, 53) }], "try: dns/udp:53=ZONEFILE"),
            (vec![Entry { stream: None, ..entry(Name::Stream, Transport::Udp, 5004) }], "try: stream/udp:5004=GROUP"),
            (vec![entry(Name::Stream, Transport::Tcp, 5004)], "stream runs over UDP alone"),
            (vec![Entry { path: Some("/nonesuch".into()), ..entry(Name::Http, Transport::Tcp, 80) }], "there is no such folder"),
            (vec![Entry { path: Some("/nonesuch".into()), ..entry(Name::Dns, Transport::Udp, 53) }], "No such file"),
            (vec![entry(Name::Echo, Transport::Tcp, 7); limits::LISTENERS + 1], "the limit is 1024"),
        ];
        for (entries, expected) in cases {
            let error = Catalog::new(entries, surroundings()).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let apart = two(on(at("10.0.0.2", 7)), on(at("fd00::2", 7)));
        assert_eq!(Catalog::new(apart, surroundings()).unwrap().entries()[1].to_string(), "echo/tcp@[fd00::2]:7");
        assert!(
            Catalog::new(two(entry(Name::Echo, Transport::Tcp, 7), entry(Name::Echo, Transport::Udp, 7)), surroundings()).is_ok()
        );
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = "ecko".parse::<Name>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown service 'ecko': the services are echo, discard, chargen, daytime, http, dns, stream"
        );
        assert_eq!(error.exit_code(), 2);
        assert!(Name::ALL.iter().all(|name| name.as_str().parse() == Ok(*name)));
    }
}
