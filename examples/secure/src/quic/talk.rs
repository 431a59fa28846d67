//! One QUIC connection: its streams, each echoed as far as the client takes the echo, and what it wants to send.
//!
//! Called by [`super::QuicEcho`]. Of each stream one piece is read at a time, and the next when that one is written; so a client that does not take the
//! echo uses up its window and has to wait. Nothing here panics.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::{Buf, Bytes};
use quinn_proto::{
    Connection, ConnectionError, ConnectionHandle, Dir, Endpoint, Event, ReadError, StreamEvent, StreamId, Transmit, VarInt,
    WriteError,
};
use ringway::service::{Context, TimerId};
use ringway::time;

use super::Totals;

/// A connection.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) connection: Connection,
    /// The timer and when it expires.
    pub(super) armed: Option<(TimerId, time::Instant)>,
    streams: BTreeMap<StreamId, Echo>,
    /// A datagram for which there was no frame.
    waiting: Option<(Transmit, Vec<u8>)>,
}

/// A stream that is being echoed.
#[derive(Debug, Default)]
struct Echo {
    /// What was read and not yet written.
    piece: Bytes,
    /// The client has said everything.
    ended: bool,
}

/// When a connection wants to be looked at again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Again {
    /// When there are frames again.
    Blocked,
    /// Soon: it has more to send.
    More,
    /// When something is due.
    Deadline(Option<Instant>),
}

impl Talk {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, armed: None, streams: BTreeMap::new(), waiting: None }
    }

    /// True when nothing more is to be done, nor waited for.
    pub(super) fn is_over(&self) -> bool {
        self.connection.is_drained()
    }

    /// Ends it: the client is told with the next datagram.
    pub(super) fn close(&mut self, now: Instant, why: &'static [u8]) {
        self.connection.close(now, VarInt::from_u32(0), Bytes::from_static(why));
    }

    /// What has happened to it.
    pub(super) fn hear(&mut self, totals: &mut Totals) {
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => totals.handshakes += 1,
                Event::Stream(StreamEvent::Opened { dir: Dir::Bi }) => {
                    while let Some(id) = self.connection.streams().accept(Dir::Bi) {
                        self.streams.insert(id, Echo::default());
                        self.echo(id, totals);
                    }
                }
                Event::Stream(StreamEvent::Readable { id } | StreamEvent::Writable { id }) => self.echo(id, totals),
                Event::Stream(StreamEvent::Stopped { id, error_code }) => self.stop(id, error_code),
                Event::ConnectionLost { reason } => {
                    totals.lost += u64::from(!matches!(reason, ConnectionError::ApplicationClosed(_)));
                    self.streams.clear();
                }
                _ => {}
            }
        }
    }

    /// What the endpoint has to know of it: identifiers that are needed, or that it is over.
    pub(super) fn tell_endpoint(&mut self, handle: ConnectionHandle, endpoint: &mut Endpoint) {
        while let Some(event) = self.connection.poll_endpoint_events() {
            if let Some(event) = endpoint.handle_event(handle, event) {
                self.connection.handle_event(event);
            }
        }
    }

    /// Sends what may be sent now, by `send`, which says whether there was a frame for it.
    pub(super) fn send(&mut self, now: Instant, buffer: &mut Vec<u8>, mut send: impl FnMut(&Transmit, &[u8]) -> bool) -> Again {
        if let Some((transmit, payload)) = self.waiting.take()
            && !send(&transmit, &payload)
        {
            self.waiting = Some((transmit, payload));
            return Again::Blocked;
        }
        for _ in 0..BURST {
            buffer.clear();
            let Some(transmit) = self.connection.poll_transmit(now, 1, buffer) else {
                return Again::Deadline(self.connection.poll_timeout());
            };
            let Some(payload) = buffer.get(..transmit.size) else { continue };
            if !send(&transmit, payload) {
                self.waiting = Some((transmit, payload.to_vec()));
                return Again::Blocked;
            }
        }
        Again::More
    }

    /// Sees to it that the timer expires at a time at the latest. It may be set for earlier, and is then set anew when it expires: most
    /// deadlines move on with each packet, and cost no timer.
    pub(super) fn arm(&mut self, cx: &mut impl Context, at: time::Instant, handle: ConnectionHandle) {
        match self.armed {
            Some((_, armed)) if armed <= at => return,
            Some((timer, _)) => cx.cancel_timer(timer),
            None => {}
        }
        self.armed = cx.set_timer(at, handle.0 as u64).ok().map(|timer| (timer, at));
    }

    /// Echoes a stream as far as it goes.
    fn echo(&mut self, id: StreamId, totals: &mut Totals) {
        let Some(echo) = self.streams.get_mut(&id) else { return };
        loop {
            if !echo.piece.is_empty() {
                match self.connection.send_stream(id).write(&echo.piece) {
                    Ok(written) => {
                        totals.bytes += written as u64;
                        echo.piece.advance(written);
                        continue;
                    }
                    Err(WriteError::Blocked) => return,
                    Err(WriteError::Stopped(code)) => return self.stop(id, code),
                    Err(WriteError::ClosedStream) => break,
                }
            }
            if echo.ended {
                totals.streams += 1;
                // It fails where the client has just said that it reads no more: it gets none either way.
                let _ = self.connection.send_stream(id).finish();
                break;
            }
            let mut stream = self.connection.recv_stream(id);
            let Ok(mut pieces) = stream.read(true) else { break };
            match pieces.next(PIECE_BYTES) {
                Ok(Some(piece)) => echo.piece = piece.bytes,
                Ok(None) => echo.ended = true,
                Err(ReadError::Blocked) => return,
                Err(ReadError::Reset(code)) => {
                    drop(pieces);
                    // What the client has taken back is not echoed further.
                    let _ = self.connection.send_stream(id).reset(code);
                    break;
                }
            }
        }
        self.streams.remove(&id);
    }

    /// The client reads no more of a stream: nothing more is read of it either. Either side may be closed already.
    fn stop(&mut self, id: StreamId, code: VarInt) {
        if self.streams.remove(&id).is_some() {
            let _ = self.connection.send_stream(id).reset(code);
            let _ = self.connection.recv_stream(id).stop(code);
        }
    }
}

/// Bytes that are read of a stream at once.
const PIECE_BYTES: usize = 16 << 10;
/// Datagrams that a connection sends in one go.
const BURST: usize = 32;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quinn_proto::crypto::rustls::QuicClientConfig;
    use quinn_proto::{ClientConfig, EndpointConfig};

    use super::*;
    use crate::identity;

    /// A connection that wants to send: a client's, which greets the server.
    fn greeting(now: Instant) -> Talk {
        let tls = rustls::ClientConfig::builder_with_provider(identity::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        let (_, connection) = endpoint.connect(now, config, "10.0.0.2:4433".parse().unwrap(), "10.0.0.2").unwrap();
        Talk::new(connection)
    }

    #[test]
    fn what_found_no_frame_waits_and_goes_first() {
        let (now, mut buffer) = (Instant::now(), Vec::new());
        let mut talk = greeting(now);
        let mut refused = Vec::new();
        for _ in 0..3 {
            let again = talk.send(now, &mut buffer, |_, payload| {
                refused.push(payload.to_vec());
                false
            });
            assert!(matches!(again, Again::Blocked));
        }
        let mut sent = Vec::new();
        let again = talk.send(now, &mut buffer, |_, payload| {
            sent.push(payload.to_vec());
            true
        });
        assert!(matches!(again, Again::Deadline(Some(_))), "to greet again, if nobody answers");
        assert_eq!((refused.len(), sent.len()), (3, 1));
        assert!(refused.iter().all(|payload| payload == &sent[0]) && sent[0].len() >= 1200);
    }
}
