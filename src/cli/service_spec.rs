//! A service on the command line: `NAME[/tcp|/udp][@ADDR]:PORT[,congestion=NAME][,source=ADDR][=ARG]`. A stream has options of its own.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ringway::error::SetupError;
use ringway::link::groups::{self, Group};
use ringway::link::interface::Transport;
use ringway::service::Local;
use ringway::service::catalog::{Argument, Entry, Name};
use ringway::service::stream::{self, Plan};
use ringway::tcp::congestion::Algorithm;
use ringway::words::nearest;

/// What a SERVICE word asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServiceSpec {
    /// A service at a port: `echo:7`.
    AtPort(AtPort),
    /// Frames sent back over bare AF_XDP, in user space (`--stack raw`): `reflect`.
    Reflect,
    /// Frames sent back by an XDP program in the kernel (`--stack raw`): `xdp-tx`.
    XdpTx,
}

/// A service at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AtPort {
    /// Which service.
    pub(crate) name: Name,
    /// One transport, or all that the service runs over.
    pub(crate) transport: Option<Transport>,
    /// One address, or all.
    pub(crate) address: Option<IpAddr>,
    /// The port.
    pub(crate) port: u16,
    /// The folder or file, of a service that has one.
    pub(crate) path: Option<PathBuf>,
    /// Congestion control of its connections, if it is not the setting's.
    pub(crate) congestion: Option<Algorithm>,
    /// The only senders of a group, if they are named.
    pub(crate) sources: Vec<IpAddr>,
    /// What it sends, of a stream.
    pub(crate) stream: Option<Plan>,
}

impl AtPort {
    /// The transports it is served on.
    pub(crate) fn transports(&self) -> impl Iterator<Item = Transport> + use<> {
        // A group is sent datagrams.
        let (name, only) = (self.name, self.transport.or_else(|| self.is_at_group().then_some(Transport::Udp)));
        let wanted = move |&transport: &Transport| only.map_or(name.runs_over(transport), |only| only == transport);
        [Transport::Tcp, Transport::Udp].into_iter().filter(wanted)
    }

    /// True at a multicast group, or at the address that is broadcast on every link.
    pub(crate) fn is_at_group(&self) -> bool {
        self.address.is_some_and(groups::is_group)
    }

    /// The group that a service at this address hears.
    pub(crate) fn group(&self) -> Option<Group> {
        self.address.map(|address| Group::new(address, self.port).only_from(&self.sources))
    }

    /// What the catalog of services takes: an entry for each transport.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let (service, at) = (self.name, Local { address: self.address, port: self.port });
        let congestion = self.congestion;
        self.transports().map(move |transport| Entry {
            service,
            transport,
            at,
            congestion: congestion.filter(|_| transport == Transport::Tcp),
            path: self.path.clone(),
            stream: self.stream.clone(),
        })
    }
}

impl FromStr for ServiceSpec {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        let bad = |why: String| SetupError::usage(format!("cannot read the service '{text}'"), why);
        match text {
            "reflect" => return Ok(Self::Reflect),
            "xdp-tx" => return Ok(Self::XdpTx),
            _ => {}
        }
        let end = text.find(['/', '@', ':', '=']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let Some(&name) = Name::ALL.iter().find(|known| known.as_str() == name) else {
            return Err(unknown(name, rest));
        };
        let (transport, rest) = match rest.strip_prefix('/') {
            None => (None, rest),
            Some(rest) => {
                let (word, rest) = rest.split_at(rest.find(['@', ':', '=']).unwrap_or(rest.len()));
                let transport = match word {
                    "tcp" => Transport::Tcp,
                    "udp" => Transport::Udp,
                    _ => return Err(bad("the transport is tcp or udp".to_owned()).mend(format!("{}/tcp{rest}", name))),
                };
                (Some(transport), rest)
            }
        };
        if let Some(other) = transport.filter(|&transport| !name.runs_over(transport)) {
            let (word, rest) = if other == Transport::Udp { ("tcp", rest) } else { ("udp", rest) };
            return Err(bad(format!("{name} runs over {word} alone")).mend(format!("{name}/{word}{rest}")));
        }
        let (rest, options) = rest.split_at(rest.find([',', '=']).unwrap_or(rest.len()));
        let Tail { congestion, sources, mut stream, argument } = tail(name, options).map_err(|(why, mend)| match mend {
            Some(mend) => bad(why).mend(format!("{}{mend}", text.strip_suffix(options).unwrap_or_default())),
            None => bad(why),
        })?;
        if congestion.is_some() && transport == Some(Transport::Udp) {
            let mend = text.strip_suffix(options).unwrap_or_default().to_owned();
            return Err(bad("only TCP controls its congestion".to_owned()).mend(mend));
        }
        if argument.is_some() && name.argument().is_none() {
            return Err(bad(format!("{} takes no argument", name)).mend(if rest.contains(':') {
                text.strip_suffix(options).unwrap_or_default().to_owned()
            } else {
                format!("{name}:{}", default_port(name))
            }));
        }
        let (address, port) = match rest.strip_prefix('@') {
            None => (None, rest.strip_prefix(':')),
            Some(rest) => {
                let (address, port) = address(rest).map_err(bad)?;
                (Some(address), port)
            }
        };
        let Some(port) = port else {
            let place = text.strip_suffix(options).unwrap_or_default();
            let option = congestion.map_or(String::new(), |congestion| format!(",congestion={}", congestion.name()));
            let mend = format!("{place}:{}{option}{}", default_port(name), ending(name, argument));
            return Err(bad("the port is missing".to_owned()).mend(mend));
        };
        let port = match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => {
                let mend = format!("{name}:{}{}", default_port(name), ending(name, argument));
                return Err(bad("the port is a number between 1 and 65535".to_owned()).mend(mend));
            }
        };
        let at_group = address.is_some_and(groups::is_group);
        if at_group && (transport == Some(Transport::Tcp) || !name.runs_over(Transport::Udp)) {
            return Err(bad("a group is sent datagrams, and no TCP".to_owned()));
        }
        if !sources.is_empty() && !at_group {
            return Err(bad("only a group is limited to sources".to_owned()));
        }
        if congestion.is_some() && at_group {
            return Err(bad("only TCP controls its congestion".to_owned()));
        }
        let argument = argument.filter(|argument| !argument.is_empty());
        if let Some(needed) = name.argument().filter(|_| argument.is_none()) {
            let place = text.trim_end_matches('=');
            return Err(bad(format!("{name} needs {}", needed.what())).mend(format!("{place}={}", needed.placeholder())));
        }
        if let (Some(plan), Some(target)) = (&mut stream, argument) {
            plan.aim(target).map_err(bad)?;
            if at_group {
                let why = "it sends to a group, from an address of its own".to_owned();
                return Err(bad(why).mend(format!("{name}:{port}={}", address.unwrap_or(plan.target))));
            }
        }
        let is_path = name.argument().is_some_and(|needed| needed != Argument::Target);
        let path = argument.filter(|_| is_path).map(PathBuf::from);
        Ok(Self::AtPort(AtPort { name, transport, address, port, congestion, sources, path, stream }))
    }
}

impl fmt::Display for AtPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_str())?;
        if let Some(transport) = self.transport {
            write!(f, "/{transport}")?;
        }
        match self.address {
            Some(address) => write!(f, "@{}", SocketAddr::new(address, self.port))?,
            None => write!(f, ":{}", self.port)?,
        }
        if let Some(congestion) = self.congestion {
            write!(f, ",congestion={}", congestion.name())?;
        }
        for source in &self.sources {
            write!(f, ",source={source}")?;
        }
        if let Some(plan) = &self.stream {
            plan.fmt(f)?;
        }
        match &self.path {
            Some(path) => write!(f, "={}", path.display()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ServiceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtPort(at) => at.fmt(f),
            Self::Reflect => f.write_str("reflect"),
            Self::XdpTx => f.write_str("xdp-tx"),
        }
    }
}

/// What follows the port.
struct Tail<'a> {
    congestion: Option<Algorithm>,
    sources: Vec<IpAddr>,
    stream: Option<Plan>,
    argument: Option<&'a str>,
}

/// What follows the port: options, each behind a comma, and an argument behind `=`. An error is a reason and what would be right.
fn tail(name: Name, mut text: &str) -> Result<Tail<'_>, (String, Option<String>)> {
    if name == Name::Stream {
        return stream_tail(text).map_err(|why| (why, None));
    }
    let (mut congestion, mut sources) = (None, Vec::new());
    while let Some(option) = text.strip_prefix(',') {
        if let Some(word) = option.strip_prefix("source=") {
            let (word, rest) = word.split_at(word.find([',', '=']).unwrap_or(word.len()));
            let source = word.parse::<IpAddr>();
            sources.push(source.map_err(|_| (format!("the source '{word}' is not an IP address"), None))?);
            text = rest;
            continue;
        }
        let Some(word) = option.strip_prefix("congestion=") else {
            let key = option.split(['=', ',']).next().unwrap_or_default();
            let mend = format!(",congestion={}", Algorithm::default().name());
            return Err((format!("'{key}' is no option; there are congestion=NAME and source=ADDR"), Some(mend)));
        };
        let (word, rest) = word.split_at(word.find([',', '=']).unwrap_or(word.len()));
        congestion = Some(Algorithm::named(word).ok_or_else(|| {
            let why = format!("there is no congestion control '{word}'; there are {}", Algorithm::NAMES.join(", "));
            (why, Some(format!(",congestion={}{rest}", Algorithm::nearest(word).name())))
        })?);
        text = rest;
    }
    Ok(Tail { congestion, sources, stream: None, argument: text.strip_prefix('=') })
}

/// The same of a stream, whose target is read by the caller.
fn stream_tail(mut text: &str) -> Result<Tail<'_>, String> {
    let mut plan = Plan::to(IpAddr::from([0; 4]));
    while let Some(option) = text.strip_prefix(',') {
        let (word, _) = option.split_at(option.find(',').unwrap_or(option.len()));
        let (key, value) =
            word.split_once('=').ok_or_else(|| format!("'{word}' is no option; there are {}", stream::plan::OPTIONS))?;
        let value = value.split_once('=').map_or(value, |(value, _)| value);
        plan.option(key, value)?;
        text = option.get(key.len() + 1 + value.len()..).unwrap_or_default();
    }
    Ok(Tail { congestion: None, sources: Vec::new(), stream: Some(plan), argument: text.strip_prefix('=') })
}

/// The address in front of the port: `10.0.0.2:7` or `[fd00::2]:7`, and the port behind it if there is one.
fn address(text: &str) -> Result<(IpAddr, Option<&str>), String> {
    if let Some(inside) = text.strip_prefix('[') {
        let (address, rest) = inside.split_once(']').ok_or("the bracket of the IPv6 address is not closed")?;
        let address = address.parse::<std::net::Ipv6Addr>().map_err(|_| format!("'{address}' is not an IPv6 address"))?;
        return Ok((address.into(), rest.strip_prefix(':')));
    }
    let (address, port) = text.split_once(':').map_or((text, None), |(address, port)| (address, Some(port)));
    match address.parse::<std::net::Ipv4Addr>() {
        Ok(address) => Ok((address.into(), port)),
        Err(_) if text.matches(':').count() > 1 => Err("an IPv6 address stands in brackets: @[fd00::2]:7".to_owned()),
        Err(_) => Err(format!("'{address}' is not an IP address")),
    }
}

fn unknown(name: &str, rest: &str) -> SetupError {
    const WITHOUT_A_PORT: [&str; 2] = ["reflect", "xdp-tx"];
    if WITHOUT_A_PORT.contains(&name) {
        let why = "it sends back every frame, whatever the port";
        return SetupError::usage(format!("cannot read the service '{name}{rest}'"), why).mend(name);
    }
    let words: Vec<_> = Name::ALL.iter().map(|known| known.as_str()).chain(WITHOUT_A_PORT).collect();
    let why = format!("there is no service '{name}'; there are {}", words.join(", "));
    let error = SetupError::usage(format!("cannot read the service '{name}{rest}'"), why);
    match nearest(name, words) {
        Some(word) => error.mend(format!("{word}{rest}")),
        None => error,
    }
}

/// What a suggested word ends in: the folder or file, or that one is needed.
fn ending(name: Name, given: Option<&str>) -> String {
    let given = given.filter(|given| !given.is_empty());
    name.argument().map_or(String::new(), |needed| format!("={}", given.unwrap_or(needed.placeholder())))
}

/// The port the RFC of the service gives it.
const fn default_port(name: Name) -> u16 {
    match name {
        Name::Echo => 7,
        Name::Discard => 9,
        Name::Chargen => 19,
        Name::Daytime => 13,
        Name::Http => 80,
        Name::Dns => 53,
        Name::Stream => 5004,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(name: Name, transport: Option<Transport>, address: Option<&str>, port: u16) -> ServiceSpec {
        let address = address.map(|text| text.parse().unwrap());
        ServiceSpec::AtPort(AtPort {
            name,
            transport,
            address,
            port,
            congestion: None,
            sources: Vec::new(),
            path: None,
            stream: None,
        })
    }

    fn http(transport: Option<Transport>, address: Option<&str>, folder: &str) -> ServiceSpec {
        let ServiceSpec::AtPort(bare) = at(Name::Http, transport, address, 80) else { unreachable!("http has a port") };
        ServiceSpec::AtPort(AtPort { path: Some(folder.into()), ..bare })
    }

    #[test]
    fn the_grammar_is_read_and_shown() {
        let cases = [
            ("echo:7", at(Name::Echo, None, None, 7)),
            ("discard/tcp:9", at(Name::Discard, Some(Transport::Tcp), None, 9)),
            ("chargen/udp@10.0.0.2:19", at(Name::Chargen, Some(Transport::Udp), Some("10.0.0.2"), 19)),
            ("daytime@[fd00::2]:13", at(Name::Daytime, None, Some("fd00::2"), 13)),
            ("http/tcp@10.0.0.2:80=/srv/a=b:c", http(Some(Transport::Tcp), Some("10.0.0.2"), "/srv/a=b:c")),
            ("http:80=.", http(None, None, ".")),
            ("reflect", ServiceSpec::Reflect),
            ("xdp-tx", ServiceSpec::XdpTx),
        ];
        for (text, spec) in cases {
            assert_eq!(text.parse::<ServiceSpec>().unwrap(), spec);
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn bad_services_show_the_right_word() {
        let lines = [
            "",
            "ecko:7",
            "htpp:80=.",
            "http",
            "http=.",
            "http:80",
            "http:80=",
            "http:0=.",
            "dns",
            "dns:53",
            "dns/udp:53=",
            "dns:0=a.zone",
            "ds:53=a.zone",
            "http/udp:80=.",
            "echo",
            "echo:",
            "echo:0",
            "echo:65536",
            "echo:x",
            "echo/sctp:7",
            "echo/:7",
            "echo@:7",
            "echo@10.0.0:7",
            "echo@10.0.0.2",
            "echo@fd00::2:7",
            "echo@[fd00::2]",
            "echo@[fd00::2:7",
            "echo@[zz]:7",
            "echo:7=x",
            "echo:7,congestion=bbr=x",
            "echo:7,congestion=vegas",
            "echo,congestion=bbr",
            "http:80,congestion=bbr",
            "echo:7,congestion",
            "echo:7,",
            "echo/udp:7,congestion=bbr",
            "echo=7",
            "xdptx",
            "echo/tcp@239.1.2.3:5000",
            "http@239.1.2.3:80=.",
            "echo@10.0.0.2:7,source=10.0.0.1",
            "echo@232.1.2.3:5000,source=x",
            "stream:5004",
            "stream:5004=",
            "stream/tcp:5004=239.1.2.3",
            "stream:5004=nowhere",
            "stream:0=239.1.2.3",
            "stream=239.1.2.3",
            "stream:5004,rate=0=239.1.2.3",
            "stream:5004,rate",
            "stream:5004,source=10.0.0.1=239.1.2.3",
            "stream@239.1.2.3:5004=239.1.2.3",
        ];
        let shown: Vec<_> = lines.iter().map(|line| line.parse::<ServiceSpec>().unwrap_err().to_string()).collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn congestion_control_is_an_option_of_the_tcp_half() {
        let text = "echo@10.0.0.2:7,congestion=reno";
        let spec = text.parse::<ServiceSpec>().unwrap();
        assert_eq!(spec.to_string(), text);
        let ServiceSpec::AtPort(both) = spec else { unreachable!("echo has a port") };
        let chosen: Vec<_> = both.entries().map(|entry| entry.congestion).collect();
        assert_eq!(chosen, [Some(Algorithm::Reno), None]);
    }

    #[test]
    fn a_stream_has_options_of_its_own_and_a_target() {
        for text in [
            "stream:5004=239.1.2.3",
            "stream/udp@10.0.0.2:5004,rate=100,size=1000,ttl=4,loop=on=239.1.2.3:6000",
            "stream@[fd00::2]:5004,count=9,file=/srv/a.wav=[ff02::1234]:6000",
        ] {
            let spec = text.parse::<ServiceSpec>().unwrap();
            assert_eq!(spec.to_string(), text);
            let ServiceSpec::AtPort(at) = spec else { unreachable!("a stream has a port") };
            let entries: Vec<_> = at.entries().collect();
            assert!(entries.len() == 1 && entries[0].stream.is_some() && entries[0].path.is_none(), "{text}");
        }
    }

    #[test]
    fn at_a_group_there_is_no_tcp() {
        let text = "discard@232.1.2.3:5000,source=10.0.0.1,source=10.0.0.9";
        let spec = text.parse::<ServiceSpec>().unwrap();
        assert_eq!(spec.to_string(), text);
        let ServiceSpec::AtPort(at) = spec else { unreachable!("discard has a port") };
        let shown: Vec<_> = at.entries().map(|entry| entry.to_string()).collect();
        assert_eq!(shown, ["discard/udp@232.1.2.3:5000"]);
        assert_eq!(at.group().unwrap().to_string(), "232.1.2.3:5000,source=10.0.0.1,source=10.0.0.9");
        for broadcast in ["echo@255.255.255.255:7", "echo/udp@[ff02::1234]:7"] {
            let ServiceSpec::AtPort(at) = broadcast.parse().unwrap() else { unreachable!("echo has a port") };
            assert_eq!(at.entries().count(), 1, "{broadcast}");
        }
    }

    #[test]
    fn without_a_transport_there_are_two_entries() {
        let ServiceSpec::AtPort(both) = "echo@10.0.0.2:7".parse().unwrap() else { unreachable!("echo has a port") };
        let shown: Vec<_> = both.entries().map(|entry| entry.to_string()).collect();
        assert_eq!(shown, ["echo/tcp@10.0.0.2:7", "echo/udp@10.0.0.2:7"]);
        let ServiceSpec::AtPort(one) = "echo/udp:7".parse().unwrap() else { unreachable!("echo has a port") };
        assert_eq!(one.entries().count(), 1);
        let ServiceSpec::AtPort(http) = "http:80=/srv".parse().unwrap() else { unreachable!("http has a port") };
        let shown: Vec<_> = http.entries().map(|entry| entry.to_string()).collect();
        assert_eq!((shown, http.path), (vec!["http/tcp:80".to_owned()], Some("/srv".into())));
        let ServiceSpec::AtPort(dns) = "dns:53=a.zone".parse().unwrap() else { unreachable!("dns has a port") };
        let shown: Vec<_> = dns.entries().map(|entry| (entry.to_string(), entry.path)).collect();
        assert_eq!(shown, ["dns/tcp:53", "dns/udp:53"].map(|entry| (entry.to_owned(), Some("a.zone".into()))));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(echo|discard|http|dns|stream)?[/@:=,\\[\\]a-z0-9.]{0,20}") {
            let _ = text.parse::<ServiceSpec>();
        }
    }
}
