//! The options of a TCP segment: kinds 0, 1, 2 (RFC 9293 3.2), 3, 8 (RFC 7323) 4, 5 (RFC 2018) and 28 (RFC 5482).
//!
//! Called by the parser and emitter of the header. They are written in the order Linux writes them, padded to words with NOP. No
//! function here panics: a length that lies ends the list.

use super::{Options, SackBlock};
use crate::tcp::seq::SeqNum;
use crate::wire::checksum;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
const USER_TIMEOUT: u8 = 28;

/// Bytes of options that are timestamps and two NOPs.
const TIMESTAMPS_ALONE: usize = 12;
/// The most bytes of options a header has room for.
pub(super) const MAX_LEN: usize = 40;

/// Reads the options. Kinds that are not known are skipped, and so are known ones of a wrong length; of a kind that comes twice the last
/// one counts.
#[inline(always)]
pub(super) fn parse(bytes: &[u8]) -> Options {
    // What nearly every segment of an established connection carries: NOP, NOP, timestamps (RFC 7323 appendix A).
    if let &[NOP, NOP, TIMESTAMPS, 10, v0, v1, v2, v3, e0, e1, e2, e3] = bytes {
        let timestamps = Some((u32::from_be_bytes([v0, v1, v2, v3]), u32::from_be_bytes([e0, e1, e2, e3])));
        return Options { timestamps, ..Options::default() };
    }
    if bytes.is_empty() {
        return Options::default();
    }
    // Taken apart, so that the usual ones are values: what another function writes lies in memory, and so would they, written piece by piece and read in
    // larger ones, for which the processor waits.
    let Options { mss, window_scale, sack_permitted, timestamps, user_timeout, sack, sack_count } = parse_any(bytes);
    Options { mss, window_scale, sack_permitted, timestamps, user_timeout, sack, sack_count }
}

#[inline(never)]
pub(super) fn parse_any(mut bytes: &[u8]) -> Options {
    let mut options = Options::default();
    while let Some((&kind, rest)) = bytes.split_first() {
        match kind {
            END => break,
            //= rfc9293#3.1
            //# There is no guarantee that senders will use this option, so receivers MUST be prepared to process options even
            //# if they do not begin on a word boundary (MUST-64).
            NOP => bytes = rest,
            _ => {
                //= rfc9293#3.1
                //# TCP implementations MUST be
                //# prepared to handle an illegal option length (e.g., zero); a
                //# suggested procedure is to reset the connection and log the error
                //# cause (MUST-7).
                // What stands before is taken and the rest ignored, as Linux does: a reset would let a stranger end connections.
                let Some((&len, _)) = rest.split_first() else { break };
                let Some((option, behind)) = bytes.split_at_checked(usize::from(len)) else { break };
                let Some(data) = option.get(2..) else { break };
                take(&mut options, kind, data);
                bytes = behind;
            }
        }
    }
    options
}

fn take(options: &mut Options, kind: u8, data: &[u8]) {
    match (kind, data) {
        //= rfc9293#3.1
        //# the following options MUST be supported (MUST-4
        (MSS, &[a, b]) => options.mss = Some(u16::from_be_bytes([a, b])),
        (WINDOW_SCALE, &[shift]) => options.window_scale = Some(shift),
        (USER_TIMEOUT, &[a, b]) => options.user_timeout = Some(u16::from_be_bytes([a, b])),
        (SACK_PERMITTED, []) => options.sack_permitted = true,
        (TIMESTAMPS, &[v0, v1, v2, v3, e0, e1, e2, e3]) => {
            options.timestamps = Some((u32::from_be_bytes([v0, v1, v2, v3]), u32::from_be_bytes([e0, e1, e2, e3])));
        }
        (SACK, data) => {
            let (blocks, rest) = data.as_chunks::<8>();
            if rest.is_empty() {
                for (block, &[l0, l1, l2, l3, r0, r1, r2, r3]) in options.sack.iter_mut().zip(blocks) {
                    let (left, right) = (u32::from_be_bytes([l0, l1, l2, l3]), u32::from_be_bytes([r0, r1, r2, r3]));
                    *block = SackBlock { left: SeqNum(left), right: SeqNum(right) };
                }
                options.sack_count = blocks.len().min(options.sack.len()) as u8;
            }
        }
        //= rfc9293#3.1
        //# A TCP implementation MUST (MUST-6) ignore without error any TCP Option it does not implement, assuming that the
        //# option has a length field.
        _ => {}
    }
}

//= rfc9293#3.1
//# The content of the header beyond the End of Option List Option MUST be header padding of zeros (MUST-69).
/// The bytes [`emit`] writes, a multiple of 4, at most 40.
#[inline]
pub(super) fn len(options: &Options) -> usize {
    let before = len_before_sack(options);
    if options.sack_count == 0 {
        return before;
    }
    let blocks = sack_blocks_that_fit(options, before).len();
    before + if blocks == 0 { 0 } else { 4 + 8 * blocks }
}

/// Writes the options to the begin of `bytes`, and returns what they add to a running checksum; nothing is written, and 0 returned, when they do not fit.
#[inline]
//= rfc9293#3.1
//# All TCP Options except End of Option List Option (EOL) and No-Operation (NOP) MUST have length fields, including all future
//# options (MUST-68)
pub(super) fn emit(bytes: &mut [u8], options: &Options) -> u64 {
    let len = len(options);
    // Timestamps alone, as on nearly every segment (RFC 7323 appendix A); with SACK-permitted they are as long.
    if let (TIMESTAMPS_ALONE, false, Some((value, echo))) = (len, options.sack_permitted, options.timestamps)
        && let Some([kind, tsval, tsecr]) = bytes.as_chunks_mut::<4>().0.first_chunk_mut::<3>()
    {
        let begin = [NOP, NOP, TIMESTAMPS, 10];
        (*kind, *tsval, *tsecr) = (begin, value.to_be_bytes(), echo.to_be_bytes());
        return u64::from(u32::from_be_bytes(begin)) + u64::from(value) + u64::from(echo);
    }
    let Some(bytes) = bytes.get_mut(..len) else { return 0 };
    let mut words = bytes.as_chunks_mut::<4>().0.iter_mut();
    let mut put = |word: [u8; 4]| {
        if let Some(place) = words.next() {
            *place = word;
        }
    };
    if let Some(mss) = options.mss {
        let [a, b] = mss.to_be_bytes();
        put([MSS, 4, a, b]);
    }
    match (options.timestamps, options.sack_permitted) {
        (Some((value, echo)), permitted) => {
            put(if permitted { [SACK_PERMITTED, 2, TIMESTAMPS, 10] } else { [NOP, NOP, TIMESTAMPS, 10] });
            put(value.to_be_bytes());
            put(echo.to_be_bytes());
        }
        (None, true) => put([NOP, NOP, SACK_PERMITTED, 2]),
        (None, false) => {}
    }
    if let Some(shift) = options.window_scale {
        put([NOP, WINDOW_SCALE, 3, shift]);
    }
    if let Some(timeout) = options.user_timeout {
        let [a, b] = timeout.to_be_bytes();
        put([USER_TIMEOUT, 4, a, b]);
    }
    let blocks = sack_blocks_that_fit(options, len_before_sack(options));
    if !blocks.is_empty() {
        put([NOP, NOP, SACK, 2 + 8 * blocks.len() as u8]);
        for block in blocks {
            put(block.left.0.to_be_bytes());
            put(block.right.0.to_be_bytes());
        }
    }
    checksum::sum(bytes, 0)
}

#[inline]
fn len_before_sack(options: &Options) -> usize {
    let mss = if options.mss.is_some() { 4 } else { 0 };
    let scale = if options.window_scale.is_some() { 4 } else { 0 };
    let stamps = match (options.timestamps, options.sack_permitted) {
        (Some(_), _) => 12,
        (None, true) => 4,
        (None, false) => 0,
    };
    let timeout = if options.user_timeout.is_some() { 4 } else { 0 };
    mss + scale + stamps + timeout
}

/// The blocks that fit behind `before` bytes of other options (at most 24): three beside timestamps alone (RFC 2018 3).
#[inline]
fn sack_blocks_that_fit(options: &Options, before: usize) -> &[SackBlock] {
    let blocks = options.sack_blocks();
    &blocks[..blocks.len().min((MAX_LEN - 4).saturating_sub(before) / 8)]
}
