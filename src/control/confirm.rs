//! Tells the kernel that a neighbour carries our packets, so that it need not ask (RFC 1122 2.3.2.1, RFC 4861 7.3.1).
//!
//! Used by the control thread for the wishes of an engine. MSG_CONFIRM with MSG_PROBE (send(2)) says so without sending anything; the sockets are
//! raw ones that receive nothing, so that they hold no port. Nothing here panics.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// A socket of each family on one interface.
#[derive(Debug)]
pub(super) struct Confirmer {
    ifindex: u32,
    v4: Option<Socket>,
    v6: Option<Socket>,
}

impl Confirmer {
    /// On an interface, in the network namespace of the calling thread. A family that the kernel does not have has no neighbours.
    pub(super) fn on(name: &str, ifindex: u32) -> Self {
        let open = |domain| {
            let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(IPPROTO_RAW))).ok()?;
            socket.bind_device(Some(name.as_bytes())).ok()?;
            socket.set_nonblocking(true).ok()?;
            Some(socket)
        };
        Self { ifindex, v4: open(Domain::IPV4), v6: open(Domain::IPV6) }
    }

    /// A neighbour carries our packets.
    pub(super) fn confirm(&self, ip: IpAddr) -> std::io::Result<()> {
        let (socket, to): (_, SockAddr) = match ip {
            IpAddr::V4(_) => (&self.v4, SocketAddr::new(ip, 0).into()),
            IpAddr::V6(ip) => {
                let scope = if ip.is_unicast_link_local() { self.ifindex } else { 0 };
                (&self.v6, SocketAddrV6::new(ip, 0, 0, scope).into())
            }
        };
        let Some(socket) = socket else { return Ok(()) };
        socket.send_to_with_flags(&[], &to, MSG_CONFIRM | MSG_PROBE).map(|_| ())
    }
}

/// It only sends (raw(7)).
const IPPROTO_RAW: i32 = 255;
/// linux/socket.h.
const MSG_CONFIRM: i32 = 0x800;
const MSG_PROBE: i32 = 0x10;
