//! The command line: forge parses it, runs the command, and prints the result. Only this module prints results
//! and errors; `sys/journal` prints progress.

mod args;
mod overview;
mod print;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use signal_hook::low_level::emulate_default_handler;

use crate::commands::{self, CommandContext};
use crate::model::error::Error;
use crate::sys::{env, journal};
use args::Cli;
use print::Printer;

/// Runs forge, from the arguments of this process to its exit status.
pub fn main() -> ExitCode {
    // Before clap: spawns wait for these commands, and some of them run for days.
    if let Some(done) = commands::internal::run(&env::arguments()) {
        let printer = Printer::new(false, true);
        return match done {
            Ok(output) => printer.print_output(&output),
            Err(error) => printer.print_error(&error, error.kind.exit_status()),
        };
    }
    env::hide_given_values();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return Printer::of_arguments().print_refusal(&error),
    };
    run(&cli)
}

fn run(cli: &Cli) -> ExitCode {
    let printer = Printer::new(cli.json, cli.quiet);
    journal::open(cli.verbose, printer.shows_progress(), !cli.quiet);
    let Some(command) = &cli.command else { return printer.print_output(&overview::show()) };
    let (command, warn) = (command.as_command(), |error: &Error| printer.warn(error));
    let context = CommandContext::new(command.config(), cli.json, cli.config.as_deref(), &warn, Cli::command);
    let done = command.run(&context);
    journal::flush_stderr();
    match done {
        Ok(output) => {
            let status = printer.print_output(&output);
            if let Some(signal) = output.signal {
                end_by(signal);
            }
            status
        }
        Err(error) => printer.print_error(&error, command.exit_status(&error)),
    }
}

/// Ends this process by the signal that ended the command, so that a shell can see that Ctrl-C ended it.
/// Returns if that fails.
fn end_by(signal: i32) {
    if let Err(error) = emulate_default_handler(signal) {
        tracing::debug!("cannot end by signal {signal}: {error}");
    }
}
