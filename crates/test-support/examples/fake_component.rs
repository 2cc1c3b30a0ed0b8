//! A component for fault tests: it speaks the component protocol (`docs/component-protocol.md`) and does what its arguments
//! say, one after the other, well or badly.
//!
//! | step | what it does |
//! |---|---|
//! | `pids=FILE` | from here on, it and all it starts add their process id and start time to the file |
//! | `config=FILE` | reads the config from standard input and adds it to the file |
//! | `surroundings=FILE` | adds its arguments and its environment to the file |
//! | `ready`, `failed=REASON` | the handshake |
//! | `utter=TEXT`, `say=TEXT` | a line on standard output, on standard error |
//! | `flood=STREAM:BYTES:KIND` | writes so much to `stdout` or `stderr`; KIND is `lines`, `endless` (no newline) or `binary` |
//! | `close=STREAM` | closes `stdin`, `stdout` or `stderr` |
//! | `deaf` | from here on, no signal that asks it to end has an effect |
//! | `spawn=HOW` | starts a process that never ends by itself; HOW joins words by `+`, see below |
//! | `pause=MS` | takes its time |
//! | `exit=CODE` | ends |
//! | `wait` | waits for the end of standard input, and ends |
//! | `hang` | never ends by itself |
//!
//! A process that is spawned can have a `session` of its own, be `double` (its parent has ended), `deaf`, and `cleared` (no
//! environment, another directory, none of our streams); a `chain` starts its successor and ends, a thousand times.
//!
//! Steps that it does not know are passed over: a supervisor adds words of its own.

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    component::main()
}

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
mod component {
    use std::ffi::OsStr;
    use std::fs::OpenOptions;
    use std::io::{self, BufRead, Read, Write};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, ExitCode, Stdio};
    use std::time::Duration;
    use tokio::signal::unix::{SignalKind, signal};

    /// The longest life of a chain, in processes; a few seconds.
    const CHAIN: u32 = 1000;

    /// The file that process ids go to.
    const PIDS: &str = "FAKE_COMPONENT_PIDS";

    pub(super) fn main() -> ExitCode {
        let words: Vec<String> = std::env::args().skip(1).collect();
        match words.split_first() {
            Some((first, rest)) if first == "descendant" => descendant(rest).map(|()| ExitCode::SUCCESS),
            _ => steps(&words),
        }
        .unwrap_or_else(|error| {
            let _ = writeln!(io::stderr(), "fake component: {error}");
            ExitCode::from(70)
        })
    }

    fn steps(words: &[String]) -> io::Result<ExitCode> {
        let mut kept: Vec<String> = Vec::new();
        for (index, word) in words.iter().enumerate() {
            let (step, value) = word.split_once('=').unwrap_or((word, ""));
            match step {
                "pids" => {
                    kept.push(word.clone());
                    note(value)?;
                }
                "config" => {
                    let mut line = String::new();
                    io::stdin().lock().read_line(&mut line)?;
                    append(value, &line)?;
                }
                "surroundings" => append(value, &format!("{words:?} {:?}\n", std::env::vars_os()))?,
                "ready" => {
                    utter(&format!(r#"{{"event":"ready","version":"9.9.9","pid":{}}}"#, std::process::id()));
                }
                "failed" => utter(&format!(r#"{{"event":"failed","reason":"{value}"}}"#)),
                "utter" => utter(value),
                "say" => put(io::stderr(), format!("{value}\n").as_bytes()),
                "flood" => flood(value),
                "close" => {
                    kept.extend_from_slice(&words[index + 1..]);
                    return Err(without(value, &kept));
                }
                "deaf" => {
                    kept.push(word.clone());
                    deaf()?;
                }
                "spawn" => spawn(value, words)?,
                "pause" => std::thread::sleep(Duration::from_millis(value.parse().unwrap_or(0))),
                "exit" => return Ok(ExitCode::from(value.parse().unwrap_or(1))),
                "wait" => {
                    let mut rest = [0; 256];
                    while io::stdin().lock().read(&mut rest)? > 0 {}
                    return Ok(ExitCode::SUCCESS);
                }
                "hang" => hang(),
                _ => {}
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn hang() -> ! {
        loop {
            std::thread::park();
        }
    }

    /// Adds this process to the file.
    fn note(file: &str) -> io::Result<()> {
        let pid = std::process::id();
        let started = stigmer::platform::process_started(pid).unwrap_or(0);
        append(file, &format!("{pid} {started}\n"))
    }

    fn append(file: &str, text: &str) -> io::Result<()> {
        OpenOptions::new().create(true).append(true).open(file)?.write_all(text.as_bytes())
    }

    fn utter(line: &str) {
        put(io::stdout(), format!("{line}\n").as_bytes());
    }

    /// Whoever does not listen misses it.
    fn put(mut to: impl Write, bytes: &[u8]) {
        let _ = to.write_all(bytes).and_then(|()| to.flush());
    }

    fn flood(value: &str) {
        let mut parts = value.split(':');
        let stream = parts.next().unwrap_or("");
        let mut left: usize = parts.next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        let pattern: &[u8] = match parts.next() {
            Some("endless") => b"0123456789abcdef",
            Some("binary") => b"\0\x01\x1b[31m\x1b]0;title\x07\r\x08\xff\xfe\xc3(\xed\xa0\x80\x9b2J\n",
            _ => b"one line of a flood, as it comes by the million\n",
        };
        let block: Vec<u8> = pattern.iter().copied().cycle().take(64 * 1024).collect();
        while left > 0 {
            let piece = &block[..left.min(block.len())];
            match stream {
                "stdout" => put(io::stdout(), piece),
                _ => put(io::stderr(), piece),
            }
            left -= piece.len();
        }
    }

    /// Becomes itself again, with the steps that are left and without the stream.
    fn without(stream: &str, steps: &[String]) -> io::Error {
        let mut command = match std::env::current_exe() {
            Ok(own) => Command::new(own),
            Err(error) => return error,
        };
        command.args(steps);
        match stream {
            "stdin" => command.stdin(Stdio::null()),
            "stdout" => command.stdout(Stdio::null()),
            _ => command.stderr(Stdio::null()),
        };
        command.exec()
    }

    /// A signal that has a handler no longer ends the process.
    fn deaf() -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let _inside = runtime.enter();
        for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
            let _ = signal(kind)?;
        }
        std::mem::forget(runtime);
        Ok(())
    }

    /// Starts a process, and returns when it is what it was meant to be.
    fn spawn(how: &str, words: &[String]) -> io::Result<()> {
        let pids = words.iter().find_map(|word| word.strip_prefix("pids=")).unwrap_or("/dev/null");
        let mut child = next(how, CHAIN, pids.as_ref())?.stdout(Stdio::piped()).spawn()?;
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_exact(&mut [0])?;
        }
        if how.contains("double") {
            child.wait()?;
        }
        Ok(())
    }

    fn next(how: &str, left: u32, pids: &OsStr) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        if how.contains("cleared") {
            command.env_clear().current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
        }
        // Only our own word, which no leak check looks for.
        command.args(["descendant", how, &left.to_string()]).env(PIDS, pids);
        Ok(command)
    }

    /// What a spawned process does.
    fn descendant(words: &[String]) -> io::Result<()> {
        let [how, left] = words else { return Err(io::ErrorKind::InvalidInput.into()) };
        let left: u32 = left.parse().unwrap_or(0);
        let pids = std::env::var_os(PIDS).unwrap_or_default();
        if how.contains("double") {
            next(&how.replace("double", ""), left, &pids)?.spawn()?;
            return Ok(());
        }
        if how.contains("session") {
            // It fails where it leads a group already, which then is enough.
            let _ = rustix::process::setsid();
        }
        if how.contains("deaf") {
            deaf()?;
        }
        note(&pids.to_string_lossy())?;
        if how.contains("chain") {
            std::thread::sleep(Duration::from_millis(10));
            put(io::stdout(), b".");
            if left > 0 {
                next(how, left - 1, &pids)?.spawn()?;
            }
            return Ok(());
        }
        put(io::stdout(), b".");
        hang()
    }
}
