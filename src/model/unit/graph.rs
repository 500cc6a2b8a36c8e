//! The order of units: cycles in it, and drawings of it.

use std::collections::{BTreeMap, BTreeSet};

/// `first` starts before `then`, and stops after it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    pub first: String,
    pub then: String,
}

impl Edge {
    pub fn new(first: impl Into<String>, then: impl Into<String>) -> Self {
        Self { first: first.into(), then: then.into() }
    }
}

type Followers<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

fn followers(edges: &BTreeSet<Edge>) -> Followers<'_> {
    let mut followers = Followers::new();
    for edge in edges {
        followers.entry(&edge.first).or_default().insert(&edge.then);
    }
    followers
}

/// The cycles of an order. Each appears once and begins with its smallest name.
pub fn cycles(edges: &BTreeSet<Edge>) -> Vec<Vec<String>> {
    fn walk<'a>(
        unit: &'a str,
        followers: &Followers<'a>,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
        found: &mut BTreeSet<Vec<String>>,
    ) {
        if let Some(at) = path.iter().position(|on| *on == unit) {
            let mut cycle: Vec<String> = path[at..].iter().map(ToString::to_string).collect();
            let smallest =
                cycle.iter().enumerate().min_by_key(|(_, name)| (*name).clone()).map_or(0, |(at, _)| at);
            cycle.rotate_left(smallest);
            found.insert(cycle);
            return;
        }
        if done.contains(unit) {
            return;
        }
        path.push(unit);
        for next in followers.get(unit).into_iter().flatten() {
            walk(next, followers, path, done, found);
        }
        path.pop();
        done.insert(unit);
    }
    let followers = followers(edges);
    let (mut done, mut found) = (BTreeSet::new(), BTreeSet::new());
    for unit in followers.keys().copied() {
        walk(unit, &followers, &mut Vec::new(), &mut done, &mut found);
    }
    found.into_iter().collect()
}

/// The edges that do not follow from other edges.
pub fn reduced(edges: &BTreeSet<Edge>) -> BTreeSet<Edge> {
    fn reaches(from: &str, to: &str, followers: &Followers<'_>, seen: &mut BTreeSet<String>) -> bool {
        followers.get(from).into_iter().flatten().any(|next| {
            *next == to || (seen.insert((*next).to_owned()) && reaches(next, to, followers, seen))
        })
    }
    // Edge by edge: in a cycle two edges may follow from each other, and one of them has to stay.
    let mut left = edges.clone();
    for edge in edges {
        left.remove(edge);
        if !reaches(&edge.first, &edge.then, &followers(&left), &mut BTreeSet::new()) {
            left.insert(edge.clone());
        }
    }
    left
}

/// The order as a tree: the first units on the left, and each unit below the units that it starts after. The
/// tree draws a unit below each of those, but its own subtree only once. A cycle begins with its smallest
/// name.
pub fn tree(edges: &BTreeSet<Edge>) -> Vec<String> {
    fn draw(
        unit: &str,
        followers: &Followers<'_>,
        prefix: &str,
        drawn: &mut BTreeSet<String>,
        lines: &mut Vec<String>,
    ) {
        let Some(children) = followers.get(unit) else { return };
        for (at, child) in children.iter().enumerate() {
            let last = at + 1 == children.len();
            let first_time = drawn.insert((*child).to_owned());
            let more = if first_time || !followers.contains_key(child) { "" } else { " …" };
            lines.push(format!("{prefix}{}{child}{more}", if last { "└─" } else { "├─" }));
            if first_time {
                let prefix = format!("{prefix}{}", if last { "  " } else { "│ " });
                draw(child, followers, &prefix, drawn, lines);
            }
        }
    }
    let followers = followers(edges);
    let later: BTreeSet<&str> = edges.iter().map(|edge| edge.then.as_str()).collect();
    let (mut drawn, mut lines) = (BTreeSet::new(), Vec::new());
    let first = followers.keys().filter(|unit| !later.contains(**unit));
    for root in first.chain(followers.keys()) {
        if drawn.insert((*root).to_owned()) {
            lines.push((*root).to_owned());
            draw(root, &followers, "", &mut drawn, &mut lines);
        }
    }
    lines
}

/// The order in the language of Graphviz.
pub fn dot(edges: &BTreeSet<Edge>) -> Vec<String> {
    let mut lines = vec!["digraph forge {".to_owned(), "  rankdir=LR; node [shape=box];".to_owned()];
    lines.extend(edges.iter().map(|edge| format!("  \"{}\" -> \"{}\";", edge.first, edge.then)));
    lines.push("}".to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(pairs: &[(&str, &str)]) -> BTreeSet<Edge> {
        pairs.iter().map(|(first, then)| Edge::new(*first, *then)).collect()
    }

    #[test]
    fn each_cycle_is_found_once() {
        assert!(cycles(&edges(&[("a", "b"), ("b", "c"), ("a", "c")])).is_empty());
        let found = cycles(&edges(&[("x", "b"), ("b", "c"), ("c", "a"), ("a", "b"), ("d", "d")]));
        assert_eq!(found, [vec!["a", "b", "c"], vec!["d"]]);
    }

    #[test]
    fn edges_that_follow_from_others_are_left_out() {
        let all = edges(&[("a", "b"), ("b", "c"), ("a", "c")]);
        assert_eq!(reduced(&all), edges(&[("a", "b"), ("b", "c")]));
        // A cycle keeps its entry: without a > b and a > c the tree would not show that a is first.
        let circle = edges(&[("a", "b"), ("a", "c"), ("b", "c"), ("c", "b")]);
        assert_eq!(reduced(&circle), edges(&[("a", "c"), ("b", "c"), ("c", "b")]));
    }

    #[test]
    fn an_order_is_drawn_as_a_tree() {
        let order = edges(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "e")]);
        assert_eq!(tree(&order), ["a", "├─b", "│ └─d", "│   └─e", "└─c", "  └─d …"]);
        assert_eq!(
            tree(&edges(&[("b", "c"), ("c", "b"), ("d", "d")])),
            ["b", "└─c", "  └─b …", "d", "└─d …"]
        );
        assert!(dot(&order).contains(&"  \"a\" -> \"b\";".to_owned()));
    }
}
