//! Echo (RFC 862): what arrives goes back.
//!
//! Over UDP the received frame itself is the answer; over TCP the bytes go from the received frame into the send buffer, and
//! what does not fit stays unread, so that a client that does not read stops its own sending. Opened by
//! [`super::Catalog`]. Does not allocate and cannot panic.

use super::{Answer, Connection, Context, Datagram, Service, safe_to_answer};

/// The echo service; it has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Service for Echo {
    type Message = ();

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        let meta = datagram.meta();
        if safe_to_answer(meta.remote, meta.local, meta.to_many) {
            Answer::Reply { len: datagram.payload().len() }
        } else {
            Answer::Unsafe
        }
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        let sent = cx.send(connection, bytes);
        if sent == bytes.len() && cx.is_draining() {
            cx.close(connection);
        }
        sent
    }

    /// What has been received still goes back.
    fn drain(&mut self, cx: &mut impl Context, connection: Connection) {
        if cx.info(connection).is_none_or(|info| info.unread == 0) {
            cx.close(connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fake, datagram_from};
    use super::*;

    #[test]
    fn a_datagram_goes_back_whole() {
        let mut cx = Fake::default();
        let (answer, payload) = datagram_from(&mut Echo, &mut cx, "10.0.0.1:40000", b"hello");
        assert_eq!(answer, Answer::Reply { len: 5 });
        assert_eq!(&payload[..5], b"hello");
    }

    #[test]
    fn another_echo_is_not_answered() {
        let mut cx = Fake::default();
        assert_eq!(datagram_from(&mut Echo, &mut cx, "10.0.0.1:7", b"hello").0, Answer::Unsafe);
    }

    #[test]
    fn what_does_not_fit_stays_unread() {
        let mut cx = Fake::default();
        let connection = cx.accept(0, 3);
        assert_eq!(Echo.data(&mut cx, connection, b"hello"), 3);
        assert_eq!(cx.sent(connection), b"hel");
        cx.give_room(connection, 10);
        assert_eq!(Echo.data(&mut cx, connection, b"lo"), 2);
        assert_eq!(cx.sent(connection), b"hello");
    }

    #[test]
    fn what_was_received_before_a_stop_still_goes_back() {
        let mut cx = Fake::default();
        let (idle, busy) = (cx.accept(0, 10), cx.accept(0, 3));
        assert_eq!(Echo.data(&mut cx, busy, b"hello"), 3);
        cx.leave_unread(busy, 2);
        cx.drain(&mut Echo, idle);
        cx.drain(&mut Echo, busy);
        assert!(cx.is_closed(idle) && !cx.is_closed(busy));
        cx.give_room(busy, 1);
        assert_eq!(Echo.data(&mut cx, busy, b"lo"), 1);
        assert!(!cx.is_closed(busy));
        cx.give_room(busy, 1);
        assert_eq!(Echo.data(&mut cx, busy, b"o"), 1);
        assert_eq!((cx.sent(busy), cx.is_closed(busy)), (&b"hello"[..], true));
    }

    #[test]
    fn the_clients_end_is_answered_with_ours() {
        let mut cx = Fake::default();
        let connection = cx.accept(0, 10);
        Echo.data(&mut cx, connection, b"last");
        Echo.peer_closed(&mut cx, connection);
        assert_eq!(cx.sent(connection), b"last");
        assert!(cx.is_closed(connection));
    }
}
