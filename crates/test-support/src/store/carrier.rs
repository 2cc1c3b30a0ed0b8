//! Small carriers, packed once for each run: every kind of file a real payload has, in a few frames.

use crate::{artifact, executable};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The component's name.
pub const NAME: &str = "agent-runner";

/// What a carrier carries. All of them say they are version 1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Five megabytes in several frames.
    One,
    /// The same with another program and one more note; its big files are those of `One`.
    Two,
    /// A small one of many files, for tests that materialize it a hundred times.
    Small,
}

/// Path of the carrier of `payload`.
pub fn carrier(payload: Payload) -> &'static Path {
    static ONE: OnceLock<PathBuf> = OnceLock::new();
    static TWO: OnceLock<PathBuf> = OnceLock::new();
    static SMALL: OnceLock<PathBuf> = OnceLock::new();
    let cell = match payload {
        Payload::One => &ONE,
        Payload::Two => &TWO,
        Payload::Small => &SMALL,
    };
    cell.get_or_init(|| artifact(&format!("carrier-{payload:?}"), |out| pack(payload, out)))
}

fn pack(payload: Payload, out: &Path) {
    let tree = tempfile::tempdir().expect("a temporary directory");
    fill(tree.path(), payload);
    let bare = executable();
    let packed = Command::new(&bare)
        .args(["bundle", "pack", "--level", "1", "--base"])
        .arg(&bare)
        .arg("--component")
        .arg(format!("{NAME}={}", tree.path().display()))
        .arg("--out")
        .arg(out)
        .output()
        .expect("stigmer starts");
    assert!(packed.status.success(), "{packed:?}");
}

fn fill(root: &Path, payload: Payload) {
    let write = |path: &str, content: &[u8]| {
        let full = root.join(path);
        std::fs::create_dir_all(full.parent().expect("a parent")).expect("mkdir");
        std::fs::write(&full, content).unwrap_or_else(|e| panic!("{path}: {e}"));
    };
    let about =
        r#"{"name":"agent-runner","version":"1.0","entrypoint":"bin/run","self_check":["--self-check"]}"#;
    write("component.json", about.as_bytes());
    write("payload", format!("{payload:?}\n").as_bytes());
    // Large enough to be worth reusing, and the same in all of them.
    write("bin/run", format!("{SCRIPT}{}", "# padding\n".repeat(7000)).as_bytes());
    super::set_mode(&root.join("bin/run"), 0o755);
    write("empty", b"");
    std::fs::create_dir_all(root.join("empty-dir")).expect("mkdir");
    write("lib/a/b/c/deep.txt", b"deep");
    write("lib/with space and \u{fc}.txt", "\u{fc}".as_bytes());
    std::os::unix::fs::symlink("random.bin", root.join("lib/link")).expect("symlink");
    std::os::unix::fs::symlink("lib/a", root.join("link-to-dir")).expect("symlink");
    if payload == Payload::Small {
        write("lib/random.bin", &noise(1_300_000, 7));
        for i in 0..40_u8 {
            write(&format!("lib/many/{i}/x.txt"), &[b'a' + i; 100]);
        }
        return;
    }
    write("lib/random.bin", &noise(2_500_000, 1));
    write("lib/text.txt", "all work and no play\n".repeat(60_000).as_bytes());
    write("lib/shared.so.1", &noise(300_000, 2));
    write("lib/same-1.bin", &noise(200_000, 3));
    write("lib/same-2.bin", &noise(200_000, 3));
    write("lib/tool", &noise(100_000, 4));
    super::set_mode(&root.join("lib/tool"), 0o755);
    if payload == Payload::Two {
        write("lib/note.txt", b"new in this payload");
    }
}

/// Bytes that do not compress, the same for the same seed.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_derive_key("noise").update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The component's program.
const SCRIPT: &str = r#"#!/bin/sh
# Where the tree lies, before anything else: a runner needs it.
tree=${0%/bin/run}
read -r payload <"$tree/payload"
case "$1" in
--self-check | "") [ -s "$tree/lib/random.bin" ] || exit 9 ;;
hello) [ -s "$tree/lib/random.bin" ] && echo "hello from $payload" ;;
exit) exit "$2" ;;
kill) kill "-$2" $$ ;;
args) shift; for arg; do printf '%s\0' "$arg"; done ;;
env) printf '%s\n' "$GREETING" ;;
cat) while IFS= read -r line; do printf '%s\n' "$line"; done; echo done >&2 ;;
wait) echo ready; read -r line; echo "still $payload" ;;
cwd) pwd ;;
*) exit 8 ;;
esac
exit
"#;
