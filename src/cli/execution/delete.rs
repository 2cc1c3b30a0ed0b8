//! `stigmer execution delete` and `stigmer execution prune`.

use super::super::confirm::confirm;
use super::super::output::plural;
use super::super::{Failure, Outcome, Output, api};
use crate::services::client::Client;
use serde::Serialize;
use std::time::Duration;
use stigmer_protocol::ExecutionId;
use stigmer_protocol::api::executions::{PruneRequest, PruneResult};

/// Number of ids that are printed at most.
const MAX_IDS: usize = 1000;

/// Under the help of `stigmer execution prune`.
pub(super) const PRUNE_NOTE: &str = "\
Kept are executions that have not ended, the children of those, and what was said in a session that is in use. With --older-than and \
--keep, an execution is deleted only if both allow it. `[server] retention` in config.toml deletes old executions without being asked.

Examples:
  stigmer execution prune --older-than 30d
  stigmer execution prune --keep 100 --dry-run";

#[derive(Debug, clap::Args)]
pub(super) struct DeleteArgs {
    /// Execution ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Deleted {
    deleted: Vec<ExecutionId>,
}

impl DeleteArgs {
    pub(super) fn run(self, client: &mut Client) -> Outcome {
        let output = Output::new(self.json);
        // An id that cannot be completed is noticed before anything is deleted.
        let mut ids: Vec<ExecutionId> = Vec::new();
        for text in &self.ids {
            let id = api::execution_id(client, text)?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let mut deleted = Vec::new();
        for id in ids {
            if let Err(error) = client.executions().delete(&id) {
                let failure = Failure::from(error);
                // An error takes the place of the result.
                let before = deleted.iter().filter(|_| output.is_json());
                return Err(before.fold(failure, |failure, id| failure.cause(format!("{id} is deleted"))));
            }
            if !output.is_json() {
                output.line(format_args!("{id} deleted"))?;
            }
            deleted.push(id);
        }
        if output.is_json() {
            output.json(&Deleted { deleted })?;
        }
        Ok(0)
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct PruneArgs {
    /// Only executions that ended at least this long ago, such as `30d` or `12h`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Keep this many executions, those that ended last; child executions do not count
    #[arg(long, value_name = "N")]
    keep: Option<u32>,
    /// Print what would be deleted and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete without asking
    #[arg(long)]
    yes: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Pruned {
    dry_run: bool,
    executions: u64,
    events: u64,
    ids: Vec<ExecutionId>,
}

impl PruneArgs {
    pub(super) fn run(self, client: &mut Client) -> Outcome {
        let output = Output::new(self.json);
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let request =
            PruneRequest { older_than_ms: self.older_than.map(millis), keep: self.keep, dry_run: false };
        let look =
            |client: &mut Client| client.executions().prune(&PruneRequest { dry_run: true, ..request });
        let result = if self.dry_run {
            look(client)?
        } else {
            if !self.yes {
                let found = look(client)?;
                if found.executions > 0 {
                    confirm(
                        &format!("Delete {}?", count(&found)),
                        "nothing was deleted",
                        "`--yes` deletes without asking, `--dry-run` only shows what would be deleted",
                    )?;
                }
            }
            prune(client, &request)?
        };
        if output.is_json() {
            let PruneResult { executions, events, ids, .. } = result;
            output.json(&Pruned { dry_run: self.dry_run, executions, events, ids })?;
        } else if result.executions == 0 {
            output.note("no executions to delete");
        } else if self.dry_run {
            for id in &result.ids {
                output.line(format_args!("would delete {id}"))?;
            }
            output.note(format_args!("{} in all", count(&result)));
        } else {
            output.line(format_args!("deleted {}", count(&result)))?;
        }
        Ok(0)
    }
}

/// Repeats the request until nothing is left to delete.
fn prune(client: &mut Client, request: &PruneRequest) -> Result<PruneResult, Failure> {
    let mut all = PruneResult::default();
    loop {
        let PruneResult { executions, events, ids, more } = client.executions().prune(request)?;
        all.executions += executions;
        all.events += events;
        all.ids.extend(ids.into_iter().take(MAX_IDS.saturating_sub(all.ids.len())));
        if !more {
            return Ok(all);
        }
    }
}

fn count(result: &PruneResult) -> String {
    let number = |count| usize::try_from(count).unwrap_or(usize::MAX);
    format!(
        "{} with {}",
        plural(number(result.executions), "execution"),
        plural(number(result.events), "event")
    )
}
