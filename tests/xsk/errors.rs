//! What an operator reads when the environment is not as it must be: each error with what, why, and what mends it.

use std::process::Command;

use caps::{CapSet, Capability};
use ringway::device::{Device, Frame};
use ringway::error::SetupError;
use ringway::xsk::capability::{self, Right};
use ringway::xsk::nic::Nic;
use ringway::xsk::{BusyPoll, Config, ZeroCopy, open};

use crate::common::root;
use crate::redirect::Redirect;
use crate::world::{INTERFACE, World};
use crate::{Side, assert_all_home, packet, receive_one, send, small};

fn refused(result: Result<impl Sized, SetupError>) -> SetupError {
    let error = result.err().expect("an error");
    assert_eq!(error.exit_code(), 3);
    assert!(error.remedy().is_some(), "every error says what mends it: {error}");
    error
}

#[test]
fn a_queue_in_use_is_refused_after_a_second_of_tries() {
    let Some(world) = World::with_queues(2) else { return };
    let _first = Side::open(&world.left, &[0], small()).unwrap();
    let since = std::time::Instant::now();
    let error = refused(Side::open(&world.left, &[0], small()));
    assert!(since.elapsed().as_millis() >= 1000);
    assert_eq!(error.what(), "cannot bind an AF_XDP socket to queue 0 of veth0");
    assert_eq!(error.why(), "another AF_XDP socket has the queue");
    assert!(error.remedy().unwrap().contains("--queues"), "{error}");
}

#[test]
fn a_queue_out_of_range_is_answered_with_the_queues_there_are() {
    let Some(world) = World::with_queues(2) else { return };
    let error = refused(Side::open(&world.left, &[2], small()));
    assert!(error.why().contains("it has the queues 0 to 1"), "{error}");
    assert_eq!(error.remedy(), Some("--queues 0-1"));
}

/// The queues go away between the question and the bind: then the kernel's answer is explained.
#[test]
fn a_queue_that_went_away_is_answered_with_the_queues_there_are_now() {
    let Some(world) = World::with_queues(2) else { return };
    let error = world.left.inside(|| {
        let nic = Nic::find(INTERFACE).unwrap();
        assert_eq!((nic.receive_queues(), nic.transmit_queues()), (2, 2));
        let fewer = Command::new("ethtool").args(["-L", INTERFACE, "rx", "1", "tx", "1"]).status().unwrap();
        assert!(fewer.success());
        refused(open(&nic, &[1], &small()))
    });
    assert!(error.why().contains("it has queue 0 only"), "{error}");
}

#[test]
fn an_interface_that_is_down_or_without_carrier_is_refused() {
    let Some(world) = World::new() else { return };
    world.left.ip(&["link", "set", "veth0", "down"]);
    let error = refused(Side::open(&world.left, &[0], small()));
    assert_eq!((error.why(), error.remedy()), ("the interface is down", Some("sudo ip link set veth0 up")));
    let error = refused(Side::open(&world.right, &[0], small()));
    assert_eq!(error.why(), "the interface has no carrier", "its peer is down");
}

#[test]
fn zero_copy_that_must_be_is_refused_where_there_is_none() {
    let Some(world) = World::new() else { return };
    let error = refused(Side::open(&world.left, &[0], Config { zero_copy: ZeroCopy::On, ..small() }));
    assert_eq!((error.why(), error.remedy()), ("the driver (veth) has no zero-copy", Some("--zerocopy off")));
    for zero_copy in [ZeroCopy::Auto, ZeroCopy::Off] {
        let side = Side::open(&world.left, &[0], Config { zero_copy, ..small() }).unwrap();
        assert!(!side.queues[0].is_zero_copy(), "and it says so");
    }
}

#[test]
fn an_mtu_that_fits_no_frame_is_refused() {
    let Some(world) = World::new() else { return };
    world.left.ip(&["link", "set", "veth0", "mtu", "9000"]);
    let error = refused(Side::open(&world.left, &[0], small()));
    assert_eq!(error.remedy(), Some("sudo ip link set veth0 mtu 3822"));
}

#[test]
fn an_interface_is_known_by_what_the_kernel_says_of_it() {
    let Some(world) = World::with_queues(2) else { return };
    world.left.ip(&["link", "set", "veth0", "address", "02:00:00:00:00:42", "mtu", "1400"]);
    let nic = world.left.inside(|| Nic::find(INTERFACE)).unwrap();
    assert_eq!((nic.mac().to_string(), nic.mtu(), nic.driver()), ("02:00:00:00:00:42".to_owned(), 1400, "veth"));
    assert!(nic.is_up() && nic.has_carrier());
    assert_eq!(nic.feature("rx-gro"), Some(false), "veth has it off until it is asked for");
    assert!(nic.hazards(false).is_empty());
    let error = refused(world.left.inside(|| Nic::find("veth1")));
    assert!(error.why().contains("did you mean veth0?"), "names of this namespace, not of the test's: {error}");
}

/// Opens a queue without one capability; only the thread that opens loses it.
fn without(capability: Capability, config: Config) -> Option<SetupError> {
    let world = World::new()?;
    Some(refused(world.left.inside(|| {
        caps::drop(None, CapSet::Effective, capability).unwrap();
        let nic = Nic::find(INTERFACE)?;
        open(&nic, &[0], &config)
    })))
}

#[test]
fn without_cap_net_raw_there_is_no_socket() {
    let Some(error) = without(Capability::CAP_NET_RAW, small()) else { return };
    assert_eq!(error.what(), "cannot create an AF_XDP socket");
    assert_eq!(error.why(), "the capability CAP_NET_RAW is missing");
    assert!(error.remedy().unwrap().starts_with("sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock+ep "));
}

#[test]
fn without_cap_net_admin_there_is_no_busy_polling() {
    let config = Config { busy_poll: Some(BusyPoll { timeout_us: 20, budget: 64 }), ..small() };
    let Some(error) = without(Capability::CAP_NET_ADMIN, config) else { return };
    assert_eq!(error.what(), "cannot prefer busy polling");
    assert_eq!(error.why(), "the capability CAP_NET_ADMIN is missing");
    assert!(error.remedy().unwrap().ends_with("or --set xsk.busy_poll=off"));
}

/// What `setcap` gives is enough to begin, and nothing at all is needed to go on.
#[test]
fn four_capabilities_suffice_to_open_and_none_to_carry_frames() {
    let Some(world) = World::new() else { return };
    let mut right = Side::open(&world.right, &[0], small()).unwrap();
    world.left.inside(|| {
        let four = [Capability::CAP_NET_RAW, Capability::CAP_NET_ADMIN, Capability::CAP_BPF, Capability::CAP_IPC_LOCK];
        caps::set(None, CapSet::Effective, &four.into()).unwrap();
        capability::require(&Right::ALL).unwrap();
        let nic = Nic::find(INTERFACE).unwrap();
        let mut queues = open(&nic, &[0], &Config::default()).unwrap();
        let queue = &mut queues[0];
        let _redirect = Redirect::attach(nic.index(), &[(0, &*queue)]).unwrap();
        caps::clear(None, CapSet::Effective).unwrap();
        assert!(send(queue, &packet(1, 60)));
        queue.flush();
        let frame = receive_one(&mut right.queues[0]);
        right.queues[0].transmit(frame).unwrap();
        right.queues[0].flush();
        let frame = receive_one(queue);
        assert_eq!(frame.bytes(), packet(1, 60));
        queue.recycle(frame);
        assert_all_home(queue);
    });
}

/// The limit counts for a whole process and cannot be raised again, so the test runs itself once more for it.
#[test]
fn without_cap_ipc_lock_frames_beyond_the_limit_are_refused() {
    const CHILD: &str = "RINGWAY_TEST_MEMLOCK_CHILD";
    const NAME: &str = "errors::without_cap_ipc_lock_frames_beyond_the_limit_are_refused";
    if !root() {
        return;
    }
    if std::env::var_os(CHILD).is_none() {
        let child = Command::new(std::env::current_exe().unwrap()).args(["--exact", NAME]).env(CHILD, "1").output().unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{output}");
        return;
    }
    let limit = rustix::process::Rlimit { current: Some(1 << 20), maximum: Some(1 << 20) };
    rustix::process::setrlimit(rustix::process::Resource::Memlock, limit).unwrap();
    let world = World::new().expect("root was asked for above");
    let error = world.left.inside(|| {
        for capability in [Capability::CAP_IPC_LOCK, Capability::CAP_SYS_RESOURCE] {
            caps::drop(None, CapSet::Effective, capability).unwrap();
        }
        let nic = Nic::find(INTERFACE).unwrap();
        refused(open(&nic, &[0], &Config::default()))
    });
    assert_eq!(error.what(), "cannot lock 8 MiB of frames for veth0");
    assert_eq!(error.why(), "the limit of locked memory is 1 MiB and the capability CAP_IPC_LOCK is missing");
    assert!(error.remedy().unwrap().ends_with("or: ulimit -l 8192"), "{error}");
    // A UMEM below the limit needs no capability.
    world.left.inside(|| {
        caps::drop(None, CapSet::Effective, Capability::CAP_IPC_LOCK).unwrap();
        let nic = Nic::find(INTERFACE).unwrap();
        assert!(open(&nic, &[0], &small()).is_ok());
    });
}
