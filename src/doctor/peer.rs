//! The other end of a veth pair, in whatever network namespace it lies, as far as it can be seen.
//!
//! Called when an interface is read. The namespace is found by the id that netlink has for it, among those with a name and those of the processes. It is looked into by a
//! thread of its own that enters it and ends; that takes CAP_SYS_ADMIN, and without it only the namespace's name is known. Reads, and changes nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::finding::Fix;
use crate::steer::addresses::{link_peer_anywhere, namespace_id};
use crate::xsk::nic::Nic;

/// The other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// Where it is.
    pub(super) place: Place,
    /// What it is; `None` when nobody may look into its namespace.
    pub(super) nic: Option<Nic>,
}

/// A network namespace, seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// This one.
    Here,
    /// One that `ip netns` knows.
    Named(String),
    /// One that this file leads to: of a container, or of a process.
    File(PathBuf),
    /// One that is not found.
    Unknown,
}

impl Peer {
    /// The other end of an interface; `None` when it has none that netlink tells of.
    pub(super) fn find(ifindex: u32) -> Option<Self> {
        let (index, elsewhere) = link_peer_anywhere(ifindex).ok().flatten()?;
        let Some(id) = elsewhere else { return Some(Self { place: Place::Here, nic: Nic::with_index(index).ok() }) };
        let found = namespaces().find_map(|(place, path)| {
            let file = File::open(path).ok()?;
            (namespace_id(file.as_fd()).ok()? == Some(id)).then_some((place, file))
        });
        let Some((place, file)) = found else { return Some(Self { place: Place::Unknown, nic: None }) };
        Some(Self { place, nic: look_into(&file, index) })
    }

    /// Its name, or the word that stands for it.
    pub(super) fn name(&self) -> &str {
        self.nic.as_ref().map_or("PEER", Nic::name)
    }

    /// Name and place, in words.
    pub(super) fn describe(&self) -> String {
        match &self.place {
            Place::Here => self.name().to_owned(),
            Place::Named(namespace) => format!("{} in namespace {namespace}", self.name()),
            Place::File(file) => format!("{} in the namespace {}", self.name(), file.display()),
            Place::Unknown => "its peer in another namespace".to_owned(),
        }
    }

    /// The command that does there what `fix` does here.
    pub(super) fn command(&self, fix: &Fix) -> String {
        let line = fix.to_string();
        let words = line.trim_start_matches("sudo ");
        match &self.place {
            Place::Here => line,
            Place::Named(namespace) => format!("sudo ip netns exec {namespace} {words}"),
            Place::File(file) => format!("sudo nsenter --net={} {words}", file.display()),
            Place::Unknown => format!("sudo ip netns exec NAMESPACE {words}"),
        }
    }
}

/// The namespaces that can be seen, those first that have a name: of `ip netns`, of Docker, and of processes, the first of each.
fn namespaces() -> impl Iterator<Item = (Place, PathBuf)> {
    let files = |folder: &str| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let named = files("/run/netns").map(move |path| (Place::Named(name(&path)), path));
    let mut seen = BTreeSet::new();
    let mut processes: Vec<u32> = files("/proc").filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect();
    processes.sort_unstable();
    let of_processes = processes.into_iter().map(|process| PathBuf::from(format!("/proc/{process}/ns/net")));
    // The link names the namespace: `net:[4026531840]`.
    let of_processes = of_processes.filter(move |path| fs::read_link(path).is_ok_and(|namespace| seen.insert(namespace)));
    named.chain(files("/run/docker/netns").chain(of_processes).map(|path| (Place::File(path.clone()), path)))
}

/// The interface of this number in a namespace.
fn look_into(namespace: &File, index: u32) -> Option<Nic> {
    let look = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).ok()?;
        Nic::with_index(index).ok()
    };
    // The thread takes the namespace with it when it ends.
    thread::scope(|scope| scope.spawn(look).join()).ok().flatten()
}
