//! What of a machine, and of its interfaces, stands in Ringway's way, each with the command that mends it.
//!
//! Called by `ringway doctor`, and by whoever wants to know before a launch. Reading is apart from judging: [`Machine::read`] and [`Interface::read`]
//! ask the kernel, and every check is a function from what was read to a [`Finding`], so that machines which nobody here has are judged in the tests as they
//! were recorded. What can be tried is tried, not guessed from a version or a driver's name: an AF_XDP socket, the XDP program, the packet memory; and on
//! an interface, within what [`Trying`] allows, attaching and binding, undone at once. Works without any rights, and says then what it could not
//! try. Nothing here panics, and nothing but [`Fix::apply`] changes what outlives it.
//!
//! In the order of the report: `kernel`, `rights`, `memory`, `cores` judge the machine; `link`, `queues`, `offloads`, `xdp`, `interrupts` an interface; beside them
//! `finding`, `machine` and `interface` (what is read), `features` (what a driver says of itself), `peer` (the other end of a veth pair) and `attempt` (what is tried).
//!
//! ```
//! use ringway::doctor::{Machine, Verdict};
//! let findings = Machine::read().findings();
//! assert!(findings.iter().any(|finding| finding.check == "kernel" && finding.verdict == Verdict::Ok));
//! ```

mod attempt;
mod cores;
mod features;
mod finding;
mod interface;
mod interrupts;
mod kernel;
mod link;
mod machine;
mod memory;
mod offloads;
mod peer;
mod queues;
mod rights;
#[cfg(test)]
mod tests;
mod xdp;

pub use attempt::Trying;
pub use finding::{Finding, Fix, Verdict};
pub use interface::Interface;
pub use machine::Machine;

use crate::xsk::capability::Right;

impl Machine {
    /// What there is to say of the machine, in the order of the report.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = vec![kernel::release(self)];
        findings.extend(Right::ALL.map(|right| rights::right(self, right)));
        findings.extend([kernel::sockets(self), kernel::program(self)]);
        findings.extend(kernel::compiler(self));
        findings.extend([memory::locked(self), memory::huge_pages(self)]);
        findings.extend(memory::transparent(self));
        findings.extend([cores::governor(self), cores::isolation(self)]);
        findings.extend(cores::clock(self));
        findings.extend(cores::busy_poll(self));
        findings
    }
}

impl Interface {
    /// What there is to say of the interface on this machine, in the order of the report.
    pub fn findings(&self, machine: &Machine) -> Vec<Finding> {
        let mut findings = vec![link::link(self), link::mtu(self, machine), link::driver(self)];
        findings.extend(link::peer(self));
        findings.extend(offloads::peer_checksums(self));
        findings.extend(offloads::joined(self));
        findings.extend(offloads::tags(self));
        findings.push(queues::count(self, machine));
        findings.extend(queues::spread(self));
        findings.extend(queues::rings(self));
        findings.extend([interrupts::placed(self, machine), interrupts::node(self, machine)]);
        findings.extend(interrupts::deferred(self));
        findings.extend([xdp::program(self), xdp::attach(self), xdp::sockets(self)]);
        findings.into_iter().map(|finding| finding.on(self.nic.name())).collect()
    }
}
