//! What is slots and what is materialized: every byte of both.

use super::Check;
use crate::bundle::{BundleError, Carrier, Slot};
use crate::cli::output::{bytes, plural};
use crate::home::Home;
use crate::platform;
use crate::store::{self, Place};
use crate::supervise::components::Components;
use std::path::Path;

pub(super) fn look(home: &Home, components: Components, checks: &mut Vec<Check>) {
    let executable = match platform::own_executable() {
        Ok(path) => path,
        Err(error) => {
            checks.push(Check::problem(
                "executable",
                format!("the system does not say where this executable is: {error}"),
                "start it by its full path",
            ));
            return;
        }
    };
    checks.push(Check::ok("executable", format!("{} {}", executable.display(), crate::LONG_VERSION)));
    let (check, carrier) = bundle(&executable, components);
    checks.push(check);
    if let Some(carrier) = carrier {
        let slots = &carrier.footer().slots;
        let missing = components.bundled().filter(|spec| slots.iter().all(|slot| slot.name != spec.name));
        checks.extend(missing.map(|spec| {
            Check::problem(
                "bundle",
                format!("component `{}` is not included", spec.name),
                format!(
                    "use a stigmer with it, or start with `stigmer server --use-local-binary {}=PATH`",
                    spec.name
                ),
            )
        }));
        for slot in &carrier.footer().slots {
            checks.push(entry(home, &carrier, slot));
        }
    }
}

fn bundle(executable: &Path, components: Components) -> (Check, Option<Carrier>) {
    const INSTALL: &str = "install stigmer again: these bytes are not those that were packed";
    let carrier = match Carrier::open(executable) {
        Ok(carrier) => carrier,
        Err(BundleError::Bare { .. }) => {
            let names = components.bundled().map(|spec| spec.name).collect::<Vec<_>>().join(", no ");
            let next = "use a packed stigmer, or start with `stigmer server --use-local-binary PATH`";
            return (
                Check::warning("bundle", format!("this executable is bare: it carries no {names}"), next),
                None,
            );
        }
        Err(error) => {
            return (Check::problem("bundle", stigmer_protocol::report::chain(&error), INSTALL), None);
        }
    };
    let check = match carrier.verify() {
        Err(error) => Check::problem("bundle", stigmer_protocol::report::chain(&error), INSTALL),
        Ok(found) => match found.problems.as_slice() {
            [] => Check::ok(
                "bundle",
                format!("intact: {}, {}", plural(found.files, "file"), bytes(found.bytes)),
            ),
            [first, ..] => Check::problem(
                "bundle",
                format!("{}, the first: {}", plural(found.problems.len(), "problem"), first.what),
                INSTALL,
            ),
        },
    };
    (check, Some(carrier))
}

fn entry(home: &Home, carrier: &Carrier, slot: &Slot) -> Check {
    let place = Place::new(home, slot.digest);
    let component = match carrier.component(&slot.name) {
        Ok(component) => component,
        Err(error) => {
            return Check::problem(
                "entry",
                format!("{}: {}", slot.name, stigmer_protocol::report::chain(&error)),
                "see the check of the bundle above",
            );
        }
    };
    if !place.stamp().exists() {
        return space_for(home, &slot.name, component.raw_len());
    }
    let problems = store::verify(&place.entry(), &component, &|_| {});
    match problems.as_slice() {
        [] => Check::ok(
            "entry",
            format!("{} {} is sound in {}", slot.name, component.version, place.entry().display()),
        ),
        [first, ..] => Check::problem(
            "entry",
            format!(
                "{} {}: {}, the first: {}: {}",
                slot.name,
                component.version,
                plural(problems.len(), "problem"),
                first.path,
                first.kind
            ),
            "`stigmer cache verify --repair` rewrites what is damaged; the next start would, too",
        ),
    }
}

/// Nothing is materialized yet: is there room for it?
fn space_for(home: &Home, name: &str, needed: u64) -> Check {
    let standing = home.store().ancestors().find(|path| path.is_dir()).map(Path::to_owned);
    match standing.map(fs2::available_space) {
        Some(Ok(free)) if free < needed => Check::problem(
            "entry",
            format!("{name} is not materialized yet, and needs {}: {} are free", bytes(needed), bytes(free)),
            "free some space, or set STIGMER_HOME to a directory on another disk",
        ),
        _ => Check::ok("entry", format!("{name} is not materialized yet; the first start does that")),
    }
}
