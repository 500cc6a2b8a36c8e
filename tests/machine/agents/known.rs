//! The agents: their command lines, and the settings that answer their first-run questions. forge knows the patterns of
//! their screens.

use super::agent::{Agent, WORK};
use super::model::{PORT, write};
use serde_json::json;

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
        let project = json!({
            "hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true,
        });
        let settings = json!({
            "hasCompletedOnboarding": true,
            "theme": "dark",
            "autoUpdates": false,
            // The last 20 characters of the key.
            "customApiKeyResponses": {"approved": ["123456789-0123456789"], "rejected": []},
            "projects": {WORK: project},
        });
        write("/home/ada/.claude.json", &settings.to_string());
    },
    trust: Some("Is this a project you created or one you trust?"),
    replaces: true,
    most_at_work: 20_000,
    rounds: 20,
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
    trust: Some("Trust this folder?"),
    replaces: true,
    most_at_work: 20_000,
    rounds: 20,
};

pub(crate) const GEMINI: Agent = Agent {
    name: "gemini",
    // Without a fixed model, the agent first asks a model which model is to answer.
    command: &["gemini", "--model", "gemini-2.5-pro"],
    env: &["GEMINI_API_KEY=none", "GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8099"],
    settle: || {
        let settings = json!({
            "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": true}},
            "general": {"enableAutoUpdate": false},
            // The model server repeats itself while it is held, and the agent would ask about that.
            "model": {"disableLoopDetection": true},
            "privacy": {"usageStatisticsEnabled": false},
        });
        write("/home/ada/.gemini/settings.json", &settings.to_string());
        write("/home/ada/.gemini/trustedFolders.json", &json!({WORK: "TRUST_FOLDER"}).to_string());
    },
    trust: Some("Do you trust the files in this folder?"),
    replaces: true,
    most_at_work: 20_000,
    rounds: 5,
};

pub(crate) const OPENCODE: Agent = Agent {
    name: "opencode",
    command: &["opencode"],
    env: &[],
    settle: || {
        let local = json!({
            "npm": "@ai-sdk/openai-compatible",
            "name": "local",
            "options": {"baseURL": format!("http://127.0.0.1:{PORT}/v1"), "apiKey": "none"},
            "models": {"none": {"name": "none", "limit": {"context": 200_000, "output": 8_000}}},
        });
        let settings = json!({
            "autoupdate": false,
            "share": "disabled",
            "model": "local/none",
            "small_model": "local/none",
            // Its default is to run all commands.
            "permission": {"bash": "ask"},
            "provider": {"local": local},
        });
        write("/home/ada/.config/opencode/opencode.json", &settings.to_string());
    },
    trust: None,
    // The box is three rows with a bar at their left. The cursor's row is blank, so forge takes it for the end
    // of a text of several lines, and finds that Backspace changes nothing.
    replaces: false,
    most_at_work: 20_000,
    rounds: 5,
};

pub(crate) const QWEN: Agent = Agent {
    name: "qwen",
    // In the default mode, a model decides which commands may run.
    command: &["qwen", "--approval-mode", "default"],
    env: &["OPENAI_API_KEY=none", "OPENAI_BASE_URL=http://127.0.0.1:8099/v1", "OPENAI_MODEL=none"],
    settle: || {
        let settings = json!({
            "security": {"auth": {"selectedType": "openai"}, "folderTrust": {"enabled": true}},
            "general": {"enableAutoUpdate": false},
            // The agent would show the model's guess at the next text in its input box.
            "ui": {"enableFollowupSuggestions": false},
            "privacy": {"usageStatisticsEnabled": false},
        });
        write("/home/ada/.qwen/settings.json", &settings.to_string());
        write("/home/ada/.qwen/trustedFolders.json", &json!({WORK: "TRUST_FOLDER"}).to_string());
    },
    trust: Some("Do you trust this folder?"),
    replaces: true,
    most_at_work: 20_000,
    rounds: 5,
};

pub(crate) const COPILOT: Agent = Agent {
    name: "copilot",
    command: &["copilot"],
    env: &[
        "COPILOT_OFFLINE=true",
        "COPILOT_PROVIDER_BASE_URL=http://127.0.0.1:8099/v1",
        "COPILOT_PROVIDER_API_KEY=none",
        "COPILOT_MODEL=none",
        "COPILOT_AUTO_UPDATE=false",
        // The agent sends no request, not even one without TLS, where it finds no certificates.
        "SSL_CERT_FILE=/opt/agents/certificates.pem",
    ],
    settle: || {
        let settings = json!({"trusted_folders": [WORK], "banner": "never"});
        write("/home/ada/.copilot/config.json", &settings.to_string());
    },
    trust: Some("Do you trust the files in this folder?"),
    replaces: true,
    // On a machine with other load, Copilot takes more than 3 s after Enter to remove 20,000 bytes from its box
    // while it works. forge then reports the text as typed, although Copilot queues it (3 of 10 texts).
    most_at_work: 3_000,
    rounds: 5,
};
