//! Supervision: how soon a killed component is noticed, how soon nothing is left of a killed supervisor, and what watching costs.

use crate::figure::{Bar, Figure, Row, Unit};
use crate::measure::{Samples, bytes};
use crate::{Context, Outcome};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use stigmer::platform;

const METHOD: &str = "A platform with the real agent runner, all ready. A killed component: the workflow runner gets SIGKILL; its end is the time that the \
    supervisor wrote beside `ended` in the component's log (which has milliseconds), ready again is the one beside `ready`, and contains the pause of the \
    restart policy (375 to 500 ms). A killed supervisor: it gets SIGKILL, and the last of its components and attendants is waited for. Idle: processor time \
    that the supervisor's threads used (`schedstat`) over ten seconds in which nobody asked it anything, and its resident memory after that.";

/// How long the idle supervisor is watched.
const IDLE: Duration = Duration::from_secs(10);

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

struct Platform<'a> {
    context: &'a Context,
    home: PathBuf,
}

impl Platform<'_> {
    fn run(&self, words: &[&str]) -> Outcome<Value> {
        let output = Command::new(&self.context.stigmer)
            .arg("server")
            .args(words)
            .arg("--json")
            .env("STIGMER_HOME", &self.home)
            .stdin(Stdio::null())
            .output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The time that stands beside the first event after `since` that begins with `word`, in the log of `component`.
    fn event(&self, component: &str, word: &str, since: SystemTime) -> Outcome<SystemTime> {
        let log = self.home.join("logs").join(format!("{component}.log"));
        let deadline = Instant::now() + LIMIT;
        // The log has milliseconds, and cuts off the rest.
        let since = since - Duration::from_millis(1);
        while Instant::now() < deadline {
            for line in fs_err::read_to_string(&log)?.lines() {
                let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
                let time = line["time"].as_str().and_then(|time| humantime::parse_rfc3339(time).ok());
                let is_wanted = line["stream"] == "event"
                    && line["text"].as_str().is_some_and(|text| text.starts_with(word));
                if let Some(time) = time.filter(|time| is_wanted && *time >= since) {
                    return Ok(time);
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(format!("`{}` never says `{word}`", log.display()).into())
    }
}

impl Drop for Platform<'_> {
    fn drop(&mut self) {
        let _ = self.run(&["stop"]);
    }
}

pub(crate) fn measure(context: &Context) -> Outcome<Figure> {
    let platform = Platform { context, home: context.scratch.empty("supervise")? };
    let names = ["a killed component is noticed", "and ready again", "nothing left of a killed supervisor"];
    let mut samples =
        names.map(|name| Samples { name: name.into(), unit: Unit::Milliseconds, runs: Vec::new() });
    let (mut idle, mut memory) = (Vec::new(), Vec::new());
    for round in 0..context.rounds(11) {
        let status = platform.run(&["start", "--port", "0"])?;
        if round < 3 {
            let supervisor = pid(&status["pid"])?;
            let before = processor_time(supervisor)?;
            std::thread::sleep(IDLE);
            let used = processor_time(supervisor)?.saturating_sub(before);
            idle.push(100.0 * used.as_secs_f64() / IDLE.as_secs_f64());
            memory.push(bytes(platform::resident_bytes(supervisor).ok_or("no memory is shown")?));
        }
        let killed = SystemTime::now();
        kill(pid(&component(&status, "workflow-runner")?["pid"])?)?;
        for (at, word) in [(0, "ended"), (1, "ready")] {
            let time = platform.event("workflow-runner", word, killed)?;
            samples[at].runs.push(millis(time.duration_since(killed).unwrap_or_default()));
        }
        samples[2].runs.push(millis(kill_supervisor(&platform)?));
    }
    drop(platform);
    context.scratch.vacant("supervise")?;
    let bars = [Bar::AtMost(50.0), Bar::Reported, Bar::AtMost(1000.0)];
    let mut rows: Vec<Row> = samples
        .iter()
        .zip(bars)
        .map(|(one, bar)| Row::alone(&one.name, Unit::Milliseconds, one.median(), bar))
        .collect();
    let mut samples = Vec::from(samples);
    for (name, unit, runs, bar) in [
        ("idle supervisor, processor", Unit::Percent, idle, Bar::AtMost(0.05)),
        ("idle supervisor, memory", Unit::Bytes, memory, Bar::AtMost(15e6)),
    ] {
        let one = Samples { name: name.into(), unit, runs };
        rows.push(Row::alone(name, unit, one.median(), bar));
        samples.push(one);
    }
    Ok(Figure { method: METHOD.into(), rows, samples, ..Figure::default() })
}

/// Kills the supervisor, and says how long it took until the last of its processes was gone.
fn kill_supervisor(platform: &Platform<'_>) -> Outcome<Duration> {
    let status = platform.run(&["status"])?;
    let mut others = Vec::new();
    for component in status["components"].as_array().ok_or("no components")? {
        for key in ["pid", "attendant_pid"] {
            if let Ok(pid) = pid(&component[key]) {
                others.push((pid, platform::process_started(pid).ok_or("it is gone already")?));
            }
        }
    }
    let began = Instant::now();
    kill(pid(&status["pid"])?)?;
    for (pid, started) in others {
        if !platform::wait_for_end(pid, started, LIMIT) {
            return Err(format!("process {pid} is left").into());
        }
    }
    Ok(began.elapsed())
}

fn component<'a>(status: &'a Value, name: &str) -> Outcome<&'a Value> {
    let mut all = status["components"].as_array().into_iter().flatten();
    Ok(all.find(|one| one["name"] == name).ok_or_else(|| format!("no {name} in {status}"))?)
}

fn pid(value: &Value) -> Outcome<u32> {
    Ok(u32::try_from(value.as_u64().ok_or("no process id")?)?)
}

fn kill(pid: u32) -> Outcome<()> {
    let status = Command::new("kill").args(["-KILL", &pid.to_string()]).status()?;
    if status.success() { Ok(()) } else { Err(format!("kill {pid}: {status}").into()) }
}

/// What all threads of a process have used of the processors. Finer than the clock ticks of `stat`.
fn processor_time(pid: u32) -> Outcome<Duration> {
    let mut total = 0;
    for task in fs_err::read_dir(Path::new("/proc").join(pid.to_string()).join("task"))? {
        let text = fs_err::read_to_string(task?.path().join("schedstat"))?;
        total += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 1e4
}
