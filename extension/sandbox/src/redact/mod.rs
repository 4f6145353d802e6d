//! Takes secrets out of what an upstream sends back, before a guest, an error or a log can hold them.

mod forms;
mod search;

use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use crate::keys::{KeyRing, Secret};
use search::Search;

/// What stands in a secret's place.
pub(crate) const MARK: &[u8] = b"[redacted]";

/// Secrets shorter than this are not searched for: they would be found in innocent text. Real keys are longer.
const SHORTEST: usize = 8;

/// The secrets of a call in all their forms. Made once, and shared by its responses.
#[derive(Clone, Debug)]
pub(crate) struct Needles(Arc<Search>);

impl Needles {
    pub(crate) fn of<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Self {
        let mut needles: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        for form in secrets.map(Secret::expose).filter(|secret| secret.len() >= SHORTEST).flat_map(forms::forms) {
            needles.push(form);
        }
        Self(Arc::new(Search::new(needles)))
    }
}

/// Replaces every occurrence of a ring's secrets, also when it straddles two pushes. Finds them as they are, percent-encoded, escaped in JSON, in
/// hexadecimal digits and in base64, be it as a part of something longer; in no other encoding.
#[derive(Debug)]
pub struct Redactor {
    needles: Needles,
    /// End of what was pushed that may be the beginning of a secret.
    held: Vec<u8>,
}

impl Redactor {
    /// For the secrets of `keys`.
    pub fn new(keys: &KeyRing) -> Self {
        Self::for_needles(Needles::of(keys.secrets()))
    }

    pub(crate) fn for_needles(needles: Needles) -> Self {
        Self { needles, held: Vec::new() }
    }

    /// Whether there is nothing to search for.
    pub fn is_idle(&self) -> bool {
        self.needles.0.is_empty()
    }

    /// The next bytes that are safe to hand on.
    pub fn push(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if self.is_idle() {
            return bytes;
        }
        let text = if self.held.is_empty() {
            bytes
        } else {
            let mut text = std::mem::take(&mut self.held);
            text.extend_from_slice(&bytes);
            text
        };
        // An end that is the beginning of a secret waits for what follows, with whatever secret is in it: it may be a part of a longer one.
        let begun = self.needles.0.begun(&text, 0);
        let (mut text, begun) = self.replace(text, begun);
        self.held = text.split_off(begun);
        text
    }

    /// Whether an end is held back that may be the beginning of a secret.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// What was held back, at the end.
    pub fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        let all = held.len();
        self.replace(held, all).0
    }

    /// A whole text at once.
    pub fn whole(&self, text: &str) -> String {
        if self.needles.0.find(text.as_bytes(), 0).is_none() {
            return text.to_owned();
        }
        let bytes = text.as_bytes().to_vec();
        let all = bytes.len();
        String::from_utf8_lossy(&self.replace(bytes, all).0).into_owned()
    }

    /// Replaces the secrets that begin before `begun`, which is where a secret may have begun whose end is not there. Gives back the text, and where that is in it.
    fn replace(&self, mut text: Vec<u8>, mut begun: usize) -> (Vec<u8>, usize) {
        let search = &self.needles.0;
        let mut found = search.find(&text, 0).filter(|(at, _)| *at < begun);
        if found.is_none() {
            return (text, begun);
        }
        let mut clean = Vec::with_capacity(text.len());
        let mut from = 0;
        while let Some((at, end)) = found {
            clean.extend_from_slice(&text[from..at]);
            clean.extend_from_slice(MARK);
            from = end;
            if begun < end {
                // What seemed to begin there was a part of this one.
                begun = search.begun(&text, end);
            }
            found = search.find(&text, from).filter(|(at, _)| *at < begun);
        }
        let begun_in_clean = clean.len() + (begun - from);
        clean.extend_from_slice(&text[from..]);
        text.zeroize();
        (clean, begun_in_clean)
    }
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
    fn of_two_secrets_that_begin_alike_nothing_of_the_longer_is_left() {
        let text = b"x secret-12345 secret-1 y secret-1";
        for cut in 1..text.len() {
            let mut redactor = redactor(&["secret-1", "secret-12345"]);
            let mut out: Vec<u8> = text.chunks(cut).flat_map(|piece| redactor.push(piece.to_vec())).collect();
            out.extend(redactor.finish());
            assert_eq!(String::from_utf8(out).unwrap(), "x [redacted] [redacted] y [redacted]", "cut at {cut}");
        }
    }

    #[test]
    fn every_form_is_found_however_the_bytes_are_cut() {
        let secret = "sk-a/b+c&d?e~0123456789";
        for form in forms::forms(secret.as_bytes()) {
            let text = [b"<", form.as_slice(), b"> and ", &form[..form.len() - 1], b"!"].concat();
            let clean = [b"<[redacted]> and ".as_slice(), &form[..form.len() - 1], b"!"].concat();
            for cut in 1..text.len() {
                let mut redactor = redactor(&[secret, "another-secret"]);
                let mut out: Vec<u8> = text.chunks(cut).flat_map(|piece| redactor.push(piece.to_vec())).collect();
                out.extend(redactor.finish());
                assert_eq!(out, clean, "{} cut at {cut}", String::from_utf8_lossy(&form));
            }
        }
    }

    #[test]
    fn short_secrets_are_not_searched_for() {
        assert!(redactor(&["short"]).is_idle());
    }
}
