//! A segment as a script writes it down: to be injected, or to be expected.
//!
//! Sequence numbers are relative: 0 is the initial sequence number of whoever sends, 1 the first byte of its stream. What an expectation
//! does not say is not compared, but for flags (PSH aside), sequence number and length, which always are.

use std::fmt;
use std::ops::RangeInclusive;

use ringway::wire::tcp::Flags;

/// A segment. Made by [`syn`], [`ack`], [`data`] and their like, refined by the methods.
#[derive(Clone, Debug)]
pub(crate) struct Seg {
    pub(crate) flags: u8,
    pub(crate) seq: i64,
    pub(crate) ack: Option<i64>,
    /// Bytes of the stream; their values follow from their place in it ([`stream_byte`]).
    pub(crate) len: usize,
    pub(crate) window: Option<RangeInclusive<u16>>,
    pub(crate) urgent: u16,
    pub(crate) mss: Option<u16>,
    pub(crate) scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) sack: Vec<(i64, i64)>,
    /// Bytes of options that stand behind the others as they are; padded with zeros to whole words.
    pub(crate) raw_options: Vec<u8>,
    /// Options that an expected segment must not have.
    pub(crate) absent: Vec<Kind>,
    /// When it is expected, after what happened last.
    pub(crate) due: Due,
    /// Injected: what is wrong with it.
    pub(crate) fault: Option<Fault>,
    /// The peer's port, counted from the script's first.
    pub(crate) port: u16,
    /// Expected: SEG.SEQ is 0 itself, not the sender's initial number.
    pub(crate) number_zero: bool,
    /// Expected: SEG.SEQ is larger than said.
    pub(crate) beyond: bool,
    /// The ECN field of the IP header (RFC 3168 5): injected as it stands, expected when said.
    pub(crate) ecn: Option<u8>,
    /// Expected: the DiffServ code point of the IP header.
    pub(crate) code_point: Option<u8>,
    /// Expected: the time to live of the IP header.
    pub(crate) ttl: Option<u8>,
}

/// A timestamps option. An injected one has a value; of an expected one what is said is compared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamp {
    pub(crate) value: Option<u32>,
    /// TSecr: as a number, or as the TSval of one of the last segments, 0 the very last that had one.
    pub(crate) echo: Option<Echo>,
}

/// What TSecr holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Echo {
    /// The TSval of a segment that the stack sent: so many before the last.
    Back(usize),
    /// This number.
    Number(u32),
}

/// An option that may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Mss,
    Scale,
    SackPermitted,
    Sack,
    Timestamps,
}

/// When a segment is expected, in milliseconds after what happened last.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    /// In answer to what was done last.
    AtOnce,
    /// An acknowledgment that may wait for data to ride on: within half a second (RFC 9293 3.8.6.3).
    Delayed,
    /// By a timer.
    After(u64),
    /// By a timer whose value the specifications leave open.
    Within(u64, u64),
}

/// What is wrong with an injected segment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The checksum.
    Checksum,
    /// The checksum is the pseudo-header's sum, as if an offload were to complete it.
    ChecksumUnfilled,
    /// The data offset, in words.
    Offset(u8),
    /// Cut off after so many bytes of TCP header.
    Cut(usize),
    /// The source port is 0.
    PortZero,
    /// To the broadcast address.
    Broadcast,
}

fn seg(flags: Flags) -> Seg {
    Seg {
        flags: flags.0,
        seq: 0,
        ack: None,
        len: 0,
        window: None,
        urgent: 0,
        mss: None,
        scale: None,
        sack_permitted: false,
        stamp: None,
        sack: Vec::new(),
        raw_options: Vec::new(),
        absent: Vec::new(),
        due: Due::AtOnce,
        fault: None,
        port: 0,
        number_zero: false,
        beyond: false,
        ecn: None,
        code_point: None,
        ttl: None,
    }
}

/// `<CTL=SYN>`
pub(crate) fn syn() -> Seg {
    seg(Flags::SYN)
}

/// `<CTL=SYN,ACK>`
pub(crate) fn syn_ack() -> Seg {
    seg(Flags::SYN | Flags::ACK)
}

/// `<CTL=ACK>`
pub(crate) fn ack() -> Seg {
    seg(Flags::ACK)
}

/// `<CTL=FIN,ACK>`
pub(crate) fn fin() -> Seg {
    seg(Flags::FIN | Flags::ACK)
}

/// `<CTL=RST>`
pub(crate) fn rst() -> Seg {
    seg(Flags::RST)
}

/// `<CTL=RST,ACK>`
pub(crate) fn rst_ack() -> Seg {
    seg(Flags::RST | Flags::ACK)
}

/// Text with ACK; PSH is set where it is injected, and not looked at where it is expected.
pub(crate) fn data(len: usize) -> Seg {
    Seg { len, ..seg(Flags::ACK) }
}

/// No control bit at all.
pub(crate) fn bare() -> Seg {
    seg(Flags::default())
}

impl Seg {
    pub(crate) fn seq(self, seq: i64) -> Self {
        Self { seq, ..self }
    }

    pub(crate) fn ack(self, ack: i64) -> Self {
        Self { ack: Some(ack), ..self }
    }

    /// Text in a segment that has other control bits as well.
    pub(crate) fn len(self, len: usize) -> Self {
        Self { len, ..self }
    }

    /// The window field, as it stands on the wire.
    pub(crate) fn win(self, window: u16) -> Self {
        self.win_within(window..=window)
    }

    pub(crate) fn win_within(self, window: RangeInclusive<u16>) -> Self {
        Self { window: Some(window), ..self }
    }

    pub(crate) fn with(self, flags: Flags) -> Self {
        Self { flags: self.flags | flags.0, ..self }
    }

    pub(crate) fn urgent(self, urgent: u16) -> Self {
        Self { urgent, ..self.with(Flags::URG) }
    }

    pub(crate) fn mss(self, mss: u16) -> Self {
        Self { mss: Some(mss), ..self }
    }

    pub(crate) fn scale(self, shift: u8) -> Self {
        Self { scale: Some(shift), ..self }
    }

    pub(crate) fn sack_permitted(self) -> Self {
        Self { sack_permitted: true, ..self }
    }

    /// Timestamps with this TSval, and in TSecr the stack's latest.
    pub(crate) fn ts(self, value: u32) -> Self {
        Self { stamp: Some(Stamp { value: Some(value), echo: Some(Echo::Back(0)) }), ..self }
    }

    /// The same with the TSval of an earlier segment in TSecr: so many before the last.
    pub(crate) fn ts_echoing(self, value: u32, back: usize) -> Self {
        Self { stamp: Some(Stamp { value: Some(value), echo: Some(Echo::Back(back)) }), ..self }
    }

    /// Expected: timestamps whose TSecr is this.
    pub(crate) fn echo(self, echo: u32) -> Self {
        Self { stamp: Some(Stamp { value: None, echo: Some(Echo::Number(echo)) }), ..self }
    }

    /// A SACK block: from `left` up to, not including, `right`.
    pub(crate) fn sack(mut self, left: i64, right: i64) -> Self {
        self.sack.push((left, right));
        self
    }

    pub(crate) fn raw_options(self, bytes: &[u8]) -> Self {
        Self { raw_options: bytes.to_vec(), ..self }
    }

    pub(crate) fn without(mut self, kind: Kind) -> Self {
        self.absent.push(kind);
        self
    }

    pub(crate) fn fault(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    pub(crate) fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Expected: with the sequence number 0 itself, whatever the stack's initial one is.
    pub(crate) fn number_zero(self) -> Self {
        Self { number_zero: true, ..self }
    }

    /// Expected: with a sequence number beyond this one.
    pub(crate) fn beyond(self, seq: i64) -> Self {
        Self { seq, beyond: true, ..self }
    }

    pub(crate) fn ecn(self, ecn: u8) -> Self {
        Self { ecn: Some(ecn), ..self }
    }

    /// Expected: with this DiffServ code point.
    pub(crate) fn code_point(self, code_point: u8) -> Self {
        Self { code_point: Some(code_point), ..self }
    }

    /// Expected: with this time to live.
    pub(crate) fn ttl(self, ttl: u8) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// Expected so many milliseconds after what happened last.
    pub(crate) fn after(self, ms: u64) -> Self {
        Self { due: Due::After(ms), ..self }
    }

    /// Expected between these times after what happened last, in milliseconds.
    pub(crate) fn within(self, from_ms: u64, to_ms: u64) -> Self {
        Self { due: Due::Within(from_ms, to_ms), ..self }
    }

    /// An acknowledgment that may be delayed.
    pub(crate) fn delayed(self) -> Self {
        Self { due: Due::Delayed, ..self }
    }
}

impl fmt::Display for Seg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} seq {}", names(self.flags), self.seq)?;
        if let Some(ack) = self.ack {
            write!(f, " ack {ack}")?;
        }
        if self.len > 0 {
            write!(f, " len {}", self.len)?;
        }
        match &self.window {
            Some(window) if window.start() == window.end() => write!(f, " win {}", window.start())?,
            Some(window) => write!(f, " win {}..{}", window.start(), window.end())?,
            None => {}
        }
        if self.urgent > 0 {
            write!(f, " urg {}", self.urgent)?;
        }
        self.mss.iter().try_for_each(|mss| write!(f, " mss {mss}"))?;
        self.scale.iter().try_for_each(|shift| write!(f, " scale {shift}"))?;
        if self.sack_permitted {
            write!(f, " sackOK")?;
        }
        if let Some(stamp) = self.stamp {
            write!(f, " ts")?;
            stamp.value.iter().try_for_each(|value| write!(f, " {value}"))?;
            match stamp.echo {
                Some(Echo::Number(echo)) => write!(f, " echo {echo}")?,
                Some(Echo::Back(back)) if back > 0 => write!(f, " echo {back} back")?,
                _ => {}
            }
        }
        self.sack.iter().try_for_each(|(left, right)| write!(f, " sack {left}:{right}"))?;
        self.absent.iter().try_for_each(|kind| write!(f, " without {kind:?}"))?;
        self.fault.iter().try_for_each(|fault| write!(f, " with wrong {fault:?}"))?;
        self.ecn.iter().try_for_each(|ecn| write!(f, " ecn {ecn}"))?;
        self.code_point.iter().try_for_each(|code_point| write!(f, " code point {code_point}"))?;
        self.ttl.iter().try_for_each(|ttl| write!(f, " ttl {ttl}"))?;
        if self.port > 0 {
            write!(f, " at port +{}", self.port)?;
        }
        Ok(())
    }
}

/// Control bits by name.
pub(crate) fn names(flags: u8) -> String {
    let bits = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
    let set: Vec<_> = bits.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1).map(|(_, name)| *name).collect();
    if set.is_empty() { "none".into() } else { set.join(",") }
}

/// The byte at a place of either stream; place 1 is the first.
pub(crate) const fn stream_byte(place: i64) -> u8 {
    (place.wrapping_mul(31).wrapping_add(place >> 8)) as u8
}

/// Bytes of a stream from a place on.
pub(crate) fn stream(place: i64, len: usize) -> Vec<u8> {
    (place..).take(len).map(stream_byte).collect()
}
