//! Components as data: one [`ComponentSpec`] describes everything that the platform knows about a component.
//!
//! The supervisor, the launcher and the commands iterate over a table of them and name none. The table that ships is
//! [`crate::components::SHIPPED`]; a test passes its own.

use crate::config::{Config, Names};
use crate::home::Home;
use crate::services::role::RoleFn;
use serde_json::Value;
use std::collections::BTreeSet;

/// A component of the platform.
#[derive(Debug, Clone, Copy)]
pub struct ComponentSpec {
    /// Name, as people, logs, the API and the bundle spell it.
    pub name: &'static str,
    /// Remark in the help of `stigmer server`, or nothing.
    pub about: &'static str,
    /// Origin of the program.
    pub source: Source,
    /// Names of the components that must be ready before this one starts, and that stop after it.
    pub needs: &'static [&'static str],
    /// Condition under which the component starts with the platform.
    pub starts: Starts,
    /// Relation to the API.
    pub contact: Contact,
    /// Settings on the config line, a JSON object that the component reads with a type of its own.
    pub settings: fn(&Config, &Home) -> Value,
    /// Environment variables on the config line.
    pub environment: EnvironmentPolicy,
}

/// Origin of a component's program.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// This executable, started with a hidden command.
    Role {
        /// The hidden command.
        command: &'static str,
        /// The code behind it.
        run: RoleFn,
    },
    /// A component of the bundle, or a local build in its place.
    Bundled,
}

/// Condition under which a component starts with the platform.
#[derive(Debug, Clone, Copy)]
pub enum Starts {
    /// It always starts.
    Always,
    /// It starts if the configuration asks for it.
    WhenConfigured(fn(&Config) -> bool),
}

/// Relation of a component to the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// It listens on the configured port and serves the API. Exactly one component does.
    Api,
    /// It registers with the API as a worker, whose kind is the component's name.
    Worker,
    /// It does not use the API; only its process is watched.
    None,
}

/// Environment variables that a component receives on its config line, in addition to the public ones in its environment.
#[derive(Debug, Clone, Copy)]
pub enum EnvironmentPolicy {
    /// None.
    Public,
    /// The variables of model providers, all of `secrets.env`, and those that the configuration names.
    Providers(fn(&Config) -> &[Names]),
    /// Those that the configuration names.
    Named(fn(&Config) -> &[Names]),
}

impl ComponentSpec {
    /// Whether the component starts with the platform under `config`.
    pub fn is_active(&self, config: &Config) -> bool {
        match self.starts {
            Starts::Always => true,
            Starts::WhenConfigured(is_configured) => is_configured(config),
        }
    }

    /// Whether the program comes from the bundle.
    pub fn is_bundled(&self) -> bool {
        matches!(self.source, Source::Bundled)
    }
}

/// A table of components, in the order in which they are listed.
#[derive(Debug, Clone, Copy)]
pub struct Components(&'static [ComponentSpec]);

impl Components {
    /// Wraps a table. [`Self::validate`] tells whether it is one.
    pub const fn new(specs: &'static [ComponentSpec]) -> Self {
        Self(specs)
    }

    /// Iterates over the components in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = &'static ComponentSpec> {
        self.0.iter()
    }

    /// Iterates over the names in the order of the table.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.iter().map(|spec| spec.name)
    }

    /// Iterates over the components that come from the bundle.
    pub fn bundled(self) -> impl Iterator<Item = &'static ComponentSpec> {
        self.iter().filter(|spec| spec.is_bundled())
    }

    /// Finds the component `name`.
    pub fn find(self, name: &str) -> Option<&'static ComponentSpec> {
        self.iter().find(|spec| spec.name == name)
    }

    /// Finds the role behind the hidden command `command`.
    pub fn role(self, command: &str) -> Option<(&'static ComponentSpec, RoleFn)> {
        self.iter().find_map(|spec| match spec.source {
            Source::Role { command: known, run } if known == command => Some((spec, run)),
            _ => None,
        })
    }

    /// Checks the rules of a table.
    ///
    /// # Errors
    /// The first rule that is broken: names and commands are unique, everything that is needed stands further up (so that there
    /// is no circle), and exactly one component serves the API, always.
    pub fn validate(self) -> Result<(), String> {
        let (mut names, mut commands) = (BTreeSet::new(), BTreeSet::new());
        for spec in self.iter() {
            if let Some(missing) = spec.needs.iter().find(|need| !names.contains(*need)) {
                return Err(format!(
                    "component `{}` needs `{missing}`, which does not stand above it",
                    spec.name
                ));
            }
            if !names.insert(spec.name) || spec.name == super::SUPERVISOR {
                return Err(format!("duplicate component `{}`", spec.name));
            }
            if let Source::Role { command, .. } = spec.source
                && !commands.insert(command)
            {
                return Err(format!("duplicate command `{command}`"));
            }
        }
        let mut api = self.iter().filter(|spec| spec.contact == Contact::Api);
        match (api.next(), api.next()) {
            (Some(ComponentSpec { starts: Starts::Always, .. }), None) => Ok(()),
            _ => Err("exactly one component serves the API, and it always starts".to_owned()),
        }
    }
}
