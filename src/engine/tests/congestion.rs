//! Which congestion control a connection has, by whoever chose last: the setting, the listener, the connect call.

use super::*;
use crate::device::memory;
use crate::service::Info;
use crate::tcp::congestion::Algorithm;

/// Opens what it is told to and remembers what it learns of each connection.
#[derive(Default)]
struct Chooser {
    listeners: Vec<(u16, Option<Algorithm>)>,
    connects: Vec<(u16, Option<Algorithm>)>,
    seen: Vec<Info>,
}

impl Service for Chooser {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        for &(port, congestion) in &self.listeners {
            cx.listen(port.into(), Listen { congestion, ..Listen::default() }).unwrap();
        }
        for &(port, congestion) in &self.connects {
            cx.connect(([10, 0, 0, 2], port).into(), Connect { congestion, ..Connect::default() }).unwrap();
        }
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        self.seen.extend(cx.info(connection));
    }
}

#[test]
fn congestion_control_is_chosen_by_setting_listener_and_connection() {
    let (left, right) = memory::cable(64);
    let clock = ManualClock::default();
    let choices = [(7, None), (8, Some(Algorithm::Bbr)), (9, Some(Algorithm::Reno))];
    let mut client = engine(left, 1, Chooser { connects: choices.to_vec(), ..Chooser::default() });
    let mut server = engine(right, 2, Chooser { listeners: choices.to_vec(), ..Chooser::default() });
    server.start(&clock);
    client.start(&clock);
    for _ in 0..100 {
        client.turn(&clock);
        server.turn(&clock);
        clock.advance(Duration::from_micros(10));
    }
    let of = |seen: &[Info], port: fn(&Info) -> u16| {
        let mut chosen: Vec<_> = seen.iter().map(|info| (port(info), info.congestion)).collect();
        chosen.sort_unstable_by_key(|&(port, _)| port);
        chosen
    };
    let expected = [(7, Algorithm::Cubic), (8, Algorithm::Bbr), (9, Algorithm::Reno)];
    assert_eq!(of(&client.service().seen, |info| info.remote.port()), expected);
    assert_eq!(of(&server.service().seen, |info| info.local.port()), expected);
    assert!(client.service().seen.iter().all(|info| info.congestion_window > 1000));
}
