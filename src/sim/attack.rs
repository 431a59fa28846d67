//! What a stranger sends: segments in the name of the other end that guess nearly right, and SYNs in the name of nobody.
//!
//! None of it may change what the services see. What a stranger knows of a connection is more than any stranger could: everything
//! but the one number that the check in question is about. Called by a run, now and then after a segment that arrived; it builds frames and
//! touches neither end. Nothing panics.

use std::net::Ipv4Addr;

use super::dice::Dice;
use super::frames;
use super::service::Stream;
use crate::tcp::inspect::View;
use crate::tcp::seq::SeqNum;
use crate::wire::icmpv4;
use crate::wire::tcp::{Flags, Header, Options, Ports};

/// A connection as a stranger sees it who attacks end `to`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) to: usize,
    /// Of the segments that go to `to`.
    pub(super) ports: Ports,
    /// The attacked end, and the other.
    pub(super) victim: View,
    pub(super) other: View,
    /// What the other end's service sends, and where its bytes begin.
    pub(super) stream: Stream,
    pub(super) first: SeqNum,
}

/// Frames that go to the victim.
#[derive(Debug, Default)]
pub(super) struct Attack {
    pub(super) frames: Vec<Vec<u8>>,
    /// They carry what the other end has sent: the oracle is to count them as its segments.
    pub(super) honest: bool,
    pub(super) name: &'static str,
}

/// One attack. Empty when it makes no sense for this connection.
pub(super) fn draw(target: &Target, dice: &mut Dice) -> Attack {
    let View { rcv_nxt, rcv_wnd, snd_una, snd_nxt, .. } = target.victim;
    let wrong = [0x5a; 100];
    let forge = |flags, seq, ack, payload: &[u8]| vec![target.forge(flags, seq, ack, target.stamps(), payload)];
    let attack = |name, frames| Attack { frames, honest: false, name };
    match dice.between(0, 13) {
        0 if rcv_wnd > 1 => {
            let seq = rcv_nxt + dice.between(1, u64::from(rcv_wnd) - 1) as u32;
            attack("RST in the window", forge(Flags::RST, seq, SeqNum(0), &[]))
        }
        1 => {
            let seq = rcv_nxt + rcv_wnd + dice.between(1, 1 << 30) as u32;
            attack("RST off the window", forge(Flags::RST, seq, SeqNum(0), &[]))
        }
        2 => attack("SYN", forge(Flags::SYN, SeqNum(dice.bits() as u32), SeqNum(0), &[])),
        3 => attack("SYN-ACK in the window", forge(Flags::SYN | Flags::ACK, rcv_nxt, snd_nxt, &[])),
        4 => {
            let ack = snd_nxt + dice.between(1, 1 << 30) as u32;
            attack("data with an ACK of the future", forge(Flags::ACK, rcv_nxt, ack, &wrong))
        }
        5 => attack("data with an ACK of the past", forge(Flags::ACK, rcv_nxt, snd_una - (1 << 30), &wrong)),
        6 => attack("data without ACK", forge(Flags(0), rcv_nxt, SeqNum(0), &wrong)),
        7 | 8 if target.victim.timestamps => {
            let old = target.victim.ts_recent.wrapping_sub(dice.between(1, 1 << 30) as u32);
            attack("old data", vec![target.forge(Flags::ACK, rcv_nxt, snd_una, Some((old, 0)), &wrong)])
        }
        9 if target.victim.timestamps => {
            attack("data without a timestamp", vec![target.forge(Flags::ACK, rcv_nxt, snd_una, None, &wrong)])
        }
        10 => {
            let seq = snd_una + dice.between(0, 3_000) as u32;
            let code = dice.one(&[icmpv4::CODE_HOST, icmpv4::CODE_PROTOCOL, icmpv4::CODE_PORT]);
            attack("ICMP unreachable", vec![frames::forged_unreachable(target.to, code, target.answered(), seq, 0)])
        }
        11 => {
            let far = if dice.chance(5_000) { dice.between(0, 3_000) } else { dice.between(1 << 20, 1 << 30) };
            let mtu = dice.between(0, 1_500) as u16;
            let frame = frames::forged_unreachable(
                target.to,
                icmpv4::CODE_FRAGMENTATION_NEEDED,
                target.answered(),
                snd_una + far as u32,
                mtu,
            );
            attack("ICMP too large", vec![frame])
        }
        _ => target.comb(),
    }
}

impl Target {
    /// The ports of the segments that the victim sends.
    const fn answered(&self) -> Ports {
        Ports { source: self.ports.target, target: self.ports.source }
    }

    fn stamps(&self) -> Option<(u32, u32)> {
        self.victim.timestamps.then_some((self.victim.ts_recent, 0))
    }

    fn forge(&self, flags: Flags, seq: SeqNum, ack: SeqNum, timestamps: Option<(u32, u32)>, payload: &[u8]) -> Vec<u8> {
        let window = (self.other.rcv_wnd >> self.victim.snd_shift).min(0xffff) as u16;
        let options = Options { timestamps, ..Options::default() };
        let Ports { source, target } = self.ports;
        let header = Header { source_port: source, target_port: target, seq, ack, flags, window, urgent: 0, options };
        frames::forged(frames::address(1 - self.to), self.to, &header, payload)
    }

    /// Every second byte of what the other end has sent and the victim has not got: as many holes as there can be.
    fn comb(&self) -> Attack {
        let (begin, end) = (self.victim.rcv_nxt + 1, self.other.snd_nxt);
        let room = self.victim.rcv_nxt + self.victim.rcv_wnd;
        let mut attack = Attack { frames: Vec::new(), honest: true, name: "a comb of single bytes" };
        let tooth = |at: u32| begin + 2 * at;
        for seq in (0..40).map(tooth).take_while(|&seq| seq.before(end - 1) && seq.before(room) && seq.at_or_after(self.first)) {
            let mut byte = [0];
            self.stream.fill(u64::from(seq - self.first), &mut byte);
            attack.frames.push(self.forge(Flags::ACK, seq, self.other.rcv_nxt, self.stamps(), &byte));
        }
        attack
    }
}

/// A SYN in the name of somebody who is not there.
pub(super) fn spoofed_syn(to: usize, port: u16, dice: &mut Dice) -> Vec<u8> {
    let source = Ipv4Addr::new(10, 0, 0, dice.between(3, 250) as u8);
    let header = Header {
        source_port: dice.between(1_024, 65_535) as u16,
        target_port: port,
        seq: SeqNum(dice.bits() as u32),
        ack: SeqNum(0),
        flags: Flags::SYN,
        window: 65_535,
        urgent: 0,
        options: Options { mss: Some(1460), sack_permitted: true, ..Options::default() },
    };
    frames::forged(source, to, &header, &[])
}
