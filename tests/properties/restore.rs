//! The sessions that forge starts after a boot, and their conversations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use forge::model::session::name::SessionId;
use forge::model::session::restore::{Kept, RestoreStep, plan};
use forge::model::session::spec::{Keeper, Spec};
use forge::ops::session::resume::resumption;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::properties;
use crate::store::store_in;

/// Few names, so that they collide.
fn name() -> impl Strategy<Value = SessionId> {
    "[a-e]".prop_map(|name| SessionId::from_name(&name).unwrap())
}

/// A session with that name; the rest of its specification does not matter here.
fn session(id: &SessionId) -> Spec {
    let resume = ["claude", "--resume={resume_id}"];
    let spec = serde_json::json!({
        "version": 1, "session": id, "command": ["claude"], "cwd": "/", "ready_timeout_s": 30,
        "resume": resume, "resume_id": "claude",
    });
    serde_json::from_value(spec).unwrap()
}

fn kept() -> impl Strategy<Value = BTreeMap<SessionId, Kept>> {
    let keeper = select(vec![Keeper::Forge, Keeper::Caller, Keeper::Supervisor]);
    let kept =
        (name(), 0..8, keeper, any::<[bool; 2]>()).prop_map(|(id, what, keeper, [over, as_configured])| {
            let kept = match what {
                0 => Kept::Broken("half".into()),
                1 => Kept::Unusable("newer".into()),
                _ => Kept::Spec(Box::new(Spec { keeper, over, as_configured, ..session(&id) })),
            };
            (id, kept)
        });
    vec(kept, 0..5).prop_map(|kept| kept.into_iter().collect())
}

/// Sessions of Claude Code with the conversations that forge knows of them, and the conversations that exist.
fn agents() -> impl Strategy<Value = (Vec<Spec>, BTreeSet<String>)> {
    let conversation = || "[p-t]";
    let agents = vec((option::of(conversation()), any::<[bool; 2]>()), 1..5).prop_map(|agents| {
        let agent = |(at, (saved_id, [fresh, over])): (usize, (Option<String>, [bool; 2]))| {
            let id = SessionId::from_name(&format!("s{at}")).unwrap();
            Spec { saved_id, fresh, over, ..session(&id) }
        };
        agents.into_iter().enumerate().map(agent).collect()
    });
    (agents, btree_set(conversation(), 0..4))
}

/// Writes conversations as Claude Code does.
fn write_conversations(home: &Path, conversations: &BTreeSet<String>) {
    let dir = home.join(".claude/projects/-srv-a");
    std::fs::create_dir_all(&dir).unwrap();
    for name in conversations {
        std::fs::write(dir.join(format!("{name}.jsonl")), "{}\n").unwrap();
    }
}

properties! {
    #[test]
    fn stopped_and_running_sessions_are_not_started(
        kept in kept(),
        configured in btree_map(name(), any::<bool>(), 0..5),
        present in btree_set(name(), 0..3),
    ) {
        let steps = plan(kept.clone(), &configured, &present);
        for (id, step) in &steps {
            let boots = configured.get(id) == Some(&true);
            let starts = matches!(step, RestoreStep::Again(_) | RestoreStep::Configured { .. } | RestoreStep::SetAside { configured: true, .. });
            prop_assert!(!starts || !present.contains(id), "{} is there", id);
            prop_assert!(!starts || boots || kept.contains_key(id), "{} was stopped", id);
            if let RestoreStep::Again(spec) | RestoreStep::Configured { before: Some(spec) } | RestoreStep::Forget(spec) = step {
                prop_assert_eq!(&spec.session, id);
            }
            match kept.get(id) {
                Some(Kept::Spec(spec)) if spec.over => prop_assert!(!starts || boots, "{} was over", id),
                Some(Kept::Spec(spec)) if spec.keeper == Keeper::Caller => prop_assert!(!starts, "{} is its caller's", id),
                Some(Kept::Spec(_)) => prop_assert!(starts || present.contains(id), "{} is lost", id),
                // A file that cannot be read now, or that a newer forge wrote, stays in its place.
                Some(Kept::Unusable(_)) => prop_assert!(matches!(step, RestoreStep::Refuse(_))),
                Some(Kept::Broken(_)) => {
                    let aside = matches!(step, RestoreStep::SetAside { .. });
                    prop_assert!(aside, "{} cannot be read", id);
                },
                None => prop_assert!(boots),
            }
        }
        let expected: BTreeSet<_> = configured.iter()
            .filter(|(id, boots)| **boots && !present.contains(*id)).map(|(id, _)| id).chain(kept.keys()).collect();
        prop_assert_eq!(steps.keys().collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn no_two_sessions_share_a_conversation(
        (agents, conversations) in agents(),
        is_under_way in vec(any::<bool>(), 5),
    ) {
        let root = tempfile::tempdir().unwrap();
        let (home, store) = (root.path().join("home"), store_in(root.path()));
        write_conversations(&home, &conversations);
        for agent in &agents {
            store.write_spec(agent).unwrap();
        }
        let (mut taken, mut under_way) = (BTreeSet::new(), Vec::new());
        for (agent, is_under_way) in agents.iter().zip(is_under_way) {
            let resumption = resumption(&home, &store, agent);
            if let Some(id) = &resumption.id {
                prop_assert!(conversations.contains(id));
                prop_assert!(taken.insert(id.clone()), "{} has the conversation of another", agent.session);
            }
            // Some sessions are up, and some are still starting, when the next one starts.
            if is_under_way {
                under_way.push(resumption);
            } else {
                store.write_spec(&Spec { over: false, ..resumption.recorded_in(agent.clone()) }).unwrap();
            }
        }
    }

    #[test]
    fn a_single_session_resumes_its_conversation((agents, conversations) in agents()) {
        let root = tempfile::tempdir().unwrap();
        let (home, store) = (root.path().join("home"), store_in(root.path()));
        let agent = &agents[0];
        write_conversations(&home, &conversations);
        store.write_spec(agent).unwrap();
        let resumption = resumption(&home, &store, agent);
        let own = agent.saved_id.clone().filter(|id| conversations.contains(id) && !agent.fresh);
        prop_assert_eq!(resumption.fresh.is_some(), !agent.fresh && own.is_none());
        prop_assert_eq!(resumption.id, own);
    }
}
