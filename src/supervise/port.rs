//! The port of the API: whether it is free, and else which process listens there.

use super::components::{Components, Contact, Source};
use crate::{home, platform};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortHolder {
    /// Process id.
    pub pid: u32,
    /// Command line of the process.
    pub command: String,
    /// Home directory that the process serves, if it is a server of ours.
    pub home: Option<String>,
}

/// Reason why the server cannot have its port.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Another process listens on it.
    #[error("port {port} is in use{}", describe_holder(holder.as_ref()))]
    Taken {
        /// The port.
        port: u16,
        /// The process that listens on it, if that can be found out.
        holder: Option<PortHolder>,
    },
    /// The system does not allow it.
    #[error("cannot listen on port {port}")]
    Denied {
        /// The port.
        port: u16,
        /// Error of the system.
        source: io::Error,
    },
}

fn describe_holder(holder: Option<&PortHolder>) -> String {
    match holder {
        None => " by another process".to_owned(),
        Some(PortHolder { pid, home: Some(home), .. }) => {
            format!(" by process {pid}: the stigmer server of `{home}`")
        }
        Some(PortHolder { pid, command, .. }) => {
            let short: String = command.chars().take(80).collect();
            format!(" by process {pid}: {short}")
        }
    }
}

/// Finds the process that listens on `port`, as far as this user may know.
pub fn holder(port: u16, components: Components) -> Option<PortHolder> {
    let platform::PortHolder { pid, command } = platform::port_holder(port)?;
    let is_server = components.iter().any(|spec| match spec.source {
        Source::Role { command: role, .. } => spec.contact == Contact::Api && command.contains(role),
        Source::Bundled => false,
    });
    let home = is_server.then(|| platform::variable_of(pid, home::HOME_VARIABLE)).flatten();
    Some(PortHolder { pid, command, home })
}

/// Checks that the server will be able to listen on `port`; 0 is any port. This explains a conflict while there is nothing to undo;
/// the server itself finds out for certain.
///
/// # Errors
/// The port is in use, or may not be used.
pub fn check(port: u16, components: Components) -> Result<(), PortError> {
    if port == 0 {
        return Ok(());
    }
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            Err(PortError::Taken { port, holder: holder(port, components) })
        }
        Err(source) => Err(PortError::Denied { port, source }),
    }
}
