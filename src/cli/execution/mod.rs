//! `stigmer execution`: lists, shows, follows, cancels, resumes and deletes executions.

mod delete;
pub(super) mod printer;
pub(super) mod watch;

use super::api;
use super::output::harmless;
use super::{Exit, Failure, Outcome, Output};
use crate::cli::output::dash;
use crate::cli::time::{ago, short};
use crate::services::client::Client;
use clap::Subcommand;
use printer::{EventPrinter, Format};
use serde_json::Value;
use std::time::Duration;
use stigmer_protocol::api::events::EventQuery;
use stigmer_protocol::api::executions::{ExecutionList, ExecutionQuery};
use stigmer_protocol::api::{Execution, ExecutionError, JournalEvent};
use stigmer_protocol::{ExecutionId, Kind, Phase};
use watch::{End, resume_command, watch};

/// Number of events on a page.
const PAGE: u32 = 500;

/// Under the help of `stigmer execution`.
const NOTE: &str = "\
An ID may be abbreviated to its beginning or end if only one of the newest executions matches.";

/// Under the help of what follows an execution.
pub(super) const CODES: &str = "\
Exit codes: 0 completed, 1 failed, 6 cancelled, 3 stigmer is not running, 130 after Ctrl-C, which stops watching but does not cancel \
the execution.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTE)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List executions, newest first
    List(ListArgs),
    /// Show an execution's status and result
    Get(GetArgs),
    /// Show the output and events of an execution
    #[command(after_help = LOGS_NOTE)]
    Logs(LogsArgs),
    /// Cancel an execution and its child executions
    Cancel(GetArgs),
    /// Retry an interrupted agent execution in the same session
    #[command(after_help = CODES)]
    Resume(ResumeArgs),
    /// Delete executions that have ended, with their child executions and workspaces
    Delete(delete::DeleteArgs),
    /// Delete all executions that have ended, or only old ones
    #[command(after_help = delete::PRUNE_NOTE)]
    Prune(delete::PruneArgs),
}

/// Under the help of `stigmer execution logs`.
const LOGS_NOTE: &str = "\
Prints the answer as `stigmer run` does, or with --events or --json every event of the journal. With -f it has the exit codes of \
`stigmer run`.";

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only executions of this agent or workflow
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// Only executions in this phase
    #[arg(long, value_name = "PHASE", value_parser = phase)]
    phase: Option<Phase>,
    /// Maximum number of executions
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only executions older than this one
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct GetArgs {
    /// Execution id
    id: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct LogsArgs {
    /// Execution id
    id: String,
    /// Follow the log until the execution ends
    #[arg(short, long)]
    follow: bool,
    /// Only events after this sequence number
    #[arg(long, value_name = "N", default_value_t = 0)]
    since_seq: u64,
    /// Print every event with its sequence number and time
    #[arg(long, conflicts_with = "json")]
    events: bool,
    /// Print every event as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ResumeArgs {
    /// Execution id
    id: String,
    #[command(flatten)]
    following: Following,
}

/// Options of commands that can follow an execution.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Following {
    /// Stream the output until the execution ends (default)
    #[arg(long, overrides_with = "no_follow", display_order = 800)]
    follow: bool,
    /// Print the execution id and return immediately
    #[arg(long, overrides_with = "follow", display_order = 801)]
    no_follow: bool,
    /// Print the execution as JSON when it has ended (with --no-follow: immediately)
    #[arg(long, display_order = 900)]
    json: bool,
}

/// Parses the name of a resource.
pub(super) fn name(text: &str) -> Result<String, String> {
    crate::resource::check_name(text).map(|()| text.to_owned())
}

fn phase(text: &str) -> Result<Phase, String> {
    text.parse()
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let mut client = api::connect()?;
        match self.command {
            Command::List(args) => args.run(&mut client),
            Command::Get(GetArgs { id, json }) => {
                let id = api::execution_id(&mut client, &id)?;
                present(&client.executions().get(&id)?, Output::new(json))
            }
            Command::Logs(args) => args.run(client),
            Command::Cancel(args) => cancel(&mut client, &args),
            Command::Resume(ResumeArgs { id, following }) => {
                let id = api::execution_id(&mut client, &id)?;
                let execution = client.executions().resume(&id)?;
                follow(client, &execution, following)
            }
            Command::Delete(args) => args.run(&mut client),
            Command::Prune(args) => args.run(&mut client),
        }
    }
}

impl ListArgs {
    fn run(self, client: &mut Client) -> Outcome {
        let output = Output::new(self.json);
        let before = self.before.map(|before| api::execution_id(client, &before)).transpose()?;
        let (name, phase, limit) = (self.name, self.phase, Some(self.limit));
        let query = ExecutionQuery { kind: None, phase, name, before, limit };
        let executions = client.executions().list(&query)?;
        if output.is_json() {
            output.json(&ExecutionList { executions })?;
            return Ok(0);
        }
        if executions.is_empty() {
            output.note("no executions found");
            return Ok(0);
        }
        let headings = ["ID", "KIND", "NAME", "PHASE", "AGE", "TOOK"].map(str::to_owned);
        let rows = executions.iter().map(|one| {
            [
                one.id.to_string(),
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

/// Formats the duration of an execution that has ended.
fn took(execution: &Execution) -> Option<String> {
    let time = |text: &Option<String>| humantime::parse_rfc3339(text.as_deref()?).ok();
    let took = time(&execution.ended)?.duration_since(time(&execution.started)?).unwrap_or_default();
    Some(if took < Duration::from_secs(10) {
        format!("{:.1}s", took.as_secs_f64())
    } else {
        short(took.as_secs())
    })
}

/// Output of an agent, as the agent-runner writes it.
#[derive(serde::Deserialize)]
struct AgentOutput {
    text: String,
    #[serde(default)]
    truncated: bool,
}

impl AgentOutput {
    fn of(execution: &Execution) -> Option<Self> {
        let output = execution.output.clone().filter(|_| execution.kind == Kind::Agent)?;
        serde_json::from_value(output).ok()
    }
}

/// Prints an execution. Its texts come from anywhere, so control characters in them never reach a terminal.
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
    let is_cancelling = execution.cancel_requested && !execution.phase.is_terminal();
    let remark = if is_cancelling { ", being cancelled" } else { "" };
    line("phase", &format!("{}{remark}", execution.phase.word()))?;
    let ended = execution.ended.as_ref().zip(took(execution));
    let how_long = ended.map(|(_, took)| format!(", took {took}")).unwrap_or_default();
    line("created", &format!("{} ({} ago){how_long}", execution.created, ago(&execution.created)))?;
    let parts = [
        ("session", execution.session.as_deref()),
        ("parent", execution.parent.as_deref()),
        ("resumes", execution.resumes.as_deref()),
    ];
    for (key, value) in parts {
        if let Some(value) = value {
            line(key, value)?;
        }
    }
    if let Some(usage) = &execution.usage {
        line("tokens", &format!("{} in, {} out", usage.input_tokens, usage.output_tokens))?;
    }
    let block = |key: &str, text: &str| {
        output.line(format_args!("{key}:"))?;
        text.lines().try_for_each(|line| output.line(format_args!("  {}", shown(line))))
    };
    if let Some(message) = &execution.message {
        block("message", message)?;
    }
    if !execution.input.is_null() {
        block("input", &crate::source::to_yaml(&execution.input))?;
    }
    match &execution.output {
        Some(Value::Null) | None => {}
        Some(value) => match AgentOutput::of(execution) {
            Some(answer) => {
                block("answer", &answer.text)?;
                if answer.truncated {
                    output.line("  (truncated at the token limit)")?;
                }
            }
            None => block("output", &crate::source::to_yaml(value))?,
        },
    }
    if let Some(ExecutionError { kind, message, hint, task }) = &execution.error {
        block("error", &format!("{message} ({kind})"))?;
        for more in [task.as_ref().map(|task| format!("in {task}")), hint.clone()].into_iter().flatten() {
            output.line(format_args!("  {}", shown(&more)))?;
        }
    }
    Ok(0)
}

fn cancel(client: &mut Client, GetArgs { id, json }: &GetArgs) -> Outcome {
    let output = Output::new(*json);
    let id = api::execution_id(client, id)?;
    let execution = client.executions().cancel(&id)?;
    if output.is_json() {
        output.json(&execution)?;
    } else if execution.phase == Phase::Cancelled {
        output.line(format_args!("{id} cancelled"))?;
    } else {
        output.line(format_args!("{id} is being cancelled"))?;
    }
    Ok(0)
}

impl LogsArgs {
    fn run(self, mut client: Client) -> Outcome {
        let output = Output::new(self.json);
        let id = api::execution_id(&mut client, &self.id)?;
        let execution = client.executions().get(&id)?;
        let format = match (self.json, self.events) {
            (true, _) => Format::Json,
            (_, true) => Format::Events,
            _ => Format::Answer(execution.kind),
        };
        let mut printer = EventPrinter::new(format);
        if !self.follow {
            print_journal(&mut client, &id, self.since_seq, &mut printer)?;
            return Ok(0);
        }
        // Nothing follows the last event, so a stream after it would stay empty.
        if execution.phase.is_terminal() && self.since_seq >= execution.last_seq {
            return ended(&execution, format);
        }
        match watch(client, &id, self.since_seq, output, &mut printer)? {
            End::Ended(event) => ended(&with_last_event(execution, &event), format),
            End::Interrupted(seen) => Ok(interrupted(&id, seen, output)),
        }
    }
}

/// Prints the journal as it is now.
fn print_journal(
    client: &mut Client,
    id: &ExecutionId,
    after: u64,
    printer: &mut EventPrinter,
) -> Result<(), Failure> {
    let mut after = after;
    loop {
        let query = EventQuery { after: Some(after), limit: Some(PAGE) };
        let events = client.executions().events(id, &query)?.events;
        let Some(last) = events.last() else { break };
        after = last.seq;
        for event in &events {
            printer.event(event)?;
        }
    }
    Ok(printer.finish()?)
}

/// Adds the last event to an execution, which may have it already.
fn with_last_event(mut execution: Execution, last: &JournalEvent) -> Execution {
    if last.seq > execution.last_seq {
        execution.apply(last);
    }
    execution
}

/// Follows an execution from its beginning. A resumed one may have come far, or have ended.
pub(super) fn follow(client: Client, execution: &Execution, how: Following) -> Outcome {
    let Following { follow: _, no_follow, json } = how;
    let (id, output) = (&execution.id, Output::new(json));
    if no_follow {
        if json {
            output.json(execution)?;
        } else {
            output.line(id)?;
            output.hint(format_args!("run `stigmer execution logs {id} -f` to follow it"));
        }
        return Ok(0);
    }
    let format = if json { Format::Nothing } else { Format::Answer(execution.kind) };
    let mut printer = EventPrinter::new(format);
    let event = match watch(client, id, 0, output, &mut printer)? {
        End::Ended(event) => event,
        End::Interrupted(seen) => return Ok(interrupted(id, seen, output)),
    };
    let last = with_last_event(execution.clone(), &event);
    if json {
        // The events do not have all of it: the tokens used, for example.
        output.json(&api::connect()?.executions().get(id)?)?;
        return Ok(code(last.phase));
    }
    if let Some(session) = last.session.as_ref().filter(|_| output.is_watched()) {
        output.note(console::style(format!("session {session}")).dim().for_stderr());
    }
    ended(&last, format)
}

fn code(phase: Phase) -> u8 {
    match phase {
        Phase::Completed => 0,
        Phase::Cancelled => Exit::Cancelled as u8,
        Phase::Failed | Phase::Pending | Phase::InProgress => Exit::Failed as u8,
    }
}

/// Maps the end of an execution to the outcome of the command.
fn ended(execution: &Execution, format: Format) -> Outcome {
    let Execution { id, name, phase, error, .. } = execution;
    if *phase == Phase::Completed || format == Format::Json {
        return Ok(code(*phase));
    }
    if *phase == Phase::Cancelled {
        return Err(Failure::new(Exit::Cancelled, format!("{name} was cancelled (execution {id})")));
    }
    let Some(ExecutionError { kind, message, hint, task }) = error else {
        return Err(Failure::new(Exit::Failed, format!("{name} failed (execution {id})")));
    };
    // The text may come from a provider or a program anywhere.
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

/// Tells how to watch or cancel an execution after Ctrl-C.
fn interrupted(id: &ExecutionId, seen: u64, output: Output) -> u8 {
    output.note(format_args!("execution {id} is still running"));
    output.hint(resume_command(id, seen));
    output.hint(format_args!("run `stigmer execution cancel {id}` to cancel it"));
    Exit::Left as u8
}
