//! How many connections, at once and per second, addresses and ports allow.
//!
//! A connection to one server takes a port of one source address for as long as it lives.
//! The side that closes first keeps the 4-tuple in TIME-WAIT for 2 MSL (RFC 9293 3.6.1). When that is the client, every
//! connection takes one of its ports for so long, and a rate beyond the ports there are must fail in mid-run. The command
//! asks here before it starts. (When the server closes first the tuple waits at the server, where a new SYN may reuse it; a
//! reset leaves nothing behind.) Pure; cannot panic.

use std::time::Duration;

use super::plan::{Carrier, Churn, Pace, Plan};
use crate::error::SetupError;
use crate::limits::SOURCE_PORTS;

/// The maximum segment lifetime of the kernel: TIME-WAIT lasts 60 s there, and that cannot be changed.
pub const KERNEL_MSL: Duration = Duration::from_secs(30);

/// The ports a stack takes for outgoing connections, first and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port.
    pub last: u16,
}

impl PortRange {
    /// The ports that the engine gives out.
    pub const ENGINE: Self = Self { first: *SOURCE_PORTS.start(), last: *SOURCE_PORTS.end() };

    /// Ports in the range.
    pub const fn count(self) -> u64 {
        if self.last < self.first { 0 } else { (self.last - self.first) as u64 + 1 }
    }

    /// The range the kernel uses, from `/proc/sys/net/ipv4/ip_local_port_range`; Linux's default where that cannot be read.
    pub fn of_kernel() -> Self {
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
            .ok()
            .and_then(|text| Self::parse(&text))
            .unwrap_or(Self { first: 32_768, last: 60_999 })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_whitespace();
        let first = numbers.next()?.parse().ok()?;
        let last = numbers.next()?.parse().ok()?;
        (first <= last).then_some(Self { first, last })
    }
}

/// Refuses more connections at once than the addresses and ports of the plan have.
///
/// # Errors
/// A usage error that says what would fit.
pub fn check_at_once(plan: &Plan, ports: PortRange) -> Result<(), SetupError> {
    let (each, wanted) = (ports.count(), u64::from(plan.connections));
    let there = u64::from(plan.sources).saturating_mul(each);
    if plan.carrier != Carrier::Tcp || wanted <= there {
        return Ok(());
    }
    let at = if plan.sources == 1 { "one address".to_owned() } else { format!("each of {} addresses", plan.sources) };
    let why = format!("each takes a port to {}, and there are {there}: {each} at {at}", plan.target);
    let error = SetupError::usage(format!("cannot open {wanted} connections at once"), why);
    Err(match wanted.div_ceil(each.max(1)) {
        sources if each > 0 => error.mend(format!("--sources {sources}, or -P {there}")),
        _ => error,
    })
}

/// Refuses a churn whose rate x 2 MSL does not fit into the addresses and ports of the plan. This holds for short runs, too: what
/// they leave in TIME-WAIT is missing in the next run.
///
/// # Errors
/// A usage error that says what would fit.
pub fn check(plan: &Plan, ports: PortRange, msl: Duration) -> Result<(), SetupError> {
    let (Some(Churn::Client), Pace::Open { per_s }) = (plan.churn, plan.pace) else { return Ok(()) };
    let wait = 2.0 * msl.as_secs_f64();
    let needed = (per_s * wait).ceil();
    let each = ports.count();
    let there = u64::from(plan.sources).saturating_mul(each);
    if needed <= there as f64 {
        return Ok(());
    }
    let sources = if plan.sources == 1 { "one address".to_owned() } else { format!("{} addresses", plan.sources) };
    let why = format!(
        "{per_s} connections a second, closed first by the client, hold {needed} ports in TIME-WAIT for {wait} s; {sources} of {each} ports have {there}",
    );
    let sources = if each == 0 { f64::INFINITY } else { (needed / each as f64).ceil() };
    let rate = there as f64 / wait.max(f64::MIN_POSITIVE);
    Err(SetupError::usage("the rate does not fit into the ports", why)
        .mend(format!("--sources {sources:.0}, or --rate {}, or --churn=rst", rate.floor())))
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;
    use crate::load::plan::Carrier;

    const PORTS: PortRange = PortRange { first: 10_000, last: 13_999 };
    const MSL: Duration = KERNEL_MSL;

    fn churn(churn: Churn, per_s: f64, sources: u32, seconds: u64) -> Plan {
        let duration = Duration::from_secs(seconds);
        Plan { carrier: Carrier::Tcp, churn: Some(churn), pace: Pace::Open { per_s }, sources, duration, ..plan() }
    }

    #[test]
    fn rate_times_two_msl_must_fit() {
        // 4,000 ports for 60 s: 66.6 connections a second.
        assert_eq!(check(&churn(Churn::Client, 66.0, 1, 600), PORTS, MSL), Ok(()));
        let error = check(&churn(Churn::Client, 67.0, 1, 600), PORTS, MSL).expect_err("4,020 do not fit into 4,000");
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.contains("4020 ports") && text.contains("--sources 2, or --rate 66"), "{text}");
        assert_eq!(check(&churn(Churn::Client, 67.0, 2, 600), PORTS, MSL), Ok(()));
    }

    #[test]
    fn connections_at_once_must_have_a_port_each() {
        let plan = |connections, sources| Plan { carrier: Carrier::Tcp, connections, sources, ..plan() };
        assert_eq!(check_at_once(&plan(8000, 2), PORTS), Ok(()));
        let error = check_at_once(&plan(8001, 2), PORTS).expect_err("one too many");
        assert_eq!((error.exit_code(), error.remedy()), (2, Some("--sources 3, or -P 8000")));
        assert!(error.why().contains("there are 8000: 4000 at each of 2 addresses"), "{error}");
        assert_eq!(check_at_once(&plan(1 << 20, 32), PortRange::ENGINE), Ok(()));
        assert!(check_at_once(&plan(1 << 20, 31), PortRange::ENGINE).is_err());
        let udp = Plan { carrier: Carrier::Udp, ..plan(50_000, 1) };
        assert_eq!(check_at_once(&udp, PORTS), Ok(()));
    }

    #[test]
    fn a_shorter_time_wait_allows_more_and_a_short_run_does_not() {
        assert!(check(&churn(Churn::Client, 800.0, 1, 1), PORTS, MSL).is_err());
        assert_eq!(check(&churn(Churn::Client, 800.0, 1, 1), PORTS, Duration::from_millis(2500)), Ok(()));
        assert!(check(&churn(Churn::Client, 801.0, 1, 1), PORTS, Duration::from_millis(2500)).is_err());
    }

    #[test]
    fn who_does_not_hold_time_wait_is_not_limited() {
        for kind in [Churn::Server, Churn::Rst] {
            assert_eq!(check(&churn(kind, 1e6, 1, 600), PORTS, MSL), Ok(()));
        }
        let closed = Plan { pace: Pace::Closed { in_flight: 1 }, ..churn(Churn::Client, 1.0, 1, 600) };
        assert_eq!(check(&closed, PORTS, MSL), Ok(()));
        let none = PortRange { first: 2, last: 1 };
        assert_eq!(none.count(), 0);
        assert!(check(&churn(Churn::Client, 1.0, 1, 600), none, MSL).is_err());
    }

    #[test]
    fn the_kernels_range_is_two_numbers() {
        assert_eq!(PortRange::parse("32768\t60999\n"), Some(PortRange { first: 32_768, last: 60_999 }));
        for nonsense in ["", "5", "9 1", "1 70000", "a b"] {
            assert_eq!(PortRange::parse(nonsense), None, "{nonsense}");
        }
        assert!(PortRange::of_kernel().count() > 0);
    }
}
