//! Errors of the operator: what, why, and the command that mends it.
//!
//! What a peer does wrong is a [`crate::device::Drop`] with a counter; what we do wrong is an assertion. What stands here is
//! shown to the person who started the command, who reads all three parts.

use std::fmt;
use std::path::{Path, PathBuf};

/// An error of the environment or of the command line.
///
/// ```
/// use ringway::error::SetupError;
/// let error = SetupError::environment("cannot create an AF_XDP socket", "the capability CAP_NET_RAW is missing")
///     .mend("sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock+ep ./ringway");
/// assert_eq!(error.exit_code(), 3);
/// assert!(error.to_string().contains("try: sudo setcap"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError {
    what: String,
    why: String,
    mend: Option<String>,
    kind: Kind,
    place: Option<Box<Place>>,
}

/// Where in a file an error is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The character in it, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Usage,
    Environment,
    Failed,
}

impl SetupError {
    /// The machine is not as it must be: rights, devices, addresses. Exit code 3.
    pub fn environment(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), mend: None, kind: Kind::Environment, place: None }
    }

    /// The command line asks for something that cannot be. Exit code 2.
    pub fn usage(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), mend: None, kind: Kind::Usage, place: None }
    }

    /// The run began, and failed. Exit code 1.
    pub fn failed(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), mend: None, kind: Kind::Failed, place: None }
    }

    /// Adds the command that mends it.
    #[must_use]
    pub fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend = Some(command.into());
        self
    }

    /// Adds where in a file it is.
    #[must_use]
    pub fn at(mut self, file: &Path, line: usize, column: usize) -> Self {
        self.place = Some(Box::new(Place { file: file.to_owned(), line, column }));
        self
    }

    /// Where in a file it is, if it is in one.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_deref()
    }

    /// What could not be done.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Why it could not be done.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// The command that mends it, if there is one.
    pub fn remedy(&self) -> Option<&str> {
        self.mend.as_deref()
    }

    /// The exit code of the process: 1 for a run that failed, 2 for usage, 3 for the environment.
    pub const fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Environment => 3,
        }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}: {}", self.what, self.why)?;
        match &self.mend {
            Some(command) => write!(f, "\n  try: {command}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SetupError {}
