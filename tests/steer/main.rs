//! Steering in the real kernel: programs attached to veth pairs and loopback in network namespaces of the test's own. Needs root.
#![cfg(feature = "afxdp")]

mod attach;
#[path = "../common/mod.rs"]
mod common;
mod ipv6;
mod net;
mod reserve;
mod traffic;
mod update;
