//! The example of a service of a user's own, as it is built, does what it says.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{connect, udp};
use crate::server::RINGWAY;
use crate::world::{INTERFACE, SERVER, World};

#[test]
fn a_service_of_a_users_own_serves_both_transports() {
    let Some(world) = World::new() else { return };
    let example = Path::new(RINGWAY).with_file_name("examples").join("own_service");
    assert!(example.exists(), "{} is not built: cargo build --examples", example.display());
    let example = example.to_str().expect("UTF-8");
    let mut child = world.server.command(example).args([INTERFACE, "10.0.0.2/24"]).spawn().expect("ip starts");
    // It prints nothing: it serves when it answers.
    let ready = (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        std::process::Command::new("ip")
            .args(["netns", "exec", &world.client.name, "ping", "-c1", "-W1", SERVER])
            .output()
            .is_ok_and(|output| output.status.success())
    });
    assert!(ready, "the example does not answer");
    world.client.inside(|| {
        let socket = udp(4000);
        socket.send(b"shout").expect("send");
        let mut room = [0; 64];
        let n = socket.recv(&mut room).expect("an answer");
        assert_eq!(&room[..n], b"SHOUT");

        let mut stream = connect(4000);
        std::io::Write::write_all(&mut stream, b"over tcp, too").expect("write");
        stream.shutdown(std::net::Shutdown::Write).expect("shutdown");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).expect("read");
        assert_eq!(text, "OVER TCP, TOO");
    });
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert!(child.wait().expect("wait").success());
    world.assert_untouched();
}
