//! Parse, dispatch, render the error, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    stigmer::cli::run(std::env::args_os())
}
