//! README.md and docs/: how each command is tested.

use super::{After, By, InSession, InTerminal, Machine, Named, Page, Reboot, Target, run};
use crate::suite::{Test, outside};

pub(super) fn tests() -> Vec<Test> {
    vec![
        outside!(readme),
        outside!(sessions),
        outside!(agents),
        outside!(supervision),
        outside!(boots).limit_s(300),
        outside!(guarding),
        outside!(configuration),
        outside!(events),
        outside!(troubleshooting),
        outside!(install),
    ]
}

/// `page!(name, PATH)`: the function `name` is the test of the page PATH.
macro_rules! page {
    ($name:ident, $path:literal) => {
        fn $name(machine: &mut Machine) {
            let page = PAGES.iter().find(|page| page.path == $path).expect($path);
            run(machine, page);
        }
    };
}

page!(readme, "README.md");
page!(sessions, "docs/sessions.md");
page!(agents, "docs/agents.md");
page!(supervision, "docs/supervision.md");
page!(boots, "docs/boots.md");
page!(guarding, "docs/guarding.md");
page!(configuration, "docs/configuration.md");
page!(events, "docs/events.md");
page!(troubleshooting, "docs/troubleshooting.md");
page!(install, "docs/install.md");

/// forge's units, and a server that prints `listening` once it listens on port 7890.
const SERVER: &str = "forge --quiet units install --now\n\
    cat >server <<'EOF'\n\
    #!/usr/bin/perl\n\
    use Socket; $| = 1;\n\
    socket(my $s, PF_INET, SOCK_STREAM, 0); setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);\n\
    bind($s, sockaddr_in(7890, INADDR_LOOPBACK)) or die; listen($s, 8);\n\
    print \"listening\\n\"; sleep 1000;\n\
    EOF\n\
    chmod +x server";

/// `homebase`, a live tmux server, and two sockets of servers that were killed.
const TMUX_SERVERS: &str = "tmux -L homebase new -d 'sleep 1000'; \
    for l in one two; do tmux -L $l new -d 'sleep 100'; kill -9 $(tmux -L $l display -p '#{pid}'); done; sleep 0.2";

pub(super) const PAGES: &[Page] = &[
    Page {
        path: "README.md",
        text: include_str!("../../../../README.md"),
        before: SERVER,
        commands: &[
            ("make demo", Target),
            ("make test", Target),
            ("make deb", Target),
            (
                "sudo apt-get install ./target/deb/forge_*.deb",
                By("package::after_an_install_the_first_example_works"),
            ),
            ("forge agents list", After("", 0)),
            ("sudo loginctl enable-linger \"$USER\"", After("", 0)),
            ("nix profile install .", By("nix::a_profile_installs_forge_and_its_units")),
            // `before` installs the units. Installing them again at once, systemd would refuse to start the sweep:
            // more than five starts in ten seconds.
            ("forge units install --now --linger", Named),
            ("forge units install --now", Named),
            ("forge spawn demo -- top", After(TMUX_SERVERS, 0)),
            ("forge list", After("", 0)),
            ("forge logs demo", After("", 0)),
            ("forge stop demo", After("", 0)),
            ("forge spawn agent --ready '❯' --ready-timeout 10 -- bash", After("", 4)),
            ("forge send", Named),
            ("forge spawn shell -- bash", After("", 0)),
            ("forge send shell 'echo hello'", After("sleep 1", 0)),
            ("forge spawn web --supervise --ready 'listening' --port 7890 -- ./server", After("", 0)),
            ("forge guard run", Named),
            ("forge guard run --unit forge-spawn@web -- sleep 1", After("", 0)),
            ("forge probe", After("", 0)),
            ("forge run NAME -- COMMAND", Named),
        ],
        after: "tmux -L homebase kill-server",
    },
    Page {
        path: "docs/sessions.md",
        text: include_str!("../../../../docs/sessions.md"),
        before: "forge --quiet units install --now",
        commands: &[
            ("forge spawn", Named),
            ("forge spawn demo -- top", After("", 0)),
            ("forge spawn agent --ready '❯' --ready-timeout 10 -- bash", After("", 4)),
            ("forge spawn job -- sh -c 'echo hello; exit 7'", After("", 1)),
            ("forge status NAME", Named),
            ("forge run NAME", Named),
            ("forge stop", Named),
            (
                "forge stop 'bridge-*'",
                After(
                    "forge spawn bridge-1 -- sh -c 'trap \"\" TERM HUP; for i in 1 2 3; do setsid sh -c \"trap \\\"\\\" TERM HUP; \
                     while :; do sleep 1000; done\" & done; while :; do wait; done'; \
                     forge spawn bridge-2 -- sleep 1000; sleep 1",
                    0,
                ),
            ),
            ("forge logs NAME", After("forge spawn bridge -- sleep 1000", 0)),
            ("loginctl enable-linger", By("package::after_an_install_the_first_example_works")),
            ("forge man | man -l -", After("", 0)),
            ("forge freeze", Named),
            ("systemctl --user edit forge.slice", InTerminal("SYSTEMD_EDITOR=true")),
        ],
        after: "",
    },
    Page {
        path: "docs/agents.md",
        text: include_str!("../../../../docs/agents.md"),
        before: "",
        commands: &[
            ("forge send", Named),
            ("forge send NAME TEXT", Named),
            ("forge wait NAME --idle", Named),
            ("forge spawn", Named),
            ("forge stop", Named),
            ("forge freeze", Named),
            ("forge doctor", Named),
            ("forge status", Named),
            ("forge stop two", By("outside_work::work_in_the_daemon_of_another_session_is_reported")),
            ("forge spawn agent --ready '\\$ $' -- bash", After("", 0)),
            (
                "forge spawn agent --ready '❯' --not-ready 'Do you trust' -- \
                 sh -c 'printf \"Do you trust this folder? \"; read -r a'",
                After("forge stop agent", 1),
            ),
            ("forge send agent --wait=30 'echo hello'", After("", 0)),
            ("forge agents show AGENT", By("known_agents::the_configuration_changes_a_profile")),
            ("forge list", After("", 0)),
            ("forge status NAME", By("known_agents::an_agent_is_known_by_its_program")),
            ("forge probe", Named),
            ("forge report", Named),
            ("forge report working|asking|idle|done", By("activity::a_hook_reports_what_its_program_does")),
            ("forge wait NAME --asking", By("activity::waiting_for_a_question_and_for_the_end_of_a_turn")),
            ("forge report --resume-id", By("activity::a_reported_conversation_is_resumed")),
        ],
        after: "",
    },
    Page {
        path: "docs/supervision.md",
        text: include_str!("../../../../docs/supervision.md"),
        before: SERVER,
        commands: &[
            ("forge units install --now", Named),
            ("forge spawn web --supervise --ready 'listening' --port 7890 -- ./server", After("", 0)),
            ("systemctl --user start forge-spawn@web", After("", 0)),
            ("systemctl --user enable forge-spawn@web", After("forge units install --now >/dev/null", 0)),
            // The others need the session, so each of these two starts it again.
            ("systemctl --user stop forge-spawn@web", After("", 0)),
            ("forge stop web", Named),
            (
                "systemctl --user restart forge-spawn@web",
                After("forge spawn web --supervise --ready 'listening' --port 7890 -- ./server", 0),
            ),
            ("systemctl --user reload forge-spawn@web", After("", 0)),
            ("forge poke web", After("", 0)),
            ("systemctl --user status forge-spawn@web", After("", 0)),
            ("systemctl --user edit forge-spawn@.service", InTerminal("SYSTEMD_EDITOR=true")),
            ("systemctl --user edit forge-spawn@web.service", InTerminal("SYSTEMD_EDITOR=true")),
            ("forge restart web", After("", 0)),
            ("systemctl --user reset-failed forge-spawn@web", After("", 0)),
            ("forge beat", InSession),
            ("forge report", Named),
            ("forge send", Named),
            ("systemctl --user status", Named),
            ("forge status", Named),
        ],
        after: "systemctl --user disable forge-spawn@web",
    },
    Page {
        path: "docs/boots.md",
        text: include_str!("../../../../docs/boots.md"),
        before: "",
        commands: &[
            (
                "forge units install --now --linger",
                After(
                    "mkdir -p .config/forge && cat >.config/forge/forge.toml <<'EOF'\n\
                     [sessions.agent]\n\
                     command = 'sleep 1000'\n\
                     resume = \"sh -c 'echo {resume_id}; exec sleep 1000'\"\n\
                     resume_id = '7c1f2a5e-91b0-4a53-8f2c-6c61f6ad0e12'\n\
                     EOF\n\
                     forge spawn agent && forge spawn bridge -- sleep 1000",
                    0,
                ),
            ),
            (
                "sudo reboot",
                Reboot(
                    "printf \"[sessions.scraper]\\ncommand = 'scrape'\\nboot = true\\n\" >>.config/forge/forge.toml",
                ),
            ),
            ("journalctl --user -u forge-post-boot-sessions -o cat", After("", 0)),
            ("forge probe", After("", 5)),
            ("forge restore", After("", 0)),
            ("forge notify boot", By("boots::a_reboot_brings_back_what_was_running")),
            ("forge save", After("", 0)),
            ("forge notify failure", Named),
            ("forge guard watch", By("watch_over::each_disturbance_is_recorded_and_reported")),
            ("forge units install --linger", After("", 0)),
            ("sudo loginctl enable-linger", Named),
            ("forge units verify", After("", 0)),
            ("forge units graph | dot -Tsvg", After("", 0)),
            ("forge units install", After("", 0)),
            ("systemctl --user edit forge-tmux-socket-sweep.timer", InTerminal("SYSTEMD_EDITOR=true")),
            ("forge spawn", Named),
            ("forge run", Named),
            ("forge restart NAME", After("", 0)),
            ("forge stop NAME", After("", 0)),
            (
                "forge units show forge-tmux-socket-sweep@.service | sudo tee /etc/systemd/system/forge-tmux-socket-sweep@.service",
                After("", 0),
            ),
            ("sudo systemctl enable forge-tmux-socket-sweep@1000.service", After("", 0)),
        ],
        after: "forge units uninstall",
    },
    Page {
        path: "docs/guarding.md",
        text: include_str!("../../../../docs/guarding.md"),
        // The pause before the restart is longer than a busy machine may delay the guard.
        before: "forge spawn agent -- sleep 10000; forge spawn web -- sleep 10000; mkdir -p .config/systemd/user; \
             printf '[Service]\\nExecStart=sleep 10000\\nRestart=always\\nRestartSec=2\\n' >.config/systemd/user/web.service; \
             systemctl --user daemon-reload; systemctl --user start web; \
             sudo systemd-run -q -u postgresql sleep 10000; \
             printf '#!/bin/sh\\nsleep 1; systemctl --user kill -s KILL web; sleep 4\\n' >bench.sh; chmod +x bench.sh",
        commands: &[
            ("forge guard run", Named),
            ("forge guard run --unit web --system-unit postgresql -- ./bench.sh", After("", 100)),
            (
                "forge guard snapshot -o before.json",
                After(
                    "mkdir -p .config/forge; printf '[guard]\\nunits = [\"web\"]\\n' >.config/forge/forge.toml",
                    0,
                ),
            ),
            ("forge guard check before.json", After("", 0)),
            ("forge units install --now", After("", 0)),
            ("forge guard watch", By("watch_over::each_disturbance_is_recorded_and_reported")),
        ],
        after: "forge units uninstall",
    },
    Page {
        path: "docs/configuration.md",
        text: include_str!("../../../../docs/configuration.md"),
        before: "",
        commands: &[(
            "forge notify test",
            After(
                "mkdir -p .config/forge; printf '[notify]\\ncommand = [\"true\"]\\n' >.config/forge/forge.toml",
                0,
            ),
        )],
        after: "",
    },
    Page {
        path: "docs/events.md",
        text: include_str!("../../../../docs/events.md"),
        before: "forge spawn bridge -- sleep 1000",
        commands: &[
            ("forge logs NAME", After("", 0)),
            ("forge logs NAME --json", After("", 0)),
            ("journalctl -t forge", After("", 0)),
            ("forge status", Named),
            ("forge report done", By("activity::done_is_noticed_if_configured")),
            ("journalctl --user -u forge-spawn@NAME", After("", 0)),
            ("journalctl -t forge -x", By("package::after_an_install_the_first_example_works")),
            (
                "forge notify test",
                After(
                    "mkdir -p .config/forge; printf '[notify]\\ncommand = [\"true\"]\\n' >.config/forge/forge.toml",
                    0,
                ),
            ),
        ],
        after: "",
    },
    Page {
        path: "docs/troubleshooting.md",
        text: include_str!("../../../../docs/troubleshooting.md"),
        before: "forge spawn bridge -- sleep 1000",
        commands: &[
            ("forge probe", After("", 0)),
            ("forge list", After("", 0)),
            ("forge status NAME", After("", 0)),
            ("forge logs NAME", After("", 0)),
            ("forge restart NAME", After("", 0)),
            ("forge capture NAME", After("", 0)),
            ("forge thaw NAME", After("", 0)),
            ("forge attach NAME", Named),
            // No units are installed, and it says so.
            ("forge doctor", After("", 5)),
            ("forge restore --dry-run", After("", 0)),
            ("forge restore", After("", 0)),
            ("forge spawn", Named),
            ("forge stop", Named),
        ],
        after: "",
    },
    Page {
        path: "docs/install.md",
        text: include_str!("../../../../docs/install.md"),
        before: "",
        commands: &[
            ("nix profile install", By("nix::a_profile_installs_forge_and_its_units")),
            ("forge units install", After("", 0)),
            ("forge doctor", Named),
        ],
        after: "forge units uninstall",
    },
];
