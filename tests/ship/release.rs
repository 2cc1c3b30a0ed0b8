//! A release as its workflow makes it: `packaging/release.sh`, its steps that need no other machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use stigmer::update::Target;
use stigmer_test_support::Ran;
use stigmer_test_support::update::{Host, NEW, OLD, new, old, run, signer};

/// Two releases for four targets, published into one directory. Those of this machine are real, the others say only what they are.
pub(crate) struct Published {
    _dir: tempfile::TempDir,
    pub(crate) root: PathBuf,
}

pub(crate) fn published() -> &'static Published {
    static PUBLISHED: OnceLock<Published> = OnceLock::new();
    PUBLISHED.get_or_init(|| {
        let dir = tempfile::Builder::new().prefix("stigmer-release-").tempdir().expect("a directory");
        let published = Published { root: dir.path().canonicalize().expect("a path"), _dir: dir };
        std::fs::write(published.root.join("keys"), format!("# ours\n{}\n", signer().public()))
            .expect("written");
        for (version, release) in [(OLD, old()), (NEW, new())] {
            published.carriers(version, &release.carrier);
            run(&mut published.step("publish", version)).code(0);
        }
        published
    })
}

const OTHERS: [(&str, &str); 4] = [
    ("linux-amd64", "x86_64-unknown-linux-musl"),
    ("linux-arm64", "aarch64-unknown-linux-musl"),
    ("darwin-arm64", "aarch64-apple-darwin"),
    ("darwin-amd64", "x86_64-apple-darwin"),
];

impl Published {
    pub(crate) fn public(&self) -> PathBuf {
        self.root.join("public")
    }

    /// What `packaging/release.sh carriers` leaves.
    fn carriers(&self, version: &str, own: &Path) {
        let dir = self.root.join(format!("carriers-{version}"));
        for (target, triple) in OTHERS {
            let into = dir.join(target).join("carrier");
            std::fs::create_dir_all(&into).expect("mkdir");
            if target == Target::own().expect("a target").as_str() {
                std::fs::copy(own, into.join("stigmer")).expect("copied");
                std::fs::copy(own.with_file_name("bare"), dir.join(target).join("stigmer")).expect("copied");
                continue;
            }
            let base = dir.join(target).join("base");
            let line =
                format!("#!/bin/sh\n# stigmer-identity/1 version={version} triple={triple} commit=-\u{3}\n");
            std::fs::write(&base, line).expect("written");
            let mut pack = Command::new(env!("CARGO_BIN_EXE_stigmer"));
            pack.args(["bundle", "pack", "--no-self-check", "--level", "1", "--base"]).arg(&base);
            pack.arg("--component").arg(format!("agent-runner={}", own.with_file_name("tree").display()));
            run(pack.arg("--out").arg(into.join("stigmer"))).code(0);
        }
    }

    /// A step of the script, for a release in `public`.
    pub(crate) fn step(&self, step: &str, version: &str) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new("sh");
        command
            .arg(root.join("packaging/release.sh"))
            .arg(step)
            .env("VERSION", version)
            .env("TARGETS", OTHERS.map(|(target, _)| target).join(" "))
            .env("CARRIERS", self.root.join(format!("carriers-{version}")))
            .env("KEY", signer().file())
            .env("PUBLIC_KEYS", self.root.join("keys"))
            .env("OUT", self.public())
            .env("LEVEL", "3")
            .env("STIGMER", env!("CARGO_BIN_EXE_stigmer"))
            .env("STIGMER_HOME", self.root.join("home"))
            .stdin(Stdio::null());
        // They are this test's, not the script's cargo's.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO_PKG_") {
                command.env_remove(name);
            }
        }
        command
    }
}

/// A copy that a test may spoil.
fn copy(into: &Path) -> Ran {
    run(Command::new("cp").arg("-R").arg(published().public()).arg(into)).code(0)
}

#[test]
fn a_stranger_finds_all_of_it_sound_and_it_installs_and_updates() {
    let published = published();
    let ran = run(&mut published.step("check", NEW)).code(0);
    for words in [
        "ok: every signature, every checksum",
        "ok: the bill of materials",
        "ok: install.sh",
        "ok: the formula, played",
        "ok: self-update, and back",
    ] {
        assert!(ran.out.contains(words), "{words}: {ran:#?}");
    }
}

#[test]
fn to_publish_again_writes_nothing_new() {
    let published = published();
    let state = || {
        let listed =
            run(Command::new("find").arg(published.public()).args(["-type", "f", "-printf", "%p %s %i\n"]))
                .code(0);
        let mut lines: Vec<String> =
            listed.out.lines().map(str::to_owned).filter(|l| !l.contains("/github/")).collect();
        lines.sort();
        lines
    };
    let before = state();
    run(&mut published.step("publish", NEW)).code(0);
    assert_eq!(state(), before);
}

#[test]
fn what_was_changed_after_publishing_is_found() {
    let published = published();
    let dir = tempfile::tempdir().unwrap();
    let name = format!("stigmer-{NEW}-linux-arm64");
    for (nth, file) in [
        "install.sh".to_owned(),
        format!("{NEW}/stigmer-{NEW}.cdx.json"),
        format!("{NEW}/stigmer.rb"),
        format!("github/v{NEW}/{name}"),
        format!("github/v{NEW}/{name}.index.json"),
        format!("github/v{NEW}/SHA256SUMS"),
        "releases.json".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let public = dir.path().join(nth.to_string());
        copy(&public);
        let path = public.join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let ran = run(published.step("check", NEW).env("OUT", &public));
        assert!(ran.code != Some(0) && !ran.out.contains("ok: every signature"), "{file}: {ran:#?}");
    }
}

#[test]
fn the_published_installer_trusts_the_keys_of_the_release_and_asks_its_host() {
    let text = std::fs::read_to_string(published().public().join("install.sh")).unwrap();
    assert!(text.contains(&format!("release_keys='{}'", signer().public())), "{text}");
    assert!(text.contains("default_url='https://releases.stigmer.ai'"));
    run(Command::new("sh").arg("-n").arg(published().public().join("install.sh"))).code(0);
}

#[test]
fn what_cannot_be_a_release_is_refused() {
    let published = published();
    for (version, words) in
        [("v1.0.0", "not a version like 1.2.3"), ("", "not a version like 1.2.3"), ("7.7.7", "there is no")]
    {
        run(&mut published.step("publish", version)).code(1).says(&[words]);
    }
    run(published.step("publish", NEW).env_remove("KEY")).says(&["KEY"]);
    run(&mut published.step("no-step", NEW)).code(2).says(&["packaging/release.sh publish"]);
    // A key that does not sign for those whom it is for.
    std::fs::write(
        published.root.join("other"),
        format!("{}\n", stigmer_test_support::update::Signer::new().public()),
    )
    .unwrap();
    run(published.step("check", NEW).env("PUBLIC_KEYS", published.root.join("other")))
        .code(1)
        .says(&["is not signed by a key in"]);
}

/// Every file below a directory, as a host on this machine has them.
pub(crate) fn serve(dir: &Path) -> Host {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // What is for GitHub is not on a static host.
                if path != dir.join("github") {
                    dirs.push(path);
                }
            } else {
                let name = format!("/{}", path.strip_prefix(dir).expect("below it").display());
                files.push((name, std::fs::read(&path).expect("read")));
            }
        }
    }
    Host::new(files)
}
