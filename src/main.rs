//! Parse, dispatch, render the error, exit.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    stigmer::cli::run(std::env::args_os(), stigmer::components::SHIPPED)
}
