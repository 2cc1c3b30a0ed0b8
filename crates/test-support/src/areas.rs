//! Each directory below `tests` with a `main.rs` is one test program, and cargo compiles only what its modules name.

use crate::repository;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Fails if a file below `tests/AREA` is no module of its program.
#[track_caller]
pub fn assert_none_forgotten(area: &str) {
    let forgotten = forgotten_files(&repository().join("tests").join(area));
    assert!(forgotten.is_empty(), "no `mod` leads to these files, so their tests never run: {forgotten:#?}");
}

/// Files below `area`, a directory with a `main.rs`, that no `mod` item leads to, so that their tests never run.
fn forgotten_files(area: &Path) -> Vec<PathBuf> {
    let mut reached = BTreeSet::new();
    reach(&area.join("main.rs"), area, &mut reached);
    let mut found = Vec::new();
    rust_files(area, &mut found);
    found.retain(|file| !reached.contains(file));
    found.sort();
    found
}

/// Adds `file` and the files of the modules it declares, which lie in `dir`.
fn reach(file: &Path, dir: &Path, reached: &mut BTreeSet<PathBuf>) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    reached.insert(file.to_owned());
    for name in text.lines().filter_map(declared_module) {
        let (plain, nested) = (dir.join(format!("{name}.rs")), dir.join(name).join("mod.rs"));
        let next = if plain.exists() { plain } else { nested };
        reach(&next, &dir.join(name), reached);
    }
}

/// The name in a line like `mod name;` or `pub(crate) mod name;`.
fn declared_module(line: &str) -> Option<&str> {
    let item = line.trim_start().strip_suffix(';').filter(|item| !item.starts_with("//"))?;
    let name = item.strip_prefix("mod ").or_else(|| item.split_once(" mod ").map(|(_, name)| name))?;
    name.chars().all(|c| c.is_alphanumeric() || c == '_').then_some(name)
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_mod_item_is_found() {
        let area = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = area.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        write("main.rs", "mod plain;\n#[cfg(unix)]\npub(crate) mod nested;\n// mod comment;\n");
        write("plain.rs", "");
        write("nested/mod.rs", "mod deeper;\n");
        write("nested/deeper.rs", "");
        assert_eq!(forgotten_files(area.path()), Vec::<PathBuf>::new());
        write("comment.rs", "");
        write("nested/plain.rs", "");
        let forgotten = [area.path().join("comment.rs"), area.path().join("nested/plain.rs")];
        assert_eq!(forgotten_files(area.path()), forgotten);
    }
}
