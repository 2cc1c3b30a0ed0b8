//! Every kind of damage that can be done to an entry.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use stigmer_test_support::store::{open_up, set_mode};

const DAMAGED: i32 = 1;
const MISSING: i32 = 2;

/// What is done to an entry.
pub(crate) struct Damage {
    pub(crate) name: &'static str,
    /// Does it; the second path is a directory of somebody else, which must stay as it is.
    pub(crate) inflict: fn(&Path, &Path),
    /// What `cache verify` exits with.
    pub(crate) bits: i32,
}

/// Runs `f` with the directory writable.
fn opened(dir: &Path, f: impl FnOnce()) {
    set_mode(dir, 0o755);
    f();
    set_mode(dir, 0o555);
}

fn remove(path: &Path) {
    opened(path.parent().expect("a parent"), || {
        if path.is_dir() {
            open_up(path);
            std::fs::remove_dir_all(path).expect("removed");
        } else {
            std::fs::remove_file(path).expect("removed");
        }
    });
}

pub(crate) fn rewrite(path: &Path, f: impl FnOnce(&mut Vec<u8>)) {
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&path.metadata().expect("a file").permissions()) & 0o777;
    let mut bytes = std::fs::read(path).expect("readable");
    f(&mut bytes);
    set_mode(path, 0o644);
    std::fs::write(path, bytes).expect("written");
    set_mode(path, mode);
}

fn put(path: &Path, content: &str) {
    opened(path.parent().expect("a parent"), || {
        std::fs::write(path, content).expect("written");
        set_mode(path, 0o444);
    });
}

fn link(path: &Path, target: &Path) {
    remove(path);
    opened(path.parent().expect("a parent"), || symlink(target, path).expect("symlink"));
}

/// One of each kind.
pub(crate) const DAMAGES: &[Damage] = &[
    Damage {
        name: "a byte flipped",
        inflict: |e, _| rewrite(&e.join("lib/random.bin"), |b| b[1_234_567] ^= 1),
        bits: DAMAGED,
    },
    Damage {
        name: "the last byte flipped",
        inflict: |e, _| rewrite(&e.join("lib/text.txt"), |b| *b.last_mut().expect("some") ^= 0x80),
        bits: DAMAGED,
    },
    Damage {
        name: "a byte of the program flipped",
        inflict: |e, _| rewrite(&e.join("bin/run"), |b| b[40] ^= 1),
        bits: DAMAGED,
    },
    Damage {
        name: "a file cut off",
        inflict: |e, _| rewrite(&e.join("lib/random.bin"), |b| b.truncate(1000)),
        bits: DAMAGED,
    },
    Damage {
        name: "a file longer",
        inflict: |e, _| rewrite(&e.join("lib/a/b/c/deep.txt"), |b| b.push(0)),
        bits: DAMAGED,
    },
    Damage {
        name: "a file of no bytes",
        inflict: |e, _| rewrite(&e.join("lib/tool"), Vec::clear),
        bits: DAMAGED,
    },
    Damage {
        name: "an empty file with content",
        inflict: |e, _| rewrite(&e.join("empty"), |b| b.push(0)),
        bits: DAMAGED,
    },
    Damage { name: "a file missing", inflict: |e, _| remove(&e.join("lib/shared.so.1")), bits: MISSING },
    Damage { name: "an empty file missing", inflict: |e, _| remove(&e.join("empty")), bits: MISSING },
    Damage { name: "the program missing", inflict: |e, _| remove(&e.join("bin/run")), bits: MISSING },
    Damage { name: "a directory missing", inflict: |e, _| remove(&e.join("lib/a")), bits: MISSING },
    Damage {
        name: "an empty directory missing",
        inflict: |e, _| remove(&e.join("empty-dir")),
        bits: MISSING,
    },
    Damage {
        name: "everything missing",
        inflict: |e, _| {
            for name in ["bin", "lib", "empty", "empty-dir", "component.json", "link-to-dir"] {
                remove(&e.join(name));
            }
        },
        bits: MISSING,
    },
    Damage { name: "a file extra", inflict: |e, _| put(&e.join("lib/a/extra.pyc"), "x"), bits: DAMAGED },
    Damage { name: "a file extra at the top", inflict: |e, _| put(&e.join("extra"), "x"), bits: DAMAGED },
    Damage {
        name: "a file extra whose name is no text",
        inflict: |e, _| put(&e.join(std::ffi::OsStr::from_bytes(b"lib/bad-\xff-name")), "x"),
        bits: DAMAGED,
    },
    Damage {
        name: "a directory extra",
        inflict: |e, _| {
            opened(&e.join("lib"), || {
                std::fs::create_dir_all(e.join("lib/__pycache__/deeper")).expect("mkdir");
                std::fs::write(e.join("lib/__pycache__/deeper/x.pyc"), "x").expect("written");
                set_mode(&e.join("lib/__pycache__/deeper"), 0o555);
                set_mode(&e.join("lib/__pycache__"), 0o555);
            });
        },
        bits: DAMAGED,
    },
    Damage {
        name: "a link extra, to somebody else's directory",
        inflict: |e, victim| {
            opened(&e.join("lib"), || symlink(victim, e.join("lib/extra-link")).expect("symlink"));
        },
        bits: DAMAGED,
    },
    Damage { name: "a file writable", inflict: |e, _| set_mode(&e.join("lib/tool"), 0o755), bits: DAMAGED },
    Damage {
        name: "a program not executable",
        inflict: |e, _| set_mode(&e.join("bin/run"), 0o444),
        bits: DAMAGED,
    },
    Damage {
        name: "a program with special bits",
        inflict: |e, _| set_mode(&e.join("bin/run"), 0o1555),
        bits: DAMAGED,
    },
    Damage { name: "a directory writable", inflict: |e, _| set_mode(&e.join("lib/a"), 0o777), bits: DAMAGED },
    Damage { name: "the entry writable", inflict: |e, _| set_mode(e, 0o755), bits: DAMAGED },
    Damage {
        name: "a link to elsewhere inside",
        inflict: |e, _| link(&e.join("lib/link"), Path::new("text.txt")),
        bits: DAMAGED,
    },
    Damage {
        name: "a link to elsewhere outside",
        inflict: |e, victim| link(&e.join("link-to-dir"), victim),
        bits: DAMAGED,
    },
    Damage {
        name: "a link replaced by a file",
        inflict: |e, _| {
            remove(&e.join("lib/link"));
            put(&e.join("lib/link"), "x");
        },
        bits: DAMAGED,
    },
    Damage {
        name: "a file replaced by a link to somebody else's",
        inflict: |e, victim| link(&e.join("lib/text.txt"), &victim.join("precious")),
        bits: DAMAGED,
    },
    Damage {
        name: "the program replaced by a link to somebody else's",
        inflict: |e, victim| link(&e.join("bin/run"), &victim.join("precious")),
        bits: DAMAGED,
    },
    Damage {
        name: "a file replaced by a directory",
        inflict: |e, _| {
            remove(&e.join("lib/tool"));
            opened(&e.join("lib"), || std::fs::create_dir(e.join("lib/tool")).expect("mkdir"));
        },
        bits: DAMAGED,
    },
    Damage {
        name: "a directory replaced by a file",
        inflict: |e, _| {
            remove(&e.join("lib/a"));
            put(&e.join("lib/a"), "x");
        },
        bits: DAMAGED | MISSING,
    },
    Damage {
        name: "a directory replaced by a link to somebody else's",
        inflict: |e, victim| link(&e.join("lib"), victim),
        bits: DAMAGED | MISSING,
    },
    Damage {
        name: "an inner directory replaced by a link to somebody else's",
        inflict: |e, victim| link(&e.join("lib/a"), victim),
        bits: DAMAGED | MISSING,
    },
    Damage {
        name: "the entry replaced by a file",
        inflict: |e, _| {
            replace(e);
            std::fs::write(e, "x").expect("written");
        },
        bits: DAMAGED,
    },
    Damage {
        name: "the entry replaced by a link to somebody else's",
        inflict: |e, victim| {
            replace(e);
            symlink(victim, e).expect("symlink");
        },
        bits: DAMAGED,
    },
    Damage {
        name: "the entry replaced by a link to a copy",
        inflict: |e, _| {
            let copy = replace(e);
            rewrite(&copy.join("lib/text.txt"), |b| b[0] ^= 1);
            symlink(copy, e).expect("symlink");
        },
        bits: DAMAGED,
    },
    Damage {
        name: "the entry replaced by a link to nowhere",
        inflict: |e, _| {
            replace(e);
            symlink("/nowhere/at/all", e).expect("symlink");
        },
        bits: DAMAGED,
    },
];

/// Moves the entry out of the home.
fn replace(entry: &Path) -> PathBuf {
    let away = entry.ancestors().nth(4).expect("beside the home").join("moved-away");
    set_mode(entry, 0o755);
    std::fs::rename(entry, &away).expect("moved");
    set_mode(&away, 0o555);
    away
}
