//! Drives filters natively, as the host does: a prompt, or an answer in pieces.
#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc)]

pub mod values;

use pg_llm_guest::filter::{Channel, PromptVerdict, ResponseFilter, Verdict};
use pg_llm_guest::prelude::*;

/// The prompt side, of one message of the user.
pub fn verdict<F: Filter>(config: &str, text: &str) -> PromptVerdict {
    F::prompt(config, vec![Message::user(text)]).unwrap()
}

/// What a text becomes on the prompt side, and the memo.
pub fn prompt<F: Filter>(config: &str, text: &str) -> (String, Option<String>) {
    match verdict::<F>(config, text) {
        PromptVerdict::Pass => (text.to_owned(), None),
        PromptVerdict::Change((messages, memo)) => (messages[0].text(), memo),
        PromptVerdict::Block(reason) => panic!("blocked: {reason}"),
    }
}

/// What an answer becomes that comes in these pieces; the reason when it is blocked.
pub fn stream<F: Filter>(config: &str, channel: Channel, memo: Option<&str>, pieces: &[&str]) -> Result<String, String> {
    let mut filter = F::response(config, channel, memo).unwrap();
    let mut out = String::new();
    for piece in pieces {
        match filter.push(piece)? {
            Verdict::Emit(text) => out += &text,
            Verdict::Last(text) => return Ok(out + &text),
            Verdict::Block(reason) => return Err(reason),
        }
    }
    match filter.finish()? {
        Verdict::Emit(text) | Verdict::Last(text) => Ok(out + &text),
        Verdict::Block(reason) => Err(reason),
    }
}

/// The whole answer, and the same cut in two at every place, in pieces of every size up to eight, and with empty pieces: all must be the same.
#[track_caller]
pub fn however_it_is_cut<F: Filter>(config: &str, memo: Option<&str>, text: &str) -> String {
    let whole = stream::<F>(config, Channel::Text, memo, &[text]).unwrap();
    for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
        let (a, b) = text.split_at(at);
        assert_eq!(stream::<F>(config, Channel::Text, memo, &[a, "", b]).unwrap(), whole, "cut at {at}: {a:?} {b:?}");
    }
    let chars: Vec<char> = text.chars().collect();
    for size in 1..=8 {
        let pieces: Vec<String> = chars.chunks(size).map(|chunk| chunk.iter().collect()).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        assert_eq!(stream::<F>(config, Channel::Text, memo, &pieces).unwrap(), whole, "in pieces of {size}");
    }
    whole
}
