//! The definition of the command line, also for completions and manual pages.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};

use crate::commands::{self, Command};

const AFTER_HELP: &str = "\
Examples:
  forge spawn demo -- top          start top in a tmux server of its own
  forge list                       list the sessions and their states
  forge attach demo                show the session in this terminal
  forge stop demo                  end it and every process that it started
  forge units install --linger     bring sessions back after a reboot

Exit status:
  0  success
  1  failure
  2  invalid usage or configuration
  3  something that forge needs is missing (user manager, bus, tmux)
  4  a deadline passed
  5  a check found a problem
  'run' and 'guard run' end with the exit status of their command, or with 125
  when the command never ran. 'guard run' ends with 100 when a guarded unit was
  disturbed, and with 101 when the command listened although that was denied;
  'guard check' ends with 0, 100 or 125.";

const GLOBAL: &str = "Global options";

/// Keeps long-running tmux programs alive and harmless on a systemd machine.
#[derive(Debug, Parser)]
#[command(
    name = "forge",
    version = env!("FORGE_VERSION"),
    after_help = AFTER_HELP,
    disable_help_flag = true,
    disable_version_flag = true,
    max_term_width = 100
)]
pub(super) struct Cli {
    /// Read this configuration file instead of ~/.config/forge/forge.toml
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
    /// Print only errors and the requested data
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = GLOBAL)]
    pub quiet: bool,
    /// Log each step on stderr
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub verbose: bool,
    /// Print help
    #[arg(short, long, global = true, action = ArgAction::Help, help_heading = GLOBAL)]
    help: Option<bool>,
    /// Print version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = GLOBAL)]
    version: Option<bool>,
    #[command(subcommand)]
    pub command: Option<AnyCommand>,
}

#[derive(Debug, Subcommand)]
pub(super) enum AnyCommand {
    /// Start a session and return when it is ready
    Spawn(Box<commands::spawn::Args>),
    /// Start a session in the foreground and exit when it ends
    Run(Box<commands::run::Args>),
    /// End sessions with all their processes, and verify that none is left
    Stop(commands::stop::Args),
    /// Stop sessions and start them again
    Restart(commands::restart::Args),
    /// Suspend all processes of sessions
    Freeze(commands::freeze::FreezeArgs),
    /// Resume frozen sessions
    Thaw(commands::freeze::ThawArgs),
    /// List the sessions
    List(commands::list::Args),
    /// Show the state of one session
    Status(commands::status::Args),
    /// Show the journal of sessions
    Logs(commands::logs::Args),
    /// Show a session in this terminal
    Attach(commands::attach::Args),
    /// Print the screen of a session
    Capture(commands::capture::Args),
    /// Type a text into the program of a session
    Send(commands::send::Args),
    /// Wait until a session is ready, is idle or has ended
    Wait(commands::wait::Args),
    /// Record a sign of life of a session for its supervisor
    Beat(commands::beat::Args),
    /// Report what the program of a session does (for hooks of agents)
    Report(commands::report::Args),
    /// Make a supervisor reload the configuration and check its session at once
    Poke(commands::poke::Args),
    /// Supervise a session (forge-spawn@NAME.service runs this)
    Supervise(commands::supervise::Args),
    /// Remove dead tmux sockets: those that no server listens on
    Sweep(commands::sweep::Args),
    /// Check sockets, sessions, the last sweep and the last restore
    Probe(commands::probe::Args),
    /// Find what on this machine would keep forge from working
    Doctor(commands::doctor::Args),
    /// Save the resume ids of the sessions, as before a shutdown
    Save(commands::save::Args),
    /// Start the sessions that ran before the boot or that are configured to start
    Restore(commands::restore::Args),
    /// Send a notice about the machine, a unit or a session
    Notify(commands::notify::Args),
    /// List and show the coding agents that forge knows
    Agents(commands::agents::Args),
    /// Run a command and detect whether it disturbs important units
    Guard(commands::guard::Args),
    /// Install, show and verify forge's systemd units
    Units(commands::units::Args),
    /// Print the completion script for a shell
    Completions(commands::completions::Args),
    /// Print a manual page
    Man(commands::man::Args),
}

impl AnyCommand {
    pub(super) fn as_command(&self) -> &dyn Command {
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
            Self::Report(command) => command,
            Self::Poke(command) => command,
            Self::Supervise(command) => command,
            Self::Sweep(command) => command,
            Self::Probe(command) => command,
            Self::Doctor(command) => command,
            Self::Save(command) => command,
            Self::Restore(command) => command,
            Self::Notify(command) => command,
            Self::Agents(command) => command,
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
    fn clap_accepts_the_definition() {
        Cli::command().debug_assert();
    }

    /// The command and all its subcommands that have a page.
    fn documented(command: &clap::Command) -> Vec<&clap::Command> {
        let below = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set() && command.get_name() != "help");
        [command].into_iter().chain(below.flat_map(documented)).collect()
    }

    #[test]
    fn every_page_has_examples_that_parse() {
        let mut command = Cli::command();
        command.build();
        for command in documented(&command) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines = text.lines().skip_while(|line| *line != "Examples:").skip(1);
            // Two blanks precede an example, and at least two separate it from its explanation.
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
    fn every_page_ends_with_the_global_options() {
        let mut command = Cli::command();
        command.build();
        for command in documented(&command) {
            let page = command.clone().render_help().to_string();
            let (_, global) = page.split_once("\nGlobal options:\n").unwrap_or_else(|| panic!("{page}"));
            let (global, _) = global.split_once("\n\n").unwrap();
            assert!(global.contains("--config") && global.contains("--help"), "{page}");
            let rest = page.split_once("\n\nExamples:").map_or("", |(before, _)| before);
            assert!(rest.ends_with(global), "{page}");
        }
    }

    #[test]
    fn global_options_work_before_and_after_the_command() {
        let cli =
            Cli::try_parse_from(["forge", "--json", "spawn", "demo", "-q", "--", "sleep", "9"]).unwrap();
        assert!(cli.json && cli.quiet);
        assert!(Cli::try_parse_from(["forge", "stop"]).is_err());
        assert!(Cli::try_parse_from(["forge", "stop", "--all", "x"]).is_err());
        assert!(Cli::try_parse_from(["forge", "wait", "x"]).is_err());
    }
}
