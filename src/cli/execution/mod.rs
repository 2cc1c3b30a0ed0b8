//! `stigmer execution`: what was run, what became of it, and how to go on with it.

pub(super) mod show;
pub(super) mod watch;

use super::api;
use super::output::harmless;
use super::{Exit, Failure, Outcome, Output};
use crate::cli::output::dash;
use crate::cli::time::{ago, short};
use crate::services::client::Api;
use crate::services::server::journal::{Error, Event, Execution, ExecutionKind, Phase};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};
use show::{Form, Show};
use std::time::Duration;
use ureq::http::Method;
use watch::{End, again, watch};

/// So many events are asked for at once.
const PAGE: u32 = 500;

/// Under the help of `stigmer execution`.
const NOTE: &str = "\
An ID may be abbreviated to its beginning or end, as long as it means only one of the newest executions.";

/// Under the help of what follows an execution.
pub(super) const CODES: &str = "\
Exits with 0 if it completed, 1 if it failed, 6 if it was cancelled, 3 if stigmer is not running; with 130 after Ctrl-C, which ends the \
watching and not the execution.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTE)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List executions, the newest first
    List(ListArgs),
    /// Show what became of an execution
    Get(GetArgs),
    /// Show what an execution said and did
    #[command(after_help = LOGS_NOTE)]
    Logs(LogsArgs),
    /// Call an execution off, and what it has called
    Cancel(GetArgs),
    /// Ask an agent again whose worker was lost, in the same session
    #[command(after_help = CODES)]
    Resume(ResumeArgs),
}

/// Under the help of `stigmer execution logs`.
const LOGS_NOTE: &str = "\
The answer is shown as `stigmer run` shows it; with --events or --json, every event of the journal. With -f it exits as \
`stigmer run` does.";

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only those of this agent or workflow
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// Only those in this phase
    #[arg(long, value_name = "PHASE", value_parser = phase)]
    phase: Option<Phase>,
    /// How many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only those that are older than this one
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct GetArgs {
    /// The execution
    id: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct LogsArgs {
    /// The execution
    id: String,
    /// Go on with what happens from now on, until it ends
    #[arg(short, long)]
    follow: bool,
    /// Begin behind the event with this number
    #[arg(long, value_name = "N", default_value_t = 0)]
    since_seq: u64,
    /// Print every event, with number and time
    #[arg(long, conflicts_with = "json")]
    events: bool,
    /// Print each event as the JSON object it is
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ResumeArgs {
    /// The execution that was interrupted
    id: String,
    #[command(flatten)]
    following: Following,
}

/// Whether the end is awaited, and how what happens is shown.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Following {
    /// Show the answer as it comes, and return when it is complete (the default)
    #[arg(long, overrides_with = "no_follow", display_order = 800)]
    follow: bool,
    /// Return at once, with the id of the execution
    #[arg(long, overrides_with = "follow", display_order = 801)]
    no_follow: bool,
    /// Print the execution as JSON, when it has ended (with --no-follow: at once)
    #[arg(long, display_order = 900)]
    json: bool,
}

/// A name, as resources have them.
pub(super) fn name(text: &str) -> Result<String, String> {
    crate::resource::check_name(text).map(|()| text.to_owned())
}

fn phase(text: &str) -> Result<Phase, String> {
    let word = text.to_ascii_uppercase().replace('-', "_");
    serde_json::from_value(word.into())
        .map_err(|_| "there are pending, in-progress, completed, failed and cancelled".to_owned())
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let mut api = api::find()?;
        match self.command {
            Command::List(args) => args.run(&mut api),
            Command::Get(GetArgs { id, json }) => {
                let id = api::execution_id(&mut api, &id)?;
                let execution = api.get(&format!("/v1/executions/{id}"))?;
                present(&execution, Output::new(json))
            }
            Command::Logs(args) => args.run(api),
            Command::Cancel(args) => cancel(&mut api, &args),
            Command::Resume(ResumeArgs { id, following }) => {
                let id = api::execution_id(&mut api, &id)?;
                let path = format!("/v1/executions/{id}/resume");
                let execution = api.call(&Method::POST, &path, Some(&json!({})))?;
                follow(api, &execution, following)
            }
        }
    }
}

impl ListArgs {
    fn run(self, api: &mut Api) -> Outcome {
        let output = Output::new(self.json);
        let mut path = format!("/v1/executions?limit={}", self.limit);
        if let Some(name) = &self.name {
            path.extend(["&name=", name]);
        }
        if let Some(phase) = self.phase {
            path.extend(["&phase=", phase.word()]);
        }
        if let Some(before) = &self.before {
            path.extend(["&before=", &api::execution_id(api, before)?]);
        }
        let page: Value = api.get(&path)?;
        if output.is_json() {
            output.json(&page)?;
            return Ok(0);
        }
        let executions: Vec<Execution> = serde_json::from_value(page["executions"].clone())
            .map_err(crate::services::client::ApiError::Strange)?;
        if executions.is_empty() {
            output.note("there are no executions");
            return Ok(0);
        }
        let headings = ["ID", "KIND", "NAME", "PHASE", "AGE", "TOOK"].map(str::to_owned);
        let rows = executions.iter().map(|one| {
            [
                one.id.clone(),
                one.kind.word().to_owned(),
                one.name.clone(),
                one.phase.word().to_owned(),
                ago(&one.created),
                dash(took(one)),
            ]
        });
        output.table(&std::iter::once(headings).chain(rows).collect::<Vec<_>>())?;
        Ok(0)
    }
}

/// How long an execution took, if it has ended.
fn took(execution: &Execution) -> Option<String> {
    let time = |text: &Option<String>| humantime::parse_rfc3339(text.as_deref()?).ok();
    let took = time(&execution.ended)?.duration_since(time(&execution.started)?).unwrap_or_default();
    Some(if took < Duration::from_secs(10) {
        format!("{:.1}s", took.as_secs_f64())
    } else {
        short(took.as_secs())
    })
}

/// Shows an execution. What it was told and what it came to may be from anybody, so nothing of it is an order to the terminal.
fn present(execution: &Execution, output: Output) -> Outcome {
    if output.is_json() {
        output.json(execution)?;
        return Ok(0);
    }
    let shown =
        |text: &str| if console::user_attended() { harmless(text).into_owned() } else { text.to_owned() };
    let line = |key: &str, text: &str| output.line(format_args!("{key:<10}{text}"));
    line("id", &execution.id)?;
    line(execution.kind.word(), &execution.name)?;
    let is_called_off = execution.cancel_requested && !execution.phase.is_terminal();
    let remark = if is_called_off { ", being cancelled" } else { "" };
    line("phase", &format!("{}{remark}", execution.phase.word()))?;
    let ended = execution.ended.as_ref().zip(took(execution));
    let how_long = ended.map(|(_, took)| format!(", took {took}")).unwrap_or_default();
    line("created", &format!("{} ({} ago){how_long}", execution.created, ago(&execution.created)))?;
    let parts = [
        ("session", execution.session.as_deref()),
        ("called by", execution.parent.as_deref()),
        ("resumes", execution.resumes.as_deref()),
    ];
    for (key, value) in parts {
        if let Some(value) = value {
            line(key, value)?;
        }
    }
    if let Some(usage) = &execution.usage {
        line("tokens", &format!("{} in, {} out", usage["input_tokens"], usage["output_tokens"]))?;
    }
    let block = |key: &str, text: &str| {
        output.line(format_args!("{key}:"))?;
        text.lines().try_for_each(|line| output.line(format_args!("  {}", shown(line))))
    };
    if let Some(message) = &execution.message {
        block("message", message)?;
    }
    if !execution.input.is_null() {
        block("input", &crate::resource::source::to_yaml(&execution.input))?;
    }
    match &execution.output {
        Some(Value::Null) | None => {}
        Some(value) => match value["text"].as_str().filter(|_| execution.kind == ExecutionKind::Agent) {
            Some(text) => {
                block("answer", text)?;
                if value["truncated"] == true {
                    output.line("  (it ends where its limit of tokens was reached)")?;
                }
            }
            None => block("output", &crate::resource::source::to_yaml(value))?,
        },
    }
    if let Some(Error { kind, message, hint, task }) = &execution.error {
        block("error", &format!("{message} ({kind})"))?;
        for more in [task.as_ref().map(|task| format!("in {task}")), hint.clone()].into_iter().flatten() {
            output.line(format_args!("  {}", shown(&more)))?;
        }
    }
    Ok(0)
}

fn cancel(api: &mut Api, GetArgs { id, json }: &GetArgs) -> Outcome {
    let output = Output::new(*json);
    let id = api::execution_id(api, id)?;
    let execution: Execution =
        api.call(&Method::POST, &format!("/v1/executions/{id}/cancel"), Some(&json!({})))?;
    if output.is_json() {
        output.json(&execution)?;
    } else if execution.phase == Phase::Cancelled {
        output.line(format_args!("{id} is cancelled"))?;
    } else {
        output.line(format_args!("{id} is being cancelled: its worker is told"))?;
    }
    Ok(0)
}

impl LogsArgs {
    fn run(self, mut api: Api) -> Outcome {
        let output = Output::new(self.json);
        let id = api::execution_id(&mut api, &self.id)?;
        let execution: Execution = api.get(&format!("/v1/executions/{id}"))?;
        let form = match (self.json, self.events) {
            (true, _) => Form::Json,
            (_, true) => Form::Events,
            _ => Form::Answer(execution.kind),
        };
        let mut show = Show::new(form);
        if !self.follow {
            page_through(&mut api, &id, self.since_seq, &mut show)?;
            return Ok(0);
        }
        // The last event may have been seen already; nothing would come behind it.
        if execution.phase.is_terminal() && self.since_seq >= execution.last_seq {
            return over(&execution, form);
        }
        match watch(api, &id, self.since_seq, output, &mut show)? {
            End::Over(event) => over(&sum(execution, &event), form),
            End::Left(seen) => Ok(left(&id, seen, output)),
        }
    }
}

/// Shows what has happened by now.
fn page_through(api: &mut Api, id: &str, after: u64, show: &mut Show) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Page {
        events: Vec<Event>,
    }
    let mut after = after;
    loop {
        let Page { events } = api.get(&format!("/v1/executions/{id}/events?after={after}&limit={PAGE}"))?;
        let Some(last) = events.last() else { break };
        after = last.seq;
        for event in &events {
            show.event(event)?;
        }
    }
    Ok(show.finish()?)
}

/// An execution with its last event, which it may have had already.
fn sum(mut execution: Execution, last: &Event) -> Execution {
    if last.seq > execution.last_seq {
        execution.apply(last);
    }
    execution
}

/// Follows an execution from its beginning, as it was asked for. One that was resumed before may have come far, or be over.
pub(super) fn follow(api: Api, execution: &Execution, how: Following) -> Outcome {
    let Following { follow: _, no_follow, json } = how;
    let (id, output) = (&execution.id, Output::new(json));
    if no_follow {
        if json {
            output.json(execution)?;
        } else {
            output.line(id)?;
            output.hint(format_args!("`stigmer execution logs {id} -f` shows what it says"));
        }
        return Ok(0);
    }
    let form = if json { Form::Nothing } else { Form::Answer(execution.kind) };
    let mut show = Show::new(form);
    let event = match watch(api, id, 0, output, &mut show)? {
        End::Over(event) => event,
        End::Left(seen) => return Ok(left(id, seen, output)),
    };
    let ended = sum(execution.clone(), &event);
    if json {
        // Whole, with what was used.
        let whole: Execution = api::find()?.get(&format!("/v1/executions/{id}"))?;
        output.json(&whole)?;
        return Ok(code(ended.phase));
    }
    if let Some(session) = ended.session.as_ref().filter(|_| output.is_watched()) {
        output.note(console::style(format!("session {session}")).dim().for_stderr());
    }
    over(&ended, form)
}

fn code(phase: Phase) -> u8 {
    match phase {
        Phase::Completed => 0,
        Phase::Cancelled => Exit::Cancelled as u8,
        Phase::Failed | Phase::Pending | Phase::InProgress => Exit::Failed as u8,
    }
}

/// What the end of an execution means to who watched it.
fn over(execution: &Execution, form: Form) -> Outcome {
    let Execution { id, name, phase, error, .. } = execution;
    if *phase == Phase::Completed || form == Form::Json {
        return Ok(code(*phase));
    }
    if *phase == Phase::Cancelled {
        return Err(Failure::new(Exit::Cancelled, format!("{name} was cancelled (execution {id})")));
    }
    let Some(Error { kind, message, hint, task }) = error else {
        return Err(Failure::new(Exit::Failed, format!("{name} failed (execution {id})")));
    };
    // What a provider or a program somewhere says is shown, and nothing more.
    let mut failure = Failure::new(Exit::Failed, format!("{name} failed: {}", harmless(message)));
    if let Some(task) = task {
        failure = failure.cause(format!("in {}", harmless(task)));
    }
    failure = failure.cause(format!("execution {id}, error type {}", harmless(kind)));
    Err(match hint {
        Some(hint) => failure.hint(harmless(hint)),
        None => failure,
    })
}

/// The person has seen enough.
fn left(id: &str, seen: u64, output: Output) -> u8 {
    output.note(format_args!("execution {id} is not ended by this"));
    output.hint(again(id, seen));
    output.hint(format_args!("`stigmer execution cancel {id}` ends it"));
    Exit::Left as u8
}
