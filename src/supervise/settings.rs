//! The `[server]` part of `config.toml`. Other parts belong to other rooms and are not looked at.

use crate::home::Home;
use serde::Deserialize;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Where the server listens if nobody says otherwise.
pub const DEFAULT_PORT: u16 = 7234;

/// What a person may set for `stigmer server`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The server's port; 0 lets the system choose.
    pub port: u16,
    /// How long a component may take to end after it was asked to, in seconds.
    pub stop_timeout_s: u64,
    /// How long the start may take in all, in seconds.
    pub start_timeout_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { port: DEFAULT_PORT, stop_timeout_s: 10, start_timeout_s: 60 }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file exists and cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not understood.
    #[error("`{}` is not understood: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    server: Settings,
}

impl Settings {
    /// Reads the settings of `home`; where nothing is set, the defaults hold.
    pub fn load(home: &Home) -> Result<Self, SettingsError> {
        let path = home.config();
        match fs_err::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map_err(|reason| SettingsError::Parse { path, reason }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string().trim().to_owned())?;
        let settings = file.server;
        for (name, value) in
            [("stop_timeout_s", settings.stop_timeout_s), ("start_timeout_s", settings.start_timeout_s)]
        {
            if !(1..=3600).contains(&value) {
                return Err(format!("[server] {name} is {value}; it must be 1 to 3600"));
            }
        }
        Ok(settings)
    }

    /// How long a component may take to end.
    pub fn stop_timeout(&self) -> Duration {
        Duration::from_secs(self.stop_timeout_s)
    }

    /// How long the start may take in all.
    pub fn start_timeout(&self) -> Duration {
        Duration::from_secs(self.start_timeout_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_has_a_default_and_other_parts_are_left_alone() {
        assert_eq!(Settings::parse(""), Ok(Settings::default()));
        let settings = Settings::parse("[update]\nchannel = 1\n[server]\nport = 0\n").expect("understood");
        assert_eq!(settings.port, 0);
        assert_eq!(settings.stop_timeout(), Duration::from_secs(10));
    }

    #[test]
    fn a_misspelt_key_or_a_senseless_value_is_an_error() {
        for text in [
            "[server]\nprot = 1\n",
            "[server]\nport = 70000\n",
            "[server]\nstop_timeout_s = 0\n",
            "server = 1",
            "[",
        ] {
            assert!(Settings::parse(text).is_err(), "{text}");
        }
    }
}
