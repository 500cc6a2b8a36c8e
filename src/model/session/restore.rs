//! The plan of a restore, and its results.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::name::SessionId;
use super::spec::{Keeper, Spec};

/// The step of a restore for one session.
#[derive(Debug, Clone, PartialEq)]
pub enum RestoreStep {
    /// Start the session as it ran before.
    Again(Box<Spec>),
    /// Start the session as it is configured.
    Configured {
        /// The specification on disk, if there is one. If the session was running, its working directory and
        /// its stored variables still count.
        before: Option<Box<Spec>>,
    },
    /// Do nothing, for this reason.
    Leave(&'static str),
    /// Delete the specification, because the program ended by itself before.
    Forget(Box<Spec>),
    /// Set the file of the specification aside, because forge cannot read it.
    SetAside {
        why: String,
        /// Whether to start the session as configured nevertheless.
        configured: bool,
    },
    /// Refuse, for this reason; the file stays.
    Refuse(String),
}

/// A specification on disk.
#[derive(Debug, Clone)]
pub enum Kept {
    Spec(Box<Spec>),
    /// Not a valid specification.
    Broken(String),
    /// Of another version of forge, or not readable now.
    Unusable(String),
}

/// The steps for the specifications on disk and for the configured sessions (with `true` for those with
/// `boot = true`), given the sessions that exist already.
pub fn plan(
    kept: BTreeMap<SessionId, Kept>,
    configured: &BTreeMap<SessionId, bool>,
    present: &BTreeSet<SessionId>,
) -> BTreeMap<SessionId, RestoreStep> {
    let mut steps = BTreeMap::new();
    for (id, kept) in kept {
        let is_there = present.contains(&id);
        let step = match kept {
            Kept::Broken(why) => RestoreStep::SetAside { why, configured: false },
            Kept::Unusable(why) => RestoreStep::Refuse(why),
            Kept::Spec(_) if is_there => RestoreStep::Leave("it exists already"),
            Kept::Spec(spec) if spec.keeper == Keeper::Caller => {
                RestoreStep::Leave("the caller of 'forge run' starts it again")
            }
            Kept::Spec(spec) if spec.over => RestoreStep::Forget(spec),
            Kept::Spec(spec) if spec.as_configured && configured.contains_key(&id) => {
                RestoreStep::Configured { before: Some(spec) }
            }
            Kept::Spec(spec) => RestoreStep::Again(spec),
        };
        steps.insert(id, step);
    }
    for (id, _) in configured.iter().filter(|(_, boot)| **boot) {
        if present.contains(id) {
            continue;
        }
        // boot = true starts the session even if it was stopped, has ended, or has a broken file.
        let step = match steps.remove(id) {
            None => RestoreStep::Configured { before: None },
            Some(RestoreStep::Forget(spec)) => RestoreStep::Configured { before: Some(spec) },
            Some(RestoreStep::SetAside { why, .. }) => RestoreStep::SetAside { why, configured: true },
            Some(other) => other,
        };
        steps.insert(id.clone(), step);
    }
    steps
}

/// One run of a user manager. A restore happens once in each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerLife {
    /// The boot id, `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// When the manager started, in microseconds since the boot. Without lingering one boot may have several
    /// managers: each login starts one, and the sessions end with the last one.
    pub manager_us: u64,
}

/// The results of the last restore.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Restored {
    pub life: ManagerLife,
    /// Microseconds since 1970.
    pub at_us: u64,
    pub restored: Vec<Again>,
    pub failed: Vec<Failed>,
    #[serde(default)]
    pub left: Vec<Left>,
}

/// A session that runs again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Again {
    pub session: SessionId,
    /// The id that the program was resumed with.
    pub resume_id: Option<String>,
    /// Why forge ran `command` although the session has a `resume` command.
    pub fresh: Option<String>,
    pub pane_pid: u32,
    pub elapsed_ms: u64,
}

/// A session that does not run again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failed {
    pub session: SessionId,
    /// The word of the error's kind.
    pub kind: String,
    pub error: String,
    /// The new path of its unreadable specification.
    pub set_aside: Option<PathBuf>,
}

/// A session that was left alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Left {
    pub session: SessionId,
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::session::command::Argv;
    use crate::model::session::limits::Limits;
    use crate::model::session::spec::VERSION;

    fn id(name: &str) -> SessionId {
        SessionId::from_name(name).unwrap()
    }

    fn spec(name: &str) -> Box<Spec> {
        Box::new(Spec {
            version: VERSION,
            session: id(name),
            command: Argv::new(vec!["sleep".into()]).unwrap(),
            agent: None,
            cwd: "/".into(),
            env: vec![],
            kept_env: vec![],
            ready: None,
            ready_is_agents: false,
            not_ready: None,
            asking: None,
            working: None,
            ready_timeout_s: 30,
            limits: Limits::default(),
            begin: None,
            resume: None,
            resume_id: None,
            agent_process: None,
            saved_id: None,
            reported_id: None,
            ports: vec![],
            fresh: false,
            keeper: Keeper::Forge,
            as_configured: false,
            over: false,
        })
    }

    #[test]
    fn each_session_has_its_step() {
        let kept = [
            ("adhoc", Kept::Spec(spec("adhoc"))),
            ("broken", Kept::Broken("half".into())),
            ("brokenboot", Kept::Broken("half".into())),
            ("ended", Kept::Spec(Box::new(Spec { over: true, ..*spec("ended") }))),
            ("endedboot", Kept::Spec(Box::new(Spec { over: true, ..*spec("endedboot") }))),
            ("here", Kept::Spec(spec("here"))),
            ("newer", Kept::Unusable("9".into())),
            ("plain", Kept::Spec(Box::new(Spec { as_configured: true, ..*spec("plain") }))),
            ("dropped", Kept::Spec(Box::new(Spec { as_configured: true, ..*spec("dropped") }))),
            ("run", Kept::Spec(Box::new(Spec { keeper: Keeper::Caller, ..*spec("run") }))),
        ];
        let configured = [
            ("boot", true),
            ("bootthere", true),
            ("brokenboot", true),
            ("endedboot", true),
            ("no", false),
            ("plain", false),
        ];
        let steps = plan(
            kept.into_iter().map(|(name, kept)| (id(name), kept)).collect(),
            &configured.into_iter().map(|(name, boot)| (id(name), boot)).collect(),
            &["here", "bootthere"].into_iter().map(id).collect(),
        );
        let planned: Vec<(String, String)> = steps
            .iter()
            .map(|(id, step)| {
                let word = match step {
                    RestoreStep::Again(_) => "again",
                    RestoreStep::Configured { before } => match before {
                        Some(before) if !before.over => "reconfigured",
                        _ => "configured",
                    },
                    RestoreStep::Leave(_) => "leave",
                    RestoreStep::Forget(_) => "forget",
                    RestoreStep::SetAside { configured: false, .. } => "aside",
                    RestoreStep::SetAside { configured: true, .. } => "aside, configured",
                    RestoreStep::Refuse(_) => "refuse",
                };
                (id.to_string(), word.to_owned())
            })
            .collect();
        let planned: Vec<(&str, &str)> =
            planned.iter().map(|(id, word)| (id.as_str(), word.as_str())).collect();
        assert_eq!(
            planned,
            [
                ("adhoc", "again"),
                ("boot", "configured"),
                ("broken", "aside"),
                ("brokenboot", "aside, configured"),
                ("dropped", "again"),
                ("ended", "forget"),
                ("endedboot", "configured"),
                ("here", "leave"),
                ("newer", "refuse"),
                ("plain", "reconfigured"),
                ("run", "leave"),
            ]
        );
    }
}
