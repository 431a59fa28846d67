//! The conditions under which figures were measured: without them a figure says nothing.
//!
//! [`Conditions::of_this_machine`] and [`Interface::of_sysfs`] read what the system tells anybody; what only the device's owner knows
//! (native or skb, copy or zero-copy, offloads) the caller fills in. Nothing here fails: what cannot be read stays unknown, and is
//! printed so.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::rss::Summary;

/// Everything that a reader must know beside the rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Version of Ringway.
    pub ringway: String,
    /// Kernel release and machine, `6.18.0 x86_64`.
    pub kernel: String,
    /// Model of the CPU.
    pub cpu: String,
    /// Processors online.
    pub cpus: u32,
    /// Client and server, or the one side this process was.
    pub sides: Vec<Side>,
    /// Length of TIME-WAIT in seconds, where connections come and go.
    pub time_wait_s: Option<f64>,
    /// Everything the reader should be warned of: a fallback, a queue without a socket, ordinary pages.
    pub notes: Vec<String>,
}

/// One side of a measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// `client` or `server`.
    pub role: String,
    /// Cores its threads run on.
    pub cores: Vec<u32>,
    /// `spin`, `adaptive` or `park`; `None` for kernel sockets.
    pub idle: Option<String>,
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
}

/// An interface and how it is used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Driver, `veth`.
    pub driver: Option<String>,
    /// `native` or `skb`; `None` without XDP.
    pub xdp: Option<String>,
    /// `copy` or `zero-copy`; `None` without AF_XDP.
    pub copy: Option<String>,
    /// Queues served, `0-3`.
    pub queues: Option<String>,
    /// How the NIC spreads packets over its queues; `None` without AF_XDP.
    #[serde(default)]
    pub rss: Option<Summary>,
    /// Receive queues there are.
    pub receive_queues: Option<u32>,
    /// Largest IP packet in bytes.
    pub mtu: Option<u32>,
    /// Offloads and whether they are on, by the kernel's names (`ethtool -k` shows some under older ones).
    pub offloads: BTreeMap<String, bool>,
}

impl Conditions {
    /// What this machine tells of itself.
    pub fn of_this_machine() -> Self {
        let system = rustix::system::uname();
        let kernel = format!("{} {}", system.release().to_string_lossy(), system.machine().to_string_lossy());
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            ringway: env!("CARGO_PKG_VERSION").into(),
            kernel,
            cpu: cpu_model(&cpuinfo).unwrap_or_else(|| "unknown".into()),
            cpus: crate::cpu::online().len() as u32,
            ..Self::default()
        }
    }

    /// The conditions as name and value, in the order a reader wants them.
    pub fn lines(&self) -> Vec<(String, String)> {
        let mut lines = vec![
            ("ringway".into(), self.ringway.clone()),
            ("kernel".into(), self.kernel.clone()),
            ("cpu".into(), format!("{}, {} online", self.cpu, self.cpus)),
        ];
        for side in &self.sides {
            lines.push((side.role.clone(), side.describe()));
        }
        if let Some(seconds) = self.time_wait_s {
            lines.push(("TIME-WAIT".into(), format!("{seconds} s")));
        }
        lines.extend(self.notes.iter().map(|note| ("note".to_owned(), note.clone())));
        lines
    }
}

impl Side {
    fn describe(&self) -> String {
        let mut parts: Vec<String> = self.interfaces.iter().map(Interface::describe).collect();
        if !self.cores.is_empty() {
            let cores: Vec<_> = self.cores.iter().map(u32::to_string).collect();
            parts.push(format!("core {}", cores.join(",")));
        }
        parts.extend(self.idle.as_ref().map(|idle| format!("idle {idle}")));
        if parts.is_empty() { "unknown".into() } else { parts.join(", ") }
    }
}

impl Interface {
    /// What sysfs tells of an interface. The driver is unknown for virtual devices.
    pub fn of_sysfs(name: &str) -> Self {
        Self::in_folder(Path::new("/sys/class/net"), name)
    }

    fn in_folder(folder: &Path, name: &str) -> Self {
        let mut interface = Self { name: name.into(), ..Self::default() };
        // A name is one path component: nothing else may be read through it.
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return interface;
        }
        let folder = folder.join(name);
        interface.mtu = fs::read_to_string(folder.join("mtu")).ok().and_then(|text| text.trim().parse().ok());
        interface.driver = fs::read_link(folder.join("device/driver"))
            .ok()
            .and_then(|target| target.file_name().map(|name| name.to_string_lossy().into_owned()));
        interface.receive_queues = fs::read_dir(folder.join("queues")).ok().map(|entries| {
            entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("rx-")).count() as u32
        });
        interface
    }

    fn describe(&self) -> String {
        let mut parts = vec![self.name.clone()];
        parts.extend(self.driver.as_ref().map(|driver| format!("({driver})")));
        parts.extend(self.xdp.as_ref().map(|mode| format!("xdp={mode}")));
        parts.extend(self.copy.clone());
        match (&self.queues, self.receive_queues) {
            (Some(queues), Some(all)) => parts.push(format!("queues={queues} of {all}")),
            (Some(queues), None) => parts.push(format!("queues={queues}")),
            (None, Some(all)) => parts.push(format!("queues: {all}")),
            (None, None) => {}
        }
        let told = self.rss.as_ref().filter(|rss| rss.queues.is_some());
        parts.extend(told.map(|rss| format!("rss={rss}")));
        parts.extend(self.mtu.map(|mtu| format!("mtu={mtu}")));
        let named = |wanted: bool| {
            let names: Vec<_> = self.offloads.iter().filter(|(_, on)| **on == wanted).map(|(name, _)| name.as_str()).collect();
            (!names.is_empty()).then(|| format!("{} {}", names.join(" "), if wanted { "on" } else { "off" }))
        };
        parts.extend(named(true));
        parts.extend(named(false));
        parts.join(" ")
    }
}

/// The model of the first processor in `/proc/cpuinfo`.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    let value = |wanted: &str| {
        cpuinfo
            .lines()
            .find_map(|line| line.split_once(':').filter(|(name, _)| name.trim() == wanted))
            .map(|(_, value)| value.trim())
    };
    let model = value("model name").or_else(|| value("Model")).or_else(|| value("CPU part"))?;
    (!model.is_empty()).then(|| model.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_kernel_and_a_cpu() {
        let conditions = Conditions::of_this_machine();
        assert!(conditions.kernel.contains('.') && conditions.cpus > 0 && !conditions.cpu.is_empty());
        assert_eq!(conditions.ringway, env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn the_cpu_model_is_found_where_each_architecture_writes_it() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: Xeon @ 2.00GHz\n").as_deref(), Some("Xeon @ 2.00GHz"));
        assert_eq!(cpu_model("processor : 0\nCPU part : 0xd0c\n").as_deref(), Some("0xd0c"));
        assert_eq!(cpu_model("model name :\n"), None);
        assert_eq!(cpu_model(""), None);
    }

    #[test]
    fn an_interface_is_read_from_its_folder_and_from_nowhere_else() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("eth9");
        for queue in ["queues/rx-0", "queues/rx-1", "queues/tx-0", "device"] {
            fs::create_dir_all(folder.join(queue)).expect("a folder");
        }
        fs::write(folder.join("mtu"), "1500\n").expect("a file");
        std::os::unix::fs::symlink("/somewhere/drivers/ixgbe", folder.join("device/driver")).expect("a link");
        let interface = Interface::in_folder(root.path(), "eth9");
        assert_eq!((interface.mtu, interface.receive_queues, interface.driver.as_deref()), (Some(1500), Some(2), Some("ixgbe")));
        for name in ["", "..", "../eth9", "eth8"] {
            assert_eq!(Interface::in_folder(root.path(), name), Interface { name: name.into(), ..Interface::default() });
        }
    }

    #[test]
    fn the_lines_say_everything_that_is_known() {
        let interface = Interface {
            name: "veth0".into(),
            driver: Some("veth".into()),
            xdp: Some("native".into()),
            copy: Some("copy".into()),
            queues: Some("0".into()),
            rss: Some(Summary::unknown()),
            receive_queues: Some(1),
            mtu: Some(1500),
            offloads: [("tx".to_owned(), false), ("gro".to_owned(), true)].into(),
        };
        let side = Side { role: "server".into(), cores: vec![0], idle: Some("spin".into()), interfaces: vec![interface] };
        let conditions = Conditions {
            cpu: "Xeon".into(),
            cpus: 2,
            sides: vec![side],
            time_wait_s: Some(60.0),
            notes: vec!["ordinary pages".into()],
            ..Conditions::default()
        };
        let lines = conditions.lines();
        let of = |name: &str| lines.iter().find(|line| line.0 == name).map(|line| line.1.as_str());
        assert_eq!(of("server"), Some("veth0 (veth) xdp=native copy queues=0 of 1 mtu=1500 gro on tx off, core 0, idle spin"));
        assert_eq!((of("cpu"), of("TIME-WAIT"), of("note")), (Some("Xeon, 2 online"), Some("60 s"), Some("ordinary pages")));
        let json = serde_json::to_string(&conditions).expect("it serialises");
        assert_eq!(serde_json::from_str::<Conditions>(&json).expect("it comes back"), conditions);
    }
}
