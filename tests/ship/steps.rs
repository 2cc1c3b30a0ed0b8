//! The steps of a release that touch other machines, with something on this one in their place; and uploads.

use crate::release::{published, serve};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use stigmer_test_support::Ran;
use stigmer_test_support::update::{Do, NEW, OLD, Signer, new, run};

/// A host that takes files (`tests/ship/upload_host.py`).
pub(crate) struct Taker {
    pub(crate) dir: tempfile::TempDir,
    child: Child,
    said: BufReader<ChildStdout>,
    pub(crate) port: String,
}

impl Taker {
    pub(crate) fn new(rules: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut child = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ship/upload_host.py"))
            .arg(dir.path())
            .args(rules)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut said = BufReader::new(child.stdout.take().expect("its output"));
        let mut port = String::new();
        said.read_line(&mut port).expect("its port");
        Self { dir, child, said, port: port.trim().to_owned() }
    }

    /// What it was asked since this was last called, up to a request for `last`: each as status, path, type and cache.
    pub(crate) fn requests(&mut self, last: &str) -> Vec<Vec<String>> {
        let mut all: Vec<Vec<String>> = Vec::new();
        while all.last().is_none_or(|one| !one[1].ends_with(last)) {
            let mut line = String::new();
            assert_ne!(self.said.read_line(&mut line).expect("its output"), 0, "{all:?}");
            all.push(line.trim().split('|').map(str::to_owned).collect());
        }
        all
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn script(name: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)).stdin(Stdio::null());
    command
}

/// Every request, in the order that keeps a client from ever seeing a listing that leads nowhere.
#[track_caller]
fn assert_in_order(requests: &[Vec<String>], prefix: &str) {
    let paths: Vec<&str> =
        requests.iter().map(|one| one[1].strip_prefix(prefix).expect("the prefix")).collect();
    let at = |name: &str| {
        paths.iter().position(|path| *path == name).unwrap_or_else(|| panic!("{name}: {paths:?}"))
    };
    let sums = at(&format!("/{NEW}/SHA256SUMS"));
    assert!(sums < at("/install.sh") && at("/install.sh") < at("/releases.json.minisig"), "{paths:?}");
    assert_eq!(at("/releases.json"), paths.len() - 1);
    assert_eq!(at("/releases.json.minisig"), paths.len() - 2);
    assert!(!paths.iter().any(|path| path.starts_with("/github")), "{paths:?}");
    for one in requests {
        assert_eq!(one[0], "200", "{one:?}");
        // What is made anew when a target is added must be asked for again.
        let changes = one[1].contains("SHA256SUMS") || one[1].contains("stigmer.rb");
        let lasting = !changes && (one[1].contains(&format!("/{NEW}/")) || one[1].contains("/0.1.0/"));
        assert_eq!(one[3].contains("immutable"), lasting, "{one:?}");
    }
}

#[track_caller]
fn assert_same_files(there: &Path) {
    run(Command::new("diff").args(["-r", "--exclude=github"]).arg(published().public()).arg(there)).code(0);
}

#[test]
fn a_release_is_put_on_a_plain_host() {
    let mut host = Taker::new(&["bearer", "a \"secret\" \\ token"]);
    let to = format!("http://127.0.0.1:{}/stigmer/", host.port);
    let upload =
        |token: &str| run(script("upload.sh").arg(published().public()).arg(&to).env("UPLOAD_TOKEN", token));
    let ran = upload("a \"secret\" \\ token").code(0);
    assert!(!format!("{ran:?}").contains("secret"), "{ran:?}");
    assert_in_order(&host.requests("/releases.json"), "/stigmer");
    assert_same_files(&host.dir.path().join("stigmer"));
    let ran = upload("another");
    assert!(ran.code != Some(0) && ran.err.contains("403"), "{ran:?}");
}

#[test]
fn a_release_is_put_into_a_bucket_with_signed_requests() {
    let mut host = Taker::new(&["s3", "AKID", "a/secret+key", "auto"]);
    let upload = |secret: &str, more: &[(&str, &str)]| {
        let mut command = script("upload.sh");
        command.arg(published().public()).arg("s3://bucket/some/place");
        command.env("S3_ENDPOINT", format!("http://127.0.0.1:{}", host.port)).env("AWS_REGION", "auto");
        command
            .env("AWS_ACCESS_KEY_ID", "AKID")
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .envs(more.iter().copied());
        run(&mut command)
    };
    upload("a/secret+key", &[("AWS_SESSION_TOKEN", "a token")]).code(0);
    let ran = upload("another", &[]);
    assert!(
        ran.code != Some(0) && ran.err.contains("403") && !format!("{ran:?}").contains("another"),
        "{ran:?}"
    );
    assert_in_order(&host.requests("/releases.json"), "/bucket/some/place");
    assert_same_files(&host.dir.path().join("bucket/some/place"));
}

#[test]
fn what_would_show_the_secret_is_refused() {
    for to in ["http://host.example/x", "ftp://host/x", "bucket"] {
        run(script("upload.sh").arg(published().public()).arg(to))
            .code(2)
            .says(&["is neither https:// nor s3://"]);
    }
    run(script("upload.sh").arg("/nowhere").arg("s3://x")).code(2).says(&["usage:"]);
    let ran =
        run(script("upload.sh").arg(published().public()).arg("s3://x").env_remove("AWS_ACCESS_KEY_ID"));
    assert!(ran.code != Some(0) && ran.err.contains("AWS_ACCESS_KEY_ID"), "{ran:?}");
}

#[test]
fn a_tag_is_a_version_that_later_steps_know() {
    let dir = tempfile::tempdir().unwrap();
    let known = dir.path().join("env");
    let changelog = dir.path().join("changes.md");
    std::fs::write(&changelog, "# Changes\n\n## 1.2.3\n\n- one\n\n## 1.2.3-rc.1\n\n- none\n\n## 1.2.2\n\n")
        .unwrap();
    let version = |tag: &str| {
        let mut step = published().step("version", "");
        run(step.env("TAG", tag).env("GITHUB_ENV", &known).env("CHANGELOG", &changelog))
    };
    assert!(version("v1.2.3").code(0).out.contains("1.2.3, on the channel stable"));
    assert!(version("v1.2.3-rc.1").code(0).out.contains("on the channel beta"));
    assert_eq!(std::fs::read_to_string(&known).unwrap(), "VERSION=1.2.3\nVERSION=1.2.3-rc.1\n");
    version("1.2.3").code(1).says(&["not like v1.2.3"]);
    version("vnext").code(1).says(&["not a version"]);
    // Found out now, and not when everything is built and signed.
    version("v1.2.2").code(1).says(&["has nothing below `## 1.2.2`"]);
}

#[test]
fn trees_come_out_of_their_tar_files_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let tree = new().carrier.with_file_name("tree");
    std::fs::create_dir_all(dir.path().join("tree-linux-amd64")).unwrap();
    std::os::unix::fs::symlink(&tree, dir.path().join("agent-runner")).unwrap();
    run(Command::new("tar")
        .arg("-chf")
        .arg(dir.path().join("tree-linux-amd64/agent-runner-linux-amd64.tar"))
        .arg("-C")
        .arg(dir.path())
        .arg("agent-runner"))
    .code(0);
    run(published().step("unpack", "").arg(dir.path()).env("TARGETS", "linux-amd64")).code(0);
    let out = dir.path().join("linux-amd64");
    run(Command::new("diff").arg("-r").arg(&tree).arg(&out)).code(0);
    assert_eq!(out.join("run").metadata().unwrap().permissions().mode() & 0o111, 0o111);
}

#[test]
fn the_listing_on_the_host_is_continued_and_never_begun_anew_by_mistake() {
    let host = serve(&published().public());
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let step = |more: &[(&str, &str)]| {
        run(published()
            .step("continue", NEW)
            .env("BASE", host.url())
            .env("OUT", &out)
            .envs(more.iter().copied()))
    };
    let ran = step(&[]).code(0);
    assert!(ran.out.contains("has 2 releases"), "{ran:?}");
    // What the patches of this release are made from is there, and nothing else.
    let code = format!("{OLD}/linux-amd64/stigmer-{OLD}-linux-amd64.code.zst");
    assert!(
        ran.out.contains(&format!("for a patch: {code}")) && !ran.out.contains(&format!("{NEW}/")),
        "{ran:?}"
    );
    run(Command::new("cmp").arg(out.join(&code)).arg(published().public().join(&code))).code(0);
    host.change(&code, |bytes| bytes[5] ^= 1);
    assert!(step(&[]).code(0).out.contains(&format!("{code} is not what is listed")));
    assert!(!out.join(&code).exists());
    host.remove(&code);
    assert!(step(&[]).code(0).out.contains(&format!("{code} cannot be fetched")));
    run(Command::new("cmp").arg(out.join("releases.json")).arg(published().public().join("releases.json")))
        .code(0);
    host.remove("releases.json.minisig");
    step(&[]).code(1).says(&["is not there", "FIRST_RELEASE=yes"]);
    assert!(!out.join("releases.json").exists());
    assert!(step(&[("FIRST_RELEASE", "yes")]).code(0).out.contains("the first release"));
    // A host that is ill has not lost its releases.
    host.rule(|_| Do::Status(403, ""));
    step(&[("FIRST_RELEASE", "yes")]).code(1).says(&["the host says 403"]);
    // Whoever signed the listing may be another one than those whom the release trusts: a key was stolen.
    let host = serve(&published().public());
    let nobody = dir.path().join("nobody");
    std::fs::write(&nobody, format!("{}\n", Signer::new().public())).unwrap();
    let with = |keys: &[(&str, &Path)]| {
        let mut step = published().step("continue", NEW);
        run(step.env("BASE", host.url()).env("OUT", &out).envs(keys.iter().copied()))
    };
    with(&[("PUBLIC_KEYS", &nobody)]).code(1).says(&["is not signed by a key in"]);
    let keys = published().root.join("keys");
    with(&[("PUBLIC_KEYS", &nobody), ("LISTING_KEYS", &keys)]).code(0);
    let host = serve(&published().public());
    host.change("releases.json", |bytes| bytes[20] ^= 1);
    run(published().step("continue", NEW).env("BASE", host.url()).env("OUT", &out))
        .code(1)
        .says(&["is not signed by a key"]);
}

#[test]
fn the_key_of_the_workflow_signs_and_is_gone_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let key = std::fs::read_to_string(stigmer_test_support::update::signer().file()).unwrap();
    let out = dir.path().join("out");
    run(published()
        .step("publish", NEW)
        .env_remove("KEY")
        .env("RELEASE_KEY", key)
        .env("OUT", &out)
        .env("TMPDIR", dir.path()))
    .code(0);
    assert!(out.join("releases.json.minisig").exists());
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["out"]);
}

/// A `gh` that writes down what it is told.
fn fake_gh(dir: &Path, exists: bool) -> PathBuf {
    let bin = dir.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let view = if exists { "exit 0" } else { "exit 1" };
    let script = format!(
        "#!/bin/sh\nprintf '%s ' \"$@\" >>'{0}/calls'\necho >>'{0}/calls'\ncase \"$1 $2\" in 'release view') {view} ;; esac\n\
         while [ $# -gt 0 ]; do [ \"$1\" != --notes-file ] || cp \"$2\" '{0}/notes'; shift; done\n",
        dir.display()
    );
    std::fs::write(bin.join("gh"), script).unwrap();
    std::fs::set_permissions(bin.join("gh"), PermissionsExt::from_mode(0o755)).unwrap();
    bin
}

#[test]
fn a_release_at_github_is_a_draft_until_it_is_whole() {
    let published = published();
    let dir = tempfile::tempdir().unwrap();
    let bin = fake_gh(dir.path(), false);
    let path = std::env::join_paths(
        [bin].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    )
    .unwrap();
    run(published.step("github", "0.1.0").env("PATH", &path)).code(0);
    let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
    let calls: Vec<&str> = calls.lines().collect();
    assert_eq!(calls.len(), 4, "{calls:?}");
    assert!(calls[1].starts_with("release create v0.1.0 --repo stigmer/stigmer --draft"), "{calls:?}");
    assert!(calls[1].contains("--verify-tag") && !calls[1].contains("--prerelease"), "{calls:?}");
    for file in [
        "releases.json ",
        "releases.json.minisig ",
        "SHA256SUMS ",
        "install.sh ",
        "stigmer-0.1.0.cdx.json ",
        "stigmer-0.1.0-darwin-arm64 ",
    ] {
        assert!(
            calls[2].starts_with("release upload v0.1.0") && calls[2].contains(file),
            "{file}: {calls:?}"
        );
    }
    assert!(calls[3].starts_with("release edit v0.1.0") && calls[3].contains("--draft=false"), "{calls:?}");
    let notes = std::fs::read_to_string(dir.path().join("notes")).unwrap();
    assert!(notes.contains("install.sh") && !notes.contains("## "), "{notes}");
    run(published.step("github", "7.7.7").env("PATH", &path))
        .code(1)
        .says(&["CHANGELOG.md has nothing below"]);
}

fn git(dir: &Path, args: &[&str]) -> Ran {
    run(Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(args))
    .code(0)
}

#[test]
fn the_tap_gets_the_formula_once() {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "--quiet", "--bare", "tap.git"]);
    git(dir.path(), &["clone", "--quiet", "tap.git", "work"]);
    std::fs::write(dir.path().join("work/README.md"), "a tap\n").unwrap();
    git(&dir.path().join("work"), &["add", "."]);
    git(&dir.path().join("work"), &["commit", "--quiet", "-m", "first"]);
    git(&dir.path().join("work"), &["push", "--quiet", "origin", "HEAD"]);
    let tap = || {
        run(published()
            .step("tap", NEW)
            .env("TAP", format!("file://{}", dir.path().join("tap.git").display())))
        .code(0)
    };
    assert!(tap().out.contains(&format!("the tap has {NEW}")));
    assert!(tap().out.contains("has it already"));
    let said = git(&dir.path().join("tap.git"), &["log", "--format=%s"]).out;
    assert_eq!(said, format!("stigmer {NEW}\nfirst\n"));
    let formula = git(&dir.path().join("tap.git"), &["show", "HEAD:Formula/stigmer.rb"]).out;
    assert_eq!(formula, std::fs::read_to_string(published().public().join(NEW).join("stigmer.rb")).unwrap());
}

#[test]
fn a_carrier_is_tried_on_its_own_system() {
    let ran = run(published().step("try", "").arg(&new().carrier).env_remove("STIGMER_HOME"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains(NEW) && ran.out.contains("stigmer is up at"), "{ran:?}");
}

#[test]
fn without_an_identity_carriers_stay_as_they_were_packed() {
    let ran = run(&mut published().step("sign", NEW)).code(0);
    assert!(ran.out.contains("signed ad hoc only, as APPLE_PKCS12 is not set"), "{ran:?}");
}
