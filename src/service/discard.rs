//! Discard (RFC 863): what arrives is thrown away and nothing is ever sent.
//!
//! Opened by [`super::Catalog`]. It measures how fast a stream can be received. Does not allocate and cannot panic.

use super::Service;

/// The discard service: the defaults of [`Service`], which ignore datagrams, take all data and close after the peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl Service for Discard {
    type Message = ();
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fake, datagram_from};
    use super::*;
    use crate::service::Answer;

    #[test]
    fn everything_is_taken_and_nothing_sent() {
        let mut cx = Fake::default();
        assert_eq!(datagram_from(&mut Discard, &mut cx, "10.0.0.1:40000", b"hello").0, Answer::Ignore);
        let connection = cx.accept(0, 100);
        assert_eq!(Discard.data(&mut cx, connection, b"hello"), 5);
        Discard.peer_closed(&mut cx, connection);
        assert_eq!(cx.sent(connection), b"");
        assert!(cx.is_closed(connection));
    }
}
