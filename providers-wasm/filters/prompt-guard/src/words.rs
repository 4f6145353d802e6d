//! A text as words: lower case, without accents, look-alikes and what cannot be seen. Of scripts without spaces every character is a word.

use pg_llm_guest::filter::{IDEOGRAPH, LETTER, SYMBOL, fold, is_invisible};

/// The words of a text.
pub(crate) struct Words {
    /// All of them, each followed by a space, characters of scripts without spaces by none.
    pub(crate) text: String,
    pub(crate) words: Vec<Word>,
}

/// A word: where it begins and ends in [`Words::text`] (a character of a script without spaces ends where that script does), and where in the original.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) origin: usize,
}

impl Words {
    pub(crate) fn of(original: &str) -> Self {
        let mut all = Self { text: String::with_capacity(original.len()), words: Vec::with_capacity(original.len() / 5) };
        let mut open: Option<Open> = None;
        let mut in_run = false;
        for (at, c) in original.char_indices() {
            if is_invisible(c) {
                continue;
            }
            let byte = fold(c).unwrap_or(SYMBOL);
            if byte == IDEOGRAPH {
                all.close(open.take());
                all.words.push(Word { start: all.text.len(), end: 0, origin: at });
                all.text.push(c);
                in_run = true;
                continue;
            }
            let letter = match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => Some(char::from(byte.to_ascii_lowercase())),
                LETTER => Some(base(c)),
                // "don't" is one word.
                b'\'' if open.is_some() => continue,
                _ if c == '\u{2019}' && open.is_some() => continue,
                // Marks above and below belong to the letter, but vowel signs of India's scripts are parts of a word.
                _ if matches!(c, '\u{300}'..='\u{36F}') => continue,
                _ if matches!(c, '\u{900}'..='\u{DFF}' | '\u{610}'..='\u{61A}' | '\u{64B}'..='\u{65F}') => Some(c),
                _ => None,
            };
            if let Some(letter) = letter {
                if in_run {
                    all.text.push(' ');
                    in_run = false;
                }
                let open = open.get_or_insert(Open {
                    start: all.text.len(),
                    origin: at,
                    latin: false,
                    other: false,
                    digits: false,
                    letters: false,
                });
                open.latin |= letter.is_ascii_alphabetic();
                open.other |= looks_latin(letter).is_some();
                open.digits |= letter.is_ascii_digit();
                open.letters |= letter.is_alphabetic();
                all.text.push(letter);
            } else {
                all.close(open.take());
                if in_run {
                    all.text.push(' ');
                    in_run = false;
                }
            }
        }
        all.close(open);
        all.text.push(' ');
        // A character of a run can be followed to the end of the run.
        let mut run = all.text.len();
        let mut next = usize::MAX;
        for word in all.words.iter_mut().rev() {
            let length = all.text[word.start..].chars().next().map_or(0, char::len_utf8);
            if word.end == 0 {
                if word.start + length != next {
                    run = word.start + length;
                }
                word.end = run;
                next = word.start;
            } else {
                next = usize::MAX;
            }
        }
        all
    }

    fn close(&mut self, open: Option<Open>) {
        let Some(open) = open else { return };
        // Letters of two scripts in one word, or digits among letters, stand for what they look like.
        if open.latin && open.other || open.digits && open.letters {
            let plain: String =
                self.text[open.start..].chars().map(|c| looks_latin(c).filter(|_| open.latin).or(leet(c)).unwrap_or(c)).collect();
            self.text.truncate(open.start);
            self.text.push_str(&plain);
        }
        self.words.push(Word { start: open.start, end: self.text.len(), origin: open.origin });
        self.text.push(' ');
    }
}

#[allow(clippy::struct_excessive_bools, reason = "what a word has in it, each by itself")]
struct Open {
    start: usize,
    origin: usize,
    latin: bool,
    other: bool,
    digits: bool,
    letters: bool,
}

/// A letter in lower case and without its accent.
fn base(c: char) -> char {
    let c = c.to_lowercase().next().unwrap_or(c);
    match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ī' | 'ı' => 'i',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ś' | 'š' | 'ş' | 'ß' => 's',
        'ź' | 'ż' | 'ž' => 'z',
        'ł' => 'l',
        'ğ' => 'g',
        'ё' => 'е',
        'أ' | 'إ' | 'آ' => 'ا',
        c => c,
    }
}

/// The Latin letter that a Cyrillic or Greek one looks like.
fn looks_latin(c: char) -> Option<char> {
    const LIKE: [(char, char); 24] = [
        ('а', 'a'),
        ('е', 'e'),
        ('о', 'o'),
        ('р', 'p'),
        ('с', 'c'),
        ('у', 'y'),
        ('х', 'x'),
        ('і', 'i'),
        ('ѕ', 's'),
        ('ј', 'j'),
        ('һ', 'h'),
        ('ԁ', 'd'),
        ('ո', 'n'),
        ('м', 'm'),
        ('т', 't'),
        ('к', 'k'),
        ('в', 'b'),
        ('н', 'h'),
        ('α', 'a'),
        ('ο', 'o'),
        ('ρ', 'p'),
        ('ν', 'v'),
        ('ι', 'i'),
        ('υ', 'u'),
    ];
    LIKE.iter().find(|(like, _)| *like == c).map(|(_, latin)| *latin)
}

/// The letter that a digit stands for in disguise.
fn leet(c: char) -> Option<char> {
    Some(match c {
        '0' => 'o',
        '1' => 'i',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        '7' => 't',
        _ => return None,
    })
}

/// Of a script without spaces.
pub(crate) fn is_run(c: char) -> bool {
    fold(c) == Some(IDEOGRAPH)
}
