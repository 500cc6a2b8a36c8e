//! Points in time as bots read them.

use serde::Serializer;

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
