//! IPv6 of a kernel client against an attached program, and the kernel's own IPv6 addresses.

use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ringway::link::interface::Claim;
use ringway::link::interface::Transport::{Tcp, Udp};
use ringway::steer::addresses::{self, AddressState};
use ringway::steer::{Attached, Cause, Claims, Mode, Reservation, Steering};

use crate::common::root;
use crate::net::{OneLine as _, Pair, cidr, index, ip, port};
use crate::traffic::swallowing_socket;

const PATIENCE: Duration = Duration::from_millis(400);
/// The kernel's address in the server's namespace.
pub(crate) const KERNEL: &str = "fd77::1";
/// An address nobody has, for claims.
pub(crate) const CLAIMED: &str = "fd77::2";
/// The client's address.
const CLIENT: &str = "fd77::7";

/// A pair with IPv6 addresses that can be used at once.
pub(crate) fn pair() -> Pair {
    let pair = Pair::new();
    pair.server.ip_line(&format!("address add {KERNEL}/64 dev s0 nodad"));
    pair.client.ip_line(&format!("address add {CLIENT}/64 dev c0 nodad"));
    pair
}

/// `claims` attached at the server's end, with a socket that swallows what is steered.
pub(crate) fn attached(pair: &Pair, claims: &Claims) -> (Steering, Attached, OwnedFd) {
    pair.server.inside(|| {
        let steering = Steering::load(claims, 1).unwrap();
        let socket = swallowing_socket(pair.ifindex);
        steering.set_socket(0, socket.as_fd()).unwrap();
        let attached = steering.attach("s0", pair.ifindex, Mode::Native).unwrap();
        (steering, attached, socket)
    })
}

/// Sends a datagram from the client, to somebody who does not answer it with one.
pub(crate) fn ask(pair: &Pair, target: SocketAddr) -> ErrorKind {
    pair.client.inside(|| {
        let own = if target.is_ipv4() { "0.0.0.0" } else { "::" };
        let socket = UdpSocket::bind((own, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect(target).unwrap();
        socket.send(b"hello").unwrap();
        socket.recv(&mut [0; 64]).unwrap_err().kind()
    })
}

#[test]
fn a_claimed_address_is_found_by_its_solicitation_and_steered() {
    if !root() {
        return;
    }
    let pair = pair();
    let mut claims = Claims::new();
    claims.add(&Claim::Addresses(vec![cidr(CLAIMED)]), None).unwrap();
    let (steering, _attached, _socket) = attached(&pair, &claims);
    pair.client.run_line(&format!("ping -6 -c 1 -W 2 {KERNEL}"));
    assert_eq!(ask(&pair, SocketAddr::new(ip(KERNEL), 9)), ErrorKind::ConnectionRefused);
    let counters = steering.counters().unwrap();
    assert_eq!(counters.nonzero().map(|(cause, _)| cause).collect::<Vec<_>>(), [Cause::Passed], "{counters:?}");

    ask(&pair, SocketAddr::new(ip(CLAIMED), 9));
    let counters = steering.counters().unwrap();
    assert!(counters.of(Cause::SteeredNd) > 0, "the client asks for the claimed address: {counters:?}");
    assert_eq!(counters.of(Cause::SteeredAddress), 0, "{counters:?}");
    let mac = pair.server.run_line("cat /sys/class/net/s0/address");
    pair.client.ip_line(&format!("neighbor replace {CLAIMED} lladdr {} nud reachable dev c0", mac.trim()));
    assert_eq!(ask(&pair, SocketAddr::new(ip(CLAIMED), 9)), ErrorKind::WouldBlock, "the kernel never sees it");
    let counters = steering.counters().unwrap();
    assert!(counters.of(Cause::SteeredAddress) > 0, "{counters:?}");
}

#[test]
fn claimed_ports_are_held_and_steered_on_every_usable_address() {
    if !root() {
        return;
    }
    let pair = pair();
    let link_local = wait_for_link_local(&pair);
    let ports = [port(Tcp, 80), port(Udp, 53)];
    let (held, claims, _listener) = pair.server.inside(|| {
        let own = addresses::usable("s0", &addresses::of_interface("s0", pair.ifindex).unwrap()).unwrap();
        assert_eq!(own.len(), 3, "IPv4, link-local, and the one that was added: {own:?}");
        let held = Reservation::take(pair.ifindex, &own, &ports).unwrap();
        assert_eq!(held.len(), 6);
        let mut claims = Claims::new();
        claims.add(&Claim::Ports { addresses: own, ports: ports.to_vec() }, None).unwrap();
        (held, claims, TcpListener::bind((KERNEL, 22)).unwrap())
    });
    let scoped = SocketAddrV6::new(link_local, 53, 0, index(&pair.client, "c0"));
    // Held and not steered yet: the kernel is silent about them, and refuses others.
    assert_eq!(ask(&pair, SocketAddr::new(ip(KERNEL), 53)), ErrorKind::WouldBlock);
    assert_eq!(ask(&pair, scoped.into()), ErrorKind::WouldBlock);
    assert_eq!(ask(&pair, SocketAddr::new(ip(KERNEL), 54)), ErrorKind::ConnectionRefused);

    let (steering, _attached, _socket) = attached(&pair, &claims);
    let steered = || steering.counters().unwrap().of(Cause::SteeredPort);
    ask(&pair, SocketAddr::new(ip(KERNEL), 53));
    assert_eq!(steered(), 1);
    ask(&pair, scoped.into());
    assert_eq!(steered(), 2);
    pair.client.inside(|| {
        let connect = |port| TcpStream::connect_timeout(&SocketAddr::new(ip(KERNEL), port), PATIENCE);
        connect(22).expect("a kernel service on another port");
        assert_eq!(connect(80).unwrap_err().kind(), ErrorKind::TimedOut);
    });
    assert!(steered() > 2);
    drop(held);
}

/// The link-local address of the server, once its detection is over.
fn wait_for_link_local(pair: &Pair) -> Ipv6Addr {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let own = pair.server.inside(|| addresses::of_interface("s0", pair.ifindex).unwrap());
        let found = own.iter().find_map(|own| match own.cidr.address {
            std::net::IpAddr::V6(address) if address.is_unicast_link_local() => Some((address, own.state)),
            _ => None,
        });
        match found {
            Some((address, AddressState::Usable)) => return address,
            state => assert!(Instant::now() < deadline, "{state:?}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_address_that_is_still_asked_for_is_told_apart() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.server.inside(|| {
        pair.server.ip_line(&format!("address add {KERNEL}/64 dev s0"));
        let own = addresses::of_interface("s0", pair.ifindex).unwrap();
        let added = own.iter().find(|own| own.cidr.address == ip(KERNEL)).unwrap();
        assert_eq!(added.state, AddressState::Tentative, "{own:?}");
        assert!(addresses::usable("s0", &own).unwrap().iter().all(|own| own.address != ip(KERNEL)));
        let error = Reservation::take(pair.ifindex, &[cidr(KERNEL)], &[port(Udp, 53)]).unwrap_err();
        assert!(error.why().contains("still asks"), "{error}");
        assert_eq!(error.exit_code(), 3);
    });
}

#[test]
fn an_address_that_another_station_has_is_told_apart() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.client.ip_line(&format!("address add {KERNEL}/64 dev c0 nodad"));
    pair.server.ip_line(&format!("address add {KERNEL}/64 dev s0"));
    let deadline = Instant::now() + Duration::from_secs(5);
    let state = || {
        let own = pair.server.inside(|| addresses::of_interface("s0", pair.ifindex).unwrap());
        own.iter().find(|own| own.cidr.address == ip(KERNEL)).unwrap().state
    };
    while state() != AddressState::Duplicate {
        assert!(Instant::now() < deadline, "{:?}", state());
        std::thread::sleep(Duration::from_millis(20));
    }
}
