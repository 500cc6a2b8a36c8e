//! The resumption of a program's conversation after a restart.

use serde::{Deserialize, Serialize};

use super::command::Argv;
use crate::model::error::{Error, Result};

/// forge replaces this with the id in a `resume` command.
pub const PLACEHOLDER: &str = "{resume_id}";

/// The longest valid id, in bytes.
const LONGEST: usize = 256;

/// The source of the id of a session's conversation: `resume_id` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "TextOrList", into = "TextOrList")]
pub enum IdSource {
    /// The name of an agent, for example `"claude"`: forge finds the conversation of this agent's process.
    Agent(AgentKind),
    /// Any other text: this id itself.
    Fixed(String),
    /// A list: the output of this command.
    Command(Vec<String>),
}

/// An agent whose conversations forge finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentKind {
    Claude,
    Codex,
    Copilot,
    Gemini,
    Qwen,
}

impl AgentKind {
    pub const ALL: [Self; 5] = [Self::Claude, Self::Codex, Self::Copilot, Self::Gemini, Self::Qwen];

    /// The word in `resume_id`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Copilot => "copilot",
            Self::Gemini => "gemini",
            Self::Qwen => "qwen",
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum TextOrList {
    Text(String),
    List(Vec<String>),
}

impl From<TextOrList> for IdSource {
    fn from(value: TextOrList) -> Self {
        match value {
            TextOrList::Text(text) => {
                let agent = AgentKind::ALL.into_iter().find(|agent| agent.word() == text);
                agent.map_or(Self::Fixed(text), Self::Agent)
            }
            TextOrList::List(argv) => Self::Command(argv),
        }
    }
}

impl From<IdSource> for TextOrList {
    fn from(source: IdSource) -> Self {
        match source {
            IdSource::Agent(agent) => Self::Text(agent.word().to_owned()),
            IdSource::Fixed(text) => Self::Text(text),
            IdSource::Command(argv) => Self::List(argv),
        }
    }
}

/// The end of a message about a program that starts again: it was resumed with this id, or it was not, for the
/// reason `fresh`. Empty if it has no conversation.
pub fn resumed_words(id: Option<&str>, fresh: Option<&str>) -> String {
    match (id, fresh) {
        (Some(id), _) => format!(", resumed with {id}"),
        (None, Some(why)) => format!(", started without resuming: {why}"),
        (None, None) => String::new(),
    }
}

pub fn needs_id(resume: &Argv) -> bool {
    resume.as_slice().iter().any(|argument| argument.contains(PLACEHOLDER))
}

/// The `resume` command with the id.
///
/// # Errors
/// `Kind::Usage` if the result is not a valid command.
pub fn with_id(resume: &Argv, id: &str) -> Result<Argv> {
    Argv::new(resume.as_slice().iter().map(|argument| argument.replace(PLACEHOLDER, id)).collect())
}

/// Checks an id before it becomes a program's argument.
///
/// # Errors
/// `Kind::Failed` if the id is empty, too long, looks like an option, or contains spaces or control
/// characters.
pub fn check_id(id: &str) -> Result<()> {
    let why = if id.is_empty() {
        "it is empty"
    } else if id.len() > LONGEST {
        "it is too long"
    } else if id.starts_with('-') {
        "a program would parse it as an option"
    } else if id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        "it contains a space or a control character"
    } else {
        return Ok(());
    };
    let shown: String = id.chars().take(60).flat_map(char::escape_debug).collect();
    Err(Error::failed(format!("'{shown}' is not a valid resume id: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_text_or_a_list() {
        let read = |text: &str| serde_json::from_str::<IdSource>(text).unwrap();
        assert_eq!(read(r#""claude""#), IdSource::Agent(AgentKind::Claude));
        assert_eq!(read(r#""main""#), IdSource::Fixed("main".into()));
        assert_eq!(read(r#"["cat", "id"]"#), IdSource::Command(vec!["cat".into(), "id".into()]));
        for source in [
            IdSource::Agent(AgentKind::Claude),
            IdSource::Fixed("x".into()),
            IdSource::Command(vec!["y".into()]),
        ] {
            assert_eq!(read(&serde_json::to_string(&source).unwrap()), source);
        }
    }

    #[test]
    fn the_id_replaces_the_placeholder() {
        let argv = |words: &[&str]| Argv::new(words.iter().map(|&word| word.to_owned()).collect()).unwrap();
        let resume = argv(&["claude", "--resume={resume_id}", "{resume_id}"]);
        assert!(needs_id(&resume) && !needs_id(&argv(&["claude", "--continue"])));
        assert_eq!(with_id(&resume, "7").unwrap(), argv(&["claude", "--resume=7", "7"]));
    }

    #[test]
    fn an_id_is_neither_an_option_nor_a_sentence() {
        assert!(check_id("1b9d-4f").is_ok());
        for bad in ["", "-x", "--dangerous", "a b", "a\nb", &"x".repeat(300)] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }
}
