//! The first day: from an empty home to an answer that is still there after a restart, with the carrier that `STIGMER_REAL` names
//! (which `make test` sets) and a provider of our own that speaks as Anthropic's does.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use stigmer_test_support::server::{json, text};

/// What must be seen by the provider and nobody else.
const KEY: &str = "sk-ant-a-key-of-the-first-day";

/// The carrier; `None` if nobody asks for this test.
fn real() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("STIGMER_REAL")?);
    Some(path.canonicalize().unwrap_or_else(|e| panic!("STIGMER_REAL: {}: {e}", path.display())))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A provider of models on this machine.
struct Provider {
    child: Child,
    url: String,
}

impl Provider {
    fn start() -> Self {
        let script = root().join("payloads/agent-runner/tests/support/fake_provider.py");
        let mut child = Command::new("python3")
            .arg(script)
            .args(["--port", "0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("read");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        Self { child, url: said["url"].as_str().expect("a url").to_owned() }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A home that is empty at first. Its platform is stopped in the end.
struct Day {
    exe: PathBuf,
    dir: tempfile::TempDir,
    provider: Provider,
}

impl Day {
    fn run(&self, args: &[&str]) -> Output {
        Command::new(&self.exe)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("STIGMER_HOME", self.home())
            .env("ANTHROPIC_API_KEY", KEY)
            .env("ANTHROPIC_BASE_URL", &self.provider.url)
            .current_dir(root())
            .stdin(Stdio::null())
            .output()
            .expect("stigmer runs")
    }

    fn succeeds(&self, args: &[&str]) -> Output {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output));
        output
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }
}

impl Drop for Day {
    fn drop(&mut self) {
        let _ = self.run(&["server", "stop", "--now"]);
    }
}

/// Whether `words` stand in any file below `dir`, but for the materialized components.
fn holds(dir: &Path, words: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("a kind");
        let found = if kind.is_dir() && entry.file_name() != "store" {
            holds(&path, words)
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            let is_there = bytes.windows(words.len()).any(|window| window == words.as_bytes());
            is_there.then_some(path)
        } else {
            None
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

#[test]
fn from_an_empty_home_to_an_answer_that_stays() {
    let Some(exe) = real() else { return };
    let day = Day { exe, dir: tempfile::tempdir().expect("a directory"), provider: Provider::start() };
    day.succeeds(&["server", "start", "--port", "0"]);
    let applied = text(&day.succeeds(&["apply", "-f", "examples/"]));
    assert!(applied.contains("agent hello created"), "{applied}");
    let run = day.succeeds(&["run", "hello", "--message", "hi"]);
    let answer = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(answer.contains("hi"), "the provider repeats what it is told: {}", text(&run));

    let listed = json(&day.succeeds(&["execution", "list", "--json"]));
    let first = listed["executions"][0].clone();
    let id = first["id"].as_str().expect("an id");
    // It came in pieces, and was not only handed over at the end.
    let events =
        String::from_utf8_lossy(&day.succeeds(&["execution", "logs", id, "--json"]).stdout).into_owned();
    let pieces = events.lines().filter(|line| line.contains("\"message.delta\"")).count();
    assert!(pieces > 0, "{events}");
    assert!(first["usage"]["output_tokens"].as_u64() > Some(0), "{first}");

    day.succeeds(&["server", "restart"]);
    let after = json(&day.succeeds(&["execution", "get", id, "--json"]));
    assert_eq!((&after["phase"], &after["output"]), (&"COMPLETED".into(), &first["output"]));
    assert_eq!(after["output"]["text"].as_str().map(str::trim), Some(answer.trim()));
    // The conversation goes on where it was.
    let session = first["session"].as_str().expect("a session");
    day.succeeds(&["run", "hello", "--session", session, "--message", "and you?"]);
    // A workflow that calls the agent.
    let greeted = day.succeeds(&["run", "greet", "--input", "name=Ada"]);
    let output: Value =
        serde_json::from_slice(&greeted.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&greeted)));
    assert!(output["greeting"].as_str().is_some_and(|text| text.contains("Ada")), "{output}");
    day.succeeds(&["server", "stop"]);
    assert_eq!(holds(&day.home(), KEY), None, "the key is told to the agent runner and written nowhere");
}

#[test]
fn an_agent_whose_provider_refuses_says_what_to_do() {
    let Some(exe) = real() else { return };
    let day = Day { exe, dir: tempfile::tempdir().expect("a directory"), provider: Provider::start() };
    day.succeeds(&["server", "start", "--port", "0"]);
    let file = day.dir.path().join("refused.yaml");
    let spec = "apiVersion: stigmer.ai/v1\nkind: Agent\nmetadata: {name: refused}\nspec:\n  model: {provider: anthropic, name: status-404}\n";
    std::fs::write(&file, spec).expect("written");
    day.succeeds(&["apply", "-f", &file.display().to_string()]);
    let run = day.run(&["run", "refused", "--message", "hi"]);
    assert_eq!(run.status.code(), Some(1), "{}", text(&run));
    let said = text(&run);
    assert!(said.contains("refused failed: ") && said.contains("hint: "), "{said}");
    day.succeeds(&["server", "stop"]);
}
