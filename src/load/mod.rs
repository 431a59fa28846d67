//! The load generator: many connections or sockets, open or closed loop, over the engine or over kernel sockets, with every
//! byte that comes back checked; and the kernel-socket peer that Ringway is compared with.

pub mod plan;
