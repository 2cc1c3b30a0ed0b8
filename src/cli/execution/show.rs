//! What happens to an execution, as people watch it: the answer on standard output, all that is said about it on standard error.
//!
//! On a terminal an answer appears as it is written; anywhere else, line by line. It comes from a model and may hold anything, so on
//! a terminal nothing in it can be an order to the terminal.

use crate::cli::output::harmless;
use crate::services::server::journal::{Event, ExecutionKind};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

/// So many characters of a tool's arguments are shown.
const GLIMPSE: usize = 60;

/// And so many of what failed, which may be the whole answer of a host.
const GLIMPSE_OF_FAILURE: usize = 300;

/// How the events of an execution are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Form {
    /// The answer as it grows, or what a workflow came to.
    Answer(ExecutionKind),
    /// One line for each event.
    Events,
    /// Each event as a JSON object.
    Json,
    /// Not at all.
    Nothing,
}

/// Shows events one after the other.
pub(in crate::cli) struct Show {
    form: Form,
    out: io::Stdout,
    is_terminal: bool,
    is_watched: bool,
    /// What was shown of each message, by its id.
    said: HashMap<String, String>,
    /// What waits for the rest of its line, where lines are shown whole.
    held: String,
    answer: Answer,
}

/// How much of an answer was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Nothing.
    Awaited,
    /// Something, and on the terminal the line is not at its end.
    WithinLine,
    /// Something, up to the end of a line.
    Shown,
}

impl Show {
    pub(in crate::cli) fn new(form: Form) -> Self {
        Self {
            form,
            out: io::stdout(),
            is_terminal: console::user_attended(),
            is_watched: console::user_attended_stderr(),
            said: HashMap::new(),
            held: String::new(),
            answer: Answer::Awaited,
        }
    }

    pub(in crate::cli) fn event(&mut self, event: &Event) -> io::Result<()> {
        match self.form {
            Form::Nothing => Ok(()),
            Form::Json => {
                let text = crate::cli::output::json_text(event)?;
                writeln!(self.out, "{text}")
            }
            Form::Events => self.line(event),
            Form::Answer(kind) => self.answer(event, kind),
        }
    }

    /// A line for an event.
    fn line(&mut self, event: &Event) -> io::Result<()> {
        let task = event.task.as_deref().map(|task| format!(" {task}")).unwrap_or_default();
        let data = if event.data == Value::Object(serde_json::Map::new()) {
            String::new()
        } else {
            format!(" {}", event.data)
        };
        let line = format!("{:>5} {} {}{task}{data}", event.seq, event.time, event.kind);
        let line = if self.is_terminal { harmless(&line) } else { line.into() };
        writeln!(self.out, "{line}")
    }

    fn answer(&mut self, event: &Event, kind: ExecutionKind) -> io::Result<()> {
        let data = &event.data;
        let text = |key: &str| data[key].as_str().unwrap_or_default();
        match event.kind.as_str() {
            "message.delta" => {
                self.said.entry(text("message").to_owned()).or_default().push_str(text("text"));
                self.write(text("text"))
            }
            "message" if text("role") == "assistant" || data["role"].is_null() => {
                let whole = text("text");
                let rest = match self.said.remove(text("id")) {
                    // What does not begin as what was shown began before we were there: the end of it has been seen.
                    Some(shown) => whole.strip_prefix(shown.as_str()).unwrap_or_default(),
                    None => whole,
                };
                self.write(rest)?;
                self.end_line()
            }
            "tool.started" => {
                let arguments: String = data["arguments"].to_string().chars().take(GLIMPSE).collect();
                self.note(&format!("· {} {arguments}", text("name")))
            }
            "tool.ended" if data["ok"] == false => self.note(&format!("  it failed: {}", text("text"))),
            "task.started" => self.note(&format!("· {}", task(event))),
            "task.failed" => {
                let error = &data["error"];
                let words = [&error["message"], &error["title"], &error["detail"]];
                let words: Vec<&str> = words.into_iter().filter_map(Value::as_str).collect();
                let words: String = words.join(": ").chars().take(GLIMPSE_OF_FAILURE).collect();
                self.note(&format!("  {} failed: {words}", task(event)))
            }
            "task.retried" => {
                let delay = Duration::from_millis(data["delay_ms"].as_u64().unwrap_or_default());
                let delay = humantime::format_duration(delay);
                self.note(&format!("  {} is tried again in {delay}", task(event)))
            }
            "wait.set" => self.note(&format!("  {} waits until {}", task(event), text("until"))),
            "started" if data["attempt"].as_u64() > Some(1) => self.note("· another worker goes on with it"),
            "lease.expired" => self.note("  the worker was lost"),
            "note" => self.note(&format!("  {}", text("text"))),
            "cancel.requested" => self.note("  it is being called off"),
            "completed" => match (kind, &data["output"]) {
                (ExecutionKind::Agent, output) if self.answer == Answer::Awaited => {
                    self.write(output["text"].as_str().unwrap_or_default())?;
                    self.end_line()
                }
                (ExecutionKind::Agent, _) | (ExecutionKind::Workflow, Value::Null) => Ok(()),
                (ExecutionKind::Workflow, Value::String(text)) => {
                    self.write(text)?;
                    self.end_line()
                }
                (ExecutionKind::Workflow, output) => {
                    self.write(&serde_json::to_string_pretty(output)?)?;
                    self.end_line()
                }
            },
            _ => Ok(()),
        }
    }

    /// A part of the answer.
    fn write(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.answer = Answer::Shown;
        if self.is_terminal {
            let text = harmless_lines(text);
            write!(self.out, "{text}")?;
            if !text.ends_with('\n') {
                self.answer = Answer::WithinLine;
            }
        } else {
            self.held.push_str(text);
            if let Some(end) = self.held.rfind('\n') {
                let rest = self.held.split_off(end + 1);
                self.out.write_all(self.held.as_bytes())?;
                self.held = rest;
            }
        }
        self.out.flush()
    }

    fn end_line(&mut self) -> io::Result<()> {
        if self.answer == Answer::WithinLine || !self.held.is_empty() {
            writeln!(self.out, "{}", std::mem::take(&mut self.held))?;
            self.answer = Answer::Shown;
        }
        self.out.flush()
    }

    /// Something about it, for who watches.
    fn note(&mut self, text: &str) -> io::Result<()> {
        if self.is_watched {
            self.interrupt()?;
            // Nobody can be told that standard error is gone.
            let _ = writeln!(io::stderr(), "{}", console::style(harmless(text)).dim().for_stderr());
        }
        Ok(())
    }

    /// Something else is going to be said.
    pub(super) fn interrupt(&mut self) -> io::Result<()> {
        if self.answer == Answer::WithinLine {
            writeln!(self.out)?;
            self.answer = Answer::Shown;
        }
        self.out.flush()
    }

    /// Nothing comes any more.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.end_line()
    }
}

fn task(event: &Event) -> &str {
    event.task.as_deref().or(event.data["path"].as_str()).unwrap_or("a task")
}

/// Text of several lines without anything that a terminal takes as an order.
fn harmless_lines(text: &str) -> String {
    let mut lines = text.split('\n').map(|line| harmless(line.strip_suffix('\r').unwrap_or(line)));
    let mut joined = lines.next().unwrap_or_default().into_owned();
    for line in lines {
        joined.push('\n');
        joined.push_str(&line);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_gives_no_orders_to_a_terminal() {
        assert_eq!(harmless_lines("a\r\n\tb\x1b[2J\n"), "a\n\tb\\u{1b}[2J\n");
        assert_eq!(harmless_lines("\u{202e}txt"), "\\u{202e}txt");
    }
}
