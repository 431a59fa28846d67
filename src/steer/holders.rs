//! Who holds a port of the kernel, or the link of an XDP program: `/proc/net/tcp` and its like, and the descriptors under `/proc`.
//!
//! Called when a reservation or an attachment failed, to name the process in the error. What cannot be read (another user's
//! descriptors, no `/proc`) is left out; nothing here panics.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::link::interface::{PortClaim, Transport};

/// The processes that stand in the way of binding the port, as `name (pid 123)`.
pub(crate) fn of_port(address: IpAddr, claim: PortClaim) -> Vec<String> {
    let tables = match claim.transport {
        Transport::Tcp => ["tcp", "tcp6"],
        Transport::Udp => ["udp", "udp6"],
    };
    let mut inodes = BTreeSet::new();
    for table in tables {
        // /proc/net is the namespace of the process; ours is that of the thread.
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        inodes.extend(text.lines().skip(1).filter_map(|line| in_the_way(line, address, claim.port)));
    }
    processes(&inodes)
}

/// The inode of a socket whose local address is, or covers, the given one.
fn in_the_way(line: &str, address: IpAddr, port: u16) -> Option<u64> {
    let mut fields = line.split_whitespace();
    let (local_address, local_port) = fields.nth(1)?.split_once(':')?;
    if u16::from_str_radix(local_port, 16).ok()? != port {
        return None;
    }
    let local = parse_address(local_address)?;
    if local != address && !local.is_unspecified() {
        return None;
    }
    // After the local address: remote, state, queues, timer, retransmits, uid, timeout, inode.
    fields.nth(7)?.parse().ok().filter(|&inode| inode != 0)
}

/// Addresses stand as 32-bit words in the byte order of the machine.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for word in hex.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(IpAddr::V4(Ipv4Addr::from(bytes)));
    }
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    Some(Ipv6Addr::from(bytes).to_canonical())
}

/// The processes that hold a BPF link, as `name (pid 123)`; it goes with the last of them, unless it is pinned.
#[cfg(feature = "afxdp")]
pub(super) fn of_link(link: u32) -> Vec<String> {
    let line = format!("link_id:\t{link}");
    holding("fdinfo", |descriptor| fs::read_to_string(descriptor).is_ok_and(|text| text.lines().any(|found| found == line)))
}

fn processes(inodes: &BTreeSet<u64>) -> Vec<String> {
    holding("fd", |descriptor| {
        let Ok(target) = fs::read_link(descriptor) else { return false };
        let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inode.is_some_and(|inode| inodes.contains(&inode))
    })
}

/// The processes with a descriptor that is one of those, as its file in this folder tells.
fn holding(folder: &str, is_one: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir("/proc") else { return found };
    for entry in entries.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = fs::read_dir(entry.path().join(folder)) else { continue };
        if descriptors.flatten().any(|descriptor| is_one(&descriptor.path())) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            found.push(format!("{} (pid {process})", name.trim()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_the_lines_of_proc() {
        let line = "   0: 0200000A:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0";
        let address = IpAddr::from([10, 0, 0, 2]);
        assert_eq!(in_the_way(line, address, 8080), Some(4711));
        assert_eq!(in_the_way(line, address, 8081), None);
        assert_eq!(in_the_way(line, IpAddr::from([10, 0, 0, 3]), 8080), None);
        let any = line.replace("0200000A", "00000000000000000000000000000000");
        assert_eq!(in_the_way(&any, address, 8080), Some(4711), "[::] covers IPv4 too");
        let mapped = line.replace("0200000A", "0000000000000000FFFF00000200000A");
        assert_eq!(in_the_way(&mapped, address, 8080), Some(4711), "::ffff:10.0.0.2");
        for cut in 0..line.len() {
            _ = in_the_way(&line[..cut], address, 8080);
        }
    }

    #[test]
    fn names_this_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let holders = of_port(IpAddr::from([127, 0, 0, 1]), PortClaim { transport: Transport::Tcp, port });
        let suffix = format!("(pid {})", std::process::id());
        assert!(holders.iter().any(|holder| holder.ends_with(&suffix)), "{holders:?}");
    }
}
