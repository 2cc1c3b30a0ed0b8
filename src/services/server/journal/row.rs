//! The row of an execution: what may be done with it, without anything long.

use super::{Event, ExecutionId, Kind, LeaseId, Phase, SessionId};
use crate::services::server::refusal::Refusal;
use crate::services::server::store::Tx;
use crate::services::server::store::statements::{
    ADVANCE, END, EVENT_INSERT, ROW, ROW_BY_LEASE, ROW_BY_N, Statement,
};
use rusqlite::{Params, params};
use stigmer_protocol::Json;
use stigmer_protocol::time::now_ms;

/// The state of an execution.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Its place in the order of creation; the key of its events.
    pub(super) n: i64,
    pub(super) id: ExecutionId,
    pub(super) kind: Kind,
    pub(super) phase: Phase,
    pub(super) attempt: u32,
    pub(super) cancel_requested: bool,
    pub(super) input_tokens: Option<u64>,
    pub(super) output_tokens: Option<u64>,
    pub(super) last_seq: u64,
    pub(super) parent: Option<i64>,
    pub(super) session: Option<SessionId>,
    pub(super) definition: i64,
    pub(super) is_held: bool,
    pub(super) lease_n: u64,
    pub(super) child_ended: bool,
}

fn word<T: std::str::FromStr<Err = String>>(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<T> {
    row.get::<_, String>(at)?.parse().map_err(|error: String| {
        rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, error.into())
    })
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        n: row.get(0)?,
        id: row.get::<_, String>(1)?.into(),
        kind: word(row, 2)?,
        phase: word(row, 3)?,
        attempt: row.get(4)?,
        cancel_requested: row.get(5)?,
        input_tokens: row.get(6)?,
        output_tokens: row.get(7)?,
        last_seq: row.get(8)?,
        parent: row.get(9)?,
        session: row.get::<_, Option<String>>(10)?.map(Into::into),
        definition: row.get(11)?,
        is_held: row.get::<_, Option<String>>(12)?.is_some(),
        lease_n: row.get(13)?,
        child_ended: row.get(14)?,
    })
}

impl Row {
    fn first(tx: &Tx, statement: Statement, with: impl Params) -> Result<Option<Self>, Refusal> {
        Ok(tx.first(statement, with, read)?)
    }

    /// The execution `id`.
    pub(super) fn find(tx: &Tx, id: &ExecutionId) -> Result<Self, Refusal> {
        Self::first(tx, ROW, [id.as_str()])?.ok_or_else(|| super::reading::missing(id))
    }

    /// The execution with the key `n`, which is known to exist.
    pub(super) fn by_n(tx: &Tx, n: i64) -> Result<Self, Refusal> {
        Self::first(tx, ROW_BY_N, [n])?.ok_or_else(|| Refusal::internal("an execution has disappeared"))
    }

    /// The execution that `lease` holds.
    pub(super) fn held(tx: &Tx, lease: &LeaseId) -> Result<Self, Refusal> {
        Self::first(tx, ROW_BY_LEASE, [lease.as_str()])?.ok_or_else(Refusal::lease_lost)
    }

    /// Adds an event of the server to the journal, and takes its effect on the row. One of the `save` methods has to follow. Gives the
    /// time of the event, in milliseconds since the Unix epoch.
    pub(super) fn append(&mut self, tx: &Tx, event: &Event) -> Result<i64, Refusal> {
        let data = event.data()?;
        self.append_data(tx, event, None, &data)
    }

    /// Adds an event with its data as it was sent.
    pub(super) fn append_data(
        &mut self,
        tx: &Tx,
        event: &Event,
        task: Option<&str>,
        data: &Json,
    ) -> Result<i64, Refusal> {
        let time = now_ms();
        self.last_seq += 1;
        tx.execute(EVENT_INSERT, params![self.n, self.last_seq, time, event.kind(), task, data.text()])?;
        match event {
            Event::Started(_) => {
                self.phase = Phase::InProgress;
                self.attempt += 1;
            }
            Event::CancelRequested(_) => self.cancel_requested = true,
            Event::Usage(more) => {
                let sum = |so_far: Option<u64>, more| Some(so_far.unwrap_or(0).saturating_add(more));
                self.input_tokens = sum(self.input_tokens, more.input_tokens);
                self.output_tokens = sum(self.output_tokens, more.output_tokens);
            }
            Event::Completed(_) => self.phase = Phase::Completed,
            Event::Failed(_) => self.phase = Phase::Failed,
            Event::Cancelled(_) => self.phase = Phase::Cancelled,
            _ => {}
        }
        Ok(time)
    }

    /// Writes the progress of a lease: events, and nothing else.
    pub(super) fn save_progress(&self, tx: &Tx) -> Result<(), Refusal> {
        let with = params![self.n, self.last_seq, self.lease_n, self.input_tokens, self.output_tokens];
        tx.execute(ADVANCE, with)?;
        Ok(())
    }

    /// Writes the end, which came at the time `ended`. Nobody holds the execution any more.
    pub(super) fn save_end(&self, tx: &Tx, ended: i64) -> Result<(), Refusal> {
        let phase = self.phase.word();
        let with = params![self.n, phase, ended, self.last_seq, self.input_tokens, self.output_tokens];
        tx.execute(END, with)?;
        Ok(())
    }
}
