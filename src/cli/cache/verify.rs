//! `stigmer cache verify [--repair]`.

use super::super::output::plural;
use super::super::progress::Shown;
use super::super::{Failure, Outcome, Output};
use crate::bundle::{Carrier, Digest};
use crate::home::Home;
use crate::store::{self, Place, Problem, Progress, StoreError};
use serde::Serialize;

/// Re-hash the entries and report everything that is not as it was packed
///
/// The exit code is 0 if all is well, else the sum of 1 (something is damaged), 2 (something is missing) and 4 (something could
/// not be checked). What was repaired does not count.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Rewrite what is damaged from this executable
    #[arg(long)]
    repair: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Verified {
    component: String,
    version: String,
    digest: Digest,
    problems: Vec<Problem>,
    repaired: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    unchecked: Option<String>,
}

impl Verified {
    fn bits(&self) -> u8 {
        let unchecked = if self.unchecked.is_some() { 4 } else { 0 };
        let problems = self.problems.iter().fold(0, |bits, problem| bits | problem.kind.bit());
        unchecked | if self.repaired { 0 } else { problems }
    }
}

impl Args {
    pub(in crate::cli) fn run(self) -> Outcome {
        let (home, output) = (Home::from_env()?, Output::new(self.json));
        let carrier = super::own_carrier();
        let own: Vec<Digest> =
            carrier.iter().flat_map(|c| &c.footer().slots).map(|slot| slot.digest).collect();
        let mut found = Vec::new();
        for entry in store::list(&home) {
            let mut one = Verified {
                component: entry.component.clone(),
                version: entry.version.clone(),
                digest: entry.digest,
                problems: Vec::new(),
                repaired: false,
                unchecked: None,
            };
            match &carrier {
                Some(carrier) if own.contains(&entry.digest) => {
                    self.check_own(&home, carrier, &mut one, output)?;
                }
                _ => check_other(&home, &mut one, output),
            }
            found.push(one);
        }
        let bits = found.iter().fold(0, |bits, one| bits | one.bits());
        self.print(&home, &found, output)?;
        Ok(bits)
    }

    /// An entry of a component this executable carries.
    fn check_own(
        &self,
        home: &Home,
        carrier: &Carrier,
        one: &mut Verified,
        output: Output,
    ) -> Result<(), Failure> {
        let shown = Shown::new(output);
        let slot = carrier.footer().slots.iter().find(|slot| slot.digest == one.digest);
        let Some(name) = slot.map(|slot| slot.name.clone()) else { return Ok(()) };
        let component = match carrier.component(&name) {
            Ok(component) => component,
            Err(error) => {
                one.unchecked = Some(error.to_string());
                return Ok(());
            }
        };
        one.component.clone_from(&component.name);
        one.version.clone_from(&component.version);
        if self.repair {
            match store::repair(home, carrier, &name, &shown) {
                Ok(problems) => {
                    one.problems = problems;
                    one.repaired = !one.problems.is_empty();
                    return Ok(());
                }
                Err(error @ StoreError::ForeignHome { .. }) => return Err(error.into()),
                // The others are still looked at, and this one is at least described.
                Err(error) => one.unchecked = Some(format!("it cannot be repaired: {error}")),
            }
        }
        shown.begin("verifying", component.raw_len());
        one.problems =
            store::verify(&Place::new(home, one.digest).entry(), &component, &|bytes| shown.advance(bytes));
        shown.end();
        Ok(())
    }

    fn print(&self, home: &Home, found: &[Verified], output: Output) -> std::io::Result<()> {
        if self.json {
            #[derive(Serialize)]
            struct All<'a> {
                entries: &'a [Verified],
            }
            return output.json(&All { entries: found });
        }
        if found.is_empty() {
            output.note(format_args!("nothing is materialized in `{}`", home.store().display()));
        }
        let mut is_damaged = false;
        for one in found {
            let Verified { component, version, digest, problems, repaired, unchecked } = one;
            for Problem { path, kind } in problems {
                output.line(format_args!("{component} {version} {}: {path}: {kind}", digest.short()))?;
            }
            let verdict = match (unchecked, problems.len(), repaired) {
                (Some(reason), ..) => format!("could not be checked: {reason}"),
                (None, 0, _) => "sound".to_owned(),
                (None, count, true) => format!("{} repaired", plural(count, "problem")),
                (None, count, false) => plural(count, "problem"),
            };
            is_damaged |= !problems.is_empty() && !repaired;
            output.line(format_args!("{component} {version} {}: {verdict}", digest.short()))?;
        }
        if is_damaged {
            output.note(if self.repair {
                "hint: this executable does not carry what is still damaged: use the one that made it, or remove what is not \
                 in use with `stigmer cache clean`"
            } else {
                "hint: `stigmer cache verify --repair` rewrites what is damaged"
            });
        }
        Ok(())
    }
}

/// An entry that another version made: its manifest says what it must hold, but we cannot repair it.
fn check_other(home: &Home, one: &mut Verified, output: Output) {
    let place = Place::new(home, one.digest);
    let Some(component) = store::manifest(&place) else {
        one.unchecked =
            Some("its manifest is missing or damaged, and this executable does not carry it".to_owned());
        return;
    };
    let shown = Shown::new(output);
    shown.begin("verifying", component.raw_len());
    one.problems = store::verify(&place.entry(), &component, &|bytes| shown.advance(bytes));
    shown.end();
}
