//! A service of your own: whatever comes, over TCP or UDP, goes back in capitals.
//!
//!     cargo run --release --example own_service -- veth0 10.0.0.2/24

use ringway::error::SetupError;
use ringway::launch::Launch;
use ringway::service::{Answer, Connection, Context, Datagram, Listen, Service};

const PORT: u16 = 4000;

struct Shout;

impl Service for Shout {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(PORT.into(), Listen::default()).expect("the port is free");
        cx.open_udp(PORT.into()).expect("the port is free");
    }

    /// The answer is written over the question, in the frame it came in.
    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        let len = datagram.payload().len();
        datagram.room()[..len].make_ascii_uppercase();
        Answer::Reply { len }
    }

    /// What does not fit into the send buffer stays unread and is offered again when there is room.
    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        cx.send(connection, &bytes.to_ascii_uppercase())
    }

    /// The peer has said everything; so have we.
    fn peer_closed(&mut self, cx: &mut impl Context, connection: Connection) {
        cx.close(connection);
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [interface, address] = &words[..] else {
        eprintln!("usage: own_service INTERFACE ADDRESS/PREFIX");
        std::process::exit(2);
    };
    if let Err(error) = serve(interface, address) {
        eprintln!("{error}");
        std::process::exit(error.exit_code().into());
    }
}

fn serve(interface: &str, address: &str) -> Result<(), SetupError> {
    Launch::new().interface(interface).address(address.parse()?).run(Shout)?;
    Ok(())
}
