//! Printing.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the room that prints")]

use std::io::{ErrorKind as IoErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use comfy_table::{ContentArrangement, Table, TableStyle};
use serde_json::{Value, json};

use crate::model::error::{Error, Kind};
use crate::model::output::{Output, Piece, plain};
use crate::sys::{env, journal};

/// How things are printed: for people, or for bots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer {
    json: bool,
    quiet: bool,
}

impl Printer {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// For a command line that could not be read: whether it asks for JSON can still be seen.
    pub(super) fn of_arguments() -> Self {
        let json = env::arguments()
            .into_iter()
            .skip(1)
            .take_while(|argument| argument != "--")
            .any(|argument| argument == "--json");
        Self { json, quiet: false }
    }

    /// Whether somebody watches who wants to know what takes so long.
    pub(super) fn shows_progress(self) -> bool {
        !self.json && !self.quiet && std::io::stderr().is_terminal()
    }

    /// Prints what a verb has to say.
    pub(super) fn print_output(self, shown: &Output) -> ExitCode {
        match self.print(shown) {
            // A reader that went away (`forge list | head -1`) is no error.
            Err(error) if error.kind() != IoErrorKind::BrokenPipe && (self.json || !shown.to_stderr) => {
                let error = Error::failed(format!("cannot print the result: {error}"));
                Self::tell("", &error);
                ExitCode::from(if shown.status == 0 { error.kind.exit_status() } else { shown.status })
            }
            _ => ExitCode::from(shown.status),
        }
    }

    fn print(self, shown: &Output) -> std::io::Result<()> {
        if self.json {
            // A verb without a result, such as a hidden one, prints nothing.
            return if shown.json == Value::Null { Ok(()) } else { out(&shown.json.to_string()) };
        }
        if self.quiet && shown.to_stderr {
            return Ok(());
        }
        for piece in &shown.text {
            let print = if shown.to_stderr { err } else { out };
            match piece {
                Piece::Raw(text) => print(text)?,
                Piece::Line(_) if self.quiet => {}
                Piece::Line(line) => print(line)?,
                Piece::Table { head, rows } => print(&table(head, rows))?,
            }
        }
        Ok(())
    }

    /// Prints an error: for people on stderr, for bots on stdout too.
    pub(super) fn print_error(self, error: &Error, status: u8) -> ExitCode {
        Self::tell("", error);
        if self.json {
            let error = json!({ "kind": error.kind.word(), "message": error.message, "hint": error.hint });
            // It is on stderr, too.
            let _ = out(&json!({ "error": error }).to_string());
        }
        ExitCode::from(status)
    }

    /// Prints an error that does not stop the work.
    #[allow(clippy::unused_self, reason = "printing is asked of a printer")]
    pub(super) fn warn(self, error: &Error) {
        Self::tell("warning: ", error);
    }

    fn tell(prefix: &str, error: &Error) {
        let mut stderr = std::io::stderr().lock();
        let (red, no_colour) =
            if stderr.is_terminal() && !env::no_color() { ("\u{1b}[31m", "\u{1b}[0m") } else { ("", "") };
        let mut message = error.message.as_str();
        if journal::is_stderr() {
            // What was on a screen may hold anything, and a journal keeps it.
            message = message.lines().next().unwrap_or_default();
        }
        // Nobody may be there to read it; that is no reason to fail otherwise.
        let _ = writeln!(stderr, "{red}forge:{no_colour} {prefix}{}", plain(message));
        if let Some(hint) = &error.hint {
            let _ = writeln!(stderr, "hint: {}", plain(hint));
        }
    }

    /// A command line that clap refused, or that asks for help.
    pub(super) fn print_refusal(self, refusal: &clap::Error) -> ExitCode {
        if matches!(refusal.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            let _ = refusal.print();
            return ExitCode::SUCCESS;
        }
        if refusal.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            // A verb with verbs of its own: its help names them.
            let error =
                Error::new(Kind::Usage, "what to do is missing").hint("the verb has commands of its own");
            let status = self.print_error(&error, Kind::Usage.exit_status());
            eprint!("\n{}", refusal.render());
            return status;
        }
        let text = refusal.render().to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or("the command line cannot be read");
        let message = first.strip_prefix("error: ").unwrap_or(first).trim_end_matches(':');
        // What is missing stands on the lines below.
        let missing: Vec<&str> = lines.clone().take_while(|line| line.starts_with(['<', '-'])).collect();
        let message =
            if missing.is_empty() { message.to_owned() } else { format!("{message}: {}", missing.join(" ")) };
        let hint = lines
            .find_map(|line| line.strip_prefix("hint: ").or_else(|| line.strip_prefix("tip: ")))
            .map_or_else(|| "see 'forge help'".to_owned(), ToOwned::to_owned);
        self.print_error(&Error::new(Kind::Usage, message).hint(hint), Kind::Usage.exit_status())
    }
}

/// One piece to stdout.
fn out(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush())
}

/// The same to stderr.
fn err(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stderr().lock(), "{text}")
}

fn table(head: &[&'static str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(head.to_vec()).add_rows(rows.iter().cloned());
    // Into a pipe each row is one line, whatever its width.
    table.set_content_arrangement(if std::io::stdout().is_terminal() {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    });
    // The first column needs no space before it.
    let text = table.to_string();
    text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect::<Vec<_>>().join("\n")
}
