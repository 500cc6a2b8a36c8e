//! Runs the trials: several machines at a time, and in each the tests of one group, one after another.

use crate::host::{self, Run};
use crate::machine::{self, Machine, USER};
use crate::qemu::Vm;
use crate::ran;
use crate::suite::{self, Body, Debian, List, Test};
use libtest_mimic::{Arguments, Failed, Trial};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

type Outcome = Result<(), String>;

/// A booted machine.
enum Booted {
    Container(Box<Machine>),
    Virtual(Box<Vm>),
}

/// The selected tests of one group on one release: one machine.
struct Job {
    debian: Debian,
    group: &'static str,
    packages: &'static str,
    tests: Vec<(Test, Sender<Outcome>)>,
}

/// On the host: runs the trials in the namespaces. If that is impossible, every trial fails with the reason;
/// none is ever skipped.
pub(crate) fn main(args: &[String]) -> i32 {
    let (_, parsed) = parse(args);
    if parsed.list {
        return run(args, &Err(String::new()));
    }
    match host::enter(args) {
        Ok(code) => code,
        Err(reason) => run(args, &Err(reason)),
    }
}

fn parse(args: &[String]) -> (List, Arguments) {
    let asked = args.first().and_then(|first| List::named(first));
    let args = &args[usize::from(asked.is_some())..];
    (
        asked.unwrap_or(List::Usual),
        Arguments::from_iter(std::iter::once("machine").chain(args.iter().map(String::as_str))),
    )
}

/// Runs the selected trials; without a `Run`, all of them fail with its error.
pub(crate) fn run(args: &[String], run: &Result<Run, String>) -> i32 {
    let (list, mut args) = parse(args);
    let mut trials = Vec::new();
    let mut jobs = VecDeque::new();
    // The releases of a group follow each other: the first two machines need both images, so these are built
    // in parallel.
    for group in suite::groups(list) {
        for debian in Debian::ALL {
            let mut job = Job { debian, group: group.name, packages: group.packages, tests: Vec::new() };
            for test in group.tests.iter().filter(|test| test.runs_on(debian)) {
                let name = format!("{}::{}::{}", debian.name(), group.name, test.name);
                let (sender, receiver) = channel::<Outcome>();
                let trial = Trial::test(name, move || match receiver.recv() {
                    Ok(outcome) => outcome.map_err(Failed::from),
                    Err(_) => Err("the harness gave no outcome".into()),
                });
                if !args.list && !args.is_filtered_out(&trial) {
                    job.tests.push((*test, sender));
                }
                trials.push(trial);
            }
            if !job.tests.is_empty() {
                jobs.push_back(job);
            }
        }
    }
    keep_panics();
    let machines = args.test_threads.unwrap_or(match list {
        // Tests wait more than they compute.
        List::Usual => 4,
        // An emulated processor computes all the time, and so do the fault tests and agents.
        List::Faults | List::Virtual | List::Agents => 2,
    });
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..machines.max(1) {
        let (jobs, run) = (Arc::clone(&jobs), run.clone());
        std::thread::spawn(move || {
            loop {
                let job = jobs.lock().expect("the jobs").pop_front();
                let Some(job) = job else { break };
                work(list, job, &run);
            }
        });
    }
    // The trials themselves only wait for their outcomes.
    args.test_threads = Some(trials.len().max(2));
    let conclusion = libtest_mimic::run(&args, trials);
    i32::from(conclusion.has_failed()) * 101
}

/// Runs the tests of one job in a machine that exists no longer than needed.
fn work(list: List, job: Job, run: &Result<Run, String>) {
    let mut machine: Option<Booted> = None;
    // A reason that prevented one boot prevents the next, so it is not tried twice.
    let mut no_boot: Option<String> = None;
    for (test, sender) in job.tests {
        let outcome = match run {
            Err(reason) => Err(format!("no machine can run here: {reason}")),
            Ok(run) => {
                if machine.is_none() && no_boot.is_none() {
                    match caught(|| boot(list, job.debian, job.packages, run)) {
                        Ok(booted) => machine = Some(booted),
                        Err(message) => no_boot = Some(message),
                    }
                }
                let outcome = match (&mut machine, &no_boot) {
                    (Some(machine), _) => one(list, machine, job.group, &test),
                    (None, reason) => Err(reason.clone().unwrap_or_default()),
                };
                if outcome.is_err() {
                    // A failed test may leave anything behind, so the next one gets a new machine.
                    let _ = caught(|| drop(machine.take()));
                }
                outcome
            }
        };
        let _ = sender.send(outcome);
    }
    let _ = caught(|| drop(machine));
}

fn boot(list: List, debian: Debian, packages: &str, run: &Run) -> Booted {
    match list {
        List::Usual | List::Faults => Booted::Container(Box::new(Machine::new(debian, packages, run))),
        List::Agents => Booted::Container(Box::new(Machine::with_agents(debian, packages, run))),
        List::Virtual => Booted::Virtual(Box::new(Vm::new(debian, run))),
    }
}

fn one(list: List, booted: &mut Booted, group: &str, test: &Test) -> Outcome {
    let wanted = format!("{group}::{}", test.name);
    let argv = ["/usr/lib/forge-tests/machine", "--inside", &wanted];
    let outcome = caught(|| match (&mut *booted, test.body) {
        (Booted::Container(machine), body) => {
            machine.deadline = Instant::now() + test.limit;
            match body {
                Body::Outside(body) => body(machine),
                Body::Inside(_) => {
                    let command = machine.command(USER, &argv);
                    let ran = ran::run(command, &wanted, test.limit);
                    if list == List::Faults || list == List::Agents {
                        // A long run prints how much it tried; its end is far away.
                        print!("{}", ran.stdout);
                    }
                    ran.ok();
                }
            }
        }
        (Booted::Virtual(vm), Body::Inside(_)) => {
            vm.run(USER, &argv, test.limit).ok();
        }
        (Booted::Virtual(_), Body::Outside(_)) => {
            panic!("nothing of a virtual machine is tested from outside")
        }
    });
    outcome.map_err(|message| {
        let words = caught(|| match booted {
            Booted::Container(machine) => {
                machine.deadline = Instant::now() + Duration::from_secs(20);
                machine::last_words(machine)
            }
            Booted::Virtual(vm) => vm.last_words(),
        });
        format!("{}\n{}", message.trim_end(), words.unwrap_or_else(|error| error))
    })
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A worker's panic is the outcome of a test; it belongs in the report, not between its lines.
fn keep_panics() {
    std::panic::set_hook(Box::new(|info| {
        LAST_PANIC.replace(info.to_string());
    }));
}

fn caught<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|_| LAST_PANIC.take())
}
