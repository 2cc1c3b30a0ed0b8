//! Puts the target and the commit into the executable, so that `--version` says exactly what it is.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=STIGMER_COMMIT");
    let target = std::env::var("TARGET").unwrap_or_default();
    println!(
        "cargo::rustc-env=STIGMER_BUILD={}",
        [commit(), Some(target)].into_iter().flatten().collect::<Vec<_>>().join(" ")
    );
}

/// The commit that is built: as the packager says, else as git says, else unknown (a source archive).
fn commit() -> Option<String> {
    if let Ok(commit) = std::env::var("STIGMER_COMMIT") {
        return Some(commit).filter(|commit| !commit.is_empty());
    }
    // The head moves when a branch is switched, the log when a commit is made. A path that does not exist would make
    // every build a rebuild.
    for path in [".git/HEAD", ".git/logs/HEAD"].into_iter().filter(|path| std::path::Path::new(path).exists())
    {
        println!("cargo::rerun-if-changed={path}");
    }
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|commit| output.status.success() && !commit.is_empty())
}
