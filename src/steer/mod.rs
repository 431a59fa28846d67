//! Which frames are Ringway's: the XDP program, what it looks for, and how it gets onto an interface.
//!
//! Called by the engine's set-up and by `ringway steer`, never per packet. The text of the program, the claims and the model are pure and build
//! everywhere; loading, attaching, port reservation and the kernel's addresses need the feature `afxdp`. Nothing here panics on
//! what the wire or the kernel says; whatever is taken is given back on drop.
//!
//! The order at start, and the reverse at stop: check the addresses (`addresses::check`), hold the claimed ports (`Reservation::take`), load the program
//! (`Steering::load`), bind the AF_XDP sockets and give them to it (`Steering::set_socket`), attach (`Steering::attach`). Claims that change while
//! it is attached go through `Steering::update`.

#[cfg(feature = "afxdp")]
pub mod addresses;
pub mod assembler;
#[cfg(feature = "afxdp")]
pub mod attach;
pub mod cause;
pub mod claims;
pub(crate) mod holders;
#[cfg(all(test, feature = "afxdp", target_endian = "little"))]
mod machine;
pub mod model;
pub mod program;
#[cfg(feature = "afxdp")]
pub mod reserve;
#[cfg(feature = "afxdp")]
mod rights;
#[cfg(all(test, feature = "afxdp"))]
mod tests;

pub use crate::wire::vlan::{Tag, Vlan};
#[cfg(feature = "afxdp")]
pub use attach::{Attached, Mode, Steering, XdpMode};
pub use cause::{Action, Cause, Counters};
pub use claims::Claims;
#[cfg(feature = "afxdp")]
pub use reserve::Reservation;

/// The listing that `ringway steer --dump` prints: the claims, then the program that looks for them. Needs no rights.
///
/// # Errors
/// A mistake in the program's text, which the tests exclude.
pub fn dump(claims: &Claims) -> Result<String, assembler::AssembleError> {
    let program = program::steer(claims.kinds())?;
    let mut out = claims.dump();
    for &cause in Cause::ALL {
        out.push_str(&format!("cause  {:2} {}\n", cause as u32, cause.name()));
    }
    out.push_str(&format!("program steer, {} instructions\n", program.len()));
    out.push_str(program.listing());
    Ok(out)
}

#[cfg(test)]
mod dump_tests {
    use super::*;
    use crate::link::interface::{Cidr, Claim, PortClaim, Transport};

    fn cidrs<const N: usize>(list: [&str; N]) -> Vec<Cidr> {
        list.map(|text| Cidr { address: text.parse().unwrap(), prefix: 24 }).to_vec()
    }

    #[test]
    fn the_listing_is_what_was_reviewed() {
        let mut claims = Claims::new();
        claims.add(&Claim::Addresses(cidrs(["10.0.0.2", "fd00::2"])), None).unwrap();
        let ports = [(Transport::Tcp, 80), (Transport::Udp, 53)].map(|(transport, port)| PortClaim { transport, port });
        claims.add(&Claim::Ports { addresses: cidrs(["10.0.0.1", "fd00::1"]), ports: ports.to_vec() }, Some(5)).unwrap();
        claims.add_group("239.1.1.1".parse().unwrap(), 5000, Vlan::tagged(Tag::s(9))).unwrap();
        claims.add_group("ff05::1".parse().unwrap(), 5000, Vlan::stacked(Tag::s(9), Tag::c(5))).unwrap();
        insta::assert_snapshot!(dump(&claims).unwrap());
    }

    #[test]
    fn the_listing_for_an_ipv4_address_alone_is_short() {
        let mut claims = Claims::new();
        claims.add(&Claim::Addresses(cidrs(["10.0.0.2"])), None).unwrap();
        insta::assert_snapshot!(dump(&claims).unwrap());
    }

    #[test]
    fn every_claim_and_cause_is_listed() {
        let listing = dump(&Claims::new()).unwrap();
        for cause in Cause::ALL {
            assert!(listing.contains(cause.name()));
        }
        assert!(listing.contains("program steer"));
    }
}
