//! The engine that keeps its memory in a journal.
//!
//! What was answered once is an entry under the path of its task, and is answered again from there. Two entries surround a request:
//! `begun` is in the journal for good before anything is sent, and what came of it before anything is made of that. So a crash in
//! between is known for what it is. What becomes of tasks is written down too, for people; nothing depends on it.

use super::engine::{AgentRequest, Engine, HttpRequest, Millis, Outcome, Stop, Waited};
use super::fault::Fault;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// A longer output of a task is only mentioned, in bytes of JSON: it can be computed again.
const MOST_SHOWN: usize = 64 * 1024;

/// So much is shown of all outputs together: then they are only mentioned, too.
const MOST_SHOWN_IN_ALL: usize = 8 * 1024 * 1024;

/// When the answers of an execution have so many bytes together, nobody is asked for more: all of them are read when it is begun
/// again.
const MOST_KEPT: usize = 64 * 1024 * 1024;

/// A longer answer is kept in several entries, in bytes.
const MOST_AT_ONCE: usize = 100 * 1024;

/// A line of the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What happened.
    pub kind: String,
    /// The path of the task it happened in.
    pub task: Option<String>,
    /// The details.
    pub data: Value,
}

/// Where a journal is kept, and how effects are had in the world.
pub trait Host {
    /// Adds to the journal, all of it or nothing. It may be kept back for a moment.
    fn add(&mut self, entries: Vec<Entry>) -> Result<(), Stop>;

    /// Returns when everything that was added is in the journal for good.
    fn settle(&mut self) -> Result<(), Stop>;

    /// The time.
    fn now(&mut self) -> Millis;

    /// A number by chance, below 1.
    fn chance(&mut self) -> f64;

    /// Returns when it is `until`.
    fn sleep(&mut self, until: Millis) -> Result<(), Stop>;

    /// Sends a request, and gives what may be kept of the answer.
    fn http(&mut self, request: &HttpRequest, deadline: Option<Millis>) -> Result<Outcome, Stop>;

    /// Asks an agent for the task `path`, and gives what may be kept of the answer. Asked again for the same task, it is not a
    /// second question.
    fn agent(
        &mut self,
        path: &str,
        request: &AgentRequest,
        deadline: Option<Millis>,
    ) -> Result<Outcome, Stop>;
}

/// What a journal says of before.
#[derive(Debug, Default)]
struct Past {
    started: HashMap<String, Millis>,
    /// Kinds of entries that are there already, by path: they are not written twice.
    said: HashSet<(String, String)>,
    begun: HashSet<String>,
    ended: HashMap<String, Outcome>,
    /// The pieces of an answer that is long.
    pieces: HashMap<String, String>,
    /// Until when waits and pauses last.
    until: HashMap<String, Millis>,
    times: HashMap<String, Millis>,
}

impl Past {
    fn take(&mut self, entry: &Entry) {
        let Some(path) = entry.task.clone() else { return };
        let data = &entry.data;
        match entry.kind.as_str() {
            "task.started" => {
                if let Some(at) = data["at"].as_u64() {
                    self.started.entry(path).or_insert(at);
                }
            }
            "wait.set" => {
                if let Some(until) = data["until_ms"].as_u64() {
                    self.until.entry(path).or_insert(until);
                }
            }
            "task.retried" => {
                if let (Some(attempt), Some(until)) = (data["attempt"].as_u64(), data["until_ms"].as_u64()) {
                    self.until.entry(pause_key(&path, attempt)).or_insert(until);
                }
            }
            "effect" => self.effect(path, data),
            kind => drop(self.said.insert((kind.to_owned(), path))),
        }
    }

    fn effect(&mut self, path: String, data: &Value) {
        if let Some(at) = data["time"].as_u64() {
            self.times.entry(path).or_insert(at);
        } else if !data["begun"].is_null() {
            self.begun.insert(path);
        } else if let Ok(outcome) = serde_json::from_value(data["ended"].clone()) {
            self.ended.entry(path).or_insert(outcome);
        } else if let (Some(part), Some(of), Some(text)) =
            (data["part"].as_u64(), data["of"].as_u64(), data["text"].as_str())
        {
            let whole = self.pieces.entry(path.clone()).or_default();
            // Pieces of an attempt to write it that was cut off are of no use.
            if part == 1 {
                whole.clear();
            }
            whole.push_str(text);
            if part == of
                && let Ok(outcome) = serde_json::from_str(whole)
            {
                self.ended.entry(path).or_insert(outcome);
            }
        }
    }
}

fn pause_key(path: &str, attempt: u64) -> String {
    format!("{path}#{attempt}")
}

/// An engine on a journal.
#[derive(Debug)]
pub struct Journaled<H> {
    host: H,
    past: Past,
    /// How much was shown of outputs, in bytes.
    shown: usize,
    /// How long the answers were so far, in bytes. The same when it is begun again.
    kept: usize,
}

impl<H: Host> Journaled<H> {
    /// Goes on from where `journal` ends.
    pub fn new(host: H, journal: impl IntoIterator<Item = Entry>) -> Self {
        let mut past = Past::default();
        for entry in journal {
            past.take(&entry);
        }
        Self { host, past, shown: 0, kept: 0 }
    }

    /// Its host.
    pub fn host(&mut self) -> &mut H {
        &mut self.host
    }

    fn add(&mut self, kind: &str, path: &str, data: Value) -> Result<(), Stop> {
        self.host.add(vec![entry(kind, path, data)])
    }

    /// Adds an entry unless there is one of this kind for this path.
    fn say(&mut self, kind: &str, path: &str, data: Value) -> Result<(), Stop> {
        if self.past.said.contains(&(kind.to_owned(), path.to_owned())) {
            return Ok(());
        }
        self.add(kind, path, data)
    }

    fn sleep(&mut self, until: Millis, deadline: Option<Millis>) -> Result<Waited, Stop> {
        let late = deadline.filter(|deadline| *deadline < until);
        self.host.sleep(late.unwrap_or(until))?;
        Ok(if late.is_some() { Waited::TimedOut } else { Waited::Through })
    }

    /// What is known of an effect without having it: what came of it before, or that there is no room for what would.
    fn known(&mut self, path: &str) -> Option<Outcome> {
        if self.kept > MOST_KEPT {
            let words = format!("the answers so far have more than {MOST_KEPT} bytes together");
            return Some(Outcome::Failed(Fault::runtime(words)));
        }
        let outcome = self.past.ended.get(path)?.clone();
        self.kept += serde_json::to_string(&outcome).unwrap_or_default().len();
        Some(outcome)
    }

    /// Writes down what came of an effect.
    fn remember(&mut self, path: &str, outcome: &Outcome) -> Result<(), Stop> {
        let text = serde_json::to_string(outcome).unwrap_or_default();
        self.kept += text.len();
        if text.len() <= MOST_AT_ONCE {
            self.add("effect", path, json!({ "ended": outcome }))?;
            return self.host.settle();
        }
        let pieces = pieces(&text);
        let of = pieces.len();
        let piece =
            |(place, piece)| entry("effect", path, json!({"part": place + 1, "of": of, "text": piece}));
        self.host.add(pieces.into_iter().enumerate().map(piece).collect())?;
        self.host.settle()
    }
}

fn entry(kind: &str, path: &str, data: Value) -> Entry {
    Entry { kind: kind.to_owned(), task: Some(path.to_owned()), data }
}

/// Cuts text into pieces that fit into an entry each.
fn pieces(mut text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let end = (0..=text.len().min(MOST_AT_ONCE)).rev().find(|end| text.is_char_boundary(*end));
        let (piece, rest) = text.split_at(end.unwrap_or(text.len()));
        pieces.push(piece);
        text = rest;
    }
    pieces
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

impl<H: Host> Engine for Journaled<H> {
    fn started(&mut self, path: &str, kind: &str) -> Result<Millis, Stop> {
        if let Some(at) = self.past.started.get(path) {
            return Ok(*at);
        }
        let at = self.host.now();
        self.add("task.started", path, json!({"kind": kind, "at": at}))?;
        Ok(at)
    }

    fn completed(&mut self, path: &str, output: &Value) -> Result<(), Stop> {
        let long = output.to_string().len();
        self.shown = self.shown.saturating_add(long.min(MOST_SHOWN));
        let is_too_much = long > MOST_SHOWN || self.shown > MOST_SHOWN_IN_ALL;
        let data = if is_too_much { json!({ "output_bytes": long }) } else { json!({ "output": output }) };
        self.say("task.completed", path, data)
    }

    fn skipped(&mut self, path: &str) -> Result<(), Stop> {
        self.say("task.completed", path, json!({"skipped": true}))
    }

    fn failed(&mut self, path: &str, fault: &Fault) -> Result<(), Stop> {
        let mut short = fault.clone();
        short.detail = fault.detail.as_ref().map(|detail| detail.chars().take(4000).collect());
        self.say("task.failed", path, json!({ "error": short }))
    }

    fn branched(&mut self, path: &str, case: &str) -> Result<(), Stop> {
        self.say("branch", path, json!({ "case": case }))
    }

    fn now(&mut self, path: &str) -> Result<Millis, Stop> {
        if let Some(at) = self.past.times.get(path) {
            return Ok(*at);
        }
        let at = self.host.now();
        self.add("effect", path, json!({ "time": at }))?;
        Ok(at)
    }

    fn wait(&mut self, path: &str, length: Duration, deadline: Option<Millis>) -> Result<Waited, Stop> {
        let known = self.past.until.get(path).copied();
        let until = if let Some(until) = known {
            until
        } else {
            let until = self.host.now().saturating_add(millis(length));
            let time = std::time::UNIX_EPOCH + Duration::from_millis(until);
            let text = humantime::format_rfc3339_millis(time).to_string();
            self.add("wait.set", path, json!({"until": text, "until_ms": until}))?;
            self.host.settle()?;
            until
        };
        self.sleep(until, deadline)
    }

    fn pause(
        &mut self,
        path: &str,
        attempt: u64,
        delay: Duration,
        jitter: Option<(Duration, Duration)>,
        deadline: Option<Millis>,
    ) -> Result<Waited, Stop> {
        let known = self.past.until.get(&pause_key(path, attempt)).copied();
        let until = if let Some(until) = known {
            until
        } else {
            let more = jitter.map_or(Duration::ZERO, |(from, to)| {
                from + to.saturating_sub(from).mul_f64(self.host.chance())
            });
            let delay = millis(delay.saturating_add(more));
            let until = self.host.now().saturating_add(delay);
            let data = json!({"attempt": attempt, "delay_ms": delay, "until_ms": until});
            self.add("task.retried", path, data)?;
            self.host.settle()?;
            until
        };
        self.sleep(until, deadline)
    }

    fn http(&mut self, path: &str, request: &HttpRequest, deadline: Option<Millis>) -> Result<Outcome, Stop> {
        if let Some(known) = self.known(path) {
            return Ok(known);
        }
        let outcome = if self.past.begun.contains(path) && !request.is_repeatable() {
            let words = format!(
                "the worker was lost while a {} request was under way; it may have arrived, so it was not sent again",
                request.method
            );
            Outcome::Failed(Fault::interrupted(words))
        } else {
            // Said twice, it would look as if something had happened since.
            if !self.past.begun.contains(path) {
                self.add("effect", path, json!({"begun": request.method}))?;
            }
            self.host.settle()?;
            self.host.http(request, deadline)?
        };
        self.remember(path, &outcome)?;
        Ok(outcome)
    }

    fn agent(
        &mut self,
        path: &str,
        request: &AgentRequest,
        deadline: Option<Millis>,
    ) -> Result<Outcome, Stop> {
        if let Some(known) = self.known(path) {
            return Ok(known);
        }
        self.host.settle()?;
        let outcome = self.host.agent(path, request, deadline)?;
        self.remember(path, &outcome)?;
        Ok(outcome)
    }
}
