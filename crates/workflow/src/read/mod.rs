//! From what is written to what is understood.
//!
//! Nothing is passed over: a key that means nothing is a mistake, and one that the language has and we do not is refused by its
//! name, so that what was applied is what runs. All problems are found, each with its place.

mod call;
mod expression;
mod node;
mod policy;
mod task;

use super::model::{ErrorTemplate, Retry, Task, Workflow};
use crate::problem::Problem;
use crate::template::Template;
use node::Node;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A workflow may have so many tasks, those in tasks included.
const MOST_TASKS: usize = 1000;

/// Tasks may be nested so deeply.
const DEEPEST: usize = 32;

/// What is read, and what was found so far.
#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
    /// The variables of the tasks around the one that is read.
    locals: Vec<String>,
    secrets: Vec<String>,
    /// Whether secrets may be named here.
    may_name_secrets: bool,
    errors: BTreeMap<String, ErrorTemplate>,
    retries: BTreeMap<String, Retry>,
    timeouts: BTreeMap<String, Duration>,
    tasks: usize,
    depth: usize,
}

/// Reads a workflow's spec. To be called on a deep stack.
///
/// # Errors
/// Every problem that was found; the places are pointers into the resource.
pub(super) fn read(spec: &Value) -> Result<Workflow, Vec<Problem>> {
    let mut reader = Reader::default();
    let workflow = reader.workflow(&Node { path: "/spec".to_owned(), value: spec });
    match workflow {
        Some(workflow) if reader.problems.is_empty() => Ok(workflow),
        _ => Err(reader.problems),
    }
}

/// Reads a template of an effect, which may name `locals` and `secrets`. To be called on a deep stack.
///
/// # Errors
/// Every problem that was found; the places are pointers into the template.
pub(super) fn secret_template(
    source: &Value,
    locals: Vec<String>,
    secrets: Vec<String>,
) -> Result<Template, Vec<Problem>> {
    let mut reader = Reader { locals, secrets, may_name_secrets: true, ..Reader::default() };
    reader.template(&Node { path: String::new(), value: source }).ok_or(reader.problems)
}

impl Reader {
    fn workflow(&mut self, node: &Node<'_>) -> Option<Workflow> {
        self.object(
            node,
            "a workflow",
            &["document", "input", "use", "do", "timeout", "output", "evaluate"],
            &[("schedule", "an execution begins when somebody asks for it")],
        )?;
        match node.get("document") {
            Some(document) => self.document(&document),
            None => self.wrong(node.below("document"), "a workflow says what it is in `document`"),
        }
        if let Some(evaluate) = node.get("evaluate") {
            self.evaluate(&evaluate);
        }
        if let Some(used) = node.get("use") {
            self.used(&used);
        }
        let input = node.get("input").and_then(|input| self.transformed(&input, "from"));
        let output = node.get("output").and_then(|output| self.transformed(&output, "as"));
        let timeout = node.get("timeout").and_then(|timeout| self.timeout(&timeout));
        let tasks = node.get("do");
        if tasks.is_none() {
            self.wrong(node.below("do"), "a workflow lists its tasks in `do`");
        }
        let tasks: Option<Vec<Task>> = tasks.and_then(|tasks| self.list(&tasks, "/do"));
        let definition = node.value.clone();
        Some(Workflow { definition, input, secrets: self.secrets.clone(), timeout, tasks: tasks?, output })
    }

    fn document(&mut self, node: &Node<'_>) {
        let known = ["dsl", "namespace", "name", "version", "title", "summary", "tags", "metadata"];
        if self.object(node, "`document`", &known, &[]).is_none() {
            return;
        }
        if let Some(dsl) = self.text(node, "dsl", true) {
            // With the last number left out it is the same language.
            let version =
                semver::Version::parse(dsl).or_else(|_| semver::Version::parse(&format!("{dsl}.0"))).ok();
            if version.is_none_or(|version| (version.major, version.minor) != (1, 0)) {
                self.wrong(
                    node.below("dsl"),
                    format!("`{dsl}` is another language; this version reads 1.0.0"),
                );
            }
        }
        for key in ["namespace", "name"] {
            let is_label = |text: &str| {
                let inner = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                inner && !text.starts_with('-') && !text.ends_with('-') && text.len() <= 63
            };
            if self.text(node, key, true).is_some_and(|text| !is_label(text)) {
                self.wrong(node.below(key), "use 1 to 63 letters, digits and -, with no - at either end");
            }
        }
        if let Some(version) = self.text(node, "version", true)
            && let Err(error) = semver::Version::parse(version)
        {
            self.wrong(node.below("version"), format!("`{version}` is no version like 1.0.0: {error}"));
        }
        for key in ["title", "summary"] {
            self.text(node, key, false);
        }
    }

    fn evaluate(&mut self, node: &Node<'_>) {
        if self.object(node, "`evaluate`", &["language", "mode"], &[]).is_none() {
            return;
        }
        for (key, only) in [("language", "jq"), ("mode", "strict")] {
            if self.text(node, key, false).is_some_and(|text| text != only) {
                self.wrong(node.below(key), format!("only `{only}` is supported"));
            }
        }
    }

    fn used(&mut self, node: &Node<'_>) {
        const HEADER: &str = "set the header `Authorization`, with `$secrets` if need be";
        let known = ["secrets", "errors", "retries", "timeouts"];
        let refused = [
            ("authentications", HEADER),
            ("catalogs", "everything a workflow uses stands in it"),
            ("extensions", "write the tasks where they are to be done"),
            ("functions", "a task calls `http` or `agent`"),
        ];
        if self.object(node, "`use`", &known, &refused).is_none() {
            return;
        }
        if let Some(secrets) = node.get("secrets") {
            self.secret_names(&secrets);
        }
        for (name, value) in self.pairs(node, "errors") {
            if let Some(error) = self.error(&value) {
                self.errors.insert(name, error);
            }
        }
        self.locals.push("$error".to_owned());
        for (name, value) in self.pairs(node, "retries") {
            if let Some(retry) = self.retry(&value) {
                self.retries.insert(name, retry);
            }
        }
        self.locals.pop();
        for (name, value) in self.pairs(node, "timeouts") {
            if let Some(timeout) = self.timeout(&value) {
                self.timeouts.insert(name, timeout);
            }
        }
    }

    fn pairs<'v>(&mut self, node: &Node<'v>, key: &str) -> Vec<(String, Node<'v>)> {
        let Some(found) = node.get(key) else { return Vec::new() };
        let Some(map) = found.value.as_object() else {
            self.wrong(&found.path, format!("`{key}` is an object: a name for each"));
            return Vec::new();
        };
        let pair = |(name, value)| (String::clone(name), Node { path: found.below(name), value });
        map.iter().map(pair).collect()
    }

    fn secret_names(&mut self, node: &Node<'_>) {
        if !node.value.is_array() {
            self.wrong(&node.path, "`secrets` is a list of names");
        }
        let mut seen = BTreeSet::new();
        for item in node.items() {
            match item.value.as_str() {
                Some(name) if stigmer_protocol::is_variable(name) => {
                    if !seen.insert(name) {
                        self.wrong(&item.path, format!("`{name}` is there already"));
                    }
                    self.secrets.push(name.to_owned());
                }
                _ => self.wrong(&item.path, "a secret is named like a variable: letters, digits and _"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
