//! The macro behind the table of events in `kinds.rs`.

/// Defines [`Event`](super::Event) and all that depends on its kind from one table. `about`, `text` and
/// the values of `fields` see the event's data as references.
macro_rules! events {
    ($(
        $(#[$doc:meta])*
        $kind:ident { $($data:ident: $type:ty),* $(,)? } => {
            word: $word:literal,
            id: $id:literal,
            level: $level:ident,
            about: $about:expr,
            text: $text:expr,
            fields: { $($name:ident: $value:expr),* $(,)? },
        }
    )*) => {
        /// An event that forge records in the journal.
        #[derive(Debug, Clone)]
        pub enum Event {
            $($(#[$doc])* $kind { $($data: $type),* },)*
        }

        /// The word of each kind in `FORGE_EVENT=`, and its `MESSAGE_ID=`.
        pub const KINDS: &[(&str, &str)] = &[$(($word, $id)),*];

        #[allow(unused_variables, reason = "an entry needs only a part of its event's data")]
        impl Event {
            /// The word in `FORGE_EVENT=`.
            pub fn word(&self) -> &'static str {
                match self { $(Self::$kind { .. } => $word,)* }
            }

            pub(super) fn about(&self) -> About<'_> {
                match self { $(Self::$kind { $($data),* } => About::from($about),)* }
            }

            pub(super) fn text(&self) -> String {
                match self { $(Self::$kind { $($data),* } => $text,)* }
            }

            /// Hands the record to tracing, under the target [`TARGET`]. tracing needs the names of a
            /// record's fields when it is compiled; they become the journal's in capitals.
            pub fn record(&self) {
                let message = self.message();
                let about = self.about();
                let user_unit = self.user_unit();
                match self {
                    $(Self::$kind { $($data),* } => tracing::event!(
                        target: TARGET,
                        tracing::Level::$level,
                        message = message,
                        message_id = $id,
                        forge_event = $word,
                        forge_session = about.session().map(SessionId::as_str),
                        forge_guard = about.guard(),
                        user_unit = user_unit.as_deref(),
                        $($name = $value,)*
                    ),)*
                }
            }
        }
    };
}
pub(super) use events;
