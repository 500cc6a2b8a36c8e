//! examples/: the commands of each README, and what the example does.

use super::{After, Machine, Named, Page, run};
use crate::suite::{Test, outside};
use std::path::Path;
use std::process::Command;

pub(super) fn tests() -> Vec<Test> {
    vec![
        outside!(the_list_of_examples),
        outside!(web_server),
        outside!(telegram_bot),
        outside!(fleet_probe),
        outside!(guarded_build),
    ]
}

/// `example!(name, PATH)`: the function `name` is the test of the page PATH.
macro_rules! example {
    ($name:ident, $path:literal) => {
        fn $name(machine: &mut Machine) {
            copy_examples(machine);
            let page = PAGES.iter().find(|page| page.path == $path).expect($path);
            run(machine, page);
        }
    };
}

example!(the_list_of_examples, "examples/README.md");
example!(web_server, "examples/web-server/README.md");
example!(telegram_bot, "examples/telegram-bot/README.md");
example!(fleet_probe, "examples/fleet-probe/README.md");
example!(guarded_build, "examples/guarded-build/README.md");

/// Puts examples/ into the user's home directory.
fn copy_examples(machine: &Machine) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    machine.root(&["rm", "-rf", "/home/ada/examples"]).ok();
    let copied = Command::new("cp").args(["-r", "--"]).arg(from).arg(machine.path("/home/ada")).status();
    assert!(copied.expect("cp").success());
    machine.root(&["chown", "-R", "ada:ada", "/home/ada/examples"]).ok();
}

/// The part of the Bot API that the example uses, on loopback: it hands out two messages, the first of them
/// from another chat, and writes the answers to the file `answers`.
const TELEGRAM: &str = r"forge --quiet units install --now
cat >telegram <<'EOF'
import http.server, json, time
MESSAGES = [(1, 666, 'touch stolen'), (2, 42, 'echo answer-$((40 + 2))')]
class Api(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        method = self.path.rsplit('/', 1)[1]
        result = []
        if method == 'getUpdates':
            left = [m for m in MESSAGES if m[0] >= body['offset']]
            result = [{'update_id': n, 'message': {'chat': {'id': c}, 'text': t}} for n, c, t in left]
            time.sleep(0 if left else 1)
        else:
            with open('answers', 'a') as file:
                print(json.dumps(body), file=file)
        answer = json.dumps({'ok': True, 'result': result}).encode()
        self.send_response(200 if '/botSECRET/' in self.path else 404)
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
http.server.ThreadingHTTPServer(('127.0.0.1', 8091), Api).serve_forever()
EOF
rm -f answers stolen; rm -rf .local/state/telegram-bot
systemd-run --user --quiet --unit telegram --same-dir python3 telegram
systemctl --user set-environment TELEGRAM_API=http://127.0.0.1:8091";

/// The bot answered the message of its chat and ignored the other; a restart repeats neither.
const BOT_WORKS: &str = r#"
soon() { for _ in $(seq 200); do eval "$1" && return; sleep 0.1; done; echo "never: $1"; cat answers; forge capture bot; exit 1; }
running() { forge --json status bot | jq -e '.state == "running"' >/dev/null; }
pid() { forge --json status bot | jq .pane_pid; }
soon 'grep -qs answer-42 answers'
before=$(pid)
kill -9 "$before"
soon 'running && [ "$(pid)" != "$before" ]'
sleep 3
[ "$(wc -l <answers)" = 1 ] || { cat answers; exit 1; }
[ ! -e stolen ] || exit 1
systemctl --user stop telegram"#;

/// Fetches a page from the example's server.
const FETCH: &str =
    "python3 -c 'import urllib.request; urllib.request.urlopen(\"http://127.0.0.1:8080/\").read()'";

/// A unit of the user's manager that systemd restarts.
const WEB: &str = r"mkdir -p .config/systemd/user
printf '[Service]\nExecStart=sleep 10000\nRestart=always\nRestartSec=2\n' >.config/systemd/user/web.service
systemctl --user daemon-reload; systemctl --user start web
printf 'all:\n\t@echo built\n' >Makefile
printf '#!/bin/sh\nsleep 1; systemctl --user kill -s KILL web; sleep 1\n' >disturbing-build
chmod +x disturbing-build";

/// In place of ssh: this machine. On the way to beta a tmux server crashes.
const SSH: &str = r#"cat >ssh-here <<'EOF'
#!/bin/sh
if [ "$1" = beta ]; then
    tmux -L crashed new -d 'sleep 100'
    kill -9 "$(tmux -L crashed display -p '#{pid}')"
    sleep 0.3
fi
shift
exec "$@"
EOF
chmod +x ssh-here; export FLEET_SSH=./ssh-here"#;

pub(super) const PAGES: &[Page] = &[
    Page {
        path: "examples/README.md",
        text: include_str!("../../../../examples/README.md"),
        before: "",
        commands: &[("forge probe --json", After("", 0))],
        after: "",
    },
    Page {
        path: "examples/web-server/README.md",
        text: include_str!("../../../../examples/web-server/README.md"),
        before: "forge --quiet units install --now",
        commands: &[
            ("forge units install --now", Named),
            (
                "install -D -m 0644 examples/web-server/forge.toml ~/.config/forge/forge.toml.d/web-server.toml",
                After("", 0),
            ),
            ("forge spawn site --supervise", After("", 0)),
            ("forge spawn other --port 8080 -- python3 -m http.server 8080", After(FETCH, 1)),
            ("systemctl --user kill --signal KILL forge-spawn-site.scope", After("", 0)),
            ("forge wait site --ready --timeout 30", After("sleep 3", 0)),
            ("forge logs site", After(FETCH, 0)),
            ("systemctl --user enable forge-spawn@site", Named),
        ],
        after: "forge logs site | grep crashed && forge logs site | grep restarted",
    },
    Page {
        path: "examples/telegram-bot/README.md",
        text: include_str!("../../../../examples/telegram-bot/README.md"),
        before: TELEGRAM,
        commands: &[
            ("forge units install --now", Named),
            ("install -D -m 0600 /dev/stdin ~/.secrets/telegram <<<\"$TOKEN\"", After("TOKEN=SECRET", 0)),
            ("install -D -m 0600 /dev/stdin ~/.secrets/telegram-chat <<<\"$CHAT\"", After("CHAT=42", 0)),
            ("install -D -m 0755 examples/telegram-bot/bot ~/.local/bin/telegram-bot", After("", 0)),
            (
                "install -D -m 0644 examples/telegram-bot/forge.toml ~/.config/forge/forge.toml.d/telegram-bot.toml",
                After("", 0),
            ),
            ("forge spawn agent", After("", 0)),
            ("forge spawn bot --supervise", After("", 0)),
            ("forge list", After("", 0)),
            ("forge send", Named),
            ("forge beat", Named),
        ],
        after: BOT_WORKS,
    },
    Page {
        path: "examples/fleet-probe/README.md",
        text: include_str!("../../../../examples/fleet-probe/README.md"),
        before: "forge spawn worker -- sleep 1000",
        commands: &[
            ("forge probe --json", After("", 0)),
            ("examples/fleet-probe/probe-fleet alpha beta", After(SSH, 1)),
        ],
        after: "forge --quiet sweep; FLEET_SSH=./ssh-here examples/fleet-probe/probe-fleet alpha || exit 1; \
            ! FLEET_SSH=false examples/fleet-probe/probe-fleet gamma",
    },
    Page {
        path: "examples/guarded-build/README.md",
        text: include_str!("../../../../examples/guarded-build/README.md"),
        before: WEB,
        commands: &[
            ("examples/guarded-build/guarded-build web -- make -s", After("", 0)),
            ("examples/guarded-build/guarded-build web -- ./disturbing-build", After("", 100)),
        ],
        after: "systemd-run --user --quiet --unit backup sleep 1000; \
            examples/guarded-build/guarded-build web -- make -s; status=$?; systemctl --user stop backup; \
            rm Makefile; [ $status = 75 ]",
    },
];
