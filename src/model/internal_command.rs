//! The arguments of the hidden commands. forge, systemd and tmux run these commands; people do not.
//!
//! tmux servers that already run, and installed unit files, contain these command lines. So the words and their
//! order must not change.

use std::ffi::OsString;

use super::process::ProcessId;

const GATE_SERVER: &str = "gate-server";
const GATE_PANE: &str = "gate-pane";
const GATE_GUARDED: &str = "gate-guarded";
const GUARD_KEEPER: &str = "guard-keeper";
const GUARD_GONE: &str = "guard-gone";
const LEAVE_CHILDREN: &str = "--leave-children";
const PANE_DIED: &str = "pane-died";
const SUPERVISOR_GONE: &str = "supervisor-gone";
const PAUSE: &str = "--pause";
const QUIET: &str = "--quiet";

/// A hidden command with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InternalCommand {
    /// Waits on standard input, then becomes the session's tmux.
    GateServer { command: Vec<OsString> },
    /// Waits at the gate of this name (`sys::gate`), then becomes the session's program.
    GatePane { gate: String },
    /// Waits at the gate of this name, then becomes the guarded command.
    GateGuarded { gate: String, command: Vec<OsString> },
    /// Watches a session, as the second half of its supervisor.
    SuperviseWatch { session: String },
    /// Waits until the guard has ended.
    GuardKeeper { slice: String, guard: ProcessId },
    /// Cleans up after a guard, from the `ExecStopPost=` of its keeper.
    GuardGone { slice: String, guard: ProcessId, command: ProcessId, leave_children: bool },
    /// Cleans up after `forge-guard-watch.service`, from its `ExecStopPost=`.
    WatchGone,
    /// Ends a session whose program ended, from the `pane-died` hook of its tmux server.
    PaneDied { session: String },
    /// Cleans up after a supervisor: from the `ExecStopPost=` of `forge-spawn@.service`, or, `in_pause`, from
    /// the `ExecStop=` of the unit that forge starts for the pause between two runs of that service.
    SupervisorExited { session: String, in_pause: bool },
}

impl InternalCommand {
    /// The arguments that follow the program's name.
    pub fn arguments(&self) -> Vec<OsString> {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        match self {
            Self::GateServer { command } => [&words(&[GATE_SERVER, "--"]), &command[..]].concat(),
            Self::GatePane { gate } => words(&[GATE_PANE, gate]),
            Self::GateGuarded { gate, command } => {
                [&words(&[GATE_GUARDED, gate, "--"]), &command[..]].concat()
            }
            Self::SuperviseWatch { session } => words(&["supervise", "--watch", session]),
            Self::GuardKeeper { slice, guard } => {
                [words(&[QUIET, GUARD_KEEPER, slice]), numbers(*guard)].concat()
            }
            Self::GuardGone { slice, guard, command, leave_children } => {
                let leave = leave_children.then_some(LEAVE_CHILDREN);
                [
                    words(&[QUIET, GUARD_GONE, "command", slice]),
                    numbers(*guard),
                    numbers(*command),
                    words(leave.as_slice()),
                ]
                .concat()
            }
            Self::WatchGone => words(&[QUIET, GUARD_GONE, "watch"]),
            Self::PaneDied { session } => words(&[PANE_DIED, session]),
            Self::SupervisorExited { session, in_pause: false } => words(&[QUIET, SUPERVISOR_GONE, session]),
            Self::SupervisorExited { session, in_pause: true } => {
                words(&[QUIET, SUPERVISOR_GONE, PAUSE, session])
            }
        }
    }

    /// The same, for callers that pass text. Only the commands that a gate holds can have arguments that are
    /// not UTF-8, and those callers use [`Self::arguments`].
    pub fn words(&self) -> Vec<String> {
        self.arguments().iter().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    /// Parses the arguments that follow the program's name. `None` means that they are not a hidden command's.
    pub fn parse(arguments: &[OsString]) -> Option<Self> {
        match arguments {
            [word, dashes, command @ ..] if word == GATE_SERVER && dashes == "--" => {
                return Some(Self::GateServer { command: command.to_vec() });
            }
            [word, gate, dashes, command @ ..] if word == GATE_GUARDED && dashes == "--" => {
                return Some(Self::GateGuarded {
                    gate: gate.to_str()?.to_owned(),
                    command: command.to_vec(),
                });
            }
            _ => {}
        }
        // No hidden command that is left has more words than this.
        if arguments.len() > 9 {
            return None;
        }
        let words: Vec<&str> = arguments.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
        Some(match *words.strip_prefix(&[QUIET]).unwrap_or(&words) {
            [GATE_PANE, gate] => Self::GatePane { gate: gate.to_owned() },
            ["supervise", "--watch", session] => Self::SuperviseWatch { session: session.to_owned() },
            [GUARD_KEEPER, slice, pid, start] => {
                Self::GuardKeeper { slice: slice.to_owned(), guard: process(pid, start)? }
            }
            [GUARD_GONE, "command", slice, guard, guard_start, command, command_start, ref options @ ..]
                if options.is_empty() || options == [LEAVE_CHILDREN] =>
            {
                Self::GuardGone {
                    slice: slice.to_owned(),
                    guard: process(guard, guard_start)?,
                    command: process(command, command_start)?,
                    leave_children: !options.is_empty(),
                }
            }
            [GUARD_GONE, "watch"] => Self::WatchGone,
            [PANE_DIED, session] => Self::PaneDied { session: session.to_owned() },
            [SUPERVISOR_GONE, session] => {
                Self::SupervisorExited { session: session.to_owned(), in_pause: false }
            }
            [SUPERVISOR_GONE, PAUSE, session] => {
                Self::SupervisorExited { session: session.to_owned(), in_pause: true }
            }
            _ => return None,
        })
    }
}

/// A process in arguments: its pid and its start.
fn numbers(process: ProcessId) -> Vec<OsString> {
    vec![process.pid.to_string().into(), process.start.to_string().into()]
}

fn process(pid: &str, start: &str) -> Option<ProcessId> {
    Some(ProcessId { pid: pid.parse().ok()?, start: start.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn name(text: &str) -> String {
        text.to_owned()
    }

    /// Each command, and the line that running systems and unit files have.
    fn known() -> Vec<(InternalCommand, &'static str)> {
        let gone = |leave_children| InternalCommand::GuardGone {
            slice: name("forge-guard-x.slice"),
            guard: ProcessId { pid: 7, start: 70 },
            command: ProcessId { pid: 8, start: 80 },
            leave_children,
        };
        let exited = |in_pause| InternalCommand::SupervisorExited { session: name("web"), in_pause };
        let keeper = InternalCommand::GuardKeeper {
            slice: name("forge-guard-x.slice"),
            guard: ProcessId { pid: 7, start: u64::MAX },
        };
        let command = || vec!["make".into(), "--quiet".into()];
        vec![
            (InternalCommand::GateServer { command: command() }, "gate-server -- make --quiet"),
            (InternalCommand::GatePane { gate: name("forge/1/2/0") }, "gate-pane forge/1/2/0"),
            (
                InternalCommand::GateGuarded { gate: name("forge/1/2/0"), command: command() },
                "gate-guarded forge/1/2/0 -- make --quiet",
            ),
            (InternalCommand::SuperviseWatch { session: name("web") }, "supervise --watch web"),
            (keeper, "--quiet guard-keeper forge-guard-x.slice 7 18446744073709551615"),
            (gone(false), "--quiet guard-gone command forge-guard-x.slice 7 70 8 80"),
            (gone(true), "--quiet guard-gone command forge-guard-x.slice 7 70 8 80 --leave-children"),
            (InternalCommand::WatchGone, "--quiet guard-gone watch"),
            (InternalCommand::PaneDied { session: name("web") }, "pane-died web"),
            (exited(false), "--quiet supervisor-gone web"),
            (exited(true), "--quiet supervisor-gone --pause web"),
        ]
    }

    #[test]
    fn a_hidden_command_survives_a_round_trip() {
        for (command, line) in known() {
            assert_eq!(command.words().join(" "), line);
            assert_eq!(InternalCommand::parse(&command.arguments()), Some(command), "{line}");
        }
    }

    #[test]
    fn unit_files_call_existing_hidden_commands() {
        for (unit, hidden) in [
            (include_str!("../../units/user/forge-spawn@.service"), "supervisor-gone"),
            (include_str!("../../units/user/forge-guard-watch.service"), "guard-gone"),
        ] {
            let line = unit.lines().find(|line| line.contains(hidden)).unwrap();
            let words: Vec<_> = line.split(' ').skip(1).map(OsString::from).collect();
            assert!(InternalCommand::parse(&words).is_some(), "{line}");
        }
    }

    #[test]
    fn a_gate_passes_arguments_that_are_not_utf8() {
        let command = vec![OsString::from_vec(vec![0xff]), "--".into()];
        for command in [
            InternalCommand::GateServer { command: command.clone() },
            InternalCommand::GateGuarded { gate: name("x"), command },
        ] {
            assert_eq!(InternalCommand::parse(&command.arguments()), Some(command));
        }
    }

    #[test]
    fn other_arguments_are_not_a_hidden_command() {
        for line in [
            "",
            "list",
            "supervise web",
            "supervise --watch",
            "guard-keeper x 7",
            "guard-keeper x seven 70",
            "guard-gone command x 7 70 8 80 --other",
            "pane-died",
            "pane-died web more",
            "gate-server make",
        ] {
            let arguments: Vec<_> = line.split_whitespace().map(OsString::from).collect();
            assert_eq!(InternalCommand::parse(&arguments), None, "{line}");
        }
    }
}
