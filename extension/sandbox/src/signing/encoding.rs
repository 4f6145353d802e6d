//! Percent-encoding (RFC 3986) and base64url (RFC 4648, 5).

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Whether RFC 3986 calls it unreserved: letters, digits, `-._~`.
pub(crate) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Appends `bytes`, percent-encoded but for those that `keep` keeps. For secrets, `to` must have room: a buffer that grows leaves copies behind.
pub(crate) fn percent_encode(bytes: &[u8], keep: impl Fn(u8) -> bool, to: &mut Vec<u8>) {
    for &byte in bytes {
        if keep(byte) {
            to.push(byte);
        } else {
            to.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Without the percent-encoding; what is none stays.
pub(super) fn percent_decode(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match (text[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(high << 4 | low);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// Base64 with the alphabet for URLs, without padding.
pub(super) fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let three = [chunk[0], chunk.get(1).copied().unwrap_or(0), chunk.get(2).copied().unwrap_or(0)];
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for i in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * i)) as usize & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_is_as_rfc_4648_says() {
        for (plain, text) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64url(plain.as_bytes()), text);
        }
        assert_eq!(base64url(&[0xfb, 0xff, 0xfe]), "-__-");
    }

    #[test]
    fn decoding_undoes_encoding_and_leaves_what_is_no_code() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut encoded = Vec::new();
        percent_encode(&bytes, is_unreserved, &mut encoded);
        assert!(encoded.is_ascii());
        assert_eq!(percent_decode(&encoded), bytes);
        assert_eq!(percent_decode(b"100%, %4, %zz, %e1%88%b4+%"), "100%, %4, %zz, ሴ+%".as_bytes());
    }
}
