//! Agent-runners that were fetched by name and that nobody asks for any more.
//!
//! Only their bundles go. What they were signed as stays, a few hundred bytes: it says what was seen last under the name, so that no older one
//! is taken for new.

use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The directory of the agent-runners that were fetched by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedRunners {
    dir: PathBuf,
}

impl FetchedRunners {
    /// The runners below `dir`. Nothing is created by naming it.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Path of the bundle that was published as `name`.
    pub fn bundle(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.bundle"))
    }

    /// Path of the signed index of the bundle that was published as `name`.
    pub(crate) fn index(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.bundle.json"))
    }

    /// Name under which the bundle at `path` was published; `None` if it is not one of this directory.
    pub fn name_of<'a>(&self, path: &'a Path) -> Option<&'a str> {
        if path.parent() != Some(&self.dir) {
            return None;
        }
        path.file_name()?.to_str()?.strip_suffix(".bundle").filter(|name| !name.is_empty())
    }
}

/// A runner whose bundle is kept here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The name it was published under.
    pub name: String,
    /// The size of its bundle in bytes.
    pub bytes: u64,
}

/// Removes the bundles that nobody has asked for within `max_age`, except that of `in_use`. With `dry_run` only says which.
///
/// # Errors
/// One cannot be removed. Those before it are.
pub fn collect(
    runners: &FetchedRunners,
    max_age: Duration,
    in_use: Option<&str>,
    dry_run: bool,
) -> io::Result<Vec<Kept>> {
    let mut removed = Vec::new();
    let mut names: Vec<_> = std::fs::read_dir(runners.dir()).into_iter().flatten().flatten().collect();
    names.sort_by_key(std::fs::DirEntry::file_name);
    for entry in names {
        let path = entry.path();
        let Some(name) = runners.name_of(&path).filter(|name| in_use != Some(*name)) else { continue };
        let Ok(meta) = entry.metadata() else { continue };
        // It is written anew whenever somebody asks for the runner.
        let asked = path.with_extension("bundle.json").metadata().and_then(|meta| meta.modified());
        let last_use = asked.or_else(|_| meta.modified());
        // A time in the future is recent.
        if !last_use.is_ok_and(|time| time.elapsed().unwrap_or_default() >= max_age) {
            continue;
        }
        if !dry_run {
            fs_err::remove_file(&path)?;
        }
        removed.push(Kept { name: name.to_owned(), bytes: meta.len() });
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn what_was_asked_for_lately_or_runs_stays() {
        let dir = tempfile::tempdir().unwrap();
        let runners = FetchedRunners::at(dir.path());
        let day = Duration::from_secs(86_400);
        let put = |name: &str, age: Duration| {
            let index = runners.index(name);
            std::fs::write(runners.bundle(name), b"12345").unwrap();
            std::fs::write(&index, b"{}").unwrap();
            let file = std::fs::File::options().write(true).open(&index).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        put("new", day);
        put("old", day * 40);
        put("used", day * 40);
        let names =
            |kept: Vec<Kept>| kept.into_iter().map(|kept| (kept.name, kept.bytes)).collect::<Vec<_>>();
        let collect = |age, dry_run| names(collect(&runners, age, Some("used"), dry_run).unwrap());
        assert_eq!(collect(day * 30, true), [("old".to_owned(), 5)]);
        assert_eq!(collect(day * 30, false), [("old".to_owned(), 5)]);
        assert_eq!(collect(day * 30, false), []);
        assert!(runners.index("old").exists(), "what was seen last is remembered");
        assert_eq!(collect(Duration::ZERO, false), [("new".to_owned(), 5)]);
        assert!(runners.bundle("used").exists());
        assert_eq!(super::collect(&FetchedRunners::at("/nowhere"), day, None, false).unwrap(), []);
    }

    #[test]
    fn a_fetched_runner_is_named_by_its_path() {
        let runners = FetchedRunners::at("/h/runners");
        assert_eq!(runners.name_of(&runners.bundle("dev-test")), Some("dev-test"));
        for other in ["/h/runners/x", "/elsewhere/x.bundle", "/h/runners/a/x.bundle", "/h/runners/.bundle"] {
            assert_eq!(runners.name_of(Path::new(other)), None, "{other}");
        }
    }
}
