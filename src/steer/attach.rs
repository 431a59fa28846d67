//! Loads the program with its maps, gives it the sockets, attaches it, reads its counters.
//!
//! Called by the engine's set-up and by the report, and when claims change, never per packet. The order is: load (which fills the claims), set the
//! sockets, attach; the attachment goes with [`Attached`], on drop or with the process. Refusals of the kernel become [`SetupError`]s with the command that
//! mends them; nothing here panics.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use zerocopy::IntoBytes;

use super::addresses;
use super::assembler::{AssembleError, Assembled};
use super::cause::{Cause, Counters};
use super::claims::{ClaimKey, Claims, ENTRIES};
use super::holders;
use super::program::{self, Kinds};
use super::rights::denied;
use crate::error::SetupError;
use crate::wire::ethernet::Mac;
use crate::xsk::bpf::{Link, LinkMode, LoadError, Map, MapKind, Program};

/// How the operator wants the program attached (`-m`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Native; where the driver cannot, skb with a warning.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the network stack: any interface, slower.
    Skb,
}

/// How the program is attached; part of every report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the network stack.
    Skb,
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Skb => "skb",
        })
    }
}

/// A loaded program and its maps.
#[derive(Debug)]
pub struct Steering {
    program: Program,
    claimed: Map,
    causes: Map,
    sockets: Map,
    /// What the map of claims has now, and the room it has.
    entries: BTreeMap<ClaimKey, u32>,
    room: usize,
    /// What the text of the program looks for; `None` for a text that is not chosen by its claims.
    kinds: Option<Kinds>,
    /// What it looks for whatever is claimed.
    always: Kinds,
    /// The attachments there are, to put another text there. Each belongs to its [`Attached`].
    links: Mutex<Vec<Weak<Link>>>,
}

/// An attached program: detached on drop.
#[derive(Debug)]
pub struct Attached {
    /// How.
    pub mode: XdpMode,
    /// What the report has to say about it: that it is not native, why, and what to turn off.
    pub warning: Option<String>,
    link: Arc<Link>,
}

/// What came of attaching and taking off again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    /// In the driver.
    pub(crate) native: Result<(), SetupError>,
    /// In the network stack; `None` where that was not tried, because native mode works or fails for another reason than the driver.
    pub(crate) skb: Option<Result<(), SetupError>>,
}

impl Attached {
    /// The id under which `bpftool link` knows the attachment.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn link_id(&self) -> io::Result<u32> {
        self.link.id()
    }
}

impl Steering {
    /// Loads the steering program for `claims`, on an interface with `queues` receive queues.
    ///
    /// # Errors
    /// Missing capabilities (by name), or a refusal of the kernel with what its verifier said.
    pub fn load(claims: &Claims, queues: u32) -> Result<Self, SetupError> {
        Self::load_for(claims, Kinds::default(), queues)
    }

    /// As [`Steering::load`], with a text that looks for kinds of claims which will come too: then [`Steering::update`] needs no other text, and no rights.
    ///
    /// # Errors
    /// As [`Steering::load`].
    pub fn load_for(claims: &Claims, always: Kinds, queues: u32) -> Result<Self, SetupError> {
        let kinds = claims.kinds() | always;
        let text = assembled(program::steer(kinds))?;
        Ok(Self { kinds: Some(kinds), always, ..Self::load_text(STEER, &text, claims, queues)? })
    }

    /// Loads the reflector for the claimed addresses; it answers ARP as `mac`, the address of the interface it will be attached to.
    ///
    /// # Errors
    /// As [`Steering::load`].
    pub fn load_reflector(claims: &Claims, mac: Mac) -> Result<Self, SetupError> {
        Self::load_text("ringway_reflect", &assembled(program::reflector(mac))?, claims, 1)
    }

    /// Loads the program that takes every frame of an interface with `queues` receive queues; its counters stay 0.
    ///
    /// # Errors
    /// As [`Steering::load`].
    pub fn load_everything(queues: u32) -> Result<Self, SetupError> {
        Self::load_text("ringway_all", &assembled(program::everything())?, &Claims::new(), queues)
    }

    /// Loads any text that uses the three maps.
    pub(super) fn load_text(name: &str, text: &Assembled, claims: &Claims, queues: u32) -> Result<Self, SetupError> {
        let entries = claims.entries();
        let room = (2 * entries.len()).clamp(ROOM_LEAST, 2 * ENTRIES);
        let map =
            |kind, name, key, value, entries| Map::create(kind, name, key, value, entries).map_err(|error| refused_map(&error));
        let claimed = map(MapKind::Hash, "ringway_claims", size_of::<ClaimKey>() as u32, 4, room as u32)?;
        let causes = map(MapKind::PerCpuArray, "ringway_causes", 4, 8, Cause::COUNT as u32)?;
        let sockets = map(MapKind::Sockets, "ringway_sockets", 4, 4, queues.max(1))?;
        for (key, vlan) in &entries {
            claimed.update(key.as_bytes(), vlan.as_bytes()).map_err(|error| refused_map(&error))?;
        }
        let program = load(name, text, [&claimed, &causes, &sockets])?;
        Ok(Self {
            program,
            claimed,
            causes,
            sockets,
            entries,
            room,
            kinds: None,
            always: Kinds::default(),
            links: Mutex::default(),
        })
    }

    /// Changes what is claimed while the program runs, attached or not.
    ///
    /// What comes is added before what goes is removed; only a frame of the second VLAN of a claim, met in that very moment, may be passed. Where the
    /// new claims need a text that looks for other kinds, that takes the place of the old one in every attachment, between the two; this needs
    /// CAP_BPF and CAP_NET_ADMIN. Ports must be held and groups joined before, addresses and ports given up after.
    ///
    /// # Errors
    /// Usage, and nothing changed: the program is not one for claims; what was claimed and what is now need more entries together than the map
    /// has, which are twice those at its load and at least 1024. Environment: the kernel refuses an entry or the text; what has been added stays
    /// then, what was to go is still there, and another update mends it.
    pub fn update(&mut self, claims: &Claims) -> Result<(), SetupError> {
        const WHAT: &str = "cannot change what is claimed";
        let Some(loaded) = self.kinds else {
            return Err(SetupError::usage(WHAT, "the program that is loaded does not look at all claims"));
        };
        let wanted = claims.entries();
        let together = wanted.keys().filter(|&key| !self.entries.contains_key(key)).count() + self.entries.len();
        if together > self.room {
            let why = format!("before and after need {together} entries together, the map has {}", self.room);
            return Err(SetupError::usage(WHAT, why).mend("start with the claims that are wanted"));
        }
        let refused = |error: io::Error| SetupError::environment(WHAT, error.to_string());
        // A new VLAN before the first one of its claim changes hands, so that both are found while that happens.
        let (fresh, kept): (Vec<_>, Vec<_>) = wanted.iter().partition(|&(key, _)| !self.entries.contains_key(key));
        for (&key, &vlan) in fresh.into_iter().chain(kept) {
            if self.entries.get(&key) != Some(&vlan) {
                self.claimed.update(key.as_bytes(), vlan.as_bytes()).map_err(refused)?;
                self.entries.insert(key, vlan);
            }
        }
        let kinds = claims.kinds() | self.always;
        if kinds != loaded {
            self.replace_text(kinds)?;
        }
        let gone: Vec<_> = self.entries.keys().filter(|&key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            self.claimed.delete(key.as_bytes()).map_err(refused)?;
            self.entries.remove(&key);
        }
        Ok(())
    }

    /// Loads the text for other kinds of claims, on the same maps, and puts it where the old one is attached.
    fn replace_text(&mut self, kinds: Kinds) -> Result<(), SetupError> {
        let program = load(STEER, &assembled(program::steer(kinds))?, [&self.claimed, &self.causes, &self.sockets])?;
        let links = self.links.get_mut().unwrap_or_else(PoisonError::into_inner);
        for link in links.iter().filter_map(Weak::upgrade) {
            link.update(&program).map_err(|error| {
                SetupError::environment("cannot put another XDP program into the place of the old one", error.to_string())
            })?;
        }
        (self.program, self.kinds) = (program, Some(kinds));
        Ok(())
    }

    /// Gives a queue its AF_XDP socket.
    ///
    /// # Errors
    /// A queue the interface does not have, or a descriptor that is not an AF_XDP socket.
    pub fn set_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), SetupError> {
        let descriptor = socket.as_raw_fd();
        self.sockets
            .update(queue.as_bytes(), descriptor.as_bytes())
            .map_err(|error| SetupError::environment(format!("cannot give queue {queue} its AF_XDP socket"), error.to_string()))
    }

    /// Takes the socket of a queue away; what is claimed there is counted as [`Cause::ClaimedUnserved`] from now on.
    ///
    /// # Errors
    /// What the kernel answers; a queue without a socket is no error.
    pub fn clear_socket(&self, queue: u32) -> io::Result<()> {
        self.sockets.delete(queue.as_bytes()).map(drop)
    }

    /// The counters, summed over the CPUs.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn counters(&self) -> io::Result<Counters> {
        let mut counters = Counters::default();
        for &cause in Cause::ALL {
            let per_cpu = self.causes.look_up((cause as u32).as_bytes())?.unwrap_or_default();
            for value in per_cpu.as_chunks::<8>().0 {
                counters.add(cause, u64::from_ne_bytes(*value));
            }
        }
        Ok(counters)
    }

    /// The loaded program, for test runs.
    pub const fn program(&self) -> &Program {
        &self.program
    }

    /// Attaches the program to `interface`, whose index is `ifindex`.
    ///
    /// With [`Mode::Auto`] a driver that cannot do it (EOPNOTSUPP), refuses it (EINVAL) or whose packets are too large (ERANGE) leads to skb mode, with
    /// a warning in the log and in the answer. Nothing else does: another program, missing rights and too few queues are errors in every mode.
    ///
    /// # Errors
    /// EBUSY, EEXIST, ENOSPC, ERANGE, EOPNOTSUPP and EPERM, each with what mends it.
    pub fn attach(&self, interface: &str, ifindex: u32, mode: Mode) -> Result<Attached, SetupError> {
        let (first, xdp_mode) = match mode {
            Mode::Auto | Mode::Native => (LinkMode::Native, XdpMode::Native),
            Mode::Skb => (LinkMode::Skb, XdpMode::Skb),
        };
        let error = match self.program.attach(ifindex, first) {
            Ok(link) => {
                let warning = (xdp_mode == XdpMode::Skb).then(|| warn(interface, None));
                return Ok(Attached { mode: xdp_mode, warning, link: self.remember(link) });
            }
            Err(error) => error,
        };
        let why = if mode == Mode::Auto { no_native(&error) } else { None };
        let Some(why) = why else { return Err(refused_attach(interface, ifindex, xdp_mode, &error)) };
        let link = self
            .program
            .attach(ifindex, LinkMode::Skb)
            .map_err(|error| refused_attach(interface, ifindex, XdpMode::Skb, &error))?;
        let warning = warn(interface, Some(why));
        Ok(Attached { mode: XdpMode::Skb, warning: Some(warning), link: self.remember(link) })
    }

    /// Attaches the program natively, or in skb mode where [`Mode::Auto`] would go on in it, and takes it off at once.
    pub(crate) fn try_modes(&self, interface: &str, ifindex: u32) -> Trial {
        let attach = |mode| self.program.attach(ifindex, mode).map(drop);
        let refused = |mode| move |error: io::Error| refused_attach(interface, ifindex, mode, &error);
        match attach(LinkMode::Native) {
            Ok(()) => Trial { native: Ok(()), skb: None },
            Err(error) => Trial {
                skb: no_native(&error).map(|_| attach(LinkMode::Skb).map_err(refused(XdpMode::Skb))),
                native: Err(refused(XdpMode::Native)(error)),
            },
        }
    }

    fn remember(&self, link: Link) -> Arc<Link> {
        let link = Arc::new(link);
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(&link));
        link
    }
}

/// The name under which the kernel lists the steering program.
const STEER: &str = "ringway_steer";

/// Room the map of claims has at least, so that claims can come while it is in use.
const ROOM_LEAST: usize = 1024;

/// Loads a text; the maps in the order of `MapName::position`.
fn load(name: &str, text: &Assembled, maps: [&Map; 3]) -> Result<Program, SetupError> {
    let descriptors = maps.map(|map| map.as_fd().as_raw_fd());
    let instructions = assembled(text.link(&descriptors))?;
    Program::load(name, &instructions).map_err(|error| refused_program(&error))
}

/// Says in the log what skb mode means, and returns it for the report. Where native mode was wanted and cannot be, that is the fall-back, and `why` its reason.
fn warn(interface: &str, why: Option<&str>) -> String {
    let because = why.map_or(String::new(), |why| format!("{why}, "));
    let warning = format!(
        "{interface}: {because}XDP runs in skb mode: slower, and it sees packets as GRO has merged them unless ethtool -K {interface} gro off lro off"
    );
    let fell_back = why.map(|_| "native to skb");
    tracing::warn!(target: "ringway::setup", interface, xdp = "skb", fell_back, "{warning}");
    warning
}

/// Why native mode is impossible here, if the error says that and nothing worse.
fn no_native(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EOPNOTSUPP => Some("the driver has no native XDP (EOPNOTSUPP)"),
        libc::ERANGE => Some("packets of the peer's MTU are too large for native XDP (ERANGE)"),
        libc::EINVAL => Some("the driver refuses native XDP as it is configured, often for its MTU (EINVAL)"),
        _ => None,
    }
}

fn refused_attach(interface: &str, ifindex: u32, mode: XdpMode, error: &io::Error) -> SetupError {
    let what = format!("cannot attach the XDP program to {interface} in {mode} mode");
    let fails = |why: &str| SetupError::environment(what.clone(), why);
    match error.raw_os_error() {
        Some(libc::EBUSY) => match foreign(interface, ifindex) {
            Some(there) => fails(&format!("another XDP program is there: {}", there.described)).mend(there.mend),
            None => fails("another XDP program is there").mend(format!("ip link set {interface} xdp off")),
        },
        Some(libc::EEXIST) => match foreign(interface, ifindex) {
            Some(there) => fails(&format!("XDP is attached there in the other mode: {}", there.described)).mend(there.mend),
            None => fails("XDP is attached there in the other mode").mend(format!("ip link set {interface} xdp off")),
        },
        Some(libc::ENOSPC) => fails("it has fewer receive queues than its veth peer has transmit queues (ENOSPC)")
            .mend(format!("ethtool -L {interface} rx N (or on the peer: ethtool -L PEER tx 1)")),
        Some(libc::ERANGE) => fails("packets of the veth peer's MTU are too large for native XDP (ERANGE)")
            .mend("ip link set PEER mtu 1500 (or -m skb)"),
        Some(libc::EOPNOTSUPP) if mode == XdpMode::Native => fails("the driver has no native XDP (EOPNOTSUPP)").mend("-m skb"),
        Some(libc::EINVAL) if mode == XdpMode::Native => {
            fails("the driver refuses native XDP as it is configured, often for its MTU (EINVAL)").mend("-m skb")
        }
        Some(libc::EPERM | libc::EACCES) => denied(what, &[caps::Capability::CAP_NET_ADMIN, caps::Capability::CAP_BPF]),
        Some(libc::ENODEV) => fails("there is no such interface").mend("ip link"),
        _ => fails(&error.to_string()).mend(format!("sudo ringway doctor -i {interface}")),
    }
}

/// The program attached to an interface, if there is one and netlink tells of it.
pub(crate) fn foreign(interface: &str, ifindex: u32) -> Option<Foreign> {
    let (id, mode) = addresses::attached_xdp(ifindex).ok().flatten()?;
    let name = crate::xsk::bpf::program_name(id).ok().filter(|name| !name.is_empty());
    let named = name.as_ref().map_or(String::new(), |name| format!("`{name}` "));
    let (described, mend) = match crate::xsk::bpf::xdp_link(id, ifindex) {
        Ok(Some(link)) => {
            let holders = holders::of_link(link);
            let by = if holders.is_empty() { String::new() } else { format!(" of {}", holders.join(", ")) };
            (format!("{named}(id {id}), {mode}, held by link {link}{by}"), format!("bpftool link detach id {link}"))
        }
        Ok(None) => (format!("{named}(id {id}), {mode}, attached without a link"), off(interface, &mode)),
        Err(_) => (
            format!("{named}(id {id}), {mode}"),
            format!("{}, or `bpftool net` and `bpftool link detach id N`", off(interface, &mode)),
        ),
    };
    Some(Foreign { name, described, mend })
}

/// A program that is attached to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// Its name, where we may read it.
    pub(crate) name: Option<String>,
    /// What and where it is, in words.
    pub(crate) described: String,
    /// The command that takes it away.
    pub(crate) mend: String,
}

/// `ip` takes a program away only in the mode it was attached in.
fn off(interface: &str, mode: &str) -> String {
    let keyword = match mode {
        "native" => "xdpdrv",
        "skb" => "xdpgeneric",
        "offloaded" => "xdpoffload",
        _ => "xdp",
    };
    format!("ip link set {interface} {keyword} off")
}

fn refused_map(error: &io::Error) -> SetupError {
    let what = "cannot make the maps of the XDP program";
    if error.raw_os_error() == Some(libc::EPERM) {
        // The map of sockets needs CAP_NET_ADMIN too.
        return denied(what, &[caps::Capability::CAP_BPF, caps::Capability::CAP_NET_ADMIN]);
    }
    SetupError::environment(what, error.to_string())
}

fn refused_program(refused: &LoadError) -> SetupError {
    let what = "cannot load the XDP program";
    if refused.error.raw_os_error() == Some(libc::EPERM) {
        return denied(what, &[caps::Capability::CAP_BPF, caps::Capability::CAP_NET_ADMIN]);
    }
    SetupError::environment(what, refused.to_string())
}

fn assembled<T>(result: Result<T, AssembleError>) -> Result<T, SetupError> {
    result.map_err(|error| SetupError::environment("cannot assemble the XDP program", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No interface has this index, so that nothing can be found out about a program on it.
    const NO_INTERFACE: u32 = 1_000_000;

    fn refused(errno: i32) -> SetupError {
        refused_attach("eth0", NO_INTERFACE, XdpMode::Native, &io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn every_refusal_says_why_and_how_to_mend_it() {
        for (errno, why, mend) in [
            (libc::EBUSY, "another XDP program", "ip link set eth0 xdp off"),
            (libc::EEXIST, "in the other mode", "ip link set eth0 xdp off"),
            (libc::ENOSPC, "fewer receive queues", "ethtool -L eth0"),
            (libc::ERANGE, "MTU", "ip link set PEER mtu"),
            (libc::EOPNOTSUPP, "no native XDP", "-m skb"),
            (libc::EINVAL, "refuses native XDP", "-m skb"),
            (libc::ENODEV, "no such interface", "ip link"),
        ] {
            let error = refused(errno);
            assert_eq!(error.what(), "cannot attach the XDP program to eth0 in native mode");
            assert!(error.why().contains(why), "{error}");
            assert!(error.remedy().unwrap().contains(mend), "{error}");
            assert_eq!(error.exit_code(), 3);
        }
    }

    #[test]
    fn an_unknown_refusal_says_what_the_system_says() {
        let error = refused(libc::ENOMEM);
        assert!(error.why().contains("os error 12"), "{error}");
        let error = refused_attach("eth0", NO_INTERFACE, XdpMode::Skb, &io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        assert_eq!(error.remedy(), Some("sudo ringway doctor -i eth0"), "skb mode is what was tried: {error}");
    }

    #[test]
    fn only_a_driver_that_cannot_leads_to_skb_mode() {
        let falls_back = |errno| no_native(&io::Error::from_raw_os_error(errno)).is_some();
        assert_eq!([libc::EOPNOTSUPP, libc::ERANGE, libc::EINVAL].map(falls_back), [true; 3]);
        assert_eq!(
            [libc::EBUSY, libc::EEXIST, libc::EPERM, libc::EACCES, libc::ENOSPC, libc::ENODEV].map(falls_back),
            [false; 6]
        );
    }

    #[test]
    fn a_program_is_taken_away_in_the_mode_it_is_attached_in() {
        assert_eq!(off("eth0", "skb"), "ip link set eth0 xdpgeneric off");
        assert_eq!(off("eth0", "native"), "ip link set eth0 xdpdrv off");
        assert_eq!(off("eth0", "offloaded"), "ip link set eth0 xdpoffload off");
        assert_eq!(off("eth0", "in several modes"), "ip link set eth0 xdp off");
    }
}
