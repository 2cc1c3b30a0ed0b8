//! The published page: `docs/benchmarks.md` between its markers, the plot, and the raw runs behind both.

use crate::figure::{Figure, Row};
use crate::machine::{Machine, versions};
use crate::{Context, Outcome, plot};
use fs_err as fs;
use serde::Serialize;
use std::fmt::Write;

const BEGIN: &str = "<!-- figures: begin (written by `cargo bench --bench figures -- --publish`) -->";
const END: &str = "<!-- figures: end -->";

#[derive(Serialize)]
struct Run<'a> {
    stigmer: &'static str,
    note: Option<&'a str>,
    machine: &'a Machine,
    peers: &'a [String],
    figures: &'a [Figure],
}

pub(crate) fn write(
    context: &Context,
    machine: &Machine,
    figures: &[Figure],
    note: Option<&str>,
) -> Outcome<()> {
    let peers = versions(context);
    let run = Run { stigmer: stigmer::VERSION, note, machine, peers: &peers, figures };
    let name = format!("{}.json", machine.date.replace(':', ""));
    let runs = context.root.join("benches/runs");
    fs::create_dir_all(&runs)?;
    fs::write(runs.join(&name), serde_json::to_string(&run)? + "\n")?;

    let page = context.root.join("docs/benchmarks.md");
    let text = fs::read_to_string(&page)?;
    let (before, rest) = text.split_once(BEGIN).ok_or("docs/benchmarks.md has lost its first marker")?;
    let (_, after) = rest.split_once(END).ok_or("docs/benchmarks.md has lost its second marker")?;
    let figures_text = region(machine, &peers, figures, note, &name)?;
    fs::write(&page, format!("{before}{BEGIN}\n\n{figures_text}\n{END}{after}"))?;
    fs::write(context.root.join("docs/benchmarks.svg"), plot::draw(figures)?)?;
    Ok(())
}

fn region(
    machine: &Machine,
    peers: &[String],
    figures: &[Figure],
    note: Option<&str>,
    run: &str,
) -> Outcome<String> {
    let mut text = String::new();
    if let Some(note) = note {
        writeln!(text, "> {note}\n")?;
    }
    writeln!(text, "![How much of each bar is used](benchmarks.svg)\n")?;
    writeln!(text, "| what | peer | ours | peer's | judged | bar | met |")?;
    writeln!(text, "|---|---|--:|--:|--:|--:|---|")?;
    for row in figures.iter().flat_map(|figure| &figure.rows) {
        writeln!(text, "{}", line(row))?;
    }
    for figure in figures {
        for reason in &figure.missing {
            writeln!(text, "\nNot measured ({}): {reason}.", figure.name)?;
        }
    }
    let Machine { date, cpu, cores, memory, kernel, file_system, load_before, load_after } = machine;
    writeln!(
        text,
        "\nMeasured {date} with stigmer {}: {cpu}, {cores} cores, {memory} of memory, {kernel}, {file_system}; load {load_before} before and {load_after} after.",
        stigmer::VERSION
    )?;
    writeln!(text, "Peers: {}.", peers.join("; "))?;
    writeln!(text, "Every single run: [`benches/runs/{run}`](../benches/runs/{run}).\n")?;
    writeln!(text, "### How the runs spread\n")?;
    writeln!(text, "| contestant | median | quartiles | best | runs |")?;
    writeln!(text, "|---|--:|--:|--:|--:|")?;
    for samples in figures.iter().flat_map(|figure| &figure.samples) {
        let show = |q| samples.unit.show(samples.quantile(q));
        let (name, count) = (&samples.name, samples.runs.len());
        writeln!(
            text,
            "| {name} | {} | {} to {} | {} | {count} |",
            show(0.5),
            show(0.25),
            show(0.75),
            show(0.0)
        )?;
    }
    writeln!(text, "\n### How each was measured\n")?;
    for figure in figures.iter().filter(|figure| !figure.method.is_empty()) {
        writeln!(text, "- **{}**: {}", figure.name, figure.method)?;
    }
    Ok(text)
}

fn line(row: &Row) -> String {
    let ours = row.unit.show(row.ours);
    let (peer, theirs) = row.peer.as_ref().map_or_else(
        || ("–".to_owned(), "–".to_owned()),
        |(name, value)| (name.clone(), row.unit.show(*value)),
    );
    format!(
        "| {} | {peer} | {ours} | {theirs} | {} | {} | {} |",
        row.what,
        row.judged(),
        row.demand(),
        row.met()
    )
}
