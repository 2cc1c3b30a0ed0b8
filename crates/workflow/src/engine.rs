//! Contract between the interpreter and an execution engine.
//!
//! The interpreter is deterministic: given the same answers it asks the same questions under the same paths. Everything that is not in
//! the workflow itself comes from [`Effects`]: time, chance, and the outcomes of effects. An engine remembers each answer under the
//! path of its task and gives the same answer when the workflow is run again after a crash, so nothing that was done is done twice.
//! [`Observer`] gets remarks for people; no engine needs to keep them.
//!
//! The engine of one machine keeps its memory in the execution's journal ([`crate::journaled`]). All methods return plain futures, which
//! need not be `Send`: an engine chooses its own executor.

use super::effect::Effect;
use super::evaluation::Evaluation;
use super::fault::Fault;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::future::Future;
use std::time::Duration;

/// Point in time, in milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = u64;

/// Reason why a workflow stops before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The execution was cancelled.
    Cancelled,
    /// Another worker continues the execution, now or later: nothing more may be done or reported here.
    Left,
}

/// Outcome of an effect. It is recorded and replayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The effect returned this value.
    Done(Value),
    /// The effect failed.
    Failed(Fault),
    /// A deadline passed first.
    TimedOut,
}

/// Outcome of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The time has passed.
    Elapsed,
    /// A deadline passed first.
    TimedOut,
}

/// Everything a workflow needs from outside. Each `path` names one run of one task: rounds of loops and retries have their own paths.
///
/// Every method can end with a [`Stop`]; the interpreter then asks for nothing more.
pub trait Effects {
    /// Records the start of a task and returns the time of its first start, from which `now`, `startedAt` and deadlines derive.
    fn started(&self, path: &str, kind: &str) -> impl Future<Output = Result<Millis, Stop>>;

    /// Returns the time when it was first asked for under this path.
    fn now(&self, path: &str) -> Result<Millis, Stop>;

    /// Returns the recorded outcome of the effect at `path`. It is asked before anything of the task is evaluated.
    fn known(&self, path: &str) -> Option<Outcome>;

    /// Performs an effect, once. If it is unknown whether an earlier attempt arrived, the effect is repeated where that does no harm
    /// ([`Effect::is_repeatable`]), and fails as interrupted otherwise. A future that is dropped cancels its effect.
    fn effect(
        &self,
        path: &str,
        effect: &Effect,
        deadline: Option<Millis>,
    ) -> impl Future<Output = Result<Outcome, Stop>>;

    /// Waits until `length` has passed since the first call under this path, or until `deadline`.
    fn wait(
        &self,
        path: &str,
        length: Duration,
        deadline: Option<Millis>,
    ) -> impl Future<Output = Result<Waited, Stop>>;

    /// Waits before retry number `attempt`: `delay`, plus a random length between the two of `jitter`.
    fn pause(
        &self,
        path: &str,
        attempt: u64,
        delay: Duration,
        jitter: Option<(Duration, Duration)>,
        deadline: Option<Millis>,
    ) -> impl Future<Output = Result<Waited, Stop>>;

    /// Returns the recorded index of the branch that ended the fork at `path`. Engines whose replay keeps the order of events need
    /// no record and return `None`.
    fn decided(&self, path: &str) -> Option<usize>;

    /// Records, before anything is made of it, which branch ended the fork at `path`: the winner of a race, or the first to fail.
    fn decide(&self, path: &str, branch: usize) -> impl Future<Output = Result<(), Stop>>;

    /// Evaluates expressions, which may take seconds and needs a deep stack. An engine whose executor must not block overrides this.
    ///
    /// # Errors
    /// The failed expression and the reason.
    fn evaluate(&self, evaluation: Evaluation) -> impl Future<Output = Result<Vec<Value>, String>> {
        std::future::ready(evaluation.run())
    }
}

/// Receiver of remarks about the progress of tasks, for people. No decision depends on a remark, and each may come again on replay.
pub trait Observer {
    /// A task completed with `output`.
    fn completed(&self, path: &str, output: &Value) -> Result<(), Stop>;

    /// A task was skipped because its condition did not hold.
    fn skipped(&self, path: &str) -> Result<(), Stop>;

    /// A task failed.
    fn failed(&self, path: &str, fault: &Fault) -> Result<(), Stop>;

    /// A switch took the case, or a race was won by the branch, of this name.
    fn branched(&self, path: &str, case: &str) -> Result<(), Stop>;
}
