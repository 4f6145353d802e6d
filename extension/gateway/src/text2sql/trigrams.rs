//! Words that are nearly the same: by the runs of three characters that they share, as pg_trgm compares them.

use std::collections::HashMap;

/// From here on two words may be the same, mistyped or with another ending.
const ALIKE: f64 = 0.45;
/// What is only alike counts less than the word itself.
const SHARE: f64 = 0.7;

type Trigram = [char; 3];

/// Words that can be looked for by others like them.
pub(super) struct Vocabulary<'a> {
    words: HashMap<&'a str, usize>,
    listed: Vec<(&'a str, usize)>,
    /// The words that have a trigram.
    places: HashMap<Trigram, Vec<usize>>,
}

impl<'a> Vocabulary<'a> {
    pub(super) fn of(words: impl Iterator<Item = &'a str>) -> Self {
        let mut vocabulary = Self { words: HashMap::new(), listed: Vec::new(), places: HashMap::new() };
        for word in words {
            let next = vocabulary.listed.len();
            if *vocabulary.words.entry(word).or_insert(next) == next {
                let trigrams = trigrams(word);
                vocabulary.listed.push((word, trigrams.len()));
                for trigram in trigrams {
                    vocabulary.places.entry(trigram).or_default().push(next);
                }
            }
        }
        vocabulary
    }

    /// The word itself with 1, if it is there, and those that are nearly the same with less.
    pub(super) fn like(&self, word: &str) -> Vec<(&'a str, f64)> {
        let wanted = trigrams(word);
        let mut common: HashMap<usize, usize> = HashMap::new();
        for place in wanted.iter().filter_map(|trigram| self.places.get(trigram)).flatten() {
            *common.entry(*place).or_default() += 1;
        }
        let likeness = |(place, common): (usize, usize)| {
            let (found, count) = *self.listed.get(place)?;
            if found == word {
                return Some((found, 1.0));
            }
            #[allow(clippy::cast_precision_loss, reason = "lengths of words")]
            let likeness = common as f64 / (wanted.len() + count - common) as f64;
            (likeness >= ALIKE).then_some((found, SHARE * likeness))
        };
        common.into_iter().filter_map(likeness).collect()
    }
}

/// Without repetitions: of a word with two spaces before it and one behind.
fn trigrams(word: &str) -> Vec<Trigram> {
    let padded: Vec<char> = [' ', ' '].into_iter().chain(word.chars()).chain([' ']).collect();
    let mut trigrams: Vec<Trigram> = padded.windows(3).filter_map(|run| run.try_into().ok()).collect();
    trigrams.sort_unstable();
    trigrams.dedup();
    trigrams
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_finds_itself_and_its_like() {
        let vocabulary = Vocabulary::of(["customer", "custom", "order", "customer", "weather"].into_iter());
        let mut found = vocabulary.like("customer");
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        assert_eq!(found.iter().map(|(word, _)| *word).collect::<Vec<_>>(), ["customer", "custom"]);
        assert!((found[0].1 - 1.0).abs() < 1e-9 && found[1].1 < 0.7, "{found:?}");
        assert!(vocabulary.like("xyz").is_empty() && vocabulary.like("").is_empty());
    }

    #[test]
    fn likeness_is_that_of_pg_trgm() {
        // similarity('word', 'words') of pg_trgm is 0.571429.
        let found = Vocabulary::of(["words"].into_iter()).like("word");
        assert!((found[0].1 / SHARE - 0.571_429).abs() < 1e-4, "{found:?}");
    }
}
