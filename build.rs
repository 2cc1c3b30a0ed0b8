//! Puts into the executable what it is: its version, the target, the commit, and the keys whose releases it trusts.
//!
//! - `STIGMER_VERSION` overrides the version of `Cargo.toml`: the release workflow sets it from the tag.
//! - `STIGMER_COMMIT` says the commit where there is no git.
//! - `STIGMER_RELEASE_KEYS` names another file of trusted keys than `packaging/release-keys.pub`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the keys of this project's own releases stand.
const KEYS: &str = "packaging/release-keys.pub";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=STIGMER_COMMIT");
    println!("cargo::rerun-if-env-changed=STIGMER_VERSION");
    println!("cargo::rerun-if-env-changed=STIGMER_RELEASE_KEYS");
    let target = std::env::var("TARGET").unwrap_or_default();
    let commit = commit();
    println!("cargo::rustc-env=STIGMER_VERSION={}", version());
    println!("cargo::rustc-env=STIGMER_TRIPLE={target}");
    println!("cargo::rustc-env=STIGMER_COMMIT={}", commit.as_deref().unwrap_or("-"));
    println!(
        "cargo::rustc-env=STIGMER_BUILD={}",
        [commit, Some(target)].into_iter().flatten().collect::<Vec<_>>().join(" ")
    );
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it")).join("release-keys");
    std::fs::write(&out, keys()).unwrap_or_else(|e| panic!("cannot write {}: {e}", out.display()));
}

/// The version that is built.
fn version() -> String {
    let given = std::env::var("STIGMER_VERSION").ok().filter(|version| !version.is_empty());
    let version = given.unwrap_or_else(|| std::env::var("CARGO_PKG_VERSION").expect("cargo sets it"));
    if let Err(error) = semver::Version::parse(&version) {
        panic!("STIGMER_VERSION={version} is not a version like 1.2.3: {error}");
    }
    version
}

/// The trusted keys, one in a line.
fn keys() -> String {
    let file = std::env::var_os("STIGMER_RELEASE_KEYS").filter(|file| !file.is_empty());
    let file = file.map_or_else(|| PathBuf::from(KEYS), PathBuf::from);
    println!("cargo::rerun-if-changed={}", file.display());
    let text = std::fs::read_to_string(&file)
        .unwrap_or_else(|e| panic!("cannot read the trusted keys {}: {e}", file.display()));
    // As `TrustedKeys::parse` reads them: the `.pub` file of minisign is such a list, too.
    let says_nothing =
        |line: &&str| line.is_empty() || line.starts_with('#') || line.starts_with("untrusted comment:");
    let keys: Vec<&str> = text.lines().map(str::trim).filter(|line| !says_nothing(line)).collect();
    for key in &keys {
        check(key, &file);
    }
    keys.join("\n")
}

/// A typing error is better found here than by everybody who wants to update.
fn check(key: &str, file: &Path) {
    // 42 bytes in base64, the first two of which are the letters `Ed`.
    let sound = key.len() == 56 && key.starts_with("RW");
    assert!(
        sound,
        "{}: {key:?} is not the public key of minisign, 56 characters from `RW` on",
        file.display()
    );
}

/// The commit that is built: as the packager says, else as git says, else unknown (a source archive).
fn commit() -> Option<String> {
    if let Ok(commit) = std::env::var("STIGMER_COMMIT") {
        return Some(commit).filter(|commit| !commit.is_empty());
    }
    // The head moves when a branch is switched, the log when a commit is made. A path that does not exist would make
    // every build a rebuild.
    for path in [".git/HEAD", ".git/logs/HEAD"].into_iter().filter(|path| Path::new(path).exists()) {
        println!("cargo::rerun-if-changed={path}");
    }
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|commit| output.status.success() && !commit.is_empty())
}
