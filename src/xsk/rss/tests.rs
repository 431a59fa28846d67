//! What drivers answer. None of these is a recording: each is made, byte for byte, of the structures in include/uapi/linux/ethtool.h and of what
//! the driver's source fills in by default.

use super::*;
use crate::rss::{Spread, Unpredictable};

/// A driver's answers, given out under the rules of net/ethtool/ioctl.c.
struct Driver {
    name: &'static str,
    /// The whole reply to ETHTOOL_GRSSH; `None`: EOPNOTSUPP.
    rxfh: Option<Vec<u8>>,
    /// The answers to ETHTOOL_GRXFH: TCP and UDP over IPv4, TCP and UDP over IPv6; `None`: EOPNOTSUPP.
    fields: Option<[u64; 4]>,
    /// The answer to ETHTOOL_GRXCLSRLCNT, or its error.
    rules: Result<u32, i32>,
}

impl Ask for Driver {
    fn rxfh(&self, table: u32, key: u32) -> io::Result<Vec<u8>> {
        let whole = self.rxfh.as_ref().ok_or_else(not_supported)?;
        let (has_table, has_key) = sizes(whole)?;
        // ethtool_get_rxfh: a size of zero leaves that part out, any other must be the NIC's.
        if (table != 0 && table != has_table) || (key != 0 && key != has_key) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut reply = question(table, key);
        let end = whole.len().min(reply.len());
        reply[..end].copy_from_slice(&whole[..end]);
        Ok(reply)
    }

    fn rxnfc(&self, cmd: u32, flow_type: u32) -> io::Result<EthtoolRxnfc> {
        let asked = EthtoolRxnfc { cmd, flow_type, ..EthtoolRxnfc::default() };
        match cmd {
            ETHTOOL_GRXFH => {
                let flow = [TCP_V4_FLOW, UDP_V4_FLOW, TCP_V6_FLOW, UDP_V6_FLOW].iter().position(|&known| known == flow_type);
                let fields = self.fields.ok_or_else(not_supported)?;
                Ok(EthtoolRxnfc { data: fields[flow.expect("a kind of packet that can be hashed")], ..asked })
            }
            ETHTOOL_GRXCLSRLCNT => {
                let rule_cnt = self.rules.map_err(io::Error::from_raw_os_error)?;
                // Drivers also say how many rules there could be.
                Ok(EthtoolRxnfc { data: 4096, rule_cnt, ..asked })
            }
            other => panic!("{other:#x} was never to be asked"),
        }
    }
}

impl Driver {
    fn told(&self) -> Told {
        read(self, self.name).expect("an answer")
    }

    fn predicts(&self) -> Result<(), Unpredictable> {
        Spread::new(&self.told()).map(|_| ())
    }
}

fn not_supported() -> io::Error {
    io::Error::from_raw_os_error(libc::EOPNOTSUPP)
}

/// `struct ethtool_rxfh`, member by member: cmd, rss_context, indir_size, key_size, hfunc, input_xfrm, rsvd8[2], rsvd32, rss_config[].
fn rxfh(table: &[u32], key: &[u8], hfunc: u8, input_xfrm: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [0x46, 0, table.len() as u32, key.len() as u32] {
        bytes.extend(u32::to_ne_bytes(word));
    }
    bytes.extend([hfunc, input_xfrm, 0, 0, 0, 0, 0, 0]);
    table.iter().for_each(|queue| bytes.extend(queue.to_ne_bytes()));
    bytes.extend(key);
    bytes
}

/// ethtool_rxfh_indir_default: the queues in turn.
fn in_turn(entries: u32, queues: u32) -> Vec<u32> {
    (0..entries).map(|at| at % queues).collect()
}

fn key(len: u8) -> Vec<u8> {
    (1..=len).collect()
}

const ADDRESSES: u64 = 0x30;
const PORTS_TOO: u64 = 0xf0;

/// 128 entries, a key of 40 bytes, UDP by addresses (ixgbe_ethtool.c).
fn ixgbe() -> Driver {
    Driver {
        name: "ixgbe",
        rxfh: Some(rxfh(&in_turn(128, 4), &key(40), 1, 0)),
        fields: Some([PORTS_TOO, ADDRESSES, PORTS_TOO, ADDRESSES]),
        rules: Ok(0),
    }
}

/// 512 entries, a key of 52 bytes (i40e_ethtool.c).
fn i40e() -> Driver {
    Driver { name: "i40e", rxfh: Some(rxfh(&in_turn(512, 6), &key(52), 1, 0)), fields: Some([PORTS_TOO; 4]), rules: Ok(0) }
}

/// 2048 entries, a key of 52 bytes; the first driver with symmetric-xor (ice_ethtool.c).
fn ice(input_xfrm: u8) -> Driver {
    Driver {
        name: "ice",
        rxfh: Some(rxfh(&in_turn(2048, 16), &key(52), 1, input_xfrm)),
        fields: Some([PORTS_TOO; 4]),
        rules: Ok(0),
    }
}

/// A key of 40 bytes; xor besides Toeplitz, and since Linux 6.15 the transform (mlx5 en_ethtool.c).
fn mlx5(hfunc: u8, input_xfrm: u8) -> Driver {
    Driver {
        name: "mlx5_core",
        rxfh: Some(rxfh(&in_turn(256, 8), &key(40), hfunc, input_xfrm)),
        fields: Some([PORTS_TOO; 4]),
        rules: Ok(0),
    }
}

/// 128 entries, a key of 40 bytes, no rules (ena_ethtool.c). Where the device keeps the function to itself, function and key are zeros.
fn ena(hfunc: u8, key: &[u8]) -> Driver {
    Driver {
        name: "ena",
        rxfh: Some(rxfh(&in_turn(128, 8), key, hfunc, 0)),
        fields: Some([PORTS_TOO; 4]),
        rules: Err(libc::EOPNOTSUPP),
    }
}

/// With VIRTIO_NET_F_RSS a table and a key of 40 bytes, without it neither; Toeplitz is named in both cases (virtio_net.c).
fn virtio_net(table: &[u32], key: &[u8]) -> Driver {
    let fields = Some(if key.is_empty() { [0; 4] } else { [PORTS_TOO, PORTS_TOO, PORTS_TOO, PORTS_TOO] });
    Driver { name: "virtio_net", rxfh: Some(rxfh(table, key, 1, 0)), fields, rules: Err(libc::EOPNOTSUPP) }
}

#[test]
fn what_a_driver_tells_is_read_whole() {
    let told = ixgbe().told();
    assert_eq!((told.function, told.transform, told.rules), (Function::Toeplitz, Transform::None, Some(0)));
    assert_eq!(told.key, Toeplitz::new(key(40)));
    assert_eq!(told.table, in_turn(128, 4));
    let fields = Flow::ALL.map(|flow| told.fields_of(flow));
    assert_eq!(fields, [Fields::FourTuple, Fields::FourTuple, Fields::TwoTuple, Fields::TwoTuple]);
}

#[test]
fn sizes_are_the_drivers() {
    for (driver, entries, bytes) in [(ixgbe(), 128, 40), (i40e(), 512, 52), (ice(0), 2048, 52), (mlx5(1, 2), 256, 40)] {
        let told = driver.told();
        assert_eq!((told.table.len(), told.key), (entries, Toeplitz::new(key(bytes))), "{}", driver.name);
        assert_eq!(driver.predicts(), Ok(()), "{}", driver.name);
    }
}

#[test]
fn transforms_are_read_and_the_unsaid_one_is_known() {
    let transform = |driver: Driver| driver.told().transform;
    assert_eq!(transform(ice(0)), Transform::None);
    assert_eq!(transform(ice(1)), Transform::SymmetricXor);
    assert_eq!(transform(ice(0xff)), Transform::Other(0xff));
    assert_eq!(transform(mlx5(1, 2)), Transform::SymmetricOrXor);
    assert_eq!(transform(mlx5(1, 0)), Transform::SymmetricOrXor, "before Linux 6.15 it did so without saying it");
}

#[test]
fn other_functions_than_toeplitz_are_not_predicted() {
    assert_eq!(mlx5(2, 0).predicts(), Err(Unpredictable::Function(Function::Xor)));
    assert_eq!(ena(4, &key(40)).predicts(), Err(Unpredictable::Function(Function::Crc32)));
    assert_eq!(ena(0, &[0; 40]).predicts(), Err(Unpredictable::Function(Function::Other(0))));
    assert_eq!(ena(1, &[0; 40]).predicts(), Err(Unpredictable::Key));
    assert_eq!(ena(1, &key(40)).predicts(), Ok(()));
}

#[test]
fn the_key_of_ena_is_read_backwards() {
    let mut backwards = key(40);
    backwards.reverse();
    assert_eq!(ena(1, &key(40)).told().key, Toeplitz::new(backwards).starting_from(u32::MAX));
}

#[test]
fn a_virtual_nic_without_rss_is_not_predicted() {
    assert_eq!(virtio_net(&in_turn(128, 4), &key(40)).predicts(), Ok(()));
    let without = virtio_net(&[], &[]);
    assert!(without.told().table.is_empty() && without.told().key.is_blank());
    assert_eq!(without.predicts(), Err(Unpredictable::Key));
}

#[test]
fn rules_are_counted_and_doubted() {
    assert_eq!(Driver { rules: Ok(3), ..ixgbe() }.predicts(), Err(Unpredictable::Rules(3)));
    assert_eq!(Driver { rules: Err(libc::EOPNOTSUPP), ..ixgbe() }.told().rules, Some(0));
    assert_eq!(Driver { rules: Err(libc::EIO), ..ixgbe() }.predicts(), Err(Unpredictable::UnknownRules));
}

#[test]
fn fields_of_one_end_are_other() {
    let told = Driver { fields: Some([0x10, 0x130, 0, PORTS_TOO]), ..ixgbe() }.told();
    let fields = Flow::ALL.map(|flow| told.fields_of(flow).to_string());
    assert_eq!(fields, ["other (0x10)", "none", "other (0x130)", "4-tuple"]);
    assert_eq!(Driver { fields: None, ..ixgbe() }.predicts(), Err(Unpredictable::Fields));
}

#[test]
fn a_driver_without_rss_tells_nothing() {
    let veth = Driver { name: "veth", rxfh: None, fields: None, rules: Err(libc::EOPNOTSUPP) };
    let error = read(&veth, veth.name).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
}

#[test]
fn nothing_that_a_driver_answers_is_taken_further_than_it_reaches() {
    let whole = rxfh(&in_turn(8, 2), &key(40), 1, 0);
    for end in 0..whole.len() {
        assert!(parse(&whole[..end]).is_err(), "{end} of {} bytes", whole.len());
    }
    assert!(parse(&whole).is_ok());
    let mut endless = rxfh(&[], &[], 1, 0);
    for size in [rxfh::INDIR_SIZE, rxfh::KEY_SIZE] {
        endless[size..size + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(parse(&endless).is_err());
        assert!(read(&Driver { rxfh: Some(endless.clone()), ..ixgbe() }, "ixgbe").is_err());
    }
}

#[test]
fn the_loopback_interface_has_no_rss() {
    assert_eq!(crate::xsk::nic::Nic::find("lo").unwrap().rss(), None);
}
