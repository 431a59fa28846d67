//! Groups whose datagrams are taken: a UDP port of a multicast group or of a broadcast address, from all sources or from some.
//!
//! Filled at start (`launch`), read by [`super::packet`] for what came to an IPv6 group, and by the UDP path for every datagram that was sent
//! to many. Membership on the link is the kernel's. Pure; nothing panics.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::device::Drop;
use crate::error::SetupError;
use crate::limits;
use crate::wire::ipv6;

/// A UDP port of a group.
///
/// ```
/// use ringway::link::groups::Group;
/// let all = Group::new("239.1.2.3".parse().unwrap(), 5000);
/// assert_eq!(all.to_string(), "239.1.2.3:5000");
/// let one = Group::new("232.1.2.3".parse().unwrap(), 5000).only_from(&["10.0.0.1".parse().unwrap()]);
/// assert_eq!(one.to_string(), "232.1.2.3:5000,source=10.0.0.1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    address: IpAddr,
    port: u16,
    sources: Vec<IpAddr>,
}

impl Group {
    /// Datagrams to a group, whoever sends them.
    pub const fn new(address: IpAddr, port: u16) -> Self {
        Self { address, port, sources: Vec::new() }
    }

    /// Of these senders only. In the ranges of source-specific multicast (232/8, ff3x::/32) there is no group without senders.
    #[must_use]
    pub fn only_from(mut self, sources: &[IpAddr]) -> Self {
        self.sources.extend_from_slice(sources);
        self
    }

    /// The address of the group.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Who may send; empty for everybody.
    pub fn sources(&self) -> &[IpAddr] {
        &self.sources
    }

    fn check(&self) -> Result<(), SetupError> {
        let refused = |why: String| SetupError::usage(format!("cannot take the group {self}"), why);
        if self.sources.is_empty() && is_source_specific(self.address) {
            let example = if self.address.is_ipv4() { "10.0.0.1" } else { "fd00::1" };
            let why = "it belongs to source-specific multicast, so its senders have to be named (RFC 4607 1)";
            return Err(refused(why.to_owned()).mend(format!("{self},source={example}")));
        }
        if !self.sources.is_empty() && !self.address.is_multicast() {
            return Err(refused("a broadcast has no membership, so it cannot be limited to sources".to_owned()));
        }
        let single =
            |source: &IpAddr| source.is_ipv4() == self.address.is_ipv4() && !is_group(*source) && !source.is_unspecified();
        if let Some(source) = self.sources.iter().find(|source| !single(source)) {
            return Err(refused(format!("{source} is not the address of a host of its family")));
        }
        let twice = |(n, source): &(usize, &IpAddr)| self.sources.iter().take(*n).any(|other| other == *source);
        if let Some((_, source)) = self.sources.iter().enumerate().find(twice) {
            return Err(refused(format!("the source {source} is named twice")));
        }
        if self.sources.len() > limits::GROUP_SOURCES {
            return Err(refused(format!("{} sources are the most", limits::GROUP_SOURCES)));
        }
        Ok(())
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", SocketAddr::new(self.address, self.port))?;
        self.sources.iter().try_for_each(|source| write!(f, ",source={source}"))
    }
}

/// The groups of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(BTreeMap<(IpAddr, u16), Group>);

impl Groups {
    /// None.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a group.
    ///
    /// # Errors
    /// Usage: it is there already, a source-specific group without a source, sources of something else than a multicast group, one of them named
    /// twice, too many.
    pub fn insert(&mut self, group: Group) -> Result<(), SetupError> {
        group.check()?;
        let refused = |why: &str| SetupError::usage(format!("cannot take the group {group}"), why);
        if self.contains(group.address, group.port) {
            return Err(refused("it is named twice"));
        }
        if self.0.len() >= limits::GROUPS {
            return Err(refused(&format!("{} groups of an interface are the most", limits::GROUPS)));
        }
        self.0.insert((group.address, group.port), group);
        Ok(())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.0.values()
    }

    /// True when a port of the address is taken.
    pub fn contains(&self, address: IpAddr, port: u16) -> bool {
        self.0.contains_key(&(address, port))
    }

    /// True when any port of the address is taken.
    pub fn hears(&self, address: IpAddr) -> bool {
        self.0.range((address, 0)..=(address, u16::MAX)).next().is_some()
    }

    /// Tells whether a datagram that was sent to many is to be taken.
    ///
    /// # Errors
    /// [`Drop::GroupNotJoined`] for a port of a multicast group that nobody asked for; [`Drop::GroupSource`] when it was asked for from others. What is
    /// broadcast, or sent to all hosts of a link, is for every host (RFC 1122 3.3.6, RFC 1112 7.2, RFC 4291 2.8).
    pub fn check(&self, target: IpAddr, port: u16, source: IpAddr) -> Result<(), Drop> {
        match self.0.get(&(target, port)) {
            Some(group) if group.sources.is_empty() || group.sources.contains(&source) => Ok(()),
            Some(_) => Err(Drop::GroupSource),
            None if target.is_multicast() && !is_all_hosts(target) => Err(Drop::GroupNotJoined),
            None => Ok(()),
        }
    }
}

/// True for an address that is a group's on every link: multicast, or the limited broadcast.
pub const fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}

/// True for the groups of source-specific multicast (RFC 4607 1): 232/8 and ff3x::/32.
const fn is_source_specific(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] == 232,
        IpAddr::V6(v6) => v6.segments()[0] & 0xfff0 == 0xff30 && v6.segments()[1] == 0,
    }
}

/// True for the group that every host of a link belongs to.
fn is_all_hosts(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4 == Ipv4Addr::new(224, 0, 0, 1),
        IpAddr::V6(v6) => v6 == ipv6::ALL_NODES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn group(address: &str, sources: &[&str]) -> Group {
        Group::new(ip(address), 5000).only_from(&sources.iter().map(|text| ip(text)).collect::<Vec<_>>())
    }

    #[test]
    fn only_the_groups_and_sources_that_were_asked_for_are_heard() {
        let mut groups = Groups::new();
        groups.insert(group("239.1.2.3", &[])).unwrap();
        groups.insert(group("ff35::1234", &["fd00::1"])).unwrap();
        for (target, port, source, expected) in [
            ("239.1.2.3", 5000, "10.0.0.1", Ok(())),
            ("239.1.2.3", 5001, "10.0.0.1", Err(Drop::GroupNotJoined)),
            ("239.1.2.4", 5000, "10.0.0.1", Err(Drop::GroupNotJoined)),
            ("ff35::1234", 5000, "fd00::1", Ok(())),
            ("ff35::1234", 5000, "fd00::9", Err(Drop::GroupSource)),
            ("224.0.0.1", 5000, "10.0.0.1", Ok(())),
            ("ff02::1", 5000, "fd00::1", Ok(())),
            ("10.0.0.255", 5000, "10.0.0.1", Ok(())),
            ("255.255.255.255", 5000, "10.0.0.1", Ok(())),
        ] {
            assert_eq!(groups.check(ip(target), port, ip(source)), expected, "{source} to {target}:{port}");
        }
        assert!(groups.hears(ip("ff35::1234")) && !groups.hears(ip("ff35::1235")) && !groups.hears(ip("ff02::1")));
    }

    #[test]
    fn what_cannot_be_a_membership_is_a_usage_error() {
        let mut groups = Groups::new();
        groups.insert(group("239.1.2.3", &[])).unwrap();
        let sources: Vec<_> = (0..=limits::GROUP_SOURCES as u8).map(|n| Ipv4Addr::new(10, 0, 1, n).into()).collect();
        let too_many = Group::new(ip("232.1.2.3"), 5000).only_from(&sources);
        for (bad, why) in [
            (group("239.1.2.3", &[]), "named twice"),
            (group("232.1.2.3", &[]), "try: 232.1.2.3:5000,source=10.0.0.1"),
            (group("ff3e::1234", &[]), "try: [ff3e::1234]:5000,source=fd00::1"),
            (group("255.255.255.255", &["10.0.0.1"]), "a broadcast has no membership"),
            (group("232.1.2.3", &["fd00::1"]), "not the address of a host of its family"),
            (group("232.1.2.3", &["239.0.0.1"]), "not the address of a host of its family"),
            (group("232.1.2.3", &["10.0.0.1", "10.0.0.9", "10.0.0.1"]), "the source 10.0.0.1 is named twice"),
            (too_many, "64 sources are the most"),
        ] {
            let error = groups.insert(bad).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(why), "{error}");
        }
        for good in [group("232.1.2.3", &["10.0.0.1"]), group("ff35:1::1", &[]), group("255.255.255.255", &[])] {
            groups.insert(good).unwrap();
        }
    }

    #[test]
    fn the_groups_of_an_interface_are_bounded() {
        let mut groups = Groups::new();
        for port in 1..=limits::GROUPS as u16 {
            groups.insert(Group::new(ip("239.1.2.3"), port)).unwrap();
        }
        assert!(groups.insert(Group::new(ip("239.1.2.4"), 1)).unwrap_err().to_string().contains("256 groups"));
    }
}
