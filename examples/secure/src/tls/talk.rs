//! One TLS connection: bytes of the TCP stream in, bytes of the TCP stream out, and the echo between.
//!
//! Called by [`super::TlsEcho`]. What is encrypted leaves before anything is decrypted, and what is decrypted is echoed before anything more is: so the
//! session never holds more than a record or two each way, or the one flight of handshake it is at. Nothing here panics.

use std::io::{self, Read, Write};

use ringway::service::{Connection, Context, TimerId};
use rustls::{ProtocolVersion, ServerConnection};

use super::Totals;

/// A session and the connection it runs over.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) connection: Connection,
    /// Runs while the handshake does, and after our side is closed.
    pub(super) timer: Option<TimerId>,
    session: ServerConnection,
    phase: Phase,
    established: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Records are read.
    Reading,
    /// The client says no more, or is not to: what is decrypted is echoed, then we say so too.
    Ending,
    /// Our last record, `close_notify` or an alert, is written and has to leave.
    Leaving,
    /// Our side of the TCP connection is closed. What still comes is thrown away, so that no RST overtakes the last record.
    Closed,
}

/// What a call has come to, as far as its time is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing new.
    Same,
    /// The handshake is complete.
    Established,
    /// Our side was closed.
    Closed,
}

impl Talk {
    pub(super) fn new(connection: Connection, mut session: ServerConnection) -> Self {
        session.set_buffer_limit(Some(OUTGOING_BYTES));
        Self { connection, timer: None, session, phase: Phase::Reading, established: false }
    }

    /// Does what can be done: takes bytes from the front of `rest`, and leaves those that have to wait until the client has taken something.
    pub(super) fn go_on(&mut self, cx: &mut impl Context, rest: &mut &[u8], totals: &mut Totals) -> Next {
        let mut next = Next::Same;
        while self.flush(cx) {
            if matches!(self.phase, Phase::Reading | Phase::Ending) && self.echo(totals) {
                continue;
            }
            match self.phase {
                Phase::Reading if rest.is_empty() => break,
                Phase::Reading => {
                    self.decrypt(rest, totals);
                    if !self.established && !self.session.is_handshaking() && self.phase == Phase::Reading {
                        self.established = true;
                        totals.handshakes += 1;
                        totals.tls12 += u64::from(self.session.protocol_version() == Some(ProtocolVersion::TLSv1_2));
                        next = Next::Established;
                    }
                }
                Phase::Ending => {
                    self.session.send_close_notify();
                    self.phase = Phase::Leaving;
                }
                Phase::Leaving => {
                    cx.close(self.connection);
                    self.phase = Phase::Closed;
                    next = Next::Closed;
                }
                Phase::Closed => {
                    *rest = &[];
                    break;
                }
            }
        }
        next
    }

    /// The client's side of the TCP connection is closed. Without a `close_notify` before it anybody on the way may have cut the stream short.
    pub(super) fn stream_ended(&mut self, totals: &mut Totals) {
        if self.phase == Phase::Reading {
            totals.truncated += 1;
            self.phase = Phase::Ending;
        }
    }

    /// The session is to end.
    pub(super) fn end(&mut self) {
        if self.phase == Phase::Reading {
            self.phase = Phase::Ending;
        }
    }

    /// Hands what is encrypted to TCP. False when some is left: [`ringway::service::Service::writable`] will follow.
    fn flush(&mut self, cx: &mut impl Context) -> bool {
        let mut stream = Outgoing { cx, connection: self.connection };
        while self.session.wants_write() {
            if !matches!(self.session.write_tls(&mut stream), Ok(1..)) {
                return false;
            }
        }
        true
    }

    /// Encrypts what is decrypted. False when there is nothing.
    fn echo(&mut self, totals: &mut Totals) -> bool {
        let mut plaintext = [0; RECORD_BYTES];
        let Ok(len @ 1..) = self.session.reader().read(&mut plaintext) else { return false };
        // Nothing waits to leave when this is called, and a record is smaller than the limit: all of it is taken.
        let written = self.session.writer().write_all(&plaintext[..len]);
        debug_assert!(written.is_ok(), "a record fits into an empty buffer");
        totals.bytes += len as u64;
        true
    }

    /// Has the session take some of what arrived. On an error `rustls` has written the alert already, if one is due.
    fn decrypt(&mut self, rest: &mut &[u8], totals: &mut Totals) {
        let read = self.session.read_tls(rest).map_err(|error| rustls::Error::General(error.to_string()));
        match read.and_then(|_| self.session.process_new_packets()) {
            Ok(state) if state.peer_has_closed() => {
                totals.ended += 1;
                self.phase = Phase::Ending;
            }
            Ok(_) => {}
            Err(_) => {
                totals.failed += 1;
                self.phase = Phase::Leaving;
            }
        }
    }
}

/// The send buffer of a connection as a writer.
struct Outgoing<'a, C> {
    cx: &'a mut C,
    connection: Connection,
}

impl<C: Context> Write for Outgoing<'_, C> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.cx.send(self.connection, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Plaintext of the largest record (RFC 8446 5.1).
const RECORD_BYTES: usize = 1 << 14;
/// What may wait encrypted: a record and what lies around it.
const OUTGOING_BYTES: usize = 2 * RECORD_BYTES;
