//! Whether an address is free before it is used: address probing over IPv4 (RFC 5227 2.1) and duplicate address detection over IPv6
//! (RFC 4862 5.4).
//!
//! Called by the engine for every address it is to claim. Both families go the same way: wait, probe so many times, wait, then the address is
//! ours and announced; until then it is tentative, answers nothing, and any sign of another holder ends it. Time and chance are arguments, and
//! the packets are built by [`super::arp`] and [`super::nd`]. Nothing here panics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::time::Instant;
use crate::wire::arp::{Arp, REQUEST};
use crate::wire::ethernet::Mac;

/// How often and how long is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The first probe comes at random within this time.
    pub first: Duration,
    /// Probes; with none the address is taken at once.
    pub probes: u8,
    /// The shortest and the longest time between two probes; in between at random.
    pub spacing: (Duration, Duration),
    /// Time from the last probe until the address is ours.
    pub wait: Duration,
    /// Announcements, the one at the end of the wait included.
    pub announcements: u8,
    /// Time between two announcements.
    pub announce_interval: Duration,
}

impl Plan {
    /// Over IPv4 (RFC 5227 1.1).
    pub const IPV4: Self = Self {
        first: Duration::from_secs(1),
        probes: 3,
        spacing: (Duration::from_secs(1), Duration::from_secs(2)),
        wait: Duration::from_secs(2),
        announcements: super::arp::ANNOUNCE_NUM as u8,
        announce_interval: super::arp::ANNOUNCE_INTERVAL,
    };
    /// Over IPv6: DupAddrDetectTransmits and RetransTimer (RFC 4862 5.1, RFC 4861 10), and as many unsolicited advertisements as
    /// announcements over IPv4 (RFC 4861 7.2.6 allows three).
    pub const IPV6: Self = Self {
        first: Duration::from_secs(1),
        probes: 1,
        spacing: (Duration::from_secs(1), Duration::from_secs(1)),
        wait: Duration::from_secs(1),
        announcements: 2,
        announce_interval: Duration::from_secs(2),
    };

    /// That of an address's family.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::IPV4 } else { Self::IPV6 }
    }
}

/// What is to be done for an address now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send a probe: [`super::nd::Outgoing::probe`], or [`super::arp::request`] from the unspecified address.
    Probe,
    /// Nobody else has it: use it from now on, and announce it.
    Assign,
    /// Announce it again.
    Announce,
}

/// An address on its way from tentative to ours.
///
/// ```
/// use ringway::link::dad::{Candidate, Plan, Step};
/// use ringway::time::Instant;
/// let mut candidate = Candidate::new(Instant::ZERO, "fe80::1".parse()?, Plan::IPV6, [0; 8]);
/// assert_eq!(candidate.expire(Instant::ZERO), Some(Step::Probe));
/// assert_eq!(candidate.deadline(), Instant::from_ns(1_000_000_000));
/// assert_eq!(candidate.expire(candidate.deadline()), Some(Step::Assign));
/// assert!(!candidate.is_tentative());
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    address: IpAddr,
    plan: Plan,
    jitter: [u8; 8],
    state: State,
    due: Instant,
}

/// How far an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many probes were sent.
    Tentative { probes: u8 },
    /// Ours, and announced so many times.
    Assigned { announcements: u8 },
    /// Another station has it.
    Duplicate,
    /// There is no address.
    Vacant,
}

impl Candidate {
    /// Begins with an address. `jitter` are random bytes, one for each time that is random; they need not be secret.
    pub fn new(now: Instant, address: IpAddr, plan: Plan, jitter: [u8; 8]) -> Self {
        let mut candidate = Self { address, plan, jitter, state: State::Tentative { probes: 0 }, due: now };
        if plan.probes > 0 {
            candidate.due = now + candidate.random(0, (Duration::ZERO, plan.first));
        }
        candidate
    }

    /// No address: a place for one.
    pub const fn vacant() -> Self {
        let address = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        Self { address, plan: Plan::IPV6, jitter: [0; 8], state: State::Vacant, due: Instant::NEVER }
    }

    /// An address that somebody else finds out about: tentative until [`Candidate::assigned_elsewhere`].
    pub const fn watched(address: IpAddr) -> Self {
        let plan = if address.is_ipv4() { Plan::IPV4 } else { Plan::IPV6 };
        Self { address, plan, jitter: [0; 8], state: State::Tentative { probes: 0 }, due: Instant::NEVER }
    }

    /// Who found out about the address says that it is ours, and announces it.
    pub const fn assigned_elsewhere(&mut self) {
        self.state = State::Assigned { announcements: self.plan.announcements };
        self.due = Instant::NEVER;
    }

    /// True when there is no address.
    pub const fn is_vacant(&self) -> bool {
        matches!(self.state, State::Vacant)
    }

    /// The address.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// True while the address may not be used.
    pub const fn is_tentative(&self) -> bool {
        matches!(self.state, State::Tentative { .. })
    }

    /// True when another station has it; it stays so.
    pub const fn is_duplicate(&self) -> bool {
        matches!(self.state, State::Duplicate)
    }

    /// When [`Candidate::expire`] has something to do; [`Instant::NEVER`] if nothing any more.
    pub const fn deadline(&self) -> Instant {
        self.due
    }

    /// What is to be done, if something is due.
    pub fn expire(&mut self, now: Instant) -> Option<Step> {
        if now < self.due {
            return None;
        }
        match self.state {
            //= rfc5227#2.1.1
            //# should then send PROBE_NUM probe packets, each of these
            //# probe packets spaced randomly and uniformly, PROBE_MIN to PROBE_MAX
            //# seconds apart.
            //= rfc4862#5.4.2
            //# To check an address, a node sends DupAddrDetectTransmits Neighbor
            //# Solicitations, each separated by RetransTimer milliseconds.
            State::Tentative { probes } if probes < self.plan.probes => {
                let sent = probes + 1;
                self.state = State::Tentative { probes: sent };
                let wait = if sent < self.plan.probes { self.random(sent, self.plan.spacing) } else { self.plan.wait };
                self.due = now + wait;
                Some(Step::Probe)
            }
            State::Tentative { .. } => {
                self.announced(now, 1);
                Some(Step::Assign)
            }
            State::Assigned { announcements } if announcements < self.plan.announcements => {
                self.announced(now, announcements + 1);
                Some(Step::Announce)
            }
            State::Assigned { .. } | State::Duplicate | State::Vacant => {
                self.due = Instant::NEVER;
                None
            }
        }
    }

    /// Another station has the address, or wants it. True when it was tentative, and then it must not be used; one that is ours already is to
    /// be defended.
    pub const fn conflict(&mut self) -> bool {
        //= rfc4862#5.4.5
        //# A tentative address that is determined to be a duplicate as described
        //# above MUST NOT be assigned to an interface
        let tentative = self.is_tentative();
        if tentative {
            self.state = State::Duplicate;
            self.due = Instant::NEVER;
        }
        tentative
    }

    fn announced(&mut self, now: Instant, announcements: u8) {
        self.state = State::Assigned { announcements };
        self.due = if announcements < self.plan.announcements { now + self.plan.announce_interval } else { Instant::NEVER };
    }

    /// The random time number `which`, uniform in 256 steps.
    fn random(&self, which: u8, (least, most): (Duration, Duration)) -> Duration {
        let byte = self.jitter.get(usize::from(which) % self.jitter.len()).copied().unwrap_or_default();
        least + most.saturating_sub(least) * u32::from(byte) / u32::from(u8::MAX)
    }
}

/// True when an ARP packet says that another station has or wants the IPv4 address that is being probed. For IPv6 see [`super::nd::on_nd`].
pub fn is_arp_conflict(arp: &Arp, tentative: Ipv4Addr, our_mac: Mac) -> bool {
    //= rfc5227#2.1.1
    //# the host receives any ARP packet (Request *or* Reply) on the interface
    //# where the probe is being performed, where the packet's 'sender IP
    //# address' is the address being probed for, then the host MUST treat
    //# this address as being in use by some other host
    //= rfc5227#2.1.1
    //# In addition, if during this period the host receives any ARP Probe
    //# where the packet's 'target IP address' is the address being probed
    //# for, and the packet's 'sender hardware address' is not the hardware
    //# address of any of the host's interfaces, then the host SHOULD
    //# similarly treat this as an address conflict
    let probe = arp.operation == REQUEST && arp.sender.is_unspecified() && arp.target == tentative;
    arp.sender_mac != our_mac && (arp.sender == tentative || probe)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::link::arp::{announcement, request};
    use crate::wire::arp::REPLY;

    const V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const OUR_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    /// All steps of a candidate that nobody disturbs, with their times in milliseconds.
    fn steps(plan: Plan, jitter: [u8; 8]) -> Vec<(u64, Step)> {
        let mut candidate = Candidate::new(Instant::ZERO, V4.into(), plan, jitter);
        let mut steps = Vec::new();
        while candidate.deadline() != Instant::NEVER && steps.len() < 20 {
            let now = candidate.deadline();
            if now > Instant::ZERO {
                assert_eq!(candidate.expire(now - Duration::from_nanos(1)), None);
            }
            let tentative = candidate.is_tentative();
            if let Some(step) = candidate.expire(now) {
                assert_eq!(tentative, matches!(step, Step::Probe | Step::Assign));
                steps.push((now.as_ns() / 1_000_000, step));
            }
        }
        steps
    }

    //= type=test
    //= rfc5227#2.1.1
    //# should then send PROBE_NUM probe packets, each of these
    //# probe packets spaced randomly and uniformly, PROBE_MIN to PROBE_MAX
    //# seconds apart.
    #[test]
    fn an_ipv4_address_is_probed_three_times_and_announced_twice() {
        use Step::{Announce, Assign, Probe};
        let slow = [255; 8];
        assert_eq!(steps(Plan::IPV4, slow), [(1000, Probe), (3000, Probe), (5000, Probe), (7000, Assign), (9000, Announce)]);
        let mixed = [51, 0, 255, 0, 0, 0, 0, 0];
        assert_eq!(steps(Plan::IPV4, mixed), [(200, Probe), (1200, Probe), (3200, Probe), (5200, Assign), (7200, Announce)]);
    }

    //= type=test
    //= rfc4862#5.4.2
    //# To check an address, a node sends DupAddrDetectTransmits Neighbor
    //# Solicitations, each separated by RetransTimer milliseconds.
    #[test]
    fn an_ipv6_address_is_probed_once_and_waits_a_second() {
        use Step::{Announce, Assign, Probe};
        assert_eq!(steps(Plan::IPV6, [255; 8]), [(1000, Probe), (2000, Assign), (4000, Announce)]);
        let twice = Plan { probes: 2, ..Plan::IPV6 };
        assert_eq!(steps(twice, [51; 8]), [(200, Probe), (1200, Probe), (2200, Assign), (4200, Announce)]);
        assert_eq!(Plan::of("fe80::1".parse().unwrap()), Plan::IPV6);
        assert_eq!(Plan::of(V4.into()), Plan::IPV4);
    }

    #[test]
    fn without_probes_an_address_is_taken_at_once() {
        let mut candidate = Candidate::new(Instant::ZERO, V4.into(), Plan { probes: 0, ..Plan::IPV6 }, [255; 8]);
        assert_eq!(candidate.expire(Instant::ZERO), Some(Step::Assign));
        assert_eq!(candidate.expire(Instant::ZERO), None);
    }

    //= type=test
    //= rfc4862#5.4.5
    //# A tentative address that is determined to be a duplicate as described
    //# above MUST NOT be assigned to an interface
    #[test]
    fn a_conflict_ends_a_tentative_address_for_good_and_none_that_is_ours() {
        for expired in 0..4 {
            let mut candidate = Candidate::new(Instant::ZERO, V4.into(), Plan::IPV4, [0; 8]);
            for _ in 0..expired {
                candidate.expire(candidate.deadline());
            }
            assert!(candidate.conflict() && candidate.is_duplicate() && !candidate.is_tentative());
            assert_eq!(candidate.deadline(), Instant::NEVER);
            assert_eq!(candidate.expire(Instant::NEVER), None);
            assert!(!candidate.conflict());
        }
        let mut ours = Candidate::new(Instant::ZERO, V4.into(), Plan::IPV6, [0; 8]);
        ours.expire(ours.deadline());
        ours.expire(ours.deadline());
        assert!(!ours.conflict() && !ours.is_duplicate());
    }

    //= type=test
    //= rfc5227#2.1.1
    //# the host receives any ARP packet (Request *or* Reply) on the interface
    //# where the probe is being performed, where the packet's 'sender IP
    //# address' is the address being probed for, then the host MUST treat
    //# this address as being in use by some other host
    //= type=test
    //= rfc5227#2.1.1
    //# In addition, if during this period the host receives any ARP Probe
    //# where the packet's 'target IP address' is the address being probed
    //# for, and the packet's 'sender hardware address' is not the hardware
    //# address of any of the host's interfaces, then the host SHOULD
    //# similarly treat this as an address conflict
    #[test]
    fn who_has_or_wants_the_address_is_in_conflict() {
        let other = Ipv4Addr::new(10, 0, 0, 3);
        let conflict = |arp: Arp| is_arp_conflict(&arp, V4, OUR_MAC);
        assert!(conflict(announcement(PEER_MAC, V4)));
        assert!(conflict(Arp { operation: REPLY, ..announcement(PEER_MAC, V4) }));
        assert!(conflict(request(PEER_MAC, V4, other)));
        assert!(conflict(request(PEER_MAC, Ipv4Addr::UNSPECIFIED, V4)), "a probe");
        assert!(!conflict(request(PEER_MAC, other, V4)), "who only asks for it");
        assert!(!conflict(request(OUR_MAC, Ipv4Addr::UNSPECIFIED, V4)), "our own, come back");
        assert!(!conflict(announcement(PEER_MAC, other)));
    }

    proptest! {
        #[test]
        fn probes_are_spaced_as_the_plan_says(jitter in any::<[u8; 8]>()) {
            let steps = steps(Plan::IPV4, jitter);
            prop_assert_eq!(steps.len(), 5);
            prop_assert!(steps[0].0 <= 1000);
            for pair in steps[..3].windows(2) {
                prop_assert!((999..=2001).contains(&(pair[1].0 - pair[0].0)), "cut to milliseconds");
            }
        }
    }
}
