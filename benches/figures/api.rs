//! The server: how many executions it takes through their lives, how soon it answers, how fast events reach those who watch, and what
//! the platform costs while nothing happens. The workers are ours and do nothing, so that the server is what is measured.

use crate::figure::{Bar, Figure, Row, Unit};
use crate::measure::{Samples, as_float, bytes};
use crate::scratch::remove;
use crate::{Context, Outcome};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const METHOD: &str = "`internal-server` by itself, and clients in the process that measures. Executions: 4 clients ask for 250 each, 4 workers lease and \
    complete them, until all are completed; each is three commits, which the server does for several requests at once. Its peer: as many rows, each in a \
    commit of its own, written by SQLite with the same settings (WAL, `synchronous=FULL`) into a database on the same disk, by turns. Latency: a client that \
    asks one thing after the other while nothing else happens. Events: one execution, whose worker reports 100 events of 100 bytes with each heartbeat, and 4 \
    clients that watch; counted are those that arrived. An event reaches who watches: from before the heartbeat that reports it to its arrival. Each value is \
    the median of the rounds, of p99 too. Idle: the whole platform ready, with the real agent runner; its processes' memory (`Pss`, which counts a shared page \
    once in all).";

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// So many ask, and so many work.
const CROWD: usize = 4;

/// How many executions each who asks asks for.
const EACH: usize = 250;

/// How many answers a latency is taken from.
const ANSWERS: usize = 500;

/// How many events a stream is measured with, and how many come at once.
const EVENTS: (usize, usize) = (10_000, 100);

/// A server of its own, with an agent.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(work_dir: &Path) -> Outcome<Self> {
        let config = json!({
            "schema": stigmer::protocol::component::CONFIG_SCHEMA, "component": "stigmer-server", "instance": "i",
            "server_url": "http://127.0.0.1:0", "token": TOKEN, "work_dir": work_dir.display().to_string(),
            "heartbeat_ms": 5000, "environment": {}, "settings": {},
        });
        let mut child = Command::new(Context::bare())
            .args(["internal-server", "--supervised"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        writeln!(child.stdin.as_mut().ok_or("no input")?, "{config}")?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().ok_or("no output")?).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line)?;
        let address = said["address"].as_str().ok_or("the server is not ready")?;
        let server = Self { url: format!("http://{address}"), child };
        let agent =
            json!({"apiVersion": "stigmer.ai/v1", "kind": "Agent", "metadata": {"name": "a"}, "spec": {}});
        server.client().ask("PUT", "/v1/resources/agents/a", Some(&agent))?;
        Ok(server)
    }

    fn client(&self) -> Client {
        let agent = ureq::Agent::config_builder().proxy(None).build().into();
        Client { agent, url: self.url.clone() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps its connection, as a worker does.
struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Outcome<Value> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("Authorization", format!("Bearer {TOKEN}"));
        let mut response = self.agent.run(request.body(body.map(Value::to_string).unwrap_or_default())?)?;
        let body = response.body_mut().read_to_vec()?;
        Ok(if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? })
    }

    fn post(&self, path: &str, body: &Value) -> Outcome<Value> {
        self.ask("POST", path, Some(body))
    }

    fn execution(&self) -> Outcome<String> {
        text(&self.post("/v1/executions", &json!({"name": "a", "message": "hi"}))?["id"])
    }

    fn worker(&self) -> Outcome<String> {
        // A worker that registers again takes the place of the one with the same kind and process.
        let kind = stigmer::protocol::id::generate()?;
        let body = json!({"kind": kind, "version": "1", "pid": 1, "instance": "i"});
        text(&self.post("/v1/workers", &body)?["id"])
    }

    /// A lease; nothing if there is no work for a while.
    fn lease(&self, worker: &str, wait_ms: u64) -> Outcome<Option<String>> {
        let body = json!({"kinds": ["agent"], "wait_ms": wait_ms});
        let leased = self.post(&format!("/v1/workers/{worker}/lease"), &body)?;
        Ok(leased["lease"].as_str().map(str::to_owned))
    }
}

fn text(value: &Value) -> Outcome<String> {
    Ok(value.as_str().ok_or("the server's answer is not understood")?.to_owned())
}

/// Runs the same in several threads at once, until all have ended.
fn at_once(count: usize, work: impl Fn() -> Outcome<()> + Sync) -> Outcome<()> {
    let failed: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..count).map(|_| scope.spawn(|| work().map_err(|error| error.to_string()))).collect();
        threads.into_iter().filter_map(|one| one.join().map_or(Some("a panic".into()), Result::err)).collect()
    });
    match failed.first() {
        Some(first) => Err(first.clone().into()),
        None => Ok(()),
    }
}

/// Executions a second, with everything from being asked for to being completed.
fn executions(server: &Server) -> Outcome<f64> {
    let total = CROWD * EACH;
    let began = Instant::now();
    let (done, counted) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..CROWD {
            let done = done.clone();
            scope.spawn(move || {
                let work = || -> Outcome<()> {
                    let client = server.client();
                    let worker = client.worker()?;
                    // Who waits in vain has seen the end.
                    while let Some(lease) = client.lease(&worker, 2000)? {
                        client.post(
                            &format!("/v1/leases/{lease}/complete"),
                            &json!({"output": {"text": "x"}}),
                        )?;
                        done.send(Instant::now())?;
                    }
                    Ok(())
                };
                // What is missing is noticed by the count.
                let _ = work();
            });
        }
        drop(done);
        at_once(CROWD, || {
            let client = server.client();
            (0..EACH).try_for_each(|_| client.execution().map(drop))
        })
    })?;
    let ends: Vec<Instant> = counted.iter().collect();
    let last = ends.iter().max().ok_or("nothing was completed")?;
    if ends.len() != total {
        return Err(format!("{} of {total} executions were completed", ends.len()).into());
    }
    Ok(as_float(total) / last.duration_since(began).as_secs_f64())
}

/// Commits a second of `SQLite` alone, with the server's settings.
fn commits(path: &Path) -> Outcome<f64> {
    let connection = rusqlite::Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, x TEXT) STRICT")?;
    let total = CROWD * EACH;
    let began = Instant::now();
    for _ in 0..total {
        connection.execute("INSERT INTO t (x) VALUES (?1)", ["x".repeat(400)])?;
    }
    Ok(as_float(total) / began.elapsed().as_secs_f64())
}

/// The time below which 99 of 100 answers come, in milliseconds.
fn p99(mut ask: impl FnMut() -> Outcome<Duration>) -> Outcome<f64> {
    let mut runs = Vec::new();
    for _ in 0..ANSWERS {
        runs.push(ask()?.as_secs_f64() * 1000.0);
    }
    Ok(Samples { name: String::new(), unit: Unit::Milliseconds, runs }.quantile(0.99))
}

fn timed(work: impl FnOnce() -> Outcome<Value>) -> Outcome<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

/// Attaches to the stream of an execution, and calls `arrived` with each event's number until it says that this is enough.
fn watch(server: &Server, id: &str, mut arrived: impl FnMut(usize) -> bool) -> Outcome<()> {
    let response = server
        .client()
        .agent
        .get(format!("{}/v1/executions/{id}/events?after=0", server.url))
        .header("Authorization", format!("Bearer {TOKEN}"))
        .header("Accept", "text/event-stream")
        .call()?;
    let mut lines = BufReader::new(response.into_body().into_reader());
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        if let Some(seq) = line.strip_prefix("id: ")
            && arrived(seq.trim().parse()?)
        {
            return Ok(());
        }
        line.clear();
    }
    Err("the stream ended too soon".into())
}

/// An execution in work: its id, and its lease.
fn in_work(server: &Server) -> Outcome<(Client, String, String)> {
    let client = server.client();
    let (id, worker) = (client.execution()?, client.worker()?);
    let lease = client.lease(&worker, 0)?.ok_or("no work")?;
    Ok((client, id, lease))
}

/// Events of one execution that reach all who watch it, a second.
fn events(server: &Server) -> Outcome<f64> {
    let (client, id, lease) = in_work(server)?;
    let (total, together) = EVENTS;
    let began = Instant::now();
    let mut outcome = Ok(());
    thread::scope(|scope| -> Outcome<()> {
        let watchers = scope.spawn(|| {
            // Before what is reported there are two: that it was asked for, and that it was taken.
            at_once(CROWD, || watch(server, &id, |seq| seq >= total + 2)).map_err(|error| error.to_string())
        });
        let word = "x".repeat(70);
        for batch in 0..total / together {
            let events: Vec<Value> = (1..=together)
                .map(|n| json!({"n": batch * together + n, "type": "message.delta", "data": {"message": "m", "text": word}}))
                .collect();
            client.post(&format!("/v1/leases/{lease}/heartbeat"), &json!({ "events": events }))?;
        }
        outcome = watchers.join().map_err(|_| "a panic")?;
        Ok(())
    })?;
    outcome?;
    let taken = began.elapsed().as_secs_f64();
    client.post(&format!("/v1/leases/{lease}/complete"), &json!({"output": null}))?;
    Ok(as_float(total * CROWD) / taken)
}

/// The time within which 99 of 100 events reach who watches, in milliseconds.
fn arrival(server: &Server) -> Outcome<f64> {
    let (client, id, lease) = in_work(server)?;
    let (sender, arrived) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            // If it ends too soon, who waits for the next one hears of it.
            let _ = watch(server, &id, move |seq| sender.send((seq, Instant::now())).is_err());
        });
        // What was there before.
        while arrived.recv()?.0 < 2 {}
        let mut n = 0;
        let p99 = p99(|| {
            n += 1;
            let event = json!({"n": n, "type": "message.delta", "data": {"message": "m", "text": "word "}});
            let began = Instant::now();
            client.post(&format!("/v1/leases/{lease}/heartbeat"), &json!({ "events": [event] }))?;
            let (seq, time) = arrived.recv()?;
            if seq == n + 2 { Ok(time.duration_since(began)) } else { Err("an event is missing".into()) }
        });
        drop(arrived);
        // It ends the stream, and with it who watches.
        client.post(&format!("/v1/leases/{lease}/complete"), &json!({"output": null}))?;
        p99
    })
}

/// The memory of all processes of a platform that has nothing to do, and of its agent runner alone, in bytes.
fn idle(context: &Context) -> Outcome<(f64, f64)> {
    let home = context.scratch.empty("api-idle")?;
    let run = |words: &[&str]| -> Outcome<Value> {
        let mut command = Command::new(&context.stigmer);
        command.arg("server").args(words).arg("--json").env("STIGMER_HOME", &home).stdin(Stdio::null());
        Ok(serde_json::from_slice(&command.stderr(Stdio::null()).output()?.stdout)?)
    };
    let status = run(&["start", "--port", "0"])?;
    let measured = (|| {
        let mut all = pss(&status["pid"])?;
        let mut agent = 0;
        for component in status["components"].as_array().ok_or("it does not start")? {
            let own = pss(&component["pid"])?;
            all += own;
            if component["name"] == "agent-runner" {
                agent = own;
            }
            if !component["attendant_pid"].is_null() {
                all += pss(&component["attendant_pid"])?;
            }
        }
        Ok((bytes(all), bytes(agent)))
    })();
    run(&["stop"])?;
    measured
}

/// The share of memory of a process, in bytes.
fn pss(pid: &Value) -> Outcome<u64> {
    let path = format!("/proc/{}/smaps_rollup", pid.as_u64().ok_or("no process id")?);
    let text = fs_err::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("the system does not say it")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

pub(crate) fn measure(context: &Context) -> Outcome<Figure> {
    let names = [
        ("executions, from asked for to completed", Unit::PerSecond),
        ("commits of SQLite alone", Unit::PerSecond),
        ("a new execution, p99", Unit::Milliseconds),
        ("reading an execution, p99", Unit::Milliseconds),
        ("events, to 4 who watch", Unit::PerSecond),
        ("an event reaches who watches, p99", Unit::Milliseconds),
    ];
    let mut samples = names.map(|(name, unit)| Samples { name: name.into(), unit, runs: Vec::new() });
    for round in 0..context.rounds(9) {
        let dir = context.scratch.empty("api")?;
        let server = Server::start(&dir.join("server"))?;
        let mut record = |at: usize, value: f64| samples[at].runs.push((value * 1e4).round() / 1e4);
        // The server and its peer by turns, and neither always first.
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                record(0, executions(&server)?);
            } else {
                record(1, commits(&dir.join("peer.db"))?);
            }
        }
        let client = server.client();
        let id = client.execution()?;
        record(3, p99(|| timed(|| client.ask("GET", &format!("/v1/executions/{id}"), None)))?);
        record(2, p99(|| timed(|| client.post("/v1/executions", &json!({"name": "a", "message": "hi"}))))?);
        // What waits to be done would be given first.
        drop(server);
        remove(&dir.join("server"))?;
        let server = Server::start(&dir.join("server"))?;
        record(4, events(&server)?);
        record(5, arrival(&server)?);
    }
    context.scratch.vacant("api")?;
    let median = |at: usize| samples[at].median();
    let peer = (names[1].0, median(1));
    let mut rows = vec![Row::against(names[0].0, Unit::PerSecond, median(0), peer, Bar::Reported)];
    rows.extend((2..names.len()).map(|at| Row::alone(names[at].0, names[at].1, median(at), Bar::Reported)));
    let mut figure = Figure { method: METHOD.into(), rows, samples: samples.into(), ..Figure::default() };
    match idle(context) {
        Ok((all, agent)) => figure.rows.extend([
            Row::alone("the whole platform, idle", Unit::Bytes, all, Bar::Reported),
            Row::alone("of it the agent runner", Unit::Bytes, agent, Bar::Reported),
        ]),
        Err(error) => figure.missing.push(format!("the idle platform: {error}")),
    }
    Ok(figure)
}
