//! How this executable gets newer, and whether it should. Nobody is asked: what is said is what was heard before.

use super::Check;
use crate::config::Config;
use crate::home::Home;
use crate::update::{Installed, Notice, Owner, owner};
use semver::Version;

pub(super) fn look(home: &Home, checks: &mut Vec<Check>) {
    checks.push(state(home));
}

fn state(home: &Home) -> Check {
    let Ok(installed) = Installed::find() else {
        return Check::ok("update", "a bare build: it is updated by building it again");
    };
    if let Some(Owner { name, advice, .. }) = owner(installed.path()) {
        return Check::ok("update", format!("this installation is looked after by {name}: `{advice}`"));
    }
    if let Err(error) = installed.check_writable() {
        return Check::warning(
            "update",
            format!(
                "`stigmer self-update` could not replace it: {}",
                stigmer_protocol::report::chain(&error)
            ),
            "update it as whoever owns that directory",
        );
    }
    // Settings that are not understood have a check of their own.
    let settings = Config::read(home).unwrap_or_default().update;
    match crate::build_info::trusted_keys(&settings) {
        Err(error) => {
            let next = "mend [update] trusted_keys in config.toml";
            return Check::problem("update", stigmer_protocol::report::chain(&error), next);
        }
        Ok(keys) if keys.is_empty() => {
            // Who built it so knows; it is no fault.
            let detail = "this build trusts no release key: build it again, or install a release";
            return Check::ok("update", detail);
        }
        Ok(_) => {}
    }
    if let Err(failure) = crate::cli::self_update::settings_work(&settings) {
        return Check::problem(
            "update",
            failure.message(),
            "mend [update] in config.toml, or the variable that is named",
        );
    }
    let notice = Notice::read(&home.update_state());
    let current = crate::VERSION.parse::<Version>();
    match notice.heard() {
        (Some(newest), _) if current.as_ref().is_ok_and(|current| newest > current) => Check::warning(
            "update",
            format!("stigmer {newest} is there; this is {}", crate::VERSION),
            "`stigmer self-update` takes it, `stigmer server update` also restarts the platform on it",
        ),
        (_, Some(asked)) => Check::ok("update", format!("nothing newer was heard of; asked {asked}")),
        (_, None) => Check::ok("update", "not asked yet; `stigmer self-update --check` asks"),
    }
}
