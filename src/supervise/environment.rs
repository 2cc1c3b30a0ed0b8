//! What a component finds in its environment, and what only the runners are told.
//!
//! An environment is inherited by everybody below, shown by `ps e`, and may be of any size. So the platform's processes get
//! what is on a list (`plain`) and nothing else, and the variables that may hold a secret go another way: the
//! launcher reads them ([`gather`]), and they travel over standard input, first to the supervisor,
//! then to the runner they are for and nobody else. See `docs/decisions/0012-secrets-on-the-config-line.md`.

mod file;

use super::components::{Components, EnvironmentPolicy};
use crate::config::Config;
use crate::home::Home;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use stigmer_protocol::environment::Environment;

/// What every process of the platform may see. None of these is a secret.
const PLAIN: [&str; 44] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TZDIR",
    "TMPDIR",
    "TEMP",
    "TMP",
    "STIGMER_HOME",
    "STIGMER_LOCK_TIMEOUT",
    "NO_COLOR",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "__CF_USER_TEXT_ENCODING",
    // Without these a program on Windows does not start, or does not find the person's directories.
    "ALLUSERSPROFILE",
    "APPDATA",
    "CommonProgramFiles",
    "CommonProgramFiles(x86)",
    "CommonProgramW6432",
    "COMPUTERNAME",
    "ComSpec",
    "HOMEDRIVE",
    "HOMEPATH",
    "LOCALAPPDATA",
    "NUMBER_OF_PROCESSORS",
    "OS",
    "PATHEXT",
    "PROCESSOR_ARCHITECTURE",
    "ProgramData",
    "ProgramFiles",
    "ProgramFiles(x86)",
    "ProgramW6432",
    "PUBLIC",
    "SystemDrive",
    "SystemRoot",
    "USERNAME",
    "USERPROFILE",
    "windir",
];

/// Families of such variables.
const PLAIN_FAMILIES: [&str; 2] = ["LC_", "XDG_"];

/// What the agent-runner is told without being asked for: the keys of model providers, and how they are reached.
const PROVIDERS: [&str; 15] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "OPENAI_API_KEY",
    "OPENAI_ORG_ID",
    "OPENAI_ORGANIZATION",
    "OPENAI_PROJECT_ID",
    "OLLAMA_API_KEY",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_API_URL",
    "OPENAI_BASE_URL",
    "OPENAI_API_BASE",
    "OPENAI_PROXY",
    "OLLAMA_HOST",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];

/// The same for proxies, whose addresses may hold a password; in small letters too.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// A value longer than this, in bytes, is refused.
const MAX_VALUE: usize = 16 * 1024;

/// All variables together, as the config line has them, in bytes: three quarters of it; the rest is for paths and addresses.
const MAX_ALL: usize = 48 * 1024;

/// Gives the process that `command` starts the variables that are on the list, and no others.
pub fn only_plain(command: &mut Command) -> &mut Command {
    command.env_clear().envs(plain(std::env::vars_os()))
}

/// Those of `variables` that every process of the platform may see.
fn plain(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    variables.filter(|(name, _)| name.to_str().is_some_and(is_plain))
}

fn is_plain(name: &str) -> bool {
    PLAIN.iter().any(|plain| same_name(plain, name))
        || PLAIN_FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Whether two names are one variable, which depends on the system.
fn same_name(a: &str, b: &str) -> bool {
    if cfg!(windows) { a.eq_ignore_ascii_case(b) } else { a == b }
}

/// Error in the variables for components. Names a variable, never its value.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The value would have to be told in JSON and cannot be.
    #[error("the value of the variable {name} is not valid Unicode")]
    NotUnicode {
        /// The variable.
        name: String,
    },
    /// The value is longer than any key is.
    #[error("the value of the variable {name} has {bytes} bytes, and at most {MAX_VALUE} are passed on")]
    TooLong {
        /// The variable.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// All together do not fit.
    #[error(
        "the variables for the runners have {bytes} bytes together, and at most {MAX_ALL} are passed on; the longest is {name}"
    )]
    TooMuch {
        /// Their size as JSON.
        bytes: usize,
        /// The longest of them.
        name: String,
    },
    /// Others can read the file.
    #[error("`{}` can be read by others (mode {mode:03o}), and it holds secrets", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not what it should be.
    #[error("`{}`, line {line}: {what}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

impl EnvironmentError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Io(_) => "mend that, or remove the file: it is optional".to_owned(),
            Self::NotUnicode { name } | Self::TooLong { name, .. } => {
                format!("correct it, or start without it: `env -u {name} stigmer server`")
            }
            Self::TooMuch { .. } => {
                "pass fewer: see `environment` of `[agent-runner]` and `[workflow-runner]` in config.toml, and secrets.env".to_owned()
            }
            Self::Exposed { path, .. } => format!("`chmod 600 '{}'`", path.display()),
            Self::Syntax { .. } => {
                format!("{}/configuration.md says what the file may hold", crate::DOCS_URL)
            }
        }
    }
}

/// Gathers the variables for each component of the table that is active, by its name: of this process's environment, and for what is not
/// set there, of `secrets.env` in `home`.
///
/// # Errors
/// A value cannot be passed on, or the file cannot be used.
pub fn gather(
    home: &Home,
    config: &Config,
    components: Components,
) -> Result<BTreeMap<&'static str, Environment>, EnvironmentError> {
    let secrets = file::read(&home.secrets())?;
    let mut environments = BTreeMap::new();
    // All of them travel on one line, and a variable for two components does so twice.
    let mut all = BTreeMap::new();
    for spec in components.iter().filter(|spec| spec.is_active(config)) {
        let found = select(spec.environment, &secrets, config)?;
        all.extend(found.iter().map(|(name, value)| (format!("{name}={}", spec.name), value.clone())));
        environments.insert(spec.name, checked(found)?);
    }
    checked(all)?;
    Ok(environments)
}

/// Selects the variables that `policy` allows.
fn select(
    policy: EnvironmentPolicy,
    secrets: &BTreeMap<String, String>,
    config: &Config,
) -> Result<BTreeMap<String, String>, EnvironmentError> {
    let (names, is_provider) = match policy {
        EnvironmentPolicy::Public => return Ok(BTreeMap::new()),
        EnvironmentPolicy::Providers(names) => (names(config), true),
        EnvironmentPolicy::Named(names) => (names(config), false),
    };
    let is_named = |name: &str| names.iter().any(|names| names.matches(name));
    let mut found = secrets.clone();
    found.retain(|name, _| is_provider || is_named(name));
    found.extend(chosen(std::env::vars_os(), |name| is_named(name) || is_provider && is_of_provider(name))?);
    Ok(found)
}

/// Whether `name` is a variable of a model provider, or of a proxy on the way to it.
fn is_of_provider(name: &str) -> bool {
    PROVIDERS.iter().any(|known| same_name(known, name))
        || PROXIES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn checked(variables: BTreeMap<String, String>) -> Result<Environment, EnvironmentError> {
    for (name, value) in &variables {
        if value.len() > MAX_VALUE {
            return Err(EnvironmentError::TooLong { name: name.clone(), bytes: value.len() });
        }
    }
    let bytes = serde_json::to_vec(&variables).map_err(io::Error::from)?.len();
    if bytes > MAX_ALL {
        let longest = variables.into_iter().max_by_key(|(_, value)| value.len());
        let name = longest.and_then(|(name, _)| Some(name.split('=').next()?.to_owned())).unwrap_or_default();
        return Err(EnvironmentError::TooMuch { bytes, name });
    }
    Ok(variables.into_iter().collect())
}

/// Those of `variables` that are `wanted` and set to something.
fn chosen(
    variables: impl Iterator<Item = (OsString, OsString)>,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, String>, EnvironmentError> {
    let mut found = BTreeMap::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| wanted(name)) else {
            continue;
        };
        let Ok(value) = value.into_string() else {
            return Err(EnvironmentError::NotUnicode { name: name.to_owned() });
        };
        if !value.is_empty() {
            found.insert(name.to_owned(), value);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (OsString, OsString)> {
        let owned: Vec<_> = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        owned.into_iter()
    }

    #[test]
    fn only_what_is_on_the_list_is_passed_on() {
        let given = variables(&[
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("XDG_RUNTIME_DIR", "/run"),
            ("ANTHROPIC_API_KEY", "k"),
            ("https_proxy", "p"),
            ("BASH_FUNC_cd%%", "() { :; }"),
            ("PATHOLOGICAL", "x"),
            ("LD_PRELOAD", "x"),
            ("NOTIFY_SOCKET", "x"),
        ]);
        let names: Vec<_> = plain(given).map(|(name, _)| name).collect();
        assert_eq!(names, ["PATH", "LC_ALL", "XDG_RUNTIME_DIR"]);
        let both = PROVIDERS.iter().chain(&PROXIES).filter(|name| is_plain(name));
        assert_eq!(both.count(), 0, "a variable is both for all and for one");
    }

    #[test]
    fn a_value_that_cannot_be_passed_on_is_named_and_not_shown() {
        let long = "v".repeat(MAX_VALUE + 1);
        let error = checked(BTreeMap::from([("MY_KEY".to_owned(), long)])).unwrap_err();
        assert!(error.to_string().contains("MY_KEY") && !error.to_string().contains("vvv"), "{error}");

        let much = (0..4).map(|n| (format!("KEY_{n}"), "\u{1}".repeat(MAX_VALUE / 4))).collect();
        let error = checked(much).unwrap_err();
        assert!(matches!(error, EnvironmentError::TooMuch { .. }), "{error}");

        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStringExt;
            let odd = [(OsString::from("MY_KEY"), OsString::from_vec(b"secret\xff".to_vec()))];
            let error = chosen(odd.into_iter(), |_| true).unwrap_err();
            assert!(error.to_string().contains("MY_KEY") && !error.to_string().contains("secret"));
            let odd = [(OsString::from("OTHER"), OsString::from_vec(b"\xff".to_vec()))];
            assert_eq!(chosen(odd.into_iter(), |name| name == "MY_KEY").expect("not asked for").len(), 0);
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_workflow_runner_is_told_what_is_named_for_it_and_nothing_else() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let file = home.secrets();
        std::fs::write(&file, "FOR_BOTH=value-one\nFOR_AGENTS=value-two\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(home.config(), "[workflow-runner]\nenvironment = [\"FOR_BOTH\", \"NOT_SET_*\"]\n")
            .unwrap();
        let config = Config::read(&home).unwrap();
        let gathered = gather(&home, &config, crate::components::SHIPPED).unwrap();
        for name in gathered.keys().filter(|name| !["agent-runner", "workflow-runner"].contains(name)) {
            assert_eq!(gathered[name], Environment::default(), "{name}");
        }
        assert!(gathered.contains_key("stigmer-server"));
        let (agents, workflows) = (&gathered["agent-runner"], &gathered["workflow-runner"]);
        assert_eq!(agents.values().get("FOR_AGENTS").map(String::as_str), Some("value-two"));
        assert_eq!(workflows.values(), BTreeMap::from([("FOR_BOTH".to_owned(), "value-one".to_owned())]));
        let hidden = agents.and(workflows);
        assert_eq!(hidden.secrets().len(), agents.secrets().len(), "what both are told is one secret");
    }

    #[test]
    fn what_is_passed_on_fits_into_a_line() {
        use stigmer_protocol::line::MAX_LINE_BYTES;
        assert!(u64::try_from(MAX_ALL).is_ok_and(|all| all <= MAX_LINE_BYTES * 3 / 4));
    }

    #[test]
    fn an_empty_variable_is_none() {
        let found = chosen(variables(&[("A", ""), ("B", "b")]), |_| true).expect("fine");
        assert_eq!(found, BTreeMap::from([("B".to_owned(), "b".to_owned())]));
    }
}
