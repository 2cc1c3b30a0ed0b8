//! What the tests of the bundle room share: small trees, small executables of every kind, and carriers made by hand.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use stigmer::bundle::{
    Carrier, Component, Cutting, Digest, FORMAT_VERSION, Footer, Index, Packed, Packing, Slot, head,
};

/// A directory for one test, gone afterwards.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Writes a file and the directories above it.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
    std::fs::write(path, content).expect("a file");
}

/// Sets the permission bits of a file.
#[cfg(unix)]
pub(crate) fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("permission bits");
}

/// Bytes that do not compress and are always the same.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// A small tree of every kind of entry, with a script for an entrypoint. Its content fills several frames of
/// [`small_cutting`].
pub(crate) fn tree(root: &Path) {
    write(
        &root.join("component.json"),
        r#"{"name":"hello","version":"1.2.3","entrypoint":"bin/hello","self_check":["--self-check"]}"#,
    );
    write(&root.join("bin/hello"), "#!/bin/sh\necho hello \"$@\"\n");
    write(&root.join("lib/a.so"), noise(1, 30_000));
    write(&root.join("lib/b.so.2"), noise(2, 20_000));
    write(&root.join("lib/same.so"), noise(1, 30_000));
    write(&root.join("share/text.txt"), "text\n".repeat(3000));
    write(&root.join("share/empty"), "");
    std::fs::create_dir_all(root.join("share/empty-directory")).expect("a directory");
    #[cfg(unix)]
    {
        chmod(&root.join("bin/hello"), 0o755);
        std::os::unix::fs::symlink("../lib/a.so", root.join("share/link")).expect("a link");
        std::os::unix::fs::symlink("share", root.join("all")).expect("a link");
    }
}

/// Frames so small that a small tree has several.
pub(crate) fn small_cutting() -> Cutting {
    Cutting::around(8 << 10, 3)
}

/// A carrier of [`tree`] in `dir`, made of `base`.
pub(crate) fn pack(dir: &Path, base: &[u8]) -> PathBuf {
    let root = dir.join("tree");
    if !root.exists() {
        tree(&root);
    }
    write(&dir.join("base"), base);
    let out = dir.join("carrier");
    try_pack(&dir.join("base"), &[("hello".into(), root)], &out).expect("the tree can be packed");
    out
}

/// Packs with small frames and without the components' own checks.
pub(crate) fn try_pack(
    base: &Path,
    components: &[(String, PathBuf)],
    out: &Path,
) -> Result<Packed, stigmer::bundle::BundleError> {
    Packing { base, components, out, cutting: small_cutting(), self_check: false, identifier: Some("hello") }
        .run()
}

/// Runs the command line.
pub(crate) fn stigmer(args: &[&str]) -> Output {
    run(Path::new(env!("CARGO_BIN_EXE_stigmer")), args)
}

/// Runs a program.
pub(crate) fn run(program: &Path, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("`{}` cannot be run: {e}", program.display()))
}

/// The exit code and what was printed by `bundle verify FILE`.
pub(crate) fn verify(file: &Path) -> (i32, String) {
    let output = stigmer(&["bundle", "verify", file.to_str().expect("a UTF-8 path")]);
    (output.status.code().expect("an exit code"), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Every entry below `root` with its content, as the tree of a component would list it.
pub(crate) fn listing(root: &Path) -> Vec<(String, String)> {
    fn walk(root: &Path, dir: &Path, out: &mut Vec<(String, String)>) {
        for found in std::fs::read_dir(dir).expect("a directory") {
            let path = found.expect("an entry").path();
            let name = path.strip_prefix(root).expect("below").display().to_string();
            let meta = path.symlink_metadata().expect("metadata");
            if meta.is_symlink() {
                out.push((name, format!("link to {}", path.read_link().expect("a link").display())));
            } else if meta.is_dir() {
                out.push((name, "directory".into()));
                walk(root, &path, out);
            } else {
                let exec = stigmer::platform::permission_bits(&meta).is_some_and(|m| m & 0o111 != 0);
                let content = std::fs::read(&path).expect("a file");
                out.push((name, format!("file {exec} {}", Digest::of(&content))));
            }
        }
    }
    let mut out = Vec::new();
    walk(root, root, &mut out);
    out.sort();
    out
}

/// A carrier made by hand of an index in JSON and the bytes of its frames, with sound digests everywhere, so that
/// nothing but the rules for an index can refuse it.
pub(crate) fn craft(index: &[u8], frames: &[u8], slots: Vec<Slot>) -> Vec<u8> {
    let footer = Footer {
        frames_len: frames.len() as u64,
        index_len: index.len() as u64,
        index_digest: Digest::of(index),
        code_len: 0,
        code_digest: Digest::NONE,
        slots,
    };
    [b"#!/bin/sh\nexit 0\n#123456789ab\n", &head()[..], frames, index, &footer.to_bytes()].concat()
}

/// As [`craft`], of an index that is listed; its payload digests are made to fit, so that they cannot be what is refused.
pub(crate) fn craft_listed(mut components: Vec<Component>, frames: &[u8]) -> Vec<u8> {
    for component in &mut components {
        component.digest = component.payload_digest();
    }
    let slots = components.iter().map(|c| Slot { name: c.name.clone(), digest: c.digest }).collect();
    let index = Index { format: FORMAT_VERSION, components };
    craft(&serde_json::to_vec(&index).expect("JSON"), frames, slots)
}

/// The index of the carrier at `path`.
pub(crate) fn index_of(path: &Path) -> Index {
    Carrier::open(path).and_then(|c| c.index()).expect("a sound carrier")
}
