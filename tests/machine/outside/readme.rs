//! Runs the commands of README.md, docs/ and examples/ in their order, and compares the output that a page
//! shows below a command, numbers aside. A command that is on a page and in no list below fails the first test.

mod examples;
mod pages;

use super::boots::wait_for_restore;
use crate::machine::Machine;
use crate::ran::Ran;
use crate::suite::{self, List, Test, outside};
use std::collections::BTreeSet;

/// Packages that some of the commands need beside forge.
pub(crate) const PACKAGES: &str = ",sudo,graphviz,man-db,python3,jq,make";

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![outside!(every_command_is_tested), outside!(every_link_leads_somewhere)];
    tests.extend(pages::tests());
    tests.extend(examples::tests());
    tests
}

/// A document, and how its commands are tested.
struct Page {
    path: &'static str,
    text: &'static str,
    /// A shell script that runs before the first command.
    before: &'static str,
    commands: &'static [(&'static str, How)],
    /// A shell script that checks the result of all commands: it must exit with 0.
    after: &'static str,
}

enum How {
    /// Runs the command as the user in the home directory, after this script; it exits with this status.
    After(&'static str, i32),
    /// The same within a session.
    InSession,
    /// The same in a terminal, with this in its environment.
    InTerminal(&'static str),
    /// Reboots the machine, after this script.
    Reboot(&'static str),
    /// A target of the Makefile, which runs the tests themselves.
    Target,
    /// Another test, `GROUP::NAME`, runs it.
    By(&'static str),
    /// The page only names it: nobody types it as it stands.
    Named,
}

use How::{After, By, InSession, InTerminal, Named, Reboot, Target};

fn all_pages() -> impl Iterator<Item = &'static Page> {
    pages::PAGES.iter().chain(examples::PAGES)
}

impl Page {
    fn how(&self, command: &str) -> Option<&'static How> {
        self.commands.iter().find(|(known, _)| *known == command).map(|(_, how)| how)
    }

    /// The commands, each once, in the page's order, with the lines of output that the page shows: the lines
    /// of code blocks, and the spans of code that begin with the name of a program.
    fn shown(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
        // Every other part is a code block.
        for (index, part) in self.text.split("```").enumerate() {
            if index % 2 == 0 {
                found.extend(self.in_spans(part).into_iter().map(|command| (command, Vec::new())));
                continue;
            }
            // A block in a language, such as TOML, has no commands.
            let Some(lines) = part.strip_prefix('\n') else { continue };
            let has_output = lines.lines().any(|line| line.starts_with("$ "));
            for line in lines.lines() {
                match line.strip_prefix("$ ") {
                    Some(command) => found.push((command, Vec::new())),
                    None if has_output => found.last_mut().expect("its command").1.push(line),
                    None => found.push((line.split("  #").next().unwrap_or(line).trim_end(), Vec::new())),
                }
            }
        }
        let mut before = BTreeSet::new();
        found.retain(|(command, _)| before.insert(*command));
        found
    }

    fn in_spans(&self, text: &str) -> Vec<&'static str> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("\\|", "|");
        let spans = text.split('`').skip(1).step_by(2);
        let known =
            |span: &str| self.commands.iter().find(|(known, _)| *known == span).map(|(known, _)| *known);
        spans
            .filter_map(|span| {
                let command = known(span);
                let path = self.path;
                assert!(command.is_some() || !names_a_command(span), "no test runs `{span}` of {path}");
                command
            })
            .collect()
    }
}

fn names_a_command(span: &str) -> bool {
    ["forge ", "systemctl ", "journalctl ", "loginctl ", "sudo ", "nix ", "make "]
        .iter()
        .any(|program| span.starts_with(program))
}

/// A line without what differs from run to run.
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

/// Fails unless the output has the lines, in their order; `...` stands for any lines.
#[track_caller]
fn assert_shows(ran: &Ran, wanted: &[&str], host: &str) {
    let printed = format!("{}{}", ran.stdout, ran.stderr);
    let printed: Vec<String> = printed.lines().map(|line| normal(line, host)).collect();
    let mut rest = printed.iter();
    for line in wanted.iter().filter(|line| !line.is_empty() && line.trim() != "...") {
        let wanted = normal(line, host);
        assert!(rest.any(|line| *line == wanted), "not shown: {wanted}\nin: {printed:#?}");
    }
}

fn every_command_is_tested(_: &mut Machine) {
    for page in all_pages() {
        let shown = page.shown();
        let path = page.path;
        for (command, _) in &shown {
            assert!(page.how(command).is_some(), "no test runs this of {path}: {command}");
        }
        for (known, how) in page.commands {
            assert!(shown.iter().any(|(command, _)| command == known), "{path} no longer has: {known}");
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
}

/// Files only: `cargo test` has the repository that it was built from.
fn every_link_leads_somewhere(_: &mut Machine) {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in all_pages() {
        let folder = root.join(page.path).parent().expect("a folder").to_owned();
        for link in page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().expect("a part");
            let is_there = file.is_empty() || folder.join(file).exists();
            assert!(is_there || link.starts_with("https:"), "{} links to {link}", page.path);
        }
    }
}

/// Ends what the page before left.
const RESET: &str = "\
forge --quiet stop --all
systemctl --user stop 'forge-spawn@*' web postgresql; sudo systemctl stop postgresql
rm -rf .config/forge .config/systemd/user .local/state/forge server bench.sh
systemctl --user daemon-reload; systemctl --user reset-failed
forge --quiet sweep; true";

/// Runs the page's commands.
fn run(machine: &mut Machine, page: &Page) {
    machine.root(&["sh", "-c", "echo 'ada ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ada"]).ok();
    let host = machine.root(&["hostname"]).ok().stdout.trim().to_owned();
    let shell = |machine: &Machine, line: &str| machine.user(&["bash", "-lc", line]);
    shell(machine, RESET).ok();
    shell(machine, page.before).ok();
    for (command, wanted) in page.shown() {
        let how =
            page.how(command).unwrap_or_else(|| panic!("no test runs this of {}: {command}", page.path));
        match how {
            After(before, status) => {
                let ran = shell(machine, &format!("{before}\n{}", command.replace("NAME", "bridge")));
                assert_eq!(ran.code, *status, "{ran}");
                assert_shows(&ran, &wanted, &host);
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
                shell(machine, before).ok();
                machine.reboot();
                wait_for_restore(machine);
            }
            Target | By(_) | Named => {}
        }
    }
    shell(machine, page.after).ok();
}
