//! Who may use a server, and how it ends: `--allow`, `--deny` and `--drain` of `serve`.
//!
//! Words, bounds and help; what they come to is the engine's business.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use clap::Args;
use ringway::error::SetupError;
use ringway::launch::Launch;
use ringway::link::interface::Cidr;
use ringway::settings::number;

/// Options of a server.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Server options")]
pub(crate) struct AdmissionArgs {
    /// A network that may begin with us; all others may not (may be repeated)
    #[arg(long = "allow", value_name = "PREFIX", value_parser = prefix)]
    allowed: Vec<Cidr>,

    /// A network that may not; the longest prefix decides (may be repeated)
    #[arg(long = "deny", value_name = "PREFIX", value_parser = prefix)]
    denied: Vec<Cidr>,

    /// How long a stop waits for what is open; 0s ends it at once [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = drain)]
    drain: Option<Duration>,
}

impl AdmissionArgs {
    /// A launch with these options.
    pub(crate) fn applied_to(&self, launch: Launch) -> Launch {
        let launch = launch.drain(self.longest_drain());
        let launch = self.allowed.iter().copied().fold(launch, Launch::allow);
        self.denied.iter().copied().fold(launch, Launch::deny)
    }

    /// How long a stop waits at most.
    pub(crate) fn longest_drain(&self) -> Duration {
        self.drain.unwrap_or(DRAIN)
    }

    /// The first of them that was given, for stacks that have none of this.
    pub(crate) fn first(&self) -> Option<&'static str> {
        let given =
            [(!self.allowed.is_empty(), "--allow"), (!self.denied.is_empty(), "--deny"), (self.drain.is_some(), "--drain")];
        given.into_iter().find_map(|(given, option)| given.then_some(option))
    }
}

/// Reads `ADDR/PREFIX`, or `ADDR` alone. Bits behind the prefix are refused: they could mean the network or the one host.
fn prefix(text: &str) -> Result<Cidr, SetupError> {
    let refuse = |why: &str, mend: String| Err(SetupError::usage(format!("cannot use the prefix '{text}'"), why).mend(mend));
    let cidr = match text.parse::<IpAddr>() {
        Ok(address) => Cidr { address, prefix: if address.is_ipv4() { 32 } else { 128 } },
        Err(_) => match text.parse::<Cidr>() {
            Ok(cidr) => cidr,
            Err(_) if text.contains(',') => {
                return refuse(
                    "it takes one network; each has an option of its own",
                    "10.0.0.0/8 (and the option again for the next)".to_owned(),
                );
            }
            Err(error) => return refuse(error.why(), "10.0.0.0/8 (or fd00::/8, or 10.0.0.7)".to_owned()),
        },
    };
    let Cidr { address, prefix } = cidr;
    if address != cidr.network() {
        let why = "an address in it is given, not the network";
        return refuse(why, format!("{}/{prefix}, or {address} for the one address", cidr.network()));
    }
    match address {
        IpAddr::V6(v6) if is_mapped(v6, prefix) => refuse(
            "packets of IPv4 have addresses of IPv4",
            match v6.to_ipv4_mapped() {
                Some(v4) => format!("{v4}/{}", prefix - 96),
                None => "0.0.0.0/0".to_owned(),
            },
        ),
        _ => Ok(cidr),
    }
}

/// True for a prefix of IPv4-mapped addresses.
const fn is_mapped(address: Ipv6Addr, prefix: u8) -> bool {
    prefix >= 96 && address.to_ipv4_mapped().is_some()
}

fn drain(text: &str) -> Result<Duration, SetupError> {
    let span = number::duration(text)?;
    if span > DRAIN_MAX {
        return Err(SetupError::usage(
            format!("cannot wait {text} for connections to end"),
            format!("{} is the longest", number::show_duration(DRAIN_MAX)),
        )
        .mend(format!("--drain {}", number::show_duration(DRAIN_MAX))));
    }
    Ok(span)
}

/// Below what most wait who kill what does not stop: systemd 90 s, Kubernetes 30 s. Docker waits 10 s only, unless told otherwise.
const DRAIN: Duration = Duration::from_secs(10);
const DRAIN_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_network_or_an_address() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("10.0.0.7", "10.0.0.7/32"),
            ("fd00::/8", "fd00::/8"),
            ("::/0", "::/0"),
            ("fd00::7", "fd00::7/128"),
        ] {
            assert_eq!(prefix(text).unwrap().to_string(), shown);
        }
        for (text, remedy) in [
            ("10.1.2.3/8", "10.0.0.0/8, or 10.1.2.3 for the one address"),
            ("fd00::1/64", "fd00::/64, or fd00::1 for the one address"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.7", "10.0.0.7/32"),
            ("10.0.0.0/33", "10.0.0.0/8 (or fd00::/8, or 10.0.0.7)"),
            ("example.org", "10.0.0.0/8 (or fd00::/8, or 10.0.0.7)"),
            ("10.0.0.0/8,fd00::/8", "10.0.0.0/8 (and the option again for the next)"),
        ] {
            assert_eq!(prefix(text).unwrap_err().remedy(), Some(remedy), "{text}");
        }
    }

    #[test]
    fn a_drain_has_a_bound() {
        assert_eq!((drain("0s").unwrap(), drain("60m").unwrap()), (Duration::ZERO, DRAIN_MAX));
        assert_eq!(drain("61m").unwrap_err().remedy(), Some("--drain 60m"));
    }
}
