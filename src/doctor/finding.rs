//! What a check came to: a verdict, words, and what mends it.
//!
//! Made by the checks, shown by `ringway doctor`. Plain values; only [`Fix::apply`] does something.

use std::fmt;
use std::io;
use std::process::{Command, Stdio};

use crate::error::SetupError;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Not known: it could not be tried, or was not to be.
    Skipped,
    /// Ringway runs, and is slower or knows less.
    Warn,
    /// Ringway does not run, or loses packets.
    Fail,
}

impl Verdict {
    /// The word of reports: `ok`, `skip`, `warn`, `fail`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skip",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check, by a word that stays the same: `link`, `CAP_BPF`.
    pub check: &'static str,
    /// The interface it is about; `None` for the machine.
    pub interface: Option<String>,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub text: String,
    /// The command that mends it, or that tells more.
    pub mend: Option<String>,
    /// The same as a command that may be run without asking, if it is harmless.
    pub fix: Option<Fix>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, text)
    }

    pub(super) fn skipped(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, Verdict::Skipped, text)
    }

    pub(super) fn warn(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warn, text)
    }

    pub(super) fn fail(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, Verdict::Fail, text)
    }

    fn new(check: &'static str, verdict: Verdict, text: impl Into<String>) -> Self {
        Self { check, interface: None, verdict, text: text.into(), mend: None, fix: None }
    }

    /// An interface that cannot be read at all.
    pub fn refused(check: &'static str, interface: &str, error: &SetupError) -> Self {
        let finding = Self::fail(check, format!("{}: {}", error.what(), error.why()));
        finding.mend_if(error.remedy()).on(interface)
    }

    /// With the command that mends it.
    #[must_use]
    pub(super) fn mend(self, command: impl Into<String>) -> Self {
        Self { mend: Some(command.into()), ..self }
    }

    /// With the command that mends it, where there is one.
    #[must_use]
    pub(super) fn mend_if(self, command: Option<impl Into<String>>) -> Self {
        Self { mend: command.map(Into::into), ..self }
    }

    /// With a harmless command that mends it.
    #[must_use]
    pub(super) fn fix(self, fix: Fix) -> Self {
        Self { mend: Some(fix.to_string()), fix: Some(fix), ..self }
    }

    /// About an interface.
    #[must_use]
    pub(super) fn on(self, interface: &str) -> Self {
        Self { interface: Some(interface.to_owned()), ..self }
    }
}

/// A command that mends something and can do no harm: it turns on what is off, or gives up an offload of a virtual interface, in this network
/// namespace. Whatever resets a NIC, concerns the whole machine or lies in another namespace is never one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    program: &'static str,
    arguments: Vec<String>,
}

impl Fix {
    /// `ip link set IF up`.
    pub(super) fn up(interface: &str) -> Self {
        Self::new("ip", &["link", "set", interface, "up"])
    }

    /// `ip link set IF mtu N`: harmless on a veth pair alone.
    pub(super) fn mtu(interface: &str, mtu: usize) -> Self {
        Self::new("ip", &["link", "set", interface, "mtu", &mtu.to_string()])
    }

    /// `ethtool -L IF tx N`: harmless on a veth pair alone.
    pub(super) fn transmit_queues(interface: &str, queues: u32) -> Self {
        Self::new("ethtool", &["-L", interface, "tx", &queues.to_string()])
    }

    /// `ethtool -K IF FEATURE off`.
    pub(super) fn off(interface: &str, feature: &str) -> Self {
        Self::new("ethtool", &["-K", interface, feature, "off"])
    }

    fn new(program: &'static str, arguments: &[&str]) -> Self {
        Self { program, arguments: arguments.iter().map(|&argument| argument.to_owned()).collect() }
    }

    /// Runs the command to its end.
    ///
    /// # Errors
    /// The program is not there, or says what it could not do.
    pub fn apply(&self) -> io::Result<()> {
        let output = Command::new(self.program).args(&self.arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|error| io::Error::new(error.kind(), format!("cannot run {}: {error}", self.program)))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("{} ({})", said.trim(), output.status)))
    }
}

impl fmt::Display for Fix {
    /// The line that does the same by hand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sudo {} {}", self.program, self.arguments.join(" "))
    }
}
