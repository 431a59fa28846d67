//! The other end of a veth pair, in whatever network namespace it lies, as far as it can be seen.
//!
//! Called when an interface is read. A namespace is looked into by a thread of its own that enters it and ends; that takes CAP_SYS_ADMIN, and without it
//! only the namespace's name is known. Reads, and changes nothing.

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
    /// That of the first process.
    First,
    /// One without a name.
    Unknown,
}

impl Peer {
    /// The other end of an interface; `None` when it has none that netlink tells of.
    pub(super) fn find(ifindex: u32) -> Option<Self> {
        let (index, elsewhere) = link_peer_anywhere(ifindex).ok().flatten()?;
        let Some(id) = elsewhere else { return Some(Self { place: Place::Here, nic: Nic::with_index(index).ok() }) };
        let found = namespaces().into_iter().find_map(|(place, path)| {
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
            Place::First => format!("{} in the first namespace", self.name()),
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
            Place::First => format!("sudo nsenter --net={FIRST} {words}"),
            Place::Unknown => format!("sudo ip netns exec NAMESPACE {words}"),
        }
    }
}

/// The network namespace of the first process.
const FIRST: &str = "/proc/1/ns/net";

/// The namespaces that have a name, and the first.
fn namespaces() -> Vec<(Place, PathBuf)> {
    let named = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let named = named.map(|entry| (Place::Named(entry.file_name().to_string_lossy().into_owned()), entry.path()));
    std::iter::once((Place::First, Path::new(FIRST).to_owned())).chain(named).collect()
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
