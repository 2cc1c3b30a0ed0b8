//! Early ends of tasks, and the deadlines of the tasks under way.

use super::Run;
use crate::engine::{Effects, Millis, Observer, Stop, Waited};
use crate::fault::Fault;
use std::time::Duration;

/// Reason why a task does not complete.
#[derive(Debug)]
pub(super) enum Break {
    /// The engine stops the workflow.
    Stop(Stop),
    /// The task failed.
    Fault(Fault),
    /// The deadline at this index has passed. Only the task that set it can do something about it.
    Late(usize),
    /// The execution ran too many tasks. Nothing catches this: which task of which branch comes last may differ on replay.
    Exhausted,
}

impl From<Stop> for Break {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<Fault> for Break {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<E: Effects, O: Observer> Run<'_, E, O> {
    /// Does work that may take only so long, counted from a time. If it takes longer, that is a fault of `what`.
    pub(super) async fn within<T>(
        &mut self,
        limit: Option<(Duration, Millis)>,
        what: &str,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, Break>,
    ) -> Result<T, Break> {
        let Some((length, since)) = limit else { return work(self).await };
        let place = self.deadlines.len();
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        self.deadlines.push(since.saturating_add(length_ms));
        let outcome = work(self).await;
        self.deadlines.truncate(place);
        match outcome {
            Err(Break::Late(late)) if late == place => {
                let words = format!("{what} took longer than {}", humantime::format_duration(length));
                Err(Fault::timeout(words).into())
            }
            other => other,
        }
    }

    /// The earliest deadline.
    pub(super) fn deadline(&self) -> Option<Millis> {
        self.deadlines.iter().min().copied()
    }

    /// The end of a task whose earliest deadline has passed.
    pub(super) fn late(&self) -> Break {
        let next = self.deadlines.iter().enumerate().min_by_key(|(_, at)| **at);
        Break::Late(next.map_or(0, |(place, _)| place))
    }

    /// Fails if no task may start at `now` any more.
    pub(super) fn in_time(&self, now: Millis) -> Result<(), Break> {
        if self.deadline().is_some_and(|deadline| now >= deadline) { Err(self.late()) } else { Ok(()) }
    }

    pub(super) fn elapsed(&self, waited: Waited) -> Result<(), Break> {
        match waited {
            Waited::Elapsed => Ok(()),
            Waited::TimedOut => Err(self.late()),
        }
    }
}
