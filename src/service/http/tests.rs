use std::fs;
use std::os::unix::fs::symlink;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::testing::Fake;
use super::connection::{STALL, STALL_BYTES};
use super::*;

/// 2001-09-09 01:46:40: the time by the service's clock, far behind the changes of any file of these tests.
const NOW: u64 = 1_000_000_000;
const DATE: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
/// Room that no answer of these tests fills.
const PLENTY: usize = 1 << 24;

/// A service, a folder, and one client of it.
struct World {
    http: Http,
    cx: Fake,
    folder: TempDir,
    client: Connection,
    /// What the client has sent and the service not taken.
    unread: Vec<u8>,
}

impl World {
    fn new() -> Self {
        Self::with_room(PLENTY)
    }

    fn with_room(room: usize) -> Self {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("a.txt"), "0123456789").expect("a file");
        fs::create_dir(folder.path().join("with")).expect("a folder");
        fs::write(folder.path().join("with/index.html"), "<p>index").expect("a file");
        fs::create_dir(folder.path().join("without")).expect("a folder");
        let root = Root::open(folder.path()).expect("a root");
        let mut http = Http::new(vec![Some(root)], 8, Boundaries::new(&[1; 16]), || NOW);
        let mut cx = Fake::default();
        let client = cx.accept(0, room);
        http.connected(&mut cx, client);
        Self { http, cx, folder, client, unread: Vec::new() }
    }

    /// The client sends; the service reads and looks again until nothing moves.
    fn say(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            let before = (self.unread.len(), self.sent().len());
            if self.cx.is_open(self.client) && !self.unread.is_empty() && !self.cx.is_paused(self.client) {
                let taken = self.http.data(&mut self.cx, self.client, &self.unread);
                self.unread.drain(..taken);
            }
            let fired = self.cx.due().map(|token| self.http.timer(&mut self.cx, token));
            if fired.is_none() && before == (self.unread.len(), self.sent().len()) {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn make_room(&mut self, bytes: usize) {
        self.cx.give_room(self.client, bytes);
        self.http.writable(&mut self.cx, self.client);
        self.settle();
    }

    fn pass(&mut self, time: Duration) {
        self.cx.pass(time);
        self.settle();
    }

    fn hang_up(&mut self) {
        if self.cx.is_open(self.client) {
            self.http.peer_closed(&mut self.cx, self.client);
        }
    }

    fn sent(&self) -> &[u8] {
        if self.cx.is_open(self.client) { self.cx.sent(self.client) } else { b"" }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.sent()).into_owned()
    }

    /// The answer to one request of a client that has sent nothing else.
    fn ask(line: &str, fields: &str) -> Answer {
        Self::new().ask_here(line, fields)
    }

    fn ask_here(&mut self, line: &str, fields: &str) -> Answer {
        let before = self.sent().len();
        self.say(format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes());
        Answer::read(&self.sent()[before..])
    }

    fn closed(&self) -> bool {
        self.cx.is_closed(self.client)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

/// One answer, taken apart.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
        let status = head["HTTP/1.1 ".len()..][..3].parse().expect("a status");
        Self { status, head, body: bytes[end..].to_vec() }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

#[test]
fn a_file_comes_with_its_fields() {
    let mut world = World::new();
    let answer = world.ask_here("GET /a.txt?query", "");
    let tag = answer.field("ETag").expect("a tag").to_owned();
    let expected = format!(
        "HTTP/1.1 200 OK\r\nDate: {DATE}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 10\r\n\
         Last-Modified: {DATE}\r\nETag: {tag}\r\nAccept-Ranges: bytes\r\n\r\n"
    );
    assert_eq!((answer.head.as_str(), answer.body.as_slice()), (expected.as_str(), b"0123456789".as_slice()));
    // A HEAD has the same fields, and no body.
    let head = world.ask_here("HEAD /a.txt", "");
    assert_eq!((head.head.as_str(), head.body.as_slice()), (expected.as_str(), b"".as_slice()));
    assert!(!world.closed());
    assert_eq!(world.http.counts(), Counts { answered: 2, ok: 2, file_bytes: 10, ..Counts::default() });
}

#[test]
fn a_folder_stands_for_its_index_and_lists_nothing() {
    let answer = World::ask("GET /with/", "");
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"<p>index".as_slice()));
    assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    let answer = World::ask("GET //with?a=b", "");
    assert_eq!((answer.status, answer.field("Location")), (301, Some("/with/?a=b")));
    assert_eq!(World::ask("GET /without/", "").status, 403);
    assert_eq!(World::ask("GET /", "").status, 403);
    assert_eq!(World::ask("GET /a.txt/", "").status, 404);
}

#[test]
fn ranges_give_the_bytes_they_name() {
    for (range, status, content_range, body) in [
        ("bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("bytes=8-", 206, Some("bytes 8-9/10"), "89"),
        ("bytes=-3", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=10-", 416, Some("bytes */10"), "416 Range Not Satisfiable\n"),
        ("bytes=x", 200, None, "0123456789"),
    ] {
        let answer = World::ask("GET /a.txt", &format!("Range: {range}\r\n"));
        assert_eq!((answer.status, answer.field("Content-Range")), (status, content_range), "{range}");
        assert_eq!(answer.body, body.as_bytes(), "{range}");
        assert_eq!(answer.field("Content-Length"), Some(body.len().to_string().as_str()), "{range}");
    }
    assert_eq!(World::ask("HEAD /a.txt", "Range: bytes=2-4\r\n").status, 200, "a range has a meaning for GET alone");
    assert_eq!(World::ask("GET /a.txt", "Range: bytes=0-1\r\nIf-Range: \"other\"\r\n").status, 200);
}

#[test]
fn several_ranges_come_as_parts() {
    let answer = World::ask("GET /a.txt", "Range: bytes=0-0,-2\r\n");
    let kind = answer.field("Content-Type").expect("a type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect("parts").to_owned();
    let part = |range: &str, bytes: &str| {
        format!("\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/10\r\n\r\n{bytes}")
    };
    let expected = format!("{}{}\r\n--{boundary}--\r\n", part("0-0", "0"), part("8-9", "89"));
    assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).into_owned()), (206, expected.clone()));
    assert_eq!(answer.field("Content-Length"), Some(expected.len().to_string().as_str()));
}

#[test]
fn a_client_that_has_the_file_is_told_so() {
    let mut world = World::new();
    let tag = world.ask_here("GET /a.txt", "").field("ETag").expect("a tag").to_owned();
    let answer = world.ask_here("GET /a.txt", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((answer.status, answer.body.len(), answer.field("ETag")), (304, 0, Some(tag.as_str())));
    assert_eq!(world.ask_here("GET /a.txt", &format!("If-Modified-Since: {DATE}\r\n")).status, 304);
    assert_eq!(world.ask_here("GET /a.txt", "If-Match: \"other\"\r\n").status, 412);
    // A file that was written to is another one.
    fs::write(world.path("a.txt"), "9876543210").expect("a write");
    assert_eq!(world.ask_here("GET /a.txt", &format!("If-None-Match: {tag}\r\n")).status, 200);
}

#[test]
fn a_small_file_that_has_lain_for_a_while_is_answered_from_memory() {
    let mut world = World::new();
    let write = |world: &World, content: &str| {
        fs::write(world.path("a.txt"), content).expect("a write");
        let file = fs::File::options().write(true).open(world.path("a.txt")).expect("a file");
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(NOW - 10)).expect("a time");
    };
    write(&world, "0123456789");
    assert_eq!(world.ask_here("GET /a.txt", "").body, b"0123456789");
    write(&world, "9876543210");
    assert_eq!(world.ask_here("GET /a.txt", "").body, b"0123456789");
    assert_eq!(world.ask_here("GET /a.txt", "Range: bytes=8-\r\n").body, b"89");
    assert_eq!((world.ask_here("HEAD /a.txt", "").status, world.http.open_files), (200, 0));
    world.pass(shelf::KEPT);
    assert_eq!(world.ask_here("GET /a.txt", "").body, b"9876543210");
}

#[test]
fn nothing_leads_out_of_the_folder() {
    let world = World::new();
    let outside = TempDir::new().expect("a folder");
    fs::write(outside.path().join("secret"), "secret").expect("a file");
    symlink(outside.path().join("secret"), world.path("link")).expect("a link");
    symlink(outside.path(), world.path("folder")).expect("a link");
    symlink("a.txt", world.path("inside")).expect("a link");
    symlink("loop", world.path("loop")).expect("a link");
    let name = outside.path().join("secret").display().to_string();
    let mut world = world;
    let up = "../".repeat(12);
    let cases = [
        (format!("/{up}{}", &name[1..]), 403),
        (format!("/with/{up}{}", &name[1..]), 403),
        (format!("/{}{}", "%2e%2e/".repeat(12), &name[1..]), 403),
        (format!("/{}{}", "%2E%2E%2F".repeat(12), &name[1..]), 404),
        ("/..".to_owned(), 403),
        ("/..%5c..%5cx".to_owned(), 404),
        (format!("/{name}"), 404),
        ("/link".to_owned(), 403),
        ("/folder/secret".to_owned(), 403),
        ("/folder/".to_owned(), 403),
        ("/loop".to_owned(), 403),
        ("/a.txt%00.html".to_owned(), 400),
        ("/nothing".to_owned(), 404),
        // Names that stay inside are what they say.
        ("/with/../a.txt".to_owned(), 200),
        ("/./inside".to_owned(), 200),
        ("/%61%2Etxt".to_owned(), 200),
    ];
    for (target, status) in cases {
        let answer = world.ask_here(&format!("GET {target}"), "");
        assert_eq!(answer.status, status, "{target}");
        assert!(!answer.body.windows(6).any(|six| six == b"secret"), "{target}");
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let mut world = World::new();
    let pipe = world.path("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o666.into(), 0).expect("a pipe");
    let _socket = std::os::unix::net::UnixListener::bind(world.path("socket")).expect("a socket");
    assert_eq!(world.ask_here("GET /pipe", "").status, 403);
    assert_eq!(world.ask_here("GET /socket", "").status, 403);
    assert_eq!(world.ask_here(&format!("GET /{}", "n".repeat(256)), "").status, 404);
}

#[test]
fn wrong_requests_get_the_right_word() {
    let field = "x".repeat(limits::HTTP_HEAD_BYTES);
    let many = "A: b\r\n".repeat(limits::HTTP_FIELDS + 1);
    let target = "/".repeat(limits::HTTP_TARGET_BYTES + 1);
    // What the client says, the status, and whether the connection lives on.
    let cases = [
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 200, true),
        ("GET http://x/a.txt HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 200, true),
        ("GET /a.txt HTTP/1.1\nHost: x\n\n".to_owned(), 200, true),
        ("\r\n\r\nGET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 200, true),
        ("GET /a.txt HTTP/1.1\r\n\r\n".to_owned(), 400, false),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n".to_owned(), 400, false),
        ("GET /a.txt HTTP/1.1\r\nHost: x/y\r\n\r\n".to_owned(), 400, false),
        ("GET a.txt HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 400, false),
        ("GET /a.txt#b HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 400, false),
        ("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 400, true),
        ("GET /%4 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 400, true),
        ("GET /a.txt\r\nHost: x\r\n\r\n".to_owned(), 400, false),
        ("GET /a.txt HTTP/1.1\r\nHost : x\r\n\r\n".to_owned(), 400, false),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\n y\r\n\r\n".to_owned(), 400, false),
        ("\u{16}\u{3}\u{1}nonsense\n\n".to_owned(), 400, false),
        ("GET /a.txt HTTP/2.0\r\nHost: x\r\n\r\n".to_owned(), 505, false),
        ("GET /a.txt HTTP/x\r\nHost: x\r\n\r\n".to_owned(), 400, false),
        ("POST /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc".to_owned(), 405, true),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 405, true),
        ("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 405, true),
        ("BREW /a.txt HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 501, true),
        ("get /a.txt HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 501, true),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n".to_owned(), 400, false),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned(), 400, false),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(), 400, false),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n".to_owned(), 413, false),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc".to_owned(), 200, true),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 411, false),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(), 501, false),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n".to_owned(), 400, false),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\nContent-Length: 3\r\n\r\nabc".to_owned(), 400, false),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: ,\r\nContent-Length: 3\r\n\r\nabc".to_owned(), 400, false),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n\r\n".to_owned(), 400, false),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n".to_owned(), 200, true),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n".to_owned(), 200, false),
        ("GET /a.txt HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n".to_owned(), 417, false),
        (format!("GET /a.txt HTTP/1.1\r\nHost: x\r\nA: {field}\r\n\r\n"), 431, false),
        (format!("GET /a.txt HTTP/1.1\r\nHost: x\r\n{many}\r\n"), 431, false),
        (format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"), 414, false),
        (format!("GET /{field} HTTP/1.1\r\nHost: x\r\n\r\n"), 414, false),
    ];
    for (said, status, lives) in cases {
        let mut world = World::new();
        world.say(said.as_bytes());
        let shown = &said[..said.len().min(100)];
        let answer = Answer::read(world.sent());
        assert_eq!((answer.status, !world.closed()), (status, lives), "{shown:?}\n{}", answer.head);
        assert_eq!(answer.field("Connection"), (!lives).then_some("close"), "{shown:?}");
        assert_eq!(answer.field("Content-Length"), Some(answer.body.len().to_string().as_str()), "{shown:?}");
        assert_eq!(answer.field("Allow"), (status == 405).then_some("GET, HEAD"), "{shown:?}");
        let Counts { refused, failed, .. } = world.http.counts();
        assert_eq!((refused, failed), (u64::from(status >= 400), 0), "the client's fault: {shown:?}");
        if lives {
            assert_eq!(world.ask_here("GET /a.txt", "").status, 200, "after {shown:?}");
        }
    }
}

#[test]
fn a_connection_lives_as_long_as_both_want_it() {
    for (version, fields, says, lives) in [
        ("1.1", "", None, true),
        ("1.1", "Connection: close\r\n", Some("close"), false),
        ("1.1", "Connection: Keep-Alive, CLOSE\r\n", Some("close"), false),
        ("1.0", "", Some("close"), false),
        ("1.0", "Connection: keep-alive\r\n", Some("keep-alive"), true),
    ] {
        let mut world = World::new();
        world.say(format!("GET /a.txt HTTP/{version}\r\nHost: x\r\n{fields}\r\n").as_bytes());
        let answer = Answer::read(world.sent());
        assert_eq!((answer.field("Connection"), !world.closed()), (says, lives), "{version} {fields}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_and_not_all_at_a_stretch() {
    let mut world = World::new();
    let count = limits::HTTP_PIPELINED * 3;
    let requests: String =
        (0..count).map(|n| format!("GET /a.txt HTTP/1.1\r\nHost: x\r\nRange: bytes={0}-{0}\r\n\r\n", n % 10)).collect();
    let taken = world.http.data(&mut world.cx, world.client, requests.as_bytes());
    assert!(world.cx.is_paused(world.client) && taken < requests.len());
    assert_eq!(world.text().matches("206 Partial").count(), limits::HTTP_PIPELINED, "then it is the others' turn");
    world.say(&requests.as_bytes()[taken..]);
    let bodies: Vec<String> = world.text().split("\r\n\r\n").skip(1).map(|text| text[..1].to_owned()).collect();
    assert_eq!(bodies, (0..count).map(|n| (n % 10).to_string()).collect::<Vec<_>>());
}

#[test]
fn a_large_file_leaves_in_pieces_and_is_not_read_ahead_of_the_client() {
    let mut world = World::with_room(10_000);
    let content: Vec<u8> = (0..300_000_u32).map(|n| ((n * 31) >> 3) as u8).collect();
    fs::write(world.path("large"), &content).expect("a file");
    world.say(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\nGET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((world.sent().len(), world.http.open_files), (10_000, 1));
    assert!(!world.unread.is_empty(), "the second request waits for its turn");
    world.cx.give_room(world.client, PLENTY);
    world.http.writable(&mut world.cx, world.client);
    assert_eq!(world.sent().len(), 10_000 + limits::HTTP_PIECE_BYTES, "one piece at a stretch");
    world.settle();
    let text = world.sent();
    let start = text.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    assert!(text[start..start + content.len()] == content, "the bytes differ");
    assert!(text[start + content.len()..].starts_with(b"HTTP/1.1 200 OK"), "and then comes the second answer");
    assert_eq!((world.http.open_files, world.unread.len()), (0, 0));
}

#[test]
fn a_file_that_becomes_shorter_ends_the_connection() {
    let mut world = World::with_room(5000);
    fs::write(world.path("large"), vec![7; 100_000]).expect("a file");
    world.say(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    fs::write(world.path("large"), "short").expect("a write");
    world.cx.give_room(world.client, PLENTY);
    world.http.writable(&mut world.cx, world.client);
    assert!(!world.cx.is_open(world.client), "the client must not take a part for the whole");
    assert_eq!((world.http.counts().broken_off, world.http.open_files, world.cx.timers()), (1, 0, 0));
}

#[test]
fn a_head_that_does_not_end_is_answered_in_time() {
    let mut world = World::new();
    world.say(b"GET /a.txt HTTP/1.1\r\n");
    for _ in 0..5 {
        world.pass(REQUEST / 6);
        world.say(b"A: b\r\n");
        assert!(world.sent().is_empty());
    }
    world.pass(REQUEST / 5);
    assert!(world.text().starts_with("HTTP/1.1 408 Request Timeout"), "a line now and then does not help");
    assert!(world.closed());
    assert_eq!(world.http.counts().slow_heads, 1);
    assert_eq!(world.http.partial_heads, 0);
}

#[test]
fn a_silent_client_is_let_go() {
    let mut world = World::new();
    world.ask_here("GET /a.txt", "");
    world.pass(IDLE / 2);
    world.ask_here("GET /a.txt", "");
    world.pass(IDLE / 2 + Duration::from_secs(1));
    assert!(!world.closed(), "it has asked since");
    world.pass(IDLE / 2);
    assert!(world.closed());
    // It does not even close its side.
    world.pass(LINGER);
    assert!(!world.cx.is_open(world.client));
    let counts = world.http.counts();
    assert_eq!((counts.idle, counts.cut_off, world.cx.timers()), (1, 1, 0));
}

#[test]
fn a_body_has_its_time_and_a_connection_lives_on_after_it() {
    let mut world = World::new();
    world.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc");
    assert!(world.text().starts_with("HTTP/1.1 405 "));
    world.pass(REQUEST / 2);
    world.say(b"def");
    world.pass(REQUEST);
    assert!(!world.closed(), "the body has come");
    world.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc");
    world.pass(REQUEST);
    assert!(world.closed(), "it has not");
}

/// A client that has asked for a large file, and acknowledged nothing of the first 20,000 bytes of its answer.
fn world_of_a_reader() -> World {
    let mut world = World::with_room(20_000);
    fs::write(world.path("large"), vec![7; 1_000_000]).expect("a file");
    world.cx.leave_unacknowledged(world.client, 20_000);
    world.say(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    world
}

#[test]
fn a_slow_client_is_served_and_one_that_takes_next_to_nothing_is_cut_off() {
    let mut world = world_of_a_reader();
    for _ in 0..5 {
        world.make_room(STALL_BYTES as usize);
        world.pass(STALL);
        assert!(world.cx.is_open(world.client), "it takes what is asked of it");
    }
    world.make_room(STALL_BYTES as usize - 1);
    world.pass(STALL);
    assert!(!world.cx.is_open(world.client), "a byte too few");
    assert_eq!((world.http.counts().cut_off, world.http.open_files, world.cx.timers()), (1, 0, 0));

    let mut world = world_of_a_reader();
    world.pass(STALL);
    assert!(!world.cx.is_open(world.client), "it takes nothing at all");
}

#[test]
fn a_new_request_does_not_lengthen_the_time_to_take_the_old_answers() {
    let mut world = World::new();
    world.cx.leave_unacknowledged(world.client, PLENTY);
    for _ in 0..3 {
        world.ask_here("HEAD /a.txt", "");
        world.pass(STALL / 3 - Duration::from_secs(1));
        assert!(world.cx.is_open(world.client));
    }
    world.pass(Duration::from_secs(3));
    assert!(!world.cx.is_open(world.client));
    assert_eq!(world.http.counts().cut_off, 1);
}

#[test]
fn answers_that_wait_do_not_lengthen_the_time_for_a_head() {
    let mut world = World::new();
    world.cx.leave_unacknowledged(world.client, 1);
    world.ask_here("GET /a.txt", "");
    world.say(b"G");
    world.pass(REQUEST);
    assert!(world.text().contains("HTTP/1.1 408 Request Timeout") && world.closed());
    assert_eq!((world.http.counts().slow_heads, world.http.partial_heads), (1, 0));
}

#[test]
fn a_closed_connection_lives_while_its_answer_is_taken_and_no_longer() {
    let mut world = World::new();
    world.cx.leave_unacknowledged(world.client, 100);
    world.ask_here("GET /a.txt", "Connection: close\r\n");
    world.pass(LINGER);
    assert!(world.cx.is_open(world.client), "it is still taking its answer");
    world.cx.leave_unacknowledged(world.client, 1);
    world.pass(STALL - LINGER);
    assert!(!world.cx.is_open(world.client), "a hundred bytes take no half minute");

    let mut world = World::new();
    world.cx.leave_unacknowledged(world.client, 100);
    world.ask_here("GET /a.txt", "Connection: close\r\n");
    world.cx.leave_unacknowledged(world.client, 0);
    world.pass(LINGER);
    assert!(!world.cx.is_open(world.client), "it has its answer, and does not close its side");
}

#[test]
fn a_client_that_closes_its_side_still_gets_its_answers() {
    let mut world = World::with_room(100);
    world.say(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n");
    world.hang_up();
    assert!(!world.closed());
    world.make_room(PLENTY);
    assert!(world.text().ends_with("0123456789") && world.closed());

    let mut world = World::new();
    world.hang_up();
    assert!(world.closed() && world.sent().is_empty());

    let mut world = World::new();
    world.say(b"GET /a.txt HTTP/1.1\r\nHo");
    world.hang_up();
    assert!(world.text().starts_with("HTTP/1.1 400 ") && world.closed());
}

#[test]
fn full_tables_are_answered_with_503() {
    let mut world = World::new();
    world.http.open_files = limits::HTTP_OPEN_FILES;
    let answer = world.ask_here("GET /a.txt", "");
    assert_eq!((answer.status, answer.field("Retry-After")), (503, Some("1")));
    world.http.open_files = 0;
    world.http.partial_heads = limits::HTTP_PARTIAL_HEADS;
    world.say(b"GET /a");
    assert!(world.text().contains("503 Service Unavailable") && world.closed());

    let mut world = World::new();
    world.cx.run_out_of_timers();
    let unwatched = world.cx.accept(0, PLENTY);
    world.http.connected(&mut world.cx, unwatched);
    assert!(!world.cx.is_open(unwatched), "nobody would notice if it fell silent");
}

#[test]
fn an_ended_connection_leaves_nothing_behind() {
    let mut world = World::with_room(100);
    world.say(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(world.http.open_files, 1);
    world.http.reset(&mut world.cx, world.client, ResetReason::Reset);
    assert_eq!((world.http.open_files, world.cx.timers()), (0, 0));
    // Its slot's next connection has nothing of it.
    let old = world.client;
    world.client = world.cx.accept_again(old, 0, PLENTY);
    world.http.connected(&mut world.cx, world.client);
    assert_eq!(world.ask_here("GET /a.txt", "").status, 200);
    // Late calls for the old one do nothing.
    world.http.writable(&mut world.cx, old);
    world.http.closed(&mut world.cx, old);
    assert_eq!(world.http.data(&mut world.cx, old, b"GET"), 3);
    assert_eq!(world.ask_here("GET /a.txt", "").status, 200);
    world.say(b"GET /a");
    world.http.closed(&mut world.cx, world.client);
    assert_eq!((world.http.partial_heads, world.http.open_files, world.cx.timers()), (0, 0, 0));
}

#[test]
fn a_folder_that_cannot_be_served_is_the_operators_mistake() {
    let world = World::new();
    let refused = |path: &std::path::Path| Root::open(path).expect_err("refused").to_string();
    assert!(refused(&world.path("nothing")).contains("there is no such folder\n  try: mkdir -p"));
    assert!(refused(&world.path("a.txt")).contains("it is not a folder"));
}

#[test]
fn the_beginning_of_a_head_is_never_anothers() {
    let mut world = World::new();
    world.say(b"GET /without/ HTTP/1.1\r\nA:");
    for end in [|world: &mut World| world.hang_up(), |world: &mut World| world.pass(REQUEST)] {
        end(&mut world);
        world.http.closed(&mut world.cx, world.client);
        world.client = world.cx.accept_again(world.client, 0, PLENTY);
        world.http.connected(&mut world.cx, world.client);
        world.say(b"GET /a.txt HTTP/1.1\r\n");
    }
    world.say(b"Host: x\r\n\r\n");
    assert!(world.text().starts_with("HTTP/1.1 200 OK") && world.text().ends_with("0123456789"), "{}", world.text());
}

/// The bytes that a conversation gets back, and whether it was closed: the client's bytes come in the pieces that `cuts` makes of them,
/// and there is room for so many bytes at a time.
fn conversation(said: &[u8], cuts: &[usize], room: usize) -> (Vec<u8>, bool) {
    let mut world = World::with_room(room);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (said.len() + 1)).chain([0, said.len()]).collect();
    cuts.sort_unstable();
    for pair in cuts.windows(2) {
        world.say(&said[pair[0]..pair[1]]);
    }
    for _ in 0..10_000 {
        let before = (world.sent().len(), world.unread.len());
        world.make_room(room);
        if before == (world.sent().len(), world.unread.len()) {
            break;
        }
    }
    assert!(world.unread.is_empty());
    world.hang_up();
    world.make_room(PLENTY);
    assert!(world.closed());
    assert_eq!(world.http.open_files, 0);
    (normalized(world.sent()), world.closed())
}

/// Files of two worlds differ in inode and time, and so in their tags.
fn normalized(bytes: &[u8]) -> Vec<u8> {
    let text: String = bytes.iter().map(|&byte| byte as char).collect();
    let lines = text.split("\r\n").map(|line| if line.starts_with("ETag: ") { "ETag" } else { line });
    lines.collect::<Vec<_>>().join("\r\n").into_bytes()
}

/// Pieces of streams: good requests, bad ones, and bytes of any kind.
fn utterance() -> impl Strategy<Value = Vec<u8>> {
    let request = |text: &'static str| Just(text.as_bytes().to_vec());
    prop_oneof![
        6 => request("GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n"),
        2 => request("HEAD /a.txt HTTP/1.1\r\nHost: x\r\n\r\n"),
        2 => request("GET /a.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1,5-6\r\n\r\n"),
        2 => request("POST /with/ HTTP/1.1\nHost: x\nContent-Length: 7\n\n\r\nGET /"),
        1 => request("GET /with/ HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n"),
        1 => request("GET /nothing HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        1 => request("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        1 => request("GET / HTTP/9.9\r\n\r\n"),
        1 => request("\r\n"),
        1 => request("\n"),
        1 => request("BREW"),
        1 => (0..20_000_usize).prop_map(|n| format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(n)).into_bytes()),
        1 => (0..20_000_usize).prop_map(|n| format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "z".repeat(n)).into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => "[ -~\r\n:/]{0,60}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 2))]

    #[test]
    fn however_a_stream_is_split_its_answers_are_the_same(
        said in proptest::collection::vec(utterance(), 1..24),
        cuts in proptest::collection::vec(any::<usize>(), 0..40),
        room in 1..3000_usize,
    ) {
        let said = said.concat();
        let whole = conversation(&said, &[], PLENTY);
        prop_assert_eq!(&conversation(&said, &cuts, PLENTY), &whole);
        prop_assert_eq!(&conversation(&said, &cuts, room), &whole);
    }

    #[test]
    fn a_stream_byte_by_byte_has_the_same_answers(said in proptest::collection::vec(utterance(), 1..4)) {
        let mut said = said.concat();
        said.truncate(3000);
        let every: Vec<usize> = (0..said.len()).collect();
        prop_assert_eq!(conversation(&said, &every, 700), conversation(&said, &[], PLENTY));
    }

    #[test]
    fn no_bytes_panic(said in proptest::collection::vec(any::<u8>(), 0..200), cuts in proptest::collection::vec(any::<usize>(), 0..4)) {
        conversation(&said, &cuts, PLENTY);
    }
}

/// Once a stop has begun: what was asked for is answered, and the connection ends behind it.
#[test]
fn a_stop_ends_a_connection_between_its_answers() {
    // One that waits for its client ends at once, one that is fresh a second later.
    let mut idle = World::new();
    idle.ask_here("GET /a.txt", "");
    idle.cx.drain(&mut idle.http, idle.client);
    assert!(idle.closed());
    let mut fresh = World::new();
    fresh.cx.drain(&mut fresh.http, fresh.client);
    fresh.pass(connection::FIRST_REQUEST - Duration::from_millis(1));
    assert!(!fresh.closed());
    fresh.pass(Duration::from_millis(1));
    assert!(fresh.closed());
    // One that asks in that second is answered, and told that it was the last time.
    let mut late = World::new();
    late.cx.drain(&mut late.http, late.client);
    let answer = late.ask_here("GET /a.txt", "");
    assert_eq!((answer.status, answer.field("Connection"), answer.body.as_slice()), (200, Some("close"), &b"0123456789"[..]));
    assert!(late.closed());
    // So is one whose request has come in part.
    let mut part = World::new();
    part.say(b"GET /a.txt HTTP/1.1\r\nHo");
    part.cx.drain(&mut part.http, part.client);
    part.pass(connection::FIRST_REQUEST * 2);
    assert!(!part.closed());
    part.say(b"st: x\r\n\r\n");
    assert!(part.closed() && part.text().ends_with("0123456789"));
    // And one that waits to be read.
    let mut unread = World::new();
    unread.cx.leave_unread(unread.client, 30);
    unread.cx.drain(&mut unread.http, unread.client);
    assert!(!unread.closed());
}

#[test]
fn a_stop_does_not_cut_an_answer_short() {
    let mut world = World::with_room(1000);
    fs::write(world.path("large"), vec![b'x'; 100_000]).expect("a file");
    world.say(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    world.cx.drain(&mut world.http, world.client);
    assert!(!world.closed());
    for _ in 0..200 {
        world.make_room(1000);
    }
    assert_eq!(Answer::read(world.sent()).body.len(), 100_000);
    assert!(world.closed(), "and nothing more is read");
}
