//! What the integration tests of stigmer share: homes and servers of their own for each test, release hosts, and the tools they need.
//!
//! | module | for |
//! |---|---|
//! | [`api`] | a server by itself, and the client side of its interface |
//! | [`server`] | a whole local server with a scripted agent-runner, and the check that nothing of it is left |
//! | [`store`] | a home with a carrier, and snapshots of what is in it |
//! | [`update`] | signed releases, a host that publishes them and can misbehave, and an installation to update |
//! | [`namespace`] | tests that mount something or look at every process |
//!
//! `examples/fake_component.rs` is a component that does what its arguments say, well or badly; `examples/own_components.rs` is an
//! executable with more components than the one that ships.
#![expect(
    clippy::new_without_default,
    clippy::return_self_not_must_use,
    reason = "a fixture's `new` makes files and ports, and a check gives itself back for the next check"
)]

pub mod api;
pub mod areas;
mod artifacts;
mod command;
#[cfg(target_os = "linux")]
pub mod namespace;
#[cfg(unix)]
pub mod server;
#[cfg(target_os = "linux")]
pub mod store;
#[cfg(target_os = "linux")]
pub mod update;

pub use artifacts::{artifact, example, executable, repository};
pub use command::{Ran, eventually};
