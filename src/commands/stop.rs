//! `forge stop`

use std::time::Duration;

use serde_json::json;

use super::arguments::Which;
use super::{Command, CommandContext, ConfigPolicy};
use crate::model::error::{Error, Result};
use crate::model::output::Output;
use crate::model::time::span;
use crate::ops::session::{observe, stop};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge stop demo
  forge stop 'bridge-*' --timeout 20s        kill what still runs after 20 seconds
  forge stop --all")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Kill the processes that still run after this time (20, 20s, 1min), at most 80s
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = timeout)]
    timeout: Duration,
}

/// The longest timeout that the command accepts.
const LONGEST: Duration = Duration::from_secs(80);

fn timeout(text: &str) -> Result<Duration> {
    match span(text)? {
        span if span > LONGEST => Err(Error::usage(format!("'{text}' is longer than 80s"))),
        span => Ok(span),
    }
}

impl Command for Args {
    fn config(&self) -> ConfigPolicy {
        ConfigPolicy::Tolerated
    }

    fn run(&self, call: &CommandContext<'_>) -> Result<Output> {
        let context = call.context()?;
        let (found, kept) = observe::matching_or_kept(context, &self.which.patterns()?)?;
        let timeout = self.timeout;
        let mut stopped = stop::stop(context, &found, timeout)?;
        stopped.extend(stop::forget(context, &kept, timeout)?);
        let mut output = Output::new(&json!({ "stopped": stopped }));
        if stopped.is_empty() {
            output = output.line("no sessions to stop");
        }
        for one in &stopped {
            if one.processes == 0 {
                output = output.line(format!(
                    "stopped {}: it was not running, and forge will not restore it",
                    one.session
                ));
                continue;
            }
            let processes = if one.processes == 1 { "process" } else { "processes" };
            let killed = match one.killed {
                0 => String::new(),
                count => format!(", {count} of them killed"),
            };
            let outside = one.outside.iter().flatten();
            for line in outside.flat_map(|outside| outside.outlives(&one.session)) {
                output = output.line(line);
            }
            let left = match &one.outside {
                None => "nothing is left in its slice; the kernel does not say what it used outside",
                Some(outside) if !outside.is_empty() => "nothing is left in its slice",
                Some(_) => "nothing is left",
            };
            output = output.line(format!(
                "stopped {}: {} {processes} ended{killed}, {left} ({} ms)",
                one.session, one.processes, one.elapsed_ms
            ));
        }
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_at_most_80_seconds() {
        assert_eq!(timeout("10s").unwrap(), stop::TIMEOUT, "the default");
        assert_eq!(timeout("1min 20s").unwrap(), LONGEST);
        assert!(timeout("81").is_err());
    }
}
