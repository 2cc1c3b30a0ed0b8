//! `stigmer server install-service` with a systemd that is a script: it keeps a record of what it was told, and starts and ends
//! what the unit says.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use stigmer_test_support::server::terminal::Terminal;
use stigmer_test_support::server::{Platform, text};

/// Tells what it hears to the file `told`, and does it: what the unit says runs in a session of its own.
const SYSTEMCTL: &str = r#"#!/bin/sh
dir=${0%/*}
echo "$*" >>"$dir/told"
unit=$XDG_CONFIG_HOME/systemd/user/stigmer.service
alive() { [ -e "$dir/pid" ] && grep -qv ') Z ' "/proc/$(cat "$dir/pid")/stat" 2>/dev/null; }
stop() { if alive; then kill "$(cat "$dir/pid")"; while alive; do sleep 0.05; done; fi; }
start() {
    alive && return 0
    # A percent sign stands twice there, and a dollar sign in a path means nothing.
    command=$(sed -n 's/^ExecStart=//p' "$unit" | sed 's/%%/%/g; s/\$/\\$/g')
    (eval "exec setsid $command") </dev/null >"$dir/out" 2>&1 &
    echo $! >"$dir/pid"
    until grep -q 'stigmer is up' "$dir/out"; do alive || { cat "$dir/out" >&2; return 1; }; sleep 0.05; done
}
case "$*" in
"--user daemon-reload") [ ! -e "$dir/no-bus" ] || { echo 'Failed to connect to bus' >&2; exit 1; } ;;
"--user is-active --quiet stigmer.service") alive ;;
"--user enable stigmer.service") ;;
"--user start stigmer.service") start ;;
"--user restart stigmer.service") stop; start ;;
"--user disable --now stigmer.service") stop ;;
*) exit 64 ;;
esac
"#;

/// An executable that carries a small agent-runner, so that it needs nothing else to start.
fn carrier() -> &'static Path {
    static CARRIER: OnceLock<PathBuf> = OnceLock::new();
    CARRIER.get_or_init(|| {
        let tree = tempfile::tempdir().expect("a directory");
        let about =
            r#"{"name":"agent-runner","version":"1.0","entrypoint":"run","self_check":["--self-check"]}"#;
        fs_err::write(tree.path().join("component.json"), about).expect("written");
        let script = format!(
            "#!/bin/sh\n[ \"$1\" != --self-check ] || exit 0\n{}\n",
            stigmer_test_support::server::GOOD
        );
        executable(&tree.path().join("run"), &script);
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("service-carrier");
        let bare = env!("CARGO_BIN_EXE_stigmer");
        let packed = Command::new(bare)
            .args(["bundle", "pack", "--level", "1", "--base", bare, "--component"])
            .arg(format!("agent-runner={}", tree.path().display()))
            .arg("--out")
            .arg(&out)
            .output()
            .expect("stigmer runs");
        assert!(packed.status.success(), "{}", text(&packed));
        out
    })
}

fn executable(path: &Path, text: &str) {
    fs_err::write(path, text).expect("written");
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("set");
}

/// A person's machine: a program that is installed, a service manager, and a home.
struct Machine {
    platform: Platform,
    dir: tempfile::TempDir,
    /// The stable path of the program.
    program: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let platform = Platform::new("exit 1").config("[server]\nport = 0\n");
        let dir = tempfile::tempdir().expect("a directory");
        let bin = dir.path().join("my bin 100% $HOME");
        fs_err::create_dir_all(&bin).expect("made");
        let program = bin.join("stigmer");
        symlink(carrier(), &program).expect("linked");
        executable(&bin.join("systemctl"), SYSTEMCTL);
        Self { platform, dir, program }
    }

    fn unit(&self) -> PathBuf {
        self.dir.path().join("config/systemd/user/stigmer.service")
    }

    fn bin(&self) -> &Path {
        self.program.parent().expect("a parent")
    }

    /// What the service manager was told.
    fn told(&self) -> Vec<String> {
        let text = fs_err::read_to_string(self.bin().join("told")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn command(&self, args: &[&str]) -> Command {
        let path = std::env::var("PATH").expect("set");
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("STIGMER_HOME", &self.platform.home)
            .env("XDG_CONFIG_HOME", self.dir.path().join("config"))
            .env("PATH", format!("{}:{path}", self.bin().display()))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("stigmer runs")
    }
}

#[test]
fn a_service_is_shown_installed_run_and_removed() {
    let machine = Machine::new();
    // By the path where this version lies; what is written is the link that will stay.
    let mut print = Command::new(carrier());
    for (key, value) in machine.command(&[]).get_envs() {
        print.env(key, value.expect("set"));
    }
    let print = print.args(["server", "install-service", "--print"]);
    let command = "service-carrier";
    assert!(text(&print.output().expect("stigmer runs")).contains(command), "no other name is known");
    let shown = machine.run(&["server", "install-service", "--print"]);
    let unit = String::from_utf8_lossy(&shown.stdout).into_owned();
    let program = machine.program.display().to_string().replace('%', "%%");
    assert!(unit.contains(&format!("ExecStart=\"{program}\" server start --foreground\n")), "{unit}");
    assert!(!machine.unit().exists() && machine.told().is_empty());
    // Nobody is there to be asked.
    let unasked = machine.run(&["server", "install-service"]);
    assert_eq!(unasked.status.code(), Some(2), "{}", text(&unasked));
    assert!(text(&unasked).contains("ExecStart=") && text(&unasked).contains("--yes"), "{}", text(&unasked));
    assert!(!machine.unit().exists() && machine.told().is_empty());
    // What runs in the background makes room.
    let background = machine.run(&["server", "start"]);
    assert!(background.status.success(), "{}", text(&background));
    let output = machine.run(&["server", "install-service", "--yes"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("stopped what was running"), "{}", text(&output));
    assert_eq!(fs_err::read_to_string(machine.unit()).expect("written"), unit);
    assert_eq!(
        machine.told(),
        [
            "--user daemon-reload",
            "--user is-active --quiet stigmer.service",
            "--user enable stigmer.service",
            "--user restart stigmer.service",
        ]
    );
    let first = machine.platform.status();
    assert_eq!(first["ready"], true);
    // Again: it is left alone.
    let again = machine.run(&["server", "install-service", "--yes"]);
    assert!(again.status.success() && text(&again).contains("is there already"), "{}", text(&again));
    assert_eq!(machine.platform.status()["instance"], first["instance"]);
    // A restart is the manager's affair, for otherwise it would not be the service any more.
    let options = machine.run(&["server", "restart", "--port", "1"]);
    assert_eq!(options.status.code(), Some(2), "{}", text(&options));
    let restart = machine.run(&["server", "restart"]);
    assert!(restart.status.success(), "{}", text(&restart));
    assert_eq!(machine.told().last().map(String::as_str), Some("--user restart stigmer.service"));
    assert_ne!(machine.platform.status()["instance"], first["instance"]);
    // From another shell, with another home: it is the service's own that is ended.
    let other = tempfile::tempdir().expect("a directory");
    let output = machine
        .command(&["server", "uninstall-service"])
        .env("STIGMER_HOME", other.path())
        .output()
        .expect("stigmer runs");
    assert!(output.status.success(), "{}", text(&output));
    assert!(!machine.unit().exists());
    assert!(machine.told().contains(&"--user disable --now stigmer.service".to_owned()));
    machine.platform.assert_clean();
    let nothing = machine.run(&["server", "uninstall-service"]);
    assert!(nothing.status.success() && text(&nothing).contains("no service"), "{}", text(&nothing));
}

#[test]
fn without_a_service_manager_the_file_is_written_and_the_commands_are_named() {
    let machine = Machine::new();
    let run = |args: &[&str], alone: bool| {
        let mut command = machine.command(args);
        if alone {
            command.env("PATH", "/nowhere");
        }
        command.output().expect("stigmer runs")
    };
    fs_err::write(machine.bin().join("no-bus"), "").expect("written");
    for alone in [false, true] {
        let output = run(&["server", "install-service", "--yes"], alone);
        let words = text(&output);
        assert_eq!(output.status.code(), Some(69), "{words}");
        assert!(machine.unit().exists());
        assert!(words.contains("hint: when it can be: `systemctl --user daemon-reload && "), "{words}");
        assert!(
            words.contains(if alone { "is not installed" } else { "Failed to connect to bus" }),
            "{words}"
        );
        // What systemd has made of it by hand.
        let wants = machine.unit().with_file_name("default.target.wants");
        fs_err::create_dir_all(&wants).expect("made");
        symlink(machine.unit(), wants.join("stigmer.service")).expect("linked");
        // It may have been started by hand as well.
        assert!(machine.run(&["server", "start"]).status.success());
        // From a shell with another home: the one that is meant stands in the file.
        let mut command = machine.command(&["server", "uninstall-service"]);
        command.env("PATH", "/nowhere").env("STIGMER_HOME", machine.dir.path().join("another"));
        let output = command.output().expect("stigmer runs");
        assert!(output.status.success(), "{}", text(&output));
        assert!(!machine.unit().exists());
        assert!(fs_err::read_dir(&wants).expect("listed").next().is_none());
        machine.platform.assert_clean();
    }
}

#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    let machine = Machine::new();
    let unit = machine.unit();
    fs_err::create_dir_all(unit.parent().expect("a parent")).expect("made");
    fs_err::write(&unit, "[Service]\nExecStart=/bin/true\n").expect("written");
    let elsewhere = machine.dir.path().join("elsewhere");
    for linked in [false, true] {
        if linked {
            // Ours by its words, but a link: somebody keeps such files elsewhere.
            fs_err::remove_file(&unit).expect("removed");
            let ours = machine.run(&["server", "install-service", "--print"]);
            fs_err::write(&elsewhere, ours.stdout).expect("written");
            symlink(&elsewhere, &unit).expect("linked");
        }
        let before = fs_err::read(&unit).expect("read");
        let output = machine.run(&["server", "install-service", "--yes"]);
        assert_eq!(output.status.code(), Some(73), "{}", text(&output));
        let output = machine.run(&["server", "uninstall-service"]);
        assert_eq!(output.status.code(), Some(77), "{}", text(&output));
        assert_eq!(fs_err::read(&unit).expect("read"), before);
        assert!(machine.told().is_empty());
    }
    machine.platform.assert_clean();
}

#[test]
fn a_service_that_does_not_start_is_a_failure_that_says_why() {
    let machine = Machine::new();
    let path = machine.platform.home.join("config.toml");
    let output = {
        // What the unit runs fails, though everything looked well when it was written.
        let systemctl = SYSTEMCTL.replace("(eval", "echo 'prot = 1' >\"$STIGMER_HOME/config.toml\"; (eval");
        executable(&machine.bin().join("systemctl"), &systemctl);
        machine.run(&["server", "install-service", "--yes"])
    };
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let words = text(&output);
    assert!(words.contains("does not start") && words.contains("prot"), "{words}");
    assert!(words.contains("journalctl --user"), "{words}");
    fs_err::write(path, "").expect("written");
    assert!(machine.run(&["server", "uninstall-service"]).status.success());
    machine.platform.assert_clean();
}

#[test]
fn a_person_is_asked() {
    let machine = Machine::new();
    fs_err::write(machine.bin().join("no-bus"), "").expect("written");
    let mut terminal = Terminal::open(&machine.command(&["server", "install-service"]));
    terminal.until("Install it? [y/N]");
    terminal.press(b'\n');
    terminal.until("nothing was installed");
    assert!(!machine.unit().exists());
    let mut terminal = Terminal::open(&machine.command(&["server", "install-service"]));
    terminal.until("Install it? [y/N]");
    terminal.press(b'y');
    terminal.press(b'\n');
    terminal.until("is written");
    assert!(machine.unit().exists());
    machine.platform.assert_clean();
}

#[test]
fn systemd_understands_the_unit() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        let mut said = std::io::stderr();
        std::io::Write::write_all(&mut said, b"skipped: this machine has no systemd-analyze\n")
            .expect("said");
        return;
    }
    let machine = Machine::new();
    let shown = machine.run(&["server", "install-service", "--print"]);
    let unit = machine.dir.path().join("stigmer.service");
    fs_err::write(&unit, shown.stdout).expect("written");
    let runtime = machine.dir.path().join("run");
    fs_err::create_dir_all(&runtime).expect("made");
    let output = Command::new("systemd-analyze")
        .args(["verify", "--user"])
        .arg(&unit)
        .env("XDG_RUNTIME_DIR", &runtime)
        .output()
        .expect("it runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output));
    machine.platform.assert_clean();
}
