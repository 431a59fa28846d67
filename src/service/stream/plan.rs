//! What a stream sends, where to and how fast: the words of `stream:PORT,OPTIONS=GROUP`.
//!
//! Read by the command line. Pure; any text gives a plan or a reason, never a panic.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::rtp::header::CLOCK;
use crate::settings::number;

/// A stream to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where to: a group, a broadcast address, or one host.
    pub target: IpAddr,
    /// The port there; `None` is the service's own.
    pub port: Option<u16>,
    /// Packets a second.
    pub rate: u64,
    /// Bytes of payload in a packet.
    pub size: usize,
    /// Units of the timestamp a second.
    pub clock: u32,
    /// TTL or hop limit; `None` is 1 to groups, and 64 otherwise.
    pub ttl: Option<u8>,
    /// Endpoints of this process that hear the group get a copy.
    pub looped: bool,
    /// Packets after which it ends; `None` is never.
    pub count: Option<u64>,
    /// The file it sends, over and over; `None` sends characters of chargen.
    pub file: Option<PathBuf>,
}

/// The options, as they stand in front of `=`.
pub const OPTIONS: &str = "rate=N, size=BYTES, clock=HZ, ttl=N, loop=on|off, count=N and file=PATH";
/// Packets a second, unless told otherwise: 20 ms of sound in each.
const RATE: u64 = 50;
/// Bytes in a packet, unless told otherwise: 20 ms of telephone sound.
const SIZE: usize = 160;
const RATE_MAX: u64 = 1_000_000;
/// As much as the largest frame that an interface may have.
const SIZE_MAX: u64 = 8192;
const CLOCK_MAX: u64 = 1_000_000_000;

impl Plan {
    /// A stream to a target, as it is unless options say otherwise.
    pub const fn to(target: IpAddr) -> Self {
        Self { target, port: None, rate: RATE, size: SIZE, clock: CLOCK, ttl: None, looped: false, count: None, file: None }
    }

    /// Reads the target, what stands behind `=`: `239.1.2.3`, `239.1.2.3:6000`, `ff02::1234` or `[ff02::1234]:6000`.
    ///
    /// # Errors
    /// Why it is no target.
    pub fn aim(&mut self, text: &str) -> Result<(), String> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let (target, port) = match (bare.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
            (Ok(target), _) => (target, None),
            (_, Ok(at)) if at.port() == 0 => return Err("a stream goes to a port from 1 to 65535".to_owned()),
            (_, Ok(at)) => (at.ip(), Some(at.port())),
            _ => return Err(format!("'{text}' is not the address of a group or a host")),
        };
        if target.is_unspecified() {
            return Err(format!("{target} is nobody's address"));
        }
        (self.target, self.port) = (target, port);
        Ok(())
    }

    /// Reads an option.
    ///
    /// # Errors
    /// Why it is none.
    pub fn option(&mut self, key: &str, value: &str) -> Result<(), String> {
        let within = |value: u64, least: u64, most: u64| {
            let bound = || format!("{key} is a number from {least} to {most}");
            if (least..=most).contains(&value) { Ok(value) } else { Err(bound()) }
        };
        let count = || number::count(value).map_err(|error| error.why().to_owned());
        match key {
            "rate" => self.rate = within(count()?, 1, RATE_MAX)?,
            "size" => self.size = within(number::bytes(value).map_err(|error| error.why().to_owned())?, 0, SIZE_MAX)? as usize,
            "clock" => self.clock = within(count()?, 1, CLOCK_MAX)? as u32,
            "ttl" => self.ttl = Some(within(count()?, 0, 255)? as u8),
            "loop" => self.looped = number::switch(value).map_err(|error| error.why().to_owned())?,
            "count" => self.count = Some(within(count()?, 1, u64::MAX)?),
            "file" if value.is_empty() => return Err("the file is not named".to_owned()),
            "file" => self.file = Some(value.into()),
            _ => return Err(format!("'{key}' is no option; there are {OPTIONS}")),
        }
        Ok(())
    }

    /// Where it goes, of a service at this port.
    pub fn address(&self, own_port: u16) -> SocketAddr {
        SocketAddr::new(self.target, self.port.unwrap_or(own_port))
    }
}

/// The options that are not as they are by themselves, and the target: `,rate=100=239.1.2.3`.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = Self::to(self.target);
        let mut number = |key: &str, value: u64, usual: u64| {
            if value == usual { Ok(()) } else { write!(f, ",{key}={value}") }
        };
        number("rate", self.rate, plain.rate)?;
        number("size", self.size as u64, plain.size as u64)?;
        number("clock", self.clock.into(), plain.clock.into())?;
        if let Some(ttl) = self.ttl {
            write!(f, ",ttl={ttl}")?;
        }
        if self.looped {
            f.write_str(",loop=on")?;
        }
        if let Some(count) = self.count {
            write!(f, ",count={count}")?;
        }
        if let Some(file) = &self.file {
            write!(f, ",file={}", file.display())?;
        }
        match self.port {
            Some(port) => write!(f, "={}", SocketAddr::new(self.target, port)),
            None => write!(f, "={}", self.target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(target: &str, options: &[(&str, &str)]) -> Result<Plan, String> {
        let mut plan = Plan::to(IpAddr::from([0, 0, 0, 0]));
        plan.aim(target)?;
        options.iter().try_for_each(|(key, value)| plan.option(key, value))?;
        Ok(plan)
    }

    #[test]
    fn plans_are_read_and_shown() {
        let options =
            [("rate", "1K"), ("size", "1K"), ("clock", "8K"), ("ttl", "4"), ("loop", "on"), ("count", "9"), ("file", "a.wav")];
        for (target, options, shown) in [
            ("239.1.2.3", &[][..], "=239.1.2.3"),
            ("239.1.2.3:6000", &[], "=239.1.2.3:6000"),
            ("ff02::1234", &[("ttl", "0")], ",ttl=0=ff02::1234"),
            ("[ff02::1234]", &[("loop", "off")], "=ff02::1234"),
            ("[ff02::1234]:6000", &[], "=[ff02::1234]:6000"),
            ("10.0.0.255", &options, ",rate=1000,size=1024,clock=8000,ttl=4,loop=on,count=9,file=a.wav=10.0.0.255"),
        ] {
            assert_eq!(plan(target, options).unwrap().to_string(), shown);
        }
        assert_eq!(plan("239.1.2.3", &[]).unwrap().address(5004), "239.1.2.3:5004".parse().unwrap());
        assert_eq!(plan("[ff02::1]:6000", &[]).unwrap().address(5004), "[ff02::1]:6000".parse().unwrap());
    }

    #[test]
    fn what_is_no_plan_has_a_reason() {
        for (target, option, why) in [
            ("nowhere", ("rate", "1"), "'nowhere' is not the address"),
            ("239.1.2.3:0", ("rate", "1"), "from 1 to 65535"),
            ("0.0.0.0", ("rate", "1"), "nobody's address"),
            ("239.1.2.3", ("rate", "0"), "rate is a number from 1 to 1000000"),
            ("239.1.2.3", ("rate", "fast"), "a whole number"),
            ("239.1.2.3", ("size", "8193"), "size is a number from 0 to 8192"),
            ("239.1.2.3", ("ttl", "256"), "ttl is a number from 0 to 255"),
            ("239.1.2.3", ("loop", "yes"), "on or off"),
            ("239.1.2.3", ("file", ""), "not named"),
            ("239.1.2.3", ("speed", "1"), "'speed' is no option; there are rate=N, size=BYTES"),
        ] {
            let error = plan(target, &[option]).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
