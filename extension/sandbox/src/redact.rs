//! Takes secrets out of what an upstream sends back, before a guest, an error or a log can hold them.

use memchr::memmem;

use crate::keys::{KeyRing, Secret};
use crate::signing::encoding;

/// What stands in a secret's place.
pub(crate) const MARK: &[u8] = b"[redacted]";

/// Secrets shorter than this are not searched for: they would be found in innocent text. Real keys are longer.
const SHORTEST: usize = 8;

/// Replaces every occurrence of a ring's secrets, also when it straddles two pushes. Finds them as they are, percent-encoded, and with the slashes escaped
/// as some write them in JSON; in no other encoding.
#[derive(Debug, Default)]
pub struct Redactor {
    needles: Vec<zeroize::Zeroizing<Vec<u8>>>,
    /// End of what was pushed that may be the beginning of a secret.
    held: Vec<u8>,
}

impl Redactor {
    /// For the secrets of `keys`.
    pub fn new(keys: &KeyRing) -> Self {
        Self::of(keys.secrets())
    }

    pub(crate) fn of<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Self {
        let secrets = secrets.map(Secret::expose).filter(|s| s.len() >= SHORTEST);
        let needles =
            secrets.flat_map(|s| [Some(s.to_vec()), percent_encoded(s), slash_escaped(s)]).flatten().map(zeroize::Zeroizing::new).collect();
        Self { needles, held: Vec::new() }
    }

    /// Whether there is anything to search for.
    pub fn is_idle(&self) -> bool {
        self.needles.is_empty()
    }

    /// The next bytes that are safe to hand on.
    pub fn push(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if self.is_idle() {
            return bytes;
        }
        let mut text = if self.held.is_empty() {
            bytes
        } else {
            let mut text = std::mem::take(&mut self.held);
            text.extend_from_slice(&bytes);
            text
        };
        text = self.replace(text);
        // The longest end of the text that is the beginning of a secret waits for what follows.
        let keep = self.needles.iter().map(|needle| begun(&text, needle)).max().unwrap_or(0);
        self.held = text.split_off(text.len() - keep);
        text
    }

    /// Whether an end is held back that may be the beginning of a secret.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// What was held back, at the end.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// A whole text at once.
    pub fn whole(&self, text: &str) -> String {
        if self.is_idle() { text.to_owned() } else { String::from_utf8_lossy(&self.replace(text.as_bytes().to_vec())).into_owned() }
    }

    fn replace(&self, mut text: Vec<u8>) -> Vec<u8> {
        for needle in &self.needles {
            if memmem::find(&text, needle).is_none() {
                continue;
            }
            let mut clean = Vec::with_capacity(text.len());
            let mut from = 0;
            for at in memmem::find_iter(&text, needle.as_slice()) {
                clean.extend_from_slice(&text[from..at]);
                clean.extend_from_slice(MARK);
                from = at + needle.len();
            }
            clean.extend_from_slice(&text[from..]);
            text = clean;
        }
        text
    }
}

/// How many bytes at the end of the text are the beginning of the needle. A needle may be a service account's key of some thousand bytes: its first byte is
/// looked for, not each of its beginnings.
fn begun(text: &[u8], needle: &[u8]) -> usize {
    let from = text.len().saturating_sub(needle.len() - 1);
    let at = memchr::memchr_iter(needle[0], &text[from..]).find(|at| needle.starts_with(&text[from + at..]));
    at.map_or(0, |at| text.len() - from - at)
}

/// As it stands in a URL (RFC 3986); none where that is the same.
fn percent_encoded(secret: &[u8]) -> Option<Vec<u8>> {
    // With room for all of it: a buffer that grows leaves copies behind.
    let mut encoded = Vec::with_capacity(secret.len() * 3);
    encoding::percent_encode(secret, encoding::is_unreserved, &mut encoded);
    (encoded.len() > secret.len()).then_some(encoded)
}

/// As it stands in JSON that was written with `\/`; none where that is the same.
fn slash_escaped(secret: &[u8]) -> Option<Vec<u8>> {
    let mut escaped = Vec::with_capacity(secret.len() * 2);
    for b in secret {
        if *b == b'/' {
            escaped.push(b'\\');
        }
        escaped.push(*b);
    }
    (escaped.len() > secret.len()).then_some(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        let mut ring = KeyRing::new();
        for (i, s) in secrets.iter().enumerate() {
            ring.insert(i.to_string(), Secret::new(s.as_bytes().to_vec()));
        }
        Redactor::new(&ring)
    }

    #[test]
    fn a_secret_is_found_however_the_bytes_are_cut() {
        let text = b"x sk-secret-key, sk-secret-ke sk-sk-secret-key sk-secret-k";
        let clean = b"x [redacted], sk-secret-ke sk-[redacted] sk-secret-k".to_vec();
        for cut in 1..text.len() {
            let mut redactor = redactor(&["sk-secret-key", "another-secret"]);
            let mut out = Vec::new();
            for piece in text.chunks(cut) {
                out.extend(redactor.push(piece.to_vec()));
            }
            out.extend(redactor.finish());
            assert_eq!(out, clean, "cut at {cut}");
        }
    }

    #[test]
    fn a_secret_is_found_in_a_url_and_with_escaped_slashes() {
        let redactor = redactor(&["wJalr/K7+EN="]);
        for text in ["wJalr/K7+EN=", "wJalr%2FK7%2BEN%3D", r"wJalr\/K7+EN="] {
            assert_eq!(redactor.whole(&format!("<{text}>")), "<[redacted]>");
        }
    }

    #[test]
    fn short_secrets_are_not_searched_for() {
        assert!(redactor(&["short"]).is_idle());
    }
}
