//! What may be set about TCP. Every field is a setting of the same name (`--set tcp.msl=1s`, [`crate::settings`]).

use std::time::Duration;

use super::congestion::Algorithm;
use super::ecn;
use super::keepalive::Keepalive;
use super::path_search;

/// The settings of all connections of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Maximum segment lifetime; TIME-WAIT lasts twice as long. RFC 9293 3.4.2 takes 2 minutes; 30 s is what Linux lives with.
    pub msl: Duration,
    /// Connections in SYN-RECEIVED per listener.
    pub backlog: usize,
    /// Answer SYNs beyond the backlog with cookies (RFC 4987) instead of dropping them.
    pub syn_cookies: bool,
    /// Bytes queued for sending per connection, at least: with a large congestion window it is twice that.
    pub send_buffer: usize,
    /// The most that may become; no more than `send_buffer` when that is larger.
    pub send_buffer_max: usize,
    /// Bytes received and not yet taken per connection, at first: the receive window's limit.
    pub receive_buffer: usize,
    /// The largest that limit may become as the service reads; no more than `receive_buffer` when that is larger.
    pub receive_buffer_max: usize,
    /// Bytes of stream buffers of one core, all connections together.
    pub memory: usize,
    /// TCBs of one core.
    pub connections: usize,
    /// The most connections of one source, an address of IPv4 or a /64 of IPv6; 0 sets no limit. For this and the two
    /// that follow see [`crate::demux::admission`].
    pub connections_per_source: u32,
    /// SYNs a second that get a TCB at once, and as many in one go; 0 sets no limit.
    pub syn_rate: u32,
    /// SYNs a second that one source may send, and as many in one go; 0 sets no limit.
    pub syn_rate_per_source: u32,
    /// Offer timestamps (RFC 7323 3).
    pub timestamps: bool,
    /// Offer window scaling (RFC 7323 2).
    pub window_scaling: bool,
    /// Offer selective acknowledgments (RFC 2018).
    pub sack: bool,
    /// Explicit congestion notification (RFC 3168).
    pub ecn: ecn::Use,
    /// Search for the path's MTU where routers do not tell (RFC 4821).
    pub mtu_probing: path_search::Use,
    /// Congestion control of connections that do not choose their own.
    pub congestion: Algorithm,
    /// Shortest retransmission timeout. RFC 6298 2.4 says one second; 200 ms is what Linux uses, and delayed ACKs are shorter.
    pub rto_min: Duration,
    /// Retransmission timeout before the first sample (RFC 6298 2.1).
    pub rto_initial: Duration,
    /// Longest retransmission timeout (RFC 6298 2.5 asks for at least 60 s).
    pub rto_max: Duration,
    /// Shortest wait for an acknowledgment before a tail loss probe (RFC 8985 7.2).
    pub probe_min: Duration,
    /// Shortest run of RACK's reordering timer (RFC 8985 6.2).
    pub reordering_min: Duration,
    //= rfc9293#3.8.3
    //# The value of R2 SHOULD correspond to at least 100 seconds (SHLD-11).
    /// Retransmissions of the same data before the connection is given up (R2, RFC 9293 3.8.3; at least 100 s).
    pub retries: u32,
    //= rfc9293#3.8.3
    //# In particular, R2 for a SYN segment MUST be set large enough to provide retransmission of the segment for at least 3 minutes
    //# (MUST-23).
    /// Retransmissions of a SYN before giving up (RFC 9293 3.8.3: at least 3 minutes for an active open).
    pub syn_retries: u32,
    /// Retransmissions of a SYN-ACK before the half-open connection is given up.
    pub syn_ack_retries: u32,
    /// How long an ACK may wait for data to ride on (RFC 9293 3.8.6.3: below 500 ms).
    pub delayed_ack: Duration,
    /// Segments that are acknowledged at once at the start, after a pause and after reordering: a peer that begins with a small window
    /// grows it by acknowledgments. 0 to 255.
    pub quick_acks: u32,
    /// Send small segments at once (no Nagle, RFC 9293 3.7.4).
    pub no_delay: bool,
    /// Time to live of the packets sent (RFC 9293 MUST-49), 1 to 255.
    pub ttl: u32,
    /// Probe idle connections (RFC 9293 3.8.4; MUST-25: off by default).
    pub keepalive: bool,
    /// Silence before the first probe.
    pub keepalive_idle: Duration,
    /// Time between probes without an answer.
    pub keepalive_interval: Duration,
    /// Probes without an answer that end the connection.
    pub keepalive_probes: u32,
    /// How long data may stay unacknowledged; zero counts retransmissions instead (`retries`).
    pub user_timeout: Duration,
    /// Tell the peer of it, and follow the peer's (RFC 5482 3, ENABLED).
    pub user_timeout_option: bool,
    /// How long FIN-WAIT-2 lasts without a word from the peer. RFC 9293 sets no limit; without one a peer that vanished holds its TCB for ever.
    pub fin_wait_2: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            msl: Duration::from_secs(30),
            backlog: 1024,
            syn_cookies: true,
            send_buffer: 256 * 1024,
            send_buffer_max: 4 * 1024 * 1024,
            receive_buffer: 256 * 1024,
            receive_buffer_max: 6 * 1024 * 1024,
            memory: 256 * 1024 * 1024,
            connections: 65_536,
            connections_per_source: 0,
            syn_rate: 0,
            syn_rate_per_source: 0,
            timestamps: true,
            window_scaling: true,
            sack: true,
            ecn: ecn::Use::Passive,
            mtu_probing: path_search::Use::BlackHole,
            congestion: Algorithm::Cubic,
            rto_min: Duration::from_millis(200),
            rto_initial: Duration::from_secs(1),
            rto_max: Duration::from_secs(120),
            probe_min: Duration::from_millis(2),
            reordering_min: Duration::from_millis(1),
            //= rfc9293#3.8.3
            //# The value of R2 SHOULD correspond to at least 100 seconds (SHLD-11).
            retries: 15,
            //= rfc9293#3.8.3
            //# In particular, R2 for a SYN segment MUST be set large enough to provide retransmission of the segment for at least 3
            //# minutes (MUST-23).
            syn_retries: 7,
            syn_ack_retries: 5,
            delayed_ack: Duration::from_millis(40),
            quick_acks: 16,
            no_delay: true,
            ttl: 64,
            //= rfc9293#3.8.4
            //# they MUST default to off (MUST-25)
            keepalive: false,
            keepalive_idle: Duration::from_secs(7200),
            keepalive_interval: Duration::from_secs(75),
            keepalive_probes: 9,
            user_timeout: Duration::ZERO,
            user_timeout_option: false,
            fin_wait_2: Duration::from_secs(300),
        }
    }
}

impl Config {
    /// The keep-alives of a connection that does not choose its own.
    pub(super) const fn keepalive_plan(&self) -> Keepalive {
        Keepalive { idle: self.keepalive_idle, interval: self.keepalive_interval, probes: self.keepalive_probes }
    }
}
