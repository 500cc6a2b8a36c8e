//! What comes back after a reboot and after a power cut, in which order, and what does not.

use crate::machine::{Machine, USER};
use crate::ran::Ran;
use crate::suite::{Debian, Test, outside};
use crate::support;
use serde_json::Value;
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        outside!(a_reboot_brings_back_what_was_running).limit_s(180),
        outside!(a_power_cut_loses_nothing).limit_s(180),
        outside!(two_restores_at_once_are_one),
        outside!(a_restore_that_is_killed_goes_on),
        outside!(a_few_are_started_at_a_time),
        outside!(a_directory_that_is_gone_holds_up_nobody),
        outside!(what_is_stopped_meanwhile_stays_stopped),
        outside!(what_is_stopped_in_the_middle_of_its_restore_stays_stopped),
        outside!(what_was_on_a_screen_stays_out_of_the_journal),
        outside!(sessions_of_one_directory_keep_their_own_conversations),
        outside!(what_could_not_be_planned_is_not_forgotten),
        outside!(what_another_user_wrote_is_not_started),
        outside!(sixty_come_back).limit_s(300),
        outside!(a_full_disk_forgets_nobody),
        outside!(half_a_file_holds_up_nobody).limit_s(180),
        outside!(a_broken_configuration_holds_up_nobody).limit_s(180),
        outside!(the_resume_ids_are_saved_at_shutdown).limit_s(180),
        outside!(a_program_lives_until_its_id_is_saved).limit_s(180),
        outside!(a_shutdown_is_delayed_for_the_save).only(Debian::Trixie).limit_s(180),
        outside!(a_manager_that_is_restarted_brings_its_sessions_back).limit_s(180),
        outside!(an_administrators_sweep_is_before_the_users_manager).limit_s(180),
        outside!(without_lingering_it_is_said),
        outside!(supervised_sessions_come_back_supervised).limit_s(240),
    ]
}

/// Notes every notice that is posted to it in a file, and answers the first one with 503.
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

/// Says how it was called, and stays.
const AGENT: &str =
    "#!/bin/sh\necho \"called: $*; key=$KEY; path=$PATH\" >>$HOME/agent.log\necho ready\nexec sleep 10000\n";

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
    sh(
        machine,
        "mkdir -p my.project empty .claude/projects/-home-ada-my-project; \
                 for id in old new; do echo '{}' >.claude/projects/-home-ada-my-project/$id.jsonl; sleep 0.01; done; \
                 echo id-7 >id-of-printed",
    );
    machine.user(&["forge", "units", "install", "--now"]).ok();
    let _ = machine.user(&["forge", "stop", "missing"]);
    write(machine, USER, config, CONFIG);
}

/// Waits until the units of a boot are through.
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
fn wait_until(what: &str, probe: impl FnMut() -> bool) {
    support::wait_until(Duration::from_secs(40), what, probe);
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
fn monotonic(machine: &Machine, unit: &str, property: &str) -> u64 {
    let shown = machine.user(&["systemctl", "--user", "show", "--value", "-p", property, unit]).ok().stdout;
    shown.trim().parse().unwrap_or_else(|_| panic!("{unit} {property}: {shown}"))
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

/// What happened, for a failure: forge's and the manager's records of this boot and the last one.
fn story(machine: &Machine) -> Ran {
    let forge = "journalctl -b -1 --no-pager -o short-precise _UID=1000 | tail -n 150; \
                 journalctl -b --no-pager -o short-precise _UID=1000 | head -n 80; cat /home/ada/agent.log";
    machine.root(&["sh", "-c", forge])
}

fn a_reboot_brings_back_what_was_running(machine: &mut Machine) {
    set_up(machine);
    sh(
        machine,
        "export PATH=$HOME/bin:$PATH; \
                 forge spawn adhoc --env KEY=value -- agent one two && \
                 forge spawn agent && forge spawn fresh && \
                 forge spawn stopped -- sleep 10000 && forge stop stopped && \
                 forge spawn ended -- sleep 0.5",
    );
    wait_until("the end of a session", || !sessions(machine).iter().any(|(session, _)| session == "ended"));
    // Two dead sockets that outlive the boot, since /var/tmp does.
    sh(
        machine,
        "mkdir -p -m 700 /var/tmp/old; for l in one two; do TMUX_TMPDIR=/var/tmp/old tmux -L $l new -d 'sleep 100'; \
                 kill -9 $(TMUX_TMPDIR=/var/tmp/old tmux -L $l display -p '#{pid}'); done; ls /var/tmp/old/tmux-1000",
    );
    machine.reboot();
    wait_for_restore(machine);

    // The order, by the manager's own clock.
    let swept = monotonic(machine, "forge-tmux-socket-sweep.service", "ExecMainExitTimestampMonotonic");
    let began = monotonic(machine, "forge-post-boot-sessions.service", "ExecMainStartTimestampMonotonic");
    assert!(swept > 0 && swept <= began, "the sweep ended at {swept}, the restore began at {began}");

    // What runs, each on its own socket.
    assert_eq!(running(machine), ["adhoc", "agent", "configured", "fresh"], "{}", story(machine));
    for session in ["adhoc", "agent", "configured", "fresh"] {
        let name =
            machine.user(&["tmux", "-L", &format!("spawn-{session}"), "-N", "ls", "-F", "#{session_name}"]);
        assert_eq!(name.ok().stdout.trim(), session);
    }
    let log = sh(machine, "cat agent.log").stdout;
    let calls: Vec<&str> = log.lines().collect();
    assert!(
        log.matches("called: one two; key=value; path=/home/ada/bin:").count() == 2,
        "as it was started: {log}"
    );
    assert!(log.contains("called: --resume new; "), "the newest conversation: {calls:?}");
    assert!(log.matches("called: --new-too").count() == 2, "no conversation to resume: {calls:?}");
    let restored = events(machine, "restored");
    let of =
        |session: &str| restored.iter().find(|event| event["FORGE_SESSION"] == session).expect("its event");
    assert_eq!(of("agent")["FORGE_RESUME_ID"], "new");
    assert!(of("fresh")["FORGE_FRESH"].as_str().expect("a reason").contains("no conversation"));
    assert_eq!(of("adhoc")["FORGE_RESUME_ID"], Value::Null);

    // The one whose program is missing is told, and held up nobody.
    let failed = events(machine, "restore_failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["FORGE_SESSION"], "missing");
    assert!(failed[0]["FORGE_ERROR"].as_str().expect("a reason").contains("no-such-program"));
    let probe = machine.user(&["forge", "--json", "probe"]).code(5).json();
    assert_eq!(probe["sockets_dead"], 0);
    assert_eq!(probe["last_restore"]["restored"], 4);
    assert_eq!(probe["last_restore"]["failed"], 1);
    assert_eq!(probe["last_sweep"]["removed"], 2, "{probe}");
    assert_eq!(probe["units_failed"], serde_json::json!(["forge-post-boot-sessions.service"]));
    let problems = probe["problems"].to_string();
    assert!(problems.contains("missing") && problems.contains("forge restart missing"), "{problems}");
    assert_eq!(sh(machine, "ls /var/tmp/old/tmux-1000 | grep -v lock || true").stdout, "");

    // The notice arrived once by each way, and Telegram's came through at the second try.
    wait_until("the notices", || machine.root(&["cat", "/var/log/notices"]).stdout.lines().count() >= 2);
    let notices = machine.root(&["cat", "/var/log/notices"]).ok().stdout;
    let hooks: Vec<&str> = notices.lines().filter(|line| line.starts_with("/hook ")).collect();
    let telegrams: Vec<&str> =
        notices.lines().filter(|line| line.starts_with("/bot123:secret/sendMessage ")).collect();
    assert_eq!((hooks.len(), telegrams.len()), (1, 1), "{notices}");
    let hook: Value = serde_json::from_str(hooks[0].trim_start_matches("/hook ")).expect("JSON");
    assert_eq!((&hook["kind"], &hook["user"]), (&"boot".into(), &"ada".into()));
    assert_eq!(hook["probe"]["last_restore"]["failed"], 1);
    assert!(hook["text"].as_str().expect("a text").contains("not restored: missing"), "{hook}");
    assert!(hook["restore"]["restored"].as_array().expect("a list").len() == 4);
    assert!(telegrams[0].contains("\"chat_id\":\"42\""), "{notices}");
    let own = sh(machine, "cat notices.jsonl").stdout;
    assert_eq!(own.matches("\"kind\":\"boot\"").count(), 1, "{own}");
    let told = events(machine, "notified");
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().any(|event| event["FORGE_ATTEMPTS"] == "2"), "{told:?}");
    let journal = machine.root(&["journalctl", "-b", "-o", "json", "--all"]).ok().stdout;
    assert!(!journal.contains("123:secret"), "no secret in the journal");

    // Once in a boot.
    let second = machine.user(&["forge", "--json", "restore"]).ok().json();
    assert_eq!(second["already"], true);
    assert_eq!(running(machine).len(), 4);
    assert_eq!(events(machine, "restored").len(), 4);
    // By hand, once the reason is gone.
    write(machine, USER, "/home/ada/bin/no-such-program", "#!/bin/sh\nexec sleep 1000\n");
    sh(machine, "PATH=$HOME/bin:$PATH forge restart missing");
    assert!(running(machine).contains(&"missing".to_owned()));
    machine.user(&["systemctl", "--user", "reset-failed"]).ok();
    machine.user(&["forge", "probe"]).ok();
    machine.user(&["forge", "stop", "--all"]).ok();
    sh(machine, "rm bin/no-such-program");
}

fn a_power_cut_loses_nothing(machine: &mut Machine) {
    set_up(machine);
    sh(
        machine,
        "export PATH=$HOME/bin:$PATH; forge spawn adhoc -- agent; forge spawn agent; \
                 forge spawn stopped -- sleep 10000; forge stop stopped; sync",
    );
    machine.power_cut();
    wait_for_restore(machine);
    assert_eq!(running(machine), ["adhoc", "agent", "configured"]);
    assert!(sh(machine, "cat agent.log").stdout.contains("called: --resume new; "));
    assert_eq!(machine.user(&["forge", "--json", "probe"]).json()["sockets_dead"], 0);
    // And once more, in the middle of many.
    sh(machine, "for n in 1 2 3 4 5 6; do forge spawn m$n -- sleep 10000; done; sync");
    machine.power_cut();
    wait_for_restore(machine);
    assert_eq!(running(machine).len(), 9);
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn two_restores_at_once_are_one(machine: &mut Machine) {
    set_up(machine);
    sh(machine, "forge units uninstall; for n in 1 2 3 4 5; do forge spawn r$n -- sleep 10000; done");
    machine.reboot();
    assert!(running(machine).is_empty(), "nothing is installed that would restore");
    let before = machine.user(&["forge", "--json", "probe"]).code(5).json();
    assert!(before["problems"].to_string().contains("forge restore"), "{before}");
    let plan = machine.user(&["forge", "--json", "restore", "--dry-run"]).ok().json();
    assert_eq!(plan["plan"].as_array().expect("a plan").len(), 7, "{plan}");
    assert!(running(machine).is_empty(), "a dry run does nothing");
    let first = machine.spawn_user(&["forge", "--json", "restore"]);
    let second = machine.spawn_user(&["forge", "--json", "restore"]);
    let limit = Duration::from_secs(60);
    let mut results = [first.wait(limit).json(), second.wait(limit).json()];
    results.sort_by_key(|result| result["already"].as_bool());
    assert_eq!((&results[0]["already"], &results[1]["already"]), (&false.into(), &true.into()));
    assert_eq!(results[0]["restored"].as_array().expect("a list").len(), 6);
    assert_eq!(running(machine).len(), 6);
    assert_eq!(events(machine, "restored").len(), 6);
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn a_restore_that_is_killed_goes_on(machine: &mut Machine) {
    sh(
        machine,
        "forge units uninstall; rm -rf .config/forge; \
                 for n in 1 2 3 4 5 6 7 8; do forge spawn k$n -- sleep 10000; done",
    );
    machine.power_cut();
    for delay in ["0.03", "0.1", "0.2"] {
        sh(machine, &format!("forge restore >/dev/null & sleep {delay}; kill -9 $!; wait 2>/dev/null; true"));
    }
    machine.user(&["forge", "restore"]).ok();
    assert_eq!(running(machine).len(), 8);
    let scopes =
        machine.user(&["systemctl", "--user", "list-units", "--no-legend", "forge-spawn-*.scope"]).ok();
    assert_eq!(scopes.stdout.lines().count(), 8, "{scopes}");
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn a_few_are_started_at_a_time(machine: &mut Machine) {
    write(
        machine,
        USER,
        "/home/ada/bin/slow",
        "#!/bin/sh\necho + >>starts; sleep 0.4; echo - >>starts; echo up; exec sleep 10000\n",
    );
    write(machine, USER, "/home/ada/.config/forge/forge.toml", "[restore]\nconcurrency = 2\n");
    sh(
        machine,
        "forge units uninstall; for n in 1 2 3 4 5 6; do forge spawn s$n --ready up -- ~/bin/slow; done; rm starts",
    );
    machine.power_cut();
    let restored = machine.user(&["forge", "--json", "restore"]).ok().json();
    assert_eq!(restored["restored"].as_array().expect("a list").len(), 6, "{restored}");
    let mut at_once = 0;
    let most = sh(machine, "cat starts").stdout.lines().fold(0, |most, line| {
        at_once += if line == "+" { 1 } else { -1 };
        most.max(at_once)
    });
    assert_eq!(most, 2, "two at a time, and not one after the other");
    machine.user(&["forge", "stop", "--all"]).ok();
    sh(machine, "rm -r .config/forge starts");
}

fn a_directory_that_is_gone_holds_up_nobody(machine: &mut Machine) {
    sh(
        machine,
        "mkdir gone; forge spawn a --cwd gone -- sleep 10000; forge spawn b -- sleep 10000; rmdir gone",
    );
    machine.power_cut();
    let restored = machine.user(&["forge", "--json", "restore"]).code(1).json();
    assert_eq!(running(machine), ["b"]);
    assert_eq!(restored["failed"][0]["session"], "a");
    assert!(restored["failed"][0]["error"].as_str().expect("why").contains("/home/ada/gone"), "{restored}");
    // It is not forgotten.
    sh(machine, "mkdir gone; forge restart a");
    assert_eq!(running(machine), ["a", "b"]);
    machine.user(&["forge", "stop", "--all"]).ok();
}

/// One is stopped while it waits for its turn, one while it is being started.
fn what_is_stopped_meanwhile_stays_stopped(machine: &mut Machine) {
    write(machine, USER, "/home/ada/.config/forge/forge.toml", "[restore]\nconcurrency = 1\n");
    sh(
        machine,
        "forge units uninstall; : >may-be-ready; \
         forge spawn a1 --ready up -- sh -c 'test -e may-be-ready && echo up; sleep 10000'; \
         for n in b1 b2; do forge spawn $n -- sleep 10000; done; rm may-be-ready",
    );
    machine.power_cut();
    let told = sh(
        machine,
        "forge restore >told & restore=$!; \
         until forge --json list | grep -q starting; do sleep 0.05; done; \
         forge stop b1; forge stop a1; wait $restore; cat told",
    );
    assert!(told.stdout.contains("left b1: b1 was stopped, or started otherwise, meanwhile"), "{told}");
    assert_eq!(running(machine), ["b2"]);
    // Not what the writers left that an earlier test killed.
    assert_eq!(sh(machine, "cd .local/state/forge/sessions; ls *.json").stdout, "b2.json\n");
    machine.user(&["forge", "stop", "--all"]).ok();
    sh(machine, "rm -r .config/forge");
}

fn what_is_stopped_in_the_middle_of_its_restore_stays_stopped(machine: &mut Machine) {
    // The second is what a stop does that looked just before.
    for stop in ["forge stop c1", "rm .local/state/forge/sessions/c1.json"] {
        sh(machine, "forge units uninstall; forge spawn c1 -- sleep 10000");
        machine.power_cut();
        // The restore of c1 stands still in the sweep before its spawn, at a dead socket: its
        // specification was read, and none of its units is there.
        let told = sh(
            machine,
            &format!(
                "tmux -L dead new -d 'sleep 10000'; kill -9 $(tmux -L dead display -p '#{{pid}}'); \
                 strace -f -qq -o /dev/null -e trace=unlinkat -e inject=unlinkat:delay_enter=2000000:when=1 \
                 forge restore >told & restore=$!; \
                 until test -e /tmp/tmux-1000/dead.lock; do sleep 0.05; done; \
                 {stop}; wait $restore; cat told"
            ),
        );
        let (stopped, left) = ("stopped c1: ", "left c1: c1 was stopped, or started otherwise, meanwhile");
        assert!(told.stdout.contains(if stop.starts_with("forge") { stopped } else { left }), "{told}");
        assert_eq!(running(machine), [""; 0]);
        assert_eq!(
            sh(machine, "cd .local/state/forge/sessions; ls *.json 2>/dev/null | wc -l").stdout,
            "0\n"
        );
        sh(machine, "rm -f /tmp/tmux-1000/dead*");
    }
}

fn what_was_on_a_screen_stays_out_of_the_journal(machine: &mut Machine) {
    set_up(machine);
    write(
        machine,
        USER,
        "/home/ada/.config/forge/forge.toml",
        "[notify]\ncommand = ['sh', '-c', 'cat >>~/notice']\n",
    );
    sh(
        machine,
        ": >well; forge spawn leaky -- sh -c 'test -e well || { echo SECRET; exit 3; }; sleep 10000'; rm well",
    );
    machine.reboot();
    wait_for_restore(machine);
    wait_until("the notice", || sh(machine, "cat notice || true").stdout.contains("leaky"));
    let all = machine.root(&["sh", "-c", "journalctl -b -o export; cat /home/ada/notice"]).ok().stdout;
    assert!(all.contains("exit status 3") && !all.contains("SECRET"));
    assert!(machine.user(&["forge", "restart", "leaky"]).code(1).stderr.contains("SECRET"), "shown who asks");
    machine.user(&["forge", "stop", "--all"]).ok();
    sh(machine, "rm notice");
}

/// Two agents in one directory: none is ever given the conversation of the other.
fn sessions_of_one_directory_keep_their_own_conversations(machine: &mut Machine) {
    set_up(machine);
    write(
        machine,
        USER,
        "/home/ada/.config/forge/forge.toml",
        "[sessions.one]\ncommand = 'agent --new'\ncwd = '~/my.project'\nresume = 'agent --resume {resume_id}'\n\
         resume_id = 'claude'\n[sessions.two]\ncommand = 'agent --new'\ncwd = '~/my.project'\n\
         resume = 'agent --resume {resume_id}'\nresume_id = 'claude'\n",
    );
    // The first has its conversation before the second comes.
    sh(
        machine,
        "export PATH=$HOME/bin:$PATH; rm -f agent.log; forge spawn one; forge restart one; forge spawn two; \
                 sleep 0.1; echo '{}' >.claude/projects/-home-ada-my-project/of-two.jsonl",
    );
    machine.power_cut();
    wait_for_restore(machine);
    assert_eq!(running(machine), ["one", "two"]);
    let resumed = sh(machine, "grep -o 'resume [a-z-]*' agent.log").stdout;
    assert_eq!(resumed, "resume new\nresume new\n", "one keeps its own, and nobody gets it twice");
    let fresh = events(machine, "restored").iter().any(|event| {
        event["FORGE_SESSION"] == "two"
            && event["FORGE_FRESH"].as_str().is_some_and(|why| why.contains("several sessions"))
    });
    assert!(fresh, "{}", story(machine));
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn what_could_not_be_planned_is_not_forgotten(machine: &mut Machine) {
    sh(machine, "forge units uninstall; mkdir -p .config/forge");
    let config = "/home/ada/.config/forge/forge.toml";
    let good = "[sessions.here]\ncommand = 'sleep 10000'\nboot = true\n\
                [sessions.later]\ncommand = 'sleep 10000'\nboot = true\ncwd = '~/notyet'\n";
    write(machine, USER, config, &format!("{good}[nonsense]\n"));
    machine.power_cut();
    machine.user(&["forge", "restore"]).code(2);
    write(machine, USER, config, good);
    machine.user(&["forge", "restore"]).code(1);
    assert_eq!(running(machine), ["here"]);
    let probe = machine.user(&["forge", "--json", "probe"]).code(5).json();
    assert!(probe["problems"].to_string().contains("later"), "{probe}");
    sh(machine, "mkdir notyet; forge restart later");
    assert_eq!(running(machine), ["here", "later"]);
    machine.user(&["forge", "stop", "--all"]).ok();
    sh(machine, "rm -r .config/forge");
}

/// The state directory may once have been open to all.
fn what_another_user_wrote_is_not_started(machine: &mut Machine) {
    let file = "/home/ada/.local/state/forge/sessions/planted.json";
    sh(
        machine,
        &format!("forge spawn planted -- sleep 1000 && cp {file} /tmp/planted && forge stop planted"),
    );
    let plant = |owner: &str, mode: &str| {
        machine.root(&["install", "-o", owner, "-g", owner, "-m", mode, "/tmp/planted", file]).ok();
    };
    for (owner, mode, why) in [
        ("mallory", "644", "belongs to uid 1001"),
        ("ada", "666", "everybody may write it"),
        ("mallory", "600", ""),
    ] {
        plant(owner, mode);
        let refused = machine.user(&["forge", "restart", "planted"]).code(1);
        assert!(refused.stderr.contains("planted.json") && refused.stderr.contains(why), "{refused}");
        assert_eq!(running(machine), [""; 0], "{owner} {mode}");
    }
    plant("mallory", "644");
    machine.power_cut();
    let restored = machine.user(&["forge", "restore"]).code(1);
    let told = format!("{}{}", restored.stdout, restored.stderr);
    assert!(told.contains("planted") && told.contains("belongs to uid 1001"), "{restored}");
    assert_eq!(running(machine), [""; 0]);
    machine.root(&["sh", "-c", "rm -r /home/ada/.local/state/forge"]).ok();
}

fn sixty_come_back(machine: &mut Machine) {
    sh(
        machine,
        "rm -rf .config/forge; forge units install --now; for n in $(seq 60); do forge spawn -q many-$n -- sleep 10000; done",
    );
    machine.reboot();
    // The manager reads its units again in the middle of it.
    sh(machine, "for n in 1 2 3 4 5; do systemctl --user daemon-reload; sleep 0.2; done");
    wait_for_restore(machine);
    assert_eq!(running(machine).len(), 60, "{}", story(machine));
    machine.user(&["forge", "probe"]).ok();
    let stopped = machine.user(&["forge", "--json", "stop", "--all"]).ok().json();
    assert_eq!(stopped["stopped"].as_array().expect("a list").len(), 60);
}

fn a_full_disk_forgets_nobody(machine: &mut Machine) {
    sh(machine, "forge units uninstall; mkdir -p .local/state/forge");
    let mount = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        "size=64k,uid=1000,gid=1000,mode=700",
        "none",
        "/home/ada/.local/state/forge",
    ];
    machine.root(&mount).ok();
    sh(
        machine,
        "forge spawn full-1 -- sleep 10000; forge spawn full-2 -- sleep 10000; \
                 kill -9 $(forge --json list | grep -o '\"server_pid\":[0-9]*' | cut -d: -f2); sleep 0.5; \
                 cat /dev/zero >.local/state/forge/filler || true",
    );
    let probe = machine.user(&["forge", "--json", "probe"]).code(5).json();
    assert!(probe["problems"].to_string().contains("left for forge's files"), "{probe}");
    let restored = machine.user(&["forge", "--json", "restore"]);
    assert_eq!(restored.code, 1, "{restored}");
    assert!(restored.stdout.contains("No space left on device"), "{restored}");
    assert!(running(machine).is_empty());
    sh(machine, "rm .local/state/forge/filler; forge sweep; forge restore");
    assert_eq!(running(machine), ["full-1", "full-2"], "nobody is forgotten");
    machine.user(&["forge", "stop", "--all"]).ok();
    machine.root(&["umount", "/home/ada/.local/state/forge"]).ok();
}

fn half_a_file_holds_up_nobody(machine: &mut Machine) {
    set_up(machine);
    sh(
        machine,
        "for n in 1 2 3 4; do forge spawn f$n -- sleep 10000; done; cd .local/state/forge/sessions; \
                 head -c 40 f1.json >half; mv half f1.json; : >f2.json; ln -sf /etc/passwd f3.json; \
                 echo garbage >configured.json",
    );
    machine.power_cut();
    wait_for_restore(machine);
    assert_eq!(running(machine), ["configured", "f4"]);
    let failed = events(machine, "restore_failed");
    let names: Vec<&str> = failed.iter().filter_map(|event| event["FORGE_SESSION"].as_str()).collect();
    for name in ["f1", "f2", "f3", "configured", "missing"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert_eq!(sh(machine, "ls .local/state/forge/set-aside").stdout, "configured.json\nf1.json\nf2.json\n");
    let probe = machine.user(&["forge", "--json", "probe"]).code(5).json();
    assert!(probe["problems"].to_string().contains("set-aside/f1.json"), "{probe}");
    sh(machine, "rm -r .local/state/forge/set-aside .local/state/forge/sessions/f3.json");
    let probe = machine.user(&["forge", "--json", "probe"]).json();
    assert!(!probe["problems"].to_string().contains("set-aside"), "{probe}");
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn a_broken_configuration_holds_up_nobody(machine: &mut Machine) {
    set_up(machine);
    sh(machine, "forge spawn adhoc -- sleep 10000; echo '[nonsense' >>.config/forge/forge.toml");
    machine.reboot();
    wait_for_restore(machine);
    let probe = machine.user(&["forge", "--json", "probe"]).code(5).json();
    assert_eq!(probe["sessions"]["running"], 1);
    assert!(probe["problems"].to_string().contains("forge.toml"), "{probe}");
    assert!(probe["units_failed"].to_string().contains("post-boot"), "{probe}");
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn the_resume_ids_are_saved_at_shutdown(machine: &mut Machine) {
    set_up(machine);
    sh(machine, "export PATH=$HOME/bin:$PATH; rm -f agent.log; forge spawn printed");
    let spec = ".local/state/forge/sessions/printed.json";
    assert!(!sh(machine, &format!("cat {spec}")).stdout.contains("id-7"));
    machine.reboot();
    // The command that prints the id was asked before the boot: now it would fail.
    wait_for_restore(machine);
    let log = sh(machine, "cat agent.log").stdout;
    assert!(log.contains("called: --resume id-7; "), "{log}");
    let saved =
        machine.root(&["journalctl", "-b", "-1", "-t", "forge", "-o", "cat", "FORGE_EVENT=saved"]).ok();
    assert!(saved.stdout.contains("saved printed: resumes with id-7"), "{saved}");
    // By hand; and one whose id cannot be had keeps the older one.
    sh(machine, "rm id-of-printed");
    let by_hand = machine.user(&["forge", "--json", "save"]).ok().json();
    assert!(by_hand["failed"].to_string().contains("printed"), "{by_hand}");
    machine.power_cut();
    wait_for_restore(machine);
    assert_eq!(sh(machine, "grep -c 'called: --resume id-7; ' agent.log").stdout, "2\n");
    machine.user(&["forge", "stop", "--all"]).ok();
}

/// The command that prints the id needs the program: at a stop of the manager, of which logind
/// knows nothing and so delays nothing, the save still comes before the ends of the panes.
fn a_program_lives_until_its_id_is_saved(machine: &mut Machine) {
    set_up(machine);
    write(
        machine,
        USER,
        "/home/ada/.config/forge/forge.toml",
        "[sessions.living]\ncommand = ['sh', '-c', 'echo $$ >~/pid; exec sleep 10000']\n\
         resume = ['sleep', '10000', '{resume_id}']\n\
         resume_id = ['sh', '-c', 'kill -0 $(cat ~/pid) && echo 7']\n",
    );
    sh(machine, "forge spawn living");
    machine.root(&["systemctl", "stop", "user@1000.service"]).ok();
    let spec = machine.root(&["cat", "/home/ada/.local/state/forge/sessions/living.json"]).ok();
    machine.root(&["systemctl", "start", "user@1000.service"]).ok();
    assert!(
        spec.stdout.contains(r#""saved_id": "7""#) || spec.stdout.contains(r#""saved_id":"7""#),
        "{spec}"
    );
    wait_for_restore(machine);
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn a_shutdown_is_delayed_for_the_save(machine: &mut Machine) {
    set_up(machine);
    let inhibitors = machine.user(&["systemd-inhibit", "--list", "--no-legend"]).ok();
    assert!(inhibitors.stdout.contains("forge"), "{inhibitors}");
    sh(machine, "export PATH=$HOME/bin:$PATH; forge spawn printed");
    // Were it not for the delay, everything would be killed before anything is saved.
    write(
        machine,
        USER,
        "/home/ada/.config/systemd/user/forge-session-save.service.d/10.conf",
        "[Service]\nExecStop=\n",
    );
    machine.user(&["systemctl", "--user", "daemon-reload"]).ok();
    machine.reboot();
    wait_for_restore(machine);
    let saved =
        machine.root(&["journalctl", "-b", "-1", "-t", "forge", "-o", "cat", "FORGE_EVENT=saved"]).ok();
    assert!(saved.stdout.contains("saved printed: resumes with id-7"), "{saved}");
    sh(machine, "rm -r .config/systemd/user/forge-session-save.service.d");
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn a_manager_that_is_restarted_brings_its_sessions_back(machine: &mut Machine) {
    set_up(machine);
    machine.user(&["forge", "spawn", "adhoc", "--", "sleep", "10000"]).ok();
    let boot = machine.boot_id();
    machine.root(&["systemctl", "restart", "user@1000.service"]).ok();
    wait_for_restore(machine);
    assert_eq!(boot, machine.boot_id());
    assert_eq!(running(machine), ["adhoc", "configured"]);
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn an_administrators_sweep_is_before_the_users_manager(machine: &mut Machine) {
    set_up(machine);
    let unit = "forge-tmux-socket-sweep@.service";
    machine.root(&["sh", "-c", &format!("forge units show {unit} >/etc/systemd/system/{unit}")]).ok();
    machine.root(&["systemd-analyze", "verify", "--man=no", &format!("/etc/systemd/system/{unit}")]).ok();
    machine.root(&["systemctl", "enable", "-q", "forge-tmux-socket-sweep@1000.service"]).ok();
    let security =
        machine.root(&["systemd-analyze", "security", "forge-tmux-socket-sweep@1000.service"]).stdout;
    let line = security.lines().last().expect("a score");
    let score: f64 = line
        .split(": ")
        .nth(1)
        .and_then(|score| score.split(' ').next())
        .expect("a score")
        .parse()
        .expect("a number");
    assert!(score < 3.0, "{line}");
    sh(
        machine,
        "mkdir -p -m 700 /var/tmp/old; TMUX_TMPDIR=/var/tmp/old tmux -L x new -d 'sleep 100'; \
                 kill -9 $(TMUX_TMPDIR=/var/tmp/old tmux -L x display -p '#{pid}')",
    );
    machine.reboot();
    let show = |unit: &str, property: &str| -> u64 {
        let shown = machine.root(&["systemctl", "show", "--value", "-p", property, unit]).ok().stdout;
        shown.trim().parse().unwrap_or_else(|_| panic!("{unit} {property}: {shown}"))
    };
    let swept = show("forge-tmux-socket-sweep@1000.service", "ExecMainExitTimestampMonotonic");
    let status = show("forge-tmux-socket-sweep@1000.service", "ExecMainStatus");
    let began = show("user@1000.service", "ExecMainStartTimestampMonotonic");
    assert!(
        swept > 0 && status == 0 && swept <= began,
        "the sweep ended at {swept}, the manager began at {began}"
    );
    assert!(!machine.path("/var/tmp/old/tmux-1000/x").exists());
    machine.root(&["systemctl", "disable", "-q", "forge-tmux-socket-sweep@1000.service"]).ok();
    machine.user(&["forge", "stop", "--all"]).ok();
}

fn without_lingering_it_is_said(machine: &mut Machine) {
    machine.root(&["loginctl", "disable-linger", USER]).ok();
    // The manager stays a while after the last login.
    let probe = machine.user(&["forge", "--json", "probe"]);
    let doctor = machine.user(&["forge", "doctor"]).code(5);
    let install = machine.user(&["forge", "units", "install"]).ok();
    let linger = machine.user(&["forge", "units", "install", "--linger"]);
    let state = machine.root(&["loginctl", "show-user", "--value", "-p", "Linger", USER]).ok();
    machine.root(&["loginctl", "enable-linger", USER]).ok();
    assert_eq!((probe.code, &probe.json()["linger"]), (5, &false.into()), "{probe}");
    assert!(probe.json()["problems"].to_string().contains("loginctl enable-linger ada"), "{probe}");
    assert!(doctor.stdout.contains("sudo loginctl enable-linger ada"), "{doctor}");
    assert!(install.stdout.contains("lingering is off"), "{install}");
    match machine.debian() {
        // With polkit a user may.
        Debian::Trixie => assert_eq!((linger.code, state.stdout.trim()), (0, "yes"), "{linger}"),
        Debian::Bookworm => {
            assert_eq!((linger.code, state.stdout.trim()), (1, "no"), "{linger}");
            assert!(linger.stderr.contains("hint: sudo loginctl enable-linger"), "{linger}");
        }
    }
    machine.user(&["forge", "units", "uninstall"]).ok();
}

/// Everybody who is to have a supervisor has one, and runs once.
#[track_caller]
fn all_supervised(machine: &Machine, wanted: &[&str]) {
    wait_until("all to be up under their supervisors", || {
        let list = machine.user(&["forge", "--json", "list"]).ok().json();
        let up = |one: &Value| one["state"] == "running" && one["supervised"] == true;
        list["sessions"].as_array().expect("sessions").iter().filter(|one| up(one)).count() == wanted.len()
    });
    assert_eq!(running(machine), wanted);
    for name in wanted {
        let servers = machine.user(&["pgrep", "-c", "-f", &format!("^[^ ]*tmux -u -L spawn-{name} ")]).stdout;
        assert_eq!(servers.trim(), "1", "{name}");
    }
}

fn supervised_sessions_come_back_supervised(machine: &mut Machine) {
    let config = "/home/ada/.config/forge/forge.toml";
    write(machine, USER, "/home/ada/bin/agent", AGENT);
    write(
        machine,
        USER,
        config,
        "[sessions.enabled]\ncommand = 'sleep 10000'\n[sessions.both]\ncommand = 'sleep 10000'\nboot = true\n\
         [sessions.talk]\ncommand = 'sleep 1111'\nresume = 'sleep {resume_id}'\nresume_id = '2222'\n",
    );
    sh(
        machine,
        "forge units install --now; systemctl --user enable --now forge-spawn@enabled forge-spawn@both; \
         systemctl --user start forge-spawn@talk forge-spawn@halted; systemctl --user stop forge-spawn@halted; \
         forge spawn adhoc --supervise -- sleep 10000; forge spawn forgotten --supervise -- sleep 10000; \
         forge stop forgotten",
    );
    all_supervised(machine, &["adhoc", "both", "enabled", "talk"]);
    machine.reboot();
    wait_for_restore(machine);
    all_supervised(machine, &["adhoc", "both", "enabled", "talk"]);
    assert!(sh(machine, "pgrep -a -x sleep").stdout.contains("sleep 2222"), "resumed");
    // A shutdown is nobody's crash, and no stop.
    assert_eq!(events(machine, "crashed").len() + events(machine, "breaker_open").len(), 0);
    assert!(
        monotonic(machine, "forge-spawn@enabled.service", "ActiveEnterTimestampMonotonic")
            >= monotonic(machine, "forge-tmux-socket-sweep.service", "ExecMainExitTimestampMonotonic")
    );
    let probe = machine.user(&["forge", "--json", "probe"]).ok().json();
    assert_eq!(probe["healthy"], true, "{probe}");
    let before = machine.root(&["journalctl", "-b", "-1", "-t", "forge", "FORGE_EVENT=crashed"]);
    assert!(!before.stdout.contains("crashed"), "{before}");
    sh(machine, "sync");
    machine.power_cut();
    wait_for_restore(machine);
    all_supervised(machine, &["adhoc", "both", "enabled", "talk"]);
    machine.user(&["forge", "stop", "--all"]).ok();
    assert_eq!(sh(machine, "systemctl --user list-units --no-legend 'forge-spawn@*'").stdout.trim(), "");
}
