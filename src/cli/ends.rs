//! The two ends of a measurement: a namespace, an interface and an address each, and the cores they run on.
//!
//! Parsed by clap for [`super::compare`] and [`super::bench`], and checked by them before anything is started. Errors are the operator's.

use std::path::Path;

use clap::Args;
use ringway::error::SetupError;
use ringway::link::interface::Cidr;
use ringway::settings::number;

use super::engine_args::List;
use super::rights;

/// Where server and client run.
#[derive(Args, Clone, Debug)]
pub(crate) struct Ends {
    /// Namespace of the server
    #[arg(long, value_name = "NS")]
    pub(crate) server_netns: String,

    /// Interface of the server
    #[arg(long, value_name = "IF")]
    pub(crate) server_if: String,

    /// Address of the server; the kernel must not own it
    #[arg(long, value_name = "ADDR/PREFIX")]
    pub(crate) server_address: Cidr,

    /// Namespace of the client
    #[arg(long, value_name = "NS")]
    pub(crate) client_netns: String,

    /// Interface of the client
    #[arg(long, value_name = "IF")]
    pub(crate) client_if: String,

    /// Address of the client; the kernel must not own it
    #[arg(long, value_name = "ADDR/PREFIX")]
    pub(crate) client_address: Cidr,

    /// Core of the server and core of the client
    #[arg(long, value_name = "LIST", default_value = "0,1")]
    pub(crate) cores: List,
}

impl Ends {
    /// Looks at what can be seen in the arguments alone; `command` is whose they are.
    ///
    /// # Errors
    /// Other than two cores, one address at both ends, a word that names no namespace.
    pub(crate) fn check(&self, command: &str) -> Result<(), SetupError> {
        if self.cores.0.len() != 2 {
            return Err(SetupError::usage(
                format!("cannot pin to the cores {}", number::show_list(&self.cores.0)),
                format!("{command} takes two: the server's and the client's"),
            )
            .mend("--cores 0,1"));
        }
        if self.server_address.address == self.client_address.address {
            return Err(SetupError::usage(
                format!("cannot use {} at both ends", self.server_address.address),
                "server and client need addresses of their own on one network",
            ));
        }
        for netns in [&self.server_netns, &self.client_netns] {
            if netns.is_empty() || netns.starts_with(['-', '.']) || netns.contains('/') {
                return Err(SetupError::usage(
                    format!("cannot use the namespace '{netns}'"),
                    "that is not the name of a namespace",
                ));
            }
        }
        Ok(())
    }

    /// Looks for the namespaces, and whether they may be entered; `script` is what makes them.
    ///
    /// # Errors
    /// One is not there, or CAP_SYS_ADMIN is missing.
    pub(crate) fn check_namespaces(&self, script: &str) -> Result<(), SetupError> {
        for netns in [&self.server_netns, &self.client_netns] {
            if !Path::new("/run/netns").join(netns).exists() {
                return Err(SetupError::environment(
                    format!("cannot run in the namespace {netns}"),
                    "there is no such network namespace",
                )
                .mend(format!("sudo ip netns add {netns}, or {script}, which makes all that is needed")));
            }
        }
        if !rights::pass_on_sys_admin() {
            return Err(SetupError::environment(
                "cannot run in other network namespaces",
                "the capability CAP_SYS_ADMIN is missing, with which `ip netns exec` enters one; file capabilities would not pass to it",
            )
            .mend(format!("sudo {script}")));
        }
        Ok(())
    }

    /// Core of the server (0) or of the client (1).
    pub(crate) fn core(&self, end: usize) -> u32 {
        self.cores.0.get(end).copied().unwrap_or_default()
    }
}
