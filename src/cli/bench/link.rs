//! How the two interfaces are set while a cell runs: MTU, offloads, and the kernel's addresses.
//!
//! Called by [`super::cell`] before its children start. MTU and offloads stay until another cell wants others, and are put back in the end; the
//! addresses go with their cell. Errors are the operator's: `ip` or `ethtool` is missing or refuses.

use std::process::{Command, Stdio};

use ringway::error::SetupError;

use super::rows::{BARE, Cell, Link};
use crate::cli::ends::Ends;
use crate::cli::kernel_address::KernelAddress;

/// The state of both interfaces.
#[derive(Debug)]
pub(super) struct Links<'a> {
    ends: &'a Ends,
    now: Option<Link>,
}

impl<'a> Links<'a> {
    /// Of interfaces that nobody has set yet.
    pub(super) const fn new(ends: &'a Ends) -> Self {
        Self { ends, now: None }
    }

    /// Sets both interfaces for a cell; the addresses are the kernel's until what is returned goes.
    ///
    /// # Errors
    /// `ip` or `ethtool` refuses.
    pub(super) fn set(&mut self, cell: &Cell) -> Result<Vec<KernelAddress>, SetupError> {
        self.change(cell.link)?;
        let ends = self.ends;
        let mut addresses = Vec::new();
        if cell.server.is_kernel() {
            addresses.push(KernelAddress::add(&ends.server_netns, &ends.server_if, ends.server_address)?);
        }
        if cell.client.is_kernel() {
            addresses.push(KernelAddress::add(&ends.client_netns, &ends.client_if, ends.client_address)?);
        }
        Ok(addresses)
    }

    /// Sets both interfaces as AF_XDP has them, with no address of the kernel's.
    ///
    /// # Errors
    /// As [`Links::set`].
    pub(super) fn bare(&mut self) -> Result<(), SetupError> {
        self.change(BARE)
    }

    fn change(&mut self, wanted: Link) -> Result<(), SetupError> {
        if self.now != Some(wanted) {
            // Until both ends are as they should be, nothing is known.
            let before = self.now.take();
            for line in set_up(self.ends, wanted, before) {
                run(&line)?;
            }
            self.now = Some(wanted);
        }
        Ok(())
    }
}

impl Drop for Links<'_> {
    fn drop(&mut self) {
        if self.now.is_some_and(|now| now != BARE) {
            for line in set_up(self.ends, BARE, self.now) {
                if let Err(error) = run(&line) {
                    tracing::warn!("{error}");
                }
            }
        }
    }
}

/// What a cell needs of the interfaces, as command lines; those that would change nothing are left out.
pub(super) fn set_up(ends: &Ends, wanted: Link, now: Option<Link>) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for (netns, interface) in [(&ends.server_netns, &ends.server_if), (&ends.client_netns, &ends.client_if)] {
        if now.is_none_or(|now| now.mtu != wanted.mtu) {
            let mtu = wanted.mtu.to_string();
            lines.push(["ip", "-n", netns, "link", "set", interface, "mtu", &mtu].map(str::to_owned).to_vec());
        }
        if now.is_none_or(|now| now.offloads != wanted.offloads) {
            let mut line = ["ip", "netns", "exec", netns, "ethtool", "-K", interface].map(str::to_owned).to_vec();
            for offload in ["tx", "tso", "gso"] {
                line.extend([offload.to_owned(), if wanted.offloads { "on" } else { "off" }.to_owned()]);
            }
            lines.push(line);
        }
    }
    lines
}

/// The lines that a dry run shows for a cell.
pub(super) fn before(ends: &Ends, cell: &Cell) -> Vec<String> {
    let mut lines: Vec<String> = set_up(ends, cell.link, None).iter().map(|line| crate::cli::child::shell(line)).collect();
    if cell.server.is_kernel() {
        lines.push(KernelAddress::line(&ends.server_netns, &ends.server_if, ends.server_address));
    }
    if cell.client.is_kernel() {
        lines.push(KernelAddress::line(&ends.client_netns, &ends.client_if, ends.client_address));
    }
    lines
}

fn run(line: &[String]) -> Result<(), SetupError> {
    let Some((program, rest)) = line.split_first() else { return Ok(()) };
    let shown = crate::cli::child::shell(line);
    let what = || format!("cannot run {shown}");
    let output = Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| SetupError::environment(what(), error.to_string()).mend("sudo apt-get install iproute2 ethtool"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(SetupError::environment(what(), String::from_utf8_lossy(&output.stderr).trim()))
}
