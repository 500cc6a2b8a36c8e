//! The order of units, with any names and any cycles.

use std::collections::{BTreeMap, BTreeSet};

use forge::model::unit::graph::{Edge, cycles, dot, reduced, tree};
use proptest::prelude::*;

use crate::{properties, text};

/// Few units, so that their edges form paths.
fn edges() -> impl Strategy<Value = BTreeSet<Edge>> {
    let name =
        prop_oneof!["[a-g]".prop_map(|name| format!("{name}.service")), Just("a@\\x2d.slice".to_owned())];
    let edge = (name.clone(), name).prop_map(|(first, then)| Edge::new(first, then));
    proptest::collection::btree_set(edge, 0..20)
}

/// The units after each unit, directly or not: repeated until nothing is new.
fn reach(edges: &BTreeSet<Edge>) -> BTreeMap<String, BTreeSet<String>> {
    let mut reach = BTreeMap::<String, BTreeSet<String>>::new();
    for edge in edges {
        reach.entry(edge.first.clone()).or_default().insert(edge.then.clone());
    }
    loop {
        let before = reach.clone();
        for found in reach.values_mut() {
            let further: BTreeSet<String> =
                found.iter().filter_map(|unit| before.get(unit)).flatten().cloned().collect();
            found.extend(further);
        }
        if reach == before {
            return reach;
        }
    }
}

fn units(edges: &BTreeSet<Edge>) -> BTreeSet<String> {
    edges.iter().flat_map(|edge| [edge.first.clone(), edge.then.clone()]).collect()
}

properties! {
    #[test]
    fn a_cycle_is_found_if_and_only_if_there_is_one(edges in edges()) {
        let found = cycles(&edges);
        let reach = reach(&edges);
        let in_cycles: BTreeSet<_> = reach.iter().filter(|(unit, after)| after.contains(*unit)).collect();
        prop_assert_eq!(found.is_empty(), in_cycles.is_empty());
        for cycle in &found {
            prop_assert_eq!(cycle.iter().min(), cycle.first());
            let next = cycle.iter().skip(1).chain(cycle.first());
            for (first, then) in cycle.iter().zip(next) {
                prop_assert!(edges.contains(&Edge::new(first, then)), "{} > {} is not an edge", first, then);
            }
        }
        // Removing one edge of each found cycle removes all cycles in the end.
        let mut left = edges.clone();
        while let Some(cycle) = cycles(&left).first() {
            let then = cycle.get(1).unwrap_or(&cycle[0]);
            prop_assert!(left.remove(&Edge::new(&cycle[0], then)));
        }
    }

    #[test]
    fn the_reduced_order_is_the_same_order(edges in edges()) {
        let drawn = reduced(&edges);
        prop_assert!(drawn.is_subset(&edges));
        prop_assert_eq!(reach(&drawn), reach(&edges));
        if cycles(&edges).is_empty() {
            for edge in &drawn {
                let mut without = drawn.clone();
                without.remove(edge);
                prop_assert!(reach(&without) != reach(&edges), "{:?} follows from others", edge);
            }
        }
    }

    #[test]
    fn every_unit_is_drawn_and_the_drawing_ends(edges in edges()) {
        let lines = tree(&edges);
        let name = |line: &str| {
            let name = line.trim_start_matches(['│', '├', '└', '─', ' ']);
            name.strip_suffix(" …").unwrap_or(name).to_owned()
        };
        let drawn: BTreeSet<String> = lines.iter().map(|line| name(line)).collect();
        prop_assert_eq!(drawn, units(&edges));
        prop_assert!(lines.len() <= edges.len() + units(&edges).len());
        prop_assert_eq!(dot(&edges).len(), edges.len() + 3);
    }

    #[test]
    fn units_may_have_any_name(names in proptest::collection::vec((text(), text()), 0..8)) {
        let edges: BTreeSet<Edge> = names.into_iter().map(|(first, then)| Edge::new(first, then)).collect();
        cycles(&edges);
        tree(&reduced(&edges));
    }
}
