//! Live inspection: what a running engine is doing, told to whoever may open its control socket.
//!
//! A Unix socket of mode 0600, served by a thread of its own. A client sends one line, a [`Request`] as JSON, and gets one JSON object a line until the one with
//! `"event":"summary"`, which says that nothing is missing. Connections come from the cards, which are read without the engines; their windows and timers are asked
//! from the owners, at most 64 of them a turn. Answers are made as fast as the client takes them and are never held whole.
//!
//! Or it asks that the configuration be read again ([`ReloadRequest`]), which is answered in the same way.
//!
//! Whoever asks again and again (`ringway top`) asks for figures, which each worker tells in one answer, and for connections that are not at rest, some each time.
//! What was told before is remembered by whoever asks, not here.
//!
//! `request` is what may be asked, `rows` what an answer consists of, `walk` makes it piece by piece, `frames` those of a capture, `socket` is the place that `server` answers at.
//! `scrape` tells scrapers of Prometheus figures by HTTP, where that is asked for.
//! Started by `launch`; nothing here panics on what a client sends.

mod frames;
mod reload;
mod request;
mod rows;
mod scrape;
mod server;
mod socket;
mod walk;

pub use reload::{Reload, ReloadRequest};
pub use request::{Request, What};
pub use scrape::{Figures, Scrape};
pub use server::Show;
pub use socket::{FOLDER, path_of};
