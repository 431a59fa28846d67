//! What a load run is to do.
//!
//! Made by the command line, read by every client. [`Plan::check`] refuses what cannot be run; the clients rely on it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::schedule::MESSAGES_IN_FLIGHT;
use crate::error::SetupError;
use crate::settings::number;
use crate::tcp::congestion::Algorithm;

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A byte stream per connection.
    Tcp,
    /// Datagrams.
    Udp,
    /// Frames reflected over bare AF_XDP, without an engine at either end.
    Raw,
}

/// When the next message is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As soon as an answer has come: so many unanswered messages per connection.
    Closed {
        /// Unanswered messages per connection.
        in_flight: u32,
    },
    /// At fixed intervals, whether answers come or not.
    Open {
        /// Messages per second, all connections together.
        per_s: f64,
    },
}

/// Connect, one exchange, close, again: who closes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Churn {
    /// The client sends the first FIN and holds TIME-WAIT.
    Client,
    /// The server sends the first FIN.
    Server,
    /// The client ends with a RST: no TIME-WAIT anywhere.
    Rst,
}

/// Bytes one way, as fast as they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bulk {
    /// The client sends, to a service that takes everything (discard).
    Send,
    /// The client reads from a service that sends without end (chargen).
    Receive,
}

/// Connections that are opened at a set rate and held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    /// Connections opened per second.
    pub per_s: f64,
    /// The share of them that carries messages, in parts of [`number::WHOLE`].
    pub active: u32,
}

/// A load run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What carries the messages.
    pub carrier: Carrier,
    /// The server.
    pub target: SocketAddr,
    /// Connections or sockets at once.
    pub connections: u32,
    /// Pace.
    pub pace: Pace,
    /// Payload bytes of a message.
    pub size: usize,
    /// Measured time, after the warm-up.
    pub duration: Duration,
    /// Time before the measurement, whose messages are not counted.
    pub warmup: Duration,
    /// How many source addresses to use, counted up from the first.
    pub sources: u32,
    /// Connections that come and go.
    pub churn: Option<Churn>,
    /// Connections are opened at a rate and held for warm-up and measured time; `None` opens one after the other.
    pub ramp: Option<Ramp>,
    /// Nothing is answered: bytes go one way, and `size` of them count as a message.
    pub bulk: Option<Bulk>,
    /// Congestion control of the client's connections; `None` leaves it to the stack.
    pub congestion: Option<Algorithm>,
}

/// Connections a run may have at once.
pub const CONNECTIONS: u32 = 1 << 20;
/// The same of a run whose connections are sockets, or come and go.
pub const SOCKETS: u32 = 65_536;
/// Largest message on a stream, in bytes.
pub const STREAM_MESSAGE_BYTES: usize = 16 << 20;
/// Largest payload of a UDP datagram over IPv4, in bytes.
pub const DATAGRAM_BYTES: usize = 65_507;

impl Plan {
    /// Refuses a plan that cannot be run.
    ///
    /// # Errors
    /// A usage error that names the option.
    pub fn check(&self) -> Result<(), SetupError> {
        let refuse = |what: &str, why: String| Err(SetupError::usage(what, why));
        let of_tcp = |what: &str, why: &str| Err(SetupError::usage(what, why).mend("ringway load tcp"));
        let most = if self.carrier == Carrier::Tcp && self.churn.is_none() { CONNECTIONS } else { SOCKETS };
        if self.connections == 0 || self.connections > most {
            return refuse("bad --connections", format!("it must be between 1 and {most}, not {}", self.connections));
        }
        if self.sources == 0 {
            return refuse("bad --sources", "at least one source address is needed".into());
        }
        if self.duration.is_zero() {
            return refuse("bad --duration", "nothing can be measured in no time".into());
        }
        match self.carrier {
            Carrier::Tcp if self.size == 0 || self.size > STREAM_MESSAGE_BYTES => {
                return refuse("bad --size", format!("a message on a stream has 1 to {STREAM_MESSAGE_BYTES} bytes"));
            }
            Carrier::Udp | Carrier::Raw if self.size > DATAGRAM_BYTES => {
                return refuse("bad --size", format!("a datagram has at most {DATAGRAM_BYTES} bytes"));
            }
            Carrier::Udp | Carrier::Raw if self.churn.is_some() => {
                return of_tcp("bad --churn", "only TCP connections come and go");
            }
            Carrier::Udp | Carrier::Raw if self.congestion.is_some() => {
                return of_tcp("bad --congestion", "only TCP controls its congestion");
            }
            Carrier::Udp | Carrier::Raw if self.bulk.is_some() => {
                return of_tcp("bad --bulk", "only TCP streams are of bytes without end");
            }
            Carrier::Udp | Carrier::Raw if self.ramp.is_some() => {
                return of_tcp("bad --ramp", "only TCP connections are opened");
            }
            _ => {}
        }
        if self.bulk.is_some() && (self.ramp.is_some() || self.churn.is_some() || self.pace != Self::UNPACED) {
            return refuse("bad --bulk", "bytes go as fast as they are taken, on connections that stay".into());
        }
        match self.ramp {
            Some(_) if self.churn.is_some() => return refuse("bad --ramp", "connections that come and go are not held".into()),
            Some(Ramp { per_s, .. }) if !per_s.is_finite() || per_s <= 0.0 || per_s > 1e9 => {
                return refuse("bad --ramp", format!("{per_s} is not between 0 and 1G connections per second"));
            }
            _ => {}
        }
        self.check_pace()
    }

    /// One message at a time: what is no wish of anybody's.
    const UNPACED: Pace = Pace::Closed { in_flight: 1 };

    fn check_pace(&self) -> Result<(), SetupError> {
        match self.pace {
            Pace::Open { per_s } if !per_s.is_finite() || per_s <= 0.0 || per_s > 1e9 => {
                Err(SetupError::usage("bad --rate", format!("{per_s} is not between 0 and 1G messages per second")))
            }
            Pace::Closed { in_flight } => {
                let room = (MESSAGES_IN_FLIGHT as u64 / u64::from(self.talking().max(1))).min(self.numbers_in_a_message());
                let most = if self.churn.is_some() { 1 } else { room };
                if in_flight == 0 || u64::from(in_flight) > most {
                    let why =
                        format!("with this size and number of connections it must be between 1 and {most}, not {in_flight}");
                    return Err(SetupError::usage("bad --in-flight", why));
                }
                Ok(())
            }
            Pace::Open { .. } => Ok(()),
        }
    }

    /// How many messages of one socket the bytes of a message can tell apart.
    pub(crate) fn numbers_in_a_message(&self) -> u64 {
        match (self.carrier, self.size) {
            (Carrier::Tcp, _) => u64::MAX,
            (_, 0) => 1,
            // Half of the numbers, so that an old answer is not taken for a new one.
            (_, size) if size < 8 => 1 << (8 * size as u32 - 1),
            _ => u64::MAX,
        }
    }

    /// Connections that carry messages: all, or their share of a ramp, and one at least unless the share is nothing.
    pub fn talking(&self) -> u32 {
        let Some(ramp) = self.ramp else { return self.connections };
        let share = u64::from(self.connections) * u64::from(ramp.active) / u64::from(number::WHOLE);
        if ramp.active == 0 { 0 } else { (share as u32).clamp(1, self.connections) }
    }

    /// The mode as reports name it: `bulk send`, `bulk receive`, `closed`, `closed in-flight=8`, `open`, with `churn=client` and so on, or `ramp`, behind it.
    pub fn mode(&self) -> String {
        match self.bulk {
            Some(Bulk::Send) => return "bulk send".to_owned(),
            Some(Bulk::Receive) => return "bulk receive".to_owned(),
            None => {}
        }
        let pace = match self.pace {
            Pace::Closed { in_flight: 1 } => "closed".to_owned(),
            Pace::Closed { in_flight } => format!("closed in-flight={in_flight}"),
            Pace::Open { .. } => "open".to_owned(),
        };
        match self.churn {
            None if self.ramp.is_some() => pace + " ramp",
            None => pace,
            Some(Churn::Client) => pace + " churn=client",
            Some(Churn::Server) => pace + " churn=server",
            Some(Churn::Rst) => pace + " churn=rst",
        }
    }

    /// The whole time a run takes at least.
    pub fn span(&self) -> Duration {
        self.warmup.saturating_add(self.duration)
    }

    /// Messages due per second; `None` in a closed loop.
    pub const fn offered_per_s(&self) -> Option<f64> {
        match self.pace {
            Pace::Open { per_s } => Some(per_s),
            Pace::Closed { .. } => None,
        }
    }
}

/// Addresses counted up from the first, for [`Plan::sources`]; `None` when they run over the end of the address family.
pub fn addresses_from(first: IpAddr, count: u32) -> Option<Vec<IpAddr>> {
    let next = |n: u32| match first {
        IpAddr::V4(first) => u32::from(first).checked_add(n).map(|bits| Ipv4Addr::from(bits).into()),
        IpAddr::V6(first) => u128::from(first).checked_add(n.into()).map(|bits| Ipv6Addr::from(bits).into()),
    };
    (0..count).map(next).collect()
}

impl Carrier {
    /// The name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Raw => "raw",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One UDP socket, one message of 64 bytes in flight, no warm-up, one second.
    pub(crate) fn plan() -> Plan {
        Plan {
            carrier: Carrier::Udp,
            target: ([127, 0, 0, 1], 7).into(),
            connections: 1,
            pace: Pace::Closed { in_flight: 1 },
            size: 64,
            duration: Duration::from_secs(1),
            warmup: Duration::ZERO,
            sources: 1,
            churn: None,
            ramp: None,
            bulk: None,
            congestion: None,
        }
    }

    #[test]
    fn plans_that_cannot_run_name_the_option() {
        let tcp = Plan { carrier: Carrier::Tcp, ..plan() };
        let cases = [
            (Plan { connections: 0, ..plan() }, "--connections"),
            (Plan { connections: SOCKETS + 1, ..plan() }, "--connections"),
            (Plan { connections: CONNECTIONS + 1, ..tcp.clone() }, "--connections"),
            (Plan { connections: SOCKETS + 1, churn: Some(Churn::Rst), ..tcp.clone() }, "--connections"),
            (Plan { ramp: Some(RAMP), ..plan() }, "--ramp"),
            (Plan { ramp: Some(RAMP), churn: Some(Churn::Rst), ..tcp.clone() }, "--ramp"),
            (Plan { ramp: Some(Ramp { per_s: 0.0, ..RAMP }), ..tcp.clone() }, "--ramp"),
            (Plan { bulk: Some(Bulk::Send), ..plan() }, "--bulk"),
            (Plan { bulk: Some(Bulk::Send), churn: Some(Churn::Rst), ..tcp.clone() }, "--bulk"),
            (Plan { bulk: Some(Bulk::Receive), pace: Pace::Open { per_s: 1.0 }, ..tcp.clone() }, "--bulk"),
            (Plan { sources: 0, ..plan() }, "--sources"),
            (Plan { duration: Duration::ZERO, ..plan() }, "--duration"),
            (Plan { size: 0, ..tcp.clone() }, "--size"),
            (Plan { size: DATAGRAM_BYTES + 1, ..plan() }, "--size"),
            (Plan { churn: Some(Churn::Rst), ..plan() }, "--churn"),
            (Plan { congestion: Some(Algorithm::Reno), ..plan() }, "--congestion"),
            (Plan { pace: Pace::Open { per_s: 0.0 }, ..plan() }, "--rate"),
            (Plan { pace: Pace::Open { per_s: f64::NAN }, ..plan() }, "--rate"),
            (Plan { pace: Pace::Closed { in_flight: 0 }, ..plan() }, "--in-flight"),
            (Plan { pace: Pace::Closed { in_flight: 2 }, size: 0, ..plan() }, "--in-flight"),
            (Plan { pace: Pace::Closed { in_flight: 129 }, size: 1, ..plan() }, "--in-flight"),
            (Plan { pace: Pace::Closed { in_flight: 2 }, churn: Some(Churn::Client), ..tcp.clone() }, "--in-flight"),
        ];
        for (plan, option) in cases {
            let error = plan.check().expect_err(option);
            assert!(error.what().ends_with(option) && error.exit_code() == 2, "{error}");
        }
        for plan in [plan(), tcp, Plan { size: 0, ..plan() }, Plan { pace: Pace::Closed { in_flight: 128 }, size: 1, ..plan() }] {
            assert_eq!(plan.check(), Ok(()));
        }
    }

    const RAMP: Ramp = Ramp { per_s: 1000.0, active: number::WHOLE / 100 };

    #[test]
    fn a_share_of_the_connections_of_a_ramp_talks() {
        let million = Plan { carrier: Carrier::Tcp, connections: CONNECTIONS, ramp: Some(RAMP), ..plan() };
        assert_eq!((million.talking(), million.mode().as_str()), (10_485, "closed ramp"));
        // So few can have more messages in flight than a million could.
        let busy = Plan { pace: Pace::Closed { in_flight: 400 }, ..million.clone() };
        assert_eq!(busy.check(), Ok(()));
        assert!(Plan { ramp: None, ..busy }.check().is_err());
        let talking =
            |connections, active| Plan { connections, ramp: Some(Ramp { active, ..RAMP }), ..million.clone() }.talking();
        assert_eq!([talking(10, RAMP.active), talking(10, number::WHOLE), talking(10, 0)], [1, 10, 0]);
        assert_eq!(Plan { connections: 7, ..plan() }.talking(), 7);
    }

    #[test]
    fn source_addresses_are_counted_up() {
        let all = |first: &str, count| addresses_from(first.parse().expect("an address"), count);
        let texts =
            |addresses: Option<Vec<IpAddr>>| addresses.map(|all| all.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" "));
        assert_eq!(texts(all("10.0.0.254", 3)).as_deref(), Some("10.0.0.254 10.0.0.255 10.0.1.0"));
        assert_eq!(texts(all("fd00::ffff", 2)).as_deref(), Some("fd00::ffff fd00::1:0"));
        assert_eq!(all("255.255.255.255", 2), None);
        assert_eq!(all("10.0.0.1", 0), Some(vec![]));
    }

    #[test]
    fn the_mode_says_pace_and_churn() {
        assert_eq!(plan().mode(), "closed");
        assert_eq!(Plan { pace: Pace::Closed { in_flight: 8 }, ..plan() }.mode(), "closed in-flight=8");
        let open = Plan { pace: Pace::Open { per_s: 10.0 }, churn: Some(Churn::Rst), ..plan() };
        assert_eq!((open.mode().as_str(), open.offered_per_s()), ("open churn=rst", Some(10.0)));
    }
}
