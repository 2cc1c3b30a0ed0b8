//! Carries a workflow out, step by step, on whatever engine there is.
//!
//! It is deterministic: told the same by its engine, it asks for the same, under the same paths. A path is the place of a task in the
//! workflow, with what tells its runs apart: `/do/2/each[3]/do/0/post` is the fourth round of a loop, `try@2` a second attempt, and
//! `/do/1/poll@2` a task that was come back to.

mod call;
mod scope;
mod steps;

use super::engine::{Engine, Millis, Stop};
use super::expr::NOW;
use super::fault::Fault;
use super::model::{Task, TaskKind, Then, Wait, Workflow};
use super::pointer::escape;
use super::template::{Expr, Template};
use scope::Break;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// One execution runs so many tasks, each round of a loop counted.
pub const MOST_RUNS: u64 = 20_000;

/// The longest output, in bytes of JSON: what the server keeps.
pub const MOST_OUTPUT: usize = 1024 * 1024;

/// What an execution is given.
#[derive(Debug, Clone)]
pub struct Given {
    /// Its id.
    pub id: String,
    /// Its input.
    pub input: Value,
    /// When it began.
    pub started: Millis,
    /// Version of the runtime that began it: `$runtime.version`.
    pub runtime_version: String,
    /// The secrets that there are, by name. Only those that the workflow lists are used.
    pub secrets: BTreeMap<String, String>,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// It came to this.
    Completed(Value),
    /// An error was not caught.
    Failed {
        /// The error.
        fault: Fault,
        /// The path of the task it happened in, if it happened in one.
        task: Option<String>,
    },
}

/// Carries `workflow` out.
///
/// # Errors
/// The engine says that it goes no further.
pub fn run<E: Engine>(workflow: &Workflow, given: Given, engine: &mut E) -> Result<End, Stop> {
    let mut run = Run {
        engine,
        names: names(workflow, &given),
        secrets: given.secrets,
        deadlines: Vec::new(),
        runs: 0,
        failed: None,
    };
    match run.workflow(workflow, given.input, given.started) {
        Ok(output) => Ok(End::Completed(output)),
        Err(Break::Stop(stop)) => Err(stop),
        Err(Break::Fault(fault)) => Ok(End::Failed { fault, task: run.failed }),
        // Only whoever set a deadline can know that it is over, and everybody who does turns it into an error.
        Err(Break::Late(_)) => Ok(End::Failed { fault: Fault::timeout("a deadline"), task: run.failed }),
    }
}

fn names(workflow: &Workflow, given: &Given) -> BTreeMap<String, Value> {
    let secrets = given.secrets.iter().filter(|(name, _)| workflow.secrets.contains(name));
    BTreeMap::from([
        ("$context".to_owned(), json!({})),
        ("$secrets".to_owned(), secrets.map(|(name, value)| (name.clone(), json!(value))).collect()),
        (NOW.to_owned(), seconds(given.started)),
        (
            "$workflow".to_owned(),
            json!({
                "id": given.id,
                "definition": workflow.definition,
                "input": given.input,
                "startedAt": time(given.started),
            }),
        ),
        ("$runtime".to_owned(), json!({"name": "stigmer", "version": given.runtime_version, "metadata": {}})),
    ])
}

fn seconds(at: Millis) -> Value {
    match Duration::from_millis(at).as_secs_f64() {
        whole if whole.fract() == 0.0 => json!(at / 1000),
        broken => json!(broken),
    }
}

/// A time as the language describes it.
fn time(at: Millis) -> Value {
    let time = std::time::UNIX_EPOCH + Duration::from_millis(at);
    json!({
        "iso8601": humantime::format_rfc3339_millis(time).to_string(),
        "epoch": {"seconds": at / 1000, "milliseconds": at},
    })
}

/// A run through a workflow.
struct Run<'e, E> {
    engine: &'e mut E,
    /// What the variables of expressions mean now.
    names: BTreeMap<String, Value>,
    secrets: BTreeMap<String, String>,
    /// The deadlines of the tasks that are under way, the outermost first.
    deadlines: Vec<Millis>,
    runs: u64,
    /// The innermost task of the last error.
    failed: Option<String>,
}

impl<E: Engine> Run<'_, E> {
    fn workflow(&mut self, workflow: &Workflow, input: Value, started: Millis) -> Result<Value, Break> {
        let limit = workflow.timeout.map(|timeout| (timeout, started));
        self.within(limit, "the workflow", |run| {
            let input = run.transformed(workflow.input.as_ref(), input)?;
            let (output, _) = run.list(&workflow.tasks, input, "/do")?;
            run.failed = None;
            let output = run.transformed(workflow.output.as_ref(), output)?;
            let long = output.to_string().len();
            if long > MOST_OUTPUT {
                let words = format!("the output has {long} bytes; at most {MOST_OUTPUT} are kept");
                return Err(Fault::runtime(words).into());
            }
            Ok(output)
        })
    }

    /// Does tasks in order, beginning with the first, and gives what the last one gave and how the list was left.
    fn list(&mut self, tasks: &[Task], input: Value, path: &str) -> Result<(Value, Then), Break> {
        let mut visits = vec![0_u64; tasks.len()];
        let (mut place, mut value) = (0, input);
        while let Some(task) = tasks.get(place) {
            visits[place] += 1;
            let name = escape(&task.name);
            let mut path = format!("{path}/{place}/{name}");
            if visits[place] > 1 {
                path = format!("{path}@{}", visits[place]);
            }
            let then;
            (value, then) = self.task(task, value, &path)?;
            match then {
                Then::Continue => place += 1,
                Then::Task(next) => place = next,
                Then::Exit | Then::End => return Ok((value, then)),
            }
        }
        Ok((value, Then::Continue))
    }

    fn task(&mut self, task: &Task, input: Value, path: &str) -> Result<(Value, Then), Break> {
        self.runs += 1;
        if self.runs > MOST_RUNS {
            return Err(
                Fault::runtime(format!("it ran {MOST_RUNS} tasks, and no execution runs more")).into()
            );
        }
        let started = self.engine.started(path, task.kind.word())?;
        // What the names mean in here is nobody's business out there; only the context lives on.
        let outside = ["$task", "$input", "$output", NOW].map(|name| (name, self.names.remove(name)));
        self.set(NOW, seconds(started));
        let described = json!({
            "name": task.name, "reference": task.reference, "definition": task.definition,
            "input": input, "startedAt": time(started),
        });
        self.set("$task", described);
        let outcome = self
            .in_time(started)
            .and_then(|()| {
                let limit = task.timeout.map(|timeout| (timeout, started));
                self.within(limit, &format!("the task `{}`", task.name), |run| run.inside(task, input, path))
            })
            .map_err(|broken| match broken {
                Break::Fault(mut fault) => {
                    if fault.instance.is_empty() {
                        fault.instance.clone_from(&task.reference);
                    }
                    // The innermost one comes first.
                    if !self.failed.as_ref().is_some_and(|inner| inner.starts_with(path)) {
                        self.failed = Some(path.to_owned());
                    }
                    match self.engine.failed(path, &fault) {
                        Ok(()) => Break::Fault(fault),
                        Err(stop) => Break::Stop(stop),
                    }
                }
                other => other,
            });
        for (name, value) in outside {
            match value {
                Some(value) => self.set(name, value),
                None => drop(self.names.remove(name)),
            }
        }
        outcome
    }

    /// What there is to a task, in the order of the language.
    fn inside(&mut self, task: &Task, raw: Value, path: &str) -> Result<(Value, Then), Break> {
        if let Some(condition) = &task.condition
            && !self.holds(condition, &raw)?
        {
            self.engine.skipped(path)?;
            return Ok((raw, Then::Continue));
        }
        let input = self.transformed(task.input.as_ref(), raw)?;
        self.set("$input", input.clone());
        let (output, left) = self.work(task, input, path)?;
        if left == Then::End {
            self.engine.completed(path, &output)?;
            return Ok((output, left));
        }
        if let Some(described) = self.names.get_mut("$task") {
            described["output"] = output.clone();
        }
        let output = self.transformed(task.output.as_ref(), output)?;
        if let Some(export) = &task.export {
            self.set("$output", output.clone());
            let context = self.evaluate(export, &output)?;
            self.set("$context", context);
        }
        self.engine.completed(path, &output)?;
        Ok((output, left))
    }

    /// What a task does. Gives what comes after it: what it says itself, or a switch in it, or a task in it that ends everything.
    fn work(&mut self, task: &Task, input: Value, path: &str) -> Result<(Value, Then), Break> {
        let then = task.then.clone();
        let (output, left) = match &task.kind {
            TaskKind::Set(template) => (self.evaluate(template, &input)?, Then::Continue),
            TaskKind::Http(call) => (self.http(call, &input, path)?, Then::Continue),
            TaskKind::Agent(call) => (self.agent(call, &input, path)?, Then::Continue),
            TaskKind::Raise(error) => return Err(self.raised(error, &input)?.into()),
            TaskKind::Wait(wait) => {
                self.wait(wait, &input, path)?;
                (input, Then::Continue)
            }
            TaskKind::Switch(cases) => {
                for case in cases {
                    let applies = match &case.when {
                        Some(when) => self.holds(when, &input)?,
                        None => true,
                    };
                    if applies {
                        self.engine.branched(path, &case.name)?;
                        return Ok((input, case.then.clone()));
                    }
                }
                (input, Then::Continue)
            }
            TaskKind::Do(tasks) => self.list(tasks, input, &format!("{path}/do"))?,
            TaskKind::For(each) => self.for_each(each, input, path)?,
            TaskKind::Try(tried) => self.try_(tried, &input, path)?,
        };
        // Whoever leaves a list by `exit` has left this task, and no more than that.
        Ok((output, if left == Then::End { left } else { then }))
    }

    fn wait(&mut self, wait: &Wait, input: &Value, path: &str) -> Result<(), Break> {
        let length = match wait {
            Wait::For(length) => *length,
            Wait::Computed(template) => {
                let value = self.evaluate(template, input)?;
                super::duration::read(&value).map_err(Fault::validation)?
            }
        };
        let waited = self.engine.wait(path, length, self.deadline())?;
        self.through(waited)
    }

    fn set(&mut self, name: &str, value: Value) {
        self.names.insert(name.to_owned(), value);
    }

    fn transformed(&mut self, template: Option<&Template>, value: Value) -> Result<Value, Break> {
        match template {
            Some(template) => self.evaluate(template, &value),
            None => Ok(value),
        }
    }

    fn evaluate(&self, template: &Template, input: &Value) -> Result<Value, Break> {
        for secret in template.expressions().into_iter().flat_map(|expr| expr.program.secrets()) {
            if !self.secrets.contains_key(secret) {
                return Err(Fault::authorization(format!(
                    "the workflow-runner is not told the secret {secret}: list it in `[workflow-runner] environment` of config.toml, and restart the server with it set"
                ))
                .into());
            }
        }
        template.evaluate(input, &self.names).map_err(|error| Fault::expression(error).into())
    }

    /// Whether a condition holds: as in jq, everything but false and null does.
    fn holds(&self, condition: &Expr, input: &Value) -> Result<bool, Break> {
        let value = condition.evaluate(input, &self.names).map_err(Fault::expression)?;
        Ok(!matches!(value, Value::Null | Value::Bool(false)))
    }
}
