//! Many needles in one pass: Wu and Manber, "A fast algorithm for multi-pattern searching" (1994).
//!
//! Where no needle's beginning can have a text's three bytes, the search goes on behind them: at most as many bytes as the shortest needle has. What is looked at is
//! less than the text. The table is wiped with its needles: it says which letters they have.

use std::fmt;

use zeroize::Zeroizing;

/// Bytes that are looked at together.
const BLOCK: usize = 3;
/// Places of the table.
const PLACES: usize = 4096;

/// Needles, and how far apart they may stand.
pub(super) struct Search {
    needles: Vec<Zeroizing<Vec<u8>>>,
    /// Bytes of each needle's beginning that the table knows.
    window: usize,
    /// By a block: how far the window may move when it ends with it.
    shifts: Vec<u8>,
}

impl Search {
    /// For needles of at least three bytes.
    pub(super) fn new(mut needles: Vec<Zeroizing<Vec<u8>>>) -> Self {
        // Of two that begin at the same place, the longer is found.
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        let window = needles.last().map_or(BLOCK, |shortest| shortest.len().clamp(BLOCK, usize::from(u8::MAX)));
        let farthest = u8::try_from(window - BLOCK + 1).unwrap_or(u8::MAX);
        let mut shifts = vec![farthest; if needles.is_empty() { 0 } else { PLACES }];
        for needle in &needles {
            for (at, block) in needle[..window].windows(BLOCK).enumerate() {
                let shift = &mut shifts[place(block)];
                *shift = (*shift).min(u8::try_from(window - BLOCK - at).unwrap_or(u8::MAX));
            }
        }
        Self { needles, window, shifts }
    }

    /// Whether there is nothing to search for.
    pub(super) fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// Where the first needle begins and ends, at or behind `from`.
    pub(super) fn find(&self, text: &[u8], mut from: usize) -> Option<(usize, usize)> {
        if self.is_empty() {
            return None;
        }
        while let Some(window) = text.get(from..from + self.window) {
            match self.shifts[place(&window[self.window - BLOCK..])] {
                0 => {
                    let here = &text[from..];
                    if let Some(needle) = self.needles.iter().find(|needle| here.starts_with(needle)) {
                        return Some((from, from + needle.len()));
                    }
                    from += 1;
                }
                shift => from += usize::from(shift),
            }
        }
        None
    }

    /// Where, at or behind `from`, the text's end is the beginning of a needle and no more; its length where it is not.
    pub(super) fn begun(&self, text: &[u8], from: usize) -> usize {
        let starts = self.needles.iter().filter_map(|needle| {
            let from = from.max(text.len().saturating_sub(needle.len() - 1));
            // A needle may have some thousand bytes: its first one is looked for, not each of its beginnings.
            memchr::memchr_iter(needle[0], &text[from..]).map(|at| from + at).find(|at| needle.starts_with(&text[*at..]))
        });
        starts.min().unwrap_or(text.len())
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.shifts.fill(0);
        std::hint::black_box(&self.shifts);
    }
}

fn place(block: &[u8]) -> usize {
    let number = u32::from_le_bytes([block[0], block[1], block[2], 0]);
    (number.wrapping_mul(0x9E37_79B1) >> 20) as usize
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search").field("needles", &self.needles.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(needles: &[&str]) -> Search {
        Search::new(needles.iter().map(|needle| Zeroizing::new(needle.as_bytes().to_vec())).collect())
    }

    #[test]
    fn what_is_found_is_what_a_plain_search_finds() {
        // Few letters, so that there is much to confuse; the numbers are a linear congruential generator's.
        let mut state = 1_u32;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        for _ in 0..2000 {
            let mut word = |most: u32| -> String {
                let length = 3 + next(most);
                (0..length).map(|_| char::from(b'a' + u8::try_from(next(3)).unwrap())).collect()
            };
            let needles = [word(4), word(6), word(2)];
            let text = word(60);
            let search = search(&needles.iter().map(String::as_str).collect::<Vec<_>>());
            let plain = (0..text.len()).find_map(|at| {
                let longest = needles.iter().filter(|needle| text[at..].starts_with(needle.as_str())).map(String::len).max()?;
                Some((at, at + longest))
            });
            assert_eq!(search.find(text.as_bytes(), 0), plain, "{needles:?} in {text}");
            let begun = (0..text.len()).find(|at| needles.iter().any(|n| n.len() > text.len() - at && n.starts_with(&text[*at..])));
            assert_eq!(search.begun(text.as_bytes(), 0), begun.unwrap_or(text.len()), "{needles:?} begun in {text}");
        }
    }

    #[test]
    fn nothing_is_found_of_nothing() {
        assert_eq!(search(&[]).find(b"anything", 0), None);
        assert_eq!(search(&[]).begun(b"anything", 0), 8);
        assert_eq!(search(&["needle"]).find(b"", 0), None);
    }
}
