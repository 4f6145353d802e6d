//! A whole answer.

use pg_llm_guest::prelude::*;

use crate::settings::Wire;
use crate::turn::Turn;

/// Reads a response with a status of success: an object, or the list of chunks that a stream without `alt=sse` is.
pub fn decode(request: &ChatRequest, response: &HttpResponse) -> Result<Answer, Failure> {
    let mut turn = Turn::new(Wire::of(&request.settings)?.blocked_is_error);
    let mut events = Vec::new();
    turn.take_all(&response.json()?, &response.body, &mut events)?;
    if !turn.has_begun() {
        return Err(Failure::protocol("the response has no candidate", &response.body));
    }
    turn.end(&mut events);
    let mut answer = put_together(events);
    answer.raw = Some(String::from_utf8_lossy(&response.body).into_owned());
    Ok(answer)
}

fn put_together(events: Vec<Event>) -> Answer {
    let mut answer = Answer::default();
    let parts = &mut answer.parts;
    let thought = |text: String, signature| Part::Thinking(Thinking { text, signature, redacted: false });
    for event in events {
        match event {
            Event::Started(started) => (answer.id, answer.model) = (started.id, started.model),
            Event::Text(text) => match parts.last_mut() {
                Some(Part::Text(so_far)) => so_far.push_str(&text),
                _ => parts.push(Part::Text(text)),
            },
            Event::Thinking(text) => match parts.last_mut() {
                Some(Part::Thinking(so_far)) if so_far.signature.is_none() => so_far.text.push_str(&text),
                _ => parts.push(thought(text, None)),
            },
            Event::ThinkingSignature(signature) => match parts.last_mut() {
                Some(Part::Thinking(so_far)) if so_far.signature.is_none() => so_far.signature = Some(signature),
                _ => parts.push(thought(String::new(), Some(signature))),
            },
            Event::ToolCall(delta) => match (delta.name, parts.last_mut()) {
                // What has no name goes on with the call before it.
                (None, Some(Part::ToolCall(call))) => {
                    call.arguments.push_str(&delta.arguments);
                    call.signature = delta.signature.or(call.signature.take());
                }
                (name, _) => parts.push(Part::ToolCall(ToolCall {
                    id: delta.id.unwrap_or_default(),
                    name: name.unwrap_or_default(),
                    arguments: delta.arguments,
                    signature: delta.signature,
                })),
            },
            Event::Logprobs(tokens) => answer.logprobs.extend(tokens),
            Event::Usage(usage) => answer.usage = Some(usage),
            Event::Finish(reason) => answer.finish_reason = Some(reason),
            Event::RedactedThinking(_) => {}
        }
    }
    answer
}
