//! What can go wrong with an update, in words for people. In every case the installed program is what it was.

use crate::cli::{Exit, Failure};
use crate::update::runner::RunnerError;
use crate::update::{ApplyError, ClientError, FetchError, Owner, UpdateError, Why};
use std::io;
use std::path::Path;

/// Somebody else looks after the installation.
pub(super) fn managed(path: &Path, owner: &Owner) -> Failure {
    Failure::new(Exit::Managed, format!("`{}` is looked after by {}", path.display(), owner.name))
        .hint(&owner.advice)
}

/// The configuration names a channel that cannot be one.
pub(super) fn channel(reason: String) -> Failure {
    Failure::new(Exit::Config, reason).hint("it stands in config.toml: [update] channel")
}

/// The certificates of the configuration cannot be used, or the proxy of the environment.
pub(super) fn client(error: &ClientError) -> Failure {
    Failure::from_error(Exit::Config, error).hint(match error {
        ClientError::Certificates(_) => {
            "it is named in config.toml: [update] ca_file; it has certificates in PEM form"
        }
        ClientError::Proxy(_) => {
            "an address looks like http://proxy.example:3128; unset the variable to ask without a proxy"
        }
    })
}

/// A build whose own version is none.
pub(super) fn version(error: &semver::Error) -> Failure {
    Failure::from_error(Exit::Config, error).hint("this executable was built with a version that is none")
}

/// What belongs to a carrier does not lie beside it.
pub(super) fn beside(file: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Unavailable, format!("`{}` is not described: {error}", file.display())).hint(
        "put its .index.json and .index.json.minisig beside it; they are among the files of every release",
    )
}

const OFFLINE: &str =
    "without a network, `stigmer self-update --offline FILE` takes a carrier that was brought here otherwise";

impl From<UpdateError> for Failure {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::Trust(error) => error.into(),
            UpdateError::Seen(error) => error.into(),
            UpdateError::Bundle(crate::bundle::BundleError::Bare { path }) => Self::new(
                Exit::Unavailable,
                format!("`{}` is a bare build: it carries nothing, so it is no release to update", path.display()),
            )
            .hint("`make build` makes a carrier of the sources; or install a release"),
            UpdateError::Bundle(error) => error.into(),
            UpdateError::Io(error) => error.into(),
            UpdateError::Fetch(error) => fetch(&error),
            UpdateError::Apply(error) => apply(error),
            UpdateError::NoTarget => Self::from_error(Exit::Unavailable, &error)
                .hint("build it from the sources; `make build` does"),
            UpdateError::Source(_) => Self::from_error(Exit::Config, &error).hint(
                "it comes from STIGMER_RELEASES_URL or from config.toml: [update] url; an address may not hold a password",
            ),
            UpdateError::NoRelease { .. } | UpdateError::NoReleases { .. } => {
                Self::from_error(Exit::Unavailable, &error)
                    .hint("`stigmer self-update --check` names the newest; --channel NAME looks elsewhere")
            }
            UpdateError::Listing(_) => Self::from_error(Exit::Damaged, &error)
                .hint("nothing was changed: tell whoever publishes these releases"),
            UpdateError::Unwritable { ref dir, owner, .. } => {
                let failure = Self::from_error(Exit::Forbidden, &error);
                match owner {
                    // With its path, as the administrator may have another PATH.
                    Some(0) => failure.hint(format!(
                        "it belongs to the administrator: `sudo -H {}/stigmer self-update`, with the same options",
                        dir.display()
                    )),
                    Some(id) => failure.hint(format!("it belongs to user {id}: let that user update it")),
                    None => failure.hint(format!(
                        "make `{}` writable, or install stigmer in a directory of your own",
                        dir.display()
                    )),
                }
            }
            UpdateError::NoSpace { .. } => Self::from_error(Exit::Io, &error)
                .hint("free some space there; the previous version, `stigmer.previous`, may go"),
            UpdateError::Busy(_) => {
                Self::from_error(Exit::Busy, &error).hint("wait for that process, or end it")
            }
            UpdateError::Filling { .. } => {
                Self::from_error(Exit::Busy, &error).hint("it updates the same program; wait for it")
            }
        }
    }
}

impl From<RunnerError> for Failure {
    fn from(error: RunnerError) -> Self {
        match error {
            RunnerError::Trust(error) => error.into(),
            RunnerError::Fetch(error) => fetch(&error),
            RunnerError::Bundle(error) => error.into(),
            RunnerError::Signing(error) => error.into(),
            RunnerError::Io(error) => error.into(),
            RunnerError::NoTarget => Self::from_error(Exit::Unavailable, &error)
                .hint("build it from the sources, and start with --use-local-binary PATH"),
            RunnerError::Absent { .. } => Self::from_error(Exit::Unavailable, &error).hint(
                "look at the name; `make upload-binary VERSION=NAME` publishes one. Without --version the bundled agent-runner runs",
            ),
        }
    }
}

fn fetch(error: &FetchError) -> Failure {
    match &error.why {
        Why::Network(_) => Failure::from_error(Exit::Unreachable, error)
            .hint("proxies are taken from HTTPS_PROXY and NO_PROXY; what was fetched so far is kept for the next try")
            .hint(OFFLINE),
        Why::Proxy { .. } => Failure::from_error(Exit::Unreachable, error)
            .hint("HTTPS_PROXY names the proxy, with its name and password if it wants them; NO_PROXY, who is asked without it")
            .hint(OFFLINE),
        Why::Certificate(_) => Failure::from_error(Exit::Unreachable, error).hint(
            "if a company inspects connections here, name its certificate in config.toml: [update] ca_file = \"FILE\"",
        ),
        Why::Missing => Failure::from_error(Exit::Unreachable, error)
            .hint("check STIGMER_RELEASES_URL and [update] url: is this where releases are published?"),
        Why::Status(_) | Why::Later(_) => {
            Failure::from_error(Exit::Unreachable, error).hint("try again later").hint(OFFLINE)
        }
        Why::NoRanges => Failure::from_error(Exit::Unreachable, error).hint("--no-delta fetches the whole file"),
        Why::Size { .. } | Why::TooLong(_) => Failure::from_error(Exit::Damaged, error)
            .hint("nothing was changed: the host has another file than the one that was signed"),
        Why::Unusable(cause) => match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::from_error(Exit::Io, error)
                .hint("free some space beside the executable; what was fetched so far is kept for the next try"),
            _ => Failure::from_error(Exit::Io, error),
        },
    }
}

fn apply(error: ApplyError) -> Failure {
    match error {
        ApplyError::Io(error) => error.into(),
        ApplyError::DoesNotWork { .. } => Failure::from_error(Exit::Failed, &error)
            .hint("nothing was changed; if this machine is not an unusual one, please report it"),
        ApplyError::NoPrevious { .. } => Failure::from_error(Exit::Unavailable, &error)
            .hint("an update keeps the version it replaces; there was none yet, or the file was removed")
            .hint("`stigmer self-update --version VERSION --allow-downgrade` fetches an older one"),
        ApplyError::SamePrevious { .. } => Failure::from_error(Exit::Unavailable, &error)
            .hint("an update was interrupted; `stigmer self-update` completes it"),
    }
}
