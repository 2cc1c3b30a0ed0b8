//! Real releases of this very program, for the tests of updates.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The directory that `tests/releases.sh` fills; its header says what is in it. `make test` has filled it already and names it in
/// `STIGMER_TEST_RELEASES`; else it is filled now, which takes a minute the first time.
#[track_caller]
pub(crate) fn releases() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        if let Some(dir) = std::env::var_os("STIGMER_TEST_RELEASES") {
            let dir = PathBuf::from(dir);
            assert!(dir.join("state").exists(), "{}: run `make test-releases` first", dir.display());
            return dir;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut script = Command::new("sh");
        script.arg(root.join("tests/releases.sh")).env_remove("STIGMER_REAL");
        // Those of the build of this test are not those of the builds in the script.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO_PKG_") {
                script.env_remove(name);
            }
        }
        let status = script.status().expect("sh");
        assert!(status.success(), "tests/releases.sh has failed: it says above why");
        root.join("build/test-releases")
    })
}
