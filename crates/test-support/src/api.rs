//! A server of its own for each test, started as a supervisor starts it, and the client side of its interface.

use crate::executable;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The token of these servers.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The heartbeat these servers ask for, so that a lease is over after half a second of silence.
pub const HEARTBEAT_MS: u64 = 50;

/// A running server. It ends with this.
pub struct Server {
    child: Child,
    dir: tempfile::TempDir,
    /// Base address of the server.
    pub url: String,
    /// Time that it keeps ended executions, from the next start on.
    pub retention_ms: Option<u64>,
}

/// A status and a body.
pub type Answer = (u16, Value);

impl Server {
    /// Starts a server whose leases end after half a second without a heartbeat.
    pub fn start() -> Self {
        Self::with_heartbeat(HEARTBEAT_MS)
    }

    /// A server whose leases are over after two seconds of silence: a worker that lives is heard of in time on a busy machine.
    pub fn brisk() -> Self {
        Self::with_heartbeat(200)
    }

    /// A server whose leases outlive a test on a busy machine.
    pub fn patient() -> Self {
        Self::with_heartbeat(5000)
    }

    fn with_heartbeat(heartbeat_ms: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (child, url) = spawn(dir.path(), "http://127.0.0.1:0", heartbeat_ms, None);
        Self { child, dir, url, retention_ms: None }
    }

    /// Directory of the agents' workspaces, which the server removes; nobody has made it.
    pub fn workspaces(&self) -> PathBuf {
        workspaces(self.dir.path())
    }

    /// Directory of the server's data.
    pub fn work_dir(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// Kills it with no chance to tidy up, and starts it again on the same port and data.
    pub fn crash_and_restart(&mut self, heartbeat_ms: u64) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ends");
        let (child, url) = spawn(self.dir.path(), &self.url, heartbeat_ms, self.retention_ms);
        assert_eq!(url, self.url);
        self.child = child;
    }

    /// Sends a request with the token.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        call(&self.url, method, path, body)
    }

    /// Sends a GET request, and expects status 200.
    pub fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, None);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Posts, and expects one of the statuses of success.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call("POST", path, Some(body));
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// Puts an agent or a workflow with this spec.
    pub fn apply(&self, kind: &str, name: &str, spec: &Value) -> Answer {
        let (singular, plural) =
            if kind == "Agent" { ("Agent", "agents") } else { ("Workflow", "workflows") };
        let resource = json!({"apiVersion": "stigmer.ai/v1", "kind": singular, "metadata": {"name": name}, "spec": spec});
        self.call("PUT", &format!("/v1/resources/{plural}/{name}"), Some(&resource))
    }

    /// Creates an agent with an empty spec.
    pub fn agent(&self, name: &str) {
        assert_eq!(self.apply("Agent", name, &json!({})).0, 200);
    }

    /// Begins an execution with this message. Returns its id.
    pub fn run(&self, name: &str, message: &str) -> String {
        let execution = self.post("/v1/executions", &json!({"name": name, "message": message}));
        execution["id"].as_str().expect("an id").to_owned()
    }

    /// Registers a worker; gives its id.
    pub fn worker(&self, pid: u32) -> String {
        let instance = "i-1";
        let body = json!({"kind": "agent-runner", "version": "1", "pid": pid, "instance": instance});
        self.post("/v1/workers", &body)["id"].as_str().expect("an id").to_owned()
    }

    /// Takes work; `None` if there is none.
    pub fn lease(&self, worker: &str, kinds: &[&str], wait_ms: u64) -> Option<Value> {
        let body = json!({"kinds": kinds, "wait_ms": wait_ms});
        let (status, leased) = self.call("POST", &format!("/v1/workers/{worker}/lease"), Some(&body));
        match status {
            200 => Some(leased),
            204 => None,
            other => panic!("{other} {leased}"),
        }
    }

    /// Waits for the end of an execution.
    pub fn end_of(&self, id: &str) -> Value {
        let deadline = Instant::now() + LIMIT;
        loop {
            let execution = self.get(&format!("/v1/executions/{id}?wait_ms=10000"));
            if ["COMPLETED", "FAILED", "CANCELLED"].iter().any(|phase| execution["phase"] == *phase) {
                return execution;
            }
            assert!(Instant::now() < deadline, "it never ends: {execution}");
        }
    }

    /// The types of all events of an execution, in order.
    pub fn types_of(&self, id: &str) -> Vec<String> {
        let events = self.get(&format!("/v1/executions/{id}/events"));
        let events = events["events"].as_array().expect("events").clone();
        events.iter().map(|event| event["type"].as_str().expect("a type").to_owned()).collect()
    }

    /// Attaches to the stream of an execution behind the place `after`.
    pub fn stream(&self, id: &str, after: u64) -> Stream {
        let response = agent(None)
            .get(format!("{}/v1/executions/{id}/events?after={after}", self.url))
            .header("Authorization", format!("Bearer {TOKEN}"))
            .header("Accept", "text/event-stream")
            .call()
            .expect("the stream begins");
        assert_eq!(response.status().as_u16(), 200);
        Stream(BufReader::new(Box::new(response.into_body().into_reader())))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The events of a stream, until its end.
pub struct Stream(BufReader<Box<dyn std::io::Read + Send>>);

impl Iterator for Stream {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).expect("the stream is whole") == 0 {
                return None;
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some(serde_json::from_str(data).expect("an event"));
            }
        }
    }
}

fn agent(limit: Option<Duration>) -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).timeout_global(limit).build().into()
}

/// Sends a request with the token to the server at `url`.
pub fn call(url: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("{url}{path}"))
        .header("Authorization", format!("Bearer {TOKEN}"));
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut response =
        agent(Some(2 * LIMIT)).run(request.body(body).expect("a request")).expect("the server answers");
    let value = response.body_mut().read_json().unwrap_or(Value::Null);
    (response.status().as_u16(), value)
}

fn workspaces(dir: &Path) -> PathBuf {
    dir.join("workspaces")
}

fn spawn(dir: &Path, url: &str, heartbeat_ms: u64, retention_ms: Option<u64>) -> (Child, String) {
    let config = json!({
        "schema": stigmer::protocol::component::CONFIG_SCHEMA,
        "component": "stigmer-server",
        "instance": "i-1",
        "server_url": url,
        "token": TOKEN,
        "work_dir": dir.join("work").display().to_string(),
        "heartbeat_ms": heartbeat_ms,
        "environment": {},
        "settings": {"retention_ms": retention_ms, "workspaces": workspaces(dir).display().to_string()},
    });
    let (child, said) = spawn_role("internal-server", dir, &config);
    let address = said["address"].as_str().unwrap_or_else(|| panic!("not ready: {said}"));
    (child, format!("http://{address}"))
}

/// Starts a role as a supervisor starts it, with this config line. Returns it and the first line it prints.
pub fn spawn_role(role: &str, home: &Path, config: &Value) -> (Child, Value) {
    let mut child = Command::new(executable())
        .args([role, "--supervised"])
        .env("STIGMER_HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("stigmer starts");
    writeln!(child.stdin.as_mut().expect("piped"), "{config}").expect("written");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("read");
    let said = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    (child, said)
}
