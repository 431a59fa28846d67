use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::AtomicUsize;
use std::thread;

use proptest::prelude::*;

use super::request::{Refusal, Request, Wanted};
use super::*;
use crate::engine::tests::{Silent, parked};
use crate::metrics::conditions::Conditions;
use crate::metrics::prometheus::CONTENT_TYPE;

/// Of no engine at all.
fn of_nobody() -> Figures {
    Figures::new(Vec::new(), Vec::new(), Conditions::default())
}

fn start(figures: Figures) -> Scrape {
    Scrape::start("127.0.0.1:0".parse().unwrap(), figures, None).unwrap()
}

fn connect(scrape: &Scrape) -> TcpStream {
    let stream = TcpStream::connect(scrape.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Sends bytes, and reads what comes until the end.
fn exchange(scrape: &Scrape, bytes: &[u8]) -> String {
    let mut stream = connect(scrape);
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn request(scrape: &Scrape, method: &str, target: &str) -> (String, String) {
    let answer = exchange(scrape, format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

#[test]
fn each_path_and_method_has_its_answer() {
    let scrape = start(of_nobody());
    for (target, begins) in [
        ("/metrics", "# HELP ringway_build_info"),
        ("/metrics?name[]=x", "# HELP ringway_build_info"),
        ("http://localhost:9464/metrics", "# HELP ringway_build_info"),
        ("/metrics/sum", "# HELP ringway_build_info"),
        ("/", "Ringway "),
        ("http://localhost", "Ringway "),
    ] {
        let (head, body) = request(&scrape, "GET", target);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\nConnection: close"), "{target}: {head}");
        assert!(body.starts_with(begins), "{target}: {body}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{target}: {head}");
        assert_eq!(head.contains(CONTENT_TYPE), begins.starts_with('#'), "{target}: {head}");
        let (same, nothing) = request(&scrape, "HEAD", target);
        let status_and_type = |head: &str| head.lines().take(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!((status_and_type(&same), nothing.as_str()), (status_and_type(&head), ""), "{target}");
    }
    for (method, target, status) in [
        ("GET", "/metric", "404 Not Found"),
        ("GET", "/metrics/", "404 Not Found"),
        ("GET", "/metrics/../etc/passwd", "404 Not Found"),
        ("GET", "*", "404 Not Found"),
        ("HEAD", "/none", "404 Not Found"),
        ("POST", "/metrics", "405 Method Not Allowed"),
        ("DELETE", "/none", "405 Method Not Allowed"),
        ("get", "/metrics", "405 Method Not Allowed"),
    ] {
        let (head, body) = request(&scrape, method, target);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{method} {target}: {head}");
        assert_eq!(body.contains("/metrics"), method != "HEAD", "who is lost is told the way: {body}");
        assert_eq!(head.contains("\r\nAllow: GET, HEAD\r\n"), status.starts_with("405"));
    }
}

#[test]
fn what_is_no_request_is_refused_and_the_next_is_answered() {
    let scrape = start(of_nobody());
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(2 * limits::SCRAPE_REQUEST));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
    for (bytes, status) in [
        ("\0\0\0\0\r\n\r\n", "400 Bad Request"),
        ("GET /metrics\r\n\r\n", "400 Bad Request"),
        ("GET /metrics HTTP/2.0\r\n\r\n", "400 Bad Request"),
        ("GET /metrics HTTP/1.1\r\nbad header\r\n\r\n", "400 Bad Request"),
        (&long, "431 Request Header Fields Too Large"),
        (&many, "431 Request Header Fields Too Large"),
    ] {
        let answer = exchange(&scrape, bytes.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{bytes:.40}: {answer}");
        assert!(request(&scrape, "GET", "/metrics").0.starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn a_request_may_come_in_pieces_and_with_more_behind_it() {
    let scrape = start(of_nobody());
    let mut stream = connect(&scrape);
    stream.set_nodelay(true).unwrap();
    for byte in b"GET /metrics HTTP/1.0\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
        thread::sleep(Duration::from_micros(200));
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    // What is not read before the end would reset the connection, and take the answer along.
    let body = "x".repeat(50_000);
    let answer = exchange(&scrape, format!("GET /metrics HTTP/1.1\r\nContent-Length: 50000\r\n\r\n{body}").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with('\n'));
}

#[test]
fn those_who_only_connect_keep_nobody_out() {
    let scrape = start(of_nobody());
    let mut idle: Vec<_> = (0..4 * limits::SCRAPERS).map(|_| connect(&scrape)).collect();
    // Half a request each, of those that are still there.
    idle.iter_mut().for_each(|stream| _ = stream.write_all(b"GET /metrics HTT"));
    for _ in 0..10 {
        assert!(request(&scrape, "GET", "/metrics").0.starts_with("HTTP/1.1 200"));
    }
    let first = idle.first_mut().unwrap().read(&mut [0; 8]);
    assert!(first.is_err() || first.is_ok_and(|count| count == 0), "the first made room");
}

#[test]
fn an_address_in_use_is_said_with_who_has_it_and_what_mends_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Scrape::start(address, of_nobody(), None).unwrap_err();
    assert_eq!((error.what(), error.exit_code()), (&*format!("cannot answer scrapes at {address}"), 3));
    assert!(error.why().contains(&format!("(pid {})", std::process::id())), "{error}");
    let other = SocketAddr::new(address.ip(), address.port() + 1);
    assert_eq!(error.remedy(), Some(&*format!("--metrics {other}, or end what has it")));
    let error = Scrape::start("192.0.2.1:9464".parse().unwrap(), of_nobody(), None).unwrap_err();
    assert!(
        error.why().contains("no such address") && error.remedy().is_some_and(|mend| mend.contains("127.0.0.1:9464")),
        "{error}"
    );
    drop(start(of_nobody()));
}

#[test]
fn a_dropped_server_has_given_its_port_back() {
    let scrape = start(of_nobody());
    let address = scrape.address();
    // One that waits for an answer, and one that has said nothing.
    let _visitors = [connect(&scrape), connect(&scrape)];
    drop(scrape);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn who_asks_again_at_once_gets_the_same_figures() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let figures = of_nobody().with_steering(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Vec::new()
    });
    let mut pages = Pages { figures, asked: None, snapshot: Snapshot::default(), rendered: [None, None] };
    let first = pages.figures(By::Core).to_owned();
    let began = Instant::now();
    for _ in 0..1000 {
        assert_eq!((pages.figures(By::Core) == first, pages.figures(By::Sum).is_empty()), (true, false));
        if began.elapsed() > limits::SCRAPE_APART / 2 {
            break;
        }
    }
    assert!(asked.load(Ordering::Relaxed) <= 2, "a machine that pauses may have asked once more");
    thread::sleep(limits::SCRAPE_APART);
    pages.figures(By::Sum);
    assert!((2..=3).contains(&asked.load(Ordering::Relaxed)));
}

#[test]
fn engines_are_asked_while_they_run_and_missed_when_they_have_ended() {
    let mut engine = parked(Silent);
    let (inquirer, stop) = (engine.inquirer(), engine.stop());
    let scrape = start(Figures::new(vec![inquirer], vec!["cable".to_owned()], Conditions::default()));
    let running = thread::spawn(move || engine.run().unwrap());
    let pages = (0..20).map(|_| request(&scrape, "GET", "/metrics").1);
    let mut answered = pages.skip_while(|page| page.contains("ringway_core_up{core=\"0\"} 0"));
    let page = answered.next().expect("a thread that has started answers");
    for line in [
        "ringway_core_up{core=\"0\"} 1",
        "ringway_tcp_connections{core=\"0\",state=\"ESTABLISHED\"} 0",
        "ringway_queue_frames{core=\"0\",interface=\"cable\",queue=\"0\",place=\"outside\"} 0",
        "ringway_turn_duration_seconds_count{core=\"0\"} 0",
    ] {
        assert!(page.lines().any(|other| other == line), "{line} is missing in\n{page}");
    }
    stop.ask();
    running.join().unwrap();
    thread::sleep(limits::SCRAPE_APART);
    let (_, page) = request(&scrape, "GET", "/metrics");
    assert!(page.contains("\nringway_core_up{core=\"0\"} 0\n") && !page.contains("\nringway_turns_total{"), "{page}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic_or_wait_for_ever(bytes in proptest::collection::vec(any::<u8>(), 0..600), at in 0_usize..40) {
        let mut near = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        let end = (at + bytes.len().min(8)).min(near.len());
        near.splice(at.min(end)..end, bytes.iter().copied().take(8));
        for bytes in [&bytes, &near] {
            let read = Request::read(bytes);
            let padded = [bytes.as_slice(), &vec![b'a'; limits::SCRAPE_REQUEST]].concat();
            prop_assert!(Request::read(&padded).is_some(), "one that is too long is over");
            if let Some(Request { wanted: Wanted::Figures(_), .. }) = read {
                prop_assert!(bytes.windows(8).any(|some| some == b"/metrics"));
            }
        }
    }
}

#[test]
fn a_head_that_has_not_come_whole_is_no_request_yet() {
    let whole = b"HEAD /metrics/sum HTTP/1.1\r\nHost: a\r\n\r\n";
    for cut in 0..whole.len() {
        assert_eq!(Request::read(&whole[..cut]), None, "{cut}");
    }
    assert_eq!(Request::read(whole), Some(Request { wanted: Wanted::Figures(By::Sum), head_only: true }));
    let refused = Request::read(b"PUT / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(refused.wanted, Wanted::Refused(Refusal::Method));
}
