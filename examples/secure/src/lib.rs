//! TLS and QUIC on Ringway's [`Service`](ringway::service::Service) trait: protocols whose code does no input or output of its own.
//!
//! `rustls` and `quinn-proto` are handed bytes and the time, and say what to send and when to look again; a service hands them on. What is
//! here is what lies between:
//!
//! - [`tls`]: a TLS echo, a session of `rustls` for each TCP connection
//! - [`quic`]: a QUIC echo, an endpoint of `quinn-proto` behind one UDP port
//! - [`identity`]: certificate and key of either
//! - [`options`]: what both programs are told
//!
//! The programs `tls_echo` and `quic_echo` launch them; `quic_client` is a peer over kernel sockets. `scripts/secure.sh` runs all of it.

pub mod identity;
pub mod options;
pub mod quic;

pub mod tls;
