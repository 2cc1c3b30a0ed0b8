//! `stigmer run`: runs an agent or workflow and streams its output.

use super::execution::{CODES, Following, follow, name};
use super::{Exit, Failure, Outcome, api};
use crate::resource::Kind;
use crate::source::{LONGEST, read_value};
use serde_json::{Map, Value};
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use stigmer_protocol::api::executions::CreateExecution;
use stigmer_protocol::id;

/// Under the help of `stigmer run`.
const NOTE: &str = "\
Input is given piece by piece: `--input city=Paris` is a text, `--input days:=3` JSON, `--input letter=@letter.txt` the text in a \
file, `--input order:=@order.yaml` what stands in a YAML or JSON file; `--input @all.yaml` is all of it. `@-` is standard input.";

#[derive(Debug, clap::Args)]
#[command(after_help = format!("{NOTE}\n\n{CODES}"))]
pub(super) struct Args {
    /// The agent or workflow
    #[arg(value_parser = name)]
    name: String,
    /// Which of the two, if both have this name: agent or workflow
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<Kind>,
    /// What to tell an agent (-: standard input)
    #[arg(short, long, value_name = "M", allow_hyphen_values = true)]
    message: Option<String>,
    /// What to give it: K=TEXT, K:=JSON, K=@FILE, K:=@FILE or @FILE; may be given several times
    #[arg(short, long, value_name = "K=V")]
    input: Vec<String>,
    /// Go on with this conversation
    #[arg(long, value_name = "ID", conflicts_with = "new_session")]
    session: Option<String>,
    /// Begin a conversation (the default)
    #[arg(long)]
    new_session: bool,
    #[command(flatten)]
    following: Following,
}

/// A kind, as people type it.
pub(super) fn kind(text: &str) -> Result<Kind, String> {
    text.parse()
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let message = match self.message.as_deref() {
            Some("-") => Some(read_text(Path::new("-"))?),
            other => other.map(str::to_owned),
        };
        let input = input(&self.input)?;
        let mut client = api::connect()?;
        // With a key, a request whose answer was lost can be repeated.
        let key = id::generate()?;
        let request = CreateExecution {
            kind: self.kind,
            name: self.name,
            message,
            input,
            session: self.session.map(Into::into),
            key: Some(key),
        };
        let execution = client.executions().create(&request)?;
        follow(client, &execution, self.following)
    }
}

/// The input that the pieces come to; nothing if there are none.
fn input(pieces: &[String]) -> Result<Value, Failure> {
    let wrong = |piece: &str, why: &str| {
        Failure::new(Exit::Usage, format!("`--input {piece}` {why}"))
            .hint("K=TEXT, K:=JSON, K=@FILE, K:=@FILE and @FILE are understood")
    };
    let mut whole = Value::Null;
    for piece in pieces {
        if let Some(file) = piece.strip_prefix('@') {
            if !whole.is_null() {
                return Err(wrong(piece, "is all of the input, and there is some already"));
            }
            whole = value_in(Path::new(file))?;
            continue;
        }
        let (key, value) = piece.split_once('=').ok_or_else(|| wrong(piece, "has no `=`"))?;
        let (key, is_json) = match key.strip_suffix(':') {
            Some(key) => (key, true),
            None => (key, false),
        };
        if key.is_empty() {
            return Err(wrong(piece, "has nothing before the `=`"));
        }
        let value = match (value.strip_prefix('@'), is_json) {
            (Some(file), true) => value_in(Path::new(file))?,
            (Some(file), false) => read_text(Path::new(file))?.into(),
            (None, true) => serde_json::from_str(value)
                .map_err(|error| wrong(piece, "is no JSON").cause(error.to_string()))?,
            (None, false) => value.into(),
        };
        if whole.is_null() {
            whole = Value::Object(Map::new());
        }
        let Value::Object(members) = &mut whole else {
            return Err(wrong(piece, "cannot be added to an input that is no mapping"));
        };
        if members.insert(key.to_owned(), value).is_some() {
            return Err(wrong(piece, "is there already"));
        }
    }
    Ok(whole)
}

fn value_in(path: &Path) -> Result<Value, Failure> {
    let text = read_text(path)?;
    read_value(&text).map_err(|mistake| Failure::new(Exit::Damaged, format!("{}:{mistake}", path.display())))
}

/// The text in a file, or for `-` on standard input. A second time there would be nothing there, which is said and not taken for a text.
pub(super) fn read_text(path: &Path) -> Result<String, Failure> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let mut bytes = Vec::new();
    // One more than is taken tells that there is more.
    let most = LONGEST as u64 + 1;
    let named = if path == Path::new("-") {
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Err(Failure::new(Exit::Usage, "standard input is named twice, and can be read once")
                .hint("put one of the two into a file"));
        }
        std::io::stdin().lock().take(most).read_to_end(&mut bytes)?;
        "standard input".to_owned()
    } else {
        fs_err::File::open(path)?.take(most).read_to_end(&mut bytes)?;
        format!("`{}`", path.display())
    };
    if bytes.len() > LONGEST {
        return Err(Failure::new(Exit::Damaged, format!("{named} has more than {LONGEST} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::new(Exit::Damaged, format!("{named} is no text: byte {at} is not UTF-8"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(pieces: &[&str]) -> Result<Value, Failure> {
        input(&pieces.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn input_is_put_together_from_pieces() {
        assert_eq!(of(&[]).unwrap(), Value::Null);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.yaml");
        std::fs::write(&file, "a: [1]\n").unwrap();
        let file = file.display();
        let pieces = ["t=1=2", "n:=3", "e=", &format!("f=@{file}"), &format!("g:=@{file}")];
        let expected = json!({"t": "1=2", "n": 3, "e": "", "f": "a: [1]\n", "g": {"a": [1]}});
        assert_eq!(of(&pieces).unwrap(), expected);
        assert_eq!(of(&[&format!("@{file}"), "b=c"]).unwrap(), json!({"a": [1], "b": "c"}));
        for wrong in [&["x"][..], &["=1"], &["a:=x"], &["a=1", "a=2"], &["a=1", "@-"]] {
            assert_eq!(of(wrong).unwrap_err().exit, Exit::Usage, "{wrong:?}");
        }
        assert_eq!(of(&["a=@/nothing/here"]).unwrap_err().exit, Exit::Io);
    }
}
