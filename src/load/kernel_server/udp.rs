//! Datagram services over a kernel socket.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use super::content::Content;
use super::{Kind, Tally};
use crate::service::chargen::DATAGRAM_CHARACTERS_MAX;
use crate::service::safe_to_answer;

/// Datagrams taken from one socket before the others have their turn.
pub(super) const BURST: usize = 64;

/// Serves the datagrams that wait, [`BURST`] at most; returns how many there were.
pub(super) fn serve(
    kind: Kind,
    socket: &UdpSocket,
    own_ports: &[u16],
    scratch: &mut [u8],
    content: &Content,
    tally: &mut Tally,
) -> usize {
    for served in 0..BURST {
        let (len, source) = match socket.recv_from(scratch) {
            Ok(received) => received,
            // Errors that the kernel reports for an earlier answer (ICMP) concern its receiver, not us.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return served,
            Err(_) => continue,
        };
        tally.messages += 1;
        tally.bytes += len as u64;
        if matches!(kind, Kind::Discard | Kind::Http) {
            continue;
        }
        if !is_safe_to_answer(source, own_ports) {
            tally.unsafe_to_answer += 1;
            continue;
        }
        let sent = match kind {
            Kind::Echo => socket.send_to(&scratch[..len], source),
            Kind::Chargen => {
                // Scattered over all lengths; it need not be random.
                let len = (tally.messages.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % (DATAGRAM_CHARACTERS_MAX as u64 + 1);
                socket.send_to(content.chargen(0, len as usize), source)
            }
            Kind::Daytime => socket.send_to(Content::daytime().as_bytes(), source),
            Kind::Discard | Kind::Http => Ok(0),
        };
        tally.refused += u64::from(sent.is_err());
    }
    BURST
}

/// The rule of Ringway's own services ([`safe_to_answer`]). Clients on the server's own host are served here, as the kernel does, so that
/// instead of the own address the own ports are what could loop.
fn is_safe_to_answer(source: SocketAddr, own_ports: &[u16]) -> bool {
    let nobody = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    // On a socket of both families IPv4 sources come mapped.
    let source = SocketAddr::new(source.ip().to_canonical(), source.port());
    safe_to_answer(source, nobody, false) && !own_ports.contains(&source.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_ports_own_ports_and_groups_are_not_answered() {
        let safe = |source: &str| is_safe_to_answer(source.parse().expect("an address"), &[7007, 9009]);
        assert!(safe("10.0.0.1:1024") && safe("[fe80::1]:40000"));
        for source in [
            "10.0.0.1:1023",
            "10.0.0.1:0",
            "10.0.0.1:9009",
            "255.255.255.255:5000",
            "224.0.0.1:5000",
            "0.0.0.0:5000",
            "[ff02::1]:5000",
            "[::ffff:224.0.0.1]:5000",
        ] {
            assert!(!safe(source), "{source}");
        }
    }
}
