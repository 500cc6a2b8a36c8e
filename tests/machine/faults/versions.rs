//! tmux is upgraded under running servers, to one of another protocol.
//!
//! All releases since 2.1 have protocol 8. The test therefore installs the machine's tmux a second time with
//! another number at its two places: the number that the client sends, and the one that each side compares
//! with. The test first proves that the two do not understand each other.

use super::around::{nothing_is_left, program, sessions, sh};
use crate::machine::Machine;
use crate::suite::{Test, outside};
use crate::support;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![outside!(servers_of_another_version_live_on).limit_s(300)]
}

/// The offsets of these bytes.
fn places(all: &[u8], wanted: &[u8]) -> Vec<usize> {
    all.windows(wanted.len()).enumerate().filter(|(_, bytes)| *bytes == wanted).map(|(at, _)| at).collect()
}

/// tmux with protocol 9.
fn upgraded(tmux: &[u8]) -> Vec<u8> {
    // proc_send: imsg_compose(…, PROTOCOL_VERSION, -1, …), so edx is 8 and ecx is -1 before a call.
    let sent: Vec<usize> = places(tmux, &[0xba, 8, 0, 0, 0])
        .into_iter()
        .filter(|at| {
            let around = &tmux[at.saturating_sub(8)..at + 14];
            !places(around, &[0xb9, 0xff, 0xff, 0xff, 0xff]).is_empty()
                && tmux[at + 5..at + 14].contains(&0xe8)
        })
        .collect();
    assert_eq!(sent.len(), 1, "the version that is sent is not where it was: {sent:?}");
    // peer_check_version, inlined after it: cmp $8, %edx.
    let compared = places(&tmux[sent[0]..sent[0] + 0x400], &[0x83, 0xfa, 8]);
    assert_eq!(compared.len(), 1, "the version that is compared is not where it was: {compared:?}");
    let mut other = tmux.to_vec();
    other[sent[0] + 1] = 9;
    other[sent[0] + compared[0] + 2] = 9;
    other
}

fn servers_of_another_version_live_on(machine: &mut Machine) {
    sh(machine, "forge units install -q; tmux -L homebase new -d 'sleep 10000'").ok();
    sh(machine, "for n in plain moved ending; do forge spawn -q $n -- sleep 10000; done").ok();
    sh(machine, "forge spawn -q --supervise kept -- sleep 10000").ok();
    let names = ["plain", "moved", "ending", "kept"];
    let before = names.map(|name| program(machine, name));
    let homebase = sh(machine, "tmux -N -L homebase display -p '#{pid}'").ok().stdout.trim().to_owned();

    // As dpkg does: a new file replaces the old one.
    let old = std::fs::read(machine.path("/usr/bin/tmux")).expect("tmux");
    std::fs::write(machine.path("/usr/bin/tmux.new"), upgraded(&old)).expect("another tmux");
    machine
        .root(&[
            "sh",
            "-c",
            "cp -p /usr/bin/tmux /root/tmux; chmod 755 /usr/bin/tmux.new; mv /usr/bin/tmux.new /usr/bin/tmux",
        ])
        .ok();
    let refused = sh(machine, "tmux -N -L homebase ls");
    assert!(refused.stderr.contains("protocol version mismatch"), "{refused}");
    sh(
        machine,
        "tmux -L new new -d 'sleep 1000'; tmux -N -L new ls; pid=$(tmux -N -L new display -p '#{pid}'); \
         tmux -L new kill-server; while kill -0 $pid; do sleep 0.05; done; forge sweep",
    )
    .ok();

    // No observing command takes the servers for dead or ends them.
    let list = sessions(machine);
    assert!(list.len() == 4 && list.iter().all(|(_, state)| state == "running"), "{list:?}");
    sh(machine, "forge poke kept && forge probe && forge restore && forge save").ok();
    let swept = sh(machine, "forge --json sweep").ok().json();
    assert_eq!(
        (&swept["removed"], swept["live"].as_array().map(Vec::len)),
        (&serde_json::json!([]), Some(5)),
        "{swept}"
    );
    // forge asks the servers with a client of their own version.
    sh(machine, "forge capture plain && forge send plain hello && forge capture plain | grep hello").ok();
    assert_eq!(sh(machine, "forge --json spawn plain -- true").code(1).json()["error"]["kind"], "taken");
    assert_eq!(names.map(|name| program(machine, name)), before);
    assert!(
        machine.path(&format!("/proc/{homebase}")).exists()
            && machine.path("/tmp/tmux-1000/homebase").exists()
    );

    // An exit of the program is reported, and its leftovers are removed.
    sh(machine, &format!("kill -9 {}", before[2])).ok();
    support::wait_until(Duration::from_secs(30), "the end of a session of the old version", || {
        !sessions(machine).iter().any(|(name, _)| name == "ending")
    });
    let reported = sh(machine, "forge logs ending").ok().stdout;
    assert!(reported.contains("ending crashed: signal 9"), "{reported}");
    // A supervised session runs again, in the new version.
    sh(machine, &format!("kill -9 {}", before[3])).ok();
    support::wait_until(Duration::from_secs(60), "another run of kept", || {
        sessions(machine).contains(&("kept".into(), "running".into()))
            && program(machine, "kept") != before[3]
    });
    sh(machine, "forge capture kept").ok();
    sh(machine, "forge restart moved && forge capture moved && forge send moved hello").ok();
    // Each session can be stopped.
    sh(machine, "forge stop plain moved kept && forge units uninstall").ok();
    sh(machine, &format!("kill {homebase}; sleep 0.5; forge sweep; rm -f /tmp/tmux-1000/*.lock")).ok();
    nothing_is_left(machine);
    machine.root(&["mv", "/root/tmux", "/usr/bin/tmux"]).ok();
}
