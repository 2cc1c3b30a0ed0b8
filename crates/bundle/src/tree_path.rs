//! A path inside a component's tree that cannot mean anything else.
//!
//! It is relative, normalized, UTF-8, and means the same file on every system a carrier may be opened on. Everything
//! else is refused by the type, at pack time and at read time alike, so no code behind it has to think of escapes.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::{Path, PathBuf};

/// Longest path in bytes.
const MAX_LEN: usize = 1024;
/// Longest part between two slashes in bytes: what common file systems hold.
const MAX_PART: usize = 255;
/// Deepest nesting.
const MAX_DEPTH: usize = 64;

/// A validated path with `/` between its parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(String);

/// Why a path is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path {path:?} {reason}")]
pub struct PathError {
    path: String,
    reason: &'static str,
}

impl TreePath {
    /// Validates `path`.
    pub fn new(path: impl Into<String>) -> Result<Self, PathError> {
        let path = path.into();
        match refusal(&path) {
            None => Ok(Self(path)),
            Some(reason) => Err(PathError { path, reason }),
        }
    }

    /// The text, with `/` between the parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path below `root`.
    pub fn below(&self, root: &Path) -> PathBuf {
        let mut path = root.to_owned();
        path.extend(self.0.split('/'));
        path
    }

    /// The directory that holds it, or `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// The form two paths share if a file system that ignores case would take them for one.
    pub(crate) fn folded(&self) -> String {
        self.0.to_lowercase()
    }

    /// Where a link here with this target points, inside the tree. Purely by text: no file is asked.
    ///
    /// # Errors
    /// The target is absolute, leaves the tree, or has parts no tree path may have.
    pub fn resolve_link(&self, target: &str) -> Result<Self, PathError> {
        let refuse = |reason| PathError { path: target.to_owned(), reason };
        if target.is_empty() || target.starts_with('/') {
            return Err(refuse("is not a relative link target"));
        }
        let mut parts: Vec<&str> = self.0.split('/').collect();
        parts.pop();
        let mut rest = target;
        while let Some(after) = rest.strip_prefix("../") {
            parts.pop().ok_or_else(|| refuse("leaves the tree"))?;
            rest = after;
        }
        parts.push(rest);
        // `..` further on is refused with every other part that is not normalized: after a name that is itself a link it
        // would lead elsewhere than its text says.
        Self::new(parts.join("/"))
    }
}

/// Why `path` is no tree path, or `None` if it is one.
fn refusal(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("is empty");
    }
    if path.len() > MAX_LEN {
        return Some("is longer than 1024 bytes");
    }
    if path.starts_with('/') {
        return Some("is absolute");
    }
    if path.split('/').count() > MAX_DEPTH {
        return Some("is nested deeper than 64");
    }
    path.split('/').find_map(part_refusal)
}

fn part_refusal(part: &str) -> Option<&'static str> {
    if part.is_empty() || part == "." || part == ".." {
        return Some("is not normalized");
    }
    if part.len() > MAX_PART {
        return Some("has a part longer than 255 bytes");
    }
    if part.chars().any(|c| c.is_control() || matches!(c, '\\' | ':' | '<' | '>' | '"' | '|' | '?' | '*')) {
        return Some("has a character that not every system allows in a name");
    }
    if part.ends_with(['.', ' ']) {
        return Some("has a part ending in a dot or a space, which not every system keeps");
    }
    is_device(part).then_some("has a part that names a device on Windows")
}

fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).to_ascii_uppercase();
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || (stem.len() == 4
            && (stem.starts_with("COM") || stem.starts_with("LPT"))
            && stem.ends_with(|c: char| c.is_ascii_digit() && c != '0'))
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for TreePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TreePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_and_oddities_are_refused() {
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/../b",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "a\\b",
            "C:x",
            "a\0b",
            "a\nb",
            "nul",
            "x/CON.txt",
            "com1",
            "dot.",
            "space ",
            "a?b",
        ] {
            assert!(TreePath::new(bad).is_err(), "{bad:?}");
        }
        assert!(TreePath::new("a/".repeat(64) + "b").is_err());
        assert!(TreePath::new("a".repeat(256)).is_err());
    }

    #[test]
    fn ordinary_names_are_taken() {
        for good in [
            "agent-runner",
            "_internal/lib.so.6",
            "Grüße/日本",
            "common",
            "com0",
            "console.py",
            ".hidden",
            "a b",
        ] {
            assert!(TreePath::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn links_stay_inside() {
        let at = |path: &str| TreePath::new(path).unwrap();
        assert_eq!(at("a/b/link").resolve_link("../c"), Ok(at("a/c")));
        assert_eq!(at("link").resolve_link("a/b"), Ok(at("a/b")));
        for bad in ["/etc", "", "../x", "a/../../x", "a/../x", ".", "..", "a/./b", "a//b"] {
            assert!(at("link").resolve_link(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_stays_below_the_root(text in ".{0,40}") {
            if let Ok(path) = TreePath::new(text) {
                let root = Path::new("/root-of-tree");
                let full = path.below(root);
                prop_assert!(full.starts_with(root));
                prop_assert!(full.components().all(|c| !matches!(c, std::path::Component::ParentDir)));
                prop_assert_eq!(full.components().count(), 2 + path.as_str().split('/').count());
            }
        }

        #[test]
        fn whatever_a_link_resolves_to_is_a_tree_path(at in "[a-c]{1,2}(/[a-c]{1,2}){0,3}", target in "[./a-c]{0,12}") {
            let at = TreePath::new(at).unwrap();
            if let Ok(resolved) = at.resolve_link(&target) {
                prop_assert_eq!(TreePath::new(resolved.as_str()), Ok(resolved.clone()));
            }
        }
    }
}
