//! What the XDP program did with a frame, and why: one name per outcome, each with its own counter.
//!
//! Shared by the program (the number is the index into its per-CPU array), the model and every report. Pure values; nothing here panics.

macro_rules! causes {
    ($($(#[doc = $help:literal])+ $variant:ident = $name:literal,)*) => {
        /// Why a frame went where it went.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Cause {
            $($(#[doc = $help])+ $variant,)*
        }

        impl Cause {
            /// Every cause, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// How many causes there are: the length of the program's counter array.
            pub const COUNT: usize = Self::ALL.len();

            /// The last of those that go to a socket.
            pub(super) const LAST_STEERED: Self = Self::SteeredGroup;

            /// True for what goes to the queue's socket, if it has one.
            pub const fn is_steered(self) -> bool {
                0 < self as u32 && self as u32 <= Self::LAST_STEERED as u32
            }

            /// The name of the counter, as reports print it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means, in a sentence or two.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($help),+).trim_ascii(),)* }
            }
        }
    };
}

causes! {
    /// Nothing of it is claimed: the kernel has it.
    Passed = "passed",
    /// To a claimed address, given to the queue's socket.
    SteeredAddress = "steered_address",
    /// To a claimed port of a kernel address, given to the queue's socket.
    SteeredPort = "steered_port",
    /// ARP whose target protocol address is claimed, given to the queue's socket.
    SteeredArp = "steered_arp",
    /// A Neighbor Solicitation or Advertisement to a multicast group whose target address is claimed, given to the queue's socket.
    SteeredNd = "steered_nd",
    /// UDP to a claimed port of a multicast group or broadcast address, given to the queue's socket.
    SteeredGroup = "steered_group",
    /// Claimed, but no socket serves the queue: the kernel has it.
    ClaimedUnserved = "claimed_unserved",
    /// Claimed in another VLAN than the frame's (or with tags where none is claimed): the kernel has it.
    ClaimedVlan = "claimed_vlan",
    /// IPv4: a first fragment of a claimed port, or a later one of a protocol of which a port is claimed. IPv6: a fragment of such a protocol, or one that
    /// hides its protocol, to an address of which a port is claimed. The kernel has it.
    ClaimedFragment = "claimed_fragment",
    /// IPv4: of a protocol of which a port is claimed, with options before the port. IPv6: to an address of which a port is claimed, with an extension header
    /// before the protocol. The kernel has it.
    ClaimedOptions = "claimed_options",
    /// Of a protocol of which a port is claimed, but cut off before the port: the kernel has it.
    ClaimedTruncated = "claimed_truncated",
    /// Of a protocol (IPv6: to an address) of which a port is claimed, behind a header of another version than its EtherType says, or of IPv4 shorter than 20
    /// bytes: the kernel has it.
    ClaimedHeader = "claimed_header",
    /// Answered by the reflector: UDP sent back.
    ReflectedUdp = "reflected_udp",
    /// Answered by the reflector: an ARP request.
    ReflectedArp = "reflected_arp",
}

/// What becomes of a frame. The numbers are the kernel's (`enum xdp_action`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Action {
    /// `XDP_PASS`: to the kernel.
    Pass = 2,
    /// `XDP_TX`: back out of the interface it came from.
    Transmit = 3,
    /// `XDP_REDIRECT`: to the AF_XDP socket of its queue.
    Redirect = 4,
}

/// One count per cause, summed over the CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters([u64; Cause::COUNT]);

impl Counters {
    /// The count of one cause.
    pub const fn of(&self, cause: Cause) -> u64 {
        self.0[cause as usize]
    }

    /// Adds to the count of one cause.
    pub const fn add(&mut self, cause: Cause, frames: u64) {
        let slot = &mut self.0[cause as usize];
        *slot = slot.wrapping_add(frames);
    }

    /// The causes that occurred, with their counts.
    pub fn nonzero(&self) -> impl Iterator<Item = (Cause, u64)> + '_ {
        Cause::ALL.iter().map(|&cause| (cause, self.of(cause))).filter(|&(_, frames)| frames > 0)
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut difference = Self::default();
        for &cause in Cause::ALL {
            difference.add(cause, self.of(cause).wrapping_sub(earlier.of(cause)));
        }
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_name_and_an_index_of_its_own() {
        let mut names: Vec<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Cause::COUNT);
        for (index, &cause) in Cause::ALL.iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
    }

    #[test]
    fn the_causes_of_steering_are_those_that_say_so() {
        for &cause in Cause::ALL {
            assert_eq!(cause.is_steered(), cause.name().starts_with("steered_"), "{cause:?}");
        }
    }

    #[test]
    fn differences_survive_a_counter_that_wrapped() {
        let (mut earlier, mut later) = (Counters::default(), Counters::default());
        earlier.add(Cause::Passed, u64::MAX);
        later.add(Cause::Passed, 1);
        assert_eq!(later.since(&earlier).nonzero().collect::<Vec<_>>(), [(Cause::Passed, 2)]);
    }
}
