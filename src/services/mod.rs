//! The server and the workflow runner, as library code with one `run` each; and how the server is asked.
//!
//! Each can be started by a supervisor or by a person from a shell: what differs is only where the config
//! comes from and what ends it ([`role`]). Nothing in here exits the process or reads its arguments.

pub mod client;
pub mod role;
pub mod server;
pub mod workflow_runner;

use std::io;
use std::net::SocketAddr;
use stigmer_protocol::component::ConfigError;

/// Why a service ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Its config is wrong; starting it again would not help.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It cannot listen.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The server refuses it.
    #[error("the server at {url} refuses: {reason}")]
    Refused {
        /// The server.
        url: String,
        /// What it says.
        reason: String,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] server::StoreError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ServiceError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("choose another port with --port, or 0 for any".to_owned())
            }
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("choose a port above 1023 with --port".to_owned())
            }
            Self::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, or set STIGMER_HOME to a directory on another disk".to_owned())
            }
            Self::Store(server::StoreError::Newer { .. }) => {
                Some("use the stigmer that wrote it, or a later one: `stigmer self-update`".to_owned())
            }
            Self::Store(server::StoreError::Migration { .. }) => Some(
                "free as much space as the database has, and start again; or move the file away to begin an empty one"
                    .to_owned(),
            ),
            Self::Config(_) => Some("supervisor and component must be of the same version".to_owned()),
            _ => None,
        }
    }
}
