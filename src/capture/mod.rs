//! Frames as they come and go, copied for whoever captures them, and files that others read.
//!
//! While somebody captures, the engine copies each frame that its [`Filter`] wants into a [`Captured`] of the [`Tap`] between the core and the control
//! thread, with what the recorder says of it: the change of state, the congestion window, the check that it failed. Nothing is allocated on the way, and
//! nobody waits: when all are in use the frame is counted as lost for the capture. While nobody captures a frame costs one comparison each way.
//!
//! `tap` is the seam, `filter` what is wanted; `file` writes pcapng (draft-ietf-opsawg-pcapng), `headers` makes packets up from records, which keep no
//! bytes. Called by the engine on one side and by the control socket and `ringway capture` on the other. Nothing here panics on any frame.

pub mod file;
pub mod filter;
mod headers;
pub mod tap;

pub use file::{Event, Writer};
pub use filter::Filter;
pub use tap::{Captured, Tap};
