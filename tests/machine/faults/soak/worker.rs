//! A worker that performs actions on sessions, one after another, and updates their model.

use super::model::{Expect, Program, Run, Session};
use super::{History, LONGEST};
use crate::chance::Chance;
use crate::ran::{Background, Ran};
use crate::support::{alive, run_within, signal, socket, start, wait_until};
use serde_json::Value;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static SERIAL: AtomicU32 = AtomicU32::new(1);

/// The duration of the `sleep` children of a session's program.
pub(super) const SLEEPS: u32 = 1_000_000;

/// The program: it exits with 0 or 3 on request, and leaves its children behind.
const PROGRAM: &str = "trap 'exit 0' USR1; trap 'exit 3' USR2; for ignored; do (trap '' $ignored; exec setsid sleep $0) & done; \
                       sleep $0 & echo up; wait";

/// The actions on a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Act {
    Spawn,
    TwoSpawns,
    Replace,
    Stop,
    StopPattern,
    Restart,
    StopService,
    KillProgram,
    KillServer,
    KillSupervisor,
    KillAll,
    KillScope,
    End,
    Fail,
    RemoveSocket,
    LitterSocket,
    StopServer,
    Freeze,
    Release,
    WaitUp,
}

pub(super) struct Worker<'a> {
    pub(super) sessions: Vec<Session>,
    chance: Chance,
    pattern: String,
    history: &'a History,
    pub(super) acts: usize,
}

/// The start of a program, and the model of a successful spawn.
struct Spawning {
    argv: Vec<String>,
    run: Run,
}

pub(super) fn forge(args: &[&str]) -> Ran {
    run_within(LONGEST, &[&["forge", "--json"], args].concat())
}

/// The reason of forge's refusal; empty if forge did not refuse.
fn refusal(ran: &Ran) -> String {
    if ran.code == 0 {
        return String::new();
    }
    ran.json()["error"]["kind"].as_str().unwrap_or_default().to_owned()
}

/// Whether another process of forge holds the name of the session.
fn is_held(ran: &Ran) -> bool {
    ran.stderr.contains(" is being spawned by process ")
}

impl<'a> Worker<'a> {
    pub(super) fn new(number: usize, names: usize, seed: u64, history: &'a History) -> Self {
        let session = |n| Session { name: format!("w{number}-{n}"), now: Expect::Absent };
        Self {
            sessions: (0..names).map(session).collect(),
            chance: Chance(seed.wrapping_add(number as u64 * 0x0123_4567_89ab_cdef)),
            pattern: format!("w{number}-*"),
            history,
            acts: 0,
        }
    }

    /// Performs one action on one of its sessions.
    pub(super) fn step(&mut self) {
        let at = self.chance.below(self.sessions.len());
        let act = self.choose(at);
        let before = self.sessions[at].now.clone();
        let begin = Instant::now();
        let said = self.act(at, act);
        let (Session { name, now }, took) = (&self.sessions[at], begin.elapsed().as_millis());
        self.history.log(&format!("{name}: {act:?} of {before:?}: {took} ms, {said}; now {now:?}"));
        self.acts += 1;
        if self.chance.one_in(3) {
            std::thread::sleep(Duration::from_millis(self.chance.below(200) as u64));
        }
    }

    fn choose(&mut self, at: usize) -> Act {
        use Act::{
            End, Fail, Freeze, KillAll, KillProgram, KillScope, KillServer, KillSupervisor, LitterSocket,
            Release, RemoveSocket, Replace, Restart, Spawn, Stop, StopPattern, StopServer, StopService,
            TwoSpawns, WaitUp,
        };
        let acts: &[Act] = match &self.sessions[at].now {
            Expect::Absent => &[Spawn, Spawn, Spawn, TwoSpawns, LitterSocket, Stop, Replace],
            Expect::Ending => &[Spawn, Spawn, Stop, TwoSpawns],
            Expect::Lost(_) => &[Spawn, Restart, Stop, TwoSpawns, Replace, WaitUp, WaitUp],
            Expect::Over(_) => &[Spawn, Restart, Stop, Replace],
            Expect::Up(run) if run.stopped.is_some() || run.frozen => {
                &[Release, Release, Release, Stop, Replace, Restart, KillAll]
            }
            Expect::Up(run) if run.in_flux => &[WaitUp, WaitUp, WaitUp, Stop, Replace, Restart, Spawn],
            Expect::Up(run) if run.supervised => &[
                KillProgram,
                KillServer,
                KillSupervisor,
                KillSupervisor,
                KillAll,
                KillScope,
                End,
                Fail,
                RemoveSocket,
                StopServer,
                Freeze,
                Stop,
                StopPattern,
                StopService,
                Restart,
                Replace,
                Spawn,
            ],
            Expect::Up(_) => &[
                KillProgram,
                KillServer,
                KillAll,
                KillScope,
                End,
                Fail,
                RemoveSocket,
                StopServer,
                Freeze,
                Stop,
                StopPattern,
                Restart,
                Replace,
                Spawn,
            ],
        };
        self.chance.one_of(acts)
    }

    fn act(&mut self, at: usize, act: Act) -> String {
        match act {
            Act::Spawn => self.spawn(at, false),
            Act::Replace => self.spawn(at, true),
            Act::TwoSpawns => self.two_spawns(at),
            Act::Stop => self.stop(at),
            Act::StopPattern => self.stop_pattern(),
            Act::Restart => self.restart(at),
            Act::WaitUp => self.wait_up(at),
            Act::LitterSocket => {
                // As a crashed server leaves it.
                let name = format!("spawn-{}", self.sessions[at].name);
                format!("{:?}", UnixListener::bind(socket(&name)).map(drop))
            }
            Act::Release => {
                let Session { name, now } = &mut self.sessions[at];
                release(name, now);
                String::new()
            }
            _ => self.disturb(at, act),
        }
    }

    /// The options of a spawn, and its model.
    fn spawning(&mut self, at: usize, replace: bool) -> Spawning {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let supervised = self.chance.one_in(2);
        let mut argv = vec!["spawn".to_owned(), self.sessions[at].name.clone()];
        argv.extend(supervised.then(|| "--supervise".to_owned()));
        argv.extend(replace.then(|| "--replace".to_owned()));
        if self.chance.one_in(2) {
            argv.extend(["--ready".to_owned(), "up".to_owned()]);
        }
        // A child in its own session that survives a hang-up; rarely one that only SIGKILL ends.
        let ignored: &[&str] = match self.chance.below(12) {
            0..7 => &[],
            7..10 => &["HUP"],
            10 => &["HUP", "HUP"],
            _ => &["HUP TERM"],
        };
        argv.extend(["--", "sh", "-c", PROGRAM].map(ToOwned::to_owned));
        argv.push((SLEEPS + serial).to_string());
        argv.extend(ignored.iter().map(|&signals| signals.to_owned()));
        let (children, program) = (1 + ignored.len(), Program::IsNot(0));
        let run = Run { serial, supervised, children, program, stopped: None, frozen: false, in_flux: false };
        Spawning { argv, run }
    }

    fn spawn(&mut self, at: usize, replace: bool) -> String {
        let spawning = self.spawning(at, replace);
        let ran = forge(&spawning.argv.iter().map(String::as_str).collect::<Vec<_>>());
        let refusal = refusal(&ran);
        let expected = match &self.sessions[at].now {
            _ if ran.code == 0 => replace || !matches!(self.sessions[at].now, Expect::Up(_)),
            // A spawn does not wait for another that has the name: the supervisor starts the session, or a
            // restore that planned while the session was being replaced holds the name until it sees that.
            Expect::Up(run) => refusal == "taken" && (!replace || run.in_flux || is_held(&ran)),
            // Another forge is cleaning up, or a restore is starting it.
            Expect::Ending | Expect::Over(_) | Expect::Lost(_) => refusal == "taken",
            Expect::Absent => false,
        };
        self.expected(at, expected, &ran);
        if ran.code == 0 {
            self.sessions[at].now = Expect::Up(spawned(&spawning.run, &ran.json()));
        }
        format!("{} {refusal}", ran.argv)
    }

    fn two_spawns(&mut self, at: usize) -> String {
        let both = [self.spawning(at, false), self.spawning(at, false)];
        let running: Vec<Background> = both
            .iter()
            .map(|one| {
                let argv: Vec<&str> =
                    ["forge", "--json"].into_iter().chain(one.argv.iter().map(String::as_str)).collect();
                start(&argv)
            })
            .collect();
        let ran: Vec<Ran> = running.into_iter().map(|one| one.wait(LONGEST)).collect();
        let up = ran.iter().filter(|ran| ran.code == 0).count();
        for ran in &ran {
            self.expected(at, ran.code == 0 || refusal(ran) == "taken", ran);
        }
        let sure = matches!(self.sessions[at].now, Expect::Absent);
        self.expected(at, up < 2 && (up == 1 || !sure), &ran[0]);
        for (one, ran) in both.iter().zip(&ran).filter(|(_, ran)| ran.code == 0) {
            self.sessions[at].now = Expect::Up(spawned(&one.run, &ran.json()));
        }
        format!("{up} up of {} and {}", ran[0].argv, ran[1].argv)
    }

    fn stop(&mut self, at: usize) -> String {
        let ran = forge(&["stop", "--timeout", "1", &self.sessions[at].name]);
        let refusal = refusal(&ran);
        let expected = match &self.sessions[at].now {
            Expect::Absent => refusal == "no_session",
            // Another forge is cleaning up; or a restore has claimed the name and nothing exists yet; or one
            // has forgotten the session.
            Expect::Ending | Expect::Lost(_) | Expect::Over(_) => {
                ran.code == 0 || refusal == "no_session" || ran.stderr.contains(" just appeared")
            }
            Expect::Up(_) => ran.code == 0,
        };
        self.expected(at, expected, &ran);
        self.sessions[at].now = match &self.sessions[at].now {
            lost @ Expect::Lost(_) if ran.code != 0 => lost.clone(),
            // A restore whose start was ended holds the name until it notices.
            Expect::Lost(_) | Expect::Ending => Expect::Ending,
            _ => Expect::Absent,
        };
        refusal
    }

    fn stop_pattern(&mut self) -> String {
        let ran = forge(&["stop", "--timeout", "1", &self.pattern]);
        self.expected(0, ran.code == 0, &ran);
        for session in &mut self.sessions {
            session.now = Expect::Absent;
        }
        String::new()
    }

    fn restart(&mut self, at: usize) -> String {
        let ran = forge(&["restart", &self.sessions[at].name]);
        let refusal = refusal(&ran);
        let is_forgotten = refusal == "no_session" || ran.stderr.contains(" has no specification of ");
        let expected = match &self.sessions[at].now {
            _ if ran.code == 0 => true,
            // A restore is starting it, or has forgotten it.
            Expect::Lost(_) => refusal == "taken" || refusal == "no_session",
            // A restore has forgotten it, perhaps while its last processes end.
            Expect::Over(_) => is_forgotten,
            // A restore that has just started it holds the name for a moment.
            Expect::Up(_) => refusal == "taken" && is_held(&ran),
            _ => false,
        };
        self.expected(at, expected, &ran);
        if is_forgotten && matches!(self.sessions[at].now, Expect::Over(_)) {
            self.sessions[at].now = Expect::Absent;
        }
        if ran.code == 0
            && let Some(run) = self.sessions[at].now.run_mut()
        {
            let run = Run { stopped: None, frozen: false, in_flux: false, ..run.clone() };
            self.sessions[at].now = Expect::Up(spawned(&run, &ran.json()["restarted"][0]));
        }
        refusal
    }

    fn wait_up(&mut self, at: usize) -> String {
        let Session { name, now } = &mut self.sessions[at];
        let Expect::Up(run) = now else { return "not waited for".into() };
        wait_until(LONGEST, &format!("{name} to be up again"), || {
            let status = forge(&["status", name]);
            if status.code != 0 || status.json()["state"] != "running" {
                return false;
            }
            let pid = u32::try_from(status.json()["pane_pid"].as_u64().unwrap_or(0)).expect("a pid");
            let is_another = pid > 0 && run.program != Program::IsNot(pid);
            if is_another {
                run.program = Program::Is(pid);
                run.in_flux = false;
            }
            is_another
        });
        String::new()
    }

    #[track_caller]
    pub(super) fn expected(&self, at: usize, expected: bool, ran: &Ran) {
        let Session { name, now } = &self.sessions[at];
        assert!(expected, "{name}, which is {now:?}, did not expect this:\n{ran}");
    }
}

/// The run that the output of a spawn or a restart describes.
fn spawned(run: &Run, reported: &Value) -> Run {
    let pid = reported["pane_pid"].as_u64().unwrap_or_else(|| panic!("no pid in {reported}"));
    Run { program: Program::Is(u32::try_from(pid).expect("a pid")), ..run.clone() }
}

/// Resumes a session that was stopped or frozen.
pub(super) fn release(name: &str, now: &mut Expect) {
    let Some(run) = now.run_mut() else { return };
    if let Some(server) = run.stopped.take().filter(|server| alive(*server)) {
        signal("CONT", server);
    }
    if std::mem::take(&mut run.frozen) {
        forge(&["thaw", name]);
    }
}
