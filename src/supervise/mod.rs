//! Starts, watches and stops the processes of `stigmer server`.
//!
//! The supervisor is one small process that owns all the others and does nothing else; commands are its clients. What is
//! known about a component is decided in [`lifecycle`], and about all of them in [`fleet`], which have no clock and start
//! nothing; everything with an effect is around them:
//!
//! - [`components`]: the table of components that all of this iterates over.
//! - [`launch`]: the short-lived process a person starts; finds a supervisor or brings one up.
//! - [`supervisor`]: the one loop that owns all state.
//! - [`health`]: whether what lives is of use.
//! - [`child`]: one process: streams, end, tidying up. `attendant`: the process between us and a program that is not ours.
//! - [`control`], [`client`]: what is said between command and supervisor; between supervisor and component it is [`stigmer_protocol`].
//! - [`lock`], [`state`], [`identity`], [`instance`]: one supervisor per home, and how it is found. [`last_end`]: how the last one ended.
//! - [`port`]: whether the server can listen, and else who does.
//! - [`skew`]: whether the executable that asks is the one that runs.
//! - [`environment`]: what a component finds around it, and the secrets that only one is told.
//! - [`logs`]: what components say, kept, bounded and merged.

#[cfg(unix)]
pub mod attendant;
pub mod child;
pub mod client;
pub mod components;
pub mod control;
pub mod environment;
mod error;
mod failure;
pub mod fleet;
mod handover;
pub mod health;
pub mod identity;
pub mod instance;
pub mod last_end;
pub mod launch;
pub mod lifecycle;
pub mod lock;
pub mod logs;
pub mod port;
mod signals;
pub mod skew;
mod slot;
pub mod state;
pub mod supervisor;

pub use error::SuperviseError;
pub use failure::{SUPERVISOR, StartFailure, describe_exit};
pub use handover::{ComponentLaunch, LaunchConfig, LaunchEvent, Place, Report};
