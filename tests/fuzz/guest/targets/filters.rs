//! A text through a built-in filter: the same answer wherever it is cut, and no panic; nor by any configuration.
//!
//! Input: the filter, the size of the pieces in characters, a configuration (empty: one that uses all of the filter), a line feed, the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_llm_filter_json_only::JsonOnly;
use pg_llm_filter_length_limit::LengthLimit;
use pg_llm_filter_pii_redact::PiiRedact;
use pg_llm_filter_prompt_guard::PromptGuard;
use pg_llm_filter_regex_replace::RegexReplace;
use pg_llm_filter_secret_redact::SecretRedact;
use pg_llm_guest::filter::{Channel, PromptVerdict, ResponseFilter, Verdict};
use pg_llm_guest::prelude::*;

/// The answer, or why it is none.
fn stream<F: Filter>(config: &str, channel: Channel, memo: Option<&str>, pieces: &[&str]) -> Result<String, String> {
    let mut filter = F::response(config, channel, memo)?;
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

fn through<F: Filter>(default: &str, config: &str, size: usize, text: &str) {
    let config = if config.is_empty() { default } else { config };
    let memo = match F::prompt(config, vec![Message::user(text)]) {
        Ok(PromptVerdict::Change((_, memo))) => memo,
        _ => None,
    };
    let chars: Vec<char> = text.chars().collect();
    let pieces: Vec<String> = chars.chunks(size).map(|chunk| chunk.iter().collect()).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    for channel in [Channel::Text, Channel::Thinking, Channel::ToolArguments] {
        let whole = stream::<F>(config, channel, memo.as_deref(), &[text]);
        let cut = stream::<F>(config, channel, memo.as_deref(), &pieces);
        // What blocks may find its reason sooner.
        assert!(cut == whole || cut.is_err() && whole.is_err(), "{channel:?} of {config}: {cut:?} and {whole:?}");
    }
}

fuzz_target!(|input: &[u8]| {
    let [filter, size, rest @ ..] = input else { return };
    let Some((config, text)) = std::str::from_utf8(rest).ok().and_then(|rest| rest.split_once('\n')) else { return };
    let size = usize::from(*size) + 1;
    match filter % 6 {
        0 => through::<PiiRedact>(r#"{"reversible":true,"answers":true}"#, config, size, text),
        1 => through::<SecretRedact>("{}", config, size, text),
        2 => through::<PromptGuard>(r#"{"action":"both"}"#, config, size, text),
        3 => through::<JsonOnly>("{}", config, size, text),
        4 => through::<LengthLimit>(r#"{"prompt":{"max":100,"action":"truncate"},"answer":{"max":100}}"#, config, size, text),
        _ => through::<RegexReplace>(r#"{"rules":[{"pattern":"(a+)b?","replacement":"<$1>"},{"pattern":"\\d+","replacement":""}]}"#, config, size, text),
    }
});
