//! Whether the order that the unit files ask for is the one that the manager really has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::model::error::Result;
use crate::model::health::Problem;
use crate::model::unit::files::{USER, UnitFile};
use crate::model::unit::graph::{Edge, cycles};
use crate::ops::Context;
use crate::sys::clock::Deadline;
use crate::sys::command;
use crate::sys::systemd::Loaded;

/// How long systemd-analyze may take: it reads all units of the user.
const ANALYZE: Duration = Duration::from_secs(60);

/// What the manager has.
#[derive(Debug)]
pub struct Verified {
    /// How many edges of the files were looked for.
    pub edges: usize,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What `systemd-analyze --user verify` said.
    pub analyze: Vec<String>,
}

/// The units as they are loaded, an instance for each template.
///
/// # Errors
/// When the manager does not answer.
pub fn loaded(context: &Context) -> Result<Vec<(UnitFile, Loaded)>> {
    let manager = context.manager()?;
    let units = USER.into_iter().filter(|file| !file.is_drop_in());
    units.map(|file| Ok((file, manager.loaded(&instance(file.name))?))).collect()
}

/// A name that the manager can load: of a template, an instance.
fn instance(name: &str) -> String {
    if name.contains("@.") { name.replace("@.", "@verify.") } else { name.to_owned() }
}

/// Verifies the units that are installed.
///
/// # Errors
/// When the manager does not answer, or there is no systemd-analyze.
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
                format!("{} changed on disk since it was loaded", file.name),
                "systemctl --user daemon-reload",
            ));
        }
        if file.is_enabled() && unit.file_state != "enabled" {
            problems.push(Problem::new(format!("{} is {}", file.name, unit.file_state), install));
        }
        for (key, other) in file.edges() {
            if key == "WantedBy" && !file.is_enabled() {
                // Of a template, people enable the instances that they want.
                continue;
            }
            edges += 1;
            // %n in it is the unit itself.
            let other = other.replace("%n", &unit.name);
            let named = match key {
                "Before" => &unit.before,
                "After" => &unit.after,
                "Wants" => &unit.wants,
                "Requires" => &unit.requires,
                // What a target wants, the target knows: the manager forgets it on this end while
                // the target is not active.
                "WantedBy" => &manager.loaded(&other)?.wants,
                _ => &unit.on_failure,
            };
            // The manager tells the name of the unit itself where the file has another name of it.
            let has = if key == "WantedBy" {
                named.contains(&unit.name)
            } else {
                named.contains(&other) || named.contains(&manager.loaded(&other)?.name)
            };
            if !has {
                problems.push(Problem::new(
                    format!("the manager does not have {key}={other} of {}", file.name),
                    "systemctl --user daemon-reload, then see the drop-ins: systemctl --user cat",
                ));
            }
        }
        // Also those that a drop-in names: an edge to a unit that does not exist is accepted, and
        // does nothing.
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
    // The manager shows a drop-in only on a unit that is there, and a pane's scope rarely is.
    let search = manager.unit_path()?;
    for file in USER.into_iter().filter(|file| file.is_drop_in()) {
        if !search.iter().any(|dir| dir.join(file.name).is_file()) {
            problems.push(Problem::new(format!("{} is not installed", file.name), install));
        }
    }
    for cycle in cycles(&order(context, &units)?) {
        problems.push(Problem::new(
            format!("these are ordered after each other: {}", cycle.join(" > ")),
            "take one of the After= or Before= out of its drop-in",
        ));
    }
    Ok(Verified { edges, problems, analyze: analyze(&units)? })
}

/// The order among forge's units and those that these are ordered with.
///
/// # Errors
/// When the manager does not answer.
pub fn order(context: &Context, units: &[(UnitFile, Loaded)]) -> Result<BTreeSet<Edge>> {
    let manager = context.manager()?;
    let mut known: BTreeMap<String, Loaded> = units
        .iter()
        .filter(|(file, _)| !file.is_template())
        .map(|(_, unit)| (unit.name.clone(), unit.clone()))
        .collect();
    // Slices and mounts that every unit is in or under would hide what matters.
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

/// What systemd's own check says of the files.
fn analyze(units: &[(UnitFile, Loaded)]) -> Result<Vec<String>> {
    let files: Vec<&PathBuf> =
        units.iter().map(|(_, unit)| &unit.fragment).filter(|path| !path.as_os_str().is_empty()).collect();
    if files.is_empty() {
        return Ok(Vec::new());
    }
    // man: pages may not be installed, and are no part of the order.
    let mut command = Command::new("systemd-analyze");
    command.args(["--user", "--man=no", "verify"]).args(files);
    let output = command::run(&mut command, Deadline::after(ANALYZE))?;
    Ok(output.stderr.lines().chain(output.stdout.lines()).map(ToOwned::to_owned).collect())
}
