//! The journal of an execution: a page of it, or all of it as it grows (server-sent events, WHATWG HTML section 9.2).

use super::extract::{Path, Query};
use super::{App, Refusal};
use crate::services::server::bells::Bell;
use crate::services::server::journal;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use stigmer_protocol::ExecutionId;
use stigmer_protocol::api::RawEvent;
use stigmer_protocol::api::events::{EventPage, EventQuery};

/// How many events are read at once.
const PAGE: u32 = 500;

/// A connection on which nothing happens is shown to be alive so often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn events(
    State(app): State<App>,
    Path(id): Path<ExecutionId>,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // A client that was cut off says so by itself what it saw last.
    let seen = text("last-event-id").and_then(|id| id.parse().ok());
    let after = seen.or(query.after).unwrap_or(0);
    let streams = text(header::ACCEPT.as_str()).is_some_and(|kinds| kinds.contains("text/event-stream"));
    let known = id.clone();
    let (phase, _) = app.store.read(move |tx| journal::progress(tx, &known)).await?;
    if !streams {
        let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE);
        let events = app.store.read(move |tx| journal::events_after(tx, &id, after, limit)).await?;
        return Ok(Json(EventPage { events, phase }).into_response());
    }
    let bell = app.bells.of(&id);
    let tail = Tail { app, bell, id, after, read: VecDeque::new(), is_over: false };
    let stream = stream::unfold(tail, async |mut tail| {
        let event = tail.next().await?;
        Some((Ok::<_, Infallible>(as_sse(&event)), tail))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn as_sse(event: &RawEvent) -> sse::Event {
    let data = serde_json::to_string(event).unwrap_or_default();
    sse::Event::default().id(event.seq.to_string()).event(event.kind.clone()).data(data)
}

/// A place in a journal that moves on with it.
struct Tail {
    app: App,
    bell: Bell,
    id: ExecutionId,
    after: u64,
    read: VecDeque<RawEvent>,
    is_over: bool,
}

impl Tail {
    /// The next event, as soon as there is one; `None` behind the last one.
    async fn next(&mut self) -> Option<RawEvent> {
        loop {
            if let Some(event) = self.read.pop_front() {
                self.after = event.seq;
                return Some(event);
            }
            if self.is_over {
                return None;
            }
            // The bell first, then the journal: what is added between the two rings a bell that is listened to.
            let mut rung = std::pin::pin!(self.bell.notified());
            rung.as_mut().enable();
            let (id, after) = (self.id.clone(), self.after);
            let read = self
                .app
                .store
                .read(move |tx| {
                    // The phase first: events that come after it are read with the next page.
                    let (phase, last_seq) = journal::progress(tx, &id)?;
                    Ok((phase, last_seq, journal::events_after(tx, &id, after, PAGE)?))
                })
                .await;
            // A client whose stream breaks comes again with the place it has seen.
            let (phase, last_seq, events) = read.ok()?;
            let seen = events.last().map_or(self.after, |event| event.seq);
            self.is_over = phase.is_terminal() && seen >= last_seq;
            self.read = events.into();
            if self.read.is_empty() && !self.is_over {
                rung.await;
            }
        }
    }
}
