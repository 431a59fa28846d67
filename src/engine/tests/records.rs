//! What the flight recorder keeps of a connection, at both ends.

use std::fmt::Write as _;
use std::time::Duration;

use super::pair::play;
use super::*;
use crate::device::memory;
use crate::recorder::{Kind, Record, Settings};

/// The records of an engine, one a line, with sequence numbers from the beginnings of both directions.
fn journal<S: Service>(engine: &Engine<MemoryDevice, S>) -> String {
    let records: Vec<_> = engine.core.recorder.since(0).map(|(_, record)| *record).collect();
    let is_segment = |kind| matches!(kind, Kind::Received | Kind::Sent | Kind::SentAgain);
    let first = |received: bool| {
        let is_first = |record: &&Record| is_segment(record.kind()) && (record.kind() == Kind::Received) == received;
        records.iter().find(is_first).map(|record| record.seq)
    };
    let mut lines = String::new();
    for record in &records {
        let own = record.kind() != Kind::Received;
        let (seq, ack) = (first(!own).unwrap_or_default(), first(own).unwrap_or_default());
        let _ = write!(lines, "{:>9} {:<9}", record.at.as_ns() / 1000, record.kind().name());
        if is_segment(record.kind()) {
            let acked = if record.flags.contains(crate::wire::tcp::Flags::ACK) { record.ack - ack } else { 0 };
            let _ = write!(lines, " {:<8} seq {} ack {acked} len {}", record.flags.to_string(), record.seq - seq, record.len);
        }
        if record.is_of_the_one_before() {
            lines.push('\n');
            continue;
        }
        let _ = write!(lines, "  {}", record.before());
        if record.before() != record.after() {
            let _ = write!(lines, " -> {}", record.after());
        }
        let _ = writeln!(lines, "{}", record.cause().name().map_or_else(String::new, |cause| format!("  ({cause})")));
    }
    lines
}

#[test]
fn a_whole_life_is_recorded_at_both_ends() {
    let (left, right) = memory::cable(64);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Talker::new("10.0.0.2:7", b"hello".to_vec()));
    let mut server = engine(right, 2, Echo::default());
    server.start(&clock);
    client.start(&clock);
    play(&clock, &mut client, &mut server, Duration::from_millis(1));
    clock.advance(2 * client.core.config.tcp.msl);
    play(&clock, &mut client, &mut server, Duration::from_millis(1));
    insta::assert_snapshot!(format!("client:\n{}server:\n{}", journal(&client), journal(&server)));
}

#[test]
fn a_loss_is_recorded_with_its_timeout() {
    let (left, right) = memory::cable(64);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Talker::new("10.0.0.2:7", b"hello".to_vec()));
    let mut server = engine(right, 2, Echo::default());
    server.start(&clock);
    client.start(&clock);
    // What the client sends first, the SYN among it, is lost.
    client.turn(&clock);
    server.turn(&clock);
    clock.advance(Duration::from_micros(10));
    client.turn(&clock);
    let device = &mut server.core.ports[0].device;
    let mut lost = Vec::new();
    device.receive(&mut lost, 64);
    lost.drain(..).for_each(|frame| device.recycle(frame));
    clock.advance(Duration::from_secs(1));
    play(&clock, &mut client, &mut server, Duration::from_millis(1));
    let journal = journal(&client);
    assert!(journal.contains("changed    SYN-SENT  (retransmission_timeout)"), "{journal}");
    assert_eq!(journal.matches("sent-again SYN").count(), 1, "{journal}");
    assert_eq!(client.core.counters.tcp_retransmitted, 1);
}

#[test]
fn strangers_and_what_they_are_answered_are_recorded() {
    let (left, right) = memory::cable(64);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Talker::new("10.0.0.2:9", b"hello".to_vec()));
    let mut server = engine(right, 2, Echo::default());
    server.start(&clock);
    client.start(&clock);
    play(&clock, &mut client, &mut server, Duration::from_millis(1));
    let journal = journal(&server);
    assert!(journal.contains("(tcp_port_closed)") && journal.contains("sent      RST,ACK"), "{journal}");
}

#[test]
fn without_records_nothing_is_kept() {
    let (left, right) = memory::cable(64);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Talker::new("10.0.0.2:7", b"hello".to_vec()));
    client.core.recorder = crate::recorder::Recorder::new(Settings { records: 0, udp: true });
    let mut server = engine(right, 2, Echo::default());
    server.start(&clock);
    client.start(&clock);
    play(&clock, &mut client, &mut server, Duration::from_millis(1));
    assert_eq!((client.core.recorder.written(), client.service().events.len()), (0, 3));
}
