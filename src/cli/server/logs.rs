//! What the components say, merged by time.

use super::Output;
use crate::cli::Outcome;
use crate::home::Home;
use crate::supervise::launch::AGENT_RUNNER;
pub(super) use crate::supervise::logs::Follower;
use crate::supervise::logs::{Line, file, tail};
use crate::supervise::supervisor::{SERVER, WORKFLOW_RUNNER};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Whose logs there are.
const COMPONENTS: [&str; 4] = ["supervisor", SERVER, WORKFLOW_RUNNER, AGENT_RUNNER];

/// How soon a new line is shown.
pub(super) const GLANCE: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(super) struct LogsArgs {
    /// How many of the last lines to show
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 50)]
    lines: usize,
    /// Go on with what is said from now on
    #[arg(short, long)]
    follow: bool,
    /// Of this component only
    #[arg(long, value_name = "C", value_parser = COMPONENTS)]
    component: Option<String>,
    /// Of all components, merged by time (the default)
    #[arg(long, conflicts_with = "component")]
    all: bool,
    /// Print each line as the JSON object it is
    #[arg(long)]
    json: bool,
}

/// The logs of all components.
pub(super) fn files(home: &Home) -> Vec<(String, PathBuf)> {
    COMPONENTS.into_iter().map(|name| (name.to_owned(), file(&home.logs(), name))).collect()
}

impl LogsArgs {
    pub(super) fn run(self, home: &Home) -> Outcome {
        let output = Output::new(self.json);
        let mut files = files(home);
        files.retain(|(name, _)| self.component.as_deref().is_none_or(|wanted| wanted == name));
        // The follower comes first, so that nothing falls between the two; what both have seen is shown once.
        let mut follower = self.follow.then(|| Follower::new(&files));
        let lines = tail(&files, self.lines)?;
        if lines.is_empty() && !self.follow {
            output.note("there are no logs yet");
        }
        show(&lines, output)?;
        if let Some(follower) = &mut follower {
            let mut fresh = follower.poll();
            fresh.retain(|line| !lines.contains(line));
            show(&fresh, output)?;
        }
        while let Some(follower) = &mut follower {
            std::thread::sleep(GLANCE);
            show(&follower.poll(), output)?;
        }
        Ok(0)
    }
}

pub(super) fn show(lines: &[Line], output: Output) -> io::Result<()> {
    for line in lines {
        if output.is_json() {
            output.line(serde_json::to_string(line)?)?;
        } else {
            let mark = if line.stream == "event" { "*" } else { "|" };
            output.line(format_args!("{} {:>15} {mark} {}", line.time, line.component, line.text))?;
        }
    }
    Ok(())
}
