//! Urgent data, both ways (RFC 9293 3.8.5): a mark beside the stream, which takes nothing out of it.

use crate::script::Call::{Receive, Send, SendUrgent, Told, UrgentAhead};
use crate::script::{News, Script, scripts};
use crate::segment::{ack, data};

scripts![
    urgent_text_is_text,
    urgent_text_is_told,
    a_mark_that_moves_on_is_told_again,
    a_mark_without_text_is_told_through_a_closed_window,
    what_is_sent_urgently_is_marked,
    a_mark_beyond_the_segment,
    urgent_text_that_is_sent_again_is_marked_again,
];

/// The urgent pointer leads to nothing: what is urgent is read where it stands.
//= type=test
//= rfc9293#3.8.5
//# TCP implementations MUST still include support for the urgent mechanism (MUST-30).
fn urgent_text_is_text(s: &mut Script) {
    s.established();
    s.inject(data(10).seq(1).ack(1).urgent(5));
    s.expect(ack().seq(1).ack(11).delayed());
    s.call(Receive(10));
}

/// The application hears of it before it reads, and may know how far it is.
//= type=test
//= rfc9293#3.8.5
//# The TCP implementation MUST (MUST-33) provide a way for the application to learn how much urgent data remains to be read
//# from the connection
fn urgent_text_is_told(s: &mut Script) {
    s.established();
    s.inject(data(10).seq(1).ack(1).urgent(5));
    s.expect(ack().seq(1).ack(11).delayed());
    s.call(Told(News::Urgent));
    s.differs(
        "Linux tells where the mark is, not how far",
        |s| {
            s.call(UrgentAhead(5));
            s.call(Receive(3));
            s.call(UrgentAhead(2));
            s.call(Receive(7));
            s.call(UrgentAhead(0));
        },
        |s| s.call(Receive(10)),
    );
}

/// Once for each mark.
//= type=test
//= rfc9293#3.8.5
//# inform the application layer asynchronously whenever it receives an urgent pointer and there was previously no pending urgent
//# data, or whenever the urgent pointer advances in the data stream.
fn a_mark_that_moves_on_is_told_again(s: &mut Script) {
    s.not_on_kernel("its poll says that there is a mark, not how often it moved");
    s.established();
    s.inject(data(10).seq(1).ack(1).urgent(100));
    s.expect(ack().seq(1).ack(11));
    s.call(Told(News::Urgent));
    s.inject(data(10).seq(11).ack(1).urgent(90));
    s.expect(ack().seq(1).ack(21));
    s.inject(data(10).seq(21).ack(1).urgent(100));
    s.expect(ack().seq(1).ack(31));
    s.call(Told(News::Urgent));
    s.call(UrgentAhead(120));
    s.call(Receive(30));
    s.call(UrgentAhead(90));
}

/// The peer may hurry us on although it may not send.
//= type=test
//= rfc9293#3.4
//# A TCP receiver MUST process the RST and URG fields of all incoming segments, even when the receive window is zero (MUST-66).
fn a_mark_without_text_is_told_through_a_closed_window(s: &mut Script) {
    s.not_on_kernel("its poll says nothing before the marked byte is there");
    s.settings.receive_buffer = 1000;
    s.settings.receive_buffer_max = 1000;
    s.established();
    s.inject(data(1000).seq(1).ack(1));
    s.expect(ack().seq(1).ack(1001).win(0).delayed());
    s.inject(ack().seq(1001).ack(1).urgent(20));
    s.call(Told(News::Urgent));
    s.call(UrgentAhead(1020));
}

/// The pointer leads behind the last urgent byte, and what follows is not urgent.
//= type=test
//= rfc9293#3.8.5
//# The urgent pointer MUST point to the sequence number of the octet following the urgent data (MUST-62).
fn what_is_sent_urgently_is_marked(s: &mut Script) {
    s.established();
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1));
    s.call(SendUrgent(20));
    s.expect(data(20).seq(11).ack(1).urgent(20));
    s.call(Send(30));
    s.expect(data(30).seq(31).ack(1));
    s.inject(ack().seq(1).ack(61));
    s.call(Send(10));
    s.expect(data(10).seq(61).ack(1));
}

/// Each segment before the mark says how far it is.
//= type=test
//= rfc9293#3.8.5
//# A TCP implementation MUST support a sequence of urgent data of any length (MUST-31)
fn a_mark_beyond_the_segment(s: &mut Script) {
    s.established();
    s.call(SendUrgent(2500));
    s.expect(data(1000).seq(1).ack(1).urgent(2500));
    s.expect(data(1000).seq(1001).ack(1).urgent(1500));
    s.expect(data(500).seq(2001).ack(1).urgent(500));
    s.inject(ack().seq(1).ack(2501));
    s.silence(300);
}

/// As long as it is not acknowledged.
fn urgent_text_that_is_sent_again_is_marked_again(s: &mut Script) {
    s.established();
    s.call(SendUrgent(10));
    s.expect(data(10).seq(1).ack(1).urgent(10));
    s.expect(data(10).seq(1).ack(1).urgent(10).after(200));
    s.inject(ack().seq(1).ack(11));
    s.silence(300);
}
