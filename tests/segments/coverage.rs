//! Nothing without a script: every reason to drop a segment, every challenge and every step of recovery is shown by one.
//!
//! A script's own run verifies that what it names has been counted, so here the names suffice.

use ringway::device::Drop;
use ringway::tcp::tally::Happening;

use crate::script::{Script, Stack};
use crate::scripts;

/// The drops of TCP; the checksum that an offload left unfilled is TCP's as much as UDP's.
fn drops_of_tcp() -> impl Iterator<Item = Drop> {
    Drop::ALL.iter().copied().filter(|why| why.name().starts_with("tcp_") || *why == Drop::ChecksumUnfilled)
}

#[test]
fn every_drop_of_tcp_has_a_script() {
    let shown: Vec<Drop> = scripts::all().into_iter().flat_map(|(_, write)| Script::of(write, Stack::Ringway).drops).collect();
    let missing: Vec<_> = drops_of_tcp().filter(|why| !shown.contains(why)).map(Drop::name).collect();
    assert_eq!(missing, Vec::<&str>::new(), "no script shows these");
}

#[test]
fn everything_that_happens_to_connections_has_a_script() {
    let shown: Vec<Happening> =
        scripts::all().into_iter().flat_map(|(_, write)| Script::of(write, Stack::Ringway).happenings).collect();
    let missing: Vec<_> = Happening::ALL.iter().filter(|what| !shown.contains(what)).map(|what| what.name()).collect();
    assert_eq!(missing, Vec::<&str>::new(), "no script shows these");
}

#[test]
fn every_script_has_a_name_of_its_own() {
    let mut names: Vec<_> = scripts::all().into_iter().map(|(name, _)| name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
