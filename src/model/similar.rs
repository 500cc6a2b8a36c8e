//! Suggestions for a mistyped word.

/// The Jaro-Winkler similarity, from 0 to 1, above which a word is suggested.
const SIMILAR: f64 = 0.7;

/// The known word that is most similar to `word`, if any is similar enough. Case does not count.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&word, &known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness > SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}
