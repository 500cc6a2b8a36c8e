//! `forge guard-keeper`, hidden: waits until a guard is gone.

use crate::model::error::Result;
use crate::model::output::Output;
use crate::ops::Context;
use crate::ops::guard::cleanup::{self, Who};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    slice: String,
    pid: u32,
    start: u64,
}

/// Waits.
///
/// # Errors
/// When the guard cannot be watched.
pub fn run(context: &Context, arguments: &Args) -> Result<Output> {
    let Args { slice, pid, start } = arguments;
    cleanup::wait_for_guard(context, slice, Who { pid: *pid, start: *start })?;
    Ok(Output::default())
}
