//! The worker's side of the interface: leases and what a worker does with them.

use serde::{Deserialize, Serialize};

/// Body of `POST /v1/leases/{lease}/suspend`: gives the lease back until something happens that the execution waits for.
///
/// A suspended execution costs a row and a timer. It becomes leasable at `wake_at_ms`, at the end of one of its children if
/// `on_children` is set, or at whichever comes first if both are given. A child that ended since the lease was granted counts: then the
/// execution is leasable at once. With neither, it is leasable at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuspendRequest {
    /// The wall-clock time to wake at, in milliseconds since the Unix epoch; `None` for no time.
    #[serde(default)]
    pub wake_at_ms: Option<u64>,
    /// Whether the end of a child execution wakes it.
    #[serde(default)]
    pub on_children: bool,
}
