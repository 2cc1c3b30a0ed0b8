//! Watching an execution until its end, or until the person has seen enough: Ctrl-C ends the watching and nothing else.

use super::show::Show;
use crate::cli::{Exit, Failure, Output};
use crate::platform;
use crate::services::client::{Api, ApiError, Follow, Told};
use crate::services::server::journal::Event;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::mpsc::{self, Sender};
use std::thread;

/// How the watching ended.
#[derive(Debug)]
pub(in crate::cli) enum End {
    /// With the execution: its last event.
    Over(Event),
    /// Before it: the place of the last event that was seen.
    Left(u64),
}

enum News {
    Told(Result<Told, ApiError>),
    End,
    Interrupted,
}

/// Shows what happens to the execution `id` behind the place `after`.
pub(in crate::cli) fn watch(
    api: Api,
    id: &str,
    after: u64,
    output: Output,
    show: &mut Show,
) -> Result<End, Failure> {
    let (sender, news) = mpsc::channel();
    listen_for_interrupt(sender.clone())?;
    let follow = Follow::new(api, id, after);
    // It waits for the network, and must not keep us from hearing of Ctrl-C. It ends with the process.
    thread::Builder::new().name("following".to_owned()).spawn(move || {
        for told in follow {
            let is_last = told.is_err();
            if sender.send(News::Told(told)).is_err() || is_last {
                return;
            }
        }
        let _ = sender.send(News::End);
    })?;
    let mut seen = after;
    let mut last = None;
    // The first event is that it was asked for, and the next one that a worker has taken it.
    let mut is_awaited = after <= 1;
    for news in news {
        match news {
            News::Told(Ok(Told::Event(event))) => {
                seen = event.seq;
                is_awaited &= seen <= 1;
                show.event(&event)?;
                last = Some(event);
            }
            News::Told(Ok(Told::Quiet)) => {
                // With nothing to write one would not notice, and wait for ever.
                if platform::output_is_abandoned() {
                    return Ok(End::Left(seen));
                }
                if std::mem::take(&mut is_awaited) {
                    output.note("no worker has taken it yet; it is done as soon as one is free");
                    output.hint("`stigmer server status` says whether the workers are ready, `stigmer execution list --phase in-progress` what they do");
                }
            }
            News::Told(Ok(Told::Lost)) => {
                show.interrupt()?;
                output.note("stigmer-server is away; waiting for it to come back (Ctrl-C ends the waiting)");
            }
            News::Told(Ok(Told::Back)) => output.note("it is back"),
            News::End => break,
            News::Told(Err(error)) => {
                show.interrupt()?;
                return Err(Failure::from(error).hint(again(id, seen)));
            }
            News::Interrupted => {
                show.interrupt()?;
                return Ok(End::Left(seen));
            }
        }
    }
    show.finish()?;
    last.map(End::Over).ok_or_else(|| Failure::new(Exit::Failed, format!("execution {id} has no end")))
}

/// How to go on watching from the place `seen`.
pub(in crate::cli) fn again(id: &str, seen: u64) -> String {
    format!("`stigmer execution logs {id} -f --since-seq {seen}` goes on from here")
}

/// Tells of Ctrl-C, from when this returns on.
fn listen_for_interrupt(sender: Sender<News>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ready, listens) = mpsc::channel();
    thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        let outcome = runtime.block_on(async {
            let mut interrupted = pin!(tokio::signal::ctrl_c());
            poll_fn(|context| {
                let polled = interrupted.as_mut().poll(context);
                // The first look is what begins to listen.
                let _ = ready.send(());
                polled
            })
            .await
        });
        if outcome.is_ok() {
            // Who has stopped watching does not need to hear it.
            let _ = sender.send(News::Interrupted);
        }
    })?;
    // If it cannot listen, Ctrl-C does what it does to any program.
    let _ = listens.recv();
    Ok(())
}
