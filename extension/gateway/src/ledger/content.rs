//! What was said, as the ledger keeps it where it is asked to.

use std::borrow::Cow;
use std::sync::OnceLock;

use pg_llm_sandbox::types::{Message, Part, Role};
use regex_lite::Regex;
use serde_json::{Value, json};

use crate::messages;

/// Longest text of a trace, in bytes; what is beyond is left out.
const MOST: usize = 64 << 10;

/// What stands in the place of what is redacted, and what that looks like. The filters `pii-redact` and `secret-redact` know more, and see what is sent; this is for what is
/// kept.
const SENSITIVE: [(&str, &str); 7] = [
    ("[private key]", r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(-----END [A-Z ]*PRIVATE KEY-----)?"),
    ("[token]", r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    ("[secret]", r"\b(sk|pk|rk|ghp|gho|ghs|xox[abprs]|glpat|hf|AKIA|ASIA|AIza)[-_]?[A-Za-z0-9_-]{14,}"),
    ("[secret]", r"(?i)\b(bearer\s+|(password|passwd|api[_-]?key|secret)\s*[:=]\s*)[^\s,;]{6,}"),
    ("[e-mail]", r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"),
    ("[account]", r"\b[A-Z]{2}[0-9]{2}( ?[A-Z0-9]{4}){3,7}( ?[A-Z0-9]{1,3})?\b"),
    ("[number]", r"\+?\b[0-9]([ ().-]{0,2}[0-9]){8,18}\b"),
];

/// Without what looks like a secret or like somebody's.
pub(super) fn redacted(text: &str) -> Cow<'_, str> {
    static PATTERNS: OnceLock<Vec<(&str, Regex)>> = OnceLock::new();
    let patterns =
        PATTERNS.get_or_init(|| SENSITIVE.iter().filter_map(|(mark, pattern)| Some((*mark, Regex::new(pattern).ok()?))).collect());
    patterns.iter().fold(Cow::Borrowed(text), |text, (mark, pattern)| match pattern.replace_all(&text, *mark) {
        Cow::Borrowed(_) => text,
        Cow::Owned(changed) => Cow::Owned(changed),
    })
}

/// A text that is kept: redacted first, so that no half of a secret stays at its end.
pub(super) fn kept(text: &str, redact: bool) -> String {
    let text = if redact { redacted(text) } else { Cow::Borrowed(text) };
    text[..text.floor_char_boundary(MOST)].to_owned()
}

/// A conversation as JSON. Pictures and documents are not in it.
pub(crate) fn conversation(messages: &[Message]) -> String {
    messages.iter().map(messages::spoken).collect::<Value>().to_string()
}

/// An answer, likewise.
pub(crate) fn answer(parts: &[Part]) -> String {
    messages::spoken(&Message { role: Role::Assistant, parts: parts.to_vec() })["content"].as_str().unwrap_or_default().to_owned()
}

/// Texts as JSON.
pub(crate) fn texts(texts: &[String]) -> String {
    json!(texts).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_one_and_finds_what_it_is_for() {
        assert!(SENSITIVE.iter().all(|(_, pattern)| Regex::new(pattern).is_ok()));
        for (text, kept) in [
            ("mail bob.b+x@mail.example.com now", "mail [e-mail] now"),
            ("sk-proj-0123456789abcdefghij", "[secret]"),
            ("Authorization: Bearer abcdefghijk", "Authorization: [secret]"),
            ("4111 1111 1111 1111, +49 (30) 1234-5678", "[number], [number]"),
            ("DE89 3704 0044 0532 0130 00", "[account]"),
            ("password: hunter2x", "[secret]"),
            ("the secret garden", "the secret garden"),
            ("in 2026 there were 12345678 of them", "in 2026 there were 12345678 of them"),
        ] {
            assert_eq!(redacted(text), kept);
        }
    }
}
