use proptest::prelude::*;

use super::demo::{Scenario, play};
use super::fold::Fold;
use super::infer::EDGES;
use super::page::{self, Section};
use super::text::{Look, render, render_beside};
use super::{End, Exchange, Fate, Mark, Segment, Step, Transport, What, svg};
use crate::tcp::State;
use crate::tcp::seq::SeqNum;
use crate::tcp::state::is_edge;
use crate::time::Instant;
use crate::wire::tcp::{Flags, Options, SackBlock};

/// What somebody who only sees the packets knows of an exchange.
fn seen_by_a_stranger(known: &Exchange) -> Exchange {
    let mut seen = Exchange::new(known.transport, known.ends[0], known.ends[1]);
    let sent = known.steps.iter().filter(|step| step.is_sent());
    seen.steps.extend(sent.map(|step| Step::new(step.at, step.from, step.what.clone())));
    seen.complete();
    seen
}

fn rows(exchange: &Exchange) -> Vec<(End, What, [Option<State>; 2], Fate)> {
    exchange.steps.iter().map(|step| (step.from, step.what.clone(), step.states, step.fate)).collect()
}

fn unfolded(exchange: &Exchange) -> String {
    render(exchange, &Look { fold: Fold::Never, ..Look::default() })
}

#[test]
fn states_inferred_from_the_segments_are_those_of_the_engines() {
    for scenario in Scenario::ALL.iter().filter(|scenario| !scenario.is_udp()) {
        let known = play(scenario).unwrap();
        let seen = seen_by_a_stranger(&known);
        assert_eq!(seen.begin, known.begin, "{}", scenario.name);
        // The times of rows in which nothing is sent are not known to a stranger; everything else is, losses too.
        assert!(rows(&seen) == rows(&known), "{}:\n{}\n{}", scenario.name, unfolded(&known), unfolded(&seen));
    }
}

/// A recorder at one end: what it knows is taken, and the rest is inferred as ever.
#[test]
fn the_states_of_an_end_that_is_known_are_left_as_they_are() {
    for scenario in Scenario::ALL.iter().filter(|scenario| !scenario.is_udp() && scenario.name != "simultaneous-close") {
        for known_end in End::BOTH {
            let known = play(scenario).unwrap();
            let mut half = known.clone();
            half.known[known_end.other().index()] = false;
            half.begin[known_end.other().index()] = None;
            half.steps.retain(|step| step.is_sent() || step.what == What::TwoMsl && step.from == known_end);
            half.steps.iter_mut().for_each(|step| step.states[known_end.other().index()] = None);
            half.complete();
            assert!(rows(&half) == rows(&known), "{}:\n{}\n{}", scenario.name, unfolded(&known), unfolded(&half));
        }
    }
}

#[test]
fn every_scenario_as_text() {
    for scenario in Scenario::ALL {
        let drawn = render(&play(scenario).unwrap(), &Look::default());
        assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{drawn}");
        insta::assert_snapshot!(scenario.name, drawn);
    }
}

#[test]
fn tcp_and_udp_stand_beside_each_other_where_there_is_room() {
    let [tcp, udp] = ["closed-port", "udp-closed-port"].map(|name| play(Scenario::named(name).unwrap()).unwrap());
    let wide = render_beside(&tcp, &udp, &Look { width: 140, ..Look::default() });
    assert!(wide.lines().all(|line| line.chars().count() <= 140), "{wide}");
    insta::assert_snapshot!(wide);
    let narrow = render_beside(&tcp, &udp, &Look::default());
    assert!(narrow.contains(&render(&tcp, &Look::default())) && narrow.contains(&render(&udp, &Look::default())));
}

#[test]
fn colours_change_nothing_else() {
    let exchange = play(Scenario::named("loss").unwrap()).unwrap();
    let coloured = render(&exchange, &Look { colour: true, ..Look::default() });
    assert!(coloured.contains("\x1b[31m"), "a loss is red");
    let mut plain = String::new();
    for (nth, piece) in coloured.split("\x1b[").enumerate() {
        plain += if nth == 0 { piece } else { piece.split_once('m').map_or("", |(_, text)| text) };
    }
    let trimmed: Vec<&str> = plain.lines().map(str::trim_end).collect();
    assert_eq!(trimmed.join("\n") + "\n", render(&exchange, &Look::default()));
}

#[test]
fn the_inferred_machine_is_that_of_the_engine() {
    for &(from, cause, to) in EDGES {
        // A FIN may be the first thing that an onlooker sees behind the handshake: the engine passes through ESTABLISHED.
        let through = |middle| is_edge(from, middle) && is_edge(middle, to);
        assert!(is_edge(from, to) || through(State::Established), "{from} by {cause:?} to {to}");
    }
    for (from, to) in State::ALL.iter().flat_map(|&from| State::ALL.map(|to| (from, to))) {
        let is_drawn = EDGES.iter().any(|edge| (edge.0, edge.2) == (from, to));
        // A SYN and its acknowledgment in one segment are two causes here; FIN and its acknowledgment too.
        let in_two = (from, to) == (State::SynSent, State::Established);
        assert!(!is_edge(from, to) || is_drawn || in_two, "{from} to {to} is never drawn");
    }
}

/// Builds a list of segments for a test, a millisecond apart.
#[derive(Clone)]
struct Trace(Exchange);

impl Trace {
    fn new() -> Self {
        let (left, right) = ("10.0.0.1:40000".parse().unwrap(), "10.0.0.2:7".parse().unwrap());
        Self(Exchange::new(Transport::Tcp, left, right))
    }

    fn say(mut self, from: End, flags: Flags, seq: u32, ack: u32, len: u32) -> Self {
        let segment = Segment { seq: SeqNum(seq), ack: SeqNum(ack), flags, len, window: 1000, options: Options::default() };
        let at = Instant::from_ns(self.0.steps.len() as u64 * 1_000_000);
        self.0.steps.push(Step::segment(at, from, segment));
        self
    }

    fn open(self) -> Self {
        self.say(End::Left, Flags::SYN, 99, 0, 0).say(End::Right, SYN_ACK, 299, 100, 0).say(End::Left, Flags::ACK, 100, 300, 0)
    }

    /// The states of both ends after each step.
    fn states(mut self) -> Vec<String> {
        self.0.complete();
        let name = |state: Option<State>| state.map_or("?", State::name);
        self.0.steps.iter().map(|step| step.states.map(name).join(" ")).collect()
    }
}

const SYN_ACK: Flags = Flags(Flags::SYN.0 | Flags::ACK.0);
const FIN_ACK: Flags = Flags(Flags::FIN.0 | Flags::ACK.0);
const RST_ACK: Flags = Flags(Flags::RST.0 | Flags::ACK.0);

#[test]
fn a_syn_that_nobody_answers_says_nothing_of_the_server() {
    let states = Trace::new().say(End::Left, Flags::SYN, 99, 0, 0).say(End::Left, Flags::SYN, 99, 0, 0).states();
    assert_eq!(states, ["SYN-SENT ?", "SYN-SENT ?"]);
}

#[test]
fn a_syn_that_is_sent_again_arrived_the_second_time() {
    let again = Trace::new().say(End::Left, Flags::SYN, 99, 0, 0).open().states();
    assert_eq!(again[..3], ["SYN-SENT LISTEN", "SYN-SENT SYN-RECEIVED", "ESTABLISHED SYN-RECEIVED"]);
}

#[test]
fn the_third_segment_of_a_handshake_may_be_lost() {
    let states = Trace::new().open().say(End::Right, SYN_ACK, 299, 100, 0).say(End::Left, Flags::ACK, 100, 300, 0).states();
    let [.., third, again, last] = &states[..] else { panic!("five steps") };
    assert_eq!([third, again, last], ["ESTABLISHED SYN-RECEIVED", "ESTABLISHED SYN-RECEIVED", "ESTABLISHED ESTABLISHED"]);
}

/// RFC 9293 figure 7.
#[test]
fn both_open_at_once() {
    let states = Trace::new()
        .say(End::Left, Flags::SYN, 99, 0, 0)
        .say(End::Right, Flags::SYN, 299, 0, 0)
        .say(End::Left, SYN_ACK, 99, 300, 0)
        .say(End::Right, SYN_ACK, 299, 100, 0)
        .states();
    let expected = [
        "SYN-SENT CLOSED",
        "SYN-RECEIVED SYN-SENT",
        // The left SYN has come before it is answered, and so before what is sent in between; the acknowledgment of the right one comes behind.
        "SYN-RECEIVED SYN-RECEIVED",
        "ESTABLISHED SYN-RECEIVED",
        "ESTABLISHED ESTABLISHED",
    ];
    assert_eq!(states, expected);
}

/// A FIN behind a hole does not arrive before the hole is filled.
#[test]
fn a_fin_behind_a_hole_waits_for_what_is_missing() {
    let states = Trace::new()
        .open()
        .say(End::Left, Flags::ACK, 100, 300, 50)
        .say(End::Left, FIN_ACK, 150, 300, 50)
        .say(End::Right, Flags::ACK, 300, 100, 0)
        .say(End::Left, Flags::ACK, 100, 300, 50)
        .say(End::Right, Flags::ACK, 300, 201, 0)
        .states();
    let expected = ["FIN-WAIT-1 ESTABLISHED", "FIN-WAIT-1 ESTABLISHED", "FIN-WAIT-1 CLOSE-WAIT", "FIN-WAIT-2 CLOSE-WAIT"];
    assert_eq!(states[4..], expected);
}

#[test]
fn a_last_ack_that_is_lost_leaves_last_ack_until_the_next() {
    let states = Trace::new()
        .open()
        .say(End::Left, FIN_ACK, 100, 300, 0)
        .say(End::Right, FIN_ACK, 300, 101, 0)
        .say(End::Left, Flags::ACK, 101, 301, 0)
        .say(End::Right, FIN_ACK, 300, 101, 0)
        .say(End::Left, Flags::ACK, 101, 301, 0)
        .states();
    let expected = [
        "FIN-WAIT-1 CLOSE-WAIT",
        "TIME-WAIT LAST-ACK",
        "TIME-WAIT LAST-ACK",
        "TIME-WAIT LAST-ACK",
        "TIME-WAIT CLOSED",
        "CLOSED CLOSED",
    ];
    assert_eq!(states[3..], expected);
}

#[test]
fn a_reset_that_is_not_for_this_connection_changes_nothing() {
    let old = Trace::new().open().say(End::Right, Flags::RST, 200, 0, 0).say(End::Right, Flags::ACK, 300, 100, 0).states();
    assert_eq!(old.last().unwrap(), "ESTABLISHED ESTABLISHED");
    let new = Trace::new().open().say(End::Right, RST_ACK, 300, 100, 0).states();
    assert_eq!(new.last().unwrap(), "CLOSED CLOSED");
    // RFC 9293 3.10.7.4: a passive open goes back to where it was.
    let back = Trace::new().say(End::Left, Flags::SYN, 99, 0, 0).say(End::Right, SYN_ACK, 299, 100, 0);
    let back = back.say(End::Left, Flags::RST, 100, 0, 0).states();
    assert_eq!(back.last().unwrap(), "CLOSED LISTEN");
}

/// A client is interrupted during a download: what was under way follows its RST where the capture is near it.
#[test]
fn a_reset_comes_behind_what_the_other_end_had_sent() {
    let data = |trace: Trace, seq| trace.say(End::Right, Flags::ACK, seq, 100, 50);
    let trace = data(Trace::new().open(), 300).say(End::Left, RST_ACK, 100, 350, 0);
    let trace = data(data(trace, 350), 400).say(End::Left, Flags::RST, 100, 0, 0);
    let mut exchange = trace.0.clone();
    exchange.complete();
    let expected = ["CLOSED ESTABLISHED", "CLOSED ESTABLISHED", "CLOSED ESTABLISHED", "CLOSED CLOSED", "CLOSED CLOSED"];
    assert_eq!(trace.states()[4..], expected, "the fourth is the arrival");
    assert!(matches!(exchange.steps[7].what, What::Arrival { of: 4 }), "{:?}", exchange.steps[7]);
}

/// RFC 9293 3.10.7.4: one in the window that is not at its left edge is challenged.
#[test]
fn a_reset_that_is_challenged_changes_nothing() {
    let ahead = Trace::new().open().say(End::Right, Flags::RST, 900, 0, 0).say(End::Left, Flags::ACK, 100, 300, 0);
    let states = ahead.say(End::Right, Flags::ACK, 300, 100, 5).states();
    assert_eq!(states[3..], ["ESTABLISHED ESTABLISHED"; 3]);
}

/// RFC 9293 figure 10, with numbers such that the challenge ACK seems to acknowledge the new SYN, and such that it does not.
#[test]
fn one_side_has_crashed_and_opens_again() {
    for syn in [400, 0x8000_1000] {
        let states = Trace::new()
            .say(End::Left, Flags::SYN, syn, 0, 0)
            .say(End::Right, Flags::ACK, 300, 100, 0)
            .say(End::Left, Flags::RST, 100, 0, 0)
            .say(End::Left, Flags::SYN, syn, 0, 0)
            .say(End::Right, SYN_ACK, 7000, syn + 1, 0)
            .say(End::Left, Flags::ACK, syn + 1, 7001, 0)
            .states();
        assert_eq!(states.last().unwrap(), "ESTABLISHED ESTABLISHED", "{syn}: {states:?}");
    }
}

#[test]
fn what_begins_in_the_middle_is_taken_for_open() {
    let states = Trace::new().say(End::Left, Flags::ACK, 100, 300, 5).say(End::Right, FIN_ACK, 300, 105, 0).states();
    assert_eq!(states, ["ESTABLISHED ESTABLISHED", "CLOSE-WAIT FIN-WAIT-1"]);
}

#[test]
fn keep_alives_and_reordering_are_no_retransmissions() {
    let marks = |trace: Trace| {
        let mut exchange = trace.0;
        exchange.complete();
        exchange.steps.into_iter().map(|step| step.marks).collect::<Vec<_>>()
    };
    let open = || Trace::new().open().say(End::Left, Flags::ACK, 100, 300, 50).say(End::Right, Flags::ACK, 300, 150, 0);
    let kept = marks(open().say(End::Left, Flags::ACK, 149, 300, 0).say(End::Right, Flags::ACK, 300, 150, 0));
    assert_eq!(kept[5..], [vec![Mark::KeepAlive], vec![]]);
    let reordered = marks(open().say(End::Left, Flags::ACK, 200, 300, 50).say(End::Left, Flags::ACK, 150, 300, 50));
    assert_eq!(reordered[5..], [vec![Mark::Gap], vec![Mark::OutOfOrder]]);
    let timed_out = marks(open().say(End::Left, Flags::ACK, 150, 300, 50).say(End::Left, Flags::ACK, 150, 300, 50));
    assert_eq!(timed_out[5..], [vec![], vec![Mark::Retransmission]]);
}

#[test]
fn runs_of_data_are_folded_and_nothing_else() {
    let mut trace = Trace::new().open();
    for nth in 0..100 {
        trace = trace.say(End::Left, Flags::ACK, 100 + nth * 10, 300, 10);
        trace = trace.say(End::Right, Flags::ACK, 300, 110 + nth * 10, 0);
    }
    let mut exchange = trace.say(End::Left, FIN_ACK, 1100, 300, 0).0;
    exchange.complete();
    let folded = render(&exchange, &Look::default());
    assert!(folded.lines().count() < 15, "{folded}");
    insta::assert_snapshot!(folded);
    assert_eq!(unfolded(&exchange).lines().count(), exchange.steps.len() + 3);
}

#[test]
fn drawings_stand_alone() {
    let [tcp, udp] = ["simultaneous-close", "udp-echo"].map(|name| play(Scenario::named(name).unwrap()).unwrap());
    let drawing = svg::file(&[&tcp, &udp], svg::Look::default());
    let section = Section { title: "<script>".into(), about: "a & b".into(), exchanges: vec![&tcp, &udp] };
    let page = page::render("a \"page\"", &[section], svg::Look::default());
    // Each for a wide screen and for a narrow one.
    assert_eq!((page.matches("class=\"ladder broad\"").count(), page.matches("class=\"ladder narrow\"").count()), (2, 2));
    for (name, text) in [("drawing", &drawing), ("page", &page)] {
        for outside in ["https:", "src=", "href=", "@import", "url(", "<script", "<link", "NaN", "inf"] {
            assert!(!text.contains(outside) || outside == "inf" && name == "page", "{name}: {outside}");
        }
        for tag in ["svg", "text", "g", "style", "section", "figure", "tspan"] {
            let opened = text.matches(&format!("<{tag}>")).count() + text.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, text.matches(&format!("</{tag}>")).count(), "{name}: {tag}");
        }
    }
    // Both FINs cross: the arrow of one goes to where it arrives, below the other's.
    assert_eq!(drawing.matches("class=\"head").count(), 7 + 2);
}

prop_compose! {
    fn segments()(
        left in any::<bool>(), flags in any::<u8>(), seq in 0u32..12, ack in 0u32..12, len in 0u32..4, window in 0u16..3,
        wild in prop::option::of((any::<u32>(), any::<u32>(), any::<u32>())), sack in prop::option::of((0u32..12, 0u32..12)), gap in 0u64..3,
    ) -> (u64, End, Segment) {
        let mut options = Options { window_scale: Some(flags), ..Options::default() };
        if let Some((left, right)) = sack {
            options.sack[0] = SackBlock { left: SeqNum(left), right: SeqNum(right) };
            options.sack_count = 1;
        }
        let (seq, ack, len) = wild.unwrap_or((seq, ack, len));
        let from = if left { End::Left } else { End::Right };
        (gap, from, Segment { seq: SeqNum(seq), ack: SeqNum(ack), flags: Flags(flags), len, window, options })
    }
}

proptest! {
    #[test]
    fn no_list_of_segments_makes_it_panic_or_draw_too_wide(list in prop::collection::vec(segments(), 0..60), known in any::<bool>()) {
        let mut exchange = Trace::new().0;
        let mut at = Instant::ZERO;
        exchange.known[1] = known;
        for (gap, from, segment) in list {
            at = at.after_ns(gap * 1_000_000);
            exchange.steps.push(Step::segment(at, from, segment));
        }
        let sent = exchange.steps.len();
        exchange.complete();
        prop_assert_eq!(exchange.steps.iter().filter(|step| step.is_sent()).count(), sent, "nothing is left out");
        for fold in [Fold::Always, Fold::Never] {
            let drawn = render(&exchange, &Look { fold, ..Look::default() });
            prop_assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{}", drawn);
            let drawing = svg::file(&[&exchange], svg::Look { fold, ..svg::Look::default() });
            prop_assert!(!drawing.contains("NaN"));
        }
    }
}
