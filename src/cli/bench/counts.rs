//! What the kernel counts while a cell runs: busy time of the two cores, packets and drops of the two interfaces.
//!
//! Read by [`super::cell`] at both ends of a part of the measured time. Whatever stack runs, these are the same counters. Read from `/proc`; what
//! cannot be read is left out. Cannot panic.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

/// The counters at one moment.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    at: Instant,
    /// Busy and stolen nanoseconds of each core.
    cores: BTreeMap<u32, (u64, u64)>,
    server: BTreeMap<String, u64>,
    client: BTreeMap<String, u64>,
}

/// What happened between two moments.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Passed {
    pub(super) seconds: f64,
    /// Busy nanoseconds of the server's core and of the client's, interrupts and softirqs included.
    pub(super) busy_ns: [Option<u64>; 2],
    /// The share of the two cores' time that the hypervisor took.
    pub(super) steal: f64,
    /// Packets that arrived at the server's interface, and that left it.
    pub(super) packets: Option<(u64, u64)>,
    /// What the kernel dropped or sent again, by side and cause.
    pub(super) drops: BTreeMap<String, u64>,
}

/// A process of an end, and the interface of that end.
pub(super) type End<'a> = (u32, &'a str);

impl Counts {
    /// The counters now.
    pub(super) fn now(server: End<'_>, client: End<'_>) -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self { at: Instant::now(), cores: cores(&stat), server: of_end(server), client: of_end(client) }
    }

    /// What happened since an earlier moment; the cores are the server's and the client's.
    pub(super) fn since(&self, earlier: &Self, cores: [u32; 2]) -> Passed {
        let seconds = self.at.duration_since(earlier.at).as_secs_f64();
        let of_core = |core: u32| {
            let (now, before) = (self.cores.get(&core)?, earlier.cores.get(&core)?);
            Some((now.0.saturating_sub(before.0), now.1.saturating_sub(before.1)))
        };
        let of_cores = cores.map(of_core);
        let stolen: u64 = of_cores.iter().flatten().map(|core| core.1).sum();
        let mut drops = BTreeMap::new();
        for (side, now, before) in [("server", &self.server, &earlier.server), ("client", &self.client, &earlier.client)] {
            for (name, count) in now.iter().filter(|(name, _)| !name.ends_with("packets")) {
                let count = count.saturating_sub(before.get(name).copied().unwrap_or(0));
                if count > 0 {
                    drops.insert(format!("{side}.kernel.{name}"), count);
                }
            }
        }
        let packets = |name: &str| Some(self.server.get(name)?.saturating_sub(*earlier.server.get(name)?));
        Passed {
            seconds,
            busy_ns: of_cores.map(|core| core.map(|core| core.0)),
            steal: if seconds > 0.0 { stolen as f64 / 1e9 / seconds / 2.0 } else { 0.0 },
            packets: packets("rx_packets").zip(packets("tx_packets")),
            drops,
        }
    }
}

/// Busy and stolen time of each core, of `/proc/stat`.
fn cores(stat: &str) -> BTreeMap<u32, (u64, u64)> {
    let line = |line: &str| {
        let (name, rest) = line.split_once(' ')?;
        let core = name.strip_prefix("cpu")?.parse().ok()?;
        let ticks: Vec<u64> = rest.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
        // user nice system idle iowait irq softirq steal; what guests took is in user already.
        let [user, nice, system, _idle, _iowait, irq, softirq, steal] = *ticks.get(..8)? else { return None };
        Some((core, ((user + nice + system + irq + softirq) * TICK_NS, steal * TICK_NS)))
    };
    stat.lines().filter_map(line).collect()
}

/// What the kernel counts in the namespace of a process.
fn of_end((process, interface): End<'_>) -> BTreeMap<String, u64> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{process}/net/{file}")).unwrap_or_default();
    let mut counts = of_interface(&read("dev"), interface);
    counts.extend(of_protocols(&read("snmp")));
    counts
}

/// The columns of an interface in `/proc/net/dev`.
fn of_interface(dev: &str, interface: &str) -> BTreeMap<String, u64> {
    let line = dev.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim() == interface);
    let numbers: Vec<u64> =
        line.map(|(_, rest)| rest.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect()).unwrap_or_default();
    let names = [(1, "rx_packets"), (3, "rx_dropped"), (9, "tx_packets"), (11, "tx_dropped")];
    names.into_iter().filter_map(|(column, name)| Some((name.to_owned(), *numbers.get(column)?))).collect()
}

/// Losses of the kernel's own sockets, of `/proc/net/snmp`: a line of names, a line of numbers.
fn of_protocols(snmp: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let lines: Vec<&str> = snmp.lines().collect();
    for pair in lines.windows(2) {
        let (Some((names, columns)), Some((numbers, values))) = (pair[0].split_once(": "), pair[1].split_once(": ")) else {
            continue;
        };
        if names != numbers {
            continue;
        }
        for (column, value) in columns.split_whitespace().zip(values.split_whitespace()) {
            let wanted = [("Udp", "RcvbufErrors", "udp_receive_buffer_full"), ("Tcp", "RetransSegs", "tcp_sent_again")];
            if let Some((.., name)) = wanted.iter().find(|(protocol, name, _)| *protocol == names && *name == column) {
                counts.insert((*name).to_owned(), value.parse().unwrap_or(0));
            }
        }
    }
    counts
}

/// A tick of `/proc/stat` (USER_HZ), which is a hundredth of a second on every machine that Ringway runs on.
const TICK_NS: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_time_of_a_core_is_all_but_idle_waiting_and_stolen_time() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 1 5 1000 20 2 3 7 0 0\ncpu1 0 0 0 5 0 0 0 0 0 0\nintr 5\ncpufreq 1\n";
        assert_eq!(cores(stat), [(0, (21 * TICK_NS, 7 * TICK_NS)), (1, (0, 0))].into());
        assert_eq!(cores("cpu0 1 2\n"), BTreeMap::new());
    }

    #[test]
    fn an_interface_and_the_protocols_are_read_by_name() {
        let dev = "Inter-|   Receive\n face |bytes\n    lo: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n veth0:100 4 0 2 0 0 0 0 50 3 0 1 0 0 0 0\n";
        let counts = of_interface(dev, "veth0");
        assert_eq!(counts.values().copied().collect::<Vec<_>>(), [2, 4, 1, 3], "{counts:?}");
        assert!(of_interface(dev, "veth").is_empty());
        let snmp = "Tcp: ActiveOpens RetransSegs\nTcp: 5 7\nUdp: InDatagrams RcvbufErrors\nUdp: 1 2\nUdpLite: RcvbufErrors\nUdpLite: 9\n";
        assert_eq!(of_protocols(snmp), [("tcp_sent_again".to_owned(), 7), ("udp_receive_buffer_full".to_owned(), 2)].into());
    }

    #[test]
    fn what_passed_is_the_difference() {
        let at = Instant::now();
        let side = |rx, tx, dropped| -> BTreeMap<String, u64> {
            [("rx_packets", rx), ("tx_packets", tx), ("rx_dropped", dropped)].map(|(name, n)| (name.to_owned(), n)).into()
        };
        let before = Counts { at, cores: [(0, (5, 0)), (1, (7, 0))].into(), server: side(10, 10, 1), client: side(0, 0, 0) };
        let after = Counts {
            at: at + std::time::Duration::from_secs(2),
            cores: [(0, (1005, 0)), (1, (2007, 1_000_000_000))].into(),
            server: side(30, 25, 4),
            client: side(9, 9, 0),
        };
        let passed = after.since(&before, [0, 1]);
        assert_eq!((passed.busy_ns, passed.packets, passed.steal), ([Some(1000), Some(2000)], Some((20, 15)), 0.25));
        assert_eq!(passed.drops, [("server.kernel.rx_dropped".to_owned(), 3)].into());
        assert_eq!(after.since(&before, [0, 5]).busy_ns, [Some(1000), None]);
    }
}
