//! The command line: read here, and what comes of it printed here and nowhere else.

mod args;
mod overview;
mod print;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use signal_hook::low_level::emulate_default_handler;

use crate::commands;
use crate::config::{self, Config};
use crate::model::error::{Error, Kind, Result};
use crate::model::output::Output;
use crate::ops::Context;
use crate::sys::env::{self, Paths};
use crate::sys::journal;
use args::{Cli, Verb};
use print::Printer;

/// Runs forge: the whole program.
pub fn main() -> ExitCode {
    let arguments = env::arguments();
    let printer = Printer::new(false, true);
    if let Some(done) = commands::internal::gate::run(&arguments) {
        return match done {
            Ok(shown) => printer.shown(&shown),
            Err(error) => printer.failed(&error, error.kind.exit_status()),
        };
    }
    if let Some(name) = commands::supervise::watched(&arguments) {
        journal::open(false, false, false);
        return match unconfigured().and_then(|context| commands::supervise::run_watching(&context, &name)) {
            Ok(shown) => printer.shown(&shown),
            Err(error) => printer.failed(&error, error.kind.exit_status()),
        };
    }
    env::hide_given_values();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return Printer::of_arguments().refused(&error),
    };
    let printer = Printer::new(cli.json, cli.quiet);
    journal::open(cli.verbose, printer.shows_progress(), !cli.quiet);
    let done = run(&cli, printer);
    journal::all_told();
    match done {
        Ok(shown) => {
            let status = printer.shown(&shown);
            if let Some(signal) = shown.signal {
                end_by(signal);
            }
            status
        }
        Err(error) => printer.failed(&error, status_of(cli.verb.as_ref(), &error)),
    }
}

/// The exit status for an error. What runs a command ends with that one's status, however short it ran,
/// and has one status for all errors of its own.
fn status_of(verb: Option<&Verb>, error: &Error) -> u8 {
    match verb {
        Some(Verb::Run(_)) => error.program_status.unwrap_or(commands::run::OWN_FAILURE),
        Some(Verb::Guard(arguments)) => arguments.status_of(error),
        _ => error.kind.exit_status(),
    }
}

/// Ends as the command did, for a shell that wants to know what Ctrl-C ended. Returns where that does
/// not work.
fn end_by(signal: i32) {
    if let Err(error) = emulate_default_handler(signal) {
        tracing::debug!("cannot end by signal {signal}: {error}");
    }
}

/// Runs the verb. What needs no configuration must not fail for a broken one.
fn run(cli: &Cli, printer: Printer) -> Result<Output> {
    let context = || Context::open(cli.config.as_deref());
    // What keeps a machine well, shows what runs, or ends what must end, goes on with a configuration that
    // cannot be used.
    let warned = || {
        let (context, error) = tolerant(cli.config.as_deref())?;
        if let Some(error) = &error {
            printer.warn(error);
        }
        Ok::<_, Error>((context, error))
    };
    let regardless = || warned().map(|(context, _)| context);
    let Some(verb) = &cli.verb else { return Ok(overview::show()) };
    match verb {
        Verb::Spawn(arguments) => commands::spawn::run(&context()?, arguments),
        Verb::Run(arguments) => commands::run::run(&context()?, arguments),
        Verb::Stop(arguments) => commands::stop::run(&regardless()?, arguments),
        Verb::Restart(arguments) => commands::restart::run(&context()?, arguments),
        Verb::Freeze(arguments) => commands::freeze::run(&regardless()?, arguments),
        Verb::Thaw(arguments) => commands::thaw::run(&regardless()?, arguments),
        Verb::List(arguments) => commands::list::run(&regardless()?, arguments),
        Verb::Status(arguments) => commands::status::run(&regardless()?, arguments),
        Verb::Logs(arguments) => commands::logs::run(&regardless()?, arguments, cli.json),
        Verb::Attach(arguments) => commands::attach::run(&regardless()?, arguments),
        Verb::Capture(arguments) => commands::capture::run(&regardless()?, arguments),
        Verb::Send(arguments) => commands::send::run(&regardless()?, arguments),
        Verb::Wait(arguments) => commands::wait::run(&regardless()?, arguments),
        Verb::Beat(arguments) => commands::beat::run(&regardless()?, arguments),
        Verb::Poke(arguments) => commands::poke::run(&context()?, arguments),
        Verb::Supervise(arguments) => {
            let (context, error) = warned()?;
            commands::supervise::run(&context, arguments, cli.config.as_deref(), error)
        }
        Verb::Sweep(arguments) => sweep(arguments, cli.config.as_deref(), printer),
        Verb::Probe(arguments) => {
            let (context, error) = tolerant(cli.config.as_deref())?;
            commands::probe::run(&context, arguments, error.as_ref())
        }
        Verb::Doctor(_) => commands::doctor::run(Paths::from_environment()?, cli.config.as_deref()),
        Verb::Save(arguments) => commands::save::run(&regardless()?, arguments),
        Verb::Restore(arguments) => {
            let (context, error) = warned()?;
            commands::restore::run(&context, arguments, error.as_ref())
        }
        Verb::Notify(arguments) => commands::notify::run(&context()?, arguments),
        Verb::Guard(arguments) => {
            let context = if arguments.needs_no_configuration() { unconfigured()? } else { context()? };
            commands::guard::run(&context, arguments, cli.config.as_deref(), cli.json)
        }
        Verb::Units(arguments) => commands::units::run(&unconfigured()?, arguments),
        Verb::Completions(arguments) => commands::completions::run(arguments, &Cli::command()),
        Verb::Man(arguments) => commands::man::run(arguments, Cli::command()),
        Verb::GuardKeeper(arguments) => commands::internal::guard_keeper::run(&unconfigured()?, arguments),
        Verb::GuardGone(arguments) => commands::internal::guard_cleanup::run(&unconfigured()?, arguments),
        Verb::PaneDied(arguments) => commands::internal::pane_died::run(&unconfigured()?, arguments),
        Verb::SupervisorGone(arguments) => {
            commands::internal::supervisor_exited::run(&unconfigured()?, arguments)
        }
    }
}

/// The context for what no configuration changes.
fn unconfigured() -> Result<Context> {
    Ok(Context::new(Paths::from_environment()?, Config::default()))
}

/// The context for what must go on with a configuration that cannot be used: without it, and with
/// the reason.
fn tolerant(file: Option<&Path>) -> Result<(Context, Option<Error>)> {
    let paths = Paths::from_environment()?;
    let (config, error) = match config::load(&paths.config, file) {
        Ok(config) => (config, None),
        // One that was named is wanted.
        Err(error) if file.is_some() => return Err(error),
        Err(error) => (Config::default(), Some(error)),
    };
    Ok((Context::new(paths, config), error))
}

/// A broken configuration never stops a sweep.
fn sweep(arguments: &commands::sweep::Args, file: Option<&Path>, printer: Printer) -> Result<Output> {
    let paths = Paths::from_environment()?;
    let (config, own_only) = match config::load(&paths.config, file) {
        Ok(config) => (config, false),
        Err(error) => {
            printer.warn(&error);
            if let Some(sweep) = config::salvage_sweep(&paths.config, file) {
                (Config { sweep, ..Config::default() }, false)
            } else {
                let why = "it is not known which sockets are protected, so only forge's own are swept";
                printer.warn(&Error::new(Kind::Config, why));
                (Config::default(), true)
            }
        }
    };
    commands::sweep::run(&Context::new(paths, config), arguments, own_only)
}
