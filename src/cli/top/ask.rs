//! Asks a running process for a sample, and for the records of a flow.
//!
//! A sample takes two questions: what the workers have counted, and how far the connections have come that are not at rest. Called by the loops of [`super`]; waits
//! for the answers. Errors are the operator's.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use ringway::ladder::Exchange;
use ringway::ladder::capture::{Choice, Found};
use ringway::show::{FOLDER, Request, What};
use serde_json::Value;

use super::args::TopArgs;
use super::flows::Row;
use super::sample::{Reading, Sample, Sampler};
use crate::cli::failure::Failure;
use crate::cli::ladder;
use crate::cli::process::Process;

/// Asks one process, again and again.
#[derive(Debug)]
pub(super) struct Asker {
    process: Process,
    /// The most connections that each worker is asked about.
    flows: u64,
    began: Instant,
    sampler: Sampler,
    /// What it is called: `pid 4711`, or the path of its socket.
    pub(super) name: String,
}

impl Asker {
    /// Finds the process, and asks for the first time.
    pub(super) fn begin(args: &TopArgs) -> Result<(Self, Sample), Failure> {
        // The one that is found now is the one that is asked from now on.
        let (path, _) = args.process.connect()?;
        let name = name_of(&path);
        let process = Process { pid: None, socket: Some(path) };
        let mut asker = Self { process, flows: args.flows, began: Instant::now(), sampler: Sampler::default(), name };
        let first = asker.ask()?;
        Ok((asker, first))
    }

    /// The next sample.
    ///
    /// # Errors
    /// The process has ended, or says what cannot be understood.
    pub(super) fn sample(&mut self) -> Result<Sample, Failure> {
        self.ask().map_err(|failure| Failure::run(format!("cannot look at {} any longer", self.name), failure.why()))
    }

    fn ask(&mut self) -> Result<Sample, Failure> {
        let at = self.began.elapsed();
        let mut readings: Vec<Reading> = Vec::new();
        self.each(&Request { brief: !self.sampler.wants_states(at), ..Request::new(What::Figures) }, |row| readings.push(row))?;
        let mut rows: Vec<Row> = Vec::new();
        let request = Request { limit: Some(self.flows), from: self.sampler.places(), ..Request::new(What::Awake) };
        let summary = self.each(&request, |row| rows.push(row))?;
        let next: Vec<_> = summary["next"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        self.sampler.take_flows(rows, &next);
        Ok(self.sampler.next(readings, at))
    }

    /// What the recorder holds of a flow: each connection between these two ends.
    pub(super) fn ladder(&self, local: SocketAddr, remote: SocketAddr) -> Result<Vec<Exchange>, Failure> {
        let request = Request { address: Some(remote.ip()), port: Some(remote.port()), ..Request::new(What::Records) };
        let mut lines = Vec::new();
        self.process.ask(&request, |line| lines.push(line.to_owned()))?;
        let found = Found::of_records(lines.iter().filter_map(|line| ladder::record(line)), Choice::Ends(local, remote));
        Ok(found.flows.into_iter().map(|flow| flow.exchange).collect())
    }

    /// Hands each row over, and gives the summary.
    fn each<T: serde::de::DeserializeOwned>(&self, request: &Request, mut take: impl FnMut(T)) -> Result<Value, Failure> {
        let mut refused = None;
        let summary = self.process.ask(request, |line| match serde_json::from_str(line) {
            Ok(row) => take(row),
            Err(error) => refused = Some(error),
        })?;
        match refused {
            None => Ok(summary),
            Some(error) => Err(Failure::run("cannot understand the process", error)),
        }
    }
}

/// A process is called by the name of its socket.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let is_usual = path.parent() == Some(Path::new(FOLDER)) && stem.bytes().all(|byte| byte.is_ascii_digit());
    if is_usual { format!("pid {stem}") } else { path.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_called_by_its_id_where_that_is_known() {
        assert_eq!(name_of(Path::new("/run/ringway/4711.sock")), "pid 4711");
        assert_eq!(name_of(Path::new("/tmp/one.sock")), "/tmp/one.sock");
        assert_eq!(name_of(Path::new("/run/ringway/web.sock")), "/run/ringway/web.sock");
    }
}
