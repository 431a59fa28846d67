//! The fixed header of an RTP data packet (RFC 3550 5.1): parse and emit.
//!
//! Cannot panic.

/// Length of the fixed header in bytes.
pub const HEADER_LEN: usize = 12;

/// The fields of the fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The marker bit (M); its meaning is the profile's.
    pub marker: bool,
    /// The payload type (PT), 0 to 127.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp, in units of the stream's clock.
    pub timestamp: u32,
    /// The synchronization source.
    pub ssrc: u32,
}

/// Why a datagram is no RTP data packet (RFC 3550 A.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Shorter than its header.
    Short,
    /// Another version than 2.
    Version,
    /// An RTCP packet (RFC 5761 4 tells them apart by this byte).
    Rtcp,
    /// Its CSRC list, extension or padding is longer than the packet.
    Lies,
}

impl Header {
    /// Reads the header of a packet; also gives the length of its payload.
    ///
    /// # Errors
    /// What [`Malformed`] names, in its order.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), Malformed> {
        let &[first, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3, ref rest @ ..] = bytes else {
            return Err(Malformed::Short);
        };
        //= rfc3550#A.1
        //# RTP version field must equal 2.
        if first >> 6 != VERSION {
            return Err(Malformed::Version);
        }
        //= rfc3550#A.1
        //# The payload type must be known, and in particular it must not be
        //# equal to SR or RR.
        if RTCP_TYPES.contains(&second) {
            return Err(Malformed::Rtcp);
        }
        let contributors = usize::from(first & 0x0f) * 4;
        let mut behind = rest.get(contributors..).ok_or(Malformed::Lies)?;
        if first & EXTENSION != 0 {
            let &[_, _, high, low, ref more @ ..] = behind else { return Err(Malformed::Lies) };
            behind = more.get(usize::from(u16::from_be_bytes([high, low])) * 4..).ok_or(Malformed::Lies)?;
        }
        let mut len = behind.len();
        if first & PADDING != 0 {
            //= rfc3550#A.1
            //# If the P bit is set, then the last octet of the packet must
            //# contain a valid octet count, in particular, less than the total
            //# packet length minus the header size.
            let padding = behind.last().copied().filter(|&padding| padding > 0).ok_or(Malformed::Lies)?;
            len = len.checked_sub(padding.into()).ok_or(Malformed::Lies)?;
        }
        let header = Self {
            marker: second & MARKER != 0,
            payload_type: second & !MARKER,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
        };
        Ok((header, len))
    }

    /// The header as it stands in front of the payload: without padding, extension or contributing sources.
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [i0, i1, i2, i3] = self.ssrc.to_be_bytes();
        let second = self.payload_type & !MARKER | if self.marker { MARKER } else { 0 };
        [VERSION << 6, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3]
    }
}

/// Units a second of the clock of a payload type that RFC 3551 6 assigns; of one chosen at run time, that of most video.
///
/// ```
/// use ringway::rtp::header::clock_of;
/// assert_eq!((clock_of(0), clock_of(96)), (8000, 90_000));
/// ```
pub const fn clock_of(payload_type: u8) -> u32 {
    match payload_type {
        0 | 3..=5 | 7..=9 | 12 | 13 | 15 | 18 => 8000,
        6 => 16_000,
        10 | 11 => 44_100,
        16 => 11_025,
        17 => 22_050,
        _ => CLOCK,
    }
}

/// Units a second of the clock of a payload type that nobody has assigned one.
pub const CLOCK: u32 = 90_000;
/// The first of the payload types that are chosen at run time (RFC 3551 3).
pub const DYNAMIC_TYPE: u8 = 96;
const VERSION: u8 = 2;
const PADDING: u8 = 0x20;
const EXTENSION: u8 = 0x10;
const MARKER: u8 = 0x80;
/// The second byte of RTCP packets: SR is 200, RR 201, and others follow; the range is that of RFC 5761 4.
const RTCP_TYPES: std::ops::RangeInclusive<u8> = 192..=223;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: Header =
        Header { marker: false, payload_type: 96, sequence: 0x1234, timestamp: 0x5566_7788, ssrc: 0x99aa_bbcc };

    /// A packet whose first byte is `first`, with these bytes behind the fixed header.
    fn packet(first: u8, behind: &[u8]) -> Vec<u8> {
        let mut bytes = [&HEADER.emit()[..], behind].concat();
        bytes[0] = first;
        bytes
    }

    #[test]
    fn the_header_is_that_of_the_rfc() {
        let bytes = HEADER.emit();
        assert_eq!(bytes, [0x80, 96, 0x12, 0x34, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc]);
        assert_eq!(Header::parse(&packet(0x80, b"payload")), Ok((HEADER, 7)));
        let marked = Header { marker: true, payload_type: 33, ..HEADER };
        assert_eq!(marked.emit()[1], 0x80 | 33);
        assert_eq!(Header::parse(&marked.emit()), Ok((marked, 0)));
    }

    //= type=test
    //= rfc3550#A.1
    //# The last three checks are somewhat complex and not always possible,
    //# leaving only the first two which total just a few bits.
    #[test]
    fn each_lie_is_found() {
        let long = [0; 64];
        for (bytes, expected) in [
            (vec![], Err(Malformed::Short)),
            (HEADER.emit()[..11].to_vec(), Err(Malformed::Short)),
            (packet(0x40, b""), Err(Malformed::Version)),
            (packet(0xc0, b""), Err(Malformed::Version)),
            // Contributing sources: one, and fifteen where there are sixteen words, then one too many.
            (packet(0x81, &[0; 4]), Ok(0)),
            (packet(0x8f, &long), Ok(4)),
            (packet(0x8f, &long[..59]), Err(Malformed::Lies)),
            // An extension of two words.
            (packet(0x90, &[0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9]), Ok(1)),
            (packet(0x90, &[0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7]), Err(Malformed::Lies)),
            (packet(0x90, &[0, 0, 0]), Err(Malformed::Lies)),
            // Padding: three of four bytes, all of them, more than all, none.
            (packet(0xa0, &[7, 0, 0, 3]), Ok(1)),
            (packet(0xa0, &[0, 0, 0, 4]), Ok(0)),
            (packet(0xa0, &[0, 0, 0, 5]), Err(Malformed::Lies)),
            (packet(0xa0, &[1, 1, 1, 0]), Err(Malformed::Lies)),
            (packet(0xa0, &[]), Err(Malformed::Lies)),
        ] {
            assert_eq!(Header::parse(&bytes).map(|(_, len)| len), expected, "{bytes:?}");
        }
        for (second, rtcp) in [(191, false), (200, true), (201, true), (223, true), (224, false)] {
            let mut bytes = HEADER.emit();
            bytes[1] = second;
            assert_eq!(Header::parse(&bytes) == Err(Malformed::Rtcp), rtcp, "{second}");
        }
    }

    #[test]
    fn the_clocks_are_those_of_the_profile() {
        let clocks = [0, 8, 6, 10, 16, 17, 26, 34, 96, 127].map(clock_of);
        assert_eq!(clocks, [8000, 8000, 16_000, 44_100, 11_025, 22_050, 90_000, 90_000, 90_000, 90_000]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_payload_is_longer_than_they_are(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok((header, len)) = Header::parse(&bytes) {
                prop_assert!(HEADER_LEN + len <= bytes.len());
                prop_assert_eq!(&header.emit()[1..], &bytes[1..HEADER_LEN]);
            }
        }
    }
}
