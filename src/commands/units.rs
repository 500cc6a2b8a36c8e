//! `forge units`

use std::path::Path;

use serde_json::{Value, json};
use similar::TextDiff;

use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Error, Kind, Result};
use crate::model::output::Output;
use crate::model::unit::files::{FileChange, SYSTEM, There, USER};
use crate::model::unit::graph::{dot, reduced, tree};
use crate::ops::Context;
use crate::ops::units::install::{self, Done, InstallStep};
use crate::ops::units::verify::{self, Verified};
use crate::sys::env;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge units install --now --linger
  forge units install --dry-run
  forge units verify
  forge units graph | dot -Tsvg > order.svg")]
pub struct Args {
    #[command(subcommand)]
    what: UnitsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum UnitsCommand {
    /// Install and enable forge's units for your user manager
    #[command(after_help = "\
Examples:
  forge units install --now --linger
  forge units install --dry-run")]
    Install {
        /// Also start them now
        #[arg(long)]
        now: bool,
        /// Turn on lingering: the units start at boot and stay active after your logout
        #[arg(long)]
        linger: bool,
        /// Only print the changes
        #[arg(long, conflicts_with_all = ["now", "linger"])]
        dry_run: bool,
    },
    /// Remove forge's units; your sessions and drop-ins stay
    #[command(after_help = "\
Examples:
  forge units uninstall
  forge units uninstall --dry-run")]
    Uninstall {
        /// Only print the changes
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the units as install writes them
    #[command(after_help = "\
Examples:
  forge units show forge-spawn@.service")]
    Show {
        /// Name of a unit [default: all units of the user manager]
        unit: Option<String>,
    },
    /// Check that the ordering in the manager is the one that the units declare
    #[command(after_help = "\
Examples:
  forge units verify")]
    Verify,
    /// Print the ordering of the units as a tree and as a Graphviz graph
    #[command(after_help = "\
Examples:
  forge units graph
  forge units graph | dot -Tsvg > order.svg")]
    Graph,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Ignored
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        match &self.what {
            UnitsCommand::Install { dry_run: true, .. } => Ok(would(&install::plan_install(context)?)),
            UnitsCommand::Install { now, linger, .. } => install_now(context, *now, *linger),
            UnitsCommand::Uninstall { dry_run: true } => Ok(would(&install::plan_uninstall(context)?)),
            UnitsCommand::Uninstall { .. } => {
                let steps = install::plan_uninstall(context)?;
                let done = install::uninstall(context, &steps)?;
                Ok(changed(&steps, &done, json!({})))
            }
            UnitsCommand::Show { unit } => show(unit.as_deref()),
            UnitsCommand::Verify => Ok(verified(&verify::verify(context)?)),
            UnitsCommand::Graph => graph(context),
        }
    }
}

fn install_now(context: &Context, now: bool, linger: bool) -> Result<Output> {
    let steps = install::plan_install(context)?;
    let done = install::install(context, &steps, now)?;
    // The installed units stay even if lingering cannot be turned on.
    let lingers = install::lingering(context, linger)?;
    let mut output = changed(&steps, &done, json!({ "linger": lingers }));
    if lingers == Some(false) {
        output = output
            .line("lingering is off: none of the units starts at boot, and your sessions end with your last login")
            .line("  turn it on: 'forge units install --linger' or 'sudo loginctl enable-linger'");
    } else if done.started.is_empty() && !done.links.is_empty() {
        output = output.line("the units start at the next boot; 'forge units install --now' starts them now");
    }
    Ok(output)
}

fn word(change: &FileChange) -> &'static str {
    match change {
        FileChange::Unchanged => "unchanged",
        FileChange::Write(_) => "written",
        FileChange::Update(_) => "updated",
        FileChange::Packaged => "packaged",
        FileChange::Unhide => "removed, the package's counts",
        FileChange::Remove => "removed",
        FileChange::Absent => "absent",
        FileChange::Refuse(_) => "refused",
    }
}

fn rows(steps: &[InstallStep]) -> Vec<Value> {
    steps
        .iter()
        .map(|step| {
            let reason = if let FileChange::Refuse(why) = step.change { Some(why) } else { None };
            let path = match (&step.change, &step.packaged) {
                (FileChange::Packaged | FileChange::Unhide, Some(packaged)) => packaged,
                _ => &step.path,
            };
            json!({ "unit": step.file.name, "path": path, "change": word(&step.change), "reason": reason })
        })
        .collect()
}

fn changed(steps: &[InstallStep], done: &Done, more: Value) -> Output {
    let mut json = json!({
        "units": rows(steps),
        "links": done.links,
        "started": done.started,
        "not_started": done.not_started,
        "stopped": done.stopped,
    });
    if let (Value::Object(json), Value::Object(more)) = (&mut json, more) {
        json.extend(more);
    }
    let mut output = Output::new(&json);
    for step in steps.iter().filter(|step| step.change != FileChange::Absent) {
        output = output.line(format!("{:<34} {}", step.file.name, word(&step.change)));
    }
    if steps.iter().all(|step| step.change == FileChange::Absent) {
        output = output.line("nothing of forge's to remove");
    }
    for link in &done.links {
        output = output.line(format!("link {}", link.display()));
    }
    for (what, units) in [("started", &done.started), ("stopped", &done.stopped)] {
        if !units.is_empty() {
            output = output.line(format!("{what} {}", units.join(" ")));
        }
    }
    for problem in &done.not_started {
        output = output.line(problem.what.clone()).line(format!("  {}", problem.hint)).exit(1);
    }
    refusals(output, steps)
}

/// Reports the files that forge left because they are not its own, as a failure.
fn refusals(mut output: Output, steps: &[InstallStep]) -> Output {
    for step in steps {
        if let FileChange::Refuse(why) = step.change {
            output = output.line(format!("left {}: {why}", step.path.display())).exit(1);
        }
    }
    output
}

/// The plan as a patch.
fn would(steps: &[InstallStep]) -> Output {
    let mut output = Output::new(&json!({ "units": rows(steps) }));
    let mut nothing = true;
    for step in steps {
        let old = if let There::Text(text) = &step.there { text } else { "" };
        let new = match &step.change {
            FileChange::Write(text) | FileChange::Update(text) => text,
            FileChange::Remove | FileChange::Unhide => "",
            _ => continue,
        };
        nothing = false;
        let label = |text: &str| {
            if text.is_empty() { Path::new("/dev/null") } else { &step.path }.display().to_string()
        };
        let diff = TextDiff::from_lines(old, new);
        let patch = diff.unified_diff().header(&label(old), &label(new)).to_string();
        output = output.raw(patch.trim_end());
    }
    if nothing {
        output = output.line("nothing would change");
    }
    refusals(output, steps)
}

fn show(unit: Option<&str>) -> Result<Output> {
    let forge = env::forge()?;
    let wanted: Vec<_> = match unit {
        None => USER.to_vec(),
        Some(name) => {
            let file = USER.into_iter().chain(SYSTEM).find(|file| file.name == name);
            vec![file.ok_or_else(|| {
                let known: Vec<&str> = USER.iter().chain(&SYSTEM).map(|file| file.name).collect();
                Error::new(Kind::Usage, format!("forge has no unit '{name}'"))
                    .hint(format!("there are: {}", known.join(", ")))
            })?]
        }
    };
    let mut texts = Vec::new();
    for file in &wanted {
        texts.push((file.name, file.render(&forge)?));
    }
    let json: Vec<_> = texts.iter().map(|(name, text)| json!({ "unit": name, "text": text })).collect();
    let mut output = Output::new(&json!({ "units": json }));
    for (name, text) in &texts {
        // A single unit can be redirected to a file as it is.
        let head = if texts.len() > 1 { format!("# {name}\n") } else { String::new() };
        output = output.raw(format!("{head}{}", text.trim_end_matches('\n')));
        if texts.len() > 1 {
            output = output.raw("");
        }
    }
    Ok(output)
}

fn verified(verified: &Verified) -> Output {
    let ok = verified.problems.is_empty() && verified.analyze.is_empty();
    let mut output = Output::new(&json!({
        "ok": ok,
        "edges": verified.edges,
        "problems": verified.problems,
        "systemd_analyze": verified.analyze,
    }));
    for problem in &verified.problems {
        output = output.line(problem.what.clone()).line(format!("  {}", problem.hint));
    }
    for line in &verified.analyze {
        output = output.line(format!("systemd-analyze: {line}"));
    }
    if ok {
        output = output.line(format!(
            "the manager has all {} edges, every unit that they name, and no cycle",
            verified.edges
        ));
    }
    output.exit(if ok { 0 } else { Kind::UNHEALTHY })
}

fn graph(context: &Context) -> Result<Output> {
    let units = verify::loaded(context)?;
    if units.iter().all(|(_, unit)| unit.load != "loaded") {
        return Err(Error::new(Kind::Missing, "the user manager has no unit of forge")
            .hint("run 'forge units install'"));
    }
    let edges = reduced(&verify::order(context, &units)?);
    let (tree, dot) = (tree(&edges), dot(&edges));
    let json = json!({
        "edges": edges.iter().map(|edge| json!({ "first": edge.first, "then": edge.then })).collect::<Vec<_>>(),
        "dot": dot.join("\n"),
    });
    // As comments of the DOT language, so that dot(1) accepts the output.
    let tree = tree.iter().map(|line| format!("// {line}")).collect::<Vec<_>>().join("\n");
    Ok(Output::new(&json).raw(tree).raw(dot.join("\n")))
}
