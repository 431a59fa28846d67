//! The paths that are narrower than their link: who finds one, and who is told (RFC 1191, RFC 8201).
//!
//! Called when a connection or an endpoint has confirmed that an ICMP error is about a packet of its own, when a connection begins, and by the UDP path before a
//! large datagram leaves. Off the path of packets that fit. Nothing here panics.

use std::net::IpAddr;

use super::core::{Core, Lane};
use super::emit;
use super::flow::Flow;
use crate::demux::{Address, SlotId};
use crate::device::Device;
use crate::link::pmtu::{Path, PathMtu};
use crate::wire::icmpv4::Quoted;
use crate::wire::udp;

impl<D: Device> Core<D> {
    /// A connection has learned how narrow its path is.
    #[cold]
    #[inline(never)]
    pub(super) fn learn_from_flow(&mut self, id: SlotId) {
        let Some(flow) = self.flows.find(id) else { return };
        let path = Path { interface: flow.key.link.interface, target: flow.key.remote };
        self.learn_path_mtu(path, flow.tcb.path_mtu(), true);
    }

    /// A datagram of ours was larger than `mtu`, which is what its path carries. Returns what is known now. When the endpoint has no one peer anybody
    /// could have made the error up: then so many are believed in a second, and connections are not told.
    #[cold]
    #[inline(never)]
    pub(super) fn learn_from_datagram(&mut self, at: Lane, quoted: &Quoted, mtu: u16, connected: bool) -> Option<u16> {
        if usize::from(quoted.len) > self.link_of(at).mtu_to(quoted.target) {
            // None of ours is as large as that.
            return None;
        }
        let path = Path { interface: at.interface, target: quoted.target };
        let known = self.path_mtus.find(self.now, path, connected).filter(|known| known.mtu <= mtu);
        if known.is_none() {
            if !connected && !self.path_mtu_bucket.take(self.now) {
                return None;
            }
            self.learn_path_mtu(path, mtu, connected);
        }
        self.path_mtus.find(self.now, path, false).map(|known| known.mtu)
    }

    /// What is news is told to every connection with the destination, if it is sure.
    fn learn_path_mtu(&mut self, path: Path, mtu: u16, sure: bool) {
        let Some(PathMtu { mtu, until }) = self.path_mtus.narrow(self.now, path, mtu, sure) else { return };
        self.counters.path_mtus_learned += 1;
        if !sure {
            return;
        }
        // Those at rest hear it when they get up.
        for slot in 0..self.flows.slots() as u32 {
            let leads_there = |flow: &&mut Flow| flow.key.remote == path.target && flow.key.link.interface == path.interface;
            if let Some(flow) = self.flows.whole_at_mut(slot).filter(leads_there) {
                flow.tcb.on_path_mtu(mtu, until);
                if let Some(id) = self.flows.id_at(slot) {
                    self.touch(id);
                }
            }
        }
    }

    /// A connection that is new, or gets up, hears what is known of its path.
    #[inline]
    pub(super) fn tell_path_mtu(&mut self, id: SlotId) {
        let Some(flow) = self.flows.find_mut(id) else { return };
        if usize::from(flow.tcb.path_mtu()) > self.path_mtus.narrowest() {
            let path = Path { interface: flow.key.link.interface, target: flow.key.remote };
            if let Some(PathMtu { mtu, until }) = self.path_mtus.find(self.now, path, true) {
                flow.tcb.on_known_path_mtu(mtu, until);
            }
        }
    }

    /// The largest packet for an address that leaves by a port, in bytes: no larger than the link and the path carry.
    pub(super) fn packet_limit(&mut self, at: Lane, target: IpAddr) -> usize {
        let target = Address::from(target);
        let mtu = self.link_of(at).mtu_to(target);
        if mtu <= self.path_mtus.narrowest() {
            return mtu;
        }
        let path = Path { interface: at.interface, target };
        self.path_mtus.find(self.now, path, false).map_or(mtu, |known| mtu.min(known.mtu.into()))
    }

    /// The largest UDP payload for an address that fits into one packet.
    pub(super) fn udp_payload_limit(&mut self, at: Lane, target: IpAddr) -> usize {
        self.packet_limit(at, target).saturating_sub(emit::ip_header_len(Address::from(target)) + udp::HEADER_LEN)
    }

    /// True when a datagram of `len` bytes goes whole to an address: the path carries it or, when it is a probe, the link.
    #[cold]
    pub(super) fn goes_whole(&mut self, at: Lane, target: IpAddr, len: usize, probe: bool) -> bool {
        //= rfc8899#4.5
        //# A PL implementing this specification MUST suspend network
        //# layer processing of outgoing packets that enforces a PMTU
        let limit = if probe { self.link_of(at).mtu_to(target.into()) } else { self.packet_limit(at, target) };
        emit::ip_header_len(target.into()) + udp::HEADER_LEN + len <= limit
    }

    /// The same, and one frame takes it. What every path carries is not looked up.
    #[inline]
    pub(super) fn goes_in_one_frame(&mut self, at: Lane, target: IpAddr, len: usize, probe: bool) -> bool {
        let whole = emit::ip_header_len(target.into()) + udp::HEADER_LEN + len;
        let room = self.link_of(at).one_frame();
        whole <= room.min(self.path_mtus.narrowest()) || whole <= room && self.goes_whole(at, target, len, probe)
    }
}
