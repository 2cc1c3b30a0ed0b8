//! How much memory materializing takes, beyond the mapped carrier.

use crate::figure::{Bar, Figure, Row, Unit};
use crate::measure::{Samples, bytes};
use crate::{Context, Outcome};
use std::process::{Command, Stdio};

const METHOD: &str = "`/proc/PID/status` of `stigmer cache warm` into a fresh home, read again and again while it runs; the largest value of any run. \
    Beyond the mapped file means `RssAnon` (heap, stacks, relocated data). `VmHWM` is the peak of everything resident, the mapped carrier's \
    pages included, which the system shares with its page cache.";

pub(crate) fn measure(context: &Context) -> Outcome<Figure> {
    let mut anonymous = Samples { name: "peak RssAnon".into(), unit: Unit::Bytes, runs: Vec::new() };
    let mut all = Samples { name: "VmHWM".into(), unit: Unit::Bytes, runs: Vec::new() };
    for _ in 0..context.rounds(11) {
        let home = context.scratch.empty("memory")?;
        let mut command = Command::new(&context.stigmer);
        command.args(["cache", "warm"]).env("STIGMER_HOME", home);
        let peak = peak(&mut command)?;
        anonymous.runs.push(peak.anonymous);
        all.runs.push(peak.all);
    }
    context.scratch.vacant("memory")?;
    let rows = vec![
        Row::alone(
            "peak memory beyond the mapped file",
            Unit::Bytes,
            anonymous.quantile(1.0),
            Bar::AtMost(64.0 * 1024.0 * 1024.0),
        ),
        Row::alone("peak memory with the mapped file", Unit::Bytes, all.quantile(1.0), Bar::Reported),
    ];
    Ok(Figure { method: METHOD.into(), rows, samples: vec![anonymous, all], ..Figure::default() })
}

/// The most memory that a process had, in bytes.
pub(crate) struct Peak {
    /// Heap, stacks, relocated data.
    pub(crate) anonymous: f64,
    /// Everything resident, the pages of mapped files included.
    pub(crate) all: f64,
}

/// Runs `command` to its end, and looks at it again and again meanwhile.
pub(crate) fn peak(command: &mut Command) -> Outcome<Peak> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let (mut anonymous, mut all) = (0, 0);
    while child.try_wait()?.is_none() {
        // A process that has just ended has no such lines any more.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        anonymous = anonymous.max(field(&text, "RssAnon:"));
        all = all.max(field(&text, "VmHWM:"));
    }
    let ended = child.wait()?;
    if !ended.success() {
        return Err(format!("{command:?} ended with {ended}").into());
    }
    Ok(Peak { anonymous: bytes(anonymous), all: bytes(all) })
}

/// The field `name` of a status file, in bytes; 0 if it is not there.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}
