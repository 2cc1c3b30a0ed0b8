//! The built executable, and files that are made of it once for all tests of a program.

use fs2::FileExt;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Root directory of the repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Path of the `stigmer` executable that cargo built for the running test program.
///
/// Test runners name it in the environment; without one it is found beside the test program, which cargo puts in
/// `target/PROFILE/deps`.
pub fn executable() -> PathBuf {
    let named = ["NEXTEST_BIN_EXE_stigmer", "CARGO_BIN_EXE_stigmer"].into_iter().find_map(std::env::var_os);
    named.map_or_else(
        || profile_dir().join("stigmer").with_extension(std::env::consts::EXE_EXTENSION),
        PathBuf::from,
    )
}

/// The directory of the profile that the running test program was built with: `target/debug`.
pub(crate) fn profile_dir() -> PathBuf {
    let program = std::env::current_exe().expect("the path of the test program");
    program.ancestors().nth(2).expect("a test program lies in target/PROFILE/deps").to_owned()
}

/// Path of an example program of this crate, built from the library as it is now.
///
/// `cargo test --workspace` has built it; a run of one test program has not, so cargo is asked once for each process.
pub fn example(name: &'static str) -> PathBuf {
    static BUILT: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let profile_dir = profile_dir();
    let mut built = BUILT.lock().expect("no build panicked");
    if !built.contains(name) {
        let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
            None | Some("debug") => "dev",
            Some(other) => other,
        };
        let mut cargo = Command::new(env!("CARGO"));
        // With all packages, so that the libraries have the features they have for `cargo test --workspace`.
        cargo.args(["build", "--quiet", "--locked", "--workspace", "--example", name, "--profile", profile]);
        assert!(
            cargo.current_dir(repository()).status().expect("cargo runs").success(),
            "{name} is not built"
        );
        built.insert(name);
    }
    profile_dir.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

/// Path of a file or directory that `make` creates at the path it is given, once for all tests of a program.
///
/// It is kept until the executable or the test program changes. Tests can run in processes of their own, all at the same
/// time, so one makes it and the others wait.
pub fn artifact(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let program = std::env::current_exe().expect("the path of the test program");
    let stem = program.file_stem().expect("a name").to_string_lossy().into_owned();
    let area = stem.rsplit_once('-').map_or(stem.as_str(), |(area, _hash)| area);
    let dir = profile_dir().parent().expect("below target").join("tmp").join(area);
    std::fs::create_dir_all(&dir).expect("the directory can be made");
    let lock = std::fs::File::create(dir.join(format!("{name}.lock"))).expect("the lock can be made");
    lock.lock_exclusive().expect("the lock can be taken");
    let (path, key_path) = (dir.join(name), dir.join(format!("{name}.key")));
    let key = key_of(&[&executable(), &program]);
    if std::fs::read_to_string(&key_path).is_ok_and(|known| known == key) {
        return path;
    }
    remove(&key_path);
    remove(&path);
    make(&path);
    std::fs::write(&key_path, key).expect("the key can be written");
    path
}

/// Changes when one of the programs is built again.
fn key_of(programs: &[&Path]) -> String {
    let mut key = String::new();
    for program in programs {
        let meta = program.metadata().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let modified = meta.modified().expect("a modification time");
        writeln!(key, "{} {} {modified:?}", program.display(), meta.len()).expect("a string grows");
    }
    key
}

fn remove(path: &Path) {
    let removed = match path.symlink_metadata() {
        Err(_) => return,
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
    };
    removed.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
