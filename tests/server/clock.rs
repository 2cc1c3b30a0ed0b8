//! `stigmer server` when somebody sets the clock: nothing that runs takes notice, and the logs stay in order.

use rustix::process::Signal;
use serde_json::Value;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use stigmer_test_support::namespace::{MOUNTS, inside, mount, need};
use stigmer_test_support::server::{Platform, ask, component, pid, signal, text};
use stigmer_test_support::{eventually, test_name};

const DAY: i64 = 86_400;

/// The wall clock of every process that is started in this namespace from now on.
struct Clock(std::fs::File);

impl Clock {
    fn new(platform: &Platform) -> Self {
        let path = |name: &str| platform.path(name);
        let offset = std::fs::File::create(path("offset")).expect("created");
        let clock = Self(offset);
        clock.set(0);
        need("cc", "--version", "gcc");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/clock.c");
        let library = path("clock.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(format!("-DOFFSET=\"{}\"", path("offset").display()))
            .arg(source)
            .output()
            .expect("cc runs");
        assert!(built.status.success(), "{}", text(&built));
        // Children get an environment of their own, so LD_PRELOAD would not reach them.
        for dir in ["upper", "work"] {
            fs_err::create_dir(path(dir)).expect("made");
        }
        let (upper, work) = (path("upper"), path("work"));
        fs_err::write(upper.join("ld.so.preload"), format!("{}\n", library.display())).expect("written");
        let options = format!("lowerdir=/etc,upperdir={},workdir={}", upper.display(), work.display());
        mount(&["-t", "overlay", "-o", &options, "overlay"], Path::new("/etc"));
        clock
    }

    /// From now on it shows so many seconds more than the real one.
    fn set(&self, seconds: i64) {
        self.0.write_all_at(&seconds.to_ne_bytes(), 0).expect("written");
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        // It keeps its layers busy, which are to be removed with the platform.
        let _ = Command::new("umount").args(["-l", "/etc"]).status();
    }
}

/// The day that new processes believe it is.
fn today() -> String {
    let said = Command::new("date").args(["-u", "+%Y-%m-%d"]).output().expect("date runs");
    String::from_utf8_lossy(&said.stdout).trim().to_owned()
}

/// Waits until the workflow runner was heard of several times more.
fn heartbeats(platform: &Platform, url: &str) {
    let token = platform.token();
    let (mut heard, mut before) = (0, u64::MAX);
    eventually("the workflow runner is heard of", || {
        let (_, answer) = ask(url, "/v1/status", Some(&token));
        let worker = &answer["workers"][0];
        assert_ne!(worker["state"], "stale", "{answer}");
        let age = worker["heartbeat_age_ms"].as_u64()?;
        heard += u32::from(age < before);
        before = age;
        (heard > 3).then_some(())
    });
}

/// All lines, as `server logs` has them.
fn logged(platform: &Platform) -> Vec<Value> {
    let output = platform.run(&["server", "logs", "--all", "-n", "100000", "--json"]);
    assert!(output.status.success(), "{}", text(&output));
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    lines.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

#[test]
fn a_clock_that_jumps_starts_and_stops_nothing() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let platform = Platform::acting(&["say=the agent speaks", "ready", "wait"]);
    let clock = Clock::new(&platform);
    let real = today();
    let first = platform.start();
    let url = first["url"].as_str().expect("a url").to_owned();
    let mut restarts = 0;
    // Back a day, ahead a day, to where a machine without a battery begins, ahead a century.
    let lost = -std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs().cast_signed();
    for jump in [-DAY, 2 * DAY, lost, 100 * 365 * DAY] {
        clock.set(jump);
        assert_ne!(today(), real, "the clock of the test does not work");
        heartbeats(&platform, &url);
        let status = platform.status();
        assert_eq!((&status["ready"], &status["instance"]), (&true.into(), &first["instance"]), "{status}");
        for name in ["stigmer-server", "workflow-runner"] {
            assert_eq!(component(&status, name)["pid"], component(&first, name)["pid"], "{jump}");
            assert_eq!(component(&status, name)["restarts"], 0, "{jump}");
        }
        // A pause before a restart is no longer and no shorter than ever.
        let agent = component(&status, "agent-runner");
        assert_eq!(agent["restarts"], restarts);
        if restarts < 3 {
            signal(pid(agent), Signal::KILL);
            restarts += 1;
            eventually("the agent runner is ready again", || {
                let status = platform.status();
                let agent = component(&status, "agent-runner");
                (agent["phase"] == "ready" && agent["restarts"] == restarts).then_some(())
            });
        }
    }

    // What a component said first comes first, whatever the clock showed.
    let lines = logged(&platform);
    for name in ["supervisor", "stigmer-server", "workflow-runner", "agent-runner"] {
        let shown: Vec<&str> = lines
            .iter()
            .filter(|line| line["component"] == name)
            .filter_map(|line| line["text"].as_str())
            .collect();
        let file = fs_err::read_to_string(platform.home.join(format!("logs/{name}.log"))).expect("read");
        let written: Vec<Value> =
            file.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
        let written: Vec<&str> = written.iter().filter_map(|line| line["text"].as_str()).collect();
        assert_eq!(shown, written, "{name}");
    }
    // By the present clock most of it is older than an hour.
    let output = platform.run(&["server", "logs", "--all", "--since", "1h", "--json"]);
    assert!(output.status.success(), "{}", text(&output));
    let since = String::from_utf8_lossy(&output.stdout).lines().count();
    assert!(since < lines.len(), "{since} of {}", lines.len());
    platform.stop();
    platform.assert_clean();
    clock.set(0);
    platform.start();
    platform.stop();
    platform.assert_clean();
}
