//! By what flows are sorted. Pure; cannot panic.

use std::cmp::Ordering;

use super::flows::Flow;

/// A column, or in and out together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Bytes,
    In,
    Out,
    Rtt,
    Retransmitted,
    Queue,
    Age,
    State,
    Local,
    Remote,
}

impl Key {
    /// In the order in which a key of the keyboard goes through them.
    pub(super) const ALL: [Self; 10] = [
        Self::Bytes,
        Self::In,
        Self::Out,
        Self::Rtt,
        Self::Retransmitted,
        Self::Queue,
        Self::Age,
        Self::State,
        Self::Local,
        Self::Remote,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::In => "in",
            Self::Out => "out",
            Self::Rtt => "rtt",
            Self::Retransmitted => "retr",
            Self::Queue => "queue",
            Self::Age => "age",
            Self::State => "state",
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// The one so many steps on, round the end.
    pub(super) fn after(self, steps: isize) -> Self {
        let at = Self::ALL.iter().position(|key| *key == self).unwrap_or(0) as isize;
        Self::ALL[(at + steps).rem_euclid(Self::ALL.len() as isize) as usize]
    }

    /// The larger number first, words from A on; flows of which nothing is known yet last, either way. Between equals the peer's address decides, so that rows
    /// stay where they are.
    pub(super) fn compare(self, one: &Flow, other: &Flow, reversed: bool) -> Ordering {
        let by_number = |of: fn(&Flow) -> Option<f64>| match (of(one), of(other)) {
            (Some(one), Some(other)) if reversed => one.total_cmp(&other),
            (Some(one), Some(other)) => other.total_cmp(&one),
            (one, other) => other.is_some().cmp(&one.is_some()),
        };
        let by_word = |order: Ordering| if reversed { order.reverse() } else { order };
        let order = match self {
            Self::Bytes => by_number(Flow::bytes_per_second),
            Self::In => by_number(|flow| flow.received_bytes_per_second),
            Self::Out => by_number(|flow| flow.acknowledged_bytes_per_second),
            Self::Rtt => by_number(|flow| flow.srtt_ns.map(|ns| ns as f64)),
            Self::Retransmitted => by_number(|flow| flow.retransmitted_per_second),
            Self::Queue => by_number(|flow| Some(flow.receive_queue.saturating_add(flow.send_queue) as f64)),
            Self::Age => by_number(|flow| Some(flow.age_ns as f64)),
            Self::State => by_word(one.state.cmp(&other.state)),
            Self::Local => by_word(one.local.cmp(&other.local)),
            Self::Remote => by_word(one.remote.cmp(&other.remote)),
        };
        order.then_with(|| (one.remote, one.local, one.worker).cmp(&(other.remote, other.local, other.worker)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::tests::flow;

    #[test]
    fn keys_go_round_and_have_names() {
        for key in Key::ALL {
            assert_eq!(Key::named(key.name()), Some(key));
            assert_eq!(key.after(1).after(-1), key);
        }
        assert_eq!((Key::Bytes.after(-1), Key::Remote.after(1)), (Key::Remote, Key::Bytes));
    }

    #[test]
    fn heavy_flows_come_first_and_unknown_ones_last_either_way() {
        let [mut light, mut heavy, unknown] = [1, 2, 3].map(|n| flow("10.0.0.2:80", &format!("10.0.0.1:{n}"), "ESTABLISHED"));
        (light.received_bytes_per_second, light.acknowledged_bytes_per_second) = (Some(1.0), Some(0.0));
        (heavy.received_bytes_per_second, heavy.acknowledged_bytes_per_second) = (Some(0.0), Some(5.0));
        let mut flows = vec![&unknown, &light, &heavy];
        let ports = |flows: &[&Flow]| flows.iter().map(|flow| flow.remote.port()).collect::<Vec<_>>();
        flows.sort_by(|a, b| Key::Bytes.compare(a, b, false));
        assert_eq!(ports(&flows), [2, 1, 3]);
        flows.sort_by(|a, b| Key::Bytes.compare(a, b, true));
        assert_eq!(ports(&flows), [1, 2, 3]);
        flows.sort_by(|a, b| Key::Remote.compare(a, b, true));
        assert_eq!(ports(&flows), [3, 2, 1]);
    }
}
