//! Points in time as bots read them, and spans of time as people write them.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use serde::Serializer;

use super::error::Error;

/// A span of time: seconds, or systemd's and others' words for it.
///
/// # Errors
/// `Kind::Usage` with the forms that are read.
pub fn span(text: &str) -> Result<Duration, Error> {
    let seconds = text.parse::<u64>().ok().map(Duration::from_secs);
    let words = || {
        Duration::try_from(text.parse::<Span>().ok()?.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?)
            .ok()
    };
    seconds.or_else(words).ok_or_else(|| {
        Error::usage(format!("'{}' is not a span of time", text.escape_debug()))
            .hint("seconds or a time span, for example 90, 90s, 10min, 1h 30min")
    })
}

/// A timestamp in RFC 3339, UTC, to the millisecond; from microseconds since 1970.
pub fn rfc3339(us: u64) -> Option<String> {
    let timestamp = jiff::Timestamp::from_microsecond(i64::try_from(us).ok()?).ok()?;
    Some(format!("{timestamp:.3}"))
}

/// For serde's `serialize_with`, which passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) fn as_rfc3339<S: Serializer>(us: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    match rfc3339(*us) {
        Some(text) => serializer.serialize_str(&text),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_seconds_or_words() {
        for (text, seconds) in
            [("90", 90), ("90s", 90), ("10min", 600), ("1h 30min", 5400), ("2d", 172_800), ("0", 0)]
        {
            assert_eq!(span(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for bad in ["", "x", "-5", "-5s", "10 parsecs", "1.5.2"] {
            assert!(span(bad).unwrap_err().hint.unwrap().contains("1h 30min"), "{bad}");
        }
    }
}
