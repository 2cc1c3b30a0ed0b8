//! The engine on a journal, with a journal in memory, and crashes at will.

use super::world::{BEGIN, World};
use super::{Bench, Came};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use stigmer::workflow::effect::{Effect, Request, Secrets};
use stigmer::workflow::engine::{Millis, Outcome, Stop};
use stigmer::workflow::fault::Fault;
use stigmer::workflow::interpreter::{End, INTERPRETER_REVISION, Runtime, Start, run};
use stigmer::workflow::journaled::{Entry, Host, Journaled};

/// What goes wrong.
#[derive(Debug, Clone, Default)]
struct Plan {
    /// After so many entries there is a crash: the first one that comes takes the first off this list.
    crashes: Vec<usize>,
    /// The next request is sent, and its answer is lost with everything else.
    cut_in_request: bool,
    /// After so many entries it is called off.
    cancelled_at: Option<usize>,
    /// Only the first start has secrets.
    loses_secrets: bool,
}

/// A bench with a journal in memory.
#[derive(Default)]
pub(crate) struct Memory {
    plan: Plan,
    journal: Rc<RefCell<Vec<Entry>>>,
}

impl Memory {
    pub(crate) fn crashing(crashes: Vec<usize>) -> Self {
        Self { plan: Plan { crashes, ..Plan::default() }, ..Self::default() }
    }

    pub(crate) fn cut_in_request() -> Self {
        Self { plan: Plan { cut_in_request: true, ..Plan::default() }, ..Self::default() }
    }

    pub(crate) fn cancelled_at(entry: usize) -> Self {
        Self { plan: Plan { cancelled_at: Some(entry), ..Plan::default() }, ..Self::default() }
    }

    /// After so many entries there is a crash, after which no secret is available.
    pub(crate) fn losing_secrets(crash: usize) -> Self {
        let plan = Plan { crashes: vec![crash], loses_secrets: true, ..Plan::default() };
        Self { plan, ..Self::default() }
    }

    /// Continues a journal.
    pub(crate) fn continuing(journal: Vec<Entry>) -> Self {
        Self { journal: Rc::new(RefCell::new(journal)), ..Self::default() }
    }

    pub(crate) fn journal(&self) -> Vec<Entry> {
        self.journal.borrow().clone()
    }

    /// How many entries the journal has.
    pub(crate) fn entries(&self) -> usize {
        self.journal.borrow().len()
    }
}

struct MemoryHost<'w> {
    world: &'w World,
    plan: Rc<RefCell<Plan>>,
    journal: Rc<RefCell<Vec<Entry>>>,
    secrets: Secrets,
    is_writing: Cell<bool>,
}

/// The right to write to the journal.
struct Writing<'c>(&'c Cell<bool>);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl MemoryHost<'_> {
    /// Whether it ends here.
    fn go_on(&self) -> Result<(), Stop> {
        let entries = self.journal.borrow().len();
        let mut plan = self.plan.borrow_mut();
        if plan.cancelled_at.is_some_and(|at| entries >= at) {
            return Err(Stop::Cancelled);
        }
        if plan.crashes.first().is_some_and(|at| entries >= *at) {
            plan.crashes.remove(0);
            return Err(Stop::Left);
        }
        Ok(())
    }
}

impl Host for MemoryHost<'_> {
    fn append(&self, entries: Vec<Entry>) -> Result<(), Stop> {
        self.go_on()?;
        self.journal.borrow_mut().extend(entries);
        Ok(())
    }

    /// As at a real server: it takes a while, and only one strand of the execution writes at a time.
    async fn flush(&self) -> Result<(), Stop> {
        let mut turns = 0;
        while self.is_writing.replace(true) {
            turns += 1;
            assert!(turns < 1000, "a strand that writes goes no further");
            self.world.turn().await;
        }
        let _writing = Writing(&self.is_writing);
        self.world.turn().await;
        self.go_on()
    }

    fn now(&self) -> Millis {
        self.world.now()
    }

    fn chance(&self) -> f64 {
        0.5
    }

    async fn sleep_until(&self, until: Millis) -> Result<(), Stop> {
        self.go_on()?;
        self.world.sleep_until(until).await;
        Ok(())
    }

    /// As in another process: the effect arrives there as text, and the secrets are only there.
    async fn resolve(&self, effect: &Effect) -> Result<Request, Fault> {
        let text = serde_json::to_string(effect).expect("an effect can be serialized");
        for secret in self.secrets.values() {
            assert!(!text.contains(secret), "an effect holds a secret: {text}");
        }
        let effect: Effect = serde_json::from_str(&text).expect("an effect can be read again");
        effect.resolve(&self.secrets)
    }

    async fn perform(
        &self,
        path: &str,
        request: &Request,
        deadline: Option<Millis>,
    ) -> Result<Outcome, Stop> {
        match request {
            Request::Http(request) => {
                let outcome = self.world.http(request, deadline).await;
                if std::mem::take(&mut self.plan.borrow_mut().cut_in_request) {
                    return Err(Stop::Left);
                }
                Ok(outcome)
            }
            Request::Agent(request) => Ok(self.world.agent(path, request, deadline).await),
        }
    }
}

impl Bench for Memory {
    fn run(&mut self, spec: &Value, input: &Value, world: &World) -> Came {
        let workflow = stigmer::workflow::read(spec).unwrap_or_else(|problems| panic!("{problems:?}"));
        let plan = Rc::new(RefCell::new(self.plan.clone()));
        let mut secrets = BTreeMap::from([("KEY".to_owned(), "secret-value".to_owned())]);
        for restart in 0.. {
            let past = self.journal.borrow().clone();
            let host = MemoryHost {
                world,
                plan: Rc::clone(&plan),
                journal: Rc::clone(&self.journal),
                secrets: secrets.clone(),
                is_writing: Cell::new(false),
            };
            let journaled = Journaled::new(host, past);
            // Each start is by a new version.
            let own = Runtime {
                name: "stigmer".to_owned(),
                version: format!("1.2.{restart}"),
                revision: INTERPRETER_REVISION,
            };
            let outcome = match journaled.runtime(own) {
                Err(stop) => Err(stop),
                Ok(Err(fault)) => Ok(End::Failed { fault, task: None }),
                Ok(Ok(runtime)) => {
                    let start = Start { id: "x-1".to_owned(), input: input.clone(), started: BEGIN, runtime };
                    world.block_on(run(&workflow, start, &journaled, &journaled))
                }
            };
            match outcome {
                Ok(end) => return Came::To(end),
                Err(Stop::Cancelled) => return Came::Cancelled,
                Err(Stop::Left) => {}
            }
            if self.plan.loses_secrets {
                secrets.clear();
            }
        }
        unreachable!("it is started until it ends")
    }
}
