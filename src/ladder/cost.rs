//! What an exchange takes of the wire: packets by what they are for, headers, round trips, states.
//!
//! Counted from the steps of an [`Exchange`], by [`super::section`] and by reports for programs. Pure; nothing here panics.

use serde::Serialize;

use super::exchange::{Exchange, Transport};
use super::step::{End, Segment, What};
use crate::tcp::State;
use crate::wire::tcp::{self, Flags};
use crate::wire::{ethernet, ipv4, ipv6, udp};

/// What was counted. Packets that were lost count as well: they were sent.
///
/// ```
/// use ringway::ladder::cost::Cost;
/// use ringway::ladder::demo::{Scenario, play};
/// let [tcp, udp] = ["close-by-client", "udp-echo"].map(|name| Scenario::named(name).unwrap());
/// let (tcp, udp) = (Cost::of(&play(tcp)?), Cost::of(&play(udp)?));
/// assert_eq!((tcp.open, tcp.round_trips, tcp.payload_bytes), (3, Some(2), 10));
/// assert_eq!((udp.packets(), udp.round_trips, udp.payload_bytes), (2, Some(1), 10));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Packets of the handshake: those with a SYN, and an ACK alone that answers one.
    pub open: usize,
    /// Packets with payload.
    pub data: usize,
    /// Packets that only acknowledge, or only tell of an error.
    pub acknowledgments: usize,
    /// Packets of the close: FINs and resets without data, and ACKs alone of a FIN.
    pub close: usize,
    /// Bytes of headers: Ethernet, IP, and TCP with its options or UDP. Tags of VLANs are not known, nor what ICMP quotes.
    pub header_bytes: usize,
    /// Bytes of payload.
    pub payload_bytes: u64,
    /// How often one way and back had to be gone until the first byte of the answer; `None` without an answer.
    pub round_trips: Option<usize>,
    /// How many states each end was in, CLOSED and LISTEN not counted.
    pub states: [usize; 2],
    /// Which ends are left in TIME-WAIT behind the last packet.
    pub time_wait: [bool; 2],
}

impl Cost {
    /// Counts.
    pub fn of(exchange: &Exchange) -> Self {
        let mut cost = Self { round_trips: round_trips(exchange), states: states(exchange), ..Self::default() };
        // What comes behind the last packet, such as the end of TIME-WAIT, is not waited for by everybody.
        let last = exchange.steps.iter().rfind(|step| step.is_sent()).map_or([None; 2], |step| step.states);
        cost.time_wait = last.map(|state| state == Some(State::TimeWait));
        let [left, right] = End::BOTH.map(|end| has_timestamps(exchange, end));
        let stamped = left && right;
        let mut seen = [Seen::default(), Seen::default()];
        for step in &exchange.steps {
            let transport = match &step.what {
                What::Segment(segment) => {
                    let [own, peer] = [step.from, step.from.other()].map(End::index);
                    *cost.count_of(segment, &seen[own], &seen[peer]) += 1;
                    seen[own].sends(segment);
                    cost.payload_bytes += u64::from(segment.len);
                    tcp_header(segment, stamped)
                }
                What::Datagram { len } => {
                    cost.data += 1;
                    cost.payload_bytes += u64::from(*len);
                    udp::HEADER_LEN
                }
                What::Icmp { .. } => {
                    cost.acknowledgments += 1;
                    ICMP_HEADER
                }
                What::Arrival { .. } | What::TwoMsl | What::Note(_) => continue,
            };
            let network = if exchange.ends[0].is_ipv4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
            cost.header_bytes += ethernet::HEADER_LEN + network + transport;
        }
        cost
    }

    /// All packets.
    pub const fn packets(&self) -> usize {
        self.open + self.data + self.acknowledgments + self.close
    }

    /// Which of the counts a segment belongs to, by what both ends have sent before it.
    fn count_of(&mut self, segment: &Segment, own: &Seen, peer: &Seen) -> &mut usize {
        let answers_syn = own.syn && !own.more && peer.syn;
        match segment {
            _ if segment.has(Flags::SYN) => &mut self.open,
            _ if segment.len > 0 => &mut self.data,
            _ if segment.has(Flags::FIN) || segment.has(Flags::RST) => &mut self.close,
            _ if answers_syn => &mut self.open,
            _ if peer.fin.is_some_and(|end| segment.covers(end)) => &mut self.close,
            _ => &mut self.acknowledgments,
        }
    }
}

/// What an end has sent so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    syn: bool,
    /// Something else than a SYN.
    more: bool,
    /// The number behind its FIN.
    fin: Option<crate::tcp::seq::SeqNum>,
}

impl Seen {
    fn sends(&mut self, segment: &Segment) {
        self.syn |= segment.has(Flags::SYN);
        self.more |= !segment.has(Flags::SYN);
        if segment.has(Flags::FIN) {
            self.fin = Some(segment.end());
        }
    }
}

/// The header of a segment. Not every source says what options it had; timestamps are in each but resets, once both SYNs have offered them
/// (RFC 7323 3.2).
fn tcp_header(segment: &Segment, stamped: bool) -> usize {
    let mut options = segment.options;
    if stamped && !segment.has(Flags::RST) {
        options.timestamps.get_or_insert((0, 0));
    }
    tcp::header_len(&options)
}

/// True when the SYN of an end offers timestamps.
fn has_timestamps(exchange: &Exchange, end: End) -> bool {
    exchange.segments().any(|(_, from, segment)| from == end && segment.has(Flags::SYN) && segment.options.timestamps.is_some())
}

/// Each answer of the right end to something from the left one is a round trip; what follows it from the same end comes with it.
fn round_trips(exchange: &Exchange) -> Option<usize> {
    let (mut trips, mut before) = (0, End::Right);
    for step in exchange.steps.iter().filter(|step| step.is_sent()) {
        if (before, step.from) == (End::Left, End::Right) {
            trips += 1;
        }
        before = step.from;
        let payload = match &step.what {
            What::Segment(segment) => segment.len,
            What::Datagram { len } => *len,
            _ => 0,
        };
        if step.from == End::Right && payload > 0 {
            return Some(trips);
        }
    }
    None
}

fn states(exchange: &Exchange) -> [usize; 2] {
    if exchange.transport == Transport::Udp {
        return [0; 2];
    }
    End::BOTH.map(|end| {
        let mut known: Vec<State> = Vec::new();
        for state in exchange.steps.iter().filter_map(|step| step.states[end.index()]) {
            if !matches!(state, State::Closed | State::Listen) && !known.contains(&state) {
                known.push(state);
            }
        }
        known.len()
    })
}

/// Bytes in front of what an ICMP error quotes (RFC 792, RFC 4443).
const ICMP_HEADER: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::demo::{Scenario, play};

    fn of(name: &str) -> Cost {
        Cost::of(&play(Scenario::named(name).unwrap()).unwrap())
    }

    #[test]
    fn a_whole_connection_is_counted_by_what_its_packets_are_for() {
        let exchange = play(Scenario::named("close-by-client").unwrap()).unwrap();
        let cost = Cost::of(&exchange);
        assert_eq!((cost.open, cost.data, cost.close), (3, 2, 4), "{cost:?}");
        assert_eq!(cost.packets(), exchange.segments().count());
        // SYN-SENT, ESTABLISHED, FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT; SYN-RECEIVED, ESTABLISHED, CLOSE-WAIT, LAST-ACK.
        assert_eq!((cost.states, cost.time_wait), ([5, 4], [true, false]));
        let options: usize = exchange.segments().map(|(.., segment)| tcp::header_len(&segment.options)).sum();
        assert_eq!(cost.header_bytes, cost.packets() * (14 + 20) + options, "the demo knows the options of each");
    }

    #[test]
    fn what_a_recorder_left_out_of_the_options_is_added() {
        let mut exchange = play(Scenario::named("close-by-client").unwrap()).unwrap();
        let whole = Cost::of(&exchange);
        for step in &mut exchange.steps {
            if let What::Segment(segment) = &mut step.what
                && !segment.has(Flags::SYN)
            {
                segment.options.timestamps = None;
            }
        }
        assert_eq!(Cost::of(&exchange), whole);
    }

    #[test]
    fn a_datagram_and_its_answer_cost_their_headers() {
        let cost = of("udp-echo");
        let expected =
            Cost { data: 2, header_bytes: 2 * (14 + 20 + 8), payload_bytes: 10, round_trips: Some(1), ..Cost::default() };
        assert_eq!(cost, expected);
    }

    #[test]
    fn what_has_no_answer_has_no_round_trips() {
        assert_eq!(
            (of("closed-port").round_trips, of("udp-closed-port").round_trips, of("handshake").round_trips),
            (None, None, None)
        );
        let refused = of("closed-port");
        assert_eq!((refused.open, refused.close, refused.packets()), (1, 1, 2));
        assert_eq!((of("udp-closed-port").data, of("udp-closed-port").acknowledgments), (1, 1));
    }

    #[test]
    fn a_lost_segment_and_its_copy_are_both_paid_for() {
        let cost = of("loss");
        assert!(cost.payload_bytes > 10_000 && cost.acknowledgments > 3, "{cost:?}");
    }
}
