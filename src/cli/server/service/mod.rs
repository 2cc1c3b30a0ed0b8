//! The platform as a service of a person's own session: a file for systemd or launchd, which then starts it at every login.
//!
//! What is to be written is shown before it is written, and a file that is not ours is neither overwritten nor removed: [`MARK`]
//! in it is how we know our own.

mod agent;
mod manager;
mod unit;

use super::{Output, stop};
use crate::cli::confirm::confirm;
use crate::cli::{Exit, Failure, Outcome};
use crate::config::Config;
use crate::home::Home;
use crate::supervise::client::Manner;
use manager::{Manager, Trouble};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What makes a file ours.
const MARK: &str =
    "Written by `stigmer server install-service`; `stigmer server uninstall-service` removes it.";

/// Beyond the limits of the supervisor itself: what it may take to unpack, and to come to an end.
const START_MARGIN: Duration = Duration::from_secs(120);
const STOP_MARGIN: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct InstallArgs {
    /// Only show what would be written
    #[arg(long)]
    print: bool,
    /// Do not ask
    #[arg(long, conflicts_with = "print")]
    yes: bool,
}

/// What a service manager is to run, and what it must know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Service {
    program: String,
    /// The home, if it is not the usual one.
    home: Option<String>,
    /// Where words go that are not in any other log.
    log: String,
    start_limit: Duration,
    stop_limit: Duration,
}

impl Service {
    fn of(home: &Home) -> Result<Self, Failure> {
        let settings = Config::read(home)?.server;
        let program = plain(&own_program()?)?;
        // Said by systemd of the path of a program, however it is escaped.
        if program.contains(['"', '\'', '\\']) {
            let text = format!("a service cannot run `{program}`: there is a quote or a backslash in it");
            return Err(Failure::new(Exit::Config, text).hint("call it by a link that has neither"));
        }
        Ok(Self {
            program,
            home: home.is_explicit().then(|| plain(home.root())).transpose()?,
            log: plain(&home.logs().join("service.log"))?,
            start_limit: settings.start_timeout + settings.stop_timeout + START_MARGIN,
            // The workers first, then the server.
            stop_limit: settings.stop_timeout * 2 + STOP_MARGIN,
        })
    }
}

/// A path that can stand in a line of text.
fn plain(path: &Path) -> Result<String, Failure> {
    match path.to_str() {
        Some(text) if !text.contains(char::is_control) => Ok(text.to_owned()),
        _ => Err(Failure::new(
            Exit::Config,
            format!("`{}` cannot be written into a service file: it is not plain text", path.display()),
        )
        .hint("use a path without control characters that is valid Unicode")),
    }
}

/// The path of this program that a later version will have too.
fn own_program() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    let own = own.canonicalize().map_err(|error| {
        Failure::from_error(Exit::Failed, &error)
            .cause(format!("this is `{}`, which is no longer there", own.display()))
            .hint("run the installed stigmer")
    })?;
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let name = called.file_name().map(ToOwned::to_owned).unwrap_or_default();
    let mut candidates: Vec<PathBuf> = std::env::split_paths(&path).map(|dir| dir.join(&name)).collect();
    if called.components().count() > 1 {
        candidates.push(std::path::absolute(&called)?);
    }
    Ok(stable(own, candidates))
}

/// The first of `candidates` that is another name of `own`, else `own`: a package manager removes the place where a version
/// lies, and keeps the link to it.
fn stable(own: PathBuf, candidates: Vec<PathBuf>) -> PathBuf {
    let same = |path: &PathBuf| path.is_absolute() && path.canonicalize().is_ok_and(|path| path == own);
    candidates.into_iter().find(same).unwrap_or(own)
}

pub(super) fn install(home: &Home, args: &InstallArgs, output: Output) -> Outcome {
    let manager = manager()?;
    let path = manager.path()?;
    let text = manager.render(&Service::of(home)?);
    if args.print {
        output.line(text.trim_end())?;
        return Ok(0);
    }
    let present = read(&path)?;
    if present.as_deref().is_some_and(|present| !present.contains(MARK)) {
        return Err(Failure::new(
            Exit::CannotCreate,
            format!("`{}` is there already, and not from `stigmer server install-service`", path.display()),
        )
        .hint("move it away, or keep using it"));
    }
    let changed = present.as_deref() != Some(&text);
    let when = if changed { "will be written" } else { "is there already" };
    output.note(format_args!("`{}` {when}:\n\n{text}", path.display()));
    let steps = manager.start(&path, changed);
    let commands: Vec<String> =
        std::iter::once(manager.reload()).chain(steps.clone()).map(|step| step.text()).collect();
    output.note(format_args!("Then these commands are run:\n\n  {}\n", commands.join("\n  ")));
    if !args.yes {
        confirm(
            "Install it?",
            "nothing was installed",
            "`--yes` installs it without asking, `--print` only shows it",
        )?;
    }
    if changed {
        write(&path, &text)?;
    }
    if let Err(Trouble::Unreachable(reason) | Trouble::Failed(reason)) = manager.reload().run() {
        let failure = Failure::new(
            Exit::Unavailable,
            format!("`{}` is written, but the service manager cannot be told", path.display()),
        );
        return Err(failure.cause(reason).hint(format!("when it can be: `{}`", commands.join(" && "))));
    }
    // What runs outside of the service would be in its way.
    if !manager.is_running() && stop::stop(home, "server install-service", Manner::Asked, output)? {
        output.note("stopped what was running in the background");
    }
    for step in steps {
        if let Err(Trouble::Unreachable(reason) | Trouble::Failed(reason)) = step.run() {
            let failure = Failure::new(Exit::Failed, "the service is installed, but does not start");
            return Err(failure.cause(reason).hint(manager.where_to_look()));
        }
    }
    output.line(format_args!("stigmer runs as a service: {}", path.display()))?;
    output.note("it is started at every login; `stigmer server status`, `logs` and `stop` work as ever");
    if manager == Manager::Systemd {
        output.hint("`loginctl enable-linger` keeps it running also while you are not logged in");
    }
    Ok(0)
}

pub(super) fn uninstall(output: Output) -> Outcome {
    let manager = manager()?;
    let path = manager.path()?;
    let Some(text) = read(&path)? else {
        output.line(format_args!("no service is installed: there is no `{}`", path.display()))?;
        return Ok(0);
    };
    if !text.contains(MARK) {
        return Err(Failure::new(
            Exit::Forbidden,
            format!("`{}` is not from `stigmer server install-service`", path.display()),
        )
        .hint("remove it yourself if nobody needs it"));
    }
    // Which home it serves stands in the file, whatever this shell has set.
    let home = manager.home_of(&text).map_or_else(Home::of_person, |root| Ok(Home::at(root)))?;
    let mut trouble = None;
    for step in manager.stop() {
        if let Err(Trouble::Unreachable(reason) | Trouble::Failed(reason)) = step.run() {
            trouble.get_or_insert(reason);
        }
    }
    // A manager that was not told lets go of nothing; and somebody may have started it by hand.
    stop::stop(&home, "server uninstall-service", Manner::Asked, output)?;
    fs_err::remove_file(&path)?;
    remove_enabling_link(&path);
    match trouble {
        Some(reason) => {
            output.note(format_args!("note: the service manager could not be told: {reason}"));
            output.note("  it forgets the service at its next start");
        }
        // It has been told of the end; that the file is gone it may learn now or later.
        None => drop(manager.reload().run()),
    }
    output.line(format_args!("stopped, and removed `{}`", path.display()))?;
    Ok(0)
}

/// Whether the platform of `home` is run by a service manager now.
pub(super) fn runs(home: &Home) -> bool {
    let Some((manager, path)) = Manager::here().and_then(|manager| Some((manager, manager.path().ok()?)))
    else {
        return false;
    };
    let Ok(Some(text)) = read(&path) else { return false };
    let root = manager.home_of(&text).map_or_else(Home::of_person, |root| Ok(Home::at(root)));
    text.contains(MARK) && root.is_ok_and(|root| root.root() == home.root()) && manager.is_running()
}

/// Has the service manager stop and start what it runs: started by anybody else, it would not be the service any more.
pub(super) fn restart() -> Result<(), Failure> {
    let manager = manager()?;
    let Err(Trouble::Unreachable(reason) | Trouble::Failed(reason)) = manager.restart().run() else {
        return Ok(());
    };
    let failure = Failure::new(Exit::Failed, "the service does not start again");
    Err(failure.cause(reason).hint(manager.where_to_look()))
}

fn manager() -> Result<Manager, Failure> {
    Manager::here().ok_or_else(|| {
        let program = own_program().map_or_else(|_| "stigmer".to_owned(), |path| path.display().to_string());
        Failure::new(Exit::Unavailable, "installing a service is not supported on this system yet").hint(format!(
            "the Task Scheduler can start it at each logon: `schtasks /Create /TN stigmer /SC ONLOGON /TR \"\\\"{program}\\\" server start\"`"
        ))
    })
}

/// What the file at `path` says; `None` if there is none. A link is somebody's own arrangement, and not ours to replace.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(meta) if !meta.is_file() => Ok(Some(String::new())),
        _ => Ok(Some(String::from_utf8_lossy(&fs_err::read(path)?).into_owned())),
    }
}

/// Writes the file as a whole or not at all. It holds no secret.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs_err::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    crate::platform::set_file_mode(file.as_file(), 0o644)?;
    file.persist(path).map_err(|error| Failure::from(error.error))?;
    Ok(())
}

/// A systemd that was not reached has left the link by which it starts the unit at a login.
fn remove_enabling_link(path: &Path) {
    let Some((dir, name)) = path.parent().zip(path.file_name()) else { return };
    let link = dir.join("default.target.wants").join(name);
    if std::fs::symlink_metadata(&link).is_ok_and(|meta| meta.is_symlink()) {
        let _ = fs_err::remove_file(link);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(super) fn service(program: &str, home: Option<&str>) -> Service {
        Service {
            program: program.to_owned(),
            home: home.map(str::to_owned),
            log: "/logs/service.log".to_owned(),
            start_limit: Duration::from_secs(200),
            stop_limit: Duration::from_secs(30),
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_link_that_stays_is_preferred_to_the_place_of_a_version() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path().canonicalize().expect("a path");
        let version = dir.join("Cellar-1.0");
        fs_err::write(&version, "").expect("written");
        fs_err::write(dir.join("another"), "").expect("written");
        let link = dir.join("stigmer");
        std::os::unix::fs::symlink(&version, &link).expect("linked");
        let candidates = vec!["stigmer".into(), dir.join("none"), dir.join("another"), link.clone()];
        assert_eq!(stable(version.clone(), candidates.clone()), link);
        assert_eq!(stable(version.clone(), candidates[..3].to_vec()), version);
    }

    #[test]
    fn a_path_that_would_break_a_line_is_refused() {
        assert!(plain(Path::new("/with spaces/ü")).is_ok());
        assert!(plain(Path::new("/two\nlines")).is_err());
    }
}
