//! What a NIC tells of how it spreads packets, as it tells it: some of it may be missing, or strange.

use std::fmt;

use super::toeplitz::Toeplitz;
use super::tuple::{Transform, Tuple};
use crate::link::interface::Transport;

/// The answers of a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The hash function.
    pub function: Function,
    /// Its key; blank when the driver does not tell.
    pub key: Toeplitz,
    /// What is done with both ends before they are hashed.
    pub transform: Transform,
    /// The receive queue for each value of the low bits of a hash.
    pub table: Vec<u32>,
    /// What is hashed, by the position of the [`Flow`].
    pub fields: [Fields; 4],
    /// Rules that send packets to queues of their own (`ethtool -n`), before any hash; `None` when the driver does not tell.
    pub rules: Option<u32>,
}

/// A hash function (`ETH_RSS_HASH_*`, include/linux/ethtool.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Toeplitz.
    Toeplitz,
    /// An exclusive or of the fields, each driver's own.
    Xor,
    /// A checksum of the fields.
    Crc32,
    /// Another, by its bits; 0 when the driver does not tell.
    Other(u8),
}

/// What of the packets of a flow is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fields {
    /// Not told.
    #[default]
    Unknown,
    /// Both addresses.
    TwoTuple,
    /// Both addresses and both ports.
    FourTuple,
    /// Something else, by the bits of `RXH_*`: each NIC has its own way to hash a part.
    Other(u64),
}

/// The kinds of packets for which a NIC can hash different fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over IPv4.
    Udp4,
    /// UDP over IPv6.
    Udp6,
}

impl Flow {
    /// All of them, by position.
    pub const ALL: [Self; 4] = [Self::Tcp4, Self::Tcp6, Self::Udp4, Self::Udp6];

    /// The kind of a packet.
    pub const fn of(tuple: &Tuple) -> Self {
        match (tuple.transport, tuple.target.is_ipv4()) {
            (Transport::Tcp, true) => Self::Tcp4,
            (Transport::Tcp, false) => Self::Tcp6,
            (Transport::Udp, true) => Self::Udp4,
            (Transport::Udp, false) => Self::Udp6,
        }
    }

    /// The name that ethtool has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp4 => "tcp4",
            Self::Tcp6 => "tcp6",
            Self::Udp4 => "udp4",
            Self::Udp6 => "udp6",
        }
    }
}

impl Told {
    /// What is hashed of a flow.
    pub const fn fields_of(&self, flow: Flow) -> Fields {
        self.fields[flow as usize]
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Toeplitz => "toeplitz",
            Self::Xor => "xor",
            Self::Crc32 => "crc32",
            Self::Other(0) => "unknown",
            Self::Other(bits) => return write!(f, "other ({bits:#x})"),
        })
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::SymmetricXor => "symmetric-xor",
            Self::SymmetricOrXor => "symmetric-or-xor",
            Self::Other(bits) => return write!(f, "other ({bits:#x})"),
        })
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::TwoTuple => "2-tuple",
            Self::FourTuple => "4-tuple",
            Self::Other(0) => "none",
            Self::Other(bits) => return write!(f, "other ({bits:#x})"),
        })
    }
}
