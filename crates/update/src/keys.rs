//! The public keys that are trusted: several, so that one can be replaced without losing those who update late.

use std::fmt;

/// The number that minisign gives a key, written as minisign writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(u64);

impl KeyId {
    /// From the eight bytes in a key or signature; `None` if they are not eight.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(u64::from_le_bytes).map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// Text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the public key of minisign: one line of 56 characters that begins with `RW`")]
pub struct KeysError {
    text: String,
}

/// A public key of minisign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    text: String,
    id: KeyId,
    key: minisign_verify::PublicKey,
}

impl PublicKey {
    /// Reads a key as minisign prints it: `RW…`.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let text = text.trim();
        let wrong = || KeysError { text: text.chars().take(80).collect() };
        let key = minisign_verify::PublicKey::from_base64(text).map_err(|_| wrong())?;
        let id = minisign::PublicKey::from_base64(text).map_err(|_| wrong())?;
        let id = KeyId::from_bytes(id.keynum()).ok_or_else(wrong)?;
        Ok(Self { text: text.to_owned(), id, key })
    }

    /// Its number.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// As minisign prints it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn key(&self) -> &minisign_verify::PublicKey {
        &self.key
    }
}

/// The keys whose signatures are believed. There may be none: then nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedKeys(Vec<PublicKey>);

impl TrustedKeys {
    /// Reads keys, one in a line. Empty lines and lines that begin with `#` or with `untrusted comment:` say nothing, so the
    /// `.pub` file of minisign is such a list.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let says_nothing =
            |line: &&str| line.is_empty() || line.starts_with('#') || line.starts_with("untrusted comment:");
        let mut keys = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !says_nothing(line)) {
            keys.add(PublicKey::parse(line)?);
        }
        Ok(keys)
    }

    /// Trusts one more key.
    pub fn add(&mut self, key: PublicKey) {
        if !self.0.contains(&key) {
            self.0.push(key);
        }
    }

    /// The keys.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter()
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for TrustedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, key) in self.0.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, key.id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn a_list_has_comments_and_each_key_once() {
        let text =
            format!("# ours\n\n{KEY}\nuntrusted comment: minisign public key E7620F1842B4E81F\r\n{KEY}\r\n");
        let keys = TrustedKeys::parse(&text).unwrap();
        assert_eq!(keys.to_string(), "E7620F1842B4E81F");
        assert_eq!(keys.iter().map(PublicKey::as_str).collect::<Vec<_>>(), [KEY]);
        assert!(TrustedKeys::parse("# nobody\n").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_key_is_named() {
        for bad in ["RW", "hello", &KEY[1..], &format!("{KEY}A"), &KEY.replace('Q', "!")] {
            let error = TrustedKeys::parse(bad).unwrap_err().to_string();
            assert!(error.contains("not the public key of minisign"), "{bad}: {error}");
        }
    }
}
