//! The contract between the processes of stigmer: everything that crosses from one to another, defined once.
#![forbid(unsafe_code)]

pub mod api;
pub mod model;
mod name;
pub mod report;
pub mod time;

pub use name::{MAX_NAME, check_name, is_variable};
