//! What a load run is to do.

use std::net::SocketAddr;
use std::time::Duration;

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
}
