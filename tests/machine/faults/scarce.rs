//! No disk space, no inodes, a read-only file system, no descriptors, no processes.

use super::around::{Bystanders, has_ended, is_orderly, nothing_is_left, program, sessions, sh};
use crate::machine::Machine;
use crate::suite::{Test, outside};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        outside!(a_full_state_directory_is_reported).limit_s(240),
        outside!(a_full_runtime_directory_is_reported).limit_s(240),
        outside!(a_full_socket_directory_is_reported).limit_s(240),
        outside!(a_full_unit_directory_is_reported).limit_s(240),
        outside!(commands_fail_cleanly_with_few_descriptors).limit_s(300),
        outside!(commands_fail_cleanly_with_few_processes).limit_s(300),
    ]
}

pub(crate) fn long_tests() -> Vec<Test> {
    vec![
        outside!(every_number_of_descriptors).limit_s(3600),
        outside!(every_number_of_processes).limit_s(3600),
    ]
}

const STATE: &str = "/home/ada/.local/state/forge";
const RUNTIME: &str = "/run/user/1000/forge";

/// The scarce resource of a file system.
#[derive(Clone, Copy, Debug)]
enum Want {
    Room,
    Inodes,
    Writing,
}

const WANTS: [Want; 3] = [Want::Room, Want::Inodes, Want::Writing];

/// A separate file system on one of the user's directories, with the previous contents.
struct Own<'a> {
    machine: &'a Machine,
    path: &'a str,
}

impl<'a> Own<'a> {
    #[track_caller]
    fn mount(machine: &'a Machine, path: &'a str) -> Self {
        let line = r#"mkdir -p -m 700 "$0" && chown 1000:1000 "$0" && cp -a "$0" /root/before &&
            mount -t tmpfs -o size=128k,nr_inodes=64,uid=1000,gid=1000,mode=700 none "$0" &&
            cp -a /root/before/. "$0" && rm -r /root/before"#;
        machine.root(&["sh", "-c", line, path]).ok();
        Self { machine, path }
    }

    #[track_caller]
    fn exhaust(&self, want: Want) {
        let line = match want {
            Want::Room => r#"cat /dev/zero >"$0"/filler 2>/dev/null; test -e "$0"/filler"#,
            Want::Inodes => {
                r#"mkdir "$0"/filler; i=0; while touch "$0"/filler/$i 2>/dev/null; do i=$((i+1)); done"#
            }
            Want::Writing => r#"mount -o remount,ro "$0""#,
        };
        self.machine.root(&["sh", "-c", line, self.path]).ok();
    }

    #[track_caller]
    fn relieve(&self) {
        let line = r#"mount -o remount,rw "$0" && rm -rf "$0"/filler"#;
        self.machine.root(&["sh", "-c", line, self.path]).ok();
    }

    #[track_caller]
    fn unmount(self) {
        self.machine.root(&["umount", "-l", self.path]).ok();
    }
}

/// The kernel's error text for it.
fn is_reported(want: Want, text: &str) -> bool {
    text.contains(match want {
        Want::Room | Want::Inodes => "No space left on device",
        Want::Writing => "Read-only file system",
    })
}

/// A session with a resume id, so that a save has something to write.
const CONFIG: &str = "[sessions.resumed]\ncommand = 'sleep 10000'\nresume = 'sleep {resume_id}'\n\
                      resume_id = ['sh', '-c', 'cat /home/ada/id']\n";

fn a_full_state_directory_is_reported(machine: &mut Machine) {
    sh(machine, "mkdir -p .config/forge; echo 7 >id").ok();
    std::fs::write(machine.path("/home/ada/.config/forge/forge.toml"), CONFIG).expect("a configuration");
    let own = Own::mount(machine, STATE);
    for want in WANTS {
        let bystanders = Bystanders::start(machine);
        sh(machine, "forge spawn -q resumed; forge spawn -q ending -- sleep 10000").ok();
        let kept = || sh(machine, "cat .local/state/forge/sessions/resumed.json").ok().stdout;
        let before = kept();
        own.exhaust(want);
        let spawned = sh(machine, "forge spawn late -- sh -c 'touch /tmp/ran; sleep 10000'");
        assert_eq!(spawned.code, 1, "{want:?}: {spawned}");
        assert!(is_reported(want, &spawned.stderr), "{want:?}: {spawned}");
        assert!(!machine.path("/tmp/ran").exists(), "{want:?}: what is not on disk does not start");
        sh(machine, "echo 12345 >id").ok();
        let saved = sh(machine, "forge --json save");
        assert!(saved.stdout.contains("\"failed\":[{"), "{want:?}: {saved}");
        assert_eq!(kept(), before, "{want:?}: the old file is complete");
        sh(machine, "forge sweep").ok();
        // The session ends; to forget it, forge needs a writable directory.
        let pid = program(machine, "ending");
        let stopped = sh(machine, "forge stop ending");
        assert_eq!(stopped.code, i32::from(matches!(want, Want::Writing)), "{want:?}: {stopped}");
        assert!(has_ended(machine, &pid), "{want:?}: {stopped}");
        let list = sessions(machine);
        assert_eq!(list.len(), 2, "{want:?}: {list:?}");
        bystanders.untouched(machine);
        own.relieve();
        sh(machine, "forge spawn late -- sleep 10000 && forge save && forge stop -q late resumed").ok();
        if matches!(want, Want::Writing) {
            sh(machine, "forge stop ending").ok();
        }
        bystanders.leave(machine);
    }
    own.unmount();
}

fn a_full_runtime_directory_is_reported(machine: &mut Machine) {
    let own = Own::mount(machine, RUNTIME);
    sh(machine, "forge units install").ok();
    for want in WANTS {
        let bystanders = Bystanders::start(machine);
        sh(machine, "forge spawn -q ending -- sleep 10000; forge spawn -q --supervise kept -- sleep 10000")
            .ok();
        let kept = program(machine, "kept");
        // The supervisor writes once more before it becomes idle, which frees space for a moment.
        std::thread::sleep(Duration::from_secs(1));
        own.exhaust(want);
        for verb in [
            "spawn late -- sh -c 'touch /tmp/ran; sleep 10000'",
            "spawn --supervise late -- sh -c 'touch /tmp/ran; sleep 10000'",
        ] {
            let spawned = sh(machine, &format!("forge {verb}"));
            if spawned.code == 0 {
                // A freed page, or a lock file that existed.
                assert!(!matches!(want, Want::Writing), "{want:?}: {verb}: {spawned}");
                sh(machine, "forge stop late; rm /tmp/ran").ok();
                continue;
            }
            assert!(is_reported(want, &spawned.stderr), "{want:?}: {verb}: {spawned}");
            assert!(!machine.path("/tmp/ran").exists(), "{want:?}: {verb}: {spawned}");
        }
        for verb in ["sweep", "list", "status stays", "save", "poke kept", "stop ending"] {
            sh(machine, &format!("forge {verb}")).ok();
        }
        is_orderly(&sh(machine, "forge restore"));
        bystanders.untouched(machine);
        assert_eq!(program(machine, "kept"), kept, "{want:?}: its supervisor leaves it alone");
        own.relieve();
        // The session is still supervised.
        sh(machine, &format!("kill -9 {kept}")).ok();
        crate::support::wait_until(Duration::from_secs(60), "another run of kept", || {
            let now = sh(machine, "forge --json status kept");
            now.code == 0
                && now.json()["state"] == "running"
                && now.json()["pane_pid"].as_u64() != kept.parse().ok()
        });
        sh(machine, "forge spawn -q late -- sleep 10000 && forge stop late kept").ok();
        bystanders.leave(machine);
    }
    sh(machine, "forge units uninstall").ok();
    own.unmount();
}

fn a_full_socket_directory_is_reported(machine: &mut Machine) {
    let own = Own::mount(machine, "/tmp/tmux-1000");
    for want in [Want::Inodes, Want::Writing] {
        let bystanders = Bystanders::start(machine);
        let bind = "import socket; socket.socket(socket.AF_UNIX).bind('/tmp/tmux-1000/dead')";
        sh(machine, &format!("python3 -c \"{bind}\"")).ok();
        own.exhaust(want);
        let spawned = sh(machine, "forge spawn late -- sh -c 'touch /tmp/ran; sleep 10000'");
        assert_eq!(spawned.code, 1, "{want:?}: {spawned}");
        is_orderly(&spawned);
        assert!(!machine.path("/tmp/ran").exists(), "{want:?}");
        let swept = sh(machine, "forge --json sweep").ok().json();
        let reported = swept["skipped"].to_string();
        // Without a lock forge cannot know that nobody starts a server there.
        assert!(reported.contains("dead") && is_reported(want, &reported), "{want:?}: {swept}");
        sh(machine, "forge list").ok();
        bystanders.untouched(machine);
        own.relieve();
        sh(machine, "forge sweep && forge spawn -q late -- sleep 10000 && forge stop -q late").ok();
        bystanders.leave(machine);
    }
    own.unmount();
}

fn a_full_unit_directory_is_reported(machine: &mut Machine) {
    let units = "/home/ada/.config/systemd/user";
    sh(machine, &format!("mkdir -p {units}")).ok();
    let own = Own::mount(machine, units);
    let files = || sh(machine, &format!("cd {units} && find . | sort && cat $(find . -type f)")).ok().stdout;
    for want in WANTS {
        let nothing = files();
        own.exhaust(want);
        let installed = sh(machine, "forge units install");
        assert_eq!(installed.code, 1, "{want:?}: {installed}");
        assert!(is_reported(want, &installed.stderr), "{want:?}: {installed}");
        own.relieve();
        sh(machine, "forge units install && forge units verify").ok();
        let whole = files();
        own.exhaust(want);
        is_orderly(&sh(machine, "forge units install"));
        own.relieve();
        assert_eq!(files(), whole, "{want:?}");
        sh(machine, "forge units uninstall").ok();
        assert_eq!(files(), nothing, "{want:?}");
    }
    own.unmount();
}

/// Runs the commands behind this prefix, with bystanders; prints how many succeeded.
fn under(machine: &Machine, bystanders: &Bystanders, limit: &str) -> usize {
    let mut succeeded = 0;
    for verb in ["sweep", "list", "spawn cut -- sleep 10000", "restore", "save", "stop cut"] {
        let ran = sh(machine, &format!("{limit} forge {verb}"));
        if ran.stderr.starts_with("forge: ") || ran.code == 0 {
            is_orderly(&ran);
        } else {
            // The loader and the runtime run before forge's first line.
            assert!(!ran.stderr.contains("panicked at src"), "{ran}");
        }
        succeeded += usize::from(ran.code == 0);
    }
    bystanders.untouched(machine);
    let stopped = sh(machine, "forge --json stop cut");
    assert!(stopped.code == 0 || stopped.json()["error"]["kind"] == "no_session", "{limit}: {stopped}");
    succeeded
}

/// Limits from too small to sufficient. With 3 not even the loader finds its libraries.
fn descriptors(machine: &Machine, numbers: impl Iterator<Item = u32>) {
    let bystanders = Bystanders::start(machine);
    let mut succeeded = Vec::new();
    for number in numbers {
        succeeded.push(under(machine, &bystanders, &format!("prlimit --nofile={number}")));
    }
    println!("verbs that succeeded, of 6: {succeeded:?}");
    assert!(succeeded[0] < 6 && succeeded.last() == Some(&6), "{succeeded:?}");
    bystanders.leave(machine);
}

fn commands_fail_cleanly_with_few_descriptors(machine: &mut Machine) {
    descriptors(machine, [4, 6, 8, 10, 11, 12, 13, 14, 16, 18, 20, 40].into_iter());
}

fn every_number_of_descriptors(machine: &mut Machine) {
    descriptors(machine, 4..48);
}

/// In a separate user namespace, so that only processes started there count.
fn processes(machine: &Machine, numbers: impl Iterator<Item = u32>) {
    let bystanders = Bystanders::start(machine);
    let mut succeeded = Vec::new();
    for number in numbers {
        let limit = format!("unshare --user --map-current-user prlimit --nproc={number}");
        succeeded.push(under(machine, &bystanders, &limit));
    }
    println!("verbs that succeeded, of 6: {succeeded:?}");
    assert!(succeeded[0] < 6 && succeeded.last() == Some(&6), "{succeeded:?}");
    bystanders.leave(machine);
    nothing_is_left(machine);
}

fn commands_fail_cleanly_with_few_processes(machine: &mut Machine) {
    processes(machine, [1, 2, 3, 4, 5, 6, 8, 40].into_iter());
}

fn every_number_of_processes(machine: &mut Machine) {
    processes(machine, 1..40);
}
