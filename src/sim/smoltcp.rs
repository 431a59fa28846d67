//! smoltcp at end 0: an independent stack under the same service, over the same network, judged by the same oracle.
//!
//! It has no callbacks, so its sockets are asked after every poll what has become of them, and the answers are written down as those of a
//! [`Life`]. Of the scenario it follows what is said, when it is said, and when it ends. Turned by [`super::host`]; what it does by itself is not
//! held against the rules that it is known to bend, which the oracle names. Panics when smoltcp refuses what it documents to take.

use std::rc::Rc;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

use super::frames;
use super::scenario::{Close, Scenario};
use super::service::{Ended, Life, Stream};
use crate::device::Device as _;
use crate::device::memory::MemoryDevice;
use crate::device::smoltcp::Phy;
use crate::service::ResetReason;

/// The end that smoltcp has.
const END: usize = 0;

/// Frames of one turn: fewer than the network's side has room for.
const BUDGET: u32 = 150;

/// One connection: its socket, and when its service acts next.
#[derive(Debug)]
struct Talker {
    handle: SocketHandle,
    opened: bool,
    /// No reading before.
    reads_at: u64,
    /// No writing before.
    writes_at: u64,
    /// For [`Close::At`].
    closes_at: u64,
    /// Bytes read since the last pause.
    read: u64,
}

/// smoltcp with a socket for each plan.
pub(super) struct Smol {
    phy: Phy,
    interface: Interface,
    sockets: SocketSet<'static>,
    scenario: Rc<Scenario>,
    seed: u64,
    talkers: Vec<Talker>,
    pub(super) lives: Vec<Life>,
    pub(super) wrong: Option<String>,
    /// The time of the last turn.
    now: u64,
}

impl Smol {
    pub(super) fn new(device: MemoryDevice, seed: u64, scenario: Rc<Scenario>) -> Self {
        let mac = EthernetAddress(device.mac().0);
        let mut phy = Phy::new(device, scenario.mtus[END]);
        let mut config = Config::new(HardwareAddress::Ethernet(mac));
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut phy, smoltcp::time::Instant::ZERO);
        let own = IpCidr::new(IpAddress::from(frames::address(END)), 24);
        interface.update_ip_addrs(|addresses| addresses.push(own).expect("room for one address"));
        let mut sockets = SocketSet::new(Vec::new());
        let mut talkers = Vec::new();
        let buffer = |bytes: usize| SocketBuffer::new(vec![0; bytes]);
        for plan in &scenario.plans {
            let config = &scenario.configs[END];
            let mut socket = Socket::new(buffer(config.receive_buffer), buffer(config.send_buffer));
            socket.set_nagle_enabled(!config.no_delay);
            if plan.opener != Some(END) {
                socket.listen(plan.ports[END]).expect("a port");
            }
            let handle = sockets.add(socket);
            talkers.push(Talker { handle, opened: false, reads_at: 0, writes_at: 0, closes_at: 0, read: 0 });
        }
        let lives = (0..talkers.len()).map(|plan| Life::new(plan, 0)).collect();
        Self { phy, interface, sockets, scenario, seed, talkers, lives, wrong: None, now: 0 }
    }

    /// Polls the stack and lets the service act. True when bytes moved.
    pub(super) fn turn(&mut self, now: u64) -> bool {
        self.now = now;
        self.phy.budget = BUDGET;
        self.poll();
        let mut worked = false;
        for plan in 0..self.talkers.len() {
            worked |= self.open(plan) | self.read(plan) | self.write(plan) | self.close(plan);
        }
        if worked {
            self.poll();
        }
        worked
    }

    fn poll(&mut self) {
        let now = smoltcp::time::Instant::from_micros((self.now / 1_000) as i64);
        self.interface.poll(now, &mut self.phy, &mut self.sockets);
    }

    /// When there is something to do next.
    pub(super) fn deadline(&mut self) -> u64 {
        let now = smoltcp::time::Instant::from_micros((self.now / 1_000) as i64);
        let poll = self.interface.poll_at(now, &self.sockets).map_or(u64::MAX, |at| at.total_micros() as u64 * 1_000);
        let acts = self.talkers.iter().zip(&self.lives).filter(|(_, life)| life.ended.is_none());
        let own = acts.flat_map(|(talker, life)| {
            let opens = if talker.opened { 0 } else { self.scenario.plans[life.plan].open_ns };
            [opens, talker.reads_at, talker.writes_at, talker.closes_at]
        });
        own.filter(|&at| at > self.now).chain([poll]).min().unwrap_or(u64::MAX)
    }

    pub(super) fn work_waits(&mut self) -> bool {
        self.phy.device.readable()
    }

    pub(super) fn stream_of(&self, plan: usize) -> Stream {
        Stream::new(self.seed, plan, 0, END)
    }

    /// What is left over: sockets that never closed.
    pub(super) fn left_over(&self) -> Vec<String> {
        let open = self.talkers.iter().map(|talker| self.sockets.get::<Socket<'_>>(talker.handle).state());
        open.filter(|state| *state != State::Closed).map(|state| format!("a socket of smoltcp in {state}")).collect()
    }

    fn open(&mut self, plan: usize) -> bool {
        let (talker, scene) = (&mut self.talkers[plan], &self.scenario.plans[plan]);
        let socket = self.sockets.get_mut::<Socket<'_>>(talker.handle);
        if scene.opener == Some(END) && !talker.opened && self.now >= scene.open_ns {
            talker.opened = true;
            let target = (IpAddress::from(frames::address(1 - END)), scene.ports[1 - END]);
            socket.connect(self.interface.context(), target, scene.ports[END]).expect("a free socket");
            return true;
        }
        let life = &mut self.lives[plan];
        if !life.connected && matches!(socket.state(), State::Established | State::CloseWait) {
            life.connected = true;
            talker.opened = true;
            if let Close::At(after) = scene.sides[END].close {
                talker.closes_at = self.now + after;
            }
            return true;
        }
        false
    }

    fn read(&mut self, plan: usize) -> bool {
        let (talker, side) = (&mut self.talkers[plan], self.scenario.plans[plan].sides[END]);
        let socket = self.sockets.get_mut::<Socket<'_>>(talker.handle);
        let life = &mut self.lives[plan];
        if self.now < talker.reads_at || !socket.can_recv() {
            return false;
        }
        let stream = Stream::new(self.seed, plan, 0, 1 - END);
        let got = life.got;
        let received = socket.recv(|bytes| {
            let taken = bytes.len().min(usize::try_from(side.sip).unwrap_or(usize::MAX));
            (taken, (taken as u64, bytes.len(), stream.differs(got, &bytes[..taken])))
        });
        let Ok((taken, offered, differs)) = received else { return false };
        if let Some(at) = differs {
            self.wrong.get_or_insert(format!("smoltcp: byte {at} of plan {plan} is not the one that was sent"));
        }
        life.got += taken;
        talker.read += taken;
        if taken < offered as u64 || talker.read >= side.pause_every {
            talker.read = 0;
            talker.reads_at = self.now + side.pause_ns;
        }
        taken > 0
    }

    fn write(&mut self, plan: usize) -> bool {
        let (talker, side) = (&mut self.talkers[plan], self.scenario.plans[plan].sides[END]);
        let socket = self.sockets.get_mut::<Socket<'_>>(talker.handle);
        let life = &mut self.lives[plan];
        if !life.connected || life.sent == side.bytes || self.now < talker.writes_at || !socket.can_send() {
            return false;
        }
        let mut bytes = vec![0; side.chunk.min(side.bytes - life.sent) as usize];
        Stream::new(self.seed, plan, 0, END).fill(life.sent, &mut bytes);
        let taken = socket.send_slice(&bytes).unwrap_or(0);
        life.sent += taken as u64;
        talker.writes_at = self.now + side.write_gap_ns;
        taken > 0
    }

    fn close(&mut self, plan: usize) -> bool {
        let (talker, side) = (&mut self.talkers[plan], self.scenario.plans[plan].sides[END]);
        let socket = self.sockets.get_mut::<Socket<'_>>(talker.handle);
        let life = &mut self.lives[plan];
        if !life.connected || life.ended.is_some() {
            return false;
        }
        if !socket.may_recv() && !socket.can_recv() {
            life.peer_closed = true;
        }
        let due = match side.close {
            Close::Sent => true,
            Close::PeerClosed => life.peer_closed,
            Close::At(_) => self.now >= talker.closes_at,
        };
        if matches!(socket.state(), State::TimeWait | State::Closed) && !socket.can_recv() {
            let whole = life.closed && life.peer_closed;
            life.ended = Some(if whole { Ended::Closed } else { Ended::Reset(ResetReason::Reset) });
        }
        if due && life.sent == side.bytes && !life.closed {
            life.closed = true;
            socket.close();
            return true;
        }
        false
    }
}
