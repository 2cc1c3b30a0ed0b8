//! Homebrew's formula: what it says, and what becomes of an installation that Homebrew looks after. `tests/brew/play.rb` plays Homebrew.

use crate::desk::which;
use crate::release::{published, serve};
use serde_json::Value;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use stigmer::update::Target;
use stigmer_test_support::update::{Host, NEW, OLD, run};
use stigmer_test_support::{Ran, eventually};

/// An ordinary user: nobody. Who is root is not held up by a read-only Cellar.
const NOBODY: u32 = 65534;

fn formula(version: &str) -> PathBuf {
    published().public().join(version).join("stigmer.rb")
}

fn play() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/brew/play.rb")
}

#[test]
fn each_system_gets_its_own_carrier_by_its_published_checksum() {
    let sums = std::fs::read_to_string(published().public().join(NEW).join("SHA256SUMS")).unwrap();
    for system in ["darwin-arm64", "darwin-amd64", "linux-arm64", "linux-amd64"] {
        let ran = run(Command::new(which("ruby"))
            .arg(play())
            .arg(formula(NEW))
            .arg("--describe")
            .env("PLAY_AS", system))
        .code(0);
        let said: Value = ran.json();
        let name = format!("stigmer-{NEW}-{system}");
        assert_eq!(said["url"], format!("https://releases.stigmer.ai/{NEW}/{system}/{name}"));
        let line = format!("{}  {name}\n", said["sha256"].as_str().unwrap());
        assert!(sums.contains(&line), "{line} is not in {sums}");
        assert_eq!(said["version"], NEW);
        assert_eq!(said["livecheck"], "https://releases.stigmer.ai/releases.json");
        assert_eq!(said["newest"], serde_json::json!(["1.0.0"]), "a pre-release is none of Homebrew's");
        assert_eq!(said["service"]["run"][0], "/opt/homebrew/opt/stigmer/bin/stigmer");
    }
}

#[test]
fn ruby_and_its_style_agree() {
    run(Command::new(which("ruby")).arg("-wc").arg(formula(NEW))).code(0);
    // A restart by stigmer itself would take what runs away from `brew services`.
    assert!(std::fs::read_to_string(formula(NEW)).unwrap().contains("`brew services restart stigmer`"));
    let style = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/brew/rubocop.yml");
    let ran = run(Command::new(which("rubocop"))
        .args(["--cache", "false", "--config"])
        .arg(style)
        .arg(formula(NEW))
        .env("HOME", std::env::temp_dir()));
    assert_eq!(ran.code, Some(0), "{}", ran.out);
}

#[test]
fn a_release_without_one_of_the_four_makes_no_formula() {
    let dir = tempfile::tempdir().unwrap();
    let listing = std::fs::read_to_string(published().public().join("releases.json")).unwrap();
    let tool = |text: &str, version: &str| {
        std::fs::write(dir.path().join("releases.json"), text).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(which("python3"));
        command.arg(root.join("packaging/formula.py")).args(["--version", version, "--base", "https://host"]);
        command.arg("--listing").arg(dir.path().join("releases.json"));
        run(command.arg("--out").arg(dir.path().join("stigmer.rb")))
    };
    tool(&listing.replace(&format!("stigmer-{NEW}-darwin-arm64\""), "other\""), NEW)
        .code(1)
        .says(&["has no darwin-arm64"]);
    tool(&listing, "1.1.1").code(1).says(&["there is no version 1.1.1"]);
    tool(&listing.replace("\"schema\": 1", "\"schema\": 2").replace("\"schema\":1", "\"schema\":2"), NEW)
        .code(1)
        .says(&["schema is 2"]);
    let evil = listing.replace(&format!("{NEW}/darwin-arm64/"), "#{system('x')}/");
    tool(&evil, NEW).code(1).says(&["does not belong into a formula"]);
    assert!(!dir.path().join("stigmer.rb").exists());
}

/// A Homebrew of an ordinary user.
struct Brew {
    dir: tempfile::TempDir,
    host: Host,
}

impl Brew {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("stigmer-brew-").tempdir().expect("a directory");
        let brew = Self { dir, host: serve(&published().public()) };
        for name in ["home", "brew", "tmp"] {
            std::fs::create_dir(brew.path(name)).expect("mkdir");
            if is_root() {
                chown(brew.path(name), Some(NOBODY), Some(NOBODY)).expect("chown");
            }
        }
        std::fs::set_permissions(brew.dir.path(), PermissionsExt::from_mode(0o755)).expect("chmod");
        brew
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().expect("a path").join(name)
    }

    fn exe(&self) -> PathBuf {
        self.path("brew/bin/stigmer")
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("PLAY_AS", Target::own().expect("a target").as_str())
            .env("STIGMER_RELEASES_URL", self.host.url())
            .current_dir(self.path("home"));
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn stigmer(&self, args: &[&str]) -> Ran {
        run(self.command(&self.exe()).args(args))
    }

    /// `brew install`, or `brew upgrade` as far as it installs.
    fn install(&self, version: &str) {
        let text = std::fs::read_to_string(formula(version)).expect("a formula");
        let text = text.replace("https://releases.stigmer.ai", &self.host.url());
        let file = self.path(&format!("stigmer-{version}.rb"));
        std::fs::write(&file, text).expect("written");
        let script = self.path("play.rb");
        std::fs::copy(play(), &script).expect("copied");
        run(self.command(&which("ruby")).arg(&script).arg(&file).arg(self.path("brew"))).code(0);
    }

    fn keg(&self, version: &str) -> PathBuf {
        self.path("brew/Cellar/stigmer").join(version)
    }

    /// Everything in a keg: its path, mode, size, and when it was changed.
    fn state(&self, version: &str) -> String {
        run(Command::new("find").arg(self.keg(version)).args(["-printf", "%P %m %s %C@\n"])).code(0).out
    }
}

impl Drop for Brew {
    fn drop(&mut self) {
        if self.path("home/.stigmer/run/server.json").exists() {
            let _ = self.command(&self.exe()).args(["server", "stop", "--now"]).output();
        }
        let _ = Command::new("chmod").arg("-R").arg("u+w").arg(self.dir.path()).status();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn it_lives_in_a_read_only_cellar_and_outlives_an_upgrade() {
    let brew = Brew::new();
    brew.install(OLD);
    let exe = brew.keg(OLD).join("bin/stigmer");
    assert_eq!(exe.metadata().unwrap().permissions().mode() & 0o7777, 0o555);
    assert!(brew.exe().is_symlink());
    for file in [
        "etc/bash_completion.d/stigmer",
        "share/zsh/site-functions/_stigmer",
        "share/fish/vendor_completions.d/stigmer.fish",
        "share/man/man1/stigmer.1",
        "share/man/man1/stigmer-server.1",
    ] {
        assert!(brew.keg(OLD).join(file).metadata().is_ok_and(|meta| meta.len() > 100), "{file}");
    }
    let before = brew.state(OLD);
    let ran = brew.stigmer(&["server", "start", "--port", "0", "--json"]).code(0);
    let started: Value = ran.json();
    brew.stigmer(&["cache", "verify"]).code(0);
    brew.stigmer(&["self-update"]).code(5).says(&["Homebrew", "brew upgrade stigmer"]);
    brew.stigmer(&["server", "update"]).code(5).says(&["brew upgrade stigmer"]);
    assert!(brew.host.take_log().iter().all(|request| !request.path.ends_with("releases.json")));
    assert_eq!(brew.state(OLD), before, "nothing is written into the Cellar");

    // The upgrade: the new keg, the links, and then the old keg is gone, all while the platform runs.
    brew.install(NEW);
    run(Command::new("chmod").args(["-R", "u+w"]).arg(brew.keg(OLD))).code(0);
    std::fs::remove_dir_all(brew.keg(OLD)).unwrap();
    let component = |name: &str| {
        let status: Value = brew.stigmer(&["server", "status", "--json"]).code(0).json();
        let components = status["components"].as_array().unwrap().clone();
        components.into_iter().find(|component| component["name"] == name).unwrap()
    };
    for name in ["workflow-runner", "agent-runner"] {
        let pid = component(name)["pid"].as_u64().unwrap().to_string();
        run(Command::new("kill").args(["-9", &pid])).code(0);
        eventually("it is started again", || {
            let now = component(name);
            (now["phase"] == "ready" && now["pid"].as_u64().unwrap().to_string() != pid).then_some(())
        });
    }
    let status: Value = brew.stigmer(&["server", "status", "--json"]).code(0).json();
    assert_eq!((&status["version"], &status["instance"]), (&OLD.into(), &started["instance"]));
    assert_eq!(status["differs"]["running"], "older", "{status}");
    brew.stigmer(&["server", "restart"]).code(0);
    let status: Value = brew.stigmer(&["server", "status", "--json"]).code(0).json();
    assert_eq!((&status["version"], &status["differs"]), (&NEW.into(), &Value::Null));
    brew.stigmer(&["server", "stop"]).code(0);
}

/// On Linux, Homebrew gives whatever it has as a bottle another interpreter and another search path, and so writes the file anew.
#[test]
fn what_homebrew_does_to_elf_leaves_the_bundle_whole() {
    let brew = Brew::new();
    brew.install(OLD);
    let copy = brew.path("tmp/stigmer");
    std::fs::copy(brew.keg(OLD).join("bin/stigmer"), &copy).unwrap();
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
    let patchelf = |args: &[&str]| run(Command::new(which("patchelf")).args(args).arg(&copy));
    let interpreter = patchelf(&["--print-interpreter"]);
    if interpreter.code == Some(0) {
        // A path of another length, so that something has to move.
        let linked = brew.path("tmp/an interpreter with a much longer name than the one of the system");
        std::os::unix::fs::symlink(interpreter.out.trim(), &linked).unwrap();
        patchelf(&["--set-interpreter", linked.to_str().unwrap()]).code(0);
    }
    patchelf(&[
        "--force-rpath",
        "--set-rpath",
        "/home/linuxbrew/.linuxbrew/lib:/home/linuxbrew/.linuxbrew/opt/gcc/lib",
    ])
    .code(0);
    let home = brew.path("tmp/home");
    let run_it = |args: &[&str]| run(Command::new(&copy).args(args).env("STIGMER_HOME", &home));
    // The code is not what was packed, and that is said; what it carries is.
    let ran = run_it(&["bundle", "verify"]).code(8);
    assert!(ran.out.contains("bundle intact"), "{ran:?}");
    run_it(&["cache", "warm"]).code(0);
    run_it(&["cache", "verify"]).code(0);
}
