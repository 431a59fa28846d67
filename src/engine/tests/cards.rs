//! What other cores read of connections, while their owner runs.

use super::*;
use crate::demux::directory::Reader;
use crate::device::memory;
use crate::tcp::State;

/// Notes the state on the only card, if it is a new one.
fn note(reader: &Reader, seen: &mut Vec<State>) {
    let states: Vec<_> = reader.cards().map(|card| card.state).collect();
    assert!(states.len() <= 1);
    if let Some(&state) = states.first().filter(|state| seen.last() != Some(state)) {
        seen.push(state);
    }
}

#[test]
fn a_card_follows_its_connection_to_the_end() {
    let (left, right) = memory::cable(64);
    let clock = ManualClock::default();
    clock.advance(Duration::from_secs(5));
    let mut client = engine(left, 1, Talker::new("10.0.0.2:7", vec![7; 1_000_000]));
    let mut server = engine(right, 2, Echo::default());
    let readers = [client.core.directory.reader(), server.core.directory.reader()];
    server.start(&clock);
    client.start(&clock);
    let mut seen = [vec![], vec![]];
    for _ in 0..10_000 {
        client.turn(&clock);
        note(&readers[0], &mut seen[0]);
        server.turn(&clock);
        note(&readers[1], &mut seen[1]);
        clock.advance(Duration::from_micros(10));
    }
    use State::{CloseWait, Established, FinWait1, FinWait2, LastAck, SynReceived, SynSent, TimeWait};
    assert_eq!(
        seen,
        [vec![SynSent, Established, FinWait1, FinWait2, TimeWait], vec![SynReceived, Established, CloseWait, LastAck]]
    );
    let card = readers[0].cards().next().expect("in TIME-WAIT");
    assert_eq!((card.key.remote_socket(), card.owner), ("10.0.0.2:7".parse().unwrap(), 0));
    assert_eq!(card.born.since(Instant::ZERO).as_secs(), 5, "the time of the engine");
    assert_eq!(readers[1].cards().count(), 0, "LAST-ACK is over with the last acknowledgment");
    clock.advance(2 * client.core.config.tcp.msl);
    client.turn(&clock);
    client.turn(&clock);
    assert_eq!(readers[0].cards().count(), 0);
}
