//! `stigmer server` as the person at the terminal meets it: a start that is not waited for, one in the foreground, a stop
//! that cannot wait, and an executable that is replaced under it all.

use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use stigmer::platform;
use stigmer_test_support::eventually;
use stigmer_test_support::server::terminal::Terminal;
use stigmer_test_support::server::{
    GOOD, LIMIT, Platform, STUBBORN, component, ends, json, pid, signal, text,
};

/// Ready when the file `go` lies in its directory.
const PATIENT: &str = r#"until [ -e go ]; do sleep 0.05; done
printf '{"event":"ready","version":"1","pid":%s}\n' $$
exec cat >/dev/null"#;

/// A start in the foreground, and what it says, line by line.
struct Foreground {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Foreground {
    fn start(platform: &Platform, more: &[&str]) -> Self {
        let mut words = vec!["--foreground"];
        words.extend(more);
        let mut command = platform.command(&platform.start_words(&words));
        Self::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("stigmer runs");
        let (sender, lines) = mpsc::channel();
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
        for stream in streams {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Self { child, lines }
    }

    /// Everything said until a line contains `words`, that line included.
    fn until(&mut self, words: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        let mut said = String::new();
        while !said.contains(words) {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            said.push_str(&line.unwrap_or_else(|_| panic!("no `{words}` in:\n{said}")));
            said.push('\n');
        }
        said
    }

    fn signal(&self, kind: Signal) {
        signal(self.child.id(), kind);
    }

    /// Its exit code, and the rest of what it said.
    fn end(mut self) -> (Option<i32>, String) {
        let status = ends(&mut self.child);
        let rest: Vec<String> = self.lines.iter().collect();
        (status.code(), rest.join("\n"))
    }
}

#[test]
fn a_start_that_is_not_waited_for_goes_on_by_itself() {
    let platform = Platform::new(PATIENT);
    let output = platform.try_start(&["--no-wait", "--json"]);
    assert!(output.status.success(), "{}", text(&output));
    let report = json(&output);
    assert_eq!((&report["ready"], &report["already_running"]), (&false.into(), &false.into()));
    let status = platform.status();
    assert_eq!(status["instance"], report["instance"]);
    assert_eq!(status["ready"], false);
    // A second one that does not wait either is told what there is.
    let words = text(&platform.try_start(&["--no-wait"]));
    assert!(words.contains("already running") && words.contains("agent-runner is not ready"), "{words}");
    // And one that waits, waits for the first.
    let waiting = platform
        .command(&platform.start_words(&["--json"]))
        .stdout(Stdio::piped())
        .spawn()
        .expect("stigmer runs");
    fs_err::write(platform.home.join("data/agent-runner/go"), "").expect("written");
    let waited = json(&waiting.wait_with_output().expect("ends"));
    assert_eq!(waited["instance"], report["instance"], "{waited}");
    assert_eq!((&waited["ready"], &waited["already_running"]), (&true.into(), &true.into()));
    platform.stop();
    platform.assert_clean();
}

#[test]
fn an_interrupt_ends_the_wait_and_not_the_start() {
    let platform = Platform::new(PATIENT);
    let mut command = platform.command(&platform.start_words(&[]));
    let waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("stigmer runs");
    eventually("it has begun", || platform.home.join("run/server.json").exists().then_some(()));
    let status = eventually("the component is started", || {
        let output = platform.run(&["server", "status", "--json"]);
        let status = output.status.success().then(|| json(&output))?;
        (component(&status, "agent-runner")["phase"] == "starting").then_some(status)
    });
    signal(waiting.id(), Signal::INT);
    let output = waiting.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert!(text(&output).contains("interrupted; the start goes on"), "{}", text(&output));
    fs_err::write(platform.home.join("data/agent-runner/go"), "").expect("written");
    eventually("all is ready", || (platform.status()["ready"] == true).then_some(()));
    assert_eq!(platform.status()["instance"], status["instance"]);
    platform.stop();
    platform.assert_clean();
}

#[test]
fn who_waits_for_the_start_of_another_hears_how_it_ends() {
    let platform = Platform::new("until [ -e go ]; do sleep 0.05; done; echo alas >&2; exit 5");
    let begin = || {
        let output = platform.try_start(&["--no-wait"]);
        let words = text(&output);
        assert!(output.status.success() && words.contains("stigmer is starting"), "{words}");
        assert!(words.contains("`stigmer server status`"), "{words}");
        let mut waiting = platform.command(&platform.start_words(&[]));
        waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("stigmer runs")
    };
    // It is stopped.
    let waiting = begin();
    eventually("it waits", || {
        text_of_lock(&platform).contains(&format!("\"pid\":{},", waiting.id())).then_some(())
    });
    platform.stop();
    let output = waiting.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("was told to stop before everything was ready"), "{}", text(&output));
    platform.assert_clean();
    // It fails.
    let waiting = begin();
    eventually("it waits", || {
        text_of_lock(&platform).contains(&format!("\"pid\":{},", waiting.id())).then_some(())
    });
    fs_err::write(platform.home.join("data/agent-runner/go"), "").expect("written");
    let output = waiting.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("exit code 5") && text(&output).contains("alas"), "{}", text(&output));
    platform.assert_clean();
}

/// What the launchers' lock says of its holder.
fn text_of_lock(platform: &Platform) -> String {
    fs_err::read_to_string(platform.home.join("locks/server-start.lock")).unwrap_or_default()
}

#[test]
fn in_the_foreground_it_says_what_happens_and_one_interrupt_ends_it() {
    let platform = Platform::new(GOOD);
    let mut front = Foreground::start(&platform, &[]);
    let mut said = front.until("agent says hello");
    // The logs come on standard output and the rest on standard error: who reads both may hear the one before the other.
    if !said.contains("stigmer is up at") {
        said += &front.until("stigmer is up at");
    }
    for expected in ["agent-runner ready (", "all ready after", "stigmer is up at http://127.0.0.1:"] {
        assert!(said.contains(expected), "{said}");
    }
    assert!(said.contains("   agent-runner | agent says hello"), "the format of the logs: {said}");
    let status = platform.status();
    assert_eq!((pid(&status), &status["ready"]), (front.child.id(), &true.into()));
    // A second one in the foreground is refused, and names the first.
    let second = platform.try_start(&["--foreground"]);
    assert_eq!(second.status.code(), Some(75), "{}", text(&second));
    assert!(text(&second).contains(&format!("process {}", front.child.id())), "{}", text(&second));
    front.signal(Signal::INT);
    let (code, rest) = front.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("stopping ") && rest.contains("stopped"), "{rest}");
    platform.assert_clean();
    assert!(!platform.home.join("run/server.json").exists());
}

#[test]
fn in_the_foreground_it_can_be_asked_and_stopped_like_any_other() {
    let platform = Platform::new(GOOD);
    let mut front = Foreground::start(&platform, &["--json"]);
    let up = front.until("already_running");
    let report: serde_json::Value = serde_json::from_str(&up).expect("one object");
    assert_eq!((&report["ready"], &report["schema"]), (&true.into(), &1.into()));
    let line = front.until("agent says hello");
    let line: serde_json::Value =
        serde_json::from_str(line.lines().last().expect("a line")).expect("an object each");
    assert_eq!(line["component"], "agent-runner");
    assert_eq!(platform.start()["instance"], report["instance"]);
    platform.stop();
    assert_eq!(front.end().0, Some(0));
    platform.assert_clean();
}

#[test]
fn two_interrupts_end_everything_at_once() {
    let platform = Platform::new(STUBBORN).config("[server]\nstop_timeout = \"1h\"\n");
    let mut front = Foreground::start(&platform, &[]);
    front.until("stigmer is up at");
    front.signal(Signal::INT);
    front.until("Ctrl-C again");
    // Whom it waits for is said every second.
    front.until("waiting for agent-runner");
    front.signal(Signal::INT);
    let (code, rest) = front.end();
    assert_eq!(code, Some(0), "{rest}");
    platform.assert_clean();
}

#[test]
fn the_end_of_the_terminal_ends_what_runs_in_its_foreground() {
    let platform = Platform::new(GOOD);
    let words = platform.start_words(&["--foreground"]);
    let mut terminal = Terminal::open(&platform.command(&words));
    terminal.until("stigmer is up at");
    let status = platform.status();
    // Ctrl-C goes to the group in the foreground, and no component is in it.
    let groups: Vec<_> =
        status["components"].as_array().expect("a list").iter().map(|one| group(pid(one))).collect();
    assert!(!groups.contains(&group(pid(&status))), "{groups:?}");
    let (supervisor, started) = (pid(&status), platform::process_started(pid(&status)).expect("lives"));
    drop(terminal);
    assert!(platform::wait_for_end(supervisor, started, LIMIT));
    platform.assert_clean();
    let log = platform.run(&["server", "logs", "--component", "supervisor"]);
    assert!(text(&log).contains("told to stop by SIGHUP"), "{}", text(&log));
    assert!(!platform.home.join("run/server.json").exists(), "in good order");
}

#[test]
fn an_interrupt_from_the_keyboard_stops_it() {
    let platform = Platform::new(GOOD);
    let words = platform.start_words(&["--foreground"]);
    let mut terminal = Terminal::open(&platform.command(&words));
    terminal.until("stigmer is up at");
    terminal.press(3);
    terminal.until("stopped");
    platform.wait_for_nobody(LIMIT);
    let log = text(&platform.run(&["server", "logs", "--component", "agent-runner"]));
    assert!(
        log.contains("exit code 0") || log.contains("signal 15"),
        "asked by us, not by the keyboard: {log}"
    );
    platform.assert_clean();
}

/// The process group of a process.
fn group(pid: u32) -> String {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).expect("lives");
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(2)).expect("a group").to_owned()
}

#[test]
fn a_killed_foreground_leaves_nothing() {
    let platform = Platform::new(GOOD);
    let mut front = Foreground::start(&platform, &[]);
    front.until("stigmer is up at");
    front.signal(Signal::KILL);
    assert_eq!(ends(&mut front.child).code(), None);
    platform.wait_for_nobody(Duration::from_secs(5));
    platform.start();
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_start_that_fails_in_the_foreground_says_why() {
    let platform = Platform::new("echo broken >&2; exit 3");
    let output = platform.try_start(&["--foreground"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let words = text(&output);
    assert!(words.contains("agent-runner did not start") && words.contains("broken"), "{words}");
    platform.assert_clean();
    let platform = Platform::new("exit 78");
    assert_eq!(platform.try_start(&["--foreground"]).status.code(), Some(78));
    platform.assert_clean();
}

#[test]
fn a_service_manager_is_told_and_its_socket_is_nobody_elses() {
    let platform = Platform::new(
        "env >environment\nprintf '{\"event\":\"ready\",\"version\":\"1\",\"pid\":%s}\\n' $$\nexec cat >/dev/null",
    );
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("bound");
    socket.set_read_timeout(Some(LIMIT)).expect("set");
    let words = platform.start_words(&["--foreground"]);
    let mut command = platform.command(&words);
    command.env("NOTIFY_SOCKET", &path).stdout(Stdio::piped()).stderr(Stdio::piped());
    let front = Foreground::of(&mut command);
    let until = |wanted: &str| {
        let mut heard = String::new();
        while !heard.contains(wanted) {
            let mut bytes = [0_u8; 4096];
            let count = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("{error} after {heard}"));
            heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        heard
    };
    let heard = until("READY=1");
    assert!(heard.contains("STATUS=starting agent-runner"), "{heard}");
    let environment =
        fs_err::read_to_string(platform.home.join("data/agent-runner/environment")).expect("read");
    assert!(!environment.contains("NOTIFY_SOCKET"), "{environment}");
    front.signal(Signal::TERM);
    until("STOPPING=1");
    assert_eq!(front.end().0, Some(0));
    platform.assert_clean();
}

/// The executable at a path of its own, as a package manager would put it there.
fn installed(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("1.0/bin/stigmer");
    fs_err::create_dir_all(path.parent().expect("a parent")).expect("made");
    fs_err::copy(env!("CARGO_BIN_EXE_stigmer"), &path).expect("copied");
    path
}

#[test]
fn components_are_restarted_although_the_executable_is_gone() {
    let platform = Platform::new(GOOD);
    let dir = tempfile::tempdir().expect("a directory");
    let path = installed(dir.path());
    let start = |path: &Path| {
        let words = platform.start_words(&["--json"]);
        Command::new(path)
            .args(words)
            .env("STIGMER_HOME", &platform.home)
            .stdin(Stdio::null())
            .output()
            .expect("stigmer runs")
    };
    let first = json(&start(&path));
    for pid in platform.processes() {
        let name = fs_err::read(format!("/proc/{pid}/cmdline")).expect("read");
        let name = String::from_utf8_lossy(&name).into_owned();
        assert!(!name.contains("/proc/self/exe"), "a person must know it in `ps`: {name}");
    }
    // What an upgrade does that removes the old version's directory.
    fs_err::remove_dir_all(dir.path().join("1.0")).expect("removed");
    for name in ["stigmer-server", "workflow-runner"] {
        let mut log = platform.follow(name);
        signal(pid(component(&first, name)), Signal::KILL);
        log.until("ended: signal 9");
        log.until("ready after");
    }
    let status = eventually("all are ready", || Some(platform.status()).filter(|s| s["ready"] == true));
    assert_eq!(status["instance"], first["instance"]);
    // The next version takes over.
    let words = platform.run(&["server", "start"]);
    assert!(text(&words).contains("`stigmer server restart`"), "{}", text(&words));
    let second = platform.run(&["server", "restart", "--json"]);
    assert!(second.status.success(), "{}", text(&second));
    assert_eq!(json(&second)["executable"], env!("CARGO_BIN_EXE_stigmer"));
    platform.stop();
    platform.assert_clean();
}

#[test]
fn an_upgrade_during_a_start_does_not_mix_two_versions() {
    let platform = Platform::new(PATIENT);
    let dir = tempfile::tempdir().expect("a directory");
    let path = installed(dir.path());
    let words = platform.start_words(&["--no-wait", "--json"]);
    let mut command = Command::new(&path);
    command.args(words).env("STIGMER_HOME", &platform.home).stdin(Stdio::null());
    assert!(command.output().expect("stigmer runs").status.success());
    // The next version could not do what this one asks of it.
    let next = dir.path().join("next");
    fs_err::copy("/bin/false", &next).expect("copied");
    fs_err::rename(&next, &path).expect("replaced");
    fs_err::write(platform.home.join("data/agent-runner/go"), "").expect("written");
    let up = eventually("all are ready", || Some(platform.status()).filter(|status| status["ready"] == true));
    let mut log = platform.follow("workflow-runner");
    signal(pid(component(&up, "workflow-runner")), Signal::KILL);
    log.until("ended: signal 9");
    log.until("ready after");
    drop(log);
    // Another executable is asked to stop it, and says so.
    let words = text(&platform.stop());
    assert!(words.contains("note: the running server was started from"), "{words}");
    platform.assert_clean();
}

#[test]
fn a_launcher_starts_itself_though_another_version_has_taken_its_place() {
    let platform = Platform::new(GOOD);
    let dir = tempfile::tempdir().expect("a directory");
    let path = installed(dir.path());
    fs_err::create_dir_all(platform.home.join("locks")).expect("made");
    let lock = fs_err::File::create(platform.home.join("locks/server-start.lock")).expect("made");
    rustix::fs::flock(lock.file(), rustix::fs::FlockOperation::LockExclusive).expect("locked");
    let mut launcher = Command::new(&path);
    launcher.args(platform.start_words(&[])).env("STIGMER_HOME", &platform.home).stdin(Stdio::null());
    let mut launcher = Foreground::of(launcher.stdout(Stdio::piped()).stderr(Stdio::piped()));
    launcher.until("waiting for another process");
    let next = dir.path().join("next");
    fs_err::copy("/bin/false", &next).expect("copied");
    fs_err::rename(&next, &path).expect("replaced");
    drop(lock);
    launcher.until("stigmer is up at");
    assert_eq!(launcher.end().0, Some(0));
    platform.stop();
    platform.assert_clean();
}

#[test]
fn each_phase_is_shown_while_it_lasts_and_not_after() {
    let platform = Platform::new(PATIENT);
    let words = platform.start_words(&[]);
    let mut terminal = Terminal::open(&platform.command(&words));
    let mut shown = terminal.until("agent-runner is starting");
    fs_err::write(platform.home.join("data/agent-runner/go"), "").expect("written");
    shown += &terminal.until("stigmer is up at");
    for name in ["stigmer-server", "workflow-runner", "agent-runner"] {
        let (before, after) = shown.split_once(&format!("{name} ready (")).expect("each is said to be ready");
        // What lasts a few milliseconds only may never be drawn.
        assert!(name != "agent-runner" || before.contains(&format!("{name} is starting")), "{before:?}");
        assert!(!after.contains(&format!("{name} is starting")), "{after:?}");
    }
    platform.stop();
    platform.assert_clean();
}
