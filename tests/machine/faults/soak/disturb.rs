//! Forced disturbances of a session and their expected results.

use super::LONGEST;
use super::model::{Expect, Program, Run};
use super::worker::{Act, Worker, forge};
use crate::ran;
use crate::support::{alive, signal, slice_of, socket, systemctl, wait_until};

impl Worker<'_> {
    /// Ends a session by force or disturbs it.
    pub(super) fn disturb(&mut self, at: usize, act: Act) -> String {
        let name = self.sessions[at].name.clone();
        let status = forge(&["status", &name]);
        // Only a wedged or frozen program does not answer.
        self.expected(at, status.code == 0, &status);
        let status = status.json();
        let pid = |key: &str| u32::try_from(status[key].as_u64().unwrap_or(0)).expect("a pid");
        let (program, server) = (pid("pane_pid"), pid("server_pid"));
        let unit = format!("forge-spawn@{name}.service");
        let Expect::Up(run) = &self.sessions[at].now else { return "nothing to disturb".into() };
        let mut run = run.clone();
        if run.supervised {
            // Growing pauses start from the beginning again.
            systemctl(&["reset-failed", &unit]);
        }
        if matches!(act, Act::End | Act::Fail) {
            // The program has set its traps once its children run.
            wait_until(LONGEST, &format!("the children of {name}"), || children(program) >= run.children);
        }
        let gone = Run { in_flux: true, program: Program::IsNot(program), ..run.clone() };
        let crashed = |else_: fn(Run) -> Expect| {
            if gone.supervised { Expect::Up(gone.clone()) } else { else_(gone.clone()) }
        };
        self.sessions[at].now = match act {
            Act::KillProgram => {
                killed(program);
                crashed(|_| Expect::Ending)
            }
            Act::KillServer => {
                killed(server);
                crashed(Expect::Lost)
            }
            Act::KillScope => {
                systemctl(&["kill", "-s", "KILL", &format!("forge-spawn-{name}.scope")]);
                wait_until(LONGEST, "the end of a server", || !alive(server));
                // Either may have been killed first; the program may be in its own scope.
                crashed(Expect::Lost)
            }
            Act::KillAll => {
                if run.supervised {
                    supervisor(&unit).into_iter().for_each(killed);
                }
                let group = format!("/sys/fs/cgroup{}/cgroup.kill", slice_of(&name));
                std::fs::write(group, "1").expect("a kill of all");
                wait_until(LONGEST, "the end of all", || !alive(server) && !alive(program));
                let lost = Run { stopped: None, frozen: false, ..gone.clone() };
                if run.supervised {
                    Expect::Up(lost)
                } else {
                    Expect::Lost(Run { frozen: run.frozen, ..lost })
                }
            }
            Act::KillSupervisor => {
                supervisor(&unit).into_iter().for_each(killed);
                Expect::Up(run)
            }
            Act::StopService => {
                systemctl(&["stop", &unit]);
                Expect::Over(gone)
            }
            Act::End => {
                signal("USR1", program);
                if run.supervised { Expect::Over(gone) } else { Expect::Ending }
            }
            Act::Fail => {
                signal("USR2", program);
                crashed(|_| Expect::Ending)
            }
            Act::RemoveSocket => {
                let _ = std::fs::remove_file(socket(&format!("spawn-{name}")));
                Expect::Up(run)
            }
            Act::StopServer => {
                signal("STOP", server);
                run.stopped = Some(server);
                Expect::Up(run)
            }
            Act::Freeze => {
                let ran = forge(&["freeze", &name]);
                self.expected(at, ran.code == 0, &ran);
                run.frozen = true;
                Expect::Up(run)
            }
            _ => unreachable!("{act:?} disturbs nothing"),
        };
        format!("program {program}, server {server}")
    }
}

/// Kills a process and waits until it is gone.
fn killed(pid: u32) {
    if pid > 1 {
        ran::kill(pid);
        wait_until(LONGEST, &format!("the end of {pid}"), || !alive(pid));
    }
}

/// The supervisor's pid; `None` between two supervisors.
fn supervisor(unit: &str) -> Option<u32> {
    let shown = systemctl(&["show", "--value", "-p", "MainPID", unit]).stdout;
    shown.trim().parse().ok().filter(|pid| *pid > 1)
}

fn children(pid: u32) -> usize {
    let path = format!("/proc/{pid}/task/{pid}/children");
    std::fs::read_to_string(path).unwrap_or_default().split_whitespace().count()
}
