//! The command line: read here, and what comes of it printed here and nowhere else.

mod args;
mod overview;
mod print;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::acts::World;
use crate::hands::config::{self, Config};
use crate::hands::paths::Paths;
use crate::hands::journal;
use crate::verbs;
use crate::words::error::{Error, Kind, Result};
use crate::words::shown::Shown;
use args::{Cli, Verb};
use print::Printer;

/// Runs forge: the whole program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return Printer::of_arguments().refused(&error),
    };
    let printer = Printer::new(cli.json, cli.quiet);
    journal::open(cli.verbose);
    match run(cli, &printer) {
        Ok(shown) => printer.shown(&shown),
        Err((error, status)) => printer.failed(&error, status),
    }
}

/// Runs the verb. With an error comes the exit status: `run` has its own for all of them.
fn run(cli: Cli, printer: &Printer) -> std::result::Result<Shown, (Error, u8)> {
    let own = |error: Error| {
        let status = error.kind.exit_status();
        (error, status)
    };
    let Some(verb) = cli.verb else { return Ok(overview::show()) };
    match verb {
        // These need no configuration, and must not fail for a broken one.
        Verb::GateServer(arguments) => verbs::gate_server::run(&arguments).map_err(own),
        Verb::GatePane(arguments) => verbs::gate_pane::run(&arguments).map_err(own),
        Verb::Completions(arguments) => verbs::completions::run(&arguments, Cli::command()).map_err(own),
        Verb::Man(arguments) => verbs::man::run(&arguments, Cli::command()).map_err(own),
        Verb::PaneDied(arguments) => {
            let world = Paths::from_environment().map(|paths| World::with(paths, Config::default()));
            world.and_then(|world| verbs::pane_died::run(&world, &arguments)).map_err(own)
        }
        Verb::Sweep(arguments) => sweep(&arguments, cli.config.as_deref(), printer).map_err(own),
        Verb::Run(arguments) => World::open(cli.config.as_deref())
            .and_then(|world| verbs::run::run(&world, &arguments))
            .map_err(|error| (error, 125)),
        verb => World::open(cli.config.as_deref()).and_then(|world| in_world(&world, verb, cli.json)).map_err(own),
    }
}

fn in_world(world: &World, verb: Verb, json: bool) -> Result<Shown> {
    match verb {
        Verb::Spawn(arguments) => verbs::spawn::run(world, &arguments),
        Verb::Stop(arguments) => verbs::stop::run(world, &arguments),
        Verb::Restart(arguments) => verbs::restart::run(world, &arguments),
        Verb::Freeze(arguments) => verbs::freeze::run(world, &arguments),
        Verb::Thaw(arguments) => verbs::thaw::run(world, &arguments),
        Verb::List(arguments) => verbs::list::run(world, &arguments),
        Verb::Status(arguments) => verbs::status::run(world, &arguments),
        Verb::Logs(arguments) => verbs::logs::run(world, &arguments, json),
        Verb::Attach(arguments) => verbs::attach::run(world, &arguments),
        Verb::Capture(arguments) => verbs::capture::run(world, &arguments),
        Verb::Send(arguments) => verbs::send::run(world, &arguments),
        Verb::Wait(arguments) => verbs::wait::run(world, &arguments),
        Verb::Run(_)
        | Verb::Sweep(_)
        | Verb::Completions(_)
        | Verb::Man(_)
        | Verb::GateServer(_)
        | Verb::GatePane(_)
        | Verb::PaneDied(_) => Err(Error::new(Kind::Failed, "this verb needs no world")),
    }
}

/// A broken configuration never stops a sweep.
fn sweep(arguments: &verbs::sweep::Args, file: Option<&Path>, printer: &Printer) -> Result<Shown> {
    let paths = Paths::from_environment()?;
    let (config, own_only) = match config::load(&paths.config, file) {
        Ok(config) => (config, false),
        Err(error) => {
            printer.warn(&error);
            match config::salvage_sweep(&paths.config, file) {
                Some(sweep) => (Config { sweep, ..Config::default() }, false),
                None => {
                    let why = "it is not known which sockets are protected, so only forge's own are swept";
                    printer.warn(&Error::new(Kind::Config, why));
                    (Config::default(), true)
                }
            }
        }
    };
    verbs::sweep::run(&World::with(paths, config), arguments, own_only)
}
