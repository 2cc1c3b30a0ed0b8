//! Failures of a start, as they are passed on and kept.

use crate::platform;
use serde::{Deserialize, Serialize};
use std::error::Error;
use stigmer_protocol::report;

/// Why a start failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailure {
    /// The component that failed.
    pub component: String,
    /// Why, in its own words if it had any.
    pub reason: String,
    /// What to do about it, in its own words.
    pub hint: Option<String>,
    /// Its exit code, if it had one; the supervisor's own is what the launcher is to end with.
    pub code: Option<i32>,
    /// The last lines it wrote.
    pub log: Vec<String>,
}

/// The name of the supervisor among the components, in failures and logs.
pub const SUPERVISOR: &str = "supervisor";

impl StartFailure {
    /// A failure of the supervisor itself.
    pub fn of_supervisor(error: &(dyn Error + 'static)) -> Self {
        Self {
            component: SUPERVISOR.to_owned(),
            reason: report::chain(error),
            hint: None,
            code: None,
            log: Vec::new(),
        }
    }
}

/// How a process ended, for people.
pub fn describe_exit(status: std::process::ExitStatus) -> String {
    match platform::exit_parts(status) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}
