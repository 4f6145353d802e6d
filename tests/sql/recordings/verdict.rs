//! What is wrong with what SQL gives, in words.

use pg_llm_tests::postgres::error::DbError;
use serde_json::{Value, json};

use super::corpus::{Recording, items};

/// Counts that are parts of others: ours, and what they are called elsewhere.
const PARTS: [(&str, &[&str]); 3] = [
    ("cached_tokens", &["cached_tokens", "cached_content_token_count", "cache_read_input_tokens", "prompt_cache_hit_tokens"]),
    ("cache_write_tokens", &["cache_write_tokens", "cache_creation_input_tokens"]),
    ("reasoning_tokens", &["reasoning_tokens", "thoughts_token_count", "thinking_tokens"]),
];

impl Recording {
    /// The text that is to come.
    pub(super) fn text(&self) -> &str {
        let expected = &self.expected;
        expected["text"].as_str().or_else(|| expected["refusal"].as_str()).unwrap_or_default()
    }

    /// What is wrong with an answer as `pg_llm_chat_json` shows it.
    pub(super) fn complaints(&self, answer: &Value) -> Vec<String> {
        if self.expected["norm"]["must"] == "error" {
            return vec![format!("no error, but {answer}")];
        }
        let mut wrong = Vec::new();
        let mut differ = |what: &str, got: &Value, wanted: &Value| {
            if got != wanted {
                wrong.push(format!("{what}: {got} instead of {wanted}"));
            }
        };
        differ("response", &answer["response"], &json!(self.text()));
        for (ours, theirs) in [("provider_response_id", "response_id"), ("model_name", "model")] {
            if self.expected[theirs].as_str().is_some_and(|word| !word.is_empty()) {
                differ(ours, &answer[ours], &self.expected[theirs]);
            }
        }
        if self.expected["reasoning"].as_str().is_some_and(|words| !words.is_empty()) {
            let thinking: String = items(&answer["thinking"]).iter().filter_map(|part| part["text"].as_str()).collect();
            differ("thinking", &json!(thinking), &self.expected["reasoning"]);
        }
        // Google's client hands on each piece of a call whose arguments are streamed as a call of its own, without a name.
        let names: Vec<&Value> = self.allowed("tool_names").iter().filter(|name| !name.is_null()).collect();
        let calls = items(&answer["tool_calls"]);
        differ("tools", &json!(calls.iter().map(|call| &call["name"]).collect::<Vec<_>>()), &json!(names));
        let whole = names.len() == self.allowed("tool_names").len();
        for (call, wanted) in calls.iter().zip(items(&self.expected["tool_calls"]).iter().filter(|_| whole)) {
            if wanted["arguments"].is_object() {
                differ("arguments", &call["arguments"], &wanted["arguments"]);
            }
            if wanted["id"].is_string() {
                differ("id of a tool call", &call["id"], &wanted["id"]);
            }
        }
        let finishes = self.allowed("finish_any");
        if !finishes.is_empty() && !finishes.contains(&answer["finish_reason"]) {
            wrong.push(format!("finish: {} is none of {finishes:?}", answer["finish_reason"]));
        }
        for (name, theirs) in PARTS {
            let wanted = theirs.iter().find_map(|name| count(&self.expected["usage"], name));
            if wanted.is_some() && answer["usage"][name].as_u64() != wanted {
                wrong.push(format!("{name}: {} instead of {wanted:?}", answer["usage"][name]));
            }
        }
        for name in ["input_tokens", "output_tokens"] {
            let (tokens, any) = (&answer["usage"][name], self.allowed(&format!("{name}_any")));
            if if any.is_empty() { tokens.as_u64() > Some(0) } else { !any.contains(tokens) } {
                wrong.push(format!("{name}: {tokens} is none of {any:?}"));
            }
        }
        wrong
    }

    /// What is wrong with an error.
    pub(super) fn error_complaints(&self, error: &DbError) -> Vec<String> {
        let mut wrong = Vec::new();
        if !self.must_fail() {
            wrong.push(format!("unexpected {}: {}", error.code().code(), error.message()));
        }
        let code = error.code().code();
        let rate_limited = self.status == 429 && self.expected["norm"]["retry"] != json!(false);
        let allowed: &[&str] = match () {
            () if self.expected["norm"]["retry"] == json!(true) && self.status == 429 => &["53400"],
            () if rate_limited => &["53400", "38000"],
            // A stream that lacks its end.
            () if self.stream && self.expected["norm"]["must"] == "error_or_incomplete" => &["08006", "38000"],
            () => &["38000"],
        };
        if !allowed.contains(&code) {
            wrong.push(format!("SQLSTATE {code} is none of {allowed:?}: {}", error.message()));
        }
        // Long words are shortened, and lines and tabs are blanks.
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = plain(error.message());
        let words = self.allowed("error_message_any");
        let begins = |word: &Value| said.contains(plain(word.as_str().unwrap()).chars().take(300).collect::<String>().trim());
        if !words.is_empty() && !words.iter().any(begins) {
            wrong.push(format!("message: {said:?} has none of {words:?}"));
        }
        let status = format!("status: {}", self.status);
        if !error.detail().unwrap_or_default().contains(&status) {
            wrong.push(format!("DETAIL says no {status}: {:?}", error.detail()));
        }
        wrong
    }
}

/// A count of this name that is not 0, anywhere in an object.
fn count(usage: &Value, name: &str) -> Option<u64> {
    let members = usage.as_object()?;
    let own = members.get(name).and_then(Value::as_u64).filter(|count| *count > 0);
    own.or_else(|| members.values().find_map(|member| count(member, name)))
}
