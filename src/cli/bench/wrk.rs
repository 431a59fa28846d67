//! wrk, the client of HTTP: started in a namespace, and its text read.
//!
//! Used by [`super::cell`]. What wrk prints is for people; [`figures`] takes the rate and the percentiles out of it. Errors are the operator's
//! where it is not installed.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringway::error::SetupError;
use ringway::launch::Signals;
use ringway::metrics::units;

use super::record::Figures;
use crate::cli::child::check_signals;
use crate::cli::failure::Failure;

/// A run of wrk; killed on drop.
pub(super) struct Run(Child);

impl Run {
    /// Starts `line` in the namespace.
    ///
    /// # Errors
    /// `ip` cannot be run.
    pub(super) fn start(netns: &str, line: &[String]) -> Result<Self, Failure> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", netns]).args(line);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.map_err(|error| {
            SetupError::environment("cannot start wrk", format!("ip cannot be run: {error}"))
                .mend("sudo apt-get install iproute2")
        })?;
        Ok(Self(child))
    }

    /// The process id.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end and gives what it printed.
    ///
    /// # Errors
    /// It fails, takes too long, or a signal came.
    pub(super) fn finish(&mut self, limit: Duration, signals: &Signals) -> Result<String, Failure> {
        let deadline = Instant::now() + limit;
        let status = loop {
            check_signals(signals)?;
            match self.0.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) => return Err(Failure::run("wrk does not end", format!("waited {limit:?}"))),
                Err(error) => return Err(Failure::run("cannot wait for wrk", error)),
            }
        };
        // Both fit into a pipe's buffer.
        let read = |stream: Option<&mut dyn std::io::Read>| {
            let mut text = String::new();
            stream.map(|stream| stream.read_to_string(&mut text));
            text
        };
        let said = read(self.0.stdout.as_mut().map(|stream| stream as &mut dyn std::io::Read));
        if status.success() {
            return Ok(said);
        }
        let complaint = read(self.0.stderr.as_mut().map(|stream| stream as &mut dyn std::io::Read));
        let error = SetupError::environment("cannot run wrk", format!("{status} {}", complaint.trim()));
        Err(error.mend("sudo apt-get install wrk").into())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// The figures in what wrk prints with `--latency`; `None` when there are none.
pub(super) fn figures(text: &str) -> Option<Figures> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = text.lines().map(words).collect();
    let behind = |word: &str| lines.iter().find(|line| line.first().is_some_and(|first| first == word))?.get(1).cloned();
    let latency = |word: &str| behind(word).and_then(|value| units::parse_duration_ns(&value));
    let rate_per_s = behind("Requests/sec:")?.parse().ok().filter(|&rate| rate > 0.0)?;
    let received = lines.iter().find(|line| line.get(1).is_some_and(|word| word == "requests"))?.first()?.parse().ok()?;
    let mut figures = Figures {
        rate_per_s,
        received,
        p50_ns: latency("50%"),
        p90_ns: latency("90%"),
        p99_ns: latency("99%"),
        ..Figures::default()
    };
    for line in text.lines().map(str::trim) {
        // "Socket errors: connect 0, read 3, write 0, timeout 0" and "Non-2xx or 3xx responses: 5".
        if let Some(errors) = line.strip_prefix("Socket errors: ") {
            let counts = errors.split(", ").filter_map(|one| one.split_once(' '));
            figures.lost += counts.filter_map(|(_, count)| count.parse::<u64>().ok()).sum::<u64>();
        } else if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses: ").and_then(|count| count.parse().ok()) {
            figures.drops.insert("client.refused_by_http".to_owned(), count);
        }
    }
    Some(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_wrk_is_read() {
        let text = "Running 2s test @ http://10.0.0.2:80/page.txt\n  1 threads and 64 connections\n  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    \
            Latency   371.85us  100.11us   2.02ms   88.33%\n    Req/Sec   160.66k     5.91k  170.40k    66.67%\n  Latency Distribution\n     50%  354.00us\n     \
            75%  400.00us\n     90%  447.00us\n     99%    1.25ms\n  319675 requests in 2.00s, 41.16MB read\n  \
            Socket errors: connect 0, read 3, write 1, timeout 0\nRequests/sec: 159512.41\nTransfer/sec:     20.54MB\n";
        let figures = figures(text).expect("figures");
        assert_eq!((figures.rate_per_s, figures.received, figures.lost), (159_512.41, 319_675, 4));
        assert_eq!((figures.p50_ns, figures.p99_ns), (Some(354_000.0), Some(1_250_000.0)));
        for nothing in ["", "unable to connect to 10.0.0.2:80 Connection refused", "Requests/sec: 0.00\n"] {
            assert_eq!(super::figures(nothing), None);
        }
    }
}
