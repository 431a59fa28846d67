//! How a NIC spreads packets over its queues, as its driver tells it over ethtool.
//!
//! Called by [`super::nic::Nic::rss`] at start. Reads the kernel's structures and nothing else; what they mean is [`crate::rss`]'s business. No answer
//! of a driver, however strange, is more than an error.

use std::io;
use std::mem;

use super::abi::{
    ETH_RSS_HASH_CRC32, ETH_RSS_HASH_TOP, ETH_RSS_HASH_XOR, ETHTOOL_GRSSH, ETHTOOL_GRXCLSRLCNT, ETHTOOL_GRXFH, EthtoolRxnfc,
    RXH_IP_BOTH, RXH_L4_BOTH, RXH_XFRM_SYM_OR_XOR, RXH_XFRM_SYM_XOR, TCP_V4_FLOW, TCP_V6_FLOW, UDP_V4_FLOW, UDP_V6_FLOW, rxfh,
};
use crate::limits;
use crate::rss::{Fields, Flow, Function, Toeplitz, Told, Transform};

/// Whoever answers for a NIC: the kernel, or in tests what a driver is known to answer.
pub(super) trait Ask {
    /// ETHTOOL_GRSSH for a table of so many entries and a key of so many bytes: `struct ethtool_rxfh`, the table, the key. With 0 and 0 the sizes that
    /// there are.
    fn rxfh(&self, table: u32, key: u32) -> io::Result<Vec<u8>>;

    /// A command that reads `struct ethtool_rxnfc`.
    fn rxnfc(&self, cmd: u32, flow_type: u32) -> io::Result<EthtoolRxnfc>;
}

/// All that the driver tells.
///
/// # Errors
/// It tells neither function, key nor table (EOPNOTSUPP), or tells them in a way that cannot be.
pub(super) fn read(nic: &impl Ask, driver: &str) -> io::Result<Told> {
    let (table, key) = sizes(&nic.rxfh(0, 0)?)?;
    if table as usize > limits::RSS_TABLE || key as usize > limits::RSS_KEY {
        return Err(nonsense("the table or the key is too long"));
    }
    let reply = nic.rxfh(table, key)?;
    let mut told = parse(&reply)?;
    add_what_is_not_said(driver, &mut told);
    told.fields =
        Flow::ALL.map(|flow| nic.rxnfc(ETHTOOL_GRXFH, flow_type(flow)).map_or(Fields::Unknown, |reply| fields(reply.data)));
    told.rules = match nic.rxnfc(ETHTOOL_GRXCLSRLCNT, 0) {
        Ok(reply) => Some(reply.rule_cnt),
        // A driver that knows no rules has none.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Some(0),
        Err(_) => None,
    };
    Ok(told)
}

/// What is known of a driver's NICs and left out of its answers. Where it is not so, the first replies show it.
fn add_what_is_not_said(driver: &str, told: &mut Told) {
    match driver {
        // Until Linux 6.15 the driver could not say it, and its NICs hashed so nevertheless (mlx5, rx_hash_symmetric in en/tir.c).
        "mlx5_core" if told.transform == Transform::None => told.transform = Transform::SymmetricOrXor,
        // The NIC takes the bytes of the key from the last to the first, as DPDK's driver says, which turns them; Linux hands them over and tells them as
        // they are, and has the hash begin at 0xffff_ffff (ena_rss_init_default and ena_set_rxfh).
        "ena" => told.key = mem::take(&mut told.key).reversed().starting_from(u32::MAX),
        _ => {}
    }
}

/// What is handed to ETHTOOL_GRSSH: the structure, with room for a table and a key.
pub(super) fn question(table: u32, key: u32) -> Vec<u8> {
    let mut bytes = vec![0; rxfh::RSS_CONFIG + 4 * table as usize + key as usize];
    for (at, value) in [(rxfh::CMD, ETHTOOL_GRSSH), (rxfh::INDIR_SIZE, table), (rxfh::KEY_SIZE, key)] {
        bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

/// Entries of the table and bytes of the key.
fn sizes(reply: &[u8]) -> io::Result<(u32, u32)> {
    Ok((number(reply, rxfh::INDIR_SIZE)?, number(reply, rxfh::KEY_SIZE)?))
}

/// Function, key, table and transform.
fn parse(reply: &[u8]) -> io::Result<Told> {
    let (table, key) = sizes(reply)?;
    let (table, key) = (table as usize, key as usize);
    let (header, config) = reply.split_at_checked(rxfh::RSS_CONFIG).ok_or_else(cut_short)?;
    let (entries, config) = config.split_at_checked(table.saturating_mul(4)).ok_or_else(cut_short)?;
    let key = config.get(..key).ok_or_else(cut_short)?;
    let (entries, _) = entries.as_chunks::<4>();
    Ok(Told {
        function: match header[rxfh::HFUNC] {
            ETH_RSS_HASH_TOP => Function::Toeplitz,
            ETH_RSS_HASH_XOR => Function::Xor,
            ETH_RSS_HASH_CRC32 => Function::Crc32,
            other => Function::Other(other),
        },
        key: Toeplitz::new(key),
        transform: match header[rxfh::INPUT_XFRM] {
            0 => Transform::None,
            RXH_XFRM_SYM_XOR => Transform::SymmetricXor,
            RXH_XFRM_SYM_OR_XOR => Transform::SymmetricOrXor,
            other => Transform::Other(other),
        },
        table: entries.iter().map(|&entry| u32::from_ne_bytes(entry)).collect(),
        fields: [Fields::Unknown; 4],
        rules: None,
    })
}

/// The `__u32` at a place.
fn number(reply: &[u8], at: usize) -> io::Result<u32> {
    let bytes = reply.get(at..).and_then(<[u8]>::first_chunk::<4>).ok_or_else(cut_short)?;
    Ok(u32::from_ne_bytes(*bytes))
}

const fn flow_type(flow: Flow) -> u32 {
    match flow {
        Flow::Tcp4 => TCP_V4_FLOW,
        Flow::Tcp6 => TCP_V6_FLOW,
        Flow::Udp4 => UDP_V4_FLOW,
        Flow::Udp6 => UDP_V6_FLOW,
    }
}

const fn fields(data: u64) -> Fields {
    const FOUR: u64 = RXH_IP_BOTH | RXH_L4_BOTH;
    match data {
        RXH_IP_BOTH => Fields::TwoTuple,
        FOUR => Fields::FourTuple,
        other => Fields::Other(other),
    }
}

fn cut_short() -> io::Error {
    nonsense("the reply is cut short")
}

fn nonsense(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests;
