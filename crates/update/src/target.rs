//! Which machines a carrier is for, and on which channel a release comes.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A platform and an architecture that releases are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// `linux-amd64`
    LinuxAmd64,
    /// `linux-arm64`
    LinuxArm64,
    /// `darwin-amd64`
    DarwinAmd64,
    /// `darwin-arm64`
    DarwinArm64,
    /// `windows-amd64`
    WindowsAmd64,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::LinuxAmd64, Self::LinuxArm64, Self::DarwinAmd64, Self::DarwinArm64, Self::WindowsAmd64];

    /// Its name, `{platform}-{arch}`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LinuxAmd64 => "linux-amd64",
            Self::LinuxArm64 => "linux-arm64",
            Self::DarwinAmd64 => "darwin-amd64",
            Self::DarwinArm64 => "darwin-arm64",
            Self::WindowsAmd64 => "windows-amd64",
        }
    }

    /// The target that the Rust target `triple` builds for. The C library makes no difference: what ships on Linux is static.
    pub fn of_triple(triple: &str) -> Option<Self> {
        let (arch, rest) = triple.split_once('-')?;
        let platform = ["linux", "apple-darwin", "windows"].into_iter().find(|name| rest.contains(name))?;
        match (platform, arch) {
            ("linux", "x86_64") => Some(Self::LinuxAmd64),
            ("linux", "aarch64") => Some(Self::LinuxArm64),
            ("apple-darwin", "x86_64") => Some(Self::DarwinAmd64),
            ("apple-darwin", "aarch64") => Some(Self::DarwinArm64),
            ("windows", "x86_64") => Some(Self::WindowsAmd64),
            _ => None,
        }
    }

    /// The target of this executable; `None` if no releases are made for its platform.
    pub fn own() -> Option<Self> {
        let platform = match std::env::consts::OS {
            "macos" => "apple-darwin",
            other => other,
        };
        Self::of_triple(&format!("{}-{platform}", std::env::consts::ARCH))
    }

    /// What the names of a release's files for this target begin with: `stigmer-1.2.3-linux-amd64`.
    pub fn stem(self, version: &semver::Version) -> String {
        format!("{}-{version}-{self}", super::PRODUCT)
    }

    /// The name of its carrier.
    pub fn carrier_name(self, version: &semver::Version) -> String {
        let extension = if self == Self::WindowsAmd64 { ".exe" } else { "" };
        self.stem(version) + extension
    }

    /// The name of its update index.
    pub fn index_name(self, version: &semver::Version) -> String {
        self.stem(version) + ".index.json"
    }

    /// The name of the compressed copy of its code part.
    pub fn code_name(self, version: &semver::Version) -> String {
        self.stem(version) + ".code.zst"
    }

    /// The name of the patch that makes its code part of that of version `from`.
    pub fn patch_name(self, version: &semver::Version, from: &semver::Version) -> String {
        format!("{}.from-{from}.zst", self.stem(version))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|target| target.as_str() == text).ok_or_else(|| {
            format!("`{text}` is no target; they are {}", Self::ALL.map(Self::as_str).join(", "))
        })
    }
}

/// The name of a channel: 1 to 16 of `a-z`, `0-9` and `-`, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Channel(String);

impl Channel {
    /// The channel that everybody is on who has not chosen another.
    pub fn stable() -> Self {
        Self("stable".into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether who is on this channel is offered what was released on `other`. What is stable is for everybody.
    pub fn offers(&self, other: &Self) -> bool {
        self == other || *other == Self::stable()
    }
}

impl Default for Channel {
    fn default() -> Self {
        Self::stable()
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Channel {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let sound = text.len() <= 16
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if sound {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} cannot name a channel: 1 to 16 of a-z, 0-9 and -"))
        }
    }
}

impl FromStr for Channel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.to_owned().try_into()
    }
}

impl From<Channel> for String {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_triple_we_build_has_its_target_and_no_other_has_one() {
        for (triple, target) in [
            ("x86_64-unknown-linux-musl", "linux-amd64"),
            ("x86_64-unknown-linux-gnu", "linux-amd64"),
            ("aarch64-unknown-linux-musl", "linux-arm64"),
            ("x86_64-apple-darwin", "darwin-amd64"),
            ("aarch64-apple-darwin", "darwin-arm64"),
            ("x86_64-pc-windows-msvc", "windows-amd64"),
            ("x86_64-pc-windows-gnu", "windows-amd64"),
        ] {
            assert_eq!(Target::of_triple(triple), Some(target.parse().unwrap()), "{triple}");
        }
        for triple in ["i686-unknown-linux-gnu", "x86_64-unknown-freebsd", "linux", "", "aarch64-apple-ios"] {
            assert_eq!(Target::of_triple(triple), None, "{triple}");
        }
    }

    #[test]
    fn the_name_is_the_written_form() {
        for target in Target::ALL {
            assert_eq!(serde_json::to_string(&target).unwrap(), format!("\"{target}\""));
            assert_eq!(target.as_str().parse(), Ok(target));
        }
        assert!("linux".parse::<Target>().unwrap_err().contains("linux-amd64, linux-arm64"));
    }

    #[test]
    fn files_are_named_after_version_and_target() {
        let version = "1.2.3-rc.1".parse().unwrap();
        assert_eq!(Target::WindowsAmd64.carrier_name(&version), "stigmer-1.2.3-rc.1-windows-amd64.exe");
        assert_eq!(Target::WindowsAmd64.index_name(&version), "stigmer-1.2.3-rc.1-windows-amd64.index.json");
        assert_eq!(Target::LinuxArm64.carrier_name(&version), "stigmer-1.2.3-rc.1-linux-arm64");
        assert_eq!(Target::LinuxArm64.code_name(&version), "stigmer-1.2.3-rc.1-linux-arm64.code.zst");
    }

    #[test]
    fn what_is_stable_is_offered_on_every_channel() {
        let beta: Channel = "beta".parse().unwrap();
        assert!(beta.offers(&beta) && beta.offers(&Channel::stable()));
        assert!(!Channel::stable().offers(&beta));
        for bad in ["", "Beta", "1", "a b", "a/b", "abcdefghijklmnopq"] {
            assert!(bad.parse::<Channel>().is_err(), "{bad}");
        }
    }
}
