use std::time::Duration;

use clap::Parser;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::args::TopArgs;
use super::flows::{Flow, Id};
use super::sample::{Core, InState, Lost, Quantile, Rates, Sample, Timing};
use super::state::{State, Wish};
use crate::cli::args::{Cli, Command};

/// A flow that carries nothing yet.
pub(super) fn flow(local: &str, remote: &str, state: &str) -> Flow {
    Flow {
        id: Id::of_slot(0),
        state: state.to_owned(),
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
        worker: 0,
        age_ns: 1_000_000_000,
        received_bytes_per_second: None,
        acknowledged_bytes_per_second: None,
        retransmitted_per_second: None,
        receive_queue: 0,
        send_queue: 0,
        srtt_ns: None,
        congestion: "cubic".to_owned(),
        cwnd: 14_480,
    }
}

/// Two workers, four flows, one of them new, and three connections at rest.
pub(super) fn sample() -> Sample {
    let rates = Rates {
        busy_share: 0.021,
        cpu_share: 0.998,
        received_frames_per_second: 12_345.0,
        received_bytes_per_second: 1_234_567.0,
        sent_frames_per_second: 12_001.5,
        sent_bytes_per_second: 987_654.0,
        tcp_segments_per_second: 24_000.0,
        udp_datagrams_per_second: 0.0,
        drops_per_second: 3.0,
        begun_per_second: 0.25,
        ended_per_second: 0.0,
        retransmitted_per_second: 1.5,
    };
    let core = |worker, rates| Core { worker, answers: true, connections: 4, resting: 2, rates };
    let mut flows: Vec<_> = (1..=4)
        .map(|n| Flow {
            id: Id::of_slot(n),
            worker: n as usize % 2,
            ..flow("10.0.0.2:7", &format!("10.0.0.1:{}", 4000 + n), "ESTABLISHED")
        })
        .collect();
    for (flow, (received, acknowledged, srtt_ns)) in
        flows.iter_mut().zip([(60.0, 40.0, 2_000_000), (40.0, 10.0, 1_000_000), (5.0, 5.0, 3_000_000)])
    {
        flow.received_bytes_per_second = Some(received);
        flow.acknowledged_bytes_per_second = Some(acknowledged);
        flow.retransmitted_per_second = Some(0.0);
        flow.srtt_ns = Some(srtt_ns);
    }
    let timing = |name, count, [p50, p99, p999]: [Quantile; 3]| Timing { name, count, p50, p99, p999 };
    Sample {
        number: 12,
        at_seconds: 12.0,
        cores: vec![core(0, Some(rates)), core(1, Some(Rates { busy_share: 0.5, drops_per_second: 0.0, ..rates }))],
        total: Some(Rates { cpu_share: 2.0, ..rates }),
        drops: [("tcp_out_of_window", 3.0, 12), ("tcp_port_closed", 0.0, 1_234)]
            .map(|(cause, per_second, total)| Lost { cause: cause.to_owned(), per_second, total })
            .into(),
        timings: vec![
            timing("turn_ns", 380, [Quantile::AtMost(5_000), Quantile::AtMost(200_000), Quantile::Unknown]),
            timing("turn_frames", 380, [Quantile::AtMost(2), Quantile::AtMost(64), Quantile::Unknown]),
            timing("accepted_ns", 1, [Quantile::Above(10_000_000_000), Quantile::Unknown, Quantile::Unknown]),
            timing("opened_ns", 0, [Quantile::Unknown; 3]),
            timing("srtt_ns", 3, [Quantile::Is(2_000_000), Quantile::Unknown, Quantile::Unknown]),
        ],
        states: [("ESTABLISHED", 6), ("FIN-WAIT-2", 1), ("TIME-WAIT", 1)]
            .map(|(state, connections)| InState { state, connections })
            .into(),
        states_age_seconds: 0.0,
        connections: 8,
        resting: 4,
        flows,
    }
}

/// A screen that shows it.
pub(super) fn state() -> State {
    State::new(&arguments(""), "pid 4711".to_owned(), sample())
}

/// Presses keys as they are written; gives what the last one wishes for.
pub(super) fn press(state: &mut State, keys: &str) -> Wish {
    let code = |letter| match letter {
        '\n' => KeyCode::Enter,
        '\x1b' => KeyCode::Esc,
        '\x08' => KeyCode::Backspace,
        '\t' => KeyCode::Tab,
        letter => KeyCode::Char(letter),
    };
    keys.chars().map(|letter| state.key(KeyEvent::new(code(letter), KeyModifiers::NONE))).last().unwrap_or(Wish::Nothing)
}

fn read(line: &str) -> Result<TopArgs, clap::Error> {
    let cli = Cli::try_parse_from(["ringway", "top"].into_iter().chain(line.split_whitespace()))?;
    let Command::Top(args) = cli.command else { panic!("another command") };
    Ok(args)
}

fn arguments(line: &str) -> TopArgs {
    read(line).unwrap()
}

#[test]
fn the_screen_begins_as_the_options_say() {
    let args = arguments("--sort rtt --filter 4002 --interval 250ms --count 3 --flows 10 --heaviest 0");
    assert_eq!((args.count, args.flows, args.heaviest), (Some(3), 10, 0));
    let state = State::new(&args, String::new(), sample());
    assert_eq!((state.sort.name(), state.filter.text(), state.every), ("rtt", "4002", Duration::from_millis(250)));
    assert_eq!(state.flows().count(), 1);
}

#[test]
fn what_cannot_be_looked_at_is_refused_with_what_can() {
    for (line, mend) in [
        ("--interval 10ms", "--interval 100ms"),
        ("--interval 1000s", "--interval 1m"),
        ("--count 0", "--count 1"),
        ("--sort byte", "--sort bytes"),
        ("--flows 0", "--flows 1"),
        ("--flows 1G", "--flows 65536"),
        ("--pid 0", "--pid 4711"),
    ] {
        let said = read(line).unwrap_err().to_string();
        assert!(said.contains(mend), "{line}: {said}");
    }
}
