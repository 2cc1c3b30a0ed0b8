//! Deleting executions that nobody needs any more, and what they leave behind.

use super::{Refusal, Shared};
use crate::services::server::journal::{self, Place};
use crate::services::server::workspaces;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use stigmer_protocol::api::executions::{PruneRequest, PruneResult};
use stigmer_protocol::time::now_ms;

/// Number of executions after which a request to prune ends, so that its client does not wait for minutes.
const MAX_PRUNED: u64 = 5000;

/// Number of events after which a request to prune ends.
const MAX_PRUNED_EVENTS: u64 = 200_000;

/// Maximum number of ids in an answer.
const MAX_IDS: usize = 1000;

/// Time between two looks for executions that are older than the retention.
const RETENTION_INTERVAL: Duration = Duration::from_secs(3600);

/// Number of workspaces whose removal is noted in one transaction.
const REMOVAL_BATCH: u32 = 100;

impl Shared {
    /// Deletes the executions that `request` asks for, in many small transactions, until it has deleted enough for one request.
    pub(super) async fn prune(&self, request: PruneRequest) -> Result<PruneResult, Refusal> {
        let PruneRequest { older_than_ms, keep, dry_run } = request;
        let age = i64::try_from(older_than_ms.unwrap_or(0)).unwrap_or(i64::MAX);
        let until = now_ms().saturating_sub(age);
        let found = self.store.read_long(move |tx| journal::boundary(tx, until, keep.unwrap_or(0))).await?;
        let mut result = PruneResult::default();
        let Some(boundary) = found else { return Ok(result) };
        let mut next = Some(Place::START);
        while let Some(after) = next {
            let step = move |tx: &_| journal::prune(tx, after, boundary, dry_run);
            let batch =
                if dry_run { self.store.read_long(step).await? } else { self.store.write(step).await? };
            next = batch.next;
            result.executions += u64::try_from(batch.executions.len()).unwrap_or(u64::MAX);
            result.events += batch.events;
            let room = MAX_IDS.saturating_sub(result.ids.len());
            result.ids.extend(batch.executions.into_iter().take(room));
            let is_enough = result.executions >= MAX_PRUNED || result.events >= MAX_PRUNED_EVENTS;
            if is_enough && !dry_run && next.is_some() {
                result.more = true;
                break;
            }
        }
        if result.executions > 0 && !dry_run {
            self.deleted.notify_one();
        }
        Ok(result)
    }

    /// Removes what deleted executions have left behind, and deletes those that are older than the retention: at the start, and then
    /// whenever something was deleted or the time has come. A failure is tried again the next time.
    pub(in crate::services::server) async fn tidy(self: Arc<Self>) {
        loop {
            let started = tokio::time::Instant::now();
            if let Err(refusal) = self.keep_retention().await {
                report(&format!("cannot delete executions that are older than the retention: {refusal}"));
            }
            loop {
                if let Err(refusal) = self.remove_leftovers().await {
                    report(&format!("cannot remove what deleted executions have left behind: {refusal}"));
                }
                let deleted = self.deleted.notified();
                match self.settings.retention_ms {
                    None => deleted.await,
                    Some(_) => {
                        if tokio::time::timeout_at(started + RETENTION_INTERVAL, deleted).await.is_err() {
                            break;
                        }
                    }
                }
            }
        }
    }

    async fn keep_retention(&self) -> Result<(), Refusal> {
        let Some(retention) = self.settings.retention_ms else { return Ok(()) };
        let request = PruneRequest { older_than_ms: Some(retention), ..PruneRequest::default() };
        while self.prune(request).await?.more {}
        Ok(())
    }

    /// Removes the workspaces of deleted executions, and gives unused space of the database back to the system.
    async fn remove_leftovers(&self) -> Result<(), Refusal> {
        if let Some(dir) = &self.settings.workspaces {
            self.remove_workspaces(dir.into()).await?;
        }
        while self.store.write(journal::shrink).await? {}
        Ok(())
    }

    async fn remove_workspaces(&self, dir: PathBuf) -> Result<(), Refusal> {
        let mut after = String::new();
        loop {
            let last = after.clone();
            let ids = self.store.read(move |tx| journal::removals(tx, &last, REMOVAL_BATCH)).await?;
            let Some(last) = ids.last() else { return Ok(()) };
            after = last.to_string();
            let dir = dir.clone();
            let removing = tokio::task::spawn_blocking(move || {
                let is_removed = |id: &_| {
                    let outcome = workspaces::remove(&dir, id);
                    if let Err(error) = &outcome {
                        report(&format!("cannot remove the workspace of execution {id}: {error}"));
                    }
                    outcome.is_ok()
                };
                ids.into_iter().filter(is_removed).collect::<Vec<_>>()
            });
            let removed = removing.await.map_err(|error| Refusal::internal(error.to_string()))?;
            self.store.write(move |tx| journal::removal_done(tx, &removed)).await?;
        }
    }
}

/// Writes a line to the log of the server.
fn report(words: &str) {
    // If standard error is gone, there is no log to write to.
    let _ = writeln!(std::io::stderr(), "{words}");
}
