//! What is in the store.

use super::{Place, Stamp, lease, manifest};
use crate::Root;
use serde::Serialize;
use std::time::{Duration, SystemTime};
use stigmer_bundle::Digest;

/// One entry, as far as can be said without reading its files.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// The component's name; `?` if neither stamp nor manifest tells.
    pub component: String,
    /// Its version; `?` if neither stamp nor manifest tells.
    pub version: String,
    /// Its payload digest.
    pub digest: Digest,
    /// Bytes of its files.
    pub bytes: u64,
    /// Whether it is stamped: materialized completely, and not found damaged since.
    pub complete: bool,
    /// Whether it is known to be on disk.
    pub durable: bool,
    /// When it was last used, in seconds since the epoch, to the hour. Other programs get it as RFC 3339 in UTC.
    #[serde(serialize_with = "as_text")]
    pub last_use: Option<u64>,
    /// The processes that use it, as far as the system tells. Empty until [`Listed::find_users`] is asked.
    pub in_use_by: Vec<u32>,
}

impl Listed {
    /// Finds the processes that use it. Asked only where a person wants to know: to list its locks, Linux lets all
    /// processes come to rest, which takes it longer than hashing a whole entry.
    pub fn find_users(&mut self, root: &Root) {
        let place = Place::new(root, self.digest);
        self.in_use_by = lease::holders(&place.lease());
        self.in_use_by.extend(running(&place));
        self.in_use_by.sort_unstable();
        self.in_use_by.dedup();
    }

    /// How long ago it was last used. A time in the future counts as now.
    pub(super) fn age(&self) -> Duration {
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(self.last_use.unwrap_or(0));
        SystemTime::now().duration_since(last).unwrap_or_default()
    }
}

#[expect(clippy::ref_option, reason = "the library gives a reference to the field")]
fn as_text<S: serde::Serializer>(seconds: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    let time = |seconds: u64| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let text = seconds.and_then(time).map(|time| humantime::format_rfc3339_seconds(time).to_string());
    text.serialize(serializer)
}

/// The processes that were started from the entry by its path, and so without a lease.
pub(super) fn running(place: &Place) -> Vec<u32> {
    place.entry().canonicalize().map(|entry| stigmer_platform::running_below(&entry)).unwrap_or_default()
}

/// Every entry of the store, the last used first.
pub fn list(root: &Root) -> Vec<Listed> {
    entries(root).into_iter().map(|digest| one(&Place::new(root, digest))).collect()
}

fn one(place: &Place) -> Listed {
    let stamp = Stamp::read(place);
    let manifest = if stamp.is_none() { manifest::read(place) } else { None };
    let unknown = || "?".to_owned();
    let (component, version, bytes) = match (&stamp, &manifest) {
        (Some(s), _) => (s.component.clone(), s.version.clone(), s.bytes),
        (None, Some(m)) => (m.name.clone(), m.version.clone(), m.raw_len()),
        (None, None) => (unknown(), unknown(), 0),
    };
    Listed {
        component,
        version,
        digest: place.digest(),
        bytes,
        complete: stamp.is_some(),
        durable: stamp.is_some_and(|stamp| stamp.durable),
        last_use: last_use(place),
        in_use_by: Vec::new(),
    }
}

fn last_use(place: &Place) -> Option<u64> {
    let time = lease::last_use(&place.lease())?;
    Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
}

/// The payload digests of all entries, the last used first.
pub(super) fn entries(root: &Root) -> Vec<Digest> {
    let Ok(names) = std::fs::read_dir(root.store()) else {
        return Vec::new();
    };
    let mut found: Vec<(Option<u64>, Digest)> = names
        .flatten()
        .filter_map(|name| name.file_name().to_str()?.parse::<Digest>().ok())
        .map(|digest| (last_use(&Place::new(root, digest)), digest))
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, digest)| digest).collect()
}
