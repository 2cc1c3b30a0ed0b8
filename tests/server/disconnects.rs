//! Clients that go away in the middle of a request: what was begun for them comes to its end all the same.
//!
//! The client goes while the server waits for the database, which the test holds. Without the database in the way that moment is a
//! fraction of a millisecond, and the server meets it on some unlucky day.

use rusqlite::Connection;
use serde_json::{Value, json};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::time::Instant;
use stigmer_test_support::api::{LIMIT, Server, TOKEN};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// Sends a request, and goes away before it can be answered.
fn ask_and_leave(server: &Server, path: &str, body: &Value) {
    let database = Connection::open(server.work_dir().join("stigmer.db")).expect("the database");
    database.execute_batch("BEGIN IMMEDIATE").expect("nobody writes now");
    let address = server.url.strip_prefix("http://").expect("an address");
    let mut client = TcpStream::connect(address).expect("connects");
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all((head + &body).as_bytes()).expect("sent");
    catch_up(server);
    client.shutdown(Shutdown::Both).expect("gone");
    drop(client);
    catch_up(server);
    database.execute_batch("ROLLBACK").expect("the server writes again");
}

/// Returns when the server has certainly seen what happened before: it answers later requests from the same threads.
fn catch_up(server: &Server) {
    for _ in 0..20 {
        server.get("/v1/resources");
    }
}

#[test]
fn an_execution_whose_worker_went_before_it_was_given_to_it_is_not_stuck() {
    let server = Server::start();
    server.agent("hello");
    let worker = server.worker(1);
    let id = server.run("hello", "hi");
    ask_and_leave(&server, &format!("/v1/workers/{worker}/lease"), &json!({"kinds": ["agent"]}));
    // It was taken, so it may have been begun.
    assert_eq!(server.end_of(&id)["error"]["type"], "interrupted");
}

#[test]
fn what_was_asked_for_by_somebody_who_went_is_given_to_who_waits_for_work() {
    let server = Server::patient();
    server.agent("hello");
    let worker = server.worker(1);
    let leased = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.lease(&worker, &["agent"], 20_000));
        catch_up(&server);
        ask_and_leave(&server, "/v1/executions", &json!({"name": "hello", "message": "hi"}));
        waiting.join().expect("no panic")
    });
    assert_eq!(leased.expect("the worker is woken")["execution"]["message"], "hi");
}

#[test]
fn who_watches_hears_of_an_end_whose_reporter_went() {
    let server = Server::patient();
    server.agent("hello");
    let worker = server.worker(1);
    let id = server.run("hello", "hi");
    let leased = server.lease(&worker, &["agent"], 0).expect("work");
    let mut stream = server.stream(&id, 2);
    let (seen, heard) = mpsc::channel();
    let watcher = std::thread::spawn(move || seen.send(stream.next()));
    catch_up(&server);
    let path = format!("/v1/leases/{}/complete", text(&leased, "lease"));
    ask_and_leave(&server, &path, &json!({"output": {"text": "done"}}));
    let event = heard.recv_timeout(LIMIT).expect("who watches is told").expect("an event");
    assert_eq!(text(&event, "type"), "completed");
    watcher.join().expect("no panic").expect("it was heard");
}

#[test]
fn a_worker_hears_of_a_cancellation_by_somebody_who_went() {
    let server = Server::patient();
    server.agent("hello");
    let worker = server.worker(1);
    let id = server.run("hello", "hi");
    let leased = server.lease(&worker, &["agent"], 0).expect("work");
    let lease = text(&leased, "lease");
    ask_and_leave(&server, &format!("/v1/executions/{id}/cancel"), &json!({}));
    let deadline = Instant::now() + LIMIT;
    while !server.types_of(&id).contains(&"cancel.requested".to_owned()) {
        assert!(Instant::now() < deadline, "it is never called off");
    }
    assert_eq!(server.post(&format!("/v1/leases/{lease}/heartbeat"), &json!({}))["cancel"], true);
}
