//! The client of the server for commands, and errors of the API in words for people.

use super::server::failure::{barred, hung};
use super::{Exit, Failure};
use crate::home::Home;
use crate::services::client::{ApiError, Client, Locate};
use crate::supervise::client::{Found, look};
use crate::supervise::last_end::{LastEnd, Why};
use stigmer_protocol::ExecutionId;
use stigmer_protocol::api::executions::ExecutionQuery;
use stigmer_protocol::token::Token;

/// Number of the newest executions among which an abbreviated id is looked up.
const SEARCHED_EXECUTIONS: u32 = 200;

/// Length of a complete id.
const ID_LENGTH: usize = 26;

/// Connects to the server of this home.
pub(super) fn connect() -> Result<Client, Failure> {
    Ok(Client::new(Box::new(Installation(Home::from_env()?)))?)
}

/// Locates the server of a home through its supervisor.
#[derive(Debug)]
struct Installation(Home);

impl Locate for Installation {
    fn url(&self) -> Result<String, ApiError> {
        match look(&self.0) {
            Found::Up(status) if status.stopping => Err(ApiError::Down),
            Found::Up(status) => status.url.ok_or(ApiError::NotReady),
            Found::Absent | Found::Crashed { .. } => Err(ApiError::Down),
            Found::Hung { pid } => Err(ApiError::Hung { pid }),
            Found::Barred { pid, error } => Err(ApiError::Barred { pid, source: error }),
        }
    }

    fn token(&self) -> Result<Token, ApiError> {
        Token::read(&self.0.run().join("token")).map_err(ApiError::Token)
    }

    fn was_stopped(&self) -> bool {
        // The next start removes this record.
        match LastEnd::read(&self.0).map(|end| end.why) {
            Some(Why::Asked { by }) => by.is_none_or(|by| by.starts_with("server stop")),
            Some(Why::StartFailed { .. }) => true,
            Some(Why::Signal { .. } | Why::Crashed) | None => false,
        }
    }
}

/// Completes an abbreviated id: the beginning or end of an id that only one of the newest executions has.
pub(super) fn execution_id(client: &mut Client, text: &str) -> Result<ExecutionId, Failure> {
    let nothing = || {
        Failure::new(Exit::Unavailable, format!("execution `{text}` not found"))
            .hint("run `stigmer execution list` to list executions")
    };
    let is_part = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_part || text.len() > ID_LENGTH {
        return Err(nothing());
    }
    let part = text.to_ascii_lowercase();
    if part.len() == ID_LENGTH {
        return Ok(part.into());
    }
    let query = ExecutionQuery { limit: Some(SEARCHED_EXECUTIONS), ..ExecutionQuery::default() };
    let ids = client.executions().list(&query)?.into_iter().map(|execution| execution.id);
    let found: Vec<ExecutionId> = ids.filter(|id| id.starts_with(&part) || id.ends_with(&part)).collect();
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(nothing()),
        several => {
            let message = format!("ambiguous id `{text}`: {} executions begin or end with it", several.len());
            Err(several
                .iter()
                .take(5)
                .fold(Failure::new(Exit::Usage, message), |failure, id| failure.cause(id.as_str()))
                .hint("type more of the id"))
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Down => Self::from_error(Exit::NotRunning, &error).hint("run `stigmer server` to start it"),
            ApiError::Hung { pid } => hung(pid),
            ApiError::Barred { pid, source } => barred(pid, source),
            ApiError::NotReady => Self::from_error(Exit::Busy, &error)
                .hint("run `stigmer server status` to see its progress, then try again"),
            ApiError::Problem(_) | ApiError::UnexpectedStatus { .. } => {
                let exit = match error.status().unwrap_or_default() {
                    400 => Exit::Usage,
                    401 => Exit::Forbidden,
                    404 => Exit::Unavailable,
                    413 | 422 => Exit::Damaged,
                    503 => Exit::Busy,
                    507 => Exit::Io,
                    _ => Exit::Failed,
                };
                let failure = Self::from_error(exit, &error);
                match &error {
                    ApiError::Problem(problem) => match &problem.hint {
                        Some(hint) => failure.hint(hint),
                        None => failure,
                    },
                    _ => failure,
                }
            }
            ApiError::Unreachable { .. } => Self::from_error(Exit::Failed, &error)
                .hint("run `stigmer server status`, and `stigmer server logs --component stigmer-server` for its log"),
            ApiError::UnexpectedBody(_) => Self::from_error(Exit::Failed, &error)
                .hint("the server may have another version: run `stigmer server restart` to replace it by this one"),
            ApiError::Token(source) => Self::from(source),
        }
    }
}
