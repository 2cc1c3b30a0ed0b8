//! A real workflow-runner, and a world on the loopback address that it sends its requests to.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;
use stigmer_test_support::api::{LIMIT, Server, TOKEN, spawn_role};

/// A running workflow-runner. It ends with this.
pub(crate) struct Runner {
    child: Child,
    _home: tempfile::TempDir,
}

impl Runner {
    /// Starts one for a server, and waits until it is ready.
    pub(crate) fn start(server: &Server) -> Self {
        Self::told(server, &json!({}))
    }

    /// Starts one that is told these variables.
    pub(crate) fn told(server: &Server, environment: &Value) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let config = json!({
            "schema": stigmer::protocol::component::CONFIG_SCHEMA,
            "component": "workflow-runner",
            "instance": "i-1",
            "server_url": server.url,
            "token": TOKEN,
            "work_dir": home.path().join("work").display().to_string(),
            "heartbeat_ms": 50,
            "environment": environment,
            "settings": {},
        });
        let (child, said) = spawn_role("internal-workflow-runner", home.path(), &config);
        assert_eq!(said["event"], "ready", "{said}");
        Self { child, _home: home }
    }

    /// Kills it with no chance to tidy up.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ends");
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("asked");
        self.child.wait().expect("ends")
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What is answered.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(value: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status: 200, headers, body: value.to_string().into_bytes() }
    }

    pub(crate) fn status(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }
}

#[derive(Default)]
struct Seen {
    arrived: Vec<Arrived>,
    open: bool,
}

/// An HTTP server that notes what arrives. What goes to `/hold` is answered when the gate is open.
pub(crate) struct World {
    pub(crate) url: String,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

impl World {
    pub(crate) fn new(answer: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::<(Mutex<Seen>, Condvar)>::default();
        let (shared, answer) = (Arc::clone(&seen), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                std::thread::spawn(move || serve(&stream, &shared, &*answer));
            }
        });
        Self { url, seen }
    }

    /// One that answers everything with its own target.
    pub(crate) fn echo() -> Self {
        Self::new(|arrived| Reply::json(&json!({"target": arrived.target})))
    }

    /// Lets everybody through who waits at `/hold`, and all who come.
    pub(crate) fn open(&self) {
        self.seen.0.lock().expect("no panic").open = true;
        self.seen.1.notify_all();
    }

    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.seen.0.lock().expect("no panic").arrived.clone()
    }

    /// How many requests came to `target`.
    pub(crate) fn count(&self, target: &str) -> usize {
        self.arrived().iter().filter(|arrived| arrived.target == target).count()
    }

    /// Waits until so many requests have come to `target`.
    pub(crate) fn wait_for(&self, target: &str, count: usize) {
        let deadline = Instant::now() + LIMIT;
        let mut seen = self.seen.0.lock().expect("no panic");
        while seen.arrived.iter().filter(|arrived| arrived.target == target).count() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{count} never come to {target}");
            seen = self.seen.1.wait_timeout(seen, left).expect("no panic").0;
        }
    }
}

fn serve(mut stream: &TcpStream, seen: &(Mutex<Seen>, Condvar), answer: &dyn Fn(&Arrived) -> Reply) {
    let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
    while let Some(arrived) = read(&mut reader) {
        let is_held = arrived.target.starts_with("/hold");
        let reply = answer(&arrived);
        {
            let mut state = seen.0.lock().expect("no panic");
            state.arrived.push(arrived);
            seen.1.notify_all();
            while is_held && !state.open {
                state = seen.1.wait(state).expect("no panic");
            }
        }
        let mut head = format!("HTTP/1.1 {} X\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
        for (name, value) in reply.headers {
            head.extend([name, ": ", &value, "\r\n"]);
        }
        // Whoever asked may be gone.
        if stream.write_all((head + "\r\n").as_bytes()).and_then(|()| stream.write_all(&reply.body)).is_err()
        {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Arrived> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Arrived { method, target, headers, body })
}

/// A workflow of these tasks.
pub(crate) fn flow(tasks: Value) -> Value {
    let mut spec =
        json!({"document": {"dsl": "1.0.0", "namespace": "test", "name": "flow", "version": "1.0.0"}});
    spec["do"] = tasks;
    spec
}

/// A task that sends a request.
pub(crate) fn request(method: &str, world: &World, target: &str) -> Value {
    json!({"call": "http", "with": {"method": method, "endpoint": format!("{}{target}", world.url)}})
}

/// Applies a workflow under the name `flow`, and begins an execution of it.
pub(crate) fn begin(server: &Server, spec: &Value, input: &Value) -> String {
    let (status, answer) = server.apply("Workflow", "flow", spec);
    assert_eq!(status, 200, "{answer}");
    let execution = server.post("/v1/executions", &json!({"name": "flow", "input": input}));
    execution["id"].as_str().expect("an id").to_owned()
}

/// Waits for an event of this kind in the journal.
pub(crate) fn wait_for_event(server: &Server, id: &str, kind: &str) -> Value {
    let mut events = server.stream(id, 0);
    events.find(|event| event["type"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

pub(crate) fn completed(server: &Server, id: &str) -> Value {
    let execution = server.end_of(id);
    assert_eq!(execution["phase"], "COMPLETED", "{execution}");
    execution["output"].clone()
}

pub(crate) fn failed(server: &Server, id: &str) -> Value {
    let execution = server.end_of(id);
    assert_eq!(execution["phase"], "FAILED", "{execution}");
    execution["error"].clone()
}
