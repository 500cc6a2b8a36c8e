//! The README's commands, run as they stand there, in its order; what it shows of their output is
//! compared, numbers aside. A command that is in the README and not here fails the first test.

use super::boots::wait_for_restore;
use crate::machine::Machine;
use crate::ran::Ran;
use crate::suite::{self, List, Test, outside};
use std::collections::BTreeSet;

/// What some of the commands need beside forge.
pub(crate) const PACKAGES: &str = ",sudo,graphviz,man-db";

pub(crate) fn tests() -> Vec<Test> {
    vec![outside!(every_command_is_tested), outside!(the_commands_do_what_they_say).limit_s(400)]
}

const README: &str = include_str!("../../../README.md");

/// How a command is tested.
enum How {
    /// Run here, by its user in the home directory, after this.
    After(&'static str, Status),
    /// The same within a session.
    InSession,
    /// The same in a terminal, with this in its environment.
    InTerminal(&'static str),
    /// Reboots the machine, after this.
    Reboot(&'static str),
    /// A target of the Makefile, which the tests themselves are run by.
    Target,
    /// By another test.
    By(&'static str),
    /// It is named, and meant for nobody to type as it stands.
    Named,
}

/// With which status it ends.
type Status = i32;

use How::{After, By, InSession, InTerminal, Named, Reboot, Target};

/// A line in a code block, with the output that is shown below it; or a command within a sentence.
const COMMANDS: &[(&str, How)] = &[
    ("make demo", Target),
    ("make test", Target),
    ("make test-vm", Target),
    ("make test-faults", Target),
    ("make test-agents", Target),
    ("make bench", Target),
    (
        "forge spawn demo -- top",
        After(
            "tmux -L homebase new -d 'sleep 1000'; for l in one two; do tmux -L $l new -d 'sleep 100'; \
             kill -9 $(tmux -L $l display -p '#{pid}'); done; sleep 0.2",
            0,
        ),
    ),
    ("forge list", After("", 0)),
    ("forge logs demo", After("", 0)),
    ("forge stop demo", After("", 0)),
    ("forge spawn agent --ready '❯' --ready-timeout 10 -- bash", After("", 4)),
    ("forge spawn job -- sh -c 'echo hello; exit 7'", After("", 1)),
    (
        "forge stop 'bridge-*'",
        After(
            "forge spawn bridge-1 -- sh -c 'trap \"\" TERM HUP; for i in 1 2 3; do setsid sh -c \"trap \\\"\\\" TERM HUP; \
             while :; do sleep 1000; done\" & done; while :; do wait; done'; \
             forge spawn bridge-2 -- sleep 1000; sleep 1",
            0,
        ),
    ),
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
    ("make deb", Target),
    (
        "sudo apt-get install ./target/deb/forge_*.deb",
        By("package::after_an_install_the_first_example_works"),
    ),
    ("sudo loginctl enable-linger \"$USER\"", After("", 0)),
    ("nix profile install .", By("nix::a_profile_installs_forge_and_its_units")),
    ("forge units install --now", After("", 0)),
    (
        "forge units show forge-tmux-socket-sweep@.service | sudo tee /etc/systemd/system/forge-tmux-socket-sweep@.service",
        After("", 0),
    ),
    ("sudo systemctl enable forge-tmux-socket-sweep@1000.service", After("", 0)),
    (
        "forge spawn web --supervise --ready 'listening' --port 7890 -- ./server",
        After(
            "cat >server <<'EOF'\n\
             #!/usr/bin/perl\n\
             use Socket; $| = 1;\n\
             socket(my $s, PF_INET, SOCK_STREAM, 0); setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);\n\
             bind($s, sockaddr_in(7890, INADDR_LOOPBACK)) or die; listen($s, 8);\n\
             print \"listening\\n\"; sleep 1000;\n\
             EOF\n\
             chmod +x server",
            0,
        ),
    ),
    (
        "forge guard run --unit web --system-unit postgresql -- ./bench.sh",
        // The pause before the restart is longer than a busy machine may keep the guard waiting.
        After(
            "mkdir -p .config/systemd/user; \
             printf '[Service]\\nExecStart=sleep 10000\\nRestart=always\\nRestartSec=2\\n' >.config/systemd/user/web.service; \
             systemctl --user daemon-reload; systemctl --user start web; \
             sudo systemd-run -q -u postgresql sleep 10000; \
             printf '#!/bin/sh\\nsleep 1; systemctl --user kill -s KILL web; sleep 4\\n' >bench.sh; chmod +x bench.sh",
            100,
        ),
    ),
    ("forge attach NAME", Named),
    ("forge beat", InSession),
    ("forge capture NAME", After("", 0)),
    ("forge doctor", After("", 5)),
    ("forge guard check before.json", After("forge guard snapshot --unit web -o before.json", 0)),
    (
        "forge guard snapshot -o before.json",
        After("printf '[guard]\\nunits = [\"web\"]\\n' >>.config/forge/forge.toml", 0),
    ),
    ("forge guard watch", By("watch_over::each_disturbance_is_recorded_and_reported")),
    ("forge logs NAME", After("", 0)),
    ("forge man | man -l -", After("", 0)),
    ("forge notify boot", By("boots::a_reboot_brings_back_what_was_running")),
    ("forge notify failure", Named),
    ("forge poke web", After("", 0)),
    ("forge restart NAME", After("", 0)),
    ("forge restart web", After("", 0)),
    ("forge restore", After("", 0)),
    ("forge restore --dry-run", After("", 0)),
    ("forge run", Named),
    ("forge save", After("", 0)),
    ("forge send", Named),
    ("forge send NAME TEXT", Named),
    ("forge spawn", Named),
    ("forge status NAME", After("", 0)),
    ("forge stop NAME", After("", 0)),
    ("forge thaw NAME", After("", 0)),
    ("forge wait NAME --idle", Named),
    ("forge units graph | dot -Tsvg", After("", 0)),
    ("forge units install --linger", After("", 0)),
    ("forge units install", After("", 0)),
    ("forge units verify", After("", 0)),
    ("journalctl --user -t forge -x", By("package::after_an_install_the_first_example_works")),
    ("journalctl --user -u forge-spawn@NAME", After("", 0)),
    ("journalctl -t forge", After("", 0)),
    ("loginctl enable-linger", By("package::after_an_install_the_first_example_works")),
    ("sudo loginctl enable-linger", Named),
    ("systemctl --user edit", Named),
    ("systemctl --user edit forge-spawn@.service", InTerminal("SYSTEMD_EDITOR=true")),
    ("systemctl --user edit forge-tmux-socket-sweep.timer", InTerminal("SYSTEMD_EDITOR=true")),
    ("systemctl --user reset-failed forge-spawn@web", After("", 0)),
    ("systemctl --user start forge-spawn@web", After("", 0)),
    ("systemctl --user status forge-spawn@web", After("", 0)),
];

/// What the README has people type, each once, in its order, and what it shows of the output.
fn commands() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    // Every other part is a code block; within the others, every other part of a span.
    for (index, part) in README.split("```").enumerate() {
        if index % 2 == 0 {
            let text = part.split_whitespace().collect::<Vec<_>>().join(" ").replace("\\|", "|");
            for span in text.split('`').skip(1).step_by(2) {
                if let Some((known, _)) = COMMANDS.iter().find(|(known, _)| *known == span) {
                    found.push((known, Vec::new()));
                }
                assert!(
                    !is_a_command(span) || found.last().is_some_and(|(last, _)| *last == span),
                    "no test runs `{span}` of the README"
                );
            }
            continue;
        }
        // One in a language is no command.
        let Some(lines) = part.strip_prefix('\n') else { continue };
        let shows = lines.lines().any(|line| line.starts_with("$ "));
        for line in lines.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => found.push((command, Vec::new())),
                None if shows => found.last_mut().expect("its command").1.push(line),
                None => found.push((line.split("  #").next().unwrap_or(line).trim_end(), Vec::new())),
            }
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|(command, _)| seen.insert(*command));
    found
}

fn is_a_command(span: &str) -> bool {
    ["forge ", "systemctl ", "journalctl ", "loginctl ", "sudo ", "nix ", "make "]
        .iter()
        .any(|program| span.starts_with(program))
}

/// A line without what is another each time.
fn normal(line: &str, host: &str) -> String {
    let words = line.replace(host, "HOST").replace("trixie", "HOST");
    let words = words.split_whitespace().map(|word| {
        let bare = word.trim_matches(|c: char| "(),;:[]".contains(c));
        let is_id = bare.len() == 8 && bare.chars().all(|c| c.is_ascii_hexdigit());
        let changes = bare.starts_with(|c: char| c.is_ascii_digit()) || bare == "-" || is_id;
        if changes && !bare.contains("f2a5e") { word.replace(bare, "N") } else { word.to_owned() }
    });
    let line = words.collect::<Vec<_>>().join(" ");
    // `forge[109]:`
    line.split('[')
        .map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()))
        .collect::<Vec<_>>()
        .join("[")
}

/// Whether the lines are there, in their order; `...` stands for any.
#[track_caller]
fn shows(ran: &Ran, wanted: &[&str], host: &str) {
    let printed = format!("{}{}", ran.stdout, ran.stderr);
    let printed: Vec<String> = printed.lines().map(|line| normal(line, host)).collect();
    let mut rest = printed.iter();
    for line in wanted.iter().filter(|line| !line.is_empty() && line.trim() != "...") {
        let wanted = normal(line, host);
        assert!(rest.any(|line| *line == wanted), "not shown: {wanted}\nin: {printed:#?}");
    }
}

fn every_command_is_tested(_: &mut Machine) {
    let found = commands();
    for (command, _) in &found {
        assert!(
            COMMANDS.iter().any(|(known, _)| known == command),
            "no test runs this of the README: {command}"
        );
    }
    for (known, how) in COMMANDS {
        assert!(found.iter().any(|(command, _)| command == known), "the README has no more: {known}");
        match how {
            Target => {
                let target = known.trim_start_matches("make ");
                let makefile = include_str!("../../../Makefile");
                assert!(makefile.contains(&format!("\n{target}: ")), "{known}");
            }
            By(test) => {
                let (group, name) = test.split_once("::").expect("GROUP::TEST");
                let groups = suite::groups(List::Usual);
                let group = groups.iter().find(|known| known.name == group).expect(test);
                assert!(group.tests.iter().any(|known| known.name == name), "there is no {test}");
            }
            After(..) | InSession | InTerminal(_) | Reboot(_) | Named => {}
        }
    }
}

fn the_commands_do_what_they_say(machine: &mut Machine) {
    machine.root(&["sh", "-c", "echo 'ada ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ada"]).ok();
    let host = machine.root(&["hostname"]).ok().stdout.trim().to_owned();
    for (command, wanted) in commands() {
        let (_, how) =
            COMMANDS.iter().find(|(known, _)| *known == command).expect("the first test says which");
        match how {
            After(before, status) => {
                let line = format!("{before}\n{}", command.replace("NAME", "bridge"));
                let ran = machine.user(&["bash", "-lc", &line]);
                assert_eq!(ran.code, *status, "{ran}");
                shows(&ran, &wanted, &host);
            }
            InSession => {
                machine.user(&["forge", "run", "inside", "--", "sh", "-c", command]).ok();
            }
            InTerminal(variable) => {
                machine
                    .user(&["env", variable, "script", "--quiet", "--return", "-c", command, "/dev/null"])
                    .ok();
            }
            Reboot(before) => {
                machine.user(&["bash", "-lc", before]).ok();
                machine.reboot();
                wait_for_restore(machine);
            }
            Target | By(_) | Named => {}
        }
    }
}
