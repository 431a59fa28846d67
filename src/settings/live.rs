//! Which settings can change while an engine runs, and why the others cannot.
//!
//! Read by whoever changes a running engine ([`crate::launch::Changer`]). A setting that is not named here waits for a restart: that is what a new one does
//! until somebody has looked at what reads it.

use super::{KEYS, Key, Settings};
use crate::error::SetupError;

/// When a change of a setting is felt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// By everything, at its next event.
    Now,
    /// By connections that begin after it.
    NewConnections,
    /// Not before a restart, for this reason.
    Restart(&'static str),
}

impl Key {
    /// When a change of it is felt.
    ///
    /// ```
    /// use ringway::settings::{KEYS, When};
    /// let when = |name: &str| KEYS.iter().find(|key| key.name == name).map(|key| key.when());
    /// assert_eq!(when("tcp.msl"), Some(When::Now));
    /// assert_eq!(when("tcp.congestion"), Some(When::NewConnections));
    /// assert!(matches!(when("xsk.frames"), Some(When::Restart(_))));
    /// ```
    pub fn when(&self) -> When {
        if NOW.contains(&self.name) {
            return When::Now;
        }
        if NEW_CONNECTIONS.contains(&self.name) {
            return When::NewConnections;
        }
        let why = RESTART.iter().find(|(start, _)| self.name.starts_with(start)).map(|(_, why)| *why);
        When::Restart(why.unwrap_or("it is read at the start"))
    }
}

impl Settings {
    /// These settings with those of `new` that can change while an engine runs.
    ///
    /// # Errors
    /// One that can change and one that cannot would contradict each other.
    pub fn changed_to(&self, new: &Self) -> Result<Self, SetupError> {
        let mut changed = self.clone();
        for key in KEYS.iter().filter(|key| !matches!(key.when(), When::Restart(_))) {
            changed.set(&format!("{}={}", key.name, key.show(new)))?;
        }
        changed.check()?;
        Ok(changed)
    }
}

/// What is looked up in the configuration each time it is needed.
const NOW: &[&str] = &[
    "tcp.msl",
    "tcp.backlog",
    "tcp.syn_cookies",
    "tcp.mtu_probing",
    "tcp.send_buffer",
    "tcp.send_buffer_max",
    "tcp.connections_per_source",
    "tcp.syn_rate",
    "tcp.syn_rate_per_source",
    "tcp.rto_min",
    "tcp.rto_max",
    "tcp.probe_min",
    "tcp.reordering_min",
    "tcp.retries",
    "tcp.syn_retries",
    "tcp.syn_ack_retries",
    "tcp.delayed_ack",
    "tcp.ttl",
    "tcp.fin_wait_2",
    "address.redirects",
];

/// What a connection takes from the configuration at its birth and keeps.
const NEW_CONNECTIONS: &[&str] = &[
    "tcp.congestion",
    "tcp.receive_buffer",
    "tcp.receive_buffer_max",
    "tcp.rto_initial",
    "tcp.no_delay",
    "tcp.keepalive",
    "tcp.keepalive_idle",
    "tcp.keepalive_interval",
    "tcp.keepalive_probes",
    "tcp.user_timeout",
    "tcp.user_timeout_option",
];

/// Why the others wait, by what they begin with.
const RESTART: &[(&str, &str)] = &[
    ("xsk.", "frames and rings are shared with the kernel from the start"),
    ("tcp.memory", "the memory of a worker has its size from the start"),
    ("tcp.connections", "the tables of a worker have their size from the start"),
    ("tcp.timestamps", "a handshake that is under way has promised the old value"),
    ("tcp.window_scaling", "a handshake that is under way has promised the old value"),
    ("tcp.sack", "a handshake that is under way has promised the old value"),
    ("tcp.ecn", "a handshake that is under way has promised the old value"),
    ("tcp.quick_acks", "connections at rest are written down by it"),
    ("arp.", "the caches of neighbours are made with it"),
    ("address.", "addresses are claimed at the start"),
    ("dns.", "the service is made with it"),
    ("recorder.", "the records have their place from the start"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_key_and_every_key_that_waits_has_a_reason() {
        for name in NOW.iter().chain(NEW_CONNECTIONS) {
            assert!(KEYS.iter().any(|key| key.name == *name), "{name}");
        }
        for key in KEYS {
            assert_ne!(key.when(), When::Restart("it is read at the start"), "{}: say why, or that it can change", key.name);
        }
    }

    #[test]
    fn only_what_can_change_is_taken_over() {
        let old = Settings::default();
        let mut new = old.clone();
        for line in ["tcp.msl=1s", "tcp.congestion=reno", "tcp.connections=7", "xsk.frames=8192", "tcp.ecn=off"] {
            new.set(line).unwrap();
        }
        let changed = old.changed_to(&new).unwrap();
        assert_eq!((changed.tcp.msl, changed.tcp.congestion), (new.tcp.msl, new.tcp.congestion));
        assert_eq!((changed.tcp.connections, changed.xsk, changed.tcp.ecn), (old.tcp.connections, old.xsk, old.tcp.ecn));
    }

    #[test]
    fn what_would_contradict_a_setting_that_stays_is_refused() {
        let old = Settings::default();
        let mut new = old.clone();
        for line in ["tcp.memory=1G", "tcp.send_buffer=512M"] {
            new.set(line).unwrap();
        }
        new.check().unwrap();
        assert!(old.changed_to(&new).unwrap_err().why().contains("tcp.memory"));
    }
}
