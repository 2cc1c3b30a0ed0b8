//! Asking the server whether all is well, and acting on its answer.

use super::{SERVER_INDEX, Supervisor, WORKFLOW_RUNNER};
use crate::supervise::fleet::Happening;
use crate::supervise::health::{Component, Tick, Worker, probe};
use crate::supervise::lifecycle::{Event, Phase};
use std::time::Instant;

/// What came of a question.
#[derive(Debug)]
pub(super) struct Probed {
    /// The number of the server's process that was asked.
    number: u64,
    began: Instant,
    answer: Option<Vec<Worker>>,
}

impl Supervisor {
    /// Asks, if it is time.
    pub(super) async fn watch(&mut self, now: Instant) {
        match self.health.tick(now) {
            Tick::Early => {}
            Tick::Slept => self.happen(Happening::Slept).await,
            Tick::Ask => {
                let Some(address) = self.server else { return };
                let (number, token, probes) =
                    (self.slots[SERVER_INDEX].number, self.token.clone(), self.probes.0.clone());
                tokio::spawn(async move {
                    let answer = probe::ask(address, token).await;
                    let _ = probes.send(Probed { number, began: now, answer });
                });
            }
        }
    }

    /// Hears the answer, or that there was none.
    pub(super) async fn probed(&mut self, probed: Probed) {
        let server = &self.slots[SERVER_INDEX];
        if server.number != probed.number || !self.is_watched(SERVER_INDEX) {
            return;
        }
        let components: Vec<Component> = (0..self.slots.len())
            .map(|index| Component {
                name: self.slots[index].name,
                pid: self.slots[index].told_pid.filter(|_| self.is_watched(index)),
                // Both of ours do; what a person put in the place of agent-runner may be anything.
                registers: self.slots[index].name == WORKFLOW_RUNNER || self.payload.is_some(),
            })
            .collect();
        let events = self.health.hear(probed.answer.as_deref(), &components, probed.began, Instant::now());
        for (index, event) in events {
            self.happen(Happening::To(index, event)).await;
        }
    }

    /// Whether it makes a difference if this component answers.
    fn is_watched(&self, index: usize) -> bool {
        matches!(self.fleet.phase(index), Phase::Ready | Phase::Unresponsive)
    }

    /// Keeps in step with the life of a component.
    pub(super) fn note_health(&mut self, what: Happening) {
        match what {
            Happening::To(SERVER_INDEX, Event::Ready) => self.health.watch(Instant::now()),
            Happening::To(SERVER_INDEX, Event::Ended(_)) | Happening::Stop | Happening::StopNow => {
                self.health.rest();
            }
            _ => {}
        }
    }
}
