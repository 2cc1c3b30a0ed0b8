//! A platform of its own for each test: its own home, a port the system chooses, a scripted agent runner, and
//! a check at the end that nothing of it is left.

pub mod leaks;
#[cfg(target_os = "linux")]
pub mod terminal;

use crate::{example, executable};
use leaks::Leaks;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use stigmer::platform;

/// Longer than anything takes on a busy machine; a test that reaches it has failed.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Says it is ready, and ends at the end of its input or when asked.
pub const GOOD: &str = r#"read -r config
echo "agent says hello" >&2
printf '{"event":"ready","version":"9.9.9","pid":%s}\n' $$
exec cat >/dev/null"#;

/// Ready on its first start; on the next one it finds its configuration wrong (exit code 78).
pub const MISCONFIGURED: &str = r#"if [ -e ran ]; then exit 78; fi
: >ran
printf '{"event":"ready","version":"1","pid":%s}\n' $$
exec cat >/dev/null"#;

/// Ready, deaf to the request to end.
pub const STUBBORN: &str = r#"trap '' TERM
printf '{"event":"ready","version":"1","pid":%s}\n' $$
exec sleep 1000"#;

/// Ready, with a process of its own.
pub const PARENT: &str = r#"sleep 1000 &
printf '{"event":"ready","version":"1","pid":%s}\n' $$
exec cat >/dev/null"#;

/// For the beginning of a script: `escape` starts a process that does all it can to get away from its parents: twice forked,
/// in a session and a directory of its own, without environment, pipes or ears; `escape_marked` one that keeps its
/// environment. They return when that process has written itself down where [`Leaks`] looks.
pub const ESCAPE: &str = r#"[ -p escaped ] || mkfifo escaped
body='trap "" TERM INT HUP
read -r stat </proc/$$/stat
set -- "$1" ${stat##*) }
echo "$$ ${21}" >>"$1"
echo >escaped
cd /
exec sleep 1000'
escape_marked() {
    (setsid "$@" /bin/sh -c "$body" sh "$STIGMER_HOME/../pids" </dev/null >/dev/null 2>&1 &)
    read -r nothing <escaped
}
escape() { escape_marked env -i; }
"#;

/// A home with a scripted agent-runner, and the local server that the test starts there.
pub struct Platform {
    dir: tempfile::TempDir,
    leaks: Leaks,
    /// The home.
    pub home: PathBuf,
    /// Path of the agent-runner's script.
    pub agent: PathBuf,
}

impl Platform {
    /// A platform whose agent-runner is this shell script.
    pub fn new(script: &str) -> Self {
        Self::with_home("home", script)
    }

    /// A platform whose home has this name.
    pub fn with_home(name: &str, script: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().join(name);
        let agent = dir.path().join("agent runner");
        fs_err::write(&agent, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs_err::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).expect("set");
        fs_err::create_dir(dir.path().join("tmp")).expect("made");
        let leaks = Leaks::new(dir.path(), &home);
        Self { dir, leaks, home, agent }
    }

    /// A platform whose agent runner is `examples/fake_component.rs` with these steps.
    pub fn acting(steps: &[&str]) -> Self {
        let platform = Self::new("");
        platform.act(steps);
        platform
    }

    /// From its next start on, the agent runner does these steps.
    pub fn act(&self, steps: &[&str]) {
        let quote = |word: &str| format!(" '{}'", word.replace('\'', r"'\''"));
        let mut script =
            format!("#!/bin/sh\nexec{}", quote(example("fake_component").to_str().expect("text")));
        script += &quote(&format!("pids={}", Leaks::list(self.dir.path()).display()));
        script.extend(steps.iter().map(|step| quote(step)));
        // By rename: one that is just being started must not see half of it.
        let fresh = self.path("agent runner, new");
        fs_err::write(&fresh, script + "\n").expect("written");
        fs_err::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).expect("set");
        fs_err::rename(&fresh, &self.agent).expect("renamed");
    }

    /// A path beside the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `config.toml`.
    pub fn config(self, text: &str) -> Self {
        fs_err::create_dir_all(&self.home).expect("made");
        fs_err::write(self.home.join("config.toml"), text).expect("written");
        self
    }

    /// A command in this home, not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(executable());
        command.args(args).env("STIGMER_HOME", &self.home).env("TMPDIR", self.path("tmp"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command in this home to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("stigmer runs")
    }

    /// The words of a start with the scripted agent runner.
    pub fn start_words<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let agent = self.agent.to_str().expect("text");
        let mut words = vec!["server", "start", "--use-local-binary", agent];
        if !more.contains(&"--port") {
            words.extend(["--port", "0"]);
        }
        words.extend(more);
        words
    }

    /// Runs `server start` with the scripted agent-runner and these arguments.
    pub fn try_start(&self, more: &[&str]) -> Output {
        self.run(&self.start_words(more))
    }

    /// Starts, and gives the status.
    pub fn start(&self) -> Value {
        let output = self.try_start(&["--json"]);
        assert!(output.status.success(), "{}", text(&output));
        // What runs now is what must have ended in the end.
        self.processes();
        json(&output)
    }

    /// The answer of `server status --json`, which has to succeed.
    pub fn status(&self) -> Value {
        let output = self.run(&["server", "status", "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        json(&output)
    }

    /// Runs `server stop`, which has to succeed.
    pub fn stop(&self) -> Output {
        self.processes();
        let output = self.run(&["server", "stop"]);
        assert!(output.status.success(), "{}", text(&output));
        output
    }

    /// Reads the log of `component` from its beginning, and goes on as it grows: for waiting until something has happened.
    pub fn follow(&self, component: &str) -> Following {
        let mut child = self
            .command(&["server", "logs", "-f", "-n", "10000", "--component", component])
            .stdout(Stdio::piped())
            .spawn()
            .expect("stigmer runs");
        let lines = std::io::BufReader::new(child.stdout.take().expect("piped"));
        // A line that never comes ends the test, not the patience of whoever runs it.
        let (alive, watched) = std::sync::mpsc::channel::<()>();
        let pid = child.id();
        std::thread::spawn(move || {
            if watched.recv_timeout(LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                signal(pid, rustix::process::Signal::KILL);
            }
        });
        Following { child, lines, _alive: alive }
    }

    /// The processes that were started for this home and live.
    pub fn processes(&self) -> Vec<u32> {
        self.leaks.processes()
    }

    /// The living among the processes that scripts have written down (see [`ESCAPE`]).
    pub fn escaped(&self) -> Vec<u32> {
        self.leaks.escaped()
    }

    /// Waits for the ends of all processes of this home.
    pub fn wait_for_nobody(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        for pid in self.processes() {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(started) = platform::process_started(pid) {
                assert!(platform::wait_for_end(pid, started, left), "process {pid} is left");
            }
        }
        assert_eq!(self.processes(), [0_u32; 0]);
    }

    /// The end of every test: no process, no socket and no file is left, but what is documented to stay.
    #[track_caller]
    pub fn assert_clean(&self) {
        self.leaks.assert_none();
    }

    /// The sockets that the platform listened on and that are still listened on, by whomever.
    pub fn open_listeners(&self) -> Vec<u64> {
        self.leaks.open_listeners()
    }

    /// The token of the running server.
    pub fn token(&self) -> String {
        fs_err::read_to_string(self.home.join("run/token")).expect("a token")
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // A test that failed half way must not leave anything behind either.
        for pid in self.processes() {
            signal(pid, rustix::process::Signal::KILL);
        }
        #[cfg(target_os = "linux")]
        crate::namespace::unmount_below(self.dir.path());
    }
}

/// The lines of a log that is being followed.
pub struct Following {
    child: Child,
    lines: std::io::BufReader<std::process::ChildStdout>,
    _alive: std::sync::mpsc::Sender<()>,
}

impl Following {
    /// Reads until a line contains `words`.
    pub fn until(&mut self, words: &str) -> String {
        use std::io::BufRead;
        loop {
            let mut line = String::new();
            let count = self.lines.read_line(&mut line).expect("read");
            assert!(count > 0, "the log ended before `{words}`");
            if line.contains(words) {
                return line;
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that may have ended.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("fits")).expect("not 0");
    let _ = rustix::process::kill_process(pid, signal);
}

/// Exit code and output of a command, for messages and searches.
pub fn text(output: &Output) -> String {
    format!(
        "exit {:?}\n{}{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Waits for the end of a child; one that does not end is a failure and not a wait for ever.
pub fn ends(child: &mut Child) -> ExitStatus {
    let pid = child.id();
    if let Some(started) = platform::process_started(pid) {
        assert!(platform::wait_for_end(pid, started, LIMIT), "process {pid} does not end");
    }
    child.wait().expect("a status")
}

/// The JSON document on standard output.
pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

/// The status of one component.
pub fn component<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["components"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["name"] == name))
        .unwrap_or_else(|| panic!("no {name} in {status}"))
}

/// The process id in a component's status.
pub fn pid(value: &Value) -> u32 {
    u32::try_from(value["pid"].as_u64().expect("a pid")).expect("fits")
}

/// Asks the server; gives the HTTP status and the answer.
pub fn ask(url: &str, path: &str, token: Option<&str>) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(LIMIT))
        .build()
        .into();
    let mut request = agent.get(format!("{url}{path}"));
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let mut response = request.call().expect("the server answers");
    let body = response.body_mut().read_json().unwrap_or(Value::Null);
    (response.status().as_u16(), body)
}
