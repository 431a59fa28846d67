use super::super::testing::Fake;
use super::*;

const TO: &str = "239.1.2.3:5004";

fn plan(options: &[(&str, &str)]) -> Plan {
    let mut plan = Plan::to("239.1.2.3".parse().unwrap());
    options.iter().for_each(|(key, value)| plan.option(key, value).unwrap());
    plan
}

fn start(cx: &mut Fake, plan: &Plan) -> Stream {
    let mut stream = Stream::new(7);
    let endpoint = cx.open_udp(5004.into()).unwrap();
    stream.opened(cx, endpoint, 5004, plan, content(plan).unwrap()).unwrap();
    stream
}

/// Lets time pass in steps, and serves the timers that come due.
fn pass(cx: &mut Fake, stream: &mut Stream, time: Duration, steps: u32) {
    for step in 0..=steps {
        if step > 0 {
            cx.pass(time / steps);
        }
        while let Some(token) = cx.due() {
            assert!(Stream::owns(token));
            stream.timer(cx, token);
        }
    }
}

/// The headers and payloads of what was sent.
fn sent(cx: &Fake) -> Vec<(Header, Vec<u8>)> {
    let parse = |bytes: &Vec<u8>| {
        let (header, len) = Header::parse(bytes).unwrap();
        (header, bytes[bytes.len() - len..].to_vec())
    };
    cx.datagrams().iter().map(|(_, bytes, _)| parse(bytes)).collect()
}

#[test]
fn packets_leave_at_an_even_pace_with_numbers_in_a_row() {
    let mut cx = Fake::default();
    let mut stream = start(&mut cx, &plan(&[("rate", "100"), ("size", "10"), ("clock", "8K")]));
    pass(&mut cx, &mut stream, Duration::from_millis(95), 95);
    let sent = sent(&cx);
    assert_eq!(sent.len(), 10);
    for (n, (header, payload)) in sent.iter().enumerate() {
        let (first, n) = (&sent[0].0, n as u32);
        assert_eq!(header.sequence, first.sequence.wrapping_add(n as u16));
        assert_eq!((header.timestamp, header.ssrc), (first.timestamp.wrapping_add(n * 80), first.ssrc));
        let mut expected = [0; 10];
        chargen::fill(u64::from(n) * 10, &mut expected);
        assert_eq!((payload.as_slice(), header.payload_type), (&expected[..], 96));
    }
    assert!(cx.datagrams().iter().all(|(to, _, how)| *to == TO.parse().unwrap() && *how == Sending::default()));
    let report = &stream.reports()[0];
    assert_eq!((report.sent, report.payload_bytes, report.skipped, report.late_max_ns), (10, 100, 0, 0));
    assert_eq!(report.ssrc, format!("{:#010x}", sent[0].0.ssrc));
}

//= type=test
//= rfc3550#5.1
//# The initial value of the timestamp SHOULD be random, as for the
//# sequence number.
#[test]
fn streams_begin_differently() {
    let mut cx = Fake::default();
    let mut stream = Stream::new(7);
    for port in [5004, 5006] {
        let endpoint = cx.open_udp(port.into()).unwrap();
        stream.opened(&mut cx, endpoint, port, &plan(&[]), Content::default()).unwrap();
    }
    pass(&mut cx, &mut stream, Duration::ZERO, 1);
    let sent = sent(&cx);
    assert!(sent[0].0.ssrc != sent[1].0.ssrc && sent[0].0.timestamp != sent[1].0.timestamp);
    assert_ne!(sent[0].0.sequence, sent[1].0.sequence);
    assert_eq!(cx.datagrams()[1].0, "239.1.2.3:5006".parse().unwrap());
}

#[test]
fn what_is_late_is_made_good_and_what_is_very_late_is_left_out() {
    let mut cx = Fake::default();
    let mut stream = start(&mut cx, &plan(&[("rate", "1000")]));
    pass(&mut cx, &mut stream, Duration::ZERO, 1);
    pass(&mut cx, &mut stream, Duration::from_millis(500), 1);
    assert_eq!(sent(&cx).len(), 501, "in bursts, each of its own timer");
    pass(&mut cx, &mut stream, Duration::from_secs(10), 1);
    let report = stream.reports().remove(0);
    assert_eq!((report.sent, report.skipped, report.late_max_ns), (501 + 1001, 8999, 1_000_000_000));
    let sent = sent(&cx);
    let (before, after) = (sent[500].0, sent[501].0);
    assert_eq!(after.sequence, before.sequence.wrapping_add(1), "no number is used for what was not sent");
    assert_eq!(after.timestamp, before.timestamp.wrapping_add(9000 * 90));
}

#[test]
fn a_packet_waits_for_room_and_is_dropped_when_there_is_no_way() {
    let mut cx = Fake::default();
    let mut stream = start(&mut cx, &plan(&[("rate", "1000")]));
    cx.refuse_datagrams(Some(CallError::WouldBlock));
    pass(&mut cx, &mut stream, Duration::from_millis(2), 20);
    assert_eq!((sent(&cx).len(), stream.reports()[0].blocked), (0, 21));
    cx.refuse_datagrams(None);
    pass(&mut cx, &mut stream, Duration::from_micros(100), 1);
    assert_eq!(sent(&cx).len(), 3);
    cx.refuse_datagrams(Some(CallError::TooLarge));
    pass(&mut cx, &mut stream, Duration::from_millis(5), 5);
    assert_eq!((stream.reports()[0].unsent, cx.timers()), (5, 1));
}

#[test]
fn options_say_how_far_how_often_and_who_hears_it() {
    let mut cx = Fake::default();
    let mut stream = start(&mut cx, &plan(&[("ttl", "4"), ("loop", "on"), ("count", "3"), ("rate", "1K")]));
    pass(&mut cx, &mut stream, Duration::from_millis(50), 50);
    assert_eq!((sent(&cx).len(), cx.timers()), (3, 0));
    let how = Sending { hop_limit: Some(4), looped: true, ..Sending::default() };
    assert!(cx.datagrams().iter().all(|(_, _, used)| *used == how));
}

#[test]
fn a_file_is_sent_in_pieces_over_and_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound");
    std::fs::write(&path, b"abcdefgh").unwrap();
    let with = |path: &Path| plan(&[("size", "3"), ("count", "5"), ("file", path.to_str().unwrap())]);
    let mut cx = Fake::default();
    let mut stream = start(&mut cx, &with(&path));
    pass(&mut cx, &mut stream, Duration::from_millis(100), 5);
    let pieces: Vec<_> = sent(&cx).into_iter().map(|(_, payload)| String::from_utf8(payload).unwrap()).collect();
    assert_eq!(pieces, ["abc", "def", "gh", "abc", "def"]);
    std::fs::write(&path, b"").unwrap();
    assert!(content(&with(&path)).unwrap_err().to_string().contains("it is empty"));
    assert!(content(&with(&folder.path().join("none"))).unwrap_err().to_string().contains("No such file"));
    File::create(&path).unwrap().set_len(limits::STREAM_FILE_BYTES + 1).unwrap();
    assert!(content(&with(&path)).unwrap_err().to_string().contains("larger than 64 MiB"));
}

#[test]
fn an_error_of_icmp_is_counted_with_its_stream() {
    let mut cx = Fake::default();
    let mut stream = start(&mut cx, &plan(&[]));
    let error = |endpoint| IcmpError { endpoint, remote: TO.parse().unwrap(), icmp_type: 3, code: 3, mtu: None };
    stream.icmp_error(&mut cx, error(EndpointId(0)));
    stream.icmp_error(&mut cx, error(EndpointId(9)));
    assert_eq!(stream.reports()[0].icmp_errors, 1);
}
