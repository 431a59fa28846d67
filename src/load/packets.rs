//! Packets of an interface, as the kernel counts them.

use std::fs;
use std::path::Path;

/// Packets received and sent by an interface since it exists; `None` when there is no such interface.
pub fn of_interface(name: &str) -> Option<u64> {
    in_folder(Path::new("/sys/class/net"), name)
}

fn in_folder(folder: &Path, name: &str) -> Option<u64> {
    // A name is one path component: nothing else may be read through it.
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return None;
    }
    let read = |file| fs::read_to_string(folder.join(name).join("statistics").join(file)).ok()?.trim().parse::<u64>().ok();
    Some(read("rx_packets")?.wrapping_add(read("tx_packets")?))
}

#[cfg(test)]
mod tests {
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
