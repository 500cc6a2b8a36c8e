//! The command line of an agent, as far as forge must understand it.

use super::built_in::Syntax;
use crate::model::session::command::Argv;

/// The arguments of a command, without the program.
pub(super) struct Arguments<'a> {
    parts: Vec<Argument<'a>>,
    syntax: &'static Syntax,
}

enum Argument<'a> {
    /// An option with its value, if it has one.
    Option(&'a [String]),
    /// A subcommand, or a first task.
    Word(&'a str),
}

impl<'a> Arguments<'a> {
    /// Splits the arguments. forge knows only the flags of the measured version. It takes the word after any other
    /// option for the option's value.
    pub(super) fn parse(command: &'a Argv, syntax: &'static Syntax) -> Self {
        let mut rest = command.as_slice().get(1..).unwrap_or_default();
        let mut parts = Vec::new();
        while let Some(first) = rest.first() {
            if first == "--" {
                // All that follows is a task.
                break;
            }
            let is_option = first.starts_with('-');
            let (part, after) = rest.split_at(if is_option { 1 + values(rest, syntax) } else { 1 });
            parts.push(if is_option { Argument::Option(part) } else { Argument::Word(first) });
            rest = after;
        }
        Self { parts, syntax }
    }

    /// Whether the arguments ask for something else than an interactive agent.
    pub(super) fn is_other_use(&self) -> bool {
        let is_other = |word: &str| self.syntax.other_uses.contains(&word);
        // A task may begin with a subcommand's name, but it has more words.
        let first = self.parts.iter().find_map(|part| match part {
            Argument::Word(word) => Some(*word),
            Argument::Option(_) => None,
        });
        first.is_some_and(is_other)
            || self
                .parts
                .iter()
                .any(|part| matches!(part, Argument::Option(option) if is_other(name(option))))
    }

    /// Whether an option chooses the conversation.
    pub(super) fn has_conversation(&self) -> bool {
        let chooses = |part: &Argument<'a>| match part {
            Argument::Option(option) => self.syntax.conversation.contains(&name(option)),
            Argument::Word(_) => false,
        };
        self.parts.iter().any(chooses)
    }

    /// The options that also hold for a resumed conversation.
    pub(super) fn lasting(&self) -> Vec<String> {
        let lasts = |part: &Argument<'a>| match part {
            Argument::Option(option) if !self.syntax.conversation.contains(&name(option)) => Some(*option),
            Argument::Option(_) | Argument::Word(_) => None,
        };
        self.parts.iter().filter_map(lasts).flatten().cloned().collect()
    }
}

/// The option's name, without `=VALUE`.
fn name(option: &[String]) -> &str {
    option.first().map_or("", |first| first.split('=').next().unwrap_or(first))
}

/// How many of the words after the option at the start are its values.
fn values(words: &[String], syntax: &Syntax) -> usize {
    let (option, rest) = (name(words), words.get(1..).unwrap_or_default());
    if syntax.flags.contains(&option) || words.first().is_some_and(|first| first.contains('=')) {
        return 0;
    }
    let most = if syntax.lists.contains(&option) { usize::MAX } else { 1 };
    rest.iter().take(most).take_while(|word| !word.starts_with('-')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    static SYNTAX: Syntax = Syntax {
        flags: &["--verbose"],
        lists: &["--add-dir"],
        conversation: &["--resume", "-c"],
        other_uses: &["-p", "mcp"],
    };

    fn argv(line: &str) -> Argv {
        Argv::new(shlex::split(line).unwrap()).unwrap()
    }

    #[test]
    fn a_resume_keeps_options_and_drops_the_task() {
        for (line, lasting) in [
            ("agent", ""),
            ("agent 'do it'", ""),
            ("agent --model big 'do it'", "--model big"),
            ("agent --verbose 'do it'", "--verbose"),
            ("agent --model=big task", "--model=big"),
            ("agent --add-dir a b --model big", "--add-dir a b --model big"),
            ("agent --resume 7 --model big", "--model big"),
            ("agent --resume=7 -c", ""),
            ("agent --model big -- --verbose", "--model big"),
        ] {
            let command = argv(line);
            assert_eq!(Arguments::parse(&command, &SYNTAX).lasting().join(" "), lasting, "{line}");
        }
    }

    #[test]
    fn a_subcommand_is_another_use() {
        let is_other = |line: &str| Arguments::parse(&argv(line), &SYNTAX).is_other_use();
        for line in ["agent -p hello", "agent mcp list", "agent --model big mcp", "agent --verbose -p"] {
            assert!(is_other(line), "{line}");
        }
        for line in ["agent", "agent 'mcp servers fail'", "agent --model mcp", "agent -- -p"] {
            assert!(!is_other(line), "{line}");
        }
    }
}
