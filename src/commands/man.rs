//! `forge man`

use std::path::PathBuf;

use clap::Command as ClapCommand;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use serde_json::json;

use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Error, Kind, Result, Trying};
use crate::model::output::Output;
use crate::sys::files;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge man | man -l -
  forge man guard run | man -l -
  forge man --dir ~/.local/share/man/man1")]
pub struct Args {
    /// Command whose page to print [default: the page of forge]
    command: Vec<String>,
    /// Write all pages to this directory
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Ignored
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let mut command = without_help(call.definition());
        command.build();
        let pages = Pages::of(&command);
        if let Some(dir) = &self.dir {
            files::make_dir(dir)?;
            let mut written = Vec::new();
            for (name, command) in &pages.commands {
                let path = dir.join(format!("{name}.1"));
                files::write(&path, pages.page(name, command)?.as_bytes(), 0o644)?;
                written.push(path);
            }
            let line = format!("wrote {} pages to {}", written.len(), dir.display());
            return Ok(Output::new(&json!({ "pages": written })).line(line));
        }
        let wanted = [&["forge".to_owned()], &self.command[..]].concat().join("-");
        let (name, command) = pages.commands.iter().find(|(name, _)| *name == wanted).ok_or_else(|| {
            Error::new(Kind::Usage, format!("forge has no command '{}'", self.command.join(" ")))
                .hint("'forge help' lists the commands")
        })?;
        let page = pages.page(name, command)?;
        Ok(Output::new(&json!({ "page": page })).raw(page.trim_end()))
    }
}

/// The title of a section of exit statuses.
const EXIT_STATUS: &str = "Exit status:\n";

/// The pages of forge, of its commands, and of their subcommands.
struct Pages<'a> {
    commands: Vec<(String, &'a ClapCommand)>,
    /// forge's own section, for pages without a section of their own.
    exit_status: String,
}

impl<'a> Pages<'a> {
    fn of(forge: &'a ClapCommand) -> Self {
        let mut commands = vec![("forge".to_owned(), forge)];
        let mut next = 0;
        while let Some((name, command)) = commands.get(next).cloned() {
            let below = command.get_subcommands().filter(|command| !command.is_hide_set());
            commands.extend(below.map(|command| (format!("{name}-{}", command.get_name()), command)));
            next += 1;
        }
        let help = after_help(forge);
        let mut sections = help.split("\n\n").filter(|section| section.starts_with(EXIT_STATUS));
        let exit_status = sections.next().unwrap_or_default().to_owned();
        Self { commands, exit_status }
    }

    /// One page. Each paragraph of the text after the options becomes a section: its first line is the title.
    fn page(&self, name: &str, command: &ClapCommand) -> Result<String> {
        let man = Man::new(command.clone().display_name(name.to_owned()));
        let doing = "cannot make the page";
        // clap_mangen omits an empty date, which moves the fields after it; and its synopsis does not show
        // which arguments follow `--`.
        let title = format!(".TH {name} 1 \"\" \"forge {}\" \"forge\"\n", env!("CARGO_PKG_VERSION"));
        let mut page = title.into_bytes();
        man.render_name_section(&mut page).trying(doing)?;
        let usage = command.clone().render_usage().to_string();
        let mut synopsis = Roff::new();
        synopsis.control("SH", ["SYNOPSIS"]);
        synopsis.text([roman(usage.trim_start_matches("Usage:").trim())]);
        synopsis.to_writer(&mut page).trying(doing)?;
        man.render_description_section(&mut page).trying(doing)?;
        man.render_options_section(&mut page).trying(doing)?;
        if self.commands.iter().any(|(below, _)| below.starts_with(&format!("{name}-"))) {
            man.render_subcommands_section(&mut page).trying(doing)?;
        }
        let own = after_help(command);
        let exit_status = if own.contains(EXIT_STATUS) { "" } else { &self.exit_status };
        let mut rest = Roff::new();
        for section in own.split("\n\n").chain([exit_status]).filter(|section| !section.is_empty()) {
            let (title, lines) = section.split_once('\n').unwrap_or((section, ""));
            rest.control("SH", [title.trim_end_matches(':').to_uppercase().as_str()]);
            rest.control("nf", []);
            rest.text([roman(lines)]);
            rest.control("fi", []);
        }
        let others = ["forge(1)", "forge.toml(5)", "forge-units(7)", "tmux(1)", "systemctl(1)"];
        rest.control("SH", ["SEE ALSO"]);
        rest.text([roman(
            others.into_iter().filter(|page| *page != format!("{name}(1)")).collect::<Vec<_>>().join(", "),
        )]);
        rest.to_writer(&mut page).trying(doing)?;
        String::from_utf8(page).trying(doing)
    }
}

/// The command without the `help` subcommands, which get no page.
fn without_help(command: ClapCommand) -> ClapCommand {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

fn after_help(command: &ClapCommand) -> String {
    command.get_after_help().map(ToString::to_string).unwrap_or_default()
}
