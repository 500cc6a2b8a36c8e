//! Points in time as RFC 3339, and time spans as systemd.time(7) writes them.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;

use super::error::Error;

/// The accepted forms of a time span, for errors.
const FORMS: &str = "seconds (90) or a span such as 90s, 10min, 1h 30min";

/// The same where a number without a unit counts milliseconds.
const FORMS_MS: &str = "milliseconds (500) or a span such as 500ms, 2s, 1min";

/// The units of systemd.time(7) with their length in microseconds. As there, a month has 30.44 days and
/// a year 365.25 days, and `M` is a month while `m` is a minute.
const UNITS: [(&[&str], u64); 9] = [
    (&["us", "usec", "µs", "μs"], 1),
    (&["ms", "msec"], MILLISECOND),
    (&["s", "sec", "second", "seconds"], SECOND),
    (&["m", "min", "minute", "minutes"], MINUTE),
    (&["h", "hr", "hour", "hours"], HOUR),
    (&["d", "day", "days"], DAY),
    (&["w", "week", "weeks"], WEEK),
    (&["M", "month", "months"], 2_629_800 * SECOND),
    (&["y", "year", "years"], 31_557_600 * SECOND),
];

const MILLISECOND: u64 = 1000;
const SECOND: u64 = 1000 * MILLISECOND;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

/// Parses a time span as systemd does: numbers with units, which add up; a number without a unit counts
/// seconds.
///
/// # Errors
/// `Kind::Usage` with the accepted forms.
pub fn span(text: &str) -> Result<Duration, Error> {
    span_in(text, SECOND).ok_or_else(|| invalid_span(text, FORMS))
}

/// Parses a time span in which a number without a unit counts milliseconds.
///
/// # Errors
/// `Kind::Usage` with the accepted forms.
pub fn span_ms(text: &str) -> Result<Duration, Error> {
    span_in(text, MILLISECOND).ok_or_else(|| invalid_span(text, FORMS_MS))
}

fn invalid_span(text: &str, forms: &str) -> Error {
    Error::usage(format!("'{}' is not a valid time span: use {forms}", text.escape_debug()))
}

fn span_in(text: &str, default_unit: u64) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit() && c != '.');
        let (unit, after) = split_where(after.trim_start(), |c| !c.is_alphabetic());
        let unit = match unit {
            "" => default_unit,
            unit => UNITS.iter().find(|(names, _)| names.contains(&unit))?.1,
        };
        total = total.checked_add(Duration::from_micros(times(number, unit)?))?;
        rest = after.trim_start();
    }
    Some(total)
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// A decimal number, perhaps with a fraction, times a unit. The fraction of the smallest unit is cut off.
pub(in crate::model) fn times(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (number, "0"),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
    if !digits(whole) || !digits(fraction) || fraction.len() > 12 {
        return None;
    }
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = fraction.parse::<u128>().ok()? * u128::from(unit) / scale;
    whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
}

/// A time span as [`span`] parses it, to the microsecond: `1h 30min`, `500ms`, `0`.
pub fn span_text(span: Duration) -> String {
    let mut rest = span.as_micros();
    let mut parts = Vec::new();
    for (name, unit) in
        [("w", WEEK), ("d", DAY), ("h", HOUR), ("min", MINUTE), ("s", SECOND), ("ms", MILLISECOND), ("us", 1)]
    {
        let count = rest / u128::from(unit);
        rest %= u128::from(unit);
        if count > 0 {
            parts.push(format!("{count}{name}"));
        }
    }
    if parts.is_empty() { "0".to_owned() } else { parts.join(" ") }
}

/// The time span in seconds, rounded up.
pub fn seconds_up(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0))
}

/// Reads a configuration's time span: a number of seconds, or text for [`span`].
pub(crate) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    deserializer
        .deserialize_any(SpanVisitor { number: Duration::from_secs, text: span, forms: FORMS })
        .map(Some)
}

/// Reads a configuration's time span: a number of milliseconds, or text for [`span_ms`].
pub(crate) fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(SpanVisitor {
        number: Duration::from_millis,
        text: span_ms,
        forms: FORMS_MS,
    })
}

struct SpanVisitor {
    number: fn(u64) -> Duration,
    text: fn(&str) -> Result<Duration, Error>,
    forms: &'static str,
}

impl Visitor<'_> for SpanVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.forms)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Duration, E> {
        Ok((self.number)(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Duration, E> {
        let number =
            u64::try_from(number).map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))?;
        self.visit_u64(number)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        (self.text)(text).map_err(E::custom)
    }
}

/// A timestamp in RFC 3339, UTC, to the millisecond; from microseconds since 1970.
pub fn rfc3339(wall_us: u64) -> Option<String> {
    let timestamp = jiff::Timestamp::from_microsecond(i64::try_from(wall_us).ok()?).ok()?;
    Some(format!("{timestamp:.3}"))
}

/// For serde's `serialize_with`, which passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) fn as_rfc3339<S: Serializer>(wall_us: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    match rfc3339(*wall_us) {
        Some(text) => serializer.serialize_str(&text),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_seconds_or_numbers_with_units() {
        for (text, millis) in [
            ("90", 90_000),
            ("0", 0),
            ("90s", 90_000),
            ("10min", 600_000),
            ("10 min", 600_000),
            ("1h 30min", 5_400_000),
            ("30m1hr", 5_400_000),
            ("1.5h", 5_400_000),
            ("250ms", 250),
            ("5000us", 5),
            ("2d", 172_800_000),
            ("1w", 604_800_000),
            ("2 weeks 1 day", 1_296_000_000),
            (" 1 min 5 ", 65_000),
        ] {
            assert_eq!(span(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn an_invalid_span_names_the_accepted_forms() {
        for bad in
            ["", " ", "x", "s", "-5", "-5s", "10 parsecs", "1.5.2", "1.", ".5", "1e3", "99999999999999y"]
        {
            let error = span(bad).unwrap_err().message;
            assert!(error.ends_with("use seconds (90) or a span such as 90s, 10min, 1h 30min"), "{error}");
        }
        assert_eq!(
            span("x").unwrap_err().message,
            "'x' is not a valid time span: use seconds (90) or a span such as 90s, 10min, 1h 30min"
        );
    }

    #[test]
    fn plain_milliseconds_take_units_too() {
        assert_eq!(span_ms("500").unwrap(), Duration::from_millis(500));
        assert_eq!(span_ms("2s").unwrap(), Duration::from_secs(2));
        assert!(span_ms("x").unwrap_err().message.contains("use milliseconds (500)"));
    }

    #[test]
    fn a_span_is_printed_with_the_largest_units() {
        for (millis, text) in
            [(0, "0"), (5_400_000, "1h 30min"), (90_500, "1min 30s 500ms"), (604_800_000, "1w")]
        {
            assert_eq!(span_text(Duration::from_millis(millis)), text);
        }
        assert_eq!(seconds_up(Duration::from_millis(1)), 1);
        assert_eq!(seconds_up(Duration::from_secs(3)), 3);
    }
}
