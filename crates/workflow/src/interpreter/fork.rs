//! Branches that run at the same time.
//!
//! Branches are futures of one task, polled in their declared order, so effects are requested in the same order on every replay. A fork
//! that one branch ends (the winner of a race, an error, `then: end`) records which one before anything is made of it, and replays only
//! that branch. The others are dropped, which cancels their effects.

use super::scope::Break;
use super::{Left, Local, Run, path_of};
use crate::engine::{Effects, Observer};
use crate::evaluation::Variables;
use crate::model::{Fork, Then};
use serde_json::Value;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

const CONTEXT: &str = "$context";

/// A branch under way; at its end it gives its strand back.
type Branch<'a, 'e, E, O> = Local<'a, (Result<Left, Break>, Run<'e, E, O>)>;

/// How the branches ended.
enum Ended<'e, E, O> {
    /// All of them, in declared order.
    All(Vec<(Value, Run<'e, E, O>)>),
    /// The branch of this index ended the fork.
    By(usize, Result<Left, Break>, Run<'e, E, O>),
}

impl<'e, E: Effects, O: Observer> Run<'e, E, O> {
    /// Runs the branches. Returns the outputs of all, or that of the winner of a race.
    pub(super) async fn fork(&mut self, fork: &Fork, input: &Value, path: &str) -> Result<Left, Break> {
        let decided = self.shared.effects.decided(path);
        let list = format!("{path}/fork/branches");
        let base = self.names.get(CONTEXT).cloned();
        let mut branches = Vec::with_capacity(fork.branches.len());
        for (place, task) in fork.branches.iter().enumerate() {
            let is_needed = decided.is_none_or(|decided| decided == place);
            branches.push(is_needed.then(|| -> Branch<'_, 'e, E, O> {
                let (mut run, input, path) = (self.branch(), input.clone(), path_of(&list, place, task));
                Box::pin(async move {
                    let outcome = run.task(task, input, &path).await;
                    (outcome, run)
                })
            }));
        }
        match ended(&mut branches, |outcome| {
            fork.compete || decided.is_some() || !matches!(outcome, Ok((_, Then::Continue | Then::Exit)))
        })
        .await
        {
            Ended::All(all) => {
                let (outputs, runs): (Vec<Value>, Vec<Self>) = all.into_iter().unzip();
                let contexts = runs.into_iter().map(|mut run| run.names.remove(CONTEXT));
                let context = merged(base.as_ref(), contexts.flatten());
                self.restore(CONTEXT, context);
                Ok((Value::Array(outputs), Then::Continue))
            }
            Ended::By(_, Err(Break::Stop(stop)), _) => Err(stop.into()),
            Ended::By(place, outcome, run) => {
                if decided.is_none() {
                    beside(&mut branches, self.shared.effects.decide(path, place)).await?;
                }
                drop(branches);
                self.failed = run.failed.or(self.failed.take());
                let (output, then) = outcome?;
                if fork.compete {
                    self.shared.observer.branched(path, &fork.branches[place].name)?;
                }
                let context: Variables = run.names;
                self.restore(CONTEXT, context.get(CONTEXT).cloned());
                Ok((output, if then == Then::End { then } else { Then::Continue }))
            }
        }
    }

    /// A strand that begins where this one is.
    fn branch(&self) -> Self {
        Self {
            shared: self.shared,
            names: self.names.clone(),
            deadlines: self.deadlines.clone(),
            failed: None,
        }
    }
}

/// Waits until one branch ends with an outcome that ends the fork, or all branches have ended.
async fn ended<'e, E: Effects, O: Observer>(
    branches: &mut [Option<Branch<'_, 'e, E, O>>],
    ends_fork: impl Fn(&Result<Left, Break>) -> bool,
) -> Ended<'e, E, O> {
    let mut completed: Vec<Option<(Value, Run<'e, E, O>)>> = branches.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (place, slot) in branches.iter_mut().enumerate() {
            let Some(branch) = slot else { continue };
            let Poll::Ready((outcome, run)) = branch.as_mut().poll(context) else { continue };
            *slot = None;
            if ends_fork(&outcome) {
                return Poll::Ready(Ended::By(place, outcome, run));
            }
            if let Ok((output, _)) = outcome {
                completed[place] = Some((output, run));
            }
        }
        if branches.iter().all(Option::is_none) {
            return Poll::Ready(Ended::All(completed.drain(..).flatten().collect()));
        }
        Poll::Pending
    })
    .await
}

/// Waits for `decision` while the branches go on. They are not cancelled before it is recorded: a branch that fails because it was
/// cancelled could end the fork on replay. And they are not left unpolled, because the decision may wait for something that one of them
/// holds, such as a request under way.
async fn beside<E: Effects, O: Observer, T>(
    branches: &mut [Option<Branch<'_, '_, E, O>>],
    decision: impl Future<Output = T>,
) -> T {
    let mut decision = std::pin::pin!(decision);
    poll_fn(|context| {
        if let Poll::Ready(output) = decision.as_mut().poll(context) {
            return Poll::Ready(output);
        }
        for slot in &mut *branches {
            if slot.as_mut().is_some_and(|branch| branch.as_mut().poll(context).is_ready()) {
                *slot = None;
            }
        }
        Poll::Pending
    })
    .await
}

/// The context after all branches: what each branch changed, in declared order. Members of objects are merged one by one.
fn merged(base: Option<&Arc<Value>>, contexts: impl Iterator<Item = Arc<Value>>) -> Option<Arc<Value>> {
    let base = base?;
    let mut result = Arc::clone(base);
    for context in contexts.filter(|context| *context != *base) {
        match (base.as_object(), context.as_object()) {
            (Some(before), Some(after)) if result.is_object() => {
                let Some(members) = Arc::make_mut(&mut result).as_object_mut() else { continue };
                members.retain(|key, _| after.contains_key(key) || !before.contains_key(key));
                let changed = after.iter().filter(|(key, value)| before.get(*key) != Some(value));
                members.extend(changed.map(|(key, value)| (key.clone(), value.clone())));
            }
            _ => result = context,
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn contexts_of_branches_are_merged_in_declared_order() {
        let after = |base: Value, contexts: &[Value]| {
            let contexts = contexts.iter().cloned().map(Arc::new);
            merged(Some(&Arc::new(base)), contexts).map(|context| (*context).clone())
        };
        let base = || json!({"a": 1, "b": 2});
        assert_eq!(after(base(), &[base(), base()]), Some(base()));
        assert_eq!(
            after(base(), &[json!({"a": 1, "b": 2, "x": 0}), json!({"a": 5, "b": 2, "y": 0}), base()]),
            Some(json!({"a": 5, "b": 2, "x": 0, "y": 0}))
        );
        assert_eq!(
            after(base(), &[json!({"b": 2, "x": 1}), json!({"a": 1, "b": 3})]),
            Some(json!({"b": 3, "x": 1}))
        );
        assert_eq!(after(base(), &[json!({"a": 2, "b": 2}), json!(7), base()]), Some(json!(7)));
        assert_eq!(after(json!(null), &[json!({"a": 1}), json!(null)]), Some(json!({"a": 1})));
    }
}
