//! JSON in what a model wrote: alone, in a code fence, or with words before and after it.

use serde_json::{Number, Value};

use crate::structured::Structured;

/// Places at which an object or an array may begin that are tried.
const MOST_BEGINNINGS: usize = 32;
/// Values in one answer, counted by commas: each takes some 100 bytes of memory.
const MOST_VALUES: usize = 2_000_000;
/// Longest number, in characters.
const MOST_DIGITS: usize = 1000;

/// What may be the JSON of an answer, the likeliest first; at least one, if only the reason why there is none.
pub(crate) fn candidates(text: &str) -> Vec<Result<Structured, String>> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return vec![Err("the answer is empty".to_owned())];
    }
    if text.bytes().filter(|b| *b == b',').count() > MOST_VALUES {
        return vec![Err(format!("the answer has more than {MOST_VALUES} values"))];
    }
    let whole = read(text);
    if whole.is_ok() {
        return vec![whole];
    }
    // What some servers leave in the text of models that think.
    let text = text.rsplit_once("</think>").map_or(text, |(_, said)| said);
    let mut found: Vec<_> = std::iter::once(text).chain(fenced(text)).flat_map(read).map(Ok).collect();
    found.extend(embedded(text));
    if found.is_empty() {
        found.push(whole);
    }
    found
}

/// The whole text as JSON that Postgres can hold.
pub(crate) fn read(text: &str) -> Result<Structured, String> {
    let text = text.trim();
    let value: Value = serde_json::from_str(text).map_err(|e| format!("the answer is not JSON: {e}"))?;
    storable(&value)?;
    Ok(Structured { text: text.to_owned(), value })
}

/// The same, without the words.
pub(crate) fn value(text: &str) -> Option<Value> {
    read(text).ok().map(|s| s.value)
}

/// What jsonb cannot hold, or only at a size that has nothing to do with that of the text, is no answer.
fn storable(value: &Value) -> Result<(), String> {
    match value {
        Value::Number(number) => plain(number),
        Value::Array(items) => items.iter().try_for_each(storable),
        Value::Object(members) => members.values().try_for_each(storable),
        _ => Ok(()),
    }
}

/// Whether there is the character U+0000 in it, which the database shows as a mark in its place.
pub(crate) fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// A number in the range of doubles, with as many digits as it likes.
fn plain(number: &Number) -> Result<(), String> {
    let text = number.to_string();
    let exponent = text.split_once(['e', 'E']).map_or(Ok(0), |(_, exponent)| exponent.parse::<i32>());
    let in_range = number.as_f64().is_some_and(f64::is_finite) && exponent.is_ok_and(|e| (-400..=400).contains(&e));
    if in_range && text.len() <= MOST_DIGITS {
        return Ok(());
    }
    Err(format!("the answer has the number {}, which is beyond what the database is given", crate::error::clip(&text, 40)))
}

/// What stands in code fences.
fn fenced(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once("```")?;
        // The language.
        let (_, body) = after.split_once('\n')?;
        let (inside, next) = body.split_once("```").unwrap_or((body, ""));
        rest = next;
        Some(inside)
    })
    .take(MOST_BEGINNINGS)
}

/// Objects and arrays amid words, longest first.
///
/// Only whole ones: the inner objects of one that was cut off, or that is not quite JSON, are not what its writer meant.
fn embedded(text: &str) -> Vec<Result<Structured, String>> {
    let mut found: Vec<Structured> = Vec::new();
    let mut from = 0;
    for _ in 0..MOST_BEGINNINGS {
        let Some(begin) = text[from..].find(['{', '[']).map(|at| from + at) else { break };
        let rest = &text[begin..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                let end = values.byte_offset();
                if storable(&value).is_ok() {
                    found.push(Structured { text: rest[..end].to_owned(), value });
                }
                from = begin + end.max(1);
            }
            Some(Err(e)) if is_prose(rest, &e) => from = begin + 1,
            _ => break,
        }
    }
    found.sort_by_key(|s| std::cmp::Reverse(s.text.len()));
    found.into_iter().map(Ok).collect()
}

/// Whether a bracket was one of ordinary text: the parser fell over the first thing behind it, and nothing of JSON was there yet.
fn is_prose(rest: &str, error: &serde_json::Error) -> bool {
    let behind = rest[1..].trim_start();
    let first_token = rest.len() - behind.len() + behind.find(|c: char| !c.is_alphanumeric()).unwrap_or(behind.len()) + 1;
    let line: usize = rest.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    !error.is_eof() && line + error.column() <= first_token
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn first(text: &str) -> Result<(String, Value), String> {
        candidates(text).into_iter().next().unwrap().map(|s| (s.text, s.value))
    }

    #[test]
    fn json_is_found_alone_in_fences_and_amid_words() {
        for text in [
            "{\"a\": 1}",
            " \n{\"a\": 1}\n ",
            "\u{feff}{\"a\": 1}",
            "```json\n{\"a\": 1}\n```",
            "```\n{\"a\": 1}\n```",
            "Here you are:\n\n```json\n{\"a\": 1}\n```\nAnything else?",
            "```JSON\n{\"a\": 1}",
            "Sure! {\"a\": 1} Was that it?",
            "<think>maybe {x}?</think>{\"a\": 1}",
            "As said [1] it is {\"a\": 1}.",
            "{not json} {\"a\": 1}",
        ] {
            assert_eq!(first(text), Ok(("{\"a\": 1}".to_owned(), json!({"a": 1}))), "{text}");
        }
        for (text, value) in [("7", json!(7)), ("\"x\"", json!("x")), ("null", json!(null)), ("[1, 2] and more", json!([1, 2]))] {
            assert_eq!(first(text).unwrap().1, value, "{text}");
        }
    }

    #[test]
    fn what_is_inside_of_something_broken_is_not_the_answer() {
        for text in [
            "{\"a\": {\"b\": 1}, \"c\": ",
            "[{\"a\": 1}, {\"a\": 2}, {\"a\": ",
            "{\"a\": {\"b\": 1},}",
            "{\"a\": {\"b\": 1}, c: 2}",
            "{\"a\": [1, 2,], \"b\": {\"c\": 1}}",
            "```json\n{\"a\": {\"b\": 1},}\n```",
        ] {
            assert!(first(text).is_err(), "{text}");
        }
        assert_eq!(first("<think>{\"a\": 1}? Or</think> {\"a\": 2}").unwrap().1, json!({"a": 2}));
    }

    #[test]
    fn what_is_no_json_says_why() {
        for (text, why) in [
            ("", "is empty"),
            ("  \n", "is empty"),
            ("I cannot say.", "is not JSON"),
            ("{\"a\": ", "is not JSON"),
            ("\"\\ud800\"", "is not JSON"),
            ("\"\\u00\"", "is not JSON"),
            ("{\"a\": 1e400}", "is not JSON|beyond what"),
            ("{\"a\": 1e-999999999}", "beyond what"),
        ] {
            let error = first(text).unwrap_err();
            assert!(why.split('|').any(|why| error.contains(why)), "{text}: {error}");
        }
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        assert!(first(&deep).is_err());
        let long = format!("[{}]", "1".repeat(2000));
        assert!(first(&long).is_err());
    }

    #[test]
    fn the_character_that_no_text_of_postgres_holds_is_found() {
        for (text, expected) in
            [("\"a\\u0000b\"", true), ("{\"a\\u0000\": 1}", true), ("[{\"a\": [\"\\u0000\"]}]", true), ("[\"\\u0001\"]", false)]
        {
            assert_eq!(has_nul(&first(text).unwrap().1), expected, "{text}");
        }
    }

    #[test]
    fn long_numbers_keep_their_digits() {
        let text = "{\"id\": 123456789012345678901234567890, \"price\": 0.10000000000000000000000001}";
        assert_eq!(first(text).unwrap().1.to_string(), "{\"id\":123456789012345678901234567890,\"price\":0.10000000000000000000000001}");
    }

    #[test]
    fn a_flood_of_beginnings_ends() {
        for text in ["{".repeat(100_000), "[".repeat(100_000), "{\"a\":[".repeat(50_000), "x [1] ".repeat(100_000)] {
            let _ = candidates(&text);
        }
    }
}
