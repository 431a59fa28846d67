//! What is tried on an interface: sockets are bound to its queues and the XDP program is attached, as a start would, and everything is undone at once.
//!
//! Called when an interface is read, within what [`Trying`] allows. The program is the steering program with nothing claimed: it passes every frame to the
//! kernel. On a veth pair a few packets under way at that moment may be lost; many drivers of hardware reset the link when a program comes or goes, which takes
//! it down for up to some seconds, and so they are only tried where the operator says so. Nothing is left behind, also when the process is killed: program
//! and sockets go with their descriptors.

use crate::error::SetupError;
use crate::steer::attach::Trial;
use crate::steer::{Claims, Steering};
use crate::xsk::capability::Right;
use crate::xsk::nic::Nic;
use crate::xsk::{self, Config, JUMBO_MTU, ZeroCopy};

/// How far doctor may go on an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trying {
    /// Read, and touch nothing.
    Never,
    /// Attach and bind where that disturbs nobody: on veth.
    #[default]
    Harmless,
    /// Attach and bind on any driver, also where the link may be down for a moment.
    Always,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It was not made: why.
    Not(Reason),
    /// It was made.
    Made(Box<Made>),
}

/// An attempt that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// The sockets were bound, and whether with zero-copy; without it, why.
    pub(super) sockets: Result<Copying, SetupError>,
    /// The program was attached.
    pub(super) program: Result<Trial, SetupError>,
}

/// How packets come into the frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Copying {
    /// The NIC writes them there.
    Zero,
    /// The kernel copies: why zero-copy was refused.
    Copy(SetupError),
}

/// Why nothing was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The operator said so.
    Forbidden,
    /// The driver may reset the link, and nobody said that it may.
    Disturbing,
    /// These rights are missing.
    Rights(String),
    /// Something else stands in the way already, and is said elsewhere.
    Hindered(&'static str),
}

/// What an attempt needs.
pub(super) const NEEDED: [Right; 3] = [Right::NetRaw, Right::NetAdmin, Right::Bpf];

/// Drivers on which attaching and binding disturb nobody.
const HARMLESS: [&str; 1] = ["veth"];

impl Trying {
    /// Why not, as far as the driver is concerned.
    pub(super) fn refuses(self, driver: &str) -> Option<Reason> {
        match self {
            Self::Never => Some(Reason::Forbidden),
            Self::Harmless if !HARMLESS.contains(&driver) => Some(Reason::Disturbing),
            Self::Harmless | Self::Always => None,
        }
    }
}

impl Attempt {
    /// Binds, attaches, and undoes both.
    pub(super) fn make(nic: &Nic) -> Self {
        let queues: Vec<u32> = (0..nic.receive_queues()).collect();
        // What would be given up in a start, packets of several frames, is to be said here.
        let config = |zero_copy| Config { zero_copy, clamp_mtu: nic.mtu() > JUMBO_MTU, ..SMALL };
        let zero = xsk::open(nic, &queues, &config(ZeroCopy::On));
        let (held, sockets) = match zero {
            Ok(held) => (held, Ok(Copying::Zero)),
            Err(why) => match xsk::open(nic, &queues, &config(ZeroCopy::Off)) {
                Ok(held) => (held, Ok(Copying::Copy(why))),
                Err(error) => (Vec::new(), Err(error)),
            },
        };
        let program =
            Steering::load(&Claims::new(), nic.receive_queues()).map(|steering| steering.try_modes(nic.name(), nic.index()));
        // The order of a stop: the program first.
        drop(held);
        Self::Made(Box::new(Made { sockets, program }))
    }
}

/// Sockets that are bound and not used.
const SMALL: Config = Config {
    zero_copy: ZeroCopy::Auto,
    frame_size: None,
    clamp_mtu: true,
    chains: true,
    huge_pages: false,
    frames_per_queue: 64,
    receive_ring: 64,
    transmit_ring: 64,
    fill_ring: 64,
    completion_ring: 64,
    need_wakeup: true,
    busy_poll: None,
};
