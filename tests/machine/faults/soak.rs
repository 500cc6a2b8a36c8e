//! A churn of everything at once: sessions are spawned, killed, stopped, frozen and restored at random,
//! beside sweeps; a model knows which must be running in the end.

mod checks;
mod disturb;
mod model;
mod worker;

use crate::chance::Chance;
use crate::machine::Machine;
use crate::ran;
use crate::suite::{Test, inside, outside};
use crate::support::{DropIn, Homebase, configured, forge, run_within, shell, socket, systemctl};
use checks::{Leaks, Supervisor};
use model::Session;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use worker::Worker;

pub(super) fn tests() -> Vec<Test> {
    vec![inside!(churn).limit_s(400)]
}

pub(super) fn long_tests() -> Vec<Test> {
    vec![outside!(an_hours_churn).limit_s(1800)]
}

/// How long one action may take; most take a tenth of a second.
const LONGEST: Duration = Duration::from_secs(120);

/// These two variables make a run longer, or repeat a failed one.
const SECONDS: &str = "FORGE_SOAK_SECONDS";
const SEED: &str = "FORGE_SOAK_SEED";

fn an_hours_churn(machine: &mut Machine) {
    let since = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_millis();
    let seed = std::env::var(SEED).unwrap_or_else(|_| since.to_string());
    println!("{SEED}={seed}");
    let seconds = number(SECONDS, 540);
    let (limit, seconds) = (Duration::from_secs(seconds + 600), format!("{SECONDS}={seconds}"));
    let seed = format!("{SEED}={seed}");
    let argv = ["env", &seconds, &seed, "/usr/lib/forge-tests/machine", "--inside", "soak::churn"];
    let ran = ran::run(machine.command("ada", &argv), &argv.join(" "), limit).ok();
    println!("{}", ran.stdout);
}

/// A number from the environment, if set.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

/// The actions, for the analysis of a failure.
struct History(Mutex<Vec<String>>, Instant);

impl History {
    fn log(&self, line: &str) {
        let line = format!("{:9.3} {line}", self.1.elapsed().as_secs_f64());
        self.0.lock().expect("the history").push(line);
    }
}

/// Further information about a failure.
const WHAT_IS_THERE: &str = "ps -u ada -o pid,ppid,stat,args; \
    systemctl --user list-units --all 'forge-*' 'tmux-*'; \
    ls -la /tmp/tmux-1000 .local/state/forge/sessions | grep -v foreign-; \
    journalctl --user -n 1500 --no-pager -o short-precise";

const WORKERS: usize = 4;
const NAMES: usize = 3;
/// The number of actions of each worker between two full checks.
const STEPS: usize = 12;

fn churn() {
    let seed = number(SEED, 1);
    println!("{SEED}={seed}");
    let history = History(Mutex::new(Vec::new()), Instant::now());
    let outcome = catch_unwind(AssertUnwindSafe(|| churned(seed, &history)));
    if let Err(panic) = outcome {
        let lines = history.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        println!("{}", lines[lines.len().saturating_sub(150)..].join("\n"));
        println!("{}", shell(WHAT_IS_THERE).stdout);
        resume_unwind(panic);
    }
}

fn churned(seed: u64, history: &History) {
    let end = Instant::now() + Duration::from_secs(number(SECONDS, 40));
    let homebase = Homebase::start();
    forge(&["units", "install"]).ok();
    // Without a breaker, and with short pauses.
    let _settings = DropIn::new("", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=50ms\n");
    // Each sweep waits for stopped servers, and here some are always stopped.
    let _configuration = configured("[sweep]\ntimeout_ms = 200\n");
    // One supervised session that is only observed, during the whole churn.
    forge(&["spawn", "long", "--supervise", "--", "sleep", "999999"]).ok();
    forge(&["poke", "long"]).ok();
    let long = Supervisor::of("long");
    let leaks = Leaks::begin();
    let mut workers: Vec<Worker<'_>> = (0..WORKERS).map(|n| Worker::new(n, NAMES, seed, history)).collect();
    let mut weather = Weather::new(history, seed);
    let mut rounds = 0;
    while Instant::now() < end {
        let over = AtomicBool::new(false);
        let restores = weather.restores;
        std::thread::scope(|scope| {
            let (over, weather) = (&over, &mut weather);
            let blowing = scope.spawn(move || weather.blow(over));
            let working: Vec<_> = workers
                .iter_mut()
                .map(|worker| scope.spawn(move || (0..STEPS).for_each(|_| worker.step())))
                .collect();
            let ended: Vec<_> = working.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            over.store(true, Ordering::Relaxed);
            let ended = ended.into_iter().chain([blowing.join()]);
            ended.for_each(|ended| ended.unwrap_or_else(|panic| resume_unwind(panic)));
        });
        history.log("the world settles");
        let sessions: Vec<&mut Session> =
            workers.iter_mut().flat_map(|worker| worker.sessions.iter_mut()).collect();
        checks::settle(sessions, weather.restores > restores);
        homebase.untouched();
        rounds += 1;
    }
    long.is_as_before();
    run_within(LONGEST, &["forge", "stop", "--all", "--timeout", "1"]).ok();
    leaks.none();
    homebase.untouched();
    let acts: usize = workers.iter().map(|worker| worker.acts).sum();
    println!(
        "{acts} acts in {rounds} rounds, {} s; beside them {} sweeps, {} foreign sockets, {} restores, {} pokes",
        history.1.elapsed().as_secs(),
        weather.sweeps,
        weather.sockets,
        weather.restores,
        weather.pokes
    );
}

/// Actions beside the workers that affect all sessions.
struct Weather<'a> {
    chance: Chance,
    history: &'a History,
    sweeps: usize,
    sockets: usize,
    restores: usize,
    pokes: usize,
}

impl<'a> Weather<'a> {
    fn new(history: &'a History, seed: u64) -> Self {
        Self { chance: Chance(seed ^ 0xffff), history, sweeps: 0, sockets: 0, restores: 0, pokes: 0 }
    }

    fn blow(&mut self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            let blows = self.chance.below(16);
            if blows < 3 {
                self.history.log(["a save", "an install", "a daemon-reload"][blows]);
            }
            let within = |args: &[&str]| run_within(LONGEST, &[&["forge"], args].concat());
            match blows {
                0 => drop(within(&["save"]).ok()),
                1 => drop(within(&["units", "install"]).ok()),
                2 => drop(systemctl(&["daemon-reload"]).ok()),
                3 => drop(within(&["list"]).ok()),
                4 => {
                    let probe = within(&["probe"]);
                    assert!([0, 5].contains(&probe.code), "{probe}");
                }
                5 => {
                    // As if no restore had run in this boot.
                    let _ = std::fs::remove_file(".local/state/forge/restored.json");
                    self.restores += 1;
                    self.history.log("a restore");
                    let restored = within(&["--json", "restore"]);
                    self.history.log(&format!("restored: {}", restored.stdout.trim()));
                }
                6 | 7 => {
                    within(&["poke", "long"]).ok();
                    self.pokes += 1;
                }
                8..12 => {
                    // Sockets of servers that no longer belong to a session.
                    self.sockets += 1;
                    drop(UnixListener::bind(socket(&format!("foreign-{}", self.sockets))));
                }
                _ => {
                    within(&["sweep"]).ok();
                    self.sweeps += 1;
                }
            }
        }
    }
}
