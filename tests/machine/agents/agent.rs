//! The agents: start without first-run questions, and the patterns of their screens.

use super::model::{Model, PORT, write};
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
    env: &'static [&'static str],
    /// Writes its settings.
    settle: fn(),
    pub(crate) ready: &'static str,
    pub(crate) not_ready: &'static str,
    pub(crate) asking: &'static str,
    /// A part of the question whether the folder is trusted.
    pub(crate) trust: &'static str,
}

pub(crate) const CLAUDE: Agent = Agent {
    name: "claude",
    // The mode in which the agent asks for permission.
    command: &["claude", "--permission-mode", "default"],
    env: &[
        "ANTHROPIC_BASE_URL=http://127.0.0.1:8099",
        "ANTHROPIC_API_KEY=sk-ant-0123456789-0123456789-0123456789",
        "DISABLE_AUTOUPDATER=1",
    ],
    settle: || {
        let project = serde_json::json!({
            "hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true,
        });
        let settings = serde_json::json!({
            "hasCompletedOnboarding": true,
            "theme": "dark",
            "autoUpdates": false,
            // The last 20 characters of the key.
            "customApiKeyResponses": {"approved": ["123456789-0123456789"], "rejected": []},
            "projects": {WORK: project},
        });
        write("/home/ada/.claude.json", &settings.to_string());
    },
    // The input box; the selected row of a menu begins with a blank.
    ready: r"(?m)^❯\u{a0}",
    not_ready: "Enter to confirm",
    asking: r"(?m)^ +❯ |Enter to confirm",
    trust: "Is this a project you created or one you trust?",
};

pub(crate) const CODEX: Agent = Agent {
    name: "codex",
    // Without the daemon, which would run the commands of all sessions in one of them.
    command: &["codex", "--no-daemon", "-a", "on-request"],
    env: &["MODEL_KEY=none"],
    settle: || {
        let settings = format!(
            "model = 'none'\nmodel_provider = 'local'\ncheck_for_update_on_startup = false\n\
             [model_providers.local]\nname = 'local'\nbase_url = 'http://127.0.0.1:{PORT}/v1'\n\
             env_key = 'MODEL_KEY'\nwire_api = 'responses'\n\
             [projects.'{WORK}']\ntrust_level = 'trusted'\n[analytics]\nenabled = false\n"
        );
        write("/home/ada/.codex/config.toml", &settings);
    },
    // Codex draws its input box before it asks whether the folder is trusted; the row below the box names the
    // model and the folder only once the session exists.
    ready: r"(?m)^› [\s\S]*^  \S.* · [~/]",
    not_ready: "enter continue · esc back|[Pp]ress enter to continue",
    asking: r"(?m)^› \d+\. ",
    trust: "Trust this folder?",
};

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

    /// The arguments of `forge spawn` after the name.
    pub(crate) fn spawned_in<'a>(&self, folder: &'a str) -> Vec<&'a str>
    where
        'static: 'a,
    {
        let mut options = vec!["--cwd", folder, "--asking", self.asking];
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
            let ready = ["--ready", self.ready, "--not-ready", self.not_ready, "--ready-timeout", "40"];
            let args = [&["spawn", self.name][..], &self.spawned_in(WORK), &ready, &["--"], self.command];
            forge_json(&args.concat());
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
