//! The results as a table, a page and a picture.

use super::{Goal, Row, Unit, Way};
use crate::machine::Machine;
use comfy_table::{CellAlignment, Table, TableStyle};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The percentile: the value that this many hundredths of all values are below.
fn percentile(values: &[f64], hundredths: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) * hundredths / 100]
}

fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// The ratio to the other's value: the median over the rounds, in each of which both were measured.
fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    if ours.len() == theirs.len() {
        median(&ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
    } else {
        median(ours) / median(theirs)
    }
}

/// A number with its significant digits.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 0.1 || value == 0.0 => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

/// The median, and the range of the middle four fifths of the values.
fn spread(values: &[f64]) -> String {
    if values.len() < 3 {
        return number(median(values));
    }
    format!(
        "{} ({} to {})",
        number(median(values)),
        number(percentile(values, 10)),
        number(percentile(values, 90))
    )
}

fn times(row: &Row, way: Option<&Way>) -> String {
    match way {
        Some(way) if median(&way.values) > 0.0 => number(ratio(&row.forge, &way.values)),
        _ => String::new(),
    }
}

/// The reason why a goal is missed, as far as the other rows show it.
const WHY: [(&str, &str); 4] = [
    (
        "spawn: the program runs",
        "until the tmux server listens forge takes what systemd-run takes (the row above). Then systemd-run's \
         program runs at once, and forge's waits until tmux has said that its pane is there (and, from 3.4 \
         on, has asked for a scope of its own for it), until forge has seen in the kernel that server and \
         pane are inside the slice, and until both are noted. So no program runs outside of its limits, and \
         none ends unseen.",
    ),
    (
        "sweep",
        "of ten, a hundredth of what the recipe takes is less than a process takes to begin (`forge --version`, \
         below). And beside what its floor does, a sweep asks the manager for sessions that have lost their \
         socket, and notes for the probe that it came to its end: the same for ten as for ten thousand.",
    ),
    ("list", WAKES),
    ("probe", WAKES),
];
const WAKES: &str = "each server is asked, since one that stands still looks alive otherwise. The floor is what \
    the servers need to answer, beside which forge reads the kernel's files about each.";

const MISSED: &str = "missed";

/// The goals and whether they are met.
fn verdict(row: &Row) -> String {
    let said = |goal: &Goal| {
        let (wanted, is) = match *goal {
            Goal::AtMost(limit) => (format!("at most {}", number(limit)), Some((median(&row.forge), limit))),
            Goal::OfPeer(limit) => (
                format!("{} of the peer", number(limit)),
                row.peer.as_ref().map(|way| (ratio(&row.forge, &way.values), limit)),
            ),
            Goal::OfFloor(limit) => (
                format!("{} of the floor", number(limit)),
                row.floor.as_ref().map(|way| (ratio(&row.forge, &way.values), limit)),
            ),
        };
        let met = is.is_some_and(|(is, limit)| is <= limit);
        format!("{wanted}: {}", if met { "met" } else { MISSED })
    };
    row.goals.iter().map(said).collect::<Vec<_>>().join(", ")
}

const HEAD: [&str; 9] = ["what", "of", "unit", "forge", "peer", "floor", "forge/peer", "forge/floor", "goal"];

fn cells(row: &Row) -> [String; 9] {
    let unit = match row.unit {
        Unit::Milliseconds => "ms",
        Unit::Megabytes => "MB",
        Unit::PerMinute => "/min",
    };
    let way = |way: &Option<Way>| way.as_ref().map(|way| spread(&way.values)).unwrap_or_default();
    [
        row.what.clone(),
        row.size.clone(),
        unit.to_owned(),
        spread(&row.forge),
        way(&row.peer),
        way(&row.floor),
        times(row, row.peer.as_ref()),
        times(row, row.floor.as_ref()),
        verdict(row),
    ]
}

/// The table for a terminal.
pub(super) fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(HEAD);
    table.add_rows(rows.iter().map(cells));
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// The page and the picture.
pub(super) fn write(folder: &Path, machine: &Machine, rows: &[Row]) {
    for (name, text) in [("README.md", page(machine, rows)), ("results.svg", picture(rows))] {
        let path = folder.join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        println!("written: {}", path.display());
    }
}

fn page(machine: &Machine, rows: &[Row]) -> String {
    let said = |argv: &[&str]| machine.user(argv).ok().stdout.lines().next().unwrap_or_default().to_owned();
    let cpu = said(&["sed", "-n", "s/^model name.*: //p", "/proc/cpuinfo"]);
    let mut text = String::from(
        "# What forge takes\n\n\
         Made by `make bench`: everything in one machine, in turns. forge, what a user would otherwise run\n\
         (the peer), and the least that the work itself takes (the floor). A value is the median, and in\n\
         brackets where four fifths of all lie; a ratio is the median over the rounds.\n\n\
         ![the others' time where forge's is 1](results.svg)\n\n",
    );
    let _ = writeln!(
        text,
        "{}, {}, {}, Linux {}, {} CPUs ({cpu}), on {}.\n",
        said(&["forge", "--version"]),
        said(&["systemctl", "--version"]),
        said(&["tmux", "-V"]),
        said(&["uname", "-r"]),
        said(&["nproc"]),
        said(&["date", "+%Y-%m-%d"]),
    );
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    text += &line(&HEAD.map(ToOwned::to_owned));
    text += &line(
        &[&["---"; 3][..], &["---:"; 5], &["---"]]
            .concat()
            .into_iter()
            .map(ToOwned::to_owned)
            .collect::<Vec<_>>(),
    );
    for row in rows {
        text += &line(&cells(row));
    }
    let missed = |what: &str| rows.iter().any(|row| row.what == what && verdict(row).contains(MISSED));
    for (what, why) in WHY.iter().filter(|(what, _)| missed(what)) {
        let _ = writeln!(text, "\n**{what}**, where the goal is missed: {why}");
    }
    text += "\nPeer and floor are, for\n\n";
    let mut named = Vec::new();
    for row in rows {
        let name = |way: &Option<Way>| way.as_ref().map_or_else(|| "none".to_owned(), |way| way.name.clone());
        if !named.contains(&&row.what) {
            named.push(&row.what);
            let _ = writeln!(text, "- {}: {}; {}", row.what, name(&row.peer), name(&row.floor));
        }
    }
    text
}

/// The position of each alternative on a logarithmic axis, forge being 1.
fn picture(rows: &[Row]) -> String {
    const LEFT: f64 = 330.0;
    const DECADE: f64 = 105.0;
    const LINE: f64 = 22.0;
    let shown: Vec<&Row> = rows.iter().filter(|row| row.peer.is_some() && median(&row.forge) > 0.0).collect();
    let at = |ratio: f64| LEFT + (ratio.log10().clamp(-2.0, 4.0) + 2.0) * DECADE;
    let (width, height) =
        (LEFT + 6.0 * DECADE + 60.0, 70.0 + LINE * f64::from(u32::try_from(shown.len()).unwrap_or(0)));
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' font-family='sans-serif' font-size='12'>\n\
         <style>text{{fill:#333}}.line{{stroke:#bbb}}.one{{stroke:#333;stroke-width:2}}.peer{{fill:#c2410c}}.floor{{fill:#2563eb}}\
         @media(prefers-color-scheme:dark){{text{{fill:#ddd}}.line{{stroke:#555}}.one{{stroke:#ddd}}.peer{{fill:#fb923c}}.floor{{fill:#60a5fa}}}}</style>\n\
         <text x='{LEFT}' y='16'>what others take, where forge takes 1:</text>\n\
         <circle class='peer' cx='{}' cy='12' r='5'/><text x='{}' y='16'>what people run otherwise</text>\n\
         <circle class='floor' cx='{}' cy='12' r='5'/><text x='{}' y='16'>the least there is</text>\n",
        LEFT + 225.0,
        LEFT + 235.0,
        LEFT + 400.0,
        LEFT + 410.0,
    );
    for (decade, label) in
        ["1/100", "1/10", "1 (forge)", "10", "100", "1000", "10000"].into_iter().enumerate()
    {
        let x = LEFT + DECADE * f64::from(u32::try_from(decade).unwrap_or(0));
        let class = if decade == 2 { "one" } else { "line" };
        let _ = writeln!(
            svg,
            "<line class='{class}' x1='{x}' x2='{x}' y1='44' y2='{}'/><text x='{x}' y='38' text-anchor='middle'>{label}</text>",
            height - 10.0
        );
    }
    for (row, y) in shown.iter().zip((0_u32..).map(|line| 60.0 + LINE * f64::from(line))) {
        let size = if row.size.is_empty() { String::new() } else { format!(", {}", row.size) };
        let _ = writeln!(
            svg,
            "<text x='{}' y='{}' text-anchor='end'>{}{size}</text>",
            LEFT - 15.0,
            y + 4.0,
            row.what
        );
        for (way, class) in [(&row.floor, "floor"), (&row.peer, "peer")] {
            let Some(way) = way.as_ref().filter(|way| median(&way.values) > 0.0) else { continue };
            let x = at(1.0 / ratio(&row.forge, &way.values));
            let _ = writeln!(
                svg,
                "<circle class='{class}' cx='{x:.1}' cy='{y}' r='5'><title>{}: {}</title></circle>",
                way.name,
                spread(&way.values)
            );
        }
    }
    svg + "</svg>\n"
}
