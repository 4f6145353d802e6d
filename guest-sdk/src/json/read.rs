//! A JSON text to a [`Value`] (RFC 8259). The same as `serde_json` reads it, in a fifth of its code: a guest's size counts, and a reader that knows
//! one target needs no visitors. Tested against it (`guest-sdk/tests/json.rs`).
//!
//! It differs in one thing: half of a surrogate pair, which no UTF-8 text can hold, becomes U+FFFD instead of an error, because streams cut them.

use serde_json::{Map, Number, Value};

use crate::failure::words;

/// How deep arrays and objects may be nested.
const MAX_DEPTH: u32 = 128;

/// What is wrong with a text, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What was expected, in words.
    pub what: &'static str,
    /// Bytes before it.
    pub at: usize,
}

impl Mistake {
    /// A sentence that says it of the text that is called `of`.
    pub fn words(&self, of: &str) -> String {
        words(&[of, " is not JSON: expected ", self.what, " at byte ", &self.at.to_string()])
    }
}

/// Reads a whole text.
///
/// # Errors
/// Where the text stops being JSON.
pub fn read(text: &str) -> Result<Value, Mistake> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(MAX_DEPTH)?;
    match reader.next_sign() {
        None => Ok(value),
        Some(_) => Err(reader.mistake("nothing after the value")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn mistake(&self, what: &'static str) -> Mistake {
        Mistake { what, at: self.at }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no white space, which stays.
    fn next_sign(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// Takes `sign` if it is next.
    fn take(&mut self, sign: u8) -> bool {
        let is_next = self.next_sign() == Some(sign);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth: u32) -> Result<Value, Mistake> {
        match self.next_sign() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.mistake("a value")),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, Mistake> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.mistake("a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn deeper(&mut self, depth: u32) -> Result<u32, Mistake> {
        self.at += 1;
        match depth {
            0 | 1 => Err(self.mistake("less nesting")),
            depth => Ok(depth - 1),
        }
    }

    fn array(&mut self, depth: u32) -> Result<Value, Mistake> {
        let depth = self.deeper(depth)?;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return Err(self.mistake("a comma or the end of an array"));
            }
        }
    }

    fn object(&mut self, depth: u32) -> Result<Value, Mistake> {
        let depth = self.deeper(depth)?;
        let mut members = Map::new();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            if self.next_sign() != Some(b'"') {
                return Err(self.mistake("a member's name"));
            }
            let name = self.string()?;
            if !self.take(b':') {
                return Err(self.mistake("a colon"));
            }
            let value = self.value(depth)?;
            members.insert(name, value);
            if self.take(b'}') {
                return Ok(Value::Object(members));
            }
            if !self.take(b',') {
                return Err(self.mistake("a comma or the end of an object"));
            }
        }
    }

    /// A string, whose opening quote is next.
    fn string(&mut self) -> Result<String, Mistake> {
        self.at += 1;
        let mut string = String::new();
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let Some(plain) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) else {
                self.at = self.text.len();
                return Err(self.mistake("the end of a string"));
            };
            // Between two ASCII bytes, so it is whole code points.
            string.push_str(self.text.get(self.at..self.at + plain).unwrap_or_default());
            self.at += plain + 1;
            match rest[plain] {
                b'"' => return Ok(string),
                b'\\' => string.push(self.escape()?),
                _ => return Err(self.mistake("no control character in a string")),
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char, Mistake> {
        let byte = self.byte();
        self.at += 1;
        Ok(match byte {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(sign @ (b'"' | b'\\' | b'/')) => char::from(sign),
            Some(b'u') => {
                let unit = self.hex()?;
                let low = match unit {
                    0xD800..0xDC00 if self.text.as_bytes()[self.at..].starts_with(b"\\u") => {
                        let before = self.at;
                        self.at += 2;
                        let low = self.hex()?;
                        if !(0xDC00..0xE000).contains(&low) {
                            // Not the other half: it is read again, for itself.
                            self.at = before;
                        }
                        low
                    }
                    _ => 0,
                };
                let point = if (0xDC00..0xE000).contains(&low) { 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00) } else { unit };
                char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(self.mistake("an escape")),
        })
    }

    fn hex(&mut self) -> Result<u32, Mistake> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit * 16 + digit.ok_or_else(|| self.mistake("four hexadecimal digits"))?;
            self.at += 1;
        }
        Ok(unit)
    }

    /// Takes digits, at least one.
    fn digits(&mut self, mut each: impl FnMut(u8)) -> Result<(), Mistake> {
        let start = self.at;
        while let Some(digit @ b'0'..=b'9') = self.byte() {
            each(digit - b'0');
            self.at += 1;
        }
        if self.at == start { Err(self.mistake("a digit")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Value, Mistake> {
        let negative = self.byte() == Some(b'-');
        self.at += usize::from(negative);
        // Value = significand * 10^exponent. Digits that do not fit the significand only count.
        let (mut significand, mut exponent, mut fits) = (0_u64, 0_i32, true);
        let start = self.at;
        self.digits(|digit| push_digit(&mut significand, &mut exponent, &mut fits, digit, 0))?;
        if self.text.as_bytes()[start] == b'0' && self.at > start + 1 {
            self.at = start + 1;
            return Err(self.mistake("no digit after a leading zero"));
        }
        let mut whole = true;
        if self.byte() == Some(b'.') {
            whole = false;
            self.at += 1;
            self.digits(|digit| push_digit(&mut significand, &mut exponent, &mut fits, digit, 1))?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            whole = false;
            self.at += 1;
            let sign = self.byte();
            self.at += usize::from(matches!(sign, Some(b'+' | b'-')));
            let mut power = 0_i32;
            self.digits(|digit| power = power.saturating_mul(10).saturating_add(i32::from(digit)))?;
            exponent = exponent.saturating_add(if sign == Some(b'-') { -power } else { power });
        }
        if whole && fits {
            if !negative {
                return Ok(significand.into());
            }
            // A negative zero is no integer.
            if let Some(integer) = 0_i64.checked_sub_unsigned(significand).filter(|integer| *integer != 0) {
                return Ok(integer.into());
            }
        }
        let number = float(significand, exponent);
        let number = Number::from_f64(if negative { -number } else { number });
        number.map(Value::Number).ok_or_else(|| self.mistake("a number in range"))
    }
}

/// Takes a digit; `behind` is 1 for one behind the point.
fn push_digit(significand: &mut u64, exponent: &mut i32, fits: &mut bool, digit: u8, behind: i32) {
    let longer = if *fits { significand.checked_mul(10).and_then(|tens| tens.checked_add(u64::from(digit))) } else { None };
    if let Some(longer) = longer {
        *significand = longer;
        *exponent = exponent.saturating_sub(behind);
    } else {
        *fits = false;
        *exponent = exponent.saturating_add(1 - behind);
    }
}

/// `significand * 10^exponent`: exact where both are exact as `f64` (up to 15 digits, exponents up to 22), else as near as a few roundings bring it.
#[allow(clippy::cast_precision_loss)] // of more than 15 digits
fn float(significand: u64, exponent: i32) -> f64 {
    const STEP: i32 = 22;
    let mut number = significand as f64;
    let mut rest = exponent;
    while rest != 0 && number != 0.0 && number.is_finite() {
        let step = rest.clamp(-STEP, STEP);
        // Powers of ten up to this one are exact.
        let power = (0..step.abs()).fold(1.0, |power: f64, _| power * 10.0);
        if step < 0 {
            number /= power;
        } else {
            number *= power;
        }
        rest -= step;
    }
    number
}
