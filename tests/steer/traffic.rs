//! Frames of a kernel client against an attached program: what is steered, what the kernel still gets.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ringway::link::interface::Transport::{Tcp, Udp};
use ringway::steer::{Cause, Claims, Mode, Reservation, Steering};
use ringway::wire::ethernet::Mac;
use rustix::net::xdp::{SocketAddrXdp, SocketAddrXdpFlags, XdpUmemReg, XdpUmemRegFlags};
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::common::root;
use crate::net::{CLAIMED, CLIENT, KERNEL, OneLine as _, Pair, address_claim, cidr, index, ip, port, port_claim};

const PATIENCE: Duration = Duration::from_millis(400);

/// An AF_XDP socket bound to queue 0 that has no frames to receive into: it takes what is steered to it and drops it.
pub(crate) fn swallowing_socket(ifindex: u32) -> OwnedFd {
    const CHUNK: usize = 4096;
    let memory: &'static [u8] = Box::leak(vec![0_u8; 8 * CHUNK].into_boxed_slice());
    let start = (memory.as_ptr() as usize).next_multiple_of(CHUNK);
    let socket = rustix::net::socket(AddressFamily::XDP, SocketType::RAW, None).unwrap();
    let umem = XdpUmemReg {
        addr: start as u64,
        len: 4 * CHUNK as u64,
        chunk_size: CHUNK as u32,
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    sockopt::set_xdp_umem_reg(&socket, umem).unwrap();
    sockopt::set_xdp_umem_fill_ring_size(&socket, 64).unwrap();
    sockopt::set_xdp_umem_completion_ring_size(&socket, 64).unwrap();
    sockopt::set_xdp_rx_ring_size(&socket, 64).unwrap();
    rustix::net::bind(&socket, &SocketAddrXdp::new(SocketAddrXdpFlags::XDP_COPY, ifindex, 0)).unwrap();
    socket
}

/// Sends a datagram from the client and returns how the answer was.
fn ask(pair: &Pair, target: &str, port: u16) -> Result<Vec<u8>, ErrorKind> {
    pair.client.inside(|| {
        let socket = UdpSocket::bind((CLIENT, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect((target, port)).unwrap();
        socket.send(b"hello").map_err(|error| error.kind())?;
        let mut answer = [0; 64];
        socket.recv(&mut answer).map(|length| answer[..length].to_vec()).map_err(|error| error.kind())
    })
}

#[test]
fn a_claimed_address_is_steered_and_the_kernels_own_still_answers() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    for mode in [Mode::Native, Mode::Skb] {
        let (steering, _attached, socket) = pair.server.inside(|| {
            let steering = Steering::load(&address_claim(), 1).unwrap();
            let socket = swallowing_socket(pair.ifindex);
            steering.set_socket(0, socket.as_fd()).unwrap();
            let attached = steering.attach("s0", pair.ifindex, mode).unwrap();
            (steering, attached, socket)
        });
        pair.client.run_line(&format!("ping -c 1 -W 2 {KERNEL}"));
        assert_eq!(ask(&pair, KERNEL, 9), Err(ErrorKind::ConnectionRefused));
        let counters = steering.counters().unwrap();
        assert!(counters.of(Cause::Passed) >= 2, "{counters:?}");
        assert_eq!(counters.nonzero().count(), 1, "{counters:?}");

        pair.client.ip_line("neighbor flush dev c0");
        ask(&pair, CLAIMED, 9).unwrap_err();
        assert!(steering.counters().unwrap().of(Cause::SteeredArp) > 0, "the client asks for the claimed address");
        let mac = pair.server.run_line("cat /sys/class/net/s0/address");
        pair.client.ip_line(&format!("neighbor replace {CLAIMED} lladdr {} nud reachable dev c0", mac.trim()));
        assert_eq!(ask(&pair, CLAIMED, 9), Err(ErrorKind::WouldBlock), "the kernel never sees it");
        let counters = steering.counters().unwrap();
        assert!(counters.of(Cause::SteeredAddress) > 0, "{counters:?}");
        let dropped = sockopt::xdp_statistics(&socket).unwrap();
        assert!(dropped.rx_fill_ring_empty_descs.unwrap_or(0) + dropped.rx_dropped > 0, "they came to the socket: {dropped:?}");

        steering.clear_socket(0).unwrap();
        steering.clear_socket(0).unwrap();
        ask(&pair, CLAIMED, 9).unwrap_err();
        assert!(steering.counters().unwrap().of(Cause::ClaimedUnserved) > 0, "the queue has no socket any more");
        // The queue of a closed socket stays busy for some milliseconds.
        drop(socket);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_claimed_port_without_a_socket_is_swallowed_while_the_others_work() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    let ports = [port(Tcp, 80), port(Udp, 53)];
    let (_held, steering, _attached, listener) = pair.server.inside(|| {
        let held = Reservation::take(pair.ifindex, &[cidr(KERNEL)], &ports).unwrap();
        let steering = Steering::load(&port_claim(&ports), 1).unwrap();
        let attached = steering.attach("s0", pair.ifindex, Mode::Native).unwrap();
        (held, steering, attached, TcpListener::bind((KERNEL, 22)).unwrap())
    });
    pair.client.inside(|| {
        let connect = |port| TcpStream::connect_timeout(&SocketAddr::new(ip(KERNEL), port), PATIENCE);
        connect(22).expect("a kernel service on another port");
        assert_eq!(connect(81).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(connect(80).unwrap_err().kind(), ErrorKind::TimedOut, "neither SYN-ACK nor RST");
    });
    listener.accept().unwrap();
    assert_eq!(ask(&pair, KERNEL, 53), Err(ErrorKind::WouldBlock), "no ICMP");
    pair.client.run_line(&format!("ping -c 1 -W 2 {KERNEL}"));
    let counters = steering.counters().unwrap();
    assert!(counters.of(Cause::ClaimedUnserved) >= 2, "{counters:?}");
    assert_eq!(counters.of(Cause::SteeredPort), 0);
}

#[test]
fn only_an_af_xdp_socket_of_a_queue_that_exists_can_be_set() {
    if !root() {
        return;
    }
    let steering = Steering::load(&address_claim(), 2).unwrap();
    let socket = rustix::net::socket(AddressFamily::XDP, SocketType::RAW, None).unwrap();
    steering.set_socket(1, socket.as_fd()).unwrap();
    let error = steering.set_socket(2, socket.as_fd()).unwrap_err();
    assert!(error.what().contains("queue 2"), "{error}");
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    steering.set_socket(0, other.as_fd()).unwrap_err();
}

#[test]
fn the_reflector_echoes_to_a_kernel_client_which_resolves_it_by_arp() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    // veth wakes its peer after XDP_TX only if the peer has a program of its own: one that passes everything will do.
    let (_passing, _attached_there) = pair.client.inside(|| {
        let steering = Steering::load(&Claims::new(), 1).unwrap();
        let attached = steering.attach("c0", index(&pair.client, "c0"), Mode::Native).unwrap();
        (steering, attached)
    });
    let mac = pair.server.run_line("cat /sys/class/net/s0/address");
    let bytes: Vec<u8> = mac.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let (steering, _attached) = pair.server.inside(|| {
        let steering = Steering::load_reflector(&address_claim(), Mac(bytes.try_into().unwrap())).unwrap();
        let attached = steering.attach("s0", pair.ifindex, Mode::Native).unwrap();
        (steering, attached)
    });
    let answer = ask(&pair, CLAIMED, 7);
    let counters = steering.counters().unwrap();
    assert_eq!(answer, Ok(b"hello".to_vec()), "{counters:?}");
    assert_eq!(counters.of(Cause::ReflectedUdp), 1, "{counters:?}");
    assert!(counters.of(Cause::ReflectedArp) >= 1, "{counters:?}");
}
