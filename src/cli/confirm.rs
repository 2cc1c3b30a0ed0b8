//! Asking the person at the terminal before something that cannot be undone.

use super::{Exit, Failure};
use std::io::{self, BufRead, IsTerminal, Write};

/// Asks `question`. Anything but a yes is a failure that says `nothing`, as is the lack of a terminal, with `hint` for what to do then.
pub(super) fn confirm(question: &str, nothing: &str, hint: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || !console::user_attended_stderr() {
        let words = format!("{nothing}: there is no terminal to ask at");
        return Err(Failure::new(Exit::Usage, words).hint(hint));
    }
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(Failure::new(Exit::Failed, nothing))
    }
}
