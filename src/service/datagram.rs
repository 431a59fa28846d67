//! A received datagram, as a service sees it, and what the service may do with it.
//!
//! Made by the engine's UDP path, handed to [`super::Service::datagram`]. Lengths are cut to the room there is; nothing here panics.

use std::net::SocketAddr;

use super::EndpointId;

/// Where a datagram came from and where it was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The endpoint it arrived at.
    pub endpoint: EndpointId,
    /// Our address and port, as the sender wrote them.
    pub local: SocketAddr,
    /// The sender.
    pub remote: SocketAddr,
    /// True when it was sent to a broadcast or multicast address.
    pub to_many: bool,
    /// The interface it came in by: its position in the engine's list, from 0.
    pub interface: u16,
    /// The ECN codepoint it arrived with (RFC 3168 5): 0 is Not-ECT, 1 ECT(1), 2 ECT(0), 3 CE. A protocol with a congestion control of its own tells the
    /// sender of 3. Of one that came in fragments it is 3 when any of them was marked.
    pub ecn: u8,
}

/// A datagram. `InFrame` lies in the frame it was received in and can be answered there without a copy; `Assembled` was put
/// together from several frames in a buffer of this core, and an answer to it is copied.
#[derive(Debug)]
pub enum Datagram<'a> {
    /// In the received frame.
    InFrame(InFrame<'a>),
    /// In the core's assembly buffer (IP fragments, multi-buffer packets).
    Assembled(Assembled<'a>),
}

impl Datagram<'_> {
    /// Source, destination, endpoint.
    pub const fn meta(&self) -> &Meta {
        match self {
            Self::InFrame(datagram) => datagram.meta,
            Self::Assembled(datagram) => &datagram.meta,
        }
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::InFrame(datagram) => &datagram.room[..datagram.len],
            Self::Assembled(datagram) => &datagram.buffer[..datagram.len],
        }
    }

    /// The room for a reply, beginning where the payload begins and as long as the link or the buffer allows. It holds the
    /// payload until it is overwritten.
    pub fn room(&mut self) -> &mut [u8] {
        match self {
            Self::InFrame(datagram) => {
                datagram.written = true;
                datagram.room
            }
            Self::Assembled(datagram) => datagram.buffer,
        }
    }

    /// True when [`Datagram::room`] was taken: the payload may have changed, so its checksum has to be built anew.
    pub(crate) const fn written(&self) -> bool {
        match self {
            Self::InFrame(datagram) => datagram.written,
            Self::Assembled(_) => true,
        }
    }
}

/// A datagram in the frame it was received in.
#[derive(Debug)]
pub struct InFrame<'a> {
    meta: &'a Meta,
    room: &'a mut [u8],
    len: usize,
    written: bool,
}

impl<'a> InFrame<'a> {
    /// A datagram whose payload is the first `len` bytes of `room`; a `len` beyond it is cut.
    pub const fn new(meta: &'a Meta, room: &'a mut [u8], len: usize) -> Self {
        let len = if len > room.len() { room.len() } else { len };
        Self { meta, room, len, written: false }
    }
}

/// A datagram in the core's assembly buffer.
#[derive(Debug)]
pub struct Assembled<'a> {
    meta: Meta,
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Assembled<'a> {
    /// A datagram whose payload is the first `len` bytes of `buffer`; a `len` beyond it is cut.
    pub const fn new(meta: Meta, buffer: &'a mut [u8], len: usize) -> Self {
        let len = if len > buffer.len() { buffer.len() } else { len };
        Self { meta, buffer, len }
    }
}

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: the frame is free again.
    Ignore,
    /// Nothing, because an answer could loop or amplify; counted apart.
    Unsafe,
    /// The first `len` bytes of [`Datagram::room`] go back to the sender, in the same frame.
    Reply {
        /// Payload length in bytes.
        len: usize,
    },
    /// The first `len` bytes of [`Datagram::room`] go on to another address, in the same frame, from our address and port.
    Forward {
        /// Payload length in bytes.
        len: usize,
        /// The new destination.
        to: SocketAddr,
    },
    /// The service keeps the datagram under this token (one it does not use yet) and answers or releases it later. The frame
    /// changes owner; beyond a quarter of the frames the datagram is copied, and counted.
    Keep {
        /// The service's own name for it.
        token: u64,
    },
}
