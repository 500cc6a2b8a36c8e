//! The sessions and guarded commands that run beside a guarded command. forge reads them from the kernel's
//! control groups and does not ask systemd, which may be busy at the moment of a disturbance.

use crate::model::guard::unit_state::Guarded;
use crate::model::unit::{self, FORGE_SLICE};
use crate::sys::cgroup::Cgroup;
use crate::sys::proc;

/// The sessions and guarded commands that ran at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    /// The ids of the sessions, sorted.
    pub(super) sessions: Vec<String>,
    /// The ids of the guarded commands, sorted.
    pub(super) commands: Vec<String>,
}

/// The sessions and guarded commands that run below the control group of the user's manager.
pub(super) fn surroundings(manager_group: &Cgroup) -> Surroundings {
    let forge = manager_group.child(FORGE_SLICE);
    let mut sessions: Vec<String> = forge
        .children()
        .iter()
        .filter_map(|name| unit::session_of_slice(name))
        .filter(|session| forge.child(&unit::slice(session)).is_populated().unwrap_or(true))
        .map(String::from)
        .collect();
    sessions.sort();
    let mut commands = commands_in(&forge);
    commands.sort();
    Surroundings { sessions, commands }
}

/// The guarded commands in a group and below it: a guarded command of a session is in the session's slice.
fn commands_in(group: &Cgroup) -> Vec<String> {
    let children = group.children();
    let below: Vec<String> = children.iter().flat_map(|name| commands_in(&group.child(name))).collect();
    let here = children.iter().filter_map(|name| unit::guard_of(name).map(ToOwned::to_owned));
    here.chain(below).collect()
}

/// The programs that act on units and processes.
const TOOLS: [&str; 9] =
    ["systemctl", "busctl", "gdbus", "dbus-send", "service", "kill", "pkill", "killall", "skill"];

/// Whether a command line names both the unit or its main process, and one of [`TOOLS`]. The unit alone is
/// not enough: a benchmark of the unit names the unit too, and any number may be a pid.
pub(super) fn names_tool_and_unit(arguments: &[String], unit: &Guarded, main_pid: u32) -> bool {
    let short = unit.unit.strip_suffix(".service").unwrap_or(&unit.unit);
    let pid = main_pid.to_string();
    let is_it = |word: &&str| *word == unit.unit || *word == short || (main_pid != 0 && *word == pid);
    let is_part_of_name = |c: char| c.is_alphanumeric() || "-_.@\\:".contains(c);
    let words: Vec<&str> =
        arguments.iter().flat_map(|argument| argument.split(|c| !is_part_of_name(c))).collect();
    words.iter().any(is_it) && words.iter().any(|word| TOOLS.contains(word))
}

/// The names of the group's processes whose command line acts on the unit or its main process; sorted,
/// without duplicates.
pub(super) fn acting_on(group: &Cgroup, unit: &Guarded, main_pid: u32) -> Vec<String> {
    let mut names: Vec<String> = group
        .processes()
        .into_iter()
        .filter(|pid| names_tool_and_unit(&proc::arguments(*pid), unit, main_pid))
        .map(proc::process_name)
        .collect();
    names.sort();
    names.dedup();
    names
}
