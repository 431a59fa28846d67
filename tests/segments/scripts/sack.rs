//! Selective acknowledgments: what is reported beyond a hole, and what came twice (RFC 2018, RFC 2883).

use ringway::device::Drop;
use ringway::tcp::tally::Happening;

use crate::script::Call::{Connect, Receive};
use crate::script::{Script, scripts};
use crate::segment::{Kind, ack, data, syn, syn_ack};

scripts![
    an_active_open_offers_sack,
    a_hole_is_reported,
    the_latest_block_comes_first,
    blocks_beside_timestamps,
    a_filled_hole_is_no_longer_reported,
    text_that_comes_twice_is_reported,
    text_that_comes_twice_beyond_a_hole_is_reported,
    nothing_is_reported_to_a_peer_that_did_not_permit_it,
];

/// A passive open with a peer that permits SACK.
fn permitted(s: &mut Script) {
    s.established_with(syn().mss(1000).sack_permitted());
}

/// We ask for reports, and take them up when the peer does.
//= type=test
//= rfc2018#2
//# The first is an enabling option, "SACK-permitted", which may be sent in a SYN segment to indicate that the SACK option can be
//# used once the connection is established.
fn an_active_open_offers_sack(s: &mut Script) {
    s.call(Connect);
    s.expect(syn().seq(0).sack_permitted());
    s.inject(syn_ack().seq(0).ack(1).mss(1000).sack_permitted());
    s.expect(ack().seq(1).ack(1));
    s.inject(data(10).seq(11).ack(1));
    s.expect(ack().seq(1).ack(1).sack(11, 21));
    s.happens(Happening::SackSent);
}

/// What lies beyond the hole.
//= type=test
//= rfc2018#4
//# If sent at all, SACK options SHOULD be included in all ACKs which do not ACK the highest sequence number in the data receiver's
//# queue.
fn a_hole_is_reported(s: &mut Script) {
    permitted(s);
    s.inject(data(100).seq(101).ack(1));
    s.expect(ack().seq(1).ack(1).sack(101, 201));
    s.inject(data(100).seq(201).ack(1));
    s.expect(ack().seq(1).ack(1).sack(101, 301));
    s.happens(Happening::SackSent);
}

/// The block that the segment belongs to, then the ones reported before it.
//= type=test
//= rfc2018#4
//# The first SACK block (i.e., the one immediately following the kind and length fields in the option) MUST specify the contiguous
//# block of data containing the segment which triggered this ACK
fn the_latest_block_comes_first(s: &mut Script) {
    permitted(s);
    s.inject(data(100).seq(101).ack(1));
    s.expect(ack().seq(1).ack(1).sack(101, 201));
    s.inject(data(100).seq(501).ack(1));
    s.expect(ack().seq(1).ack(1).sack(501, 601).sack(101, 201));
    s.inject(data(100).seq(301).ack(1));
    s.expect(ack().seq(1).ack(1).sack(301, 401).sack(501, 601).sack(101, 201));
    s.inject(data(100).seq(201).ack(1));
    s.expect(ack().seq(1).ack(1).sack(101, 401).sack(501, 601));
}

/// Three blocks fit.
//= type=test
//= rfc2018#3
//# thus a maximum of 3 SACK blocks will be allowed in this case.
fn blocks_beside_timestamps(s: &mut Script) {
    s.established_with(syn().mss(1000).sack_permitted().ts(1000));
    s.inject(data(100).seq(101).ack(1).ts(1002));
    s.expect(ack().seq(1).ack(1).echo(1001).sack(101, 201));
    s.inject(data(100).seq(301).ack(1).ts(1003));
    s.expect(ack().seq(1).ack(1).echo(1001).sack(301, 401).sack(101, 201));
    s.inject(data(100).seq(501).ack(1).ts(1004));
    s.expect(ack().seq(1).ack(1).echo(1001).sack(501, 601).sack(301, 401).sack(101, 201));
    s.inject(data(100).seq(701).ack(1).ts(1005));
    s.expect(ack().seq(1).ack(1).echo(1001).sack(701, 801).sack(501, 601).sack(301, 401));
}

/// The acknowledgment says it all.
fn a_filled_hole_is_no_longer_reported(s: &mut Script) {
    permitted(s);
    s.inject(data(100).seq(101).ack(1));
    s.expect(ack().seq(1).ack(1).sack(101, 201));
    s.inject(data(100).seq(1).ack(1));
    s.expect(ack().seq(1).ack(201).without(Kind::Sack));
    s.call(Receive(200));
}

/// D-SACK: the peer learns that it sent needlessly.
//= type=test
//= rfc2883#4
//# When D-SACK is used, the first block of the SACK option should be a D-SACK block specifying the sequence numbers for the
//# duplicate segment that triggers the acknowledgement.
fn text_that_comes_twice_is_reported(s: &mut Script) {
    permitted(s);
    s.inject(data(100).seq(1).ack(1));
    s.expect(ack().seq(1).ack(101).delayed());
    s.inject(data(100).seq(1).ack(1));
    s.expect(ack().seq(1).ack(101).sack(1, 101));
    s.call(Receive(100));
    s.shows(Drop::TcpOutOfWindow);
    s.happens(Happening::DsackSent);
}

/// The second block shows where the duplicate belongs.
//= type=test
//= rfc2883#4
//# then the second SACK block in that SACK option should specify that (possibly larger) block of data.
fn text_that_comes_twice_beyond_a_hole_is_reported(s: &mut Script) {
    permitted(s);
    s.inject(data(100).seq(101).ack(1));
    s.expect(ack().seq(1).ack(1).sack(101, 201));
    s.inject(data(100).seq(201).ack(1));
    s.expect(ack().seq(1).ack(1).sack(101, 301));
    s.inject(data(100).seq(101).ack(1));
    s.expect(ack().seq(1).ack(1).sack(101, 201).sack(101, 301));
    s.happens(Happening::DsackSent);
}

/// It would not understand.
//= type=test
//= rfc2018#4
//# If the data receiver has not received a SACK-Permitted option for a given connection, it MUST NOT send SACK options on that
//# connection.
fn nothing_is_reported_to_a_peer_that_did_not_permit_it(s: &mut Script) {
    s.established();
    s.inject(data(100).seq(101).ack(1));
    s.expect(ack().seq(1).ack(1).without(Kind::Sack));
}
