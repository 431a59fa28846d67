//! Claimed ports, held in the kernel while Ringway serves them.
//!
//! Called by the set-up of a port claim, before any socket is bound to a queue; dropped after the program is detached. Each
//! (address, port) is a kernel socket with a filter that drops everything, so that nobody else can take the port, `ss -l` shows who holds it, and a
//! claimed frame that XDP had to pass is swallowed instead of answered with RST or ICMP. The filter is attached before the socket is bound: there is no moment
//! in which it would take anything. It serves nothing and reads nothing; nothing here panics.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::holders;
use super::rights::denied;
use crate::error::SetupError;
use crate::link::interface::{Cidr, PortClaim, Transport};

/// The kernel sockets that hold the claimed ports; dropped, the ports are free again.
#[derive(Debug, Default)]
pub struct Reservation {
    sockets: Vec<Socket>,
}

impl Reservation {
    /// Holds every port on every address, or none of them. `ifindex` is the interface the addresses are on, which a link-local one needs.
    ///
    /// # Errors
    /// A port that is in use (with the process that uses it, where that can be read), a port below 1024 without
    /// CAP_NET_BIND_SERVICE, an address that is not the kernel's, or not usable yet.
    pub fn take(ifindex: u32, addresses: &[Cidr], ports: &[PortClaim]) -> Result<Self, SetupError> {
        let mut held = Self::default();
        // Each once: the kernel may have an address under two prefixes, and a claim may be named twice.
        let mut seen = HashSet::new();
        for address in addresses.iter().map(|cidr| cidr.address) {
            for claim in ports {
                if !seen.insert((address, claim.transport.protocol(), claim.port)) {
                    continue;
                }
                let socket = hold(ifindex, address, *claim).map_err(|error| refused(address, *claim, &error))?;
                held.sockets.push(socket);
            }
        }
        Ok(held)
    }

    /// How many ports are held, each address by itself.
    pub const fn len(&self) -> usize {
        self.sockets.len()
    }

    /// True when nothing is held.
    pub const fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }
}

fn hold(ifindex: u32, address: IpAddr, claim: PortClaim) -> io::Result<Socket> {
    /// `BPF_RET | BPF_K`: keep this many bytes of the packet, none.
    const DROP_ALL: SockFilter = SockFilter::new(0x06, 0, 0, 0);
    let (kind, protocol) = match claim.transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let local = match address {
        IpAddr::V6(address) if address.is_unicast_link_local() => SocketAddrV6::new(address, claim.port, 0, ifindex).into(),
        _ => SocketAddr::new(address, claim.port),
    };
    let socket = Socket::new(Domain::for_address(local), kind, Some(protocol))?;
    socket.attach_filter(&[DROP_ALL])?;
    if claim.transport == Transport::Tcp {
        // What a former server left in TIME-WAIT must not keep the port from us; while we listen, nobody can share it.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&local.into())?;
    if claim.transport == Transport::Tcp {
        socket.listen(1)?;
    }
    Ok(socket)
}

fn refused(address: IpAddr, claim: PortClaim, error: &io::Error) -> SetupError {
    let name = match claim.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    let port = claim.port;
    let what = format!("cannot claim {name}:{port} on {address}");
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holders = holders::of_port(address, claim);
            let by = if holders.is_empty() { String::new() } else { format!(", by {}", holders.join(", ")) };
            let flag = if claim.transport == Transport::Tcp { 't' } else { 'u' };
            SetupError::environment(what, format!("the port is in use by the kernel{by}"))
                .mend(format!("stop it (ss -{flag}anp 'sport = :{port}' shows it), or claim another port"))
        }
        io::ErrorKind::AddrNotAvailable => {
            SetupError::environment(what, "the kernel has no such address, or still asks whether another station has it")
                .mend("ip address")
        }
        io::ErrorKind::PermissionDenied => {
            let error = denied(what, &[caps::Capability::CAP_NET_BIND_SERVICE]);
            match error.remedy().map(|setcap| setcap.replace("cap_net_raw,", "cap_net_bind_service,cap_net_raw,")) {
                Some(with_bind) => error.mend(with_bind),
                None => error,
            }
        }
        _ => SetupError::environment(what, error.to_string()),
    }
}
