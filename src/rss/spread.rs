//! How a NIC spreads packets, where everything about it is known.
//!
//! Made of what a driver told ([`Told`]) or refused with the reason. Values only.

use thiserror::Error;

use super::table::Table;
use super::toeplitz::Toeplitz;
use super::told::{Fields, Flow, Function, Told};
use super::tuple::{Transform, Tuple};
use crate::limits;

/// The way of a packet to its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    hash: Toeplitz,
    transform: Transform,
    table: Table,
    fields: [Fields; 4],
}

/// Why a NIC's choice of queues cannot be foretold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unpredictable {
    /// Not Toeplitz.
    #[error("the hash function is {0}")]
    Function(Function),
    /// Neither none nor one of the symmetric ones.
    #[error("the input transform is {0}")]
    Transform(Transform),
    /// No key, or a blank one.
    #[error("the hash key is not told")]
    Key,
    /// No table, or one whose length is not a power of two.
    #[error("the indirection table has {0} entries")]
    Table(usize),
    /// Of no flow is it known what is hashed.
    #[error("what is hashed is not told, or neither 2-tuple nor 4-tuple")]
    Fields,
    /// ntuple rules go before the hash.
    #[error("{0} ntuple rules go before the hash")]
    Rules(u32),
    /// There may be ntuple rules.
    #[error("the number of ntuple rules is not told")]
    UnknownRules,
}

impl Spread {
    /// The spread that a NIC told of.
    ///
    /// # Errors
    /// Something of it is missing, or has no meaning that all NICs share.
    pub fn new(told: &Told) -> Result<Self, Unpredictable> {
        match told.rules {
            Some(0) => {}
            Some(rules) => return Err(Unpredictable::Rules(rules)),
            None => return Err(Unpredictable::UnknownRules),
        }
        if told.function != Function::Toeplitz {
            return Err(Unpredictable::Function(told.function));
        }
        if matches!(told.transform, Transform::Other(_)) {
            return Err(Unpredictable::Transform(told.transform));
        }
        if told.key.is_blank() {
            return Err(Unpredictable::Key);
        }
        if Flow::ALL.iter().all(|&flow| matches!(told.fields_of(flow), Fields::Unknown | Fields::Other(_))) {
            return Err(Unpredictable::Fields);
        }
        let table = Table::new(told.table.as_slice()).ok_or(Unpredictable::Table(told.table.len()))?;
        Ok(Self { hash: told.key.clone(), transform: told.transform, table, fields: told.fields })
    }

    /// The queue that a packet arrives on; `None` when that cannot be told of such a packet.
    pub fn queue_of(&self, tuple: &Tuple) -> Option<u32> {
        let with_ports = match self.fields[Flow::of(tuple) as usize] {
            Fields::TwoTuple => false,
            Fields::FourTuple => true,
            Fields::Unknown | Fields::Other(_) => return None,
        };
        let input = tuple.input(with_ports, self.transform)?;
        self.hash.hash(input.bytes()).map(|hash| self.table.queue_of(hash))
    }

    /// Ports worth trying for a packet like this, until one of them leads it to a queue for which `is_home`: so many for each queue that is in the
    /// table; none where any port will do, where the ports do not count, or where no such queue is in it.
    pub fn tries(&self, tuple: &Tuple, is_home: impl Fn(u32) -> bool) -> usize {
        let queues = self.table.queues();
        let home = queues.iter().filter(|&&queue| is_home(queue)).count();
        let counts = self.fields[Flow::of(tuple) as usize] == Fields::FourTuple;
        if counts && 0 < home && home < queues.len() { limits::PORT_TRIES_PER_QUEUE * queues.len() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::interface::Transport;
    use crate::rss::toeplitz::PUBLISHED_KEY;

    fn told() -> Told {
        Told {
            function: Function::Toeplitz,
            key: Toeplitz::new(PUBLISHED_KEY),
            transform: Transform::None,
            table: (0..128).map(|at| at % 4).collect(),
            fields: [Fields::FourTuple, Fields::FourTuple, Fields::TwoTuple, Fields::Unknown],
            rules: Some(0),
        }
    }

    fn packet(transport: Transport, source: &str, target: &str) -> Tuple {
        Tuple { transport, source: source.parse().unwrap(), target: target.parse().unwrap() }
    }

    #[test]
    fn a_packet_goes_where_the_low_bits_of_its_hash_lead() {
        let spread = Spread::new(&told()).unwrap();
        let of = |transport, source, target| spread.queue_of(&packet(transport, source, target));
        // Seven bits of their published hashes count.
        assert_eq!(of(Transport::Tcp, "66.9.149.187:2794", "161.142.100.80:1766"), Some(0x78 % 4));
        assert_eq!(of(Transport::Tcp, "199.92.111.2:14230", "65.69.140.83:4739"), Some(0x6a % 4));
        assert_eq!(of(Transport::Tcp, "[3ffe:2501:200:1fff::7]:2794", "[3ffe:2501:200:3::1]:1766"), Some(0x3d % 4));
        assert_eq!(of(Transport::Udp, "66.9.149.187:1", "161.142.100.80:2"), Some(0x42 % 4), "by its addresses alone");
        assert_eq!(of(Transport::Udp, "[fd00::1]:1", "[fd00::2]:2"), None, "what is hashed is not told");
    }

    #[test]
    fn ports_are_tried_where_they_count_and_lead_home() {
        let spread = Spread::new(&told()).unwrap();
        let tcp = packet(Transport::Tcp, "10.0.0.1:1", "10.0.0.2:2");
        assert_eq!(spread.tries(&tcp, |queue| queue == 3), 64);
        assert_eq!(spread.tries(&tcp, |queue| queue == 4), 0, "no packet comes there");
        assert_eq!(spread.tries(&tcp, |queue| queue < 4), 0, "every packet comes home");
        assert_eq!(
            spread.tries(&packet(Transport::Udp, "10.0.0.1:1", "10.0.0.2:2"), |queue| queue == 3),
            0,
            "the ports do not count"
        );
    }

    #[test]
    fn what_is_not_understood_is_not_predicted() {
        let cases: [(Told, Unpredictable, &str); 8] = [
            (Told { rules: Some(2), ..told() }, Unpredictable::Rules(2), "2 ntuple rules go before the hash"),
            (Told { rules: None, ..told() }, Unpredictable::UnknownRules, "the number of ntuple rules is not told"),
            (Told { function: Function::Xor, ..told() }, Unpredictable::Function(Function::Xor), "the hash function is xor"),
            (
                Told { function: Function::Other(0), ..told() },
                Unpredictable::Function(Function::Other(0)),
                "the hash function is unknown",
            ),
            (
                Told { transform: Transform::Other(4), ..told() },
                Unpredictable::Transform(Transform::Other(4)),
                "the input transform is other (0x4)",
            ),
            (Told { key: Toeplitz::new([0; 40]), ..told() }, Unpredictable::Key, "the hash key is not told"),
            (Told { table: vec![0; 96], ..told() }, Unpredictable::Table(96), "the indirection table has 96 entries"),
            (
                Told { fields: [Fields::Unknown, Fields::Other(1 << 4), Fields::Unknown, Fields::Unknown], ..told() },
                Unpredictable::Fields,
                "what is hashed is not told, or neither 2-tuple nor 4-tuple",
            ),
        ];
        for (told, why, text) in cases {
            assert_eq!(Spread::new(&told), Err(why));
            assert_eq!(why.to_string(), text);
        }
        assert_eq!(Spread::new(&Told { table: Vec::new(), ..told() }), Err(Unpredictable::Table(0)));
    }

    #[test]
    fn a_key_too_short_for_ipv6_still_serves_ipv4() {
        let spread = Spread::new(&Told { key: Toeplitz::new(&PUBLISHED_KEY[..16]), ..told() }).unwrap();
        assert_eq!(spread.queue_of(&packet(Transport::Tcp, "66.9.149.187:2794", "161.142.100.80:1766")), Some(0));
        assert_eq!(spread.queue_of(&packet(Transport::Tcp, "[fd00::1]:1", "[fd00::2]:2")), None);
    }
}
