//! `make bench`: measures forge, the usual alternatives, and the minimum that the work itself takes, in one
//! machine and one run.
//!
//! Each part is measured in the machine by this program (`--measure PART ROUNDS`), which prints its rows as
//! JSON; on the host they become a table, a page and a picture. Compared alternatives are measured in turns,
//! so that other activity of the machine affects all of them alike.

mod alarms;
mod many;
mod report;
mod rest;
mod rounds;
mod send;
mod spawn;
mod stop;
mod sweep;

use crate::host::{self, Run};
use crate::machine::{Machine, USER};
use crate::ran;
use crate::suite::Debian;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// First argument of a run of the benchmarks.
pub(crate) const BENCH: &str = "--bench";
/// First argument of this program in the machine.
pub(crate) const MEASURE: &str = "--measure";

const USAGE: &str = "usage: --bench [bookworm|trixie] [PART…]";

/// The default number of rounds of a part.
const ROUNDS: usize = 30;

/// A part may take this long: a recipe that runs a tmux for each of 10,000 sockets takes minutes.
const LIMIT: Duration = Duration::from_secs(2400);

/// Measures in this many rounds.
type Part = fn(usize) -> Vec<Row>;

/// The parts, in the order of the table.
const PARTS: [(&str, Part); 7] = [
    ("spawn", spawn::rows),
    ("sweep", sweep::rows),
    ("many", many::rows),
    ("stop", stop::rows),
    ("send", send::rows),
    ("alarms", alarms::rows),
    ("rest", rest::rows),
];

/// One row of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The measured operation.
    pub(crate) what: String,
    /// The amount, such as a number of sockets.
    pub(crate) size: String,
    /// The unit of all values.
    pub(crate) unit: Unit,
    pub(crate) forge: Vec<f64>,
    /// The alternatives that a user would otherwise run.
    pub(crate) peer: Option<Way>,
    /// The minimum that the work takes.
    pub(crate) floor: Option<Way>,
    pub(crate) goals: Vec<Goal>,
}

/// An alternative to forge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Way {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
}

impl Way {
    pub(crate) fn new(name: &str, values: Vec<f64>) -> Self {
        Self { name: name.to_owned(), values }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    Milliseconds,
    Megabytes,
    /// Wake-ups in a minute.
    PerMinute,
}

/// The goal of a row.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Goal {
    /// At most this many times the value of the peer.
    OfPeer(f64),
    /// At most this many times the value of the floor.
    OfFloor(f64),
    /// At most this value, in the row's unit.
    AtMost(f64),
}

/// On the host: checks the arguments and goes into the namespaces.
pub(crate) fn main(args: &[String]) -> i32 {
    if parse(args).is_none() {
        eprintln!("{USAGE}\nparts: {}", PARTS.map(|(name, _)| name).join(" "));
        return 2;
    }
    host::enter(args).unwrap_or_else(|reason| {
        eprintln!("no machine can run here: {reason}");
        1
    })
}

/// The requested release and parts.
fn parse(args: &[String]) -> Option<(Debian, Vec<&'static str>)> {
    let mut rest = &args[1..];
    let mut debian = Debian::Trixie;
    if let Some(named) = rest.first().and_then(|first| Debian::named(first)) {
        (debian, rest) = (named, &rest[1..]);
    }
    let known = |name: &String| PARTS.iter().map(|(known, _)| *known).find(|known| known == name);
    let mut parts = rest.iter().map(known).collect::<Option<Vec<_>>>()?;
    if parts.is_empty() {
        parts = PARTS.iter().map(|(name, _)| *name).collect();
    }
    Some((debian, parts))
}

/// In the namespaces: measures, and prints the results.
pub(crate) fn in_namespace(run: &Run, args: &[String]) -> i32 {
    let Some((debian, parts)) = parse(args) else { return 2 };
    build_floor(run);
    let mut machine = Machine::new(debian, "", run);
    let (mut rows, begin) = (Vec::new(), Instant::now());
    for part in &parts {
        eprintln!("{:4} s  measuring {part}", begin.elapsed().as_secs());
        machine.deadline = Instant::now() + LIMIT;
        let argv = ["/usr/lib/forge-tests/machine", MEASURE, part, &ROUNDS.to_string()];
        let ran = ran::run(machine.command(USER, &argv), part, LIMIT);
        if ran.code != 0 {
            eprintln!("{ran}");
            // The parts measured until then took their time, too.
            println!("{}", report::table(&rows));
            return 1;
        }
        let measured: Vec<Row> =
            serde_json::from_str(ran.stdout.lines().last().unwrap_or_default()).expect("the part's rows");
        rows.extend(measured);
    }
    eprintln!("{:4} s  all is measured", begin.elapsed().as_secs());
    println!("{}", report::table(&rows));
    // A page of some parts would be mistaken for the complete page.
    if parts.len() == PARTS.len() {
        report::write(&Path::new(env!("CARGO_MANIFEST_DIR")).join("bench"), &machine, &rows);
    }
    0
}

/// In the machine: one part, as JSON.
pub(crate) fn measure(args: &[String]) -> i32 {
    let (name, rounds) = (args.get(1).expect("a part"), args.get(2).expect("the rounds"));
    let (_, part) = PARTS.iter().find(|(part, _)| part == name).expect("a part that there is");
    let rows = part(rounds.parse().expect("a number of rounds"));
    println!("{}", serde_json::to_string(&rows).expect("the rows as JSON"));
    0
}

/// The sweep in C, for the machine; static, since the machine's libraries are not the host's.
fn build_floor(run: &Run) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/sweep.c");
    let program = run.layer().join(sweep::FLOOR.trim_start_matches('/'));
    let mut command = Command::new("cc");
    command.args(["-O2", "-Wall", "-Werror", "-static", "-o"]).arg(program).arg(source);
    ran::run(command, "cc bench/sweep.c", Duration::from_secs(60)).ok();
}
