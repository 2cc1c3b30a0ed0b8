//! Stigmer: one executable that carries an agent runtime, materializes it, and runs the local platform on it.
//!
//! The library of the executable, from the top down. An arrow points down only:
//!
//! - [`cli`]: what a person types and sees. Parses, dispatches, renders one error type, owns every exit code.
//! - [`components`]: the table of the components that ship.
//! - [`supervise`]: starts, watches and stops the processes of `stigmer server`.
//! - [`services`]: the server and the workflow runner as library code, one `run(config)` each.
//! - [`component`]: a component's name to a ready path: from the bundle or from a local override.
//! - [`config`], [`home`], [`build_info`]: the settings, the paths, and the facts built into the executable.
//!
//! Below it are the crates of the workspace, re-exported under short names: [`update`], [`workflow`], [`store`], [`bundle`],
//! [`protocol`] and [`platform`].
#![forbid(unsafe_code)]

pub mod build_info;
pub mod cli;
pub mod component;
pub mod components;
pub mod config;
pub mod home;
pub mod services;
pub mod supervise;

pub use build_info::{DOCS_URL, LONG_VERSION, USER_AGENT, VERSION};
pub use stigmer_bundle as bundle;
pub use stigmer_platform as platform;
pub use stigmer_protocol as protocol;
pub use stigmer_protocol::model;
pub use stigmer_store as store;
pub use stigmer_store::lock;
pub use stigmer_update as update;
pub use stigmer_workflow as workflow;
pub use stigmer_workflow::resource;
pub use stigmer_workflow::source;
