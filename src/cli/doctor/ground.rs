//! What everything stands on: the home directory, its file system, its settings, the clock.

use super::Check;
use crate::cli::output::bytes;
use crate::config::Config;
use crate::home::Home;
use crate::lock::Lock;
use crate::platform;
use crate::supervise::components::Components;
use crate::supervise::environment;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Less free space than this, and logs and state will soon have none.
const LITTLE_SPACE: u64 = 256 * 1024 * 1024;

/// Clocks differ by some seconds, and nothing here minds.
const CLOCK_SLACK: Duration = Duration::from_secs(300);

pub(super) fn look(home: &Home, components: Components, checks: &mut Vec<Check>) {
    let root = home.root();
    let exists = root.is_dir();
    let writable = writable(home);
    checks.push(match &writable {
        Ok(()) if exists => ownership(root),
        Ok(()) => Check::ok(
            "home",
            format!("{} (does not exist yet; the first start makes it)", root.display()),
        ),
        Err((at, error)) => Check::problem(
            "home",
            format!("`{}` cannot be written: {error}", at.display()),
            "check who owns it and whether its disk is mounted read-only, or set STIGMER_HOME to a directory of your own",
        ),
    });
    checks.push(settings(home, components));
    let Some(standing) = root.ancestors().find(|path| path.is_dir()) else {
        return;
    };
    checks.push(disk(standing));
    checks.push(noexec(standing));
    if writable.is_ok() {
        checks.push(locks(standing));
    }
    checks.push(clock(home));
}

/// Whether files can be made in the home, or in what the home would be made in.
fn writable(home: &Home) -> Result<(), (PathBuf, String)> {
    let root = home.root();
    let inside = [home.run(), home.logs(), home.locks(), home.store(), home.data()];
    let candidates = std::iter::once(root.to_owned()).chain(inside);
    let mut existing: Vec<PathBuf> = candidates.filter(|path| path.exists()).collect();
    if existing.is_empty() {
        existing.extend(root.ancestors().find(|path| path.exists()).map(Path::to_owned));
    }
    for path in existing {
        // It has no name, so nothing is left whatever happens.
        tempfile::tempfile_in(&path).map_err(|error| (path, error.to_string()))?;
    }
    Ok(())
}

fn ownership(root: &Path) -> Check {
    if platform::is_foreign_home(root) {
        return Check::problem(
            "home",
            format!("`{}` belongs to another user, and you are the administrator", root.display()),
            "run stigmer as the owner of that directory, or set STIGMER_HOME",
        );
    }
    let mode = root.metadata().ok().and_then(|meta| platform::permission_bits(&meta));
    match mode {
        Some(mode) if mode & 0o022 != 0 => Check::warning(
            "home",
            format!("others may write to `{}` (mode {:o})", root.display(), mode & 0o7777),
            format!("`chmod go-w '{}'`", root.display()),
        ),
        _ => Check::ok("home", root.display().to_string()),
    }
}

fn settings(home: &Home, components: Components) -> Check {
    let path = home.config();
    let config = match Config::read(home) {
        Ok(config) => config,
        Err(error) => {
            return Check::problem(
                "settings",
                stigmer_protocol::report::chain(&error),
                format!("mend `{}`; {}/configuration.md lists every key", path.display(), crate::DOCS_URL),
            );
        }
    };
    if let Err(error) = environment::gather(home, &config, components) {
        return Check::problem(
            "settings",
            stigmer_protocol::report::chain(&error),
            "mend that; no start is possible before",
        );
    }
    if path.exists() {
        Check::ok("settings", path.display().to_string())
    } else {
        Check::ok("settings", "all at their defaults (there is no config.toml)")
    }
}

fn disk(path: &Path) -> Check {
    match fs2::available_space(path) {
        Ok(free) if free < LITTLE_SPACE => Check::warning(
            "disk",
            format!("{} free for `{}`", bytes(free), path.display()),
            "free some space (`stigmer cache gc` removes what is old), or set STIGMER_HOME to another disk",
        ),
        Ok(free) => Check::ok("disk", format!("{} free", bytes(free))),
        Err(error) => Check::warning(
            "disk",
            format!("the system does not say how much is free: {error}"),
            "nothing, if starts work; a full disk is reported when it is met",
        ),
    }
}

fn noexec(path: &Path) -> Check {
    if platform::is_noexec(path) {
        Check::problem(
            "noexec",
            format!("programs below `{}` may not be executed (a noexec mount)", path.display()),
            "set STIGMER_HOME to a directory on a file system that allows it",
        )
    } else {
        Check::ok("noexec", "programs in the home may be executed")
    }
}

/// Takes a lock twice in a file of its own: the second time it must be refused.
fn locks(path: &Path) -> Check {
    let outcome = tempfile::NamedTempFile::new_in(path).and_then(|file| {
        let first = Lock::try_acquire(file.path(), "trying locks")?;
        let second = Lock::try_acquire(file.path(), "trying locks")?;
        Ok(first.is_some_and(|lock| lock.is_effective()) && second.is_none())
    });
    match outcome {
        Ok(true) => Check::ok("locks", "files can be locked"),
        Ok(false) => Check::warning(
            "locks",
            format!("the file system of `{}` does not lock files", path.display()),
            "two starts at once may do the same work twice, and two servers are not kept apart: set STIGMER_HOME to a local disk",
        ),
        Err(error) => Check::warning(
            "locks",
            format!("locking could not be tried in `{}`: {error}", path.display()),
            "see the check of the home above",
        ),
    }
}

/// A clock that went back makes logs and ages lie. What we and others wrote shows it.
fn clock(home: &Home) -> Check {
    let now = SystemTime::now();
    let written = [home.logs(), home.run(), home.store(), home.root().to_owned()];
    let later = written
        .into_iter()
        .chain(platform::own_executable().ok())
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .filter(|(time, _)| *time > now + CLOCK_SLACK)
        .max();
    match later {
        None => Check::ok("clock", humantime::format_rfc3339_seconds(now).to_string()),
        Some((time, path)) => Check::warning(
            "clock",
            format!(
                "it is {} by the clock, but `{}` was written at {}",
                humantime::format_rfc3339_seconds(now),
                path.display(),
                humantime::format_rfc3339_seconds(time)
            ),
            "set the clock: the ages and times that stigmer shows are wrong until then",
        ),
    }
}
