//! The arguments of `ringway doctor`. Parsed by clap. Holds words and help.

use clap::Args;
use ringway::doctor::Trying;
use ringway::error::SetupError;

/// `ringway doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Interface to examine (may be repeated)
    #[arg(short, long = "interface", value_name = "IF")]
    pub(crate) interfaces: Vec<String>,

    /// Try to attach and to bind on any driver: it may take the link down for a moment
    #[arg(long = "try", requires = "interfaces", conflicts_with = "no_try")]
    pub(crate) always: bool,

    /// Try nothing on an interface, not even on a veth pair
    #[arg(long, requires = "interfaces")]
    pub(crate) no_try: bool,

    /// Run the harmless ones of the commands that mend, say which, and look again
    #[arg(long, requires = "interfaces")]
    pub(crate) fix: bool,
}

impl DoctorArgs {
    /// Refuses an interface that is named twice.
    pub(super) fn check(&self) -> Result<(), SetupError> {
        let twice =
            self.interfaces.iter().enumerate().find(|(n, name)| self.interfaces.iter().take(*n).any(|other| other == *name));
        let Some((_, name)) = twice else { return Ok(()) };
        let what = format!("cannot examine the interface {name} twice");
        Err(SetupError::usage(what, "an interface is named once").mend(format!("ringway doctor -i {name}")))
    }

    /// How far it may go.
    pub(crate) const fn trying(&self) -> Trying {
        match (self.always, self.no_try) {
            (true, _) => Trying::Always,
            (_, true) => Trying::Never,
            _ => Trying::Harmless,
        }
    }
}

/// Behind the options of `--help`.
pub(crate) const AFTER: &str = "\
Prints a line a check: ok, skip (not known), warn (slower) or fail, and the
command that mends it. Without -i: the machine, and a line for each interface.
Works without any rights, and says what it could not try.

On a veth pair it binds sockets and attaches an XDP program that passes every
packet, and undoes both at once: a few packets under way may be lost. Drivers
of hardware may reset the link when that is done; so it is left out there
unless --try is given. While an XDP program is attached, nothing is tried.

--fix runs only: ip link set up, for the interface and for its veth peer;
ethtool -K tx off for that peer; ethtool -K gro off, where XDP runs in skb mode;
all in this network namespace.

Exit code 3 when something fails, otherwise 0. With --json each check is an
object (event finding); the event summary ends them.

Examples:
  sudo ringway doctor -i veth0
  sudo ringway doctor -i veth0 --fix
  sudo ringway doctor -i eth0 --try --json";
