//! Images and documents inside JSON.
//!
//! Base64 (RFC 4648, section 4) is done here, because the crate of this name is 9 kB of a guest: it says why it panics, and never does.

use crate::failure::words;

/// `data:image/png;base64,...` (RFC 2397).
pub fn data_url(media_type: &str, bytes: &[u8]) -> String {
    words(&["data:", media_type, ";base64,", &base64(bytes)])
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What is no sign of the alphabet.
const NONE: u8 = 0xFF;

/// The value of each byte as a sign of the alphabet.
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < 64 {
        values[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// Bytes as base64, with padding.
pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4_usize {
            let sextet = (bits >> (18 - 6 * at)) & 63;
            text.push(if at > group.len() { '=' } else { char::from(ALPHABET[sextet as usize]) });
        }
    }
    text
}

/// The bytes of a base64 text; none when it is not one. Padding may be missing, and what is no sign of the alphabet is an error.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let signs = text.trim_end_matches('=').as_bytes();
    if signs.len() % 4 == 1 || text.len() - signs.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(signs.len() / 4 * 3 + 2);
    for group in signs.chunks(4) {
        let mut bits = 0_u32;
        for sign in group {
            let sextet = VALUES[usize::from(*sign)];
            if sextet == NONE {
                return None;
            }
            bits = bits << 6 | u32::from(sextet);
        }
        // The bits of an incomplete group stand at its end.
        let [_, first, second, third] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        bytes.extend_from_slice(&[first, second, third][..group.len() - 1]);
    }
    Some(bytes)
}

/// The media type that the first bytes tell, of those that models take.
pub fn sniff(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some("image/png"),
        [0xFF, 0xD8, 0xFF, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [b'%', b'P', b'D', b'F', b'-', ..] => Some("application/pdf"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn base64_is_what_the_crate_makes_of_it() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).map(|byte: u8| byte.wrapping_mul(167)).collect();
        for length in 0..bytes.len() {
            let text = base64(&bytes[..length]);
            assert_eq!(text, STANDARD.encode(&bytes[..length]));
            assert_eq!(from_base64(&text).as_deref(), Some(&bytes[..length]));
            assert_eq!(from_base64(text.trim_end_matches('=')).as_deref(), Some(&bytes[..length]));
        }
    }

    #[test]
    fn what_is_no_base64_is_none() {
        for text in ["A", "AAAAA", "====", "AA===", "A A=", "AA-_", "AAA\n", "ä", "=AAA", "AA=A"] {
            assert_eq!(from_base64(text), None, "{text}");
        }
    }
}
