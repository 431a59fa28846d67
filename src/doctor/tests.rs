use super::attempt::{Attempt, Copying, Made, Reason};
use super::features::{BASIC, Features, REDIRECT, XSK_ZEROCOPY};
use super::interface::Interrupt;
use super::machine::Held;
use super::peer::{Peer, Place};
use super::*;
use crate::error::SetupError;
use crate::rss::{Fields, Function, Toeplitz, Told, Transform};
use crate::steer::attach::{Foreign, Trial};
use crate::xsk::nic::{Nic, RingSizes};

/// A 25G card of four queues on which nothing is amiss, with all that a driver may tell.
fn ice() -> Interface {
    let told = Told {
        function: Function::Toeplitz,
        key: Toeplitz::new((1..=40).map(|n: u8| n.wrapping_mul(0x6d)).collect::<Vec<_>>()),
        transform: Transform::None,
        table: (0..64).map(|entry| entry % 4).collect(),
        fields: [Fields::FourTuple; 4],
        rules: Some(0),
    };
    let interrupt =
        |queue: u32| Interrupt { number: 120 + queue, name: format!("ice-eth2-TxRx-{queue}"), cores: vec![2 + queue] };
    Interface {
        most_queues: Some(64),
        rings: Some(RingSizes { receive: 2048, receive_max: 8160, transmit: 256, transmit_max: 8160 }),
        features: Some(Features(BASIC | REDIRECT | XSK_ZEROCOPY)),
        told: Some(told),
        interrupts: (0..4).map(interrupt).collect(),
        node: Some(1),
        attempt: made(Ok(Copying::Zero), Ok(()), None),
        ..Interface::recorded(Nic::recorded("eth2", "ice").with_queues(4, 4).with_feature("rx-lro", false))
    }
}

/// An end of a veth pair whose other end lies in the same namespace and is as it should be.
fn veth() -> Interface {
    let peer = Nic::recorded("veth1", "veth").with_feature("tx-checksum-ip-generic", false);
    Interface {
        peer: Some(Peer { place: Place::Here, nic: Some(peer) }),
        attempt: made(Ok(Copying::Copy(no_zero_copy())), Ok(()), None),
        ..Interface::recorded(Nic::recorded("veth0", "veth"))
    }
}

fn made(sockets: Result<Copying, SetupError>, native: Result<(), SetupError>, skb: Option<Result<(), SetupError>>) -> Attempt {
    Attempt::Made(Box::new(Made { sockets, program: Ok(Trial { native, skb }) }))
}

fn no_zero_copy() -> SetupError {
    SetupError::environment("cannot bind an AF_XDP socket to queue 0", "the driver has no zero-copy").mend("--zerocopy off")
}

fn no_native() -> SetupError {
    SetupError::environment("cannot attach the XDP program", "the driver has no native XDP (EOPNOTSUPP)").mend("-m skb")
}

fn with_peer(change: impl FnOnce(Nic) -> Nic, place: Place) -> Interface {
    let peer = Nic::recorded("veth1", "veth").with_feature("tx-checksum-ip-generic", false);
    Interface { peer: Some(Peer { place, nic: Some(change(peer)) }), ..veth() }
}

fn with_told(change: impl FnOnce(&mut Told)) -> Interface {
    let mut interface = ice();
    change(interface.told.as_mut().unwrap());
    interface
}

impl Interface {
    fn untried(self) -> Self {
        Self { attempt: Attempt::Not(Reason::Disturbing), ..self }
    }
}

fn listing(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let harmless = if finding.fix.is_some() { " (harmless)" } else { "" };
        let mend = finding.mend.as_ref().map_or(String::new(), |mend| format!("\n     try{harmless}: {mend}"));
        format!("{:4} {:13} {}{mend}\n", finding.verdict.name(), finding.check, finding.text)
    };
    findings.iter().map(line).collect()
}

/// What is not ok, by case; each case is one thing amiss, so it is one finding unless the case says otherwise.
fn amiss(cases: impl IntoIterator<Item = (&'static str, Vec<Finding>)>) -> String {
    let mut shown = String::new();
    for (case, mut findings) in cases {
        findings.retain(|finding| finding.verdict != Verdict::Ok);
        assert!(!findings.is_empty(), "{case} is not seen");
        shown.push_str(&format!("# {case}\n{}", listing(&findings)));
    }
    // Where the tests lie is nobody's business.
    shown.replace(&std::env::current_exe().unwrap().display().to_string(), "RINGWAY")
}

#[test]
fn nothing_is_amiss_on_a_good_machine() {
    let machine = Machine::recorded();
    let all = [machine.findings(), ice().findings(&machine), veth().findings(&machine), vec![link::overview(&ice().nic, None)]]
        .concat();
    assert!(all.iter().all(|finding| finding.verdict == Verdict::Ok), "{}", listing(&all));
    insta::assert_snapshot!(listing(&all));
}

#[test]
fn what_is_amiss_on_a_machine_is_named_with_what_mends_it() {
    fn refused<T>(why: &str) -> Option<Result<T, SetupError>> {
        Some(Err(SetupError::environment("cannot make it", why).mend("the command")))
    }
    let without = |right: Right, within_bounds: bool| {
        let mut machine = Machine::recorded();
        let one = machine.rights.iter_mut().find(|one| one.right == right).unwrap();
        *one = Held { right, held: false, within_bounds };
        machine
    };
    let good = Machine::recorded;
    let release = |release: &str| (release.to_owned(), "x86_64".to_owned());
    let cases = [
        (
            "an old kernel that takes no such program",
            Machine { kernel: release("5.15.0-91-generic"), program: refused("invalid argument"), ..good() },
        ),
        ("an old kernel, and nothing could be tried", Machine { kernel: release("5.15.0"), program: None, ..good() }),
        ("CAP_NET_RAW", Machine { socket: None, memory: None, ..without(Right::NetRaw, true) }),
        ("CAP_NET_ADMIN", Machine { program: None, ..without(Right::NetAdmin, true) }),
        ("CAP_BPF, and a container that forbids it", Machine { program: None, ..without(Right::Bpf, false) }),
        ("CAP_IPC_LOCK", Machine { memory: refused("the limit of locked memory is 1 MiB"), ..without(Right::IpcLock, true) }),
        (
            "CAP_IPC_LOCK that cannot be given",
            Machine { memory: refused("the limit is 1 MiB"), ..without(Right::IpcLock, false) },
        ),
        ("no AF_XDP", Machine { socket: refused("this kernel is built without CONFIG_XDP_SOCKETS"), ..good() }),
        ("a verifier that refuses", Machine { program: refused("invalid argument"), ..good() }),
        ("no compiler", Machine { compiler: Some(0), ..good() }),
        ("no huge pages", Machine { huge_pages: Some((0, 0)), ..good() }),
        ("huge pages in use", Machine { huge_pages: Some((64, 3)), ..good() }),
        ("a kernel without huge pages", Machine { huge_pages: None, ..good() }),
        ("transparent huge pages off", Machine { transparent: Some("never".to_owned()), ..good() }),
        ("powersave", Machine { governors: [("powersave".to_owned(), 12), ("performance".to_owned(), 4)].into(), ..good() }),
        ("no core isolated", Machine { isolated: String::new(), ..good() }),
        ("ticks on isolated cores", Machine { tickless: String::new(), ..good() }),
        ("a slow clock", Machine { clock: Some("acpi_pm".to_owned()), ..good() }),
        ("busy polling everywhere", Machine { busy_poll: Some((50, 50)), ..good() }),
    ];
    insta::assert_snapshot!(amiss(cases.map(|(case, machine)| (case, machine.findings()))));
}

#[test]
fn a_limit_that_suffices_makes_its_right_needless() {
    let mut machine = Machine::recorded();
    machine.rights.iter_mut().filter(|one| one.right == Right::IpcLock).for_each(|one| one.held = false);
    assert_eq!(machine.findings().iter().find(|one| one.check == "CAP_IPC_LOCK").unwrap().verdict, Verdict::Ok);
}

#[test]
fn small_machines_and_virtual_ones_are_not_blamed() {
    let machine = Machine {
        governors: [].into(),
        online: vec![0, 1],
        isolated: String::new(),
        tickless: String::new(),
        clock: Some("kvm-clock".to_owned()),
        transparent: None,
        compiler: None,
        busy_poll: None,
        nodes: [(0, "0-1".to_owned())].into(),
        ..Machine::recorded()
    };
    assert!(machine.findings().iter().all(|finding| finding.verdict == Verdict::Ok), "{}", listing(&machine.findings()));
    let interface = Interface { interrupts: Vec::new(), node: None, rings: None, told: None, deferred: None, ..veth() };
    assert!(interface.findings(&machine).iter().all(|finding| finding.verdict == Verdict::Ok));
}

/// `isolcpus` keeps an ordinary process on the few cores that are left, and `taskset` too: what is judged is the machine.
#[test]
fn the_cores_are_those_of_the_machine_and_not_of_this_process() {
    let online = crate::cpu::online();
    std::thread::spawn(move || {
        let allowed = crate::cpu::allowed().unwrap();
        crate::cpu::pin((0..1024).find(|&core| allowed.is_set(core)).unwrap()).unwrap();
        assert_eq!(std::thread::available_parallelism().unwrap().get(), 1);
        assert_eq!(Machine::read().online, online);
        assert_eq!(crate::metrics::conditions::Conditions::of_this_machine().cpus, online.len() as u32);
    })
    .join()
    .unwrap();
}

/// A raised limit would be the caller's afterwards.
#[test]
fn the_limit_of_locked_memory_is_left_as_it_was() {
    use rustix::process::{Resource, getrlimit};
    let before = getrlimit(Resource::Memlock);
    let _ = Machine::read();
    let after = getrlimit(Resource::Memlock);
    assert_eq!((after.current, after.maximum), (before.current, before.maximum));
}

#[test]
fn what_is_amiss_on_an_interface_is_named_with_what_mends_it() {
    let machine = Machine::recorded();
    let plain = |nic: Nic| Interface { attempt: ice().attempt, ..Interface::recorded(nic) };
    let nic = || Nic::recorded("eth2", "ice");
    let crowded = |queue: u32| Interrupt { number: 120 + queue, name: format!("ice-eth2-TxRx-{queue}"), cores: vec![2] };
    let named = |name: Option<&str>| {
        let (described, mend) = ("(id 12), native, attached without a link".to_owned(), "ip link set eth2 xdpdrv off".to_owned());
        Some(Foreign { name: name.map(str::to_owned), described, mend })
    };
    let busy =
        || SetupError::environment("cannot bind an AF_XDP socket to queue 1 of eth2", "another AF_XDP socket has the queue");
    let elsewhere = || Place::Named("blue".to_owned());
    let cases = [
        ("down", plain(nic().with_link(false, false))),
        ("no cable", plain(nic().with_link(true, false))),
        ("a peer that is down", Interface { nic: Nic::recorded("veth0", "veth").with_link(true, false), ..veth() }),
        (
            "a peer that is down elsewhere",
            Interface {
                nic: Nic::recorded("veth0", "veth").with_link(true, false),
                peer: Some(Peer { place: elsewhere(), nic: None }),
                ..veth()
            },
        ),
        ("a peer nobody can name", Interface { peer: Some(Peer { place: Place::Unknown, nic: None }), ..veth() }),
        ("an MTU that fits nothing", plain(nic().with_mtu(12_000))),
        ("an MTU below that of IPv6", plain(nic().with_mtu(1000))),
        ("a peer with a larger MTU", with_peer(|peer| peer.with_mtu(9000), Place::Here)),
        ("a peer with a smaller MTU", with_peer(|peer| peer.with_mtu(1400), Place::Here)),
        (
            "checksums left out",
            with_peer(|_| Nic::recorded("veth1", "veth").with_feature("tx-checksum-ip-generic", true), Place::Here),
        ),
        (
            "the same elsewhere",
            with_peer(|_| Nic::recorded("veth1", "veth").with_feature("tx-checksum-ip-generic", true), elsewhere()),
        ),
        (
            "the same on the host of a container",
            with_peer(
                |_| Nic::recorded("veth1", "veth").with_feature("tx-checksum-ip-generic", true),
                Place::File("/proc/1/ns/net".into()),
            ),
        ),
        ("LRO", plain(nic().with_feature("rx-lro", true))),
        (
            "GRO in skb mode",
            Interface {
                attempt: made(Ok(Copying::Zero), Err(no_native()), Some(Ok(()))),
                ..plain(nic().with_feature("rx-gro", true))
            },
        ),
        ("more queues sent by than received from", with_peer(|peer| peer.with_queues(1, 4), Place::Here)),
        (
            "the same, and no more can be had",
            Interface { most_queues: Some(1), ..with_peer(|peer| peer.with_queues(1, 4), elsewhere()) },
        ),
        ("more queues than cores", plain(nic().with_queues(64, 64))),
        ("a driver that tells no spread", plain(nic().with_queues(4, 4))),
        ("queues outside the table", with_told(|told| told.table = vec![0, 1])),
        ("rules before the hash", with_told(|told| told.rules = Some(2))),
        ("UDP without ports", with_told(|told| told.fields[2] = Fields::TwoTuple)),
        (
            "short rings",
            Interface { rings: Some(RingSizes { receive: 256, receive_max: 4096, transmit: 256, transmit_max: 4096 }), ..ice() },
        ),
        ("all queues on one core", Interface { interrupts: (0..4).map(crowded).collect(), ..ice() }),
        ("interrupts put off", Interface { deferred: Some((2, 200_000)), ..ice() }),
        (
            "another program",
            Interface {
                program: named(Some("xdp_pass")),
                attempt: Attempt::Not(Reason::Hindered("an XDP program is attached, and is not disturbed")),
                ..ice()
            },
        ),
        ("a program whose name may not be read", Interface { program: named(None), ..ice() }),
        ("no native XDP", Interface { attempt: made(Ok(Copying::Zero), Err(no_native()), Some(Ok(()))), ..ice() }),
        ("no XDP at all", Interface { attempt: made(Ok(Copying::Zero), Err(no_native()), Some(Err(busy()))), ..ice() }),
        ("another refusal", Interface { attempt: made(Ok(Copying::Zero), Err(busy()), None), ..ice() }),
        ("no zero-copy", Interface { attempt: made(Ok(Copying::Copy(no_zero_copy())), Ok(()), None), ..ice() }),
        ("a queue in use", Interface { attempt: made(Err(busy()), Ok(()), None), ..ice() }),
        ("a NIC that is not to be disturbed", Interface { attempt: Attempt::Not(Reason::Disturbing), ..ice() }),
        ("a driver that says it cannot, and was not tried", Interface { features: Some(Features(0)), ..plain(nic()) }.untried()),
        ("nothing may be tried", Interface { attempt: Attempt::Not(Reason::Forbidden), ..ice() }),
        ("rights are missing", Interface { attempt: Attempt::Not(Reason::Rights("CAP_BPF".to_owned())), ..ice() }),
    ];
    insta::assert_snapshot!(amiss(cases.map(|(case, interface)| (case, interface.findings(&machine)))));
}

#[test]
fn jumbo_packets_need_a_kernel_that_has_them() {
    let of = |release: &str, interface: Interface| {
        let interface = Interface { nic: Nic::recorded("eth2", "ice").with_mtu(9000), ..interface };
        let machine = Machine { kernel: (release.to_owned(), "x86_64".to_owned()), ..Machine::recorded() };
        let mut findings = interface.findings(&machine);
        findings.retain(|finding| finding.check == "mtu");
        findings.remove(0)
    };
    assert_eq!(of("6.6.0", ice()).verdict, Verdict::Ok);
    assert_eq!(of("6.5.13", ice()).verdict, Verdict::Ok, "it was tried");
    let old = of("6.5.13", ice().untried());
    assert_eq!((old.verdict, old.mend.as_deref()), (Verdict::Warn, Some("sudo ip link set eth2 mtu 3822")));
}

#[test]
fn ringway_at_work_is_no_failure() {
    let (described, mend) = ("`ringway_steer` (id 3), native, held by link 1".to_owned(), "bpftool link detach id 1".to_owned());
    let program = Some(Foreign { name: Some("ringway_steer".to_owned()), described, mend });
    let findings = Interface { program, ..ice() }.findings(&Machine::recorded());
    let finding = findings.iter().find(|finding| finding.check == "xdp").unwrap();
    assert!(finding.verdict == Verdict::Ok && finding.text.contains("Ringway is at work"), "{finding:?}");
}

/// Only what lies in this namespace, and resets nothing, may be run without asking.
#[test]
fn nothing_harmful_is_ever_a_fix() {
    let machine = Machine::recorded();
    let unfilled = |place| with_peer(|_| Nic::recorded("veth1", "veth").with_feature("tx-checksum-ip-generic", true), place);
    let fixes =
        |interface: Interface| interface.findings(&machine).into_iter().filter_map(|finding| finding.fix).collect::<Vec<_>>();
    let line = |interface| fixes(interface).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(line(unfilled(Place::Here)), ["sudo ethtool -K veth1 tx off"]);
    for place in [Place::Named("blue".to_owned()), Place::File("/proc/1/ns/net".into()), Place::Unknown] {
        assert!(fixes(unfilled(place)).is_empty());
    }
    assert!(fixes(Interface { nic: Nic::recorded("eth2", "ice").with_feature("rx-lro", true), ..ice() }).is_empty());
    assert!(fixes(with_peer(|peer| peer.with_mtu(9000), Place::Here)).is_empty());
    assert!(fixes(with_peer(|peer| peer.with_queues(1, 4), Place::Here)).is_empty());
}

#[test]
fn drivers_of_hardware_are_only_tried_when_that_is_said() {
    assert_eq!(Trying::Harmless.refuses("ice"), Some(Reason::Disturbing));
    assert_eq!(Trying::Harmless.refuses("virtio_net"), Some(Reason::Disturbing));
    assert_eq!(Trying::Harmless.refuses("veth"), None);
    assert_eq!(Trying::Always.refuses("ice"), None);
    assert_eq!(Trying::Never.refuses("veth"), Some(Reason::Forbidden));
}

#[test]
fn an_old_number_says_less_than_a_program_that_was_taken() {
    let machine = Machine { kernel: ("5.14.0-570.el9".to_owned(), "x86_64".to_owned()), ..Machine::recorded() };
    let finding = kernel::release(&machine);
    assert!(finding.verdict == Verdict::Ok && finding.text.contains("it takes the program"), "{finding:?}");
    // What matters to jumbo packets alone is no fault of a machine that has none.
    let finding = kernel::release(&Machine { kernel: ("6.1.0-32-amd64".to_owned(), "x86_64".to_owned()), ..machine });
    assert!(finding.verdict == Verdict::Ok && finding.text.contains("above 3822 bytes need 6.6"), "{finding:?}");
}

/// On the machine that runs the tests nothing is known but that it answers.
#[test]
fn this_machine_and_its_loopback_can_be_read_without_rights() {
    std::thread::spawn(|| {
        caps::clear(None, caps::CapSet::Effective).unwrap();
        let machine = Machine::read();
        assert!(machine.version().is_some_and(|version| version >= (5, 18)), "{:?}", machine.kernel);
        assert_eq!((&machine.socket, &machine.program), (&None, &None));
        let findings = machine.findings();
        let failed: Vec<_> = findings.iter().filter(|one| one.verdict == Verdict::Fail).map(|one| one.check).collect();
        assert_eq!(failed, ["CAP_NET_RAW", "CAP_NET_ADMIN", "CAP_BPF"]);
        let lo = Interface::read("lo", &machine, Trying::Always).unwrap();
        assert_eq!(lo.attempt, Attempt::Not(Reason::Rights("CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF".to_owned())));
        assert!(Interface::overview().iter().any(|line| line.interface.as_deref() == Some("lo")));
        let error = Interface::read("l0", &machine, Trying::Never).unwrap_err();
        assert!(Finding::refused("interface", "l0", &error).text.contains("did you mean lo?"));
    })
    .join()
    .unwrap();
}
