//! Attaching: modes, refusals with what mends them, rights, and what a killed process leaves behind.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use caps::{CapSet, Capability, CapsHashSet};
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use ringway::steer::{Claims, Mode, Steering, XdpMode};
use ringway::xsk::bpf;

use crate::common::{enter, root};
use crate::net::{OneLine as _, Pair, address_claim};

#[test]
fn native_mode_attaches_to_veth_and_detaches_on_drop() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.server.inside(|| {
        let steering = Steering::load(&address_claim(), 1).unwrap();
        let attached = steering.attach("s0", pair.ifindex, Mode::Auto).unwrap();
        assert_eq!((attached.mode, attached.warning.as_deref(), pair.xdp()), (XdpMode::Native, None, "xdp"));
        drop(attached);
        assert_eq!(pair.xdp(), "");
    });
}

#[test]
fn skb_mode_attaches_when_asked_for() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.server.inside(|| {
        let steering = Steering::load(&address_claim(), 1).unwrap();
        let attached = steering.attach("s0", pair.ifindex, Mode::Skb).unwrap();
        assert_eq!((attached.mode, pair.xdp()), (XdpMode::Skb, "xdpgeneric"));
        let warning = attached.warning.unwrap();
        assert!(warning.starts_with("s0: XDP runs in skb mode") && warning.contains("ethtool -K s0 gro off"), "{warning}");
    });
}

#[test]
fn a_driver_without_native_xdp_means_skb_with_a_warning_or_an_error() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.server.inside(|| {
        let steering = Steering::load(&address_claim(), 1).unwrap();
        let error = steering.attach("lo", 1, Mode::Native).unwrap_err();
        assert!(error.why().contains("EOPNOTSUPP"), "{error}");
        assert_eq!((error.remedy(), error.exit_code()), (Some("-m skb"), 3));
        let attached = steering.attach("lo", 1, Mode::Auto).unwrap();
        assert_eq!(attached.mode, XdpMode::Skb);
        let warning = attached.warning.unwrap();
        assert!(warning.contains("EOPNOTSUPP") && warning.contains("ethtool -K lo gro off"), "{warning}");
    });
}

#[test]
fn jumbo_frames_do_not_hinder_native_mode() {
    if !root() {
        return;
    }
    let pair = Pair::with_links("mtu 9000", "mtu 9000");
    pair.server.inside(|| {
        let steering = Steering::load(&address_claim(), 1).unwrap();
        assert_eq!(steering.attach("s0", pair.ifindex, Mode::Native).unwrap().mode, XdpMode::Native);
    });
}

#[test]
fn another_program_is_named_with_its_link_and_never_worked_around() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.server.inside(|| {
        let other = Steering::load(&Claims::new(), 1).unwrap();
        let foreign = other.attach("s0", pair.ifindex, Mode::Native).unwrap();
        let id = other.program().id().unwrap();
        let link = foreign.link_id().unwrap();
        let steering = Steering::load(&address_claim(), 1).unwrap();
        for mode in [Mode::Auto, Mode::Native] {
            let error = steering.attach("s0", pair.ifindex, mode).unwrap_err();
            let pid = std::process::id();
            let why = format!("another XDP program is there: `ringway_steer` (id {id}), native, held by link {link} of steer");
            assert_eq!(error.what(), "cannot attach the XDP program to s0 in native mode");
            assert!(error.why().starts_with(&why) && error.why().ends_with(&format!(" (pid {pid})")), "{error}");
            assert_eq!(error.remedy(), Some(&*format!("bpftool link detach id {link}")));
        }
        let error = steering.attach("s0", pair.ifindex, Mode::Skb).unwrap_err();
        assert!(error.why().starts_with("XDP is attached there in the other mode: `ringway_steer`"), "{error}");
        drop(foreign);
        assert!(steering.attach("s0", pair.ifindex, Mode::Auto).is_ok());
    });
}

/// Attaches a program as `ip link set` does: by netlink, without a link.
fn attach_by_netlink(ifindex: u32, program: &bpf::Program) {
    /// `XDP_FLAGS_DRV_MODE`.
    const DRIVER: u32 = 4;
    let mut link = LinkMessage::default();
    link.header.index = ifindex;
    link.attributes.push(LinkAttribute::Xdp(vec![LinkXdp::Fd(program.as_fd().as_raw_fd()), LinkXdp::Flags(DRIVER)]));
    let mut packet = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(RouteNetlinkMessage::SetLink(link)));
    packet.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    // IFLA_XDP must say that it holds attributes.
    const IFLA_XDP: u16 = 43;
    const NLA_F_NESTED: u16 = 0x8000;
    let at = bytes.windows(2).rposition(|pair| pair == IFLA_XDP.to_ne_bytes()).unwrap();
    bytes[at..at + 2].copy_from_slice(&(IFLA_XDP | NLA_F_NESTED).to_ne_bytes());
    let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.bind_auto().unwrap();
    socket.connect(&SocketAddr::new(0, 0)).unwrap();
    socket.send(&bytes, 0).unwrap();
    let (answer, _) = socket.recv_from_full().unwrap();
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).unwrap();
    assert!(matches!(&answer.payload, NetlinkPayload::Error(error) if error.code.is_none()), "{answer:?}");
}

#[test]
fn the_command_that_takes_a_program_without_a_link_away_works() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.server.inside(|| {
        let other = Steering::load(&Claims::new(), 1).unwrap();
        attach_by_netlink(pair.ifindex, other.program());
        let steering = Steering::load(&address_claim(), 1).unwrap();
        let error = steering.attach("s0", pair.ifindex, Mode::Auto).unwrap_err();
        assert!(error.why().ends_with("native, attached without a link"), "{error}");
        let mend = error.remedy().unwrap();
        pair.server.ip_line(mend.strip_prefix("ip ").unwrap());
        assert!(steering.attach("s0", pair.ifindex, Mode::Auto).is_ok());
    });
}

#[test]
fn fewer_queues_than_the_peer_is_an_error_in_every_mode_but_skb() {
    if !root() {
        return;
    }
    let pair = Pair::with_links("numrxqueues 1 numtxqueues 1", "numrxqueues 2 numtxqueues 2");
    pair.server.inside(|| {
        let steering = Steering::load(&address_claim(), 1).unwrap();
        for mode in [Mode::Auto, Mode::Native] {
            let error = steering.attach("s0", pair.ifindex, mode).unwrap_err();
            assert!(error.why().contains("ENOSPC") && error.remedy().unwrap().contains("ethtool -L"), "{error}");
        }
        assert_eq!(pair.xdp(), "");
    });
}

/// Runs `work` on a thread that has only the given capabilities.
fn with_capabilities<T: Send>(pair: &Pair, kept: &[Capability], work: impl FnOnce() -> T + Send) -> T {
    pair.server.inside(|| {
        let kept: CapsHashSet = kept.iter().copied().collect();
        caps::set(None, CapSet::Effective, &kept).unwrap();
        caps::set(None, CapSet::Permitted, &kept).unwrap();
        work()
    })
}

#[test]
fn each_missing_capability_is_named() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    let load = || Steering::load(&address_claim(), 1).unwrap_err();
    let error = with_capabilities(&pair, &[Capability::CAP_NET_ADMIN], load);
    assert_eq!(error.why(), "the capability CAP_BPF is missing");
    assert!(error.remedy().unwrap().starts_with("sudo setcap"));
    let error = with_capabilities(&pair, &[Capability::CAP_BPF], load);
    assert_eq!(error.why(), "the capability CAP_NET_ADMIN is missing");
}

#[test]
fn the_four_capabilities_of_the_manual_suffice() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    let four = [Capability::CAP_NET_RAW, Capability::CAP_NET_ADMIN, Capability::CAP_BPF, Capability::CAP_IPC_LOCK];
    let mut claims = crate::net::port_claim(&[crate::net::port(ringway::link::interface::Transport::Tcp, 80)]);
    claims.add(&ringway::link::interface::Claim::Addresses(vec![crate::net::cidr(crate::net::CLAIMED)]), None).unwrap();
    let ifindex = pair.ifindex;
    with_capabilities(&pair, &four, || {
        let steering = Steering::load(&claims, 1).unwrap();
        let attached = steering.attach("s0", ifindex, Mode::Native).unwrap();
        assert_eq!(attached.mode, XdpMode::Native);
        steering.counters().unwrap();
        // A foreign program cannot be named with these rights, but the way out still is.
        let error = steering.attach("s0", ifindex, Mode::Auto).unwrap_err();
        assert!(error.why().contains("another XDP program is there: (id "), "{error}");
        assert!(error.remedy().unwrap().starts_with("ip link set s0 xdpdrv off"), "{error}");
    });
}

#[test]
fn counters_and_detaching_need_no_rights() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.server.inside(|| {
        let steering = Steering::load(&address_claim(), 1).unwrap();
        let attached = steering.attach("s0", pair.ifindex, Mode::Native).unwrap();
        pair.client.run_line(&format!("ping -c 1 -W 2 {}", crate::net::KERNEL));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                caps::clear(None, CapSet::Effective).unwrap();
                caps::clear(None, CapSet::Permitted).unwrap();
                assert!(steering.counters().unwrap().of(ringway::steer::Cause::Passed) > 0);
                drop(attached);
            });
        });
        assert_eq!(pair.xdp(), "");
    });
}

/// Not a test of its own: the process that [`a_killed_process_leaves_nothing_attached`] kills.
#[test]
fn child_that_attaches_and_waits() {
    let Ok(namespace) = std::env::var("RINGWAY_TEST_ATTACH_IN") else { return };
    let ifindex = std::env::var("RINGWAY_TEST_IFINDEX").unwrap().parse().unwrap();
    enter(&namespace);
    let steering = Steering::load(&address_claim(), 1).unwrap();
    let attached = steering.attach("s0", ifindex, Mode::Native).unwrap();
    writeln!(std::io::stderr(), "attached {}", attached.mode).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_killed_process_leaves_nothing_attached() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "attach::child_that_attaches_and_waits", "--nocapture"])
        .env("RINGWAY_TEST_ATTACH_IN", &pair.server.name)
        .env("RINGWAY_TEST_IFINDEX", pair.ifindex.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let attached = lines.into_iter().any(|line| line == "attached native");
    let while_it_lived = pair.xdp();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((attached, while_it_lived), (true, "xdp"));
    let deadline = Instant::now() + Duration::from_secs(2);
    while !pair.xdp().is_empty() {
        assert!(Instant::now() < deadline, "still attached: {}", pair.server.ip_line("link show s0"));
        std::thread::sleep(Duration::from_millis(10));
    }
    pair.client.run_line(&format!("ping -c 1 -W 2 {}", crate::net::KERNEL));
    pair.server.inside(|| {
        let steering = Steering::load(&address_claim(), 1).unwrap();
        assert!(steering.attach("s0", pair.ifindex, Mode::Native).is_ok());
    });
}
