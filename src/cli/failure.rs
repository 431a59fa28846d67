//! Why a command did not succeed, and the exit code that says so.

use std::fmt;

use ringway::error::{Place, SetupError};
use ringway::load::outcome::RunError;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the environment: 2 or 3.
    Setup(SetupError),
    /// The run began and failed: 1.
    Run {
        /// What could not be done.
        what: String,
        /// Why.
        why: String,
    },
    /// The run succeeded and a threshold of `--fail-if` was missed: 4.
    Threshold {
        /// The thresholds that were missed, with the values.
        why: String,
    },
}

impl Failure {
    pub(crate) fn run(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::Run { what: what.into(), why: why.to_string() }
    }

    pub(crate) fn what(&self) -> &str {
        match self {
            Self::Setup(error) => error.what(),
            Self::Run { what, .. } => what,
            Self::Threshold { .. } => "a threshold was missed",
        }
    }

    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Setup(error) => error.why(),
            Self::Run { why, .. } | Self::Threshold { why } => why,
        }
    }

    pub(crate) fn remedy(&self) -> Option<&str> {
        match self {
            Self::Setup(error) => error.remedy(),
            Self::Run { .. } | Self::Threshold { .. } => None,
        }
    }

    /// Where in a file it is.
    pub(crate) fn place(&self) -> Option<&Place> {
        match self {
            Self::Setup(error) => error.place(),
            Self::Run { .. } | Self::Threshold { .. } => None,
        }
    }

    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Setup(error) => error.exit_code(),
            Self::Run { .. } => 1,
            Self::Threshold { .. } => 4,
        }
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Setup(error) => Self::Setup(error),
            RunError::Failed(why) => Self::run("the run failed", why),
        }
    }
}
