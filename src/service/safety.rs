//! Which datagrams a public service may answer.
//!
//! Echo and its like answer anybody, so a forged source address can turn them against a third party or against
//! each other for ever. Every shipped service, here and on kernel sockets, asks [`safe_to_answer`] before it replies over UDP.
//! Pure; cannot panic.

use std::net::{IpAddr, SocketAddr};

/// The first source port that an answer may go to. Below it live the services that answer by themselves (echo 7, chargen 19,
/// DNS 53, NTP 123): an answer to one of them could come back, and so on without end.
pub const FIRST_ANSWERED_PORT: u16 = 1024;

/// True when an answer from `local` to `remote` can neither loop nor reach more than one host.
///
/// False for a source port below [`FIRST_ANSWERED_PORT`], a source address that is broadcast, multicast, unspecified or our
/// own, and for a datagram that was sent `to_many` hosts at once (RFC 1122 4.1.3.6 calls such sources invalid). The
/// broadcast address of a subnet and the engine's other addresses are known to the link layer only, which drops such
/// sources before a service sees them.
///
/// ```
/// use ringway::service::safe_to_answer;
/// let ours = "10.0.0.2:7".parse().unwrap();
/// assert!(safe_to_answer("10.0.0.1:40000".parse().unwrap(), ours, false));
/// assert!(!safe_to_answer("10.0.0.1:19".parse().unwrap(), ours, false));
/// ```
pub fn safe_to_answer(remote: SocketAddr, local: SocketAddr, to_many: bool) -> bool {
    remote.port() >= FIRST_ANSWERED_PORT && one_foreign_host(remote, local, to_many)
}

/// The same for a DNS question. Name servers also ask each other from their own port, and what goes back there is marked as a response, which no
/// name server answers.
pub fn safe_to_answer_a_question(remote: SocketAddr, local: SocketAddr, to_many: bool) -> bool {
    let port = remote.port();
    (port >= FIRST_ANSWERED_PORT || port == DNS_PORT) && one_foreign_host(remote, local, to_many)
}

fn one_foreign_host(remote: SocketAddr, local: SocketAddr, to_many: bool) -> bool {
    let one_host = match remote.ip() {
        IpAddr::V4(ip) => !(ip.is_broadcast() || ip.is_multicast() || ip.is_unspecified()),
        IpAddr::V6(ip) => !(ip.is_multicast() || ip.is_unspecified()),
    };
    one_host && !to_many && remote.ip() != local.ip()
}

const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_foreign_host_at_a_high_port_is_answered() {
        let cases = [
            ("10.0.0.1:1024", false, true),
            ("10.0.0.1:65535", false, true),
            ("10.0.0.1:1023", false, false),
            ("10.0.0.1:0", false, false),
            ("10.0.0.1:40000", true, false),
            ("255.255.255.255:40000", false, false),
            ("224.0.0.1:40000", false, false),
            ("0.0.0.0:40000", false, false),
            ("10.0.0.2:40000", false, false),
            ("[fe80::1]:40000", false, true),
            ("[ff02::1]:40000", false, false),
            ("[::]:40000", false, false),
        ];
        let ours = "10.0.0.2:7".parse().unwrap();
        for (remote, to_many, expected) in cases {
            assert_eq!(safe_to_answer(remote.parse().unwrap(), ours, to_many), expected, "{remote} to_many={to_many}");
            assert_eq!(safe_to_answer_a_question(remote.parse().unwrap(), ours, to_many), expected, "{remote} to_many={to_many}");
        }
    }

    #[test]
    fn a_name_server_may_ask_from_its_own_port() {
        let (asker, ours) = ("10.0.0.1:53".parse().unwrap(), "10.0.0.2:53".parse().unwrap());
        assert!(safe_to_answer_a_question(asker, ours, false) && !safe_to_answer(asker, ours, false));
        assert!(!safe_to_answer_a_question(ours, ours, false) && !safe_to_answer_a_question(asker, ours, true));
    }
}
