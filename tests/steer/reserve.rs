//! Reservation of claimed ports, and the kernel's own addresses.

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use ringway::link::interface::Transport::{Tcp, Udp};
use ringway::steer::{Reservation, addresses};
use socket2::{Domain, Protocol, Socket, Type};

use crate::common::root;
use crate::net::{CLAIMED, CLIENT, KERNEL, OneLine as _, Pair, cidr, ip, port};

const PATIENCE: Duration = Duration::from_millis(400);

/// How the kernel answers a bind with every option that could help to share a port.
fn bind_sharing(kind: Type, protocol: Protocol, address: SocketAddr) -> std::io::Result<()> {
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    if kind == Type::STREAM { socket.listen(1) } else { Ok(()) }
}

#[test]
fn nobody_else_can_take_a_held_port_and_ss_shows_the_holder() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.server.inside(|| {
        let held = Reservation::take(pair.ifindex, &[cidr(KERNEL)], &[port(Tcp, 80), port(Udp, 53)]).unwrap();
        assert_eq!(held.len(), 2);
        for any in [KERNEL, "0.0.0.0"] {
            let tcp = bind_sharing(Type::STREAM, Protocol::TCP, SocketAddr::new(ip(any), 80));
            assert_eq!(tcp.unwrap_err().kind(), ErrorKind::AddrInUse, "tcp on {any}");
            let udp = bind_sharing(Type::DGRAM, Protocol::UDP, SocketAddr::new(ip(any), 53));
            assert_eq!(udp.unwrap_err().kind(), ErrorKind::AddrInUse, "udp on {any}");
        }
        let pid = format!("pid={},", std::process::id());
        for query in ["ss -H -l -t -n -p", "ss -H -l -u -n -p"] {
            let listing = pair.server.run_line(query);
            assert!(listing.contains(KERNEL) && listing.contains(&pid), "{query}: {listing}");
        }
        drop(held);
        bind_sharing(Type::STREAM, Protocol::TCP, SocketAddr::new(ip(KERNEL), 80)).unwrap();
        bind_sharing(Type::DGRAM, Protocol::UDP, SocketAddr::new(ip(KERNEL), 53)).unwrap();
    });
}

#[test]
fn what_is_named_twice_is_held_once() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.server.ip_line(&format!("address add {KERNEL}/32 dev s0"));
    pair.server.inside(|| {
        let kernel = addresses::served("s0", pair.ifindex).unwrap();
        assert_eq!(kernel.len(), 2, "the same address under two prefixes: {kernel:?}");
        let held = Reservation::take(pair.ifindex, &kernel, &[port(Tcp, 80), port(Tcp, 80), port(Udp, 80)]).unwrap();
        assert_eq!(held.len(), 2);
    });
}

#[test]
fn a_held_port_is_silent_where_the_kernel_would_refuse() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    let held = pair.server.inside(|| Reservation::take(pair.ifindex, &[cidr(KERNEL)], &[port(Tcp, 80), port(Udp, 53)]).unwrap());
    pair.client.inside(|| {
        let connect = |port| TcpStream::connect_timeout(&SocketAddr::new(ip(KERNEL), port), PATIENCE).unwrap_err().kind();
        assert_eq!(connect(81), ErrorKind::ConnectionRefused, "the kernel answers other ports");
        assert_eq!(connect(80), ErrorKind::TimedOut, "neither SYN-ACK nor RST");
        let ask = |port: u16| {
            let socket = UdpSocket::bind((CLIENT, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.connect((KERNEL, port)).unwrap();
            socket.send(b"?").unwrap();
            socket.recv(&mut [0; 8]).unwrap_err().kind()
        };
        assert_eq!(ask(54), ErrorKind::ConnectionRefused, "the kernel answers other ports with ICMP");
        assert_eq!(ask(53), ErrorKind::WouldBlock, "no ICMP");
    });
    drop(held);
}

#[test]
fn a_port_in_use_names_the_process_and_nothing_stays_held() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.server.inside(|| {
        let _user = UdpSocket::bind(("0.0.0.0", 53)).unwrap();
        let error = Reservation::take(pair.ifindex, &[cidr(KERNEL)], &[port(Tcp, 80), port(Udp, 53)]).unwrap_err();
        assert_eq!(error.what(), "cannot claim udp:53 on 10.77.0.1");
        let why = error.why();
        assert!(
            why.starts_with("the port is in use by the kernel, by ") && why.contains(&format!("(pid {})", std::process::id())),
            "{why}"
        );
        assert!(error.remedy().unwrap().contains("ss -uanp 'sport = :53'"), "{error}");
        assert_eq!(error.exit_code(), 3);
        TcpListener::bind((KERNEL, 80)).expect("the port that was free is free again");
        let error = Reservation::take(pair.ifindex, &[cidr(CLAIMED)], &[port(Tcp, 80)]).unwrap_err();
        assert!(error.why().contains("no such address"), "{error}");
    });
}

#[test]
fn what_a_former_server_left_in_time_wait_does_not_keep_the_port() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.server.inside(|| {
        let listener = TcpListener::bind((KERNEL, 80)).unwrap();
        let mut client = TcpStream::connect((KERNEL, 80)).unwrap();
        drop(listener.accept().unwrap());
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
        drop(client);
        drop(listener);
        assert!(pair.server.run_line("ss -H -t -a -n").contains("TIME-WAIT"));
        Reservation::take(pair.ifindex, &[cidr(KERNEL)], &[port(Tcp, 80)]).unwrap();
    });
}

#[test]
fn a_port_below_1024_needs_its_capability() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    let error = pair.server.inside(|| {
        caps::clear(None, caps::CapSet::Effective).unwrap();
        Reservation::take(pair.ifindex, &[cidr(KERNEL)], &[port(Tcp, 80)]).unwrap_err()
    });
    assert_eq!(error.why(), "the capability CAP_NET_BIND_SERVICE is missing");
    assert!(error.remedy().unwrap().contains("cap_net_bind_service"), "{error}");
}

#[test]
fn the_kernels_addresses_are_found_and_may_not_be_claimed() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    // A link-local address of the kernel would be one to claim ports on, too.
    pair.server.run_line("sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
    pair.server.inside(|| {
        assert_eq!(addresses::served("s0", pair.ifindex).unwrap(), [cidr(KERNEL)]);
        let kernel = addresses::kernel_addresses().unwrap();
        assert_eq!(addresses::check(&cidr(CLAIMED), &kernel), Ok(()));
        let error = addresses::check(&cidr(KERNEL), &kernel).unwrap_err();
        assert_eq!((error.why(), error.exit_code()), ("it belongs to the kernel, on s0", 3));
        pair.server.ip_line(error.remedy().unwrap().split(" (").next().unwrap().strip_prefix("ip ").unwrap());
        assert_eq!(addresses::check(&cidr(KERNEL), &addresses::kernel_addresses().unwrap()), Ok(()));
        let error = addresses::served("s0", pair.ifindex).unwrap_err();
        assert!(error.remedy().unwrap().contains("dev s0"), "{error}");
    });
}
