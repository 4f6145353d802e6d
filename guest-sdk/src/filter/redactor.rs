//! Replaces what a scanner finds in a text that comes in pieces of any size.
//!
//! The text is cut where no match can reach across, by a rule that looks at the text alone and never at how it arrived. Each piece is scanned by itself,
//! so that a stream gives what the whole would, at most a piece is held back, and the time is linear.

use super::fold::Folded;

/// Bytes of text before a piece that a scanner is shown.
const BEFORE: usize = 64;
/// Bytes that are folded at a time.
const STEP: usize = 16 << 10;

/// Something found in a piece: folded bytes from `start` up to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The first byte.
    pub start: usize,
    /// The first byte after it.
    pub end: usize,
    /// What it is.
    pub kind: &'static str,
}

/// Finds what is to be replaced.
pub trait Scan {
    /// Longest piece, in characters that can be seen; what is longer is cut.
    const PIECE: usize = 512;
    /// Longest match, in characters that can be seen: what a piece that was cut by its length shares with the next.
    const MATCH: usize = 160;

    /// Whether the text may be cut between `piece` (folded, never empty) and the byte `next`: no match reaches across.
    fn cuts(&self, piece: &[u8], next: u8) -> bool;

    /// What is in a piece, in its order and without overlaps; `before` are some characters of the text before it. None is longer than [`MATCH`](Self::MATCH).
    fn scan(&self, before: &str, piece: &[u8], found: &mut Vec<Found>);
}

/// Replaces what a [`Scan`] finds.
#[derive(Debug)]
pub struct Redactor<S> {
    scan: S,
    held: String,
    folded: Folded,
    /// So many folded bytes are known to be one piece so far.
    whole: usize,
    before: String,
}

impl<S: Scan> Redactor<S> {
    /// Begins a text.
    pub fn new(scan: S) -> Self {
        Self { scan, held: String::new(), folded: Folded::default(), whole: 0, before: String::new() }
    }

    /// Takes a piece of the text, and appends to `out` what is settled; `replace` is asked for every match.
    pub fn push(&mut self, text: &str, out: &mut String, replace: &mut dyn FnMut(Found, &str) -> String) {
        let mut rest = text;
        while !rest.is_empty() {
            let mut step = rest.len().min(STEP);
            while !rest.is_char_boundary(step) {
                step -= 1;
            }
            let (now, later) = rest.split_at(step);
            self.held.push_str(now);
            self.folded.push(now);
            self.settle(false, out, replace);
            rest = later;
        }
    }

    /// The text is at its end.
    pub fn finish(&mut self, out: &mut String, replace: &mut dyn FnMut(Found, &str) -> String) {
        self.settle(true, out, replace);
    }

    fn settle(&mut self, ended: bool, out: &mut String, replace: &mut dyn FnMut(Found, &str) -> String) {
        let (mut held, mut folded) = (std::mem::take(&mut self.held), std::mem::take(&mut self.folded));
        let bytes = &folded.bytes[..];
        let mut found = Vec::new();
        let (mut from, mut at) = (0, self.whole.max(1));
        while at < bytes.len() {
            let full = at - from == S::PIECE;
            if !full && !self.scan.cuts(&bytes[from..at], bytes[at]) {
                at += 1;
                continue;
            }
            found.clear();
            self.scan.scan(&self.before, &bytes[from..at], &mut found);
            let mut cut = at - from;
            if full {
                // What begins near the end is found again, whole.
                found.retain(|found| found.start < S::PIECE - S::MATCH);
                cut = found.last().map_or(0, |last| last.end).max(S::PIECE - S::MATCH);
            }
            // What cannot be seen goes with what stands before it, except at the beginning of all.
            let start = if from == 0 { 0 } else { folded.start(from) };
            self.write(&held, start..folded.start(from + cut), &folded, from, &found, out, replace);
            from += cut;
            at = from + 1;
        }
        let start = if from == 0 { 0 } else { folded.start(from) };
        if ended {
            found.clear();
            self.scan.scan(&self.before, &bytes[from..], &mut found);
            self.write(&held, start..held.len(), &folded, from, &found, out, replace);
        } else {
            self.whole = at.min(bytes.len()) - from;
            if from > 0 {
                held.drain(..start);
                folded.forget(from);
            }
            (self.held, self.folded) = (held, folded);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the one place that knows both the text and its folded form")]
    fn write(
        &mut self,
        text: &str,
        range: std::ops::Range<usize>,
        folded: &Folded,
        from: usize,
        found: &[Found],
        out: &mut String,
        replace: &mut dyn FnMut(Found, &str) -> String,
    ) {
        let mut written = range.start;
        for found in found {
            let span = folded.span(from + found.start..from + found.end);
            out.push_str(&text[written..span.start]);
            out.push_str(&replace(*found, &text[span.clone()]));
            written = span.end;
        }
        out.push_str(&text[written..range.end]);
        remember(&mut self.before, &text[range]);
    }
}

/// Keeps the last characters of a text, which depend on its pieces alone.
fn remember(before: &mut String, piece: &str) {
    before.push_str(piece);
    if before.len() > 4 * BEFORE {
        let mut cut = before.len() - BEFORE;
        while !before.is_char_boundary(cut) {
            cut += 1;
        }
        before.drain(..cut);
    }
}
