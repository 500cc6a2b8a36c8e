//! `forge gate-…`: the processes that wait behind a gate and become something else. Nobody types
//! these. They are read without the definition of the command line, since each spawn waits for two.

use std::ffi::OsString;

use crate::model::error::Result;
use crate::model::output::Output;
use crate::sys::gate::{self, GUARDED_VERB, PANE_VERB, SERVER_VERB};

/// Waits behind the gate, and becomes what is to be; `None` where the arguments are no such verb's.
pub fn run(arguments: &[OsString]) -> Option<Result<Output>> {
    let (verb, rest) = arguments.get(1..)?.split_first()?;
    let status = match (verb.to_str()?, rest) {
        (SERVER_VERB, [dashes, command @ ..]) if dashes == "--" => {
            gate::wait_then_exec_server(command).map(|never| match never {})
        }
        (PANE_VERB, [gate]) => gate::wait_then_exec_pane(gate.to_str()?),
        (GUARDED_VERB, [gate, dashes, command @ ..]) if dashes == "--" => {
            gate::wait_then_exec_guarded(gate.to_str()?, command)
        }
        _ => return None,
    };
    Some(status.map(|status| Output::default().exit(status)))
}
