//! Garbage collection: what nobody uses and nobody will miss.

use super::list::running;
use super::remove::{TEMPORARY_PREFIX, TRASH_PREFIX, ignore_missing, remove_tree, to_trash};
use super::{Lease, Listed, Place, StoreError, list, stable};
use crate::Root;
use crate::lock::Lock;
use serde::Serialize;
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;
use stigmer_bundle::Digest;

/// Single files in the making live for milliseconds; after this long nobody is at work on one any more.
const STALE_FILE: Duration = Duration::from_secs(3600);

/// What to keep.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Always kept: the components of the running executable.
    pub current: Vec<Digest>,
    /// Whether, for each component, the last used entry besides the current one is kept, to go back to.
    pub keep_previous: bool,
    /// What was used more recently than this is kept, unless the size forbids.
    pub max_age: Duration,
    /// When all entries together take more bytes than this, the least recently used go first.
    pub max_bytes: u64,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was collected.
#[derive(Debug, Default, Serialize)]
pub struct Collected {
    /// The entries removed (or to be removed, in a dry run).
    pub removed: Vec<Listed>,
    /// The entries kept although the policy would let them go: they are in use.
    pub in_use: Vec<Listed>,
    /// Bytes of the removed entries' files.
    pub bytes: u64,
    /// Leftovers of killed processes removed.
    pub leftovers: usize,
}

/// Removes entries by `policy`, and what killed processes left behind.
///
/// # Errors
/// Something could not be removed. What was removed until then stays removed.
pub fn collect(root: &Root, policy: &Policy) -> Result<Collected, StoreError> {
    let mut collected = Collected::default();
    for mut victim in victims(list(root), policy) {
        match remove(root, victim.digest, policy.dry_run)? {
            Removal::Done => {
                collected.bytes += victim.bytes;
                collected.removed.push(victim);
            }
            Removal::InUse => {
                victim.find_users(root);
                collected.in_use.push(victim);
            }
            Removal::GoneAlready => {}
        }
    }
    if !policy.dry_run {
        collected.leftovers = sweep(root)?;
    }
    Ok(collected)
}

/// The entries that may go, the least recently used first. `entries` come the last used first.
fn victims(entries: Vec<Listed>, policy: &Policy) -> Vec<Listed> {
    let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
    let mut have_previous = HashSet::new();
    let mut candidates = Vec::new();
    for entry in entries {
        let is_kept = policy.current.contains(&entry.digest)
            || (policy.keep_previous && entry.complete && have_previous.insert(entry.component.clone()));
        if !is_kept {
            candidates.push(entry);
        }
    }
    candidates.reverse();
    candidates
        .into_iter()
        .filter(|entry| {
            let goes = !entry.complete || entry.age() > policy.max_age || total > policy.max_bytes;
            if goes {
                total -= entry.bytes;
            }
            goes
        })
        .collect()
}

/// What became of trying to remove an entry.
enum Removal {
    Done,
    /// It is in use or being worked on.
    InUse,
    /// Somebody else has removed it since we looked.
    GoneAlready,
}

/// Removes one entry unless it is in use or being worked on.
fn remove(root: &Root, digest: Digest, dry_run: bool) -> Result<Removal, StoreError> {
    let place = Place::new(root, digest);
    let Some(_lock) = Lock::try_acquire(&place.lock(), "removing the entry")? else {
        return Ok(Removal::InUse);
    };
    let Some(_lease) = Lease::take_exclusive(&place.lease())? else {
        return Ok(Removal::InUse);
    };
    if place.entry().symlink_metadata().is_err() {
        return Ok(Removal::GoneAlready);
    }
    // Started by its path, such as the stable one, a program has no lease.
    if !running(&place).is_empty() {
        return Ok(Removal::InUse);
    }
    if dry_run {
        return Ok(Removal::Done);
    }
    // The stamp first: without it the entry is nothing, whatever happens to us now.
    ignore_missing(fs_err::remove_file(place.stamp()))?;
    let trash = to_trash(root, &place.entry())?;
    ignore_missing(fs_err::remove_file(place.manifest()))?;
    stable::forget(&place);
    remove_tree(&trash)?;
    Ok(Removal::Done)
}

/// Removes trash, and what was being made by processes that are dead. Returns how much of it.
fn sweep(root: &Root) -> Result<usize, StoreError> {
    let mut count = 0;
    let Ok(names) = std::fs::read_dir(root.store()) else {
        return Ok(0);
    };
    let names: Vec<_> = names.flatten().collect();
    for name in &names {
        let text = name.file_name().to_string_lossy().into_owned();
        let is_dead = if text.starts_with(TRASH_PREFIX) {
            true
        } else if let Some(rest) = text.strip_prefix(TEMPORARY_PREFIX) {
            if name.file_type().is_ok_and(|kind| kind.is_dir()) {
                is_abandoned(root, rest)?
            } else {
                is_stale(&name.path())
            }
        } else if let Some(digest) = orphan(&text) {
            // A stamp or manifest whose entry is gone.
            !Place::new(root, digest).entry().exists() && is_stale(&name.path())
        } else {
            false
        };
        if is_dead {
            remove_tree(&name.path())?;
            count += 1;
        }
    }
    // Beside the stable paths things live for milliseconds only.
    for name in std::fs::read_dir(root.bin()).into_iter().flatten().flatten() {
        if name.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) && is_stale(&name.path()) {
            remove_tree(&name.path())?;
            count += 1;
        }
    }
    Ok(count)
}

/// The digest in the name of a stamp or a manifest.
fn orphan(name: &str) -> Option<Digest> {
    name.strip_suffix(".stamp").or_else(|| name.strip_suffix(".manifest"))?.parse().ok()
}

/// Whether nobody holds the lock of the entry that the directory `.tmp-REST` was to become.
fn is_abandoned(root: &Root, rest: &str) -> Result<bool, StoreError> {
    let short = rest.split('-').next().unwrap_or(rest);
    let Ok(locks) = std::fs::read_dir(root.locks()) else {
        return Ok(false);
    };
    for lock in locks.flatten() {
        let name = lock.file_name().to_string_lossy().into_owned();
        if name.starts_with(short)
            && Path::new(&name).extension().is_some_and(|extension| extension == "lock")
        {
            return Ok(Lock::try_acquire(&lock.path(), "collecting leftovers")?
                .is_some_and(|lock| lock.is_effective()));
        }
    }
    Ok(true)
}

fn is_stale(path: &Path) -> bool {
    let age = path
        .symlink_metadata()
        .and_then(|meta| meta.modified())
        .map(|time| time.elapsed().unwrap_or_default());
    age.is_ok_and(|age| age > STALE_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, digest: u8, days: u64, bytes: u64) -> Listed {
        let now =
            std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
        Listed {
            component: name.into(),
            version: "1".into(),
            digest: Digest::from_bytes([digest; 32]),
            bytes,
            complete: true,
            durable: true,
            last_use: Some(now - days * 86_400),
            in_use_by: vec![],
        }
    }

    fn policy(current: u8) -> Policy {
        Policy {
            current: vec![Digest::from_bytes([current; 32])],
            keep_previous: true,
            max_age: Duration::from_secs(30 * 86_400),
            max_bytes: 1000,
            dry_run: false,
        }
    }

    fn gone(entries: Vec<Listed>, policy: &Policy) -> Vec<u8> {
        victims(entries, policy).iter().map(|entry| entry.digest.as_bytes()[0]).collect()
    }

    #[test]
    fn the_current_and_the_previous_stay_however_old() {
        let entries =
            vec![entry("a", 1, 90, 1), entry("a", 2, 91, 1), entry("a", 3, 92, 1), entry("b", 4, 93, 1)];
        assert_eq!(gone(entries, &policy(1)), [3]);
    }

    #[test]
    fn the_previous_is_not_the_current_one_again() {
        let entries = vec![entry("a", 2, 50, 1), entry("a", 1, 90, 1), entry("a", 3, 92, 1)];
        assert_eq!(gone(entries, &policy(1)), [3]);
    }

    #[test]
    fn over_the_size_the_least_recently_used_go_until_it_fits() {
        let entries =
            vec![entry("a", 1, 0, 400), entry("a", 2, 1, 400), entry("a", 3, 2, 400), entry("a", 4, 3, 100)];
        assert_eq!(gone(entries, &policy(1)), [4, 3]);
    }

    #[test]
    fn a_last_use_in_the_future_is_recent() {
        let mut future = entry("a", 3, 0, 1);
        future.last_use = future.last_use.map(|last| last + 1_000_000);
        let entries = vec![future, entry("a", 2, 1, 1), entry("a", 1, 1, 1)];
        assert_eq!(gone(entries, &Policy { keep_previous: false, ..policy(1) }), Vec::<u8>::new());
    }

    #[test]
    fn what_was_never_completed_goes() {
        let mut broken = entry("a", 3, 0, 1);
        broken.complete = false;
        assert_eq!(gone(vec![broken, entry("a", 2, 1, 1)], &policy(1)), [3]);
    }
}
