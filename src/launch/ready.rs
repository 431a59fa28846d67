//! What an interface came to: the conditions that every report carries.
//!
//! Made by `open`, printed by the commands. Values only.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use crate::link::groups::Group;
use crate::link::interface::{AddressClaim, PortClaim};
use crate::link::routes::Route;
use crate::metrics::conditions::Interface;
use crate::rss::Summary;
use crate::settings::number::show_list;

/// One interface that carries traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ready {
    /// Name.
    pub interface: String,
    /// Ethernet address.
    #[serde(serialize_with = "shown")]
    pub mac: crate::wire::ethernet::Mac,
    /// Addresses with their VLAN, Ringway's own or the kernel's whose ports are claimed.
    #[serde(serialize_with = "list")]
    pub address: Vec<AddressClaim>,
    /// Claimed ports; empty when the addresses are claimed whole.
    #[serde(serialize_with = "list")]
    pub claim: Vec<PortClaim>,
    /// The groups whose datagrams are taken.
    #[serde(serialize_with = "list")]
    pub group: Vec<Group>,
    /// The ways off the networks of the addresses.
    #[serde(serialize_with = "list")]
    pub route: Vec<Route>,
    /// `native` or `skb`.
    pub xdp: &'static str,
    /// `copy` or `zero-copy`; `none` without sockets.
    pub copy: &'static str,
    /// Receive queues served.
    #[serde(serialize_with = "numbers")]
    pub queues: Vec<u32>,
    /// How the NIC spreads packets over its queues.
    pub rss: Summary,
    /// True when the NIC has more queues than are served (`--partial`).
    pub partial: bool,
    /// How many workers serve them.
    pub workers: usize,
    /// The core of the first worker; `None` when it is not pinned.
    pub core: Option<u32>,
    /// The cores of all of them; empty when they are not pinned.
    #[serde(serialize_with = "numbers")]
    pub cores: Vec<u32>,
    /// The driver.
    pub driver: String,
    /// Largest IP packet in bytes.
    pub mtu: usize,
    /// `huge` or `ordinary`: the pages under the frames; `none` without sockets.
    pub pages: &'static str,
    /// Offloads that change what is measured, and whether they are on, by the kernel's names.
    pub offloads: BTreeMap<&'static str, bool>,
    /// Where scrapes are answered, of all interfaces alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
}

impl Ready {
    /// The interface as the conditions of a report have it.
    pub fn conditions(&self) -> Interface {
        Interface {
            name: self.interface.clone(),
            driver: Some(self.driver.clone()),
            xdp: Some(self.xdp.to_owned()),
            copy: Some(self.copy.to_owned()),
            queues: Some(show_list(&self.queues)),
            rss: Some(self.rss.clone()),
            mtu: u32::try_from(self.mtu).ok(),
            ..Interface::of_sysfs(&self.interface)
        }
    }
}

impl fmt::Display for Ready {
    /// The fields that matter to a person, as `ready` prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interface={} address={}", self.interface, joined(&self.address))?;
        if !self.claim.is_empty() {
            write!(f, " claim={}", joined(&self.claim))?;
        }
        if !self.group.is_empty() {
            write!(f, " group={}", joined(&self.group))?;
        }
        write!(f, " xdp={} copy={} queues={}", self.xdp, self.copy, show_list(&self.queues))?;
        if self.workers > 1 {
            write!(f, " workers={}", self.workers)?;
        }
        if self.partial {
            f.write_str(" partial=yes")?;
        }
        if let Some(metrics) = self.metrics {
            write!(f, " metrics={metrics}")?;
        }
        Ok(())
    }
}

fn joined(items: &[impl fmt::Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn shown<S: serde::Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn list<S: serde::Serializer>(items: &[impl fmt::Display], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&joined(items))
}

fn numbers<S: serde::Serializer>(numbers: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&show_list(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ethernet::Mac;

    fn ready() -> Ready {
        Ready {
            interface: "veth0".to_owned(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            address: vec!["10.0.0.2/24".parse().unwrap()],
            claim: Vec::new(),
            group: Vec::new(),
            route: Vec::new(),
            xdp: "native",
            copy: "copy",
            queues: vec![0],
            rss: Summary::unknown(),
            partial: false,
            workers: 1,
            core: Some(1),
            cores: Vec::new(),
            driver: "veth".to_owned(),
            mtu: 1500,
            pages: "ordinary",
            offloads: BTreeMap::from([("rx-gro", false)]),
            metrics: None,
        }
    }

    #[test]
    fn the_line_is_the_one_that_is_promised() {
        assert_eq!(ready().to_string(), "interface=veth0 address=10.0.0.2/24 xdp=native copy=copy queues=0");
        let ports = Ready {
            claim: vec!["tcp:80".parse().unwrap(), "udp:53".parse().unwrap()],
            group: vec![Group::new("239.1.2.3".parse().unwrap(), 53)],
            queues: vec![0, 1],
            partial: true,
            metrics: Some("127.0.0.1:9464".parse().unwrap()),
            ..ready()
        };
        let line = "interface=veth0 address=10.0.0.2/24 claim=tcp:80,udp:53 group=239.1.2.3:53 xdp=native copy=copy queues=0-1 partial=yes metrics=127.0.0.1:9464";
        assert_eq!(ports.to_string(), line);
    }

    #[test]
    fn the_same_fields_stand_in_json() {
        let json = serde_json::to_value(ready()).unwrap();
        for (field, value) in [("interface", "veth0"), ("address", "10.0.0.2/24"), ("mac", "02:00:00:00:00:01"), ("queues", "0")]
        {
            assert_eq!(json[field], value);
        }
        assert!(json.get("metrics").is_none(), "off unless asked for");
    }
}
