//! The service managers: where they look for what they run, and how they are told of it.

use super::{Service, agent, unit};
use crate::cli::{Exit, Failure};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A service manager of a person's own session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manager {
    Systemd,
    Launchd,
}

/// A command that tells a manager something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) words: Vec<String>,
    /// Whether it is no failure if it fails: what it undoes may not be there.
    pub(super) may_fail: bool,
}

/// Why a manager did not do what it was told.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is not there, or has no session of this person.
    Unreachable(String),
    /// It refused, or what it started failed.
    Failed(String),
}

impl Step {
    fn new(words: &str, may_fail: bool) -> Self {
        Self { words: words.split(' ').map(str::to_owned).collect(), may_fail }
    }

    /// As it could be typed.
    pub(super) fn text(&self) -> String {
        let quoted = self.words.iter().map(|word| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
            if word.chars().all(plain) { word.clone() } else { format!("'{}'", word.replace('\'', "'\\''")) }
        });
        quoted.collect::<Vec<_>>().join(" ")
    }

    pub(super) fn run(&self) -> Result<(), Trouble> {
        let output = Command::new(&self.words[0]).args(&self.words[1..]).stdin(Stdio::null()).output();
        match output {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Trouble::Unreachable(format!("`{}` is not installed", self.words[0])))
            }
            Err(error) => Err(Trouble::Unreachable(format!("`{}`: {error}", self.text()))),
            Ok(output) if output.status.success() || self.may_fail => Ok(()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.trim().replace('\n', "; ");
                Err(Trouble::Failed(format!("`{}` failed: {said}", self.text())))
            }
        }
    }
}

impl Manager {
    /// The one of this system; `None` where there is none that is known.
    pub(super) fn here() -> Option<Self> {
        if cfg!(target_os = "linux") {
            Some(Self::Systemd)
        } else if cfg!(target_os = "macos") {
            Some(Self::Launchd)
        } else {
            None
        }
    }

    /// The file it reads.
    pub(super) fn path(self) -> Result<PathBuf, Failure> {
        let missing = || Failure::new(Exit::Config, "no home directory: HOME is not set");
        let home = || dirs::home_dir().filter(|path| path.is_absolute()).ok_or_else(missing);
        Ok(match self {
            Self::Systemd => {
                let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
                let config = match config.filter(|path| path.is_absolute()) {
                    Some(path) => path,
                    None => home()?.join(".config"),
                };
                config.join("systemd/user").join(unit::NAME)
            }
            Self::Launchd => home()?.join("Library/LaunchAgents").join(format!("{}.plist", agent::LABEL)),
        })
    }

    pub(super) fn render(self, service: &Service) -> String {
        match self {
            Self::Systemd => unit::render(service),
            Self::Launchd => agent::render(service),
        }
    }

    /// The home that a file of ours names, if it names one.
    pub(super) fn home_of(self, text: &str) -> Option<String> {
        match self {
            Self::Systemd => unit::home_of(text),
            Self::Launchd => agent::home_of(text),
        }
    }

    /// The command that only finds out whether it can be told anything, and makes it read its files again.
    pub(super) fn reload(self) -> Step {
        match self {
            Self::Systemd => Step::new("systemctl --user daemon-reload", false),
            Self::Launchd => Step::new("launchctl print-disabled", false).with(domain()),
        }
    }

    /// The commands that start the service in `path` now and at every login. A service that runs is left alone unless
    /// what is run has `changed`.
    pub(super) fn start(self, path: &Path, changed: bool) -> Vec<Step> {
        match self {
            Self::Systemd => {
                let verb = if changed { "restart" } else { "start" };
                vec![
                    Step::new(&format!("systemctl --user enable {}", unit::NAME), false),
                    Step::new(&format!("systemctl --user {verb} {}", unit::NAME), false),
                ]
            }
            Self::Launchd => vec![
                self.stop().remove(0),
                Step::new("launchctl enable", false).with(format!("{}/{}", domain(), agent::LABEL)),
                Step::new("launchctl bootstrap", false).with(domain()).with(path.display().to_string()),
            ],
        }
    }

    /// The command that stops and starts a service that runs.
    pub(super) fn restart(self) -> Step {
        match self {
            Self::Systemd => Step::new(&format!("systemctl --user restart {}", unit::NAME), false),
            Self::Launchd => {
                Step::new("launchctl kickstart -k", false).with(format!("{}/{}", domain(), agent::LABEL))
            }
        }
    }

    /// Whether it runs the service now.
    pub(super) fn is_running(self) -> bool {
        let step = match self {
            Self::Systemd => Step::new(&format!("systemctl --user is-active --quiet {}", unit::NAME), false),
            Self::Launchd => {
                Step::new("launchctl print", false).with(format!("{}/{}", domain(), agent::LABEL))
            }
        };
        step.run().is_ok()
    }

    /// The commands that end the service, now and for good.
    pub(super) fn stop(self) -> Vec<Step> {
        match self {
            Self::Systemd => {
                vec![Step::new(&format!("systemctl --user disable --now {}", unit::NAME), false)]
            }
            Self::Launchd => {
                vec![Step::new("launchctl bootout", true).with(format!("{}/{}", domain(), agent::LABEL))]
            }
        }
    }

    /// What a person can read when a service does not start.
    pub(super) fn where_to_look(self) -> &'static str {
        match self {
            Self::Systemd => "`journalctl --user -u stigmer` and `stigmer server logs` say why",
            Self::Launchd => "`logs/service.log` in the home directory and `stigmer server logs` say why",
        }
    }
}

impl Step {
    fn with(mut self, word: String) -> Self {
        self.words.push(word);
        self
    }
}

/// The launchd domain of this person's login.
fn domain() -> String {
    format!("gui/{}", crate::platform::user_id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(steps: &[Step]) -> Vec<String> {
        steps.iter().map(Step::text).collect()
    }

    #[test]
    fn each_manager_is_told_in_its_own_words() {
        let path = Path::new("/h/Library/Launch Agents/it's.plist");
        assert_eq!(
            texts(&Manager::Systemd.start(path, true)),
            ["systemctl --user enable stigmer.service", "systemctl --user restart stigmer.service"]
        );
        assert_eq!(texts(&Manager::Systemd.start(path, false))[1], "systemctl --user start stigmer.service");
        let gui = domain();
        assert_eq!(
            texts(&Manager::Launchd.start(path, true)),
            [
                format!("launchctl bootout {gui}/ai.stigmer.server"),
                format!("launchctl enable {gui}/ai.stigmer.server"),
                format!("launchctl bootstrap {gui} '/h/Library/Launch Agents/it'\\''s.plist'"),
            ]
        );
    }

    #[test]
    fn the_agent_lies_where_launchd_looks() {
        let path = Manager::Launchd.path().expect("a home");
        assert!(path.ends_with("Library/LaunchAgents/ai.stigmer.server.plist"), "{}", path.display());
    }
}
