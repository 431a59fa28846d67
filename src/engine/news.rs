//! What the kernel knows, on its way to an engine, and what the engine wishes of the kernel.
//!
//! Two bounded queues between an engine and the control thread: [`News`] come in and are applied once a turn (`engine/follow.rs`), [`Wish`]es go
//! out. The control thread holds the [`Feed`] and learns of a full queue at once, so that it can send later what did not fit; wishes that find no
//! room come again by themselves. Nothing here knows netlink; nothing panics.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::queue::ArrayQueue;

use super::mailbox::Bell;
use crate::limits;
use crate::link::interface::Cidr;
use crate::link::nd::Router;
use crate::link::neighbor::Known;
use crate::link::routes::Routes;

/// Something that has changed in the kernel, or that another core of the process tells, on an interface of the engine's by its position.
#[derive(Clone, Debug)]
pub enum News {
    /// A neighbour, in a port claim.
    Neighbor {
        /// The interface.
        interface: u16,
        /// Its address.
        ip: IpAddr,
        /// What is known of it.
        known: Known,
    },
    /// All routes.
    Routes {
        /// The interface.
        interface: u16,
        /// They take the place of those before.
        routes: Box<Routes>,
    },
    /// An address has come or gone: of the kernel in a port claim, and in an address claim one that routers advertise. What is claimed of it is
    /// steered as long as it is there.
    Address {
        /// The interface.
        interface: u16,
        /// The address.
        address: Cidr,
        /// It has come.
        there: bool,
    },
    /// The link carries traffic, or does not.
    Link {
        /// The interface.
        interface: u16,
        /// It does.
        up: bool,
    },
    /// The largest IP packet, in bytes; never larger than at the start of the engine, whose frames were made for that.
    Mtu {
        /// The interface.
        interface: u16,
        /// Bytes.
        mtu: usize,
    },
    /// The largest IPv6 packet that routers allow, in bytes; one that the link does not carry says nothing.
    MtuV6 {
        /// The interface.
        interface: u16,
        /// Bytes; `usize::MAX` when none says anything.
        mtu: usize,
    },
    /// How long a neighbour is to count as reachable over IPv6, by what routers advertise.
    Reachable {
        /// The interface.
        interface: u16,
        /// About so long.
        time: Duration,
    },
    /// A frame that the XDP program passed because the kernel needs it too.
    Copy {
        /// The interface.
        interface: u16,
        /// From its Ethernet header on.
        frame: Box<[u8]>,
    },
    /// A frame about neighbours, or an ICMP error, that another core has received and answered.
    Heard {
        /// The interface.
        interface: u16,
        /// From its Ethernet header on.
        frame: Box<[u8]>,
    },
    /// The first core has made sure that an address is ours.
    Ours {
        /// The interface.
        interface: u16,
        /// The address.
        address: IpAddr,
    },
}

/// What an engine asks of the kernel, and what it has heard that is not its own to act upon.
#[derive(Debug)]
pub enum Wish {
    /// A neighbour is used: find it, or make sure of it.
    Use {
        /// The interface.
        interface: u16,
        /// Its address.
        ip: IpAddr,
    },
    /// A neighbour carries our packets: it need not be asked.
    Confirm {
        /// The interface.
        interface: u16,
        /// Its address.
        ip: IpAddr,
    },
    /// A router tells of itself and the link, which is to be followed ([`super::Config::router_advertisements`]).
    Router {
        /// The interface.
        interface: u16,
        /// What it says.
        said: Box<Router>,
    },
    /// Another station has an address that was made of what routers advertise.
    Duplicate {
        /// The interface.
        interface: u16,
        /// The address.
        address: Ipv6Addr,
    },
    /// A router whose routes are used does not answer when it is asked for.
    Silent {
        /// The interface.
        interface: u16,
        /// Its address.
        router: Ipv6Addr,
    },
    /// Routes that others have taken the place of, to be freed where time does not matter.
    Free(Box<Routes>),
}

/// The control thread's end.
#[derive(Clone, Debug)]
pub struct Feed {
    news: Arc<ArrayQueue<News>>,
    wishes: Arc<ArrayQueue<Wish>>,
    copies_lost: Arc<AtomicU64>,
    bell: Arc<Bell>,
}

/// The engine's end.
#[derive(Debug)]
pub(super) struct Follow {
    pub(super) news: Arc<ArrayQueue<News>>,
    wishes: Arc<ArrayQueue<Wish>>,
    copies_lost: Arc<AtomicU64>,
    /// Wakes the control thread.
    waker: Arc<mio::Waker>,
}

impl Feed {
    /// Both ends; `waker` is the control thread's.
    pub(super) fn new(bell: Arc<Bell>, waker: Arc<mio::Waker>) -> (Self, Follow) {
        let (news, wishes) = (Arc::new(ArrayQueue::new(limits::NEWS)), Arc::new(ArrayQueue::new(limits::WISHES)));
        let copies_lost = Arc::new(AtomicU64::new(0));
        let follow =
            Follow { news: Arc::clone(&news), wishes: Arc::clone(&wishes), copies_lost: Arc::clone(&copies_lost), waker };
        (Self { news, wishes, copies_lost, bell }, follow)
    }

    /// Tells the engine.
    ///
    /// # Errors
    /// The news itself, when [`limits::NEWS`] others wait. A copy is not worth sending again: it is counted.
    pub fn tell(&self, news: News) -> Result<(), News> {
        match self.news.push(news) {
            Ok(()) => {
                self.bell.ring();
                Ok(())
            }
            Err(News::Copy { .. }) => {
                self.copies_lost.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(full) => Err(full),
        }
    }

    /// True when there is room for news that is no copy.
    pub fn has_room(&self) -> bool {
        self.news.len() < self.news.capacity()
    }

    /// What the engine wishes next.
    pub fn wish(&self) -> Option<Wish> {
        self.wishes.pop()
    }
}

impl Follow {
    /// Tells the control thread; it is woken for what cannot wait.
    pub(super) fn wish(&self, wish: Wish) {
        let urgent = matches!(wish, Wish::Use { .. } | Wish::Router { .. } | Wish::Duplicate { .. } | Wish::Silent { .. });
        // What finds no room is wished again: neighbours are asked for again, and confirmed again; routers say again what they said, and with
        // that it is told again which addresses others have.
        if self.wishes.push(wish).is_ok() && urgent {
            let _ = self.waker.wake();
        }
    }

    /// Copies that found the queue full.
    pub(super) fn copies_lost(&self) -> u64 {
        self.copies_lost.load(Ordering::Relaxed)
    }
}
