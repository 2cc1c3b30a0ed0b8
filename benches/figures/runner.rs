//! The runner: from being started to being ready, and the shortest thing it can do.

use crate::figure::{Bar, Figure, Row, Unit};
use crate::http::{Answer, Request, Server};
use crate::measure::{Contestant, take_turns, time};
use crate::{Context, Outcome};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use stigmer::protocol::component::CONFIG_SCHEMA;

const METHOD: &str = "The frozen runner from its tree, files in the page cache. Ready: started with `--supervised`, config on standard input, until its \
    handshake line says `ready`, which it does when its worker has registered with a server (here one that accepts everything) and its first \
    heartbeat was answered. It is then told to drain, outside the timed part.";

pub(crate) fn measure(context: &Context) -> Outcome<Figure> {
    let program = context.tree.join("agent-runner");
    let server = Server::start(answer)?;
    let work = context.scratch.empty("runner")?;
    let samples = take_turns(
        context.rounds(21),
        vec![
            Contestant::new("agent-runner until ready", || until_ready(&program, server.url(), &work)),
            Contestant::new("agent-runner --version", || time(Command::new(&program).arg("--version"))),
        ],
    )?;
    context.scratch.vacant("runner")?;
    let rows = vec![
        Row::alone("runner start, until ready", Unit::Milliseconds, samples[0].median(), Bar::AtMost(600.0)),
        Row::alone("`agent-runner --version`", Unit::Milliseconds, samples[1].median(), Bar::Reported),
    ];
    Ok(Figure { method: METHOD.into(), rows, samples, ..Figure::default() })
}

/// A server that accepts every worker.
fn answer(request: &Request) -> Answer {
    match request.method.as_str() {
        "POST" if request.path == "/v1/workers" => {
            Answer::status(201, *br#"{"id": "w-bench", "heartbeat_ms": 1000, "expires_ms": 5000}"#)
        }
        "DELETE" => Answer::status(204, []),
        _ => Answer::ok(*b"{}"),
    }
}

fn until_ready(program: &Path, server_url: &str, work_dir: &Path) -> Outcome<Duration> {
    let config = serde_json::json!({
        "schema": CONFIG_SCHEMA, "component": "agent-runner", "instance": "bench", "server_url": server_url, "token": "bench",
        "work_dir": work_dir, "heartbeat_ms": 1000, "environment": {},
        "settings": {"executions": 4, "model": null},
    });
    let start = Instant::now();
    let mut command = Command::new(program);
    command.arg("--supervised").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let line = handshake(&mut child, &format!("{config}\n"));
    let taken = start.elapsed();
    // The end of its standard input tells it that its supervisor is gone.
    drop(child.stdin.take());
    child.wait()?;
    let line = line?;
    if line.contains(r#""ready""#) { Ok(taken) } else { Err(format!("the runner said {line:?}").into()) }
}

fn handshake(child: &mut Child, config: &str) -> Outcome<String> {
    let stdin = child.stdin.as_mut().ok_or("no standard input")?;
    stdin.write_all(config.as_bytes())?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no standard output")?).read_line(&mut line)?;
    Ok(line)
}
