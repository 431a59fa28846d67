//! Claims that come and go while the program is attached.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use ringway::link::interface::{Claim, Transport};
use ringway::steer::{Cause, Claims, Mode, Steering};

use crate::common::root;
use crate::ipv6::{self, ask, attached, pair};
use crate::net::{CLAIMED, CLIENT, KERNEL, OneLine as _, Pair, address_claim, cidr, ip, port};

const GROUP: &str = "239.7.7.7";
const PORT: u16 = 5000;

/// Sends a datagram from the client's interface to a group or a broadcast address.
fn tell(pair: &Pair, target: &str) {
    pair.client.inside(|| {
        let target = SocketAddr::new(ip(target), PORT);
        let socket = UdpSocket::bind((if target.is_ipv4() { CLIENT } else { "::" }, 0)).unwrap();
        socket.set_broadcast(true).unwrap();
        if target.is_ipv4() {
            pair.client.ip_line("route replace 224.0.0.0/4 dev c0");
            pair.client.ip_line("route replace 255.255.255.255 dev c0");
        } else {
            pair.client.ip_line("-6 route replace ff00::/8 dev c0 table local");
        }
        socket.send_to(b"hello", target).unwrap();
    });
}

/// A socket of the server's kernel that has joined the group, on the given port.
fn joined(pair: &Pair, port: u16) -> UdpSocket {
    pair.server.inside(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        socket.join_multicast_v4(&GROUP.parse().unwrap(), &KERNEL.parse().unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        socket
    })
}

#[test]
fn groups_come_and_go_while_an_address_stays() {
    if !root() {
        return;
    }
    let pair = pair();
    let (mut steering, attachment, _socket) = attached(&pair, &address_claim());
    let link = attachment.link_id().unwrap();
    let listener = joined(&pair, PORT);
    let heard = || listener.recv(&mut [0; 8]).map_err(|error| error.kind());
    tell(&pair, GROUP);
    assert_eq!(heard(), Ok(5), "nobody has claimed the group");

    let mut with_groups = address_claim();
    for group in [GROUP, "10.77.0.255", "255.255.255.255", "ff05::7"] {
        with_groups.add_group(ip(group), PORT, None).unwrap();
    }
    pair.server.inside(|| steering.update(&with_groups)).unwrap();
    let steered = |steering: &Steering| steering.counters().unwrap().of(Cause::SteeredGroup);
    for (count, group) in (1..).zip([GROUP, "10.77.0.255", "255.255.255.255", "ff05::7"]) {
        tell(&pair, group);
        assert_eq!(heard(), Err(ErrorKind::WouldBlock), "{group}");
        assert_eq!(steered(&steering), count, "{group}");
    }
    tell(&pair, "239.7.7.8");
    assert_eq!(steered(&steering), 4, "a group that nobody claimed");
    ask(&pair, SocketAddr::new(ip(CLAIMED), 9));
    assert!(steering.counters().unwrap().of(Cause::SteeredArp) > 0, "the address is claimed as before");

    pair.server.inside(|| steering.update(&address_claim())).unwrap();
    tell(&pair, GROUP);
    assert_eq!(heard(), Ok(5), "given back to the kernel");
    assert_eq!(steered(&steering), 4);
    assert_eq!((attachment.link_id().unwrap(), pair.xdp()), (link, "xdp"), "attached all the time");
    drop(attachment);
    assert_eq!(pair.xdp(), "");
}

#[test]
fn addresses_and_ports_come_and_go() {
    if !root() {
        return;
    }
    let pair = pair();
    let (mut steering, _attachment, _socket) = attached(&pair, &Claims::new());
    let count = |steering: &Steering, cause| steering.counters().unwrap().of(cause);
    pair.client.run_line(&format!("ping -6 -c 1 -W 2 {}", ipv6::KERNEL));

    let mut both = Claims::new();
    both.add(&Claim::Addresses(vec![cidr(ipv6::CLAIMED)]), None).unwrap();
    both.add(&Claim::Ports { addresses: vec![cidr(KERNEL)], ports: vec![port(Transport::Udp, 53)] }, None).unwrap();
    steering.update(&both).unwrap();
    ask(&pair, SocketAddr::new(ip(ipv6::CLAIMED), 9));
    ask(&pair, SocketAddr::new(ip(KERNEL), 53));
    assert!(count(&steering, Cause::SteeredNd) > 0);
    assert_eq!(count(&steering, Cause::SteeredPort), 1);

    let mut others = Claims::new();
    others.add(&Claim::Addresses(vec![cidr(CLAIMED)]), None).unwrap();
    steering.update(&others).unwrap();
    let before = steering.counters().unwrap();
    assert_eq!(ask(&pair, SocketAddr::new(ip(KERNEL), 53)), ErrorKind::ConnectionRefused, "the kernel has it back");
    ask(&pair, SocketAddr::new(ip(ipv6::CLAIMED), 9));
    ask(&pair, SocketAddr::new(ip(CLAIMED), 9));
    let since = steering.counters().unwrap().since(&before);
    assert!(since.of(Cause::SteeredArp) > 0, "{since:?}");
    assert_eq!((since.of(Cause::SteeredNd), since.of(Cause::SteeredPort)), (0, 0), "{since:?}");
    steering.update(&Claims::new()).unwrap();
}

#[test]
fn kinds_that_were_foreseen_come_without_rights_and_others_say_which_they_need() {
    if !root() {
        return;
    }
    let pair = pair();
    let mut with_group = address_claim();
    with_group.add_group(ip(GROUP), PORT, None).unwrap();
    let (mut steering, _attachment) = pair.server.inside(|| {
        let steering = Steering::load_for(&address_claim(), with_group.kinds(), 1).unwrap();
        let attachment = steering.attach("s0", pair.ifindex, Mode::Native).unwrap();
        (steering, attachment)
    });
    let program = steering.program().id().unwrap();
    without_rights(|| steering.update(&with_group)).unwrap();
    tell(&pair, GROUP);
    assert_eq!(steering.counters().unwrap().of(Cause::ClaimedUnserved), 1);
    without_rights(|| steering.update(&address_claim())).unwrap();
    assert_eq!(steering.program().id().unwrap(), program, "the same text all the time");
    let error = without_rights(|| steering.update(&ipv6_port())).unwrap_err();
    assert!(error.why().contains("CAP_BPF"), "{error}");
}

/// Runs `work` on a thread that has no capability.
fn without_rights<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            caps::clear(None, caps::CapSet::Effective).unwrap();
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A claim of a kind that nothing else here is.
fn ipv6_port() -> Claims {
    let mut claims = Claims::new();
    claims.add(&Claim::Ports { addresses: vec![cidr(ipv6::KERNEL)], ports: vec![port(Transport::Udp, 53)] }, None).unwrap();
    claims
}

#[test]
fn more_than_the_map_has_room_for_is_refused_and_changes_nothing() {
    if !root() {
        return;
    }
    let mut steering = Steering::load(&address_claim(), 1).unwrap();
    let many = |from: u16, count: u16| {
        let ports = (from..from + count).map(|number| port(Transport::Tcp, number)).collect();
        let mut claims = Claims::new();
        claims.add(&Claim::Ports { addresses: vec![cidr(KERNEL)], ports }, None).unwrap();
        claims
    };
    let error = steering.update(&many(1, 1023)).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.why().contains("1025 entries together, the map has 1024"), "{error}");
    steering.update(&many(1, 1022)).unwrap();
    steering.update(&many(1, 1022)).unwrap();
    // All of them go, others come: both at once have no room, one after the other they have.
    assert_eq!(steering.update(&many(2000, 1022)).unwrap_err().exit_code(), 2);
    steering.update(&Claims::new()).unwrap();
    steering.update(&many(2000, 1022)).unwrap();
    let mut everything = Steering::load_everything(1).unwrap();
    assert_eq!(everything.update(&address_claim()).unwrap_err().exit_code(), 2);
}
