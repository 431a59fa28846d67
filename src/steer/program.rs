//! The XDP programs, line by line: `steer`, which decides for every frame whether it is Ringway's, `reflector`, which calibrates
//! measurements, and `everything`, which takes an interface whole.
//!
//! Written with [`super::assembler`], loaded by `attach`, printed by [`super::dump`]; [`super::model`] says the same as `steer` in plain Rust,
//! and the tests hold the two against each other. The first two are straight-line text (jumps go forward only), read only what they have
//! checked against the packet's end, and count every frame under exactly one [`Cause`]. Pure; nothing here panics.

use std::ops::BitOr;

use super::assembler::{AssembleError, Assembled, Assembler, Condition, Helper, MapName, Operation, Register, Size};
use super::cause::{Action, Cause};
use super::claims::{HIDDEN_PROTOCOL, KeyKind};
use crate::link::interface::Transport;
use crate::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Mac};
use crate::wire::vlan::{ANY_VLAN, CUSTOMER, ETHERTYPE_SERVICE_VLAN, ETHERTYPE_VLAN, SERVICE, UNTAGGED};

use Condition::{Above, AtMost, Below, Equal, NotEqual};
use Operation::{Add, And, ShiftLeft};
use Register::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use Size::{Byte, Double, Half, Word};

/// What is claimed: key [`super::claims::ClaimKey`], value the VLAN (`u32`). A hash map.
pub const CLAIMS: MapName = MapName { position: 0, name: "claims" };
/// One counter (`u64`) per [`Cause`]. A per-CPU array.
pub const CAUSES: MapName = MapName { position: 1, name: "causes" };
/// The AF_XDP socket of each receive queue. An XSKMAP.
pub const SOCKETS: MapName = MapName { position: 2, name: "sockets" };

/// Which kinds of claims the program looks for: a kind that is not there costs no look-up, and no text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kinds {
    /// Those of IPv4.
    pub ipv4: Sought,
    /// Those of IPv6.
    pub ipv6: Sought,
}

/// The kinds of both.
impl BitOr for Kinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        let of = |one: Sought, two: Sought| Sought {
            addresses: one.addresses || two.addresses,
            ports: one.ports || two.ports,
            groups: one.groups || two.groups,
        };
        Self { ipv4: of(self.ipv4, other.ipv4), ipv6: of(self.ipv6, other.ipv6) }
    }
}

/// Which kinds of claims there are of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sought {
    /// Whole addresses.
    pub addresses: bool,
    /// Ports on addresses of the kernel.
    pub ports: bool,
    /// UDP ports of multicast groups and broadcast addresses.
    pub groups: bool,
}

impl Sought {
    /// True when there is any.
    pub const fn any(self) -> bool {
        self.addresses || self.shows_ports()
    }

    /// True when ports matter.
    const fn shows_ports(self) -> bool {
        self.ports || self.groups
    }
}

// Registers that survive calls. Before the first call R3 to R5 hold what was read from the Ethernet header.
const CONTEXT: Register = R6;
/// The start of the frame, later of the IP or ARP packet; at the end the action.
const PACKET: Register = R7;
const END: Register = R8;
const VLAN: Register = R9;
const FRAME: Register = R10;

// The stack: the key of the claim map, and the cause, which is the index of the counter.
const KEY: i16 = -24;
const KEY_VLAN: i16 = KEY;
const KEY_PORT: i16 = KEY + 4;
const KEY_KIND: i16 = KEY + 6;
const KEY_PROTOCOL: i16 = KEY + 7;
const KEY_ADDRESS: i16 = KEY + 8;
const CAUSE: i16 = -28;

// `struct xdp_md`.
const CONTEXT_DATA: i16 = 0;
const CONTEXT_END: i16 = 4;
const CONTEXT_QUEUE: i16 = 16;

const TCP: i32 = Transport::Tcp.protocol() as i32;
const UDP: i32 = Transport::Udp.protocol() as i32;
const ICMPV6: i32 = 58;
const IPV6_FRAGMENT: i32 = 44;

/// Next-header values of the extension headers behind which a transport may stand in the clear: hop-by-hop options, routing,
/// authentication, destination options, mobility, HIP, Shim6 (RFC 7045 1.1, RFC 5533).
pub(super) const EXTENSIONS: [u8; 7] = [0, 43, 51, 60, 135, 139, 140];

/// The program that steers claimed frames to AF_XDP sockets and passes everything else.
///
/// # Errors
/// A mistake in the text below; the unit tests assemble every combination.
pub fn steer(kinds: Kinds) -> Result<Assembled, AssembleError> {
    let mut p = Assembler::new();
    name_registers(&mut p);
    if kinds == Kinds::default() {
        pass(&mut p);
        count(&mut p);
        return p.finish();
    }
    ethernet(&mut p);
    p.label("network");
    network(&mut p, kinds);
    p.label("look");
    look(&mut p, kinds);
    p.label_if_used("redirect");
    redirect(&mut p);
    p.label("claimed_vlan");
    set_cause(&mut p, Cause::ClaimedVlan);
    p.jump("pass_counted", "the kernel has it");
    p.label("pass");
    set_cause(&mut p, Cause::Passed);
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

/// Reads the Ethernet header and up to two tags: R4 = group bit, R5 = EtherType, VLAN, PACKET at what follows.
fn ethernet(p: &mut Assembler) {
    p.set(CONTEXT, R1, "struct xdp_md");
    p.load(Word, PACKET, CONTEXT, CONTEXT_DATA, "xdp_md.data");
    p.load(Word, END, CONTEXT, CONTEXT_END, "xdp_md.data_end");
    need(p, 14, "no Ethernet header");
    p.load(Byte, R4, PACKET, 0, "first byte of the destination");
    p.compute(And, R4, 1, "1 for broadcast and multicast");
    p.load(Half, R5, PACKET, 12, "EtherType");
    p.to_host_half(R5, "in host order");
    p.set(VLAN, UNTAGGED as i32, "no tag");
    p.compute(Add, PACKET, 14, "behind the header");
    tag_kind(p, "customer_tag", "tag");
    tag(p, VLAN);
    tag_kind(p, "inner_customer_tag", "inner_tag");
    tag(p, R2);
    p.compute(ShiftLeft, R2, 16, "the inner tag has the upper half");
    p.compute(Add, VLAN, R2, "both tags");
}

/// To "network" unless R5 announces a tag; else R3 = its kind, and on behind `read`.
fn tag_kind(p: &mut Assembler, customer: &'static str, read: &'static str) {
    p.jump_if(R5, Equal, i32::from(ETHERTYPE_VLAN), customer, "a tag of 802.1Q");
    p.jump_if(R5, NotEqual, i32::from(ETHERTYPE_SERVICE_VLAN), "network", "no tag, or a third one, which nobody claims");
    p.set(R3, i32::from(SERVICE), "a tag of 802.1ad");
    p.jump(read, "and read it");
    p.label(customer);
    p.set(R3, i32::from(CUSTOMER), "a tag of 802.1Q");
    p.label(read);
}

/// Reads a tag whose kind is in R3 into `number`.
fn tag(p: &mut Assembler, number: Register) {
    need(p, 4, "no room for the tag");
    p.load(Half, number, PACKET, 0, "tag control information");
    p.to_host_half(number, "in host order");
    p.compute(And, number, 0x0fff, "the VLAN id, without priority");
    p.compute(Add, number, R3, "and the kind of tag");
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

/// What is in the frame, by R5. Each of the three parts ends in a jump, or in front of "look".
fn network(p: &mut Assembler, Kinds { ipv4: four, ipv6: six }: Kinds) {
    // IPv4 is told first and stands last, next to the look-up: it is what most frames are.
    if four.any() && (four.addresses || six.any()) {
        p.jump_if(R5, Equal, i32::from(ETHERTYPE_IPV4), "ipv4", "the usual");
    }
    if four.addresses && six.any() {
        p.jump_if(R5, Equal, i32::from(ETHERTYPE_ARP), "arp", "ARP is steered by the address it asks for, broadcast or not");
    }
    let (first, why) = if six.any() {
        (ETHERTYPE_IPV6, "anything but IPv6 now is the kernel's")
    } else if four.addresses {
        (ETHERTYPE_ARP, "ARP is steered by the address it asks for, broadcast or not; anything else is the kernel's")
    } else {
        (ETHERTYPE_IPV4, "anything but IPv4 is the kernel's")
    };
    p.jump_if(R5, NotEqual, i32::from(first), "pass", why);
    if six.any() {
        ipv6(p, six);
    }
    if four.addresses {
        p.label_if_used("arp");
        arp(p);
    }
    if four.any() {
        p.label_if_used("ipv4");
        ipv4(p, four);
    }
}

/// ARP for Ethernet and IPv4 (RFC 826) whose target protocol address is claimed; where it has none, its sender's: so is a probe for an address
/// answered by the station that has it (RFC 5227 2.1.1).
fn arp(p: &mut Assembler) {
    need(p, 28, "no room for an ARP packet");
    arp_format(p);
    p.load(Word, R1, PACKET, 24, "target protocol address");
    p.jump_if(R1, NotEqual, 0, "arp_key", "somebody's");
    p.load(Word, R1, PACKET, 14, "sender protocol address: the answer to a probe names no other");
    p.label("arp_key");
    ipv4_key(p);
    set_cause(p, Cause::SteeredArp);
    p.jump("look", "is it claimed?");
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

/// The key of the IPv4 address in R1, of a host, whole.
fn ipv4_key(p: &mut Assembler) {
    p.store(Word, FRAME, KEY_ADDRESS, R1, "key.address");
    p.store(Word, FRAME, KEY_ADDRESS + 4, 0, "key.address: zero, beyond IPv4");
    p.store(Double, FRAME, KEY_ADDRESS + 8, 0, "key.address: zero, beyond IPv4");
    key_head(p, KeyKind::Ipv4);
}

/// The key of the IPv6 address at `offset` of the packet, of a host, whole.
fn ipv6_key(p: &mut Assembler, offset: i16) {
    p.load(Double, R1, PACKET, offset, "address, its first half");
    p.store(Double, FRAME, KEY_ADDRESS, R1, "key.address");
    p.load(Double, R1, PACKET, offset + 8, "address, its second half");
    p.store(Double, FRAME, KEY_ADDRESS + 8, R1, "key.address");
    key_head(p, KeyKind::Ipv6);
}

fn key_head(p: &mut Assembler, kind: KeyKind) {
    p.store(Word, FRAME, KEY_VLAN, ANY_VLAN as i32, "key.vlan: the claim's first VLAN");
    p.store(
        Word,
        FRAME,
        KEY_PORT,
        i32::from_ne_bytes([0, 0, kind as u8, 0]),
        "key.port: none, key.kind: a host, key.protocol: none",
    );
}

/// IPv4: whole addresses, then ports, of hosts or of groups.
fn ipv4(p: &mut Assembler, sought: Sought) {
    need(p, 20, "no room for an IPv4 header: nothing can be said about it");
    p.load(Word, R1, PACKET, 16, "destination address");
    ipv4_key(p);
    if sought.groups {
        let host = if sought.addresses || sought.ports { "ipv4_host" } else { "pass" };
        p.jump_if(R4, Equal, 0, host, "not a broadcast or multicast frame");
        p.store(Byte, FRAME, KEY_KIND, KeyKind::Ipv4Group as i32, "key.kind: a group");
        set_cause(p, Cause::SteeredGroup);
        if host == "ipv4_host" {
            p.jump("ipv4_ports", "its port decides");
            p.label("ipv4_host");
        }
    } else {
        p.jump_if(R4, NotEqual, 0, "pass", "IPv4 in a broadcast or multicast frame is the kernel's");
    }
    if sought.addresses {
        whole_address(p, if sought.ports { "ipv4_other" } else { "pass" });
        p.label_if_used("ipv4_other");
    }
    if sought.ports {
        set_cause(p, Cause::SteeredPort);
    }
    if sought.shows_ports() {
        p.label_if_used("ipv4_ports");
        ipv4_ports(p);
    }
}

/// Is the whole address claimed? If not, on at `other`.
fn whole_address(p: &mut Assembler, other: &'static str) {
    set_cause(p, Cause::SteeredAddress);
    look_up(p);
    p.jump_if(R0, Equal, 0, other, "no claim on the whole address");
    p.load(Word, R1, R0, 0, "the VLAN it is claimed in");
    p.jump_if(R1, Equal, VLAN, "redirect", "the frame's own");
    p.jump("other_vlan", "perhaps it is claimed in more than one");
}

/// Puts protocol and port into the key and sees what there is against steering it: CAUSE. The last instruction stands in front of "look".
fn ipv4_ports(p: &mut Assembler) {
    p.load(Byte, R1, PACKET, 9, "protocol");
    p.store(Byte, FRAME, KEY_PROTOCOL, R1, "key.protocol");
    p.load(Half, R2, PACKET, 6, "flags and fragment offset");
    p.to_host_half(R2, "in host order");
    p.compute(And, R2, 0x3fff, "more fragments, and the offset");
    p.load(Byte, R3, PACKET, 0, "version and header length");
    p.jump_if(R3, Equal, 0x45, "ipv4_plain", "version 4, and a header of 20 bytes");
    set_cause(p, Cause::ClaimedHeader);
    p.jump_if(R3, Below, 0x45, "look", "not version 4, or a header below 20 bytes");
    p.jump_if(R3, Above, 0x4f, "look", "not version 4");
    set_cause(p, Cause::ClaimedFragment);
    p.jump_if(R2, NotEqual, 0, "look", "its other parts show no port, so the kernel has them all");
    set_cause(p, Cause::ClaimedOptions);
    p.jump("look", "IPv4 options are the kernel's");
    p.label("ipv4_plain");
    p.jump_if(R2, Equal, 0, "ipv4_unfragmented", "not a fragment");
    set_cause(p, Cause::ClaimedFragment);
    p.compute(And, R2, 0x1fff, "fragment offset");
    p.jump_if(R2, NotEqual, 0, "look", "a later fragment shows no port: is any port of the protocol claimed?");
    p.label("ipv4_unfragmented");
    p.set(R1, PACKET, "both ports must lie before the end");
    p.compute(Add, R1, 24, "behind the header of 20 bytes");
    p.jump_if(R1, AtMost, END, "ipv4_port", "they do");
    p.load(Word, R1, FRAME, CAUSE, "what is known of it");
    p.jump_if(R1, Equal, Cause::ClaimedFragment as i32, "look", "a first fragment, cut off before the port");
    set_cause(p, Cause::ClaimedTruncated);
    p.jump("look", "cut off before the port: is any port of the protocol claimed?");
    p.label("ipv4_port");
    port(p, 22);
}

/// Puts the port at `offset` of the packet into the key.
fn port(p: &mut Assembler, offset: i16) {
    p.load(Half, R3, PACKET, offset, "destination port, in network order");
    p.jump_if(R3, Equal, 0, "pass", "port 0 is never claimed, and 0 means any port in the key");
    p.store(Half, FRAME, KEY_PORT, R3, "key.port; left 0 where the port is hidden");
}

/// IPv6: whole addresses, neighbour discovery about them, then ports, of hosts or of groups. Ends in a jump.
fn ipv6(p: &mut Assembler, sought: Sought) {
    let groups = if sought.addresses || sought.groups { "ipv6_group" } else { "pass" };
    need(p, 40, "no room for an IPv6 header: nothing can be said about it");
    ipv6_key(p, 24);
    p.jump_if(R4, NotEqual, 0, groups, "a broadcast or multicast frame");
    if sought.addresses {
        whole_address(p, "ipv6_other");
        p.label("ipv6_other");
    }
    if groups == "ipv6_group" {
        p.load(Byte, R1, PACKET, 24, "first byte of the destination address");
        p.jump_if(R1, Equal, 0xff, groups, "a group in a frame for one station (RFC 6085)");
    }
    match (sought.ports, groups) {
        (false, _) => p.jump("pass", "the kernel's"),
        (true, "ipv6_group") => {
            set_cause(p, Cause::SteeredPort);
            p.jump("ipv6_ports", "its port decides");
        }
        (true, _) => set_cause(p, Cause::SteeredPort),
    }
    if groups == "ipv6_group" {
        p.label("ipv6_group");
    }
    if sought.addresses {
        solicitation(p, if sought.groups { "ipv6_no_question" } else { "pass" });
        p.label_if_used("ipv6_no_question");
    }
    if sought.groups {
        p.store(Byte, FRAME, KEY_KIND, KeyKind::Ipv6Group as i32, "key.kind: a group");
        set_cause(p, Cause::SteeredGroup);
    }
    if sought.shows_ports() {
        p.label_if_used("ipv6_ports");
        ipv6_ports(p);
        p.jump("look", "is it claimed?");
    }
}

/// A Neighbor Solicitation or Advertisement (RFC 4861 4.3, 4.4) to a group, about a claimed address. Anything else goes on at `other`.
fn solicitation(p: &mut Assembler, other: &'static str) {
    p.load(Byte, R1, PACKET, 0, "version, and half of the traffic class");
    p.compute(And, R1, 0xf0, "version");
    p.jump_if(R1, NotEqual, 0x60, other, "not version 6");
    p.load(Byte, R1, PACKET, 6, "next header");
    p.jump_if(R1, NotEqual, ICMPV6, other, "not ICMPv6, or not directly behind the header");
    p.load(Byte, R1, PACKET, 7, "hop limit");
    p.jump_if(R1, NotEqual, 255, other, "it has been forwarded: not from this link (RFC 4861 7.1.1)");
    p.load(Byte, R1, PACKET, 24, "first byte of the destination address");
    p.jump_if(R1, NotEqual, 0xff, other, "not to a group");
    p.set(R1, PACKET, "the target address must lie before the end");
    p.compute(Add, R1, 64, "behind the IPv6 header and 24 bytes");
    p.jump_if(R1, Above, END, other, "cut off");
    p.load(Byte, R1, PACKET, 40, "type");
    p.jump_if(R1, Equal, 135, "nd", "a Neighbor Solicitation");
    p.jump_if(R1, NotEqual, 136, other, "not a Neighbor Advertisement: another station's, if it is about a claimed address");
    p.label("nd");
    ipv6_key(p, 48);
    set_cause(p, Cause::SteeredNd);
    p.jump("look", "is the target claimed?");
}

/// As [`ipv4_ports`]. Extension headers are not walked: what stands behind them is the kernel's.
fn ipv6_ports(p: &mut Assembler) {
    p.load(Byte, R1, PACKET, 0, "version, and half of the traffic class");
    p.compute(And, R1, 0xf0, "version");
    p.jump_if(R1, Equal, 0x60, "ipv6_header", "version 6");
    set_cause(p, Cause::ClaimedHeader);
    p.store(Byte, FRAME, KEY_PROTOCOL, i32::from(HIDDEN_PROTOCOL), "key.protocol: any");
    p.jump("look", "not version 6: is anything of the address claimed?");
    p.label("ipv6_header");
    p.load(Byte, R1, PACKET, 6, "next header");
    p.jump_if(R1, NotEqual, IPV6_FRAGMENT, "ipv6_unfragmented", "not a fragment header");
    set_cause(p, Cause::ClaimedFragment);
    p.store(Byte, FRAME, KEY_PROTOCOL, i32::from(HIDDEN_PROTOCOL), "key.protocol: any");
    p.set(R2, PACKET, "the next header of the fragment header must lie before the end");
    p.compute(Add, R2, 41, "behind the IPv6 header");
    p.jump_if(R2, Above, END, "look", "cut off: is anything of the address claimed?");
    p.load(Byte, R1, PACKET, 40, "next header of the fragment header");
    p.store(Byte, FRAME, KEY_PROTOCOL, R1, "key.protocol");
    p.jump_if(R1, Equal, TCP, "look", "is any port of the protocol claimed?");
    p.jump_if(R1, Equal, UDP, "look", "is any port of the protocol claimed?");
    p.jump("ipv6_extension", "or is there another header before it?");
    p.label("ipv6_unfragmented");
    p.jump_if(R1, Equal, TCP, "ipv6_transport", "directly behind the header");
    p.jump_if(R1, Equal, UDP, "ipv6_transport", "directly behind the header");
    set_cause(p, Cause::ClaimedOptions);
    p.label("ipv6_extension");
    p.store(Byte, FRAME, KEY_PROTOCOL, i32::from(HIDDEN_PROTOCOL), "key.protocol: any");
    for extension in EXTENSIONS {
        p.jump_if(R1, Equal, i32::from(extension), "look", "an extension header: is anything of the address claimed?");
    }
    p.jump("pass", "without ports");
    p.label("ipv6_transport");
    p.store(Byte, FRAME, KEY_PROTOCOL, R1, "key.protocol");
    p.set(R1, PACKET, "both ports must lie before the end");
    p.compute(Add, R1, 44, "behind the header of 40 bytes");
    p.jump_if(R1, AtMost, END, "ipv6_port", "they do");
    set_cause(p, Cause::ClaimedTruncated);
    p.jump("look", "cut off before the port: is any port of the protocol claimed?");
    p.label("ipv6_port");
    port(p, 42);
}

/// R0 = the entry of the key on the stack, or 0.
fn look_up(p: &mut Assembler) {
    p.load_map(R1, CLAIMS, "what is claimed");
    p.set(R2, FRAME, "the key lies on the stack");
    p.compute(Add, R2, i32::from(KEY), "at its place");
    p.call(Helper::MapLookup, "is it claimed?");
}

/// Looks up the key. CAUSE says what becomes of the frame if it is claimed in the frame's VLAN: the last instruction stands in front of "redirect".
fn look(p: &mut Assembler, kinds: Kinds) {
    look_up(p);
    p.jump_if(R0, Equal, 0, "pass", "not claimed");
    p.load(Word, R1, R0, 0, "the VLAN it is claimed in");
    p.jump_if(R1, Equal, VLAN, "claimed", "the frame's own");
    p.label_if_used("other_vlan");
    p.store(Word, FRAME, KEY_VLAN, VLAN, "key.vlan: perhaps it is claimed in more than one");
    look_up(p);
    p.jump_if(R0, Equal, 0, "claimed_vlan", "claimed, but not in this VLAN");
    p.label("claimed");
    if kinds.ipv4.shows_ports() || kinds.ipv6.shows_ports() {
        p.load(Word, R1, FRAME, CAUSE, "what is known of it");
        p.jump_if(R1, Above, Cause::LAST_STEERED as i32, "pass_counted", "it cannot be steered: the kernel has it");
    }
}

fn set_cause(p: &mut Assembler, cause: Cause) {
    p.store(Word, FRAME, CAUSE, cause as i32, cause.name());
}

/// A labelled place that sets the cause and goes on at `next`.
fn cause(p: &mut Assembler, label: &'static str, cause: Cause, next: &'static str) {
    p.label(label);
    set_cause(p, cause);
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
    set_cause(p, Cause::ClaimedUnserved);
    p.jump("count", "and the kernel has it");
}

/// Nothing of it is claimed.
fn pass(p: &mut Assembler) {
    set_cause(p, Cause::Passed);
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
    ipv4_key(p);
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
    ipv4_key(p);
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

    /// Every combination of kinds.
    fn all() -> impl Iterator<Item = Kinds> {
        let sought = |bits: u8| Sought { addresses: bits & 1 != 0, ports: bits & 2 != 0, groups: bits & 4 != 0 };
        (0..64).map(move |bits| Kinds { ipv4: sought(bits), ipv6: sought(bits >> 3) })
    }

    #[test]
    fn every_combination_assembles_and_stays_small() {
        for kinds in all() {
            let program = steer(kinds).unwrap();
            assert!(program.len() < 300, "{kinds:?}: {} instructions", program.len());
        }
        assert!(reflector(Mac([2, 0, 0, 0, 0, 1])).unwrap().len() < 128);
        assert!(everything().unwrap().len() < 8);
    }

    #[test]
    fn a_kind_that_is_not_claimed_costs_no_text() {
        for kinds in all() {
            let program = steer(kinds).unwrap();
            let listing = program.listing();
            let (four, six) = (kinds.ipv4, kinds.ipv6);
            for (text, there) in [
                ("0x86dd", six.any()),
                ("steered_nd", six.addresses),
                ("steered_arp", four.addresses),
                ("steered_address", four.addresses || six.addresses),
                ("steered_port", four.ports || six.ports),
                ("steered_group", four.groups || six.groups),
                ("claimed_fragment", four.shows_ports() || six.shows_ports()),
                ("802.1ad", four.any() || six.any()),
            ] {
                assert_eq!(listing.contains(text), there, "{text} in {kinds:?}");
            }
        }
    }
}
