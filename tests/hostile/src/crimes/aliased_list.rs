//! Amplification: a list of very many elements, each the same string of a megabyte. It takes the guest a few megabytes to say and would take the host
//! terabytes to hear.

use pg_llm_guest::prelude::*;

pub(crate) fn commit() -> Result<Answer, Failure> {
    let text: &'static str = String::from_utf8_lossy(&vec![b'x'; 1 << 20]).into_owned().leak();
    let tokens: Vec<TokenLogprob> = (0..100_000)
        .map(|_| {
            // SAFETY: never dropped: the strings share their bytes, and the process that holds them ends with the call.
            let token = unsafe { String::from_raw_parts(text.as_ptr().cast_mut(), text.len(), text.len()) };
            TokenLogprob { token, logprob: -1.0, alternatives: Vec::new() }
        })
        .collect();
    Ok(Answer { parts: vec![Part::Text("amplified".to_owned())], logprobs: tokens, ..Answer::default() })
}
