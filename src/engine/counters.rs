//! What one core has done, as counts. Names appear in reports as they stand here, and in the metrics as they stand beside them.

use crate::counted::counted;

counted! {
    /// Counts of one core since its start, or of several together.
    pub struct Counters;

    /// Turns of the loop.
    turns = "ringway_turns_total",
    /// Turns that found work.
    busy_turns = "ringway_busy_turns_total",
    /// Times the loop slept in the kernel.
    parks = "ringway_parks_total",
    /// ARP requests answered.
    arp_replies = "ringway_arp_replies_sent_total",
    /// ARP requests sent.
    arp_requests = "ringway_arp_requests_sent_total",
    /// Neighbour advertisements sent (IPv6).
    nd_advertisements = "ringway_nd_advertisements_sent_total",
    /// Neighbour solicitations sent (IPv6).
    nd_solicitations = "ringway_nd_solicitations_sent_total",
    /// ICMP echo requests answered.
    icmp_echo_replies = "ringway_icmp_echo_replies_sent_total",
    /// ICMP errors sent.
    icmp_errors_sent = "ringway_icmp_errors_sent_total",
    /// ICMP errors received about something we sent.
    icmp_errors_received = "ringway_icmp_errors_received_total",
    /// Times a path was found to carry less than was known, by an ICMP error about a packet of ours.
    path_mtus_learned = "ringway_path_mtus_learned_total",
    /// Redirects of routers that were followed.
    redirects_followed = "ringway_redirects_followed_total",
    /// Frames of which the kernel has the original: ICMP errors of a port claim, what is said to all.
    copies = "ringway_kernel_copies_total",
    /// Frames of which the kernel has the original, and for which there was no room.
    copies_lost = "ringway_kernel_copies_lost_total",
    /// Frames given to another core, whose packets they hold.
    handed_over = "ringway_frames_handed_over_total",
    /// Frames taken from other cores.
    handed_in = "ringway_frames_handed_in_total",
    /// Times the directories of all other cores were asked for a flow.
    foreign_lookups = "ringway_foreign_lookups_total",
    /// What other cores were to hear, and found no room there.
    siblings_untold = "ringway_siblings_untold_total",
    /// IP packets put together from fragments.
    ip_reassembled = "ringway_ip_packets_reassembled_total",
    /// IP packets sent in fragments.
    ip_fragmented = "ringway_ip_packets_fragmented_total",
    /// Datagrams handed to a service.
    udp_received = "ringway_udp_datagrams_received_total",
    /// Datagrams a service took without an answer.
    udp_consumed = "ringway_udp_datagrams_consumed_total",
    /// Datagrams answered or forwarded in the frame they came in.
    udp_in_frame = "ringway_udp_datagrams_in_frame_total",
    /// Datagrams that services sent with `send_to`.
    udp_sent = "ringway_udp_datagrams_sent_total",
    /// Copies of received datagrams' payload: 0 as long as every answer is in its frame.
    udp_copies = "ringway_udp_payload_copies_total",
    /// Datagrams that services kept.
    udp_kept = "ringway_udp_datagrams_kept_total",
    /// TCP segments received that passed the checks of the header.
    tcp_received = "ringway_tcp_segments_received_total",
    /// TCP segments sent.
    tcp_sent = "ringway_tcp_segments_sent_total",
    /// Bytes of TCP payload handed to services in the frame they came in.
    tcp_in_frame_bytes = "ringway_tcp_in_frame_bytes_total",
    /// Bytes of TCP payload handed to services from the receive buffer: left by the service before, or out of order.
    tcp_buffered_bytes = "ringway_tcp_buffered_bytes_total",
    /// Connections begun by a peer's SYN.
    tcp_accepted = "ringway_tcp_connections_accepted_total",
    /// Connections begun by a service.
    tcp_opened = "ringway_tcp_connections_opened_total",
    /// Replies to our SYNs that came in on the queue that was foretold.
    rss_hits = "ringway_rss_hits_total",
    /// Replies to our SYNs that came in on another queue than was foretold.
    rss_misses = "ringway_rss_misses_total",
    /// Connections whose handshake was completed.
    tcp_established = "ringway_tcp_connections_established_total",
    /// Connections that ended in order.
    tcp_closed = "ringway_tcp_connections_closed_total",
    /// Connections that ended abnormally.
    tcp_reset = "ringway_tcp_connections_reset_total",
    /// SYNs accepted in TIME-WAIT (RFC 6191).
    tcp_reopened = "ringway_tcp_connections_reopened_total",
    /// RSTs sent where no connection was.
    tcp_resets_sent = "ringway_tcp_resets_sent_total",
    /// Segments sent again.
    tcp_retransmitted = "ringway_tcp_segments_retransmitted_total",
    /// TCBs that were removed.
    tcp_removed = "ringway_tcp_connections_removed_total",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_two_cores_are_added_one_by_one() {
        let mut one = Counters { turns: 1, tcp_removed: u64::MAX, ..Counters::default() };
        one.add(&Counters { turns: 2, parks: 3, tcp_removed: 1, ..Counters::default() });
        assert_eq!(one, Counters { turns: 3, parks: 3, tcp_removed: u64::MAX, ..Counters::default() });
    }

    #[test]
    fn a_count_is_written_once_and_found_everywhere() {
        let counts = Counters { turns: 7, ..Counters::default() };
        let (first, json) = (&Counters::ALL[0], serde_json::to_value(counts).unwrap());
        assert_eq!((first.name, first.metric, first.help), ("turns", "ringway_turns_total", "Turns of the loop."));
        assert_eq!((first.of(&counts), Counters::ALL[1].of(&counts)), (7, 0));
        let fields: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, Counters::ALL.iter().map(|count| count.name).collect::<Vec<_>>());
    }
}
