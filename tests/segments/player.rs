//! Plays a script against a stack: the same interpreter for Ringway in memory and for the kernel.
//!
//! Called by `memory` and `kernel`, which bring a [`Host`]. A failure is a text that shows the line of the script, what came instead, and
//! everything that passed on the wire until then.

use std::fmt::Write as _;
use std::time::Duration;

use ringway::tcp::State;

use crate::frame::{Sent, Wire};
use crate::script::{Call, Script, Step};
use crate::segment::{Due, Seg};

/// A stack under test, with its clock, its end of the wire and its application.
pub(crate) trait Host {
    /// Time since the script began.
    fn now(&self) -> Duration;

    /// Puts a frame on the wire, towards the stack.
    fn send(&mut self, frame: &[u8]);

    /// The next frame of the stack, if one comes until `until`; time passes no further than that.
    fn receive(&mut self, until: Duration) -> Option<Vec<u8>>;

    /// The application calls, and sees what the call wants to see.
    fn call(&mut self, call: Call) -> Result<(), String>;

    /// The state of the connection; what the application cannot see of it counts as CLOSED.
    fn state(&mut self) -> State;

    /// How exact its time is.
    fn patience(&self) -> Patience;
}

/// How far from the script's times a segment may come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The longest time for an answer.
    pub(crate) at_once: Duration,
    /// A timer may be early by this share of its time ...
    pub(crate) early: f64,
    /// ... and late by this share ...
    pub(crate) late: f64,
    /// ... and so much more.
    pub(crate) slack: Duration,
}

impl Patience {
    /// The earliest and the latest time.
    fn bounds(self, due: Due) -> (Duration, Duration) {
        let ms = |ms: u64| Duration::from_millis(ms);
        match due {
            Due::AtOnce => (Duration::ZERO, self.at_once),
            Due::Delayed => (Duration::ZERO, ms(500) + self.slack),
            Due::After(at) => (ms(at).mul_f64(1.0 - self.early), ms(at).mul_f64(1.0 + self.late) + self.slack),
            Due::Within(from, to) => (ms(from), ms(to) + self.slack),
        }
    }
}

/// A script being played.
pub(crate) struct Player<'s, H> {
    script: &'s Script,
    pub(crate) host: H,
    wire: Wire,
    trace: String,
    /// When the last thing happened.
    last: Duration,
}

impl<'s, H: Host> Player<'s, H> {
    pub(crate) const fn new(script: &'s Script, host: H, wire: Wire) -> Self {
        Self { script, host, wire, trace: String::new(), last: Duration::ZERO }
    }

    /// Plays it to the end.
    ///
    /// # Errors
    /// The first thing that is not as the script says.
    pub(crate) fn play(&mut self) -> Result<(), String> {
        for (at, step) in self.script.steps.iter().enumerate() {
            self.step(step).map_err(|why| format!("line {}: {step}\n  {why}\n{}", at + 1, self.trace))?;
        }
        self.nothing_until(self.host.now()).map_err(|why| format!("at the end\n  {why}\n{}", self.trace))
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Inject(seg) => {
                // What has come before was not asked for.
                self.nothing_until(self.host.now())?;
                self.note('>', &seg.to_string());
                let frame = self.wire.build(seg);
                self.host.send(&frame);
            }
            Step::Icmp(icmp) => {
                self.nothing_until(self.host.now())?;
                self.note('>', &format!("{icmp:?}"));
                let frame = self.wire.icmp(icmp);
                self.host.send(&frame);
            }
            Step::Expect(seg) => return self.expect(seg),
            Step::Silence(ms) => {
                if *ms > CLOCK_HALF_MS {
                    self.wire.forget_clock();
                }
                self.nothing_until(self.last.max(self.host.now()) + Duration::from_millis(*ms))?;
            }
            Step::Call(call) => {
                self.note(' ', &format!("{call:?}"));
                self.host.call(*call)?;
            }
            Step::State(state) => return self.state(*state),
            Step::Forget => self.wire.forget(),
        }
        self.last = self.host.now();
        Ok(())
    }

    fn expect(&mut self, seg: &Seg) -> Result<(), String> {
        let (earliest, latest) = self.host.patience().bounds(seg.due);
        let deadline = self.last + latest;
        let Some(sent) = self.next(deadline)? else {
            return Err(format!("nothing came in {latest:?}"));
        };
        let after = self.host.now().saturating_sub(self.last);
        self.last = self.host.now();
        let mut wrong = sent.differences(seg);
        if after < earliest {
            wrong.push(format!("it came after {after:?}, too early by {:?}", earliest - after));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n  ")) }
    }

    fn state(&mut self, state: State) -> Result<(), String> {
        let deadline = self.host.now() + self.host.patience().at_once;
        loop {
            let found = self.host.state();
            if found == state {
                return Ok(());
            }
            if self.host.now() >= deadline {
                return Err(format!("the state is {found}"));
            }
            self.nothing_until(self.host.now() + Duration::from_millis(1))?;
        }
    }

    fn nothing_until(&mut self, until: Duration) -> Result<(), String> {
        match self.next(until)? {
            None => Ok(()),
            Some(sent) => Err(format!("unexpected: {}", sent.seg)),
        }
    }

    /// The next segment of the stack.
    fn next(&mut self, until: Duration) -> Result<Option<Sent>, String> {
        while let Some(frame) = self.host.receive(until) {
            if let Some(sent) = self.wire.read(&frame) {
                let sent = sent?;
                self.note('<', &sent.seg.to_string());
                return Ok(Some(sent));
            }
        }
        Ok(None)
    }

    fn note(&mut self, direction: char, what: &str) {
        let _ = writeln!(self.trace, "  {:10.6} {direction} {what}", self.host.now().as_secs_f64());
    }
}

/// In this time a clock of one millisecond goes through half of its numbers (RFC 7323 5.4).
const CLOCK_HALF_MS: u64 = 1 << 31;
