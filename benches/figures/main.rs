//! Every published figure, measured against its peer in the same run.
//!
//! A figure without its peer beside it says something about a machine and not about a program, so each one here runs both, in
//! turns, and publishes the ratio. It needs `dist/stigmer` and `dist/agent-runner` (`make build`), and the peers
//! (`benches/peers.sh`); what is missing is reported as not measured.
//!
//! ```text
//! cargo bench --bench figures                        all of them, printed
//! cargo bench --bench figures -- exec update         some of them
//! cargo bench --bench figures -- --quick             fewer rounds
//! cargo bench --bench figures -- --publish           also write docs/benchmarks.md, docs/benchmarks.svg, benches/runs/
//! cargo bench --bench figures -- --publish --note T  … with a remark that is printed above the figures
//! ```

#![expect(clippy::print_stderr, reason = "a benchmark's progress is for the person who waits for it")]

mod api;
mod changes;
mod exec;
mod figure;
mod http;
mod machine;
mod materialize;
mod measure;
mod memory;
mod plot;
mod publish;
mod releases;
mod runner;
mod scratch;
mod server;
mod site;
mod sizes;
mod supervise;
mod update;
mod verify;

use figure::Figure;
use scratch::Scratch;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// What a measurement comes to.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// What every measurement needs.
struct Context {
    /// The package's directory.
    root: PathBuf,
    /// The carrier under test.
    stigmer: PathBuf,
    /// The tree it carries, as it was before it was packed.
    tree: PathBuf,
    /// Where everything is written: on the file system of the package.
    scratch: Scratch,
    /// Whether to be quick rather than exact.
    quick: bool,
}

impl Context {
    fn new(quick: bool) -> Outcome<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let dist = root.join("dist");
        let (stigmer, tree) = (dist.join("stigmer"), dist.join("agent-runner"));
        for path in [&stigmer, &tree] {
            if !path.exists() {
                return Err(format!("`{}` is missing: run `make build` first", path.display()).into());
            }
        }
        let scratch = Scratch::new(root.join("build/bench"))?;
        Ok(Self { root, stigmer, tree, scratch, quick })
    }

    /// How many rounds to run: `usual`, or a few.
    fn rounds(&self, usual: usize) -> usize {
        if self.quick { usual.div_ceil(4).max(3) } else { usual }
    }

    /// The bare binary: `STIGMER_BENCH_BARE` if what ships is built for another target than this benchmark, else this build's.
    fn bare() -> PathBuf {
        let given = std::env::var_os("STIGMER_BENCH_BARE");
        given.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_stigmer")), PathBuf::from)
    }

    /// A peer that `benches/peers.sh` installed, or one of the system. The former is the newer.
    fn peer(&self, name: &str) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = [self.root.join("build/peers/bin"), self.root.join("build/peers/dotslash/bin")];
        let found = own.into_iter().chain(std::env::split_paths(&path)).map(|dir| dir.join(name));
        found.into_iter().find(|program| program.is_file())
    }
}

/// A figure's name on the command line, and how to measure it.
type Named = (&'static str, fn(&Context) -> Outcome<Figure>);

const FIGURES: [Named; 10] = [
    ("sizes", sizes::measure),
    ("materialize", materialize::measure),
    ("exec", exec::measure),
    ("verify", verify::measure),
    ("memory", memory::measure),
    ("runner", runner::measure),
    ("server", server::measure),
    ("supervise", supervise::measure),
    ("api", api::measure),
    ("update", update::measure),
];

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("figures: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Vec<String>) -> Outcome<()> {
    let (mut quick, mut publish, mut note, mut names) = (false, false, None, Vec::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => {}
            "--quick" => quick = true,
            "--publish" => publish = true,
            "--note" => note = Some(args.next().ok_or("--note needs a text")?),
            name if FIGURES.iter().any(|(known, _)| *known == name) => names.push(arg),
            other => {
                return Err(format!(
                    "unknown argument `{other}`; the module's documentation says which there are"
                )
                .into());
            }
        }
    }
    if publish && !names.is_empty() {
        return Err("only a run of all figures is published".into());
    }
    let context = Context::new(quick)?;
    let mut machine = machine::Machine::look(context.scratch.root())?;
    if publish && note.is_none() && machine.is_busy() {
        return Err("the machine is busy: publish from a quiet one, or say with --note why not".into());
    }
    let mut figures = Vec::new();
    for (name, measure) in FIGURES {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            eprintln!("measuring {name} …");
            let mut figure =
                measure(&context).unwrap_or_else(|error| Figure::not_measured(name, &error.to_string()));
            figure.name = name;
            eprintln!("{figure}");
            figures.push(figure);
        }
    }
    machine.look_again();
    if publish {
        publish::write(&context, &machine, &figures, note.as_deref())?;
    }
    Ok(())
}
