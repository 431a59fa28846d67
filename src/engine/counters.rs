//! What one core has done, as counts. Names appear in reports as they stand here.

use serde::Serialize;

/// Counts of one core since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Turns of the loop.
    pub turns: u64,
    /// Turns that found work.
    pub busy_turns: u64,
    /// Times the loop slept in the kernel.
    pub parks: u64,
    /// ARP requests answered.
    pub arp_replies: u64,
    /// ARP requests sent.
    pub arp_requests: u64,
    /// Neighbour advertisements sent (IPv6).
    pub nd_advertisements: u64,
    /// Neighbour solicitations sent (IPv6).
    pub nd_solicitations: u64,
    /// ICMP echo requests answered.
    pub icmp_echo_replies: u64,
    /// ICMP errors sent.
    pub icmp_errors_sent: u64,
    /// ICMP errors received about something we sent.
    pub icmp_errors_received: u64,
    /// Times a path was found to carry less than was known, by an ICMP error about a packet of ours.
    pub path_mtus_learned: u64,
    /// Redirects of routers that were followed.
    pub redirects_followed: u64,
    /// Frames of which the kernel has the original: ICMP errors of a port claim, what is said to all.
    pub copies: u64,
    /// Such frames for which there was no room.
    pub copies_lost: u64,
    /// IP packets put together from fragments.
    pub ip_reassembled: u64,
    /// IP packets sent in fragments.
    pub ip_fragmented: u64,
    /// Datagrams handed to a service.
    pub udp_received: u64,
    /// Datagrams a service took without an answer.
    pub udp_consumed: u64,
    /// Datagrams answered or forwarded in the frame they came in.
    pub udp_in_frame: u64,
    /// Datagrams that services sent with `send_to`.
    pub udp_sent: u64,
    /// Copies of received datagrams' payload: 0 as long as every answer is in its frame.
    pub udp_copies: u64,
    /// Datagrams that services kept.
    pub udp_kept: u64,
    /// TCP segments received that passed the checks of the header.
    pub tcp_received: u64,
    /// TCP segments sent.
    pub tcp_sent: u64,
    /// Bytes of TCP payload handed to services in the frame they came in.
    pub tcp_in_frame_bytes: u64,
    /// Bytes of TCP payload handed to services from the receive buffer: left by the service before, or out of order.
    pub tcp_buffered_bytes: u64,
    /// Connections begun by a peer's SYN.
    pub tcp_accepted: u64,
    /// Connections begun by a service.
    pub tcp_opened: u64,
    /// Replies to our SYNs that came in on the queue that was foretold.
    pub rss_hits: u64,
    /// Those that came in on another.
    pub rss_misses: u64,
    /// Connections whose handshake was completed.
    pub tcp_established: u64,
    /// Connections that ended in order.
    pub tcp_closed: u64,
    /// Connections that ended abnormally.
    pub tcp_reset: u64,
    /// SYNs accepted in TIME-WAIT (RFC 6191).
    pub tcp_reopened: u64,
    /// RSTs sent where no connection was.
    pub tcp_resets_sent: u64,
    /// Segments sent again.
    pub tcp_retransmitted: u64,
    /// TCBs that were removed.
    pub tcp_removed: u64,
}
