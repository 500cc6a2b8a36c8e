//! Time spans and sizes as people write them.

use std::time::Duration;

use forge::model::session::limits::Size;
use forge::model::time::{span, span_ms, span_text};
use proptest::prelude::*;

use crate::{properties, text};

properties! {
    #[test]
    fn a_printed_span_parses_back(micros in prop_oneof![any::<u32>().prop_map(u64::from), any::<u64>()]) {
        let expected = Duration::from_micros(micros);
        prop_assert_eq!(span(&span_text(expected)).unwrap(), expected);
        prop_assert_eq!(span_ms(&span_text(expected)).unwrap(), expected);
    }

    #[test]
    fn a_number_counts_seconds_or_milliseconds(number in 0..1_000_000_000u64) {
        prop_assert_eq!(span(&number.to_string()).unwrap(), Duration::from_secs(number));
        prop_assert_eq!(span_ms(&number.to_string()).unwrap(), Duration::from_millis(number));
        prop_assert_eq!(span(&format!("{number}s")).unwrap(), Duration::from_secs(number));
    }

    #[test]
    fn any_text_is_a_span_or_an_error_that_names_the_forms(text in text()) {
        if let Err(error) = span(&text) {
            prop_assert!(error.message.contains("10min, 1h 30min"), "{}", error);
        }
    }

    #[test]
    fn a_size_with_a_suffix_is_that_many_units(number in 0..1_000_000u64, (suffix, shift) in proptest::sample::select(vec![("", 0), ("K", 10), ("M", 20), ("G", 30), ("T", 40)])) {
        prop_assert_eq!(format!("{number}{suffix}").parse::<Size>().unwrap(), Size(number << shift));
    }
}
