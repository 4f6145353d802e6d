//! Texts that were made to break a filter: none panics, none takes more than its share of time, and a stream is what the whole is.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use pg_llm_filter_json_only::JsonOnly;
use pg_llm_filter_length_limit::LengthLimit;
use pg_llm_filter_pii_redact::PiiRedact;
use pg_llm_filter_prompt_guard::PromptGuard;
use pg_llm_filter_regex_replace::RegexReplace;
use pg_llm_filter_secret_redact::SecretRedact;
use pg_llm_filter_tests::stream;
use pg_llm_guest::filter::Channel;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::mutation::{Random, mutated};

const RULES: &str =
    r#"{"rules":[{"pattern":"(a+)+$","replacement":"b"},{"pattern":"(x+x+)+y","replacement":"z"},{"pattern":"(\\w|\\d)*!"}]}"#;
/// Against hangs: what takes the square of its time would take hours.
const LONG: Duration = Duration::from_secs(30);

/// Both sides of every filter.
fn through_all(text: &str) {
    fn both<F: Filter>(config: &str, text: &str) {
        let _ = F::prompt(config, vec![Message::user(text)]);
        for channel in [Channel::Text, Channel::ToolArguments] {
            let _ = stream::<F>(config, channel, Some(r#"{"[EMAIL_1]":"a@example.com"}"#), &[text]);
        }
    }
    both::<PiiRedact>(r#"{"reversible":true,"answers":true}"#, text);
    both::<SecretRedact>("", text);
    both::<PromptGuard>(r#"{"action":"both"}"#, text);
    both::<JsonOnly>("", text);
    both::<LengthLimit>(r#"{"prompt":{"max":100,"action":"truncate"},"answer":{"max":100}}"#, text);
    // The expressions' engine is linear too, but slow where nothing is optimised.
    let some: String = text.chars().take(10_000).collect();
    both::<RegexReplace>(RULES, &some);
}

/// Repeated, they are what is worst for one or another.
const UNITS: [&str; 44] = [
    "a",
    "1",
    " ",
    "1 ",
    "1-",
    "4",
    "4111 ",
    "@",
    "a@",
    "a@b.",
    "a@b.c",
    ".",
    ":",
    "1:",
    "1.",
    "::",
    "+1 ",
    "(",
    "+(",
    "DE89",
    "DE89 ",
    "A 1 ",
    "[",
    "{",
    "[{",
    "[\"",
    "\"",
    "{\"a\":",
    "[EMAIL_",
    "[EMAIL_1",
    "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----",
    "-----",
    "token=",
    "password: ",
    "eyJ",
    "sk-",
    "://a:",
    "ignore ",
    "ignore previous instructions ",
    "ignore all prompt \"attack\" ",
    "忽略之前指令",
    "\u{200B}",
    "\u{E0041}",
];

#[test]
fn the_time_is_linear_in_texts_made_to_be_slow() {
    let (done, waits) = mpsc::channel();
    let work = thread::spawn(move || {
        for unit in UNITS {
            let text = unit.repeat(80_000 / unit.len());
            through_all(&text);
            done.send(unit).unwrap();
        }
    });
    for unit in UNITS {
        assert_eq!(waits.recv_timeout(LONG).as_ref(), Ok(&unit), "{unit:?} takes too long");
    }
    work.join().unwrap();
}

#[test]
fn a_stream_of_single_characters_takes_linear_time_too() {
    let (done, waits) = mpsc::channel();
    thread::spawn(move || {
        for unit in UNITS {
            let text = unit.repeat(20_000 / unit.len());
            let pieces: Vec<String> = text.chars().map(String::from).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let config = r#"{"answers":true}"#;
            assert_eq!(
                stream::<PiiRedact>(config, Channel::Text, None, &pieces),
                stream::<PiiRedact>(config, Channel::Text, None, &[&text]),
                "{unit:?}"
            );
            assert_eq!(
                stream::<SecretRedact>("", Channel::Text, None, &pieces),
                stream::<SecretRedact>("", Channel::Text, None, &[&text]),
                "{unit:?}"
            );
            assert_eq!(
                stream::<RegexReplace>(RULES, Channel::Text, None, &pieces),
                stream::<RegexReplace>(RULES, Channel::Text, None, &[&text]),
                "{unit:?}"
            );
            done.send(unit).unwrap();
        }
    });
    for unit in UNITS {
        assert_eq!(waits.recv_timeout(LONG).as_ref(), Ok(&unit), "{unit:?}");
    }
}

#[test]
fn damaged_texts_break_nothing_and_streams_are_what_the_whole_is() {
    let sets = [
        include_str!("../evaluation/pii.jsonl"),
        include_str!("../evaluation/secrets.jsonl"),
        include_str!("../evaluation/injections.jsonl"),
    ];
    let mut random = Random::new(42);
    for set in sets {
        for line in set.lines() {
            let line: Value = pg_llm_guest::serde_json::from_str(line).unwrap();
            let text = line["text"].as_str().unwrap();
            let text = pg_llm_filter_tests::values::expand(text, &mut random).text;
            for _ in 0..3 {
                let damaged = String::from_utf8_lossy(&mutated(text.as_bytes(), &mut random)).into_owned();
                through_all(&damaged);
                let chars: Vec<char> = damaged.chars().collect();
                let size = 1 + random.below(9);
                let pieces: Vec<String> = chars.chunks(size).map(|piece| piece.iter().collect()).collect();
                let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
                let config = r#"{"answers":true}"#;
                assert_eq!(
                    stream::<PiiRedact>(config, Channel::Text, None, &pieces),
                    stream::<PiiRedact>(config, Channel::Text, None, &[&damaged]),
                    "{damaged:?}"
                );
                assert_eq!(
                    stream::<SecretRedact>("", Channel::Text, None, &pieces),
                    stream::<SecretRedact>("", Channel::Text, None, &[&damaged]),
                    "{damaged:?}"
                );
            }
        }
    }
}

#[test]
fn a_damaged_configuration_is_an_error_and_never_a_panic() {
    let configs = [
        "",
        "{",
        "[]",
        "null",
        "1",
        "{\"kinds\":1}",
        "{\"rules\":[1]}",
        "{\"threshold\":2}",
        "{\"answer\":{\"max\":-1}}",
        "{\"type\":\"\"}",
        "{\"action\":[]}",
        "\u{0}",
    ];
    for config in configs {
        let messages = || vec![Message::user("a@example.com")];
        let _ = (PiiRedact::prompt(config, messages()), SecretRedact::prompt(config, messages()), PromptGuard::prompt(config, messages()));
        let _ = (JsonOnly::prompt(config, messages()), LengthLimit::prompt(config, messages()), RegexReplace::prompt(config, messages()));
    }
    assert!(PiiRedact::response("", Channel::Text, Some("{")).is_err());
}
