//! An agent-runner that is published by itself: `stigmer bundle publish-runner`, and `stigmer server --version NAME`.

use crate::release::serve;
use crate::steps::Taker;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use stigmer::update::Target;
use stigmer_test_support::Ran;
use stigmer_test_support::update::{Do, Signer, World, old, run, signer};

/// What somebody publishes: a directory as a static host serves it.
struct Shelf {
    dir: tempfile::TempDir,
}

impl Shelf {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    fn public(&self) -> PathBuf {
        self.dir.path().join("public")
    }

    /// Publishes a runner that says `text`.
    fn publish(&self, name: &str, text: &str, issued: &str, key: &Path) -> Ran {
        let tree = self.dir.path().join("tree");
        let _ = std::fs::remove_dir_all(&tree);
        run(Command::new("cp").arg("-R").arg(old().carrier.with_file_name("tree")).arg(&tree)).code(0);
        let about =
            r#"{"name":"agent-runner","version":"2.0","entrypoint":"run","self_check":["--self-check"]}"#;
        std::fs::write(tree.join("component.json"), about).expect("written");
        let program = std::fs::read_to_string(tree.join("run")).expect("read");
        std::fs::write(tree.join("run"), program + "# " + text + "\n").expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_stigmer"));
        command.args([
            "bundle",
            "publish-runner",
            "--level",
            "1",
            "--json",
            "--name",
            name,
            "--issued",
            issued,
        ]);
        command.arg("--tree").arg(&tree).arg("--key").arg(key).arg("--out").arg(self.public());
        run(&mut command)
    }

    fn path(&self, name: &str, file: &str) -> PathBuf {
        self.public().join(name).join(Target::own().expect("a target").as_str()).join(file)
    }
}

const DAY_1: &str = "2026-03-01T12:00:00Z";
const DAY_2: &str = "2026-03-02T12:00:00Z";

/// A world whose host has one runner, `dev-test`, and what was published of it.
fn world() -> (World, Shelf, Value) {
    let shelf = Shelf::new();
    let index = shelf.publish("dev-test", "first", DAY_1, &signer().file()).code(0).json();
    let mut world = World::with(Vec::new());
    world.host = serve(&shelf.public());
    (world, shelf, index)
}

fn start(world: &World, name: &str) -> Ran {
    world.run(&["server", "start", "--port", "0", "--version", name])
}

fn status(world: &World) -> Value {
    world.run(&["server", "status", "--json"]).code(0).json()
}

#[test]
fn it_runs_is_shown_and_comes_back() {
    let (mut world, shelf, index) = world();
    start(&world, "dev-test").code(0);
    let shown = status(&world);
    assert_eq!((&shown["runner"], &shown["payload"]), (&"dev-test".into(), &index["payload"]), "{shown}");
    let agent =
        shown["components"].as_array().unwrap().iter().find(|c| c["name"] == "agent-runner").unwrap().clone();
    assert_eq!(agent["payload"], index["payload"]);
    assert!(world.run(&["server", "status"]).code(0).out.contains("published as `dev-test`"));
    let fetched = world.host.take_log();
    assert_eq!(fetched.iter().filter(|request| request.path.ends_with(".bundle")).count(), 1);

    // A restart keeps it, and asks nobody.
    world.run(&["server", "restart"]).code(0);
    assert_eq!(status(&world)["runner"], "dev-test");
    assert!(world.host.take_log().is_empty());
    world.run(&["server", "stop"]).code(0);

    // The next start asks whether it is still the same, and fetches nothing.
    start(&world, "dev-test").code(0);
    assert!(!world.host.take_log().iter().any(|request| request.path.ends_with(".bundle")));
    world.run(&["server", "stop"]).code(0);

    // The same name is given to another one.
    let second = shelf.publish("dev-test", "second", DAY_2, &signer().file()).code(0).json();
    assert_ne!(second["payload"], index["payload"]);
    world.host = serve(&shelf.public());
    start(&world, "dev-test").code(0);
    assert_eq!(status(&world)["payload"], second["payload"]);
    world.run(&["server", "restart", "--use-local-binary", "/nowhere"]).says(&["/nowhere"]);
    world.run(&["server", "stop"]).code(0);

    // Without a host what is here will do; damage is repaired from what was fetched.
    let payload = second["payload"].as_str().unwrap();
    let damaged = world.home().join("store/v1").join(payload).join("lib/3.bin");
    // As another file: the older entry has a link to this one.
    stigmer::platform::set_mode(damaged.parent().unwrap(), 0o755).unwrap();
    std::fs::remove_file(&damaged).unwrap();
    std::fs::write(&damaged, "damaged").unwrap();
    world.host.rule(|_| Do::Status(404, ""));
    start(&world, "dev-test").code(69).says(&["no agent-runner is published as `dev-test`"]);
    world.host.rule(|_| Do::Status(403, ""));
    start(&world, "dev-test").code(0).says(&["is here already"]);
    assert_eq!(status(&world)["payload"], second["payload"]);
    world.run(&["cache", "verify"]).code(0);
    // What runs is not collected; what nobody asks for any more is.
    let kept = world.home().join("runners/dev-test.bundle");
    world.run(&["cache", "gc", "--max-age", "0s"]).code(0);
    assert!(kept.exists());
    world.run(&["server", "stop"]).code(0);
    world.run(&["cache", "gc"]).code(0);
    assert!(kept.exists(), "it was asked for a moment ago");
    let collected = world.run(&["cache", "gc", "--max-age", "0s", "--json"]).code(0).json();
    assert_eq!(collected["runners"][0]["name"], "dev-test", "{collected}");
    assert!(!kept.exists());

    // And the bundled one comes back when no name is given.
    world.run(&["server", "start", "--port", "0"]).code(0);
    let shown = status(&world);
    assert_eq!((&shown["runner"], &shown["local_binary"]), (&Value::Null, &Value::Null));
    assert_ne!(shown["payload"], second["payload"]);
    world.run(&["server", "stop"]).code(0);
}

#[test]
fn what_is_not_signed_by_whom_one_trusts_for_this_name_never_runs() {
    let (mut world, shelf, _) = world();
    let refused = |world: &World, name: &str, code: i32, words: &[&str]| {
        start(world, name).code(code).says(words).says(&["hint:"]);
        world.run(&["server", "status"]).code(3);
        assert!(!world.home().join("runners").join(format!("{name}.bundle")).exists());
    };
    refused(&world, "nothing", 69, &["no agent-runner is published as `nothing`", "/nothing/"]);
    start(&world, "../x").code(2).says(&["a name has 1 to 64 letters"]);

    world.host.change("agent-runner.bundle", |bytes| bytes[5000] ^= 1);
    refused(&world, "dev-test", 65, &["agent-runner.bundle", "does not match its signed digest"]);
    world.host = serve(&shelf.public());
    world.host.change("agent-runner.json", |bytes| {
        *bytes = String::from_utf8(bytes.clone()).unwrap().replace("\"2.0\"", "\"2.1\"").into_bytes();
    });
    refused(&world, "dev-test", 65, &["is not of these bytes"]);
    world.host = serve(&shelf.public());
    world.host.remove("agent-runner.json.minisig");
    refused(&world, "dev-test", 65, &["is not signed"]);

    // The name of one runner is not a way to another.
    run(Command::new("cp").arg("-R").arg(shelf.public().join("dev-test")).arg(shelf.public().join("stable")))
        .code(0);
    world.host = serve(&shelf.public());
    refused(&world, "stable", 65, &["was signed as"]);

    let stranger = Signer::new();
    shelf.publish("strange", "by somebody", DAY_1, &stranger.file()).code(0);
    world.host = serve(&shelf.public());
    refused(&world, "strange", 65, &["which this stigmer does not trust"]);
    std::fs::write(world.home().join("config.toml"), "").unwrap();
    refused(&world, "dev-test", 78, &["built without a release key"]);
    assert!(shelf.path("dev-test", "agent-runner.bundle").exists());
}

#[test]
fn an_older_one_under_the_same_name_is_not_brought_back() {
    let (mut world, shelf, _) = world();
    let first = shelf.public();
    run(Command::new("cp").arg("-R").arg(&first).arg(shelf.dir.path().join("first"))).code(0);
    shelf.publish("dev-test", "second", DAY_2, &signer().file()).code(0);
    world.host = serve(&shelf.public());
    start(&world, "dev-test").code(0);
    world.run(&["server", "stop"]).code(0);
    world.host = serve(&shelf.dir.path().join("first"));
    start(&world, "dev-test").code(65).says(&[
        "the agent-runner `dev-test` was issued on 2026-03-01T12:00:00Z",
        "runners/dev-test.bundle.json",
    ]);
}

/// `make upload-binary`, and from there to somebody else's machine.
#[test]
fn what_was_uploaded_is_run_elsewhere() {
    let mut taker = Taker::new(&["bearer", "secret"]);
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let upload = |more: &[(&str, &str)]| {
        let mut command = Command::new("sh");
        command.arg(root.join("packaging/upload-binary.sh")).env("STIGMER", env!("CARGO_BIN_EXE_stigmer"));
        command.env("TREE", old().carrier.with_file_name("tree")).env("OUT", dir.path().join("out"));
        command.env("VERSION", "dev-test").env("KEY", signer().file()).env_remove("UPLOAD_TO");
        run(command.env("UPLOAD_TOKEN", "secret").envs(more.iter().copied()))
    };
    std::fs::create_dir(dir.path().join("out")).unwrap();
    let others = dir.path().join("out/somebody's");
    std::fs::write(&others, "else").unwrap();
    assert!(upload(&[]).code(0).out.contains("UPLOAD_TO is not set"));
    assert!(others.exists(), "what is not of this runner stays");
    upload(&[("VERSION", "github")]).code(2).says(&["a name that releases take"]);
    upload(&[("UPLOAD_TO", &format!("http://127.0.0.1:{}/stigmer", taker.port))]).code(0);
    let requests = taker.requests("agent-runner.json.minisig");
    assert!(requests.iter().all(|one| one[0] == "200" && one[3] == "no-cache"), "{requests:?}");
    assert!(upload(&[("KEY", "")]).err.contains("KEY"));

    let mut world = World::with(Vec::new());
    world.host = serve(&taker.dir.path().join("stigmer"));
    start(&world, "dev-test").code(0);
    assert_eq!(status(&world)["runner"], "dev-test");
    world.run(&["server", "stop"]).code(0);

    let refuse =
        |args: &[&str]| run(Command::new("sh").arg(root.join("packaging/own-platform.sh")).args(args));
    refuse(&["amiga", "68k"]).code(1).says(&["cannot be built on linux-", "hint:"]);
    refuse(&[]).code(0);
}

#[test]
fn what_checks_a_signature_checks_this_one_too() {
    let (_world, shelf, index) = world();
    let file = shelf.path("dev-test", "agent-runner.json");
    let mut command = Command::new("minisign");
    let ran = run(command.arg("-VQm").arg(&file).args(["-P", &signer().public()])).code(0);
    assert_eq!(ran.out, format!("stigmer runner dev-test {}\n", Target::own().unwrap()));
    let verified = run(Command::new(env!("CARGO_BIN_EXE_stigmer"))
        .args(["bundle", "verify"])
        .arg(shelf.path("dev-test", "agent-runner.bundle")))
    .code(0);
    assert!(verified.out.contains("bundle intact") || verified.err.contains("bundle intact"), "{verified:?}");
    let sum = run(Command::new("sha256sum").arg(shelf.path("dev-test", "agent-runner.bundle"))).code(0).out;
    assert!(sum.starts_with(index["bundle"]["sha256"].as_str().unwrap()), "{sum}");
}
