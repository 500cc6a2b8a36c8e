//! Output on standard output and standard error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "only this module prints")]

use std::io::{ErrorKind as IoErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use comfy_table::{ContentArrangement, Table, TableStyle};
use serde_json::{Value, json};

use crate::model::error::{Error, Kind};
use crate::model::output::{Output, Piece, plain};
use crate::sys::{env, journal};

/// Prints for people, or JSON for bots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer {
    json: bool,
    quiet: bool,
}

impl Printer {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// A printer for a command line that clap rejected: finds out itself whether the user asked for JSON.
    pub(super) fn of_arguments() -> Self {
        let json = env::arguments()
            .into_iter()
            .skip(1)
            .take_while(|argument| argument != "--")
            .any(|argument| argument == "--json");
        Self { json, quiet: false }
    }

    /// Whether a person reads standard error, who wants to see progress.
    pub(super) fn shows_progress(self) -> bool {
        !self.json && !self.quiet && std::io::stderr().is_terminal()
    }

    /// Prints the result of a command, and returns its exit status.
    pub(super) fn print_output(self, output: &Output) -> ExitCode {
        match self.print(output) {
            // A reader that closed the pipe (`forge list | head -1`) is not an error.
            Err(error) if error.kind() != IoErrorKind::BrokenPipe && (self.json || !output.to_stderr) => {
                let error = Error::failed(format!("cannot print the result: {error}"));
                Self::write_error("", &error);
                ExitCode::from(if output.status == 0 { error.kind.exit_status() } else { output.status })
            }
            _ => ExitCode::from(output.status),
        }
    }

    fn print(self, output: &Output) -> std::io::Result<()> {
        if self.json {
            // A command without a result prints nothing.
            return if output.json == Value::Null { Ok(()) } else { out(&output.json.to_string()) };
        }
        if self.quiet && output.to_stderr {
            return Ok(());
        }
        for piece in &output.text {
            let print = if output.to_stderr { err } else { out };
            match piece {
                Piece::Raw(text) => print(text)?,
                Piece::Line(_) if self.quiet => {}
                Piece::Line(line) => print(line)?,
                Piece::Table { head, rows } => print(&table(head, rows))?,
            }
        }
        Ok(())
    }

    /// Prints an error: on stderr for people, and as JSON on stdout for bots.
    pub(super) fn print_error(self, error: &Error, status: u8) -> ExitCode {
        Self::write_error("", error);
        if self.json {
            let error = json!({ "kind": error.kind.word(), "message": error.message, "hint": error.hint });
            // stderr has the error too, so a closed stdout does not hide it.
            let _ = out(&json!({ "error": error }).to_string());
        }
        ExitCode::from(status)
    }

    /// Prints an error that does not stop the command.
    #[allow(clippy::unused_self, reason = "only a printer prints")]
    pub(super) fn warn(self, error: &Error) {
        Self::write_error("warning: ", error);
    }

    fn write_error(prefix: &str, error: &Error) {
        let mut stderr = std::io::stderr().lock();
        let (red, no_colour) =
            if stderr.is_terminal() && !env::no_color() { ("\u{1b}[31m", "\u{1b}[0m") } else { ("", "") };
        let message = if journal::is_stderr() { error.first_line() } else { &error.message };
        // A closed stderr must not change the result.
        let _ = writeln!(stderr, "{red}forge:{no_colour} {prefix}{}", plain(message));
        if let Some(hint) = &error.hint {
            let _ = writeln!(stderr, "hint: {}", plain(hint));
        }
    }

    /// Prints the help that the user asked for, or why clap rejected the command line.
    pub(super) fn print_refusal(self, refusal: &clap::Error) -> ExitCode {
        if matches!(refusal.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            let _ = refusal.print();
            return ExitCode::SUCCESS;
        }
        if refusal.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            // The command has subcommands: its help lists them.
            let error = Error::new(Kind::Usage, "a subcommand is missing")
                .hint("choose one of the subcommands below");
            let status = self.print_error(&error, Kind::Usage.exit_status());
            eprint!("\n{}", refusal.render());
            return status;
        }
        let text = refusal.render().to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or("the command line is not valid");
        let message = first.strip_prefix("error: ").unwrap_or(first).trim_end_matches(':');
        // clap lists missing arguments on the lines below.
        let missing: Vec<&str> = lines.clone().take_while(|line| line.starts_with(['<', '-'])).collect();
        let message =
            if missing.is_empty() { message.to_owned() } else { format!("{message}: {}", missing.join(" ")) };
        let hint = lines
            .find_map(|line| line.strip_prefix("hint: ").or_else(|| line.strip_prefix("tip: ")))
            .map_or_else(|| "see 'forge help'".to_owned(), ToOwned::to_owned);
        self.print_error(&Error::new(Kind::Usage, message).hint(hint), Kind::Usage.exit_status())
    }
}

fn out(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush())
}

fn err(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stderr().lock(), "{text}")
}

fn table(head: &[&'static str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(head.to_vec()).add_rows(rows.iter().cloned());
    // In a pipe each row is one line, whatever its width.
    table.set_content_arrangement(if std::io::stdout().is_terminal() {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    });
    // Remove the padding of the first column.
    let text = table.to_string();
    text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect::<Vec<_>>().join("\n")
}
