//! `stigmer doctor`: everything a start depends on, looked at one by one, each with what to do about it.
//!
//! It changes nothing: it makes no home, takes no lock that a start could wait for, and heals nothing, so that what it shows
//! is what a start would meet. What it needs to try, it tries in a file that has no name or is gone at once.

mod ground;
mod parts;
mod running;
mod update;

use super::output::plural;
use super::{Outcome, Output};
use crate::home::Home;
use crate::supervise::components::Components;
use serde::Serialize;

/// Look at everything a start depends on, and say what to do where something is wrong
///
/// Nothing is changed. The exit code is 0 if there is no problem (warnings do not count), else 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// As it should be.
    Ok,
    /// It works, or will until something else happens.
    Warning,
    /// Something does not work.
    Problem,
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, detail: detail.into(), next: None }
    }

    fn warning(name: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, detail: detail.into(), next: Some(next.into()) }
    }

    fn problem(name: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Problem, detail: detail.into(), next: Some(next.into()) }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    home: String,
    problems: usize,
    warnings: usize,
    checks: &'a [Check],
}

impl Args {
    pub(super) fn run(self, components: Components) -> Outcome {
        let (home, output) = (Home::from_env()?, Output::new(self.json));
        let mut checks = Vec::new();
        ground::look(&home, components, &mut checks);
        parts::look(&home, components, &mut checks);
        running::look(&home, components, &mut checks);
        update::look(&home, &mut checks);
        let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
        let (problems, warnings) = (count(Verdict::Problem), count(Verdict::Warning));
        if output.is_json() {
            let home = home.root().display().to_string();
            output.json(&Report { home, problems, warnings, checks: &checks })?;
        } else {
            show(&checks, output)?;
            output.line(match (problems, warnings) {
                (0, 0) => "all is well".to_owned(),
                (0, warnings) => format!("no problem, {}", plural(warnings, "warning")),
                (problems, 0) => plural(problems, "problem"),
                (problems, warnings) => {
                    format!("{}, {}", plural(problems, "problem"), plural(warnings, "warning"))
                }
            })?;
        }
        Ok(u8::from(problems > 0))
    }
}

fn show(checks: &[Check], output: Output) -> std::io::Result<()> {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for check in checks {
        let word = match check.verdict {
            Verdict::Ok => console::style("ok     ").green(),
            Verdict::Warning => console::style("warning").yellow(),
            Verdict::Problem => console::style("problem").red().bold(),
        };
        output.line(format_args!("{word}  {:width$}  {}", check.name, check.detail))?;
        if let Some(next) = &check.next {
            output.line(format_args!("{:9}{:width$}  → {next}", "", ""))?;
        }
    }
    Ok(())
}
