//! Every setting of the engine that has no option of its own: `--set KEY=VALUE`.
//!
//! One table, [`KEYS`], says for each key what it is, its unit and bounds, and where its value lives; parsing, the listing in the help,
//! the suggestion of the nearest key and the display of a value all come from it. Called by the command line and by
//! [`crate::launch`]; read by the engine when it starts. Nothing here panics on any text.

mod live;
pub mod number;

pub use live::When;

use std::fmt::Write as _;
use std::time::Duration;

use crate::error::SetupError;
use crate::tcp::congestion::Algorithm;
use crate::tcp::ecn;
use crate::tcp::path_search;
use crate::{recorder, tcp, words};

/// The value of every key.
///
/// ```
/// use ringway::settings::Settings;
/// let mut settings = Settings::default();
/// settings.set("tcp.msl=1s")?;
/// assert_eq!(settings.tcp.msl.as_secs(), 1);
/// let error = settings.set("tcp.mls=1s").unwrap_err();
/// assert_eq!(error.remedy(), Some("--set tcp.msl=1s"));
/// # Ok::<(), ringway::error::SetupError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Keys `tcp.*`.
    pub tcp: tcp::Config,
    /// Keys `xsk.*`.
    pub xsk: Xsk,
    /// Keys `arp.*`.
    pub arp: Arp,
    /// Keys `address.*`.
    pub address: AddressClaim,
    /// Keys `dns.*`.
    pub dns: Dns,
    /// Keys `recorder.*`.
    pub recorder: recorder::Settings,
}

/// Settings of the AF_XDP sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xsk {
    /// Frames per queue, a power of two; the frames of all queues of an interface lie in one UMEM.
    pub frames: usize,
    /// Bytes of a frame: 2048 or 4096 (`struct xdp_umem_reg`, chunk_size); `None` takes the smallest into which the MTU fits.
    pub frame_size: Option<usize>,
    /// Descriptors of each of the four rings: a power of two.
    pub ring_size: usize,
    /// Let the socket drive the driver's queue itself (SO_PREFER_BUSY_POLL).
    pub busy_poll: bool,
    /// Huge pages under the UMEM.
    pub huge_pages: HugePages,
}

/// Settings of the neighbour cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// How long an entry is used without being confirmed (RFC 1122 2.3.2.1).
    pub expiry: Duration,
}

/// How a claimed address is found free before it is used (RFC 5227, RFC 4862), and where what it sends goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressClaim {
    /// Probes that ask who has it; 0 uses it at once. RFC 4862 5.1 has one; RFC 5227 1.1 has three, which take four seconds more.
    pub probes: usize,
    /// How long an answer to the last is waited for.
    pub probe_wait: Duration,
    /// Routers may name better first hops (RFC 1122 3.2.2.2, RFC 4861 8), as anybody on the link can who forges their addresses.
    pub redirects: bool,
}

/// Settings of the DNS service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Most bytes of an answer over UDP, whatever the client takes (RFC 6891 6.2.5); what is longer goes over TCP.
    pub udp_payload: usize,
}

/// Which pages lie under the UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// Huge pages when there are free ones, otherwise ordinary pages, pre-faulted.
    Auto,
    /// Ordinary pages.
    Off,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tcp: tcp::Config::default(),
            xsk: Xsk { frames: 4096, frame_size: None, ring_size: 2048, busy_poll: false, huge_pages: HugePages::Auto },
            arp: Arp { expiry: Duration::from_secs(60) },
            address: AddressClaim { probes: 1, probe_wait: Duration::from_secs(1), redirects: false },
            // What passes nearly every path in one packet (dnsflagday.net/2020).
            dns: Dns { udp_payload: 1232 },
            recorder: recorder::Settings::default(),
        }
    }
}

impl Settings {
    /// Carries out one assignment, `KEY=VALUE`.
    ///
    /// # Errors
    /// No `=`, an unknown key (the nearest known one is named), or a value the key does not take.
    pub fn set(&mut self, assignment: &str) -> Result<(), SetupError> {
        let Some((name, value)) = assignment.split_once('=') else {
            let nearest = nearest(assignment).map_or("tcp.msl", |key| key.name);
            return Err(SetupError::usage(format!("cannot read the setting '{assignment}'"), "a setting is KEY=VALUE")
                .mend(format!("--set {nearest}=VALUE")));
        };
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            let error =
                SetupError::usage(format!("there is no setting '{name}'"), "the keys are listed by: ringway serve --help");
            return Err(match nearest(name) {
                Some(key) => error.mend(format!("--set {}={value}", key.name)),
                None => error,
            });
        };
        key.write(self, value)
    }

    /// Checks what holds between settings. Called when all have been read.
    ///
    /// # Errors
    /// Two settings contradict each other.
    pub fn check(&self) -> Result<(), SetupError> {
        let contradiction =
            |why: &str, mend: String| Err(SetupError::usage("the settings contradict each other", why).mend(mend));
        let tcp = &self.tcp;
        if tcp.rto_min > tcp.rto_max {
            return contradiction(
                "tcp.rto_min is above tcp.rto_max",
                format!("--set tcp.rto_max={}", number::show_duration(tcp.rto_min)),
            );
        }
        if tcp.rto_initial < tcp.rto_min || tcp.rto_initial > tcp.rto_max {
            let inside = number::show_duration(tcp.rto_initial.clamp(tcp.rto_min, tcp.rto_max));
            return contradiction(
                "tcp.rto_initial is not between tcp.rto_min and tcp.rto_max",
                format!("--set tcp.rto_initial={inside}"),
            );
        }
        if tcp.memory < tcp.send_buffer.saturating_add(tcp.receive_buffer) {
            let least = number::show_bytes(tcp.send_buffer.saturating_add(tcp.receive_buffer) as u64);
            return contradiction("tcp.memory does not hold the buffers of one connection", format!("--set tcp.memory={least}"));
        }
        if self.xsk.frames < self.xsk.ring_size.saturating_mul(2) {
            return contradiction(
                "xsk.frames is below twice xsk.ring_size: with a full fill ring too few frames would be left to send",
                format!("--set xsk.frames={}", self.xsk.ring_size.saturating_mul(2)),
            );
        }
        Ok(())
    }

    /// Every key with its present value, `KEY=VALUE`, in the order of the table.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        KEYS.iter().map(|key| format!("{}={}", key.name, key.show(self)))
    }
}

/// A key of the table.
pub struct Key {
    /// Its name: `tcp.msl`.
    pub name: &'static str,
    /// What it sets, in a few words.
    pub what: &'static str,
    value: Value,
}

/// What a key holds, its bounds, and where the value lives.
enum Value {
    Span { at: fn(&mut Settings) -> &mut Duration, least: Duration, most: Duration },
    Bytes { at: fn(&mut Settings) -> &mut usize, least: usize, most: usize },
    Count { at: fn(&mut Settings) -> &mut usize, least: usize, most: usize },
    SmallCount { at: fn(&mut Settings) -> &mut u32, least: u32, most: u32 },
    PowerOfTwo { at: fn(&mut Settings) -> &mut usize, least: usize, most: usize },
    Switch { at: fn(&mut Settings) -> &mut bool },
    Word { words: &'static [&'static str], read: fn(&Settings) -> &'static str, write: fn(&mut Settings, &str) },
}

impl Key {
    /// What the key takes: `duration`, `bytes`, `count`, `on|off`, or its words.
    pub fn unit(&self) -> String {
        match &self.value {
            Value::Span { .. } => "duration".to_owned(),
            Value::Bytes { .. } => "bytes".to_owned(),
            Value::Count { .. } | Value::SmallCount { .. } | Value::PowerOfTwo { .. } => "count".to_owned(),
            Value::Switch { .. } => "on|off".to_owned(),
            Value::Word { words, .. } => words.join("|"),
        }
    }

    /// The value as [`Settings::set`] reads it.
    pub fn show(&self, settings: &Settings) -> String {
        // The accessors give mutable places, so that one function serves both directions; a copy keeps reading free of side effects.
        let mut copy = settings.clone();
        match &self.value {
            Value::Span { at, .. } => number::show_duration(*at(&mut copy)),
            Value::Bytes { at, .. } => number::show_bytes(*at(&mut copy) as u64),
            Value::Count { at, .. } => at(&mut copy).to_string(),
            Value::PowerOfTwo { at, .. } => at(&mut copy).to_string(),
            Value::SmallCount { at, .. } => at(&mut copy).to_string(),
            Value::Switch { at } => (if *at(&mut copy) { "on" } else { "off" }).to_owned(),
            Value::Word { read, .. } => read(settings).to_owned(),
        }
    }

    fn write(&self, settings: &mut Settings, text: &str) -> Result<(), SetupError> {
        let outside = |least: String, most: String| self.refuse(text, format!("it must lie between {least} and {most}"));
        let malformed = |error: SetupError| self.refuse(text, error.why().to_owned());
        match &self.value {
            Value::Span { at, least, most } => {
                let span = number::duration(text).map_err(|error| match error.remedy() {
                    Some(word) => self.refuse(text, error.why().to_owned()).mend(format!("--set {}={word}", self.name)),
                    None => malformed(error),
                })?;
                if span < *least || span > *most {
                    return Err(outside(number::show_duration(*least), number::show_duration(*most)));
                }
                *at(settings) = span;
            }
            Value::Bytes { at, least, most } => {
                let bytes = usize::try_from(number::bytes(text).map_err(malformed)?).unwrap_or(usize::MAX);
                if bytes < *least || bytes > *most {
                    return Err(outside(number::show_bytes(*least as u64), number::show_bytes(*most as u64)));
                }
                *at(settings) = bytes;
            }
            Value::Count { at, least, most } => {
                let count = usize::try_from(number::count(text).map_err(malformed)?).unwrap_or(usize::MAX);
                if count < *least || count > *most {
                    return Err(outside(least.to_string(), most.to_string()));
                }
                *at(settings) = count;
            }
            Value::SmallCount { at, least, most } => {
                let count = u32::try_from(number::count(text).map_err(malformed)?).unwrap_or(u32::MAX);
                if count < *least || count > *most {
                    return Err(outside(least.to_string(), most.to_string()));
                }
                *at(settings) = count;
            }
            Value::PowerOfTwo { at, least, most } => {
                let count = number::bytes(text).ok().and_then(|n| usize::try_from(n).ok());
                match count {
                    Some(count) if count.is_power_of_two() && (*least..=*most).contains(&count) => *at(settings) = count,
                    _ => {
                        let error = self.refuse(text, format!("it must be a power of two between {least} and {most}"));
                        let nearest = count.and_then(usize::checked_next_power_of_two).map(|n| n.clamp(*least, *most));
                        return Err(match nearest {
                            Some(nearest) => error.mend(format!("--set {}={nearest}", self.name)),
                            None => error,
                        });
                    }
                }
            }
            Value::Switch { at } => *at(settings) = number::switch(text).map_err(malformed)?,
            Value::Word { words, write, .. } => {
                if !words.contains(&text) {
                    let there = match words {
                        [only] => format!("this version has {only} only"),
                        _ => format!("it is one of {}", words.join(", ")),
                    };
                    return Err(self.refuse(text, there).mend(format!("--set {}={}", self.name, words.first().unwrap_or(&""))));
                }
                write(settings, text);
            }
        }
        Ok(())
    }

    fn refuse(&self, text: &str, why: String) -> SetupError {
        SetupError::usage(format!("cannot set {} to '{text}' ({})", self.name, self.what), why)
    }
}

/// The table of keys as the help shows it: name, unit and default in columns, the meaning beside them, at most 80 columns wide.
pub fn listing() -> String {
    let defaults = Settings::default();
    let mut text = String::new();
    for key in KEYS {
        let default = format!("{}={}", key.name, key.show(&defaults));
        let _ = writeln!(text, "  {default:<28} {:<14} {}", key.unit(), key.what);
    }
    text
}

/// The known key most like `name`, when there is one that could be meant.
fn nearest(name: &str) -> Option<&'static Key> {
    let is_tail = |key: &&Key| key.name.split_once('.').is_some_and(|(_, tail)| tail == name);
    let near = || words::nearest(name, KEYS.iter().map(|key| key.name));
    KEYS.iter().rfind(is_tail).or_else(|| near().and_then(|near| KEYS.iter().find(|key| key.name == near)))
}

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);
const K: usize = 1 << 10;
const G: usize = 1 << 30;

/// Every key, in the order of the listing.
pub const KEYS: &[Key] = &[
    span("tcp.msl", "segment lifetime: half TIME-WAIT", |s| &mut s.tcp.msl, MS, HOUR),
    count("tcp.backlog", "half-open connections per listener", |s| &mut s.tcp.backlog, 1, 1 << 20),
    switch("tcp.syn_cookies", "cookies beyond backlog (RFC 4987)", |s| &mut s.tcp.syn_cookies),
    Key {
        name: "tcp.congestion",
        what: "congestion control",
        value: Value::Word {
            words: Algorithm::NAMES,
            read: |s| s.tcp.congestion.name(),
            write: |s, word| s.tcp.congestion = Algorithm::named(word).unwrap_or_default(),
        },
    },
    Key {
        name: "tcp.ecn",
        what: "marks instead of drops (RFC 3168)",
        value: Value::Word {
            words: ecn::Use::NAMES,
            read: |s| s.tcp.ecn.name(),
            write: |s, word| s.tcp.ecn = ecn::Use::named(word).unwrap_or_default(),
        },
    },
    Key {
        name: "tcp.mtu_probing",
        what: "find the path MTU (RFC 4821)",
        value: Value::Word {
            words: path_search::Use::NAMES,
            read: |s| s.tcp.mtu_probing.name(),
            write: |s, word| s.tcp.mtu_probing = path_search::Use::named(word).unwrap_or_default(),
        },
    },
    bytes("tcp.send_buffer", "bytes to send, per connection", |s| &mut s.tcp.send_buffer, 2 * K, G),
    bytes("tcp.send_buffer_max", "the same with a large window", |s| &mut s.tcp.send_buffer_max, 2 * K, G),
    bytes("tcp.receive_buffer", "bytes not yet read, per connection", |s| &mut s.tcp.receive_buffer, 2 * K, G),
    bytes("tcp.receive_buffer_max", "the same for a fast reader", |s| &mut s.tcp.receive_buffer_max, 2 * K, G),
    bytes("tcp.memory", "stream buffers of one core", |s| &mut s.tcp.memory, 64 * K, 1024 * G),
    count("tcp.connections", "connections of one core", |s| &mut s.tcp.connections, 1, 1 << 24),
    small("tcp.connections_per_source", "of an address or /64; 0: any", |s| &mut s.tcp.connections_per_source, 0, 1 << 24),
    small("tcp.syn_rate", "SYNs a second; 0: any", |s| &mut s.tcp.syn_rate, 0, 10_000_000),
    small("tcp.syn_rate_per_source", "of an address or /64; 0: any", |s| &mut s.tcp.syn_rate_per_source, 0, 10_000_000),
    switch("tcp.timestamps", "offer timestamps (RFC 7323)", |s| &mut s.tcp.timestamps),
    switch("tcp.window_scaling", "offer window scaling (RFC 7323)", |s| &mut s.tcp.window_scaling),
    switch("tcp.sack", "offer selective ACKs (RFC 2018)", |s| &mut s.tcp.sack),
    span("tcp.rto_min", "shortest retransmission timeout", |s| &mut s.tcp.rto_min, MS, HOUR),
    span("tcp.rto_initial", "the same before the first sample", |s| &mut s.tcp.rto_initial, MS, HOUR),
    span("tcp.rto_max", "longest retransmission timeout", |s| &mut s.tcp.rto_max, MS, HOUR),
    span("tcp.probe_min", "least wait before a tail probe", |s| &mut s.tcp.probe_min, MS, HOUR),
    span("tcp.reordering_min", "least wait for reordering", |s| &mut s.tcp.reordering_min, MS, HOUR),
    small("tcp.retries", "retransmissions before giving up", |s| &mut s.tcp.retries, 1, 255),
    small("tcp.syn_retries", "the same of a SYN", |s| &mut s.tcp.syn_retries, 0, 255),
    small("tcp.syn_ack_retries", "the same of a SYN-ACK", |s| &mut s.tcp.syn_ack_retries, 0, 255),
    span(
        "tcp.delayed_ack",
        "how long an ACK waits for data",
        |s| &mut s.tcp.delayed_ack,
        Duration::ZERO,
        Duration::from_millis(499),
    ),
    small("tcp.quick_acks", "segments acknowledged at once", |s| &mut s.tcp.quick_acks, 0, 255),
    switch("tcp.no_delay", "no Nagle", |s| &mut s.tcp.no_delay),
    small("tcp.ttl", "time to live of packets", |s| &mut s.tcp.ttl, 1, 255),
    switch("tcp.keepalive", "probe idle connections", |s| &mut s.tcp.keepalive),
    span("tcp.keepalive_idle", "silence before the first probe", |s| &mut s.tcp.keepalive_idle, SECOND, DAY),
    span("tcp.keepalive_interval", "time between probes", |s| &mut s.tcp.keepalive_interval, SECOND, HOUR),
    small("tcp.keepalive_probes", "probes that end the connection", |s| &mut s.tcp.keepalive_probes, 2, 255),
    span("tcp.user_timeout", "wait for an ACK; 0: by tcp.retries", |s| &mut s.tcp.user_timeout, Duration::ZERO, DAY),
    switch("tcp.user_timeout_option", "tell it to the peer (RFC 5482)", |s| &mut s.tcp.user_timeout_option),
    span("tcp.fin_wait_2", "silence that ends FIN-WAIT-2", |s| &mut s.tcp.fin_wait_2, MS, HOUR),
    power("xsk.frames", "frames per queue", |s| &mut s.xsk.frames, 64, 1 << 20),
    Key {
        name: "xsk.frame_size",
        what: "bytes of a frame; auto: by MTU",
        value: Value::Word {
            words: &["auto", "2048", "4096"],
            read: |s| match s.xsk.frame_size {
                None => "auto",
                Some(2048) => "2048",
                Some(_) => "4096",
            },
            write: |s, word| s.xsk.frame_size = word.parse().ok(),
        },
    },
    power("xsk.ring_size", "descriptors per ring", |s| &mut s.xsk.ring_size, 64, 1 << 16),
    switch("xsk.busy_poll", "the socket polls its queue", |s| &mut s.xsk.busy_poll),
    Key {
        name: "xsk.huge_pages",
        what: "pages under the frames",
        value: Value::Word {
            words: &["auto", "off"],
            read: |s| if s.xsk.huge_pages == HugePages::Auto { "auto" } else { "off" },
            write: |s, word| s.xsk.huge_pages = if word == "auto" { HugePages::Auto } else { HugePages::Off },
        },
    },
    count("address.probes", "probes before an address is used", |s| &mut s.address.probes, 0, 10),
    span(
        "address.probe_wait",
        "wait for an answer to the last",
        |s| &mut s.address.probe_wait,
        Duration::from_millis(1),
        Duration::from_secs(10),
    ),
    switch("address.redirects", "routers may name better first hops", |s| &mut s.address.redirects),
    span("arp.expiry", "life of a neighbour's address", |s| &mut s.arp.expiry, Duration::from_secs(1), HOUR.saturating_mul(24)),
    bytes("dns.udp_payload", "most of an answer over UDP", |s| &mut s.dns.udp_payload, 512, 4 * K),
    count("recorder.records", "last segments kept; 0: none", |s| &mut s.recorder.records, 0, 1 << 24),
    switch("recorder.udp", "keep datagrams too", |s| &mut s.recorder.udp),
];

const fn span(
    name: &'static str,
    what: &'static str,
    at: fn(&mut Settings) -> &mut Duration,
    least: Duration,
    most: Duration,
) -> Key {
    Key { name, what, value: Value::Span { at, least, most } }
}

const fn bytes(name: &'static str, what: &'static str, at: fn(&mut Settings) -> &mut usize, least: usize, most: usize) -> Key {
    Key { name, what, value: Value::Bytes { at, least, most } }
}

const fn count(name: &'static str, what: &'static str, at: fn(&mut Settings) -> &mut usize, least: usize, most: usize) -> Key {
    Key { name, what, value: Value::Count { at, least, most } }
}

const fn small(name: &'static str, what: &'static str, at: fn(&mut Settings) -> &mut u32, least: u32, most: u32) -> Key {
    Key { name, what, value: Value::SmallCount { at, least, most } }
}

const fn power(name: &'static str, what: &'static str, at: fn(&mut Settings) -> &mut usize, least: usize, most: usize) -> Key {
    Key { name, what, value: Value::PowerOfTwo { at, least, most } }
}

const fn switch(name: &'static str, what: &'static str, at: fn(&mut Settings) -> &mut bool) -> Key {
    Key { name, what, value: Value::Switch { at } }
}

#[cfg(test)]
mod tests;
