//! Model of a workflow: only what can be executed, with every name resolved and every expression compiled.

use super::template::{Expr, Template};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// A workflow definition that can be executed.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// Definition as it was written, for `$workflow.definition`.
    pub definition: Value,
    /// Transformation of the workflow's input (`input.from`).
    pub input: Option<Template>,
    /// Names of the secrets that the workflow may use (`use.secrets`).
    pub secrets: Vec<String>,
    /// Longest time the workflow may take.
    pub timeout: Option<Duration>,
    /// Tasks of the workflow, in order.
    pub tasks: Vec<Task>,
    /// Transformation of the workflow's output (`output.as`).
    pub output: Option<Template>,
}

/// A task of a workflow.
#[derive(Debug, Clone)]
pub struct Task {
    /// Name of the task, unique in its list.
    pub name: String,
    /// JSON pointer to the task in the workflow, for example `/do/1/name`.
    pub reference: String,
    /// Definition as it was written, for `$task.definition`.
    pub definition: Value,
    /// Condition under which the task is run (`if`).
    pub condition: Option<Expr>,
    /// Transformation of the task's input (`input.from`).
    pub input: Option<Template>,
    /// Transformation of the task's output (`output.as`).
    pub output: Option<Template>,
    /// New value of `$context` after the task (`export.as`).
    pub export: Option<Template>,
    /// Longest time the task may take.
    pub timeout: Option<Duration>,
    /// Flow directive: what follows the task.
    pub then: Then,
    /// Kind of the task, with its own settings.
    pub kind: TaskKind,
}

/// Flow directive: what follows a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// The next task of the list.
    Continue,
    /// The end of the task that contains this one.
    Exit,
    /// The end of the workflow.
    End,
    /// The task at this index of the same list.
    Task(usize),
}

/// Kind of a task, with the settings of that kind.
#[derive(Debug, Clone)]
pub enum TaskKind {
    /// Returns a value.
    Set(Template),
    /// Sends an HTTP request.
    Http(Box<HttpCall>),
    /// Asks an agent.
    Agent(AgentCall),
    /// Chooses one of several flow directives.
    Switch(Vec<Case>),
    /// Runs tasks once for each item of a list.
    For(Box<ForEach>),
    /// Runs branches at the same time.
    Fork(Fork),
    /// Runs tasks and handles their errors.
    Try(Box<Try>),
    /// Raises an error.
    Raise(ErrorTemplate),
    /// Waits.
    Wait(Wait),
    /// Runs tasks in order.
    Do(Vec<Task>),
}

impl TaskKind {
    /// Keyword of this kind in a workflow definition; for calls, with the name of the function.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Set(_) => "set",
            Self::Http(_) => "call http",
            Self::Agent(_) => "call agent",
            Self::Switch(_) => "switch",
            Self::For(_) => "for",
            Self::Fork(_) => "fork",
            Self::Try(_) => "try",
            Self::Raise(_) => "raise",
            Self::Wait(_) => "wait",
            Self::Do(_) => "do",
        }
    }
}

/// Settings of `call: http`.
#[derive(Debug, Clone)]
pub struct HttpCall {
    /// Method, in capital letters.
    pub method: String,
    /// URL of the request.
    pub endpoint: Endpoint,
    /// Headers of the request.
    pub headers: Option<Template>,
    /// Query parameters that are appended to the URL.
    pub query: Option<Template>,
    /// Body of the request.
    pub body: Option<Template>,
    /// Part of the response that the task returns.
    pub output: HttpOutput,
    /// Whether redirects are followed.
    pub redirect: bool,
}

/// URL of an HTTP request.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// URL with expressions.
    Template(Template),
    /// URL in which `{name}` stands for a member of the task's input.
    Uri(String),
}

/// Part of an HTTP response that a task returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpOutput {
    /// Content: JSON as its value, text as text, everything else in base64.
    Content,
    /// Content in base64.
    Raw,
    /// Request, status, headers and content.
    Response,
}

/// Settings of `call: agent`.
#[derive(Debug, Clone)]
pub struct AgentCall {
    /// Name of the agent.
    pub agent: Template,
    /// Message to the agent.
    pub message: Template,
    /// Conversation that the message belongs to.
    pub session: Option<Template>,
}

/// Case of a `switch`.
#[derive(Debug, Clone)]
pub struct Case {
    /// Name of the case.
    pub name: String,
    /// Condition of the case; a case without one always applies.
    pub when: Option<Expr>,
    /// Flow directive if the case applies.
    pub then: Then,
}

/// Settings of `for`.
#[derive(Debug, Clone)]
pub struct ForEach {
    /// Variable that holds the item, with its `$`.
    pub each: String,
    /// Variable that holds the index of the item, with its `$`.
    pub at: String,
    /// Expression that returns the items.
    pub items: Expr,
    /// Condition under which the loop goes on (`while`).
    pub condition: Option<Expr>,
    /// Tasks of each round.
    pub tasks: Vec<Task>,
}

/// Settings of `fork`.
#[derive(Debug, Clone)]
pub struct Fork {
    /// Branches: one task each, run at the same time.
    pub branches: Vec<Task>,
    /// Whether the first branch that completes wins and cancels the others.
    pub compete: bool,
}

/// Settings of `try` and `catch`.
#[derive(Debug, Clone)]
pub struct Try {
    /// Tasks whose errors are caught.
    pub tasks: Vec<Task>,
    /// Members that an error must have, with equal values, to be caught.
    pub filter: Vec<(String, Value)>,
    /// Variable that holds the error, with its `$`.
    pub error: String,
    /// Condition under which the error is caught.
    pub when: Option<Expr>,
    /// Condition under which the error is not caught.
    pub except_when: Option<Expr>,
    /// Retry policy.
    pub retry: Option<Retry>,
    /// Tasks that run when an error was caught and is not retried (`catch.do`).
    pub tasks_after: Option<Vec<Task>>,
}

/// Retry policy.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Condition under which the error is retried.
    pub when: Option<Expr>,
    /// Condition under which the error is not retried.
    pub except_when: Option<Expr>,
    /// Pause before the first retry.
    pub delay: Duration,
    /// Growth of the pauses.
    pub backoff: Backoff,
    /// Bounds of a random length that is added to each pause.
    pub jitter: Option<(Duration, Duration)>,
    /// Largest number of retries.
    pub count: Option<u64>,
    /// Longest time of one attempt.
    pub attempt: Option<Duration>,
    /// Time since the first attempt after which no retry begins.
    pub total: Option<Duration>,
}

/// Growth of the pauses between retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// Every pause is as long as the first.
    Constant,
    /// Each pause is longer than the one before by the first.
    Linear,
    /// Each pause is twice as long as the one before.
    Exponential,
}

/// Error that a task raises.
#[derive(Debug, Clone)]
pub struct ErrorTemplate {
    /// Type of the error, a URI.
    pub kind: Template,
    /// Status code, as in HTTP.
    pub status: Template,
    /// Short summary.
    pub title: Option<Template>,
    /// Explanation.
    pub detail: Option<Template>,
    /// Pointer to the place of the error; by default the task's reference.
    pub instance: Option<Template>,
}

/// Length of a `wait`.
#[derive(Debug, Clone)]
pub enum Wait {
    /// Fixed length.
    For(Duration),
    /// Length that an expression returns.
    Computed(Template),
}
