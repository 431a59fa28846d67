use super::demo::{Scenario, play};
use super::text::{Look, render};
use super::{Exchange, Fate, Step};

/// What somebody who only sees the packets knows of an exchange.
fn seen_by_a_stranger(known: &Exchange) -> Exchange {
    let mut seen = Exchange::new(known.transport, known.ends[0], known.ends[1]);
    let sent = known.steps.iter().filter(|step| step.is_sent());
    seen.steps.extend(sent.map(|step| Step::new(step.at, step.from, step.what.clone())));
    seen.complete();
    seen
}

#[test]
fn states_inferred_from_the_segments_are_those_of_the_engines() {
    for scenario in Scenario::ALL.iter().filter(|scenario| !scenario.is_udp()) {
        let known = play(scenario).unwrap();
        let seen = seen_by_a_stranger(&known);
        let rows = |exchange: &Exchange| -> Vec<_> {
            let late = |step: &Step| step.fate == Fate::Late;
            exchange.steps.iter().map(|step| (step.from, step.what.clone(), step.states, late(step))).collect()
        };
        assert_eq!(seen.begin, known.begin, "{}", scenario.name);
        let look = Look { fold: super::fold::Fold::Never, ..Look::default() };
        let both = format!("{}\n{}", render(&known, &look), render(&seen, &look));
        assert!(rows(&seen) == rows(&known), "{}:\n{both}", scenario.name);
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
