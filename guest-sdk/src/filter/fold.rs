//! A text as a scanner reads it: one byte a character, look-alikes made the same, what cannot be seen left out.

use std::ops::Range;

/// A letter that has no ASCII look-alike.
pub const LETTER: u8 = 0x80;
/// A character of a script that is written without spaces: what stands beside it is a word of its own.
pub const IDEOGRAPH: u8 = 0x81;
/// Any other character.
pub const SYMBOL: u8 = 0x82;

/// The first digits of the decimal systems (Unicode's general category Nd) outside ASCII that are in daily use, and full-width and mathematical ones.
const ZEROS: [u32; 25] = [
    0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6, 0x0E50, 0x0ED0, 0x0F20, 0x1040,
    0x17E0, 0x1810, 0xFF10, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6,
];

/// Whether a character shows nothing and takes no room: zero-width ones, directional marks, variation selectors, tags, fillers.
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}'
        | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}'
        | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// A character's byte: itself for ASCII, its look-alike for digits, spaces, dashes and compatibility forms, one of the classes above for others; none
/// for what is invisible.
pub fn fold(c: char) -> Option<u8> {
    if c.is_ascii() {
        return Some(c as u8);
    }
    if is_invisible(c) {
        return None;
    }
    let code = u32::from(c);
    if let Some(digit) = ZEROS.iter().find_map(|zero| code.checked_sub(*zero).filter(|digit| *digit < 10)) {
        return u8::try_from(digit).ok().map(|digit| b'0' + digit);
    }
    Some(match c {
        '\u{FF01}'..='\u{FF5E}' => u8::try_from(code - 0xFEE0).unwrap_or(SYMBOL),
        '\u{A0}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}' => b' ',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE58}' | '\u{FE63}' => b'-',
        '\u{2024}' => b'.',
        '\u{FE6B}' => b'@',
        // Mathematical letters, thirteen alphabets in a row.
        '\u{1D400}'..='\u{1D6A3}' => match u8::try_from((code - 0x1D400) % 52).unwrap_or(0) {
            capital @ 0..26 => b'A' + capital,
            small => b'a' + small - 26,
        },
        '\u{E00}'..='\u{EFF}'
        | '\u{2E80}'..='\u{2FDF}'
        | '\u{3005}'..='\u{3007}'
        | '\u{3021}'..='\u{30FF}'
        | '\u{3400}'..='\u{9FFF}'
        | '\u{AC00}'..='\u{D7A3}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFF}' => IDEOGRAPH,
        c if c.is_alphabetic() => LETTER,
        _ => SYMBOL,
    })
}

/// So many characters in a row that cannot be seen are seen after all, as a [`SYMBOL`]: nothing may hide in them without end.
const INVISIBLE_RUN: u32 = 64;

/// A text's folded bytes, and where each stands in it.
#[derive(Clone, Debug, Default)]
pub struct Folded {
    /// One for each character that can be seen.
    pub bytes: Vec<u8>,
    /// Where each character begins and ends.
    places: Vec<(usize, usize)>,
    length: usize,
    invisible: u32,
}

impl Folded {
    /// Folds a text.
    pub fn new(text: &str) -> Self {
        let mut folded = Self::default();
        folded.push(text);
        folded
    }

    /// Folds what comes next.
    pub fn push(&mut self, text: &str) {
        self.bytes.reserve(text.len());
        self.places.reserve(text.len());
        for (at, c) in text.char_indices() {
            let byte = fold(c).or_else(|| {
                self.invisible += 1;
                (self.invisible >= INVISIBLE_RUN).then_some(SYMBOL)
            });
            if let Some(byte) = byte {
                self.invisible = 0;
                self.bytes.push(byte);
                self.places.push((self.length + at, self.length + at + c.len_utf8()));
            }
        }
        self.length += text.len();
    }

    /// Where folded bytes stand in the text.
    pub fn span(&self, bytes: Range<usize>) -> Range<usize> {
        let place = |at: usize| self.places.get(at).copied().unwrap_or_default();
        place(bytes.start).0..place(bytes.end.saturating_sub(1)).1
    }

    /// Where a folded byte begins in the text; the text's end beyond the last.
    pub fn start(&self, at: usize) -> usize {
        self.places.get(at).map_or(self.length, |place| place.0)
    }

    /// Forgets the text before a folded byte.
    pub fn forget(&mut self, before: usize) {
        let start = self.start(before);
        self.bytes.drain(..before);
        self.places.drain(..before);
        for place in &mut self.places {
            *place = (place.0 - start, place.1 - start);
        }
        self.length -= start;
    }
}
