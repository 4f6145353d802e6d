//! Where personal data stands in a piece of text.

use pg_llm_guest::filter::{Found, IDEOGRAPH, LETTER, SYMBOL, Scan};

use crate::context::Context;
use crate::{email, ip, national, numbers, phone};

/// The kinds of personal data.
pub(crate) const KINDS: [&str; 6] = ["email", "phone", "card", "iban", "national_id", "ip"];

/// Finds the kinds that it is made for.
#[derive(Clone, Debug)]
pub struct PiiScan {
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) countries: Vec<&'static str>,
}

impl Default for PiiScan {
    fn default() -> Self {
        Self { kinds: KINDS.to_vec(), countries: national::COUNTRIES.to_vec() }
    }
}

impl Scan for PiiScan {
    fn cuts(&self, piece: &[u8], next: u8) -> bool {
        let Some(last) = piece.last().copied() else { return false };
        if ends_all(last) || ends_all(next) {
            return true;
        }
        if next == b' ' {
            return false;
        }
        last == b' ' && !goes_on(piece, next)
    }

    fn scan(&self, before: &str, piece: &[u8], found: &mut Vec<Found>) {
        if !piece.iter().any(|byte| byte.is_ascii_digit() || *byte == b'@') {
            return;
        }
        let context = Context::new(before, piece);
        let groups = numbers::groups(piece);
        // The surest first: what overlaps one that was found before is dropped.
        for kind in ["iban", "national_id", "card", "ip", "email", "phone"] {
            if !self.kinds.contains(&kind) {
                continue;
            }
            let mut take = |start: usize, end: usize| {
                if found.iter().all(|other| end <= other.start || other.end <= start) {
                    found.push(Found { start, end, kind });
                }
            };
            match kind {
                "iban" => numbers::ibans(&context, &mut take),
                "national_id" => national::ids(&context, &groups, &self.countries, &mut take),
                "card" => numbers::cards(&context, &groups, &mut take),
                "ip" => ip::addresses(&context, &mut take),
                "email" => email::addresses(&context, &mut take),
                _ => phone::numbers(&context, &groups, &mut take),
            }
        }
        found.sort_unstable_by_key(|found| found.start);
    }
}

/// No personal data reaches across this.
fn ends_all(byte: u8) -> bool {
    !(byte.is_ascii_alphanumeric() || byte == LETTER || b"._%+-@:/()' ".contains(&byte)) || byte == IDEOGRAPH || byte == SYMBOL
}

/// Whether a number may go on after the space at the end of `piece`: groups of digits, or of a few capitals as in IBANs.
fn goes_on(piece: &[u8], next: u8) -> bool {
    let left = piece.trim_ascii_end();
    let token = left.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let digits = token.iter().any(u8::is_ascii_digit);
    let capitals = (1..=4).contains(&token.len()) && token.iter().all(u8::is_ascii_uppercase);
    let opens = token.first() == Some(&b'+');
    (digits || capitals || opens) && (next.is_ascii_digit() || next.is_ascii_uppercase() || b"(+-/".contains(&next))
}
