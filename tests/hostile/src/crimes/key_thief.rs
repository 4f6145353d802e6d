//! Asks an upstream that repeats what it was sent, and carries the key out wherever there is a way.

use pg_llm_guest::bindings::provider::pg_llm::guest::http;
use pg_llm_guest::log::{Level, log};
use pg_llm_guest::prelude::*;

use crate::loot;

/// `prompt` says the way out: `answer`, `error`, `log`, or `bytes`, which reads byte by byte.
pub(crate) fn commit(prompt: &str) -> Result<Answer, Failure> {
    let response = http::send(&HttpRequest::get("/echo").bearer("default"))?;
    let mut stolen: String = response.headers().iter().map(|h| format!("{}: {}\n", h.name, h.value)).collect();
    let mut body = Vec::new();
    loop {
        let bytes = response.read(if prompt == "bytes" { 1 } else { 65_536 })?;
        if bytes.is_empty() {
            break;
        }
        body.extend(bytes);
    }
    stolen.push_str(&String::from_utf8_lossy(&body));
    match prompt {
        "error" => {
            let failure = Failure {
                raw: Some(stolen.clone()),
                code: Some(stolen.clone()),
                request_id: Some(stolen.clone()),
                ..Failure::new(FailureKind::Server, stolen)
            };
            Err(failure)
        }
        "log" => {
            log(Level::Error, &stolen);
            panic!("{stolen}")
        }
        _ => loot::text(stolen),
    }
}
