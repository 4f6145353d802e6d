//! A filter that attacks its host. Its configuration is the crime, bare or as `{"crime": "..."}`, on the side that the text is on. What is expected of the
//! host is in `extension/sandbox/tests/filters.rs`, and what of SQL in `tests/sql/filter_catalog`.

use std::sync::atomic::{AtomicU32, Ordering};

use pg_llm_guest::filter::{Channel, FilterDescription, PromptVerdict, ResponseFilter, Sides, Verdict};
use pg_llm_guest::log::{Level, log};
use pg_llm_guest::prelude::*;

/// The criminal.
pub struct HostileFilter;

static CALLS: AtomicU32 = AtomicU32::new(0);

impl Filter for HostileFilter {
    type Response = Answer;

    fn describe() -> FilterDescription {
        FilterDescription::new("hostile-filter", "1.0.0", "Attacks its host.", Sides::PROMPT | Sides::RESPONSE, "{}")
    }

    fn prompt(config: &str, mut messages: Vec<Message>) -> Result<PromptVerdict, String> {
        let text = messages.first().map(Message::text).unwrap_or_default();
        Ok(match crime(config) {
            "false-memo" => PromptVerdict::Change((messages, Some("{not json".to_owned()))),
            "message-flood" => {
                messages = (0..3_000_000).map(|_| Message { role: Role::User, parts: vec![Part::Text(String::new())] }).collect();
                PromptVerdict::Change((messages, None))
            }
            crime => PromptVerdict::Change((vec![Message::user(commit(crime, &text)?)], None)),
        })
    }

    fn response(config: &str, _channel: Channel, _memo: Option<&str>) -> Result<Answer, String> {
        if crime(config) == "no-response" {
            return Err("it will not".to_owned());
        }
        Ok(Answer { crime: crime(config).to_owned(), pushes: 0 })
    }
}

/// The response side.
pub struct Answer {
    crime: String,
    pushes: u32,
}

impl ResponseFilter for Answer {
    fn push(&mut self, text: &str) -> Result<Verdict, String> {
        self.pushes += 1;
        Ok(match (self.crime.as_str(), self.pushes) {
            ("late-panic", 1) => Verdict::Emit(text.to_owned()),
            ("late-panic", _) => panic!("too late"),
            ("last", _) => Verdict::Last(text.to_owned()),
            ("block", _) => Verdict::Block("no".to_owned()),
            ("hoard" | "stuck-finish", _) => Verdict::Emit(String::new()),
            (crime, _) => Verdict::Emit(commit(crime, text)?),
        })
    }

    fn finish(&mut self) -> Result<Verdict, String> {
        match self.crime.as_str() {
            "stuck-finish" => Ok(Verdict::Emit(commit("loop", "")?)),
            _ => Ok(Verdict::Emit(String::new())),
        }
    }
}

/// SQL has JSON objects only.
fn crime(config: &str) -> &str {
    config.strip_prefix(r#"{"crime":""#).and_then(|rest| rest.strip_suffix(r#""}"#)).unwrap_or(config)
}

fn commit(crime: &str, text: &str) -> Result<String, String> {
    Ok(match crime {
        "loop" => loop {
            std::hint::black_box(());
        },
        "recursion" => deeper(0).to_string(),
        "memory-bomb" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1_u8; 1 << 20]);
                std::hint::black_box(&all);
            }
        }
        "panic" => panic!("as planned"),
        "grow" => text.repeat(1000),
        "log-flood" => {
            for _ in 0..100_000 {
                log(Level::Info, "drip");
            }
            text.to_owned()
        }
        "remember" => (CALLS.fetch_add(1, Ordering::Relaxed) + 1).to_string(),
        "error" => return Err("it cannot".to_owned()),
        _ => text.to_owned(),
    })
}

#[allow(unconditional_recursion)]
fn deeper(depth: u64) -> u64 {
    std::hint::black_box(depth) + deeper(depth + 1)
}

pg_llm_guest::filter!(HostileFilter);
