//! What a restore will do, decided before it does anything; and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::name::SessionId;
use super::spec::{Keeper, Spec};

/// What is to be done about one session.
#[derive(Debug, Clone, PartialEq)]
pub enum RestoreStep {
    /// Start it as it was running.
    Again(Box<Spec>),
    /// Start it as it is configured.
    Configured {
        /// Its specification on disk, where there is one. Of one that was running, its directory
        /// and what was kept for it still count.
        before: Option<Box<Spec>>,
    },
    /// Leave it as it is.
    Leave(&'static str),
    /// Forget its specification: its program ended by itself before.
    Forget(Box<Spec>),
    /// Its specification cannot be read: set the file aside.
    SetAside {
        /// Why it cannot be read.
        why: String,
        /// Whether it is started as configured all the same.
        configured: bool,
    },
    /// Its specification cannot be used, for that reason; the file stays.
    Refuse(String),
}

/// A specification as it was found on disk.
#[derive(Debug, Clone)]
pub enum Kept {
    /// Whole.
    Spec(Box<Spec>),
    /// Not readable as one.
    Broken(String),
    /// Not to be used by this forge, or not to be had now.
    Unusable(String),
}

/// Decides: from the specifications on disk, the sessions configured (with `true` for those of
/// `boot = true`), and what there is already.
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
            Kept::Spec(_) if is_there => RestoreStep::Leave("it is there already"),
            Kept::Spec(spec) if spec.keeper == Keeper::Caller => {
                RestoreStep::Leave("whoever called 'forge run' starts it again")
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
        // One that was stopped, or ended, or whose file is broken comes up all the same: that is
        // what boot = true says.
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

/// One life of a user manager: what a restore happens once in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerLife {
    /// The boot, `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// When the manager came up, in microseconds since the boot. In one boot there may be several:
    /// without lingering every login has its own, and its sessions ended with the last one.
    pub manager_us: u64,
}

/// The results of the last restore.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Restored {
    /// In which life of the manager.
    pub life: ManagerLife,
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// What runs again.
    pub restored: Vec<Again>,
    /// What does not.
    pub failed: Vec<Failed>,
    /// What was left alone.
    #[serde(default)]
    pub left: Vec<Left>,
}

/// A session that runs again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Again {
    /// The session.
    pub session: SessionId,
    /// The id with which its program was resumed.
    pub resume_id: Option<String>,
    /// Why it was started afresh although it has a `resume` command.
    pub fresh: Option<String>,
    /// Its program.
    pub pane_pid: u32,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// A session that does not run again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failed {
    /// The session.
    pub session: SessionId,
    /// The error's kind.
    pub kind: String,
    /// Why.
    pub error: String,
    /// Where its unreadable specification was put.
    pub set_aside: Option<PathBuf>,
}

/// A session that was left alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Left {
    /// The session.
    pub session: SessionId,
    /// Why.
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
            cwd: "/".into(),
            env: vec![],
            kept_env: vec![],
            ready: None,
            not_ready: None,
            asking: None,
            ready_timeout_s: 30,
            limits: Limits::default(),
            resume: None,
            resume_id: None,
            saved_id: None,
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
        let told: Vec<(String, String)> = steps
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
        let told: Vec<(&str, &str)> = told.iter().map(|(id, word)| (id.as_str(), word.as_str())).collect();
        assert_eq!(
            told,
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
