//! The kernel's structures and numbers, each named after the kernel header it mirrors.
//!
//! What libc has is taken from there; the rest stands here, because the headers of a distribution are often older than its
//! kernel. Sizes are asserted when the crate is compiled. Used by the files of this module only; holds no code.

use std::sync::atomic::{AtomicU32, AtomicU64};

pub(crate) use libc::{sockaddr_xdp, xdp_mmap_offsets, xdp_options, xdp_ring_offset, xdp_statistics, xdp_umem_reg};

/// `XDP_MAX_TX_SKB_BUDGET` (include/uapi/linux/if_xdp.h, since Linux 6.17): descriptors one `sendto` may send in copy mode.
pub(crate) const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// `SO_PREFER_BUSY_POLL` (include/uapi/asm-generic/socket.h, since Linux 5.11).
pub(crate) const SO_PREFER_BUSY_POLL: libc::c_int = 69;
/// `SO_BUSY_POLL_BUDGET` (include/uapi/asm-generic/socket.h, since Linux 5.11).
pub(crate) const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

/// `XDP_PACKET_HEADROOM` (include/uapi/linux/bpf.h): where a received packet begins in its chunk, in bytes.
pub(crate) const XDP_PACKET_HEADROOM: usize = 256;
/// `ETH_HLEN` (include/uapi/linux/if_ether.h): the kernel needs a whole Ethernet header to send a frame.
pub(crate) const ETH_HLEN: usize = 14;

/// `struct xdp_desc` (include/uapi/linux/if_xdp.h) as it lies in a ring that the kernel shares with us: atomics, because
/// whatever the kernel does at the same time must not be undefined behaviour here.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct DescriptorSlot {
    /// Byte offset of the packet in the UMEM.
    pub(crate) addr: AtomicU64,
    /// Length of the packet in bytes.
    pub(crate) len: AtomicU32,
    /// `XDP_PKT_CONTD` and the like.
    pub(crate) options: AtomicU32,
}

/// An entry of the fill and completion rings: a `__u64` byte offset in the UMEM.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct AddressSlot(pub(crate) AtomicU64);

/// `struct ifreq` (include/uapi/linux/if.h), its union as bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ifreq {
    pub(crate) name: [u8; libc::IFNAMSIZ],
    pub(crate) data: IfreqData,
}

/// The union of `struct ifreq`: as large as its largest member, `struct ifmap`, and aligned for the pointer `ifr_data`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct IfreqData(pub(crate) [u8; 24]);

/// `struct ethtool_channels` (include/uapi/linux/ethtool.h).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct EthtoolChannels {
    pub(crate) cmd: u32,
    pub(crate) max_rx: u32,
    pub(crate) max_tx: u32,
    pub(crate) max_other: u32,
    pub(crate) max_combined: u32,
    pub(crate) rx_count: u32,
    pub(crate) tx_count: u32,
    pub(crate) other_count: u32,
    pub(crate) combined_count: u32,
}

/// `struct ethtool_ringparam` (include/uapi/linux/ethtool.h).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct EthtoolRingparam {
    pub(crate) cmd: u32,
    pub(crate) rx_max_pending: u32,
    pub(crate) rx_mini_max_pending: u32,
    pub(crate) rx_jumbo_max_pending: u32,
    pub(crate) tx_max_pending: u32,
    pub(crate) rx_pending: u32,
    pub(crate) rx_mini_pending: u32,
    pub(crate) rx_jumbo_pending: u32,
    pub(crate) tx_pending: u32,
}

/// `struct ethtool_drvinfo` (include/uapi/linux/ethtool.h).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct EthtoolDrvinfo {
    pub(crate) cmd: u32,
    pub(crate) driver: [u8; 32],
    pub(crate) version: [u8; 32],
    pub(crate) fw_version: [u8; 32],
    pub(crate) bus_info: [u8; 32],
    pub(crate) erom_version: [u8; 32],
    pub(crate) reserved2: [u8; 12],
    pub(crate) n_priv_flags: u32,
    pub(crate) n_stats: u32,
    pub(crate) testinfo_len: u32,
    pub(crate) eedump_len: u32,
    pub(crate) regdump_len: u32,
}

/// `struct ethtool_value` (include/uapi/linux/ethtool.h).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct EthtoolValue {
    pub(crate) cmd: u32,
    pub(crate) data: u32,
}

/// `struct ethtool_sset_info` for one string set (include/uapi/linux/ethtool.h).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct EthtoolSsetInfo {
    pub(crate) cmd: u32,
    pub(crate) reserved: u32,
    pub(crate) sset_mask: u64,
    pub(crate) count: u32,
    pub(crate) padding: u32,
}

/// Features a kernel may have, rounded up: NETDEV_FEATURE_COUNT is about 64 (include/linux/netdev_features.h).
pub(crate) const FEATURES_MAX: usize = 128;

/// `struct ethtool_gstrings` with room for [`FEATURES_MAX`] names of `ETH_GSTRING_LEN` bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct EthtoolGstrings {
    pub(crate) cmd: u32,
    pub(crate) string_set: u32,
    pub(crate) len: u32,
    pub(crate) names: [[u8; 32]; FEATURES_MAX],
}

/// `struct ethtool_get_features_block` (include/uapi/linux/ethtool.h).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct FeaturesBlock {
    pub(crate) available: u32,
    pub(crate) requested: u32,
    pub(crate) active: u32,
    pub(crate) never_changed: u32,
}

/// `struct ethtool_gfeatures` with room for [`FEATURES_MAX`] features.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct EthtoolGfeatures {
    pub(crate) cmd: u32,
    pub(crate) size: u32,
    pub(crate) blocks: [FeaturesBlock; FEATURES_MAX / 32],
}

/// `struct ethtool_rxnfc` without rules behind it (include/uapi/linux/ethtool.h).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct EthtoolRxnfc {
    pub(crate) cmd: u32,
    pub(crate) flow_type: u32,
    pub(crate) data: u64,
    /// `struct ethtool_rx_flow_spec`.
    pub(crate) fs: [u64; 21],
    pub(crate) rule_cnt: u32,
    pub(crate) padding: u32,
}

/// Where the members of `struct ethtool_rxfh` lie (include/uapi/linux/ethtool.h), in bytes. `rss_config`, the indirection table in `__u32` and then the
/// key, begins where the structure ends.
pub(crate) mod rxfh {
    pub(crate) const CMD: usize = 0;
    pub(crate) const INDIR_SIZE: usize = 8;
    pub(crate) const KEY_SIZE: usize = 12;
    pub(crate) const HFUNC: usize = 16;
    /// Since Linux 6.8; zero before.
    pub(crate) const INPUT_XFRM: usize = 17;
    pub(crate) const RSS_CONFIG: usize = 24;
}

/// `ETHTOOL_GDRVINFO` (include/uapi/linux/ethtool.h).
pub(crate) const ETHTOOL_GDRVINFO: u32 = 0x03;
/// `ETHTOOL_GLINK`.
pub(crate) const ETHTOOL_GLINK: u32 = 0x0a;
/// `ETHTOOL_GRINGPARAM`.
pub(crate) const ETHTOOL_GRINGPARAM: u32 = 0x10;
/// `ETHTOOL_GSTRINGS`.
pub(crate) const ETHTOOL_GSTRINGS: u32 = 0x1b;
/// `ETHTOOL_GRXFH`.
pub(crate) const ETHTOOL_GRXFH: u32 = 0x29;
/// `ETHTOOL_GRXCLSRLCNT`.
pub(crate) const ETHTOOL_GRXCLSRLCNT: u32 = 0x2e;
/// `ETHTOOL_GSSET_INFO`.
pub(crate) const ETHTOOL_GSSET_INFO: u32 = 0x37;
/// `ETHTOOL_GFEATURES`.
pub(crate) const ETHTOOL_GFEATURES: u32 = 0x3a;
/// `ETHTOOL_GCHANNELS`.
pub(crate) const ETHTOOL_GCHANNELS: u32 = 0x3c;
/// `ETHTOOL_GRSSH`.
pub(crate) const ETHTOOL_GRSSH: u32 = 0x46;
/// `TCP_V4_FLOW`, `UDP_V4_FLOW`, `TCP_V6_FLOW`, `UDP_V6_FLOW`.
pub(crate) const TCP_V4_FLOW: u32 = 0x01;
pub(crate) const UDP_V4_FLOW: u32 = 0x02;
pub(crate) const TCP_V6_FLOW: u32 = 0x05;
pub(crate) const UDP_V6_FLOW: u32 = 0x06;
/// `RXH_IP_SRC | RXH_IP_DST`.
pub(crate) const RXH_IP_BOTH: u64 = 1 << 4 | 1 << 5;
/// `RXH_L4_B_0_1 | RXH_L4_B_2_3`: both ports.
pub(crate) const RXH_L4_BOTH: u64 = 1 << 6 | 1 << 7;
/// `ETH_RSS_HASH_TOP`, `ETH_RSS_HASH_XOR`, `ETH_RSS_HASH_CRC32` (include/linux/ethtool.h).
pub(crate) const ETH_RSS_HASH_TOP: u8 = 1 << 0;
pub(crate) const ETH_RSS_HASH_XOR: u8 = 1 << 1;
pub(crate) const ETH_RSS_HASH_CRC32: u8 = 1 << 2;
/// `RXH_XFRM_SYM_XOR` (since Linux 6.8).
pub(crate) const RXH_XFRM_SYM_XOR: u8 = 1 << 0;
/// `RXH_XFRM_SYM_OR_XOR` (since Linux 6.15).
pub(crate) const RXH_XFRM_SYM_OR_XOR: u8 = 1 << 1;
/// `ETH_SS_FEATURES`.
pub(crate) const ETH_SS_FEATURES: u32 = 4;

const _: () = {
    assert!(size_of::<DescriptorSlot>() == 16 && align_of::<DescriptorSlot>() == 8);
    assert!(size_of::<AddressSlot>() == 8 && align_of::<AddressSlot>() == 8);
    assert!(size_of::<sockaddr_xdp>() == 16);
    assert!(size_of::<xdp_umem_reg>() == 32);
    assert!(size_of::<xdp_ring_offset>() == 32);
    assert!(size_of::<xdp_mmap_offsets>() == 128);
    assert!(size_of::<xdp_statistics>() == 48);
    assert!(size_of::<xdp_options>() == 4);
    assert!(size_of::<Ifreq>() == size_of::<libc::ifreq>());
    assert!(size_of::<EthtoolChannels>() == 36);
    assert!(size_of::<EthtoolRingparam>() == 36);
    assert!(size_of::<EthtoolDrvinfo>() == 196);
    assert!(size_of::<EthtoolValue>() == 8);
    assert!(size_of::<EthtoolSsetInfo>() == 24);
    assert!(size_of::<EthtoolRxnfc>() == 192 && std::mem::offset_of!(EthtoolRxnfc, rule_cnt) == 184);
    assert!(size_of::<EthtoolGstrings>() == 12 + 32 * FEATURES_MAX);
    assert!(size_of::<EthtoolGfeatures>() == 8 + 16 * FEATURES_MAX / 32);
};
