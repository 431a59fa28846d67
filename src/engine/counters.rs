//! What one core has done, as counts. Names appear in reports as they stand here.

use serde::Serialize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts of one core since its start, or of several together.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Adds what another core has done.
            pub const fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)*
            }
        }
    };
}

counters! {
    /// Turns of the loop.
    turns,
    /// Turns that found work.
    busy_turns,
    /// Times the loop slept in the kernel.
    parks,
    /// ARP requests answered.
    arp_replies,
    /// ARP requests sent.
    arp_requests,
    /// Neighbour advertisements sent (IPv6).
    nd_advertisements,
    /// Neighbour solicitations sent (IPv6).
    nd_solicitations,
    /// ICMP echo requests answered.
    icmp_echo_replies,
    /// ICMP errors sent.
    icmp_errors_sent,
    /// ICMP errors received about something we sent.
    icmp_errors_received,
    /// Times a path was found to carry less than was known, by an ICMP error about a packet of ours.
    path_mtus_learned,
    /// Redirects of routers that were followed.
    redirects_followed,
    /// Frames of which the kernel has the original: ICMP errors of a port claim, what is said to all.
    copies,
    /// Such frames for which there was no room.
    copies_lost,
    /// Frames given to another core, whose packets they hold.
    handed_over,
    /// Frames taken from other cores.
    handed_in,
    /// Times the directories of all other cores were asked for a flow.
    foreign_lookups,
    /// What other cores were to hear, and found no room there.
    siblings_untold,
    /// IP packets put together from fragments.
    ip_reassembled,
    /// IP packets sent in fragments.
    ip_fragmented,
    /// Datagrams handed to a service.
    udp_received,
    /// Datagrams a service took without an answer.
    udp_consumed,
    /// Datagrams answered or forwarded in the frame they came in.
    udp_in_frame,
    /// Datagrams that services sent with `send_to`.
    udp_sent,
    /// Copies of received datagrams' payload: 0 as long as every answer is in its frame.
    udp_copies,
    /// Datagrams that services kept.
    udp_kept,
    /// TCP segments received that passed the checks of the header.
    tcp_received,
    /// TCP segments sent.
    tcp_sent,
    /// Bytes of TCP payload handed to services in the frame they came in.
    tcp_in_frame_bytes,
    /// Bytes of TCP payload handed to services from the receive buffer: left by the service before, or out of order.
    tcp_buffered_bytes,
    /// Connections begun by a peer's SYN.
    tcp_accepted,
    /// Connections begun by a service.
    tcp_opened,
    /// Replies to our SYNs that came in on the queue that was foretold.
    rss_hits,
    /// Those that came in on another.
    rss_misses,
    /// Connections whose handshake was completed.
    tcp_established,
    /// Connections that ended in order.
    tcp_closed,
    /// Connections that ended abnormally.
    tcp_reset,
    /// SYNs accepted in TIME-WAIT (RFC 6191).
    tcp_reopened,
    /// RSTs sent where no connection was.
    tcp_resets_sent,
    /// Segments sent again.
    tcp_retransmitted,
    /// TCBs that were removed.
    tcp_removed,
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
}
