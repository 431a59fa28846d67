//! What can be known about a network interface before it is used.
//!
//! Called at start, by the command line and by `open`; asks the kernel by ioctl, which answers for the network namespace of
//! the calling thread (unlike /sys, which shows the one it was mounted in). Changes nothing. Errors are the operator's and say what to do.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use super::abi::{
    ETH_SS_FEATURES, ETHTOOL_GCHANNELS, ETHTOOL_GDRVINFO, ETHTOOL_GFEATURES, ETHTOOL_GLINK, ETHTOOL_GRINGPARAM,
    ETHTOOL_GSSET_INFO, ETHTOOL_GSTRINGS, EthtoolChannels, EthtoolDrvinfo, EthtoolGfeatures, EthtoolGstrings, EthtoolRingparam,
    EthtoolRxnfc, EthtoolSsetInfo, EthtoolValue, FEATURES_MAX, FeaturesBlock, Ifreq, IfreqData,
};
use super::rss;
use crate::error::SetupError;
use crate::rss::Told;
use crate::wire::ethernet::Mac;
use crate::wire::vlan::TagKind;

/// A network interface as it was when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    name: String,
    index: u32,
    mac: Mac,
    mtu: usize,
    up: bool,
    carrier: bool,
    driver: String,
    receive_queues: u32,
    transmit_queues: u32,
    features: Vec<(String, bool)>,
}

/// An offload that is on and changes packets in a way that breaks what Ringway does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hazard {
    /// The kernel's name of the feature, `rx-lro`.
    pub feature: &'static str,
    /// What it does to us.
    pub why: &'static str,
    /// The command that turns it off.
    pub mend: String,
}

/// An offload that keeps VLAN tags from XDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HiddenTag {
    /// The kernel's name of the feature, `rx-vlan-hw-parse`.
    pub feature: &'static str,
    /// What does the same at the other end of a veth pair, as ethtool calls it.
    pub peer_switch: &'static str,
    /// The command that turns it off.
    pub mend: String,
}

/// Entries of the rings between the driver and the NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSizes {
    /// Of each receive ring, now.
    pub receive: u32,
    /// The most that a receive ring may have.
    pub receive_max: u32,
    /// Of each transmit ring, now.
    pub transmit: u32,
    /// The most that a transmit ring may have.
    pub transmit_max: u32,
}

impl Nic {
    /// The interface of this number, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// There is none, or the kernel does not answer.
    pub fn with_index(index: u32) -> Result<Self, SetupError> {
        let what = format!("cannot use the interface number {index}");
        let asked = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
        let name = asked.and_then(|socket| netdevice::index_to_name(socket.as_fd(), index));
        Self::find(&name.map_err(|error| SetupError::environment(what, error.to_string()))?)
    }

    /// The interface of this name, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// There is none of this name (the nearest existing names are said), or the kernel does not answer.
    pub fn find(name: &str) -> Result<Self, SetupError> {
        let asking = Asking::about(name)
            .map_err(|error| SetupError::environment("cannot ask the kernel for network interfaces", error.to_string()))?;
        let index = asking.index().map_err(|_| no_such_interface(name))?;
        let refused = |what: &str| {
            let what = format!("cannot read the {what} of interface {name}");
            move |error: io::Error| SetupError::environment(what, error.to_string())
        };
        let flags = asking.flags().map_err(refused("flags"))?;
        let (receive_queues, transmit_queues) = asking.queues(index);
        Ok(Self {
            name: name.to_owned(),
            index,
            mac: asking.mac().map_err(refused("address"))?,
            mtu: asking.mtu().map_err(refused("MTU"))?,
            up: flags & libc::IFF_UP != 0,
            carrier: asking.carrier().unwrap_or(flags & libc::IFF_RUNNING != 0),
            driver: asking.driver().unwrap_or_default(),
            receive_queues,
            transmit_queues,
            features: asking.features().unwrap_or_default(),
        })
    }

    /// Name, `eth0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kernel's number of the interface.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Ethernet address.
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// The largest IP packet, in bytes.
    pub const fn mtu(&self) -> usize {
        self.mtu
    }

    /// True when the operator has turned it on.
    pub const fn is_up(&self) -> bool {
        self.up
    }

    /// True when there is somebody at the other end.
    pub const fn has_carrier(&self) -> bool {
        self.carrier
    }

    /// The driver's name, `veth`; empty when there is none to ask.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// Receive queues in use, at least 1.
    pub const fn receive_queues(&self) -> u32 {
        self.receive_queues
    }

    /// Transmit queues in use, at least 1.
    pub const fn transmit_queues(&self) -> u32 {
        self.transmit_queues
    }

    /// Whether an offload feature is on, by the kernel's name (`ethtool -k` shows many of them under older ones); `None` when the
    /// interface does not know it.
    pub fn feature(&self, name: &str) -> Option<bool> {
        self.features.iter().find(|(known, _)| known == name).map(|&(_, on)| on)
    }

    /// The sizes of the rings now; `None` when the driver does not tell.
    pub fn rings(&self) -> Option<RingSizes> {
        let sizes = EthtoolRingparam { cmd: ETHTOOL_GRINGPARAM, ..EthtoolRingparam::default() };
        let sizes = Asking::about(&self.name).ok()?.ethtool(sizes).ok()?;
        let (receive, receive_max) = (sizes.rx_pending, sizes.rx_max_pending);
        Some(RingSizes { receive, receive_max, transmit: sizes.tx_pending, transmit_max: sizes.tx_max_pending })
    }

    /// How many receive queues there could be; `None` when the driver does not tell.
    pub fn most_receive_queues(&self) -> Option<u32> {
        let channels = EthtoolChannels { cmd: ETHTOOL_GCHANNELS, ..EthtoolChannels::default() };
        let channels = Asking::about(&self.name).ok()?.ethtool(channels).ok()?;
        Some(channels.max_rx.saturating_add(channels.max_combined)).filter(|&most| most > 0)
    }

    /// How packets are spread over the receive queues, as the driver tells it now; `None` when it does not.
    pub fn rss(&self) -> Option<Told> {
        match Asking::about(&self.name).and_then(|asking| rss::read(&asking, &self.driver)) {
            Ok(told) => Some(told),
            Err(error) => {
                tracing::debug!("{}: how packets are spread over its queues is unknown: {error}", self.name);
                None
            }
        }
    }

    /// An offload that is on and keeps tags of one of these kinds from XDP.
    pub fn hides_tags(&self, kinds: &[TagKind]) -> Option<HiddenTag> {
        let mut known = HIDES_TAGS.iter().filter(|known| kinds.contains(&known.kind));
        let hides = known.find(|known| self.feature(known.feature) == Some(true))?;
        let mend = format!("sudo ethtool -K {} {} off", self.name, hides.switch);
        Some(HiddenTag { feature: hides.feature, peer_switch: hides.peer_switch, mend })
    }

    /// Offloads that are on and would break something. `skb_mode`: XDP runs behind GRO there, so that GRO counts too.
    pub fn hazards(&self, skb_mode: bool) -> Vec<Hazard> {
        HAZARDS
            .iter()
            .filter(|known| skb_mode || !known.skb_mode_only)
            .filter(|known| self.feature(known.feature) == Some(true))
            .map(|known| Hazard {
                feature: known.feature,
                why: known.why,
                mend: format!("sudo ethtool -K {} {} off", self.name, known.switch),
            })
            .collect()
    }

    /// That frames can flow at all: AF_XDP accepts an interface that is down without a word.
    ///
    /// # Errors
    /// The interface is down, or has no carrier.
    pub fn require_link(&self) -> Result<(), SetupError> {
        let name = &self.name;
        if !self.up {
            return Err(SetupError::environment(format!("cannot use interface {name}"), "the interface is down")
                .mend(format!("sudo ip link set {name} up")));
        }
        if !self.carrier {
            let error = SetupError::environment(format!("cannot use interface {name}"), "the interface has no carrier");
            return Err(match self.driver.as_str() {
                "veth" => error.mend("bring the peer up in its namespace: sudo ip -n NAMESPACE link set PEER up"),
                _ => error.mend(format!("plug in the cable, then look for `Link detected: yes` in: ethtool {name}")),
            });
        }
        Ok(())
    }

    /// That these receive queues exist.
    ///
    /// # Errors
    /// One does not; the message says which there are.
    pub fn require_queues(&self, queues: &[u32]) -> Result<(), SetupError> {
        match queues.iter().find(|&&queue| queue >= self.receive_queues) {
            None => Ok(()),
            Some(&queue) => Err(self.no_such_queue(queue)),
        }
    }

    pub(crate) fn no_such_queue(&self, queue: u32) -> SetupError {
        let last = self.receive_queues.saturating_sub(1);
        let there_are = if last == 0 { "it has queue 0 only".to_owned() } else { format!("it has the queues 0 to {last}") };
        SetupError::environment(
            format!("cannot bind an AF_XDP socket to queue {queue} of {}", self.name),
            format!("the interface has no such queue: {there_are}"),
        )
        .mend(if last == 0 { "--queues 0".to_owned() } else { format!("--queues 0-{last}") })
    }
}

/// An offload, when it matters, and how ethtool calls it.
struct KnownHazard {
    feature: &'static str,
    switch: &'static str,
    why: &'static str,
    skb_mode_only: bool,
}

const HAZARDS: [KnownHazard; 3] = [
    KnownHazard {
        feature: "rx-lro",
        switch: "lro",
        why: "large receive offload joins packets into one that fits no frame",
        skb_mode_only: false,
    },
    KnownHazard {
        feature: "rx-gro-hw",
        switch: "rx-gro-hw",
        why: "hardware GRO joins packets into one that fits no frame",
        skb_mode_only: false,
    },
    KnownHazard {
        feature: "rx-gro",
        switch: "gro",
        why: "in skb mode XDP runs behind GRO, which joins packets into one that fits no frame",
        skb_mode_only: true,
    },
];

/// An offload that takes tags of one kind out of packets, how ethtool calls it, and how what does the same at the other end of a veth pair.
struct KnownTagOffload {
    kind: TagKind,
    feature: &'static str,
    switch: &'static str,
    peer_switch: &'static str,
}

const HIDES_TAGS: [KnownTagOffload; 2] = [
    KnownTagOffload { kind: TagKind::Customer, feature: "rx-vlan-hw-parse", switch: "rxvlan", peer_switch: "txvlan" },
    KnownTagOffload {
        kind: TagKind::Service,
        feature: "rx-vlan-stag-hw-parse",
        switch: "rx-vlan-stag-hw-parse",
        peer_switch: "tx-vlan-stag-hw-insert",
    },
];

/// One conversation with the kernel about one interface.
struct Asking<'a> {
    socket: OwnedFd,
    name: &'a str,
}

impl<'a> Asking<'a> {
    fn about(name: &'a str) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, name })
    }
}

impl Asking<'_> {
    fn index(&self) -> io::Result<u32> {
        if self.name.is_empty() || self.name.len() >= libc::IFNAMSIZ {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(netdevice::name_to_index(self.socket.as_fd(), self.name)?)
    }

    /// One ioctl on the interface that reads into the union of `struct ifreq`.
    fn read(&self, request: libc::c_ulong) -> io::Result<[u8; 24]> {
        let mut ifreq = self.ifreq(IfreqData([0; 24]));
        // SAFETY: the requests used here read and write one `struct ifreq`, which `Ifreq` mirrors.
        let status = unsafe { libc::ioctl(self.socket.as_raw_fd(), request, &raw mut ifreq) };
        if status < 0 { Err(io::Error::last_os_error()) } else { Ok(ifreq.data.0) }
    }

    /// One ethtool command; `T` begins with `cmd`, and is as large as the kernel may write for it.
    fn ethtool<T: Copy>(&self, mut value: T) -> io::Result<T> {
        // SAFETY: `value` outlives the call and has room for what each command used here writes (the variable ones are bounded by
        // FEATURES_MAX, see `features`).
        unsafe { self.ethtool_at((&raw mut value).cast()) }?;
        Ok(value)
    }

    /// One ethtool command.
    ///
    /// # Safety
    /// `command` points to the command's structure, with room for all that the kernel writes for it.
    unsafe fn ethtool_at(&self, command: *mut u8) -> io::Result<()> {
        let mut data = IfreqData([0; 24]);
        let address = command.expose_provenance().to_ne_bytes();
        data.0[..address.len()].copy_from_slice(&address);
        let mut ifreq = self.ifreq(data);
        // SAFETY: SIOCETHTOOL takes a `struct ifreq` whose `ifr_data` points to the command's structure: what our caller promises.
        let status = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut ifreq) };
        if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn ifreq(&self, data: IfreqData) -> Ifreq {
        let mut ifreq = Ifreq { name: [0; libc::IFNAMSIZ], data };
        let bytes = self.name.as_bytes();
        let len = bytes.len().min(libc::IFNAMSIZ - 1);
        ifreq.name[..len].copy_from_slice(&bytes[..len]);
        ifreq
    }

    fn flags(&self) -> io::Result<libc::c_int> {
        let data = self.read(libc::SIOCGIFFLAGS)?;
        Ok(libc::c_int::from(u16::from_ne_bytes([data[0], data[1]])))
    }

    fn mtu(&self) -> io::Result<usize> {
        let data = self.read(libc::SIOCGIFMTU)?;
        Ok(u32::from_ne_bytes([data[0], data[1], data[2], data[3]]) as usize)
    }

    fn mac(&self) -> io::Result<Mac> {
        // struct sockaddr: the family in two bytes, then the address.
        let data = self.read(libc::SIOCGIFHWADDR)?;
        Ok(Mac([data[2], data[3], data[4], data[5], data[6], data[7]]))
    }

    fn carrier(&self) -> Option<bool> {
        let value = self.ethtool(EthtoolValue { cmd: ETHTOOL_GLINK, data: 0 }).ok()?;
        Some(value.data != 0)
    }

    fn driver(&self) -> Option<String> {
        let empty = EthtoolDrvinfo {
            cmd: ETHTOOL_GDRVINFO,
            driver: [0; 32],
            version: [0; 32],
            fw_version: [0; 32],
            bus_info: [0; 32],
            erom_version: [0; 32],
            reserved2: [0; 12],
            n_priv_flags: 0,
            n_stats: 0,
            testinfo_len: 0,
            eedump_len: 0,
            regdump_len: 0,
        };
        self.ethtool(empty).ok().map(|info| text(&info.driver))
    }

    /// Receive and transmit queues in use: what the driver says, otherwise what /sys shows, otherwise one.
    fn queues(&self, index: u32) -> (u32, u32) {
        match self.ethtool(EthtoolChannels { cmd: ETHTOOL_GCHANNELS, ..EthtoolChannels::default() }) {
            Ok(channels) => {
                let receive = channels.rx_count.saturating_add(channels.combined_count);
                let transmit = channels.tx_count.saturating_add(channels.combined_count);
                (receive.max(1), transmit.max(1))
            }
            Err(_) => sysfs_queues(self.name, index).unwrap_or((1, 1)),
        }
    }

    fn features(&self) -> Option<Vec<(String, bool)>> {
        let info = EthtoolSsetInfo { cmd: ETHTOOL_GSSET_INFO, sset_mask: 1 << ETH_SS_FEATURES, ..EthtoolSsetInfo::default() };
        let count = self.ethtool(info).ok().filter(|info| info.sset_mask != 0)?.count;
        // The kernel writes as many names as it has features, whatever room we announce.
        if count as usize > FEATURES_MAX {
            return None;
        }
        let names =
            EthtoolGstrings { cmd: ETHTOOL_GSTRINGS, string_set: ETH_SS_FEATURES, len: count, names: [[0; 32]; FEATURES_MAX] };
        let names = self.ethtool(names).ok()?;
        let size = (FEATURES_MAX / 32) as u32;
        let bits = EthtoolGfeatures { cmd: ETHTOOL_GFEATURES, size, blocks: [FeaturesBlock::default(); FEATURES_MAX / 32] };
        let bits = self.ethtool(bits).ok()?;
        let on = |bit: usize| bits.blocks.get(bit / 32).is_some_and(|block| block.active >> (bit % 32) & 1 == 1);
        let named = names.names.iter().take(count as usize).enumerate();
        Some(named.map(|(bit, name)| (text(name), on(bit))).filter(|(name, _)| !name.is_empty()).collect())
    }
}

impl rss::Ask for Asking<'_> {
    fn rxfh(&self, table: u32, key: u32) -> io::Result<Vec<u8>> {
        let mut reply = rss::question(table, key);
        // SAFETY: for ETHTOOL_GRSSH the kernel writes `struct ethtool_rxfh` and behind it the table and key of the sizes that stand in it, or nothing
        // where the NIC's are others; `question` made room for just that.
        unsafe { self.ethtool_at(reply.as_mut_ptr()) }?;
        Ok(reply)
    }

    fn rxnfc(&self, cmd: u32, flow_type: u32) -> io::Result<EthtoolRxnfc> {
        // Of the commands for this structure only those for rules write behind it, and these are not asked.
        self.ethtool(EthtoolRxnfc { cmd, flow_type, ..EthtoolRxnfc::default() })
    }
}

/// The bytes up to the first zero.
fn text(bytes: &[u8]) -> String {
    let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

/// Counts the queues under /sys, if /sys shows this interface and not one of the same name in another namespace.
fn sysfs_queues(name: &str, index: u32) -> Option<(u32, u32)> {
    let folder = format!("/sys/class/net/{name}");
    let shown = fs::read_to_string(format!("{folder}/ifindex")).ok()?;
    if shown.trim().parse() != Ok(index) {
        return None;
    }
    let (mut receive, mut transmit) = (0, 0);
    for entry in fs::read_dir(format!("{folder}/queues")).ok()?.flatten() {
        match entry.file_name().to_string_lossy().as_ref() {
            queue if queue.starts_with("rx-") => receive += 1,
            queue if queue.starts_with("tx-") => transmit += 1,
            _ => {}
        }
    }
    (receive > 0 && transmit > 0).then_some((receive, transmit))
}

fn no_such_interface(name: &str) -> SetupError {
    let names = interface_names();
    let near = nearest(name, &names);
    let why = match near.as_slice() {
        [] if names.is_empty() => "there is no such interface".to_owned(),
        [] => format!("there is no such interface; there are {}", names.join(", ")),
        near => format!("there is no such interface; did you mean {}?", near.join(" or ")),
    };
    SetupError::environment(format!("cannot use interface {name}"), why).mend("ip -brief link")
}

/// The interfaces of the calling thread's namespace.
pub fn interface_names() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    table.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned()).collect()
}

/// The names at the smallest distance from `name`, if that is small enough for a slip of the fingers.
fn nearest<'a>(name: &str, names: &'a [String]) -> Vec<&'a str> {
    let distances: Vec<usize> = names.iter().map(|known| edit_distance(name, known)).collect();
    match distances.iter().min() {
        Some(&best) if best <= 2 => {
            names.iter().zip(distances).filter(|&(_, distance)| distance == best).map(|(known, _)| known.as_str()).collect()
        }
        _ => Vec::new(),
    }
}

/// How many characters must be inserted, removed or replaced to make one name of the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
impl Nic {
    /// An interface as somebody has seen it: up, with carrier, one queue, an MTU of 1500 and no offloads.
    pub(crate) fn recorded(name: &str, driver: &str) -> Self {
        Self {
            name: name.to_owned(),
            index: 7,
            mac: Mac([2, 0, 0, 0, 0, 7]),
            mtu: 1500,
            up: true,
            carrier: true,
            driver: driver.to_owned(),
            receive_queues: 1,
            transmit_queues: 1,
            features: Vec::new(),
        }
    }

    /// The same with other flags.
    pub(crate) fn with_link(self, up: bool, carrier: bool) -> Self {
        Self { up, carrier, ..self }
    }

    /// The same with another MTU.
    pub(crate) fn with_mtu(self, mtu: usize) -> Self {
        Self { mtu, ..self }
    }

    /// The same with so many queues each way.
    pub(crate) fn with_queues(self, receive_queues: u32, transmit_queues: u32) -> Self {
        Self { receive_queues, transmit_queues, ..self }
    }

    /// The same with a feature that is on or off.
    pub(crate) fn with_feature(mut self, name: &str, on: bool) -> Self {
        self.features.push((name.to_owned(), on));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_with_all_that_is_known_of_it() {
        let lo = Nic::find("lo").unwrap();
        assert_eq!((lo.name(), lo.index(), lo.mac()), ("lo", 1, Mac([0; 6])));
        assert!(lo.mtu() >= 1500 && lo.receive_queues() >= 1 && lo.transmit_queues() >= 1);
        assert!(lo.feature("rx-gro").is_some(), "every interface has GRO: {:?}", lo.features);
        assert_eq!(lo.feature("rx-no-such-thing"), None);
    }

    #[test]
    fn an_interface_that_is_not_there_is_answered_with_the_nearest_name() {
        let error = Nic::find("l0").unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.why().contains("did you mean lo?"), "{error}");
        for name in ["", "a-name-longer-than-the-kernel-allows", "lo\0", "la la"] {
            assert!(Nic::find(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn names_are_near_when_two_letters_differ() {
        assert_eq!(edit_distance("eth0", "eth0"), 0);
        assert_eq!(edit_distance("eth0", "eth1"), 1);
        assert_eq!(edit_distance("", "eth0"), 4);
        assert_eq!(edit_distance("veth0", "eth0"), 1);
        let names = ["eth0", "eth1", "lo"].map(str::to_owned);
        assert_eq!(nearest("eth2", &names), ["eth0", "eth1"]);
        assert!(nearest("wlp3s0", &names).is_empty());
    }

    #[test]
    fn hazards_depend_on_the_mode() {
        let mut nic = Nic::find("lo").unwrap();
        nic.name = "eth7".to_owned();
        nic.features = HAZARDS.iter().map(|known| (known.feature.to_owned(), true)).collect();
        let features = |skb| nic.hazards(skb).iter().map(|hazard| hazard.feature).collect::<Vec<_>>();
        assert_eq!(features(false), ["rx-lro", "rx-gro-hw"]);
        assert_eq!(features(true), ["rx-lro", "rx-gro-hw", "rx-gro"]);
        assert_eq!(nic.hazards(false)[0].mend, "sudo ethtool -K eth7 lro off");
        nic.features.clear();
        assert!(nic.hazards(true).is_empty());
    }

    #[test]
    fn only_an_offload_of_a_claimed_kind_of_tag_hides_it() {
        let mut nic = Nic::find("lo").unwrap();
        nic.name = "eth7".to_owned();
        nic.features = HIDES_TAGS.iter().map(|known| (known.feature.to_owned(), true)).collect();
        assert_eq!(nic.hides_tags(&[]), None);
        assert_eq!(nic.hides_tags(&[TagKind::Customer]).unwrap().mend, "sudo ethtool -K eth7 rxvlan off");
        assert_eq!(nic.hides_tags(&[TagKind::Service]).unwrap().mend, "sudo ethtool -K eth7 rx-vlan-stag-hw-parse off");
        nic.features[0].1 = false;
        assert_eq!(nic.hides_tags(&[TagKind::Customer]), None);
    }

    #[test]
    fn a_link_that_cannot_carry_frames_is_refused_with_the_command_that_mends_it() {
        let mut nic = Nic::find("lo").unwrap();
        nic.name = "eth7".to_owned();
        (nic.up, nic.carrier) = (false, false);
        assert_eq!(nic.require_link().unwrap_err().remedy(), Some("sudo ip link set eth7 up"));
        nic.up = true;
        assert!(nic.require_link().unwrap_err().why().contains("no carrier"));
        nic.carrier = true;
        assert_eq!(nic.require_link(), Ok(()));
    }

    #[test]
    fn a_queue_out_of_range_is_answered_with_the_queues_there_are() {
        let mut nic = Nic::find("lo").unwrap();
        nic.receive_queues = 4;
        assert_eq!(nic.require_queues(&[0, 3]), Ok(()));
        let error = nic.require_queues(&[1, 4]).unwrap_err();
        assert!(error.why().contains("the queues 0 to 3") && error.remedy() == Some("--queues 0-3"), "{error}");
    }
}
