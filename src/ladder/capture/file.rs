//! The packets of a pcap or pcapng file, one after the other.
//!
//! Called by [`super::Found::read`]. The crate `pcap-file` reads the containers, into a buffer of 8 MB whatever the file says; only the blocks that hold packets and
//! interfaces are looked into, and times are reckoned here, as it takes every pcapng to count nanoseconds. Nothing here panics on what a file holds.

use std::cell::Cell;
use std::io::{self, Read};

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::{ENHANCED_PACKET_BLOCK, PACKET_BLOCK, SIMPLE_PACKET_BLOCK};
use pcap_file::pcapng::{PcapNgReader, RawBlock};
use pcap_file::{Endianness, PcapError, TsResolution};

use crate::limits::CAPTURE_INTERFACES;
use crate::time::Instant;

/// A packet as it was captured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Captured<'a> {
    /// When, in nanoseconds since 1970.
    pub(super) at: Instant,
    /// The number of its link type.
    pub(super) link: u32,
    /// What of it was captured.
    pub(super) bytes: &'a [u8],
    /// Its length on the wire.
    pub(super) len: usize,
}

/// Hands on every packet of a file, in its order. True when the file ends in the middle of a packet, as those do whose writer was killed.
///
/// # Errors
/// It cannot be read, or is neither pcap nor pcapng, or something in it is none, or too large.
pub(super) fn each(mut file: impl Read, mut take: impl FnMut(Captured<'_>)) -> io::Result<bool> {
    let mut magic = [0; 4];
    file.read_exact(&mut magic).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => invalid("it is empty, or nearly"),
        _ => error,
    })?;
    let has_ended = Cell::new(false);
    let file = Noting { file: io::Read::chain(&magic[..], file), has_ended: &has_ended };
    let result = match magic {
        [0x0a, 0x0d, 0x0d, 0x0a] => pcapng(file, &mut take),
        [0xa1, 0xb2, 0xc3, 0xd4] | [0xd4, 0xc3, 0xb2, 0xa1] | [0xa1, 0xb2, 0x3c, 0x4d] | [0x4d, 0x3c, 0xb2, 0xa1] => {
            pcap(file, &mut take)
        }
        _ => Err(invalid("it is neither pcap nor pcapng")),
    };
    match result {
        Ok(true) if !has_ended.get() => Err(invalid("a packet or block in it is larger than 8 MB")),
        other => other,
    }
}

/// Notes whether the file has ended: the reader says the same of that and of what does not fit its buffer.
struct Noting<'a, R> {
    file: R,
    has_ended: &'a Cell<bool>,
}

impl<R: Read> Read for Noting<'_, R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(room)?;
        if count == 0 && !room.is_empty() {
            self.has_ended.set(true);
        }
        Ok(count)
    }
}

fn pcap(file: impl Read, take: &mut impl FnMut(Captured<'_>)) -> io::Result<bool> {
    let mut reader = PcapReader::new(file).map_err(of)?;
    let header = reader.header();
    let unit_ns = if header.ts_resolution == TsResolution::MicroSecond { 1000 } else { 1 };
    // The upper bits say how long a frame check sequence is.
    let link = u32::from(header.datalink) & 0x0fff_ffff;
    while let Some(packet) = reader.next_raw_packet() {
        let packet = match packet.map_err(of) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
            other => other?,
        };
        let at = u64::from(packet.ts_sec) * 1_000_000_000 + u64::from(packet.ts_frac) * unit_ns;
        take(Captured { at: Instant::from_ns(at), link, bytes: &packet.data, len: packet.orig_len as usize });
    }
    Ok(false)
}

fn pcapng(file: impl Read, take: &mut impl FnMut(Captured<'_>)) -> io::Result<bool> {
    let mut reader = PcapNgReader::new(file).map_err(of)?;
    let mut interfaces: Vec<Interface> = Vec::new();
    loop {
        let is_big = reader.section().endianness == Endianness::Big;
        let described = reader.interfaces().len();
        if described < interfaces.len() {
            interfaces.clear();
        }
        if described > CAPTURE_INTERFACES {
            return Err(invalid("it describes too many interfaces"));
        }
        let further: Vec<Interface> = reader.interfaces()[interfaces.len()..].iter().map(Interface::of).collect();
        interfaces.extend(further);
        let block = match reader.next_raw_block().map(|block| block.map_err(of)) {
            None => return Ok(false),
            Some(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
            Some(block) => block?,
        };
        if let Some(packet) = captured(&block, is_big, &interfaces) {
            take(packet);
        }
    }
}

/// The packet in a block; `None` for a block of another kind, and for one that lies.
fn captured<'a>(block: &'a RawBlock<'_>, is_big: bool, interfaces: &[Interface]) -> Option<Captured<'a>> {
    let body: &[u8] = &block.body;
    let word = |at: usize| {
        let bytes: [u8; 4] = *body.get(at..)?.first_chunk()?;
        Some(if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    match block.type_ {
        ENHANCED_PACKET_BLOCK | PACKET_BLOCK => {
            // The old packet block has a count of drops in the other half of the word.
            let id = word(0)?;
            let old = if is_big { id >> 16 } else { id & 0xffff };
            let id = if block.type_ == PACKET_BLOCK { old } else { id };
            let interface = interfaces.get(usize::try_from(id).ok()?)?;
            let units = u64::from(word(4)?) << 32 | u64::from(word(8)?);
            let captured = usize::try_from(word(12)?).ok()?;
            let bytes = body.get(20..)?.get(..captured)?;
            Some(Captured { at: interface.time(units), link: interface.link, bytes, len: word(16)? as usize })
        }
        SIMPLE_PACKET_BLOCK => {
            let interface = interfaces.first()?;
            let len = word(0)? as usize;
            let captured = len.min(body.len().saturating_sub(4)).min(interface.snap_len);
            Some(Captured { at: Instant::ZERO, link: interface.link, bytes: body.get(4..)?.get(..captured)?, len })
        }
        _ => None,
    }
}

/// What is needed of an interface's description.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u32,
    snap_len: usize,
    /// if_tsresol: a power of ten, or of two with the upper bit set. Microseconds unless it is said.
    resolution: u8,
}

impl Interface {
    fn of(block: &InterfaceDescriptionBlock<'_>) -> Self {
        let resolution = block.options.iter().find_map(|option| match option {
            InterfaceDescriptionOption::IfTsResol(resolution) => Some(*resolution),
            _ => None,
        });
        let snap_len = if block.snaplen == 0 { usize::MAX } else { block.snaplen as usize };
        Self { link: u32::from(block.linktype), snap_len, resolution: resolution.unwrap_or(6) }
    }

    /// A time in the units of the interface. What no clock shows is the beginning.
    fn time(&self, units: u64) -> Instant {
        let exponent = u32::from(self.resolution & 0x7f);
        let base: u128 = if self.resolution & 0x80 == 0 { 10 } else { 2 };
        let ns = base.checked_pow(exponent).map(|per_second| u128::from(units) * 1_000_000_000 / per_second);
        Instant::from_ns(ns.and_then(|ns| u64::try_from(ns).ok()).unwrap_or(0))
    }
}

fn of(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => invalid(&other.to_string()),
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
