//! What of a configuration can change while an engine runs.
//!
//! Made by `launch` on a thread of its own, taken by the engine between two packets, as the answer to a question ([`super::inquiry`]). What costs time, the
//! tables of the limits, is made beforehand. Nothing on the packet's path looks whether something has changed: it reads the configuration it always read.
//! Nothing here panics.

use std::sync::Arc;

use super::admission::Admission;
use super::config::Config;
use super::core::Core;
use crate::demux::admission::{Limits, Prefixes};
use crate::device::Device;
use crate::tcp;

/// Another configuration, as far as it can be one.
#[derive(Debug)]
pub struct Change {
    config: Config,
    lists: Option<Arc<Prefixes>>,
    limits: Option<Box<Limits>>,
}

impl Change {
    /// Of `config` TCP's settings but for the size of tables and memory, `drain` and `redirects`; its secrets must be the engine's. Nobody is kept out without `lists`.
    pub fn new(config: Config, lists: Option<Arc<Prefixes>>) -> Self {
        Self { limits: Admission::limits_of(&config), config, lists }
    }
}

impl<D: Device> Core<D> {
    /// Goes on with another configuration. Connections at rest are written down and read back by the one that the engine began with, which
    /// [`super::flows`] keeps: what a connection took from it at its birth stays with it.
    pub(super) fn change(&mut self, to: Change) {
        let Change { config, lists, limits } = to;
        let Config { tcp, drain, redirects, .. } = config;
        // Tables and memory have their size.
        let tcp::Config { connections, memory, .. } = self.config.tcp;
        self.config = Config { tcp: tcp::Config { connections, memory, ..tcp }, drain, redirects, ..self.config };
        self.admission.change(lists, limits);
    }
}
