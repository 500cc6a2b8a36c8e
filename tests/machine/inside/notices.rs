//! Notices by command, Telegram and webhook, sent to a real server on loopback.

use crate::suite::{Test, inside};
use crate::support::{
    TestFile, event_since, events_since, forge, forge_json, journal_cursor, run, shell, systemctl,
    user_unit_property, wait_until,
};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(every_way_is_tried),
        inside!(permanent_refusals_are_not_retried),
        inside!(a_permanently_failed_user_unit_is_reported_once),
        inside!(a_network_that_comes_up_late),
        inside!(unreachable_notice_channels_are_reported),
        inside!(a_token_may_be_a_credential),
        inside!(notify_without_a_channel_is_a_config_error),
        inside!(a_long_story_comes_in_parts),
    ]
}

/// A request that the server received.
#[derive(Clone)]
struct Request {
    path: String,
    body: Value,
}

/// A server that answers with these statuses in turn, and repeats the last one.
struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(port: u16, statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let requests = Arc::clone(&seen);
        std::thread::spawn(move || {
            for (at, client) in listener.incoming().enumerate() {
                let mut client = client.expect("a client");
                let mut reader = BufReader::new(client.try_clone().expect("a reader"));
                let mut line = String::new();
                reader.read_line(&mut line).expect("a request");
                let path = line.split(' ').nth(1).expect("a path").to_owned();
                let mut length = 0;
                loop {
                    let mut header = String::new();
                    reader.read_line(&mut header).expect("a header");
                    if header.trim().is_empty() {
                        break;
                    }
                    if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().expect("a length");
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("the body");
                let body = serde_json::from_slice(&body).expect("JSON");
                requests.lock().unwrap().push(Request { path, body });
                let status = statuses[at.min(statuses.len() - 1)];
                let answer =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
                let _ = client.write_all(answer.as_bytes());
            }
        });
        Self { port, seen }
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn config(text: &str) -> TestFile {
    TestFile::new(".config/forge/forge.toml", text)
}

fn token() -> TestFile {
    TestFile::new("token", "123:SECRET\n")
}

fn every_way_is_tried() {
    let server = Server::start(0, &[200]);
    let _token = token();
    let _config = config(&format!(
        "[notify]\ncommand = ['sh', '-c', 'cat >/home/ada/reported.json']\n\
         [notify.telegram]\ntoken_file = '~/token'\nchat_id = '@channel'\nbase_url = 'http://127.0.0.1:{0}/'\n\
         [notify.webhook]\nurl = 'http://127.0.0.1:{0}/hook?key=HIDDEN'\n",
        server.port
    ));
    let cursor = journal_cursor();
    let ran = forge(&["--json", "-v", "notify", "test"]).ok();
    let json = ran.json();
    let channels = json["channels"].as_array().expect("channels");
    assert_eq!(channels.len(), 3);
    assert!(channels.iter().all(|channel| channel["sent"] == true && channel["attempts"] == 1), "{json}");
    let seen = server.seen();
    assert_eq!(seen[0].path, "/bot123:SECRET/sendMessage");
    assert_eq!(seen[0].body["chat_id"], "@channel");
    assert_eq!((seen[1].path.as_str(), &seen[1].body["kind"]), ("/hook?key=HIDDEN", &"test".into()));
    assert_eq!(seen[0].body["text"], seen[1].body["text"]);
    let reported: Value =
        serde_json::from_str(&std::fs::read_to_string("reported.json").expect("the notice")).expect("JSON");
    assert_eq!((&reported["kind"], &reported["user"]), (&"test".into(), &"ada".into()));
    let event = event_since(&cursor, "notified");
    assert_eq!((&event["FORGE_NOTICE"], &event["PRIORITY"]), (&"test".into(), &"6".into()));
    let journal = run(&["journalctl", "-o", "json", "--all", "-n", "200"]).stdout;
    for secret in ["SECRET", "HIDDEN"] {
        assert!(
            !journal.contains(secret) && !ran.stdout.contains(secret) && !ran.stderr.contains(secret),
            "{secret}"
        );
    }
    shell("rm reported.json").ok();
}

/// From systemd 254 on the manager starts `OnFailure=` units at each restart.
fn a_permanently_failed_user_unit_is_reported_once() {
    forge(&["units", "install"]).ok();
    let _config =
        config("[notify]\ncommand = ['sh', '-c', 'cat >>/home/ada/reported; echo >>/home/ada/reported']\n");
    let _unit = TestFile::new(
        ".config/systemd/user/own.service",
        "[Unit]\nStartLimitIntervalSec=60\nStartLimitBurst=3\nOnFailure=forge-failure-notify@%n.service\n\
         [Service]\nExecStart=/bin/false\nRestart=on-failure\nRestartSec=1\n",
    );
    systemctl(&["daemon-reload"]).ok();
    systemctl(&["start", "own"]);
    wait_until(Duration::from_secs(30), "its end", || {
        user_unit_property("own.service", "ActiveState") == "failed"
    });
    wait_until(Duration::from_secs(30), "the notice", || Path::new("reported").exists());
    std::thread::sleep(Duration::from_secs(2));
    let reported = std::fs::read_to_string("reported").expect("the notices");
    assert_eq!(reported.matches("\"failure\"").count(), 1, "{reported}");
    shell("rm reported; systemctl --user reset-failed").ok();
    forge(&["units", "uninstall"]).ok();
}

fn permanent_refusals_are_not_retried() {
    let server = Server::start(0, &[401]);
    let _token = token();
    let _config = config(&format!(
        "[notify.telegram]\ntoken_file = '~/token'\nchat_id = 1\nbase_url = 'http://127.0.0.1:{}'\n",
        server.port
    ));
    let cursor = journal_cursor();
    let ran = forge(&["--json", "notify", "boot"]).code(1);
    assert_eq!(ran.json()["channels"][0]["attempts"], 1, "{ran}");
    assert_eq!(server.seen().len(), 1);
    let event = event_since(&cursor, "notify_failed");
    assert_eq!((&event["FORGE_CHANNEL"], &event["PRIORITY"]), (&"telegram".into(), &"3".into()));
    assert!(event["FORGE_ERROR"].as_str().expect("why").contains("401"), "{event}");
    assert!(!event.to_string().contains("SECRET"), "{event}");
}

fn a_network_that_comes_up_late() {
    let _config = config("[notify.webhook]\nurl = 'http://127.0.0.1:8123/'\n");
    let cursor = journal_cursor();
    let waiting = crate::support::start(&["forge", "--json", "notify", "boot"]);
    std::thread::sleep(Duration::from_millis(1500));
    // The server answers 503 first.
    let server = Server::start(8123, &[503, 200]);
    let ran = waiting.wait(Duration::from_secs(60)).ok();
    let attempts = ran.json()["channels"][0]["attempts"].as_u64().expect("a number");
    assert!(attempts >= 3, "{ran}");
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!((&seen[1].body["kind"], &seen[1].body["probe"]["healthy"]), (&"boot".into(), &true.into()));
    let times = events_since(&cursor).into_iter().filter(|event| event["FORGE_EVENT"] == "notified").count();
    assert_eq!(times, 1);
}

fn unreachable_notice_channels_are_reported() {
    let _config = config(
        "[notify]\ncommand = 'no-such-program'\n[notify.webhook]\nurl = 'http://127.0.0.1:1/'\n\
         [notify.telegram]\ntoken_file = '~/no-token'\nchat_id = 1\n",
    );
    let ran = forge(&["notify", "test"]).code(1);
    for text in
        ["not sent by command: the program no-such-program does not exist", "not sent by webhook", "no-token"]
    {
        assert!(ran.stdout.contains(text), "{ran}");
    }
    let _config = config("[notify]\ncommand = ['sh', '-c', 'echo it is broken >&2; exit 3']\n");
    let ran = forge(&["notify", "test"]).code(1);
    assert!(ran.stdout.contains("not sent by command: sh: it is broken"), "{ran}");
    let _config = config("[notify.webhook]\nurl = 'no address'\n");
    forge(&["notify", "test"]).code(1);
}

fn a_token_may_be_a_credential() {
    let server = Server::start(0, &[200]);
    let _token = token();
    let _config =
        config(&format!("[notify.telegram]\nchat_id = 1\nbase_url = 'http://127.0.0.1:{}'\n", server.port));
    let ran = forge(&["notify", "test"]).code(1);
    assert!(
        ran.stdout.contains("neither token_file nor the systemd credential telegram-token is set"),
        "{ran}"
    );
    forge(&["units", "install"]).ok();
    let _drop_in = TestFile::new(
        ".config/systemd/user/forge-boot-notify.service.d/token.conf",
        "[Service]\nLoadCredential=telegram-token:/home/ada/token\n",
    );
    run(&["systemctl", "--user", "daemon-reload"]).ok();
    run(&["systemctl", "--user", "start", "forge-boot-notify.service"]).ok();
    wait_until(Duration::from_secs(20), "the notice", || !server.seen().is_empty());
    assert_eq!(server.seen()[0].path, "/bot123:SECRET/sendMessage");
    // forge sends the notice once, however often it is requested.
    run(&["systemctl", "--user", "start", "forge-boot-notify.service", "default.target"]).ok();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.seen().len(), 1);
    forge(&["units", "uninstall"]).ok();
}

fn notify_without_a_channel_is_a_config_error() {
    let ran = forge(&["--json", "notify", "test"]).code(2);
    assert_eq!(ran.json()["error"]["kind"], "config", "{ran}");
    assert!(ran.stderr.contains("[notify.telegram]"), "{ran}");
    // `notify boot` does not fail when no channel is configured.
    assert_eq!(forge_json(&["notify", "boot"])["channels"], serde_json::json!([]));
    let _config = config("[notify.webhook]\nurl = 'x'\nurl_file = 'y'\n");
    forge(&["notify", "test"]).code(2);
    assert!(Path::new(".config/forge/forge.toml").exists());
}

fn a_long_story_comes_in_parts() {
    let server = Server::start(0, &[200]);
    let _token = token();
    let _config = config(&format!(
        "[notify.telegram]\ntoken_file = '~/token'\nchat_id = 1\nbase_url = 'http://127.0.0.1:{}'\n",
        server.port
    ));
    // The notice of a restore lists each session that failed to start.
    let session = |n| {
        format!("[sessions.absent-{n}]\ncommand = 'no-such-program-of-a-rather-long-name'\nboot = true\n")
    };
    let sessions = (0..60).map(session).collect::<Vec<_>>().concat();
    let _more = TestFile::new(".config/forge/forge.toml.d/10.toml", &sessions);
    // The state is as after another boot.
    shell("rm -f ~/.local/state/forge/restored.json").ok();
    let restore = forge_json_failing(&["restore"]);
    assert_eq!(restore["failed"].as_array().expect("a list").len(), 60);
    forge(&["notify", "boot"]).ok();
    let texts: Vec<String> = server
        .seen()
        .iter()
        .map(|request| request.body["text"].as_str().expect("a text").to_owned())
        .collect();
    assert!(texts.len() > 1 && texts.iter().all(|text| text.len() <= 4096), "{}", texts.len());
    for n in 0..60 {
        assert!(texts.iter().any(|text| text.contains(&format!("not restored: absent-{n}: "))), "{n}");
    }
    let stopped = forge_json(&["stop", "absent-*"]);
    assert_eq!(stopped["stopped"].as_array().expect("a list").len(), 60);
}

#[track_caller]
fn forge_json_failing(arguments: &[&str]) -> Value {
    forge(&[&["--json"], arguments].concat()).code(1).json()
}
