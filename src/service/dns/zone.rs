//! A zone: read from a master file (RFC 1035 5) at start, held in memory, never changed.
//!
//! Called by [`super::Dns`], which finds the answer to each question here ([`Zone::find`]); how it is written is [`super::answer`]'s
//! business. The names are the keys of one table, in lower case and as they stand on the wire; a name that only has names below it (an
//! empty non-terminal) is in it, too, so that a walk from the apex down ends at the first name that is not there: what a question costs
//! depends on the zone's depth, not on the question's. Cannot panic.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::hash::BuildHasherDefault;
use std::panic;
use std::path::Path;

use domain::base::iana::Class;
use domain::base::name::{FlattenInto, Name, ParsedName, ToName};
use domain::base::{Record, RecordData, Rtype, Ttl};
use domain::dep::octseq::Parser;
use domain::rdata::ZoneRecordData;
use domain::zonefile::inplace::{Entry, ScannedRecord, Zonefile};
use siphasher::sip::SipHasher13;

use super::name::{Key, labels_of};
use crate::error::SetupError;

/// The data of a record, decoded.
pub(super) type Data = ZoneRecordData<Vec<u8>, Name<Vec<u8>>>;

/// Records with their owners, as they are read.
type Records = Vec<(Name<Vec<u8>>, Ttl, Data)>;

/// A zone of class IN.
#[derive(Debug)]
pub struct Zone {
    apex: Box<[u8]>,
    /// Labels of the apex, without the root's.
    depth: usize,
    nodes: HashMap<Box<[u8]>, Node, BuildHasherDefault<SipHasher13>>,
    records: usize,
    /// How long it may be remembered that something is not there: the SOA's TTL or its MINIMUM, if that is less (RFC 2308 5).
    negative_ttl: Ttl,
}

/// What the zone has at a name; nothing, if it only has something below it.
#[derive(Debug)]
pub(super) struct Node {
    /// The name as it was written.
    pub(super) name: Name<Vec<u8>>,
    sets: Vec<RecordSet>,
}

/// The records of one name and type.
#[derive(Debug)]
pub(super) struct RecordSet {
    pub(super) rtype: Rtype,
    pub(super) ttl: Ttl,
    pub(super) data: Vec<Data>,
    /// Bytes of the data.
    size: usize,
    /// Of NS records: the keys of those targets that the zone has addresses of.
    pub(super) glue: Vec<Box<[u8]>>,
}

/// What the zone knows of a question.
#[derive(Debug)]
pub(super) enum Found<'z> {
    /// The name is not of this zone.
    Outside,
    /// The records asked for, at the name or by a wildcard.
    Set(&'z RecordSet),
    /// The name is another's alias.
    Alias(&'z RecordSet, &'z Name<Vec<u8>>),
    /// The zone is cut above the name: others know (the node has the NS records).
    Cut(&'z Node, &'z RecordSet),
    /// The name is there, and nothing of this type.
    NoData,
    /// There is no such name.
    NoName,
}

impl Zone {
    /// Reads a zone from a master file.
    ///
    /// # Errors
    /// It cannot be read, or what it says is no zone that can be served; the error names the line where there is one.
    pub fn load(path: &Path) -> Result<Self, SetupError> {
        let refused = |why: String| SetupError::usage(format!("cannot serve the zone of '{}'", path.display()), why);
        let text = fs::read(path).map_err(|error| refused(error.to_string()))?;
        Self::parse(&text).map_err(|wrong| {
            let error = refused(wrong.why);
            match wrong.mend {
                Some(mend) => error.mend(mend),
                None => error,
            }
        })
    }

    /// The zone of a master file's text.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Wrong> {
        if has_label_of_one_at(text) {
            return Err(Wrong::new("a label that is a single '@' cannot be told from the origin"));
        }
        if has_open_parenthesis(text) {
            return Err(Wrong::new("a parenthesis is not closed"));
        }
        // The reader panics on some files that end in the middle of a record; nothing of it is used after that.
        let records = panic::catch_unwind(|| read_all(text));
        Self::build(records.unwrap_or_else(|_| {
            Err(Wrong::new(
                "the reader of zone files gives up on this one: is a parenthesis or a quotation mark open at its end?",
            ))
        })?)
    }

    fn build(records: Records) -> Result<Self, Wrong> {
        let mut apexes = records.iter().filter(|(_, _, data)| data.rtype() == Rtype::SOA);
        let (Some((apex, soa_ttl, soa)), None) = (apexes.next(), apexes.next()) else {
            return Err(Wrong::new("a zone has one SOA record, at its apex; this file has none, or several"));
        };
        let negative_ttl = match soa {
            Data::Soa(soa) => soa.minimum().min(*soa_ttl),
            _ => *soa_ttl,
        };
        let key = Key::of(apex);
        let mut zone = Self {
            apex: key.bytes().into(),
            depth: labels_of(key.bytes()).count(),
            nodes: HashMap::default(),
            records: 0,
            negative_ttl,
        };
        for (name, ttl, data) in records {
            zone.add(name, ttl, data)?;
        }
        zone.check()?;
        zone.find_glue();
        Ok(zone)
    }

    fn add(&mut self, name: Name<Vec<u8>>, ttl: Ttl, data: Data) -> Result<(), Wrong> {
        let key = Key::of(&name);
        if !key.ends_with(&self.apex) {
            return Err(Wrong::new(format!("{} lies outside the zone", name.fmt_with_dot())));
        }
        let node = self.nodes.entry(key.bytes().into()).or_insert_with(|| Node { name: name.clone(), sets: Vec::new() });
        let rtype = data.rtype();
        let set = match node.sets.iter().position(|set| set.rtype == rtype) {
            Some(index) => &mut node.sets[index],
            None => {
                node.sets.push(RecordSet { rtype, ttl, data: Vec::new(), size: 0, glue: Vec::new() });
                let last = node.sets.len() - 1;
                &mut node.sets[last]
            }
        };
        // RFC 2181 5: a set has one TTL, in doubt the lowest, and each record once.
        set.ttl = set.ttl.min(ttl);
        if set.data.contains(&data) {
            return Ok(());
        }
        set.size += size_of_data(&data);
        set.data.push(data);
        self.records += 1;
        // The names between this one and the apex exist as well.
        let above = labels_of(key.bytes()).skip(1);
        for start in above.take(key.labels().saturating_sub(self.depth)) {
            let parent = &key.bytes()[start..];
            if self.nodes.contains_key(parent) {
                break;
            }
            let Ok(name) = Name::from_octets(parent.to_vec()) else { break };
            self.nodes.insert(parent.into(), Node { name, sets: Vec::new() });
        }
        Ok(())
    }

    /// What makes a zone one that can be answered from.
    fn check(&self) -> Result<(), Wrong> {
        if self.apex_set(Rtype::NS).is_none() {
            return Err(Wrong::new("the zone has no NS record at its apex"));
        }
        for node in self.nodes.values() {
            let name = node.name.fmt_with_dot();
            let Some(alias) = node.set(Rtype::CNAME) else { continue };
            if alias.data.len() > 1 || node.sets.len() > 1 {
                return Err(Wrong::new(format!("{name} has a CNAME record and others beside it")));
            }
        }
        Ok(())
    }

    /// Finds out which name servers have addresses here, once for all referrals.
    fn find_glue(&mut self) {
        let mut found = Vec::new();
        for (owner, node) in &self.nodes {
            let Some(set) = node.set(Rtype::NS).filter(|_| **owner != *self.apex) else { continue };
            let targets =
                set.data.iter().filter_map(|data| if let Data::Ns(ns) = data { Some(Key::of(ns.nsdname())) } else { None });
            let glue: Vec<Box<[u8]>> = targets
                .filter(|key| self.at(key.bytes()).is_some_and(|node| node.addresses().next().is_some()))
                .map(|key| key.bytes().into())
                .collect();
            found.push((owner.clone(), glue));
        }
        for (owner, glue) in found {
            let set = self.nodes.get_mut(&owner).and_then(|node| node.sets.iter_mut().find(|set| set.rtype == Rtype::NS));
            if let Some(set) = set {
                set.glue = glue;
            }
        }
    }

    /// What there is at a name that is being asked for. RFC 1034 4.3.2, with the wildcards of RFC 4592.
    pub(super) fn find(&self, name: &Key, rtype: Rtype) -> Found<'_> {
        let labels = name.labels();
        if labels < self.depth || !name.ends_with(&self.apex) {
            return Found::Outside;
        }
        let mut encloser: &[u8] = &self.apex;
        for depth in self.depth..=labels {
            let key = name.suffix(depth);
            let Some(node) = self.nodes.get(key) else {
                // The name is not there: the wildcard below the last that is stands for it, if there is one.
                return self.nodes.get(Key::wildcard_below(encloser).bytes()).map_or(Found::NoName, |node| node.find(rtype));
            };
            // RFC 4035 3.1.4.1: the DS record of a cut is the upper side's.
            if depth > self.depth
                && let Some(servers) = node.set(Rtype::NS)
                && !(depth == labels && rtype == Rtype::DS)
            {
                return Found::Cut(node, servers);
            }
            encloser = key;
        }
        self.nodes.get(encloser).map_or(Found::NoName, |node| node.find(rtype))
    }

    /// The node at exactly this key.
    pub(super) fn at(&self, key: &[u8]) -> Option<&Node> {
        self.nodes.get(key)
    }

    /// The SOA record, whose name it has and how long it is to be remembered that something is not there.
    pub(super) fn soa(&self) -> Option<(&Node, &RecordSet, Ttl)> {
        let node = self.nodes.get(&self.apex)?;
        Some((node, node.set(Rtype::SOA)?, self.negative_ttl))
    }

    /// Records read.
    pub fn records(&self) -> usize {
        self.records
    }

    fn apex_set(&self, rtype: Rtype) -> Option<&RecordSet> {
        self.nodes.get(&self.apex)?.set(rtype)
    }
}

impl Node {
    pub(super) fn set(&self, rtype: Rtype) -> Option<&RecordSet> {
        self.sets.iter().find(|set| set.rtype == rtype)
    }

    /// Its IPv4 and IPv6 addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &RecordSet> {
        self.sets.iter().filter(|set| matches!(set.rtype, Rtype::A | Rtype::AAAA))
    }

    fn find(&self, rtype: Rtype) -> Found<'_> {
        if rtype == Rtype::ANY {
            // RFC 8482 4.1: one of the sets will do. The smallest makes the worst weapon.
            return self.sets.iter().min_by_key(|set| set.size).map_or(Found::NoData, Found::Set);
        }
        if let Some(set) = self.set(rtype) {
            return Found::Set(set);
        }
        match self.set(Rtype::CNAME) {
            Some(set) => match set.data.first() {
                Some(Data::Cname(alias)) => Found::Alias(set, alias.cname()),
                _ => Found::NoData,
            },
            None => Found::NoData,
        }
    }
}

/// What is wrong with a zone, and what would mend it.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) why: String,
    mend: Option<&'static str>,
}

impl Wrong {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), mend: None }
    }

    /// What the scanner says: line, column and reason.
    fn at(error: &str) -> Self {
        // Nothing says what zone a file holds but the file itself.
        let mend = error.contains("origin").then_some("$ORIGIN example.com. as the first line of the file");
        // It looks one token ahead, which may lie in the next line.
        Self { why: format!("at or before line {error}"), mend }
    }
}

/// A record of the file: in one form for each type, whether it was written by name or as `TYPE1 \# 4 0a000001` (RFC 3597).
fn read(record: &ScannedRecord) -> Result<(Name<Vec<u8>>, Ttl, Data), Wrong> {
    let name: Name<Vec<u8>> = record.owner().to_name();
    let wrong = |why: &str| Wrong::new(format!("the {} record of {} {why}", record.rtype(), name.fmt_with_dot()));
    match record.rtype() {
        _ if record.class() != Class::IN => return Err(wrong("is not of class IN")),
        Rtype::DNAME => return Err(wrong("cannot be served: no answers are made of DNAME records here")),
        Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3 | Rtype::NSEC3PARAM => {
            return Err(wrong("cannot be served: no answer is signed here; take the zone as it was before it was signed"));
        }
        _ if record.ttl().as_secs() > TTL_MAX => return Err(wrong("has a TTL beyond 2147483647 (RFC 2181 8)")),
        _ => {}
    }
    let mut wire = Vec::new();
    if record.compose(&mut wire).is_err() {
        return Err(wrong("is too long"));
    }
    let mut parser = Parser::from_ref(&wire);
    let parsed = Record::<ParsedName<&[u8]>, ZoneRecordData<&[u8], ParsedName<&[u8]>>>::parse(&mut parser);
    let Ok(Some(parsed)) = parsed else { return Err(wrong("is not as its type demands")) };
    let ttl = parsed.ttl();
    let written: ZoneRecordData<Vec<u8>, Written> = parsed.into_data().flatten_into();
    Ok((name, ttl, written.flatten_into()))
}

/// A name in the data of a record, as the scanner leaves it: it knows that a free-standing `@` is the origin (RFC 1035 5.1) where it is an owner,
/// and makes of others the label `@` below the origin.
struct Written(Name<Vec<u8>>);

impl FlattenInto<Written> for ParsedName<&[u8]> {
    type AppendError = Infallible;

    fn try_flatten_into(self) -> Result<Written, Infallible> {
        Ok(Written(self.to_name()))
    }
}

impl FlattenInto<Name<Vec<u8>>> for Written {
    type AppendError = Infallible;

    fn try_flatten_into(self) -> Result<Name<Vec<u8>>, Infallible> {
        let rest = self.0.as_slice().strip_prefix(b"\x01@").and_then(|rest| Name::from_octets(rest.to_vec()).ok());
        Ok(rest.unwrap_or(self.0))
    }
}

/// The records of a master file, as they are read.
fn read_all(text: &[u8]) -> Result<Records, Wrong> {
    let mut file = Zonefile::from(text);
    file.set_default_class(Class::IN);
    let mut records = Vec::new();
    loop {
        match file.next_entry() {
            Ok(Some(Entry::Record(record))) => records.push(read(&record)?),
            Ok(Some(Entry::Include { .. })) => return Err(Wrong::new("$INCLUDE is not supported: a zone is one file")),
            Ok(None) => return Ok(records),
            Err(error) => return Err(Wrong::at(&error.to_string())),
        }
    }
}

/// True when a file ends within parentheses (RFC 1035 5.1).
fn has_open_parenthesis(text: &[u8]) -> bool {
    let (mut depth, mut quoted) = (0_usize, false);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => quoted = !quoted,
            b';' if !quoted => drop(bytes.find(|&&byte| byte == b'\n')),
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    depth > 0
}

/// True when a file has such a label itself, escaped or with a dot behind it.
fn has_label_of_one_at(text: &[u8]) -> bool {
    let escaped = text.windows(2).any(|at| at == b"\\@") || text.windows(4).any(|at| at == b"\\064");
    let dotted = |at: &[u8]| at[1..].starts_with(b"@.") && (at[0].is_ascii_whitespace() || at[0] == b'(');
    text.starts_with(b"@.") || escaped || text.windows(3).any(dotted)
}

fn size_of_data(data: &Data) -> usize {
    use domain::base::rdata::ComposeRecordData;
    let mut wire = Vec::new();
    // A vector takes everything.
    let _ = data.compose_rdata(&mut wire);
    wire.len()
}

/// RFC 2181 8.
const TTL_MAX: u32 = i32::MAX as u32;
