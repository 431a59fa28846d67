//! What is read of an interface, and what is tried on it.
//!
//! By ioctl and netlink in the network namespace of the calling thread; from /sys only what it shows of this very interface. What cannot be read is absent.

use std::fs;
use std::path::{Path, PathBuf};

use super::attempt::{Attempt, NEEDED, Reason, Trying};
use super::features::Features;
use super::finding::Finding;
use super::link;
use super::machine::{Machine, line, within_limit};
use super::peer::Peer;
use crate::error::SetupError;
use crate::rss::Told;
use crate::settings::number;
use crate::steer::attach::{Foreign, foreign};
use crate::xsk::nic::{Nic, RingSizes, interface_names};

/// An interface as it was when it was asked.
#[derive(Clone, Debug)]
pub struct Interface {
    pub(super) nic: Nic,
    /// Receive queues there could be.
    pub(super) most_queues: Option<u32>,
    pub(super) rings: Option<RingSizes>,
    /// What kinds of XDP the driver says it has.
    pub(super) features: Option<Features>,
    /// How packets are spread over the queues, as the driver tells it.
    pub(super) told: Option<Told>,
    /// The XDP program that is attached.
    pub(super) program: Option<Foreign>,
    /// The other end, of a veth.
    pub(super) peer: Option<Peer>,
    /// The interrupts of its device.
    pub(super) interrupts: Vec<Interrupt>,
    /// The NUMA node of its device.
    pub(super) node: Option<u32>,
    /// `napi_defer_hard_irqs`, and `gro_flush_timeout` in nanoseconds.
    pub(super) deferred: Option<(u64, u64)>,
    pub(super) attempt: Attempt,
}

/// An interrupt, and where it comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interrupt {
    pub(super) number: u32,
    /// As the driver called it: `eth0-TxRx-3`.
    pub(super) name: String,
    pub(super) cores: Vec<u32>,
}

impl Interface {
    /// Reads the interface of this name, and tries on it what `trying` allows: unless that is [`Trying::Never`] the XDP program is attached to it for a
    /// moment and sockets are bound to its queues, on drivers of hardware only with [`Trying::Always`], which interrupts its traffic.
    ///
    /// # Errors
    /// There is none of this name (the nearest are said), or the kernel does not answer.
    pub fn read(name: &str, machine: &Machine, trying: Trying) -> Result<Self, SetupError> {
        let nic = Nic::find(name)?;
        let peer = if nic.driver() == "veth" { Peer::find(nic.index()) } else { None };
        let program = foreign(nic.name(), nic.index());
        let attempt = match hindrance(&nic, peer.as_ref(), program.as_ref(), machine, trying) {
            Some(reason) => Attempt::Not(reason),
            None => within_limit(|| Attempt::make(&nic)),
        };
        let folder = folder(&nic);
        let device = folder.as_ref().map(|folder| folder.join("device")).filter(|device| device.exists());
        let file = |folder: &Option<PathBuf>, name: &str| line(&folder.as_ref()?.join(name).to_string_lossy());
        let number = |name: &str| file(&folder, name)?.parse().ok();
        Ok(Self {
            most_queues: nic.most_receive_queues(),
            rings: nic.rings(),
            features: Features::of(nic.index()),
            told: nic.rss(),
            program,
            peer,
            interrupts: device.as_ref().map(|device| interrupts(device)).unwrap_or_default(),
            // -1 where there is but one.
            node: file(&device, "numa_node").and_then(|node| node.parse().ok()),
            deferred: number("napi_defer_hard_irqs").zip(number("gro_flush_timeout")),
            attempt,
            nic,
        })
    }

    /// A line for every interface of this network namespace. Nothing is tried.
    pub fn overview() -> Vec<Finding> {
        let line = |nic: &Nic| link::overview(nic, foreign(nic.name(), nic.index()).as_ref()).on(nic.name());
        interface_names().iter().filter_map(|name| Nic::find(name).ok()).map(|nic| line(&nic)).collect()
    }

    /// Something was attached and bound.
    pub(super) const fn was_tried(&self) -> bool {
        matches!(self.attempt, Attempt::Made(_))
    }

    /// XDP would run behind the kernel's GRO, as far as that was tried.
    pub(super) fn takes_skb_mode(&self) -> bool {
        let Attempt::Made(made) = &self.attempt else { return false };
        made.program.as_ref().is_ok_and(|trial| trial.native.is_err() && matches!(trial.skb, Some(Ok(()))))
    }
}

/// Why nothing can or may be tried.
fn hindrance(nic: &Nic, peer: Option<&Peer>, program: Option<&Foreign>, machine: &Machine, trying: Trying) -> Option<Reason> {
    if let Some(reason) = trying.refuses(nic.driver()) {
        return Some(reason);
    }
    if let Some(missing) = machine.lacks(&NEEDED) {
        return Some(Reason::Rights(missing));
    }
    let too_few = peer.and_then(|peer| peer.nic.as_ref()).is_some_and(|peer| peer.transmit_queues() > nic.receive_queues());
    match () {
        () if program.is_some() => Some(Reason::Hindered("an XDP program is attached, and is not disturbed")),
        () if !nic.is_up() => Some(Reason::Hindered("the interface is down")),
        () if !nic.has_carrier() => Some(Reason::Hindered("the interface has no carrier")),
        () if too_few => Some(Reason::Hindered("there are too few queues")),
        () => None,
    }
}

/// The interface's folder under /sys, if /sys shows this interface and not one of the same name in another namespace.
fn folder(nic: &Nic) -> Option<PathBuf> {
    let folder = Path::new("/sys/class/net").join(nic.name());
    let shown: u32 = line(&folder.join("ifindex").to_string_lossy())?.parse().ok()?;
    (shown == nic.index()).then_some(folder)
}

/// The interrupts of a device, or of the one it sits on: virtio's are those of its PCI function.
fn interrupts(device: &Path) -> Vec<Interrupt> {
    let device = fs::canonicalize(device).unwrap_or_else(|_| device.to_owned());
    let folders = [Some(device.as_path()), device.parent()].into_iter().flatten().map(|device| device.join("msi_irqs"));
    let numbers = folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let table = fs::read_to_string("/proc/interrupts").unwrap_or_default();
    let read = |number: u32| {
        let cores = ["effective_affinity_list", "smp_affinity_list"];
        let cores = cores.iter().find_map(|file| line(&format!("/proc/irq/{number}/{file}")))?;
        Some(Interrupt { number, name: name_of(number, &table)?, cores: number::list(&cores).ok()? })
    };
    let mut found: Vec<_> = numbers.filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?)).collect();
    found.sort_by_key(|interrupt| interrupt.number);
    found
}

/// The last word of an interrupt's line in /proc/interrupts.
fn name_of(number: u32, table: &str) -> Option<String> {
    let lines = table.lines().filter_map(|line| line.split_once(':'));
    let mut lines = lines.filter(|(first, _)| first.trim().parse() == Ok(number));
    lines.next().and_then(|(_, rest)| rest.split_whitespace().last()).map(str::to_owned)
}

#[cfg(test)]
impl Interface {
    /// An interface of which only this is known.
    pub(super) fn recorded(nic: Nic) -> Self {
        Self {
            nic,
            most_queues: None,
            rings: None,
            features: None,
            told: None,
            program: None,
            peer: None,
            interrupts: Vec::new(),
            node: None,
            deferred: Some((0, 0)),
            attempt: Attempt::Not(Reason::Disturbing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_is_named_by_the_last_word_of_its_line() {
        let table =
            " CPU0 CPU1\n 24:  1 0 IO-APIC 5-edge ACPI:Ged\n 38: 0 2249 PCI-MSIX-0000:00:03.0 1-edge virtio2-input.0\nNMI: 0\n";
        assert_eq!(name_of(38, table).as_deref(), Some("virtio2-input.0"));
        assert_eq!(name_of(3, table), None);
    }
}
