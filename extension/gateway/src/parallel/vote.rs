//! Votes: which answers say the same, and which of them most candidates gave.

use std::cmp::Reverse;
use std::collections::HashMap;

use pg_llm_sandbox::types::Part;
use serde_json::Value;

use crate::extract;
use crate::outcome::ChatOutcome;
use crate::schema::canonical;

/// Around an answer they mean nothing: quotes, brackets, emphasis.
const AROUND: &[char] = &[
    '"', '\'', '`', '*', '_', '(', ')', '[', ']', '{', '}', '<', '>', '“', '”', '„', '‘', '’', '«', '»', '‹', '›', '「', '」', '『', '』',
];
/// At the end of an answer they mean nothing. A sign, a currency or a per cent does.
const BEHIND: &[char] = &['.', ',', ';', ':', '!', '?', '…', '。', '，', '；', '：', '！', '？', '؟', '।'];
/// At its beginning.
const BEFORE: &[char] = &['¿', '¡', '…'];

/// Longer texts, in bytes, are compared as they are: nobody votes in essays, and all this is done while nothing else can be.
const LONGEST: usize = 256 * 1024;

/// What an answer counts as: equal ballots are the same vote.
pub(super) fn ballot(outcome: &ChatOutcome) -> String {
    if let Some(value) = outcome.structured_value() {
        return of_json(value);
    }
    let text = outcome.text();
    if !text.trim().is_empty() {
        return of_text(&text);
    }
    let calls = outcome.answer.parts.iter().filter_map(|part| if let Part::ToolCall(call) = part { Some(call) } else { None });
    calls
        .map(|call| {
            let arguments = extract::value(&call.arguments).map_or_else(|| call.arguments.clone(), |value| canonical(&value));
            format!("{}({arguments})", call.name)
        })
        .collect::<Vec<_>>()
        .join(";")
}

/// Which of these, at least one, was given most often, by the place of the first of its kind, and its share of all. Of equally many the one that comes first.
pub(super) fn count(ballots: &[String]) -> (usize, f64) {
    let mut votes: HashMap<&str, (usize, usize)> = HashMap::new();
    for (at, ballot) in ballots.iter().enumerate() {
        votes.entry(ballot).or_insert((at, 0)).1 += 1;
    }
    let best = votes.into_values().max_by_key(|(first, votes)| (*votes, Reverse(*first)));
    let (elected, most) = best.unwrap_or_default();
    #[allow(clippy::cast_precision_loss)]
    let share = most as f64 / ballots.len().max(1) as f64;
    (elected, share)
}

/// JSON by its value. A text in it is a text as any other.
fn of_json(value: &Value) -> String {
    match value {
        Value::String(text) => of_text(text),
        value => canonical(value),
    }
}

fn of_text(text: &str) -> String {
    if text.len() > LONGEST {
        return text.trim().to_owned();
    }
    if let Some(value) = json(text) {
        return canonical(&value);
    }
    let plain = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let bare = stripped(&plain);
    // An answer of nothing but signs is what it is.
    let bare = if bare.is_empty() { &plain } else { bare };
    match extract::value(bare) {
        Some(value @ Value::Number(_)) => canonical(&value),
        _ => bare.to_owned(),
    }
}

/// The whole answer as an object or an array, with or without a code fence.
fn json(text: &str) -> Option<Value> {
    let text = text.trim();
    let fenced = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```")?.split_once('\n')).map(|(_language, inside)| inside);
    extract::value(fenced.unwrap_or(text)).filter(|value| value.is_object() || value.is_array())
}

fn stripped(text: &str) -> &str {
    let around = |c: char| c.is_whitespace() || AROUND.contains(&c);
    text.trim_start_matches(|c| around(c) || BEFORE.contains(&c)).trim_end_matches(|c| around(c) || BEHIND.contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(texts: &[&str]) {
        for text in texts {
            assert_eq!(of_text(text), of_text(texts[0]), "{text} and {}", texts[0]);
        }
    }

    #[test]
    fn answers_that_say_the_same_are_one_vote() {
        same(&["Paris", "paris", " PARIS. ", "**Paris**", "\"Paris\"", "Paris!\n", "¿Paris?", "“Paris.”"]);
        same(&["New  York", "new york", "New\nYork."]);
        same(&["4", "4.0", "4.", "**4**", "(4)", "40e-1"]);
        same(&[r#"{"a": 1, "b": [1.0]}"#, r#"{"b":[1],"a":1.0}"#, "```json\n{\"a\": 1, \"b\": [1]}\n```"]);
        same(&["[1, 2]", "[1.0,2.0]"]);
        same(&["İstanbul", "İSTANBUL"]);
    }

    #[test]
    fn answers_that_differ_are_votes_of_their_own() {
        for (one, other) in [
            ("Paris", "Rome"),
            ("5", "-5"),
            ("5", "5%"),
            ("C", "C++"),
            ("C", "C#"),
            ("new york", "newyork"),
            ("[1, 2]", "[2, 1]"),
            ("?", "!"),
            ("", "?"),
            ("{\"a\": \"X\"}", "{\"a\": \"x\"}"),
            ("$5", "5"),
            ("1e400", "1e401"),
        ] {
            assert_ne!(of_text(one), of_text(other), "{one} and {other}");
        }
    }

    #[test]
    fn the_majority_wins_and_equally_many_by_their_place() {
        for (ballots, expected) in [
            ("a", (0, 1.0)),
            ("a b b", (1, 2.0 / 3.0)),
            ("a b", (0, 0.5)),
            ("a b b a", (0, 0.5)),
            ("a b c c b", (1, 0.4)),
            ("a b c", (0, 1.0 / 3.0)),
        ] {
            let list: Vec<String> = ballots.split(' ').map(str::to_owned).collect();
            let (elected, share) = count(&list);
            assert_eq!(elected, expected.0, "{ballots}");
            assert!((share - expected.1).abs() < 1e-12, "{ballots}: {share}");
        }
    }
}
