//! `stigmer-server`: the API on the loopback address, and who works for it.

mod api;
mod bells;
pub mod journal;
mod refusal;
mod registry;
pub mod resources;
mod store;
mod workspaces;

pub use refusal::Refusal;
pub use store::{Store, StoreError};

pub use registry::Registry;

use super::ServiceError;
use super::role::{self, StartedBy};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use stigmer_protocol::component::{ComponentConfig, ServerSettings};

/// The database, in the server's work directory.
const DATABASE: &str = "stigmer.db";

/// Open conversations may take so long to end after the server was told to.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// Listens, says so, and serves until it is time to end.
///
/// It listens before anything else: a port that cannot be had is found out while there is nothing to undo.
pub fn run(config: &ComponentConfig, started_by: StartedBy) -> Result<(), ServiceError> {
    crate::platform::name_process(c"stigmer-server");
    let settings: ServerSettings = config.settings()?;
    let address = config.server_address()?;
    let (listener, bound) = listen(address).map_err(|source| ServiceError::Listen { address, source })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(config, settings, started_by, listener, bound))
}

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// Opens the database. What keeps it from being written, a full disk for one, the system says better than `SQLite` does.
fn open(work_dir: &Path) -> Result<Store, ServiceError> {
    /// What a new database takes, and its journal.
    const ROOM: usize = 256 * 1024;
    let path = work_dir.join(DATABASE);
    let error = match Store::open(&path) {
        Err(error @ StoreError::Sqlite { .. }) => error,
        other => return Ok(other?),
    };
    let probe = tempfile::NamedTempFile::new_in(work_dir).and_then(|mut file| file.write_all(&vec![0; ROOM]));
    match probe {
        Ok(()) => Err(error.into()),
        Err(cause) => {
            let words = format!("the database `{}` cannot be written: {cause}", path.display());
            Err(io::Error::new(cause.kind(), words).into())
        }
    }
}

async fn serve(
    config: &ComponentConfig,
    settings: ServerSettings,
    started_by: StartedBy,
    listener: TcpListener,
    bound: SocketAddr,
) -> Result<(), ServiceError> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let work_dir = Path::new(&config.work_dir);
    crate::platform::create_private_dir(work_dir)?;
    let store = open(work_dir)?;
    let app =
        api::share(config, settings, store).await.map_err(|refusal| io::Error::other(refusal.to_string()))?;
    let background = [
        tokio::spawn(Arc::clone(&app).sweep()),
        tokio::spawn(Arc::clone(&app).wake()),
        tokio::spawn(Arc::clone(&app).tidy()),
    ];
    let (ending, mut ended) = tokio::sync::watch::channel(false);
    let server = axum::serve(listener, api::router(&app)).with_graceful_shutdown(async move {
        // The sender's end would mean the same.
        let _ = ended.changed().await;
    });
    role::say_ready(Some(bound))?;
    let mut server = std::pin::pin!(server.into_future());
    let shutdown = tokio::select! {
        outcome = &mut server => return Ok(outcome?),
        shutdown = role::shutdown_requested(started_by) => shutdown,
    };
    background.iter().for_each(tokio::task::JoinHandle::abort);
    let _ = ending.send(true);
    match tokio::time::timeout(shutdown.grace(SHUTDOWN_GRACE), server).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Ok(()),
    }
}
