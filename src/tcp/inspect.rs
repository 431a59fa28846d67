//! What the simulator reads of a TCB between turns. In tests only.

use super::seq::SeqNum;
use super::state::State;
use super::tcb::Tcb;

/// Some variables of a connection, as RFC 9293 3.3.1 names them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) state: State,
    pub(crate) snd_una: SeqNum,
    pub(crate) snd_nxt: SeqNum,
    pub(crate) rcv_nxt: SeqNum,
    pub(crate) rcv_wnd: u32,
    /// The most that may be unread and offered together.
    pub(crate) rcv_limit: u32,
    /// Bytes that wait for the service.
    pub(crate) unread: u32,
    /// Both ends send timestamps.
    pub(crate) timestamps: bool,
    /// TS.Recent.
    pub(crate) ts_recent: u32,
    /// Snd.Wind.Shift
    pub(crate) snd_shift: u8,
}

impl Tcb {
    /// The variables as they are.
    pub(crate) fn view(&self) -> View {
        View {
            state: self.state(),
            snd_una: self.snd.una,
            snd_nxt: self.snd.nxt,
            rcv_nxt: self.rcv.nxt,
            rcv_wnd: self.rcv.wnd,
            rcv_limit: self.rcv.limit,
            unread: self.received.unread(),
            timestamps: self.timestamps.ok,
            ts_recent: self.timestamps.recent(),
            snd_shift: self.snd.shift.shift(),
        }
    }
}
