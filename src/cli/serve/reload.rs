//! Reading the configuration again, asked for by SIGHUP or over the control socket.
//!
//! The file is read as at the start, with the same command line over it, and compared with what runs. What can change changes; of the rest it is said that it
//! waits for a restart, and again the next time, until there was one. A file with an error changes nothing. Runs on the thread of the control socket or on that of the
//! signal, one at a time; each change is a line of the log, and of the answer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ringway::error::SetupError;
use ringway::launch::{Changer, Launch};
use ringway::metrics::row::SCHEMA;
use ringway::settings::{KEYS, Settings, When};
use serde::Serialize;
use serde_json::json;

use super::manager::Drain;
use crate::cli::args::{Command, ServeArgs};
use crate::cli::config::{self, Effective, Entry};
use crate::cli::log::{self, Talk};

/// What reads it again.
pub(super) struct Reloader {
    file: PathBuf,
    arguments: Vec<std::ffi::OsString>,
    running: Mutex<Running>,
    /// There once the engines are open.
    changer: OnceLock<(Changer, Drain)>,
}

/// What runs, as far as it has been changed.
struct Running {
    effective: Effective,
    settings: Settings,
}

/// What became of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Outcome {
    key: String,
    old: Vec<String>,
    new: Vec<String>,
    #[serde(flatten)]
    fate: Fate,
}

/// Whether a change is felt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Fate {
    /// It is, by everything, or by connections that begin from now on.
    Applied { to: &'static str },
    /// Not before a restart.
    NeedsRestart { why: &'static str },
}

impl Reloader {
    /// For a server that was started with a file.
    pub(super) fn new(args: &ServeArgs, effective: Effective, settings: Settings) -> Option<Arc<Self>> {
        let file = args.config.as_ref()?;
        Some(Arc::new(Self {
            // The folder may be another one by then.
            file: std::path::absolute(file).unwrap_or_else(|_| file.clone()),
            arguments: args.arguments.clone(),
            running: Mutex::new(Running { effective, settings }),
            changer: OnceLock::new(),
        }))
    }

    /// The engines are open, and can be changed. A service manager is told of the drain when the end begins.
    pub(super) fn engines_are_open(&self, changer: Changer, drain: Drain) {
        let _ = self.changer.set((changer, drain));
    }

    /// Reads it again and says in the log what that came to. The answer is that of the control socket: a line for each key, and the last one.
    pub(super) fn reload(&self) -> Vec<u8> {
        let mut answer = Vec::new();
        let mut line = |event: &str, body: serde_json::Value| {
            let mut object = json!({ "schema": SCHEMA, "event": event });
            if let (Some(object), serde_json::Value::Object(body)) = (object.as_object_mut(), body) {
                object.extend(body);
            }
            answer.extend_from_slice(object.to_string().as_bytes());
            answer.push(b'\n');
        };
        let file = self.file.display();
        match self.read_again() {
            Ok(outcomes) => {
                for outcome in &outcomes {
                    outcome.say();
                    line("reload", json!(outcome));
                }
                let applied = outcomes.iter().filter(|outcome| matches!(outcome.fate, Fate::Applied { .. })).count();
                let waiting = outcomes.len() - applied;
                tracing::info!(target: "ringway::setup", %file, applied, needs_restart = waiting, "reloaded");
                line("summary", json!({ "file": self.file, "applied": applied, "needs_restart": waiting }));
            }
            Err(error) => {
                let (what, why, mend) = (error.what(), error.why(), error.remedy());
                let (row, column) = error.place().map_or((None, None), |place| (Some(place.line), Some(place.column)));
                // Everything is checked before the first worker is asked, so only one that hangs can leave the others ahead of it.
                let said = if error.exit_code() == 1 { "reloaded in part" } else { "not reloaded, nothing has changed" };
                tracing::error!(target: "ringway::setup", %file, line = row, column, what, why, mend, "{said}");
                let mut body =
                    json!({ "what": what, "why": why, "mend": mend, "exit_code": error.exit_code(), "file": self.file });
                if let Some(place) = error.place() {
                    body["line"] = place.line.into();
                    body["column"] = place.column.into();
                }
                line("error", body);
            }
        }
        answer
    }

    fn read_again(&self) -> Result<Vec<Outcome>, SetupError> {
        let (changer, drain) = self
            .changer
            .get()
            .ok_or_else(|| SetupError::environment("cannot read the configuration again", "the server is still starting"))?;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let (cli, new) = config::read(&self.arguments, Some(&self.file))?;
        let Command::Serve(args) = &cli.command else {
            return Err(SetupError::usage("cannot read the configuration again", "it is no server's"));
        };
        // All that is checked at a start and does not need the machine.
        super::check(args)?;
        let settings = running.settings.changed_to(&args.engine.settings()?)?;
        let outcomes: Vec<(Outcome, &Entry)> =
            running.effective.differences(&new).map(|(old, new)| (Outcome::of(old, new), new)).collect();
        // Refused with nothing changed when there are too many prefixes.
        changer.change(&args.admission.applied_to(Launch::new().settings(settings.clone())))?;
        drain.set(args.admission.longest_drain());
        if outcomes.iter().any(|(outcome, _)| outcome.key == "interval") {
            changer.watch_every(args.interval.unwrap_or(Duration::MAX))?;
        }
        if outcomes.iter().any(|(outcome, _)| outcome.key == "log") {
            log::change(cli.log.as_deref(), Talk::Server)?;
        }
        let mut effective = running.effective.clone();
        for (outcome, new) in &outcomes {
            if matches!(outcome.fate, Fate::Applied { .. }) {
                effective.adopt(new);
            }
        }
        let outcomes = outcomes.into_iter().map(|(outcome, _)| outcome).collect();
        *running = Running { effective, settings };
        Ok(outcomes)
    }
}

impl Outcome {
    fn of(old: &Entry, new: &Entry) -> Self {
        Self { key: new.name.clone(), old: old.values.clone(), new: new.values.clone(), fate: Fate::of(&new.name) }
    }

    /// The line of the log.
    fn say(&self) {
        let (key, old, new) = (&self.key, self.old.join(","), self.new.join(","));
        match self.fate {
            Fate::Applied { to } => tracing::info!(target: "ringway::setup", key, old, new, to, "applied"),
            Fate::NeedsRestart { why } => tracing::warn!(target: "ringway::setup", key, old, new, why, "needs a restart"),
        }
    }
}

impl Fate {
    /// Of a key. One that is not known here waits for a restart.
    fn of(key: &str) -> Self {
        if let Some(setting) = KEYS.iter().find(|setting| setting.name == key) {
            return match setting.when() {
                When::Now => Self::Applied { to: "everything" },
                When::NewConnections => Self::Applied { to: "new connections" },
                When::Restart(why) => Self::NeedsRestart { why },
            };
        }
        match key {
            "allow" | "deny" => Self::Applied { to: "new connections" },
            "drain" | "interval" | "log" => Self::Applied { to: "everything" },
            _ => {
                Self::NeedsRestart { why: RESTART.iter().find(|(keys, _)| keys.contains(&key)).map_or(AT_START, |(_, why)| why) }
            }
        }
    }
}

/// Why options wait for a restart.
const RESTART: &[(&[&str], &str)] = &[
    (
        &["interface", "interface.addresses", "claim", "gateway", "route", "accept_ra"],
        "what is claimed stands in the XDP program, which is made at the start",
    ),
    (&["mode", "zerocopy", "queues", "partial"], "the sockets are bound to their queues at the start"),
    (&["cores"], "a worker keeps to its core, near the memory it has from the start"),
    (&["idle"], "the report at the end names it as a condition of the whole run"),
    (&["services"], "services are opened at the start"),
    (&["seccomp"], "what a worker gave up it cannot have again"),
    (&["dump", "dump_on"], "who writes dumps is told of alarms from the start"),
    (&["metrics"], "the socket of scrapes is opened at the start"),
];
const AT_START: &str = "it is read at the start";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_change_says_why() {
        let fate = |key: &str| serde_json::to_string(&Fate::of(key)).unwrap();
        assert_eq!(fate("deny"), r#"{"outcome":"applied","to":"new connections"}"#);
        assert_eq!(fate("tcp.msl"), r#"{"outcome":"applied","to":"everything"}"#);
        assert!(fate("claim").contains("XDP program") && fate("xsk.frames").contains("shared with the kernel"));
        assert_eq!(Fate::of("some.day"), Fate::NeedsRestart { why: AT_START });
    }
}
