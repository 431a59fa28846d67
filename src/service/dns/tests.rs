use std::time::Duration;

use domain::base::header::Header;
use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::AllRecordData;
use proptest::prelude::*;

use super::super::testing::{Fake, datagram_from};
use super::connection::{FIRST_QUERY, PROGRESS_BYTES};
use super::*;

const ZONE: &str = include_str!("../../../examples/example.zone");
const CLIENT: &str = "10.0.0.1:40000";
const PLENTY: usize = 1 << 24;

fn service(text: &str) -> Dns {
    let zone = Zone::parse(text.as_bytes()).unwrap_or_else(|wrong| panic!("{}", wrong.why));
    let mut dns = Dns::new(vec![Some(Arc::new(zone))], 8, 1232);
    dns.opened(EndpointId(0), 0);
    dns
}

/// A query of class IN, and what else is to be done to it before it is sent.
fn query_with(name: &str, rtype: Rtype, edns: Option<u16>, change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(0x1234);
    change(builder.header_mut());
    let mut builder = builder.question();
    builder.push((Name::vec_from_str(name).unwrap(), rtype)).unwrap();
    let mut builder = builder.additional();
    if let Some(payload) = edns {
        builder
            .opt(|opt| {
                opt.set_udp_payload_size(payload);
                opt.set_dnssec_ok(true);
                Ok(())
            })
            .unwrap();
    }
    builder.finish()
}

fn query(name: &str, rtype: Rtype) -> Vec<u8> {
    query_with(name, rtype, None, |_| ())
}

/// What comes back for a datagram.
fn say(dns: &mut Dns, bytes: &[u8]) -> Option<Vec<u8>> {
    match datagram_from(dns, &mut Fake::default(), CLIENT, bytes) {
        (Answer::Reply { len }, room) => Some(room[..len].to_vec()),
        (Answer::Ignore | Answer::Unsafe, _) => None,
        (answer, _) => panic!("{answer:?}"),
    }
}

/// An answer as text: flags, RCODE, and a line for each record of answer, authority and additional section.
fn show(answer: &[u8]) -> String {
    let message = Message::from_slice(answer).unwrap();
    let header = message.header();
    assert!(header.qr() && !header.ra() && !header.ad() && !header.z());
    let flags = [(header.aa(), " aa"), (header.tc(), " tc"), (header.rd(), " rd"), (header.cd(), " cd")];
    let flags: String = flags.into_iter().filter_map(|(set, word)| set.then_some(word)).collect();
    let mut text = format!("{}{flags}", header.rcode());
    let sections = [message.answer(), message.authority(), message.additional()];
    for (mark, section) in ["", "! ", "+ "].into_iter().zip(sections) {
        let section = section.unwrap();
        let mut lines = Vec::new();
        for record in section.into_records::<AllRecordData<_, _>>() {
            let record = record.unwrap();
            if record.rtype() != Rtype::OPT {
                lines.push(format!("\n{mark}{} {} {} {}", record.owner(), record.ttl().as_secs(), record.rtype(), record.data()));
            }
        }
        text.extend(lines);
    }
    text
}

fn ask(name: &str, rtype: Rtype) -> String {
    show(&say(&mut service(ZONE), &query(name, rtype)).unwrap())
}

const SOA: &str = "\n! example.test 300 SOA ns1.example.test. hostmaster.example.test. 2026112201 7200 900 1209600 300";

#[test]
fn records_are_found_by_name_and_type() {
    for (name, rtype, expected) in [
        ("example.test", Rtype::A, "example.test 3600 A 192.0.2.80"),
        ("example.test", Rtype::AAAA, "example.test 3600 AAAA 2001:db8::80"),
        ("example.test", Rtype::NS, "example.test 3600 NS ns1.example.test.\nexample.test 3600 NS ns2.example.test."),
        ("example.test", Rtype::MX, "example.test 3600 MX 10 mail.example.test.\nexample.test 3600 MX 20 mail.elsewhere.test."),
        ("many-ttls.example.test", Rtype::TXT, "many-ttls.example.test 30 TXT \"short-lived\""),
        ("10.2.0.192.example.test", Rtype::PTR, "10.2.0.192.example.test 3600 PTR host.example.test."),
        (
            "secure.example.test",
            Rtype::DS,
            "secure.example.test 3600 DS 12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ),
        ("www.example.test", Rtype::CNAME, "www.example.test 3600 CNAME example.test."),
    ] {
        assert_eq!(ask(name, rtype), format!("NOERROR aa\n{expected}"), "{name} {rtype}");
    }
    assert!(ask("_sip._tcp.example.test", Rtype::SRV).contains("SRV 0 5 5060 sip.example.test"));
    assert!(ask("example.test", Rtype::TXT).contains("\"a text\" \"in two strings\""));
    let opaque = ask("opaque.example.test", Rtype::from_int(65280)).to_lowercase();
    assert!(opaque.contains("0a 0b 0c 0d"), "{opaque}");
}

#[test]
fn the_question_keeps_its_case_and_is_found_in_any() {
    let bytes = say(&mut service(ZONE), &query("WwW.eXample.TEST", Rtype::CNAME)).unwrap();
    let question = Message::from_slice(&bytes).unwrap().sole_question().unwrap();
    assert_eq!(question.qname().to_string(), "WwW.eXample.TEST");
    assert_eq!(show(&bytes), "NOERROR aa\nWwW.eXample.TEST 3600 CNAME eXample.TEST.");
    assert_eq!(ask("mixed-case.example.test", Rtype::A), "NOERROR aa\nmixed-case.example.test 3600 A 192.0.2.7");
}

#[test]
fn what_is_not_there_comes_with_the_soa() {
    assert_eq!(ask("mail.example.test", Rtype::AAAA), format!("NOERROR aa{SOA}"));
    assert_eq!(ask("nowhere.example.test", Rtype::A), format!("NXDOMAIN aa{SOA}"));
    // A name that only has something below it is there.
    assert_eq!(ask("empty.example.test", Rtype::A), format!("NOERROR aa{SOA}"));
    assert_eq!(ask("_tcp.example.test", Rtype::A), format!("NOERROR aa{SOA}"));
    assert_eq!(ask("x.below.empty.example.test", Rtype::A), format!("NXDOMAIN aa{SOA}"));
}

#[test]
fn aliases_are_followed_within_the_zone() {
    let mail = "\nmail.example.test 3600 A 192.0.2.25";
    let chain = "\nalias.example.test 3600 CNAME alias2.example.test.\nalias2.example.test 60 CNAME mail.example.test.";
    assert_eq!(ask("alias.example.test", Rtype::A), format!("NOERROR aa{chain}{mail}"));
    assert_eq!(ask("alias.example.test", Rtype::MX), format!("NOERROR aa{chain}{SOA}"));
    let away = "NOERROR aa\naway.example.test 3600 CNAME www.elsewhere.test.";
    assert_eq!(ask("away.example.test", Rtype::A), away);
    let dangling = format!("NXDOMAIN aa\ndangling.example.test 3600 CNAME nowhere.example.test.{SOA}");
    assert_eq!(ask("dangling.example.test", Rtype::A), dangling);
    let into = ask("into.example.test", Rtype::A);
    assert!(into.starts_with("NOERROR aa\ninto.example.test 3600 CNAME www.child.example.test.\n! child.example.test"), "{into}");
    let starred = ask("starred.example.test", Rtype::A);
    assert!(starred.ends_with("\nany.wild.example.test 3600 A 192.0.2.100"), "{starred}");
    // A circle ends.
    let circle = "\ncircle1.example.test 3600 CNAME circle2.example.test.\ncircle2.example.test 3600 CNAME circle1.example.test.";
    assert_eq!(ask("circle1.example.test", Rtype::A), format!("NOERROR aa{circle}"));
    // So does a chain that does not end by itself.
    let chain: String = (0..100).map(|n| format!("n{n} CNAME n{}\n", n + 1)).collect();
    let mut dns = service(&format!("$ORIGIN x.\n@ SOA a b 1 2 3 4 5\n@ NS a\n{chain}n100 A 192.0.2.1\n"));
    let mut hops =
        |name: &str| show(&say(&mut dns, &query_with(name, Rtype::A, Some(1232), |_| ())).unwrap()).lines().count() - 1;
    assert_eq!((hops("n0.x"), hops("n84.x"), hops("n85.x")), (limits::DNS_ALIASES, limits::DNS_ALIASES + 1, limits::DNS_ALIASES));
}

#[test]
fn a_wildcard_stands_for_names_that_are_not_there() {
    assert_eq!(ask("any.wild.example.test", Rtype::A), "NOERROR aa\nany.wild.example.test 3600 A 192.0.2.100");
    assert_eq!(ask("a.b.c.wild.example.test", Rtype::A), "NOERROR aa\na.b.c.wild.example.test 3600 A 192.0.2.100");
    assert_eq!(ask("*.wild.example.test", Rtype::A), "NOERROR aa\n*.wild.example.test 3600 A 192.0.2.100");
    assert_eq!(ask("any.wild.example.test", Rtype::AAAA), format!("NOERROR aa{SOA}"));
    assert_eq!(ask("there.wild.example.test", Rtype::A), format!("NOERROR aa{SOA}"));
    // RFC 4592 2.2.1: below a name that is there, the wildcard above stands for nothing.
    assert_eq!(ask("x.b.wild.example.test", Rtype::A), format!("NXDOMAIN aa{SOA}"));
    assert_eq!(ask("x.there.wild.example.test", Rtype::A), format!("NXDOMAIN aa{SOA}"));
    assert_eq!(ask("wild.example.test", Rtype::A), format!("NOERROR aa{SOA}"));
    let alias = "NOERROR aa\nx.calias.example.test 3600 CNAME mail.example.test.\nmail.example.test 3600 A 192.0.2.25";
    assert_eq!(ask("x.calias.example.test", Rtype::A), alias);
}

#[test]
fn below_a_cut_others_are_named() {
    let referral = "NOERROR\n! child.example.test 3600 NS ns1.child.example.test.\n\
        ! child.example.test 3600 NS ns.elsewhere.test.\n\
        + ns1.child.example.test 3600 A 192.0.2.53\n+ ns1.child.example.test 3600 AAAA 2001:db8::53";
    for name in ["child.example.test", "www.child.example.test", "hidden.child.example.test", "ns1.child.example.test"] {
        assert_eq!(ask(name, Rtype::A), referral, "{name}");
    }
    assert_eq!(ask("child.example.test", Rtype::NS), referral);
    // The DS record belongs above the cut.
    assert_eq!(ask("child.example.test", Rtype::DS), format!("NOERROR aa{SOA}"));
    assert_eq!(ask("x.child.example.test", Rtype::DS), referral);
}

#[test]
fn any_gives_one_set() {
    assert_eq!(ask("example.test", Rtype::ANY), "NOERROR aa\nexample.test 3600 A 192.0.2.80");
    assert_eq!(ask("www.example.test", Rtype::ANY), "NOERROR aa\nwww.example.test 3600 CNAME example.test.");
    assert_eq!(ask("nowhere.example.test", Rtype::ANY), format!("NXDOMAIN aa{SOA}"));
    assert_eq!(ask("empty.example.test", Rtype::ANY), format!("NOERROR aa{SOA}"));
}

#[test]
fn what_is_not_ours_is_refused() {
    for name in ["elsewhere.test", ".", "test", "example.test.elsewhere", "notexample.test"] {
        assert_eq!(ask(name, Rtype::A), "REFUSED", "{name}");
    }
    for rtype in [Rtype::AXFR, Rtype::IXFR] {
        assert_eq!(ask("example.test", rtype), "REFUSED", "{rtype}");
    }
    let mut dns = service(ZONE);
    for class in [Class::CH, Class::HS, Class::ANY] {
        let mut bytes = query("example.test", Rtype::A);
        let at = bytes.len() - 2;
        bytes[at..].copy_from_slice(&class.to_int().to_be_bytes());
        assert_eq!(show(&say(&mut dns, &bytes).unwrap()), "REFUSED", "{class}");
    }
    for opcode in [Opcode::IQUERY, Opcode::STATUS, Opcode::NOTIFY, Opcode::UPDATE, Opcode::from_int(15)] {
        let answer = say(&mut dns, &query_with("example.test", Rtype::A, None, |header| header.set_opcode(opcode))).unwrap();
        assert_eq!((show(&answer).as_str(), answer.len()), ("NOTIMP", 12), "{opcode}");
        assert_eq!(Message::from_slice(&answer).unwrap().header().opcode(), opcode);
    }
    assert_eq!((dns.counts().refused, dns.counts().not_implemented), (3, 5));
}

#[test]
fn flags_of_the_client_come_back() {
    let answer = |change: fn(&mut Header)| {
        let bytes = query_with("mail.example.test", Rtype::A, None, change);
        show(&say(&mut service(ZONE), &bytes).unwrap()).lines().next().unwrap().to_owned()
    };
    assert_eq!(answer(|header| header.set_rd(true)), "NOERROR aa rd");
    assert_eq!(answer(|header| header.set_cd(true)), "NOERROR aa cd");
    assert_eq!(answer(|header| header.set_aa(true)), "NOERROR aa");
    assert_eq!(answer(|header| header.set_ad(true)), "NOERROR aa");
}

#[test]
fn messages_that_are_no_question_get_formerr_or_nothing() {
    let good = query("mail.example.test", Rtype::A);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let cases = [
        // No question, two, and one that is not there.
        with(5, 0),
        [with(5, 2), good[12..].to_vec()].concat(),
        good[..12].to_vec(),
        good[..20].to_vec(),
        good[..good.len() - 1].to_vec(),
        // Records that a question does not have, and some that are not there.
        with(7, 1),
        with(9, 1),
        with(11, 1),
        // A label of a type that does not exist, a name that points at itself, and one that points beyond the message.
        with(12, 0x80),
        [&good[..12], &[0xc0, 12, 0, 1, 0, 1]].concat(),
        [&good[..12], &[0xff, 0xff, 0, 1, 0, 1]].concat(),
    ];
    let mut dns = service(ZONE);
    for (index, bytes) in cases.iter().enumerate() {
        let answer = say(&mut dns, bytes).unwrap_or_else(|| panic!("case {index}"));
        assert_eq!(show(&answer), "FORMERR", "case {index}");
    }
    assert_eq!(dns.counts(), Counts { udp: cases.len() as u64, malformed: cases.len() as u64, ..Counts::default() });
    for len in 0..12 {
        assert_eq!(say(&mut dns, &good[..len]), None);
    }
    assert_eq!(dns.counts().too_short, 12);
}

#[test]
fn responses_and_dangerous_ports_are_not_answered() {
    let mut dns = service(ZONE);
    let mut cx = Fake::default();
    let bytes = query("mail.example.test", Rtype::A);
    let response = query_with("mail.example.test", Rtype::A, None, |header| header.set_qr(true));
    assert_eq!(datagram_from(&mut dns, &mut cx, CLIENT, &response).0, Answer::Unsafe);
    assert_eq!(datagram_from(&mut dns, &mut cx, "10.0.0.1:53", &response).0, Answer::Unsafe);
    for port in [0, 7, 19, 1023] {
        assert_eq!(datagram_from(&mut dns, &mut cx, &format!("10.0.0.1:{port}"), &bytes).0, Answer::Unsafe, "{port}");
    }
    assert!(matches!(datagram_from(&mut dns, &mut cx, "10.0.0.1:53", &bytes).0, Answer::Reply { .. }));
    assert_eq!(dns.counts(), Counts { udp: 7, responses: 2, answered: 1, ..Counts::default() });
    // An answer is never answered.
    let answer = say(&mut dns, &bytes).unwrap();
    assert_eq!(say(&mut dns, &answer), None);
}

#[test]
fn edns_decides_how_long_an_answer_may_be() {
    let mut dns = service(ZONE);
    let mut ask = |name: &str, edns| {
        let bytes = query_with(name, Rtype::TXT, edns, |_| ());
        let answer = say(&mut dns, &bytes).unwrap();
        let message = Message::from_slice(&answer).unwrap();
        let opt = message.opt().map(|opt| (opt.udp_payload_size(), opt.version(), opt.dnssec_ok()));
        (message.header().tc(), message.header_counts().ancount(), answer.len(), opt)
    };
    let ours = Some((1232, 0, true));
    // Six strings of a hundred bytes; twenty of them.
    assert_eq!(ask("large.example.test", None), (true, 0, 36, None));
    assert_eq!(ask("large.example.test", Some(0)), (true, 0, 47, ours));
    assert_eq!(ask("large.example.test", Some(724)), (true, 0, 47, ours));
    assert_eq!(ask("large.example.test", Some(725)), (false, 6, 725, ours));
    assert_eq!(ask("large.example.test", Some(1232)), (false, 6, 725, ours));
    assert_eq!(ask("huge.example.test", Some(u16::MAX)), (true, 0, 46, ours));
    assert_eq!(dns.counts().truncated, 4);
}

#[test]
fn edns_that_is_not_ours_is_told_so() {
    let mut dns = service(ZONE);
    let bytes = query_with("mail.example.test", Rtype::A, Some(1232), |_| ());
    let opt = bytes.len() - 11;
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[opt + at] = byte;
        bytes
    };
    let answer = say(&mut dns, &with(6, 1)).unwrap();
    let message = Message::from_slice(&answer).unwrap();
    assert_eq!((message.opt_rcode(), message.header().rcode()), (OptRcode::BADVERS, Rcode::NOERROR));
    assert_eq!((message.opt().unwrap().version(), message.header_counts().ancount()), (0, 0));
    // Two of them, one that is not at the root, and one whose option is longer than itself.
    let mut two = [&bytes[..], &bytes[opt..]].concat();
    two[11] = 2;
    let elsewhere = [&bytes[..opt], &[0xc0, 12], &bytes[opt + 1..]].concat();
    let option = [&with(10, 4)[..], &[0, 10, 0, 1]].concat();
    for (index, bytes) in [two, elsewhere, option].iter().enumerate() {
        let answer = say(&mut dns, bytes).unwrap();
        assert!(show(&answer).starts_with("FORMERR"), "case {index}");
    }
    // Options of any kind are passed over.
    let option = [&with(10, 5)[..], &[0, 10, 0, 1, 7]].concat();
    assert!(show(&say(&mut dns, &option).unwrap()).starts_with("NOERROR aa\nmail"));
    assert_eq!((dns.counts().bad_version, dns.counts().malformed, dns.counts().answered), (1, 3, 1));
}

#[test]
fn a_referral_without_room_for_its_glue_is_truncated() {
    let servers: String = (0..12).map(|n| format!("child NS ns{n}.child\nns{n}.child AAAA 2001:db8::{n:x}\n")).collect();
    let text = format!("$ORIGIN example.test.\n@ SOA a b 1 1 1 1 1\n@ NS a.elsewhere.\n{servers}");
    let mut dns = service(&text);
    assert_eq!(show(&say(&mut dns, &query("x.child.example.test", Rtype::A)).unwrap()), "NOERROR tc");
    let answer = say(&mut dns, &query_with("x.child.example.test", Rtype::A, Some(1232), |_| ())).unwrap();
    assert_eq!(show(&answer).matches("\n+ ").count(), 12);
}

#[test]
fn files_that_are_no_zones_are_refused_with_the_reason() {
    let soa = "$ORIGIN example.test.\n@ 60 IN SOA a b 1 2 3 4 5\n";
    let whole = format!("{soa}@ NS a\n");
    for (text, expected) in [
        ("", "has none"),
        ("@ SOA a b 1 2 3 4 5\n", "line 1:"),
        ("$ORIGIN example.test.\n@ NS a\n", "has none"),
        (soa, "no NS record"),
        (&format!("{whole}@ SOA c d 1 2 3 4 5\n"), "or several"),
        (&format!("{whole}x CNAME y\nx A 192.0.2.1\n"), "x.example.test. has a CNAME record and others beside it"),
        (&format!("{whole}x CNAME y\nx CNAME z\n"), "x.example.test. has a CNAME record"),
        (&format!("{whole}x.elsewhere. A 192.0.2.1\n"), "x.elsewhere. lies outside the zone"),
        (&format!("{whole}x DNAME y\n"), "the DNAME record of x.example.test. cannot be served"),
        (&format!("{whole}x CH A 192.0.2.1\n"), "line 4:"),
        (&format!("{whole}x A 192.0.2.256\nz A 192.0.2.1\n"), "at or before line 5:"),
        (&format!("{whole}x 2147483648 A 192.0.2.1\n"), "TTL"),
        (&format!("{whole}x TYPE1 \\# 3 0a0b0c\n"), "the A record of x.example.test. is not as its type demands"),
        (&format!("{whole}$INCLUDE other\n"), "$INCLUDE is not supported"),
        (&format!("{whole}x A (\n"), "a parenthesis is not closed"),
        (&format!("{whole}x A 192.0.2.1\"\n(;\n@ TXT \"x\"\n"), "line"),
        (&format!("{whole}(;\n@ TXT \"x\"\n"), "a parenthesis is not closed"),
        (&format!("{whole}x CNAME \\@\n"), "a label that is a single '@'"),
        (&format!("{whole}x CNAME @.y\n"), "a label that is a single '@'"),
    ] {
        let wrong = Zone::parse(text.as_bytes()).expect_err(text);
        assert!(wrong.why.contains(expected), "{text}: {}", wrong.why);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "@ SOA a b 1 2 3 4 5\n").unwrap();
    let error = Zone::load(file.path()).unwrap_err();
    assert_eq!((error.exit_code(), error.remedy()), (2, Some("$ORIGIN example.com. as the first line of the file")));
    assert!(error.to_string().contains("line 1:"), "{error}");
}

#[test]
fn sets_have_one_ttl_and_no_record_twice() {
    let text = "$ORIGIN example.test.\n@ 60 IN SOA a b 1 2 3 4 5\n@ 60 NS a\nx 60 A 192.0.2.1\nX 30 A 192.0.2.2\nx 90 A 192.0.2.1\n\
        y 60 TYPE1 \\# 4 c0000203\n";
    let zone = Zone::parse(text.as_bytes()).unwrap();
    assert_eq!(zone.records(), 5);
    let mut dns = service(text);
    let answer = show(&say(&mut dns, &query("x.example.test", Rtype::A)).unwrap());
    assert_eq!(answer, "NOERROR aa\nx.example.test 30 A 192.0.2.1\nx.example.test 30 A 192.0.2.2");
    // The unknown-type form is the same record.
    let answer = show(&say(&mut dns, &query("y.example.test", Rtype::A)).unwrap());
    assert_eq!(answer, "NOERROR aa\ny.example.test 60 A 192.0.2.3");
    // RFC 2308: nothing is remembered for as long as the SOA says, and no longer than it is itself.
    let answer = show(&say(&mut dns, &query("z.example.test", Rtype::A)).unwrap());
    assert!(answer.starts_with("NXDOMAIN aa\n! example.test 5 SOA"), "{answer}");
}

#[test]
fn an_at_sign_is_the_origin_wherever_it_stands_free() {
    let text =
        "$ORIGIN example.test.\n@ 60 IN SOA @ x.y 1 2 3 4 5\n@ NS @\n$ORIGIN x.example.test.\na CNAME @\n@ MX 1 @\n@ TXT @ a@b\n";
    let mut dns = service(text);
    let mut ask = |name: &str, rtype| show(&say(&mut dns, &query(name, rtype)).unwrap());
    assert_eq!(ask("example.test", Rtype::NS), "NOERROR aa\nexample.test 60 NS example.test.");
    assert_eq!(ask("a.x.example.test", Rtype::CNAME), "NOERROR aa\na.x.example.test 60 CNAME x.example.test.");
    assert_eq!(ask("x.example.test", Rtype::MX), "NOERROR aa\nx.example.test 60 MX 1 x.example.test.");
    assert_eq!(ask("x.example.test", Rtype::TXT), "NOERROR aa\nx.example.test 60 TXT \"@\" \"a@b\"");
    assert!(ask("example.test", Rtype::SOA).contains("SOA example.test. x.y.example.test. 1 2 3 4 5"));
}

#[test]
fn the_root_can_be_a_zone() {
    let text = "$ORIGIN .\n@ 60 IN SOA a. b. 1 2 3 4 5\n@ NS a.\na. A 192.0.2.1\ntest. NS ns.test.\nns.test. A 192.0.2.2\n";
    let mut dns = service(text);
    let mut ask = |name: &str| show(&say(&mut dns, &query(name, Rtype::A)).unwrap());
    assert_eq!(ask("a."), "NOERROR aa\na 60 A 192.0.2.1");
    assert_eq!(ask("x.test."), "NOERROR\n! test 60 NS ns.test.\n+ ns.test 60 A 192.0.2.2");
    assert!(ask(".").starts_with("NOERROR aa\n! ") && ask(".").contains(" 5 SOA a. b. 1 2 3 4 5"));
    assert!(ask("b.").starts_with("NXDOMAIN aa\n! "));
}

/// A service and one client over TCP.
struct Stream {
    dns: Dns,
    cx: Fake,
    client: Connection,
    /// What the client has sent and the service not taken.
    unread: Vec<u8>,
}

impl Stream {
    fn with_room(room: usize) -> Self {
        let mut dns = service(ZONE);
        let mut cx = Fake::default();
        let client = cx.accept(0, room);
        dns.connected(&mut cx, client);
        Self { dns, cx, client, unread: Vec::new() }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        self.settle();
    }

    /// The service reads until nothing moves; what it is offered ends anywhere, as in a ring.
    fn settle(&mut self) {
        for round in 0..10_000 {
            let before = (self.unread.len(), self.sent());
            if self.cx.is_open(self.client) && !self.unread.is_empty() && !self.cx.is_paused(self.client) {
                let end = if round % 2 == 0 { self.unread.len().div_ceil(2) } else { self.unread.len() };
                let taken = self.dns.data(&mut self.cx, self.client, &self.unread[..end]);
                self.unread.drain(..taken);
            }
            let fired = self.cx.due().map(|token| self.dns.timer(&mut self.cx, token));
            if fired.is_none() && round % 2 == 1 && before == (self.unread.len(), self.sent()) {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn make_room(&mut self, bytes: usize) {
        self.cx.give_room(self.client, bytes);
        self.dns.writable(&mut self.cx, self.client);
        self.settle();
    }

    fn pass(&mut self, time: Duration) {
        self.cx.pass(time);
        self.settle();
    }

    fn sent(&self) -> usize {
        if self.cx.is_open(self.client) { self.cx.sent(self.client).len() } else { 0 }
    }

    fn answers(&self) -> Vec<Vec<u8>> {
        let mut rest = self.cx.sent(self.client);
        let mut answers = Vec::new();
        while !rest.is_empty() {
            let message = first_message(rest).expect("whole answers");
            answers.push(message.to_vec());
            rest = &rest[2 + message.len()..];
        }
        answers
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// Queries that tell their number, in one stream.
fn numbered(n: u16) -> Vec<u8> {
    let names = ["mail.example.test", "huge.example.test", "nowhere.example.test", "large.example.test"];
    let one = |id: u16| framed(&query_with(names[usize::from(id) % 4], Rtype::TXT, None, |header| header.set_id(id)));
    (0..n).flat_map(one).collect()
}

#[test]
fn a_stream_has_the_answers_that_do_not_fit_into_datagrams() {
    let mut stream = Stream::with_room(PLENTY);
    stream.say(&framed(&query_with("huge.example.test", Rtype::TXT, Some(512), |_| ())));
    let answers = stream.answers();
    let message = Message::from_slice(&answers[0]).unwrap();
    assert_eq!((answers.len(), message.header().tc(), message.header_counts().ancount()), (1, false, 20));
    assert_eq!(stream.dns.counts(), Counts { tcp: 1, answered: 1, ..Counts::default() });
}

#[test]
fn what_is_too_long_even_for_a_stream_fails() {
    let texts: String = (0..300).map(|n| format!("big TXT {:0>250} {:0>250}\n", n, n)).collect();
    let mut dns = service(&format!("$ORIGIN example.test.\n@ SOA a b 1 1 1 1 1\n@ NS a\n{texts}"));
    let mut cx = Fake::default();
    let client = cx.accept(0, PLENTY);
    dns.connected(&mut cx, client);
    dns.data(&mut cx, client, &framed(&query("big.example.test", Rtype::TXT)));
    assert_eq!(show(&cx.sent(client)[2..]), "SERVFAIL");
    assert_eq!(dns.counts().failed, 1);
}

#[test]
fn queries_in_a_row_are_answered_in_order_however_they_are_cut() {
    let mut whole = Stream::with_room(PLENTY);
    whole.say(&numbered(200));
    let ids: Vec<u16> = whole.answers().iter().map(|answer| Message::from_slice(answer).unwrap().header().id()).collect();
    assert_eq!(ids, (0..200).collect::<Vec<u16>>());
    for piece in [1, 2, 3, 7, 100] {
        let mut cut = Stream::with_room(PLENTY);
        numbered(200).chunks(piece).for_each(|bytes| cut.say(bytes));
        assert_eq!(cut.answers(), whole.answers(), "{piece}");
        assert_eq!((cut.dns.counts(), cut.dns.gathering), (whole.dns.counts(), 0));
    }
}

#[test]
fn many_queries_at_once_leave_the_others_their_turn() {
    let mut stream = Stream::with_room(PLENTY);
    let bytes = numbered(200);
    let taken = stream.dns.data(&mut stream.cx, stream.client, &bytes);
    assert_eq!(stream.dns.counts().tcp, limits::DNS_PIPELINED as u64);
    assert!(taken < bytes.len() && stream.cx.is_paused(stream.client));
    stream.say(&bytes[taken..]);
    assert_eq!(stream.dns.counts().tcp, 200);
    assert!(!stream.cx.is_paused(stream.client));
}

#[test]
fn an_answer_without_room_goes_on_where_it_stopped() {
    let mut whole = Stream::with_room(PLENTY);
    whole.say(&numbered(12));
    for step in [1, 2, 100, 3000] {
        let mut narrow = Stream::with_room(0);
        narrow.say(&numbered(12));
        while narrow.sent() < whole.sent() {
            let before = narrow.sent();
            narrow.make_room(step);
            assert!(narrow.sent() > before, "{step}");
        }
        assert_eq!((narrow.answers(), narrow.dns.counts()), (whole.answers(), whole.dns.counts()), "{step}");
    }
}

#[test]
fn the_clients_end_is_answered_with_ours_once_all_is_answered() {
    let mut stream = Stream::with_room(100);
    stream.say(&numbered(2));
    stream.make_room(0);
    // All was taken of the stream; the second answer waits for room.
    assert!(stream.unread.is_empty());
    stream.dns.peer_closed(&mut stream.cx, stream.client);
    assert!(!stream.cx.is_closed(stream.client));
    stream.make_room(PLENTY);
    assert!(stream.cx.is_closed(stream.client));
    assert_eq!(stream.answers().len(), 2);
    stream.dns.closed(&mut stream.cx, stream.client);
    assert_eq!((stream.cx.timers(), stream.dns.gathering), (0, 0));
    // Half a query is no query.
    let mut stream = Stream::with_room(PLENTY);
    stream.say(&numbered(1)[..10]);
    stream.dns.peer_closed(&mut stream.cx, stream.client);
    assert!(stream.cx.is_closed(stream.client));
    assert_eq!(stream.dns.gathering, 0);
}

/// Once a stop has begun: what was asked is answered, and the connection ends behind it.
#[test]
fn a_stop_ends_a_connection_behind_its_answers() {
    let mut idle = Stream::with_room(PLENTY);
    idle.say(&numbered(1));
    idle.cx.drain(&mut idle.dns, idle.client);
    assert!(idle.cx.is_closed(idle.client));
    let mut fresh = Stream::with_room(PLENTY);
    fresh.cx.drain(&mut fresh.dns, fresh.client);
    fresh.pass(FIRST_QUERY - Duration::from_millis(1));
    assert!(!fresh.cx.is_closed(fresh.client));
    fresh.pass(Duration::from_millis(1));
    assert!(fresh.cx.is_closed(fresh.client));
    let mut late = Stream::with_room(PLENTY);
    late.cx.drain(&mut late.dns, late.client);
    late.say(&numbered(1));
    assert_eq!((late.answers().len(), late.cx.is_closed(late.client)), (1, true));
    let mut blocked = Stream::with_room(100);
    blocked.say(&numbered(2));
    blocked.cx.drain(&mut blocked.dns, blocked.client);
    assert!(!blocked.cx.is_closed(blocked.client));
    blocked.make_room(PLENTY);
    assert_eq!((blocked.answers().len(), blocked.cx.is_closed(blocked.client)), (2, true));
    let mut unread = Stream::with_room(PLENTY);
    unread.say(&numbered(1));
    unread.cx.leave_unread(unread.client, 20);
    unread.cx.drain(&mut unread.dns, unread.client);
    assert!(!unread.cx.is_closed(unread.client), "it has still to be read");
}

#[test]
fn what_is_no_query_closes_the_connection() {
    let response = query_with("mail.example.test", Rtype::A, None, |header| header.set_qr(true));
    let long = (limits::DNS_QUERY_BYTES as u16 + 1).to_be_bytes();
    let count = |bytes: &[u8]| {
        let mut stream = Stream::with_room(PLENTY);
        stream.say(bytes);
        assert!(stream.cx.is_closed(stream.client) && stream.sent() == 0);
        // What follows is thrown away.
        stream.say(&numbered(3));
        assert_eq!((stream.sent(), stream.unread.len()), (0, 0));
        stream.dns.counts()
    };
    assert_eq!(count(&framed(&response)), Counts { tcp: 1, responses: 1, ..Counts::default() });
    assert_eq!(count(&framed(b"")), Counts { tcp: 1, too_short: 1, ..Counts::default() });
    assert_eq!(count(&framed(b"eleven byte")), Counts { tcp: 1, too_short: 1, ..Counts::default() });
    assert_eq!(count(&long), Counts { too_long: 1, ..Counts::default() });
    assert_eq!(count(&[0xff; 70_000]), Counts { too_long: 1, ..Counts::default() });
    let longest = [query("mail.example.test", Rtype::A), vec![0; limits::DNS_QUERY_BYTES]].concat();
    let mut stream = Stream::with_room(PLENTY);
    stream.say(&framed(&longest[..limits::DNS_QUERY_BYTES]));
    assert_eq!(stream.answers().len(), 1);
}

#[test]
fn silent_clients_are_closed_and_then_cut_off() {
    let mut stream = Stream::with_room(PLENTY);
    // A query every nine seconds keeps it open.
    for _ in 0..5 {
        stream.pass(Duration::from_secs(9));
        stream.say(&numbered(1));
        assert!(!stream.cx.is_closed(stream.client));
    }
    // Half of one does not.
    stream.pass(Duration::from_secs(9));
    stream.say(&numbered(1)[..20]);
    stream.pass(Duration::from_secs(1));
    assert!(stream.cx.is_closed(stream.client));
    assert_eq!((stream.dns.counts().idle, stream.dns.gathering), (1, 0));
    stream.pass(LINGER);
    assert!(!stream.cx.is_open(stream.client));
    assert_eq!((stream.dns.counts().cut_off, stream.cx.timers()), (1, 0));
}

#[test]
fn clients_that_take_nothing_are_cut_off_and_slow_ones_are_not() {
    let mut stream = Stream::with_room(1000);
    stream.say(&numbered(2));
    stream.cx.leave_unacknowledged(stream.client, 1000);
    stream.pass(Duration::from_secs(10));
    assert!(!stream.cx.is_open(stream.client), "it took nothing of what waits");
    assert_eq!((stream.dns.counts().cut_off, stream.cx.timers(), stream.dns.gathering), (1, 0, 0));
    let mut stream = Stream::with_room(PLENTY);
    stream.say(&numbered(100));
    let mut waiting = 3 * PROGRESS_BYTES as usize;
    stream.cx.leave_unacknowledged(stream.client, waiting);
    stream.say(&numbered(1));
    for _ in 0..2 {
        waiting -= PROGRESS_BYTES as usize;
        stream.cx.leave_unacknowledged(stream.client, waiting);
        stream.pass(Duration::from_secs(10));
        assert!(stream.cx.is_open(stream.client) && !stream.cx.is_closed(stream.client));
    }
    stream.pass(Duration::from_secs(10));
    assert!(!stream.cx.is_open(stream.client));
}

#[test]
fn without_timers_there_is_no_connection() {
    let mut stream = Stream::with_room(PLENTY);
    stream.cx.run_out_of_timers();
    let second = stream.cx.accept(0, PLENTY);
    stream.dns.connected(&mut stream.cx, second);
    assert!(!stream.cx.is_open(second));
}

#[test]
fn messages_in_pieces_are_bounded() {
    let mut dns = service(ZONE);
    let mut cx = Fake::default();
    let mut clients = Vec::new();
    for _ in 0..=limits::DNS_GATHERED {
        let client = cx.accept(0, PLENTY);
        dns.connected(&mut cx, client);
        dns.data(&mut cx, client, &[0]);
        clients.push(client);
    }
    let closed = clients.iter().filter(|client| cx.is_closed(**client)).count();
    assert_eq!((closed, dns.gathering), (1, limits::DNS_GATHERED));
    dns.reset(&mut cx, clients[0], ResetReason::Reset);
    assert_eq!(dns.gathering, limits::DNS_GATHERED - 1);
}

#[test]
fn a_catalog_without_dns_pays_nothing_for_it() {
    let dns = Dns::new(vec![None], 65_536, 1232);
    assert!(!dns.is_used() && dns.stream.is_empty());
}

/// Bytes that are nearly a query.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        Just(query_with("www.wild.example.test", Rtype::A, Some(1232), |_| ())),
        Just(query_with("www.child.example.test", Rtype::ANY, None, |_| ())),
        Just(query_with("huge.example.test", Rtype::TXT, Some(65535), |_| ())),
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (start, changes, any::<prop::sample::Index>(), prop::bool::weighted(0.2)).prop_map(|(mut bytes, changes, end, cut)| {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.saturating_mul(8)))]

    /// No datagram panics; what comes back is a message with the ID of the query, marked as a response, no longer than the client takes.
    #[test]
    fn any_datagram_gets_a_well_formed_answer_or_none(bytes in prop_oneof![nearly(), prop::collection::vec(any::<u8>(), 0..600)]) {
        let mut dns = service(ZONE);
        if let Some(answer) = say(&mut dns, &bytes) {
            let message = Message::from_slice(&answer).unwrap();
            prop_assert!(message.header().qr() && answer[..2] == bytes[..2] && answer.len() <= 1232);
            prop_assert!(bytes.len() >= 12 && bytes[2] & 0x80 == 0);
            let additional = message.additional().unwrap();
            prop_assert!(additional.into_iter().all(|record| record.is_ok()));
        }
        let Counts { udp, answered, no_name, refused, not_implemented, bad_version, malformed, truncated, failed, too_short, responses, .. } =
            dns.counts();
        let all = answered + no_name + refused + not_implemented + bad_version + malformed + truncated + failed + too_short + responses;
        prop_assert_eq!((udp, all), (1, 1));
    }

    /// No stream panics.
    #[test]
    fn any_stream_is_taken(
        pieces in prop::collection::vec(prop_oneof![
            nearly().prop_map(|bytes| framed(&bytes)),
            prop::collection::vec(any::<u8>(), 0..50),
        ], 0..20),
        room in prop_oneof![Just(PLENTY), 0usize..2000],
    ) {
        let mut stream = Stream::with_room(room);
        for piece in pieces {
            stream.say(&piece);
            stream.make_room(100);
        }
        stream.pass(Duration::from_secs(100));
    }

    /// No zone file panics, nor any answer from what was made of it.
    #[test]
    fn any_file_is_a_zone_or_an_error(
        lines in prop::collection::vec("[a-z@*.$\\\\()\"; \t0-9]{0,30}|(@|a|\\*\\.b|c\\.d) (IN )?(A 192\\.0\\.2\\.1|NS a|CNAME b|TXT \"x\"|MX 1 c|SRV 1 2 3 c)|\\$TTL 5", 0..12),
    ) {
        let text = format!("$ORIGIN x.\n@ 60 IN SOA a b 1 2 3 4 5\n@ NS ns\n{}\n", lines.join("\n"));
        if let Ok(zone) = Zone::parse(text.as_bytes()) {
            let mut dns = Dns::new(vec![Some(Arc::new(zone))], 8, 1232);
            dns.opened(EndpointId(0), 0);
            for name in ["x", "a.x", "b.x", "q.b.x", "c.d.x", "d.x"] {
                prop_assert!(say(&mut dns, &query(name, Rtype::A)).is_some());
            }
        }
    }
}
