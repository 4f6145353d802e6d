//! The forms in which a secret comes back.

use zeroize::Zeroizing;

use crate::signing::encoding::{is_unreserved, percent_encode};

/// Longest secret that is looked for in other forms than its own: what is longer is a service account's key, which is sent to nobody.
const MOST_BYTES: usize = 2048;

/// A secret as it is; percent-encoded (RFC 3986); escaped in JSON as the usual writers do; in hexadecimal digits; in base64 and base64url (RFC 4648), also as a
/// part of something longer, such as `user:secret`. Each once.
pub(super) fn forms(secret: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = vec![Zeroizing::new(secret.to_vec())];
    if secret.len() > MOST_BYTES {
        return forms;
    }
    let mut add = |form: Zeroizing<Vec<u8>>| {
        if !form.is_empty() && !forms.contains(&form) {
            forms.push(form);
        }
    };
    percent(secret, &mut add);
    for escape in [plain, slashes, html, dotnet] {
        add(json_escaped(secret, escape));
    }
    add(hex(secret, b"0123456789abcdef"));
    add(hex(secret, b"0123456789ABCDEF"));
    for before in 0..3 {
        let text = base64(secret, before);
        if text.iter().any(|b| matches!(b, b'+' | b'/')) {
            let mut url = text.clone();
            url.iter_mut().for_each(|b| match b {
                b'+' => *b = b'-',
                b'/' => *b = b'_',
                _ => {}
            });
            add(url);
            percent(&text, &mut add);
            add(json_escaped(&text, slashes));
        }
        add(text);
    }
    forms
}

/// With digits in upper case, as the RFC wants them, and in lower case.
fn percent(secret: &[u8], add: &mut impl FnMut(Zeroizing<Vec<u8>>)) {
    // With room for all of it: a buffer that grows leaves copies behind. So in all of these.
    let mut upper = Zeroizing::new(Vec::with_capacity(secret.len() * 3));
    percent_encode(secret, is_unreserved, &mut upper);
    let mut lower = upper.clone();
    let mut at = 0;
    while at < lower.len() {
        if lower[at] == b'%' {
            lower[at + 1..at + 3].make_ascii_lowercase();
            at += 2;
        }
        at += 1;
    }
    add(upper);
    add(lower);
}

/// How a writer of JSON puts a byte: with a backslash before it, by its number in digits of that case, or as it is.
enum Escape {
    Backslash(u8),
    Number(&'static [u8; 16]),
    None,
}

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// What RFC 8259 demands.
fn plain(byte: u8) -> Escape {
    match byte {
        b'"' | b'\\' => Escape::Backslash(byte),
        b'\n' => Escape::Backslash(b'n'),
        b'\r' => Escape::Backslash(b'r'),
        b'\t' => Escape::Backslash(b't'),
        0..0x20 => Escape::Number(LOWER),
        _ => Escape::None,
    }
}

/// PHP's.
fn slashes(byte: u8) -> Escape {
    if byte == b'/' { Escape::Backslash(byte) } else { plain(byte) }
}

/// Go's.
fn html(byte: u8) -> Escape {
    if matches!(byte, b'&' | b'<' | b'>') { Escape::Number(LOWER) } else { plain(byte) }
}

/// .NET's.
fn dotnet(byte: u8) -> Escape {
    if matches!(byte, b'"' | b'&' | b'\'' | b'+' | b'<' | b'>' | b'`') { Escape::Number(UPPER) } else { plain(byte) }
}

fn json_escaped(secret: &[u8], escape: fn(u8) -> Escape) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(secret.len() * 6));
    for &byte in secret {
        match escape(byte) {
            Escape::Backslash(letter) => text.extend([b'\\', letter]),
            Escape::Number(digits) => {
                text.extend(*b"\\u00");
                text.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
            }
            Escape::None => text.push(byte),
        }
    }
    text
}

fn hex(secret: &[u8], digits: &[u8; 16]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(secret.len() * 2));
    for byte in secret {
        text.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
    }
    text
}

/// Those characters of the base64 of `before` unknown bytes and the secret that the secret alone decides, whatever follows.
fn base64(secret: &[u8], before: usize) -> Zeroizing<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let first = (before * 8).div_ceil(6);
    let end = (before + secret.len()) * 8 / 6;
    let mut text = Zeroizing::new(Vec::with_capacity(end.saturating_sub(first)));
    for at in first..end {
        let (byte, bit) = (at * 6 / 8 - before, at * 6 % 8);
        let two = u16::from_be_bytes([secret[byte], secret.get(byte + 1).copied().unwrap_or(0)]);
        text.push(ALPHABET[usize::from(two >> (10 - bit)) & 63]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(secret: &str) -> Vec<String> {
        forms(secret.as_bytes()).iter().map(|form| String::from_utf8(form.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_key_of_letters_has_six_forms() {
        assert_eq!(
            texts("sk-Secret_1"),
            ["sk-Secret_1", "736b2d5365637265745f31", "736B2D5365637265745F31", "c2stU2VjcmV0Xz", "NrLVNlY3JldF8x", "zay1TZWNyZXRfM"]
        );
    }

    #[test]
    fn base64_is_found_wherever_in_a_longer_text_the_secret_begins() {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let encode = |bytes: &[u8]| -> String {
            let text = bytes.chunks(3).flat_map(|chunk| {
                let bits = u32::from_be_bytes([0, chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)]);
                (0..=chunk.len()).map(move |i| char::from(ALPHABET[(bits >> (18 - 6 * i)) as usize & 63]))
            });
            text.collect()
        };
        let secret = "sk-\u{e9}?>~0123456789";
        for before in ["", "u", "me", "usr", "user:", "{\"key\":\""] {
            for after in ["", "x", "\"}", "and more"] {
                let text = encode(format!("{before}{secret}{after}").as_bytes());
                assert!(texts(secret).iter().any(|form| text.contains(form.as_str())), "{before} {after}: {text}");
                let url = text.replace('+', "-").replace('/', "_");
                assert!(texts(secret).iter().any(|form| url.contains(form.as_str())), "{before} {after}: {url}");
            }
        }
    }

    #[test]
    fn urls_and_json_have_their_own_ways_to_write_a_key() {
        let forms = texts("a/b+c&d\"e");
        for form in
            ["a%2Fb%2Bc%26d%22e", "a%2fb%2bc%26d%22e", r#"a/b+c&d\"e"#, r#"a\/b+c&d\"e"#, r#"a/b+c\u0026d\"e"#, r"a/b\u002Bc\u0026d\u0022e"]
        {
            assert!(forms.iter().any(|known| known == form), "{form}: {forms:?}");
        }
    }

    #[test]
    fn what_is_too_long_for_a_header_is_looked_for_as_it_is() {
        assert_eq!(forms(&[b'x'; MOST_BYTES + 1]).len(), 1);
    }
}
