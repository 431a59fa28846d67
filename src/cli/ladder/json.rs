//! Steps as JSON objects. Pure; cannot panic.

use ringway::ladder::label::Labels;
use ringway::ladder::{Exchange, Fate, What};
use ringway::tcp::State;
use serde_json::{Value, json};

/// What there is to say about the whole. How it ended is not known where packets were left out.
pub(super) fn connection(nth: usize, exchange: &Exchange, left_out: u64) -> Value {
    let states = |states: [Option<State>; 2]| states.map(|state| state.map(State::name));
    let last = if left_out > 0 { [None; 2] } else { exchange.steps.last().map_or(exchange.begin, |step| step.states) };
    json!({
        "connection": nth,
        "transport": exchange.transport.name().to_lowercase(),
        "ends": exchange.ends.map(|end| end.to_string()),
        "states_known": exchange.known,
        "states_begin": states(exchange.begin),
        "states_end": states(last),
        "packets": exchange.steps.iter().filter(|step| step.is_sent()).count(),
        "left_out": left_out,
        "steps": exchange.steps.len(),
    })
}

/// A step; `null` where a field means nothing.
pub(super) fn step(nth: usize, exchange: &Exchange, at: usize, labels: &Labels) -> Value {
    let Some(step) = exchange.steps.get(at) else { return Value::Null };
    let from = step.from.index();
    let kind = match step.what {
        What::Segment(_) => "segment",
        What::Datagram { .. } => "datagram",
        What::Icmp { .. } => "icmp",
        What::Arrival { .. } => "arrival",
        What::TwoMsl => "two_msl",
        What::Note(_) => "note",
    };
    let fate = match step.fate {
        _ if !step.is_sent() => None,
        Fate::Arrives => Some("arrives"),
        Fate::Late => Some("late"),
        Fate::Lost => Some("lost"),
    };
    let segment = step.as_segment();
    let has_length = matches!(step.what, What::Segment(_) | What::Datagram { .. });
    let sack = segment.map(|segment| {
        let blocks = segment.options.sack_blocks().iter();
        blocks.map(|it| [it.left, it.right].map(|number| labels.relative(number, 1 - from))).collect::<Vec<_>>()
    });
    let has_ack = segment.filter(|segment| segment.has(ringway::wire::tcp::Flags::ACK));
    json!({
        "connection": nth,
        "step": at,
        "at_ns": step.at.as_ns(),
        "from": exchange.ends[from].to_string(),
        "to": exchange.ends[1 - from].to_string(),
        "kind": kind,
        "what": labels.kind(step),
        "of": if let What::Arrival { of } = step.what { Some(of) } else { None },
        "fate": fate,
        "flags": segment.map(|segment| segment.flags.names().collect::<Vec<_>>()),
        "seq": segment.map(|segment| labels.relative(segment.seq, from)),
        "ack": has_ack.map(|segment| labels.relative(segment.ack, 1 - from)),
        "length_bytes": has_length.then(|| step.bytes()),
        "window_bytes": segment.map(|segment| labels.window(from, segment)),
        "mss_bytes": segment.and_then(|segment| segment.options.mss),
        "sack": sack,
        "marks": step.marks.iter().map(|mark| mark.name()).collect::<Vec<_>>(),
        "states": step.states.map(|state| state.map(State::name)),
    })
}

/// The states of both ends behind the last step, as a word.
pub(super) fn last_states(exchange: &Exchange) -> String {
    match exchange.steps.last().map_or(exchange.begin, |step| step.states) {
        [None, None] => String::new(),
        states => states.map(|state| state.map_or("?", State::name)).join(" "),
    }
}
