//! Putting a new executable in the place of the old one, and going back.
//!
//! What runs now must run after whatever happens here. So the new file is complete, checked and on disk before its name changes;
//! the old one gets a second name first; and the change itself is one rename, which a system does wholly or not at all. The
//! old one stays beside it under a plain name, so that `mv` brings it back even if nothing of ours starts any more.
//!
//! ```text
//! stigmer                     the program; if this is a link, all of this happens where it leads
//! stigmer.previous            the one before it
//! .stigmer.new-DIGEST         in the making
//! .stigmer.aside              for a moment only: the old one on its way to being the previous one
//! ```

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a file that was just written may stay busy: another thread's child may still hold it open.
const BUSY: Duration = Duration::from_secs(5);
/// How long a new executable may take to check itself.
const SOON: Duration = Duration::from_secs(120);

/// Why the new executable was not put in place. The old one stands.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It does not start, or does not say what it should.
    #[error("`{}` does not work here: {reason}", path.display())]
    DoesNotWork {
        /// The executable.
        path: PathBuf,
        /// What it did.
        reason: String,
    },
    /// There is nothing to go back to.
    #[error("there is no previous version: `{}` does not exist", path.display())]
    NoPrevious {
        /// Where it would be.
        path: PathBuf,
    },
    /// What would be gone back to is what is installed.
    #[error("`{}` is the installed version itself", path.display())]
    SamePrevious {
        /// Where it is.
        path: PathBuf,
    },
    /// Reading or writing failed; the error names the path.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where the version before `target` is kept.
pub fn previous_of(target: &Path) -> PathBuf {
    with_name(target, |stem, extension| {
        let mut name = stem.to_owned();
        name.push(".previous");
        name.push(extension);
        name
    })
}

fn aside_of(target: &Path) -> PathBuf {
    with_name(target, |stem, extension| {
        let mut name = OsString::from(".");
        name.push(stem);
        name.push(".aside");
        name.push(extension);
        name
    })
}

/// A name beside `target`. Where programs have an extension, it stays at the end, so that they can be run.
fn with_name(target: &Path, name: impl Fn(&OsStr, &OsStr) -> OsString) -> PathBuf {
    let whole = target.file_name().unwrap_or(OsStr::new("stigmer"));
    let suffix = std::env::consts::EXE_SUFFIX;
    let stem = whole.to_str().and_then(|text| text.strip_suffix(suffix)).filter(|_| !suffix.is_empty());
    let name = match stem {
        Some(stem) => name(OsStr::new(stem), OsStr::new(suffix)),
        None => name(whole, OsStr::new("")),
    };
    target.with_file_name(name)
}

/// Gives the file at `new` the permissions and, as far as we may, the owner of `target`.
pub(super) fn adopt_metadata(target: &Path, new: &Path) -> io::Result<()> {
    let meta = fs_err::metadata(target)?;
    stigmer_platform::adopt_owner(new, &meta)?;
    if let Some(mode) = stigmer_platform::permission_bits(&meta) {
        // After the owner: a change of that takes special bits away.
        stigmer_platform::set_mode(new, mode | 0o500)?;
    }
    Ok(())
}

/// Lets the executable at `path` show that it works on this machine: it must say its version, which is returned and must be
/// `version` if that is known, and find its own bundle whole.
pub(super) fn check_works(path: &Path, version: Option<&str>) -> Result<String, ApplyError> {
    let fails = |reason: String| ApplyError::DoesNotWork { path: path.to_owned(), reason };
    let said = run(path, &["--version"]).map_err(|error| fails(format!("it does not start: {error}")))?;
    let text = String::from_utf8_lossy(&said.stdout);
    let found = match text.split_whitespace().take(2).collect::<Vec<_>>()[..] {
        ["stigmer", found] if said.status.success() && version.is_none_or(|version| version == found) => {
            found
        }
        _ => {
            let heard = [&said.stdout[..], &said.stderr].concat();
            let heard = String::from_utf8_lossy(&heard).lines().next().unwrap_or_default().to_owned();
            let wanted =
                version.map_or_else(|| "its version".to_owned(), |version| format!("`stigmer {version}`"));
            return Err(fails(format!(
                "`--version` should say {wanted}; it ended with {} and said {heard:?}",
                said.status
            )));
        }
    };
    let verified = run(path, &["bundle", "verify"]).map_err(|error| fails(error.to_string()))?;
    if !verified.status.success() {
        let text = String::from_utf8_lossy(&verified.stdout);
        let first = text.lines().next().unwrap_or("it said nothing").to_owned();
        return Err(fails(format!("`bundle verify` ended with {}: {first}", verified.status)));
    }
    Ok(found.to_owned())
}

/// Runs the executable to its end, which must come soon.
fn run(path: &Path, args: &[&str]) -> io::Result<Output> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    let mut command = Command::new(path);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = loop {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && began.elapsed() < BUSY => {
                std::thread::sleep(pause);
                pause *= 2;
            }
            other => break other?,
        }
    };
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    // It is our child and not waited for yet, so its id stays its own.
    let started = stigmer_platform::process_started(child.id());
    let has_ended = started.is_none_or(|started| stigmer_platform::wait_for_end(child.id(), started, SOON));
    if !has_ended {
        child.kill()?;
    }
    let status = child.wait()?;
    if !has_ended {
        let text = format!("it did not end within {} s", SOON.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, text));
    }
    let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    Ok(Output { status, stdout, stderr })
}

/// Reads a pipe to its end, so that whoever writes to it never waits.
fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks has said what it had to say.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        bytes
    })
}

/// Puts `new`, which is complete, checked and on disk, in the place of `target`, and keeps that one as the previous version.
pub(super) fn apply(target: &Path, new: &Path) -> Result<(), ApplyError> {
    finish_interrupted(target)?;
    let previous = previous_of(target);
    let aside = aside_of(target);
    if stigmer_platform::CAN_REPLACE_RUNNING {
        // A second name for the old one, then that name becomes the previous one's. At no moment is there nothing to run.
        second_name(target, &aside)?;
        fs_err::rename(&aside, &previous)?;
        // Renaming one name of a file to another of the same file does nothing.
        remove_if_there(&aside)?;
        fs_err::rename(new, target)?;
    } else {
        // The running program can be renamed, but not replaced; and so it is with a previous one that still runs.
        put_away(&previous)?;
        fs_err::rename(target, &previous)?;
        if let Err(error) = fs_err::rename(new, target) {
            fs_err::rename(&previous, target)?;
            return Err(error.into());
        }
    }
    sync_dir(target);
    Ok(())
}

/// Makes the previous version the installed one, and the installed one the previous.
pub(super) fn roll_back(target: &Path) -> Result<(), ApplyError> {
    finish_interrupted(target)?;
    let previous = previous_of(target);
    if previous.symlink_metadata().is_err() {
        return Err(ApplyError::NoPrevious { path: previous });
    }
    if same_file(target, &previous)? {
        return Err(ApplyError::SamePrevious { path: previous });
    }
    let aside = aside_of(target);
    if stigmer_platform::CAN_REPLACE_RUNNING {
        second_name(target, &aside)?;
    } else {
        fs_err::rename(target, &aside)?;
    }
    if let Err(error) = fs_err::rename(&previous, target) {
        if stigmer_platform::CAN_REPLACE_RUNNING {
            remove_if_there(&aside)?;
        } else {
            fs_err::rename(&aside, target)?;
        }
        return Err(error.into());
    }
    fs_err::rename(&aside, &previous)?;
    sync_dir(target);
    Ok(())
}

/// Completes what a killed run has left in the middle: what stands aside was to become the previous version.
pub(super) fn finish_interrupted(target: &Path) -> io::Result<()> {
    let aside = aside_of(target);
    if aside.symlink_metadata().is_err() {
        return Ok(());
    }
    let previous = previous_of(target);
    if target.symlink_metadata().is_err() {
        return fs_err::rename(&aside, target);
    }
    if previous.symlink_metadata().is_err() && !same_file(target, &aside)? {
        return fs_err::rename(&aside, &previous);
    }
    fs_err::remove_file(&aside)
}

/// Gives the file at `from` the name `to` as well; where the file system knows no second names, a copy of it.
fn second_name(from: &Path, to: &Path) -> io::Result<()> {
    remove_if_there(to)?;
    if std::fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let copied = fs_err::copy(from, to).and_then(|_| adopt_metadata(from, to)).and_then(|()| {
        // A copy that is not on disk would be a previous version only until the power fails.
        fs_err::File::open(to)?.sync_all()
    });
    if copied.is_err() {
        let _ = std::fs::remove_file(to);
    }
    copied
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes the program at `path`, or, while it runs, gives it a name that a later update removes.
fn put_away(path: &Path) -> io::Result<()> {
    match remove_if_there(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs_err::rename(path, super::staging::discarded_name(path))
        }
        other => other,
    }
}

fn same_file(a: &Path, b: &Path) -> io::Result<bool> {
    let (a, b) = (fs_err::metadata(a)?, fs_err::metadata(b)?);
    let (a, b) = (stigmer_platform::evidence(&a), stigmer_platform::evidence(&b));
    Ok(stigmer_platform::HAS_PERMISSION_BITS && a == b)
}

/// Makes the renames survive a power cut. Where directories cannot be flushed, the file system has to look after itself.
fn sync_dir(target: &Path) {
    if let Some(dir) = target.parent() {
        let _ = std::fs::File::open(dir).and_then(|dir| dir.sync_all());
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    struct Place {
        dir: tempfile::TempDir,
        target: PathBuf,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let target = dir.path().join("stigmer");
            fs::write(&target, "one").unwrap();
            Self { dir, target }
        }

        fn update(&self, to: &str) {
            let new = self.dir.path().join("new");
            fs::write(&new, to).unwrap();
            apply(&self.target, &new).unwrap();
        }

        /// What the program and the previous one are, and that nothing else is there.
        fn state(&self) -> (String, String) {
            let mut names: Vec<_> =
                fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, ["stigmer", "stigmer.previous"]);
            (
                fs::read_to_string(&self.target).unwrap(),
                fs::read_to_string(previous_of(&self.target)).unwrap(),
            )
        }
    }

    #[test]
    fn the_one_before_is_kept_and_comes_back_and_goes_again() {
        let place = Place::new();
        assert!(matches!(roll_back(&place.target), Err(ApplyError::NoPrevious { .. })));
        place.update("two");
        assert_eq!(place.state(), ("two".into(), "one".into()));
        place.update("three");
        assert_eq!(place.state(), ("three".into(), "two".into()));
        roll_back(&place.target).unwrap();
        assert_eq!(place.state(), ("two".into(), "three".into()));
        roll_back(&place.target).unwrap();
        assert_eq!(place.state(), ("three".into(), "two".into()));
    }

    #[test]
    fn what_was_interrupted_is_completed() {
        // Killed when the old one had its second name, and nothing else had happened.
        let place = Place::new();
        fs::hard_link(&place.target, aside_of(&place.target)).unwrap();
        place.update("two");
        assert_eq!(place.state(), ("two".into(), "one".into()));
        // Killed when the previous one was the installed one's second name.
        fs::remove_file(previous_of(&place.target)).unwrap();
        fs::hard_link(&place.target, previous_of(&place.target)).unwrap();
        assert!(matches!(roll_back(&place.target), Err(ApplyError::SamePrevious { .. })));
        place.update("three");
        assert_eq!(place.state(), ("three".into(), "two".into()));
        // Killed in the middle of going back: the previous one is installed, the other stands aside.
        fs::rename(&place.target, aside_of(&place.target)).unwrap();
        fs::rename(previous_of(&place.target), &place.target).unwrap();
        roll_back(&place.target).unwrap();
        assert_eq!(place.state(), ("three".into(), "two".into()));
        // Where the running one has to stand aside first: killed while nothing was installed.
        fs::rename(&place.target, aside_of(&place.target)).unwrap();
        finish_interrupted(&place.target).unwrap();
        assert_eq!(place.state(), ("three".into(), "two".into()));
    }

    #[test]
    fn permissions_are_those_of_the_old_one_and_always_let_it_run() {
        let place = Place::new();
        let new = place.dir.path().join("new");
        fs::write(&new, "two").unwrap();
        for (mode, expected) in [(0o755, 0o755), (0o751, 0o751), (0o600, 0o700)] {
            fs::set_permissions(&place.target, fs::Permissions::from_mode(mode)).unwrap();
            adopt_metadata(&place.target, &new).unwrap();
            assert_eq!(fs::metadata(&new).unwrap().permissions().mode() & 0o7777, expected);
        }
    }

    #[test]
    fn what_does_not_work_is_found_out() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("stigmer");
        let check = |script: &str| {
            fs::write(&program, script).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            check_works(&program, Some("1.2.3")).map_err(|error| error.to_string())
        };
        check("#!/bin/sh\n[ $1 = bundle ] || echo stigmer 1.2.3 '(x)'\n").unwrap();
        for (script, words) in [
            ("#!/bin/sh\necho stigmer 1.2.4\n", "should say `stigmer 1.2.3`"),
            ("#!/bin/sh\necho stigmer 1.2.3; exit 3\n", "exit status: 3"),
            ("#!/bin/sh\necho stigmer 1.2.3; [ $1 != bundle ]\n", "`bundle verify` ended"),
            ("#!/bin/sh\nkill -ABRT $$\n", "signal"),
            ("#!/no/such/interpreter\n", "does not start"),
        ] {
            let error = check(script).unwrap_err();
            assert!(error.contains(words), "{script}: {error}");
        }
    }
}
