//! A workflow as it was understood: only what can be carried out, with every name resolved and every expression read.

use super::template::{Expr, Template};
use serde_json::Value;
use std::time::Duration;

/// A workflow.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// As it was written.
    pub definition: Value,
    /// What of its input it works on.
    pub input: Option<Template>,
    /// The names of the secrets it may use.
    pub secrets: Vec<String>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// What it does, in order.
    pub tasks: Vec<Task>,
    /// What it gives.
    pub output: Option<Template>,
}

/// One task.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its name, unique in its list.
    pub name: String,
    /// Where it stands: a pointer into the workflow, as in `/do/1/name`.
    pub reference: String,
    /// As it was written.
    pub definition: Value,
    /// Only then is it done.
    pub condition: Option<Expr>,
    /// What of its input it works on.
    pub input: Option<Template>,
    /// What it gives to the next.
    pub output: Option<Template>,
    /// What the context is afterwards.
    pub export: Option<Template>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// What comes after it.
    pub then: Then,
    /// What it does.
    pub kind: TaskKind,
}

/// What comes after a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// The next in the list.
    Continue,
    /// The end of the task that this one is part of.
    Exit,
    /// The end of the workflow.
    End,
    /// This one of the same list.
    Task(usize),
}

/// What a task does.
#[derive(Debug, Clone)]
pub enum TaskKind {
    /// Gives a value.
    Set(Template),
    /// Sends a request.
    Http(Box<HttpCall>),
    /// Asks an agent.
    Agent(AgentCall),
    /// Goes on at one of several places.
    Switch(Vec<Case>),
    /// Does a list once for each item.
    For(Box<ForEach>),
    /// Does a list, and something else if that fails.
    Try(Box<Try>),
    /// Fails.
    Raise(ErrorTemplate),
    /// Lets time pass.
    Wait(Wait),
    /// Does a list.
    Do(Vec<Task>),
}

impl TaskKind {
    /// As it is written.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Set(_) => "set",
            Self::Http(_) => "call http",
            Self::Agent(_) => "call agent",
            Self::Switch(_) => "switch",
            Self::For(_) => "for",
            Self::Try(_) => "try",
            Self::Raise(_) => "raise",
            Self::Wait(_) => "wait",
            Self::Do(_) => "do",
        }
    }
}

/// An HTTP request and what becomes of its answer.
#[derive(Debug, Clone)]
pub struct HttpCall {
    /// In capital letters.
    pub method: String,
    /// Where it goes.
    pub endpoint: Endpoint,
    /// What it says about itself.
    pub headers: Option<Template>,
    /// What is appended to the address.
    pub query: Option<Template>,
    /// What it carries.
    pub body: Option<Template>,
    /// What of the answer is given.
    pub output: HttpOutput,
    /// Whether redirects are followed.
    pub redirect: bool,
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// An address with expressions.
    Template(Template),
    /// An address in which `{name}` stands for a value of the input.
    Uri(String),
}

/// What of an HTTP answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpOutput {
    /// Its content: JSON as the value it is, text as text, everything else in base64.
    Content,
    /// Its content in base64.
    Raw,
    /// Request, status, headers and content.
    Response,
}

/// A question to an agent.
#[derive(Debug, Clone)]
pub struct AgentCall {
    /// Its name.
    pub agent: Template,
    /// What it is told.
    pub message: Template,
    /// The conversation this belongs to.
    pub session: Option<Template>,
}

/// A case of a switch.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// When it applies; always, if it does not say.
    pub when: Option<Expr>,
    /// What comes then.
    pub then: Then,
}

/// A list that is done once for each item.
#[derive(Debug, Clone)]
pub struct ForEach {
    /// The variable with the item, with its `$`.
    pub each: String,
    /// The variable with its place, with its `$`.
    pub at: String,
    /// Gives the items.
    pub items: Expr,
    /// Only as long as this holds.
    pub condition: Option<Expr>,
    /// What is done.
    pub tasks: Vec<Task>,
}

/// A list, and what happens if it fails.
#[derive(Debug, Clone)]
pub struct Try {
    /// What is tried.
    pub tasks: Vec<Task>,
    /// Which errors are caught: the members that must be equal.
    pub filter: Vec<(String, Value)>,
    /// The variable with the error, with its `$`.
    pub error: String,
    /// Only then is it caught.
    pub when: Option<Expr>,
    /// Then it is not caught.
    pub except_when: Option<Expr>,
    /// Whether and how it is tried again.
    pub retry: Option<Retry>,
    /// What is done if it is not, or not any more.
    pub tasks_after: Option<Vec<Task>>,
}

/// How something is tried again.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Only then.
    pub when: Option<Expr>,
    /// Then not.
    pub except_when: Option<Expr>,
    /// The pause before the first time.
    pub delay: Duration,
    /// How pauses grow.
    pub backoff: Backoff,
    /// What is added to each pause: something between the two.
    pub jitter: Option<(Duration, Duration)>,
    /// At most so many times.
    pub count: Option<u64>,
    /// Each attempt may take so long.
    pub attempt: Option<Duration>,
    /// Not begun again after this long.
    pub total: Option<Duration>,
}

/// How pauses grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// Not at all.
    Constant,
    /// By the first pause each time.
    Linear,
    /// To the double each time.
    Exponential,
}

/// An error that a task raises.
#[derive(Debug, Clone)]
pub struct ErrorTemplate {
    /// What kind.
    pub kind: Template,
    /// Its status, as HTTP has them.
    pub status: Template,
    /// A few words.
    pub title: Option<Template>,
    /// More of them.
    pub detail: Option<Template>,
    /// Where it happened; the task, if it does not say.
    pub instance: Option<Template>,
}

/// How long to wait.
#[derive(Debug, Clone)]
pub enum Wait {
    /// So long.
    For(Duration),
    /// As long as an expression says.
    Computed(Template),
}
