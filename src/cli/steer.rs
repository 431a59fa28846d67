//! `ringway steer --dump`: the claims and the XDP program that looks for them, as they would be loaded. Needs no rights.

use ringway::error::SetupError;
use ringway::link::interface::Claim;
use ringway::steer::{self, Claims, addresses};
use ringway::xsk::nic::Nic;
use serde_json::json;

use super::args::SteerArgs;
use super::failure::Failure;
use super::output::Output;

/// Prints the listing.
pub(crate) fn run(args: &SteerArgs, output: Output) -> Result<(), Failure> {
    let listing = steer::dump(&claims(args)?).map_err(|error| Failure::run("cannot assemble the XDP program", error))?;
    output.event("summary", &json!({ "listing": listing.lines().collect::<Vec<_>>() }));
    output.text(listing.trim_end());
    Ok(())
}

fn claims(args: &SteerArgs) -> Result<Claims, SetupError> {
    let mut claims = Claims::new();
    if !args.addresses.is_empty() {
        for address in &args.addresses {
            addresses::check(&address.cidr, &[])?;
            claims.add(&Claim::Addresses(vec![address.cidr]), address.vlan)?;
        }
    }
    if !args.claims.is_empty() {
        if args.interfaces.is_empty() {
            return Err(SetupError::usage(
                "cannot list the claimed ports",
                "they are taken on the addresses of an interface, and none is given",
            )
            .mend("-i eth0"));
        }
        for name in &args.interfaces {
            let nic = Nic::find(name)?;
            let addresses = addresses::served(nic.name(), nic.index())?;
            claims.add(&Claim::Ports { addresses, ports: args.claims.clone() }, None)?;
        }
    }
    if claims.is_empty() {
        return Err(SetupError::usage("cannot list a program", "nothing is claimed").mend("ringway steer --dump -a 10.0.0.2/24"));
    }
    Ok(claims)
}
