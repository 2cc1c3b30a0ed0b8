//! `stigmer server` in a home where something is not what it should be: read-only, of somebody else, a file that is a directory.
//! It says what and where, in bounded time, and believes nothing that cannot be.

use rustix::process::{Signal, geteuid};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use stigmer_test_support::namespace::{MOUNTS, inside, mount};
use stigmer_test_support::server::{Platform, component, pid, signal, text};
use stigmer_test_support::{eventually, test_name};

const GOOD: [&str; 2] = ["ready", "wait"];

/// Nobody: somebody else, if the tests run as root.
const NOBODY: u32 = 65534;

/// A platform that has run.
fn used() -> Platform {
    let platform = Platform::acting(&GOOD);
    platform.start();
    platform.stop();
    platform.assert_clean();
    platform
}

#[track_caller]
fn says(output: &Output, code: i32, expected: &[&str]) {
    let words = text(output);
    assert_eq!(output.status.code(), Some(code), "{words}");
    for word in expected {
        assert!(words.contains(word), "{word:?} is missing: {words}");
    }
    assert!(!words.contains("panicked"), "{words}");
}

/// Runs the command as an ordinary user.
fn as_nobody(mut command: Command) -> Output {
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().expect("stigmer runs")
}

fn set_mode(path: &Path, mode: u32) {
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
}

/// Makes what is seen at the home's path read-only.
fn freeze(platform: &Platform) {
    let home = platform.home.to_str().expect("text");
    mount(&["--bind", home], &platform.home);
    mount(&["-o", "remount,bind,ro"], &platform.home);
}

fn thaw(platform: &Platform) {
    assert!(Command::new("umount").arg("-l").arg(&platform.home).status().expect("runs").success());
}

#[test]
fn a_read_only_home_is_said_by_each_command() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let home = |platform: &Platform| platform.home.display().to_string();
    let fresh = Platform::acting(&GOOD);
    std::fs::create_dir(&fresh.home).expect("made");
    for platform in [fresh, used()] {
        freeze(&platform);
        says(&platform.try_start(&[]), 73, &["ead-only", &home(&platform), "hint: set STIGMER_HOME"]);
        says(&platform.run(&["server", "status"]), 3, &["not running"]);
        says(&platform.run(&["server", "stop"]), 0, &["nothing runs"]);
        assert!(platform.run(&["server", "logs"]).status.success());
        let doctor = platform.run(&["doctor"]);
        assert!(!doctor.status.success() && text(&doctor).contains("ead-only"), "{}", text(&doctor));
        thaw(&platform);
        platform.start();
        platform.stop();
        platform.assert_clean();
    }
}

#[test]
fn a_home_that_becomes_read_only_can_be_asked_and_stopped() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let platform = Platform::acting(&GOOD);
    let first = platform.start();
    freeze(&platform);
    let status = platform.status();
    assert_eq!((&status["ready"], &status["instance"]), (&true.into(), &first["instance"]));
    signal(pid(component(&status, "agent-runner")), Signal::KILL);
    eventually("it is started again", || {
        let status = platform.status();
        let agent = component(&status, "agent-runner");
        (agent["phase"] == "ready" && agent["restarts"] == 1).then_some(())
    });
    assert!(platform.run(&["server", "logs"]).status.success());
    says(&platform.run(&["server", "stop"]), 0, &["stopped"]);
    assert_eq!(platform.processes(), [0_u32; 0]);
    says(&platform.run(&["server", "status"]), 3, &["not running"]);
    says(&platform.try_start(&[]), 73, &["ead-only", "hint: set STIGMER_HOME"]);
    thaw(&platform);
    platform.start();
    platform.stop();
    platform.assert_clean();
}

/// The record of what runs can be anything. It is never waited for, and the next start replaces it or says why not.
#[test]
fn a_record_that_is_none_stops_nobody() {
    let platform = used();
    let record = platform.home.join("run/server.json");
    let deep = "[".repeat(100_000);
    for text in ["", "{", "null", "[]", "\u{0}", "{\"schema\":1}", deep.as_str()] {
        fs_err::write(&record, text).expect("written");
        says(&platform.run(&["server", "status"]), 3, &["not running"]);
        says(&platform.run(&["server", "stop"]), 0, &["nothing runs"]);
    }
    platform.start();
    platform.stop();
    let huge = fs_err::File::create(&record).expect("created");
    huge.set_len(1 << 40).expect("sparse");
    let say_so = |platform: &Platform| {
        says(&platform.run(&["server", "status"]), 3, &["not running"]);
        says(&platform.run(&["server", "stop"]), 0, &["nothing runs"]);
    };
    say_so(&platform);
    platform.start();
    platform.stop();
    platform.assert_clean();
    // A pipe that nobody writes to.
    rustix::fs::mkfifoat(rustix::fs::CWD, &record, rustix::fs::Mode::RUSR).expect("made");
    say_so(&platform);
    platform.start();
    platform.stop();
    platform.assert_clean();
    symlink("/dev/zero", &record).expect("linked");
    say_so(&platform);
    platform.start();
    platform.stop();
    platform.assert_clean();
    // This one cannot be replaced, and is somebody's on purpose.
    std::fs::create_dir(&record).expect("made");
    say_so(&platform);
    says(&platform.try_start(&[]), 74, &["run/server.json", "irectory"]);
    std::fs::remove_dir(&record).expect("removed");
    platform.start();
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_directory_of_the_home_that_is_none_is_named() {
    for name in ["run", "logs", "locks", "data"] {
        let platform = used();
        let path = platform.home.join(name);
        let away = platform.path("away");
        fs_err::rename(&path, &away).expect("moved");
        let stop = |platform: &Platform| {
            says(&platform.run(&["server", "stop"]), 0, &["nothing runs"]);
            assert_eq!(platform.processes(), [0_u32; 0]);
        };
        fs_err::write(&path, "not a directory").expect("written");
        let output = platform.try_start(&[]);
        says(&output, output.status.code().filter(|code| *code != 0).expect("a failure"), &[name]);
        stop(&platform);
        fs_err::remove_file(&path).expect("removed");

        symlink("/nonexistent/place", &path).expect("linked");
        let output = platform.try_start(&[]);
        says(&output, output.status.code().filter(|code| *code != 0).expect("a failure"), &[name]);
        stop(&platform);
        fs_err::remove_file(&path).expect("removed");

        // A link to a directory is as good as one.
        symlink(&away, &path).expect("linked");
        platform.start();
        platform.stop();
        platform.assert_clean();
    }
}

/// The home of an ordinary user in which one thing belongs to somebody else or may not be read.
#[test]
fn what_may_not_be_read_or_written_is_named() {
    let platform = used();
    let exe = platform.path("stigmer");
    fs_err::copy(env!("CARGO_BIN_EXE_stigmer"), &exe).expect("copied");
    let dir = exe.parent().expect("a directory");
    let give = |owner: u32| {
        if geteuid().is_root() {
            let owner = format!("{owner}:{owner}");
            assert!(Command::new("chown").args(["-R", &owner]).arg(dir).status().expect("runs").success());
        }
    };
    give(NOBODY);
    set_mode(dir, 0o755);
    let command = |words: &[&str]| {
        let mut command = Command::new(&exe);
        command.args(words).env("STIGMER_HOME", &platform.home).env("TMPDIR", platform.path("tmp"));
        command.current_dir("/").stdin(std::process::Stdio::null());
        command
    };
    let run = |words: &[&str]| as_nobody(command(words));
    let start = platform.start_words(&[]);
    says(&run(&start), 0, &["stigmer is up"]);
    platform.processes();

    // While it runs: nothing of the home can be read any more, so that nobody can tell.
    set_mode(&platform.home.join("run"), 0);
    for words in [&["server", "status"][..], &["server", "stop"], &["server", "stop", "--now"], &start] {
        says(
            &run(words),
            77,
            &["cannot be told whether the platform runs", "run/server.json", "hint: mend that"],
        );
    }
    set_mode(&platform.home.join("run"), 0o700);

    // While it runs: the token cannot be read any more, which says nothing of the supervisor.
    let token = platform.home.join("run/token");
    set_mode(&token, 0);
    for words in [&["server", "status"][..], &["server", "stop"], &start] {
        says(&run(words), 77, &["run/token", "hint:"]);
    }
    set_mode(&token, 0o600);
    says(&run(&["server", "stop"]), 0, &["stopped"]);
    platform.assert_clean();

    // While nothing runs.
    for (path, mode) in [("run/token", 0), ("locks", 0o500), ("logs/supervisor.log", 0o400), ("run", 0o500)] {
        let path = platform.home.join(path);
        let before = path.metadata().expect("it is there").permissions();
        if path.ends_with("locks") {
            fs_err::remove_file(path.join("server.lock")).expect("removed");
        }
        if geteuid().is_root() && path.ends_with("run") {
            // Its owner could give himself the right.
            chown(&path, Some(0), Some(0)).expect("given");
            set_mode(&path, 0o755);
        } else {
            set_mode(&path, mode);
        }
        says(&run(&start), 77, &[path.to_str().expect("text"), "hint: check who owns the path"]);
        give(NOBODY);
        fs_err::set_permissions(&path, before).expect("set");
        says(&run(&start), 0, &["stigmer is up"]);
        platform.processes();
        says(&run(&["server", "stop"]), 0, &["stopped"]);
        platform.assert_clean();
    }
}
