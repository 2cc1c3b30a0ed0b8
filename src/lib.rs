//! Stigmer: one executable that carries an agent runtime, materializes it, and runs the local platform on it.
//!
//! The rooms, from the top down. An arrow points down only: nothing below imports anything above it.
//!
//! - [`cli`]: what a person types and sees. Parses, dispatches, renders one error type, owns every exit code.
//! - [`services`]: the server and the workflow runner as library code, one `run(config)` each.
//! - [`workflow`], [`resource`]: what people write and apply, read strictly.
//! - [`supervise`]: starts, watches and stops the processes of `stigmer server`.
//! - [`update`]: releases: their formats, who is trusted, how they are published, and how one replaces another.
//! - [`component`]: a component's name to a ready path: from the bundle or from a local override.
//! - [`store`]: content-addressed entries on disk: materialize, verify, repair, collect.
//! - [`bundle`]: the bytes appended to an executable: format, packing, reading, and the three carriers.
//! - [`config`]: what a person decided once, for every start.
//! - [`model`]: a model of language, as agents and the configuration name it.
//! - [`lock`]: a lock file that says who holds it.
//! - [`home`]: where everything of ours lies below one directory.
//! - [`platform`]: what differs between operating systems, and the only `unsafe` code.

pub mod bundle;
pub mod cli;
pub mod component;
pub mod config;
pub mod home;
pub mod lock;
pub mod model;
pub mod platform;
pub mod resource;
pub mod services;
pub mod store;
pub mod supervise;
pub mod update;
pub mod workflow;

/// Where the documentation is, for those who have nothing but the executable.
pub const DOCS_URL: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs");

/// The version of this executable: as in `Cargo.toml`, or as `STIGMER_VERSION` said when it was built.
pub const VERSION: &str = env!("STIGMER_VERSION");

/// The version with the commit it was built from, if known, and the target it was built for.
pub const LONG_VERSION: &str = concat!(env!("STIGMER_VERSION"), " (", env!("STIGMER_BUILD"), ")");
