//! The plot: of each figure that has a bar, how much of it is used up. Plain SVG that reads well on light and dark pages.

use crate::Outcome;
use crate::figure::{Figure, Row};
use std::fmt::Write;

const WIDTH: f64 = 860.0;
/// Where the bars begin, and how long one is that uses up exactly what was allowed.
const LEFT: f64 = 330.0;
const FULL: f64 = 260.0;
/// A bar that goes beyond is cut off here.
const LONGEST: f64 = 1.35;
const TOP: f64 = 62.0;
const STEP: f64 = 34.0;

const STYLE: &str = "\
text { font: 13px system-ui, 'DejaVu Sans', sans-serif; fill: #1f2328 }
.page { fill: #ffffff } .title { font-size: 15px; font-weight: 600 } .quiet { fill: #59636e }
.track { fill: #eaeef2 } .within { fill: #2f7d4f } .beyond { fill: #c0362c } .limit { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .page { fill: #0d1117 } .quiet { fill: #9198a1 } .track { fill: #21262d }
.within { fill: #4fae78 } .beyond { fill: #f0685e } .limit { stroke: #e6edf3 }
}";

/// The plot of all rows that have a bar.
pub(crate) fn draw(figures: &[Figure]) -> Outcome<String> {
    let rows: Vec<(&Row, f64)> = figures
        .iter()
        .flat_map(|figure| &figure.rows)
        .filter_map(|row| row.used().map(|used| (row, used)))
        .collect();
    let count = crate::measure::as_float(rows.len());
    let height = TOP + STEP * count + 14.0;
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="How much of each bar is used up">"#
    )?;
    writeln!(svg, "<style>\n{STYLE}\n</style>")?;
    writeln!(svg, r#"<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>"#)?;
    writeln!(
        svg,
        r#"<text class="title" x="16" y="26">How much of each bar is used: shorter is better</text>"#
    )?;
    writeln!(svg, r#"<text class="quiet" x="{}" y="46" text-anchor="middle">the bar</text>"#, LEFT + FULL)?;
    for (at, (row, used)) in rows.iter().enumerate() {
        draw_row(&mut svg, row, *used, TOP + STEP * crate::measure::as_float(at))?;
    }
    let (x, bottom) = (LEFT + FULL, height - 10.0);
    writeln!(svg, r#"<line class="limit" x1="{x}" y1="52" x2="{x}" y2="{bottom}"/>"#)?;
    writeln!(svg, "</svg>")?;
    Ok(svg)
}

fn draw_row(svg: &mut String, row: &Row, used: f64, y: f64) -> Outcome<()> {
    let class = if used <= 1.0 { "within" } else { "beyond" };
    let (track, long) = (FULL * LONGEST, FULL * used.clamp(0.004, LONGEST));
    let end = LEFT + track + 12.0;
    let what = escape(&short(&row.what));
    let peer = row.peer.as_ref().map_or_else(String::new, |(name, _)| format!("against {}", escape(name)));
    let (first, second) = if peer.is_empty() { (y + 15.0, y) } else { (y + 9.0, y + 23.0) };
    writeln!(svg, r#"<text x="16" y="{first}">{what}</text>"#)?;
    if !peer.is_empty() {
        writeln!(svg, r#"<text class="quiet" x="16" y="{second}" style="font-size:11px">{peer}</text>"#)?;
    }
    writeln!(svg, r#"<rect class="track" x="{LEFT}" y="{y}" width="{track}" height="20" rx="3"/>"#)?;
    writeln!(svg, r#"<rect class="{class}" x="{LEFT}" y="{y}" width="{long:.1}" height="20" rx="3"/>"#)?;
    let label = format!("{} ({})", row.judged(), row.demand());
    writeln!(svg, r#"<text x="{end}" y="{}">{}</text>"#, y + 15.0, escape(&label))?;
    Ok(())
}

/// The words before a parenthesis: the plot has little room.
fn short(what: &str) -> String {
    what.split(" (").next().unwrap_or(what).to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('`', "")
}
