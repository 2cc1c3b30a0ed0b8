//! The stamp: the small record that says an entry is complete.
//!
//! Bound to the content by the payload digest, and to how the entry looked by cheap evidence. It also says whether the entry is
//! known to be on disk and not only in memory: nothing is flushed while a person waits, so an entry made just before a
//! power cut may come back with holes. The stamp names the boot it was written in; after another boot an entry not yet confirmed
//! durable is looked at once, content and all.

use super::{Place, evidence, record};
use serde::{Deserialize, Serialize};
use std::io;
use std::time::SystemTime;
use stigmer_bundle::{Component, Digest, TreePath};
use stigmer_platform::Evidence;

/// The stamp's format. A stamp of another one is no stamp.
const FORMAT: u32 = 1;

/// A stamp. Unknown fields are ignored, so that a later version of this program may add some without the two of them
/// stamping over each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    format: u32,
    /// The entry's payload digest.
    pub digest: Digest,
    /// The component's name.
    pub component: String,
    /// Its version.
    pub version: String,
    /// The program to run.
    pub entrypoint: TreePath,
    /// How many entries its tree has.
    pub entries: u64,
    /// All bytes of all its files.
    pub bytes: u64,
    /// When it was materialized, in seconds since the epoch.
    pub materialized: u64,
    /// Whether all of it is known to be on disk.
    pub durable: bool,
    /// The boot in which its content was last known to be right.
    pub boot: Option<String>,
    size: u64,
    inode: u64,
    changed_ns: i64,
    mode: u32,
    evidence: Digest,
}

impl Stamp {
    /// Takes down how the entry at `place` looks now. Its content must just have been written or verified.
    ///
    /// # Errors
    /// Something of the entry is not there.
    pub(super) fn take(place: &Place, component: &Component) -> io::Result<Self> {
        let root = place.entry();
        let entrypoint =
            stigmer_platform::evidence(&fs_err::symlink_metadata(component.entrypoint.below(&root))?);
        Ok(Self {
            format: FORMAT,
            digest: component.digest,
            component: component.name.clone(),
            version: component.version.clone(),
            entrypoint: component.entrypoint.clone(),
            entries: component.entries.len() as u64,
            bytes: component.raw_len(),
            materialized: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs()),
            durable: false,
            boot: stigmer_platform::boot_id(),
            size: entrypoint.size,
            inode: entrypoint.inode,
            changed_ns: entrypoint.changed_ns,
            mode: entrypoint.mode,
            evidence: evidence::of_tree(&root, component)?,
        })
    }

    /// Reads the stamp at `place`. Anything that is not a stamp of this format for this digest is `None`.
    pub fn read(place: &Place) -> Option<Self> {
        let stamp: Self = serde_json::from_slice(&std::fs::read(place.stamp()).ok()?).ok()?;
        (stamp.format == FORMAT && stamp.digest == place.digest()).then_some(stamp)
    }

    /// Writes the stamp beside its entry, whole or not at all.
    pub(super) fn write(&self, place: &Place) -> io::Result<()> {
        record::write(place, "stamp", &place.stamp(), &serde_json::to_vec(self)?)
    }

    /// Whether the entrypoint still looks as it did, and no power cut can have come between.
    pub(super) fn holds(&self, place: &Place) -> bool {
        let Ok(meta) = self.entrypoint.below(&place.entry()).symlink_metadata() else {
            return false;
        };
        let taken =
            Evidence { size: self.size, inode: self.inode, changed_ns: self.changed_ns, mode: self.mode };
        stigmer_platform::evidence(&meta) == taken && self.survived()
    }

    /// Whether the whole tree still looks as it did.
    pub(super) fn holds_whole(&self, place: &Place, component: &Component) -> bool {
        self.survived() && evidence::of_tree(&place.entry(), component).is_ok_and(|now| now == self.evidence)
    }

    /// The same stamp, saying that all of the entry is on disk.
    pub(super) fn confirmed(self) -> Self {
        Self { durable: true, ..self }
    }

    /// Whether no power cut can have taken what was never flushed.
    fn survived(&self) -> bool {
        self.durable || (self.boot.is_some() && self.boot == stigmer_platform::boot_id())
    }
}
