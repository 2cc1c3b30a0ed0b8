//! Tasks, and lists of them.

use super::node::Node;
use super::{DEEPEST, MOST_TASKS, Reader};
use crate::model::{Case, ForEach, Fork, Task, TaskKind, Then, Try, Wait};
use crate::pointer::escape;
use serde_json::Value;
use std::collections::BTreeMap;

/// What every task may have.
const COMMON: [&str; 7] = ["if", "input", "output", "export", "timeout", "then", "metadata"];

/// What says what a task does, with the keys that come with it. `for` has a `do` too, so it stands first.
const KINDS: [(&str, &[&str]); 9] = [
    ("for", &["for", "while", "do"]),
    ("set", &["set"]),
    ("call", &["call", "with"]),
    ("switch", &["switch"]),
    ("fork", &["fork"]),
    ("try", &["try", "catch"]),
    ("raise", &["raise"]),
    ("wait", &["wait"]),
    ("do", &["do"]),
];

/// What the language has besides.
const REFUSED: [(&str, &str); 3] = [
    ("listen", "a workflow hears of nothing but the answers to its calls"),
    ("emit", "there is nobody who would hear of it; `call: http` tells somebody"),
    ("run", "`call: http` and `call: agent` are what a workflow can do outside of itself"),
];

/// Largest number of branches of a `fork`.
const MAX_BRANCHES: usize = 100;

/// The variables that tasks cannot give a name to.
const TAKEN: [&str; 7] = ["context", "input", "output", "secrets", "task", "workflow", "runtime"];

impl Reader {
    /// Reads a list of tasks that run in order; `reference` is its pointer in the workflow.
    pub(super) fn list(&mut self, node: &Node<'_>, reference: &str) -> Option<Vec<Task>> {
        self.tasks(node, reference, true)
    }

    /// Reads a list of tasks. Only where they run in order can `then` name one of them.
    fn tasks(&mut self, node: &Node<'_>, reference: &str, are_in_order: bool) -> Option<Vec<Task>> {
        if node.value.as_array().is_none_or(Vec::is_empty) {
            self.wrong(&node.path, "tasks are a list that is not empty: `- name: {…}`");
            return None;
        }
        if self.depth >= DEEPEST {
            self.wrong(&node.path, format!("tasks are nested more than {DEEPEST} deep"));
            return None;
        }
        let items = node.items();
        let mut places = BTreeMap::new();
        let mut named = Vec::new();
        for (place, item) in items.iter().enumerate() {
            let Some((name, task)) = self.named(item, "a task") else { continue };
            if places.insert(name, place).is_some() {
                self.wrong(&task.path, format!("there is a task `{name}` in this list already"));
            }
            named.push((place, name, task));
        }
        if !are_in_order {
            places.clear();
        }
        self.depth += 1;
        let mut tasks = Vec::new();
        for (place, name, task) in &named {
            self.tasks += 1;
            if self.tasks == MOST_TASKS + 1 {
                self.wrong(&task.path, format!("a workflow has at most {MOST_TASKS} tasks"));
            }
            if self.tasks > MOST_TASKS {
                break;
            }
            let reference = format!("{reference}/{place}/{}", escape(name));
            tasks.push(self.task(name, task, reference, &places));
        }
        self.depth -= 1;
        let tasks: Option<Vec<Task>> = tasks.into_iter().collect();
        tasks.filter(|tasks| tasks.len() == items.len())
    }

    fn task(
        &mut self,
        name: &str,
        node: &Node<'_>,
        reference: String,
        places: &BTreeMap<&str, usize>,
    ) -> Option<Task> {
        let Some(map) = node.value.as_object() else {
            self.wrong(&node.path, "a task is an object: what it does, and how");
            return None;
        };
        if let Some((key, why)) = REFUSED.iter().find(|(key, _)| map.contains_key(*key)) {
            self.wrong(node.below(key), format!("`{key}` is not supported: {why}"));
            return None;
        }
        let Some((kind, keys)) = KINDS.iter().find(|(kind, _)| map.contains_key(*kind)) else {
            let kinds = KINDS.map(|(kind, _)| format!("`{kind}`")).join(", ");
            self.wrong(&node.path, format!("this says nothing to do; a task has one of {kinds}"));
            return None;
        };
        let known: Vec<&str> = COMMON.iter().chain(keys.iter()).copied().collect();
        self.object(node, &format!("a task that has `{kind}`"), &known, &[])?;
        let condition = node.get("if").and_then(|condition| self.condition(&condition));
        let input = node.get("input").and_then(|input| self.transformed(&input, "from"));
        let output = node.get("output").and_then(|output| self.transformed(&output, "as"));
        let export = node.get("export").and_then(|export| self.transformed(&export, "as"));
        let timeout = node.get("timeout").and_then(|timeout| self.timeout(&timeout));
        let then = self.then(node, places);
        let kind = match *kind {
            "set" => self.set(&node.get("set")?),
            "call" => self.call(node),
            "switch" => self.switch(&node.get("switch")?, places),
            "for" => self.for_each(node, &reference),
            "fork" => self.fork(&node.get("fork")?, &reference),
            "try" => self.try_(node, &reference),
            "raise" => self.raise(&node.get("raise")?),
            "wait" => self.wait(&node.get("wait")?),
            _ => self.list(&node.get("do")?, &format!("{reference}/do")).map(TaskKind::Do),
        };
        let definition = node.value.clone();
        Some(Task {
            name: name.to_owned(),
            reference,
            definition,
            condition,
            input,
            output,
            export,
            timeout,
            then,
            kind: kind?,
        })
    }

    fn then(&mut self, node: &Node<'_>, places: &BTreeMap<&str, usize>) -> Then {
        match self.text(node, "then", false) {
            None | Some("continue") => Then::Continue,
            Some("exit") => Then::Exit,
            Some("end") => Then::End,
            Some(name) => {
                if let Some(place) = places.get(name) {
                    return Then::Task(*place);
                }
                let words = "; `then` is `continue`, `exit`, `end` or a task of the same list";
                self.wrong(node.below("then"), format!("there is no task `{name}` here{words}"));
                Then::Continue
            }
        }
    }

    fn set(&mut self, node: &Node<'_>) -> Option<TaskKind> {
        let template = self.template(node)?;
        if !node.value.is_object() && !node.value.is_string() {
            self.wrong(&node.path, "`set` has an object, or an expression that gives one");
        }
        Some(TaskKind::Set(template))
    }

    fn switch(&mut self, node: &Node<'_>, places: &BTreeMap<&str, usize>) -> Option<TaskKind> {
        if node.value.as_array().is_none_or(Vec::is_empty) {
            self.wrong(&node.path, "`switch` has a list of cases: `- name: {when: …, then: …}`");
            return None;
        }
        let items = node.items();
        let mut cases = Vec::new();
        for (place, item) in items.iter().enumerate() {
            let (name, case) = self.named(item, "a case")?;
            self.object(&case, "a case", &["when", "then"], &[])?;
            if case.get("then").is_none() {
                self.wrong(&case.path, "`then` is missing: what comes if this case applies");
            }
            let when = match case.get("when") {
                Some(when) => Some(self.condition(&when)?),
                None if place + 1 < items.len() => {
                    self.wrong(&case.path, "a case without `when` always applies, so it is the last one");
                    None
                }
                None => None,
            };
            cases.push(Case { name: name.to_owned(), when, then: self.then(&case, places) });
        }
        Some(TaskKind::Switch(cases))
    }

    fn for_each(&mut self, node: &Node<'_>, reference: &str) -> Option<TaskKind> {
        let head = node.get("for")?;
        self.object(&head, "`for`", &["each", "in", "at"], &[])?;
        let each = self.variable(&head, "each", "item");
        let at = self.variable(&head, "at", "index");
        if each == at {
            self.wrong(&head.path, "`each` and `at` have the same name");
        }
        let items = self.needed(&head, "in", "`in` is missing: an expression that gives the items");
        let items = items.and_then(|items| self.condition(&items));
        let outside = self.locals.len();
        self.locals.extend([each.clone(), at.clone()]);
        let condition = node.get("while").map(|condition| self.condition(&condition));
        let tasks = self.needed(node, "do", "`do` is missing: what to do for each item");
        let tasks = tasks.and_then(|tasks| self.list(&tasks, &format!("{reference}/do")));
        self.locals.truncate(outside);
        let condition = match condition {
            Some(read) => Some(read?),
            None => None,
        };
        Some(TaskKind::For(Box::new(ForEach { each, at, items: items?, condition, tasks: tasks? })))
    }

    fn fork(&mut self, node: &Node<'_>, reference: &str) -> Option<TaskKind> {
        self.object(node, "`fork`", &["branches", "compete"], &[])?;
        let branches =
            self.needed(node, "branches", "`branches` is missing: the tasks that run at the same time")?;
        if branches.items().len() > MAX_BRANCHES {
            self.wrong(&branches.path, format!("too many branches: at most {MAX_BRANCHES} are allowed"));
        }
        let compete = node.get("compete").is_some_and(|compete| {
            let value = compete.value.as_bool();
            if value.is_none() {
                self.wrong(&compete.path, "invalid `compete`: expected true or false");
            }
            value.unwrap_or(false)
        });
        let branches = self.tasks(&branches, &format!("{reference}/fork/branches"), false)?;
        Some(TaskKind::Fork(Fork { branches, compete }))
    }

    /// The name of a variable that a task gives a value to, with its `$`.
    fn variable(&mut self, node: &Node<'_>, key: &str, default: &str) -> String {
        let name = self.text(node, key, false).unwrap_or(default);
        if !stigmer_protocol::is_variable(name) || name.starts_with("__") || TAKEN.contains(&name) {
            let words =
                "is no name for a variable: letters, digits and _, and none of those that are there anyway";
            self.wrong(node.below(key), format!("`{name}` {words}"));
        }
        format!("${name}")
    }

    fn try_(&mut self, node: &Node<'_>, reference: &str) -> Option<TaskKind> {
        let tasks = self.list(&node.get("try")?, &format!("{reference}/try"));
        let Some(catch) = node.get("catch") else {
            self.wrong(&node.path, "`catch` is missing: what to do about errors");
            return None;
        };
        self.object(&catch, "`catch`", &["errors", "as", "when", "exceptWhen", "retry", "do"], &[])?;
        let filter = catch.get("errors").map(|errors| self.filter(&errors)).unwrap_or_default();
        let error = self.variable(&catch, "as", "error");
        self.locals.push(error.clone());
        let when = catch.get("when").map(|when| self.condition(&when));
        let except_when = catch.get("exceptWhen").map(|when| self.condition(&when));
        // One that is shared by name was read where there is no such variable.
        let retry = catch.get("retry").map(|retry| self.retry_or_name(&retry));
        let tasks_after = catch.get("do").map(|tasks| self.list(&tasks, &format!("{reference}/catch/do")));
        self.locals.pop();
        Some(TaskKind::Try(Box::new(Try {
            tasks: tasks?,
            filter,
            error,
            when: settled(when)?,
            except_when: settled(except_when)?,
            retry: settled(retry)?,
            tasks_after: settled(tasks_after)?,
        })))
    }

    /// The members of an error that have to be equal.
    fn filter(&mut self, node: &Node<'_>) -> Vec<(String, Value)> {
        let known = ["type", "status", "title", "detail", "instance"];
        if self.object(node, "`errors`", &["with"], &[]).is_none() {
            return Vec::new();
        }
        let Some(with) = node.get("with") else { return Vec::new() };
        // The language's schema says `details` where its text says `detail`.
        let known: Vec<&str> = known.iter().copied().chain(["details"]).collect();
        let Some(map) = self.object(&with, "`with`", &known, &[]) else { return Vec::new() };
        for (key, value) in map {
            if value.is_null() || value.is_array() || value.is_object() {
                self.wrong(with.below(key), format!("`{key}` is what the error's must be equal to"));
            }
        }
        let member = |(key, value): (&String, &Value)| {
            (if key == "details" { "detail".to_owned() } else { key.clone() }, value.clone())
        };
        map.iter().map(member).collect()
    }

    fn raise(&mut self, node: &Node<'_>) -> Option<TaskKind> {
        self.object(node, "`raise`", &["error"], &[])?;
        let Some(error) = node.get("error") else {
            self.wrong(&node.path, "`error` is missing: what to raise");
            return None;
        };
        self.error_or_name(&error).map(TaskKind::Raise)
    }

    fn wait(&mut self, node: &Node<'_>) -> Option<TaskKind> {
        if node.value.as_str().is_some_and(|text| text.contains("${")) {
            return self.template(node).map(|template| TaskKind::Wait(Wait::Computed(template)));
        }
        self.duration(node).map(|duration| TaskKind::Wait(Wait::For(duration)))
    }
}

/// What was there and could be read, or was not there.
#[expect(clippy::option_option, reason = "there, and understood: two questions")]
fn settled<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(None) => None,
        Some(read) => Some(read),
    }
}
