//! The HTTP interface. `openapi.json` beside this file describes it; a test generates it from the types and says when it is stale.

#[cfg(test)]
mod description;
mod events;
mod executions;
mod extract;
mod housekeeping;
mod leases;
mod resources;
mod workers;

use super::bells::Bells;
use super::journal::{self, Leases, Standing};
use super::refusal::Refusal;
use super::registry::Registry;
use super::store::Store;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Json, Router};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use stigmer_protocol::InstanceId;
use stigmer_protocol::api::ProblemType;
use stigmer_protocol::api::status::{Health, HealthStatus, ServerStatus};
use stigmer_protocol::component::{ComponentConfig, ServerSettings};
use stigmer_protocol::token::Token;
use tokio::sync::Notify;

/// Maximum size of a request body, in bytes.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

/// A lease holds for so many heartbeats of a worker.
const LEASE_HEARTBEATS: u32 = 10;

/// Nobody is kept waiting for longer, whatever was asked.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What describes this interface.
const OPENAPI: &str = include_str!("openapi.json");

/// What all requests share.
pub(super) struct Shared {
    token: Token,
    instance: InstanceId,
    since: String,
    heartbeat_ms: u64,
    registry: Mutex<Registry>,
    store: Store,
    leases: Mutex<Leases>,
    /// A lease was given, so the next end of one may have come nearer.
    leased: Notify,
    bells: Bells,
    /// There is something new to be leased.
    work: Notify,
    /// An execution was suspended, so the next time to wake one may have come nearer.
    suspended: Notify,
    /// Executions were deleted, so there may be workspaces to remove.
    deleted: Notify,
    settings: ServerSettings,
}

type App = Arc<Shared>;

impl Shared {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        // No caller can leave it half changed.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes expired leases away, for ever.
    pub(super) async fn sweep(self: Arc<Self>) {
        loop {
            let leased = self.leased.notified();
            let next = self.leases().next_end();
            let Some(end) = next else {
                leased.await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(end.into()) => {}
                () = leased => continue,
            }
            let expired = self.leases().expired(Instant::now());
            for (lease, _) in expired {
                leases::expire(&self, lease).await;
            }
        }
    }
}

/// The wall clock is looked at this often while a suspended execution has a time to wake at: it may be set, and the machine may sleep.
const CLOCK_INTERVAL: Duration = Duration::from_secs(15);

impl Shared {
    /// Makes suspended executions leasable when their time has come, for ever.
    ///
    /// The times are those of the wall clock. If it is set forward, or the machine sleeps, what has become due wakes within
    /// [`CLOCK_INTERVAL`]; if it is set back, what waits for a time waits until the clock shows it.
    pub(super) async fn wake(self: Arc<Self>) {
        loop {
            let suspended = self.suspended.notified();
            let pause = match self.store.read(journal::next_wake).await {
                Ok(None) => None,
                Ok(Some(time)) => Some(time.saturating_sub(stigmer_protocol::time::now_ms())),
                // It is tried again.
                Err(_) => Some(1000),
            };
            match pause {
                None => suspended.await,
                Some(1..) => {
                    let pause = Duration::from_millis(pause.unwrap_or_default().unsigned_abs());
                    // Whichever comes first, the next round looks again.
                    let _ = tokio::time::timeout(pause.min(CLOCK_INTERVAL), suspended).await;
                }
                Some(..=0) => match self.store.write(journal::wake).await {
                    Ok(_) => self.work.notify_waiters(),
                    Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
                },
            }
        }
    }
}

/// What the routes work on: the leases that stood when the last server ended begin anew.
pub(super) async fn share(
    config: &ComponentConfig,
    settings: ServerSettings,
    store: Store,
) -> Result<App, Refusal> {
    let heartbeat = Duration::from_millis(config.heartbeat_ms);
    let mut leases = Leases::new(heartbeat * LEASE_HEARTBEATS);
    for standing in store.read(journal::standing).await? {
        let Standing { lease, worker, execution, cancel, last_n } = standing;
        leases.grant(&lease, &execution, &worker, cancel, last_n, Instant::now());
    }
    Ok(Arc::new(Shared {
        token: config.token.clone(),
        instance: config.instance.as_str().into(),
        since: stigmer_protocol::time::now(),
        heartbeat_ms: config.heartbeat_ms,
        registry: Mutex::new(Registry::new(heartbeat)),
        store,
        leases: Mutex::new(leases),
        leased: Notify::new(),
        bells: Bells::default(),
        work: Notify::new(),
        suspended: Notify::new(),
        deleted: Notify::new(),
        settings,
    }))
}

/// Every route for those who have the token, with its methods as the description has them.
fn routes() -> Vec<(&'static str, &'static [&'static str], MethodRouter<App>)> {
    vec![
        ("/v1/status", &["get"], get(status)),
        ("/openapi.json", &["get"], get(async || ([(header::CONTENT_TYPE, "application/json")], OPENAPI))),
        ("/v1/workers", &["post"], post(workers::register)),
        ("/v1/workers/{id}", &["delete"], delete(workers::deregister)),
        ("/v1/workers/{id}/heartbeat", &["post"], post(workers::heartbeat)),
        ("/v1/workers/{id}/lease", &["post"], post(leases::lease)),
        ("/v1/leases/{lease}/heartbeat", &["post"], post(leases::heartbeat)),
        ("/v1/leases/{lease}/complete", &["post"], post(leases::complete)),
        ("/v1/leases/{lease}/fail", &["post"], post(leases::fail)),
        ("/v1/leases/{lease}/cancelled", &["post"], post(leases::cancelled)),
        ("/v1/leases/{lease}/suspend", &["post"], post(leases::suspend)),
        ("/v1/leases/{lease}/children", &["post"], post(leases::child)),
        ("/v1/resources", &["get"], get(resources::list)),
        (
            "/v1/resources/{kind}/{name}",
            &["delete", "get", "put"],
            get(resources::find).put(resources::put).delete(resources::delete),
        ),
        ("/v1/executions", &["get", "post"], get(executions::list).post(executions::create)),
        ("/v1/executions/prune", &["post"], post(executions::prune)),
        ("/v1/executions/{id}", &["delete", "get"], get(executions::find).delete(executions::delete)),
        ("/v1/executions/{id}/cancel", &["post"], post(executions::cancel)),
        ("/v1/executions/{id}/resume", &["post"], post(executions::resume)),
        ("/v1/executions/{id}/events", &["get"], get(events::events)),
    ]
}

/// All routes. What is not named here is 404, but only for those who have the token.
pub(super) fn router(app: &App) -> Router {
    let mut guarded = Router::new();
    for (path, _, route) in routes() {
        guarded = guarded.route(path, route);
    }
    let guarded = guarded
        .fallback(async || Refusal::missing("path not found"))
        .layer(middleware::from_fn_with_state(Arc::clone(app), authorize));
    Router::new()
        .route("/healthz", get(async || Json(Health { status: HealthStatus::Ok })))
        .merge(guarded)
        .layer(middleware::from_fn(problems))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Arc::clone(app))
}

/// Makes every error a problem document that names the path of the request, also those that no handler has written.
async fn problems(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let refusal = response.extensions_mut().remove::<Refusal>().unwrap_or_else(|| match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            Refusal::new(ProblemType::MethodNotAllowed, "this path does not have this method")
        }
        _ if status.is_client_error() => Refusal::bad(format!("invalid request: {status}")),
        _ => Refusal::internal(format!("the server failed: {status}")),
    });
    let mut problem = refusal.at(&path).into_response();
    if let Some(methods) = response.headers_mut().remove(header::ALLOW) {
        problem.headers_mut().insert(header::ALLOW, methods);
    }
    problem
}

async fn authorize(State(app): State<App>, request: Request, next: Next) -> Response {
    if carries(request.headers(), &app.token) {
        next.run(request).await
    } else {
        Refusal::new(ProblemType::Unauthorized, "the bearer token is missing or wrong").into_response()
    }
}

fn carries(headers: &HeaderMap, token: &Token) -> bool {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        // The scheme is case-insensitive (RFC 9110, section 11.1).
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .is_some_and(|(_, candidate)| token.matches(candidate.trim()))
}

/// Does `work` to its end, also if the client goes away meanwhile: then whatever asks is dropped where it waits, and between a commit
/// and what has to follow it that would leave a lease that nobody knows of, or somebody waiting who is not told.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|_| Err(Refusal::internal("the request hit a defect in the server")))
}

async fn status(State(app): State<App>) -> Json<ServerStatus> {
    Json(ServerStatus {
        version: crate::VERSION.to_owned(),
        instance: app.instance.clone(),
        since: app.since.clone(),
        workers: app.registry().view(Instant::now()),
    })
}

#[cfg(test)]
mod tests;
