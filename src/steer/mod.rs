//! Which frames are Ringway's: the XDP program, what it looks for, and how it gets onto an interface.
//!
//! Called by the engine's set-up and by `ringway steer`, never per packet. The text of the program, the claims and the model are pure and build
//! everywhere; loading, attaching, port reservation and the kernel's addresses need the feature `afxdp`. Nothing here panics on
//! what the wire or the kernel says; whatever is taken is given back on drop.
//!
//! The order at start, and the reverse at stop: check the addresses (`addresses::check`), hold the claimed ports (`Reservation::take`), load the program
//! (`Steering::load`), bind the AF_XDP sockets and give them to it (`Steering::set_socket`), attach (`Steering::attach`).

#[cfg(feature = "afxdp")]
pub mod addresses;
pub mod assembler;
#[cfg(feature = "afxdp")]
pub mod attach;
pub mod cause;
pub mod claims;
#[cfg(feature = "afxdp")]
mod holders;
pub mod model;
pub mod program;
#[cfg(feature = "afxdp")]
pub mod reserve;
#[cfg(feature = "afxdp")]
mod rights;
#[cfg(all(test, feature = "afxdp"))]
mod tests;

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
    let kinds = program::Kinds { addresses: claims.has_addresses(), ports: claims.has_ports() };
    let program = program::steer(kinds)?;
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

    #[test]
    fn the_listing_is_what_was_reviewed() {
        let cidr = |text: &str| Cidr { address: text.parse().unwrap(), prefix: 24 };
        let mut claims = Claims::new();
        claims.add(&Claim::Addresses(vec![cidr("10.0.0.2")]), None).unwrap();
        let ports = [(Transport::Tcp, 80), (Transport::Udp, 53)].map(|(transport, port)| PortClaim { transport, port });
        claims.add(&Claim::Ports { addresses: vec![cidr("10.0.0.1")], ports: ports.to_vec() }, Some(5)).unwrap();
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
