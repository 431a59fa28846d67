//! Addresses that the kernel owns for the time of a row.
//!
//! Held by a run of [`super::compare`] or [`super::bench`]. Ringway's rows need addresses that the kernel does not own, the kernel's rows the same addresses in the kernel's hands. What was
//! added is taken away on drop, so also after a failure or a signal. An address that stands there already was not ours to add.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output, Stdio};

use ringway::error::SetupError;
use ringway::link::interface::Cidr;

/// An address on an interface of a namespace, for as long as this lives.
pub(crate) struct KernelAddress {
    netns: String,
    interface: String,
    address: Cidr,
}

impl KernelAddress {
    /// Gives the address to the interface.
    ///
    /// # Errors
    /// `ip` is not there or refuses.
    pub(crate) fn add(netns: &str, interface: &str, address: Cidr) -> Result<Self, SetupError> {
        let what = || format!("cannot give {address} to the kernel on {interface} in {netns}");
        match ip("add", netns, interface, address) {
            Ok(output) if output.status.success() => {
                Ok(Self { netns: netns.to_owned(), interface: interface.to_owned(), address })
            }
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let error = SetupError::environment(what(), said.trim());
                Err(if stands_already(&said) {
                    error.mend(format!("sudo ip -n {netns} address del {address} dev {interface}"))
                } else {
                    error
                })
            }
            Err(error) => {
                Err(SetupError::environment(what(), format!("ip cannot be run: {error}")).mend("sudo apt-get install iproute2"))
            }
        }
    }

    /// The command line that adds it, for `--dry-run`.
    pub(crate) fn line(netns: &str, interface: &str, address: Cidr) -> String {
        format!("ip -n {netns} address add {address} dev {interface}")
    }
}

/// Runs `ip` to its end.
///
/// It has a group of its own: Ctrl-C must not end it halfway, with an address in place that nobody knows of, or one that nobody takes away.
/// A signal to our group may still meet the child before it has left that group, and so before it is `ip`: then it is started again.
fn ip(verb: &str, netns: &str, interface: &str, address: Cidr) -> io::Result<Output> {
    let mut command = Command::new("ip");
    command.args(["-n", netns, "address", verb, &address.to_string(), "dev", interface]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    for _ in 0..STARTS {
        let output = command.output()?;
        if output.status.signal().is_none() {
            return Ok(output);
        }
    }
    command.output()
}

/// How often a signal may come in the microseconds in which `ip` is started.
const STARTS: usize = 20;

/// Whether `ip` refused because the address is there (EEXIST, in its older and its newer words).
fn stands_already(said: &str) -> bool {
    said.contains("File exists") || said.contains("already assigned")
}

impl Drop for KernelAddress {
    fn drop(&mut self) {
        match ip("del", &self.netns, &self.interface, self.address) {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                tracing::warn!("{} stays on {}: {}", self.address, self.interface, String::from_utf8_lossy(&output.stderr).trim())
            }
            Err(error) => tracing::warn!("{} stays on {}: {error}", self.address, self.interface),
        }
    }
}
