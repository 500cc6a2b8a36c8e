//! The order of units, with units of any name and circles of any kind.

use std::collections::{BTreeMap, BTreeSet};

use forge::model::unit::graph::{Edge, cycles, dot, reduced, tree};
use proptest::prelude::*;

use crate::{properties, text};

/// Few units, so that their edges meet.
fn edges() -> impl Strategy<Value = BTreeSet<Edge>> {
    let name =
        prop_oneof!["[a-g]".prop_map(|name| format!("{name}.service")), Just("a@\\x2d.slice".to_owned())];
    let edge = (name.clone(), name).prop_map(|(first, then)| Edge::new(first, then));
    proptest::collection::btree_set(edge, 0..20)
}

/// What comes after each unit, at once or later: by repetition, until nothing is new.
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
    fn a_circle_is_found_if_there_is_one_and_only_then(edges in edges()) {
        let found = cycles(&edges);
        let reach = reach(&edges);
        let in_circles: BTreeSet<_> = reach.iter().filter(|(unit, after)| after.contains(*unit)).collect();
        prop_assert_eq!(found.is_empty(), in_circles.is_empty());
        for cycle in &found {
            prop_assert_eq!(cycle.iter().min(), cycle.first());
            let next = cycle.iter().skip(1).chain(cycle.first());
            for (first, then) in cycle.iter().zip(next) {
                prop_assert!(edges.contains(&Edge::new(first, then)), "{} > {} is no edge", first, then);
            }
        }
        // Whoever takes out an edge of each circle that was told is told of the next, to the end.
        let mut left = edges.clone();
        while let Some(cycle) = cycles(&left).first() {
            let then = cycle.get(1).unwrap_or(&cycle[0]);
            prop_assert!(left.remove(&Edge::new(&cycle[0], then)));
        }
    }

    #[test]
    fn what_is_drawn_says_the_same_as_all_of_it(edges in edges()) {
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
    fn every_unit_is_drawn_and_none_without_end(edges in edges()) {
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
    fn names_may_be_anything(names in proptest::collection::vec((text(), text()), 0..8)) {
        let edges: BTreeSet<Edge> = names.into_iter().map(|(first, then)| Edge::new(first, then)).collect();
        cycles(&edges);
        tree(&reduced(&edges));
    }
}
