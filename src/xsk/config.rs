//! What an operator may choose about the AF_XDP sockets of an interface.
//!
//! Filled in by the command line, read by `open`. Holds values and checks them; opens nothing.

use super::abi::{ETH_HLEN, XDP_PACKET_HEADROOM};
use super::nic::Nic;
use super::umem::PLACES_MAX;
use crate::error::SetupError;

/// Whether packets are to go between NIC and frames without a copy by the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroCopy {
    /// If the driver can; what it came to is reported ([`super::XskQueue::is_zero_copy`]).
    #[default]
    Auto,
    /// It must; otherwise opening fails.
    On,
    /// No: the kernel copies.
    Off,
}

/// Busy polling: the kernel processes the NIC's queue when we ask, instead of at interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// How long one poll may look for packets, in microseconds (SO_BUSY_POLL).
    pub timeout_us: u32,
    /// How many packets one poll may process (SO_BUSY_POLL_BUDGET).
    pub budget: u32,
}

/// Settings of all queues of one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Zero-copy or not.
    pub zero_copy: ZeroCopy,
    /// Bytes of a frame, 2048 or 4096; `None` takes the smallest into which the largest packet fits.
    pub frame_size: Option<usize>,
    /// Take an interface although its MTU fits no frame: its MTU counts as [`LARGEST_MTU`], and larger packets are lost.
    pub clamp_mtu: bool,
    /// Take packets that fit no frame in several, up to [`JUMBO_MTU`]; who drives the queue asks [`crate::device::Device::chained`] then.
    pub chains: bool,
    /// Put the frames on huge pages when there are any; otherwise on ordinary ones.
    pub huge_pages: bool,
    /// Frames of each queue, a power of two; half of them stand ready for receiving.
    pub frames_per_queue: u32,
    /// Entries of the RX ring, a power of two.
    pub receive_ring: u32,
    /// Entries of the TX ring, a power of two.
    pub transmit_ring: u32,
    /// Entries of the fill ring, a power of two.
    pub fill_ring: u32,
    /// Entries of the completion ring, a power of two.
    pub completion_ring: u32,
    /// Let the driver say when it must be woken (XDP_USE_NEED_WAKEUP), instead of waking it always.
    pub need_wakeup: bool,
    /// Busy polling, if wanted; it needs CAP_NET_ADMIN.
    pub busy_poll: Option<BusyPoll>,
}

impl Default for Config {
    /// 4096 frames and rings of 2048: 8 MiB a queue, room for the burst of a whole millisecond at 2 million packets a second.
    fn default() -> Self {
        Self {
            zero_copy: ZeroCopy::Auto,
            frame_size: None,
            clamp_mtu: false,
            chains: false,
            huge_pages: true,
            frames_per_queue: 4096,
            receive_ring: 2048,
            transmit_ring: 2048,
            fill_ring: 2048,
            completion_ring: 2048,
            need_wakeup: true,
            busy_poll: None,
        }
    }
}

impl Config {
    /// That the sizes can be: powers of two, within what the kernel and the owner states can count.
    ///
    /// # Errors
    /// A usage error that names the setting.
    pub fn check(&self) -> Result<(), SetupError> {
        let sizes = [
            ("xsk.frames", self.frames_per_queue),
            ("xsk.ring_size", self.receive_ring),
            ("xsk.ring_size", self.transmit_ring),
            ("xsk.ring_size", self.fill_ring),
            ("xsk.ring_size", self.completion_ring),
        ];
        match sizes.iter().find(|(_, size)| !size.is_power_of_two() || !(8..=1 << 20).contains(size)) {
            None => Ok(()),
            Some((name, size)) => {
                Err(SetupError::usage(format!("cannot set {name}={size}"), "it must be a power of two from 8 to 1048576"))
            }
        }
    }

    /// True when packets of this MTU are received and sent in several frames.
    pub(crate) fn takes_chains(&self, mtu: usize) -> bool {
        self.chains && (LARGEST_MTU + 1..=JUMBO_MTU).contains(&mtu)
    }

    /// Frames that stand ready for receiving, in the fill ring or received and not yet taken.
    pub(crate) const fn fill_target(&self) -> u32 {
        let half = self.frames_per_queue / 2;
        if half < self.fill_ring { half } else { self.fill_ring }
    }
}

/// The queues to open: at least one, none twice, not too many.
pub(crate) fn check_queues(nic: &Nic, queues: &[u32]) -> Result<(), SetupError> {
    let what = || format!("cannot open the queues of {}", nic.name());
    if queues.is_empty() || queues.len() > PLACES_MAX {
        return Err(SetupError::usage(what(), format!("{} queues are asked for", queues.len())));
    }
    let mut sorted = queues.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(SetupError::usage(what(), format!("queue {} is named twice", pair[0]))),
        None => nic.require_queues(queues),
    }
}

/// The bytes of a chunk and the MTU that counts: as wanted, or the smallest chunk into which the largest packet of the interface fits with
/// its Ethernet header and a VLAN tag.
pub(crate) fn chunk_for(nic: &Nic, config: &Config) -> Result<(usize, usize), SetupError> {
    let mtu = if config.clamp_mtu && !config.takes_chains(nic.mtu()) { nic.mtu().min(LARGEST_MTU) } else { nic.mtu() };
    match (mtu, config.frame_size) {
        (_, Some(size)) if size != 2048 && size != 4096 => {
            Err(SetupError::usage(format!("cannot set xsk.frame_size={size}"), "AF_XDP has frames of 2048 and of 4096 bytes"))
        }
        (mtu, Some(2048)) if mtu > room(2048) && mtu <= LARGEST_MTU => Err(SetupError::usage(
            "cannot set xsk.frame_size=2048",
            format!("the MTU of {}, {mtu}, is larger than the {} that fit such a frame", nic.name(), room(2048)),
        )
        .mend("--set xsk.frame_size=4096")),
        (mtu, size @ (None | Some(2048 | 4096))) if config.takes_chains(mtu) => Ok((size.unwrap_or(4096), mtu)),
        (mtu, None | Some(2048)) if mtu <= room(2048) => Ok((2048, mtu)),
        (mtu, _) if mtu <= LARGEST_MTU => Ok((4096, mtu)),
        (mtu, _) => Err(SetupError::environment(
            format!("cannot use interface {}", nic.name()),
            match config.chains {
                true => format!("its MTU of {mtu} is larger than the {JUMBO_MTU} that are taken"),
                false => format!("its MTU of {mtu} is larger than the {LARGEST_MTU} that fit a frame"),
            },
        )
        .mend(format!("sudo ip link set {} mtu {}", nic.name(), if config.chains { JUMBO_MTU } else { LARGEST_MTU }))),
    }
}

/// The largest IP packet that a chunk of so many bytes takes.
const fn room(chunk: usize) -> usize {
    chunk - XDP_PACKET_HEADROOM - ETH_HLEN - VLAN_TAG
}

/// The largest IP packet, in bytes, that fits the largest frame there is (4096 bytes).
pub const LARGEST_MTU: usize = room(4096);

/// The largest IP packet, in bytes, that is taken in several frames: what switches call jumbo.
pub const JUMBO_MTU: usize = 9216;

/// Bytes of an 802.1Q tag.
const VLAN_TAG: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_cannot_be_are_usage_errors_with_the_name_of_the_setting() {
        assert_eq!(Config::default().check(), Ok(()));
        for (config, name) in [
            (Config { frames_per_queue: 1000, ..Config::default() }, "xsk.frames=1000"),
            (Config { fill_ring: 0, ..Config::default() }, "xsk.ring_size=0"),
            (Config { receive_ring: 4, ..Config::default() }, "xsk.ring_size=4"),
            (Config { transmit_ring: 1 << 21, ..Config::default() }, "xsk.ring_size=2097152"),
        ] {
            let error = config.check().unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.what().ends_with(name), "{error}");
        }
    }

    #[test]
    fn a_queue_named_twice_is_a_usage_error() {
        let lo = Nic::find("lo").unwrap();
        assert_eq!(check_queues(&lo, &[0, 0]).unwrap_err().exit_code(), 2);
        assert_eq!(check_queues(&lo, &[]).unwrap_err().exit_code(), 2);
        assert_eq!(check_queues(&lo, &[0]), Ok(()));
    }

    #[test]
    fn an_mtu_that_fits_no_frame_is_refused_with_the_largest_that_does() {
        // Loopback has 65536 everywhere.
        let error = chunk_for(&Nic::find("lo").unwrap(), &Config::default()).unwrap_err();
        assert_eq!(error.remedy(), Some("sudo ip link set lo mtu 3822"), "{error}");
        let clamped = Config { clamp_mtu: true, ..Config::default() };
        assert_eq!(chunk_for(&Nic::find("lo").unwrap(), &clamped), Ok((4096, 3822)));
        let chained = Config { chains: true, ..clamped };
        assert_eq!(chunk_for(&Nic::find("lo").unwrap(), &chained), Ok((4096, 3822)), "more than jumbo");
        assert!(chained.takes_chains(9000) && chained.takes_chains(9216));
        assert!(!chained.takes_chains(3822) && !chained.takes_chains(9217) && !clamped.takes_chains(9000));
        let small = Config { frame_size: Some(2048), ..clamped };
        assert_eq!(chunk_for(&Nic::find("lo").unwrap(), &small).unwrap_err().exit_code(), 2);
    }
}
