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
        "until the tmux server listens, forge takes as long as systemd-run (the row above). systemd-run's \
         program starts at once. forge's program waits for three more steps: tmux has reported the pane (and, \
         from 3.4 on, has requested a scope for it); forge has read from /proc that the server and the pane are \
         in the slice; forge has stored both pids. So no program runs outside its limits, and forge records \
         every program's end.",
    ),
    (
        "sweep",
        "for ten sockets, a hundredth of the shell loop's time is less than the start of a process takes \
         (`forge --version`, below). A sweep also asks the manager which sessions have lost their socket, and \
         writes its result for `forge probe`. Both take the same time for ten sockets as for ten thousand. For more \
         sockets, the floor alone takes nearly a hundredth of the loop's time on some machines.",
    ),
    ("list", WAKES),
    ("probe", WAKES),
];
const WAKES: &str = "forge asks each server, because a server that is stopped looks alive otherwise. The floor is the \
    time in which the servers answer. forge also reads the files of each session's processes in /proc and \
    /sys/fs/cgroup.";

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
        "# Speed and size of forge\n\n\
         `make bench` measures forge, the commands that people use otherwise (the peer), and the least that the\n\
         same work takes (the floor), in turns in one machine, and writes this page. A value is the median; the\n\
         range in brackets holds four fifths of the values. A ratio is the median of the rounds' ratios.\n\n\
         ![the times of peer and floor, relative to forge](results.svg)\n\n",
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
        let _ = writeln!(text, "\n**{what}**, why the goal is missed: {why}");
    }
    text += "\n## Peer and floor\n\n| what | peer | floor |\n| --- | --- | --- |\n";
    let mut named = Vec::new();
    for row in rows {
        let name = |way: &Option<Way>| way.as_ref().map_or_else(|| "–".to_owned(), |way| way.name.clone());
        if !named.contains(&&row.what) {
            named.push(&row.what);
            let _ = writeln!(text, "| {} | {} | {} |", row.what, name(&row.peer), name(&row.floor));
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
         <text x='{LEFT}' y='16'>time relative to forge:</text>\n\
         <circle class='peer' cx='{}' cy='12' r='5'/><text x='{}' y='16'>peer</text>\n\
         <circle class='floor' cx='{}' cy='12' r='5'/><text x='{}' y='16'>floor</text>\n",
        LEFT + 145.0,
        LEFT + 155.0,
        LEFT + 205.0,
        LEFT + 215.0,
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
