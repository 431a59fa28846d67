//! Initial sequence numbers and timestamp offsets (RFC 6528; RFC 7323 5.4).
//!
//! Called by the engine when it makes an [`super::Opening`]. Both are keyed hashes of the flow: an outsider cannot
//! compute them, yet for one flow they only ever go forward, which is what lets a connection follow another in TIME-WAIT
//! (RFC 6191). The secret is drawn from the operating system once per process.

use siphasher::sip::SipHasher13;

use super::seq::SeqNum;
use crate::time::Instant;

/// The initial sequence number of a flow ([`crate::demux::key::FlowKey::octets`]) at a time.
///
/// ```
/// use ringway::tcp::isn::initial_sequence;
/// use ringway::time::Instant;
/// let at = |ns| initial_sequence(&[7; 16], &[0; 40], Instant::from_ns(ns));
/// assert_eq!(at(1_000_000) - at(0), 250);
/// ```
pub fn initial_sequence(secret: &[u8; 16], flow: &[u8; 40], now: Instant) -> SeqNum {
    first_numbers(secret, flow, now).0
}

/// The initial sequence number, and what [`timestamp_offset`] gives: two halves of one hash.
pub fn first_numbers(secret: &[u8; 16], flow: &[u8; 40], now: Instant) -> (SeqNum, u32) {
    let both = hash(secret, flow, FIRST);
    //= rfc6528#3
    //# ISN = M + F(localip, localport, remoteip, remoteport, secretkey)
    //= rfc9293#3.4.1 SHLD-1
    //# A TCP implementation MUST use the above type of "clock" for clock-driven selection of initial sequence numbers (MUST-8), and
    //# SHOULD generate its initial sequence numbers with the expression:
    (SeqNum(both as u32) + (now.as_ns() / TICK_NS) as u32, (both >> 32) as u32)
}

/// What a flow adds to the millisecond clock to make TSval; the same at all times.
///
/// So TSval goes forward from one connection of a 4-tuple to the next (RFC 6191), as long as the process lives and the machine runs: the
/// clock is the machine's since it started. A new process draws a new secret, and its values have nothing to do with those before: a
/// peer's TIME-WAIT then judges a SYN by chance, refuses one in two at worst, and is over within 2 MSL. A secret kept on disk would mend that
/// and be one more thing to lose; other ports are free meanwhile.
pub fn timestamp_offset(secret: &[u8; 16], flow: &[u8; 40]) -> u32 {
    //= rfc7323#5.4
    //# A random offset may be added to the timestamp clock on a per-connection basis.  See [RFC6528], Section 3, on randomizing the
    //# initial sequence number (ISN).  The same function with a different secret key can be used to generate the per-connection
    //# timestamp offset.
    first_numbers(secret, flow, Instant::ZERO).1
}

/// Where the search for a source port begins (RFC 6056 3.3.4: a keyed hash of the addresses and the destination port, so that the ports of
/// one destination say nothing of those of another). `flow` is the key with a local port of 0.
pub fn port_offset(secret: &[u8; 16], flow: &[u8; 40]) -> u32 {
    hash(secret, flow, PORT) as u32
}

/// Which counter of source ports a destination shares with others: the second hash of RFC 6056 3.3.4. `flow` as for [`port_offset`].
pub fn port_counter(secret: &[u8; 16], flow: &[u8; 40]) -> u32 {
    hash(secret, flow, PORT_COUNTER) as u32
}

fn hash(secret: &[u8; 16], flow: &[u8; 40], purpose: u8) -> u64 {
    //= rfc9293#3.4.1
    //# F() MUST NOT be computable from the outside (MUST-9), or an attacker could still guess at sequence numbers from the ISN
    //# used for some other connection.
    let mut bytes = [purpose; 41];
    bytes[..40].copy_from_slice(flow);
    SipHasher13::new_with_key(secret).hash(&bytes)
}

/// The clock of initial sequence numbers ticks every 4 microseconds.
const TICK_NS: u64 = 4_000;
/// Keeps the hashes of a flow apart.
const FIRST: u8 = 1;
const PORT: u8 = 3;
const PORT_COUNTER: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 16] = *b"sixteen secrets!";

    //= type=test
    //= rfc9293#3.4.1 SHLD-1
    //# A TCP implementation MUST use the above type of "clock" for clock-driven selection of initial sequence numbers (MUST-8)
    //= type=test
    //= rfc6528#3
    //# where M is the 4 microsecond timer
    #[test]
    fn the_clock_ticks_every_four_microseconds_and_wraps() {
        let at = |ns| initial_sequence(&SECRET, &[1; 40], Instant::from_ns(ns));
        assert_eq!(at(3_999), at(0));
        assert_eq!(at(4_000) - at(0), 1);
        assert_eq!(at((1 << 32) * 4_000), at(0));
    }

    //= type=test
    //= rfc9293#3.4.1
    //# F() MUST NOT be computable from the outside (MUST-9)
    #[test]
    fn flows_secrets_and_purposes_give_different_numbers() {
        let now = Instant::ZERO;
        let one = initial_sequence(&SECRET, &[1; 40], now);
        assert_ne!(one, initial_sequence(&SECRET, &[2; 40], now));
        assert_ne!(one, initial_sequence(&[0; 16], &[1; 40], now));
        assert_ne!(one.0, timestamp_offset(&SECRET, &[1; 40]));
        assert_ne!(timestamp_offset(&SECRET, &[1; 40]), timestamp_offset(&SECRET, &[2; 40]));
    }
}
