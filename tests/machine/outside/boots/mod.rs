//! Reboots and power cuts: the sessions that come back, their order, and those that do not.

mod broken;
mod reboots;
mod restoring;
mod saving;
mod setup;

use crate::machine::{Machine, USER};
use crate::ran::Ran;
use crate::suite::Test;
use serde_json::Value;
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Test> {
    [reboots::tests(), restoring::tests(), broken::tests(), saving::tests(), setup::tests()]
        .into_iter()
        .flatten()
        .collect()
}

/// Logs every notice that is posted to it in a file, and answers the first one with 503.
const SERVER: &str = r"
import socket
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(('127.0.0.1', 8099))
server.listen(8)
count = 0
while True:
    client, _ = server.accept()
    data = b''
    while b'\r\n\r\n' not in data:
        data += client.recv(65536)
    head, body = data.split(b'\r\n\r\n', 1)
    length = [int(line.split(b':')[1]) for line in head.split(b'\r\n') if line.lower().startswith(b'content-length')][0]
    while len(body) < length:
        body += client.recv(65536)
    count += 1
    if count == 1:
        client.sendall(b'HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
    else:
        with open('/var/log/notices', 'ab') as log:
            log.write(head.split(b' ')[1] + b' ' + body + b'\n')
        client.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok')
    client.close()
";

const SERVER_UNIT: &str = "[Service]\nExecStart=/usr/bin/python3 /usr/local/lib/notices.py\nRestart=always\n\
                           [Install]\nWantedBy=multi-user.target\n";

/// Logs its arguments and stays. It keeps its conversations as Claude Code does (`make test-agents` has the real one).
const AGENT: &str = r#"#!/bin/sh
echo "called: $*; key=$KEY; path=$PATH" >>$HOME/agent.log
case $1 in
    --new) id=new-$FORGE_SESSION ;;
    --resume) id=$2 ;;
esac
if [ -n "$id" ]; then
    mkdir -p ~/.claude/sessions ~/.claude/projects/p
    echo '{}' >>~/.claude/projects/p/$id.jsonl
    start=$(cut -d ' ' -f 22 /proc/$$/stat)
    printf '{"pid":%s,"procStart":"%s","sessionId":"%s"}' $$ "$start" "$id" >~/.claude/sessions/$$.json
fi
echo ready
exec sleep 10000
"#;

const CONFIG: &str = r#"
[sweep]
dirs = ["/var/tmp/old/tmux-1000"]
[sessions.configured]
command = "sleep 10000"
boot = true
[sessions.notatboot]
command = "sleep 10000"
[sessions.missing]
command = "no-such-program --x"
boot = true
[sessions.agent]
command = "agent --new"
cwd = "~/my.project"
ready = "ready"
resume = ["agent", "--resume", "{resume_id}"]
resume_id = "claude"
[sessions.fresh]
command = "agent --new-too"
cwd = "~/empty"
resume = "agent --resume {resume_id}"
resume_id = "claude"
[sessions.printed]
command = "agent --printed"
resume = "agent --resume {resume_id}"
resume_id = ["sh", "-c", "cat id-of-$FORGE_SESSION"]
[notify]
command = ["sh", "-c", "cat >> notices.jsonl"]
[notify.webhook]
url = "http://127.0.0.1:8099/hook"
[notify.telegram]
token_file = "~/token"
chat_id = 42
base_url = "http://127.0.0.1:8099"
"#;

#[track_caller]
fn write(machine: &Machine, user: &str, path: &str, text: &str) {
    let script = format!(
        "mkdir -p \"$(dirname \"$0\")\" && printf %s \"$1\" >\"$0\" && chmod {} \"$0\"",
        if text.starts_with("#!") { "755" } else { "600" }
    );
    machine.as_user(user, &["sh", "-c", &script, path, text]).ok();
}

#[track_caller]
fn sh(machine: &Machine, line: &str) -> Ran {
    machine.user(&["sh", "-c", line]).ok()
}

#[track_caller]
fn set_up(machine: &Machine) {
    write(machine, "root", "/usr/local/lib/notices.py", SERVER);
    write(machine, "root", "/etc/systemd/system/notices.service", SERVER_UNIT);
    machine.root(&["systemctl", "enable", "-q", "--now", "notices.service"]).ok();
    write(machine, USER, "/home/ada/bin/agent", AGENT);
    let config = "/home/ada/.config/forge/forge.toml";
    write(machine, USER, config, &CONFIG.replace("no-such-program", "sleep 10000 #"));
    write(machine, USER, "/home/ada/token", "123:secret\n");
    sh(machine, "rm -rf .claude; mkdir -p my.project empty; echo id-7 >id-of-printed");
    machine.user(&["forge", "units", "install", "--now"]).ok();
    let _ = machine.user(&["forge", "stop", "missing"]);
    write(machine, USER, config, CONFIG);
}

/// Waits until the restore units of a boot have finished.
#[track_caller]
pub(super) fn wait_for_restore(machine: &Machine) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let state = machine.user(&["systemctl", "--user", "is-active", "forge-post-boot-sessions.service"]);
        if ["active\n", "failed\n"].contains(&state.stdout.as_str()) {
            return;
        }
        assert!(Instant::now() < end, "no end of the restore: {state}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[track_caller]
fn sessions(machine: &Machine) -> Vec<(String, String)> {
    let list = machine.user(&["forge", "--json", "list"]).ok().json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let sessions = list["sessions"].as_array().expect("sessions").iter();
    sessions.map(|session| (text(&session["session"]), text(&session["state"]))).collect()
}

#[track_caller]
fn running(machine: &Machine) -> Vec<String> {
    sessions(machine)
        .into_iter()
        .map(|(session, state)| {
            assert_eq!(state, "running", "{session}");
            session
        })
        .collect()
}

#[track_caller]
fn events(machine: &Machine, kind: &str) -> Vec<Value> {
    let ran = machine.root(&[
        "journalctl",
        "-b",
        "-t",
        "forge",
        "-o",
        "json",
        "--all",
        &format!("FORGE_EVENT={kind}"),
    ]);
    ran.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
