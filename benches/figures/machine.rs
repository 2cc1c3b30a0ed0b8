//! What the figures were measured on, and with which versions of the peers.

use crate::{Context, Outcome};
use serde::Serialize;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// The machine and the moment.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    pub(crate) load_before: String,
    pub(crate) load_after: String,
}

impl Machine {
    pub(crate) fn look(scratch: &Path) -> Outcome<Self> {
        let cores = std::thread::available_parallelism()?.get();
        // The date can be given, so that a run of an old version can say when that was.
        let now = || humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Ok(Self {
            date: std::env::var("STIGMER_BENCH_DATE").unwrap_or_else(|_| now()),
            cpu: after("/proc/cpuinfo", "model name"),
            cores,
            memory: after("/proc/meminfo", "MemTotal"),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease")),
            file_system: file_system(scratch),
            load_before: load(),
            load_after: String::new(),
        })
    }

    /// Whether others were at work when we began.
    pub(crate) fn is_busy(&self) -> bool {
        self.load_before.parse().is_ok_and(|load: f64| load > 0.25 * crate::measure::as_float(self.cores))
    }

    /// Takes down how busy the machine was when all was over.
    pub(crate) fn look_again(&mut self) {
        self.load_after = load();
    }
}

/// The first line of what each peer says about itself.
pub(crate) fn versions(context: &Context) -> Vec<String> {
    let peers = ["cp", "tar", "zstd", "gzip", "b3sum", "dotslash"];
    let version = |name: &str| {
        let output = Command::new(context.peer(name)?).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().map(|line| line.trim_matches(['*', ' ']).to_owned())
    };
    peers.iter().map(|name| version(name).unwrap_or_else(|| format!("{name}: not installed"))).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The value behind the first `name` in a file of lines `name : value`.
fn after(path: &str, name: &str) -> String {
    let text = read(path);
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':'))
        .map_or_else(|| "unknown".into(), |(_, value)| value.trim().into())
}

/// The one-minute load, and so whether somebody else was at work.
fn load() -> String {
    read("/proc/loadavg").split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// The type of the file system that holds `path`.
fn file_system(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let table = read("/proc/self/mounts");
    let mounts = table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        Some((Path::new(fields.next()?), fields.next()?))
    });
    let nearest = mounts.filter(|(at, _)| path.starts_with(at)).max_by_key(|(at, _)| at.components().count());
    nearest.map_or_else(|| "unknown".into(), |(_, kind)| kind.to_owned())
}
