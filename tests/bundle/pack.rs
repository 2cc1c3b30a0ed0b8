//! Packing: what goes in comes out, always in the same bytes, and what should not go in is refused by name.

use crate::fixtures::{
    chmod, index_of, listing, pack, scratch, small_cutting, stigmer, tree, try_pack, write,
};
use std::path::{Path, PathBuf};
use stigmer::bundle::{Carrier, EntryKind, Packing, TreePath};

const BASE: &[u8] = b"#!/bin/sh\nexit 0\n";

fn component(root: &Path) -> Vec<(String, PathBuf)> {
    vec![("hello".into(), root.to_owned())]
}

#[test]
fn what_goes_in_comes_out() {
    let dir = scratch();
    let carrier = pack(dir.path(), BASE);
    let opened = Carrier::open(&carrier).expect("a carrier");
    let component = opened.component("hello").expect("the component");
    assert!(component.frames.len() > 3, "the test wants several frames");
    let to = dir.path().join("out");
    opened.extract(&component, &to).expect("extraction");
    assert_eq!(listing(&to), listing(&dir.path().join("tree")));
    let offsets: Vec<_> = component
        .files()
        .filter(|file| file.path.as_str().starts_with("lib/") && !file.path.as_str().contains("b.so"))
        .map(|file| file.offset)
        .collect();
    assert_eq!(offsets[0], offsets[1], "equal files are stored once");
    // One file alone.
    let path = TreePath::new("lib/b.so.2").expect("a path");
    opened.extract_file(&component, &path, &dir.path().join("one")).expect("extraction");
    assert_eq!(std::fs::read(dir.path().join("one")).expect("the file"), crate::fixtures::noise(2, 20_000));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let dir = scratch();
    let first = std::fs::read(pack(dir.path(), BASE)).expect("the carrier");
    // The same tree, made in another order, at another time, with other permissions where they do not count.
    let other = scratch();
    let root = other.path().join("tree");
    for name in ["share/text.txt", "lib/same.so", "lib/b.so.2", "component.json", "bin/hello", "lib/a.so"] {
        write(&root.join(name), std::fs::read(dir.path().join("tree").join(name)).expect("the file"));
    }
    tree(&root);
    chmod(&root.join("lib/a.so"), 0o600);
    chmod(&root.join("bin/hello"), 0o711);
    chmod(&root.join("share/empty-directory"), 0o700);
    let file = std::fs::File::open(root.join("lib/a.so")).expect("the file");
    file.set_modified(std::time::UNIX_EPOCH).expect("a time");
    let second = std::fs::read(pack(other.path(), BASE)).expect("the carrier");
    assert!(first == second, "the carriers differ");
    // And with any number of threads.
    let threads = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    let third = threads.install(|| std::fs::read(pack(other.path(), BASE)).expect("the carrier"));
    assert!(first == third, "the carriers differ");
}

#[test]
fn of_the_base_only_its_digest_is_in_the_bundle() {
    let dir = scratch();
    let bundle = |base: &[u8]| {
        let opened = Carrier::open(&pack(dir.path(), base)).expect("a carrier");
        let range = opened.range();
        let bytes =
            &opened.bytes()[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        bytes[..bytes.len() - 512].to_vec()
    };
    assert!(bundle(BASE) == bundle(&crate::images::elf(true, false)));
}

#[test]
fn a_small_change_leaves_most_frames_alone() {
    let dir = scratch();
    let root = dir.path().join("tree");
    tree(&root);
    let content = crate::fixtures::noise(9, 600_000);
    write(&root.join("lib/big.so"), &content);
    let before = index_of(&pack(dir.path(), BASE));
    let changed = [&content[..300_000], b"one line more", &content[300_000..]].concat();
    write(&root.join("lib/big.so"), changed);
    let after = index_of(&pack(dir.path(), BASE));
    let known: std::collections::HashSet<_> = before.components[0].frames.iter().map(|f| f.blake3).collect();
    let fresh: u64 =
        after.components[0].frames.iter().filter(|f| !known.contains(&f.blake3)).map(|f| f.len).sum();
    let whole = after.components[0].compressed_len();
    assert!(fresh * 10 <= whole, "{fresh} of {whole} bytes changed");
    assert_ne!(before.components[0].digest, after.components[0].digest);
}

/// Spoils a tree, and says what the refusal must name.
fn refusal(spoil: impl FnOnce(&Path), named: &str, why: &str) {
    let dir = scratch();
    let root = dir.path().join("tree");
    tree(&root);
    spoil(&root);
    write(&dir.path().join("base"), BASE);
    let out = dir.path().join("carrier");
    let error = try_pack(&dir.path().join("base"), &component(&root), &out)
        .expect_err("it must be refused")
        .to_string();
    assert!(error.contains(named) && error.contains(why), "{error}");
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("a directory").collect();
    assert_eq!(left.len(), 2, "something is left behind: {left:?}");
}

#[test]
fn trees_that_would_not_be_the_same_elsewhere_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    let link = |root: &Path, name: &str, target: &str| symlink(target, root.join(name)).expect("a link");
    refusal(|r| write(&r.join("lib/a:b"), ""), "lib/a:b", "not every system");
    refusal(|r| write(&r.join("share/NUL.txt"), ""), "share/NUL.txt", "device on Windows");
    refusal(|r| write(&r.join(std::ffi::OsStr::from_bytes(b"bad\xff")), ""), "bad", "not UTF-8");
    refusal(|r| write(&r.join("lib/A.so"), "x"), "lib/a.so", "case only");
    refusal(|r| link(r, "out", "../base"), "/out", "leaves the tree");
    refusal(|r| link(r, "absolute", "/etc/passwd"), "/absolute", "not a relative link");
    refusal(|r| link(r, "nowhere", "lib/none"), "/nowhere", "leads to nothing");
    refusal(
        |r| {
            link(r, "one", "two");
            link(r, "two", "one");
        },
        "/one",
        "cycle",
    );
    refusal(
        |r| {
            rustix::fs::mkfifoat(rustix::fs::CWD, r.join("pipe"), rustix::fs::Mode::RUSR).expect("a pipe");
        },
        "/pipe",
        "pipe, socket or device",
    );
    refusal(
        |r| drop(std::os::unix::net::UnixListener::bind(r.join("socket")).expect("a socket")),
        "/socket",
        "pipe, socket or device",
    );
    refusal(|r| chmod(&r.join("lib/a.so"), 0o4755), "lib/a.so", "set-user-id");
    refusal(|r| chmod(&r.join("bin/hello"), 0o644), "bin/hello", "not executable");
    refusal(|r| std::fs::remove_file(r.join("bin/hello")).expect("removed"), "bin/hello", "missing");
}

#[test]
fn manifests_that_say_something_else_are_refused() {
    let manifest = |text: &'static str| move |root: &Path| write(&root.join("component.json"), text);
    refusal(
        |r| std::fs::remove_file(r.join("component.json")).expect("removed"),
        "component.json",
        "it is missing",
    );
    refusal(
        manifest(r#"{"name":"other","version":"1","entrypoint":"bin/hello"}"#),
        "component.json",
        "it is the component `other`, not `hello`",
    );
    refusal(
        manifest(r#"{"name":"hello","version":"1","entrypoint":"bin/hello","selfcheck":[]}"#),
        "component.json",
        "unknown field",
    );
    refusal(
        manifest(r#"{"name":"hello","version":"1 2","entrypoint":"bin/hello"}"#),
        "component.json",
        "its version",
    );
    refusal(
        manifest(r#"{"name":"hello","version":"1","entrypoint":"../hello"}"#),
        "component.json",
        "not normalized",
    );
}

#[test]
fn bases_and_names_that_cannot_be_are_refused() {
    let dir = scratch();
    let root = dir.path().join("tree");
    tree(&root);
    let out = dir.path().join("carrier");
    write(&dir.path().join("base"), BASE);
    let base = dir.path().join("base");
    let twice = [component(&root), component(&root)].concat();
    let error = try_pack(&base, &twice, &out).expect_err("refused").to_string();
    assert!(error.contains("named twice"), "{error}");
    let error = try_pack(&base, &vec![("Hello".to_owned(), root.clone()); 1], &out).expect_err("refused");
    assert!(error.to_string().contains("not a component name"), "{error}");
    let five: Vec<_> = (0..5).map(|i| (format!("c{i}"), root.clone())).collect();
    let error = try_pack(&base, &five, &out).expect_err("refused").to_string();
    assert!(error.contains("5 components"), "{error}");
    write(&base, "");
    let error = try_pack(&base, &component(&root), &out).expect_err("refused").to_string();
    assert!(error.contains("empty"), "{error}");
    let carrier = pack(dir.path(), BASE);
    let error = try_pack(&carrier, &component(&root), &out).expect_err("refused").to_string();
    assert!(error.contains("carries a bundle already"), "{error}");
}

#[test]
fn a_component_that_fails_its_own_check_is_not_packed() {
    let dir = scratch();
    let root = dir.path().join("tree");
    tree(&root);
    write(&dir.path().join("base"), BASE);
    let base = dir.path().join("base");
    let out = dir.path().join("carrier");
    let components = component(&root);
    let packing = Packing {
        base: &base,
        components: &components,
        out: &out,
        cutting: small_cutting(),
        self_check: true,
        identifier: None,
    };
    let script = |text: &str| {
        write(&root.join("bin/hello"), format!("#!/bin/sh\n{text}\n"));
        chmod(&root.join("bin/hello"), 0o755);
    };
    // The environment is empty and the home is a directory of its own.
    script(
        r#"test "$1" = --self-check && test -z "$CARGO_MANIFEST_DIR" && test -d "$HOME" && test "$HOME" = "$PWD""#,
    );
    let packed = packing.run().expect("it passes");
    assert_eq!(packed.self_checks, [stigmer::bundle::SelfCheck::Passed]);
    std::fs::remove_file(&out).expect("removed");
    script("echo module foo is missing >&2; exit 3");
    let error = packing.run().expect_err("it fails").to_string();
    assert!(error.contains("module foo is missing") && error.contains("bin/hello"), "{error}");
    assert!(!out.exists());
    // For another system it cannot be run, and that is said.
    write(&root.join("bin/hello"), crate::images::pe());
    let packed = packing.run().expect("it is not run");
    assert_eq!(packed.self_checks, [stigmer::bundle::SelfCheck::Foreign]);
}

#[test]
fn two_components_share_one_bundle() {
    let dir = scratch();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    tree(&one);
    tree(&two);
    write(&two.join("component.json"), r#"{"name":"second","version":"2","entrypoint":"bin/hello"}"#);
    write(&dir.path().join("base"), BASE);
    let out = dir.path().join("carrier");
    let components = [("hello".to_owned(), one), ("second".to_owned(), two)];
    try_pack(&dir.path().join("base"), &components, &out).expect("packed");
    let index = index_of(&out);
    assert_eq!(index.components.len(), 2);
    let output = stigmer(&["bundle", "verify", out.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = stigmer(&["bundle", "inspect", "--files", out.to_str().expect("UTF-8")]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("second 2") && said.contains("share/link -> ../lib/a.so"), "{said}");
    assert!(index.components[0].entries.iter().any(|e| e.kind == EntryKind::Dir));
}
