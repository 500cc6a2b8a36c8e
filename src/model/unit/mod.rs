//! The names of a session's units and socket, and of a guarded command's units.

pub mod files;
pub mod graph;

use std::path::Path;

use libsystemd::unit::escape_name;

use crate::model::session::name::SessionId;

/// The parent of all slices of forge.
pub const FORGE_SLICE: &str = "forge.slice";

/// Matches the scopes of all sessions.
pub const SCOPE_PATTERN: &str = "forge-spawn-*.scope";

/// Matches the slices of all sessions.
pub const SLICE_PATTERN: &str = "forge-*.slice";

/// Matches the supervisors of all sessions.
pub const SERVICE_PATTERN: &str = "forge-spawn@*.service";

/// The parent of the slices of guarded commands.
pub const GUARD_SLICE: &str = "forge-guard.slice";

pub fn guard_scope(id: &str) -> String {
    format!("forge-guard-{id}.scope")
}

/// The service that cleans up after a guarded command whose guard ended early.
pub fn guard_keeper(id: &str) -> String {
    format!("forge-guard-{id}.service")
}

/// The id of a guarded command: the pid of its guard and a time in milliseconds since the boot.
pub fn guard_id(pid: u32, ms: u64) -> String {
    format!("{pid}_{ms}")
}

/// The slice of a guarded command. It contains every process that the command starts. Its parent is the
/// innermost slice of forge that the guard runs in, so that the limits of a session or of an outer guarded
/// command apply to the inner one too; without such a slice the parent is [`GUARD_SLICE`].
pub fn guard_slice(id: &str, guards_cgroup: &str) -> String {
    let above = format!("/{FORGE_SLICE}/");
    let inside = guards_cgroup.split_once(&above).map_or("", |(_, inside)| inside);
    let slices = inside.split('/').take_while(|part| part.starts_with("forge-"));
    let above = slices.filter_map(|part| part.strip_suffix(".slice")).last();
    format!("{}-{id}.slice", above.unwrap_or("forge-guard"))
}

/// The id in the name of a guarded command's scope or keeper.
pub fn guard_of(unit: &str) -> Option<&str> {
    let id = unit.strip_prefix("forge-guard-")?;
    is_guard_id(id.strip_suffix(".scope").or_else(|| id.strip_suffix(".service"))?)
}

/// The id in the name of a guarded command's slice.
pub fn guard_of_slice(unit: &str) -> Option<&str> {
    let (above, id) = unit.strip_suffix(".slice")?.rsplit_once('-')?;
    is_guard_id(id).filter(|_| above.starts_with("forge-"))
}

fn is_guard_id(text: &str) -> Option<&str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('_').filter(|(pid, ms)| is_number(pid) && is_number(ms)).map(|_| text)
}

/// The path of a slice's control group below that of its manager: each `-` in the name of a slice is one level
/// (systemd.slice(5)).
pub fn path_of_slice(slice: &str) -> String {
    let name = slice.strip_suffix(".slice").unwrap_or(slice);
    let steps = name.match_indices('-').map(|(at, _)| &name[..at]).chain([name]);
    steps.map(|step| format!("{step}.slice")).collect::<Vec<_>>().join("/")
}

/// The slice of a session. It contains every process that the session starts, also in the panes that tmux
/// moves to scopes of their own. A `-` in the id is escaped, because it means "child of" in a slice's name.
pub fn slice(id: &SessionId) -> String {
    format!("forge-{}.slice", escape_name(id.as_str()))
}

/// The scope of a session's tmux server. Its name is the lock: systemd accepts it only once.
pub fn scope(id: &SessionId) -> String {
    format!("forge-spawn-{id}.scope")
}

pub fn service(id: &SessionId) -> String {
    format!("forge-spawn@{id}.service")
}

/// The service that notices a stop of the supervisor's service while no supervisor runs.
pub fn pause(id: &SessionId) -> String {
    format!("forge-pause-{id}.service")
}

/// The service that sends the notice of a question.
pub fn asking(id: &SessionId) -> String {
    format!("forge-asking-{id}.service")
}

/// The service that sends the notice of a crash.
pub fn crashed(id: &SessionId) -> String {
    format!("forge-crashed-{id}.service")
}

/// The service that sends the notice of a turn's end.
pub fn done(id: &SessionId) -> String {
    format!("forge-done-{id}.service")
}

/// A pattern for systemd that matches this unit only: systemd reads `\\x2d` in a pattern as `x2d`.
pub fn pattern(unit: &str) -> String {
    unit.replace('\\', "\\\\")
}

/// The name of the socket, for `tmux -L`.
pub fn socket(id: &SessionId) -> String {
    format!("spawn-{id}")
}

/// The session of a socket's name.
pub fn session_of_socket(name: &str) -> Option<SessionId> {
    SessionId::try_from(name.strip_prefix("spawn-")?.to_owned()).ok()
}

/// The session of a scope's name.
pub fn session_of_scope(unit: &str) -> Option<SessionId> {
    let id = unit.strip_prefix("forge-spawn-")?.strip_suffix(".scope")?;
    SessionId::try_from(id.to_owned()).ok()
}

/// The session of a slice's name.
pub fn session_of_slice(unit: &str) -> Option<SessionId> {
    let id = unit.strip_prefix("forge-")?.strip_suffix(".slice")?.replace("\\x2d", "-");
    SessionId::try_from(id).ok().filter(|id| slice(id) == unit)
}

/// The session of a supervisor's service.
pub fn session_of_service(unit: &str) -> Option<SessionId> {
    let id = unit.strip_prefix("forge-spawn@")?.strip_suffix(".service")?;
    SessionId::try_from(id.to_owned()).ok()
}

/// The session that contains this cgroup (a path as in `/proc/PID/cgroup`).
pub fn session_of_cgroup(path: &str) -> Option<SessionId> {
    slice_of_cgroup(path).map(|(session, _)| session)
}

/// The session that contains this cgroup, and the path of the session's slice.
pub fn slice_of_cgroup(path: &str) -> Option<(SessionId, &str)> {
    let above = format!("/{FORGE_SLICE}/");
    let start = path.find(&above)? + above.len();
    let end = path[start..].find('/').map_or(path.len(), |length| start + length);
    Some((session_of_slice(&path[start..end])?, &path[..end]))
}

/// The innermost service or scope of a cgroup. Below it, a service may have control groups of its own.
pub fn innermost(path: &str) -> Option<&str> {
    let is_unit =
        |part: &&str| Path::new(part).extension().is_some_and(|kind| kind == "service" || kind == "scope");
    path.rsplit('/').find(is_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_to_their_session() {
        for name in ["demo", "my-agent", "a_b", "x-y-z"] {
            let id = SessionId::from_name(name).unwrap();
            assert_eq!(session_of_slice(&slice(&id)), Some(id.clone()));
            assert_eq!(session_of_scope(&scope(&id)), Some(id.clone()));
            assert_eq!(session_of_service(&service(&id)), Some(id.clone()));
            assert_eq!(session_of_socket(&socket(&id)), Some(id.clone()));
        }
    }

    #[test]
    fn a_dash_is_escaped_in_the_slice_only() {
        let id = SessionId::from_name("my-agent").unwrap();
        assert_eq!(slice(&id), "forge-my\\x2dagent.slice");
        assert_eq!(scope(&id), "forge-spawn-my-agent.scope");
    }

    #[test]
    fn a_pattern_matches_an_escaped_name() {
        let id = SessionId::from_name("my-agent").unwrap();
        assert_eq!(pattern(&slice(&id)), r"forge-my\\x2dagent.slice");
        assert_eq!(pattern(&scope(&id)), scope(&id));
    }

    #[test]
    fn names_of_guarded_commands_are_not_names_of_sessions() {
        let id = guard_id(7, 12);
        assert_eq!(guard_of(&guard_scope(&id)), Some("7_12"));
        assert_eq!(guard_of(&guard_keeper(&id)), Some("7_12"));
        let manager = "/user.slice/user-1000.slice/user@1000.service";
        let slice = |below: &str| guard_slice(&id, &format!("{manager}{below}"));
        assert_eq!(slice("/app.slice/x.service"), "forge-guard-7_12.slice");
        assert_eq!(slice("/forge.slice/forge-a\\x2db.slice/tmux-spawn-1.scope"), "forge-a\\x2db-7_12.slice");
        let outer = "/forge.slice/forge-guard.slice/forge-guard-3_4.slice/forge-guard-3_4.scope";
        assert_eq!(slice(outer), "forge-guard-3_4-7_12.slice");
        for below in ["/app.slice", "/forge.slice/forge-a\\x2db.slice/y.scope", outer] {
            let slice = slice(below);
            assert_eq!((guard_of_slice(&slice), session_of_slice(&slice)), (Some("7_12"), None));
        }
        assert_eq!(guard_of_slice("forge-7_12.slice"), None, "that is a session's");
        assert_eq!(
            path_of_slice(&slice(outer)),
            "forge.slice/forge-guard.slice/forge-guard-3_4.slice/forge-guard-3_4-7_12.slice"
        );
        assert_eq!(guard_of("forge-guard-watch.service"), None);
        assert_eq!(session_of_slice(GUARD_SLICE), None);
        assert_eq!(session_of_cgroup("/user@1000.service/forge.slice/forge-guard.slice/x.scope"), None);
    }

    #[test]
    fn the_session_of_a_cgroup_is_found() {
        let path = "/user.slice/user-1000.slice/user@1000.service/forge.slice/forge-a\\x2db.slice/tmux-spawn-1.scope";
        let (session, slice) = slice_of_cgroup(path).unwrap();
        assert_eq!(session.as_str(), "a-b");
        assert_eq!(format!("{slice}/tmux-spawn-1.scope"), path);
        assert_eq!(slice_of_cgroup(slice), Some((session, slice)));
        assert_eq!(session_of_cgroup("/user.slice/forge-a.slice"), None);
        assert_eq!(session_of_cgroup("/forge.slice/forge-a-b.slice"), None);
    }
}
