//! What may be asked.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::demux::directory::Card;
use crate::tcp::State;

/// What is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// TCP connections.
    Connections,
    /// Listeners and UDP endpoints.
    Listeners,
    /// Counters and drops.
    Counters,
    /// The queues of the interfaces.
    Queues,
    /// Neighbours.
    Neighbors,
    /// Routes.
    Routes,
    /// The last segments and changes of state.
    Records,
    /// Frames as they come and go, until whoever asks goes away: `ringway capture`.
    Frames,
    /// What every worker has counted and timed, and its connections by state: `ringway top`.
    Figures,
    /// TCP connections that are not at rest, with their numbers: `ringway top`.
    Awake,
}

impl What {
    /// All that `ringway show` shows, by name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("connections", Self::Connections),
        ("listeners", Self::Listeners),
        ("counters", Self::Counters),
        ("queues", Self::Queues),
        ("neighbors", Self::Neighbors),
        ("routes", Self::Routes),
        ("records", Self::Records),
    ];
}

/// One question.
///
/// ```
/// use ringway::show::{Request, What};
/// let request = Request { limit: Some(3), ..Request::new(What::Connections) };
/// assert_eq!(serde_json::from_str::<Request>(&serde_json::to_string(&request)?)?, request);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What.
    pub show: What,
    /// The most rows; of [`What::Awake`] as many of each worker.
    #[serde(default)]
    pub limit: Option<u64>,
    /// Only what has this address at either end.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// Only what has this port at either end.
    #[serde(default)]
    pub port: Option<u16>,
    /// Only connections in one of these states, by their names in RFC 9293; all without any.
    #[serde(default)]
    pub state: Vec<String>,
    /// Of connections, only what the cards say: the engines are not asked. Of figures, all but the states, for which every card is looked at.
    #[serde(default)]
    pub brief: bool,
    /// Only records that are not older, in nanoseconds.
    #[serde(default)]
    pub last_ns: Option<u64>,
    /// Where to go on, one number for each worker: those that the summary of the answer before has named. Of records and of [`What::Awake`].
    #[serde(default)]
    pub from: Vec<u64>,
    /// The most bytes of a frame; all of it without.
    #[serde(default)]
    pub snap_len: Option<usize>,
}

impl Request {
    /// Everything of one kind.
    pub const fn new(show: What) -> Self {
        Self {
            show,
            limit: None,
            address: None,
            port: None,
            state: Vec::new(),
            brief: false,
            last_ns: None,
            from: Vec::new(),
            snap_len: None,
        }
    }

    /// The name that is no state, if one of them is none.
    pub fn unknown_state(&self) -> Option<&str> {
        let known = |name: &&String| State::ALL.iter().any(|state| state.name() == name.as_str());
        self.state.iter().find(|name| !known(name)).map(String::as_str)
    }

    /// True for a connection that is asked for.
    pub(super) fn wants(&self, card: &Card) -> bool {
        let in_state = self.state.is_empty() || self.state.iter().any(|name| name == card.state.name());
        in_state
            && self.wants_ends(
                &[Some(card.key.local.ip()), Some(card.key.remote.ip())],
                &[card.key.local_port, card.key.remote_port],
            )
    }

    /// True for something with these ends; no address is every address.
    pub(super) fn wants_ends(&self, addresses: &[Option<IpAddr>], ports: &[u16]) -> bool {
        let address = self.address.is_none_or(|wanted| addresses.iter().any(|own| own.is_none_or(|own| own == wanted)));
        address && self.port.is_none_or(|wanted| ports.contains(&wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demux::{FlowKey, Link, SlotId};
    use crate::time::Instant;

    fn card(state: State) -> Card {
        let key = FlowKey {
            local: "10.0.0.2".parse::<IpAddr>().unwrap().into(),
            remote: "10.0.0.1".parse::<IpAddr>().unwrap().into(),
            local_port: 80,
            remote_port: 4000,
            link: Link { interface: 0 },
        };
        Card { id: SlotId { slot: 0, generation: 0 }, key, state, owner: 0, born: Instant::ZERO }
    }

    #[test]
    fn filters_are_of_either_end_and_all_have_to_hold() {
        let any = Request::new(What::Connections);
        let card = card(State::Established);
        assert!(any.wants(&card));
        for (address, port, state, wanted) in [
            (Some("10.0.0.1"), None, None, true),
            (Some("10.0.0.2"), Some(80), Some("ESTABLISHED"), true),
            (None, Some(4000), None, true),
            (None, Some(81), None, false),
            (Some("10.0.0.3"), Some(80), None, false),
            (None, None, Some("TIME-WAIT"), false),
        ] {
            let request = Request {
                address: address.map(|text| text.parse().unwrap()),
                port,
                state: state.into_iter().map(str::to_owned).collect(),
                ..any.clone()
            };
            assert_eq!(request.wants(&card), wanted, "{request:?}");
        }
        assert!(Request { address: "10.9.9.9".parse().ok(), ..any }.wants_ends(&[None], &[7]), "at every address");
    }

    #[test]
    fn what_is_no_request_is_none() {
        for text in ["", "{}", r#"{"show":"all"}"#, r#"{"show":"queues","limit":-1}"#, r#"{"show":"queues","verbose":true}"#] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
        let request = Request { state: vec!["ESTABLISHED".into(), "OPEN".into()], ..Request::new(What::Connections) };
        assert_eq!(request.unknown_state(), Some("OPEN"));
    }
}
