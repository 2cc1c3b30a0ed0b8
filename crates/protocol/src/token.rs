//! The secret of an installation: whoever can read it may talk to the server.
//!
//! It never stands in an argument, an environment variable or a log, and its debug form hides it.

use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::path::Path;
use stigmer_platform as platform;

/// Maximum size of a token file, in bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// A bearer token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Reads the token of an installation, or creates it; of several processes that create it at once, one wins.
    pub fn obtain(run_dir: &Path) -> io::Result<Self> {
        let path = run_dir.join("token");
        match Self::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        platform::create_private_dir(run_dir)?;
        let mut secret = [0_u8; 32];
        platform::random(&mut secret)?;
        let mut file = tempfile::NamedTempFile::new_in(run_dir)?;
        file.write_all(hex(&secret).as_bytes())?;
        // Once per installation, so it may cost a flush: an empty token after a power cut would need a person.
        file.as_file().sync_all()?;
        match file.persist_noclobber(&path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.error),
        }
        Self::read(&path)
    }

    /// Reads a token from a file.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = platform::read_small(path, MAX_FILE_BYTES)?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
        if text.len() < 32 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "invalid token file `{}`: remove it, and the next start creates a new one",
                    path.display()
                ),
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is this token. How long that takes says nothing about where they differ.
    pub fn matches(&self, candidate: &str) -> bool {
        blake3::hash(self.0.as_bytes()) == blake3::hash(candidate.as_bytes())
    }
}

impl From<&str> for Token {
    fn from(secret: &str) -> Self {
        Self(secret.to_owned())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_the_owner_reads_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let run = dir.path().join("run");
        let first = Token::obtain(&run).expect("made");
        assert_eq!(first.reveal().len(), 64);
        assert_eq!(Token::obtain(&run).expect("read"), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| path.metadata().expect("exists").permissions().mode() & 0o777;
            assert_eq!(mode(&run), 0o700);
            assert_eq!(mode(&run.join("token")), 0o600);
        }
    }

    #[test]
    fn a_token_is_compared_whole_and_never_printed() {
        let token = Token::from("0123456789abcdef0123456789abcdef");
        assert!(token.matches("0123456789abcdef0123456789abcdef"));
        assert!(!token.matches("0123456789abcdef0123456789abcdee"));
        assert!(!token.matches(""));
        assert!(!format!("{token:?}").contains("0123"));
    }
}
