//! What a driver says of itself: which kinds of XDP it has, by the generic netlink family `netdev` (Linux 6.3).
//!
//! Called when an interface is read. Needs no rights and touches nothing; what is tried goes before what is said. Nothing here panics on what comes back.

use std::io;

use netlink_packet_core::{NlaBuffer, NlasIterator};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// The features of a driver (`enum netdev_xdp_act`, include/uapi/linux/netdev.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features(pub(super) u64);

impl Features {
    /// Those of an interface; `None` when the kernel does not tell.
    pub(super) fn of(ifindex: u32) -> Option<Self> {
        let ask = || -> io::Result<Option<Self>> {
            let mut socket = Socket::new(NETLINK_GENERIC)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            let reply = exchange(&socket, &message(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"netdev\0"))?;
            let Some(family) = attribute(&reply, CTRL_ATTR_FAMILY_ID).and_then(|id| Some(u16::from_ne_bytes(*id.first_chunk()?)))
            else {
                return Ok(None);
            };
            let reply = exchange(&socket, &message(family, NETDEV_CMD_DEV_GET, NETDEV_A_DEV_IFINDEX, &ifindex.to_ne_bytes()))?;
            let features = attribute(&reply, NETDEV_A_DEV_XDP_FEATURES);
            Ok(features.and_then(|bits| Some(Self(u64::from_ne_bytes(*bits.first_chunk()?)))))
        };
        ask().ok().flatten()
    }

    /// Native XDP that can redirect to sockets.
    pub(super) const fn has_native(self) -> bool {
        self.0 & (BASIC | REDIRECT) == BASIC | REDIRECT
    }

    /// Frames that the NIC itself writes.
    pub(super) const fn has_zero_copy(self) -> bool {
        self.0 & XSK_ZEROCOPY != 0
    }
}

/// `NETDEV_XDP_ACT_BASIC`, `NETDEV_XDP_ACT_REDIRECT`, `NETDEV_XDP_ACT_XSK_ZEROCOPY`.
pub(super) const BASIC: u64 = 1 << 0;
pub(super) const REDIRECT: u64 = 1 << 1;
pub(super) const XSK_ZEROCOPY: u64 = 1 << 3;

// include/uapi/linux/genetlink.h and include/uapi/linux/netdev.h.
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;

/// `NLM_F_REQUEST`, and the type of an error (include/uapi/linux/netlink.h).
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
/// Bytes of `struct nlmsghdr` and of it with `struct genlmsghdr` behind it.
const NLMSG_HDRLEN: usize = 16;
const HEADERS: usize = NLMSG_HDRLEN + 4;

/// A request with one attribute.
fn message(family: u16, command: u8, attribute: u16, value: &[u8]) -> Vec<u8> {
    let attribute_len = 4 + value.len();
    let len = HEADERS + attribute_len.next_multiple_of(4);
    let mut bytes = Vec::with_capacity(len);
    // Lengths of messages of this module: some dozens of bytes.
    bytes.extend_from_slice(&(len as u32).to_ne_bytes());
    bytes.extend_from_slice(&family.to_ne_bytes());
    bytes.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    // Sequence and port.
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[command, 1, 0, 0]);
    bytes.extend_from_slice(&(attribute_len as u16).to_ne_bytes());
    bytes.extend_from_slice(&attribute.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(len, 0);
    bytes
}

/// A request, and the answer to it.
fn exchange(socket: &Socket, request: &[u8]) -> io::Result<Vec<u8>> {
    socket.send(request, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    Ok(answer)
}

/// The value of an attribute of an answer; `None` when the answer is an error, or has none such.
fn attribute(answer: &[u8], wanted: u16) -> Option<Vec<u8>> {
    let len = u32::from_ne_bytes(*answer.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*answer.get(4..)?.first_chunk()?);
    let attributes = answer.get(..len)?.get(HEADERS..).filter(|_| kind != NLMSG_ERROR)?;
    let mut found = NlasIterator::new(attributes).map_while(Result::ok).filter(|found: &NlaBuffer<&[u8]>| found.kind() == wanted);
    found.next().map(|found| found.value().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_found_in_any_answer_or_in_none() {
        let answer = message(0x21, 1, NETDEV_A_DEV_XDP_FEATURES, &11_u64.to_ne_bytes());
        assert_eq!(attribute(&answer, NETDEV_A_DEV_XDP_FEATURES).as_deref(), Some(&11_u64.to_ne_bytes()[..]));
        assert_eq!(attribute(&answer, NETDEV_A_DEV_IFINDEX), None);
        for cut in 0..answer.len() {
            assert_eq!(attribute(&answer[..cut], NETDEV_A_DEV_XDP_FEATURES), None, "{cut}");
        }
        let mut lying = answer.clone();
        lying[HEADERS] = 200;
        assert_eq!(attribute(&lying, NETDEV_A_DEV_XDP_FEATURES), None);
        let error = message(NLMSG_ERROR, 0, NETDEV_A_DEV_XDP_FEATURES, &11_u64.to_ne_bytes());
        assert_eq!(attribute(&error, NETDEV_A_DEV_XDP_FEATURES), None);
    }

    #[test]
    fn native_xdp_is_of_use_when_it_can_redirect() {
        assert!(Features(BASIC | REDIRECT).has_native() && !Features(BASIC).has_native() && !Features(0).has_zero_copy());
        assert!(Features(XSK_ZEROCOPY).has_zero_copy());
        assert_eq!(Features::of(u32::MAX), None, "nobody has so many interfaces");
    }
}
