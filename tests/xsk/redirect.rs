//! The smallest XDP program there is for AF_XDP: everything goes to the socket of its queue. For these tests only.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use ringway::steer::assembler::{Assembler, Helper, MapName, Register, Size};
use ringway::xsk::bpf::{Link, LinkMode, Map, MapKind, Program};

/// The program on an interface; taken off with the value.
pub(crate) struct Redirect {
    _link: Link,
    _program: Program,
    _map: Map,
}

/// Offset of `rx_queue_index` in `struct xdp_md`, and the action XDP_PASS.
const QUEUE_INDEX: i16 = 16;
const PASS: i32 = 2;

impl Redirect {
    /// Attaches to the interface, natively, and points each queue number to its socket.
    pub(crate) fn attach<Q: AsFd>(interface: u32, queues: &[(u32, &Q)]) -> io::Result<Self> {
        let map = Map::create(MapKind::Sockets, "sockets", 4, 4, 64)?;
        for (queue, socket) in queues {
            map.update(&queue.to_ne_bytes(), &socket.as_fd().as_raw_fd().to_ne_bytes())?;
        }
        let mut text = Assembler::default();
        text.load(Size::Word, Register::R2, Register::R1, QUEUE_INDEX, "xdp_md.rx_queue_index");
        text.load_map(Register::R1, MapName { position: 0, name: "sockets" }, "AF_XDP sockets by queue");
        text.set(Register::R3, PASS, "when there is no socket");
        text.call(Helper::RedirectMap, "to the queue's socket");
        text.exit("redirected, or passed");
        let instructions =
            text.finish().and_then(|program| program.link(&[map.as_fd().as_raw_fd()])).map_err(io::Error::other)?;
        let program = Program::load("redirect_all", &instructions).map_err(|refused| io::Error::other(refused.to_string()))?;
        Ok(Self { _link: program.attach(interface, LinkMode::Native)?, _program: program, _map: map })
    }
}
