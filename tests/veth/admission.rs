//! Lists and limits of a server, as clients on kernel sockets meet them.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::client::{connect, end, exchange, patient, server};
use crate::family::{CLIENT, FREE_CIDR};
use crate::server::Server;
use crate::world::{INTERFACE, SERVER, SERVER_CIDR, World, own};

/// How long nothing has to come for it to be silence.
const SILENCE: Duration = Duration::from_millis(1200);

/// A connection from one of the client's addresses.
fn connect_from(source: &str, patience: Duration) -> std::io::Result<TcpStream> {
    let source: IpAddr = source.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(server(7)), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&server(7).into(), patience)?;
    let stream = TcpStream::from(socket);
    patient(&stream);
    Ok(stream)
}

/// What comes back for a datagram from one of the client's addresses.
fn ask_from(source: &str, port: u16) -> Result<usize, ErrorKind> {
    let source: IpAddr = source.parse().expect("an address");
    let socket = UdpSocket::bind((source, 0)).expect("bind");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    socket.connect(server(port)).expect("connect");
    socket.send(b"hello").expect("send");
    socket.recv(&mut [0; 16]).map_err(|error| error.kind())
}

#[test]
fn who_is_kept_out_meets_silence_and_the_more_specific_prefix_decides() {
    let Some(world) = World::new() else { return };
    own(&world.client, FREE_CIDR, INTERFACE);
    let other = FREE_CIDR.split('/').next().expect("an address");
    for arguments in [&["--deny", CLIENT][..], &["--allow", other], &["--allow", other, "--deny", "::/0", "--deny", "0.0.0.0/0"]]
    {
        let ringway = Server::with(&world, &[&["-a", SERVER_CIDR], arguments, &["echo:7"]].concat());
        world.client.inside(|| {
            let silence = connect_from(CLIENT, SILENCE).expect_err("nobody answers");
            assert_eq!(silence.kind(), ErrorKind::TimedOut, "{arguments:?}");
            for port in [7, 4242] {
                assert_eq!(ask_from(CLIENT, port), Err(ErrorKind::WouldBlock), "{arguments:?}: not even an error");
            }
            let mut admitted = connect_from(other, Duration::from_secs(5)).expect("it is admitted");
            exchange(&mut admitted, b"hello");
            end(admitted);
            assert_eq!(ask_from(other, 7), Ok(5), "{arguments:?}");
        });
        let pinged = world.client.run("ping", &["-c", "1", "-W", "2", "-I", CLIENT, SERVER]);
        assert!(pinged.contains("1 received"), "{pinged}");
        let summary = ringway.stop();
        assert!(summary.dropped("tcp_denied") >= 1 && summary.dropped("udp_denied") == 2, "{:?}", summary.drops());
        assert_eq!(summary.counter("tcp_accepted"), 1);
    }
}

#[test]
fn a_source_has_no_more_connections_than_its_share_and_may_begin_again_when_one_ends() {
    // Of several workers each has its part of the share, and connects that found theirs used up would have to be asked for again.
    let Some(world) = World::with_queues(1) else { return };
    let ringway = Server::with(&world, &["-a", SERVER_CIDR, "--set", "tcp.connections_per_source=10", "echo:7", "daytime:13"]);
    world.client.inside(|| {
        // Those that the server closes wait in TIME-WAIT there, and count no more.
        for _ in 0..30 {
            assert!(connect(13).read_to_end(&mut Vec::new()).expect("a line") > 10);
        }
        let mut streams: Vec<_> = (0..10).map(|_| connect(7)).collect();
        streams.iter_mut().for_each(|stream| exchange(stream, b"hello"));
        let refused = TcpStream::connect_timeout(&server(7), Duration::from_millis(500)).expect_err("the share is used up");
        assert_eq!(refused.kind(), ErrorKind::TimedOut);
        end(streams.pop().expect("ten"));
        let mut stream = connect(7);
        exchange(&mut stream, b"hello");
        streams.push(stream);
        streams.into_iter().for_each(end);
    });
    let summary = ringway.stop();
    assert!(summary.dropped("tcp_source_full") >= 1, "{:?}", summary.drops());
    assert_eq!(summary.counter("tcp_accepted"), 41);
}

#[test]
fn syns_beyond_a_rate_are_dropped_for_a_source_and_get_cookies_for_all() {
    // Of several workers each has its share of a rate.
    let Some(world) = World::with_queues(1) else { return };
    let ringway = Server::with(&world, &["-a", SERVER_CIDR, "--set", "tcp.syn_rate_per_source=20", "echo:7"]);
    world.client.inside(|| {
        for _ in 0..20 {
            end(connect(7));
        }
        let short = Duration::from_millis(20);
        let refused = (0..20).filter(|_| TcpStream::connect_timeout(&server(7), short).is_err()).count();
        assert!(refused >= 5, "{refused} of 20 in 0.4 s, of which 8 may pass");
        thread::sleep(Duration::from_millis(200));
        end(connect(7));
    });
    let summary = ringway.stop();
    assert!(summary.dropped("tcp_source_syn_limited") >= 5, "{:?}", summary.drops());

    let ringway = Server::with(&world, &["-a", SERVER_CIDR, "--set", "tcp.syn_rate=5", "echo:7"]);
    world.client.inside(|| {
        for _ in 0..100 {
            let mut stream = connect(7);
            exchange(&mut stream, b"nobody is kept out");
            end(stream);
        }
    });
    let summary = ringway.stop();
    assert!(summary.happened("syn_cookie_accepted") >= 50, "{}", summary.value());
    assert_eq!(summary.counter("tcp_established"), 100);
}
