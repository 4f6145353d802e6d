//! Numbers at the ends of their types, and no numbers.

use pg_llm_guest::prelude::*;

pub(crate) fn commit() -> Result<Answer, Failure> {
    let numbers = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE];
    let usage = Usage {
        input_tokens: Some(u64::MAX),
        output_tokens: Some(u64::MAX),
        cached_tokens: Some(u64::MAX),
        cache_write_tokens: Some(0),
        reasoning_tokens: Some(u64::MAX),
        raw: Some("{\"not\": json".to_owned()),
    };
    let logprobs = numbers.map(|logprob| TokenLogprob {
        token: "x".to_owned(),
        logprob,
        alternatives: vec![TopLogprob { token: "y".to_owned(), logprob }],
    });
    Ok(Answer {
        parts: vec![Part::Text("numbers".to_owned())],
        finish_reason: Some(FinishReason::Other(String::new())),
        usage: Some(usage),
        logprobs: logprobs.into(),
        raw: Some("[".repeat(100_000)),
        ..Answer::default()
    })
}
