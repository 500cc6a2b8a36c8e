//! The command line's definition: completions and manual pages come from here too.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::commands::{self, Command};

const AFTER_HELP: &str = "\
Examples:
  forge spawn demo -- top          in a tmux server, scope and slice of its own
  forge                            how everything is
  forge attach demo
  forge stop demo                  it and all it started
  forge units install --linger     for what is to survive a reboot

Exit status:
  0  done
  1  failed
  2  wrong usage or configuration
  3  something needed is missing (user manager, bus, tmux)
  4  a deadline passed
  5  found unhealthy
  'run' and 'guard run' end with their command's exit status, or 125 when it
  never ran. 'guard run' ends with 100 when a guarded unit was disturbed, 101
  when the command listened although that was denied; 'guard check' with 0, 100
  or 125.";

/// Keeps long-running tmux programs alive and harmless on a systemd machine.
#[derive(Debug, Parser)]
#[command(name = "forge", version = env!("FORGE_VERSION"), after_help = AFTER_HELP, disable_help_subcommand = false, max_term_width = 100)]
pub(super) struct Cli {
    /// Read this configuration file instead of ~/.config/forge/forge.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but errors and what was asked for
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Tell each step on stderr
    #[arg(short, long, global = true)]
    pub verbose: bool,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Start a session and return when it is up
    Spawn(Box<commands::spawn::Args>),
    /// Start a session in the foreground, and end with it
    Run(Box<commands::run::Args>),
    /// End sessions whole, and prove that nothing is left
    Stop(commands::stop::Args),
    /// End sessions whole and start them again
    Restart(commands::restart::Args),
    /// Make all processes of sessions stand still
    Freeze(commands::freeze::FreezeArgs),
    /// Let frozen sessions run again
    Thaw(commands::freeze::ThawArgs),
    /// List the sessions
    List(commands::list::Args),
    /// Show one session
    Status(commands::status::Args),
    /// Show what the journal has about a session
    Logs(commands::logs::Args),
    /// Show a session in this terminal
    Attach(commands::attach::Args),
    /// Print what is on a session's screen
    Capture(commands::capture::Args),
    /// Type a text into a session's program
    Send(commands::send::Args),
    /// Wait until a session is ready, or ended
    Wait(commands::wait::Args),
    /// Note a sign of life of a session, for its supervisor
    Beat(commands::beat::Args),
    /// Have a session's supervisor look at it at once
    Poke(commands::poke::Args),
    /// Supervise a session: what forge-spawn@NAME.service runs
    Supervise(commands::supervise::Args),
    /// Remove the tmux sockets that no server listens on
    Sweep(commands::sweep::Args),
    /// Show how everything is: sockets, sessions, the last sweep and restore
    Probe(commands::probe::Args),
    /// Find what on this machine would stop forge from working
    Doctor(commands::doctor::Args),
    /// Save the sessions' resume ids, as before a shutdown
    Save(commands::save::Args),
    /// Start what was running before the boot, and what is configured to
    Restore(commands::restore::Args),
    /// Tell people how everything is
    Notify(commands::notify::Args),
    /// Run a command that may not disturb the units that matter
    Guard(commands::guard::Args),
    /// Install, show and verify forge's systemd units
    Units(commands::units::Args),
    /// Print the completions for a shell
    Completions(commands::completions::Args),
    /// Print a manual page
    Man(commands::man::Args),
}

impl Verb {
    /// The command, for its policy and to run it.
    pub(super) fn command(&self) -> &dyn Command {
        match self {
            Self::Spawn(command) => command.as_ref(),
            Self::Run(command) => command.as_ref(),
            Self::Stop(command) => command,
            Self::Restart(command) => command,
            Self::Freeze(command) => command,
            Self::Thaw(command) => command,
            Self::List(command) => command,
            Self::Status(command) => command,
            Self::Logs(command) => command,
            Self::Attach(command) => command,
            Self::Capture(command) => command,
            Self::Send(command) => command,
            Self::Wait(command) => command,
            Self::Beat(command) => command,
            Self::Poke(command) => command,
            Self::Supervise(command) => command,
            Self::Sweep(command) => command,
            Self::Probe(command) => command,
            Self::Doctor(command) => command,
            Self::Save(command) => command,
            Self::Restore(command) => command,
            Self::Notify(command) => command,
            Self::Guard(command) => command,
            Self::Units(command) => command,
            Self::Completions(command) => command,
            Self::Man(command) => command,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    /// The command and all below it that have a page.
    fn documented(command: &clap::Command) -> Vec<&clap::Command> {
        let below = command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help");
        [command].into_iter().chain(below.flat_map(documented)).collect()
    }

    #[test]
    fn every_page_has_examples_and_they_can_be_used() {
        let mut command = Cli::command();
        command.build();
        for command in documented(&command) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines = text.lines().skip_while(|line| *line != "Examples:").skip(1);
            // Two blanks before, and what they say after at least two more.
            let examples: Vec<_> = lines.map_while(|line| line.strip_prefix("  ")).collect();
            assert!(!examples.is_empty(), "{command}");
            for example in examples.into_iter().filter_map(|line| line.split("  ").next()) {
                let words = shlex::split(example).unwrap();
                let words: Vec<_> = words.into_iter().take_while(|word| word != "|" && word != ">").collect();
                if words[0] == "forge" {
                    Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{example}: {error}"));
                } else {
                    assert_eq!(words[0], "systemctl", "{example}");
                }
            }
        }
    }

    #[test]
    fn options_may_stand_before_and_after_the_verb() {
        let cli =
            Cli::try_parse_from(["forge", "--json", "spawn", "demo", "-q", "--", "sleep", "9"]).unwrap();
        assert!(cli.json && cli.quiet);
        assert!(Cli::try_parse_from(["forge", "stop"]).is_err());
        assert!(Cli::try_parse_from(["forge", "stop", "--all", "x"]).is_err());
        assert!(Cli::try_parse_from(["forge", "wait", "x"]).is_err());
    }
}
