//! The engine as it ships: the real server keeps the journal, the real workflow-runner does the work, and the world is on the
//! loopback address.

use super::world::World;
use super::{Bench, Came};
use crate::fixtures::{self, Reply, Runner};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use stigmer::workflow::effect::{AgentRequest, HttpRequest};
use stigmer::workflow::engine::Outcome;
use stigmer::workflow::fault::Fault;
use stigmer::workflow::interpreter::End;
use stigmer::workflow::model::HttpOutput;
use stigmer_test_support::api::Server;

/// The platform as it ships.
pub(crate) struct Embedded {
    server: Server,
    _runner: Runner,
}

impl Embedded {
    pub(crate) fn new() -> Self {
        let server = Server::patient();
        server.agent("hello");
        let runner = Runner::told(&server, &json!({"KEY": "secret-value"}));
        Self { server, _runner: runner }
    }
}

/// The world, where requests really arrive.
fn outside(world: &World) -> fixtures::World {
    let world = world.clone();
    fixtures::World::new(move |arrived| {
        let request = HttpRequest {
            method: arrived.method.clone(),
            uri: format!("http://world{}", arrived.target),
            headers: Vec::new(),
            body: Some(arrived.body.clone()).filter(|body| !body.is_empty()),
            output: HttpOutput::Content,
            redirect: false,
        };
        match world.block_on(world.http(&request, None)) {
            Outcome::Done(value) => Reply::json(&value),
            Outcome::Failed(fault) => Reply::status(u16::try_from(fault.status).expect("a status"), "no"),
            Outcome::TimedOut => unreachable!("nothing is slow here"),
        }
    })
}

/// Answers for the agents, until it is over.
fn answer(server: &Server, world: &World, is_over: &AtomicBool) {
    let worker = server.worker(1);
    while !is_over.load(Ordering::SeqCst) {
        let Some(leased) = server.lease(&worker, &["agent"], 200) else { continue };
        let execution = &leased["execution"];
        let text = |key: &str| execution[key].as_str().expect("a text").to_owned();
        let request = AgentRequest { agent: text("name"), message: text("message"), session: None };
        let lease = format!("/v1/leases/{}", leased["lease"].as_str().expect("a lease"));
        let (end, body) =
            if let Outcome::Done(answer) = world.block_on(world.agent(&text("id"), &request, None)) {
                let usage = json!({"n": 1, "type": "usage", "data": answer["usage"]});
                ("complete", json!({"events": [usage], "output": {"text": answer["text"]}}))
            } else {
                ("fail", json!({"error": {"type": "provider", "message": "it did not know"}}))
            };
        server.post(&format!("{lease}/{end}"), &body);
    }
}

impl Bench for Embedded {
    fn run(&mut self, spec: &Value, input: &Value, world: &World) -> Came {
        let outside = outside(world);
        let spec = spec.to_string().replace("http://world/", &format!("{}/", outside.url));
        let spec = serde_json::from_str(&spec).expect("JSON");
        let id = fixtures::begin(&self.server, &spec, input);
        let is_over = Arc::new(AtomicBool::new(false));
        let execution = std::thread::scope(|scope| {
            scope.spawn(|| answer(&self.server, world, &is_over));
            let execution = self.server.end_of(&id);
            is_over.store(true, Ordering::SeqCst);
            execution
        });
        match execution["phase"].as_str() {
            Some("COMPLETED") => Came::To(End::Completed(execution["output"].clone())),
            Some("FAILED") => {
                // The journal has all of the error, the execution what people need.
                let failed = self.server.stream(&id, 0).filter(|event| event["type"] == "task.failed").last();
                let error = failed.unwrap_or_else(|| panic!("{execution}"))["data"]["error"].clone();
                let fault: Fault = serde_json::from_value(error).expect("an error");
                assert_eq!(execution["error"]["type"], fault.kind.as_str());
                Came::To(End::Failed { fault, task: execution["error"]["task"].as_str().map(str::to_owned) })
            }
            _ => Came::Cancelled,
        }
    }
}
