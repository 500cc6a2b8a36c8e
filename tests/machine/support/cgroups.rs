//! Control groups, their files and their processes.

use std::path::Path;

/// The path of a process's cgroup below `/sys/fs/cgroup`.
#[track_caller]
pub(crate) fn cgroup_of(pid: u32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process's cgroup");
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    path.expect("a cgroup of version 2").to_owned()
}

/// The path of the cgroup of a session's slice below `/sys/fs/cgroup`.
pub(crate) fn slice_of(name: &str) -> String {
    let slice = format!("forge-{}.slice", name.replace('-', "\\x2d"));
    format!("/user.slice/user-1000.slice/user@1000.service/forge.slice/{slice}")
}

/// The contents of a file of a cgroup.
#[track_caller]
pub(crate) fn cgroup_file(cgroup: &str, file: &str) -> String {
    let path = Path::new("/sys/fs/cgroup").join(cgroup.trim_start_matches('/')).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The value of a key in the text of such a file.
#[track_caller]
pub(crate) fn keyed(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {key} in: {text}"))
}

/// The processes in a cgroup and below it; empty if the cgroup does not exist.
pub(crate) fn processes_in(cgroup: &str) -> Vec<u32> {
    fn collect(folder: &Path, into: &mut Vec<u32>) {
        let procs = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        into.extend(procs.lines().filter_map(|line| line.parse::<u32>().ok()));
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                collect(&entry.path(), into);
            }
        }
    }
    let mut found = Vec::new();
    collect(&Path::new("/sys/fs/cgroup").join(cgroup.trim_start_matches('/')), &mut found);
    found
}
