//! The DNS service as its users meet it: dig over UDP and TCP, and clients who mean it badly.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::time::Duration;

use crate::client::connect;
use crate::server::{Server, Summary};
use crate::world::{SERVER, SERVER_CIDR, World};

const SERVICE: &str = concat!("dns:53=", env!("CARGO_MANIFEST_DIR"), "/examples/example.zone");

/// A world whose server side answers for the zone of the examples.
fn site() -> Option<(World, Server)> {
    let world = World::new()?;
    let server = Server::with(&world, &["-a", SERVER_CIDR, SERVICE]);
    Some((world, server))
}

/// What dig prints for a question.
fn dig(world: &World, question: &[&str]) -> String {
    let server = format!("@{SERVER}");
    world.client.run("dig", &[&[server.as_str(), "+timeout=5", "+tries=1", "+nocookie"], question].concat())
}

fn count(summary: &Summary, name: &str) -> u64 {
    summary.value()["dns"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {}", summary.value()["dns"]))
}

/// A question for mail.example.test with its type, class IN.
fn question(rtype: u8) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(b"\x04mail\x07example\x04test\0");
    bytes.extend_from_slice(&[0, rtype, 0, 1]);
    bytes
}

#[test]
fn dns_dig_gets_the_same_answers_over_udp_and_tcp() {
    let Some((world, server)) = site() else { return };
    let questions = [
        ("mail.example.test", "A", "192.0.2.25\n"),
        ("alias.example.test", "A", "alias2.example.test.\nmail.example.test.\n192.0.2.25\n"),
        ("any.wild.example.test", "A", "192.0.2.100\n"),
        ("example.test", "AAAA", "2001:db8::80\n"),
        ("_sip._tcp.example.test", "SRV", "0 5 5060 sip.example.test.\n1 5 5060 mail.example.test.\n"),
        ("nowhere.example.test", "A", ""),
    ];
    for (name, rtype, expected) in questions {
        for transport in ["+notcp", "+tcp"] {
            assert_eq!(dig(&world, &["+short", transport, name, rtype]), expected, "{name} {rtype} {transport}");
        }
    }
    let referral = dig(&world, &["+norecurse", "www.child.example.test"]);
    for line in ["status: NOERROR", "flags: qr; QUERY: 1, ANSWER: 0, AUTHORITY: 2, ADDITIONAL: 3", "192.0.2.53", "2001:db8::53"] {
        assert!(referral.contains(line), "{line} in {referral}");
    }
    assert!(dig(&world, &["elsewhere.test"]).contains("status: REFUSED"));
    assert!(dig(&world, &["+opcode=notify", "example.test", "SOA"]).contains("status: NOTIMP"));
    // dig says what becomes of a transfer on its own line.
    assert!(dig(&world, &["example.test", "AXFR"]).contains("Transfer failed"));
    let summary = server.stop();
    assert_eq!((count(&summary, "udp"), count(&summary, "tcp")), (9, 7));
    assert_eq!((count(&summary, "malformed"), count(&summary, "failed"), count(&summary, "no_name")), (0, 0, 2));
    assert_eq!(summary.counter("udp_copies"), 0);
    assert_eq!(summary.counter("tcp_closed"), summary.counter("tcp_accepted"));
}

#[test]
fn dns_what_does_not_fit_is_truncated_and_asked_for_again_over_tcp() {
    let Some((world, server)) = site() else { return };
    // 725 bytes: too long without EDNS, and with EDNS for a client that takes less.
    let cut = dig(&world, &["+noedns", "+ignore", "large.example.test", "TXT"]);
    assert!(cut.contains("flags: qr aa tc rd;") || cut.contains("flags: qr tc rd;"), "{cut}");
    assert!(cut.contains("ANSWER: 0"), "{cut}");
    assert!(dig(&world, &["+bufsize=600", "+ignore", "large.example.test", "TXT"]).contains(" tc "));
    let whole = dig(&world, &["+bufsize=1232", "large.example.test", "TXT"]);
    assert!(
        whole.contains("ANSWER: 6") && whole.contains("(UDP)") && whole.contains("EDNS: version: 0, flags:; udp: 1232"),
        "{whole}"
    );
    // 2 KB: more than the service sends over UDP to anybody. dig comes back over TCP by itself.
    for question in [["+bufsize=4096", "huge.example.test"], ["+noedns", "large.example.test"]] {
        let whole = dig(&world, &[question[0], question[1], "TXT"]);
        assert!(whole.contains("Truncated, retrying in TCP mode") && whole.contains("(TCP)"), "{whole}");
        assert!(whole.contains(if question[1].starts_with("huge") { "ANSWER: 20" } else { "ANSWER: 6" }), "{whole}");
    }
    let version = dig(&world, &["+edns=1", "+noednsnegotiation", "mail.example.test"]);
    assert!(version.contains("status: BADVERS") && version.contains("EDNS: version: 0"), "{version}");
    let summary = server.stop();
    assert_eq!((count(&summary, "truncated"), count(&summary, "tcp"), count(&summary, "bad_version")), (4, 2, 1));
}

#[test]
fn dns_the_size_of_answers_is_a_setting() {
    let Some(world) = World::new() else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--set", "dns.udp_payload=600", SERVICE]);
    let cut = dig(&world, &["+bufsize=4096", "+ignore", "large.example.test", "TXT"]);
    assert!(cut.contains(" tc ") && cut.contains("udp: 600"), "{cut}");
    server.stop();
}

#[test]
fn dns_queries_in_a_row_are_answered_in_order_over_one_connection() {
    let Some((world, server)) = site() else { return };
    let ids = world.client.inside(|| {
        let mut stream = connect(53);
        let mut bytes = Vec::new();
        for id in 0..500u16 {
            let mut question = question(1);
            question[..2].copy_from_slice(&id.to_be_bytes());
            bytes.extend_from_slice(&(question.len() as u16).to_be_bytes());
            bytes.extend_from_slice(&question);
        }
        stream.write_all(&bytes).expect("write");
        let mut ids = Vec::new();
        for _ in 0..500 {
            let mut length = [0; 2];
            stream.read_exact(&mut length).expect("read");
            let mut answer = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut answer).expect("read");
            assert_eq!(answer[3] & 15, 0);
            ids.push(u16::from_be_bytes([answer[0], answer[1]]));
        }
        ids
    });
    assert_eq!(ids, (0..500).collect::<Vec<u16>>());
    assert_eq!(count(&server.stop(), "tcp"), 500);
}

#[test]
fn dns_a_silent_connection_is_closed() {
    let Some((world, server)) = site() else { return };
    world.client.inside(|| {
        let mut stream = connect(53);
        stream.set_read_timeout(Some(Duration::from_secs(15))).expect("a time-out");
        stream.write_all(&[0, 34, 1]).expect("write");
        assert_eq!(stream.read(&mut [0; 10]).expect("the end"), 0);
    });
    assert_eq!(count(&server.stop(), "idle"), 1);
}

#[test]
fn dns_neither_responses_nor_low_ports_are_answered() {
    let Some((world, server)) = site() else { return };
    world.client.inside(|| {
        let ask = |port: u16, bytes: &[u8]| {
            let socket = UdpSocket::bind(("10.0.0.1", port)).expect("a socket");
            socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a time-out");
            socket.send_to(bytes, (SERVER, 53)).expect("send");
            socket.recv(&mut [0; 2000]).ok()
        };
        let mut response = question(1);
        response[2] = 0x80;
        assert_eq!(ask(0, &response), None);
        assert_eq!(ask(19, &question(1)), None);
        assert_eq!(ask(0, b"too short"), None);
        assert_eq!(ask(0, &[0; 12]), Some(12));
        assert!(ask(0, &question(1)).is_some() && ask(53, &question(1)).is_some());
    });
    let summary = server.stop();
    assert_eq!((count(&summary, "responses"), count(&summary, "too_short"), count(&summary, "malformed")), (1, 1, 1));
    assert_eq!((count(&summary, "answered"), summary.dropped("udp_unsafe_to_answer")), (2, 2));
}

#[test]
fn dns_is_answered_at_a_port_of_the_kernels_address_too() {
    let Some(world) = World::with_kernel_server() else { return };
    let server = Server::with(&world, &["--claim", "tcp:53,udp:53", SERVICE]);
    assert_eq!(dig(&world, &["+short", "mail.example.test"]), "192.0.2.25\n");
    assert_eq!(dig(&world, &["+short", "+tcp", "mail.example.test"]), "192.0.2.25\n");
    server.stop();
    world.assert_untouched();
}
