//! What a journal says of earlier runs of an execution.

use super::Entry;
use crate::engine::{Millis, Outcome};
use crate::interpreter::Runtime;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// Facts and remarks of a journal, by the path of their task.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Runtime that the execution began on; executions of older versions have no record of it.
    pub(super) runtime: Option<Runtime>,
    /// Whether any task was recorded.
    pub(super) has_tasks: bool,
    pub(super) started: HashMap<String, Millis>,
    /// Kinds of remarks that are in the journal already, with their path.
    pub(super) remarks: HashSet<(String, String)>,
    /// Effects that were attempted.
    pub(super) attempted: HashSet<String>,
    pub(super) outcomes: HashMap<String, Outcome>,
    /// Ends of waits and pauses.
    pub(super) until: HashMap<String, Millis>,
    pub(super) times: HashMap<String, Millis>,
    /// Branches that ended forks.
    pub(super) decided: HashMap<String, usize>,
    /// Size of all recorded outcomes, in bytes of JSON.
    pub(super) outcome_bytes: usize,
    /// Parts of a long outcome.
    parts: HashMap<String, String>,
}

impl Past {
    pub(super) fn read(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut past = Self::default();
        for entry in entries {
            past.take(&entry);
        }
        past
    }

    fn take(&mut self, entry: &Entry) {
        let data = &entry.data;
        let Some(path) = entry.task.clone() else {
            if entry.kind == "runtime" && self.runtime.is_none() {
                self.runtime = serde_json::from_value(data.clone()).ok();
            }
            return;
        };
        self.has_tasks = true;
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
            kind => drop(self.remarks.insert((kind.to_owned(), path))),
        }
    }

    fn effect(&mut self, path: String, data: &Value) {
        if let Some(at) = data["time"].as_u64() {
            self.times.entry(path).or_insert(at);
        } else if let Some(branch) = data["branch"].as_u64().and_then(|branch| usize::try_from(branch).ok()) {
            self.decided.entry(path).or_insert(branch);
        } else if !data["begun"].is_null() {
            self.attempted.insert(path);
        } else if let Ok(outcome) = serde_json::from_value(data["ended"].clone()) {
            self.outcome(path, outcome);
        } else if let (Some(part), Some(of), Some(text)) =
            (data["part"].as_u64(), data["of"].as_u64(), data["text"].as_str())
        {
            let whole = self.parts.entry(path.clone()).or_default();
            // An earlier attempt to write the outcome may have been cut off.
            if part == 1 {
                whole.clear();
            }
            whole.push_str(text);
            if part == of
                && let Ok(outcome) = serde_json::from_str(whole)
            {
                self.parts.remove(&path);
                self.outcome(path, outcome);
            }
        }
    }

    fn outcome(&mut self, path: String, outcome: Outcome) {
        self.outcome_bytes += serde_json::to_string(&outcome).unwrap_or_default().len();
        self.outcomes.entry(path).or_insert(outcome);
    }
}

/// Key of a pause among the waits.
pub(super) fn pause_key(path: &str, attempt: u64) -> String {
    format!("{path}#{attempt}")
}
