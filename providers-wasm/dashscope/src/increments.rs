//! Telling a stream of increments from one whose every piece is the whole so far, and making increments of both.
//!
//! What was asked does not decide it: models that know only one way answer in that way. Nor does a look at two pieces, because an increment may begin like
//! the one before it (`1`, `10`). So while two readings are possible nothing is said, and the first piece that allows only one of them decides. That is the
//! second piece nearly always, and then nothing was held back.

use pg_llm_guest::failure::beginning;

/// One run of text: the answer, the thinking, or the arguments of one call.
#[derive(Debug)]
pub struct Increments {
    reading: Reading,
    /// Whether increments were asked for: decides where nothing else does.
    asked: bool,
    /// The last piece, which would be the whole so far: its beginning, and its length.
    head: String,
    length: usize,
    /// How much of it was given out.
    given: usize,
    /// What increments would have brought since then.
    held: String,
    /// Pieces since then, and those of them that were longer than the piece before.
    pieces: u32,
    longer: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    Increments,
    Whole,
}

/// What a frame tells beside the piece.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints {
    /// Whether tokens were generated for this run since the frame before; none where that is unknown.
    pub tokens: Option<bool>,
    /// The frame says that the answer is finished.
    pub last: bool,
    /// A run of this kind does not repeat its own beginning: to begin like the whole is to be the whole.
    pub unique: bool,
}

/// Pieces that are held back at most, and bytes beyond which no further one is.
const MAX_PIECES: u32 = 8;
const MAX_HELD: usize = 1024 * 1024;

/// How much of a whole is compared.
const MAX_HEAD: usize = 64 * 1024;

impl Increments {
    /// A run of which nothing has come.
    pub fn new(asked: bool) -> Self {
        Self { reading: Reading::Open, asked, head: String::new(), length: 0, given: 0, held: String::new(), pieces: 0, longer: 0 }
    }

    /// Takes the next piece; an empty one where a frame has none. Gives what is new, as far as that is certain.
    pub fn take(&mut self, piece: &str, hints: Hints) -> String {
        if self.reading == Reading::Increments {
            return piece.to_owned();
        }
        if piece.len() < self.length || !piece.starts_with(&self.head) {
            // A whole never shrinks, and never changes. An empty piece may only say that another run goes on.
            let says_nothing = piece.is_empty() && self.held.is_empty();
            return if says_nothing { String::new() } else { self.read_as_increments(piece) };
        }
        let (is_first, is_longer) = (self.length == 0, piece.len() > self.length);
        let head = beginning(piece, MAX_HEAD);
        self.head.push_str(&head[self.head.len()..]);
        self.length = piece.len();
        if is_first || self.reading == Reading::Whole {
            return self.rest(piece);
        }
        self.pieces += 1;
        self.longer += u32::from(is_longer);
        self.held.push_str(piece);
        let is_whole = hints.unique
            || (is_longer && (self.longer > 1 || !self.asked))
            // An increment costs tokens.
            || (!is_longer && hints.tokens == Some(false))
            || (hints.last && (self.longer > 0 || hints.tokens != Some(true)));
        let is_decided = is_whole || hints.last || self.pieces == MAX_PIECES || self.held.len() > MAX_HELD;
        if !is_decided {
            String::new()
        } else if is_whole || !self.asked {
            self.reading = Reading::Whole;
            self.held = String::new();
            self.rest(piece)
        } else {
            self.read_as_increments("")
        }
    }

    /// Nothing more comes: gives what was held back, by the likelier reading.
    pub fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        match self.reading {
            Reading::Open if self.longer == 0 && self.asked => held,
            // Of wholes the last one that was held stands at the end, and it is as long as it is.
            Reading::Open => {
                held.get(held.len().saturating_sub(self.length)..).and_then(|last| last.get(self.given..)).unwrap_or_default().to_owned()
            }
            Reading::Increments | Reading::Whole => String::new(),
        }
    }

    /// Whether it is settled that pieces are increments.
    pub fn is_settled(&self) -> bool {
        self.reading == Reading::Increments
    }

    fn read_as_increments(&mut self, piece: &str) -> String {
        self.reading = Reading::Increments;
        self.head = String::new();
        let mut new = std::mem::take(&mut self.held);
        new.push_str(piece);
        new
    }

    /// What of this whole was not given out. Where an earlier whole ended, a code point ended, if it was one.
    fn rest(&mut self, whole: &str) -> String {
        let new = whole.get(self.given..).unwrap_or_default().to_owned();
        self.given = whole.len();
        new
    }
}
