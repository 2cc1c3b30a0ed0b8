//! Watching an execution until its end or Ctrl-C, which does not cancel the execution.

use super::printer::EventPrinter;
use crate::cli::{Exit, Failure, Output};
use crate::platform;
use crate::services::client::{ApiError, Client, Follow, Update};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::mpsc::{self, Sender};
use std::thread;
use stigmer_protocol::ExecutionId;
use stigmer_protocol::api::JournalEvent;

/// End of the watching.
#[derive(Debug)]
pub(in crate::cli) enum End {
    /// The execution has ended: its last event.
    Ended(Box<JournalEvent>),
    /// The person has stopped watching: the sequence number of the last event.
    Interrupted(u64),
}

enum Signal {
    Update(Result<Update, ApiError>),
    End,
    Interrupt,
}

/// Prints the events of the execution `id` after the sequence number `after`.
pub(in crate::cli) fn watch(
    client: Client,
    id: &ExecutionId,
    after: u64,
    output: Output,
    printer: &mut EventPrinter,
) -> Result<End, Failure> {
    let (sender, signals) = mpsc::channel();
    listen_for_interrupt(sender.clone())?;
    let follow = Follow::new(client, id.clone(), after);
    // It blocks on the network, which must not delay Ctrl-C. It ends with the process.
    thread::Builder::new().name("following".to_owned()).spawn(move || {
        for update in follow {
            let is_last = update.is_err();
            if sender.send(Signal::Update(update)).is_err() || is_last {
                return;
            }
        }
        let _ = sender.send(Signal::End);
    })?;
    let mut seen = after;
    let mut last = None;
    // The first event is `created`, the second one that a worker has started the execution.
    let mut is_awaited = after <= 1;
    for signal in signals {
        match signal {
            Signal::Update(Ok(Update::Event(event))) => {
                seen = event.seq;
                is_awaited &= seen <= 1;
                printer.event(&event)?;
                last = Some(event);
            }
            Signal::Update(Ok(Update::KeepAlive)) => {
                // Without anything to write, a closed pipe would never be noticed.
                if platform::output_is_abandoned() {
                    return Ok(End::Interrupted(seen));
                }
                if std::mem::take(&mut is_awaited) {
                    output.note("waiting for a worker");
                    output.hint("run `stigmer server status` to see the workers, `stigmer execution list --phase in-progress` to see what they do");
                }
            }
            Signal::Update(Ok(Update::Disconnected)) => {
                printer.interrupt()?;
                output.note("connection lost; reconnecting (Ctrl-C to stop)");
            }
            Signal::Update(Ok(Update::Reconnected)) => output.note("reconnected"),
            Signal::End => break,
            Signal::Update(Err(error)) => {
                printer.interrupt()?;
                return Err(Failure::from(error).hint(resume_command(id, seen)));
            }
            Signal::Interrupt => {
                printer.interrupt()?;
                return Ok(End::Interrupted(seen));
            }
        }
    }
    printer.finish()?;
    last.map(End::Ended)
        .ok_or_else(|| Failure::new(Exit::Failed, format!("execution {id} has no last event")))
}

/// Formats a hint that says how to continue watching after the sequence number `seen`.
pub(in crate::cli) fn resume_command(id: &ExecutionId, seen: u64) -> String {
    format!("run `stigmer execution logs {id} -f --since-seq {seen}` to continue watching")
}

/// Sends a signal on Ctrl-C. Listens when this function returns.
fn listen_for_interrupt(sender: Sender<Signal>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ready, listens) = mpsc::channel();
    thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        let outcome = runtime.block_on(async {
            let mut interrupted = pin!(tokio::signal::ctrl_c());
            poll_fn(|context| {
                let polled = interrupted.as_mut().poll(context);
                // The first poll installs the handler.
                let _ = ready.send(());
                polled
            })
            .await
        });
        if outcome.is_ok() {
            // The receiver is gone if the watching has ended.
            let _ = sender.send(Signal::Interrupt);
        }
    })?;
    // Without a handler, Ctrl-C ends the program as usual.
    let _ = listens.recv();
    Ok(())
}
