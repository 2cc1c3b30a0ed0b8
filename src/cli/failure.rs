//! The one error a person sees: what happened, to which path, why, and what to do now.

use super::Output;
use crate::bundle::BundleError;
use crate::component::ComponentError;
use crate::config::ConfigError;
use crate::home::HomeError;
use crate::store::StoreError;
use crate::update::{KeysError, SeenError, SigningError, TrustError};
use serde::Serialize;
use std::error::Error;
use std::io;

/// Exit codes. From 64 on they are those of `sysexits.h`. `docs/exit-codes.md` is the table for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It failed, in no way that has its own code.
    Failed = 1,
    /// The command line is not understood.
    Usage = 2,
    /// Nothing is running.
    NotRunning = 3,
    /// Something runs and does not answer.
    Hung = 4,
    /// Somebody else looks after this installation.
    Managed = 5,
    /// The execution was cancelled.
    Cancelled = 6,
    /// A bundle is damaged or of an unknown version, or a file that is to be applied has mistakes (`EX_DATAERR`).
    Damaged = 65,
    /// A host does not answer, or not as it should (`EX_NOHOST`).
    Unreachable = 68,
    /// What was asked for is not in this executable (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// A file or directory cannot be created (`EX_CANTCREAT`).
    CannotCreate = 73,
    /// Reading or writing failed, a full disk included (`EX_IOERR`).
    Io = 74,
    /// Somebody else holds what is needed; later it may work (`EX_TEMPFAIL`).
    Busy = 75,
    /// The system forbids it (`EX_NOPERM`).
    Forbidden = 77,
    /// The configuration or the environment is wrong (`EX_CONFIG`).
    Config = 78,
    /// Ctrl-C ended the watching, and not what is watched; as shells have it.
    Left = 130,
}

impl Exit {
    /// The code that another process of ours ended with or told of.
    pub fn from_code(code: i32) -> Option<Self> {
        [
            Self::Failed,
            Self::Usage,
            Self::NotRunning,
            Self::Hung,
            Self::Damaged,
            Self::Unavailable,
            Self::CannotCreate,
            Self::Io,
            Self::Busy,
            Self::Forbidden,
            Self::Config,
        ]
        .into_iter()
        .find(|exit| *exit as i32 == code)
    }
}

/// A failure, ready to be rendered.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    message: String,
    /// What else is wrong.
    more: Vec<String>,
    causes: Vec<String>,
    hints: Vec<String>,
    kind: Option<io::ErrorKind>,
}

#[derive(Serialize)]
struct JsonFailure<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    more: &'a [String],
    causes: &'a [String],
    hints: &'a [String],
    exit_code: u8,
}

impl Failure {
    /// A failure with a message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            more: Vec::new(),
            causes: Vec::new(),
            hints: Vec::new(),
            kind: None,
        }
    }

    /// A failure from an error, with its chain of causes.
    pub fn from_error(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        let mut failure = Self::new(exit, error.to_string());
        let mut next = error.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Some libraries repeat the cause in their own text; once is enough.
            if !failure.message.contains(&text) {
                failure.causes.push(text);
            }
            next = cause.source();
        }
        failure.kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        failure
    }

    /// Adds what to do now.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds another thing that is wrong, as bad as the first.
    #[must_use]
    pub fn more(mut self, message: impl Into<String>) -> Self {
        self.more.push(message.into());
        self
    }

    /// Adds a line of what led to it.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// What to do now.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Whether it only says that nobody reads any more.
    pub fn is_broken_pipe(&self) -> bool {
        self.kind == Some(io::ErrorKind::BrokenPipe)
    }

    /// Prints it: to standard error for a person, as one object to standard output with `--json`.
    pub(super) fn render(&self, json: bool) {
        let output = Output::new(json);
        if json {
            let _ = output.json(&JsonFailure {
                error: &self.message,
                more: &self.more,
                causes: &self.causes,
                hints: &self.hints,
                exit_code: self.exit as u8,
            });
            return;
        }
        let red = console::style("error:").red().bold().for_stderr();
        output.note(format_args!("{red} {}", self.message));
        for message in &self.more {
            output.note(format_args!("{red} {message}"));
        }
        for cause in &self.causes {
            output.note(format_args!("  cause: {cause}"));
        }
        for hint in &self.hints {
            output.note(format_args!("   {} {hint}", console::style("hint:").cyan().for_stderr()));
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let (exit, hint) = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                (Exit::Io, Some("free some space, or set STIGMER_HOME to a directory on another disk"))
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                (Exit::CannotCreate, Some("set STIGMER_HOME to a directory that can be written"))
            }
            io::ErrorKind::PermissionDenied => {
                (Exit::Forbidden, Some("check who owns the path, or set STIGMER_HOME to a directory you own"))
            }
            _ => (Exit::Io, None),
        };
        let failure = Self::from_error(exit, &error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        let hint = match &error {
            HomeError::LockTimeout(_) => {
                "set it to a whole number, such as 120, or unset it: the default is 60"
            }
            _ => "set STIGMER_HOME to the absolute path of a directory to use",
        };
        Self::from_error(Exit::Config, &error).hint(hint)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Io(error) => error.into(),
            ConfigError::Syntax { .. } => Self::from_error(Exit::Config, &error).hint(format!(
                "{}/configuration.md lists every key; an absent file is fine",
                crate::DOCS_URL
            )),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (exit, hint) = match error {
            StoreError::Io(error) => return error.into(),
            StoreError::Bundle(error) => return error.into(),
            StoreError::Busy(_) => {
                (Exit::Busy, "wait for that process or end it; STIGMER_LOCK_TIMEOUT=SECONDS waits longer")
            }
            StoreError::NoSpace { .. } => (
                Exit::Io,
                "free some space (`stigmer cache gc`), or set STIGMER_HOME to a directory on another disk",
            ),
            StoreError::ForeignHome { .. } => (
                Exit::Forbidden,
                "run it as the owner of that directory, or set STIGMER_HOME to a directory of the administrator's own",
            ),
            StoreError::StillDamaged { .. } => {
                (Exit::Io, "something else writes there, or the disk fails: set STIGMER_HOME to another one")
            }
        };
        Self::from_error(exit, &error).hint(hint)
    }
}

impl From<ComponentError> for Failure {
    fn from(error: ComponentError) -> Self {
        let (exit, hint) = match error {
            ComponentError::Store(error) => return error.into(),
            ComponentError::Bare { .. } => (
                Exit::Unavailable,
                "run a packed stigmer (`make build` makes dist/stigmer), or give a local build with --use-local-binary PATH",
            ),
            ComponentError::Local { .. } => (
                Exit::Unavailable,
                "give an executable file, or a one-folder build that holds one named as the component",
            ),
        };
        Self::from_error(exit, &error).hint(hint)
    }
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        let (exit, hint) = match &error {
            BundleError::Io(_) => {
                let BundleError::Io(error) = error else { unreachable!("matched just above") };
                return error.into();
            }
            BundleError::Bare { .. } => (
                Exit::Unavailable,
                "`stigmer bundle pack --base EXE --component NAME=DIR --out FILE` makes a carrier of a bare binary",
            ),
            BundleError::Damaged { .. } => {
                (Exit::Damaged, "install this file again: its bytes are not those that were packed")
            }
            BundleError::UnknownVersion { .. } => {
                (Exit::Damaged, "use the stigmer that came with this file, or a newer one")
            }
            BundleError::NoComponent { .. } => {
                (Exit::Unavailable, "`stigmer bundle inspect` lists what it carries")
            }
            BundleError::Refused { .. } => {
                (Exit::Failed, "change what is packed: this rule protects every machine it is unpacked on")
            }
        };
        Self::from_error(exit, &error).hint(hint)
    }
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Self {
        if let TrustError::OlderRunner { kept, .. } = &error {
            let hint =
                format!("use the original host; if the older one is meant, remove `{}`", kept.display());
            return Self::from_error(Exit::Damaged, &error).hint(hint);
        }
        let (exit, hint) = match &error {
            TrustError::NoKeys => (
                Exit::Config,
                "use a released stigmer, build one with STIGMER_RELEASE_KEYS=FILE, or name the key of a private mirror in \
                 config.toml: [update] trusted_keys = [\"RW…\"]",
            ),
            TrustError::UnknownKey { .. } => (
                Exit::Damaged,
                "if the key was replaced, install the new version by hand once (docs/release-format.md says how to check it); \
                 else do not use this host",
            ),
            TrustError::Downgrade { .. } => (Exit::Failed, "--allow-downgrade goes back all the same"),
            TrustError::UnknownSchema { .. } => {
                (Exit::Damaged, "this stigmer is too old to read it: install the new version by hand once")
            }
            TrustError::Replayed { .. } => (
                Exit::Damaged,
                "use the original host and not a copy of it; if that listing is known to be wrong, remove data/update/seen.json",
            ),
            _ => (Exit::Damaged, "nothing was changed: try again later, or from another host"),
        };
        Self::from_error(exit, &error).hint(hint)
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        Self::from_error(Exit::Config, &error)
            .hint("take the second line of the .pub file that minisign wrote")
    }
}

impl From<SeenError> for Failure {
    fn from(error: SeenError) -> Self {
        match error {
            SeenError::Io(error) => error.into(),
            SeenError::Damaged { .. } => Self::from_error(Exit::Damaged, &error)
                .hint("remove it: from then on a listing older than the next one is noticed again"),
        }
    }
}

impl From<SigningError> for Failure {
    fn from(error: SigningError) -> Self {
        let (exit, hint) = match error {
            SigningError::Io(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Self::from(error).hint("give another name, or move the old key to where it is kept");
            }
            SigningError::Io(error) => return error.into(),
            SigningError::Key(error) => return error.into(),
            SigningError::NotAKey { .. } => {
                (Exit::Config, "give the file that `stigmer bundle keygen` or `minisign -G` wrote")
            }
            SigningError::WrongPassword { .. } => {
                (Exit::Config, "check the password, or the file named by STIGMER_KEY_PASSWORD_FILE")
            }
            SigningError::Readable { .. } => (Exit::Config, "make it yours alone: chmod 600"),
            SigningError::Failed(_) => (Exit::Failed, "nothing was signed"),
        };
        Self::from_error(exit, &error).hint(hint)
    }
}
