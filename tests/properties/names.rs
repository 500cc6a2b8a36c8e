//! Names of sessions, and of their units, sockets and control groups.

use forge::model::session::name::{MAX, Pattern, SessionId};
use forge::model::unit::files::{self, Author, USER, author};
use forge::model::unit::*;
use proptest::prelude::*;

use crate::{has_control, id, properties, text};

/// The name of a unit, often similar to one of forge.
fn unit() -> impl Strategy<Value = String> {
    let part = proptest::sample::select(vec![
        "forge", "-", "guard", "spawn", "@", "\\x2d", "a", "7_12", "_", ".", ".slice", ".scope", ".service",
        "é", "/",
    ]);
    prop_oneof![
        proptest::collection::vec(part, 0..9).prop_map(|parts| parts.concat()),
        text().prop_map(|text| format!("forge-{text}.slice")),
        text().prop_map(|text| format!("forge-spawn-{text}.scope")),
        text(),
    ]
}

properties! {
    #[test]
    fn a_name_becomes_an_id_that_does_not_change_again(name in text()) {
        match SessionId::from_name(&name) {
            Ok(id) => {
                prop_assert!(id.as_str().len() <= MAX);
                prop_assert!(id.as_str().starts_with(|c: char| c.is_ascii_alphanumeric()));
                prop_assert!(id.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)));
                prop_assert_eq!(SessionId::from_name(id.as_str()).unwrap(), id.clone());
                prop_assert_eq!(SessionId::try_from(name.clone()).is_ok(), id.as_str() == name);
            }
            Err(error) => {
                prop_assert!(!has_control(&error.message) && error.message.len() < 1000, "{}", error);
                prop_assert!(error.hint.is_some());
            }
        }
    }

    #[test]
    fn each_unit_belongs_to_one_session(id in id(), other in id()) {
        prop_assert_eq!(session_of_slice(&slice(&id)), Some(id.clone()));
        prop_assert_eq!(session_of_scope(&scope(&id)), Some(id.clone()));
        prop_assert_eq!(session_of_service(&service(&id)), Some(id.clone()));
        prop_assert_eq!(session_of_socket(&socket(&id)), Some(id.clone()));
        for unit in [slice(&id), scope(&id), service(&id)] {
            prop_assert!(files::is_of_forge(&unit));
            prop_assert_eq!(guard_of(&unit).or(guard_of_slice(&unit)), None);
        }
        prop_assert_eq!(slice(&id) == slice(&other), id == other);
        prop_assert!(slice(&id) != FORGE_SLICE && slice(&id) != GUARD_SLICE);
        // The slice is directly below forge.slice: a `-` that is not escaped would be one more level.
        prop_assert_eq!(path_of_slice(&slice(&id)), format!("{FORGE_SLICE}/{}", slice(&id)));
    }

    #[test]
    fn only_exact_names_belong_to_a_session(name in unit()) {
        prop_assert!(session_of_slice(&name).is_none_or(|id| slice(&id) == name));
        prop_assert!(session_of_scope(&name).is_none_or(|id| scope(&id) == name));
        prop_assert!(session_of_service(&name).is_none_or(|id| service(&id) == name));
        prop_assert!(session_of_socket(&name).is_none_or(|id| socket(&id) == name));
        let guard = guard_of(&name);
        prop_assert!(guard.is_none_or(|id| guard_scope(id) == name || guard_keeper(id) == name));
        prop_assert!(guard_of_slice(&name).is_none() || session_of_slice(&name).is_none(), "the name belongs to both");
    }

    #[test]
    fn the_session_of_a_cgroup_is_found_at_any_depth(id in id(), below in "(/[a-z.\\\\-]{1,9}){0,3}") {
        let above = "/user.slice/user-1000.slice/user@1000.service/forge.slice";
        let path = format!("{above}/{}{below}", slice(&id));
        let (found, group) = slice_of_cgroup(&path).unwrap();
        prop_assert_eq!(&found, &id);
        prop_assert_eq!(format!("{group}{below}"), path);
        prop_assert_eq!(session_of_cgroup(above), None);
    }

    #[test]
    fn any_path_leads_to_the_right_session_or_none(path in unit(), more in unit()) {
        let path = format!("/{path}/forge.slice/{more}");
        if let Some((id, group)) = slice_of_cgroup(&path) {
            prop_assert!(path.starts_with(group) && group.ends_with(&slice(&id)));
        }
    }

    #[test]
    fn a_guarded_command_has_a_slice_below_that_of_its_guard(id in id(), pid: u32, ms: u64, outer: u64) {
        let guard = guard_id(pid, ms);
        for unit in [guard_scope(&guard), guard_keeper(&guard)] {
            prop_assert_eq!(guard_of(&unit), Some(guard.as_str()));
        }
        let outer = guard_slice(&guard_id(7, outer), "/app.slice");
        for above in [slice(&id), GUARD_SLICE.to_owned(), outer] {
            let within = format!("/user@1000.service/{}/tmux-spawn-1.scope", path_of_slice(&above));
            let slice = guard_slice(&guard, &within);
            prop_assert_eq!(guard_of_slice(&slice), Some(guard.as_str()));
            prop_assert_eq!(path_of_slice(&slice), format!("{}/{slice}", path_of_slice(&above)));
        }
    }

    #[test]
    fn a_pattern_without_wildcards_is_one_name(pattern in text(), id in id(), other in id()) {
        if let Ok(pattern) = Pattern::parse(&pattern) {
            prop_assert!(!pattern.is_name() || pattern.matches(&id) == (pattern.as_str() == id.as_str()));
        }
        let name = Pattern::parse(id.as_str()).unwrap();
        prop_assert!(name.is_name() && name.matches(&id) && name.matches(&other) == (id == other));
        prop_assert!(Pattern::all().matches(&id));
        let begins = Pattern::parse(&format!("{}*", &id.as_str()[..1])).unwrap();
        prop_assert_eq!(begins.matches(&other), other.as_str().starts_with(&id.as_str()[..1]));
    }

    #[test]
    fn a_changed_unit_file_is_not_forges_own(
        file in proptest::sample::select(USER.to_vec()),
        at: prop::sample::Index,
        put in text(),
        foreign in text(),
    ) {
        let written = file.marked(std::path::Path::new("/usr/bin/forge")).unwrap();
        prop_assert_eq!(author(&written), Author::Forge);
        let places: Vec<usize> = written.char_indices().map(|(at, _)| at).collect();
        let at = *at.get(&places);
        let changed = format!("{}{put}{}", &written[..at], &written[at..]);
        prop_assert_eq!(author(&changed) == Author::Forge, changed == written);
        prop_assert!(author(&written[..at]) != Author::Forge, "half a file");
        prop_assert_eq!(author(&foreign), Author::Somebody);
    }
}
