//! What else runs: the sessions, the guarded commands. By the kernel's control groups and not by the
//! manager, which may be busy at the very moment that matters.

use crate::model::guard::unit_state::Guarded;
use crate::model::unit::{self, FORGE_SLICE};
use crate::sys::cgroup::Cgroup;
use crate::sys::proc;

/// What ran at some moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    /// The sessions, by their ids.
    pub(super) sessions: Vec<String>,
    /// The guarded commands, by their ids.
    pub(super) commands: Vec<String>,
}

/// Looks below the manager's control group.
pub(super) fn look(manager_group: &Cgroup) -> Surroundings {
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

/// The guarded commands in a group and below: those of a session are in its slice.
fn commands_in(group: &Cgroup) -> Vec<String> {
    let children = group.children();
    let below: Vec<String> = children.iter().flat_map(|name| commands_in(&group.child(name))).collect();
    let here = children.iter().filter_map(|name| unit::guard_of(name).map(ToOwned::to_owned));
    here.chain(below).collect()
}

/// What acts on units and processes.
const TOOLS: [&str; 9] =
    ["systemctl", "busctl", "gdbus", "dbus-send", "service", "kill", "pkill", "killall", "skill"];

/// Whether arguments name the unit, or its main process, and what acts on such: a bench of a unit names
/// it too, and any number may be a pid.
pub(super) fn act_on(arguments: &[String], unit: &Guarded, main_pid: u32) -> bool {
    let short = unit.unit.strip_suffix(".service").unwrap_or(&unit.unit);
    let pid = main_pid.to_string();
    let is_it = |word: &&str| *word == unit.unit || *word == short || (main_pid != 0 && *word == pid);
    let is_part_of_name = |c: char| c.is_alphanumeric() || "-_.@\\:".contains(c);
    let words: Vec<&str> =
        arguments.iter().flat_map(|argument| argument.split(|c| !is_part_of_name(c))).collect();
    words.iter().any(is_it) && words.iter().any(|word| TOOLS.contains(word))
}

/// The names of the group's processes that act on the unit, or its main process, by their arguments.
pub(super) fn acting_on(group: &Cgroup, unit: &Guarded, main_pid: u32) -> Vec<String> {
    let mut names: Vec<String> = group
        .processes()
        .into_iter()
        .filter(|pid| act_on(&proc::arguments(*pid), unit, main_pid))
        .map(proc::process_name)
        .collect();
    names.sort();
    names.dedup();
    names
}
