//! What a comparison comes to: one report of all rows, as text, as events, as files.
//!
//! Called by [`super`] after each run of a row and at the end. The figures are the children's; nothing is measured here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use ringway::error::SetupError;
use ringway::ladder::section::Pair;
use ringway::metrics::conditions::{Conditions, Interface, Side};
use ringway::metrics::report::{Entry, Report};
use ringway::metrics::row::Row;
use ringway::metrics::words;
use ringway::rss::Summary;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::args::CompareArgs;
use crate::cli::exchange;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// The report that grows with each run of a row.
pub(super) struct Growing {
    report: Report,
    start: SystemTime,
}

impl Growing {
    pub(super) fn new() -> Self {
        Self { report: Report { conditions: Conditions::of_this_machine(), entries: Vec::new() }, start: SystemTime::now() }
    }

    /// Adds a run: its row, and the distributions that the client left in `folder`.
    ///
    /// # Errors
    /// There is no log in the folder, or it cannot be read.
    pub(super) fn add(&mut self, name: &str, row: Row, folder: &Path) -> Result<(), Failure> {
        let failed = |why: String| Failure::run(format!("cannot read the distributions of {name}"), why);
        let entries = fs::read_dir(folder).map_err(|error| failed(error.to_string()))?;
        let log =
            entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|ending| ending == "hlog"));
        let log = log.ok_or_else(|| failed("the client wrote no .hlog".to_owned()))?;
        let log = fs::read(&log).map_err(|error| failed(error.to_string()))?;
        self.report.add(Entry::of_log(row, &log).map_err(failed)?);
        Ok(())
    }

    /// Notes how a side said it runs, from its `ready`; the first with AF_XDP sockets stands for the side.
    pub(super) fn side(&mut self, role: &str, ready: &Value) {
        let sides = &mut self.report.conditions.sides;
        if ready["xdp"].is_null() || ready["copy"] == "none" || sides.iter().any(|side| side.role == role) {
            return;
        }
        sides.push(side(role, ready));
        // The order of the two does not depend on which row ran first.
        sides.sort_by(|a, b| a.role.cmp(&b.role));
    }

    /// Prints and writes the report; `pair` is what its page draws, or why it draws none.
    ///
    /// # Errors
    /// The folder of `--out` cannot be written.
    pub(super) fn finish(
        mut self,
        args: &CompareArgs,
        rounds: u32,
        pair: &Result<Pair, String>,
        output: Output,
    ) -> Result<(), Failure> {
        self.report
            .conditions
            .notes
            .push(format!("{rounds} interleaved rounds of every row; kernel sockets on the same interfaces"));
        for entry in &self.report.entries {
            output.event("row", &entry.row);
        }
        if let Some(folder) = &args.out {
            self.report
                .write(folder, self.start, &exchange::section(pair))
                .map_err(|error| SetupError::environment(format!("cannot write to {}", folder.display()), error.to_string()))?;
        }
        let claims: Vec<String> = words::claims(&self.report.entries).into_iter().map(|claim| claim.text).collect();
        output.event(
            "summary",
            &json!({
                "conditions": self.report.conditions,
                "words": claims,
                "exchange": exchange::costs(pair),
                "rounds": rounds,
                "out": args.out,
            }),
        );
        output.text(self.report.text().trim_end());
        if let Some(folder) = &args.out {
            output.text(format!("\nwritten to {}: result.json, report.html, *.hlog", folder.display()));
        }
        Ok(())
    }
}

fn side(role: &str, ready: &Value) -> Side {
    let text = |field: &str| ready[field].as_str().map(str::to_owned);
    let number = |field: &str| ready[field].as_u64().and_then(|n| u32::try_from(n).ok());
    let interface = Interface {
        name: text("interface").unwrap_or_default(),
        driver: text("driver"),
        xdp: text("xdp"),
        copy: text("copy"),
        queues: text("queues"),
        rss: Summary::deserialize(&ready["rss"]).ok(),
        mtu: number("mtu"),
        offloads: offloads(&ready["offloads"]),
        ..Interface::default()
    };
    Side {
        role: role.to_owned(),
        cores: number("core").into_iter().collect(),
        idle: Some("spin".to_owned()),
        interfaces: vec![interface],
    }
}

fn offloads(ready: &Value) -> BTreeMap<String, bool> {
    ready.as_object().into_iter().flatten().filter_map(|(name, on)| Some((name.clone(), on.as_bool()?))).collect()
}
