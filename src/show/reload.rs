//! The one request that changes something: that the configuration be read again.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The line that asks for it: `{"reload":true}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadRequest {
    /// Always true.
    pub reload: bool,
}

/// What reads it again, and says what that came to: one JSON object a line, the last one the event `summary` or `error`. It is called on the
/// thread of the control socket, so nobody else is answered meanwhile.
#[derive(Clone)]
pub struct Reload(pub Arc<dyn Fn() -> Vec<u8> + Send + Sync>);

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
}
