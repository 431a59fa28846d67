//! `ringway cable` between two kernels: each fault is there, as often as asked for, and nothing else is.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::common::{Netns, run};
use crate::line::{A, B, Line};
use crate::server::{RINGWAY, ringway, run_to_end};
use crate::world::{CLIENT, INTERFACE, SERVER, World, ping};

/// Datagrams from the client to the server, numbered from 0, one every `gap`; gives the numbers in the order of their arrival and when the
/// first and the last came. Every one that arrives is whole.
fn send(line: &Line, count: u32, len: usize, gap: Duration, tos: u32) -> (Vec<u32>, Duration) {
    let receiver = line.world.server.inside(|| UdpSocket::bind((SERVER, 4000)).expect("bind"));
    SockRef::from(&receiver).set_recv_buffer_size(4 << 20).expect("a buffer");
    receiver.set_read_timeout(Some(Duration::from_millis(500))).expect("set a timeout");
    let sender = line.world.client.inside(|| UdpSocket::bind((CLIENT, 0)).expect("bind"));
    SockRef::from(&sender).set_tos_v4(tos).expect("a type of service");
    sender.connect((SERVER, 4000)).expect("connect");
    std::thread::scope(|scope| {
        let received = scope.spawn(move || {
            let (mut numbers, mut times) = (Vec::new(), Vec::new());
            let mut room = [0; 2048];
            while let Ok(n) = receiver.recv(&mut room) {
                times.push(Instant::now());
                let number = u32::from_be_bytes(room[..4].try_into().expect("four bytes"));
                assert!(n == len && room[4..n].iter().all(|&byte| byte == number as u8), "a broken datagram arrived");
                numbers.push(number);
            }
            (numbers, times.last().copied().zip(times.first().copied()).map_or(Duration::ZERO, |(last, first)| last - first))
        });
        let start = Instant::now();
        for number in 0..count {
            let mut datagram = vec![number as u8; len];
            datagram[..4].copy_from_slice(&number.to_be_bytes());
            sender.send(&datagram).expect("send");
            while start.elapsed() < gap * (number + 1) {
                std::thread::sleep((gap * (number + 1)).saturating_sub(start.elapsed()));
            }
        }
        received.join().expect("the receiver")
    })
}

const PACED: Duration = Duration::from_micros(100);

#[test]
fn cable_delays_both_ways() {
    let Some(line) = Line::between_kernels() else { return };
    let cable = line.cable("--delay 20ms");
    let text = ping(&line.world.client, 10, &[], SERVER);
    // 64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=40.2 ms
    let times = text.split(" time=").skip(1).filter_map(|rest| rest.split_whitespace().next()?.parse().ok());
    let min = times.fold(f64::INFINITY, f64::min);
    assert!((40.0..80.0).contains(&min), "{text}");
    let carried = cable.stop();
    assert_eq!((carried.count("a-to-b", "sent"), carried.count("b-to-a", "sent")), (10, 10), "{}", carried.value());
}

#[test]
fn cable_loses_the_same_frames_for_the_same_seed() {
    let Some(line) = Line::between_kernels() else { return };
    let mut runs = BTreeMap::new();
    for (run, seed) in [("first", 7), ("again", 7), ("other", 8)] {
        let cable = line.cable(&format!("--loss 10% --burst 4 --only b-to-a --seed {seed}"));
        let (numbers, _) = send(&line, 3000, 100, PACED, 0);
        let carried = cable.stop();
        let lost = carried.count("b-to-a", "lost");
        assert_eq!(numbers.len() as u64 + lost, 3000, "what was not lost arrived: {}", carried.value());
        assert!((100..600).contains(&lost), "{lost}");
        assert!(numbers.is_sorted(), "nothing overtook");
        runs.insert(run, numbers);
    }
    assert!(runs["first"] == runs["again"], "the same seed loses the same frames");
    assert!(runs["first"] != runs["other"]);
}

#[test]
fn cable_keeps_its_rate_and_its_queue() {
    let Some(line) = Line::between_kernels() else { return };
    // 1042 bytes with the headers: 8.336 ms each at 1 Mbit/s.
    let cable = line.cable("--rate 1M --queue 50");
    let (numbers, took) = send(&line, 200, 1000, Duration::ZERO, 0);
    let carried = cable.stop();
    let dropped = carried.count("b-to-a", "queue_drops");
    // While the sender was busy some frames may have left the queue.
    assert!((51..70).contains(&numbers.len()), "one on the wire and 50 that wait: {}", numbers.len());
    assert_eq!(numbers.len() as u64 + dropped, 200);
    let ideal = 0.008_336 * (numbers.len() - 1) as f64;
    let ratio = took.as_secs_f64() / ideal;
    assert!((0.9..1.5).contains(&ratio), "{took:?} instead of {ideal} s");
}

#[test]
fn cable_duplicates_and_reorders() {
    let Some(line) = Line::between_kernels() else { return };
    let cable = line.cable("--delay 5ms --dup 10% --reorder 10% --seed 3");
    let (numbers, _) = send(&line, 2000, 100, PACED, 0);
    let carried = cable.stop();
    let mut times: BTreeMap<u32, u64> = BTreeMap::new();
    numbers.iter().for_each(|&number| *times.entry(number).or_default() += 1);
    assert_eq!(times.len(), 2000, "each arrives");
    assert_eq!(times.values().sum::<u64>(), 2000 + carried.count("b-to-a", "duplicated"));
    assert!((100..300).contains(&carried.count("b-to-a", "duplicated")), "{}", carried.value());
    let overtaken = numbers.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
    assert!(overtaken > 50 && carried.count("b-to-a", "reordered") > 100, "{overtaken} {}", carried.value());
}

#[test]
fn cable_corrupts_what_the_peers_then_drop() {
    let Some(line) = Line::between_kernels() else { return };
    let cable = line.cable("--corrupt 20% --seed 5");
    // `send` looks at every byte of what arrives.
    let (numbers, _) = send(&line, 2000, 200, PACED, 0);
    let carried = cable.stop();
    let corrupted = carried.count("b-to-a", "corrupted");
    assert!((300..500).contains(&corrupted), "{corrupted}");
    assert_eq!(numbers.len() as u64 + corrupted, 2000);
    assert_eq!(carried.count("b-to-a", "sent"), 2000, "the cable itself drops none");
}

#[test]
fn cable_marks_what_may_be_marked_when_the_queue_is_long() {
    let Some(line) = Line::between_kernels() else { return };
    let marked_at_receiver = || {
        let text = line.world.server.run("cat", &["/proc/net/netstat"]);
        let mut lines = text.lines().filter(|line| line.starts_with("IpExt:")).map(|line| line.split_whitespace());
        let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
        names
            .zip(values)
            .find(|(name, _)| *name == "InCEPkts")
            .map(|(_, n)| n.parse::<u64>().expect("a count"))
            .expect("InCEPkts")
    };
    for (tos, may_mark) in [(0, false), (2, true)] {
        let before = marked_at_receiver();
        let cable = line.cable("--rate 10M --queue 100 --ecn-threshold 10");
        let (numbers, _) = send(&line, 60, 1000, Duration::ZERO, tos);
        let carried = cable.stop();
        let marked = carried.count("b-to-a", "marked");
        assert_eq!((numbers.len(), carried.count("b-to-a", "queue_drops")), (60, 0));
        assert_eq!(marked > 20, may_mark, "{}", carried.value());
        assert_eq!(marked_at_receiver() - before, marked, "the kernel sees the marks");
    }
}

#[test]
fn cable_carries_the_frames_of_all_queues() {
    let Some(line) = Line::between_kernels_with_queues(2) else { return };
    let cable = line.cable("--delay 1ms");
    // The kernel spreads flows over its queues; each call is a flow of its own.
    let all: usize = (0..16).map(|_| send(&line, 20, 100, PACED, 0).0.len()).sum();
    let carried = cable.stop();
    assert_eq!((all, carried.count("b-to-a", "sent")), (320, 320), "{}", carried.value());
    let queues = carried.value()["queues"].as_array().expect("a list");
    assert_eq!(queues.len(), 4, "{}", carried.value());
    for queue in queues {
        let count = if queue["interface"] == 1 { "received" } else { "transmitted" };
        assert!(queue[count].as_u64().is_some_and(|n| n > 0), "{queue}");
    }
}

#[test]
fn cable_notes_that_a_peer_leaves_checksums_to_an_offload() {
    let Some(line) = Line::between_kernels() else { return };
    line.world.client.run("ethtool", &["-K", INTERFACE, "tx", "on"]);
    let cable = line.cable("--delay 1ms");
    let (numbers, _) = send(&line, 20, 100, PACED, 0);
    let carried = cable.stop();
    assert_eq!((numbers.len(), carried.count("b-to-a", "unfilled"), carried.count("a-to-b", "unfilled")), (0, 20, 0));
    let notes = carried.value()["conditions"]["notes"].to_string();
    assert!(notes.contains("at the other end of right: sudo ethtool -K IF tx off"), "{notes}");
}

#[test]
fn cable_sleeps_while_nothing_is_due_and_ends_by_itself() {
    let Some(line) = Line::between_kernels() else { return };
    let cable = line.cable("-t 2s --delay 10ms --rate 100M --loss 1%");
    let carried = cable.finish();
    let of = |name: &str| carried.value()[name].as_u64().expect("a time");
    assert!((2_000_000_000..4_000_000_000).contains(&of("wall_ns")), "{}", carried.value());
    // A loop that spun would have taken all of it, and half of it beside another busy thread.
    assert!(of("cpu_ns") * 20 < of("wall_ns"), "{}", carried.value());
    let link = line.middle.ip(&["-d", "link", "show"]);
    assert!(!link.contains("prog/xdp"), "a program is left behind:\n{link}");
}

#[test]
fn cable_says_why_it_cannot_join_and_what_mends_it() {
    let Some(line) = Line::between_kernels() else { return };
    let refused = |netns: &Netns, arguments: &[&str]| {
        let (code, out, log) = ringway(netns, &[&["cable"], arguments].concat());
        assert!(out.is_empty(), "{out}");
        (code, log)
    };
    let cable = line.cable("--delay 1ms");
    line.middle.ip(&["link", "add", "pair0", "type", "veth", "peer", "name", "pair1"]);
    line.middle.ip(&["link", "set", "pair0", "up"]);
    line.middle.ip(&["link", "set", "pair1", "up"]);
    line.middle.ip(&["link", "add", "big0", "mtu", "9000", "type", "veth", "peer", "name", "big1"]);
    line.middle.ip(&["link", "set", "big0", "up"]);
    line.middle.ip(&["link", "set", "big1", "up"]);
    for (arguments, code, words) in [
        (&["-i", A, "-i", A][..], 2, ["cannot use the interface left twice", "try: -i eth0 -i eth1"]),
        (&["-i", A], 2, ["cannot make the cable", "try: -i eth0 -i eth1"]),
        (&["-i", A, "-i", "rihgt"], 3, ["rihgt", "right"]),
        (&["-i", A, "-i", B], 3, ["cannot bind an AF_XDP socket to queue 0 of left", "try: end the program"]),
        (&["-i", "pair0", "-i", "pair1"], 2, ["two ends of one veth pair", "try: two pairs"]),
        (&["-i", "big0", "-i", "pair0"], 3, ["MTU of 9000", "try: sudo ip link set big0 mtu 3822"]),
        (
            &["-i", "lo", "-i", "pair0"],
            3,
            ["the kernel has the address 127.0.0.1/8", "try: sudo ip address del 127.0.0.1/8 dev lo"],
        ),
    ] {
        let (found, log) = refused(&line.middle, arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {log}");
        assert!(words.iter().all(|word| log.contains(word)), "{arguments:?}: {log}");
    }
    let World { client, .. } = &line.world;
    let (code, log) = refused(client, &["-i", INTERFACE, "-i", "lo"]);
    assert!(code == Some(3) && log.contains("try: sudo ip address del"), "{log}");
    cable.stop();
    // Another XDP program on the interface, and no socket in the way.
    let mut other = line.middle.command(RINGWAY);
    other.args(["serve", "-i", "pair0", "-a", "10.9.0.2/24", "--stack", "raw", "xdp-tx"]);
    let mut other = other.stdout(std::process::Stdio::piped()).spawn().expect("ip starts");
    let mut ready = String::new();
    let stdout = other.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut ready).expect("a line");
    assert!(ready.starts_with("ready"), "{ready}");
    let (code, log) = refused(&line.middle, &["-i", A, "-i", "pair0"]);
    assert!(code == Some(3) && log.contains("another XDP program is there") && log.contains("try: bpftool link detach"), "{log}");
    run(std::process::Command::new("kill").arg(other.id().to_string()));
    other.wait().expect("wait");
}

#[test]
fn cable_without_rights_names_the_capability() {
    let Some(line) = Line::between_kernels() else { return };
    let mut command = line.middle.command("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--", RINGWAY, "cable", "-i", A, "-i", B]);
    let (code, _, log) = run_to_end(command);
    assert_eq!(code, Some(3), "{log}");
    assert!(log.contains("CAP_") && log.contains("setcap"), "{log}");
}
