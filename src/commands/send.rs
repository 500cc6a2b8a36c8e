//! `forge send`

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, FromArgMatches};
use serde_json::Value;

use super::arguments::{self, TYPING, WAITING};
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Error, Kind, Result};
use crate::model::output::Output;
use crate::model::screen::typing::{self, Part, Request, Sent, TextFate};
use crate::model::session::name::SessionId;
use crate::model::time::span;
use crate::ops::session::observe;
use crate::ops::session::send::send;
use crate::ops::session::send::turn::Turn;
use crate::sys::clock::Deadline;
use crate::sys::files;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge send agent 'go on'
  forge send agent --file task.md                 type a long text and keep its line breaks
  forge send agent --wait=10min 'run the tests'   print what the program answers
  forge send agent --key Escape --key Up          press keys, with tmux's names for them

forge presses Enter once the text appears in the input line of the program, and never while the
session's 'asking' pattern shows a question. The result is one of:
  submitted     the text has left the input line
  typed         the text is in the input line (exit status 4 if forge pressed Enter)
  unconfirmed   the program shows nothing of the text, as at a password prompt")]
#[allow(clippy::struct_excessive_bools, reason = "options of a command line")]
pub struct Args {
    /// Name of the session
    name: String,
    #[command(flatten)]
    typed: TypedArgs,
    /// Type the contents of this file, at most 1 MiB
    #[arg(long, value_name = "FILE", conflicts_with = "text", help_heading = TYPING)]
    file: Option<PathBuf>,
    /// Press Enter after each line
    #[arg(long, conflicts_with = "no_enter", help_heading = TYPING)]
    lines: bool,
    /// Type even if the program asks a question
    #[arg(long, help_heading = TYPING)]
    answer: bool,
    /// Type without checking whether the program reads or shows the text
    #[arg(long, help_heading = TYPING)]
    blind: bool,
    /// Do not press Enter after the text
    #[arg(long, help_heading = TYPING)]
    no_enter: bool,
    /// Clear the input line first
    #[arg(long, help_heading = TYPING)]
    replace_input: bool,
    /// Wait until the program has finished its turn, at most this long (90, 90s, 10min), and print what it
    /// added to the screen
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = span_or_forever,
          default_missing_value = "", help_heading = WAITING)]
    wait: Option<Duration>,
}

/// A text and keys, in the order of the command line.
#[derive(Debug)]
struct TypedArgs {
    before: Vec<String>,
    text: Option<String>,
    after: Vec<String>,
}

impl clap::Args for TypedArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
            .arg(
                Arg::new("text")
                    .value_name("TEXT")
                    .help("Text to type; '-' reads standard input. Put '--' before a text that begins with '-'"),
            )
            .arg(
                Arg::new("key")
                    .long("key")
                    .value_name("KEY")
                    .action(ArgAction::Append)
                    .help_heading(TYPING)
                    .help(
                        "Press a key (Escape, C-c, Up, BTab, F1 …), before or after the text as on the command \
                         line (repeatable). If a key follows the text, forge does not press Enter",
                    ),
            )
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for TypedArgs {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let text_at = matches.index_of("text");
        let keys = matches.get_many::<String>("key").into_iter().flatten().cloned();
        let places = matches.indices_of("key").into_iter().flatten();
        let (before, after): (Vec<_>, Vec<_>) =
            keys.zip(places).partition(|(_, at)| text_at.is_none_or(|text_at| *at < text_at));
        let names = |keys: Vec<(String, usize)>| keys.into_iter().map(|(key, _)| key).collect();
        Ok(Self {
            before: names(before),
            text: matches.get_one::<String>("text").cloned(),
            after: names(after),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A time span; without one, no limit.
fn span_or_forever(text: &str) -> std::result::Result<Duration, Error> {
    if text.is_empty() { Ok(Duration::MAX) } else { span(text) }
}

impl Args {
    /// The text and keys to type.
    fn request(&self) -> Result<Request> {
        let given = |path: Option<&Path>| {
            let name = path.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
            String::from_utf8(files::read_given(path, typing::LONGEST)?)
                .map_err(|_| Error::usage(format!("{name} is not valid UTF-8")))
        };
        let text = match (&self.typed.text, &self.file) {
            (Some(text), _) if text == "-" => Some(given(None)?),
            (Some(text), _) => Some(text.clone()),
            (None, Some(file)) => Some(given(Some(file))?),
            (None, None) => None,
        };
        let TypedArgs { before, after, .. } = &self.typed;
        if text.is_none() && before.is_empty() {
            return Err(Error::usage("nothing to type: give a text or a key")
                .hint("forge send NAME 'text', or forge send NAME --key Enter"));
        }
        let text = text.map(|text| typing::text(&text)).transpose()?;
        let keys = |names: &[String]| -> Result<Vec<Part>> {
            names.iter().map(|name| Ok(Part::Key(typing::key(name)?))).collect()
        };
        let (before, last) = (keys(before)?, keys(after)?);
        Ok(Request {
            enter: text.is_some() && !self.no_enter && last.is_empty(),
            parts: [before, text.map(Part::Text).into_iter().collect(), last].concat(),
            lines: self.lines,
            answer: self.answer,
            blind: self.blind,
            replace_input: self.replace_input,
        })
    }
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let id = arguments::session(&self.name)?;
        let request = self.request()?;
        let found = observe::existing(context, &id)?;
        let mark = found.mark()?;
        let turn =
            self.wait.map(|limit| Turn::begin(context, &id, mark).map(|turn| (turn, limit))).transpose()?;
        let sent = send(context, &id, mark, &request)?;
        let mut json = sent.json(id.as_str(), request.enter);
        let mut output = Output::new(&json).line(result_line(&id, &sent));
        if sent.stands_still {
            return Ok(output.exit(Kind::Deadline.exit_status()));
        }
        if let Some((turn, limit)) = turn {
            let added = turn.end(Deadline::after(limit))?;
            json["output"] = Value::from(added.as_str());
            output = Output::new(&json).raw(added);
        }
        Ok(output)
    }
}

/// A line about the fate of the text, with the next step where there is one.
fn result_line(id: &SessionId, sent: &Sent) -> String {
    let bytes = sent.bytes;
    match (sent.fate, sent.stands_still) {
        (TextFate::Submitted, _) => format!("{id} has the text ({bytes} bytes)"),
        (TextFate::Typed, true) => format!(
            "{bytes} bytes are still in the input line of {id} after forge pressed Enter {}; 'forge capture {id}' \
             shows the screen",
            if sent.attempts == 1 { "once" } else { "twice" }
        ),
        (TextFate::Typed, false) if bytes == 0 => format!("pressed the keys in {id}"),
        (TextFate::Typed, false) => format!("typed {bytes} bytes into {id}, without Enter"),
        (TextFate::Unconfirmed, _) => {
            format!("typed {bytes} bytes into {id}; the screen shows nothing of the text")
        }
    }
}
