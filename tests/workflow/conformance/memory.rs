//! The engine on a journal, with a journal in memory, and crashes at will.

use super::world::{BEGIN, World};
use super::{Bench, Came};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use stigmer::workflow::engine::{AgentRequest, HttpRequest, Millis, Outcome, Stop};
use stigmer::workflow::interpreter::{Given, run};
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

    /// How many entries the journal has.
    pub(crate) fn entries(&self) -> usize {
        self.journal.borrow().len()
    }
}

struct MemoryHost<'w> {
    world: &'w World,
    plan: Rc<RefCell<Plan>>,
    journal: Rc<RefCell<Vec<Entry>>>,
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
    fn add(&mut self, entries: Vec<Entry>) -> Result<(), Stop> {
        self.go_on()?;
        self.journal.borrow_mut().extend(entries);
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Stop> {
        self.go_on()
    }

    fn now(&mut self) -> Millis {
        self.world.now()
    }

    fn chance(&mut self) -> f64 {
        0.5
    }

    fn sleep(&mut self, until: Millis) -> Result<(), Stop> {
        self.go_on()?;
        self.world.pass_until(until);
        Ok(())
    }

    fn http(&mut self, request: &HttpRequest, deadline: Option<Millis>) -> Result<Outcome, Stop> {
        let outcome = self.world.http(request, deadline);
        if std::mem::take(&mut self.plan.borrow_mut().cut_in_request) {
            return Err(Stop::Left);
        }
        Ok(outcome)
    }

    fn agent(
        &mut self,
        path: &str,
        request: &AgentRequest,
        deadline: Option<Millis>,
    ) -> Result<Outcome, Stop> {
        Ok(self.world.agent(path, request, deadline))
    }
}

impl Bench for Memory {
    fn run(&mut self, spec: &Value, input: &Value, world: &World) -> Came {
        let workflow = stigmer::workflow::read(spec).unwrap_or_else(|problems| panic!("{problems:?}"));
        let plan = Rc::new(RefCell::new(self.plan.clone()));
        loop {
            let past = self.journal.borrow().clone();
            let host = MemoryHost { world, plan: Rc::clone(&plan), journal: Rc::clone(&self.journal) };
            let given = Given {
                id: "x-1".to_owned(),
                input: input.clone(),
                started: BEGIN,
                runtime_version: "1.2.3".to_owned(),
                secrets: BTreeMap::from([("KEY".to_owned(), "secret-value".to_owned())]),
            };
            match run(&workflow, given, &mut Journaled::new(host, past)) {
                Ok(end) => return Came::To(end),
                Err(Stop::Cancelled) => return Came::Cancelled,
                Err(Stop::Left) => {}
            }
        }
    }
}
