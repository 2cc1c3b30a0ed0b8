//! `stigmer self-update`: replace this executable by a newer one, or by the one before it.
//!
//! Who looks after the installation is asked before anything else: where a package manager does, nothing is fetched and
//! nothing is changed.

mod failure;
mod report;

use super::progress::Shown;
use super::{Failure, Outcome, Output};
use crate::config::{self, Config};
use crate::home::Home;
use crate::platform;
use crate::store::{Progress, StoreError};
use crate::update::runner::{self, RunnerName};
use crate::update::{
    Asked, Channel, Chosen, Client, ClientOptions, DEFAULT_URL, Installed, Notice, Offer, PublicKey, Seen,
    Signed, Source, Target, TrustError, TrustedKeys, URL_VARIABLE, UpdateError, UpdateIndex, Wanted, owner,
    refuse_downgrade,
};
use report::{Checked, Planned, Updated};
use semver::Version;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// Which release is to be taken.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Take this release and not the newest
    #[arg(long, value_name = "VERSION")]
    version: Option<Version>,
    /// Take what is released on this channel, or is stable [default: stable, or `update.channel` of the configuration]
    #[arg(long, value_name = "NAME")]
    channel: Option<Channel>,
    /// Accept a version older than this one
    #[arg(long)]
    allow_downgrade: bool,
}

/// Replace this executable by the newest release, or go back to the one before
///
/// Fetches what changed and nothing else, checks every byte against a signed description, lets the new executable check itself,
/// and only then puts it in place, in one step. The one it replaces stays beside it as `stigmer.previous`. What runs goes on
/// running; `stigmer server restart` brings up the new version.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Args {
    /// Only say whether there is a newer release
    #[arg(long, group = "mode")]
    check: bool,
    /// Only say what would be fetched and what is here already
    #[arg(long, group = "mode")]
    dry_run: bool,
    /// Go back to the version before, without the network; once more goes forth again
    #[arg(long, group = "mode", conflicts_with_all = ["version", "channel", "allow_downgrade", "no_delta"])]
    rollback: bool,
    /// Take this carrier instead of fetching one; its .index.json and .minisig must lie beside it
    #[arg(long, group = "mode", value_name = "FILE", conflicts_with_all = ["version", "channel", "no_delta"])]
    offline: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
    /// Fetch the whole file, also where parts would do
    #[arg(long)]
    no_delta: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Everything that is settled before the network is asked.
pub(super) struct Settled {
    home: Home,
    installed: Installed,
    current: Version,
    target: Target,
    keys: TrustedKeys,
    settings: config::Update,
    channel: Channel,
}

/// What to bring.
#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    /// This release and not the newest.
    pub(super) version: Option<Version>,
    /// It may be older than what is installed.
    pub(super) allow_downgrade: bool,
    /// The whole file, also where parts would do.
    pub(super) no_delta: bool,
}

impl Request {
    /// Whether the offer is what is wanted: who names a version wants that one; else only a newer one is news.
    fn is_for(&self, current: &Version, offer: &Offer) -> bool {
        offer.is_newer_than(current)
            || (offer.release.version != *current && (self.version.is_some() || self.allow_downgrade))
    }
}

/// What came of bringing it.
pub(super) enum Brought {
    /// It is installed already.
    Nothing(Checked),
    /// It is installed now.
    Replaced(Updated),
}

impl Brought {
    fn print(&self, output: Output) -> Outcome {
        match self {
            Self::Nothing(checked) => checked.print(output),
            Self::Replaced(updated) => updated.print(output),
        }
    }
}

/// Replaces this executable by what is wanted, unless that is installed; for a command that goes on from there.
pub(super) fn bring(home: &Home, which: Which, output: Output) -> Result<(Installed, Brought), Failure> {
    let Which { version, channel, allow_downgrade } = which;
    let installed = replaceable(home)?;
    let settled = Settled::new(home.clone(), installed, channel)?;
    let brought = settled.bring(&Request { version, allow_downgrade, no_delta: false }, output)?;
    Ok((settled.installed, brought))
}

/// This executable, if it is ours to replace.
fn replaceable(home: &Home) -> Result<Installed, Failure> {
    let installed = Installed::find()?;
    if let Some(owner) = owner(installed.path()) {
        return Err(failure::managed(installed.path(), &owner));
    }
    if platform::is_foreign_home(home.root()) {
        // What we note there, its owner could not change.
        return Err(StoreError::ForeignHome { path: home.root().to_owned() }.into());
    }
    Ok(installed)
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let output = Output::new(self.json);
        let home = Home::from_env()?;
        let installed = replaceable(&home)?;
        if self.rollback {
            return roll_back(&home, &installed, output);
        }
        let settled = Settled::new(home, installed, self.which.channel.clone())?;
        match &self.offline {
            Some(file) => settled.by_file(file, self.which.allow_downgrade, output),
            None => settled.by_source(&self, output),
        }
    }
}

/// Whether requests could be made with these settings: the address, the certificates, the proxy.
pub(super) fn settings_work(settings: &config::Update) -> Result<(), Failure> {
    client_of(settings, &source_of(settings)?).map(drop)
}

/// Where releases are: as the environment says, or the settings, or as everywhere.
fn source_of(settings: &config::Update) -> Result<Source, Failure> {
    let named = std::env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty());
    let url = named.or_else(|| settings.url.clone());
    Ok(Source::parse(url.as_deref().unwrap_or(DEFAULT_URL)).map_err(UpdateError::from)?)
}

fn client_of(settings: &config::Update, source: &Source) -> Result<Client, Failure> {
    let options = ClientOptions {
        user_agent: crate::USER_AGENT.to_owned(),
        ca_file: settings.ca_file.clone(),
        stall: settings.stall_timeout,
    };
    Client::new(&options, source.is_local()).map_err(|error| failure::client(&error))
}

/// Whom this stigmer trusts, by its build and by its settings.
fn keys_of(settings: &config::Update) -> Result<TrustedKeys, Failure> {
    let mut keys = crate::build_info::release_keys()?;
    for key in &settings.trusted_keys {
        keys.add(PublicKey::parse(key)?);
    }
    if keys.is_empty() { Err(TrustError::NoKeys.into()) } else { Ok(keys) }
}

/// Makes the agent-runner that is published as `name` be here, and gives the path of its bundle.
pub(super) fn runner(home: &Home, name: &RunnerName, output: Output) -> Result<PathBuf, Failure> {
    let settings = Config::read(home)?.update;
    let keys = keys_of(&settings)?;
    let source = source_of(&settings)?;
    let client = client_of(&settings, &source)?;
    Ok(runner::fetch(&client, &source, &keys, &home.runners(), name, &Shown::new(output))?)
}

impl Settled {
    pub(super) fn new(home: Home, installed: Installed, channel: Option<Channel>) -> Result<Self, Failure> {
        let settings = Config::read(&home)?.update;
        let keys = keys_of(&settings)?;
        let channel = match (channel, &settings.channel) {
            (Some(channel), _) => channel,
            (None, Some(text)) => text.parse().map_err(failure::channel)?,
            (None, None) => Channel::stable(),
        };
        let target = Target::own().ok_or(UpdateError::NoTarget)?;
        let current = crate::VERSION.parse().map_err(|error| failure::version(&error))?;
        Ok(Self { home, installed, current, target, keys, settings, channel })
    }

    pub(super) fn source(&self) -> Result<Source, Failure> {
        source_of(&self.settings)
    }

    pub(super) fn client(&self, source: &Source) -> Result<Client, Failure> {
        client_of(&self.settings, source)
    }

    pub(super) fn offer(
        &self,
        client: &Client,
        source: &Source,
        version: Option<&Version>,
    ) -> Result<Offer, Failure> {
        let mut seen = Seen::read(&self.home.update_state())?;
        let wanted = Wanted { version: version.cloned(), channel: self.channel.clone(), target: self.target };
        let offer = Offer::find(client, source, &self.keys, &mut seen, &wanted)?;
        if version.is_none() && self.is_usual_channel() {
            // What was heard is what a later remark and `doctor` say. That it cannot be written keeps nobody from an update.
            let mut notice = Notice::read(&self.home.update_state());
            notice.found(&offer.release, SystemTime::now());
            let _ = notice.write(&self.home.update_state());
        }
        Ok(offer)
    }

    /// Whether the channel is the one of the settings, and not one that was named this once.
    fn is_usual_channel(&self) -> bool {
        self.settings.channel.as_deref().unwrap_or(Channel::stable().as_str()) == self.channel.as_str()
    }

    fn by_source(&self, args: &Args, output: Output) -> Outcome {
        let wanted = Request {
            version: args.which.version.clone(),
            allow_downgrade: args.which.allow_downgrade,
            no_delta: args.no_delta,
        };
        if !args.check && !args.dry_run {
            return self.bring(&wanted, output)?.print(output);
        }
        let (client, offer) = self.ask(&wanted, output)?;
        if args.check || !wanted.is_for(&self.current, &offer) {
            return Checked::new(&self.current, &offer).print(output);
        }
        refuse_downgrade(&self.current, &offer.release.version, args.which.allow_downgrade)?;
        let chosen = self.describe(&client, &offer, output)?;
        let sums = self.installed.plan(&chosen, args.no_delta);
        Planned::new(&self.current, &chosen.index, self.installed.path(), sums).print(output)
    }

    /// Asks the host what it offers.
    fn ask(&self, wanted: &Request, output: Output) -> Result<(Client, Offer), Failure> {
        let shown = Shown::new(output);
        let source = self.source()?;
        if !source.is_private() {
            shown.notice("this host is asked without encryption: what is fetched is checked by its signature all the same");
        }
        let client = self.client(&source)?;
        let offer = self.offer(&client, &source, wanted.version.as_ref())?;
        offer.warnings.iter().for_each(|warning| shown.notice(warning));
        Ok((client, offer))
    }

    fn describe(&self, client: &Client, offer: &Offer, output: Output) -> Result<Chosen, Failure> {
        let chosen = offer.describe(client, &self.keys)?;
        chosen.warnings.iter().for_each(|warning| Shown::new(output).notice(warning));
        Ok(chosen)
    }

    /// Replaces the executable by what is wanted, unless that is installed.
    fn bring(&self, wanted: &Request, output: Output) -> Result<Brought, Failure> {
        // Before anything is fetched in vain.
        self.installed.check_writable()?;
        let (client, offer) = self.ask(wanted, output)?;
        if !wanted.is_for(&self.current, &offer) {
            return Ok(Brought::Nothing(Checked::new(&self.current, &offer)));
        }
        refuse_downgrade(&self.current, &offer.release.version, wanted.allow_downgrade)?;
        let chosen = self.describe(&client, &offer, output)?;
        let shown = Shown::new(output);
        let lock = self.installed.lock(&self.home, &shown)?;
        if self.installed.is(&chosen.index)? {
            // Installed once more it would be its own previous version, and the way back would be lost.
            return Ok(Brought::Nothing(Checked::new(&chosen.index.version, &offer)));
        }
        let installation = self.installed.update(&client, &chosen, wanted.no_delta, &shown)?;
        drop(lock);
        for remark in &installation.remarks {
            shown.notice(remark);
        }
        tidy_up(&self.home, self.installed.path());
        let notes = offer.release.notes_url.clone();
        let running = is_running(&self.home);
        let (from, to, received) = (&self.current, &chosen.index.version, client.received());
        Ok(Brought::Replaced(Updated::new(from, to, &installation, notes, received, running)))
    }

    fn by_file(&self, file: &Path, allow_downgrade: bool, output: Output) -> Outcome {
        self.installed.check_writable()?;
        let index = self.described_beside(file)?;
        refuse_downgrade(&self.current, &index.version, allow_downgrade)?;
        let shown = Shown::new(output);
        let lock = self.installed.lock(&self.home, &shown)?;
        let installation = self.installed.update_from_file(file, &index, &shown)?;
        drop(lock);
        tidy_up(&self.home, self.installed.path());
        let running = is_running(&self.home);
        Updated::new(&self.current, &index.version, &installation, None, 0, running).print(output)
    }

    /// The update index that lies beside the carrier `file`.
    fn described_beside(&self, file: &Path) -> Result<UpdateIndex, Failure> {
        let text = file.as_os_str().to_str().unwrap_or_default();
        let path = PathBuf::from(format!("{}.index.json", text.strip_suffix(".exe").unwrap_or(text)));
        let mut signature = path.clone().into_os_string();
        signature.push(".minisig");
        let bytes = fs_err::read(&path).map_err(|error| failure::beside(file, &error))?;
        let signature = fs_err::read(signature).map_err(|error| failure::beside(file, &error))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let signed = Signed { name: &name, bytes: &bytes, signature: Some(&signature) };
        // Only its signature makes it true; until then it says what to ask for.
        signed.key(&self.keys)?;
        let version = UpdateIndex::parse(&name, &bytes)?.version;
        Ok(UpdateIndex::trusted(&signed, &self.keys, &Asked { version, target: self.target, blake3: None })?)
    }
}

fn roll_back(home: &Home, installed: &Installed, output: Output) -> Outcome {
    installed.check_writable()?;
    let lock = installed.lock(home, &Shown::new(output))?;
    let version = installed.roll_back()?;
    drop(lock);
    report::rolled_back(installed.path(), &version, is_running(home), output)
}

/// Lets the new executable collect what neither it nor its predecessor needs. Nobody waits for it or hears of it.
fn tidy_up(home: &Home, executable: &Path) {
    let mut command = Command::new(executable);
    command
        .args(["cache", "gc"])
        .current_dir(home.root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    platform::in_own_session(&mut command);
    // An update without a collection is an update.
    let _ = command.spawn();
}

fn is_running(home: &Home) -> bool {
    matches!(crate::supervise::client::look(home), crate::supervise::client::Found::Up(_))
}
