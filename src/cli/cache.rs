//! `stigmer cache`: what is materialized, whether it is sound, and how to get rid of it.

mod collect;
mod verify;

use super::progress::Shown;
use super::time::coarse_age;
use super::{Exit, Failure, Outcome, Output};
use crate::bundle::{Carrier, Digest};
use crate::component;
use crate::home::Home;
use crate::store::{self, Depth, How, Place};
use clap::Subcommand;
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Materialize the bundled components now, so that no later start has to
    Warm(Warm),
    /// Print where a component's tree lies, materializing it if needed
    Path(PathOf),
    /// List the entries of the store
    List(List),
    /// Re-hash the entries and report everything that is not as it was packed
    Verify(verify::Args),
    /// Remove entries that are old, beyond the size cap, or left by killed processes
    Gc(collect::Gc),
    /// Remove every entry that is not in use
    Clean(collect::Clean),
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        match self.command {
            Command::Warm(args) => args.run(),
            Command::Path(args) => args.run(),
            Command::List(args) => args.run(),
            Command::Verify(args) => args.run(),
            Command::Gc(args) => args.run(),
            Command::Clean(args) => args.run(),
        }
    }
}

#[derive(Debug, clap::Args)]
struct Warm {
    /// Also wait until everything is on disk, and note that
    #[arg(long)]
    sync: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Warmed {
    component: String,
    version: String,
    digest: Digest,
    path: PathBuf,
    outcome: &'static str,
    milliseconds: f64,
    reused_files: usize,
}

impl Warm {
    fn run(self) -> Outcome {
        let (home, output) = (Home::from_env()?, Output::new(self.json));
        let mut done = Vec::new();
        for slot in own_footer()?.slots {
            let start = Instant::now();
            let ready = component::resolve(&home, &slot.name, None, Depth::Evidence, &Shown::new(output))?;
            let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
            if self.sync {
                store::confirm_durable(&home, slot.digest, &Shown::new(output))?;
            }
            let (outcome, reused_files) = match ready.how {
                Some(How::Made { reused, .. }) => ("materialized", reused),
                Some(How::Healed { .. }) => ("repaired", 0),
                Some(How::Verified) => ("verified", 0),
                Some(How::Warm) | None => ("warm", 0),
            };
            let path = Place::new(&home, slot.digest).entry();
            let version = ready.version.unwrap_or_default();
            done.push(Warmed {
                component: slot.name,
                version,
                digest: slot.digest,
                path,
                outcome,
                milliseconds,
                reused_files,
            });
        }
        if self.json {
            #[derive(Serialize)]
            struct All {
                components: Vec<Warmed>,
            }
            output.json(&All { components: done })?;
            return Ok(0);
        }
        for one in done {
            let Warmed { component, version, outcome, milliseconds, .. } = &one;
            output.line(format_args!(
                "{component} {version}: {outcome} in {milliseconds:.0} ms, {}",
                one.path.display()
            ))?;
        }
        Ok(0)
    }
}

#[derive(Debug, clap::Args)]
struct PathOf {
    /// The component; needed only if this executable carries several
    name: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl PathOf {
    fn run(self) -> Outcome {
        let (home, output) = (Home::from_env()?, Output::new(self.json));
        let footer = own_footer()?;
        let name = match (self.name, footer.slots.as_slice()) {
            (Some(name), _) => name,
            (None, [only]) => only.name.clone(),
            (None, slots) => {
                let names: Vec<_> = slots.iter().map(|slot| slot.name.as_str()).collect();
                return Err(Failure::new(Exit::Usage, "this executable carries several components")
                    .hint(format!("name one of {}", names.join(", "))));
            }
        };
        let ready = component::resolve(&home, &name, None, Depth::Entrypoint, &Shown::new(output))?;
        let path = ready.digest.map(|digest| Place::new(&home, digest).entry());
        if self.json {
            #[derive(Serialize)]
            struct Paths {
                component: String,
                path: Option<PathBuf>,
                program: PathBuf,
            }
            output.json(&Paths { component: name, path, program: ready.program })?;
        } else {
            output.line(path.unwrap_or(ready.program).display())?;
        }
        Ok(0)
    }
}

#[derive(Debug, clap::Args)]
struct List {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl List {
    fn run(self) -> Outcome {
        let (home, output) = (Home::from_env()?, Output::new(self.json));
        let mut entries = store::list(&home);
        for entry in &mut entries {
            entry.find_users(&home);
        }
        if self.json {
            #[derive(Serialize)]
            struct All {
                store: PathBuf,
                entries: Vec<store::Listed>,
            }
            output.json(&All { store: home.store(), entries })?;
            return Ok(0);
        }
        if entries.is_empty() {
            output.note(format_args!("nothing is materialized in `{}`", home.store().display()));
            return Ok(0);
        }
        let header = ["COMPONENT", "VERSION", "DIGEST", "SIZE", "LAST USE", "IN USE BY"].map(str::to_owned);
        let rows = entries.iter().map(|entry| {
            let pids: Vec<String> = entry.in_use_by.iter().map(ToString::to_string).collect();
            let size = if entry.complete { store::bytes(entry.bytes) } else { "incomplete".to_owned() };
            let by = if pids.is_empty() { "-".to_owned() } else { format!("pid {}", pids.join(", ")) };
            [
                entry.component.clone(),
                entry.version.clone(),
                entry.digest.short(),
                size,
                coarse_age(
                    entry.last_use.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
                ),
                by,
            ]
        });
        let rows: Vec<[String; 6]> = std::iter::once(header).chain(rows).collect();
        output.table(&rows)?;
        Ok(0)
    }
}

/// The running executable; `None` if it carries nothing.
fn own_carrier() -> Option<Carrier> {
    Carrier::open(&crate::platform::own_executable().ok()?).ok()
}

/// The footer of the running executable.
fn own_footer() -> Result<crate::bundle::Footer, Failure> {
    Ok(Carrier::read_footer(&crate::platform::own_executable()?)?)
}
