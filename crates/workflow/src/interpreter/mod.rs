//! Interpreter: runs a workflow on any engine.
//!
//! It is deterministic: given the same answers by its engine it asks the same questions under the same paths. A path is the place of a
//! task in the workflow plus what tells its runs apart: `/do/2/each[3]/do/0/post` is the fourth round of a loop, `try@2` a second
//! attempt, `/do/1/poll@2` a task that was run a second time, and `/do/4/both/fork/branches/0/a` a branch.

mod call;
mod fork;
mod scope;
mod steps;

use super::engine::{Effects, Millis, Observer, Stop};
use super::evaluation::{Evaluation, Variables};
use super::expr::NOW;
use super::fault::Fault;
use super::model::{Task, TaskKind, Then, Wait, Workflow};
use super::pointer::escape;
use super::template::{Expr, Template};
use scope::Break;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Revision of the interpreter's semantics. It grows with each change after which the replay of a journal could take another path.
///
/// | revision | semantics |
/// |---|---|
/// | 1 | executions without a recorded revision: a task with `then: end` ignores its `output.as` and `export.as`; `try` can catch the limit on task runs |
/// | 2 | `then: end` applies both; nothing catches the limit; `fork` |
pub const INTERPRETER_REVISION: u32 = 2;

/// Revision of executions that were begun before revisions were recorded.
pub const UNRECORDED_REVISION: u32 = 1;

/// Largest number of tasks that one execution runs, counting each round of a loop.
pub const MAX_TASK_RUNS: u64 = 20_000;

/// Largest output of a workflow, in bytes of JSON: the server keeps no more.
pub const MAX_OUTPUT_BYTES: usize = 1024 * 1024;

/// What an execution starts with.
#[derive(Debug, Clone)]
pub struct Start {
    /// Id of the execution.
    pub id: String,
    /// Input of the workflow.
    pub input: Value,
    /// Time when the execution started.
    pub started: Millis,
    /// Runtime that the execution began on.
    pub runtime: Runtime,
}

/// Facts about the runtime that an execution began on. They are recorded first of all and replayed from the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// Name of the runtime: `$runtime.name`.
    pub name: String,
    /// Version of the runtime: `$runtime.version`.
    pub version: String,
    /// Revision of the interpreter's semantics.
    pub revision: u32,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// The workflow returned this output.
    Completed(Value),
    /// An error was not caught.
    Failed {
        /// The error.
        fault: Fault,
        /// Path of the task in which it happened, if it happened in one.
        task: Option<String>,
    },
}

/// Result of a task or a list of tasks: its output, and what follows.
type Left = (Value, Then);

/// A future of this thread.
type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Runs `workflow` to its end.
///
/// # Errors
/// The engine stops the workflow.
pub async fn run<E: Effects, O: Observer>(
    workflow: &Workflow,
    start: Start,
    effects: &E,
    observer: &O,
) -> Result<End, Stop> {
    let shared = Shared { effects, observer, revision: start.runtime.revision, runs: Cell::new(0) };
    let mut run =
        Run { shared: &shared, names: names(workflow, &start), deadlines: Vec::new(), failed: None };
    match run.workflow(workflow, start.input, start.started).await {
        Ok(output) => Ok(End::Completed(output)),
        Err(Break::Stop(stop)) => Err(stop),
        Err(Break::Fault(fault)) => Ok(End::Failed { fault, task: run.failed }),
        Err(Break::Exhausted) => Ok(End::Failed { fault: exhausted(), task: run.failed }),
        // Whoever sets a deadline turns its passing into a fault, so none is left here.
        Err(Break::Late(_)) => {
            Ok(End::Failed { fault: Fault::timeout("a deadline passed"), task: run.failed })
        }
    }
}

fn exhausted() -> Fault {
    Fault::runtime(format!("the execution ran {MAX_TASK_RUNS} tasks, which is the limit"))
}

fn names(workflow: &Workflow, start: &Start) -> Variables {
    let described = json!({
        "id": start.id,
        "definition": workflow.definition,
        "input": start.input,
        "startedAt": time(start.started),
    });
    let runtime = json!({"name": start.runtime.name, "version": start.runtime.version, "metadata": {}});
    let names = [
        ("$context", json!({})),
        (NOW, seconds(start.started)),
        ("$workflow", described),
        ("$runtime", runtime),
    ];
    names.into_iter().map(|(name, value)| (name.to_owned(), Arc::new(value))).collect()
}

fn seconds(at: Millis) -> Value {
    match Duration::from_millis(at).as_secs_f64() {
        whole if whole.fract() == 0.0 => json!(at / 1000),
        broken => json!(broken),
    }
}

/// Time in the form that the language prescribes.
fn time(at: Millis) -> Value {
    let time = std::time::UNIX_EPOCH + Duration::from_millis(at);
    json!({
        "iso8601": humantime::format_rfc3339_millis(time).to_string(),
        "epoch": {"seconds": at / 1000, "milliseconds": at},
    })
}

/// Path of a task in a list.
fn path_of(list: &str, place: usize, task: &Task) -> String {
    format!("{list}/{place}/{}", escape(&task.name))
}

/// What all branches of an execution share.
struct Shared<'e, E, O> {
    effects: &'e E,
    observer: &'e O,
    revision: u32,
    runs: Cell<u64>,
}

/// One strand of an execution: all of it, or a branch of a fork.
struct Run<'e, E, O> {
    shared: &'e Shared<'e, E, O>,
    /// Current values of the variables of expressions.
    names: Variables,
    /// Deadlines of the tasks under way, the outermost first.
    deadlines: Vec<Millis>,
    /// Path of the innermost task of the last error.
    failed: Option<String>,
}

impl<E: Effects, O: Observer> Run<'_, E, O> {
    async fn workflow(&mut self, workflow: &Workflow, input: Value, started: Millis) -> Result<Value, Break> {
        let limit = workflow.timeout.map(|timeout| (timeout, started));
        self.within(limit, "the workflow", async |run| {
            let input = run.transformed(workflow.input.as_ref(), input).await?;
            let (output, _) = run.list(&workflow.tasks, input, "/do").await?;
            run.failed = None;
            let output = run.transformed(workflow.output.as_ref(), output).await?;
            let long = output.to_string().len();
            if long > MAX_OUTPUT_BYTES {
                let words = format!("the output has {long} bytes; the limit is {MAX_OUTPUT_BYTES}");
                return Err(Fault::runtime(words).into());
            }
            Ok(output)
        })
        .await
    }

    /// Runs tasks in order, beginning with the first. Returns the output of the last one and how the list was left.
    async fn list(&mut self, tasks: &[Task], input: Value, path: &str) -> Result<Left, Break> {
        let mut visits = vec![0_u64; tasks.len()];
        let (mut place, mut value) = (0, input);
        while let Some(task) = tasks.get(place) {
            visits[place] += 1;
            let mut path = path_of(path, place, task);
            if visits[place] > 1 {
                path = format!("{path}@{}", visits[place]);
            }
            let then;
            (value, then) = self.task(task, value, &path).await?;
            match then {
                Then::Continue => place += 1,
                Then::Task(next) => place = next,
                Then::Exit | Then::End => return Ok((value, then)),
            }
        }
        Ok((value, Then::Continue))
    }

    /// Runs a task. The box ends the recursion of futures.
    fn task<'a>(&'a mut self, task: &'a Task, input: Value, path: &'a str) -> Local<'a, Result<Left, Break>> {
        Box::pin(self.task_in_place(task, input, path))
    }

    async fn task_in_place(&mut self, task: &Task, input: Value, path: &str) -> Result<Left, Break> {
        let runs = self.shared.runs.get() + 1;
        self.shared.runs.set(runs);
        if runs > MAX_TASK_RUNS {
            if self.shared.revision <= UNRECORDED_REVISION {
                return Err(exhausted().into());
            }
            self.failed = Some(path.to_owned());
            return Err(Break::Exhausted);
        }
        let started = self.shared.effects.started(path, task.kind.word()).await?;
        // These variables belong to the task; only the context outlives it.
        let outside = ["$task", "$input", "$output", NOW].map(|name| (name, self.names.remove(name)));
        self.set(NOW, seconds(started));
        let described = json!({
            "name": task.name, "reference": task.reference, "definition": task.definition,
            "input": input, "startedAt": time(started),
        });
        self.set("$task", described);
        let limit = task.timeout.map(|timeout| (timeout, started));
        let outcome = match self.in_time(started) {
            Ok(()) => {
                let what = format!("the task `{}`", task.name);
                self.within(limit, &what, async |run| run.inside(task, input, path).await).await
            }
            Err(late) => Err(late),
        };
        let outcome = outcome.map_err(|broken| self.noted(task, path, broken));
        for (name, value) in outside {
            self.restore(name, value);
        }
        outcome
    }

    /// Reports the failure of a task and remembers where it happened.
    fn noted(&mut self, task: &Task, path: &str, broken: Break) -> Break {
        let Break::Fault(mut fault) = broken else { return broken };
        if fault.instance.is_empty() {
            fault.instance.clone_from(&task.reference);
        }
        // The innermost task comes first.
        if !self.failed.as_ref().is_some_and(|inner| inner.starts_with(path)) {
            self.failed = Some(path.to_owned());
        }
        match self.shared.observer.failed(path, &fault) {
            Ok(()) => Break::Fault(fault),
            Err(stop) => Break::Stop(stop),
        }
    }

    /// Runs the parts of a task in the order that the language prescribes.
    async fn inside(&mut self, task: &Task, raw: Value, path: &str) -> Result<Left, Break> {
        if let Some(condition) = &task.condition
            && !self.holds(condition, &raw).await?
        {
            self.shared.observer.skipped(path)?;
            return Ok((raw, Then::Continue));
        }
        let input = self.transformed(task.input.as_ref(), raw).await?;
        self.set("$input", input.clone());
        let (output, inner) = self.work(task, input, path).await?;
        let (then, is_ended_inside) = match inner {
            Inner::End => (Then::End, true),
            Inner::Case(then) => (then, false),
            Inner::Done => (task.then.clone(), false),
        };
        // The workflow ends with the output of the task that says so, whatever contains it.
        if is_ended_inside || then == Then::End && self.shared.revision <= UNRECORDED_REVISION {
            self.shared.observer.completed(path, &output)?;
            return Ok((output, then));
        }
        if let Some(described) = self.names.get_mut("$task") {
            Arc::make_mut(described)["output"] = output.clone();
        }
        let output = self.transformed(task.output.as_ref(), output).await?;
        if let Some(export) = &task.export {
            self.set("$output", output.clone());
            let context = self.evaluate(export, &output).await?;
            self.set("$context", context);
        }
        self.shared.observer.completed(path, &output)?;
        Ok((output, then))
    }

    /// Does what the kind of a task says.
    async fn work(&mut self, task: &Task, input: Value, path: &str) -> Result<(Value, Inner), Break> {
        let (output, then) = match &task.kind {
            TaskKind::Set(template) => (self.evaluate(template, &input).await?, Then::Continue),
            TaskKind::Http(call) => (self.http(call, &input, path).await?, Then::Continue),
            TaskKind::Agent(call) => (self.agent(call, &input, path).await?, Then::Continue),
            TaskKind::Raise(error) => return Err(self.raised(error, &input).await?.into()),
            TaskKind::Wait(wait) => {
                self.wait(wait, &input, path).await?;
                (input, Then::Continue)
            }
            TaskKind::Switch(cases) => {
                for case in cases {
                    let applies = match &case.when {
                        Some(when) => self.holds(when, &input).await?,
                        None => true,
                    };
                    if applies {
                        self.shared.observer.branched(path, &case.name)?;
                        return Ok((input, Inner::Case(case.then.clone())));
                    }
                }
                (input, Then::Continue)
            }
            TaskKind::Do(tasks) => self.list(tasks, input, &format!("{path}/do")).await?,
            TaskKind::For(each) => self.for_each(each, input, path).await?,
            TaskKind::Fork(fork) => self.fork(fork, &input, path).await?,
            TaskKind::Try(tried) => self.try_(tried, &input, path).await?,
        };
        // A list that was left by `exit` ends its task and nothing more.
        Ok((output, if then == Then::End { Inner::End } else { Inner::Done }))
    }

    async fn wait(&mut self, wait: &Wait, input: &Value, path: &str) -> Result<(), Break> {
        let length = match wait {
            Wait::For(length) => *length,
            Wait::Computed(template) => {
                let value = self.evaluate(template, input).await?;
                super::duration::read(&value).map_err(Fault::validation)?
            }
        };
        let waited = self.shared.effects.wait(path, length, self.deadline()).await?;
        self.elapsed(waited)
    }

    fn set(&mut self, name: &str, value: Value) {
        self.names.insert(name.to_owned(), Arc::new(value));
    }

    /// Gives a variable back the value it had before.
    fn restore(&mut self, name: &str, value: Option<Arc<Value>>) {
        match value {
            Some(value) => drop(self.names.insert(name.to_owned(), value)),
            None => drop(self.names.remove(name)),
        }
    }

    async fn transformed(&self, template: Option<&Template>, value: Value) -> Result<Value, Break> {
        match template {
            Some(template) => self.evaluate(template, &value).await,
            None => Ok(value),
        }
    }

    async fn evaluate(&self, template: &Template, input: &Value) -> Result<Value, Break> {
        if let Template::Literal(value) = template {
            return Ok(value.clone());
        }
        let expressions = template.expressions().into_iter().cloned().collect();
        let values = self.values(expressions, input).await?;
        Ok(template.filled(&mut values.into_iter()))
    }

    /// Whether a condition holds: as in jq, every value but false and null does.
    async fn holds(&self, condition: &Expr, input: &Value) -> Result<bool, Break> {
        let values = self.values(vec![condition.clone()], input).await?;
        Ok(!matches!(values.first(), None | Some(Value::Null | Value::Bool(false))))
    }

    async fn values(&self, expressions: Vec<Expr>, input: &Value) -> Result<Vec<Value>, Break> {
        let evaluation = Evaluation::new(expressions, input, &self.names);
        self.shared.effects.evaluate(evaluation).await.map_err(|error| Fault::expression(error).into())
    }
}

/// How the work of a task ended, apart from its output.
enum Inner {
    /// The task's own `then` applies.
    Done,
    /// A case of a switch says what follows.
    Case(Then),
    /// A task inside ended the workflow.
    End,
}
