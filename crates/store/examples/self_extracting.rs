//! A program that carries a component, extracts it to a store once, and has it repaired when it is damaged.
//!
//! ```text
//! cargo run -p stigmer-store --example self_extracting
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use stigmer_bundle::{Cutting, Packing};
use stigmer_store::{Depth, How, Policy, Root, Silent, collect, ensure};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    // A shipped program packs at build time, and passes `std::env::current_exe()` as the carrier.
    let carrier = pack(dir.path())?;
    let root = Root::at(dir.path().join("home"));

    // The first start extracts. It verifies every byte while it writes.
    let first = ensure(&root, &carrier, "greeter", Depth::Entrypoint, &Silent)?;
    assert!(matches!(first.how, How::Made { .. }));
    println!("extracted to {}", first.place.entry().display());
    run(&first.program)?;

    // Every later start finds the entry with one small read, and writes nothing.
    let second = ensure(&root, &carrier, "greeter", Depth::Entrypoint, &Silent)?;
    assert_eq!(second.how, How::Warm);

    // A lost file is noticed by its metadata, and written again from the carrier.
    let greeting = second.place.entry().join("share").join("greeting");
    remove(&greeting)?;
    let third = ensure(&root, &carrier, "greeter", Depth::Evidence, &Silent)?;
    let How::Healed { problems } = &third.how else {
        return Err("the damage was not noticed".into());
    };
    println!("repaired {}", problems.len());
    run(&third.program)?;

    // Old entries are removed, but none that is in use: `third` still holds its lease.
    let policy = Policy {
        current: Vec::new(),
        keep_previous: false,
        max_age: std::time::Duration::ZERO,
        max_bytes: 0,
        dry_run: false,
    };
    assert_eq!(collect(&root, &policy)?.removed.len(), 0);
    drop((first, second, third));
    assert_eq!(collect(&root, &policy)?.removed.len(), 1);
    Ok(())
}

/// Packs a component of two files onto this program.
fn pack(dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let tree = dir.join("greeter");
    fs::create_dir_all(tree.join("share"))?;
    fs::write(
        tree.join("component.json"),
        r#"{"name": "greeter", "version": "1.0.0", "entrypoint": "greet"}"#,
    )?;
    fs::write(tree.join("greet"), "#!/bin/sh\ncat \"$(dirname \"$0\")/share/greeting\"\n")?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(tree.join("greet"), fs::Permissions::from_mode(0o755))?;
    }
    fs::write(tree.join("share/greeting"), "hello from an entry\n")?;
    let carrier = dir.join("carrier");
    Packing {
        base: &std::env::current_exe()?,
        components: &[("greeter".to_owned(), tree)],
        out: &carrier,
        cutting: Cutting::default(),
        self_check: false,
        identifier: Some("greeter"),
    }
    .run()?;
    Ok(carrier)
}

/// Runs the component's program, which is a shell script.
fn run(program: &Path) -> Result<(), Box<dyn Error>> {
    if cfg!(unix) {
        let output = Command::new(program).output()?;
        assert_eq!(String::from_utf8(output.stdout)?, "hello from an entry\n");
    }
    Ok(())
}

/// Removes a file of an entry, whose directories are read-only.
fn remove(path: &Path) -> Result<(), Box<dyn Error>> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let parent = path.parent().ok_or("no parent")?;
        fs::set_permissions(parent, fs::Permissions::from_mode(0o755))?;
    }
    #[cfg(windows)]
    {
        let mut permissions = fs::metadata(path)?.permissions();
        permissions.set_readonly(false);
        fs::set_permissions(path, permissions)?;
    }
    fs::remove_file(path)?;
    Ok(())
}
