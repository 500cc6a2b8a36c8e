//! A manager, bus or journal that is stopped, is absent, or ends in the middle of a call.

use super::around::{
    Bystanders, DEADLINE, is_orderly, main_pid, manager_pid, nothing_is_left, sessions, sh, signal, start,
};
use crate::machine::Machine;
use crate::ran::{Background, Ran};
use crate::suite::{Test, outside};
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        outside!(a_stopped_manager_meets_the_deadline).limit_s(300),
        outside!(a_stopped_bus_meets_the_deadline).limit_s(300),
        outside!(a_silent_bus_meets_the_deadline).limit_s(300),
        outside!(a_bus_that_closes_mid_request_is_reported).limit_s(600),
        outside!(forge_works_during_constant_daemon_reexec).limit_s(300),
        outside!(a_stopped_journald_does_not_block_forge).limit_s(300),
        outside!(work_goes_on_while_journald_is_down).limit_s(300),
    ]
}

pub(crate) fn long_tests() -> Vec<Test> {
    vec![
        outside!(a_bus_that_closes_mid_request_often_is_reported).limit_s(7200),
        outside!(forge_works_during_long_daemon_reexec).limit_s(3600),
    ]
}

/// The commands that run while nobody answers, each with its exit status.
const VERBS: [(&str, i32); 11] = [
    ("list", 4),
    ("status stays", 4),
    ("probe", 4),
    ("doctor", 5),
    ("spawn late -- sleep 10000", 4),
    ("stop stays", 4),
    ("restore", 4),
    ("save", 4),
    ("units install", 4),
    ("guard run --unit web -- true", 125),
    ("sweep", 0),
];

/// Runs all these commands in parallel while the process is stopped.
fn while_it_stands_still(machine: &Machine, pid: &str) {
    let bystanders = Bystanders::start(machine);
    dead_socket(machine, "dead");
    signal(machine, "STOP", pid);
    let begin = Instant::now();
    let asked: Vec<Background> =
        VERBS.iter().map(|(verb, _)| start(machine, &format!("forge {verb}"))).collect();
    let ended: Vec<(bool, Ran)> = asked.into_iter().map(|one| one.end(DEADLINE)).collect();
    println!("{} verbs ended after {} s", ended.len(), begin.elapsed().as_secs());
    signal(machine, "CONT", pid);
    for ((verb, code), (in_time, ran)) in VERBS.into_iter().zip(ended) {
        assert!(in_time, "{verb} waits for ever: {ran}");
        assert_eq!(ran.code, code, "{verb}: {ran}");
        is_orderly(&ran);
    }
    assert!(!machine.path("/tmp/tmux-1000/dead").exists(), "the sweep does what it can");
    bystanders.untouched(machine);
    assert_eq!(sessions(machine).len(), 1, "what was given up does not come later");
    bystanders.leave(machine);
    sh(machine, "forge units uninstall").ok();
}

/// A socket that nobody listens on.
fn dead_socket(machine: &Machine, name: &str) {
    let bind = "import socket, sys; socket.socket(socket.AF_UNIX).bind('/tmp/tmux-1000/' + sys.argv[1])";
    sh(machine, &format!("python3 -c \"{bind}\" {name}")).ok();
}

fn a_stopped_manager_meets_the_deadline(machine: &mut Machine) {
    while_it_stands_still(machine, &manager_pid(machine));
}

fn a_stopped_bus_meets_the_deadline(machine: &mut Machine) {
    while_it_stands_still(machine, &main_pid(machine, "dbus.service"));
}

/// Listens and, by its mode: never accepts; accepts and stays silent; closes each connection at once, or
/// after the handshake; stays silent after the handshake.
const BUS: &str = r"
import os, socket, sys
how, path = sys.argv[1:]
bus = socket.socket(socket.AF_UNIX)
bus.bind(path)
bus.listen(0 if how == 'full' else 50)
if how == 'full':
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(path)
print('up', flush=True)
kept = []
while how != 'full':
    one, _ = bus.accept()
    kept.append(one)
    if how == 'ends':
        one.close()
    if how in ('ends-after', 'mute'):
        reported = b''
        while b'BEGIN' not in reported:
            more = one.recv(4096)
            if not more:
                break
            for line in more.split(b'\r\n'):
                if line.lstrip(b'\0').startswith(b'AUTH'):
                    one.sendall(b'OK 0123456789abcdef0123456789abcdef\r\n')
                if line.startswith(b'NEGOTIATE'):
                    one.sendall(b'AGREE_UNIX_FD\r\n')
            reported += more
        if how == 'ends-after':
            one.close()
import time
time.sleep(1000)
";

fn a_silent_bus_meets_the_deadline(machine: &mut Machine) {
    let bystanders = Bystanders::start(machine);
    std::fs::write(machine.path("/tmp/bus.py"), BUS).expect("a bus");
    let kinds = ["full", "silent", "ends", "ends-after", "mute"];
    let mut buses: Vec<Background> = kinds
        .iter()
        .map(|how| start(machine, &format!("exec python3 /tmp/bus.py {how} /tmp/bus-{how}")))
        .collect();
    crate::support::wait_until(Duration::from_secs(20), "the buses", || {
        kinds.iter().all(|how| machine.path(&format!("/tmp/bus-{how}")).exists())
    });
    std::thread::sleep(Duration::from_millis(500));
    let verbs = ["list", "spawn late -- sleep 10000", "guard run --unit web -- true", "sweep"];
    let mut asked = Vec::new();
    for (how, verb) in kinds.iter().flat_map(|how| verbs.map(|verb| (how, verb))) {
        let line = format!("DBUS_SESSION_BUS_ADDRESS=unix:path=/tmp/bus-{how} forge {verb}");
        asked.push((*how, verb, start(machine, &line)));
    }
    for (how, verb, one) in asked {
        let (in_time, ran) = one.end(DEADLINE);
        assert!(in_time, "{how}: {verb} waits for ever: {ran}");
        let wanted = match (verb, how) {
            ("sweep", _) => 0,
            (verb, _) if verb.starts_with("guard") => 125,
            (_, "ends" | "ends-after") => 3,
            _ => 4,
        };
        assert_eq!(ran.code, wanted, "{how}: {verb}: {ran}");
        is_orderly(&ran);
    }
    buses.iter_mut().for_each(Background::kill);
    bystanders.leave(machine);
}

/// Kills the bus this many milliseconds after the start of a command.
fn bus_killed_after(machine: &Machine, verb: &str, delay: u64) {
    sh(machine, "systemctl --user reset-failed dbus.service dbus.socket; busctl --user status >/dev/null")
        .ok();
    let bus = main_pid(machine, "dbus.service");
    // The bus may be killed after the command has finished: nothing else may use it before.
    let line = format!("(sleep 0.{delay:03}; kill -9 {bus}) & forge {verb}; status=$?; wait; exit $status");
    // A manager whose bus is killed may hang for 90 s: it calls a bus that the manager itself would have to
    // start.
    let (in_time, ran) = start(machine, &line).end(Duration::from_secs(240));
    assert!(in_time, "{verb}, the bus killed after {delay} ms: no end: {ran}");
    is_orderly(&ran);
    let end = Instant::now() + Duration::from_secs(150);
    let looks = || {
        let line = "systemctl --user reset-failed dbus.service dbus.socket; forge list";
        start(machine, line).wait(Duration::from_secs(240)).code == 0
    };
    while !looks() {
        assert!(Instant::now() < end, "{verb}, after {delay} ms: the bus does not come back");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn buses_ending(machine: &Machine, delays: &[u64]) {
    let bystanders = Bystanders::start(machine);
    for delay in delays {
        bus_killed_after(machine, "spawn cut -- sleep 10000", *delay);
        bystanders.untouched(machine);
        // The same command again: the session starts, or its name is taken because it did start.
        let again = sh(machine, "forge --json spawn cut -- sleep 10000");
        if again.code != 0 {
            assert_eq!(again.json()["error"]["kind"], "taken", "after {delay} ms: {again}");
        }
        let list = sessions(machine);
        assert!(list.contains(&("cut".into(), "running".into())), "after {delay} ms: {list:?}");
        bus_killed_after(machine, "stop cut", *delay);
        let again = sh(machine, "forge --json stop cut");
        if again.code != 0 {
            assert_eq!(again.json()["error"]["kind"], "no_session", "after {delay} ms: {again}");
        }
        assert_eq!(sessions(machine).len(), 1, "after {delay} ms");
        bystanders.untouched(machine);
    }
    bystanders.leave(machine);
}

fn a_bus_that_closes_mid_request_is_reported(machine: &mut Machine) {
    buses_ending(machine, &[8, 20, 40]);
}

fn a_bus_that_closes_mid_request_often_is_reported(machine: &mut Machine) {
    let delays: Vec<u64> = (0..60).map(|step| 2 + step * 2).collect();
    buses_ending(machine, &delays);
}

/// Makes the manager re-execute itself and reload its units while sessions start and stop.
fn executed_again(machine: &Machine, rounds: u32) {
    let bystanders = Bystanders::start(machine);
    let again = "while [ ! -e /tmp/enough ]; do systemctl --user daemon-reexec; sleep 0.1; \
                 systemctl --user daemon-reload; sleep 0.1; done";
    let _ = std::fs::remove_file(machine.path("/tmp/enough"));
    let churn = start(machine, again);
    let mut failed = 0;
    for _ in 0..rounds {
        for verb in ["spawn cut -- sleep 10000", "restart cut", "stop cut", "restore", "sweep", "list"] {
            let ran = sh(machine, &format!("forge {verb}"));
            is_orderly(&ran);
            if ran.code != 0 {
                // A lost call is not a failure: the supervisor repeats it.
                assert!(!ran.stderr.contains("org.freedesktop.DBus"), "{ran}");
                failed += 1;
                println!("{verb}: {}", ran.stderr.lines().next().unwrap_or_default());
            }
        }
    }
    println!("{failed} of {} verbs failed", rounds * 6);
    std::fs::write(machine.path("/tmp/enough"), "").expect("a file");
    churn.end(DEADLINE);
    bystanders.untouched(machine);
    for line in ["forge spawn --replace cut -- sleep 10000", "forge stop cut"] {
        sh(machine, line).ok();
    }
    bystanders.leave(machine);
}

fn forge_works_during_constant_daemon_reexec(machine: &mut Machine) {
    executed_again(machine, 3);
}

fn forge_works_during_long_daemon_reexec(machine: &mut Machine) {
    executed_again(machine, 100);
}

/// Fills journald's queue from several sockets, because each may only have a limited amount in transit.
const FILL: &str = r"
import socket, time
sockets = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(8)]
for one in sockets:
    one.setblocking(False)
    try:
        while True:
            one.sendto(b'MESSAGE=filler\n', '/run/systemd/journal/socket')
    except OSError:
        pass
print('full', flush=True)
time.sleep(1000)
";

fn a_stopped_journald_does_not_block_forge(machine: &mut Machine) {
    let bystanders = Bystanders::start(machine);
    dead_socket(machine, "dead");
    std::fs::write(machine.path("/tmp/fill.py"), FILL).expect("a filler");
    let journald = machine
        .root(&["systemctl", "show", "-P", "MainPID", "systemd-journald"])
        .ok()
        .stdout
        .trim()
        .to_owned();
    signal(machine, "STOP", &journald);
    let mut filler = start(machine, "exec python3 /tmp/fill.py >/tmp/filled");
    let filled = machine.path("/tmp/filled");
    crate::support::wait_until(Duration::from_secs(20), "a full queue", || {
        std::fs::read_to_string(&filled).is_ok_and(|text| text.contains("full"))
    });
    // Commands that do not need the manager, which is stopped now, too.
    let (in_time, swept) = start(machine, "forge sweep").end(DEADLINE);
    signal(machine, "CONT", &journald);
    filler.kill();
    assert!(in_time && swept.code == 0, "the sweep: {swept}");
    assert!(swept.stderr.contains("removed dead socket"), "what is in no journal is on stderr: {swept}");
    assert!(!machine.path("/tmp/tmux-1000/dead").exists());
    bystanders.leave(machine);
}

fn work_goes_on_while_journald_is_down(machine: &mut Machine) {
    const UNITS: [&str; 4] = [
        "systemd-journald.socket",
        "systemd-journald-dev-log.socket",
        "systemd-journald-audit.socket",
        "systemd-journald.service",
    ];
    let bystanders = Bystanders::start(machine);
    machine.root(&[&["systemctl", "mask", "--runtime", "-q"], &UNITS[..]].concat());
    machine.root(&[&["systemctl", "stop"], &UNITS[..]].concat());
    dead_socket(machine, "dead");
    for (line, reported) in [
        ("forge spawn cut -- sleep 10000", "cut"),
        ("forge sweep", "sweep"),
        ("forge restart cut", "cut"),
        ("forge save", "cut"),
        ("forge restore", ""),
        ("forge stop cut", "cut"),
        ("forge units install", ""),
        ("forge units uninstall", ""),
    ] {
        let ran = sh(machine, line).ok();
        assert!(ran.stderr.contains(reported), "what is in no journal is on stderr: {ran}");
    }
    assert!(!machine.path("/tmp/tmux-1000/dead").exists());
    machine.root(&[&["systemctl", "unmask", "--runtime", "-q"], &UNITS[..]].concat()).ok();
    machine.root(&["systemctl", "start", "systemd-journald.socket", "systemd-journald.service"]).ok();
    bystanders.leave(machine);
    nothing_is_left(machine);
}
