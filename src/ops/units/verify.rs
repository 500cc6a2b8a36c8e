//! `forge units verify`: compares the order in the unit files with the order that systemd has loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::error::Result;
use crate::model::health::Problem;
use crate::model::unit::files::{USER, UnitFile};
use crate::model::unit::graph::{Edge, cycles};
use crate::ops::Context;
use crate::sys::clock::Deadline;
use crate::sys::systemd::Loaded;
use crate::sys::{files, systemd};

/// How long systemd-analyze may take. It reads all units of the user.
const ANALYZE: Duration = Duration::from_secs(60);

/// The result of a verification.
#[derive(Debug)]
pub struct Verified {
    /// The number of dependencies in the files that were checked.
    pub edges: usize,
    pub problems: Vec<Problem>,
    /// The output of `systemd-analyze --user verify`, by lines.
    pub analyze: Vec<String>,
}

/// forge's units as systemd has loaded them, with one instance for each template.
///
/// # Errors
/// `Kind::Bus` when the user manager cannot be reached.
pub fn loaded(context: &Context) -> Result<Vec<(UnitFile, Loaded)>> {
    let manager = context.manager()?;
    let units = USER.into_iter().filter(|file| !file.is_drop_in());
    units.map(|file| Ok((file, manager.loaded(&instance(file.name))?))).collect()
}

/// A name that systemd can load: for a template, the name of an instance.
fn instance(name: &str) -> String {
    if name.contains("@.") { name.replace("@.", "@verify.") } else { name.to_owned() }
}

/// Verifies the installed units.
///
/// # Errors
/// `Kind::Bus` when the user manager cannot be reached; `Kind::Failed` when systemd-analyze cannot be run;
/// `Kind::Deadline` when it takes longer than 60 seconds.
pub fn verify(context: &Context) -> Result<Verified> {
    let manager = context.manager()?;
    let units = loaded(context)?;
    let mut problems = Vec::new();
    let mut edges = 0;
    let install = "forge units install";
    for (file, unit) in &units {
        if unit.load != "loaded" {
            problems.push(Problem::new(format!("{} is {}", file.name, unit.load), install));
            continue;
        }
        if unit.needs_reload {
            problems.push(Problem::new(
                format!("{} changed on disk since systemd loaded it", file.name),
                "systemctl --user daemon-reload",
            ));
        }
        if file.is_enabled() && unit.file_state != "enabled" {
            problems.push(Problem::new(format!("{} is {}", file.name, unit.file_state), install));
        }
        for (key, other) in file.edges() {
            if key == "WantedBy" && !file.is_enabled() {
                // Users enable the instances of a template that they want.
                continue;
            }
            edges += 1;
            // %n stands for the unit itself.
            let other = other.replace("%n", &unit.name);
            let named = match key {
                "Before" => &unit.before,
                "After" => &unit.after,
                "Wants" => &unit.wants,
                "Requires" => &unit.requires,
                // Ask the target: systemd drops WantedBy= of this unit while the target is not active.
                "WantedBy" => &manager.loaded(&other)?.wants,
                _ => &unit.on_failure,
            };
            // systemd reports the main name of a unit where the file uses an alias.
            let has = if key == "WantedBy" {
                named.contains(&unit.name)
            } else {
                named.contains(&other) || named.contains(&manager.loaded(&other)?.name)
            };
            if !has {
                problems.push(Problem::new(
                    format!("systemd has not loaded {key}={other} of {}", file.name),
                    "systemctl --user daemon-reload, then check the drop-ins: systemctl --user cat",
                ));
            }
        }
        // Check the units that a drop-in names, too: systemd accepts a dependency on a unit that does not
        // exist, and ignores it.
        let named =
            [&unit.after, &unit.before, &unit.wants, &unit.requires, &unit.wanted_by, &unit.on_failure];
        for other in named.into_iter().flatten().collect::<BTreeSet<_>>() {
            let load = manager.loaded(other)?.load;
            if load != "loaded" {
                problems.push(Problem::new(
                    format!("{} names {other}, which is {load}", file.name),
                    format!("'systemctl --user cat {}' shows where", file.name),
                ));
            }
        }
    }
    // systemd shows drop-ins only of loaded units, and a pane's scope is rarely loaded.
    let search = manager.unit_path()?;
    for file in USER.into_iter().filter(|file| file.is_drop_in()) {
        if !search.iter().any(|dir| files::is_file(&dir.join(file.name))) {
            problems.push(Problem::new(format!("{} is not installed", file.name), install));
        }
    }
    for cycle in cycles(&order(context, &units)?) {
        problems.push(Problem::new(
            format!("these units are ordered after each other: {}", cycle.join(" > ")),
            "remove one of the After= or Before= settings from its drop-in",
        ));
    }
    Ok(Verified { edges, problems, analyze: analyze(&units)? })
}

/// The ordering edges among forge's units and the units with which they are ordered.
///
/// # Errors
/// `Kind::Bus` when the user manager cannot be reached.
pub fn order(context: &Context, units: &[(UnitFile, Loaded)]) -> Result<BTreeSet<Edge>> {
    let manager = context.manager()?;
    let mut known: BTreeMap<String, Loaded> = units
        .iter()
        .filter(|(file, _)| !file.is_template())
        .map(|(_, unit)| (unit.name.clone(), unit.clone()))
        .collect();
    // Skip slices and mounts: every unit depends on them, and they would hide the order that matters.
    let matters =
        |name: &String| !Path::new(name).extension().is_some_and(|kind| kind == "slice" || kind == "mount");
    let neighbours: BTreeSet<String> = units
        .iter()
        .flat_map(|(_, unit)| unit.after.iter().chain(&unit.before).cloned())
        .filter(|name| !known.contains_key(name) && matters(name))
        .collect();
    for name in neighbours {
        let unit = manager.loaded(&name)?;
        known.insert(name, unit);
    }
    let mut edges = BTreeSet::new();
    for (name, unit) in &known {
        let named = |other: &&String| known.contains_key(*other);
        edges.extend(unit.after.iter().filter(named).map(|other| Edge::new(other, name)));
        edges.extend(unit.before.iter().filter(named).map(|other| Edge::new(name, other)));
    }
    Ok(edges)
}

/// Runs systemd-analyze on the unit files. Returns its output by lines.
fn analyze(units: &[(UnitFile, Loaded)]) -> Result<Vec<String>> {
    let files: Vec<&PathBuf> =
        units.iter().map(|(_, unit)| &unit.fragment).filter(|path| !path.as_os_str().is_empty()).collect();
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let output = systemd::analyze(&files, Deadline::after(ANALYZE))?;
    Ok(output.stderr.lines().chain(output.stdout.lines()).map(ToOwned::to_owned).collect())
}
