//! Whether the executable that asks is the one that runs, and if not, which of them is older.
//!
//! A version says it first. Within one version the footers tell: they name the digest of the code and of what is carried, so two
//! copies of one build are the same wherever they lie. A bare binary has no footer; then only the file itself can be recognized.

use super::control::Status;
use crate::bundle::{Carrier, Digest};
use crate::platform;
use serde::Serialize;
use std::cmp::Ordering;
use std::path::{Path, PathBuf};

/// What Linux puts behind the path of a running executable whose file is gone.
const DELETED: &str = " (deleted)";

/// An executable, as far as it can be recognized.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Build {
    version: String,
    path: String,
    /// See [`evidence`].
    state: Option<String>,
    /// See [`digest`].
    digest: Option<String>,
}

/// How the running platform stands to the executable that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Running {
    /// It is of an older version.
    Older,
    /// It is of a newer version.
    Newer,
    /// It is another build, and nothing says which one is older.
    Other,
    /// It is the same; only at its path there is another one by now.
    Same,
}

/// In what they differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skew {
    /// What the running platform is.
    pub running: Running,
    /// Its version.
    pub running_version: String,
    /// Where it was started from.
    pub running_executable: String,
    /// The version of the executable that asks.
    pub this_version: String,
    /// Where that lies.
    pub this_executable: String,
    /// Whether the file that the platform was started from has been replaced or removed since.
    pub replaced: bool,
}

impl Skew {
    /// The same for people, in one line. What to do about it is always `stigmer server restart`.
    pub fn words(&self) -> String {
        let Self { running_version, running_executable, this_version, this_executable, .. } = self;
        match self.running {
            Running::Older => {
                format!("running version {running_version} is older than this executable ({this_version})")
            }
            Running::Newer => {
                format!("running version {running_version} is newer than this executable ({this_version})")
            }
            Running::Other if running_executable != this_executable => {
                format!(
                    "the running server was started from `{running_executable}`, this executable is `{this_executable}`"
                )
            }
            Running::Other | Running::Same => {
                format!(
                    "another build is installed: `{running_executable}` was replaced since it was started"
                )
            }
        }
    }
}

/// Compares what runs with the executable that asks; `None` if they are the same.
pub fn compare(status: &Status) -> Option<Skew> {
    let own = Build::own();
    let running = Build {
        version: status.version.clone(),
        path: status.executable.trim_end_matches(DELETED).to_owned(),
        state: status.executable_state.clone(),
        digest: status.build.clone(),
    };
    let path = Path::new(&running.path);
    let installed = Build {
        state: evidence(path),
        digest: running.digest.as_ref().and_then(|_| digest(path)),
        ..running.clone()
    };
    between(running, own, &installed)
}

/// `installed` is what lies where `running` was started from.
fn between(running: Build, own: Build, installed: &Build) -> Option<Skew> {
    let kind = match order(&running.version, &own.version) {
        Some(Ordering::Less) => Running::Older,
        Some(Ordering::Greater) => Running::Newer,
        Some(Ordering::Equal) if running.is_same(&own) => Running::Same,
        _ => Running::Other,
    };
    let replaced = running.state.is_some() && !running.is_same(installed);
    if kind == Running::Same && !replaced {
        return None;
    }
    Some(Skew {
        running: kind,
        running_version: running.version,
        running_executable: running.path,
        this_version: own.version,
        this_executable: own.path,
        replaced,
    })
}

impl Build {
    fn own() -> Self {
        let (path, state) = own_place();
        // Read from the running file itself, also if another one lies at its path by now.
        let running = platform::own_executable().ok();
        Self {
            version: crate::VERSION.to_owned(),
            path,
            state,
            digest: running.and_then(|path| digest(&path)),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (&self.digest, &other.digest) {
            (Some(one), Some(another)) => one == another,
            _ => self.path == other.path && self.state == other.state,
        }
    }
}

/// The digest of the running executable.
pub(super) fn own_digest() -> Option<String> {
    platform::own_executable().ok().and_then(|path| digest(&path))
}

/// What the footer of a carrier says of its code and of what it carries. A bare binary has none.
fn digest(path: &Path) -> Option<String> {
    let footer = Carrier::read_footer(path).ok()?;
    (footer.code_digest != Digest::NONE).then(|| format!("{}-{}", footer.code_digest, footer.bundle_digest()))
}

/// The cheap evidence of a file's content.
pub(super) fn evidence(path: &Path) -> Option<String> {
    let evidence = platform::evidence(&std::fs::metadata(path).ok()?);
    Some(format!("{}-{}-{}", evidence.size, evidence.inode, evidence.changed_ns))
}

/// Which of two versions comes first; `None` if one of them is none. A pre-release comes before its release, and the
/// order of two pre-releases of one release is not asked.
fn order(one: &str, another: &str) -> Option<Ordering> {
    if one == another {
        return Some(Ordering::Equal);
    }
    let parse = |version: &str| {
        let version = version.split('+').next()?;
        let (numbers, pre) = version.split_once('-').map_or((version, false), |(numbers, _)| (numbers, true));
        let numbers = numbers.split('.').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>()?;
        Some((numbers, !pre))
    };
    Some(parse(one)?.cmp(&parse(another)?)).filter(|order| *order != Ordering::Equal)
}

/// Where this executable lies, and the evidence of its content.
pub(super) fn own_place() -> (String, Option<String>) {
    let Ok(path) = std::env::current_exe() else {
        return ("unknown".to_owned(), None);
    };
    let shown = path.display().to_string();
    // If its file was replaced or removed, the running one can still be looked at.
    let readable: PathBuf = platform::own_executable().unwrap_or(path);
    (shown.trim_end_matches(DELETED).to_owned(), evidence(&readable))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(version: &str, path: &str, state: &str, digest: Option<&str>) -> Build {
        Build {
            version: version.to_owned(),
            path: path.to_owned(),
            state: Some(state.to_owned()),
            digest: digest.map(str::to_owned),
        }
    }

    fn kind(running: &Build, own: &Build) -> Option<Running> {
        between(running.clone(), own.clone(), running).map(|skew| skew.running)
    }

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        assert_eq!(order("0.9.0", "0.10.0"), Some(Ordering::Less));
        assert_eq!(order("1.0.0", "0.10.0"), Some(Ordering::Greater));
        assert_eq!(order("1.0.0", "1.0.0"), Some(Ordering::Equal));
        assert_eq!(order("1.0.0-rc.1", "1.0.0"), Some(Ordering::Less));
        assert_eq!(order("1.0.0-rc.1", "1.0.0-rc.2"), None);
        assert_eq!(order("1.0.0", "nonsense"), None);
    }

    #[test]
    fn an_older_a_newer_and_another_one_are_told_apart() {
        let own = build("0.2.0", "/b", "s", None);
        assert_eq!(kind(&build("0.1.0", "/b", "s", None), &own), Some(Running::Older));
        assert_eq!(kind(&build("0.3.0", "/b", "s", None), &own), Some(Running::Newer));
        assert_eq!(kind(&build("0.2.0", "/b", "s", None), &own), None);
        assert_eq!(kind(&build("0.2.0", "/b", "t", None), &own), Some(Running::Other));
        assert_eq!(kind(&build("0.2.0", "/c", "s", None), &own), Some(Running::Other));
    }

    #[test]
    fn two_copies_of_one_build_are_the_same_and_two_builds_at_one_path_are_not() {
        let own = build("1.0.0", "/b", "s", Some("d"));
        assert_eq!(kind(&build("1.0.0", "/elsewhere", "t", Some("d")), &own), None);
        assert_eq!(kind(&build("1.0.0", "/b", "s", Some("e")), &own), Some(Running::Other));
    }

    #[test]
    fn a_file_that_was_replaced_is_told_also_by_the_one_that_runs() {
        let running = build("1.0.0", "/b", "s", None);
        let gone = Build { state: None, ..running.clone() };
        for installed in [build("1.0.0", "/b", "t", None), gone] {
            let skew = between(running.clone(), running.clone(), &installed).expect("they differ");
            assert_eq!((skew.running, skew.replaced), (Running::Same, true));
            assert!(skew.words().contains("was replaced"), "{}", skew.words());
        }
        assert_eq!(between(running.clone(), running.clone(), &running), None);
    }

    #[test]
    fn the_words_say_which_is_older() {
        let own = build("0.2.0", "/b", "s", None);
        let old = build("0.1.0", "/a", "s", None);
        let skew = between(old.clone(), own, &old).expect("they differ");
        assert_eq!(skew.words(), "running version 0.1.0 is older than this executable (0.2.0)");
    }
}
