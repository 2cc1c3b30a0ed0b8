//! What ends a task before its end, and the deadlines of those that are under way.

use super::Run;
use crate::engine::{Engine, Millis, Stop, Waited};
use crate::fault::Fault;
use std::time::Duration;

/// Why a task does not come to its end.
#[derive(Debug)]
pub(super) enum Break {
    /// It goes no further here.
    Stop(Stop),
    /// It failed.
    Fault(Fault),
    /// The deadline at this place is over: nobody below whoever set it can do anything about it.
    Late(usize),
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

impl<E: Engine> Run<'_, E> {
    /// Does something that may take only so long, counted from a time; if it takes longer, that is an error of `what`.
    pub(super) fn within<T>(
        &mut self,
        limit: Option<(Duration, Millis)>,
        what: &str,
        work: impl FnOnce(&mut Self) -> Result<T, Break>,
    ) -> Result<T, Break> {
        let Some((length, since)) = limit else { return work(self) };
        let place = self.deadlines.len();
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        self.deadlines.push(since.saturating_add(length_ms));
        let outcome = work(self);
        self.deadlines.truncate(place);
        match outcome {
            Err(Break::Late(late)) if late == place => {
                let words = format!("{what} took longer than {}", humantime::format_duration(length));
                Err(Fault::timeout(words).into())
            }
            other => other,
        }
    }

    /// The next deadline.
    pub(super) fn deadline(&self) -> Option<Millis> {
        self.deadlines.iter().min().copied()
    }

    fn late(&self) -> Break {
        let next = self.deadlines.iter().enumerate().min_by_key(|(_, at)| **at);
        Break::Late(next.map_or(0, |(place, _)| place))
    }

    /// Whether it is not too late to begin something at `now`.
    pub(super) fn in_time(&self, now: Millis) -> Result<(), Break> {
        if self.deadline().is_some_and(|deadline| now >= deadline) { Err(self.late()) } else { Ok(()) }
    }

    pub(super) fn through(&self, waited: Waited) -> Result<(), Break> {
        match waited {
            Waited::Through => Ok(()),
            Waited::TimedOut => Err(self.late()),
        }
    }

    pub(super) fn timed_out<T>(&self) -> Result<T, Break> {
        Err(self.late())
    }
}
