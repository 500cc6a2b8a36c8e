//! The form of forge's own profiles.

use crate::model::session::resume::IdSource;

/// A profile of forge's own. An empty text or list: the agent has no such thing, or it was not measured.
pub(super) struct BuiltIn {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// The version with which the values were measured.
    pub(super) measured: &'static str,
    /// The names of its program, without a directory.
    pub(super) programs: &'static [&'static str],
    /// Arguments that forge adds after the program.
    pub(super) added: &'static [&'static str],
    /// Why forge adds them, as a sentence.
    pub(super) why: &'static str,
    pub(super) ready: &'static str,
    pub(super) not_ready: &'static str,
    pub(super) asking: &'static str,
    pub(super) working: &'static str,
    /// The arguments, after the program, that begin a conversation with a given id.
    pub(super) begin: &'static [&'static str],
    /// The arguments, after the program, that resume a conversation.
    pub(super) resume: &'static [&'static str],
    /// The source of the id of a session's conversation.
    pub(super) resume_id: Option<IdSource>,
    pub(super) syntax: Syntax,
}

/// The parts of an agent's command line that matter to forge.
pub(super) struct Syntax {
    /// Options without a value. forge assumes that any other option has one.
    pub(super) flags: &'static [&'static str],
    /// Options with any number of values.
    pub(super) lists: &'static [&'static str],
    /// Options that choose a conversation; a resume replaces them.
    pub(super) conversation: &'static [&'static str],
    /// Subcommands and options with which the program is no interactive agent.
    pub(super) other_uses: &'static [&'static str],
}
