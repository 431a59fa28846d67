//! The XDP programs, line by line: `steer`, which decides for every frame whether it is Ringway's, `reflector`, which calibrates
//! measurements, and `everything`, which takes an interface whole.
//!
//! Written with [`super::assembler`], loaded by `attach`, printed by [`super::dump`]; [`super::model`] says the same as `steer` in plain Rust,
//! and the tests hold the two against each other. The first two are straight-line text (jumps go forward only), read only what they have
//! checked against the packet's end, and count every frame under exactly one [`Cause`]. Pure; nothing here panics.

use super::assembler::{AssembleError, Assembled, Assembler, Condition, Helper, MapName, Operation, Register, Size};
use super::cause::{Action, Cause};
use super::claims::{ANY_VLAN, UNTAGGED};
use crate::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_VLAN, Mac};

use Condition::{Above, Below, Equal, NotEqual};
use Operation::{Add, And};
use Register::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use Size::{Byte, Double, Half, Word};

/// What is claimed: key [`super::claims::ClaimKey`], value the VLAN (`u32`). A hash map.
pub const CLAIMS: MapName = MapName { position: 0, name: "claims" };
/// One counter (`u64`) per [`Cause`]. A per-CPU array.
pub const CAUSES: MapName = MapName { position: 1, name: "causes" };
/// The AF_XDP socket of each receive queue. An XSKMAP.
pub const SOCKETS: MapName = MapName { position: 2, name: "sockets" };

/// Which kinds of claims the program looks for: a kind that is not there costs no look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// Whole addresses.
    pub addresses: bool,
    /// Ports on addresses of the kernel.
    pub ports: bool,
}

// Registers that survive calls. Before the first call R3 to R5 hold what was read from the Ethernet header.
const CONTEXT: Register = R6;
/// The start of the frame, later of the IP or ARP packet; at the end the action.
const PACKET: Register = R7;
const END: Register = R8;
const VLAN: Register = R9;
const FRAME: Register = R10;

// The stack: the key of the claim map, then what the port claim needs after its look-up, then the index of the counter.
const KEY: i16 = -24;
const KEY_VLAN: i16 = KEY;
const KEY_FAMILY: i16 = KEY + 2;
const KEY_PROTOCOL: i16 = KEY + 3;
const KEY_PORT: i16 = KEY + 4;
const KEY_ADDRESS: i16 = KEY + 8;
const FRAGMENT: i16 = -28;
const FIRST_BYTE: i16 = -32;
const CAUSE: i16 = -36;

// `struct xdp_md`.
const CONTEXT_DATA: i16 = 0;
const CONTEXT_END: i16 = 4;
const CONTEXT_QUEUE: i16 = 16;

/// The program that steers claimed frames to AF_XDP sockets and passes everything else.
///
/// # Errors
/// A mistake in the text below; the unit tests assemble every combination.
pub fn steer(kinds: Kinds) -> Result<Assembled, AssembleError> {
    let mut p = Assembler::new();
    name_registers(&mut p);
    if !kinds.addresses && !kinds.ports {
        pass(&mut p);
        count(&mut p);
        return p.finish();
    }
    ethernet(&mut p);
    p.label("network");
    clear_key(&mut p);
    if kinds.addresses {
        p.jump_if(R5, Equal, i32::from(ETHERTYPE_ARP), "arp", "ARP is steered by the address it asks for, broadcast or not");
    }
    p.jump_if(R5, NotEqual, i32::from(ETHERTYPE_IPV4), "pass", "anything else, IPv6 included, is the kernel's");
    p.jump_if(R4, NotEqual, 0, "pass", "IPv4 in a broadcast or multicast frame is the kernel's");
    need(&mut p, 20, "no room for an IPv4 header: nothing can be said about it");
    p.load(Word, R1, PACKET, 16, "destination address");
    p.store(Word, FRAME, KEY_ADDRESS, R1, "key.address");
    if kinds.addresses {
        p.store(Half, FRAME, KEY_VLAN, ANY, "key.vlan: the claim's first VLAN");
        look_up(&mut p);
        p.jump_if(R0, Equal, 0, if kinds.ports { "ports" } else { "pass" }, "no claim on the whole address");
        match_vlan(&mut p, "steer_address");
    }
    if kinds.ports {
        if kinds.addresses {
            p.label("ports");
        }
        ports(&mut p);
    }
    if kinds.addresses {
        arp(&mut p);
        cause(&mut p, "steer_address", Cause::SteeredAddress, "redirect");
        cause(&mut p, "steer_arp", Cause::SteeredArp, "redirect");
    }
    if kinds.ports {
        cause(&mut p, "steer_port", Cause::SteeredPort, "redirect");
    }
    p.label("redirect");
    redirect(&mut p);
    cause(&mut p, "claimed_vlan", Cause::ClaimedVlan, "pass_counted");
    if kinds.ports {
        cause(&mut p, "claimed_fragment", Cause::ClaimedFragment, "pass_counted");
        cause(&mut p, "claimed_options", Cause::ClaimedOptions, "pass_counted");
        cause(&mut p, "claimed_truncated", Cause::ClaimedTruncated, "pass_counted");
        cause(&mut p, "claimed_header", Cause::ClaimedHeader, "pass_counted");
    }
    p.label("pass");
    p.store(Word, FRAME, CAUSE, Cause::Passed as i32, Cause::Passed.name());
    p.label("pass_counted");
    p.set(PACKET, Action::Pass as i32, "the action: to the kernel");
    p.label("count");
    count(&mut p);
    p.finish()
}

fn name_registers(p: &mut Assembler) {
    p.name(CONTEXT, "context");
    p.name(PACKET, "packet");
    p.name(END, "end");
    p.name(VLAN, "vlan");
}

/// Reads the Ethernet header and one 802.1Q tag: R4 = group bit, R5 = EtherType, VLAN, PACKET at what follows.
fn ethernet(p: &mut Assembler) {
    p.set(CONTEXT, R1, "struct xdp_md");
    p.load(Word, PACKET, CONTEXT, CONTEXT_DATA, "xdp_md.data");
    p.load(Word, END, CONTEXT, CONTEXT_END, "xdp_md.data_end");
    need(p, 14, "no Ethernet header");
    p.load(Byte, R4, PACKET, 0, "first byte of the destination");
    p.compute(And, R4, 1, "1 for broadcast and multicast");
    p.load(Half, R5, PACKET, 12, "EtherType");
    p.to_host_half(R5, "in host order");
    p.set(VLAN, i32::from(UNTAGGED), "no tag");
    p.compute(Add, PACKET, 14, "behind the header");
    p.jump_if(R5, NotEqual, i32::from(ETHERTYPE_VLAN), "network", "no 802.1Q tag");
    need(p, 4, "no room for the tag");
    p.load(Half, VLAN, PACKET, 0, "tag control information");
    p.to_host_half(VLAN, "in host order");
    p.compute(And, VLAN, 0x0fff, "the VLAN id, without priority");
    p.load(Half, R5, PACKET, 2, "EtherType behind the tag");
    p.to_host_half(R5, "in host order");
    p.compute(Add, PACKET, 4, "behind the tag");
}

/// Passes the frame unless `bytes` more lie before its end.
fn need(p: &mut Assembler, bytes: i32, why: &'static str) {
    p.set(R1, PACKET, "what is to be read must lie before the end");
    p.compute(Add, R1, bytes, "its length");
    p.jump_if(R1, Above, END, "pass", why);
}

fn clear_key(p: &mut Assembler) {
    p.store(Double, FRAME, KEY, 0, "key: all zero");
    p.store(Double, FRAME, KEY + 8, 0, "key.address: all zero");
    p.store(Double, FRAME, KEY + 16, 0, "key.address: all zero, beyond IPv4");
    p.store(Byte, FRAME, KEY_FAMILY, 4, "key.family: IPv4");
}

/// R0 = the entry of the key on the stack, or 0.
fn look_up(p: &mut Assembler) {
    p.load_map(R1, CLAIMS, "what is claimed");
    p.set(R2, FRAME, "the key lies on the stack");
    p.compute(Add, R2, i32::from(KEY), "at its place");
    p.call(Helper::MapLookup, "is it claimed?");
}

/// R0 is the entry of a claim: to `steered` if it is of the frame's VLAN, else to `claimed_vlan`.
fn match_vlan(p: &mut Assembler, steered: &'static str) {
    p.load(Word, R1, R0, 0, "the VLAN it is claimed in");
    p.jump_if(R1, Equal, VLAN, steered, "the frame's own");
    p.store(Half, FRAME, KEY_VLAN, VLAN, "key.vlan: perhaps it is claimed in more than one");
    look_up(p);
    p.jump_if(R0, NotEqual, 0, steered, "in the frame's too");
    p.jump("claimed_vlan", "claimed, but not in this VLAN");
}

/// Decides about a port of an address; `key.address` is set.
fn ports(p: &mut Assembler) {
    p.store(Half, FRAME, KEY_VLAN, ANY, "key.vlan: the claim's first VLAN");
    p.load(Byte, R1, PACKET, 9, "protocol");
    p.store(Byte, FRAME, KEY_PROTOCOL, R1, "key.protocol");
    p.load(Half, R2, PACKET, 6, "flags and fragment offset");
    p.to_host_half(R2, "in host order");
    p.compute(And, R2, 0x3fff, "more fragments, and the offset");
    p.store(Word, FRAME, FRAGMENT, R2, "for later");
    p.load(Byte, R3, PACKET, 0, "version and header length");
    p.store(Word, FRAME, FIRST_BYTE, R3, "for later");
    p.jump_if(R3, NotEqual, 0x45, "port_hidden", "not version 4, or a header of other than 20 bytes");
    p.compute(And, R2, 0x1fff, "fragment offset");
    p.jump_if(R2, NotEqual, 0, "port_hidden", "a later fragment shows no port");
    p.set(R1, PACKET, "both ports must lie before the end");
    p.compute(Add, R1, 24, "behind the header of 20 bytes");
    p.jump_if(R1, Above, END, "port_hidden", "cut off before the ports");
    p.load(Half, R3, PACKET, 22, "destination port, in network order");
    p.jump_if(R3, Equal, 0, "pass", "port 0 is never claimed, and 0 means any port in the key");
    p.store(Half, FRAME, KEY_PORT, R3, "key.port; left 0 where the port is hidden: is any port of the protocol claimed?");
    p.label("port_hidden");
    look_up(p);
    p.jump_if(R0, Equal, 0, "pass", "no claim on the port");
    match_vlan(p, "port_claimed");
    p.label("port_claimed");
    p.load(Word, R1, FRAME, FIRST_BYTE, "version and header length");
    p.jump_if(R1, Below, 0x45, "claimed_header", "not version 4, or a header below 20 bytes");
    p.jump_if(R1, Above, 0x4f, "claimed_header", "not version 4");
    p.load(Word, R2, FRAME, FRAGMENT, "more fragments, and the offset");
    p.jump_if(R2, NotEqual, 0, "claimed_fragment", "its other parts show no port, so the kernel has them all");
    p.jump_if(R1, NotEqual, 0x45, "claimed_options", "IPv4 options are the kernel's");
    p.load(Half, R2, FRAME, KEY_PORT, "key.port");
    p.jump_if(R2, Equal, 0, "claimed_truncated", "cut off before the port");
    p.jump("steer_port", "claimed and whole");
}

/// ARP for Ethernet and IPv4 (RFC 826) whose target protocol address is claimed. `key` is zero but for its family.
fn arp(p: &mut Assembler) {
    p.label("arp");
    need(p, 28, "no room for an ARP packet");
    arp_format(p);
    p.load(Word, R1, PACKET, 24, "target protocol address");
    p.store(Word, FRAME, KEY_ADDRESS, R1, "key.address");
    p.store(Half, FRAME, KEY_VLAN, ANY, "key.vlan: the claim's first VLAN");
    look_up(p);
    p.jump_if(R0, Equal, 0, "pass", "ARP for the kernel");
    match_vlan(p, "steer_arp");
}

/// Passes ARP that is not for Ethernet and IPv4.
fn arp_format(p: &mut Assembler) {
    p.load(Half, R1, PACKET, 0, "hardware type");
    p.to_host_half(R1, "in host order");
    p.jump_if(R1, NotEqual, 1, "pass", "not Ethernet");
    p.load(Half, R1, PACKET, 2, "protocol type");
    p.to_host_half(R1, "in host order");
    p.jump_if(R1, NotEqual, i32::from(ETHERTYPE_IPV4), "pass", "not IPv4");
    p.load(Half, R1, PACKET, 4, "both address lengths");
    p.to_host_half(R1, "in host order");
    p.jump_if(R1, NotEqual, 0x0604, "pass", "not 6 and 4 bytes");
}

/// A labelled place that sets the cause and goes on at `next`.
fn cause(p: &mut Assembler, label: &'static str, cause: Cause, next: &'static str) {
    p.label(label);
    p.store(Word, FRAME, CAUSE, cause as i32, cause.name());
    p.jump(next, "and count it");
}

/// Gives the frame to the socket of its queue; the cause is set for the case that there is one.
fn redirect(p: &mut Assembler) {
    p.load(Word, R2, CONTEXT, CONTEXT_QUEUE, "xdp_md.rx_queue_index");
    p.load_map(R1, SOCKETS, "AF_XDP sockets by queue");
    p.set(R3, Action::Pass as i32, "what to do when the queue has none");
    p.call(Helper::RedirectMap, "to the queue's socket");
    p.set(PACKET, R0, "the action");
    p.jump_if(R0, Equal, Action::Redirect as i32, "count", "there is a socket");
    p.store(Word, FRAME, CAUSE, Cause::ClaimedUnserved as i32, Cause::ClaimedUnserved.name());
    p.jump("count", "and the kernel has it");
}

/// Nothing of it is claimed.
fn pass(p: &mut Assembler) {
    p.store(Word, FRAME, CAUSE, Cause::Passed as i32, Cause::Passed.name());
    p.set(PACKET, Action::Pass as i32, "the action: to the kernel");
}

/// The end of both programs: the cause is on the stack, the action in its register.
fn count(p: &mut Assembler) {
    p.load_map(R1, CAUSES, "counters of this CPU");
    p.set(R2, FRAME, "the index lies on the stack");
    p.compute(Add, R2, i32::from(CAUSE), "at its place");
    p.call(Helper::MapLookup, "the counter of the cause");
    p.jump_if(R0, Equal, 0, "return", "never, but the verifier wants to see it");
    p.load(Double, R1, R0, 0, "count");
    p.compute(Add, R1, 1, "one frame");
    p.store(Double, R0, 0, R1, "on this CPU only: no lock");
    p.label("return");
    p.set(R0, PACKET, "the action");
    p.exit("to the driver");
}

/// The reflector: sends UDP over IPv4 for a claimed address back from inside the driver, and answers ARP for it as `mac`.
///
/// It measures what the link and the client cost without any server; it looks at untagged frames only. Both sums survive the exchange
/// of addresses and ports, so no checksum is touched. On veth the other end needs an XDP program too (an AF_XDP client has one; the program for no claims
/// passes everything): without one the kernel puts the answer into the other end's ring and does not wake it.
///
/// # Errors
/// As [`steer`].
pub fn reflector(mac: Mac) -> Result<Assembled, AssembleError> {
    let mut p = Assembler::new();
    name_registers(&mut p);
    p.name(VLAN, "frame");
    p.set(CONTEXT, R1, "struct xdp_md");
    p.load(Word, PACKET, CONTEXT, CONTEXT_DATA, "xdp_md.data");
    p.load(Word, END, CONTEXT, CONTEXT_END, "xdp_md.data_end");
    need(&mut p, 42, "shorter than ARP, and than UDP over IPv4");
    p.load(Byte, R4, PACKET, 0, "first byte of the destination");
    p.compute(And, R4, 1, "1 for broadcast and multicast");
    p.load(Half, R5, PACKET, 12, "EtherType");
    p.to_host_half(R5, "in host order");
    p.set(FRAME_START, PACKET, "the Ethernet header");
    p.compute(Add, PACKET, 14, "behind it");
    clear_key(&mut p);
    p.store(Half, FRAME, KEY_VLAN, ANY, "key.vlan: the claim's first VLAN");
    p.jump_if(R5, Equal, i32::from(ETHERTYPE_ARP), "arp", "broadcast or not");
    p.jump_if(R5, NotEqual, i32::from(ETHERTYPE_IPV4), "pass", "the kernel's");
    p.jump_if(R4, NotEqual, 0, "pass", "never answer broadcast and multicast");
    reflect_udp(&mut p);
    reflect_arp(&mut p, mac);
    cause(&mut p, "reflected_udp", Cause::ReflectedUdp, "transmit");
    cause(&mut p, "reflected_arp", Cause::ReflectedArp, "transmit");
    p.label("transmit");
    p.set(PACKET, Action::Transmit as i32, "the action: back out");
    p.jump("count", "and count it");
    p.label("pass");
    pass(&mut p);
    p.label("count");
    count(&mut p);
    p.finish()
}

/// Sends every frame to its queue's socket: for who takes an interface whole. A queue without a socket stays with the kernel; nothing is counted.
///
/// # Errors
/// As [`steer`].
pub fn everything() -> Result<Assembled, AssembleError> {
    let mut p = Assembler::new();
    p.load(Word, R2, R1, CONTEXT_QUEUE, "xdp_md.rx_queue_index");
    p.load_map(R1, SOCKETS, "AF_XDP sockets by queue");
    p.set(R3, Action::Pass as i32, "what to do when the queue has none");
    p.call(Helper::RedirectMap, "to the queue's socket");
    p.exit("to the driver");
    p.finish()
}

/// The reflector has no use for the VLAN, but for the frame's first byte.
const FRAME_START: Register = VLAN;

/// `vlan` of a key that stands for the first VLAN of a claim, as a store takes it.
const ANY: i32 = ANY_VLAN as i32;

fn reflect_udp(p: &mut Assembler) {
    p.load(Half, R1, PACKET, 0, "version, header length, type of service");
    p.to_host_half(R1, "in host order");
    p.compute(And, R1, 0xff00, "version and header length");
    p.jump_if(R1, NotEqual, 0x4500, "pass", "not version 4, or options");
    p.load(Half, R1, PACKET, 6, "flags and fragment offset");
    p.to_host_half(R1, "in host order");
    p.compute(And, R1, 0x3fff, "more fragments, and the offset");
    p.jump_if(R1, NotEqual, 0, "pass", "a fragment");
    p.load(Byte, R1, PACKET, 9, "protocol");
    p.jump_if(R1, NotEqual, 17, "pass", "not UDP");
    p.load(Word, R1, PACKET, 16, "destination address");
    p.store(Word, FRAME, KEY_ADDRESS, R1, "key.address");
    look_up(p);
    p.jump_if(R0, Equal, 0, "pass", "not claimed");
    p.load(Word, R1, PACKET, 12, "source address");
    p.load(Word, R2, PACKET, 16, "destination address");
    p.store(Word, PACKET, 12, R2, "from the one");
    p.store(Word, PACKET, 16, R1, "to the other");
    p.load(Half, R1, PACKET, 20, "source port");
    p.load(Half, R2, PACKET, 22, "destination port");
    p.store(Half, PACKET, 20, R2, "from the one");
    p.store(Half, PACKET, 22, R1, "to the other");
    p.load(Word, R1, FRAME_START, 0, "Ethernet destination");
    p.load(Half, R2, FRAME_START, 4, "its end");
    p.load(Word, R3, FRAME_START, 6, "Ethernet source");
    p.load(Half, R4, FRAME_START, 10, "its end");
    p.store(Word, FRAME_START, 0, R3, "to the one");
    p.store(Half, FRAME_START, 4, R4, "its end");
    p.store(Word, FRAME_START, 6, R1, "from the other");
    p.store(Half, FRAME_START, 10, R2, "its end");
    p.jump("reflected_udp", "send it back");
}

fn reflect_arp(p: &mut Assembler, mac: Mac) {
    let [a, b, c, d, e, f] = mac.0;
    let head = i32::from_ne_bytes([a, b, c, d]);
    let tail = i32::from(u16::from_ne_bytes([e, f]));
    p.label("arp");
    arp_format(p);
    p.load(Half, R1, PACKET, 6, "operation");
    p.to_host_half(R1, "in host order");
    p.jump_if(R1, NotEqual, 1, "pass", "not a request");
    p.load(Word, R1, PACKET, 24, "target protocol address");
    p.store(Word, FRAME, KEY_ADDRESS, R1, "key.address");
    look_up(p);
    p.jump_if(R0, Equal, 0, "pass", "not claimed");
    p.set(R1, 2, "a reply");
    p.store(Byte, PACKET, 7, R1, "operation, its low byte");
    p.load(Word, R1, PACKET, 14, "sender protocol address");
    p.load(Word, R2, PACKET, 24, "target protocol address");
    p.store(Word, PACKET, 14, R2, "from the one");
    p.store(Word, PACKET, 24, R1, "to the other");
    p.load(Word, R1, PACKET, 8, "sender hardware address");
    p.load(Half, R2, PACKET, 12, "its end");
    p.store(Word, PACKET, 18, R1, "target hardware address");
    p.store(Half, PACKET, 22, R2, "its end");
    p.store(Word, FRAME_START, 0, R1, "Ethernet destination");
    p.store(Half, FRAME_START, 4, R2, "its end");
    p.set(R1, head, "our hardware address");
    p.set(R2, tail, "its end");
    p.store(Word, PACKET, 8, R1, "sender hardware address");
    p.store(Half, PACKET, 12, R2, "its end");
    p.store(Word, FRAME_START, 6, R1, "Ethernet source");
    p.store(Half, FRAME_START, 10, R2, "its end");
    p.jump("reflected_arp", "send it back");
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Kinds; 4] = [
        Kinds { addresses: false, ports: false },
        Kinds { addresses: true, ports: false },
        Kinds { addresses: false, ports: true },
        Kinds { addresses: true, ports: true },
    ];

    #[test]
    fn every_combination_assembles_and_stays_small() {
        for kinds in ALL {
            let program = steer(kinds).unwrap();
            assert!(program.len() < 256, "{kinds:?}: {} instructions", program.len());
        }
        assert!(reflector(Mac([2, 0, 0, 0, 0, 1])).unwrap().len() < 128);
        assert!(everything().unwrap().len() < 8);
    }

    #[test]
    fn a_kind_that_is_not_claimed_costs_no_text() {
        let [none, addresses, ports, both] = ALL.map(|kinds| steer(kinds).unwrap());
        assert!(!addresses.listing().contains("claimed_fragment"));
        assert!(!ports.listing().contains("arp"));
        assert!(none.len() < 16);
        assert!(both.len() > addresses.len() && both.len() > ports.len());
    }
}
