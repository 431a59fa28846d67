//! Scripts that are wrong on purpose: each must fail, and say where.

use ringway::device::Drop;
use ringway::tcp::State;
use ringway::tcp::tally::Happening;

use crate::memory::attempt;
use crate::script::Call::{End, Receive, Send, Shutdown};
use crate::script::{Script, Write};
use crate::segment::{Kind, ack, data, fin, rst, syn, syn_ack};

pub(crate) fn a_wrong_number(s: &mut Script) {
    s.established();
    s.call(Send(5));
    s.expect(data(5).seq(2).ack(1));
}

fn too_much_is_sent(s: &mut Script) {
    s.established();
    s.call(Send(5));
    s.silence(10);
}

fn too_much_is_sent_at_the_end(s: &mut Script) {
    s.established();
    s.call(Shutdown);
}

fn a_segment_that_nobody_asked_for(s: &mut Script) {
    s.established();
    s.call(Send(5));
    s.inject(ack().seq(1).ack(1));
}

fn nothing_comes(s: &mut Script) {
    s.established();
    s.expect(ack().seq(1).ack(1));
}

fn a_timer_too_early(s: &mut Script) {
    s.established();
    s.call(Send(5));
    s.expect(data(5).seq(1).ack(1));
    s.expect(data(5).seq(1).ack(1).after(300));
}

fn a_timer_too_late(s: &mut Script) {
    s.established();
    s.call(Send(5));
    s.expect(data(5).seq(1).ack(1));
    s.expect(data(5).seq(1).ack(1).after(100));
}

fn a_wrong_control_bit(s: &mut Script) {
    s.established();
    s.call(Shutdown);
    s.expect(ack().seq(1).ack(1));
}

fn an_option_that_is_missing(s: &mut Script) {
    s.listen();
    s.inject(syn());
    s.expect(syn_ack().seq(0).ack(1).echo(7));
}

fn an_option_that_should_be_missing(s: &mut Script) {
    s.listen();
    s.inject(syn());
    s.expect(syn_ack().seq(0).ack(1).without(Kind::Mss));
}

fn another_window(s: &mut Script) {
    s.listen();
    s.inject(syn());
    s.expect(syn_ack().seq(0).ack(1).win(7));
}

fn a_wrong_state(s: &mut Script) {
    s.established();
    s.state(State::CloseWait);
}

fn text_that_never_came(s: &mut Script) {
    s.established();
    s.call(Receive(1));
}

fn an_end_that_never_came(s: &mut Script) {
    s.established();
    s.call(End);
}

fn a_drop_that_is_not_named(s: &mut Script) {
    s.established();
    s.inject(rst().seq(-5));
}

fn a_drop_that_does_not_happen(s: &mut Script) {
    s.established();
    s.shows(Drop::TcpPaws);
}

fn a_happening_that_does_not_happen(s: &mut Script) {
    s.established();
    s.inject(fin().seq(1).ack(1));
    s.expect(ack().seq(1).ack(2).delayed());
    s.happens(Happening::ChallengeRst);
}

#[test]
fn wrong_scripts_fail_and_say_why() {
    let cases: [(Write, &str); 17] = [
        (a_wrong_number, "line 7: expect  ACK seq 2 ack 1 len 5 (AtOnce)\n  SEG.SEQ is 1, not 2"),
        (too_much_is_sent, "unexpected: PSH,ACK seq 1 ack 1 len 5"),
        (too_much_is_sent_at_the_end, "at the end\n  unexpected: FIN,ACK"),
        (a_segment_that_nobody_asked_for, "line 7: inject"),
        (nothing_comes, "nothing came"),
        (a_timer_too_early, "too early"),
        (a_timer_too_late, "nothing came"),
        (a_wrong_control_bit, "CTL is FIN,ACK, not ACK"),
        (an_option_that_is_missing, "TSecr is not there, not 7"),
        (an_option_that_should_be_missing, "Mss is there"),
        (another_window, "SEG.WND is 65535"),
        (a_wrong_state, "the state is ESTABLISHED"),
        (text_that_never_came, "0 bytes were received"),
        (an_end_that_never_came, "the stream has not ended"),
        (a_drop_that_is_not_named, "tcp_rst_ignored: counted, but not named"),
        (a_drop_that_does_not_happen, "tcp_paws: named, but not counted"),
        (a_happening_that_does_not_happen, "challenge_rst: named, but not counted"),
    ];
    for (write, expected) in cases {
        let why = attempt(write).expect_err(expected);
        assert!(why.contains(expected), "{expected}:\n{why}");
    }
}
