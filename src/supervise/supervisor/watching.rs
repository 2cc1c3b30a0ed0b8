//! Asking the server whether all is well, and acting on its answer.

use super::Supervisor;
use crate::supervise::components::Contact;
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
                    (self.slots[self.api].number, self.token.clone(), self.probes.0.clone());
                tokio::spawn(async move {
                    let answer = probe::ask(address, token).await;
                    let _ = probes.send(Probed { number, began: now, answer });
                });
            }
        }
    }

    /// Hears the answer, or that there was none.
    pub(super) async fn probed(&mut self, probed: Probed) {
        let server = &self.slots[self.api];
        if server.number != probed.number || !self.is_watched(self.api) {
            return;
        }
        let components: Vec<Component> = (0..self.slots.len())
            .map(|index| {
                let slot = &self.slots[index];
                let is_worker = slot.spec.contact == Contact::Worker;
                Component {
                    name: slot.spec.name,
                    pid: slot.told_pid.filter(|_| is_worker && self.is_watched(index)),
                    // A local build without a bundle may be anything.
                    registers: !slot.spec.is_bundled() || slot.payload.is_some(),
                }
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
            Happening::To(index, Event::Ready) if index == self.api => self.health.watch(Instant::now()),
            Happening::To(index, Event::Ended(_)) if index == self.api => self.health.rest(),
            Happening::Stop | Happening::StopNow => self.health.rest(),
            _ => {}
        }
    }
}
