//! The HTTP service as its users meet it: curl, netcat, wrk, and clients who mean it badly.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{connect, server};
use crate::common::run;
use crate::server::{Server, Summary, run_to_end};
use crate::world::{SERVER, SERVER_CIDR, World, usual_queues};

const MIB: usize = 1 << 20;

/// A world whose server side serves a folder.
struct Site {
    world: World,
    folder: TempDir,
    server: Server,
}

impl Site {
    fn new() -> Option<Self> {
        let world = World::new()?;
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("a.txt"), "0123456789").expect("a file");
        fs::create_dir(folder.path().join("sub")).expect("a folder");
        fs::write(folder.path().join("sub/index.html"), "<p>the index").expect("a file");
        let server = Server::with(&world, &["-a", SERVER_CIDR, &service(folder.path())]);
        Some(Self { world, folder, server })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of bytes that do not repeat.
    fn file(&self, name: &str, bytes: usize) -> Vec<u8> {
        let mut rng = ringway::rng::Rng::seeded(bytes as u64);
        let content: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()).take(bytes).collect();
        fs::write(self.path(name), &content).expect("a file");
        content
    }

    /// What `curl ARGUMENTS` prints; it must succeed.
    fn curl(&self, arguments: &[&str]) -> String {
        self.world.client.run("curl", &[&["-s", "-S", "-m", "60"], arguments].concat())
    }

    /// The answer to bytes that a client sends before it closes its side.
    fn answer(&self, said: &[u8]) -> String {
        self.world.client.inside(|| {
            let mut stream = connect(80);
            stream.write_all(said).expect("write");
            stream.shutdown(Shutdown::Write).expect("shutdown");
            let mut back = Vec::new();
            stream.read_to_end(&mut back).expect("read");
            String::from_utf8_lossy(&back).into_owned()
        })
    }

    /// Stops the server; its service must have nothing to regret.
    fn stop(self) -> Summary {
        let summary = self.server.stop();
        let http = &summary.value()["http"];
        for regret in ["failed", "broken_off", "cut_off"] {
            assert_eq!(http[regret], 0, "{http}");
        }
        summary
    }
}

fn service(folder: &Path) -> String {
    format!("http:80={}", folder.display())
}

fn url(name: &str) -> String {
    format!("http://{}/{name}", server(80))
}

fn count(summary: &Summary, name: &str) -> u64 {
    summary.value()["http"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {}", summary.value()["http"]))
}

#[test]
fn http_curl_gets_files_heads_and_ranges() {
    let Some(site) = Site::new() else { return };
    let file = url("a.txt");
    assert_eq!(site.curl(&[&file]), "0123456789");
    let head = site.curl(&["-I", &file]);
    for line in
        ["HTTP/1.1 200 OK", "Content-Length: 10", "Content-Type: text/plain; charset=utf-8", "Accept-Ranges: bytes", "Date: "]
    {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert_eq!(site.curl(&["-r", "2-4", &file]), "234");
    assert_eq!(site.curl(&["-r", "-3", &file]), "789");
    let parts = site.curl(&["-i", "-r", "0-1,8-9", &file]);
    assert!(parts.starts_with("HTTP/1.1 206 ") && parts.contains("multipart/byteranges"), "{parts}");
    assert!(parts.contains("bytes 0-1/10\r\n\r\n01\r\n--") && parts.contains("bytes 8-9/10\r\n\r\n89\r\n--"), "{parts}");
    assert_eq!(site.curl(&["-o", "/dev/null", "-w", "%{http_code}", "-r", "10-", &file]), "416");
    // A folder: by way of its slash to its index.
    assert_eq!(site.curl(&["-L", &url("sub")]), "<p>the index");
    // Two files over one connection.
    assert_eq!(site.curl(&["-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} ", &file, &url("sub/")]), "1 0 ");
    // What the client has is not sent again.
    let tag = site.path("tag").display().to_string();
    let again = ["-o", "/dev/null", "-w", "%{http_code} ", "--etag-compare", &tag, "--etag-save", &tag, &file];
    assert_eq!((site.curl(&again), site.curl(&again)), ("200 ".to_owned(), "304 ".to_owned()));
    assert_eq!(
        site.curl(&["-o", "/dev/null", "-w", "%{http_code}", "-z", &site.path("a.txt").display().to_string(), &file]),
        "304"
    );
    let summary = site.stop();
    assert_eq!(summary.counter("tcp_closed"), summary.counter("tcp_accepted"));
}

#[test]
fn http_a_64_mib_file_arrives_unchanged_also_when_resumed() {
    let Some(site) = Site::new() else { return };
    let content = site.file("big", 64 * MIB);
    let copy = TempDir::new().expect("a folder");
    let sum = |path: &Path| String::from_utf8(run(Command::new("sha256sum").arg(path)).stdout).expect("UTF-8")[..64].to_owned();
    let expected = sum(&site.path("big"));
    let whole = copy.path().join("whole");
    site.curl(&["-o", &whole.display().to_string(), &url("big")]);
    assert_eq!(sum(&whole), expected);
    let resumed = copy.path().join("resumed");
    fs::write(&resumed, &content[..40 * MIB + 1]).expect("a file");
    site.curl(&["-C", "-", "-o", &resumed.display().to_string(), &url("big")]);
    assert_eq!(sum(&resumed), expected);
    let summary = site.stop();
    assert_eq!(count(&summary, "file_bytes"), (64 + 24) * MIB as u64 - 1);
    // Nothing of the file is buffered beyond the send buffer.
    assert!(
        summary.value()["tcp"]["buffer_bytes"].as_u64().is_some_and(|bytes| bytes < 8 * MIB as u64 * u64::from(usual_queues())),
        "{}",
        summary.value()["tcp"]
    );
}

#[test]
fn http_pipelined_requests_of_netcat_are_answered_in_order() {
    let Some(site) = Site::new() else { return };
    let requests: String =
        (0..100).map(|n| format!("GET /a.txt HTTP/1.1\r\nHost: x\r\nRange: bytes={0}-{0}\r\n\r\n", n % 10)).collect();
    let mut command = site.world.client.command("nc");
    command.args(["-N", "-w", "10", SERVER, "80"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("ip starts");
    child.stdin.take().expect("piped").write_all(requests.as_bytes()).expect("write");
    let output = child.wait_with_output().expect("wait");
    let text = String::from_utf8_lossy(&output.stdout);
    let digits: Vec<&str> = text.split("\r\n\r\n").skip(1).filter_map(|body| body.get(..1)).collect();
    assert_eq!(digits.concat(), "0123456789".repeat(10), "{text}");
    site.stop();
}

#[test]
fn http_wrong_requests_are_answered_and_nothing_leads_out() {
    let Some(site) = Site::new() else { return };
    let outside = TempDir::new().expect("a folder");
    fs::write(outside.path().join("secret"), "the secret").expect("a file");
    std::os::unix::fs::symlink(outside.path().join("secret"), site.path("link")).expect("a link");
    let secret = outside.path().join("secret").display().to_string();
    let up = "../".repeat(12);
    for (target, status) in [
        (format!("{up}etc/passwd"), "403"),
        (format!("sub/{up}{}", &secret[1..]), "403"),
        (format!("{}etc/passwd", "%2e%2e/".repeat(12)), "403"),
        ("link".to_owned(), "403"),
        ("nothing".to_owned(), "404"),
    ] {
        let answer = site.curl(&["-i", "--path-as-is", &url(&target)]);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
        assert!(!answer.contains("root:") && !answer.contains("the secret"), "{target}: {answer}");
    }
    let post = site.curl(&["-i", "-d", "x=y", &url("a.txt")]);
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("Allow: GET, HEAD"), "{post}");
    // curl waits for 100-continue before a large body; it is told at once that there is no use.
    let large = site.path("large");
    fs::write(&large, vec![b'x'; 2 * MIB]).expect("a file");
    let put = site.curl(&["-i", "-T", &large.display().to_string(), "-w", "%{time_total}", &url("a.txt")]);
    assert!(put.starts_with("HTTP/1.1 405 "), "{put}");
    let long = "x".repeat(20_000);
    for (said, status) in [
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("GET /a.txt HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET /a.txt HTTP/1.1\r\nHo".to_owned(), "400"),
        ("GET /a.txt HTTP/3.0\r\nHost: x\r\n\r\n".to_owned(), "505"),
        ("BREW /a.txt HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "501"),
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), "414"),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nA: {long}\r\n\r\n"), "431"),
        ("GET /a.txt HTTP/1.0\r\n\r\n".to_owned(), "200"),
    ] {
        let answer = site.answer(said.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{}: {answer}", &said[..said.len().min(40)]);
    }
    // It still serves.
    assert_eq!(site.curl(&[&url("a.txt")]), "0123456789");
    let summary = site.server.stop();
    assert_eq!((count(&summary, "failed"), count(&summary, "broken_off")), (0, 0));
}

#[test]
fn http_a_client_that_sends_its_head_slowly_is_told_so() {
    let Some(site) = Site::new() else { return };
    let start = Instant::now();
    let answer = site.world.client.inside(|| {
        let mut stream = connect(80);
        stream.write_all(b"GET /a.txt HT").expect("write");
        let mut back = String::new();
        stream.read_to_string(&mut back).expect("read");
        back
    });
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n") && answer.contains("Connection: close"), "{answer}");
    assert!((9.0..15.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    assert_eq!(count(&site.stop(), "slow_heads"), 1);
}

#[test]
fn http_fifty_files_at_once_arrive_complete() {
    let Some(site) = Site::new() else { return };
    let contents: Vec<Vec<u8>> = (0..50).map(|n| site.file(&format!("file{n}"), n * 7001)).collect();
    let copies = TempDir::new().expect("a folder");
    let pattern = format!("{}/file#1", copies.path().display());
    site.curl(&["-Z", "--parallel-max", "50", "--fail", "--output", &pattern, &url("file[0-49]")]);
    for (n, content) in contents.iter().enumerate() {
        let copy = fs::read(copies.path().join(format!("file{n}")));
        // curl makes no file for an empty body.
        assert!(copy.as_ref().map_or(content.is_empty(), |copy| copy == content), "file{n} differs");
    }
    let summary = site.stop();
    assert_eq!((count(&summary, "ok"), count(&summary, "answered")), (50, 50));
    assert_eq!(summary.counter("tcp_reset"), 0);
}

/// Loads a file of so many bytes over 100 connections for a few seconds: at least `least` times, and no error is counted at either side.
fn load_with_wrk(len: usize, least: u64) {
    let Some(site) = Site::new() else { return };
    site.file("file", len);
    let script = site.path("count.lua");
    fs::write(&script, WRK).expect("a script");
    let mut command = site.world.client.command("wrk");
    // A hundred large files share the link: an answer may take longer than the two seconds that wrk waits by itself.
    command.args(["-c", "100", "-t", "2", "-d", "4s", "--timeout", "20s", "-s", &script.display().to_string(), &url("file")]);
    let (code, out, log) = run_to_end(command);
    assert_eq!(code, Some(0), "{out}{log}");
    let line = out.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no counts: {out}"));
    println!("{line}");
    let counts: Value = serde_json::from_str(line).expect("JSON");
    for error in ["connect", "read", "write", "status", "timeout"] {
        assert_eq!(counts[error], 0, "{line}");
    }
    let requests = counts["requests"].as_u64().expect("a count");
    assert!(requests > least, "{line}");
    let summary = site.stop();
    assert_eq!(count(&summary, "ok"), count(&summary, "answered"));
    assert!(count(&summary, "ok") >= requests, "{}", summary.value()["http"]);
    assert!(summary.counter("tcp_accepted") >= 100);
}

#[test]
fn http_wrk_with_100_connections_counts_no_error() {
    load_with_wrk(5000, 1000);
}

#[test]
fn http_wrk_with_100_connections_and_large_files_counts_no_error() {
    load_with_wrk(MIB, 50);
}

/// Prints wrk's counts as JSON. An error of status is an answer above 399.
const WRK: &str = r#"
function done(summary, latency, requests)
    local errors = summary.errors
    print(string.format('{"requests":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}',
        summary.requests, errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
"#;

#[test]
fn http_finishes_a_download_that_a_stop_finds_in_the_middle() {
    let Some(site) = Site::new() else { return };
    let content = site.file("big", 64 * MIB);
    site.world.client.inside(|| {
        let mut stream = connect(80);
        stream.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").expect("write");
        let mut back = vec![0; MIB];
        stream.read_exact(&mut back).expect("read");
        // Most of it has not been read from the file yet: the client does not read, and the server is told to stop.
        site.server.signal(rustix::process::Signal::TERM);
        std::thread::sleep(Duration::from_millis(300));
        stream.read_to_end(&mut back).expect("an end in order");
        assert!(back.ends_with(&content), "{} bytes came", back.len());
    });
    site.server.finish();
}
