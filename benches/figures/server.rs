//! `stigmer server`: the first start on a machine, every later one, and asking and stopping what runs.

use crate::figure::{Bar, Figure, Row, Unit};
use crate::measure::{Samples, time};
use crate::{Context, Outcome};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const METHOD: &str = "`stigmer server start --port 0` until it returns, which it does when server, workflow runner and agent runner are all ready. First: \
    the home is empty, so that the payload is materialized as well. Later: stopped before, same home. Whole process, wall clock; the carrier is in the \
    page cache.";

/// Stops the platform of a home also when a measurement fails.
struct Home<'a> {
    context: &'a Context,
    path: PathBuf,
}

impl Home<'_> {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.context.stigmer);
        command.arg("server").args(words).env("STIGMER_HOME", &self.path).stderr(Stdio::null());
        command
    }
}

impl Drop for Home<'_> {
    fn drop(&mut self) {
        let _ = self.command(&["stop"]).stdin(Stdio::null()).stdout(Stdio::null()).status();
    }
}

pub(crate) fn measure(context: &Context) -> Outcome<Figure> {
    if !can_start(&context.stigmer) {
        return Err("this carrier has no `stigmer server start` yet".into());
    }
    let names = ["first server start", "later server start", "server status", "server stop"];
    let mut samples =
        names.map(|name| Samples { name: name.into(), unit: Unit::Milliseconds, runs: Vec::new() });
    for _ in 0..context.rounds(11) {
        let home = Home { context, path: context.scratch.empty("server")? };
        let mut record = |at: usize, words: &[&str]| -> Outcome<()> {
            samples[at].runs.push(time(&mut home.command(words))?.as_secs_f64() * 1000.0);
            Ok(())
        };
        let start = ["start", "--port", "0"];
        record(0, &start)?;
        record(3, &["stop"])?;
        record(1, &start)?;
        for _ in 0..5 {
            record(2, &["status"])?;
        }
        record(3, &["stop"])?;
    }
    context.scratch.vacant("server")?;
    let bars = [Bar::AtMost(1500.0), Bar::AtMost(1000.0), Bar::AtMost(20.0), Bar::Reported];
    let rows = samples
        .iter()
        .zip(bars)
        .map(|(one, bar)| Row::alone(&one.name, Unit::Milliseconds, one.median(), bar))
        .collect();
    Ok(Figure { method: METHOD.into(), rows, samples: samples.into(), ..Figure::default() })
}

/// Whether this build can start the platform.
fn can_start(stigmer: &Path) -> bool {
    let output = Command::new(stigmer).args(["server", "start", "--help"]).stdin(Stdio::null()).output();
    output.is_ok_and(|output| {
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("--port")
    })
}
