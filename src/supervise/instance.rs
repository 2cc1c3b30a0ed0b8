//! The mark of a run of the supervisor, which every process below it inherits.

/// Environment variable with the id of the run that a process belongs to.
pub const INSTANCE_VARIABLE: &str = "STIGMER_INSTANCE";

/// Returns the entry that the environment of every process of the run `instance` contains.
pub fn mark(instance: &str) -> String {
    format!("{INSTANCE_VARIABLE}={instance}")
}
