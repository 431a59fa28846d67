//! A server that is told to stop: what is open is finished, what is idle ends at once, what never ends is reset when the time is over.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use ringway::rng::Rng;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::{connect, exchange, fill, server};
use crate::server::Server;
use crate::world::{SERVER_CIDR, World};

const FILE_BYTES: usize = 24 << 20;

/// A folder with one large file, and a server of it.
fn serve_file(world: &World) -> (TempDir, Vec<u8>, Server) {
    let folder = TempDir::new().expect("a folder");
    let mut content = vec![0; FILE_BYTES];
    fill(&mut Rng::seeded(7), &mut content);
    fs::write(folder.path().join("large"), &content).expect("a file");
    let server = Server::with(world, &["-a", SERVER_CIDR, &format!("http:80={}", folder.path().display())]);
    (folder, content, server)
}

/// A client that asks and keeps its connection.
fn ask_and_stay() -> TcpStream {
    use std::io::Write as _;
    let mut stream = connect(80);
    stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").expect("write");
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).expect("an answer");
    assert!(answer[..read].starts_with(b"HTTP/1.1 404"));
    stream
}

fn bytes_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

#[test]
fn a_download_under_way_is_finished_while_idle_connections_end_and_new_ones_are_refused() {
    let Some(world) = World::new() else { return };
    let (folder, content, ringway) = serve_file(&world);
    let got = folder.path().join("got");
    let url = format!("http://{}/large", server(80));
    let target = got.display().to_string();
    let curl = ["-s", "-S", "-m", "30", "--limit-rate", "8M", "-o", &target, &url];
    let mut curl = world.client.command("curl").args(curl).stderr(Stdio::piped()).spawn().expect("curl starts");
    let begin = Instant::now();
    while bytes_of(&got) < 1 << 20 {
        assert!(begin.elapsed() < Duration::from_secs(10), "nothing comes");
        thread::sleep(Duration::from_millis(20));
    }
    let stopped = world.client.inside(|| {
        let mut idle = ask_and_stay();
        let stopped = Instant::now();
        ringway.signal(Signal::TERM);
        assert_eq!(idle.read(&mut [0; 8]).expect("an end in order"), 0);
        assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
        let refused = TcpStream::connect_timeout(&server(80), Duration::from_secs(2)).expect_err("no more connections");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(curl.try_wait().expect("wait").is_none(), "the download was to be under way");
        stopped
    });
    let curl = curl.wait_with_output().expect("curl ends");
    assert!(curl.status.success(), "{}", String::from_utf8_lossy(&curl.stderr));
    assert!(fs::read(&got).expect("the file") == content, "the file differs");
    let summary = ringway.finish();
    assert!(stopped.elapsed() < Duration::from_secs(9), "it leaves when all is done: {:?}", stopped.elapsed());
    assert_eq!((summary.counter("tcp_reset"), summary.value()["http"]["broken_off"].as_u64()), (0, Some(0)));
    assert_eq!(summary.dropped("tcp_port_closed"), 1, "{}", summary.value());
}

#[test]
fn a_connection_that_never_ends_is_reset_when_the_time_is_over() {
    let Some(world) = World::new() else { return };
    // The kernel calls a reset behind the end of a stream a broken pipe.
    let cases = [("1500ms", 1500, 2500, ErrorKind::BrokenPipe), ("0s", 0, 1000, ErrorKind::ConnectionReset)];
    for (drain, least_ms, most_ms, reset) in cases {
        let ringway = Server::with(&world, &["-a", SERVER_CIDR, "--drain", drain, "echo:7"]);
        world.client.inside(|| {
            let mut stream = connect(7);
            exchange(&mut stream, b"hello");
            let begin = Instant::now();
            ringway.signal(Signal::TERM);
            if least_ms > 0 {
                assert_eq!(stream.read(&mut [0; 8]).expect("our end first"), 0);
            }
            // It does not end its own side.
            let summary = ringway.finish();
            let took = begin.elapsed().as_millis();
            assert!((least_ms..most_ms).contains(&took), "{drain}: {took} ms");
            assert_eq!(summary.counter("tcp_reset"), 1, "{drain}");
            let error = stream.take_error().expect("SO_ERROR").or_else(|| stream.read(&mut [0; 8]).err());
            assert_eq!(error.map(|error| error.kind()), Some(reset), "{drain}");
        });
    }
}

/// A second signal does not wait.
#[test]
fn a_second_signal_ends_a_drain() {
    let Some(world) = World::new() else { return };
    let mut ringway = Server::with(&world, &["-a", SERVER_CIDR, "echo:7"]);
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"hello");
        let begin = Instant::now();
        ringway.signal(Signal::TERM);
        thread::sleep(Duration::from_millis(300));
        ringway.signal(Signal::TERM);
        ringway.wait();
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        drop(stream);
    });
    world.assert_untouched();
}
