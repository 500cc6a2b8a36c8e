//! An agent and its sessions: starting one without first-run questions, reading its screen, typing.

use super::model::{Model, write};
use crate::ran::Ran;
use crate::support::{forge, forge_json, wait_until};
use std::path::Path;
use std::time::Duration;

/// A folder that the agents' settings mark as trusted.
pub(crate) const WORK: &str = "/home/ada/work";

/// A git checkout that no settings mention: some agents ask only about those.
pub(crate) const FOREIGN: &str = "/home/ada/foreign";

pub(crate) struct Agent {
    pub(crate) name: &'static str,
    pub(crate) command: &'static [&'static str],
    pub(crate) env: &'static [&'static str],
    /// Writes its settings.
    pub(crate) settle: fn(),
    /// A part of the question whether the folder is trusted, if the agent asks that.
    pub(crate) trust: Option<&'static str>,
    /// Whether forge recognises its empty input box, so that `--replace-input` works.
    pub(crate) replaces: bool,
    /// The longest text that the tests send while the agent works, in bytes.
    pub(crate) most_at_work: usize,
    /// How often a test repeats a text or a question.
    pub(crate) rounds: usize,
}

impl Agent {
    /// Prepares everything that the agent needs before its start.
    #[track_caller]
    pub(crate) fn settled(&self) -> Model {
        for folder in [WORK, FOREIGN] {
            std::fs::create_dir_all(folder).expect("a folder to work in");
        }
        for part in ["objects/info", "refs/heads"] {
            std::fs::create_dir_all(format!("{FOREIGN}/.git/{part}")).expect("a git checkout");
        }
        write(&format!("{FOREIGN}/.git/HEAD"), "ref: refs/heads/main\n");
        if !Path::new("/home/ada/settled").exists() {
            (self.settle)();
            write("/home/ada/settled", "");
        }
        Model::started()
    }

    /// The pattern by which forge recognises its questions.
    #[track_caller]
    pub(crate) fn asking(&self) -> String {
        let shown = forge_json(&["agents", "show", self.name]);
        shown["asking"].as_str().expect("a pattern").to_owned()
    }

    /// The arguments of `forge spawn` after the name. forge knows the patterns of the agent by its program.
    pub(crate) fn spawned_in<'a>(&self, folder: &'a str) -> Vec<&'a str>
    where
        'static: 'a,
    {
        let mut options = vec!["--cwd", folder];
        for variable in self.variables() {
            options.extend(["--env", variable]);
        }
        options
    }

    /// Its environment variables, each as NAME=VALUE.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &'static str> {
        self.env.iter().copied().chain(["PATH=/opt/agents/bin:/usr/bin:/bin"])
    }

    /// The session that the tests of its group share.
    #[track_caller]
    pub(crate) fn session(&self) -> Session {
        let session = Session { name: self.name };
        if forge(&["--json", "status", self.name]).code != 0 {
            let ready = ["--ready-timeout", "40", "--"];
            forge_json(&[&["spawn", self.name][..], &self.spawned_in(WORK), &ready, self.command].concat());
            // The agent shows its prompt before it accepts keys.
            session.rests();
        }
        session
    }
}

/// A session of an agent.
pub(crate) struct Session {
    pub(crate) name: &'static str,
}

impl Session {
    /// The text on the screen.
    #[track_caller]
    pub(crate) fn screen(&self) -> String {
        forge(&["capture", self.name]).ok().stdout
    }

    /// Waits until the screen contains this text.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        wait_until(Duration::from_secs(30), &format!("'{text}' on the screen of {}", self.name), || {
            self.screen().contains(text)
        });
    }

    /// Waits until the screen no longer changes.
    #[track_caller]
    pub(crate) fn rests(&self) {
        let mut before = self.screen();
        wait_until(Duration::from_secs(30), &format!("the screen of {} to rest", self.name), || {
            std::thread::sleep(Duration::from_millis(400));
            let now = self.screen();
            let rests = now == before;
            before = now;
            rests
        });
    }

    /// `forge send`, however it ends.
    #[track_caller]
    pub(crate) fn send(&self, args: &[&str]) -> Ran {
        forge(&[&["--json", "send", self.name], args].concat())
    }

    /// Asserts that `forge send` is refused for this reason.
    #[track_caller]
    pub(crate) fn refuses(&self, kind: &str, args: &[&str]) {
        let ran = self.send(args);
        let error = serde_json::from_str::<serde_json::Value>(&ran.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}):\n{ran}\n{}", self.screen()));
        assert_eq!(error["error"]["kind"], kind, "{ran}\n{}", self.screen());
    }
}
