//! A worker that does what a test says, and commands that are watched while they run.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use stigmer_test_support::server::{LIMIT, Platform, signal};

/// Far more often than a lease needs.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// A worker of a platform, for agents. What it holds it goes on holding, however long a test takes.
pub(crate) struct Worker {
    place: Arc<Mutex<Place>>,
    n: u64,
    _alive: Sender<()>,
}

#[derive(Clone)]
struct Place {
    url: String,
    token: String,
    worker: String,
    lease: Option<String>,
}

impl Place {
    fn post(&self, path: &str, body: &Value) -> Result<(u16, Value), ureq::Error> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(LIMIT))
            .build()
            .into();
        let mut response = agent
            .post(format!("{}{path}", self.url))
            .header("Authorization", format!("Bearer {}", self.token))
            .send(body.to_string())?;
        let body = response.body_mut().read_json().unwrap_or(Value::Null);
        Ok((response.status().as_u16(), body))
    }

    fn heartbeat(&self, events: &Value) -> Option<Result<(u16, Value), ureq::Error>> {
        let lease = self.lease.as_ref()?;
        Some(self.post(&format!("/v1/leases/{lease}/heartbeat"), &json!({ "events": events })))
    }
}

impl Worker {
    pub(crate) fn new(platform: &Platform) -> Self {
        let place = register(platform, None);
        let place = Arc::new(Mutex::new(place));
        let (alive, ends) = mpsc::channel::<()>();
        let kept = Arc::clone(&place);
        std::thread::spawn(move || {
            while ends.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                let place = kept.lock().expect("no panic").clone();
                // The server may be away; that is what some tests are about.
                let _ = place.heartbeat(&json!([]));
            }
        });
        Self { place, n: 0, _alive: alive }
    }

    fn place(&self) -> Place {
        self.place.lock().expect("no panic").clone()
    }

    /// The platform was restarted: the worker goes on with what it holds.
    pub(crate) fn come_back(&mut self, platform: &Platform) {
        let lease = self.place().lease;
        let fresh = register(platform, lease);
        *self.place.lock().expect("no panic") = fresh;
    }

    /// Waits for an execution of an agent, and takes it.
    pub(crate) fn take(&mut self) -> Value {
        let place = self.place();
        let path = format!("/v1/workers/{}/lease", place.worker);
        let body = json!({"kinds": ["agent"], "wait_ms": 20_000});
        let (status, leased) = place.post(&path, &body).expect("answered");
        assert_eq!(status, 200, "{leased}");
        self.place.lock().expect("no panic").lease = leased["lease"].as_str().map(str::to_owned);
        self.n = 0;
        leased
    }

    /// Says that something happened. Whether the execution is called off.
    pub(crate) fn tell(&mut self, kind: &str, data: &Value) -> bool {
        self.n += 1;
        let events = json!([{"n": self.n, "type": kind, "data": data}]);
        let (status, answer) = self.place().heartbeat(&events).expect("a lease").expect("answered");
        assert_eq!(status, 200, "{answer}");
        answer["cancel"] == true
    }

    /// A part of an answer.
    pub(crate) fn say(&mut self, text: &str) {
        self.tell("message.delta", &json!({"message": "m", "text": text}));
    }

    fn end(&mut self, how: &str, body: &Value) {
        let place = self.place();
        let lease = place.lease.as_ref().expect("a lease");
        let (status, answer) = place.post(&format!("/v1/leases/{lease}/{how}"), body).expect("answered");
        assert_eq!(status, 200, "{answer}");
        self.place.lock().expect("no panic").lease = None;
    }

    pub(crate) fn complete(&mut self, text: &str) {
        self.tell("message", &json!({"id": "m", "role": "assistant", "text": text}));
        self.end("complete", &json!({"output": {"text": text}}));
    }

    pub(crate) fn fail(&mut self, error: &Value) {
        self.end("fail", &json!({ "error": error }));
    }

    pub(crate) fn cancelled(&mut self) {
        self.end("cancelled", &json!({}));
    }

    /// Waits until it hears that the execution is called off.
    pub(crate) fn hear_of_cancellation(&mut self) {
        let deadline = Instant::now() + LIMIT;
        while !self.tell("note", &json!({})) {
            assert!(Instant::now() < deadline, "it is never called off");
        }
    }

    /// It goes, and leaves what it holds.
    pub(crate) fn go(self) {
        let place = self.place();
        let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
        agent
            .delete(format!("{}/v1/workers/{}", place.url, place.worker))
            .header("Authorization", format!("Bearer {}", place.token))
            .call()
            .expect("it may go");
    }
}

fn register(platform: &Platform, lease: Option<String>) -> Place {
    let status = platform.status();
    let url = status["url"].as_str().expect("a url").to_owned();
    let nobody = Place { url, token: platform.token(), worker: String::new(), lease };
    let instance = status["instance"].as_str().expect("an instance");
    let body = json!({"kind": "agent-runner", "version": "1", "pid": 1, "instance": instance});
    let (status, answer) = nobody.post("/v1/workers", &body).expect("answered");
    assert_eq!(status, 201, "{answer}");
    Place { worker: answer["id"].as_str().expect("an id").to_owned(), ..nobody }
}

/// A command that runs, and what it says.
pub(crate) struct Running {
    child: Child,
    out: Lines,
    err: Lines,
}

/// Lines as they come.
struct Lines {
    came: Receiver<String>,
    all: String,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, came) = mpsc::channel();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|count| count > 0) {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Self { came, all: String::new() }
    }

    fn until(&mut self, words: &str) {
        let deadline = Instant::now() + LIMIT;
        while !self.all.contains(words) {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.came.recv_timeout(left);
            let line = line.unwrap_or_else(|error| panic!("{error}: no `{words}` in:\n{}", self.all));
            self.all.push_str(&line);
        }
    }

    fn rest(&mut self) -> String {
        self.all.extend(self.came.iter());
        std::mem::take(&mut self.all)
    }
}

impl Running {
    pub(crate) fn new(platform: &Platform, args: &[&str]) -> Self {
        let mut child = platform
            .command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("stigmer runs");
        let out = Lines::of(child.stdout.take().expect("piped"));
        let err = Lines::of(child.stderr.take().expect("piped"));
        Self { child, out, err }
    }

    /// Waits until `words` were printed as data.
    pub(crate) fn prints(&mut self, words: &str) {
        self.out.until(words);
    }

    /// Waits until `words` were said.
    pub(crate) fn says(&mut self, words: &str) {
        self.err.until(words);
    }

    pub(crate) fn interrupt(&self) {
        signal(self.child.id(), rustix::process::Signal::INT);
    }

    /// Its end: the code, all data, and all that was said.
    pub(crate) fn end(mut self) -> (Option<i32>, String, String) {
        let (watch, watched) = mpsc::channel::<()>();
        let pid = self.child.id();
        let watching = std::thread::spawn(move || {
            if watched.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                signal(pid, rustix::process::Signal::KILL);
            }
        });
        let status = self.child.wait().expect("it ends");
        drop(watch);
        watching.join().expect("no panic");
        (status.code(), self.out.rest(), self.err.rest())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
