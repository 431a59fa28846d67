//! Datagrams that a service keeps, to answer them later.
//!
//! A kept frame changes owner without a copy. Frames belong to the device, and a service that keeps them all would stop the receive side, so
//! it may hold a share; what it keeps beyond that is copied. Copies are bounded too.

use std::collections::HashMap;

use super::Received;
use crate::device::Frame;
use crate::limits::KEPT_WHOLE;

/// The kept datagrams of a core, by the token the service chose.
#[derive(Debug)]
pub struct KeptDatagrams<F> {
    datagrams: HashMap<u64, Kept<F>>,
    frames: usize,
    limit: usize,
}

/// A kept datagram.
#[derive(Debug)]
pub struct Kept<F> {
    /// Where its bytes are.
    pub body: Body<F>,
    /// Position of the port it came in by.
    pub port: usize,
    /// What was found when it was checked.
    pub received: Received,
}

/// Where a kept datagram lies: the whole frame, headers included.
#[derive(Debug)]
pub enum Body<F> {
    /// In its frame, which the service holds.
    Frame(F),
    /// Copied, because services hold their share of the frames already.
    Copy(Box<[u8]>),
    /// Copied, because it came in fragments: from its IP header on.
    Whole(Box<[u8]>),
}

impl<F: Frame> KeptDatagrams<F> {
    /// None, and room for `limit` frames and as many copies.
    pub fn new(limit: usize) -> Self {
        Self { datagrams: HashMap::new(), frames: 0, limit }
    }

    /// Datagrams that are kept.
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Frames among them.
    pub const fn frames(&self) -> usize {
        self.frames
    }

    /// True when a further datagram may be kept under this token.
    pub fn may_keep(&self, token: u64) -> bool {
        self.datagrams.len() < 2 * self.limit && !self.datagrams.contains_key(&token)
    }

    /// True when a further datagram may be kept that came in fragments: each takes up to 64 KiB.
    pub fn may_keep_whole(&self) -> bool {
        let whole = self.datagrams.values().filter(|kept| matches!(kept.body, Body::Whole(_)));
        whole.count() < KEPT_WHOLE
    }

    /// True when a further frame may be held; otherwise the datagram is to be copied.
    pub const fn may_hold_frame(&self) -> bool {
        self.frames < self.limit
    }

    /// Keeps a datagram under a token for which [`KeptDatagrams::may_keep`] holds.
    pub fn insert(&mut self, token: u64, kept: Kept<F>) {
        self.frames += usize::from(matches!(kept.body, Body::Frame(_)));
        self.datagrams.insert(token, kept);
    }

    /// Takes a datagram out.
    pub fn remove(&mut self, token: u64) -> Option<Kept<F>> {
        let kept = self.datagrams.remove(&token)?;
        self.frames -= usize::from(matches!(kept.body, Body::Frame(_)));
        Some(kept)
    }

    /// The payload of a datagram.
    pub fn payload(&self, token: u64) -> Option<&[u8]> {
        let kept = self.datagrams.get(&token)?;
        let bytes = match &kept.body {
            Body::Frame(frame) => frame.bytes(),
            Body::Copy(bytes) | Body::Whole(bytes) => bytes,
        };
        bytes.get(kept.received.payload_at..kept.received.frame_len())
    }

    /// Takes one datagram out, whichever; `None` when there are no more.
    pub fn remove_any(&mut self) -> Option<Kept<F>> {
        let token = *self.datagrams.keys().next()?;
        self.remove(token)
    }
}
