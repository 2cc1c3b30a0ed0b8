//! What the components say, merged by time.

use super::Output;
use crate::cli::Outcome;
use crate::cli::output::harmless;
use crate::home::Home;
use crate::platform;
use crate::supervise::SUPERVISOR;
use crate::supervise::components::Components;
use crate::supervise::logs::merge::{Merge, Torn};
use crate::supervise::logs::watch::Watch;
use crate::supervise::logs::{Line, files};
use clap::builder::PossibleValuesParser;
use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::time::{Duration, SystemTime};

/// Number of last lines that are shown by default.
const DEFAULT_LINES: usize = 50;

#[derive(Debug, clap::Args)]
pub(super) struct LogsArgs {
    /// How many of the last lines to show [default: 50, or with --since all of them]
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// What was said since then: `10m`, `2h` (ago), `2026-01-31`, `2026-01-31T08:30:00Z` (in UTC, or with +01:00)
    #[arg(long, value_name = "T", value_parser = moment)]
    since: Option<SystemTime>,
    /// Go on with what is said from now on
    #[arg(short, long)]
    follow: bool,
    /// Of this component only; may be given several times
    #[arg(long, value_name = "C")]
    component: Vec<String>,
    /// Of all components, merged by time (the default)
    #[arg(long, conflicts_with = "component")]
    all: bool,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, clap::Args)]
struct Form {
    /// Print the text only, without time and component
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// Print each line as the JSON object it is
    #[arg(long)]
    json: bool,
}

/// Adds the names that `--component` takes.
pub(super) fn describe(command: clap::Command, components: Components) -> clap::Command {
    let names: Vec<&str> = std::iter::once(SUPERVISOR).chain(components.names()).collect();
    command.mut_arg("component", |arg| arg.value_parser(PossibleValuesParser::new(names)))
}

/// What is added to all logs from its beginning on.
pub(super) struct Following {
    logs: Merge,
    printer: Printer,
}

impl Following {
    /// Begins.
    pub(super) fn new(home: &Home, components: Components, output: Output) -> io::Result<Self> {
        let mut logs = Merge::open(&files(&home.logs(), components))?;
        logs.keep_last(0)?;
        let format = if output.is_json() { Format::Json } else { Format::Columns };
        Ok(Self { logs, printer: Printer::new(format) })
    }

    /// Prints what is new.
    pub(super) fn show(&mut self) -> io::Result<()> {
        self.logs.look_again()?;
        self.printer.rest(&mut self.logs, Torn::Kept)
    }
}

impl LogsArgs {
    pub(super) fn run(self, home: &Home, components: Components) -> Outcome {
        let output = Output::new(self.form.json);
        let mut files = files(&home.logs(), components);
        files.retain(|(name, _)| self.component.is_empty() || self.component.contains(name));
        let mut printer = Printer::new(self.format());
        // The watch comes first, so that nothing falls between it and what is read.
        let mut watch = self.follow.then(|| Watch::new(&home.logs()));
        let mut logs = Merge::open(&files)?;
        match self.since {
            Some(since) => {
                for line in logs.keep_since(since, self.lines)? {
                    printer.print(&line)?;
                }
            }
            None => logs.keep_last(self.lines.unwrap_or(DEFAULT_LINES))?,
        }
        printer.rest(&mut logs, if self.follow { Torn::Kept } else { Torn::Shown })?;
        if !printer.has_printed && !self.follow && self.lines != Some(0) {
            output.note(if self.since.is_some() {
                "nothing was said since then"
            } else {
                "there are no logs yet"
            });
        }
        while let Some(watch) = &mut watch {
            watch.wait();
            for name in logs.look_again()? {
                output.note(format_args!(
                    "some lines of {name} may be missing here: its log was removed, or rotated faster than it was read"
                ));
            }
            printer.rest(&mut logs, Torn::Kept)?;
            // With nothing to write one would not notice, and wait for ever.
            if platform::output_is_abandoned() {
                return Ok(0);
            }
        }
        Ok(0)
    }

    fn format(&self) -> Format {
        match (self.form.json, self.form.raw) {
            (true, _) => Format::Json,
            (_, true) => Format::Raw,
            _ => Format::Columns,
        }
    }
}

/// How a line is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Columns,
    Raw,
    Json,
}

struct Printer {
    out: BufWriter<io::Stdout>,
    format: Format,
    is_terminal: bool,
    has_printed: bool,
}

impl Printer {
    fn new(format: Format) -> Self {
        Self {
            // Not locked: in the foreground others print too.
            out: BufWriter::new(io::stdout()),
            format,
            is_terminal: console::user_attended(),
            has_printed: false,
        }
    }

    /// Everything there is by now.
    fn rest(&mut self, logs: &mut Merge, torn: Torn) -> io::Result<()> {
        while let Some(line) = logs.next(torn)? {
            self.print(&line)?;
        }
        self.out.flush()
    }

    fn print(&mut self, line: &Line) -> io::Result<()> {
        self.has_printed = true;
        match self.format {
            Format::Json => {
                serde_json::to_writer(&mut self.out, line)?;
                self.out.write_all(b"\n")
            }
            Format::Raw => writeln!(self.out, "{}", shown(&line.text, self.is_terminal)),
            Format::Columns => {
                let mark = if line.stream == "event" { "*" } else { "|" };
                let text = shown(&line.text, self.is_terminal);
                writeln!(self.out, "{:24} {:>15} {mark} {text}", line.time, line.component)
            }
        }
    }
}

/// `text` as it may be printed: on a terminal, control characters of a component would be orders to the terminal.
fn shown(text: &str, is_terminal: bool) -> Cow<'_, str> {
    if is_terminal { harmless(text) } else { Cow::Borrowed(text) }
}

/// The moment that a person means: so long ago, a date, or a date and time.
fn moment(text: &str) -> Result<SystemTime, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        // Before the beginning of time there are no logs either.
        let time = SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
        return Ok(time.max(SystemTime::UNIX_EPOCH));
    }
    let (local, zone) = split_zone(text);
    let utc = humantime::parse_rfc3339_weak(local)
        .or_else(|_| humantime::parse_rfc3339_weak(&format!("{local}T00:00:00")))
        .ok()
        .and_then(|time| match zone {
            Zone::East(shift) => time.checked_sub(shift),
            Zone::West(shift) => time.checked_add(shift),
        });
    // What is compared with it is text with a year of four digits.
    let last = humantime::parse_rfc3339("9999-12-31T23:59:59Z").ok();
    utc.filter(|time| *time >= SystemTime::UNIX_EPOCH && Some(*time) <= last).ok_or_else(|| {
        format!(
            "`{text}` is neither a length of time such as `10m` nor a time such as `2026-01-31T08:30:00Z`"
        )
    })
}

/// How far a clock is ahead of UTC, or behind it.
enum Zone {
    East(Duration),
    West(Duration),
}

/// A time without its zone, which is UTC if none is named.
fn split_zone(text: &str) -> (&str, Zone) {
    let utc = (text, Zone::East(Duration::ZERO));
    let Some((local, zone)) = text.len().checked_sub(6).and_then(|at| text.split_at_checked(at)) else {
        return utc;
    };
    let (sign, rest) = zone.split_at(1);
    let Some((Ok(hours), Ok(minutes))) =
        rest.split_once(':').map(|(h, m)| (h.parse::<u8>(), m.parse::<u8>()))
    else {
        return utc;
    };
    if !local.contains(':') || hours > 23 || minutes > 59 {
        return utc;
    }
    let shift = Duration::from_secs(u64::from(hours) * 3600 + u64::from(minutes) * 60);
    match sign {
        "+" => (local, Zone::East(shift)),
        "-" => (local, Zone::West(shift)),
        _ => utc,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_understood_in_every_form_that_the_help_names() {
        let text = |input| moment(input).map(|time| humantime::format_rfc3339(time).to_string());
        for (input, expected) in [
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31T08:30:00Z", "2026-01-31T08:30:00Z"),
            ("2026-01-31T08:30:00.250Z", "2026-01-31T08:30:00.250000000Z"),
            ("2026-01-31 08:30:00", "2026-01-31T08:30:00Z"),
            ("2026-01-31T08:30:00+01:00", "2026-01-31T07:30:00Z"),
            ("2026-01-31T20:30:00-05:30", "2026-02-01T02:00:00Z"),
        ] {
            assert_eq!(text(input).as_deref(), Ok(expected), "{input}");
        }
        let then = moment("1h").expect("a time");
        let hour = SystemTime::now().duration_since(then).expect("is past");
        assert!((3600..3660).contains(&hour.as_secs()));
        assert_eq!(moment("1000years"), Ok(SystemTime::UNIX_EPOCH));
        for wrong in [
            "",
            "yesterday",
            "10",
            "2026-13-01",
            "2026-01-31T08:30:00+99:00",
            "9999-12-31T23:59:59-23:59",
            "1969-01-01",
            "é-01:00",
        ] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_component_gives_no_orders_to_a_terminal() {
        assert_eq!(shown("a\x1b[2Jb\u{9b}c\r\td", true), "a\\u{1b}[2Jb\\u{9b}c\\r\td");
        assert_eq!(shown("a\x1b[2J", false), "a\x1b[2J");
    }
}
