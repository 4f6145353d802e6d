//! Finds the patterns in the words of a text, in one pass.

use std::sync::OnceLock;

use crate::patterns::PATTERNS;
use crate::words::Words;

/// A word of a pattern's slot.
struct Stem {
    first: char,
    word: &'static str,
    open: bool,
    pattern: usize,
    slot: usize,
}

/// A pattern found: its number, and the words that it begins and ends with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub(crate) pattern: usize,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// All stems, by their first character; of one pattern the last slot first, so that no word fills two slots.
fn stems() -> &'static [Stem] {
    static STEMS: OnceLock<Vec<Stem>> = OnceLock::new();
    STEMS.get_or_init(|| {
        let mut all = Vec::new();
        for (pattern, slots) in PATTERNS.iter().map(|pattern| pattern.slots).enumerate() {
            for (slot, words) in slots.iter().enumerate().rev() {
                for word in words.split(' ') {
                    let stem = word.trim_end_matches('*');
                    all.extend(stem.chars().next().map(|first| Stem { first, word: stem, open: stem.len() < word.len(), pattern, slot }));
                }
            }
        }
        all.sort_by_key(|stem| stem.first);
        all
    })
}

/// Where a pattern has come to: the words that its slots were last filled with, and the word that began it.
#[derive(Clone, Copy, Default)]
struct Progress {
    at: usize,
    first: usize,
}

pub(crate) fn find(words: &Words) -> Vec<Hit> {
    const SLOTS: usize = 4;
    let stems = stems();
    // Counted from 1, so that 0 is nowhere.
    let mut progress = vec![[Progress::default(); SLOTS]; PATTERNS.len()];
    let mut hits = Vec::new();
    for (at, word) in words.words.iter().enumerate().map(|(at, word)| (at + 1, word)) {
        let text = &words.text[word.start..word.end];
        let Some(first) = text.chars().next() else { continue };
        let run = crate::words::is_run(first);
        let from = stems.partition_point(|stem| stem.first < first);
        for stem in stems[from..].iter().take_while(|stem| stem.first == first) {
            let fits = if stem.open || run { text.starts_with(stem.word) } else { text == stem.word };
            if !fits {
                continue;
            }
            let pattern = &PATTERNS[stem.pattern];
            let begun = match stem.slot.checked_sub(1) {
                None => Progress { at, first: at },
                Some(before) => {
                    let before = progress[stem.pattern][before];
                    if before.at == 0 || before.at == at || at - before.at > pattern.gap {
                        continue;
                    }
                    Progress { at, first: before.first }
                }
            };
            progress[stem.pattern][stem.slot] = begun;
            if stem.slot + 1 == pattern.slots.len() {
                hits.push(Hit { pattern: stem.pattern, first: begun.first - 1, last: at - 1 });
            }
        }
    }
    hits
}
