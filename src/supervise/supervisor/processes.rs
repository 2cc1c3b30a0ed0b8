//! What processes say, and what is done about it.

use super::{HEARTBEAT_MS, Supervisor};
use crate::bundle::Digest;
use crate::platform;
use crate::store::{self, Silent};
use crate::supervise::LaunchEvent;
use crate::supervise::child::{self, Message, Running, Said};
use crate::supervise::control::Reply;
use crate::supervise::fleet::{Effect, Happening};
use crate::supervise::lifecycle::{Action, Because, Event, Phase};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use stigmer_protocol::component::{CONFIG_SCHEMA, ComponentConfig, Handshake};

impl Supervisor {
    pub(super) async fn hear(&mut self, message: Message) {
        let index = message.component;
        let slot = &mut self.slots[index];
        if slot.number != message.number {
            return;
        }
        match message.said {
            Said::Attending(pid) => self.attending(index, pid),
            Said::Handshake(Ok(Handshake::Ready { version, address, pid }))
                if index != self.api || address.is_some() =>
            {
                if self.fleet.phase(index) != Phase::Starting {
                    return;
                }
                slot.is_ready(version, pid, address);
                let event = LaunchEvent::Ready {
                    component: slot.spec.name.to_owned(),
                    address,
                    millis: u64::try_from(slot.began.elapsed().as_millis()).unwrap_or(u64::MAX),
                };
                self.tell(&event);
                if index == self.api {
                    self.server = address;
                }
                self.happen(Happening::To(index, Event::Ready)).await;
            }
            Said::Handshake(other) => {
                // Who says that it failed is about to end, with an exit code that a signal of ours would take away.
                let event = match other {
                    Ok(Handshake::Failed { .. }) => Event::Silent,
                    _ => Event::Refused,
                };
                let refusal = match other {
                    Ok(Handshake::Failed { reason, hint }) => (reason, hint),
                    Ok(Handshake::Ready { .. }) => ("it did not say where it listens".to_owned(), None),
                    Err(reason) => (reason, None),
                };
                slot.sink.event(&format!("not ready: {}", refusal.0));
                slot.refusal = Some(refusal);
                self.happen(Happening::To(index, event)).await;
            }
            Said::Closed => self.happen(Happening::To(index, Event::Silent)).await,
            Said::Ended(outcome) => {
                if let Some(running) = &slot.running {
                    running.end_remains();
                }
                let code = slot.ended(outcome);
                self.happen(Happening::To(index, Event::Ended(code))).await;
            }
        }
    }

    /// An attendant says which process it has started. It is believed if that is so.
    fn attending(&mut self, index: usize, pid: u32) {
        let slot = &mut self.slots[index];
        let Some(running) = &mut slot.running else { return };
        if running.attends(pid) {
            let attendant = running.attendant_pid().unwrap_or_default();
            slot.sink.event(&format!("started as process {pid}, its attendant is process {attendant}"));
            self.record();
        }
    }

    /// Flushes the entries in use to disk now that nobody waits for it, and notes that in their stamps. If this fails, the first start
    /// after the next boot of the machine verifies the entry, which is what it would have saved.
    fn confirm_durable(&self) {
        let digests: Vec<Digest> = self.slots.iter().filter_map(|slot| slot.payload).collect();
        let home = self.home.clone();
        std::thread::spawn(move || {
            for digest in digests {
                // A failure costs one verification after the next boot.
                let _ = store::confirm_durable(&home, digest, &Silent);
            }
        });
    }

    /// Lets something happen, and does what follows from it.
    pub(super) async fn happen(&mut self, what: Happening) {
        self.note_health(what);
        let effects = self.fleet.on(what, Instant::now(), &mut chance);
        for (index, slot) in self.slots.iter_mut().enumerate() {
            slot.note(self.fleet.phase(index));
        }
        for effect in effects {
            match effect {
                Effect::Do(index, action) => self.act(index, action).await,
                Effect::Up => {
                    let status = Box::new(self.status());
                    self.settle(&Reply::Status(status.clone()));
                    self.tell(&LaunchEvent::Up(status));
                    self.sink.event("all components are ready");
                    self.confirm_durable();
                }
                Effect::StartFailed { index, late } => {
                    let slot = &mut self.slots[index];
                    if late {
                        let limit = Duration::from_millis(self.config.start_timeout_ms);
                        let words = format!("it was not ready within {}", humantime::format_duration(limit));
                        slot.refusal.get_or_insert((words, None));
                    }
                    self.failure = Some(Box::new(slot.failure()));
                }
            }
        }
        self.note_stop();
    }

    async fn act(&mut self, index: usize, action: Action) {
        match action {
            Action::None => {}
            Action::Spawn => {
                if let Err(error) = self.spawn(index).await {
                    let program = self.slots[index].program.path.display().to_string();
                    let slot = &mut self.slots[index];
                    slot.refusal = Some((format!("`{program}` cannot be started: {error}"), None));
                    // It is heard like the end of a process, for that is what it is.
                    let (component, number) = (index, slot.number);
                    let said = Said::Ended(Err(error));
                    let _ = self.messages.0.send(Message { component, number, said });
                }
            }
            Action::Terminate => {
                if let Some(running) = &mut self.slots[index].running {
                    running.terminate();
                }
            }
            Action::Kill(because) => {
                let slot = &mut self.slots[index];
                let words = match because {
                    Because::NotReady => "it did not say that it is ready",
                    Because::Hung => "it did not answer for too long",
                    Because::NotEnded => "it did not end in time",
                    Because::AtOnce => "everything is to end at once",
                };
                if matches!(because, Because::NotReady | Because::Hung) {
                    slot.refusal.get_or_insert((words.to_owned(), None));
                }
                slot.sink.event(&format!("{words}, and is killed"));
                let left = slot.running.as_ref().map(Running::kill).unwrap_or_default();
                if !left.is_empty() {
                    slot.sink.event(&format!("cannot end the processes {left:?}"));
                }
            }
        }
    }

    pub(super) async fn spawn(&mut self, index: usize) -> io::Result<()> {
        let server = self.server.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, self.config.port)));
        let slot = &mut self.slots[index];
        slot.begin();
        self.health.begin(index);
        let config = ComponentConfig {
            schema: CONFIG_SCHEMA,
            component: slot.spec.name.to_owned(),
            instance: self.config.instance.clone(),
            server_url: format!("http://{server}"),
            token: self.token.clone(),
            work_dir: slot.work_dir.display().to_string(),
            heartbeat_ms: HEARTBEAT_MS,
            environment: slot.launch.environment.clone(),
            settings: slot.launch.settings.clone(),
        };
        let messages = self.messages.0.clone();
        let running =
            child::start(&slot.program, &config, &slot.sink, &self.children, (index, slot.number), messages)
                .await?;
        if let Some(pid) = running.pid() {
            slot.sink.event(&format!("started as process {pid}"));
        }
        slot.running = Some(running);
        self.record();
        let event = LaunchEvent::Starting { component: self.slots[index].spec.name.to_owned() };
        self.tell(&event);
        Ok(())
    }

    /// Writes down which processes are ours, for whoever comes after us if we are killed.
    pub(super) fn record(&mut self) {
        self.state.children = self
            .slots
            .iter()
            .filter_map(|slot| slot.running.as_ref())
            .flat_map(Running::identities)
            .collect();
        if let Err(error) = self.state.write(&self.home) {
            self.sink.event(&format!("cannot write the record of processes: {error}"));
        }
    }
}

/// A number in 0..1 that components which end together do not share.
fn chance() -> f64 {
    let mut byte = [0_u8];
    // Without randomness all pauses have their full length, which is no harm.
    let _ = platform::random(&mut byte);
    f64::from(byte[0]) / 256.0
}
