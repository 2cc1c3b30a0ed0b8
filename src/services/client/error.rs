//! Failures of requests to the server.

use std::io;
use stigmer_protocol::api::Problem;

/// Cause of a failed request to the server.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server is not running.
    #[error("stigmer is not running")]
    Down,
    /// The supervisor is alive and does not answer.
    #[error("the supervisor (process {pid}) does not answer")]
    Hung {
        /// Process id of the supervisor.
        pid: u32,
    },
    /// The supervisor cannot be asked.
    #[error("cannot ask the supervisor")]
    Barred {
        /// Process id of the supervisor, if it is known.
        pid: Option<u32>,
        /// Cause of the failure.
        source: io::Error,
    },
    /// The server is not ready.
    #[error("stigmer-server is not ready")]
    NotReady,
    /// The server has answered with an error.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// The server has answered with an error that is not a problem document.
    #[error("unexpected response from stigmer-server: status {status}: {text}")]
    UnexpectedStatus {
        /// Status code of the answer.
        status: u16,
        /// Body of the answer.
        text: String,
    },
    /// The server cannot be reached, or the connection broke.
    #[error("cannot reach stigmer-server at {url}")]
    Unreachable {
        /// Base URL of the server.
        url: String,
        /// Cause of the failure.
        source: Box<ureq::Error>,
    },
    /// The server has answered with a body that this version cannot read.
    #[error("unexpected response from stigmer-server")]
    UnexpectedBody(#[source] serde_json::Error),
    /// The token of the installation cannot be read.
    #[error("cannot read the token of this installation")]
    Token(#[source] io::Error),
}

impl ApiError {
    /// Returns the status code, if the server has answered with an error.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            Self::UnexpectedStatus { status, .. } => Some(*status),
            _ => None,
        }
    }
}
