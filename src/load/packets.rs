//! Packets of an interface, as the kernel counts them.

use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::read;

/// Packets received and sent by an interface since it exists; `None` when there is no such interface.
pub fn of_interface(name: &str) -> Option<u64> {
    in_folder(Path::new("/sys/class/net"), name)
}

fn in_folder(folder: &Path, name: &str) -> Option<u64> {
    // A name is one path component: nothing else may be read through it.
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return None;
    }
    let statistics = folder.join(name).join("statistics");
    Some(count(&statistics.join("rx_packets"))?.wrapping_add(count(&statistics.join("tx_packets"))?))
}

/// The number in a file. `openat2` is what a confined worker may open one with.
fn count(path: &Path) -> Option<u64> {
    let file = openat2(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::empty()).ok()?;
    let mut text = [0; DIGITS];
    let len = read(&file, &mut text).ok()?;
    std::str::from_utf8(text.get(..len)?).ok()?.trim().parse().ok()
}

/// Bytes of the largest number, with its line's end.
const DIGITS: usize = 24;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn both_directions_are_added() {
        let root = tempfile::tempdir().expect("a folder");
        let statistics = root.path().join("veth0/statistics");
        fs::create_dir_all(&statistics).expect("a folder");
        fs::write(statistics.join("rx_packets"), "40\n").expect("a file");
        assert_eq!(in_folder(root.path(), "veth0"), None, "one direction is not enough");
        fs::write(statistics.join("tx_packets"), "2\n").expect("a file");
        assert_eq!(in_folder(root.path(), "veth0"), Some(42));
        for name in ["", "veth1", "../veth0", "."] {
            assert_eq!(in_folder(root.path(), name), None, "{name}");
        }
    }
}
