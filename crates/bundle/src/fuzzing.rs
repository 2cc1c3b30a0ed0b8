//! One function for each parser of untrusted bytes, for `fuzz/` and for its small brother in `cargo test`.
//!
//! They assert nothing but that what was accepted keeps its promises; that nothing panics is the point.

use crate::{Carrier, Component, Digest, FOOTER_LEN, Footer, Index, Parsed, Slot, TreePath};
use std::path::Path;

/// The footer. What is accepted is written again as it was.
///
/// # Panics
/// If the parser breaks that promise.
pub fn footer(data: &[u8]) {
    if let Some(bytes) = data.first_chunk::<FOOTER_LEN>()
        && let Ok(Parsed::Sound(footer)) = Footer::parse(bytes)
    {
        assert_eq!(footer.to_bytes(), *bytes, "a footer has one form");
    }
}

/// The index, under a footer that fits it, so that only its own rules can refuse it.
///
/// # Panics
/// If the parser breaks a promise.
pub fn index(data: &[u8]) {
    let Ok(listed) = serde_json::from_slice::<Index>(data) else {
        return;
    };
    let footer = Footer {
        frames_len: listed.components.iter().map(Component::compressed_len).fold(0, u64::wrapping_add),
        index_len: data.len() as u64,
        index_digest: Digest::of(data),
        code_len: 0,
        code_digest: Digest::NONE,
        slots: listed
            .components
            .iter()
            .map(|c| Slot { name: c.name.clone(), digest: c.payload_digest() })
            .collect(),
    };
    if let Ok(index) = Index::parse(data, &footer) {
        for component in &index.components {
            assert!(component.file(&component.entrypoint).is_some_and(|file| file.is_executable));
        }
    }
}

/// Finding the bundle in a file. What is found lies in the file.
///
/// # Panics
/// If it does not.
pub fn carrier(data: &[u8]) {
    if let Ok(located) = Carrier::locate(data, Path::new("fuzz")) {
        assert!(located.range.start <= located.range.end && located.range.end <= data.len() as u64);
    }
}

/// A path and a link at it. What is accepted stays below the root.
///
/// # Panics
/// If it does not.
pub fn tree_path(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (path, target) = text.split_once('\0').unwrap_or((&text, "x"));
    if let Ok(path) = TreePath::new(path) {
        let root = Path::new("root");
        assert!(path.below(root).starts_with(root));
        if let Ok(resolved) = path.resolve_link(target) {
            assert!(TreePath::new(resolved.as_str()).is_ok());
        }
    }
}
