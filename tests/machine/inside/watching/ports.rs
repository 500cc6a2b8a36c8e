//! The TCP ports that a session needs.

use crate::suite::{Test, inside};
use crate::support::{
    DropIn, Supervised, configured, forge, forge_json, shell, signal, spawn, systemctl, wait_until,
};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_port_held_by_another_program_is_reported),
        inside!(a_port_held_by_an_earlier_run_is_freed),
        inside!(ports_of_a_supervised_session),
    ]
}

/// A program that listens on an address until the test ends.
struct Listener(u32);

impl Listener {
    fn on(address: &str, port: u16) -> Self {
        let script = format!(
            "import socket,time\ns=socket.socket(socket.AF_INET6 if ':' in '{address}' else socket.AF_INET)\n\
             s.bind(('{address}',{port}))\ns.listen()\nopen('listens','w').close()\ntime.sleep(1000)"
        );
        let _ = std::fs::remove_file("listens");
        let pid = shell(&format!("python3 -c \"{script}\" >/dev/null 2>&1 & echo $!")).ok().stdout;
        wait_until(Duration::from_secs(10), "the listener", || std::path::Path::new("listens").exists());
        let _ = std::fs::remove_file("listens");
        Self(pid.trim().parse().expect("a pid"))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        signal("KILL", self.0);
    }
}

fn a_port_held_by_another_program_is_reported() {
    for address in ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::"] {
        let listener = Listener::on(address, 7890);
        let refused =
            forge(&["--json", "spawn", "needy", "--port", "7890", "--", "sleep", "1000"]).code(1).json();
        let message = refused["error"]["message"].as_str().expect("a message");
        assert_eq!(refused["error"]["kind"], "port", "{refused}");
        for part in
            ["needy needs port 7890", "python3", &format!("process {}", listener.0), ".scope", address]
        {
            assert!(message.contains(part), "{address}: '{part}' is not in {message}");
        }
        crate::support::nothing_left_of("needy");
    }
    // forge names another session as such.
    let (_other, _) = spawn(
        "holder",
        &[],
        &[
            "python3",
            "-c",
            "import socket,time\ns=socket.create_server(('',7890))\nprint('up',flush=True)\ntime.sleep(1000)",
        ],
    );
    wait_until(Duration::from_secs(10), "the holder", || shell("ss -ltn | grep -q :7890").code == 0);
    let refused = forge(&["spawn", "needy", "--port", "7890", "--", "sleep", "1000"]).code(1);
    assert!(
        refused.stderr.contains("of session holder") && refused.stderr.contains("forge stop holder"),
        "{refused}"
    );
    // Other ports and outgoing connections do not matter.
    let (_session, _) = spawn("needy", &["--port", "7891", "--port", "7892"], &["sleep", "1000"]);
    for bad in ["0", "65536", "x"] {
        forge(&["spawn", "other", "--port", bad, "--", "sleep", "1"]).code(2);
    }
}

fn a_port_held_by_an_earlier_run_is_freed() {
    // A bridge outlives its session: the server is killed with SIGKILL, and no hook runs.
    let bridge = "import os,signal,socket,time\nsignal.signal(signal.SIGHUP,signal.SIG_IGN)\nos.setsid() if os.fork()==0 else time.sleep(1000)\ns=socket.create_server(('::',7893),family=socket.AF_INET6)\nprint('up',flush=True)\ntime.sleep(1000)";
    let (_session, first) =
        spawn("bridged", &["--port", "7893", "--ready", "up"], &["python3", "-c", bridge]);
    let holder =
        shell("ss -ltnpH sport = :7893 | sed 's/.*pid=\\([0-9]*\\).*/\\1/'").ok().stdout.trim().to_owned();
    shell(&format!("kill -9 {} {}", first["server_pid"], first["pane_pid"])).ok();
    wait_until(Duration::from_secs(10), "the end of the scope's server", || {
        forge(&["--json", "status", "bridged"]).json()["state"] == "dead"
    });
    assert_eq!(shell("ss -ltnH sport = :7893 | wc -l").ok().stdout.trim(), "1", "the bridge still has it");
    let spawned = forge_json(&["spawn", "bridged", "--port", "7893", "--", "sleep", "1000"]);
    assert_eq!(
        spawned["freed"],
        serde_json::json!([{"port": 7893, "pid": holder.parse::<u32>().expect("a pid"), "process": "python3"}])
    );
    assert_eq!(shell("ss -ltnH sport = :7893 | wc -l").ok().stdout.trim(), "0");
    // The running session itself is not an earlier run.
    forge(&["stop", "bridged"]).ok();
    let (_session, _) = spawn("bridged", &["--port", "7893", "--ready", "up"], &["python3", "-c", bridge]);
    let taken = forge(&["--json", "spawn", "bridged", "--port", "7893", "--", "sleep", "1"]).code(1).json();
    assert_eq!(taken["error"]["kind"], "taken", "{taken}");
}

fn ports_of_a_supervised_session() {
    let _settings = DropIn::new("served", "[Service]\nRestartSec=50ms\n");
    let bridge = "import os,signal,socket,time\nsignal.signal(signal.SIGHUP,signal.SIG_IGN)\nsignal.signal(signal.SIGTERM,signal.SIG_IGN)\ns=socket.create_server(('',7894))\nprint('up',flush=True)\ntime.sleep(1000)";
    let _configuration = configured(&format!(
        "[sessions.served]\ncommand = ['python3', '-c', \"\"\"{bridge}\"\"\"]\nready = 'up'\nports = [7894]\n"
    ));
    let it = Supervised::start("served");
    // Each run gets the port, however the last one ended.
    for kill in ["server", "program"] {
        let before = it.up();
        signal("KILL", if kill == "server" { it.server() } else { it.program() });
        it.up_after(u32::try_from(before["pane_pid"].as_u64().expect("a pid")).expect("a pid"));
    }
    systemctl(&["stop", &it.unit]).ok();
    let _listener = Listener::on("127.0.0.1", 7894);
    assert_ne!(systemctl(&["start", &it.unit]).code, 0);
    assert!(it.service("StatusText").contains("served needs port 7894"), "{}", it.service("StatusText"));
}
