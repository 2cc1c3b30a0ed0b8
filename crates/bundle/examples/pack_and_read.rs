//! Packs a directory onto an executable, and reads it back from there.
//!
//! ```text
//! cargo run -p stigmer-bundle --example pack_and_read
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::fs;
use std::path::Path;
use stigmer_bundle::{Carrier, Cutting, Packing, TreePath};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;

    // A component is a directory with a `component.json`. Its entrypoint must be executable.
    let tree = dir.path().join("greeter");
    fs::create_dir_all(tree.join("share"))?;
    fs::write(
        tree.join("component.json"),
        r#"{"name": "greeter", "version": "1.0.0", "entrypoint": "greet"}"#,
    )?;
    fs::write(tree.join("greet"), "#!/bin/sh\ncat \"$(dirname \"$0\")/share/greeting\"\n")?;
    make_executable(&tree.join("greet"))?;
    fs::write(tree.join("share/greeting"), "hello from a bundle\n")?;

    // Any ELF, Mach-O or PE executable can carry it; this program does.
    let carrier = dir.path().join("carrier");
    let packed = Packing {
        base: &std::env::current_exe()?,
        components: &[("greeter".to_owned(), tree)],
        out: &carrier,
        cutting: Cutting::default(),
        self_check: false,
        identifier: Some("greeter"),
    }
    .run()?;
    println!("packed {} bytes as {}", packed.size, packed.kind.name);

    // The footer alone tells the identity of each component. A start that has extracted it before reads nothing else.
    let footer = Carrier::read_footer(&carrier)?;
    println!("greeter is {}", footer.component("greeter").ok_or("no greeter")?.short());

    // Everything in the carrier can be checked, to its last byte.
    let opened = Carrier::open(&carrier)?;
    assert!(opened.verify()?.problems.is_empty());

    // One file out of it: only the frames that hold the file are decoded.
    let component = opened.component("greeter")?;
    let greeting = dir.path().join("greeting");
    opened.extract_file(&component, &TreePath::new("share/greeting")?, &greeting)?;
    print!("{}", fs::read_to_string(&greeting)?);

    // Or the whole tree.
    opened.extract(&component, &dir.path().join("out"))?;
    for file in component.files() {
        println!("{} {} bytes", file.path, file.size);
    }
    Ok(())
}

#[cfg(unix)]
fn make_executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Where files have no permission bits, the entrypoint counts as executable.
#[cfg(not(unix))]
fn make_executable(_path: &Path) -> std::io::Result<()> {
    Ok(())
}
