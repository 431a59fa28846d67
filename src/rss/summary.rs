//! What is known of a NIC's spread, as a report shows it.
//!
//! The hash key is not in it: whoever knows it can aim at one queue.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::spread::Spread;
use super::told::{Flow, Told};
use crate::settings::number::show_list;

/// How a NIC spreads packets over its receive queues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The hash function; `unknown` when the NIC does not tell, and then nothing else is there.
    pub function: String,
    /// What is done with both ends before: `none`, `symmetric-xor`, `symmetric-or-xor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<String>,
    /// The queues in the indirection table, `0-3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queues: Option<String>,
    /// What is hashed, by flow (`tcp4`): `2-tuple`, `4-tuple`, `unknown`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// ntuple rules, which go before the hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<u32>,
    /// Why source ports are not chosen by it; absent when they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpredictable: Option<String>,
}

impl Summary {
    /// Of a NIC that does not tell.
    pub fn unknown() -> Self {
        Self {
            function: "unknown".to_owned(),
            transform: None,
            queues: None,
            fields: BTreeMap::new(),
            rules: None,
            unpredictable: None,
        }
    }
}

impl From<&Told> for Summary {
    fn from(told: &Told) -> Self {
        let mut queues = told.table.clone();
        queues.sort_unstable();
        queues.dedup();
        let fields = Flow::ALL.map(|flow| (flow.name().to_owned(), told.fields_of(flow).to_string()));
        Self {
            function: told.function.to_string(),
            transform: Some(told.transform.to_string()),
            queues: (!queues.is_empty()).then(|| show_list(&queues)),
            fields: fields.into(),
            rules: told.rules,
            unpredictable: Spread::new(told).err().map(|why| why.to_string()),
        }
    }
}

impl fmt::Display for Summary {
    /// The part that matters to a person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        if let Some(queues) = &self.queues {
            write!(f, " to {queues}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rss::toeplitz::PUBLISHED_KEY;
    use crate::rss::{Fields, Function, Toeplitz, Transform};

    #[test]
    fn a_report_names_function_queues_and_fields_but_not_the_key() {
        let told = Told {
            function: Function::Toeplitz,
            key: Toeplitz::new(PUBLISHED_KEY),
            transform: Transform::SymmetricOrXor,
            table: vec![2, 0, 1, 2],
            fields: [Fields::FourTuple, Fields::FourTuple, Fields::TwoTuple, Fields::Unknown],
            rules: Some(1),
        };
        let summary = Summary::from(&told);
        let expected = json!({
            "function": "toeplitz",
            "transform": "symmetric-or-xor",
            "queues": "0-2",
            "fields": { "tcp4": "4-tuple", "tcp6": "4-tuple", "udp4": "2-tuple", "udp6": "unknown" },
            "rules": 1,
            "unpredictable": "1 ntuple rules go before the hash",
        });
        assert_eq!(serde_json::to_value(&summary).unwrap(), expected);
        assert_eq!(serde_json::from_value::<Summary>(expected).unwrap(), summary);
        assert_eq!(summary.to_string(), "toeplitz to 0-2");
        let without = Summary::from(&Told { table: Vec::new(), ..told });
        assert_eq!((without.queues, without.unpredictable.as_deref()), (None, Some("1 ntuple rules go before the hash")));
    }

    #[test]
    fn what_is_not_known_is_said_in_one_word() {
        let unknown = Summary::unknown();
        assert_eq!(serde_json::to_value(&unknown).unwrap(), json!({ "function": "unknown" }));
        assert_eq!(serde_json::from_value::<Summary>(json!({ "function": "unknown" })).unwrap(), unknown);
        assert_eq!(unknown.to_string(), "unknown");
    }
}
