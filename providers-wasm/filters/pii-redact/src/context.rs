//! What stands around a candidate.

use std::cell::OnceCell;

use pg_llm_guest::filter::{LETTER, fold};

/// A piece, and the text before it.
pub(crate) struct Context<'a> {
    before: &'a str,
    pub(crate) piece: &'a [u8],
    /// The visible character before the piece.
    previous: Option<u8>,
    /// The last characters before and the piece in lower case, and where the piece begins in them.
    lower: OnceCell<(String, usize)>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(before: &'a str, piece: &'a [u8]) -> Self {
        Self { before, piece, previous: before.chars().rev().find_map(fold), lower: OnceCell::new() }
    }

    pub(crate) fn byte(&self, at: usize) -> Option<u8> {
        self.piece.get(at).copied()
    }

    /// The character before a place.
    pub(crate) fn previous(&self, at: usize) -> Option<u8> {
        match at.checked_sub(1) {
            Some(before) => self.byte(before),
            None => self.previous,
        }
    }

    /// No word, number or decimal is going on before a place.
    pub(crate) fn begins(&self, at: usize) -> bool {
        match self.previous(at) {
            Some(b'.' | b'-' | b',') => !at.checked_sub(2).and_then(|at| self.byte(at)).is_some_and(is_word),
            Some(byte) => !is_word(byte),
            None => true,
        }
    }

    /// No word, number or decimal goes on at a place.
    pub(crate) fn ends(&self, at: usize) -> bool {
        match self.byte(at) {
            Some(b'.' | b'-') => !self.byte(at + 1).is_some_and(is_word),
            Some(byte) => !is_word(byte),
            None => true,
        }
    }

    /// No further groups of digits stand beside these.
    pub(crate) fn is_alone(&self, start: usize, end: usize) -> bool {
        let digit = |at: Option<usize>| at.and_then(|at| self.byte(at)).is_some_and(|byte| byte.is_ascii_digit());
        let separator = |at: Option<usize>| matches!(at.and_then(|at| self.byte(at)), Some(b' ' | b'-'));
        let before = separator(start.checked_sub(1)) && digit(start.checked_sub(2));
        let after = separator(Some(end)) && digit(Some(end + 1));
        !before && !after
    }

    /// One of these words (lower case) stands among the last characters before a place. ASCII words must begin as a word.
    pub(crate) fn says(&self, at: usize, words: &[&str]) -> bool {
        const NEAR: usize = 40;
        let (text, begin) = self.lower.get_or_init(|| {
            let tail = self.before.char_indices().rev().nth(NEAR).map_or(0, |(at, _)| at);
            let mut text: String = self.before[tail..].chars().flat_map(char::to_lowercase).collect();
            let begin = text.len();
            text.extend(self.piece.iter().map(|byte| if byte.is_ascii() { char::from(byte.to_ascii_lowercase()) } else { '?' }));
            (text, begin)
        });
        let to = begin + at;
        let mut from = to.saturating_sub(NEAR);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        let text = &text[from..to];
        words
            .iter()
            .any(|word| text.match_indices(word).any(|(at, _)| !word.is_ascii() || !text[..at].ends_with(|c: char| c.is_alphanumeric())))
    }
}

/// Part of a word or of a number.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == LETTER
}
