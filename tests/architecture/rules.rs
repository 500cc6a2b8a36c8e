//! The rules that the imports must keep. Each gives one line for each fault.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::Module;

type Imports = BTreeSet<(Module, Module)>;
/// The nodes of one folder's graph, and for each edge one import that makes it.
type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, (&'a Module, &'a Module)>>;

/// The imports that go from a top-level module to one before it in the order.
pub(crate) fn upward(imports: &Imports, order: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let rank = |module: &Module| order.iter().position(|name| *name == module[0]);
    let tops = imports.iter().flat_map(|(from, to)| [from, to]).map(|module| &module[0]);
    for top in tops.collect::<BTreeSet<_>>() {
        if !order.contains(&top.as_str()) {
            faults.push(format!("{top} is not in the order of the top-level modules"));
        }
    }
    for (from, to) in imports {
        if let (Some(own), Some(other)) = (rank(from), rank(to))
            && other < own
        {
            faults.push(format!("{} uses {}, which is above it", from.join("::"), to.join("::")));
        }
    }
    faults
}

/// The circles between the modules of one folder, for each folder from the top-level modules down.
///
/// In the `extended` folders, files may extend the types of their `mod.rs`, which uses these files: there the
/// circles through `mod.rs` do not count.
pub(crate) fn circles(imports: &Imports, extended: &[&str]) -> Vec<String> {
    let folders: BTreeSet<&[String]> = imports
        .iter()
        .flat_map(|(from, to)| [from, to])
        .flat_map(|module| (1..=module.len()).map(|n| &module[..n]))
        .collect();
    let mut faults = Vec::new();
    for folder in folders {
        let mut graph = graph(folder, imports);
        if extended.contains(&folder.join("::").as_str()) {
            if circle(folder, &graph).is_none() {
                faults.push(format!("{} has no circle to allow", folder.join("::")));
            }
            graph.remove("mod.rs");
        }
        faults.extend(circle(folder, &graph));
    }
    faults
}

/// The modules directly in a folder, each with all below it; `mod.rs` is the folder's own code.
fn graph<'a>(folder: &[String], imports: &'a Imports) -> Graph<'a> {
    let node = |module: &'a Module| {
        let inner = module.strip_prefix(folder)?;
        Some(inner.first().map_or("mod.rs", String::as_str))
    };
    let mut graph = Graph::new();
    for (from, to) in imports {
        if let (Some(own), Some(other)) = (node(from), node(to))
            && own != other
        {
            graph.entry(own).or_default().entry(other).or_insert((from, to));
        }
    }
    graph
}

/// The shortest circle of a graph, with the imports that close it.
fn circle(folder: &[String], graph: &Graph<'_>) -> Option<String> {
    let path = graph.keys().filter_map(|start| way_back(start, graph)).min_by_key(Vec::len)?;
    let uses = path.windows(2).map(|step| {
        let (from, to) = graph[step[0]][step[1]];
        format!("{} uses {}", from.join("::"), to.join("::"))
    });
    let uses = uses.collect::<Vec<_>>().join("; ");
    Some(format!("circle in {}: {} ({uses})", folder.join("::"), path.join(" → ")))
}

/// The shortest way from a node to itself.
fn way_back<'a>(start: &'a str, graph: &Graph<'a>) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut ways = std::collections::VecDeque::from([vec![start]]);
    while let Some(way) = ways.pop_front() {
        for next in graph.get(way[way.len() - 1]).into_iter().flat_map(BTreeMap::keys) {
            if *next == start {
                return Some([way.as_slice(), &[next]].concat());
            }
            if seen.insert(*next) {
                ways.push_back([way.as_slice(), &[next]].concat());
            }
        }
    }
    None
}
