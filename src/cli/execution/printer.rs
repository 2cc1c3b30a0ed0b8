//! Events of an execution for people: the answer on standard output, remarks on standard error.
//!
//! On a terminal an answer appears as the model writes it; elsewhere, line by line. It may contain anything, so control characters in
//! it never reach a terminal.

use crate::cli::output::harmless;
use serde_json::Value;
use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;
use stigmer_protocol::Kind;
use stigmer_protocol::api::events::{Message, MessageDelta, Role, TaskFailed};
use stigmer_protocol::api::{Event, JournalEvent};

/// Number of characters of a tool's arguments that are printed.
const MAX_ARGUMENT_CHARS: usize = 60;

/// Number of characters of an error that are printed: it may hold a whole HTTP response.
const MAX_ERROR_CHARS: usize = 300;

/// Format of the printed events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Format {
    /// The answer as it grows, or the output of a workflow.
    Answer(Kind),
    /// One line for each event.
    Events,
    /// A JSON object for each event.
    Json,
    /// No events.
    Nothing,
}

/// Prints events one after the other.
pub(in crate::cli) struct EventPrinter {
    format: Format,
    out: io::Stdout,
    is_terminal: bool,
    is_watched: bool,
    /// Printed part of each unfinished message, by its id.
    printed: HashMap<String, Printed>,
    /// Text of an unfinished line, where lines are printed whole.
    held: String,
    answer: Answer,
}

/// Printed part of a message.
#[derive(Debug, Default)]
struct Printed {
    /// Text that was printed.
    text: String,
    /// Number of characters from the beginning of the message to the end of what was printed.
    end: u64,
    /// Whether some text before the end was missed.
    has_gap: bool,
}

/// Progress of the printed answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Nothing was printed.
    Awaited,
    /// Text was printed, and the terminal's line is unfinished.
    WithinLine,
    /// Text was printed up to the end of a line.
    Printed,
}

impl EventPrinter {
    pub(in crate::cli) fn new(format: Format) -> Self {
        Self {
            format,
            out: io::stdout(),
            is_terminal: console::user_attended(),
            is_watched: console::user_attended_stderr(),
            printed: HashMap::new(),
            held: String::new(),
            answer: Answer::Awaited,
        }
    }

    pub(in crate::cli) fn event(&mut self, event: &JournalEvent) -> io::Result<()> {
        match self.format {
            Format::Nothing => Ok(()),
            Format::Json => {
                let text = crate::cli::output::json_text(event)?;
                writeln!(self.out, "{text}")
            }
            Format::Events => self.line(event),
            Format::Answer(kind) => self.answer(event, kind),
        }
    }

    /// Prints an event on one line.
    fn line(&mut self, event: &JournalEvent) -> io::Result<()> {
        let task = event.task.as_deref().map(|task| format!(" {task}")).unwrap_or_default();
        let data = event.event.data()?;
        let data = if data.text() == "{}" { String::new() } else { format!(" {}", data.text()) };
        let line = format!("{:>5} {} {}{task}{data}", event.seq, event.time, event.event.kind());
        let line = if self.is_terminal { harmless(&line) } else { line.into() };
        writeln!(self.out, "{line}")
    }

    fn answer(&mut self, event: &JournalEvent, kind: Kind) -> io::Result<()> {
        let task = event.task.as_deref().unwrap_or("a task");
        match &event.event {
            Event::MessageDelta(fragment) => self.fragment(fragment),
            Event::Message(message) if message.role != Some(Role::User) => self.message(message),
            Event::ToolStarted(call) => {
                let arguments: String = call.arguments.to_string().chars().take(MAX_ARGUMENT_CHARS).collect();
                self.note(&format!("· {} {arguments}", call.name))
            }
            Event::ToolEnded(call) if !call.ok => self.note(&format!("  failed: {}", call.text)),
            Event::TaskStarted(_) => self.note(&format!("· {task}")),
            Event::TaskFailed(TaskFailed { error }) => {
                let words: Vec<&str> = [Some(error.title.as_str()), error.detail.as_deref()]
                    .into_iter()
                    .flatten()
                    .filter(|text| !text.is_empty())
                    .collect();
                let words: String = words.join(": ").chars().take(MAX_ERROR_CHARS).collect();
                self.note(&format!("  {task} failed: {words}"))
            }
            Event::TaskRetried(retried) => {
                let delay = humantime::format_duration(Duration::from_millis(retried.delay_ms));
                self.note(&format!("  retrying {task} in {delay}"))
            }
            Event::WaitSet(wait) => self.note(&format!("  {task} waits until {}", wait.until)),
            Event::Started(started) if started.attempt > 1 => self.note("· resumed on another worker"),
            Event::LeaseExpired(_) => self.note("  worker lost"),
            Event::Note(note) => self.note(&format!("  {}", note.text)),
            Event::CancelRequested(_) => self.note("  cancelling"),
            Event::Completed(completed) => self.completed(&completed.output, kind),
            _ => Ok(()),
        }
    }

    /// Prints what was not printed of a fragment. Its text may begin before the end of what was printed: after a reconnection the
    /// server sends all of the message so far.
    fn fragment(&mut self, fragment: &MessageDelta) -> io::Result<()> {
        let printed = self.printed.entry(fragment.message.clone()).or_default();
        let overlap = fragment.offset.map_or(0, |offset| printed.end.saturating_sub(offset));
        let rest: String =
            fragment.text.chars().skip(usize::try_from(overlap).unwrap_or(usize::MAX)).collect();
        if let Some(offset) = fragment.offset {
            printed.has_gap |= offset > printed.end;
            printed.end = printed.end.max(offset);
        }
        printed.end += rest.chars().count() as u64;
        printed.text.push_str(&rest);
        self.write(&rest)
    }

    /// Prints what was not printed of a whole message.
    fn message(&mut self, message: &Message) -> io::Result<()> {
        let printed = message.id.as_ref().and_then(|id| self.printed.remove(id)).unwrap_or_default();
        // The end of a message of which parts are missing on the screen would follow the wrong text. Fragments without an offset do
        // not tell what was missed; a message that begins with another text does.
        let rest = message.text.strip_prefix(printed.text.as_str()).filter(|_| !printed.has_gap);
        self.write(rest.unwrap_or_default())?;
        self.end_line()
    }

    fn completed(&mut self, output: &Value, kind: Kind) -> io::Result<()> {
        match (kind, output) {
            (Kind::Agent, output) if self.answer == Answer::Awaited => {
                self.write(output.get("text").and_then(Value::as_str).unwrap_or_default())?;
            }
            (Kind::Agent, _) | (Kind::Workflow, Value::Null) => return Ok(()),
            (Kind::Workflow, Value::String(text)) => self.write(text)?,
            (Kind::Workflow, output) => self.write(&serde_json::to_string_pretty(output)?)?,
        }
        self.end_line()
    }

    /// Prints a part of the answer.
    fn write(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.answer = Answer::Printed;
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
            self.answer = Answer::Printed;
        }
        self.out.flush()
    }

    /// Prints a remark, if somebody watches.
    fn note(&mut self, text: &str) -> io::Result<()> {
        if self.is_watched {
            self.interrupt()?;
            // There is no place to report a closed standard error.
            let _ = writeln!(io::stderr(), "{}", console::style(harmless(text)).dim().for_stderr());
        }
        Ok(())
    }

    /// Ends an unfinished line before other output.
    pub(super) fn interrupt(&mut self) -> io::Result<()> {
        if self.answer == Answer::WithinLine {
            writeln!(self.out)?;
            self.answer = Answer::Printed;
        }
        self.out.flush()
    }

    /// Prints what is left.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.end_line()
    }
}

/// Escapes control characters in text of several lines.
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
    fn control_characters_in_answers_are_escaped() {
        assert_eq!(harmless_lines("a\r\n\tb\x1b[2J\n"), "a\n\tb\\u{1b}[2J\n");
        assert_eq!(harmless_lines("\u{202e}txt"), "\\u{202e}txt");
    }
}
