//! The conditions of a report, from what the interfaces came to.

use ringway::launch::Ready;
use ringway::metrics::conditions::{Conditions, Side};
use ringway::settings::number::show_list;

use super::engine_args::IdleWord;

/// The conditions of a run that has one side, with its lines for people.
pub(crate) fn of_side(side: Side, notes: Vec<String>) -> Conditions {
    Conditions { sides: vec![side], notes, ..Conditions::of_this_machine() }
}

/// The conditions as text, one line each.
pub(crate) fn lines(conditions: &Conditions) -> String {
    conditions.lines().into_iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
}

/// One side, over Ringway or raw.
pub(crate) fn side(role: &str, ready: &[Ready], idle: Option<IdleWord>) -> Side {
    let idle = idle.map(|idle| match idle {
        IdleWord::Spin => "spin",
        IdleWord::Adaptive => "adaptive",
        IdleWord::Park => "park",
    });
    Side {
        role: role.to_owned(),
        cores: ready.first().map(|ready| ready.cores.clone()).unwrap_or_default(),
        idle: idle.map(str::to_owned),
        interfaces: ready.iter().map(Ready::conditions).collect(),
    }
}

/// What a reader is to be warned of.
pub(crate) fn notes(ready: &[Ready]) -> Vec<String> {
    let mut notes = Vec::new();
    for ready in ready {
        let name = &ready.interface;
        if ready.xdp == "skb" {
            notes.push(format!("{name}: XDP runs in skb mode, which is slower than native"));
        }
        if ready.partial {
            notes.push(format!("{name}: only the queues {} are served (--partial)", show_list(&ready.queues)));
        }
        if ready.pages == "ordinary" {
            notes.push(format!("{name}: frames lie on ordinary pages"));
        }
    }
    notes
}
