//! The user of an engine on the stage: does what it is told, and nothing by itself but reading, and echoing where it is asked to.
//!
//! Called by its engine. Cannot panic.

use std::net::SocketAddr;

use super::scenario::{ECHO, Order};
use crate::service::{Answer, Connect, Connection, Context, Datagram, EndpointId, Listen, Service};

/// One end's user.
#[derive(Debug)]
pub(super) struct Host {
    /// The other end; its port is that of the order.
    pub(super) peer: SocketAddr,
    /// It serves [`ECHO`].
    pub(super) serves: bool,
    /// It sends back what it reads.
    pub(super) echo: bool,
    pub(super) connection: Option<Connection>,
    pub(super) endpoint: Option<EndpointId>,
}

impl Service for Host {
    type Message = Order;

    fn start(&mut self, cx: &mut impl Context) {
        if self.serves {
            let _ = cx.listen(ECHO.into(), Listen::default());
            self.endpoint = cx.open_udp(ECHO.into()).ok();
        } else {
            self.endpoint = cx.open_udp(SPEAKS.into()).ok();
        }
    }

    fn connected(&mut self, _: &mut impl Context, connection: Connection) {
        self.connection = Some(connection);
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        if self.echo { cx.send(connection, bytes) } else { bytes.len() }
    }

    /// It is told when to close.
    fn peer_closed(&mut self, _: &mut impl Context, _: Connection) {}

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        if self.echo && self.serves { Answer::Reply { len: datagram.payload().len() } } else { Answer::Ignore }
    }

    fn message(&mut self, cx: &mut impl Context, order: Order) {
        let to = |port| SocketAddr::new(self.peer.ip(), port);
        match (order, self.connection, self.endpoint) {
            (Order::Open(port), ..) => {
                let how = Connect { source_port: Some(SPEAKS), ..Connect::default() };
                self.connection = cx.connect(to(port), how).ok();
            }
            (Order::Say(port, len), _, Some(endpoint)) => {
                let _ = cx.send_to(endpoint, to(port), &vec![b'x'; len]);
            }
            (Order::Send(len), Some(connection), _) => {
                cx.send(connection, &vec![b'x'; len]);
            }
            (Order::Close, Some(connection), _) => cx.close(connection),
            (Order::Abort, Some(connection), _) => cx.abort(connection),
            (Order::Pause, Some(connection), _) => cx.pause(connection),
            (Order::Resume, Some(connection), _) => cx.resume(connection),
            _ => {}
        }
    }
}

/// The port that the left end speaks from.
pub(super) const SPEAKS: u16 = 40_000;
