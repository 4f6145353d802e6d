//! What a text has in it in base64, in hexadecimal or in ROT13.

use pg_llm_guest::base64::Engine as _;
use pg_llm_guest::base64::alphabet::STANDARD;
use pg_llm_guest::base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);
/// Fewest characters of an encoded piece: `ignore all` has ten.
const BASE64: usize = 20;
const HEX: usize = 32;

/// The texts that were encoded in base64 or hexadecimal, one after another.
pub(crate) fn encoded(text: &str) -> String {
    let mut all = String::new();
    // `=` pads the end of one, and stands before another (`payload=...`).
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
    for piece in text.as_bytes().split(|byte| !sign(*byte)) {
        let piece = piece.strip_prefix(b"0x").unwrap_or(piece);
        if piece.len() < BASE64 {
            continue;
        }
        let hex = piece.len() >= HEX && piece.iter().all(u8::is_ascii_hexdigit);
        let bytes = if hex { from_hex(piece) } else { from_base64(piece) };
        if let Some(plain) = readable(bytes) {
            all.push_str(&plain);
            all.push('\n');
        }
    }
    all
}

fn from_hex(piece: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    piece.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn from_base64(piece: &[u8]) -> Vec<u8> {
    let mut plain: Vec<u8> = piece
        .iter()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => *byte,
        })
        .collect();
    // One sign alone holds no byte.
    if plain.len() % 4 == 1 {
        plain.pop();
    }
    ENGINE.decode(plain).unwrap_or_default()
}

/// A text rather than random bytes.
fn readable(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    let strange = text.chars().filter(|c| c.is_control() && !c.is_whitespace()).count();
    (!text.is_empty() && strange * 20 < text.len()).then_some(text)
}

/// ROT13, which undoes itself.
pub(crate) fn rot13(text: &str) -> String {
    let turn = |c: char, first: u8| char::from((c as u8 - first + 13) % 26 + first);
    text.chars()
        .map(|c| match c {
            'a'..='z' => turn(c, b'a'),
            'A'..='Z' => turn(c, b'A'),
            c => c,
        })
        .collect()
}
