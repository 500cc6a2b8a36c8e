//! Typing at random: programs that read in different ways, texts of any size, questions at any moment. forge
//! never answers a question, and never loses, doubles or cuts a text without a report.

mod case;
mod model;

use crate::input_box::options::Options;
use crate::input_box::played::Played;
use crate::machine::Machine;
use crate::ran::{self, Background};
use crate::suite::{Test, inside, outside};
use crate::support::{forge_json, run_within, start, wait_until};
use case::{Case, SESSIONS};
use model::{Told, Verdict, brief, judge};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(super) fn tests() -> Vec<Test> {
    vec![inside!(typing_at_random).limit_s(300)]
}

pub(super) fn long_tests() -> Vec<Test> {
    vec![outside!(two_thousand_texts).limit_s(3600)]
}

/// These variables make a run longer, or repeat a failed case (its seed, and 1 case).
const CASES: &str = "FORGE_TYPING_CASES";
const SEED: &str = "FORGE_TYPING_SEED";

/// How many sessions get text at once. forge waits more than it computes.
const WORKERS: u64 = 4;

/// How long one forge may take. 100,000 bytes as keys into a program that is busy now and then take the longest: 92 s
/// on a machine that does nothing else, and more than 120 s beside other cases.
const LONGEST: Duration = Duration::from_secs(280);

/// After this many failures further ones add nothing.
const ENOUGH: usize = 30;

fn two_thousand_texts(machine: &mut Machine) {
    let since = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    let seed = format!("{SEED}={}", number(SEED, since * 10_000));
    let cases = format!("{CASES}={}", number(CASES, 2_000));
    println!("{seed} {cases}");
    let program = "/usr/lib/forge-tests/machine";
    let argv = ["env", &seed, &cases, program, "--inside", "typing_at_random::typing_at_random"];
    let ran = ran::run(machine.command("ada", &argv), &argv.join(" "), Duration::from_secs(3_500)).ok();
    println!("{}", ran.stdout);
}

/// A number from the environment, if set.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Counts over all cases.
#[derive(Default)]
struct Summary {
    /// Per case name, how often forge reported each result.
    said: BTreeMap<String, BTreeMap<String, usize>>,
    races: usize,
    first_keys: usize,
    stray: usize,
    cut: usize,
    late: usize,
    /// The cases with answers in transit.
    raced: Vec<String>,
    failures: Vec<String>,
    /// The longest run of forge, and its case.
    longest: (Duration, String),
}

fn typing_at_random() {
    let (seed, cases) = (number(SEED, 1), number(CASES, 60));
    println!("{SEED}={seed} {CASES}={cases}");
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let summary = Mutex::new(Summary::default());
    let enough = || summary.lock().expect("the summary").failures.len() >= ENOUGH;
    std::thread::scope(|scope| {
        for worker in 0..WORKERS.min(cases) {
            let (next, summary, enough) = (&next, &summary, &enough);
            scope.spawn(move || {
                let mut worker = Worker { number: worker, sessions: Default::default() };
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= cases || enough() {
                        break;
                    }
                    worker.one(&Case::of(seed.wrapping_add(at)), summary);
                }
            });
        }
    });
    let summary = summary.into_inner().expect("the summary");
    println!("{}", summary.raced.join("\n"));
    println!("{}{} s", summary.table(), begun.elapsed().as_secs());
    assert!(summary.failures.is_empty(), "{}", summary.failures.join("\n\n"));
}

/// A sender of texts, one after another, into its own sessions.
struct Worker {
    number: u64,
    /// Its sessions, each created when first needed.
    sessions: [Option<Attended>; SESSIONS],
}

/// A session and its attached user.
struct Attended {
    session: Played,
    person: Option<Background>,
}

impl Attended {
    /// Spawns the session; waits until an attached user counts as idle.
    fn spawn(name: &str, case: &Case) -> Self {
        let session = Played::spawn(name, &Options::default(), &case.patterns.options());
        let person = case.attended.then(|| {
            // `script` would type the end of its input, so it has no input.
            let line = format!("sleep 100000 | TERM=xterm script -qec 'forge attach {name}' /dev/null");
            let person = start(&["sh", "-c", &line]);
            wait_until(LONGEST, "the person", || forge_json(&["status", name])["attached"] == true);
            std::thread::sleep(Duration::from_secs(4));
            person
        });
        Self { session, person }
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        self.person.iter_mut().for_each(Background::kill);
    }
}

impl Worker {
    fn one(&mut self, case: &Case, summary: &Mutex<Summary>) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.tried(case)));
        let mut summary = summary.lock().expect("the summary");
        match outcome {
            Ok(tried) => summary.count(case, tried),
            Err(panic) => {
                let panic = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                summary.failures.push(format!("the test itself failed: {panic}\n{}", described(case)));
                self.sessions = Default::default();
            }
        }
    }

    fn tried(&mut self, case: &Case) -> Tried {
        let at = case.session();
        let name = format!("typed-{}-{at}", self.number);
        if case.fresh {
            self.sessions[at] = None;
        }
        let session = &self.sessions[at].get_or_insert_with(|| Attended::spawn(&name, case)).session;
        session.again(&case.options);
        let file = format!("/tmp/{name}.text");
        std::fs::write(&file, &case.text).expect("the text");
        let argv = case.argv(&name, &file);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let begun = Instant::now();
        let ran = run_within(LONGEST, &argv);
        let took = begun.elapsed();
        // The current screen explains a wrong result.
        let screen = session.screen();
        let standing = session.standing();
        let reported = Told::parse(&ran);
        let verdict = judge(case, &reported, &session.log(), &standing);
        let failure = (!verdict.failures.is_empty()).then(|| {
            let said = format!("{}{}", ran.stdout, ran.stderr);
            format!(
                "{}\n{}\n--- forge, in {} ms, status {}: {}\n--- the screen then:\n{screen}\n{}",
                verdict.failures.join("\n"),
                described(case),
                took.as_millis(),
                ran.code,
                said.trim(),
                session.story()
            )
        });
        if failure.is_some() {
            // A failed case may leave anything behind, so its session is replaced.
            self.sessions[at] = None;
        }
        Tried { reported, verdict, failure, took }
    }
}

/// A finished case.
struct Tried {
    reported: Result<Told, String>,
    verdict: Verdict,
    failure: Option<String>,
    took: Duration,
}

fn described(case: &Case) -> String {
    let lines = case.text.split('\n').count();
    let case = Case { text: brief(&case.text), ..case.clone() };
    format!("repeat it: {SEED}={} {CASES}=1\n{case:?}\nwith {lines} lines", case.seed)
}

impl Summary {
    fn count(&mut self, case: &Case, tried: Tried) {
        let said = tried.reported.as_ref().map_or("?", Told::name).to_owned();
        *self.said.entry(case.name()).or_default().entry(said).or_default() += 1;
        self.races += tried.verdict.races;
        self.first_keys += tried.verdict.first_keys;
        self.stray += tried.verdict.stray;
        if tried.verdict.races + tried.verdict.first_keys > 0 {
            let (seed, name, said) = (case.seed, case.name(), &tried.reported);
            let cut = if tried.verdict.cut > 0 { ", and its text was cut" } else { "" };
            let when = case.options.question.map(|question| question.when);
            self.raced.push(format!("raced: {seed} {name} {when:?} {:?} {said:?}{cut}", case.patterns));
        }
        self.cut += tried.verdict.cut;
        self.late += tried.verdict.late;
        if tried.took > self.longest.0 {
            let (name, bytes) = (case.name(), case.text.len());
            self.longest = (tried.took, format!("{name} with {bytes} bytes, seed {}", case.seed));
        }
        self.failures.extend(tried.failure);
    }

    fn table(&self) -> String {
        let mut columns: Vec<&str> =
            self.said.values().flat_map(BTreeMap::keys).map(String::as_str).collect();
        columns.sort_unstable();
        columns.dedup();
        let mut table = format!("{:40}", "");
        for column in &columns {
            let _ = write!(table, "{column:>13}");
        }
        let mut totals = vec![0; columns.len()];
        for (name, said) in &self.said {
            let _ = write!(table, "\n{name:40}");
            for (total, column) in totals.iter_mut().zip(&columns) {
                let count = said.get(*column).copied().unwrap_or(0);
                *total += count;
                let _ = write!(table, "{:>13}", if count == 0 { String::new() } else { count.to_string() });
            }
        }
        let _ = write!(table, "\n{:40}", "all");
        for total in totals {
            let _ = write!(table, "{total:>13}");
        }
        let _ = writeln!(
            table,
            "\n{} answers were on their way when their question was drawn, {} first keys met a question \
             without a pattern, by which {} texts were cut; questions got {} keys that answer nothing; {} \
             texts left after forge had called them typed; {} \
             failures; the longest forge took {} ms ({})",
            self.races,
            self.first_keys,
            self.cut,
            self.stray,
            self.late,
            self.failures.len(),
            self.longest.0.as_millis(),
            self.longest.1
        );
        table
    }
}
