//! `stigmer cache gc` and `stigmer cache clean`.

use super::super::output::plural;
use super::super::{Exit, Failure, Outcome, Output};
use crate::bundle::{Carrier, Digest};
use crate::config::Config;
use crate::home::Home;
use crate::store::{self, Collected, Policy};
use crate::supervise::client::{Found, look};
use crate::update::{Kept, collect_runners};
use serde::Serialize;
use std::time::Duration;

/// Remove entries that are old, beyond the size cap, or left by killed processes
///
/// Never removed: the components of this executable, the previous version of each, and whatever is in use. Agent-runners that were
/// fetched by name (`stigmer server --version NAME`) go when nobody has asked for them that long.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Gc {
    /// Remove what was not used for this long, such as `30d` or `12h` [default: 30d, or `cache.max_age` of the configuration]
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    max_age: Option<Duration>,
    /// Keep the store below this many megabytes [default: 2000, or `cache.max_size_mb` of the configuration]
    #[arg(long, value_name = "MB")]
    max_size: Option<u64>,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Gc {
    pub(in crate::cli) fn run(self) -> Outcome {
        let home = Home::from_env()?;
        let config = Config::read(&home)?.cache;
        let policy = Policy {
            current: own_digests(),
            keep_previous: true,
            max_age: self.max_age.unwrap_or(config.max_age),
            max_bytes: self.max_size.unwrap_or(config.max_size_mb).saturating_mul(1_000_000),
            dry_run: self.dry_run,
        };
        run(&home, &policy, Output::new(self.json))?;
        Ok(0)
    }
}

/// Remove every entry that is not in use, and every agent-runner that was fetched by name
///
/// The next start materializes again what it needs. Exit code 75 if something is in use and had to stay, unless this is a dry run.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Clean {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Clean {
    pub(in crate::cli) fn run(self) -> Outcome {
        let policy = Policy {
            current: Vec::new(),
            keep_previous: false,
            max_age: Duration::ZERO,
            max_bytes: 0,
            dry_run: self.dry_run,
        };
        let output = Output::new(self.json);
        let collected = run(&Home::from_env()?, &policy, output)?.store;
        if collected.in_use.is_empty() || self.dry_run {
            return Ok(0);
        }
        if output.is_json() {
            return Ok(Exit::Busy as u8);
        }
        Err(Failure::new(Exit::Busy, "what is in use was kept")
            .hint("`stigmer server stop` ends the platform"))
    }
}

/// The components of this executable, and of the one that an update has put aside: to go back must not mean to unpack again.
fn own_digests() -> Vec<Digest> {
    let own = super::own_carrier();
    let previous =
        own.as_ref().and_then(|own| Carrier::read_footer(&crate::update::previous_of(own.path())).ok());
    own.iter()
        .map(Carrier::footer)
        .chain(&previous)
        .flat_map(|footer| &footer.slots)
        .map(|slot| slot.digest)
        .collect()
}

/// All that was removed.
#[derive(Serialize)]
struct All {
    #[serde(flatten)]
    store: Collected,
    /// Bundles of agent-runners that were fetched by name.
    runners: Vec<Kept>,
}

fn run(home: &Home, policy: &Policy, output: Output) -> Result<All, Failure> {
    let store = store::collect(home, policy)?;
    let runners = match look(home) {
        Found::Up(status) => {
            collect_runners(&home.runners(), policy.max_age, status.runner.as_deref(), policy.dry_run)?
        }
        Found::Absent | Found::Crashed { .. } => {
            collect_runners(&home.runners(), policy.max_age, None, policy.dry_run)?
        }
        // Which of them it uses, nobody can say.
        Found::Hung { .. } | Found::Barred { .. } => Vec::new(),
    };
    let collected = All { store, runners };
    if output.is_json() {
        output.json(&collected)?;
    } else {
        print(&collected, policy, output)?;
    }
    Ok(collected)
}

fn print(all: &All, policy: &Policy, output: Output) -> std::io::Result<()> {
    let All { store: collected, runners } = all;
    let verb = if policy.dry_run { "would remove" } else { "removed" };
    for entry in &collected.removed {
        let size = store::bytes(entry.bytes);
        output.line(format_args!(
            "{verb} {} {} {} ({size})",
            entry.component,
            entry.version,
            entry.digest.short()
        ))?;
    }
    for entry in &collected.in_use {
        let by: Vec<String> = entry.in_use_by.iter().map(|pid| format!("pid {pid}")).collect();
        let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
        output.line(format_args!(
            "kept {} {} {}: in use{by}",
            entry.component,
            entry.version,
            entry.digest.short()
        ))?;
    }
    for runner in runners {
        let size = store::bytes(runner.bytes);
        output.line(format_args!("{verb} the agent-runner `{}` as it was fetched ({size})", runner.name))?;
    }
    if collected.leftovers > 0 {
        output.line(format_args!("{verb} {}", plural(collected.leftovers, "leftover")))?;
    }
    if collected.removed.is_empty() && runners.is_empty() && collected.leftovers == 0 {
        output.note("nothing to remove");
    } else {
        let bytes = collected.bytes + runners.iter().map(|runner| runner.bytes).sum::<u64>();
        output.note(format_args!("{} in all", store::bytes(bytes)));
    }
    Ok(())
}
