//! Checks that model and machine agree, and that nothing is left in the end.

use super::LONGEST;
use super::model::{Expect, Program, Session};
use super::worker::{SLEEPS, release};
use crate::support::{forge_json, processes_in, run, run_within, shell, slice_of, systemctl};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Waits until the machine matches the model; the model adopts facts that it could not know.
#[track_caller]
pub(super) fn settle(mut sessions: Vec<&mut Session>, was_restored: bool) {
    for session in &mut sessions {
        release(&session.name, &mut session.now);
    }
    let end = Instant::now() + LONGEST;
    loop {
        match agree(&mut sessions, was_restored) {
            Ok(()) => return,
            Err(why) => assert!(Instant::now() < end, "{why}\nin the model:\n{sessions:#?}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The observed state of the machine.
struct Seen {
    listed: BTreeMap<String, Value>,
    lines: Vec<String>,
    units: Vec<Unit>,
    sockets: BTreeSet<String>,
    specs: BTreeSet<String>,
}

struct Unit {
    name: String,
    active: String,
}

fn names_in(dir: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn units() -> Vec<Unit> {
    let list = ["list-units", "--all", "--plain", "--no-legend", "--no-pager", "forge-*", "tmux-spawn-*"];
    let rows = systemctl(&list).ok().stdout;
    let unit = |row: &str| {
        let mut words = row.split_whitespace();
        let name = words.next()?.to_owned();
        Some(Unit { name, active: words.nth(1)?.to_owned() })
    };
    rows.lines().filter_map(unit).collect()
}

/// The command lines of ada's processes.
fn lines() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok())
        .map(|line| line.replace('\0', " ").trim_end().to_owned())
        .collect()
}

fn observe() -> Seen {
    run_within(LONGEST, &["forge", "-q", "sweep"]).ok();
    let list = forge_json(&["list"]);
    let listed = list["sessions"].as_array().expect("sessions").iter();
    Seen {
        listed: listed
            .map(|one| (one["session"].as_str().expect("a name").to_owned(), one.clone()))
            .filter(|(name, _)| name != "long")
            .collect(),
        lines: lines(),
        units: units(),
        sockets: names_in("/tmp/tmux-1000"),
        specs: names_in(".local/state/forge/sessions"),
    }
}

fn wanted(is: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is { Ok(()) } else { Err(what()) }
}

fn agree(sessions: &mut [&mut Session], was_restored: bool) -> Result<(), String> {
    let seen = observe();
    for session in sessions.iter_mut() {
        let name = session.name.clone();
        let listed = seen.listed.get(&name);
        let is_running = listed.is_some_and(|one| one["state"] == "running");
        match &mut session.now {
            now @ Expect::Lost(_) if was_restored && is_running => {
                // A restore found it before this check did.
                let run = now.run_mut().expect("a run").clone();
                *now = Expect::Up(run);
            }
            Expect::Ending if listed.is_none() => session.now = Expect::Absent,
            _ => {}
        }
        is_as_expected(session, &seen, was_restored).map_err(|why| format!("{name}: {why}"))?;
    }
    let known: BTreeSet<&str> = sessions.iter().map(|session| session.name.as_str()).collect();
    for name in seen.listed.keys() {
        wanted(known.contains(name.as_str()), || format!("{name} is listed, and nobody's"))?;
    }
    nothing_else(sessions, &seen)
}

/// Checks that a session matches the model everywhere.
fn is_as_expected(session: &mut Session, seen: &Seen, was_restored: bool) -> Result<(), String> {
    let Session { name, now } = session;
    let listed = seen.listed.get(name);
    let spec = seen.specs.contains(&format!("{name}.json"));
    let has_socket = seen.sockets.contains(&format!("spawn-{name}"));
    let count = |what: &str| seen.lines.iter().filter(|line| line.starts_with(what)).count();
    let servers =
        seen.lines.iter().filter(|line| line.contains(&format!(" spawn-{name} new-session"))).count();
    let supervisors = count(&format!("forge supervise --watch {name}"));
    let has_units = seen.units.iter().any(|unit| {
        unit.active != "inactive"
            && [format!("forge-spawn-{name}.scope"), format!("forge-spawn@{name}.service")]
                .contains(&unit.name)
    });
    let state = || format!("listed {listed:?}, {servers} servers, {supervisors} supervisors");
    match now {
        Expect::Up(run) => {
            let one = listed.ok_or("it is not listed")?;
            wanted(one["state"] == "running", || format!("it is no running session: {one}"))?;
            wanted(one["supervised"] == run.supervised, || format!("supervised or not: {one}"))?;
            let pid = u32::try_from(one["pane_pid"].as_u64().unwrap_or(0)).expect("a pid");
            let right = match run.program {
                Program::Is(known) => pid == known,
                Program::IsNot(known) => pid != known,
            };
            wanted(right, || format!("its program is {pid}"))?;
            wanted(has_socket && spec, || "its socket or its file is missing".to_owned())?;
            wanted((servers, supervisors) == (1, usize::from(run.supervised)), state)?;
            let children = count(&format!("sleep {}", SLEEPS + run.serial));
            wanted(children == run.children, || format!("{children} children of {run:?}"))?;
            // The server, the program and the children.
            let processes = processes_in(&slice_of(name)).len();
            wanted(processes == 2 + run.children, || format!("{processes} processes in its slice"))?;
            (run.program, run.in_flux) = (Program::Is(pid), false);
        }
        Expect::Lost(run) => {
            wanted(spec, || "its file is gone, and it would not be restored".to_owned())?;
            wanted(!run.supervised, || "a supervisor lost it".to_owned())?;
            wanted(!has_socket && servers == 0, || format!("something of it is alive: {}", state()))?;
            let is_dead = listed.is_none_or(|one| one["state"] == "dead" || one["state"] == "failed");
            wanted(is_dead, || format!("it runs again, and nobody restored it: {listed:?}"))?;
        }
        Expect::Over(run) => {
            wanted(spec || was_restored, || "its file is gone, and it cannot be restarted".to_owned())?;
            run.in_flux = false;
            let nothing = listed.is_none() && !has_units && !has_socket && servers + supervisors == 0;
            wanted(nothing && processes_in(&slice_of(name)).is_empty(), || {
                format!("something of it is left: {}", state())
            })?;
            if !spec {
                *now = Expect::Absent;
            }
        }
        Expect::Absent | Expect::Ending => {
            let nothing =
                listed.is_none() && !has_units && !has_socket && !spec && servers + supervisors == 0;
            wanted(nothing && processes_in(&slice_of(name)).is_empty(), || {
                format!("something of it is left: {}, its file {spec}, its socket {has_socket}", state())
            })?;
        }
    }
    Ok(())
}

/// Checks that nothing exists beside the model's sessions.
fn nothing_else(sessions: &[&mut Session], seen: &Seen) -> Result<(), String> {
    let mut serials = BTreeSet::new();
    let mut up = 0;
    for session in sessions {
        if let Expect::Up(run) | Expect::Lost(run) = &session.now {
            serials.insert((SLEEPS + run.serial).to_string());
        }
        up += usize::from(matches!(session.now, Expect::Up(_)));
    }
    for line in &seen.lines {
        if let Some(serial) = line.strip_prefix("sleep 10").map(|rest| format!("10{rest}")) {
            let known = serial.len() != 7 || serials.contains(&serial);
            wanted(known, || format!("'{line}' runs, and its session is over"))?;
        }
        let gate = line.starts_with("forge") && line.contains(" gate-");
        wanted(!gate, || format!("'{line}' waits behind a gate"))?;
    }
    let panes = seen.units.iter().filter(|unit| unit.name.starts_with("tmux-spawn-")).count();
    let lost = sessions.iter().filter(|session| matches!(session.now, Expect::Lost(_))).count();
    // The others are those of homebase and of the long one. tmux 3.3a makes none.
    let right = panes == 0 || (up + 2..=up + 2 + lost).contains(&panes);
    wanted(right, || format!("{panes} scopes of panes for {up} sessions and two"))?;
    let failed: Vec<&str> =
        seen.units.iter().filter(|unit| unit.active == "failed").map(|unit| unit.name.as_str()).collect();
    wanted(failed.is_empty(), || format!("failed units: {failed:?}"))?;
    let known = |name: &str| {
        name == "homebase"
            || name.strip_suffix(".lock").is_some_and(|name| !name.starts_with("spawn-"))
            || name.strip_prefix("spawn-").is_some_and(|name| !name.ends_with(".lock"))
    };
    let odd: Vec<&String> = seen.sockets.iter().filter(|name| !known(name)).collect();
    wanted(odd.is_empty(), || format!("in the directory of sockets: {odd:?}"))?;
    let odd: Vec<&String> = seen.specs.iter().filter(|name| !name.ends_with(".json")).collect();
    wanted(odd.is_empty(), || format!("half-written files: {odd:?}"))?;
    let runtime = shell("find $XDG_RUNTIME_DIR/forge -name '*.tmp'").stdout;
    wanted(runtime.is_empty(), || format!("half-written files: {runtime}"))
}

/// Resources that a process holds.
fn footprint(pid: u32) -> (usize, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let rss =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").count();
    (open, rss.expect("its memory"))
}

/// One supervisor that lives through the whole churn.
pub(super) struct Supervisor {
    name: String,
    pid: u32,
    before: (usize, u64),
}

impl Supervisor {
    #[track_caller]
    pub(super) fn of(name: &str) -> Self {
        let pid = Self::pid(name);
        // The supervisor executes itself again after a poke.
        std::thread::sleep(Duration::from_secs(2));
        Self { name: name.to_owned(), pid, before: footprint(pid) }
    }

    #[track_caller]
    fn pid(name: &str) -> u32 {
        let unit = format!("forge-spawn@{name}.service");
        systemctl(&["show", "--value", "-p", "MainPID", &unit]).ok().stdout.trim().parse().expect("a pid")
    }

    /// Asserts that the supervisor is the same process and holds no more resources.
    #[track_caller]
    pub(super) fn is_as_before(&self) {
        assert_eq!(Self::pid(&self.name), self.pid, "the supervisor of {} is another", self.name);
        std::thread::sleep(Duration::from_secs(2));
        let (before, now) = (self.before, footprint(self.pid));
        println!("a supervisor through all of it: descriptors and KiB {before:?} before, {now:?} after");
        assert_eq!(now.0, before.0, "its descriptors");
        assert!(now.1 < before.1 + before.1 / 4, "its memory in KiB: {before:?}, {now:?}");
    }
}

/// The state before the churn, which must be the state after it.
pub(super) struct Leaks {
    manager: u32,
    open: usize,
    rss: u64,
    lines: BTreeSet<String>,
    units: BTreeSet<String>,
}

impl Leaks {
    #[track_caller]
    pub(super) fn begin() -> Self {
        let manager =
            run(&["pgrep", "-u", "ada", "-x", "systemd"]).ok().stdout.trim().parse().expect("a pid");
        let (open, rss) = footprint(manager);
        Self { manager, open, rss, lines: lines().into_iter().collect(), units: Self::units() }
    }

    fn units() -> BTreeSet<String> {
        units().into_iter().map(|unit| unit.name).collect()
    }

    /// Things that exist now and did not before.
    fn left(&self) -> Vec<String> {
        let open = footprint(self.manager).0;
        let mut left: Vec<String> = Self::units().difference(&self.units).cloned().collect();
        left.extend(lines().into_iter().filter(|line| !line.is_empty() && !self.lines.contains(line)));
        left.extend(names_in(".local/state/forge/sessions"));
        let socket = |name: &String| name != "homebase" && !name.starts_with("foreign-");
        left.extend(names_in("/tmp/tmux-1000").into_iter().filter(socket));
        left.extend((open > self.open + 4).then(|| format!("{open} descriptors of the manager")));
        let groups =
            shell("ls -d /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/forge.slice/forge-*");
        left.extend(groups.stdout.lines().map(ToOwned::to_owned));
        left
    }

    #[track_caller]
    pub(super) fn none(&self) {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let left = self.left();
            if left.is_empty() {
                break;
            }
            assert!(Instant::now() < end, "left after all is stopped: {left:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        let (open, rss) = footprint(self.manager);
        println!(
            "the user manager: {} descriptors and {} KiB before, {open} and {rss} after",
            self.open, self.rss
        );
    }
}
