//! Names of many megabytes, full of characters that grow when they are escaped, for every name that the host repeats in an error.

use pg_llm_guest::bindings::provider::pg_llm::guest::http;
use pg_llm_guest::http::{Auth, HeaderAuth};
use pg_llm_guest::prelude::*;

use crate::loot;

pub(crate) fn commit() -> Result<Answer, Failure> {
    let long = "\u{1}".repeat(4 << 20);
    let auth = |key: &str, name: &str, prefix: &str| {
        HttpRequest::get("/x").auth(Auth::Header(HeaderAuth {
            key: key.to_owned(),
            name: name.to_owned(),
            prefix: prefix.to_owned(),
            optional: false,
        }))
    };
    let requests = [
        HttpRequest::get("/x").header(long.as_str(), "x"),
        HttpRequest::get("/x").header("x-long", long.as_str()),
        HttpRequest::get(format!("/{long}")),
        HttpRequest::get(format!("/{}", "x".repeat(4 << 20))),
        auth(&long, "x-key", ""),
        auth("default", &long, ""),
        auth("default", "x-key", &long),
    ];
    let mut errors = Vec::new();
    for request in requests {
        errors.push(match http::send(&request) {
            Ok(response) => format!("status {}", response.status()),
            Err(error) => error.to_string(),
        });
    }
    let longest = errors.iter().map(String::len).max().unwrap_or_default();
    loot::json(&json!({ "longest": longest, "errors": errors.iter().map(|e| e.chars().take(200).collect::<String>()).collect::<Vec<_>>() }))
}
