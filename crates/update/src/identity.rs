//! What an executable says of itself, so that a carrier for another platform, which cannot be run here, can be asked too.
//!
//! It is one line of text in the executable's constants. It stays there whatever packing, stripping and signing do to the file, and
//! it needs no place in the bundle, whose format knows of components and not of what carries them.

use super::Target;
use memchr::memmem;
use semver::Version;
use std::fmt;

/// What the line begins with; a program that is to be recognized has one such line in its constants.
pub const BEGIN: &str = "stigmer-identity/1 ";
/// What it ends with.
const END: char = '\u{3}';
/// How long the rest of it may be.
const MAX_LEN: usize = 256;

/// What an executable is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its version.
    pub version: Version,
    /// The Rust target it was built for.
    pub triple: String,
    /// The commit it was built from, if that is known.
    pub commit: Option<String>,
}

/// Why it is not known what an executable is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It does not say.
    #[error("it does not say which stigmer it is")]
    None,
    /// It says two things.
    #[error("it says that it is {0}, and that it is {1}")]
    Two(String, String),
    /// No releases are made for what it says.
    #[error("it was built for {0}, and no releases are made for that")]
    NoTarget(String),
}

impl Identity {
    /// Reads a whole identity line, as it stands in an executable's constants.
    pub fn of_line(line: &str) -> Option<Self> {
        Self::parse(line.strip_prefix(BEGIN)?)
    }

    /// What the executable of these bytes is. `code` must not hold a bundle's frames.
    pub fn find(code: &[u8]) -> Result<Self, IdentityError> {
        let mut found: Option<Self> = None;
        for at in memmem::find_iter(code, BEGIN) {
            let rest = &code[at + BEGIN.len()..];
            let rest = &rest[..rest.len().min(MAX_LEN)];
            // The beginning alone is a constant of this reader.
            let Some(end) = rest.iter().position(|b| *b == END as u8) else { continue };
            let Some(identity) = std::str::from_utf8(&rest[..=end]).ok().and_then(Self::parse) else {
                continue;
            };
            match &found {
                None => found = Some(identity),
                Some(first) if *first == identity => {}
                Some(first) => return Err(IdentityError::Two(first.to_string(), identity.to_string())),
            }
        }
        found.ok_or(IdentityError::None)
    }

    /// The target that releases for it are made for.
    pub fn target(&self) -> Result<Target, IdentityError> {
        Target::of_triple(&self.triple).ok_or_else(|| IdentityError::NoTarget(self.triple.clone()))
    }

    /// Reads what follows the beginning of the line.
    fn parse(rest: &str) -> Option<Self> {
        let mut words = rest.strip_suffix(END)?.split(' ');
        let version = words.next()?.strip_prefix("version=")?.parse().ok()?;
        let triple = words.next()?.strip_prefix("triple=")?;
        let commit = words.next()?.strip_prefix("commit=")?;
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if words.next().is_some() || !plain(triple) || !plain(commit) {
            return None;
        }
        let commit = Some(commit).filter(|commit| *commit != "-").map(str::to_owned);
        Some(Self { version, triple: triple.to_owned(), commit })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stigmer {} for {}", self.version, self.triple)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(version: &str, triple: &str) -> Vec<u8> {
        format!("junk{BEGIN}version={version} triple={triple} commit=-{END}junk").into_bytes()
    }

    #[test]
    fn what_is_said_twice_must_be_the_same() {
        let one = line("1.0.0", "x86_64-unknown-linux-musl");
        let found = Identity::find(&[&one[..], BEGIN.as_bytes(), b"version=", &one].concat()).unwrap();
        assert_eq!((found.version.to_string().as_str(), found.commit), ("1.0.0", None));
        let two = line("1.0.1", "x86_64-unknown-linux-musl");
        assert!(matches!(Identity::find(&[one, two].concat()), Err(IdentityError::Two(..))));
        assert_eq!(Identity::find(b"nothing of the kind"), Err(IdentityError::None));
        assert_eq!(Identity::find(&line("1.0", "x")), Err(IdentityError::None));
        let odd = Identity::find(&line("1.0.0", "riscv64gc-unknown-linux-gnu")).unwrap();
        assert_eq!(odd.target(), Err(IdentityError::NoTarget("riscv64gc-unknown-linux-gnu".into())));
    }
}
